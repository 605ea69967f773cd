//! AWS Bedrock's Converse: one form for the models of all vendors on it.
//!
//! Facts: the service model in the vendor's SDK (botocore 1.44.5, `bedrock-runtime`), read November 2026. What the service
//! cannot fetch (pictures and documents by address) is an error here, because the answer would be about something else.

mod conversation;
mod read;
mod write;

use hub::canonical::citation::{Citation, Place, Unit};
use hub::canonical::error::{AnswerError, EncodeError};
use hub::canonical::event::FinishReason;
use hub::canonical::request::ChatRequest;
use hub::canonical::usage::Usage;
use hub::codec::json::{Array, Node, Object};
use hub::dialect::{Decoder, EncodedRequest, Mode, RequestOptions, Undo, whole};

use super::{Wire, error_of};

pub use read::exception;

/// Converse.
#[derive(Debug)]
pub struct Converse;

/// The format.
pub static CONVERSE: Converse = Converse;

impl Wire for Converse {
    fn encode_request(&self, request: &ChatRequest, options: &RequestOptions) -> Result<EncodedRequest, EncodeError> {
        write::encode(request, options)
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
        "end_turn" => FinishReason::Stop,
        "stop_sequence" => FinishReason::StopSequence,
        "max_tokens" => FinishReason::Length,
        "model_context_window_exceeded" => FinishReason::ContextWindow,
        "tool_use" => FinishReason::ToolUse,
        "guardrail_intervened" | "content_filtered" => return (FinishReason::ContentFilter, Some(word.into())),
        _ => return (FinishReason::Other, Some(word.into())),
    };
    (reason, None)
}

/// Reads one citation, whole or of a stream.
fn citation(object: &Object<'_, '_>) -> Citation {
    let mut citation = Citation { title: object.words("title"), id: object.words("source"), ..Citation::default() };
    let words = object.find("sourceContent").and_then(|node| node.array().ok());
    let words: String = (words.iter().flat_map(Array::iter))
        .filter_map(|node: Node<'_, '_>| node.object().ok()?.find_string("text").ok().flatten())
        .collect();
    citation.quote = (!words.is_empty()).then(|| words.into());
    object.report("location", |location| {
        location.report("web", |web| citation.url = web.words("url").or_else(|| web.words("domain")));
        for (name, unit) in [("documentChar", Unit::Char), ("documentPage", Unit::Page), ("documentChunk", Unit::Block)]
        {
            let read = |place: &Object<'_, '_>| Place {
                document: place.count("documentIndex"),
                unit,
                start: place.count("start"),
                end: place.count("end"),
            };
            citation.place = location.report(name, read).or(citation.place);
        }
    });
    citation
}

/// Reads `usage`; its `inputTokens` excludes the cache, as canonical counts do.
fn usage(object: &Object<'_, '_>) -> Usage {
    let mut usage = Usage::default();
    let tokens = &mut usage.tokens;
    tokens.input = object.count("inputTokens");
    tokens.output = object.count("outputTokens");
    tokens.cached_input = object.count("cacheReadInputTokens");
    let written = object.count("cacheWriteInputTokens");
    let details = object.find("cacheDetails").and_then(|node| node.array().ok());
    for node in details.iter().flat_map(Array::iter) {
        let Ok(detail) = node.object() else { continue };
        if detail.find_string("ttl").ok().flatten().as_deref() == Some("1h") {
            tokens.cache_write_1h = tokens.cache_write_1h.saturating_add(detail.count("inputTokens"));
        }
    }
    tokens.cache_write_1h = tokens.cache_write_1h.min(written);
    tokens.cache_write_5m = written - tokens.cache_write_1h;
    usage
}
