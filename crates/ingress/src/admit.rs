//! Stage 1: reads the request head. No IO, no look-ups.
//!
//! Gives [`Head`]: what is asked for, how long it may take, what the caller wants noted. Everything that can be refused
//! without knowing the caller is refused here.

use std::borrow::Cow;
use std::time::Duration;

use batch::BatchCall;
use domain::code::GatewayCode;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use percent_encoding::percent_decode_str;

use crate::endpoint::{self, Endpoint, Found, Miss};
use crate::limits::Limits;
use crate::rejection::Rejection;
use crate::surface::Surface;
use crate::wish::Wish;

/// Names the span that a request is part of (W3C Trace Context, section 3.2).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const DEBUG: HeaderName = HeaderName::from_static("x-headgate-debug");
const TIMEOUT: HeaderName = HeaderName::from_static("x-headgate-timeout-ms");
const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// Longest value kept of `x-headgate-user`, `-conversation-id` and `-trace-id`, in characters.
const MAX_NOTE: usize = 256;
/// Most pairs of `x-headgate-metadata` and most `x-headgate-tags`.
const MAX_NOTES: usize = 32;

/// What the head of a request says.
#[derive(Debug)]
pub struct Head<'a> {
    /// What is asked for.
    pub endpoint: Endpoint<'a>,
    /// The model that the address names, still percent-encoded.
    pub model: Option<&'a str>,
    /// A stream is wanted as the items of one JSON array: Gemini's without `alt=sse`.
    pub wants_array: bool,
    /// How the body is compressed.
    pub encoding: Encoding,
    /// The declared length of the body.
    pub length: Option<u64>,
    /// `x-headgate-timeout-ms`: may only shorten what the route allows.
    pub timeout: Option<Duration>,
    /// `x-headgate-debug: 1`.
    pub is_debug: bool,
}

impl Head<'_> {
    /// Returns the model that the address names.
    pub fn address(&self) -> Result<Option<Cow<'_, str>>, Rejection> {
        let Some(encoded) = self.model else { return Ok(None) };
        let refused = || Rejection::new(GatewayCode::RequestInvalid, "the model name in the path is not UTF-8");
        endpoint::decode_model(encoded).map(Some).ok_or_else(refused)
    }
}

/// How the body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 1950, or the bare stream of RFC 1951.
    Deflate,
}

/// What the caller wants noted in the usage event.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    /// `x-headgate-user`.
    pub end_user: Option<String>,
    /// `x-headgate-conversation-id`.
    pub conversation_id: Option<String>,
    /// `x-headgate-trace-id`, or that of a `traceparent`.
    pub trace_id: Option<String>,
    /// `x-headgate-metadata`.
    pub metadata: Vec<(String, String)>,
    /// `x-headgate-tags`.
    pub tags: Vec<String>,
    /// What is said about answers that are given again.
    pub cache: Wish,
}

/// Most headers without a meaning that are named, and the longest name of one.
const MAX_UNKNOWN: usize = 8;
const MAX_UNKNOWN_LENGTH: usize = 64;
/// What our headers begin with.
pub const OWN_PREFIX: &str = "x-headgate-";

/// What our headers are named without what they all begin with.
const KNOWN: [&str; 11] = [
    "user",
    "conversation-id",
    "trace-id",
    "metadata",
    "tags",
    "cache",
    "cache-ttl",
    "key",
    "timeout-ms",
    "debug",
    "rehearse",
];

/// Lists headers that begin like ours and mean nothing, such as a mistyped one.
#[must_use]
pub fn list_unknown(headers: &HeaderMap) -> Vec<String> {
    let names = headers.keys().map(HeaderName::as_str).filter(|name| {
        let own = name.strip_prefix(OWN_PREFIX);
        own.is_some_and(|own| !KNOWN.contains(&own) && own.len() <= MAX_UNKNOWN_LENGTH)
    });
    names.take(MAX_UNKNOWN).map(str::to_owned).collect()
}

/// Answering without the prompt that was asked for would be answering something else.
fn refuse_prompt() -> Rejection {
    let detail = "there is no prompt of this name: this installation keeps no prompts; send the messages themselves, without x-headgate-prompt";
    Rejection::new(GatewayCode::PromptUnknown, detail)
}

