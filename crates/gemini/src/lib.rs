//! Gemini's `generateContent`, in Google AI Studio and Vertex AI.
//!
//! Reading takes field names in camelCase and `snake_case`, as the vendor does. Model and streaming stand in the address,
//! not in the body, so a decoded request gets them by [`ChatRequest::with_address`] and an encoded one does not hold
//! them. A stream is server-sent events or, without `alt=sse`, a JSON array; the reader takes either, the writer of the
//! second is [`array_encoder`]. Signatures of thinking travel through clients of other dialects in ids of tool calls and
//! in thinking blocks.
//!
//! [`ChatRequest::with_address`]: hub::canonical::request::ChatRequest::with_address

#![deny(missing_docs)]

pub mod embeddings;
mod error;
mod plain_schema;
mod probability;
mod proof;
mod read_answer;
mod read_contents;
mod read_request;
mod schema;
mod thinking;
mod write_answer;
mod write_contents;
mod write_request;

use bytes::Bytes;
use domain::usage::{ModalUsage, TokenUsage};

use hub::canonical::error::{DecodeError, EncodeError};
use hub::canonical::event::FinishReason;
use hub::canonical::json::Raw;
use hub::canonical::request::ChatRequest;
use hub::canonical::usage::Usage;
use hub::codec::json::{self, Object, ObjectWriter, object_bytes};

use hub::dialect::{AnswerOptions, Decoder, Dialect, Encoder, Mode, Undo, whole};

pub use error::{decode_error, encode_error, encode_error_event, encode_model, encode_models};
pub use read_request::{decode_count_request, decode_request};
pub use write_request::{CountForm, encode_count_request, encode_request};

// Names in `rest` of what the hub has understood, kept in the vendor's own words; the sign makes them no loss elsewhere.
const MIME_TYPE: &str = "=mimeType";
const RESULT_NAME: &str = "=name";
const OWN_SCHEMA: &str = "=schema";
const TOOL_USE_COUNTED: &str = "=toolUsePromptTokenCount";
const TOOL_USE: &str = "toolUsePromptTokenCount";

/// Makes a reader of answers.
#[must_use]
pub fn decoder(mode: Mode, undo: Undo) -> Box<dyn Decoder> {
    match mode {
        Mode::Whole => Box::new(read_answer::WholeDecoder::new(undo)),
        Mode::Stream => Box::new(read_answer::StreamDecoder::new(undo)),
    }
}

/// Makes a writer of answers.
#[must_use]
pub fn encoder(mode: Mode, options: AnswerOptions) -> Box<dyn Encoder> {
    match mode {
        Mode::Whole => whole::encoder(write_answer::WholeEncoder::new(options)),
        Mode::Stream => Box::new(write_answer::StreamEncoder::new(options, write_answer::Framing::Events)),
    }
}

/// Makes a writer of a stream for a client that did not ask for `alt=sse`: one JSON array.
#[must_use]
pub fn array_encoder(options: AnswerOptions) -> Box<dyn Encoder> {
    Box::new(write_answer::StreamEncoder::new(options, write_answer::Framing::Array))
}

/// Writes the answer of `countTokens`.
#[must_use]
pub fn encode_count_answer(input_tokens: u64) -> Bytes {
    object_bytes(|object| object.u64("totalTokens", input_tokens))
}

/// Reads the answer of `countTokens`.
pub fn decode_count_answer(body: &[u8]) -> Result<u64, DecodeError> {
    // Zero is left out on the wire.
    Ok(json::root(body)?.object()?.camel().find_u64("totalTokens")?.unwrap_or(0))
}

/// Refuses a request whose prompt lies in the vendor's cache: another upstream would answer without it.
pub fn refuse_cached(request: &ChatRequest) -> Result<(), EncodeError> {
    if request.origin != Dialect::Gemini || request.rest.find("cachedContent").is_none() {
        return Ok(());
    }
    let reason = "the upstream cannot read Gemini's cache; send the contents themselves".into();
    Err(EncodeError { path: "cachedContent".into(), reason })
}

