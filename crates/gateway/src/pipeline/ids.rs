//! Mints request ids: `UUIDv7` from the clock and random bytes drawn in batches, so that no call pays for a system call.

use std::sync::Arc;

use domain::id::uuid_v7;
use domain::{Entropy, RemoteId, RequestId, Timestamp};
use parking_lot::Mutex;

/// Random bytes drawn at once: enough for about a hundred ids.
const BATCH: usize = 1_024;

pub(crate) struct Ids {
    entropy: Arc<dyn Entropy>,
    pool: Mutex<(Box<[u8; BATCH]>, usize)>,
}

impl Ids {
    pub(crate) fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self { entropy, pool: Mutex::new((Box::new([0; BATCH]), BATCH)) }
    }

    /// Mints the id of a request that arrived at `at`.
    pub(crate) fn next_request(&self, at: Timestamp) -> RequestId {
        RequestId::from_uuid(uuid_v7(at, self.draw()))
    }

    /// Mints the id of a file or batch that was made at `at`.
    pub(crate) fn next_remote(&self, at: Timestamp) -> RemoteId {
        RemoteId::from_uuid(uuid_v7(at, self.draw()))
    }

    /// Draws a seed for choices that need not be secret.
    pub(crate) fn seed(&self) -> u64 {
        let random: [u8; 8] = self.draw();
        u64::from_le_bytes(random)
    }

    fn draw<const N: usize>(&self) -> [u8; N] {
        let mut pool = self.pool.lock();
        let (bytes, at) = &mut *pool;
        if *at + N > BATCH {
            self.entropy.fill(&mut bytes[..]);
            *at = 0;
        }
        let mut drawn = [0; N];
        drawn.copy_from_slice(&bytes[*at..*at + N]);
        *at += N;
        drawn
    }
}

#[cfg(test)]
mod tests {
    use domain::rng::SeededEntropy;

    use super::*;

    #[test]
    fn ids_do_not_repeat_over_batches() {
        let ids = Ids::new(Arc::new(SeededEntropy::new(7)));
        let minted: std::collections::BTreeSet<_> =
            (0..1_000).map(|_| ids.next_request(Timestamp::from_micros(1))).collect();
        assert_eq!(minted.len(), 1_000);
    }
}
