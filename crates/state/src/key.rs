//! What an answer is found by: a keyed hash of everything that could make another answer right.
//!
//! The hash is HMAC-SHA-256 under a secret of the organization, over named and length-prefixed parts, so that two different
//! lists of parts never run into the same bytes. Whoever reads the store can neither tell nor test what was asked. Invariant: keys
//! of different organizations differ even for the same parts, because their secrets do.

use domain::{RateLimitId, Secret};
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Changes when the meaning of a part does.
const VERSION: &[u8] = b"headgate answer 1";

/// Finds one answer, and opens it where it is kept sealed.
#[derive(Clone)]
pub struct CacheKey {
    name: [u8; 32],
    root: Secret<[u8; 32]>,
}

impl CacheKey {
    /// Returns the name: a hash, safe to store and to compare.
    #[must_use]
    pub const fn name(&self) -> &[u8; 32] {
        &self.name
    }

    /// Returns the key that the answer is sealed with.
    #[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "only what leaves the process is sealed"))]
    pub(crate) fn seal_key(&self) -> Secret<[u8; 32]> {
        Secret::new(derive(self.root.expose(), b"seal"))
    }
}

impl std::fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CacheKey").finish_non_exhaustive()
    }
}

/// Puts a key together, part by part.
#[derive(Clone)]
pub struct KeyMaker(Option<Hmac<Sha256>>);

impl std::fmt::Debug for KeyMaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyMaker").finish_non_exhaustive()
    }
}

impl KeyMaker {
    /// Starts with a secret of the organization.
    #[must_use]
    pub fn new(secret: &Secret<[u8; 32]>) -> Self {
        // HMAC accepts keys of any length; 32 bytes cannot fail.
        let mut maker = Self(Hmac::new_from_slice(secret.expose()).ok());
        maker.write(VERSION);
        maker
    }

    /// Adds a named part.
    pub fn part(&mut self, name: &str, value: &[u8]) {
        self.write_sized(name.as_bytes());
        self.write_sized(value);
    }

    /// Adds bytes with their length in front.
    pub fn write_sized(&mut self, bytes: &[u8]) {
        self.write(&(bytes.len() as u64).to_le_bytes());
        self.write(bytes);
    }

    /// Adds bytes as they are; what they mean must follow from themselves.
    pub fn write(&mut self, bytes: &[u8]) {
        if let Some(mac) = &mut self.0 {
            mac.update(bytes);
        }
    }

    /// Ends the key; `None` when no hash could be made.
    #[must_use]
    pub fn finish(self) -> Option<CacheKey> {
        let root: [u8; 32] = self.0?.finalize().into_bytes().into();
        Some(CacheKey { name: derive(&root, b"name"), root: Secret::new(root) })
    }
}

/// Names the counters of a rate limit and a group among nodes.
#[must_use]
pub fn mark(secret: &Secret<[u8; 32]>, limit: RateLimitId, group: &str) -> Option<[u8; 16]> {
    let mut maker = KeyMaker::new(secret);
    maker.part("rate limit", limit.to_string().as_bytes());
    maker.part("group", group.as_bytes());
    maker.finish()?.name().first_chunk().copied()
}

fn derive(root: &[u8; 32], label: &[u8]) -> [u8; 32] {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(root) else { return [0; 32] };
    mac.update(label);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(secret: u8, parts: &[(&str, &[u8])]) -> [u8; 32] {
        let mut maker = KeyMaker::new(&Secret::new([secret; 32]));
        for (name, value) in parts {
            maker.part(name, value);
        }
        *maker.finish().expect("a key").name()
    }

    #[test]
    fn every_part_counts_and_none_runs_into_the_next() {
        let base = name(1, &[("a", b"bc"), ("d", b"")]);
        assert_eq!(base, name(1, &[("a", b"bc"), ("d", b"")]));
        for other in [
            name(2, &[("a", b"bc"), ("d", b"")]),
            name(1, &[("ab", b"c"), ("d", b"")]),
            name(1, &[("a", b"b"), ("cd", b"")]),
            name(1, &[("d", b""), ("a", b"bc")]),
            name(1, &[("a", b"bc")]),
        ] {
            assert_ne!(base, other);
        }
    }
}
