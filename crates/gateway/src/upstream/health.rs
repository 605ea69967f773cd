//! Which targets are fit to be tried: ejection after repeated failures, one probe at a time to come back.
//!
//! Health is the node's own observation and never leaves it; a revision of policy does not reset it. Not here: the order of
//! targets (`policy::plan`). Invariant: a target is never ejected by answers that are the caller's fault.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use domain::{DeploymentId, Timestamp};
use parking_lot::RwLock;
use rustc_hash::FxHashMap;

/// Failures in a row that eject a target.
pub const EJECT_AFTER: u32 = 5;
/// The first ejection; each further one doubles it, up to `LONGEST_EJECTION`.
pub const FIRST_EJECTION: Duration = Duration::from_secs(5);
/// The longest ejection.
pub const LONGEST_EJECTION: Duration = Duration::from_secs(120);

/// What is known of one target.
#[derive(Debug, Default)]
pub struct TargetHealth {
    failures: AtomicU32,
    ejections: AtomicU32,
    /// End of the ejection in microseconds; 0 while the target is in.
    ejected_until: AtomicI64,
}

impl TargetHealth {
    /// Says whether the target may be tried. After an ejection one caller gets `true` (the probe) and moves the end on, so
    /// that others wait for what the probe finds.
    pub fn is_available(&self, now: Timestamp) -> bool {
        let until = self.ejected_until.load(Ordering::Relaxed);
        if until == 0 {
            return true;
        }
        if now.as_micros() < until {
            return false;
        }
        let next = now.plus(FIRST_EJECTION).as_micros();
        self.ejected_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Says whether the target is ejected at the moment; takes no probe.
    pub fn is_ejected(&self, now: Timestamp) -> bool {
        now.as_micros() < self.ejected_until.load(Ordering::Relaxed)
    }

    /// Notes an answer that shows the target works.
    pub fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        if self.ejected_until.load(Ordering::Relaxed) != 0 {
            self.ejected_until.store(0, Ordering::Relaxed);
            self.ejections.store(0, Ordering::Relaxed);
        }
    }

    /// Notes a failure of the target; returns true when this one ejected it.
    pub fn failed(&self, now: Timestamp) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures < EJECT_AFTER {
            return false;
        }
        let ejections = self.ejections.fetch_add(1, Ordering::Relaxed).min(16);
        let pause = FIRST_EJECTION.saturating_mul(1 << ejections).min(LONGEST_EJECTION);
        self.ejected_until.store(now.plus(pause).as_micros(), Ordering::Relaxed);
        // The next failure, that of the probe, ejects again at once.
        self.failures.store(EJECT_AFTER - 1, Ordering::Relaxed);
        true
    }

    /// Takes the target out until a time the upstream itself gave (`Retry-After`), at most `LONGEST_EJECTION`.
    pub fn pause(&self, now: Timestamp, retry_after: Duration) {
        let until = now.plus(retry_after.min(LONGEST_EJECTION)).as_micros();
        self.ejected_until.fetch_max(until, Ordering::Relaxed);
    }
}

/// The targets of a node.
#[derive(Debug, Default)]
pub struct Health {
    targets: RwLock<FxHashMap<DeploymentId, Arc<TargetHealth>>>,
}

impl Health {
    /// Returns what is known of a target; nothing bad is known of a new one.
    pub fn target(&self, id: DeploymentId) -> Arc<TargetHealth> {
        if let Some(target) = self.targets.read().get(&id) {
            return target.clone();
        }
        self.targets.write().entry(id).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn failures_in_a_row_eject_and_one_probe_brings_back() {
        let target = TargetHealth::default();
        for _ in 1..EJECT_AFTER {
            assert!(!target.failed(at(100)));
        }
        assert!(target.is_available(at(100)));
        assert!(target.failed(at(100)));
        assert!(!target.is_available(at(104)));
        assert!(target.is_available(at(105)), "the probe");
        assert!(!target.is_available(at(105)), "only one probe");
        target.succeeded();
        assert!(target.is_available(at(105)));
    }

    #[test]
    fn a_failed_probe_ejects_for_longer() {
        let target = TargetHealth::default();
        for _ in 0..EJECT_AFTER {
            target.failed(at(100));
        }
        assert!(target.is_available(at(105)));
        assert!(target.failed(at(105)));
        assert!(!target.is_available(at(114)));
        assert!(target.is_available(at(115)));
    }

    #[test]
    fn a_success_between_failures_starts_the_count_anew() {
        let target = TargetHealth::default();
        for _ in 0..3 {
            for _ in 1..EJECT_AFTER {
                assert!(!target.failed(at(1)));
            }
            target.succeeded();
        }
        assert!(target.is_available(at(1)));
    }

    #[test]
    fn the_upstreams_own_pause_is_kept_within_bounds() {
        let target = TargetHealth::default();
        target.pause(at(10), Duration::from_secs(1_000_000));
        assert!(target.is_ejected(at(100)));
        assert!(!target.is_ejected(at(10 + 121)));
    }
}
