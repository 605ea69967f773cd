//! Reads vendors' `usage` objects into disjoint kinds.
//!
//! Lenient where vendors differ in names, strict in what counts: an object without a count is no report at all.

use domain::usage::{ModalUsage, TokenUsage, UnitUsage};
use llm::dialect::Dialect;
use llm::dialect::anthropic_messages::Steps;
use llm::dialect::openai_usage::Counts;
use serde_json::value::RawValue;

use super::{first_value, gemini, responses};

/// What a vendor counted: tokens, which of them were sound or pictures, and what else it bills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// All tokens, in disjoint kinds.
    pub tokens: TokenUsage,
    /// Parts of them.
    pub modal: ModalUsage,
    /// What was counted beside tokens.
    pub units: UnitUsage,
    /// Some of it has a price that is not known here.
    pub is_guessed: bool,
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
        Dialect::AnthropicMessages => anthropic_usage(json),
        Dialect::OpenAiResponses => responses::usage(json),
        Dialect::Gemini => gemini::usage(json, false),
    }
}

/// Names that vendors do not share are each a field: a vendor that says two of them would fail an alias.
#[derive(serde::Deserialize)]
struct OpenAiUsage<'a> {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    total_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
    /// `DeepSeek`'s name for cached tokens.
    prompt_cache_hit_tokens: Option<u64>,
    /// Together's.
    cached_tokens: Option<u64>,
    /// Databricks', and proxies'.
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    reasoning_tokens: Option<u64>,
    citation_tokens: Option<u64>,
    num_search_queries: Option<u64>,
    // Not counts: whatever stands there, the counts hold.
    #[serde(borrow)]
    search_context_size: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt_audio_seconds: Option<&'a RawValue>,
}

impl OpenAiUsage<'_> {
    fn add_own(&self, counts: &mut Counts) {
        let first = |names: &[Option<u64>]| names.iter().flatten().copied().find(|count| *count > 0).unwrap_or(0);
        if counts.cached == 0 {
            counts.cached = first(&[self.prompt_cache_hit_tokens, self.cached_tokens, self.cache_read_input_tokens]);
        }
        if counts.written == 0 {
            counts.written = self.cache_creation_input_tokens.unwrap_or(0);
        }
        counts.top_reasoning = self.reasoning_tokens.unwrap_or(0);
        counts.citations = self.citation_tokens.unwrap_or(0);
        counts.queries = self.num_search_queries.unwrap_or(0);
        let seconds = self.prompt_audio_seconds.and_then(|raw| serde_json::from_str(raw.get()).ok());
        counts.audio_seconds = seconds.unwrap_or(0.0);
        let width = self.search_context_size.and_then(|raw| serde_json::from_str::<Box<str>>(raw.get()).ok());
        if let Some(width) = width.filter(|width| !width.is_empty()) {
            counts.search_width(&width);
        }
    }
}

#[derive(Default, Clone, Copy, serde::Deserialize)]
pub(super) struct PromptDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
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

#[derive(Default, Clone, Copy, serde::Deserialize)]
pub(super) struct CompletionDetails {
    #[serde(rename = "reasoning_tokens")]
    reasoning: Option<u64>,
    #[serde(rename = "audio_tokens")]
    audio: Option<u64>,
    #[serde(rename = "image_tokens")]
    image: Option<u64>,
}

fn openai_usage(json: &[u8]) -> Option<Count> {
    let usage: OpenAiUsage<'_> = first_value(json)?;
    if usage.prompt_tokens.is_none() && usage.completion_tokens.is_none() {
        // Some vendors of vectors count nothing but the total.
        let count = |input| Count { tokens: TokenUsage { input, ..TokenUsage::default() }, ..Count::default() };
        return usage.total_tokens.map(count);
    }
    let prompt = usage.prompt_tokens_details.as_ref().copied().unwrap_or_default();
    let completion = usage.completion_tokens_details.as_ref().copied().unwrap_or_default();
    let whole = [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens];
    let mut counts = counts(whole, &prompt, &completion);
    usage.add_own(&mut counts);
    Some(openai_count(&counts, &prompt, &completion))
}