/// Reads the word for why a candidate ended; the word itself comes back when ours says less.
fn read_finish(word: &str, has_calls: bool) -> (FinishReason, Option<Box<str>>) {
    match word {
        "STOP" if has_calls => (FinishReason::ToolUse, None),
        "STOP" => (FinishReason::Stop, None),
        "MAX_TOKENS" => (FinishReason::Length, None),
        _ => (finish_reason(word), Some(word.into())),
    }
}

/// What the vendor's word for the end of a candidate means. `STOP` is the word for the end with calls too.
#[must_use]
pub fn finish_reason(word: &str) -> FinishReason {
    match word {
        "STOP" => FinishReason::Stop,
        "MAX_TOKENS" => FinishReason::Length,
        "CONTINUATION" => FinishReason::Pause,
        "SAFETY"
        | "RECITATION"
        | "LANGUAGE"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION"
        | "MODEL_ARMOR" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    }
}

/// Says whether the word means that the model failed, rather than ended: without any output that is an error.
fn is_failure(word: &str) -> bool {
    matches!(
        word,
        "MALFORMED_FUNCTION_CALL"
            | "MALFORMED_RESPONSE"
            | "MISSING_THOUGHT_SIGNATURE"
            | "TOO_MANY_TOOL_CALLS"
            | "UNEXPECTED_TOOL_CALL"
    )
}

fn finish_word(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::StopSequence | FinishReason::ToolUse => "STOP",
        FinishReason::Length | FinishReason::ContextWindow | FinishReason::Pause => "MAX_TOKENS",
        FinishReason::ContentFilter => "SAFETY",
        FinishReason::Other => "OTHER",
    }
}

/// The counters of `usageMetadata`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// `promptTokenCount`, which includes what came from the cache.
    pub prompt: u64,
    /// `cachedContentTokenCount`.
    pub cached: u64,
    /// `candidatesTokenCount`.
    pub candidates: u64,
    /// `thoughtsTokenCount`.
    pub thoughts: u64,
    /// `toolUsePromptTokenCount`: what the vendor's own tools read. Zero for answers grounded by search, which the
    /// vendor does not charge for it.
    pub tool_use: u64,
    /// `totalTokenCount`.
    pub total: u64,
}

impl Counts {
    /// Returns the disjoint kinds.
    #[must_use]
    pub fn tokens(&self) -> TokenUsage {
        let cached_input = self.cached.min(self.prompt);
        let input = (self.prompt - cached_input).saturating_add(self.tool_use);
        // Candidates exclude thoughts, except where the total shows that they do not.
        let without = self.prompt.saturating_add(self.tool_use).saturating_add(self.candidates);
        let is_inside = self.thoughts > 0 && self.thoughts <= self.candidates && self.total == without;
        let output = if is_inside { self.candidates } else { self.candidates.saturating_add(self.thoughts) };
        TokenUsage { input, cached_input, cache_write_5m: 0, cache_write_1h: 0, output, reasoning: self.thoughts }
    }
}

/// Returns the searches that the vendor charges for: each look-up, and before the third generation one for a call that had any
/// (<https://ai.google.dev/gemini-api/docs/pricing>). Those that an account has for nothing are not known here.
#[must_use]
pub fn searches(model: &str, n_queries: u64) -> u64 {
    let is_by_call = ["gemini-1", "gemini-2"].iter().any(|generation| model.starts_with(generation));
    if is_by_call { n_queries.min(1) } else { n_queries }
}

/// Which tokens of one count of `usageMetadata` were no text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Details {
    audio: u64,
    image: u64,
}

