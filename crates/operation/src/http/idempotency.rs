//! Makes a repeated `POST` give the first answer again instead of doing the work twice.
//!
//! The answer is stored in the same transaction as the work, under (actor, operation, key), for a day. It may hold a secret that
//! is shown once (a new key), so it is sealed under a key derived from the root key, bound to its place: the one who made
//! the request can repeat it after a lost connection and still get the secret, and the database alone reveals nothing.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use domain::code::ProblemCode;
use domain::{ActorKind, Entropy};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use sha2::{Digest as _, Sha256};

use crate::error::{Failure, Outcome};
use crate::keyring::Keyring;

/// How long an answer can be repeated.
pub const KEPT_FOR: Duration = Duration::from_secs(24 * 3_600);
const MAX_KEY_LENGTH: usize = 128;

/// A request that names an idempotency key.
#[derive(Debug, Clone)]
pub struct Ticket {
    /// The actor, so that keys of different people never meet.
    pub actor: String,
    /// The operation.
    pub operation: &'static str,
    /// The key as sent.
    pub key: String,
    /// SHA-256 of path and body.
    pub request_hash: [u8; 32],
}

/// An answer as it is stored, before sealing.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Replay {
    /// The HTTP status.
    pub status: u16,
    /// The JSON body.
    pub body: String,
}

impl Ticket {
    /// Reads the header, if there is one.
    pub fn read(
        headers: &HeaderMap,
        actor: &ActorKind,
        operation: &'static str,
        path: &str,
        body: &[u8],
    ) -> Outcome<Option<Self>> {
        let Some(value) = headers.get(api::IDEMPOTENCY_HEADER) else { return Ok(None) };
        let key = value.to_str().ok().filter(|key| !key.is_empty() && key.len() <= MAX_KEY_LENGTH);
        let key =
            key.ok_or_else(|| Failure::invalid(api::IDEMPOTENCY_HEADER, "use 1 to 128 visible ASCII characters"))?;
        let request_hash = Sha256::new()
            .chain_update(operation)
            .chain_update([0])
            .chain_update(path)
            .chain_update([0])
            .chain_update(body)
            .finalize()
            .into();
        let (kind, id) = actor.describe();
        // Sessions of one person share their keys: a retry may come after signing in again.
        let actor = format!("{kind}:{id}");
        Ok(Some(Self { actor, operation, key: key.to_owned(), request_hash }))
    }

    fn place(&self) -> String {
        format!("v1|idempotency|{}|{}|{}", self.actor, self.operation, self.key)
    }

    /// Seals an answer for storage.
    pub fn seal(&self, replay: &Replay, keyring: &Keyring, entropy: &dyn Entropy) -> Outcome<Vec<u8>> {
        let plain =
            zeroize::Zeroizing::new(serde_json::to_vec(replay).map_err(|error| Failure::Internal(error.to_string()))?);
        Ok(keyring.seal("idempotency|1", &self.place(), &plain, entropy)?)
    }

    /// Opens a stored answer.
    pub fn open(&self, sealed: &[u8], keyring: &Keyring) -> Outcome<Replay> {
        let plain = keyring.unseal_any("idempotency|1", &self.place(), sealed)?;
        serde_json::from_slice(&plain).map_err(|error| Failure::Internal(error.to_string()))
    }

    /// Refuses a key that was used for another request.
    #[must_use]
    pub fn mismatch() -> Failure {
        Failure::of(
            ProblemCode::IdempotencyMismatch,
            "This idempotency key was used for another request; use a new key for a new request.",
        )
    }
}

impl Replay {
    /// Gives the first answer again.
    #[must_use]
    pub fn respond(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let mut response = (status, Body::from(self.body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::rng::SeededEntropy;
    use domain::{SessionId, UserId};

    fn ticket(key: &str, body: &[u8]) -> Outcome<Option<Ticket>> {
        let mut headers = HeaderMap::new();
        headers.insert(api::IDEMPOTENCY_HEADER, HeaderValue::from_str(key).unwrap());
        let actor = ActorKind::Session(UserId::from_uuid(1), SessionId::from_uuid(2));
        Ticket::read(&headers, &actor, "virtual_keys.create", "/x", body)
    }

    #[test]
    fn a_sealed_answer_opens_for_the_same_request_only() {
        let keyring = Keyring::of_secrets(vec![zeroize::Zeroizing::new([1; 32])]).unwrap();
        let first = ticket("k1", b"{}").unwrap().unwrap();
        let replay = Replay { status: 201, body: "{\"secret\":\"hgk_canary\"}".to_owned() };
        let sealed = first.seal(&replay, &keyring, &SeededEntropy::new(1)).unwrap();
        assert!(!sealed.windows(10).any(|window| window == b"hgk_canary"));
        assert_eq!(first.open(&sealed, &keyring).unwrap(), replay);
        let other = ticket("k1", b"{\"a\":1}").unwrap().unwrap();
        assert_ne!(other.request_hash, first.request_hash);
        let moved = ticket("k2", b"{}").unwrap().unwrap();
        assert!(matches!(moved.open(&sealed, &keyring), Err(Failure::Internal(_))));
    }

    #[test]
    fn a_key_must_be_short_and_visible() {
        assert!(ticket(&"k".repeat(129), b"").is_err());
        assert!(ticket("", b"").is_err());
    }
}
