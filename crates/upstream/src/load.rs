//! How busy and how fast one target is: calls in flight, latency as a peak EWMA, tokens in the last minute.
//!
//! Written at the end of attempts, read when a route asks. Relaxed atomics: two writers at once may lose a sample, never more.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use domain::Timestamp;
use domain::usage::TokenUsage;
use policy::plan;

use crate::health::TargetHealth;

/// Time after which a sample weighs a third.
const MEMORY_US: f64 = 10_000_000.0;
/// Time after which an old figure counts a third, so that a target that was slow once is asked again.
const FORGET_US: f64 = 30_000_000.0;
const MINUTE_US: i64 = 60_000_000;

/// The load of one target.
#[derive(Debug, Default)]
pub struct Load {
    n_in_flight: AtomicU32,
    first_token: PeakEwma,
    per_token: PeakEwma,
    minute: AtomicI64,
    tokens_before: AtomicU64,
    tokens: AtomicU64,
}

impl Load {
    /// Returns what a route may ask.
    pub fn read(&self, now: Timestamp) -> plan::Load {
        plan::Load {
            n_in_flight: self.n_in_flight.load(Ordering::Relaxed),
            first_token_us: self.first_token.read(now),
            per_token_us: self.per_token.read(now),
            recent_tokens: self.recent_tokens(now),
        }
    }

    /// Notes what an answer consumed and how long it took. Only streams tell when their first token came.
    pub fn answered(
        &self,
        now: Timestamp,
        is_stream: bool,
        first_byte_us: Option<u64>,
        took_us: u64,
        usage: TokenUsage,
    ) {
        if let Some(first) = first_byte_us.filter(|_| is_stream) {
            self.first_token.observe(first, now);
        }
        if let Some(each) = took_us.checked_div(usage.output) {
            self.per_token.observe(each, now);
        }
        self.add_tokens(usage.total(), now);
    }

    fn add_tokens(&self, tokens: u64, now: Timestamp) {
        let minute = now.as_micros().div_euclid(MINUTE_US);
        let noted = self.minute.swap(minute, Ordering::Relaxed);
        if noted != minute {
            let last = self.tokens.swap(0, Ordering::Relaxed);
            self.tokens_before.store(if noted + 1 == minute { last } else { 0 }, Ordering::Relaxed);
        }
        self.tokens.fetch_add(tokens, Ordering::Relaxed);
    }

    /// The tokens of this minute and the part of the last one that is less than a minute ago, if they came evenly.
    fn recent_tokens(&self, now: Timestamp) -> u64 {
        let (minute, into) = (now.as_micros().div_euclid(MINUTE_US), now.as_micros().rem_euclid(MINUTE_US));
        let left = u64::try_from(MINUTE_US - into).unwrap_or(0);
        let part = |tokens: u64| tokens.saturating_mul(left / 1_000) / 60_000;
        let tokens = self.tokens.load(Ordering::Relaxed);
        match minute - self.minute.load(Ordering::Relaxed) {
            0 => tokens.saturating_add(part(self.tokens_before.load(Ordering::Relaxed))),
            1 => part(tokens),
            _ => 0,
        }
    }
}

/// A call under way at a target; counted as long as this lives.
#[derive(Debug)]
pub struct UnderWay(Arc<TargetHealth>);

impl UnderWay {
    /// Counts a call.
    pub fn begin(target: Arc<TargetHealth>) -> Self {
        target.load.n_in_flight.fetch_add(1, Ordering::Relaxed);
        Self(target)
    }

    /// Returns the target.
    pub fn target(&self) -> &TargetHealth {
        &self.0
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.load.n_in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An average that jumps up to a worse sample and sinks slowly, so that trouble shows at once.
#[derive(Debug, Default)]
struct PeakEwma {
    value_us: AtomicU64,
    at: AtomicI64,
}

impl PeakEwma {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an average of positive microseconds"
    )]
    fn observe(&self, sample_us: u64, now: Timestamp) {
        let sample = sample_us.max(1);
        let old = self.value_us.load(Ordering::Relaxed);
        let since = now.as_micros().saturating_sub(self.at.swap(now.as_micros(), Ordering::Relaxed)).max(0);
        let new = if sample >= old {
            sample
        } else {
            let weight = (-(since as f64) / MEMORY_US).exp();
            (old as f64).mul_add(weight, sample as f64 * (1.0 - weight)) as u64
        };
        self.value_us.store(new.max(1), Ordering::Relaxed);
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an average of positive microseconds"
    )]
    fn read(&self, now: Timestamp) -> u64 {
        let value = self.value_us.load(Ordering::Relaxed);
        if value == 0 {
            return 0;
        }
        let since = now.as_micros().saturating_sub(self.at.load(Ordering::Relaxed)).max(0);
        (value as f64 * (-(since as f64) / FORGET_US).exp()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_peak_shows_at_once_and_sinks_slowly() {
        let ewma = PeakEwma::default();
        assert_eq!(ewma.read(at(0)), 0, "nothing is known");
        ewma.observe(1_000, at(100));
        ewma.observe(9_000, at(101));
        assert_eq!(ewma.read(at(101)), 9_000);
        ewma.observe(1_000, at(102));
        let sunk = ewma.read(at(102));
        assert!((7_000..9_000).contains(&sunk), "{sunk}");
        for second in 103..160 {
            ewma.observe(1_000, at(second));
        }
        assert!(ewma.read(at(160)) < 1_200);
        assert!(ewma.read(at(400)) < 10, "what is old is forgotten");
    }

    #[test]
    fn tokens_count_for_a_minute() {
        let load = Load::default();
        let usage = |output| TokenUsage { output, ..TokenUsage::default() };
        load.answered(at(600), false, None, 10, usage(600));
        assert_eq!(load.read(at(630)).recent_tokens, 600);
        assert_eq!(load.read(at(690)).recent_tokens, 300, "half of the last minute");
        load.answered(at(661), false, None, 10, usage(60));
        assert_eq!(load.read(at(690)).recent_tokens, 360);
        assert_eq!(load.read(at(800)).recent_tokens, 0);
    }

    #[test]
    fn calls_under_way_are_counted_while_they_last() {
        let target = Arc::new(TargetHealth::default());
        let (one, two) = (UnderWay::begin(target.clone()), UnderWay::begin(target.clone()));
        assert_eq!(target.load.read(at(0)).n_in_flight, 2);
        drop((one, two));
        assert_eq!(target.load.read(at(0)).n_in_flight, 0);
    }

    #[test]
    fn only_streams_tell_of_their_first_token() {
        let load = Load::default();
        let usage = TokenUsage { output: 10, ..TokenUsage::default() };
        load.answered(at(1), false, Some(500), 1_000, usage);
        assert_eq!((load.read(at(1)).first_token_us, load.read(at(1)).per_token_us), (0, 100));
        load.answered(at(1), true, Some(500), 1_000, usage);
        assert_eq!(load.read(at(1)).first_token_us, 500);
    }
}
