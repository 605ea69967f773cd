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
#[derive(Debug)]
pub struct RateLimits {
    buckets: Mutex<HashMap<String, Timestamp>>,
    burst: u32,
    refill: Duration,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self::new(BURST, REFILL)
    }
}

impl RateLimits {
    /// Lets `burst` come at once, and one more after every `refill`.
    #[must_use]
    pub fn new(burst: u32, refill: Duration) -> Self {
        Self { buckets: Mutex::default(), burst, refill }
    }

    /// Counts a request of `who`, or says how long to wait.
    pub fn take(&self, who: String, now: Timestamp) -> Result<(), Duration> {
        self.take_many(who, 1, now)
    }

    /// Counts `n` at once, all or none; more than the burst never pass.
    pub fn take_many(&self, who: String, n: u32, now: Timestamp) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock();
        if buckets.len() > SWEEP_AT {
            buckets.retain(|_, full_at| *full_at > now);
        }
        let full_at = buckets.get(&who).copied().unwrap_or(now).max(now);
        let owed = full_at.since(now);
        if let Some(wait) =
            (owed + self.refill * n).checked_sub(self.refill * self.burst).filter(|wait| !wait.is_zero())
        {
            return Err(wait);
        }
        buckets.insert(who, full_at.plus(self.refill * n));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_pass_together_or_not_at_all() {
        let second = Duration::from_secs(1);
        let (limits, now) = (RateLimits::new(10, second), Timestamp::from_micros(1_000_000));
        limits.take_many("a".to_owned(), 8, now).unwrap();
        assert_eq!(limits.take_many("a".to_owned(), 4, now), Err(second * 2));
        limits.take_many("a".to_owned(), 2, now).unwrap();
        limits.take_many("a".to_owned(), 4, now.plus(second * 4)).unwrap();
    }

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
