//! Stage 2: finds out which virtual key calls. No body is read before.
//!
//! The key may come in five headers; none of them is ever forwarded, because upstream requests are built from nothing. Known
//! bad is 401; cannot verify is 503 with `Retry-After`: a node never calls a key invalid on stale knowledge.

use std::time::Duration;

use domain::Timestamp;
use domain::code::GatewayCode;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderName};
use ingress::Rejection;
use ingress::endpoint::Endpoint;
use policy::{Caller, Snapshot};

use super::refuse_key;

/// When to come back while the node cannot verify keys.
pub(crate) const STALE_RETRY: Duration = Duration::from_secs(5);

/// The headers that may hold the key alone, in the order in which an error names them.
const KEY_HEADERS: [HeaderName; 4] = [
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
    HeaderName::from_static("x-headgate-key"),
];

/// Finds the key that a request presents and who calls with it. The handshake of a realtime session may present a client secret; then what it
/// grants is the third.
pub(crate) fn find_caller<'s, 'p>(
    snapshot: &'s Snapshot,
    endpoint: Endpoint<'_>,
    headers: &'p HeaderMap,
    at: Timestamp,
) -> Result<(&'p str, Caller<'s>, Option<&'p str>), Rejection> {
    if endpoint == Endpoint::Realtime {
        let presented = find_in_handshake(headers)?;
        let (caller, granted) = snapshot.identify_session(presented, at).map_err(refuse_key)?;
        return Ok((presented, caller, granted));
    }
    let presented = find_presented(headers)?;
    Ok((presented, snapshot.identify(presented, at).map_err(refuse_key)?, None))
}

/// Returns the one key that the request presents.
fn find_presented(headers: &HeaderMap) -> Result<&str, Rejection> {
    find(headers, None)
}

/// Returns the one key that a request for a WebSocket presents: browsers can only say it as a subprotocol.
fn find_in_handshake(headers: &HeaderMap) -> Result<&str, Rejection> {
    find(headers, ::realtime::handshake::key_of(headers))
}

fn find<'a>(headers: &'a HeaderMap, subprotocol: Option<&'a str>) -> Result<&'a str, Rejection> {
    let mut found: Option<(&str, HeaderName)> = subprotocol.map(|key| (key, SEC_WEBSOCKET_PROTOCOL));
    let mut other_scheme = false;
    for value in headers.get_all(AUTHORIZATION) {
        match value.to_str().ok().and_then(bearer) {
            Some(key) => take(&mut found, key, &AUTHORIZATION)?,
            None => other_scheme = true,
        }
    }
    for name in &KEY_HEADERS {
        for value in headers.get_all(name) {
            let key = value.to_str().map_err(|_| invalid("the key holds characters that no key has"))?.trim();
            if !key.is_empty() {
                take(&mut found, key, name)?;
            }
        }
    }
    match found {
        Some((key, _)) => Ok(key),
        None if other_scheme => Err(invalid("the authorization header is not of the form `Bearer <key>`")),
        None => Err(invalid(
            "no key was sent; send your Headgate key as `Authorization: Bearer <key>`, `x-api-key` or `x-headgate-key`",
        )),
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, key) = value.trim().split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty()).then_some(key)
}

fn take<'a>(found: &mut Option<(&'a str, HeaderName)>, key: &'a str, name: &HeaderName) -> Result<(), Rejection> {
    match found {
        // SDKs of both vendors can be set up to send the same key twice.
        Some((earlier, _)) if *earlier == key => Ok(()),
        Some((_, earlier)) => Err(invalid(format!(
            "two different keys were sent, in {earlier} and in {name}; send only your Headgate key"
        ))),
        None => {
            *found = Some((key, name.clone()));
            Ok(())
        }
    }
}

fn invalid(detail: impl Into<std::borrow::Cow<'static, str>>) -> Rejection {
    Rejection::new(GatewayCode::KeyInvalid, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presented(lines: &[(&'static str, &'static str)]) -> Result<String, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, http::HeaderValue::from_static(value));
        }
        find_presented(&headers).map(str::to_owned).map_err(|rejection| rejection.detail.into_owned())
    }

    #[test]
    fn five_styles_are_read() {
        assert_eq!(presented(&[("authorization", "Bearer k")]).as_deref(), Ok("k"));
        assert_eq!(presented(&[("authorization", "bearer  k ")]).as_deref(), Ok("k"));
        for name in ["x-api-key", "api-key", "x-goog-api-key", "x-headgate-key"] {
            assert_eq!(presented(&[(name, "k")]).as_deref(), Ok("k"), "{name}");
        }
        assert_eq!(presented(&[("authorization", "Bearer k"), ("x-api-key", "k")]).as_deref(), Ok("k"));
        assert_eq!(presented(&[("authorization", "Basic eDp5"), ("x-headgate-key", "k")]).as_deref(), Ok("k"));
    }

    #[test]
    fn finding_a_key_allocates_nothing() {
        for name in ["authorization", "x-api-key", "x-headgate-key"] {
            let mut headers = HeaderMap::new();
            headers.insert(name, http::HeaderValue::from_static("Bearer k"));
            let counted = allocation_counter::measure(|| assert!(find_presented(&headers).is_ok()));
            assert_eq!(counted.count_total, 0, "{name}");
        }
    }

    #[test]
    fn none_and_two_are_told_apart() {
        assert!(presented(&[]).expect_err("none").contains("no key was sent"));
        assert!(presented(&[("x-api-key", "")]).expect_err("empty").contains("no key was sent"));
        assert!(presented(&[("authorization", "Basic eDp5")]).expect_err("basic").contains("Bearer <key>"));
        let two = presented(&[("authorization", "Bearer first"), ("api-key", "second")]).expect_err("two");
        assert!(
            two.contains("authorization")
                && two.contains("api-key")
                && !two.contains("first")
                && !two.contains("second"),
            "{two}"
        );
        assert!(presented(&[("x-api-key", "a"), ("x-api-key", "b")]).is_err());
    }
}
