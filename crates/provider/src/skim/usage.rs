//! Reads vendors' `usage` objects into disjoint kinds.
//!
//! Lenient where vendors differ in names, strict in what counts: an object without a count is no report at all.

use domain::usage::{ModalUsage, TokenUsage};
use llm::dialect::Dialect;

use super::{first_value, gemini, responses};

/// What a vendor counted: tokens, and which of them were sound or pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// All tokens, in disjoint kinds.
    pub tokens: TokenUsage,
    /// Parts of them.
    pub modal: ModalUsage,
}

/// Reads the tokens of a vendor's `usage` object, as [`count_of`] does.
#[must_use]
pub fn usage_of(dialect: Dialect, json: &[u8]) -> Option<TokenUsage> {
    count_of(dialect, json).map(|count| count.tokens)
}

/// Reads a vendor's `usage` object into disjoint kinds. `None` when it is absent, `null`, or has no count at all.
#[must_use]
pub fn count_of(dialect: Dialect, json: &[u8]) -> Option<Count> {
    match dialect {
        Dialect::OpenAiChat | Dialect::OpenAiCompletions => openai_usage(json),
        Dialect::AnthropicMessages => anthropic_usage(json).map(|tokens| Count { tokens, ..Count::default() }),
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
    audio_tokens: Option<u64>,
    image_tokens: Option<u64>,
    cached_tokens_details: Option<Modes>,
}

/// Which tokens were no text.
#[derive(Default, Clone, Copy, serde::Deserialize)]
struct Modes {
    audio_tokens: Option<u64>,
    image_tokens: Option<u64>,
}

#[derive(Default, serde::Deserialize)]
pub(super) struct CompletionDetails {
    #[serde(rename = "reasoning_tokens")]
    reasoning: Option<u64>,
    #[serde(rename = "audio_tokens")]
    audio: Option<u64>,
    #[serde(rename = "image_tokens")]
    image: Option<u64>,
}

fn openai_usage(json: &[u8]) -> Option<Count> {
    let usage: OpenAiUsage = first_value(json)?;
    if usage.prompt_tokens.is_none() && usage.completion_tokens.is_none() {
        // Some vendors of vectors count nothing but the total.
        let count = |input| Count { tokens: TokenUsage { input, ..TokenUsage::default() }, ..Count::default() };
        return usage.total_tokens.map(count);
    }
    let mut prompt = usage.prompt_tokens_details.unwrap_or_default();
    if prompt.cached_tokens.unwrap_or(0) == 0 {
        prompt.cached_tokens = usage.prompt_cache_hit_tokens;
    }
    let completion = usage.completion_tokens_details.unwrap_or_default();
    let Count { mut tokens, modal } = openai_count(usage.prompt_tokens, usage.completion_tokens, &prompt, &completion);
    // xAI counts reasoning beside the completion; its total tells.
    let beside = tokens.total_input().saturating_add(tokens.output).saturating_add(tokens.reasoning);
    if tokens.reasoning > 0 && usage.total_tokens == Some(beside) {
        tokens.output = tokens.output.saturating_add(tokens.reasoning);
    }
    Some(Count { tokens, modal })
}

/// Cached and written tokens are included in OpenAI's count of the input; ours are disjoint.
pub(super) fn openai_count(
    input: Option<u64>,
    output: Option<u64>,
    prompt: &PromptDetails,
    completion: &CompletionDetails,
) -> Count {
    let total = input.unwrap_or(0);
    let cached = prompt.cached_tokens.unwrap_or(0).min(total);
    let written = prompt.cache_write_tokens.unwrap_or(0).min(total - cached);
    let tokens = TokenUsage {
        input: total - cached - written,
        cached_input: cached,
        cache_write_5m: written,
        cache_write_1h: 0,
        output: output.unwrap_or(0),
        reasoning: completion.reasoning.unwrap_or(0),
    };
    // What the vendor says of the whole input holds what came from the cache.
    let of_cache = prompt.cached_tokens_details.unwrap_or_default();
    let fresh = |all: Option<u64>, cached: Option<u64>| all.unwrap_or(0).saturating_sub(cached.unwrap_or(0));
    let modal = ModalUsage {
        audio_input: fresh(prompt.audio_tokens, of_cache.audio_tokens),
        cached_audio_input: of_cache.audio_tokens.unwrap_or(0),
        audio_output: completion.audio.unwrap_or(0),
        image_input: fresh(prompt.image_tokens, of_cache.image_tokens),
        cached_image_input: of_cache.image_tokens.unwrap_or(0),
        image_output: completion.image.unwrap_or(0),
    };
    Count { tokens, modal: modal.within(&tokens) }
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