impl Details {
    /// Takes in one entry; documents and films are billed as text is.
    pub fn add(&mut self, modality: &str, count: u64) {
        match modality {
            "AUDIO" => self.audio = self.audio.saturating_add(count),
            "IMAGE" => self.image = self.image.saturating_add(count),
            _ => {}
        }
    }

    /// Returns the parts; what is said of the prompt includes what came from the cache.
    #[must_use]
    pub const fn modal(prompt: Self, cache: Self, candidates: Self) -> ModalUsage {
        ModalUsage {
            audio_input: prompt.audio.saturating_sub(cache.audio),
            cached_audio_input: cache.audio,
            audio_output: candidates.audio,
            image_input: prompt.image.saturating_sub(cache.image),
            cached_image_input: cache.image,
            image_output: candidates.image,
        }
    }

    fn read(object: &Object<'_, '_>, name: &str) -> Self {
        let mut sum = Self::default();
        let Some(list) = object.find(name) else { return sum };
        let Ok(list) = list.array() else { return sum };
        for entry in list.iter() {
            if let Ok(entry) = entry.object() {
                sum.add(&entry.words("modality").unwrap_or_default(), entry.count("tokenCount"));
            }
        }
        sum
    }
}

/// Reads `usageMetadata`; `is_grounded` says that the vendor's search was at work.
fn read_usage(object: &Object<'_, '_>, is_grounded: bool) -> Usage {
    let count = object.count("toolUsePromptTokenCount");
    let prompt = object.count("promptTokenCount");
    let total = object.count("totalTokenCount");
    let counts = Counts {
        prompt,
        cached: object.count("cachedContentTokenCount"),
        candidates: object.count("candidatesTokenCount"),
        thoughts: object.count("thoughtsTokenCount"),
        tool_use: count,
        total,
    };
    let mut tokens = counts.tokens();
    let mut rest = object.rest();
    // Only after the rest was taken: they go on as they came, too.
    let [prompt, cache, candidates] = ["promptTokensDetails", "cacheTokensDetails", "candidatesTokensDetails"]
        .map(|name| Details::read(object, name));
    let modal = Details::modal(prompt, cache, candidates);
    if is_grounded {
        tokens.input = tokens.input.saturating_sub(count);
    }
    if let Some(raw) = Raw::of(&count).filter(|_| count > 0) {
        rest.push(if is_grounded { TOOL_USE } else { TOOL_USE_COUNTED }, raw);
    }
    let service_tier = object.find_boxed("serviceTier").ok().flatten();
    Usage { tokens, modal: modal.within(&tokens), service_tier, rest, is_final: true, ..Usage::default() }
}

/// Writes `usageMetadata`; unknown counters only when they come from this dialect.
fn write_usage(usage: &Usage, is_ours: bool, object: &mut ObjectWriter<'_>) {
    let tokens = &usage.tokens;
    let counted = usage.rest.find(TOOL_USE_COUNTED).filter(|_| is_ours);
    let counted = counted.and_then(|raw| raw.as_str().parse::<u64>().ok()).unwrap_or(0).min(tokens.input);
    let prompt = tokens.total_input().saturating_sub(counted);
    object.object("usageMetadata", |object| {
        object.u64("promptTokenCount", prompt);
        if tokens.cached_input > 0 {
            object.u64("cachedContentTokenCount", tokens.cached_input);
        }
        object.u64("candidatesTokenCount", tokens.output.saturating_sub(tokens.reasoning));
        if tokens.reasoning > 0 {
            object.u64("thoughtsTokenCount", tokens.reasoning);
        }
        if counted > 0 {
            object.u64(TOOL_USE, counted);
        }
        object.u64("totalTokenCount", tokens.total_input().saturating_add(tokens.output));
        if is_ours {
            object.opt_str("serviceTier", usage.service_tier.as_deref());
            usage
                .rest
                .iter()
                .filter(|(name, _)| *name != TOOL_USE_COUNTED)
                .for_each(|(name, raw)| object.raw(name, raw));
        }
    });
}
