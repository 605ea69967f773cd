//! OpenAI's chat completions, and everything compatible with them.
//!
//! Reading is tolerant where compatible servers differ (both names of reasoning, missing indexes, `choices: null`);
//! writing follows OpenAI's reference unless the options say that the upstream is another. Extensions that plain
//! clients ignore carry what OpenAI has no words for: `reasoning_content` and `reasoning_details` with signatures.

mod error;
mod read_answer;
mod read_request;
mod read_stream;
mod write_answer;
mod write_request;
mod write_stream;

use crate::canonical::event::FinishReason;
use crate::canonical::json::Raw;
use crate::canonical::usage::Usage;
use crate::codec::json::{Object, ObjectWriter};

use super::{AnswerOptions, Decoder, Encoder, Mode, Undo};

pub use error::{decode_error, encode_error, encode_error_event, encode_model, encode_models};
pub use read_request::decode_request;
pub use write_request::encode_request;

/// Makes a reader of answers.
#[must_use]
pub fn decoder(mode: Mode, undo: Undo) -> Box<dyn Decoder> {
    match mode {
        Mode::Whole => Box::new(read_answer::WholeDecoder::new(undo)),
        Mode::Stream => Box::new(read_stream::StreamDecoder::new(undo)),
    }
}

/// Makes a writer of answers.
#[must_use]
pub fn encoder(mode: Mode, options: AnswerOptions) -> Box<dyn Encoder> {
    match mode {
        Mode::Whole => Box::new(write_answer::WholeEncoder::new(options)),
        Mode::Stream => Box::new(write_stream::StreamEncoder::new(options)),
    }
}

/// Reads the word for why a choice ended; the word itself comes back when ours says less.
fn read_finish(word: &str) -> (FinishReason, Option<Box<str>>) {
    let reason = match word {
        "stop" => FinishReason::Stop,
        "length" => FinishReason::Length,
        "tool_calls" => FinishReason::ToolUse,
        "content_filter" => FinishReason::ContentFilter,
        "function_call" => return (FinishReason::ToolUse, Some(word.into())),
        _ => return (FinishReason::Other, Some(word.into())),
    };
    (reason, None)
}

fn finish_word(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::StopSequence | FinishReason::Other => "stop",
        FinishReason::Length | FinishReason::ContextWindow | FinishReason::Pause => "length",
        FinishReason::ToolUse => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
    }
}

/// Reads a `usage` object. `prompt_tokens` includes what came from and went to the cache; canonical counts do not.
fn read_usage(usage: &Object<'_, '_>) -> Usage {
    let prompt = usage.count("prompt_tokens");
    let output = usage.count("completion_tokens");
    usage.skip(&["total_tokens"]);
    let mut result = Usage::default();
    let (mut cached, mut written) = (0, 0);
    if let Some(details) = usage.find("prompt_tokens_details").and_then(|node| node.object().ok()) {
        cached = details.count("cached_tokens");
        written = details.count("cache_write_tokens");
        let rest = details.rest();
        if !rest.is_empty() {
            result.rest.push("prompt_tokens_details", crate::codec::json::raw_object(|object| object.rest(&rest)));
        }
    }
    if cached == 0 {
        // DeepSeek's name for it.
        cached = usage.count("prompt_cache_hit_tokens");
    }
    if let Some(details) = usage.find("completion_tokens_details").and_then(|node| node.object().ok()) {
        result.tokens.reasoning = details.count("reasoning_tokens");
        let rest = details.rest();
        if !rest.is_empty() {
            result.rest.push("completion_tokens_details", crate::codec::json::raw_object(|object| object.rest(&rest)));
        }
    }
    result.tokens.cached_input = cached.min(prompt);
    result.tokens.cache_write_5m = written.min(prompt - result.tokens.cached_input);
    result.tokens.input = prompt - result.tokens.cached_input - result.tokens.cache_write_5m;
    result.tokens.output = output;
    for (name, value) in usage.rest().iter() {
        result.rest.push(name, value.clone());
    }
    result
}

/// Writes a `usage` object; unknown counters only when they come from this dialect.
fn write_usage(name: &str, usage: &Usage, is_ours: bool, object: &mut ObjectWriter<'_>) {
    let tokens = &usage.tokens;
    let written = tokens.cache_write_5m.saturating_add(tokens.cache_write_1h);
    let prompt = tokens.total_input();
    let more = |object: &mut ObjectWriter<'_>, name: &str| {
        let details = usage.rest.find(name).filter(|_| is_ours);
        if let Some(details) = details.and_then(fields_of) {
            for (name, value) in &details {
                object.raw(name, value);
            }
        }
    };
    object.object(name, |object| {
        object.u64("prompt_tokens", prompt);
        object.u64("completion_tokens", tokens.output);
        object.u64("total_tokens", prompt.saturating_add(tokens.output));
        object.object("prompt_tokens_details", |object| {
            object.u64("cached_tokens", tokens.cached_input);
            if written > 0 {
                object.u64("cache_write_tokens", written);
            }
            more(object, "prompt_tokens_details");
        });
        object.object("completion_tokens_details", |object| {
            object.u64("reasoning_tokens", tokens.reasoning);
            more(object, "completion_tokens_details");
        });
        if is_ours {
            for (name, value) in usage.rest.iter() {
                if !matches!(name, "prompt_tokens_details" | "completion_tokens_details") {
                    object.raw(name, value);
                }
            }
        }
    });
}

fn fields_of(raw: &Raw) -> Option<Vec<(Box<str>, Raw)>> {
    let node = crate::codec::json::root(raw.as_str().as_bytes()).ok()?;
    Some(node.object().ok()?.rest().0)
}
