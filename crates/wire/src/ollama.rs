//! Ollama's own chat: one JSON object a line, arguments of tools as objects, counts under names of its own.
//!
//! Facts: the vendor's API description and SDK types (ollama 0.6.3), read November 2026. The format has no ids of tool calls;
//! they are made here from their place, and results name their tool.

mod read;
mod write;

use hub::canonical::error::{AnswerError, EncodeError};
use hub::canonical::event::FinishReason;
use hub::canonical::request::ChatRequest;
use hub::canonical::usage::Usage;
use hub::codec::json::Object;
use hub::dialect::{Decoder, EncodedRequest, Mode, RequestOptions, Undo};

use super::{Wire, error_of};

/// Ollama's chat.
#[derive(Debug)]
pub struct Ollama;

/// The format.
pub static OLLAMA: Ollama = Ollama;

impl Wire for Ollama {
    fn encode_request(&self, request: &ChatRequest, options: &RequestOptions) -> Result<EncodedRequest, EncodeError> {
        write::encode(request, options)
    }

    fn decoder(&self, mode: Mode, undo: Undo) -> Box<dyn Decoder> {
        Box::new(read::LineDecoder::new(mode, undo))
    }

    fn decode_error(&self, status: u16, body: &[u8]) -> AnswerError {
        error_of(status, body, "error")
    }
}

fn finish(word: &str) -> (FinishReason, Option<Box<str>>) {
    match word {
        "stop" => (FinishReason::Stop, None),
        "length" => (FinishReason::Length, None),
        _ => (FinishReason::Other, Some(word.into())),
    }
}

/// Reads the counts of the last line; the prompt's is missing when the whole of it was cached.
fn usage(object: &Object<'_, '_>) -> Usage {
    let mut usage = Usage::default();
    usage.tokens.input = object.count("prompt_eval_count");
    usage.tokens.output = object.count("eval_count");
    usage
}
