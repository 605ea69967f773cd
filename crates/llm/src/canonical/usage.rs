//! Token counts of one answer.
//!
//! Vendors send them once, at the end (OpenAI), or as running totals (Anthropic's `message_delta`). Both are totals, so
//! merging keeps the larger count and never adds.

use super::json::Rest;

/// Tokens by kind.
///
/// `input`, `cached_input`, `cache_write_5m` and `cache_write_1h` are disjoint: their sum is everything the model read.
/// `reasoning` is the part of `output` that was thinking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenUsage {
    /// Read at full price.
    pub input: u64,
    /// Read from the prompt cache.
    pub cached_input: u64,
    /// Written to the five-minute prompt cache.
    pub cache_write_5m: u64,
    /// Written to the one-hour prompt cache.
    pub cache_write_1h: u64,
    /// Written by the model, thinking included.
    pub output: u64,
    /// The thinking part of `output`; 0 when the upstream does not say.
    pub reasoning: u64,
}

/// What an answer consumed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Tokens by kind.
    pub tokens: TokenUsage,
    /// The tier that served the call.
    pub service_tier: Option<Box<str>>,
    /// Other counters of the origin dialect (audio tokens, server tool calls).
    pub rest: Rest,
}

impl Usage {
    /// Takes a later report in: per kind the larger count wins, and later words replace earlier ones.
    pub fn merge(&mut self, later: &Self) {
        let (mine, other) = (&mut self.tokens, &later.tokens);
        mine.input = mine.input.max(other.input);
        mine.cached_input = mine.cached_input.max(other.cached_input);
        mine.cache_write_5m = mine.cache_write_5m.max(other.cache_write_5m);
        mine.cache_write_1h = mine.cache_write_1h.max(other.cache_write_1h);
        mine.output = mine.output.max(other.output);
        mine.reasoning = mine.reasoning.max(other.reasoning);
        if later.service_tier.is_some() {
            self.service_tier.clone_from(&later.service_tier);
        }
        for (name, value) in later.rest.iter() {
            self.rest.0.retain(|(known, _)| &**known != name);
            self.rest.push(name, value.clone());
        }
    }
}
