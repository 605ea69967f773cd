//! The entropy port: where ids and secrets get their random bits. The system implementation is `runtime::rng`.

use std::sync::atomic::{AtomicU64, Ordering};

/// A source of cryptographically secure random bytes.
pub trait Entropy: Send + Sync {
    /// Fills `buffer` with random bytes. Never fails: a system without entropy must not start.
    fn fill(&self, buffer: &mut [u8]);
}

/// A seeded, reproducible source for tests; never for secrets.
#[derive(Debug)]
pub struct SeededEntropy(AtomicU64);

/// The step of the sequence.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

impl SeededEntropy {
    /// Starts the sequence that belongs to `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        // All steps of a buffer are taken at once, so that nobody else's come in between.
        let n_steps = buffer.chunks(8).fold(0_u64, |n, _| n.wrapping_add(1));
        let mut state = self.0.fetch_add(GAMMA.wrapping_mul(n_steps), Ordering::Relaxed);
        for chunk in buffer.chunks_mut(8) {
            // SplitMix64 (Steele, Lea, Flood 2014): equal seeds give equal sequences on every platform.
            state = state.wrapping_add(GAMMA);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let bytes = (z ^ (z >> 31)).to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}
