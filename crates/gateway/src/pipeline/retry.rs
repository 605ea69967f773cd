//! How often targets are tried again: a budget for each model, and pauses between tries of the same target.
//!
//! Moving on to *another* target is not charged, because it adds no load where there is trouble. Trying the *same* target again
//! does, so those tries share a bucket that refills slowly: a broken upstream sees a trickle of retries, not a multiple of
//! its traffic. Read and written only after a failure.

use std::time::Duration;

use domain::route::RetryBudget;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

/// First pause before the same target is tried again; doubles with each try.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause, and the longest `Retry-After` that is waited for instead of being handed to the client.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Budgets kept before old ones are thrown away.
const SWEEP_AT: usize = 10_000;
/// After this time without a retry a budget is full again, whatever it was.
const FORGET_AFTER: Duration = Duration::from_secs(600);

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
    pub(crate) fn take(&self, of: u128, allowed: RetryBudget, now: Instant) -> bool {
        let mut budgets = self.budgets.lock();
        if budgets.len() >= SWEEP_AT {
            budgets.retain(|_, budget| now.duration_since(budget.since) < FORGET_AFTER);
        }
        let budget = budgets.entry(of).or_insert(Budget { left: allowed.burst, since: now });
        budget.earn(allowed, now);
        if budget.left == 0 {
            return false;
        }
        budget.left -= 1;
        true
    }
}

impl Budget {
    fn earn(&mut self, allowed: RetryBudget, now: Instant) {
        let earn = Duration::from_secs(1).checked_div(allowed.per_second).unwrap_or(Duration::MAX);
        let earned = now.duration_since(self.since).as_micros() / earn.as_micros().max(1);
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(allowed.burst);
            // What is full earns nothing on the side.
            self.since = if self.left == allowed.burst { now } else { self.since + earn.saturating_mul(earned) };
        }
        // A route that was given less must not live on what it had.
        self.left = self.left.min(allowed.burst);
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
        let (budgets, start, allowed) = (RetryBudgets::default(), Instant::now(), RetryBudget::default());
        let take = |at| (0..100).filter(|_| budgets.take(1, allowed, at)).count();
        assert_eq!(take(start), 20);
        assert!(budgets.take(2, allowed, start), "another model has its own");
        let later = start + Duration::from_millis(300);
        assert_eq!(take(later), 3);
        assert_eq!(take(later + Duration::from_secs(100)), 20);
    }

    #[test]
    fn a_route_may_say_how_much() {
        let (budgets, start) = (RetryBudgets::default(), Instant::now());
        let none = RetryBudget { burst: 0, per_second: 0 };
        assert!(!budgets.take(1, none, start) && !budgets.take(1, none, start + Duration::from_secs(60)));
        let few = RetryBudget { burst: 2, per_second: 0 };
        assert_eq!((0..9).filter(|_| budgets.take(3, few, start)).count(), 2);
        assert!(!budgets.take(3, few, start + Duration::from_secs(60)), "nothing is earned");
    }

    #[test]
    fn pauses_are_bounded_and_heed_the_upstream() {
        assert!((0..1_000).all(|seed| pause(1, None, seed * 7_919).is_some_and(|pause| pause <= FIRST_PAUSE * 2)));
        assert_eq!(pause(1, Some(Duration::from_secs(2)), 0), Some(Duration::from_secs(2)));
        assert_eq!(pause(1, Some(Duration::from_secs(60)), 0), None);
    }
}
