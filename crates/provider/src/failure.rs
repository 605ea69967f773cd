//! What a failed attempt means: whose fault it is, and when to try again.
//!
//! A reading of status, headers and error body; it neither retries nor renders. Invariant: the words of an upstream decide
//! only within the statuses that can carry them (a "429" inside the text of a 400 is an echo, not a rate limit).

mod pause;

use std::time::Duration;

use domain::Timestamp;
use http::HeaderMap;

use crate::scan::visit_fields;
use llm::canonical::error::ErrorKind;

/// Longest pause an upstream may ask for; longer wishes are cut, because limits are lifted earlier than they say.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);
/// Bytes of an error body that are read; the rest says nothing new.
pub const MAX_ERROR_BODY: usize = 64 * 1024;

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The request itself is wrong.
    InvalidRequest,
    /// The prompt does not fit the model.
    ContextWindow,
    /// The provider's policy refused the content.
    ContentPolicy,
    /// The body is too large.
    TooLarge,
    /// The credential is wrong or expired.
    Unauthorized,
    /// The credential may not do this.
    Forbidden,
    /// The credential's account has no money or quota left.
    QuotaExhausted,
    /// The upstream knows no such model or path.
    NotFound,
    /// The conversation holds reasoning that this account did not make.
    ForeignReasoning,
    /// Too many requests or tokens.
    RateLimited,
    /// The upstream is full.
    Overloaded,
    /// The upstream failed.
    Server,
    /// No answer in time.
    Timeout,
    /// No connection.
    Connect,
    /// The connection or the body broke.
    Broken,
    /// The answer is not what the dialect says.
    Malformed,
}

impl FailureKind {
    /// Returns the kind that a client is told.
    #[must_use]
    pub fn error_kind(self) -> ErrorKind {
        match self {
            Self::InvalidRequest | Self::ForeignReasoning => ErrorKind::InvalidRequest,
            Self::ContextWindow => ErrorKind::ContextWindow,
            Self::ContentPolicy => ErrorKind::ContentPolicy,
            Self::TooLarge => ErrorKind::TooLarge,
            Self::NotFound => ErrorKind::NotFound,
            Self::RateLimited => ErrorKind::RateLimited,
            Self::Overloaded => ErrorKind::Overloaded,
            Self::Timeout => ErrorKind::Timeout,
            // A client is not to learn about our credentials or our upstreams' insides.
            Self::Unauthorized
            | Self::Forbidden
            | Self::QuotaExhausted
            | Self::Server
            | Self::Connect
            | Self::Broken
            | Self::Malformed => ErrorKind::Server,
        }
    }

    /// Returns the stable name, for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::ContextWindow => "context_window",
            Self::ContentPolicy => "content_policy",
            Self::TooLarge => "too_large",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::QuotaExhausted => "quota_exhausted",
            Self::NotFound => "not_found",
            Self::ForeignReasoning => "foreign_reasoning",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Server => "server",
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::Broken => "broken",
            Self::Malformed => "malformed",
        }
    }
}

/// What a failure is a fact about, and so what to avoid next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The request: no other target would do better.
    Request,
    /// The credential: skip targets that use it.
    Credential,
    /// This deployment: try the next target.
    Deployment,
    /// The upstream as such: try the next target, another provider first.
    Provider,
}

/// A failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong.
    pub kind: FailureKind,
    /// What it is a fact about.
    pub scope: Scope,
    /// The upstream's status, when there was an answer.
    pub status: Option<u16>,
    /// How long the upstream asked to wait.
    pub retry_after: Option<Duration>,
    /// The upstream said in so many words whether to retry (`x-should-retry`).
    pub should_retry: Option<bool>,
    /// The vendor's `type` and `code` words, at most 64 characters each.
    pub native: (Box<str>, Box<str>),
    /// The vendor's text, at most 2,000 characters. It may quote a secret: shown to a client only when it is the client's fault.
    pub message: Box<str>,
}

