//! Reads vendors' `usage` objects into disjoint kinds.
//!
//! Lenient where vendors differ in names, strict in what counts: an object without a count is no report at all.

use domain::usage::TokenUsage;
use llm::dialect::Dialect;

use super::{first_value, gemini, responses};

/// Reads a vendor's `usage` object into disjoint kinds. `None` when it is absent, `null`, or has no count at all.
#[must_use]
pub fn usage_of(dialect: Dialect, json: &[u8]) -> Option<TokenUsage> {
    match dialect {
        Dialect::OpenAiChat | Dialect::OpenAiCompletions => openai_usage(json),
        Dialect::AnthropicMessages => anthropic_usage(json),
        Dialect::OpenAiResponses => responses::usage(json),
        Dialect::Gemini => gemini::usage(json, false),
    }
}

#[derive(serde::Deserialize)]
struct OpenAiUsage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    total_tokens: Option<u64>,
    /// `DeepSeek`'s name for cached tokens, and Together's.
    #[serde(alias = "cached_tokens")]
    prompt_cache_hit_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(default)]
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Default, serde::Deserialize)]
pub(super) struct PromptDetails {
    pub(super) cached_tokens: Option<u64>,
    pub(super) cache_write_tokens: Option<u64>,
}

#[derive(Default, serde::Deserialize)]
pub(super) struct CompletionDetails {
    reasoning_tokens: Option<u64>,
}

fn openai_usage(json: &[u8]) -> Option<TokenUsage> {
    let usage: OpenAiUsage = first_value(json)?;
    if usage.prompt_tokens.is_none() && usage.completion_tokens.is_none() {
        // Some vendors of vectors count nothing but the total.
        return usage.total_tokens.map(|input| TokenUsage { input, ..TokenUsage::default() });
    }
    let mut prompt = usage.prompt_tokens_details.unwrap_or_default();
    if prompt.cached_tokens.unwrap_or(0) == 0 {
        prompt.cached_tokens = usage.prompt_cache_hit_tokens;
    }
    let completion = usage.completion_tokens_details.unwrap_or_default();
    let mut tokens = openai_tokens(usage.prompt_tokens, usage.completion_tokens, &prompt, &completion);
    // xAI counts reasoning beside the completion; its total tells.
    let beside = tokens.total_input().saturating_add(tokens.output).saturating_add(tokens.reasoning);
    if tokens.reasoning > 0 && usage.total_tokens == Some(beside) {
        tokens.output = tokens.output.saturating_add(tokens.reasoning);
    }
    Some(tokens)
}

/// Cached and written tokens are included in OpenAI's count of the input; ours are disjoint.
pub(super) fn openai_tokens(
    input: Option<u64>,
    output: Option<u64>,
    prompt: &PromptDetails,
    completion: &CompletionDetails,
) -> TokenUsage {
    let total = input.unwrap_or(0);
    let cached = prompt.cached_tokens.unwrap_or(0).min(total);
    let written = prompt.cache_write_tokens.unwrap_or(0).min(total - cached);
    TokenUsage {
        input: total - cached - written,
        cached_input: cached,
        cache_write_5m: written,
        cache_write_1h: 0,
        output: output.unwrap_or(0),
        reasoning: completion.reasoning_tokens.unwrap_or(0),
    }
}

#[derive(serde::Deserialize)]
struct AnthropicUsage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    #[serde(default)]
    cache_creation: Option<CacheCreation>,
    #[serde(default)]
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Default, serde::Deserialize)]
struct CacheCreation {
    ephemeral_5m_input_tokens: Option<u64>,
    ephemeral_1h_input_tokens: Option<u64>,
}

#[derive(Default, serde::Deserialize)]
struct OutputDetails {
    thinking_tokens: Option<u64>,
}

fn anthropic_usage(json: &[u8]) -> Option<TokenUsage> {
    let usage: AnthropicUsage = first_value(json)?;
    if usage.input_tokens.is_none() && usage.output_tokens.is_none() {
        return None;
    }
    let split = usage.cache_creation.unwrap_or_default();
    let one_hour = split.ephemeral_1h_input_tokens.unwrap_or(0);
    // Without the split, all writes are of the default five minutes.
    let total = usage.cache_creation_input_tokens.unwrap_or(0);
    let five_minutes = split.ephemeral_5m_input_tokens.unwrap_or_else(|| total.saturating_sub(one_hour));
    Some(TokenUsage {
        input: usage.input_tokens.unwrap_or(0),
        cached_input: usage.cache_read_input_tokens.unwrap_or(0),
        cache_write_5m: five_minutes,
        cache_write_1h: one_hour,
        output: usage.output_tokens.unwrap_or(0),
        reasoning: usage.output_tokens_details.unwrap_or_default().thinking_tokens.unwrap_or(0),
    })
}
