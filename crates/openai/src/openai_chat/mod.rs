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

use hub::canonical::event::FinishReason;

use super::openai_usage::{CHAT as USAGE, fields_of};
use hub::dialect::{AnswerOptions, Decoder, Encoder, Mode, Undo, whole};

pub use error::{decode_error, encode_error, encode_error_event, encode_model, encode_models};
pub(super) use error::{read_error, write_error};
pub use read_request::decode_request;
pub(super) use read_request::{read_stop, read_stream, read_url};
pub use write_request::encode_request;

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

/// Reads the word for why a choice ended; the word itself comes back when ours says less.
pub(super) fn read_finish(word: &str) -> (FinishReason, Option<Box<str>>) {
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

pub(super) fn finish_word(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::StopSequence | FinishReason::Other => "stop",
        FinishReason::Length | FinishReason::ContextWindow | FinishReason::Pause => "length",
        FinishReason::ToolUse => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
    }
}