impl Failure {
    /// A failure without an answer.
    #[must_use]
    pub fn transport(kind: FailureKind) -> Self {
        let scope = if kind == FailureKind::Connect { Scope::Provider } else { Scope::Deployment };
        Self {
            kind,
            scope,
            status: None,
            retry_after: None,
            should_retry: None,
            native: (Box::default(), Box::default()),
            message: Box::default(),
        }
    }

    /// Says whether another target may be tried.
    #[must_use]
    pub fn can_fail_over(&self) -> bool {
        self.scope != Scope::Request
    }

    /// Says whether the same target may do better a moment later.
    #[must_use]
    pub fn can_retry(&self) -> bool {
        self.should_retry.unwrap_or(matches!(
            self.kind,
            FailureKind::RateLimited
                | FailureKind::Overloaded
                | FailureKind::Server
                | FailureKind::Timeout
                | FailureKind::Connect
                | FailureKind::Broken
        )) && self.can_fail_over()
    }

    /// Says whether the client's own request is at fault, so that it is told the upstream's status and words.
    #[must_use]
    pub fn is_clients_fault(&self) -> bool {
        self.scope == Scope::Request || matches!(self.kind, FailureKind::NotFound | FailureKind::ForeignReasoning)
    }
}

/// Reads a failed answer. `body` may be cut at [`MAX_ERROR_BODY`]; `now` turns a date in `retry-after` into a pause.
#[must_use]
pub fn classify(status: u16, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Failure {
    let mut words = Words::read(body);
    if words.kind.is_empty()
        && let Some(name) = headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok())
    {
        // AWS says the name before a colon and an address.
        words.kind = clip(name.split(':').next().unwrap_or_default(), 64);
    }
    let (kind, scope) = judge(status, &words);
    let may_wait = matches!(kind, FailureKind::RateLimited | FailureKind::Overloaded);
    Failure {
        kind,
        scope,
        status: Some(status),
        retry_after: retry_after(headers, now)
            .or_else(|| pause::said(headers, body, &words.message, now).filter(|_| may_wait)),
        should_retry: match headers.get("x-should-retry").map(http::HeaderValue::as_bytes) {
            Some(b"true") => Some(true),
            Some(b"false") => Some(false),
            _ => None,
        },
        native: (words.kind, words.code),
        message: words.message,
    }
}

fn judge(status: u16, words: &Words) -> (FailureKind, Scope) {
    match status {
        // Whoever made the reasoning, or does without, may answer.
        400 if words.is_foreign_reasoning() => (FailureKind::ForeignReasoning, Scope::Deployment),
        400 | 413 | 422 if words.is_context_window() => (FailureKind::ContextWindow, Scope::Request),
        400 | 403 | 422 if words.is_content_policy() => (FailureKind::ContentPolicy, Scope::Request),
        // Google answers a wrong key with 400, AWS with 403, Cohere with 498.
        498 if words.says(&["invalid token"]) => (FailureKind::Unauthorized, Scope::Credential),
        400 | 403 if words.is_bad_key() => (FailureKind::Unauthorized, Scope::Credential),
        400 | 429 if words.is_aws_quota() => (FailureKind::RateLimited, Scope::Credential),
        // Anthropic answers an empty account with 400.
        400 | 403 | 429 if words.is_billing() => (FailureKind::QuotaExhausted, Scope::Credential),
        402 => (FailureKind::QuotaExhausted, Scope::Credential),
        401 => (FailureKind::Unauthorized, Scope::Credential),
        403 => (FailureKind::Forbidden, Scope::Credential),
        404 => (FailureKind::NotFound, Scope::Deployment),
        408 | 504 | 524 => (FailureKind::Timeout, Scope::Deployment),
        409 | 425 => (FailureKind::Overloaded, Scope::Deployment),
        // Groq says 413 for its limit of tokens a minute.
        413 if words.is_rate_limit() => (FailureKind::RateLimited, Scope::Credential),
        413 => (FailureKind::TooLarge, Scope::Request),
        424 => (FailureKind::Server, Scope::Deployment),
        // Some say 429 when it is not the caller who asks too much.
        429 | 498 if words.is_full() => (FailureKind::Overloaded, Scope::Provider),
        429 | 498 => (FailureKind::RateLimited, Scope::Credential),
        502 | 503 | 529 => (FailureKind::Overloaded, Scope::Provider),
        400..=499 => (FailureKind::InvalidRequest, Scope::Request),
        500..=599 => (FailureKind::Server, Scope::Deployment),
        // A redirect or a status that is none: the base URL does not lead to the API.
        _ => (FailureKind::Malformed, Scope::Deployment),
    }
}

