//! Cohere's chat, version 2: OpenAI's shape of messages, other names, and a plan beside tool calls.
//!
//! Facts: the vendor's SDK types (cohere 7.3.1) and API reference, read November 2026. The plan is reasoning to the hub and
//! returns as the plan. Citations come in the hub's form; those of the plan are left out.

mod read;
mod write;

use hub::canonical::citation::{Citation, Span};
use hub::canonical::error::{AnswerError, EncodeError};
use hub::canonical::event::FinishReason;
use hub::canonical::request::ChatRequest;
use hub::canonical::usage::Usage;
use hub::codec::json::{Array, Node, Object};
use hub::dialect::{Decoder, EncodedRequest, Mode, RequestOptions, Undo, whole};

use super::{Wire, error_of};
use crate::Fetches;

/// Cohere's chat.
#[derive(Debug)]
pub struct Cohere;

/// The format.
pub static COHERE: Cohere = Cohere;

impl Wire for Cohere {
    fn encode_request(&self, request: &ChatRequest, options: &RequestOptions) -> Result<EncodedRequest, EncodeError> {
        write::encode(request, options)
    }

    fn fetches(&self) -> Fetches {
        Fetches::IMAGES
    }

    fn decoder(&self, mode: Mode, undo: Undo) -> Box<dyn Decoder> {
        match mode {
            Mode::Whole => whole::decoder(undo, read::read_answer),
            Mode::Stream => Box::new(read::StreamDecoder::new(undo)),
        }
    }

    fn decode_error(&self, status: u16, body: &[u8]) -> AnswerError {
        error_of(status, body, "message")
    }
}

/// Reads the word for why the answer ended; the word itself comes back when ours says less.
fn finish(word: &str) -> (FinishReason, Option<Box<str>>) {
    let reason = match word {
        "COMPLETE" => FinishReason::Stop,
        "STOP_SEQUENCE" => FinishReason::StopSequence,
        "MAX_TOKENS" => FinishReason::Length,
        "TOOL_CALL" => FinishReason::ToolUse,
        "ERROR_TOXIC" => return (FinishReason::ContentFilter, Some(word.into())),
        _ => return (FinishReason::Other, Some(word.into())),
    };
    (reason, None)
}

/// Reads `usage`. What is billed differs from what was read (the vendor's own prompt is free), and the bill is what counts.
fn usage(object: &Object<'_, '_>) -> Usage {
    let mut usage = Usage::default();
    let counts = ["billed_units", "tokens"].iter().find_map(|name| {
        object.find(name)?.object().ok().map(|units| {
            (
                units.find("input_tokens").and_then(|node| node.f64().ok()),
                units.find("output_tokens").and_then(|node| node.f64().ok()),
            )
        })
    });
    let (input, output) = counts.unwrap_or_default();
    usage.tokens.input = whole(input);
    usage.tokens.output = whole(output);
    let cached = object.count("cached_tokens").min(usage.tokens.input);
    usage.tokens.cached_input = cached;
    usage.tokens.input -= cached;
    usage
}

/// Reads one citation, of as many sources as it names.
fn citations(object: &Object<'_, '_>) -> Vec<Citation> {
    if object.words("type").as_deref() == Some("PLAN") {
        return Vec::new();
    }
    let span = Some(Span::Chars(object.count("start"), object.count("end")));
    let sources = object.find("sources").and_then(|node| node.array().ok());
    let read = |source: &Object<'_, '_>| {
        // What a tool said, or a document of the request: fields of the caller's own choice.
        let fields = ["document", "tool_output"].iter().find_map(|name| source.find(name)?.object().ok());
        let any = |names: [&str; 3]| names.iter().find_map(|name| fields.as_ref()?.words(name));
        let (url, title) = (any(["url", "link", "uri"]), any(["title", "name", "filename"]));
        Citation { span, url, id: source.words("id"), title, quote: any(["snippet", "text", "content"]), place: None }
    };
    let sources = sources.iter().flat_map(Array::iter).filter_map(|node: Node<'_, '_>| node.object().ok());
    sources.map(|source| read(&source)).collect()
}

/// The vendor's counts are written as decimal numbers.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked just before")]
fn whole(count: Option<f64>) -> u64 {
    count.filter(|count| (0.0..1e15).contains(count)).map_or(0, |count| count as u64)
}
