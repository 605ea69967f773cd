//! Which headers pass between a client and a provider whose own API it calls.
//!
//! Invariant: no header that says who the client is, or who pays, goes on; none that would bind the client to the upstream comes back.

use http::header::{ACCEPT_ENCODING, CONNECTION, HeaderName};
use http::{HeaderMap, HeaderValue};
use provider::Provider;

/// Headers that are between two connections, say who the client is or who pays, or would make the answer unreadable.
const KEPT_BACK: &[&str] = &[
    "accept-encoding",
    "anthropic-organization-id",
    "api-key",
    "authorization",
    "baggage",
    "connection",
    "content-encoding",
    "content-length",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "ocp-apim-subscription-key",
    "openai-organization",
    "openai-project",
    "te",
    "trailer",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-api-key",
    "x-auth-token",
    "x-goog-api-key",
    "x-goog-user-project",
    "x-real-ip",
    "xi-api-key",
];
const KEPT_BACK_PREFIXES: &[&str] = &["x-headgate-", "x-forwarded-", "x-amz-", "proxy-", "sec-"];
/// Headers of an answer that are between two connections or would bind the client to the upstream.
const NOT_RETURNED: &[&str] = &[
    "alt-svc",
    "connection",
    "content-length",
    "keep-alive",
    "set-cookie",
    "strict-transport-security",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Returns the headers of a request that go on to the provider.
#[must_use]
pub fn forwarded(from: &HeaderMap, provider: &dyn Provider) -> HeaderMap {
    let named: Vec<&str> = from
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .collect();
    let mut to = HeaderMap::with_capacity(from.len() + 2);
    for (name, value) in from {
        let text = name.as_str();
        let is_kept = KEPT_BACK.contains(&text)
            || KEPT_BACK_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
            || named.iter().any(|listed| listed.eq_ignore_ascii_case(text));
        if !is_kept {
            to.append(name.clone(), value.clone());
        }
    }
    to.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for (name, value) in provider.spec().defaults {
        to.entry(HeaderName::from_static(name)).or_insert(HeaderValue::from_static(value));
    }
    to
}

/// Returns the headers of an answer that go back to the client.
#[must_use]
pub fn returned(from: &HeaderMap) -> HeaderMap {
    let mut to = HeaderMap::with_capacity(from.len());
    for (name, value) in from {
        if !NOT_RETURNED.contains(&name.as_str()) && !name.as_str().starts_with("x-headgate-") {
            to.append(name.clone(), value.clone());
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_calls_and_who_pays_goes_nowhere() {
        let mut from = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer canary"),
            ("x-api-key", "canary"),
            ("x-headgate-key", "canary"),
            ("x-amz-security-token", "canary"),
            ("cookie", "canary"),
            ("openai-organization", "canary"),
            ("x-forwarded-for", "canary"),
            ("connection", "close, X-Hop"),
            ("x-hop", "canary"),
            ("te", "trailers"),
            ("openai-beta", "assistants=v2"),
            ("content-type", "application/json"),
        ] {
            from.append(name, HeaderValue::from_static(value));
        }
        let to = forwarded(&from, provider::find("anthropic").expect("a provider"));
        let mut names: Vec<_> = to.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept-encoding", "anthropic-version", "content-type", "openai-beta"]);
    }
}