/// Reads an error that a stream carried after status 200.
#[must_use]
pub fn classify_in_band(kind: &str, code: &str, message: &str) -> Failure {
    let words = Words { kind: kind.into(), code: code.into(), message: clip(message, 2_000) };
    let status = match (kind, code) {
        ("overloaded_error", _) => 529,
        ("rate_limit_error" | "throttlingException" | "RESOURCE_EXHAUSTED", _) | (_, "rate_limit_exceeded") => 429,
        ("authentication_error", _) => 401,
        ("permission_error", _) => 403,
        ("billing_error", _) => 402,
        ("not_found_error", _) => 404,
        ("timeout_error" | "DEADLINE_EXCEEDED", _) => 504,
        ("serviceUnavailableException" | "UNAVAILABLE", _) => 503,
        (
            "invalid_request_error"
            | "BadRequestError"
            | "validationException"
            | "INVALID_ARGUMENT"
            | "FAILED_PRECONDITION",
            _,
        ) => 400,
        // Compatible servers say the status as the code.
        _ => code.parse().ok().filter(|status| (400..600).contains(status)).unwrap_or(500),
    };
    let (kind, scope) = judge(status, &words);
    Failure {
        kind,
        scope,
        status: None,
        retry_after: None,
        should_retry: None,
        native: (words.kind, words.code),
        message: words.message,
    }
}

// === The error body ===

/// The three words of an error body, whatever its shape: OpenAI's and Anthropic's `{"error": {…}}`, the flat form of older
/// compatible servers, `{"error": "text"}`, `{"message": …}`, `{"detail": …}`, or no JSON at all.
#[derive(Debug, Default)]
struct Words {
    kind: Box<str>,
    code: Box<str>,
    message: Box<str>,
}

impl Words {
    fn read(body: &[u8]) -> Self {
        // Google wraps the errors of streams in an array; so does Cloudflare its list of errors.
        let body = first_item(body);
        let mut outer = Self::default();
        let mut inner = None;
        let read = visit_fields(body, |key, span| {
            let value = span.of(body);
            match key {
                "error" if value.starts_with(b"{") => inner = Some(Self::read_fields(value)),
                "errors" if value.starts_with(b"[") => inner = Some(Self::read_fields(first_item(value))),
                "error" | "message" | "detail" => outer.message = word(value, 2_000),
                "title" if outer.message.is_empty() => outer.message = word(value, 2_000),
                "type" => outer.kind = word(value, 64),
                "code" | "error_code" => outer.code = word(value, 64),
                _ => {}
            }
        });
        match (read, inner) {
            (_, Some(inner)) => inner,
            (Ok(()), None) => outer,
            (Err(_), None) => Self { message: clip(&String::from_utf8_lossy(body), 2_000), ..Self::default() },
        }
    }

    fn read_fields(object: &[u8]) -> Self {
        let mut words = Self::default();
        let read = visit_fields(object, |key, span| {
            let value = span.of(object);
            match key {
                "type" => words.kind = word(value, 64),
                "status" if words.kind.is_empty() && value.starts_with(b"\"") => words.kind = word(value, 64),
                "code" => words.code = word(value, 64),
                "message" => words.message = word(value, 2_000),
                _ => {}
            }
        });
        // A cut body loses its end, not what was read before.
        if read.is_err() && words.message.is_empty() {
            words.message = clip(&String::from_utf8_lossy(object), 2_000);
        }
        words
    }

