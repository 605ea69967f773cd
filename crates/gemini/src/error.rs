//! Gemini's error bodies (`google.rpc.Status`), and its models list.

use bytes::{Bytes, BytesMut};

use hub::canonical::error::{AnswerError, ErrorKind};
use hub::codec::json::{self, Node, ObjectWriter, object_bytes};
use hub::codec::sse;
use hub::dialect::ModelEntry;

/// Reads an error body; whatever has no known shape becomes the message.
#[must_use]
pub fn decode_error(status: u16, body: &[u8]) -> AnswerError {
    let read = json::root(body).ok().and_then(|root| read_error(status, &root));
    read.unwrap_or_else(|| AnswerError::unread(status, body))
}

/// Reads `{"error":{…}}`, or an array that begins with it, as streams without events have; `status` 0 means that the
/// error's own code must say.
pub(super) fn read_error(status: u16, node: &Node<'_, '_>) -> Option<AnswerError> {
    if node.is_array() {
        let items = node.array().ok()?;
        let first = items.iter().next().filter(Node::is_object)?;
        return read_error(status, &first);
    }
    let outer = node.object().ok()?;
    let error = outer.find("error")?;
    let error = error.object().ok()?;
    let message = error.find_boxed("message").ok()??;
    let native_type = error.find_boxed("status").ok().flatten();
    let mut read = AnswerError {
        kind: ErrorKind::Server,
        status,
        code: None,
        message,
        param: None,
        native_type,
        request_id: None,
    };
    if let Some(details) = error.find("details").and_then(|node| node.array().ok()) {
        for detail in details.iter() {
            read_detail(&detail, &mut read);
        }
    }
    let code = error.find("code").and_then(|node| u16::try_from(node.u64().ok()?).ok());
    let status = if status == 0 { code.filter(|code| (400..600).contains(code)).unwrap_or(0) } else { status };
    read.kind = kind_of(status, &read);
    // A wrong key is the request's fault in the vendor's eyes; everybody else calls it 401.
    let is_named_otherwise = read.kind == ErrorKind::Authentication || status == 0;
    read.status = if is_named_otherwise { read.kind.status() } else { status };
    Some(read)
}

fn read_detail(node: &Node<'_, '_>, error: &mut AnswerError) {
    let Ok(detail) = node.object() else { return };
    let text = |name: &str| detail.find_boxed(name).ok().flatten();
    error.code = text("reason").map(|reason| reason.to_ascii_lowercase().into()).or_else(|| error.code.take());
    error.request_id = text("requestId").or_else(|| error.request_id.take());
    let first = detail.find("fieldViolations").and_then(|node| node.array().ok());
    let field = first.as_ref().and_then(|items| items.iter().next()?.object().ok()?.find_boxed("field").ok()?);
    error.param = field.or_else(|| error.param.take());
}

fn kind_of(status: u16, error: &AnswerError) -> ErrorKind {
    let message = &*error.message;
    let is_about_key = message.contains("API key not valid") || error.code.as_deref() == Some("api_key_invalid");
    match error.native_type.as_deref().unwrap_or_default() {
        "INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "OUT_OF_RANGE" if is_about_key => ErrorKind::Authentication,
        "INVALID_ARGUMENT" | "OUT_OF_RANGE"
            if message.contains("exceeds the maximum number of tokens")
                || message.contains("exceed the maximum number of tokens")
                || message.contains("input token count") =>
        {
            ErrorKind::ContextWindow
        }
        "INVALID_ARGUMENT" | "OUT_OF_RANGE" if status == 413 => ErrorKind::TooLarge,
        "FAILED_PRECONDITION" if message.contains("billing") => ErrorKind::Billing,
        "FAILED_PRECONDITION" if message.contains("location is not supported") => ErrorKind::Permission,
        "INVALID_ARGUMENT" | "OUT_OF_RANGE" | "FAILED_PRECONDITION" => ErrorKind::InvalidRequest,
        "UNAUTHENTICATED" => ErrorKind::Authentication,
        "PERMISSION_DENIED" => ErrorKind::Permission,
        "NOT_FOUND" => ErrorKind::NotFound,
        "ABORTED" | "ALREADY_EXISTS" => ErrorKind::Conflict,
        "RESOURCE_EXHAUSTED" if status == 402 => ErrorKind::Billing,
        "RESOURCE_EXHAUSTED" => ErrorKind::RateLimited,
        "UNAVAILABLE" => ErrorKind::Overloaded,
        "DEADLINE_EXCEEDED" => ErrorKind::Timeout,
        "INTERNAL" | "UNKNOWN" | "DATA_LOSS" => ErrorKind::Server,
        _ => ErrorKind::of_status(status),
    }
}