/// Puts input, output and total together with what is said of their parts.
pub(super) fn counts(whole: [Option<u64>; 3], prompt: &PromptDetails, completion: &CompletionDetails) -> Counts {
    let [input, output, total] = whole.map(Option::unwrap_or_default);
    Counts {
        input,
        output,
        total,
        cached: prompt.cached_tokens.unwrap_or(0),
        written: prompt.cache_write_tokens.unwrap_or(0),
        reasoning: completion.reasoning.unwrap_or(0),
        ..Counts::default()
    }
}

/// Cached and written tokens are included in OpenAI's count of the input; ours are disjoint.
pub(super) fn openai_count(counts: &Counts, prompt: &PromptDetails, completion: &CompletionDetails) -> Count {
    let tokens = counts.tokens();
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
    Count { tokens, modal: modal.within(&tokens), units: counts.units(), is_guessed: counts.is_wide }
}

#[derive(serde::Deserialize)]
struct AnthropicUsage<'a> {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation: Option<CacheCreation>,
    output_tokens_details: Option<OutputDetails>,
    // Whatever stands there, the counts hold.
    #[serde(borrow)]
    server_tool_use: Option<&'a RawValue>,
    #[serde(borrow)]
    iterations: Option<&'a RawValue>,
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

#[derive(serde::Deserialize)]
struct ServerTools {
    web_search_requests: Option<u64>,
}

/// What one of `iterations` was.
#[derive(serde::Deserialize)]
struct Step {
    #[serde(rename = "type", default)]
    kind: Box<str>,
}

impl AnthropicUsage<'_> {
    fn tokens(&self) -> TokenUsage {
        let split = self.cache_creation.as_ref();
        let one_hour = split.and_then(|split| split.ephemeral_1h_input_tokens).unwrap_or(0);
        let five_minutes = split.and_then(|split| split.ephemeral_5m_input_tokens).unwrap_or(0);
        // The sum is authoritative; what the split leaves open is the default lifetime.
        let total = self.cache_creation_input_tokens.unwrap_or(0);
        TokenUsage {
            input: self.input_tokens.unwrap_or(0),
            cached_input: self.cache_read_input_tokens.unwrap_or(0),
            cache_write_5m: five_minutes.max(total.saturating_sub(one_hour)),
            cache_write_1h: one_hour,
            output: self.output_tokens.unwrap_or(0),
            reasoning: self.output_tokens_details.as_ref().and_then(|details| details.thinking_tokens).unwrap_or(0),
        }
    }
}

fn anthropic_usage(json: &[u8]) -> Option<Count> {
    let usage: AnthropicUsage<'_> = first_value(json)?;
    if usage.input_tokens.is_none() && usage.output_tokens.is_none() {
        return None;
    }
    let mut steps = Steps::default();
    let list = usage.iterations.and_then(|list| serde_json::from_str::<Vec<&RawValue>>(list.get()).ok());
    for step in list.iter().flatten().map(|step| step.get()) {
        if let (Ok(Step { kind }), Ok(counts)) = (serde_json::from_str(step), serde_json::from_str(step)) {
            steps.add(&kind, AnthropicUsage::tokens(&counts));
        }
    }
    let tools = usage.server_tool_use.and_then(|raw| serde_json::from_str::<ServerTools>(raw.get()).ok());
    let searches = tools.and_then(|tools| tools.web_search_requests).unwrap_or(0);
    Some(Count {
        tokens: usage.tokens().max(steps.own).plus(steps.beside),
        units: UnitUsage { searches, ..UnitUsage::default() },
        is_guessed: steps.has_other_model,
        ..Count::default()
    })
}