    fn says(&self, phrases: &[&str]) -> bool {
        let text = self.message.to_ascii_lowercase();
        phrases.iter().any(|phrase| text.contains(phrase))
    }

    fn is_context_window(&self) -> bool {
        &*self.code == "context_length_exceeded" || self.says(CONTEXT_WINDOW)
    }

    fn is_foreign_reasoning(&self) -> bool {
        &*self.code == "invalid_encrypted_content"
            || self.says(&[
                "invalid `signature` in `thinking` block",
                "encrypted content could not be",
                "thought signature is not valid",
                "corrupted thought signature",
            ])
    }

    fn is_content_policy(&self) -> bool {
        matches!(&*self.code, "content_policy_violation" | "content_filter" | "content_filter_policy")
            || self.says(CONTENT_POLICY)
    }

    fn is_billing(&self) -> bool {
        // Google uses OpenAI's words for quotas that a minute restores.
        &*self.kind != "RESOURCE_EXHAUSTED"
            && (matches!(&*self.kind, "billing_error" | "insufficient_quota")
                || matches!(&*self.code, "insufficient_quota" | "billing_hard_limit_reached")
                || self.says(BILLING))
    }

    fn is_bad_key(&self) -> bool {
        matches!(&*self.kind, "UnrecognizedClientException" | "InvalidSignatureException" | "ExpiredTokenException")
            || self.says(&["api key not valid", "invalid api token", "security token included in the request is"])
    }

    fn is_aws_quota(&self) -> bool {
        matches!(&*self.kind, "ServiceQuotaExceededException" | "ThrottlingException")
    }

    fn is_full(&self) -> bool {
        &*self.kind == "ModelNotReadyException"
            || matches!(&*self.code, "queue_exceeded" | "capacity_exceeded")
            || self.says(&[
                "capacity temporarily exceeded",
                "high traffic",
                "maximum pending requests exceeded",
                "model busy",
            ])
    }

    fn is_rate_limit(&self) -> bool {
        &*self.code == "rate_limit_exceeded" || self.says(&["tokens per minute", "requests per minute", "rate limit"])
    }
}

/// How the vendors and compatible servers say that a prompt is too long (field notes, read November 2026).
const CONTEXT_WINDOW: &[&str] = &[
    "prompt is too long",
    "exceed context limit",
    "maximum context length is",
    "exceeds the model's maximum context length",
    "model's maximum context limit",
    "longer than the model's context length",
    "input tokens exceed the configured limit",
    "`inputs` tokens + `max_new_tokens` must be",
    "exceeds the available context size",
    "exceeds the maximum number of tokens allowed",
    "input length and `max_tokens` exceed context limit",
    "input is too long",
    "input too long",
    "too many tokens",
    "too many input tokens",
    "requested token count exceeds the model's",
    "maximum input length is",
    "while limit is",
    "maximum prompt length is",
    "too large for model with",
    "reduce the length of the messages",
    "exceeded this model context window limit",
    "exceeded max context length",
    "string too long. expected a string with maximum length",
    "expected maxlength",
];
/// How they say that a policy refused the content.
const CONTENT_POLICY: &[&str] = &[
    "content_policy_violation",
    "responsibleaipolicyviolation",
    "content management policy",
    "rejected as a result of our safety system",
    "failed as a result of our safety system",
    "content filtering policy",
    "violating our usage policy",
    "violates usage guidelines",
    "flagged by moderation",
    "the response was blocked",
    "produced invalid content",
    // Mistral's guardrails (docs.mistral.ai/studio/safety-moderation) and those of Databricks' gateway, whose message is JSON.
    "content blocked by guardrail",
    "\"input_guardrail\":",
    "\"output_guardrail\":",
];
/// How they say that the account is empty.
const BILLING: &[&str] = &["credit balance is too low", "exceeded your current quota", "billing hard limit"];

