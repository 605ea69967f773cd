//! Anthropic's messages.
//!
//! Reading keeps blocks it does not know (server tools, search results) whole, so a conversation that goes back to
//! Anthropic loses nothing. Writing obeys the rules that the vendor enforces with a 400: roles alternate and start with
//! the user, no empty text, results before other content, a cap on tokens, names of a small alphabet.

#![deny(missing_docs)]

mod error;
mod read_answer;
mod read_request;
mod read_stream;
mod schema;
mod thinking;
mod write_answer;
mod write_messages;
mod write_request;
mod write_stream;

use bytes::Bytes;

use hub::canonical::error::DecodeError;
use hub::canonical::event::FinishReason;
use hub::canonical::usage::{TokenUsage, Usage};
use hub::codec::json::{self, Array, Object, ObjectWriter, object_bytes};

use hub::dialect::{AnswerOptions, Decoder, Encoder, Mode, Undo, whole};

pub use error::{decode_error, encode_error, encode_error_event, encode_model, encode_models};
pub use read_request::{decode_count_request, decode_request};
pub use write_request::{encode_count_request, encode_request};

/// Makes a reader of answers.
#[must_use]
pub fn decoder(mode: Mode, undo: Undo) -> Box<dyn Decoder> {
    match mode {
        Mode::Whole => whole::decoder(undo, read_answer::read_answer),
        Mode::Stream => Box::new(read_stream::StreamDecoder::new(undo)),
    }
}

/// Makes a writer of answers.
#[must_use]
pub fn encoder(mode: Mode, options: AnswerOptions) -> Box<dyn Encoder> {
    match mode {
        Mode::Whole => whole::encoder(write_answer::WholeEncoder::new(options)),
        Mode::Stream => Box::new(write_stream::StreamEncoder::new(options)),
    }
}

/// Writes the answer of `/v1/messages/count_tokens`.
#[must_use]
pub fn encode_count_answer(input_tokens: u64) -> Bytes {
    object_bytes(|object| object.u64("input_tokens", input_tokens))
}

/// Reads the answer of `/v1/messages/count_tokens`.
pub fn decode_count_answer(body: &[u8]) -> Result<u64, DecodeError> {
    json::root(body)?.object()?.get("input_tokens")?.u64()
}

/// Reads the word for why the answer ended; the word itself comes back when ours says less.
fn read_finish(word: &str) -> (FinishReason, Option<Box<str>>) {
    let reason = match word {
        "end_turn" => FinishReason::Stop,
        "stop_sequence" => FinishReason::StopSequence,
        "max_tokens" => FinishReason::Length,
        "tool_use" => FinishReason::ToolUse,
        "pause_turn" => FinishReason::Pause,
        "refusal" => FinishReason::ContentFilter,
        "model_context_window_exceeded" => FinishReason::ContextWindow,
        _ => return (FinishReason::Other, Some(word.into())),
    };
    (reason, None)
}

fn finish_word(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::Other => "end_turn",
        FinishReason::StopSequence => "stop_sequence",
        FinishReason::Length => "max_tokens",
        FinishReason::ToolUse => "tool_use",
        FinishReason::Pause => "pause_turn",
        FinishReason::ContentFilter => "refusal",
        FinishReason::ContextWindow => "model_context_window_exceeded",
    }
}

/// OpenAI says `stop` after a refusal in words; Anthropic has a reason for it.
fn reason(reason: FinishReason, has_refusal: bool) -> FinishReason {
    if has_refusal && reason == FinishReason::Stop { FinishReason::ContentFilter } else { reason }
}

/// Counts of `iterations`, the steps of one answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Of the answer itself: what the counts at the top say, too.
    pub own: TokenUsage,
    /// Of everything else, which the counts at the top leave out.
    pub beside: TokenUsage,
    /// Some of it was another model's.
    pub has_other_model: bool,
}

impl Steps {
    /// Takes one step in: `message` is the answer's own, `compaction` a summary of the conversation, and anything else the
    /// work of another model, such as an adviser's (the vendor's pages on compaction and on the advisor tool).
    pub fn add(&mut self, kind: &str, tokens: TokenUsage) {
        match kind {
            "message" => self.own = self.own.plus(tokens),
            _ => self.beside = self.beside.plus(tokens),
        }
        self.has_other_model |= !matches!(kind, "message" | "compaction");
    }
}

/// Reads a `usage` object; its `input_tokens` excludes what came from and went to the cache, as canonical counts do.
fn read_usage(object: &Object<'_, '_>) -> Usage {
    let mut usage = Usage { tokens: read_tokens(object), ..Usage::default() };
    usage.service_tier = object.find_boxed("service_tier").ok().flatten();
    usage.rest = object.rest();
    // Only after the rest was taken: they go on as they came, too.
    let searches = object.report("server_tool_use", |tools| tools.count("web_search_requests"));
    usage.units.searches = searches.unwrap_or(0);
    let mut steps = Steps::default();
    let iterations = object.find("iterations").and_then(|node| node.array().ok());
    for step in iterations.iter().flat_map(Array::iter).filter_map(|node| node.object().ok()) {
        steps.add(&step.words("type").unwrap_or_default(), read_tokens(&step));
    }
    usage.tokens = usage.tokens.max(steps.own);
    usage.beside = steps.beside;
    usage.is_guessed = steps.has_other_model;
    usage
}

fn read_tokens(object: &Object<'_, '_>) -> TokenUsage {
    let written = object.count("cache_creation_input_tokens");
    let split = |split: &Object<'_, '_>| {
        ["ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"].map(|name| split.count(name))
    };
    let [five_minutes, one_hour] = object.report("cache_creation", split).unwrap_or_default();
    TokenUsage {
        input: object.count("input_tokens"),
        cached_input: object.count("cache_read_input_tokens"),
        // The sum is authoritative; what the split leaves open is the default lifetime.
        cache_write_5m: five_minutes.max(written.saturating_sub(one_hour)),
        cache_write_1h: one_hour,
        output: object.count("output_tokens"),
        reasoning: object.report("output_tokens_details", |details| details.count("thinking_tokens")).unwrap_or(0),
    }
}

/// Writes a `usage` object; unknown counters only when they come from this dialect.
fn write_usage(usage: &Usage, is_ours: bool, object: &mut ObjectWriter<'_>) {
    let tokens = &usage.tokens;
    let written = tokens.cache_write_5m.saturating_add(tokens.cache_write_1h);
    object.object("usage", |object| {
        object.u64("input_tokens", tokens.input);
        object.u64("cache_creation_input_tokens", written);
        object.u64("cache_read_input_tokens", tokens.cached_input);
        if written > 0 {
            object.object("cache_creation", |object| {
                object.u64("ephemeral_5m_input_tokens", tokens.cache_write_5m);
                object.u64("ephemeral_1h_input_tokens", tokens.cache_write_1h);
            });
        }
        object.u64("output_tokens", tokens.output);
        if tokens.reasoning > 0 {
            object.object("output_tokens_details", |object| object.u64("thinking_tokens", tokens.reasoning));
        }
        if is_ours {
            object.opt_str("service_tier", usage.service_tier.as_deref());
            object.rest(&usage.rest);
        }
    });
}
