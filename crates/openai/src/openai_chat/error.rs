//! OpenAI's error bodies, and the models list.

use bytes::{Bytes, BytesMut};

use hub::canonical::error::{AnswerError, ErrorKind};
use hub::codec::json::{self, Node, ObjectWriter, object_bytes};
use hub::codec::sse;
use hub::dialect::ModelEntry;

/// Reads an error body; whatever has no known shape becomes the message.
#[must_use]
pub fn decode_error(status: u16, body: &[u8]) -> AnswerError {
    read_body(status, body).unwrap_or_else(|| AnswerError::unread(status, body))
}

fn read_body(status: u16, body: &[u8]) -> Option<AnswerError> {
    let root = json::root(body).ok()?;
    let object = root.object().ok()?;
    let Some(error) = object.find("error") else {
        // Older vLLM sends the error without a wrapper.
        return object.find("message").and_then(|_| read_error(status, &root));
    };
    if error.is_str() {
        // Ollama.
        let mut found = AnswerError::new(status, "", error.boxed().ok()?);
        found.code = None;
        return Some(found);
    }
    read_error(status, &error)
}

/// Reads the error object itself, of a body or of a stream's chunk; `status` 0 means that the object must say.
pub(crate) fn read_error(status: u16, node: &Node<'_, '_>) -> Option<AnswerError> {
    let object = node.object().ok()?;
    let text = |name| {
        let node = object.find(name)?;
        if node.is_str() { node.boxed().ok() } else { Some(node.text().into()) }
    };
    let (message, native_type, param, code) = (text("message")?, text("type"), text("param"), text("code"));
    let code_status =
        code.as_deref().and_then(|code| code.parse::<u16>().ok()).filter(|code| (400..600).contains(code));
    let status = if status == 0 { code_status.unwrap_or(500) } else { status };
    let kind = kind_of(status, code.as_deref(), native_type.as_deref(), &message);
    let code = code.filter(|code| code.parse::<u16>().is_err());
    Some(AnswerError { kind, status, code, message, param, native_type, request_id: None })
}

fn kind_of(status: u16, code: Option<&str>, native_type: Option<&str>, message: &str) -> ErrorKind {
    match code.unwrap_or_default() {
        "context_length_exceeded" => return ErrorKind::ContextWindow,
        "content_policy_violation" | "content_filter" => return ErrorKind::ContentPolicy,
        "insufficient_quota" => return ErrorKind::Billing,
        "rate_limit_exceeded" => return ErrorKind::RateLimited,
        "invalid_api_key" => return ErrorKind::Authentication,
        "model_not_found" => return ErrorKind::NotFound,
        _ => {}
    }
    if status == 400 && message.contains("maximum context length") {
        return ErrorKind::ContextWindow;
    }
    if status >= 500 && native_type == Some("insufficient_quota") {
        return ErrorKind::Billing;
    }
    ErrorKind::of_status(status)
}

/// Writes an error body.
#[must_use]
pub fn encode_error(error: &AnswerError) -> Bytes {
    object_bytes(|object| write_error(error, object))
}

/// Writes an error as the last event of a stream.
#[must_use]
pub fn encode_error_event(error: &AnswerError) -> Bytes {
    let mut out = BytesMut::new();
    sse::write("", &encode_error(error), &mut out);
    out.freeze()
}

pub(crate) fn write_error(error: &AnswerError, object: &mut ObjectWriter<'_>) {
    object.object("error", |object| {
        object.str("message", &error.message);
        object.str("type", error.native_type.as_deref().filter(|word| is_our_word(word)).unwrap_or(word(error.kind)));
        match &error.param {
            Some(param) => object.str("param", param),
            None => object.null("param"),
        }
        match &error.code {
            Some(code) => object.str("code", code),
            None => match code(error.kind) {
                Some(code) => object.str("code", code),
                None => object.null("code"),
            },
        }
        object.opt_str("request_id", error.request_id.as_deref());
    });
}

/// Anthropic's words must not reach a client that switches on OpenAI's.
fn is_our_word(word: &str) -> bool {
    !matches!(
        word,
        "api_error" | "overloaded_error" | "timeout_error" | "billing_error" | "not_found_error" | "conflict_error"
    )
}

fn word(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidRequest
        | ErrorKind::ContextWindow
        | ErrorKind::ContentPolicy
        | ErrorKind::NotFound
        | ErrorKind::Conflict
        | ErrorKind::TooLarge => "invalid_request_error",
        ErrorKind::Authentication => "authentication_error",
        ErrorKind::Permission => "permission_error",
        ErrorKind::Billing => "insufficient_quota",
        ErrorKind::RateLimited => "rate_limit_error",
        ErrorKind::Overloaded | ErrorKind::Timeout | ErrorKind::Server => "server_error",
    }
}

/// The code OpenAI's clients know, for errors that came from another dialect without one.
fn code(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::ContextWindow => Some("context_length_exceeded"),
        ErrorKind::ContentPolicy => Some("content_policy_violation"),
        ErrorKind::Billing => Some("insufficient_quota"),
        ErrorKind::RateLimited => Some("rate_limit_exceeded"),
        _ => None,
    }
}

/// Writes the answer of `GET /v1/models`.
#[must_use]
pub fn encode_models(models: &[ModelEntry]) -> Bytes {
    object_bytes(|object| {
        object.str("object", "list");
        object.array("data", |array| {
            for model in models {
                array.object(|object| write_model(model, object));
            }
        });
    })
}

/// Writes the answer of `GET /v1/models/{id}`.
#[must_use]
pub fn encode_model(model: &ModelEntry) -> Bytes {
    object_bytes(|object| write_model(model, object))
}

fn write_model(model: &ModelEntry, object: &mut ObjectWriter<'_>) {
    object.str("id", &model.id);
    object.str("object", "model");
    object.i64("created", model.created);
    object.str("owned_by", &model.owned_by);
    model.facts.write(object);
}