fn word(json: &[u8], limit: usize) -> Box<str> {
    match serde_json::from_slice::<std::borrow::Cow<'_, str>>(json) {
        Ok(text) => clip(&text, limit),
        Err(_) if json == b"null" => Box::default(),
        // Numbers and objects in their own words: `"code": 400`, `"detail": [{…}]`.
        Err(_) => clip(&String::from_utf8_lossy(json), limit),
    }
}

/// Returns the first item of an array, and everything else as it is.
fn first_item(json: &[u8]) -> &[u8] {
    let Some(inside) = json.trim_ascii().strip_prefix(b"[") else { return json };
    let items: Option<Vec<&serde_json::value::RawValue>> = serde_json::from_slice(json).ok();
    items.and_then(|items| items.first().map(|item| item.get().as_bytes())).unwrap_or(inside)
}

fn clip(text: &str, limit: usize) -> Box<str> {
    let end = text.char_indices().nth(limit).map_or(text.len(), |(at, _)| at);
    text[..end].into()
}

// === Retry-After ===

/// Reads `retry-after-ms`, `retry-after` in seconds or as a date (RFC 9110 §10.2.3), at most [`MAX_RETRY_AFTER`].
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let wait = match (text("retry-after-ms").and_then(decimal), text("retry-after")) {
        // A millionth of a millisecond is a nanosecond.
        (Some(millionths), _) => Duration::from_nanos(millionths),
        (None, Some(value)) => match decimal(value) {
            Some(millionths) => Duration::from_micros(millionths),
            None => http_date(value)?.since(now),
        },
        (None, None) => return None,
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// Reads a non-negative decimal number, in millionths.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(part) {
        return None;
    }
    let whole: u64 = whole.parse().unwrap_or(u64::MAX);
    let part: u64 = format!("{part:0<6}").get(..6)?.parse().ok()?;
    Some(whole.saturating_mul(1_000_000).saturating_add(part))
}

