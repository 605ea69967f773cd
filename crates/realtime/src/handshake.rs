//! The opening handshake of both sides (RFC 6455, section 4), as values of headers; nothing here reads or writes a socket.
//!
//! No extension is ever agreed on: compressed messages could not pass untouched, and a few bytes of them can be a gigabyte.
//! Invariant: of what a browser says as subprotocol the key is never repeated.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// What the vendor's SDKs put before the key where a browser can send no header.
const KEY_PREFIX: &str = "openai-insecure-api-key.";
/// The protocol's name, which browsers offer and want to see chosen.
const REALTIME: &str = "realtime";
/// What asks for the form of events before general availability.
const BETA: &str = "openai-beta.realtime-v1";
/// Most subprotocols that are looked at.
const MAX_PROTOCOLS: usize = 16;

/// Why a request opens no WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// It asks for no upgrade.
    #[error(
        "this endpoint is a WebSocket: connect to it with wss:// (a GET over HTTP/1.1 with `Connection: Upgrade` and \
         `Upgrade: websocket`)"
    )]
    NoUpgrade,
    /// It speaks another version of the protocol.
    #[error("only version 13 of the WebSocket protocol is spoken here (Sec-WebSocket-Version)")]
    Version,
    /// Its key is not sixteen bytes in base64.
    #[error("the Sec-WebSocket-Key is not 16 bytes in base64")]
    Key,
}

/// Why an upstream's answer opens no WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the upstream's answer to the WebSocket handshake is not valid: {0}")]
pub struct AnswerError(&'static str);

/// What a client offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    accept: HeaderValue,
    protocols: Vec<Box<str>>,
    /// The older SDKs' header says so.
    is_beta: bool,
}

impl Offer {
    /// Reads the head of a request.
    pub fn read(method: &Method, version: Version, headers: &HeaderMap) -> Result<Self, OfferError> {
        if *method != Method::GET
            || version != Version::HTTP_11
            || !has_token(headers, &CONNECTION, "upgrade")
            || !has_token(headers, &UPGRADE, "websocket")
        {
            return Err(OfferError::NoUpgrade);
        }
        if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(OfferError::Version);
        }
        let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
        let (Some(key), None) = (keys.next(), keys.next()) else { return Err(OfferError::Key) };
        if STANDARD.decode(key.as_bytes()).map_or(0, |bytes| bytes.len()) != 16 {
            return Err(OfferError::Key);
        }
        let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).map_err(|_| OfferError::Key)?;
        let protocols = headers
            .get_all(SEC_WEBSOCKET_PROTOCOL)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|list| list.split(','))
            .map(|name| name.trim().into())
            .take(MAX_PROTOCOLS);
        let is_beta = headers.get("openai-beta").is_some_and(|value| value == "realtime=v1");
        Ok(Self { accept, protocols: protocols.collect(), is_beta })
    }

    /// Says whether events in the form before general availability are asked for.
    #[must_use]
    pub fn is_beta(&self) -> bool {
        self.is_beta || self.protocols.iter().any(|name| **name == *BETA)
    }

    /// Writes the headers of the answer that opens the session.
    pub fn answer(&self, headers: &mut HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, self.accept.clone());
        // A browser that offered protocols gives up on an answer that chooses none.
        let known = [REALTIME, BETA].into_iter().find(|known| self.protocols.iter().any(|name| **name == **known));
        if let Some(known) = known {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(known));
        }
    }
}

/// Finds the key that a browser sends as a subprotocol.
#[must_use]
pub fn key_of(headers: &HeaderMap) -> Option<&str> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let mut keys = values.flat_map(|list| list.split(',')).filter_map(|name| name.trim().strip_prefix(KEY_PREFIX));
    keys.next().filter(|key| !key.is_empty())
}

