//! How often targets are tried again: a budget for each model, and pauses between tries of the same target.
//!
//! Moving on to *another* target is not charged, because it adds no load where there is trouble. Trying the *same* target again
//! does, so those tries share a bucket that refills slowly: a broken upstream sees a trickle of retries, not a multiple of
//! its traffic. Read and written only after a failure.

use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

/// Retries that may come at once.
const BURST: u32 = 20;
/// One more retry is earned in this time.
const EARN: Duration = Duration::from_millis(100);
/// First pause before the same target is tried again; doubles with each try.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause, and the longest `Retry-After` that is waited for instead of being handed to the client.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Budgets kept before the full ones are thrown away.
const SWEEP_AT: usize = 10_000;

/// The budgets of a node, by route or deployment.
#[derive(Debug, Default)]
pub(crate) struct RetryBudgets {
    budgets: Mutex<FxHashMap<u128, Budget>>,
}

#[derive(Debug)]
struct Budget {
    left: u32,
    since: Instant,
}

impl RetryBudgets {
    /// Takes one retry out of a budget; false when it is empty.
    pub(crate) fn take(&self, of: u128, now: Instant) -> bool {
        let mut budgets = self.budgets.lock();
        if budgets.len() >= SWEEP_AT {
            budgets.retain(|_, budget| budget.earn(now) < BURST);
        }
        let budget = budgets.entry(of).or_insert(Budget { left: BURST, since: now });
        budget.earn(now);
        if budget.left == 0 {
            return false;
        }
        budget.left -= 1;
        true
    }
}

impl Budget {
    fn earn(&mut self, now: Instant) -> u32 {
        let earned = u32::try_from(now.duration_since(self.since).as_millis() / EARN.as_millis()).unwrap_or(BURST);
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(BURST);
            self.since += EARN * earned.min(BURST);
            if self.left == BURST {
                self.since = now;
            }
        }
        self.left
    }
}

/// Returns the pause before try `n` (from 1) of the same target: random up to a doubling bound, or what the upstream asked for.
pub(crate) fn pause(n: u32, asked: Option<Duration>, seed: u64) -> Option<Duration> {
    if let Some(asked) = asked {
        return (asked <= LONGEST_PAUSE).then_some(asked);
    }
    let bound = FIRST_PAUSE.saturating_mul(1 << n.min(8)).min(LONGEST_PAUSE);
    let bound_us = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX).max(1);
    Some(Duration::from_micros(seed % bound_us))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_ends_and_is_earned_back() {
        let (budgets, start) = (RetryBudgets::default(), Instant::now());
        let taken = (0..100).filter(|_| budgets.take(1, start)).count();
        assert_eq!(taken, BURST as usize);
        assert!(budgets.take(2, start), "another model has its own");
        let later = start + EARN * 3;
        assert_eq!((0..100).filter(|_| budgets.take(1, later)).count(), 3);
        assert_eq!((0..100).filter(|_| budgets.take(1, later + EARN * 1_000)).count(), BURST as usize);
    }

    #[test]
    fn pauses_are_bounded_and_heed_the_upstream() {
        assert!((0..1_000).all(|seed| pause(1, None, seed * 7_919).is_some_and(|pause| pause <= FIRST_PAUSE * 2)));
        assert_eq!(pause(1, Some(Duration::from_secs(2)), 0), Some(Duration::from_secs(2)));
        assert_eq!(pause(1, Some(Duration::from_secs(60)), 0), None);
    }
}