/// Reads the only form of date that may be sent: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
fn http_date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, rest) = text.split_once(", ")?;
    let mut parts = rest.split(' ');
    let (day, month, year, time) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    format!("{year}-{month:02}-{day}T{time}Z").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> (FailureKind, Scope) {
        let failure = classify(status, &HeaderMap::new(), body.as_bytes(), Timestamp::default());
        (failure.kind, failure.scope)
    }

    fn waits(name: &'static str, value: &str) -> Option<Duration> {
        let headers = HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())]);
        retry_after(&headers, "1994-11-06T08:49:00Z".parse().unwrap())
    }

    #[test]
    fn statuses_and_words_decide_together() {
        use FailureKind as Kind;
        let check = |status, body: &str, kind, scope| assert_eq!(of(status, body), (kind, scope), "{status} {body}");
        check(
            400,
            r#"{"error":{"message":"bad","type":"invalid_request_error"}}"#,
            Kind::InvalidRequest,
            Scope::Request,
        );
        check(
            400,
            r#"{"error":{"message":"x","code":"context_length_exceeded"}}"#,
            Kind::ContextWindow,
            Scope::Request,
        );
        check(
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens"}}"#,
            Kind::ContextWindow,
            Scope::Request,
        );
        check(
            400,
            r#"{"object":"error","message":"This model's maximum context length is 4096 tokens","type":"BadRequestError","code":400}"#,
            Kind::ContextWindow,
            Scope::Request,
        );
        check(
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}"#,
            Kind::QuotaExhausted,
            Scope::Credential,
        );
        check(
            400,
            r#"{"error":{"code":"content_filter","message":"The response was filtered due to … content management policy"}}"#,
            Kind::ContentPolicy,
            Scope::Request,
        );
        check(429, r#"{"error":{"code":"insufficient_quota","message":"x"}}"#, Kind::QuotaExhausted, Scope::Credential);
        check(429, r#"{"error":{"code":"rate_limit_exceeded","message":"x"}}"#, Kind::RateLimited, Scope::Credential);
        check(401, "", Kind::Unauthorized, Scope::Credential);
        check(403, "", Kind::Forbidden, Scope::Credential);
        check(404, r#"{"error":{"code":"model_not_found"}}"#, Kind::NotFound, Scope::Deployment);
        check(
            400,
            r#"{"error":{"code":"invalid_encrypted_content","type":"invalid_request_error","message":"x"}}"#,
            Kind::ForeignReasoning,
            Scope::Deployment,
        );
        check(
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages.1.content.0: Invalid `signature` in `thinking` block"}}"#,
            Kind::ForeignReasoning,
            Scope::Deployment,
        );
        check(413, "", Kind::TooLarge, Scope::Request);
        check(
            413,
            r#"{"error":{"message":"Limit 6000 tokens per minute","code":"rate_limit_exceeded"}}"#,
            Kind::RateLimited,
            Scope::Credential,
        );
        check(500, "<html>", Kind::Server, Scope::Deployment);
        check(529, r#"{"type":"error","error":{"type":"overloaded_error"}}"#, Kind::Overloaded, Scope::Provider);
        check(302, "", Kind::Malformed, Scope::Deployment);
        // An echoed number is not a rate limit.
        check(400, r#"{"error":{"message":"invalid token id 429"}}"#, Kind::InvalidRequest, Scope::Request);
    }

    #[test]
    fn words_survive_every_shape_of_body() {
        let read = |body: &str| Words::read(body.as_bytes());
        assert_eq!(&*read(r#"{"error":"model not loaded"}"#).message, "model not loaded");
        assert_eq!(&*read(r#"{"detail":[{"msg":"x"}]}"#).message, r#"[{"msg":"x"}]"#);
        assert_eq!(&*read("upstream says no").message, "upstream says no");
        assert_eq!(
            &*read(r#"{"error":{"message":"cut","#).message,
            "upstream says no".replace("upstream says no", r#"{"error":{"message":"cut","#)
        );
        assert_eq!(read(&format!(r#"{{"message":"{}"}}"#, "é".repeat(5_000))).message.chars().count(), 2_000);
    }

    #[test]
    fn a_pause_is_read_in_every_form() {
        assert_eq!(waits("retry-after", "2"), Some(Duration::from_secs(2)));
        assert_eq!(waits("retry-after", "0.25"), Some(Duration::from_millis(250)));
        assert_eq!(waits("retry-after-ms", "1500"), Some(Duration::from_millis(1_500)));
        assert_eq!(waits("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(37)));
        assert_eq!(waits("retry-after", "Sun, 06 Nov 1994 08:48:00 GMT"), Some(Duration::ZERO));
        assert_eq!(waits("retry-after", "99999999999999999999999"), Some(MAX_RETRY_AFTER));
        for junk in ["soon", "-1", "1e3", ""] {
            assert_eq!(waits("retry-after", junk), None, "{junk}");
        }
    }

    #[test]
    fn an_upstream_may_say_whether_to_retry() {
        let headers =
            HeaderMap::from_iter([(http::HeaderName::from_static("x-should-retry"), "false".parse().unwrap())]);
        let failure = classify(500, &headers, b"", Timestamp::default());
        assert!(!failure.can_retry() && failure.can_fail_over());
        assert!(classify(500, &HeaderMap::new(), b"", Timestamp::default()).can_retry());
        assert!(!classify(400, &HeaderMap::new(), b"", Timestamp::default()).can_fail_over());
    }

    #[test]
    fn errors_inside_a_stream_are_judged_by_their_words() {
        assert_eq!(classify_in_band("overloaded_error", "", "Overloaded").scope, Scope::Provider);
        assert_eq!(classify_in_band("", "rate_limit_exceeded", "").kind, FailureKind::RateLimited);
        assert_eq!(classify_in_band("", "", "boom").kind, FailureKind::Server);
    }
}
