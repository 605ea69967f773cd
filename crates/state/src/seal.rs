//! The form of an answer outside this process: sealed (AES-256-GCM) under a key of its own, bound to its name.
//!
//! `format (1) || nonce (12) || sealed (length of head (4, little-endian) || head as JSON || body)`. Invariant: what was changed,
//! cut, moved to another name or written in another format does not open.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use bytes::Bytes;

use crate::answer::{Answer, Head};
use crate::key::CacheKey;

const FORMAT: u8 = 1;

/// Seals an answer for the store.
pub(crate) fn seal(key: &CacheKey, answer: &Answer) -> Option<Vec<u8>> {
    let head = serde_json::to_vec(&answer.head).ok()?;
    let length = u32::try_from(head.len()).ok()?;
    let mut plain = Vec::with_capacity(4 + head.len() + answer.body.len() + 16);
    plain.extend_from_slice(&length.to_le_bytes());
    plain.extend_from_slice(&head);
    plain.extend_from_slice(&answer.body);
    let nonce = cipher(key)?.seal_in_place_append_tag(Aad::from(key.name()), &mut plain).ok()?;
    let mut sealed = Vec::with_capacity(1 + NONCE_LEN + plain.len());
    sealed.push(FORMAT);
    sealed.extend_from_slice(nonce.as_ref());
    sealed.append(&mut plain);
    Some(sealed)
}

/// Opens what [`seal`] gave for the same key.
pub(crate) fn open(key: &CacheKey, sealed: Vec<u8>) -> Option<Answer> {
    let (format, rest) = sealed.split_first()?;
    let (nonce, _) = rest.split_first_chunk::<NONCE_LEN>()?;
    if *format != FORMAT {
        return None;
    }
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let mut body = sealed;
    let from = 1 + NONCE_LEN;
    let length = cipher(key)?.open_in_place(nonce, Aad::from(key.name()), body.get_mut(from..)?).ok()?.len();
    body.truncate(from + length);
    let plain = Bytes::from(body).slice(from..);
    let head_length = usize::try_from(u32::from_le_bytes(*plain.first_chunk::<4>()?)).ok()?;
    let end = head_length.checked_add(4).filter(|end| *end <= plain.len())?;
    let head: Head = serde_json::from_slice(&plain[4..end]).ok()?;
    Some(Answer { head, body: plain.slice(end..) })
}

fn cipher(key: &CacheKey) -> Option<RandomizedNonceKey> {
    RandomizedNonceKey::new(&AES_256_GCM, key.seal_key().expose()).ok()
}

#[cfg(test)]
mod tests {
    use domain::usage::TokenUsage;
    use domain::{DeploymentId, NanoUsd, Secret, Timestamp};

    use super::*;
    use crate::key::KeyMaker;

    fn key(text: &[u8]) -> CacheKey {
        let mut maker = KeyMaker::new(&Secret::new([7; 32]));
        maker.part("request", text);
        maker.finish().expect("a key")
    }

    #[test]
    fn a_sealed_answer_opens_only_whole_and_under_its_own_name() {
        let head = Head {
            stored_at: Timestamp::from_micros(1),
            expires_at: Timestamp::from_micros(2),
            is_stream: true,
            content_type: "text/plain".to_owned(),
            deployment_id: DeploymentId::from_uuid(3),
            provider: "echo".to_owned(),
            upstream_model: "echo-1".to_owned(),
            finish_reason: Some("stop".to_owned()),
            usage: TokenUsage { input: 4, output: 5, ..TokenUsage::default() },
            cost: NanoUsd::from_nanos(6),
            dropped: vec!["seed".to_owned()],
        };
        let answer = Answer { head, body: Bytes::from_static(b"data: a secret answer\n\n") };
        let sealed = seal(&key(b"a"), &answer).expect("sealed");
        assert!(!sealed.windows(6).any(|window| window == b"secret" || window == b"echo-1"));
        assert_ne!(sealed, seal(&key(b"a"), &answer).expect("sealed"), "a nonce of its own");
        assert_eq!(open(&key(b"a"), sealed.clone()).as_ref(), Some(&answer));
        assert_eq!(open(&key(b"b"), sealed.clone()), None);
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert_eq!(open(&key(b"a"), flipped), None, "byte {at}");
            assert_eq!(open(&key(b"a"), sealed[..at].to_vec()), None, "cut at {at}");
        }
    }
}