fn word(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidRequest | ErrorKind::ContextWindow | ErrorKind::ContentPolicy | ErrorKind::TooLarge => {
            "INVALID_ARGUMENT"
        }
        ErrorKind::Authentication => "UNAUTHENTICATED",
        ErrorKind::Billing | ErrorKind::RateLimited => "RESOURCE_EXHAUSTED",
        ErrorKind::Permission => "PERMISSION_DENIED",
        ErrorKind::NotFound => "NOT_FOUND",
        ErrorKind::Conflict => "ABORTED",
        ErrorKind::Overloaded => "UNAVAILABLE",
        ErrorKind::Timeout => "DEADLINE_EXCEEDED",
        ErrorKind::Server => "INTERNAL",
    }
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

pub(super) fn write_error(error: &AnswerError, object: &mut ObjectWriter<'_>) {
    let detail = |object: &mut ObjectWriter<'_>, kind: &str| {
        object.str("@type", &format!("type.googleapis.com/google.rpc.{kind}"));
    };
    object.object("error", |object| {
        object.u64("code", error.status.into());
        object.str("message", &error.message);
        object.str("status", word(error.kind));
        if error.code.is_none() && error.param.is_none() && error.request_id.is_none() {
            return;
        }
        object.array("details", |array| {
            if let Some(code) = &error.code {
                array.object(|object| {
                    detail(object, "ErrorInfo");
                    object.str("reason", &code.to_ascii_uppercase());
                });
            }
            if let Some(param) = &error.param {
                array.object(|object| {
                    detail(object, "BadRequest");
                    object.array("fieldViolations", |array| array.object(|object| object.str("field", param)));
                });
            }
            if let Some(id) = &error.request_id {
                array.object(|object| {
                    detail(object, "RequestInfo");
                    object.str("requestId", id);
                });
            }
        });
    });
}

/// Writes the answer of `GET /v1beta/models`: one page with everything.
#[must_use]
pub fn encode_models(models: &[ModelEntry]) -> Bytes {
    object_bytes(|object| {
        object.array("models", |array| {
            for model in models {
                array.object(|object| write_model(model, object));
            }
        });
    })
}

/// Writes the answer of `GET /v1beta/models/{id}`.
#[must_use]
pub fn encode_model(model: &ModelEntry) -> Bytes {
    object_bytes(|object| write_model(model, object))
}

fn write_model(model: &ModelEntry, object: &mut ObjectWriter<'_>) {
    object.str("name", &format!("models/{}", model.id));
    object.str("displayName", model.display_name.as_deref().unwrap_or(&model.id));
    let facts = &model.facts;
    for (name, tokens) in [("inputTokenLimit", facts.context_tokens), ("outputTokenLimit", facts.max_output_tokens)] {
        if let Some(tokens) = tokens {
            object.u64(name, tokens);
        }
    }
    let methods: &[&str] = if facts.is_embedding {
        &["embedContent", "batchEmbedContents"]
    } else {
        &["generateContent", "streamGenerateContent", "countTokens"]
    };
    object.array("supportedGenerationMethods", |array| methods.iter().for_each(|name| array.str(name)));
    if facts.parameters.contains(&"reasoning") {
        object.bool("thinking", true);
    }
    facts.write_prices(object);
}
