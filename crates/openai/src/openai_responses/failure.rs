//! How a stream of events says that it failed.
//!
//! The reference has the fields of an `error` event at its top. OpenAI's own clients raise an error only for an object
//! under `error`, so both are written, and either is read.

use bytes::{Bytes, BytesMut};

use crate::openai_chat::{read_error, write_error};
use hub::canonical::error::{AnswerError, ErrorKind};
use hub::codec::json::{Node, ObjectWriter, write_object};
use hub::codec::sse;

/// Writes an error as the last event of a stream whose events nobody has counted.
#[must_use]
pub fn encode_error_event(error: &AnswerError) -> Bytes {
    let (mut data, mut out) = (BytesMut::new(), BytesMut::new());
    write_object(&mut data, |object| write_event(error, 0, object));
    sse::write("error", &data, &mut out);
    out.freeze()
}

/// Writes the fields of an `error` event.
pub(super) fn write_event(error: &AnswerError, number: u64, object: &mut ObjectWriter<'_>) {
    object.str("type", "error");
    object.u64("sequence_number", number);
    object.str("code", error.code.as_deref().unwrap_or(word(error.kind)));
    object.str("message", &error.message);
    match &error.param {
        Some(param) => object.str("param", param),
        None => object.null("param"),
    }
    write_error(error, object);
}

/// Writes `error` of a failed response.
pub(super) fn write_failed(error: &AnswerError, object: &mut ObjectWriter<'_>) {
    object.object("error", |object| {
        object.str("code", error.code.as_deref().unwrap_or(word(error.kind)));
        object.str("message", &error.message);
    });
}

/// Reads an `error` event or the `error` of a failed response.
pub(super) fn read_failure(node: &Node<'_, '_>) -> Option<AnswerError> {
    let object = node.object().ok()?;
    let nested = object.find("error").filter(Node::is_object);
    let mut error = match &nested {
        Some(nested) => read_error(0, nested)?,
        None => read_error(0, node)?,
    };
    error.native_type = error.native_type.filter(|word| &**word != "error");
    let is_callers = |code: &str| code.starts_with("invalid_") || code.contains("image");
    if error.kind == ErrorKind::Server && error.code.as_deref().is_some_and(is_callers) {
        error.kind = ErrorKind::InvalidRequest;
    }
    error.status = error.kind.status();
    Some(error)
}

fn word(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::RateLimited => "rate_limit_exceeded",
        ErrorKind::InvalidRequest | ErrorKind::ContentPolicy => "invalid_prompt",
        ErrorKind::ContextWindow => "context_length_exceeded",
        ErrorKind::Billing => "insufficient_quota",
        _ => "server_error",
    }
}
