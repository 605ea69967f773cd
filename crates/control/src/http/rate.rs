//! Bounds how fast one actor or address may call the management API.
//!
//! In memory, per process; generous enough for a person with a busy console or a configuration tool, and no more.

use std::collections::HashMap;
use std::time::Duration;

use domain::Timestamp;
use parking_lot::Mutex;

/// Requests that may come at once.
const BURST: u32 = 1_000;
/// How often one comes back.
const REFILL: Duration = Duration::from_millis(5);
const SWEEP_AT: usize = 20_000;

/// One bucket per actor.
#[derive(Debug, Default)]
pub struct RateLimits(Mutex<HashMap<String, Timestamp>>);

impl RateLimits {
    /// Counts a request of `who`, or says how long to wait.
    pub fn take(&self, who: String, now: Timestamp) -> Result<(), Duration> {
        let mut buckets = self.0.lock();
        if buckets.len() > SWEEP_AT {
            buckets.retain(|_, full_at| *full_at > now);
        }
        let full_at = buckets.get(&who).copied().unwrap_or(now).max(now);
        let owed = full_at.since(now);
        let allowed = REFILL * (BURST - 1);
        if let Some(wait) = owed.checked_sub(allowed).filter(|wait| !wait.is_zero()) {
            return Err(wait);
        }
        buckets.insert(who, full_at.plus(REFILL));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_two_hundred_a_second() {
        let (limits, now) = (RateLimits::default(), Timestamp::from_micros(1_000_000));
        for _ in 0..BURST {
            limits.take("a".to_owned(), now).unwrap();
        }
        assert_eq!(limits.take("a".to_owned(), now), Err(REFILL));
        limits.take("b".to_owned(), now).unwrap();
        limits.take("a".to_owned(), now.plus(REFILL)).unwrap();
    }
}