/// Reads the head.
pub fn admit<'a>(method: &Method, uri: &'a Uri, headers: &HeaderMap, limits: &Limits) -> Result<Head<'a>, Rejection> {
    let Found { endpoint, model } = endpoint::find_endpoint(method, uri.path()).map_err(refuse_miss)?;
    check_size(headers, limits)?;
    let has_body =
        matches!(endpoint, Endpoint::Transform | Endpoint::ClientSecrets { .. }) || Surface::of(endpoint).is_some();
    if has_body {
        check_content_type(headers, matches!(endpoint, Endpoint::Task(task) if task.takes_files()))?;
    }
    let is_gemini_stream = endpoint == Endpoint::GenerateContent { is_stream: true };
    Ok(Head {
        endpoint,
        model,
        wants_array: is_gemini_stream && !endpoint::wants_events(uri.query()),
        encoding: encoding(headers)?,
        length: declared_length(headers, max_length(endpoint, limits))?,
        timeout: timeout(headers)?,
        is_debug: headers.get(DEBUG).is_some_and(|value| value == "1" || value == "true"),
    })
}

/// Refuses a request that declares its length twice, in two ways.
pub fn refuse_double_framing() -> Rejection {
    Rejection::new(
        GatewayCode::RequestInvalid,
        "the request has both Transfer-Encoding and Content-Length; send one of them (RFC 9112, section 6.1)",
    )
    .closing()
}

fn refuse_miss(miss: Miss) -> Rejection {
    match miss {
        Miss::Path => Rejection::new(
            GatewayCode::EndpointUnknown,
            "this path does not exist; Headgate serves OpenAI's (base URL ending in /v1), Azure's (/openai), Anthropic's and \
             Google's (/v1beta) surfaces, both with a base URL without a version",
        ),
        Miss::Unserved(why) => Rejection::new(GatewayCode::EndpointUnknown, why),
        Miss::Method { allow } => {
            Rejection::new(GatewayCode::MethodNotAllowed, format!("send this path a {allow} request")).with_allow(allow)
        }
    }
}

fn check_size(headers: &HeaderMap, limits: &Limits) -> Result<(), Rejection> {
    // Four bytes a line for `: ` and the line end.
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if size > limits.max_header_bytes {
        let detail = format!("the request head has {size} bytes, more than the {} allowed", limits.max_header_bytes);
        return Err(Rejection::new(GatewayCode::RequestInvalid, detail).closing());
    }
    Ok(())
}

fn check_content_type(headers: &HeaderMap, takes_files: bool) -> Result<(), Rejection> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let text = value.to_str().unwrap_or_default();
    let kind = text.split(';').next().unwrap_or_default().trim();
    let is_json = kind.eq_ignore_ascii_case("application/json")
        || (kind.len() > 5 && kind.as_bytes()[kind.len() - 5..].eq_ignore_ascii_case(b"+json"));
    if is_json || takes_files && kind.eq_ignore_ascii_case("multipart/form-data") {
        Ok(())
    } else if takes_files {
        let detail = "send the body as content-type: multipart/form-data, or application/json";
        Err(Rejection::new(GatewayCode::RequestInvalid, detail))
    } else {
        Err(Rejection::new(GatewayCode::RequestInvalid, "send the body as content-type: application/json"))
    }
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Rejection> {
    let mut values = headers.get_all(CONTENT_ENCODING).iter();
    let Some(value) = values.next() else { return Ok(Encoding::Identity) };
    let found = match value.as_bytes() {
        text if text.eq_ignore_ascii_case(b"gzip") || text.eq_ignore_ascii_case(b"x-gzip") => Some(Encoding::Gzip),
        text if text.eq_ignore_ascii_case(b"deflate") => Some(Encoding::Deflate),
        text if text.eq_ignore_ascii_case(b"identity") => Some(Encoding::Identity),
        _ => None,
    };
    match found {
        Some(encoding) if values.next().is_none() => Ok(encoding),
        _ => Err(Rejection::new(
            GatewayCode::RequestInvalid,
            "this content-encoding is not supported; send the body plain, or with one of gzip and deflate",
        )),
    }
}

/// Files and batches are sent on as they arrive; everything else is held.
const fn max_length(endpoint: Endpoint<'_>, limits: &Limits) -> usize {
    match endpoint {
        Endpoint::Batches(BatchCall::Files | BatchCall::MessageBatches) => limits.max_upload_bytes,
        _ => limits.max_body_bytes,
    }
}

fn declared_length(headers: &HeaderMap, max_bytes: usize) -> Result<Option<u64>, Rejection> {
    if headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH) {
        return Err(refuse_double_framing());
    }
    let Some(value) = headers.get(CONTENT_LENGTH) else { return Ok(None) };
    let length = value.to_str().ok().and_then(|text| text.parse().ok());
    let Some(length) = length else {
        return Err(Rejection::new(GatewayCode::RequestInvalid, "the content-length is not a number").closing());
    };
    if length > max_bytes as u64 {
        return Err(Rejection::too_large(max_bytes).closing());
    }
    Ok(Some(length))
}

fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Rejection> {
    let Some(value) = headers.get(TIMEOUT) else { return Ok(None) };
    match value.to_str().ok().and_then(|text| text.parse::<u32>().ok()) {
        Some(ms @ 1..) => Ok(Some(Duration::from_millis(u64::from(ms)))),
        _ => Err(Rejection::new(
            GatewayCode::RequestInvalid,
            "x-headgate-timeout-ms must be a whole number of milliseconds above zero",
        )),
    }
}

// === Notes ===

impl Notes {
    /// Reads the `x-headgate-…` headers that only travel into the usage event.
    pub fn read(headers: &HeaderMap) -> Result<Self, Rejection> {
        let mut notes = Self::default();
        for (name, value) in headers {
            let Some(name) = name.as_str().strip_prefix(OWN_PREFIX) else { continue };
            match name {
                "user" => notes.end_user = note(&text_of(value)),
                "conversation-id" => notes.conversation_id = note(&text_of(value)),
                "trace-id" => notes.trace_id = note(&text_of(value)),
                "metadata" => notes.metadata = metadata(value)?,
                "tags" => notes.tags = tags(&text_of(value)),
                "cache" => notes.cache.read_mode(value)?,
                "cache-ttl" => notes.cache.read_ttl(value)?,
                "prompt" => return Err(refuse_prompt()),
                _ => {}
            }
        }
        for value in headers.get_all(BAGGAGE) {
            notes.fill_from(value);
        }
        if notes.trace_id.is_none() {
            notes.trace_id = headers.get(TRACEPARENT).and_then(trace_id);
        }
        Ok(notes)
    }

    /// Reads the `headgate.…` members of W3C Baggage (section 3.3) like the header of the same name; a header wins. The other
    /// members are nobody's business here and go nowhere.
    fn fill_from(&mut self, baggage: &HeaderValue) {
        let Ok(text) = baggage.to_str() else { return };
        for member in text.split(',') {
            // Properties follow the value after a semicolon; none is defined.
            let member = member.split(';').next().unwrap_or_default();
            let Some((name, value)) = member.split_once('=') else { continue };
            let Some(name) = name.trim().strip_prefix("headgate.") else { continue };
            let value = percent_decode_str(value.trim()).decode_utf8_lossy();
            match name {
                "user" => fill(&mut self.end_user, &value),
                "conversation-id" => fill(&mut self.conversation_id, &value),
                "trace-id" => fill(&mut self.trace_id, &value),
                "tags" if self.tags.is_empty() => self.tags = tags(&value),
                _ => self.fill_metadata(name, &value),
            }
        }
    }

    fn fill_metadata(&mut self, name: &str, value: &str) {
        let Some(name) = name.strip_prefix("metadata.") else { return };
        let is_new = !self.metadata.iter().any(|(taken, _)| taken == name);
        if is_new
            && self.metadata.len() < MAX_NOTES
            && let (Some(name), Some(value)) = (note(name), note(value))
        {
            self.metadata.push((name, value));
        }
    }
}

fn fill(slot: &mut Option<String>, value: &str) {
    if slot.is_none() {
        *slot = note(value);
    }
}

fn text_of(value: &HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}

fn note(text: &str) -> Option<String> {
    let text: String = text.chars().filter(|c| !c.is_control()).take(MAX_NOTE).collect();
    (!text.is_empty()).then_some(text)
}

fn tags(text: &str) -> Vec<String> {
    let tags = text.split(',').map(str::trim).filter(|tag| !tag.is_empty());
    tags.take(MAX_NOTES).map(|tag| tag.chars().filter(|c| !c.is_control()).take(MAX_NOTE).collect()).collect()
}

fn metadata(value: &HeaderValue) -> Result<Vec<(String, String)>, Rejection> {
    let refused = || {
        Rejection::new(
            GatewayCode::RequestInvalid,
            "x-headgate-metadata must be a JSON object of at most 32 strings, each of at most 256 characters",
        )
    };
    let read: std::collections::BTreeMap<String, String> =
        serde_json::from_slice(value.as_bytes()).map_err(|_| refused())?;
    let is_short = |text: &String| text.chars().count() <= MAX_NOTE;
    if read.len() > MAX_NOTES || !read.iter().all(|(name, value)| is_short(name) && is_short(value)) {
        return Err(refused());
    }
    Ok(read.into_iter().collect())
}

