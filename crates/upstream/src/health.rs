//! Which targets are fit to be tried: ejection after repeated failures, one probe at a time to come back, a slow start then.
//!
//! Health is the node's own observation and never leaves it; a revision of policy does not reset it. Not here: the order of
//! targets (`policy::plan`). Invariants: a target is never ejected by answers that are the caller's fault, nor by a rate limit,
//! which is load and not damage; planning looks, only the one that sends takes the probe.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use domain::{DeploymentId, Timestamp};
use parking_lot::RwLock;
use policy::plan;
use rustc_hash::FxHashMap;

use crate::load::Load;

/// Failures in a row that eject a target.
pub const EJECT_AFTER: u32 = 5;
/// The first ejection; each further one doubles it, up to `LONGEST_EJECTION`.
pub const FIRST_EJECTION: Duration = Duration::from_secs(5);
/// The longest ejection, and the longest pause that an upstream may ask for.
pub const LONGEST_EJECTION: Duration = Duration::from_secs(120);
/// The pause after a rate limit that names none.
pub const USUAL_PAUSE: Duration = Duration::from_secs(1);

/// What is known of one target.
#[derive(Debug, Default)]
pub struct TargetHealth {
    failures: AtomicU32,
    ejections: AtomicU32,
    /// End of the ejection in microseconds; 0 while the target is in.
    ejected_until: AtomicI64,
    /// End of the pause that the upstream asked for.
    paused_until: AtomicI64,
    /// When it came back from an ejection.
    returned_at: AtomicI64,
    /// When a call last said something of it; 0 when none did.
    heard_at: AtomicI64,
    /// How busy it is.
    pub load: Load,
}

impl TargetHealth {
    /// Says what speaks against the target; takes no probe. One whose ejection is over is fit: who sends first is its probe.
    pub fn state(&self, now: Timestamp, slow_start: Duration) -> plan::Health {
        let now_us = now.as_micros();
        if now_us < self.ejected_until.load(Ordering::Relaxed) {
            return plan::Health::Ejected;
        }
        if now_us < self.paused_until.load(Ordering::Relaxed) {
            return plan::Health::RateLimited;
        }
        let returned_at = self.returned_at.load(Ordering::Relaxed);
        if returned_at == 0 {
            return plan::Health::Fit;
        }
        let since = now.since(Timestamp::from_micros(returned_at));
        if since >= slow_start {
            self.returned_at.store(0, Ordering::Relaxed);
            return plan::Health::Fit;
        }
        let percent = since.as_micros().saturating_mul(100) / slow_start.as_micros().max(1);
        // Something must get through, or nothing would ever be learnt.
        plan::Health::Warming(u8::try_from(percent).unwrap_or(100).max(10))
    }

    /// Says whether the target is ejected at the moment; takes no probe.
    pub fn is_ejected(&self, now: Timestamp) -> bool {
        now.as_micros() < self.ejected_until.load(Ordering::Relaxed)
    }

