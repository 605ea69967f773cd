//! Anthropic's error bodies, and its models list.

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

/// Reads `{"type":"error","error":{…}}`; `status` 0 means that the type must say.
pub(super) fn read_error(status: u16, node: &Node<'_, '_>) -> Option<AnswerError> {
    let outer = node.object().ok()?;
    let error = outer.find("error")?;
    let error = error.object().ok()?;
    let message = error.find_boxed("message").ok()??;
    let native_type = error.find_boxed("type").ok()?;
    let kind = kind_of(status, native_type.as_deref().unwrap_or_default(), &message);
    Some(AnswerError {
        kind,
        status: if status == 0 { kind.status() } else { status },
        code: error.find_boxed("code").ok().flatten(),
        message,
        param: None,
        native_type,
        request_id: outer.find_boxed("request_id").ok().flatten(),
    })
}

fn kind_of(status: u16, word: &str, message: &str) -> ErrorKind {
    match word {
        "invalid_request_error"
            if message.contains("prompt is too long") || message.contains("exceed context limit") =>
        {
            ErrorKind::ContextWindow
        }
        "invalid_request_error" if message.contains("content filtering policy") => ErrorKind::ContentPolicy,
        "invalid_request_error" if message.contains("credit balance is too low") => ErrorKind::Billing,
        "invalid_request_error" => ErrorKind::InvalidRequest,
        "authentication_error" => ErrorKind::Authentication,
        "billing_error" => ErrorKind::Billing,
        "permission_error" => ErrorKind::Permission,
        "not_found_error" => ErrorKind::NotFound,
        "conflict_error" => ErrorKind::Conflict,
        "request_too_large" => ErrorKind::TooLarge,
        "rate_limit_error" => ErrorKind::RateLimited,
        "timeout_error" => ErrorKind::Timeout,
        "overloaded_error" => ErrorKind::Overloaded,
        "api_error" => ErrorKind::Server,
        _ => ErrorKind::of_status(status),
    }
}

fn word(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidRequest | ErrorKind::ContextWindow | ErrorKind::ContentPolicy => "invalid_request_error",
        ErrorKind::Authentication => "authentication_error",
        ErrorKind::Billing => "billing_error",
        ErrorKind::Permission => "permission_error",
        ErrorKind::NotFound => "not_found_error",
        ErrorKind::Conflict => "conflict_error",
        ErrorKind::TooLarge => "request_too_large",
        ErrorKind::RateLimited => "rate_limit_error",
        ErrorKind::Overloaded => "overloaded_error",
        ErrorKind::Timeout => "timeout_error",
        ErrorKind::Server => "api_error",
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
    sse::write("error", &encode_error(error), &mut out);
    out.freeze()
}

pub(super) fn write_error(error: &AnswerError, object: &mut ObjectWriter<'_>) {
    object.str("type", "error");
    object.object("error", |object| {
        object.str("type", word(error.kind));
        object.str("message", &error.message);
        // Not in the vendor's reference, but its SDKs keep it, and the code is what programs should switch on.
        object.opt_str("code", error.code.as_deref());
        object.opt_str("param", error.param.as_deref());
    });
    object.opt_str("request_id", error.request_id.as_deref());
}

/// Writes the answer of `GET /v1/models`: one page with everything.
#[must_use]
pub fn encode_models(models: &[ModelEntry]) -> Bytes {
    object_bytes(|object| {
        object.array("data", |array| {
            for model in models {
                array.object(|object| write_model(model, object));
            }
        });
        object.bool("has_more", false);
        for (name, model) in [("first_id", models.first()), ("last_id", models.last())] {
            match model {
                Some(model) => object.str(name, &model.id),
                None => object.null(name),
            }
        }
    })
}

/// Writes the answer of `GET /v1/models/{id}`.
#[must_use]
pub fn encode_model(model: &ModelEntry) -> Bytes {
    object_bytes(|object| write_model(model, object))
}

fn write_model(model: &ModelEntry, object: &mut ObjectWriter<'_>) {
    object.str("type", "model");
    object.str("id", &model.id);
    object.str("display_name", model.display_name.as_deref().unwrap_or(&model.id));
    object.str("created_at", &rfc3339(model.created));
    // The vendor's own names; the window includes the answer.
    for (name, tokens) in
        [("max_input_tokens", model.facts.context_tokens), ("max_tokens", model.facts.max_output_tokens)]
    {
        if let Some(tokens) = tokens {
            object.u64(name, tokens);
        }
    }
    model.facts.write(object);
}

/// Writes seconds since the epoch as RFC 3339 in UTC (days to civil date after Howard Hinnant's algorithm).
fn rfc3339(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_civil() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(rfc3339(951_868_800), "2000-03-01T00:00:00Z");
        assert_eq!(rfc3339(1_700_000_000), "2023-11-14T22:13:20Z");
    }
}