/// Reads the trace id of a W3C `traceparent`: `00-<32 hex>-<16 hex>-<2 hex>` (Trace Context, section 3.2).
fn trace_id(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?;
    let mut parts = text.split('-');
    let (version, trace_id) = (parts.next()?, parts.next()?);
    let is_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_valid = version.len() == 2 && version != "ff" && trace_id.len() == 32 && is_hex(trace_id);
    (is_valid && trace_id.bytes().any(|byte| byte != b'0')).then(|| trace_id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).expect("a header value"));
        }
        headers
    }

    fn admitted(lines: &[(&'static str, &str)]) -> Result<(), (GatewayCode, String)> {
        let uri = Uri::from_static("/v1/messages?beta=true");
        admit(&Method::POST, &uri, &headers(lines), &Limits::default())
            .map(|_| ())
            .map_err(|rejection| (rejection.code, rejection.detail.to_string()))
    }

    #[test]
    fn what_can_be_refused_by_the_head_is_refused() {
        assert_eq!(admitted(&[]), Ok(()));
        assert_eq!(
            admitted(&[("content-type", "application/json; charset=utf-8"), ("content-encoding", "gzip")]),
            Ok(())
        );
        assert_eq!(admitted(&[("content-type", "application/vnd.x+json")]), Ok(()));
        for (line, code) in [
            (("content-type", "multipart/form-data"), GatewayCode::RequestInvalid),
            (("content-type", "text/plain"), GatewayCode::RequestInvalid),
            (("content-encoding", "br"), GatewayCode::RequestInvalid),
            (("content-encoding", "gzip, gzip"), GatewayCode::RequestInvalid),
            (("content-length", "104857600"), GatewayCode::RequestTooLarge),
            (("x-headgate-timeout-ms", "0"), GatewayCode::RequestInvalid),
            (("x-headgate-timeout-ms", "-5"), GatewayCode::RequestInvalid),
        ] {
            assert_eq!(admitted(&[line]).expect_err("is refused").0, code, "{line:?}");
        }
        let long = "x".repeat(40_000);
        assert_eq!(admitted(&[("x-long", &long)]).expect_err("is refused").0, GatewayCode::RequestInvalid);
    }

    #[test]
    fn forms_are_taken_where_files_are() {
        let admitted = |path: &'static str, kind: &str| {
            admit(&Method::POST, &Uri::from_static(path), &headers(&[("content-type", kind)]), &Limits::default())
                .is_ok()
        };
        assert!(admitted("/v1/audio/transcriptions", "multipart/form-data; boundary=b"));
        assert!(admitted("/v1/images/edits", "application/json"));
        assert!(!admitted("/v1/audio/transcriptions", "audio/wav"));
        assert!(!admitted("/v1/audio/speech", "multipart/form-data; boundary=b"));
        assert!(!admitted("/v1/chat/completions", "multipart/form-data; boundary=b"));
    }

    #[test]
    fn baggage_fills_what_no_header_says() {
        let read = Notes::read(&headers(&[
            ("x-headgate-user", "ann"),
            ("x-headgate-metadata", r#"{"team":"x"}"#),
            ("baggage", "headgate.user=bob, headgate.conversation-id = c%201;ttl=1 ,headgate.tags=a%2Cb,secret=canary"),
            (
                "baggage",
                "headgate.metadata.team=y,headgate.metadata.app=z,headgate.metadata.=w,headgate.,=,headgate.x=1",
            ),
        ]))
        .expect("valid notes");
        assert_eq!((read.end_user.as_deref(), read.conversation_id.as_deref()), (Some("ann"), Some("c 1")));
        assert_eq!(read.tags, ["a", "b"]);
        assert_eq!(read.metadata, [("team".to_owned(), "x".to_owned()), ("app".to_owned(), "z".to_owned())]);
        assert_eq!(read.trace_id, None);
    }

    #[test]
    fn notes_are_bounded_and_cleaned() {
        let long = "u".repeat(1_000);
        let read = Notes::read(&headers(&[
            ("x-headgate-user", &long),
            ("x-headgate-tags", " a, b ,,c"),
            ("x-headgate-metadata", r#"{"team":"x"}"#),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ]))
        .expect("valid notes");
        assert_eq!(read.end_user.map(|user| user.len()), Some(MAX_NOTE));
        assert_eq!(read.tags, ["a", "b", "c"]);
        assert_eq!(read.metadata, [("team".to_owned(), "x".to_owned())]);
        assert_eq!(read.trace_id.as_deref(), Some("0af7651916cd43dd8448eb211c80319c"));
        for bad in ["[1]", "{\"a\":1}", "nope"] {
            assert!(Notes::read(&headers(&[("x-headgate-metadata", bad)])).is_err(), "{bad}");
        }
    }
}