    /// Asks to send. After an ejection one caller gets `true` (the probe) and moves the end on, so that others wait for what the
    /// probe finds. While the target is ejected the answer is `false`.
    pub fn take_probe(&self, now: Timestamp) -> bool {
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

    /// Says whether no call has said anything of the target for so long.
    pub fn is_quiet(&self, now: Timestamp, for_long: Duration) -> bool {
        now.since(Timestamp::from_micros(self.heard_at.load(Ordering::Relaxed))) >= for_long
    }

    /// Ends an ejection without calling the target fit: the next call is its probe. Says whether it was ejected.
    pub fn half_open(&self, now: Timestamp) -> bool {
        let (until, now) = (self.ejected_until.load(Ordering::Relaxed), now.as_micros());
        until > now && self.ejected_until.compare_exchange(until, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Ejects the target at once, or for longer when it is out.
    pub fn eject(&self, now: Timestamp) {
        let heard_at = self.heard_at.load(Ordering::Relaxed);
        self.failures.fetch_max(EJECT_AFTER - 1, Ordering::Relaxed);
        self.failed(now);
        self.heard_at.store(heard_at, Ordering::Relaxed);
    }

    /// Notes an answer that shows the target works.
    pub fn succeeded(&self, now: Timestamp) {
        self.heard_at.store(now.as_micros(), Ordering::Relaxed);
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        if self.ejected_until.load(Ordering::Relaxed) != 0 {
            self.ejected_until.store(0, Ordering::Relaxed);
            self.ejections.store(0, Ordering::Relaxed);
            self.returned_at.store(now.as_micros(), Ordering::Relaxed);
        }
    }

    /// Notes a failure of the target; returns true when this one ejected it.
    pub fn failed(&self, now: Timestamp) -> bool {
        self.heard_at.store(now.as_micros(), Ordering::Relaxed);
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures < EJECT_AFTER {
            return false;
        }
        let ejections = self.ejections.fetch_add(1, Ordering::Relaxed).min(16);
        let pause = FIRST_EJECTION.saturating_mul(1 << ejections).min(LONGEST_EJECTION);
        self.ejected_until.store(now.plus(pause).as_micros(), Ordering::Relaxed);
        self.returned_at.store(0, Ordering::Relaxed);
        // The next failure, that of the probe, ejects again at once.
        self.failures.store(EJECT_AFTER - 1, Ordering::Relaxed);
        true
    }

    /// Passes the target over until a time the upstream itself gave (`Retry-After`), at most `LONGEST_EJECTION`.
    pub fn pause(&self, now: Timestamp, retry_after: Duration) {
        let until = now.plus(retry_after.min(LONGEST_EJECTION)).as_micros();
        self.paused_until.fetch_max(until, Ordering::Relaxed);
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

    /// Looks at a target, if anything is known of it.
    pub fn look<T>(&self, id: DeploymentId, look: impl FnOnce(&TargetHealth) -> T) -> Option<T> {
        self.targets.read().get(&id).map(|target| look(target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    const SLOW: Duration = Duration::from_secs(10);

    #[test]
    fn failures_in_a_row_eject_and_one_probe_brings_back() {
        let target = TargetHealth::default();
        for _ in 1..EJECT_AFTER {
            assert!(!target.failed(at(100)));
        }
        assert!(target.take_probe(at(100)));
        assert!(target.failed(at(100)));
        assert!(!target.take_probe(at(104)));
        assert_eq!(target.state(at(104), SLOW), plan::Health::Ejected);
        assert_eq!(target.state(at(105), SLOW), plan::Health::Fit, "planning looks");
        assert!(target.take_probe(at(105)), "the probe");
        assert!(!target.take_probe(at(105)), "only one probe");
        assert_eq!(target.state(at(105), SLOW), plan::Health::Ejected, "while the probe is under way");
        target.succeeded(at(106));
        assert!(target.take_probe(at(106)) && target.take_probe(at(106)));
    }

    #[test]
    fn a_failed_probe_ejects_for_longer() {
        let target = TargetHealth::default();
        for _ in 0..EJECT_AFTER {
            target.failed(at(100));
        }
        assert!(target.take_probe(at(105)));
        assert!(target.failed(at(105)));
        assert!(!target.take_probe(at(114)));
        assert!(target.take_probe(at(115)));
    }

    #[test]
    fn a_success_between_failures_starts_the_count_anew() {
        let target = TargetHealth::default();
        for _ in 0..3 {
            for _ in 1..EJECT_AFTER {
                assert!(!target.failed(at(1)));
            }
            target.succeeded(at(1));
        }
        assert_eq!(target.state(at(1), SLOW), plan::Health::Fit);
    }

    #[test]
    fn what_a_probe_found_opens_half_or_ejects_and_is_no_traffic() {
        let target = TargetHealth::default();
        assert!(target.is_quiet(at(100), SLOW) && !target.half_open(at(100)), "it is not out");
        target.eject(at(100));
        assert!(target.is_ejected(at(104)) && target.is_quiet(at(104), SLOW), "nobody called");
        target.eject(at(104));
        assert!(target.is_ejected(at(113)), "out for longer");
        assert!(target.half_open(at(106)) && !target.half_open(at(106)));
        assert_eq!(target.state(at(106), SLOW), plan::Health::Fit);
        assert!(target.take_probe(at(106)) && !target.take_probe(at(106)), "one call tries");
        target.succeeded(at(107));
        assert!(!target.is_quiet(at(116), SLOW) && target.is_quiet(at(117), SLOW));
    }

    #[test]
    fn a_return_is_slow() {
        let target = TargetHealth::default();
        for _ in 0..EJECT_AFTER {
            target.failed(at(100));
        }
        target.succeeded(at(110));
        assert_eq!(target.state(at(110), SLOW), plan::Health::Warming(10));
        assert_eq!(target.state(at(115), SLOW), plan::Health::Warming(50));
        assert_eq!(target.state(at(120), SLOW), plan::Health::Fit);
        assert_eq!(target.state(at(110), Duration::ZERO), plan::Health::Fit);
    }

    #[test]
    fn the_upstreams_own_pause_is_load_and_kept_within_bounds() {
        let target = TargetHealth::default();
        target.pause(at(10), Duration::from_secs(1_000_000));
        assert_eq!(target.state(at(100), SLOW), plan::Health::RateLimited);
        assert!(!target.is_ejected(at(100)));
        assert_eq!(target.state(at(10 + 121), SLOW), plan::Health::Fit);
    }
}
