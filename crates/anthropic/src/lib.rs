//! Anthropic's messages.
//!
//! Reading keeps blocks it does not know (server tools, search results) whole, so a conversation that goes back to
//! Anthropic loses nothing. Writing obeys the rules that the vendor enforces with a 400: roles alternate and start with
//! the user, no empty text, results before other content, a cap on tokens, names of a small alphabet.

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
use hub::canonical::usage::Usage;
use hub::codec::json::{self, Object, ObjectWriter, object_bytes};

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

/// Reads a `usage` object; its `input_tokens` excludes what came from and went to the cache, as canonical counts do.
fn read_usage(object: &Object<'_, '_>) -> Usage {
    let mut usage = Usage::default();
    let tokens = &mut usage.tokens;
    tokens.input = object.count("input_tokens");
    tokens.cached_input = object.count("cache_read_input_tokens");
    tokens.output = object.count("output_tokens");
    let written = object.count("cache_creation_input_tokens");
    if let Some(split) = object.find("cache_creation").and_then(|node| node.object().ok()) {
        tokens.cache_write_1h = split.count("ephemeral_1h_input_tokens");
        tokens.cache_write_5m = split.count("ephemeral_5m_input_tokens");
    }
    // The sum is authoritative; what the split leaves open is the default lifetime.
    let known = tokens.cache_write_1h.saturating_add(tokens.cache_write_5m);
    tokens.cache_write_5m = tokens.cache_write_5m.saturating_add(written.saturating_sub(known));
    if let Some(details) = object.find("output_tokens_details").and_then(|node| node.object().ok()) {
        tokens.reasoning = details.count("thinking_tokens");
    }
    usage.service_tier = object.find_boxed("service_tier").ok().flatten();
    usage.rest = object.rest();
    usage
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