/// Writes the headers of a request for a WebSocket and returns what [`check_answer`] wants.
#[must_use]
pub fn ask(headers: &mut HeaderMap) -> String {
    let key = generate_key();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    // Base64 is always a header's value.
    if let Ok(value) = HeaderValue::try_from(&key) {
        headers.insert(SEC_WEBSOCKET_KEY, value);
    }
    key
}

/// Checks the head of an upstream's `101`.
pub fn check_answer(key: &str, headers: &HeaderMap) -> Result<(), AnswerError> {
    if !has_token(headers, &UPGRADE, "websocket") || !has_token(headers, &CONNECTION, "upgrade") {
        return Err(AnswerError("it upgrades to something else"));
    }
    if headers.get(SEC_WEBSOCKET_ACCEPT).is_none_or(|accept| *accept != derive_accept_key(key.as_bytes())) {
        return Err(AnswerError("its Sec-WebSocket-Accept does not belong to the request"));
    }
    if headers.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
        return Err(AnswerError("it chose an extension that was not offered"));
    }
    Ok(())
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|list| list.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455, section 1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn head(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let usual = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", KEY),
        ];
        let mut headers = HeaderMap::new();
        for (name, value) in usual.iter().filter(|(name, _)| lines.iter().all(|(other, _)| other != name)).chain(lines)
        {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn read(lines: &[(&'static str, &'static str)]) -> Result<HeaderMap, OfferError> {
        let offer = Offer::read(&Method::GET, Version::HTTP_11, &head(lines))?;
        let mut answer = HeaderMap::new();
        offer.answer(&mut answer);
        Ok(answer)
    }

    #[test]
    fn the_standards_example_is_answered_as_there() {
        let answer = read(&[]).unwrap();
        assert_eq!(answer["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(!answer.contains_key("sec-websocket-protocol"));
        assert_eq!(check_answer(KEY, &answer), Ok(()));
        assert!(check_answer("bm90IHRoZSBzYW1lIGtleQ==", &answer).is_err());
    }

    #[test]
    fn what_is_no_handshake_is_told_apart() {
        assert_eq!(read(&[("upgrade", "h2c")]), Err(OfferError::NoUpgrade));
        assert_eq!(read(&[("connection", "close")]), Err(OfferError::NoUpgrade));
        assert_eq!(read(&[("sec-websocket-version", "8")]), Err(OfferError::Version));
        for key in ["", "short", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZSBpcyBsb25n"] {
            assert_eq!(read(&[("sec-websocket-key", key)]), Err(OfferError::Key), "{key}");
        }
        let post = Offer::read(&Method::POST, Version::HTTP_11, &head(&[]));
        assert_eq!(post, Err(OfferError::NoUpgrade));
        assert_eq!(Offer::read(&Method::GET, Version::HTTP_2, &head(&[])), Err(OfferError::NoUpgrade));
    }

    #[test]
    fn a_browsers_key_is_found_and_never_repeated() {
        const OFFERED: &str = "realtime, openai-insecure-api-key.hgk_1, openai-beta.realtime-v1";
        let headers = head(&[("sec-websocket-protocol", OFFERED)]);
        assert_eq!(key_of(&headers), Some("hgk_1"));
        assert!(Offer::read(&Method::GET, Version::HTTP_11, &headers).unwrap().is_beta());
        assert_eq!(read(&[("sec-websocket-protocol", OFFERED)]).unwrap()["sec-websocket-protocol"], "realtime");
        let alone = read(&[("sec-websocket-protocol", "openai-insecure-api-key.hgk_1")]).unwrap();
        assert!(!alone.contains_key("sec-websocket-protocol"));
        assert_eq!(key_of(&head(&[("sec-websocket-protocol", "openai-insecure-api-key.")])), None);
    }

    #[test]
    fn an_extension_nobody_offered_is_refused() {
        let mut answer = read(&[]).unwrap();
        answer.insert("sec-websocket-extensions", HeaderValue::from_static("permessage-deflate"));
        assert!(check_answer(KEY, &answer).is_err());
    }
}
