//! How long the oldest event waits: a few marks of when which event was written.
//!
//! Exact to `STEP`; with very long waits the marks thin out and the answer may be up to twice too long, never too short.
//! Invariant: marks rise in sequence and in time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Time between two marks.
const STEP: Duration = Duration::from_secs(1);
/// Marks kept before every second one is forgotten.
const MAX_MARKS: usize = 4_096;

/// Marks of this boot's events.
#[derive(Debug)]
pub(super) struct Ages {
    opened: Instant,
    /// Events after this sequence were not written before this moment.
    marks: VecDeque<(u64, Instant)>,
    last: u64,
}

impl Ages {
    pub(super) fn new(opened: Instant) -> Self {
        Self { opened, marks: VecDeque::new(), last: 0 }
    }

    /// Notes that everything up to `sequence` is written.
    pub(super) fn wrote(&mut self, sequence: u64, now: Instant) {
        if self.marks.back().is_none_or(|(_, at)| now.duration_since(*at) >= STEP) {
            self.marks.push_back((self.last, now));
        }
        self.last = sequence;
        if self.marks.len() > MAX_MARKS {
            let mut is_kept = false;
            self.marks.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
        }
    }

    /// Returns how long the oldest of `n_pending` events has waited, when this boot's are acknowledged up to a sequence.
    pub(super) fn oldest(&mut self, acknowledged: u64, n_pending: u64, now: Instant) -> Duration {
        while self.marks.get(1).is_some_and(|(after, _)| *after <= acknowledged) {
            self.marks.pop_front();
        }
        let n_own = self.last.saturating_sub(acknowledged);
        if n_pending == 0 {
            return Duration::ZERO;
        }
        let since = match self.marks.front() {
            Some((_, at)) if n_pending <= n_own => *at,
            // A former life's events are reported first.
            _ => self.opened,
        };
        now.duration_since(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_unacknowledged_event_tells_the_age() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut ages = Ages::new(start);
        assert_eq!(ages.oldest(0, 0, at(50)), Duration::ZERO);
        ages.wrote(10, at(100));
        ages.wrote(20, at(110));
        ages.wrote(30, at(120));
        assert_eq!(ages.oldest(0, 30, at(130)).as_secs(), 30);
        assert_eq!(ages.oldest(10, 20, at(130)).as_secs(), 20);
        assert_eq!(ages.oldest(15, 15, at(130)).as_secs(), 20);
        assert_eq!(ages.oldest(29, 1, at(130)).as_secs(), 10);
        assert_eq!(ages.oldest(30, 0, at(130)), Duration::ZERO);
        ages.wrote(31, at(140));
        assert_eq!(ages.oldest(30, 1, at(141)).as_secs(), 1);
    }

    #[test]
    fn what_a_former_life_left_is_as_old_as_this_one() {
        let start = Instant::now();
        let mut ages = Ages::new(start);
        ages.wrote(2, start + Duration::from_secs(9));
        assert_eq!(ages.oldest(0, 5, start + Duration::from_secs(10)).as_secs(), 10);
    }

    #[test]
    fn marks_are_bounded() {
        let start = Instant::now();
        let mut ages = Ages::new(start);
        for n in 0..20_000 {
            ages.wrote(n + 1, start + STEP * u32::try_from(n).expect("small"));
        }
        assert!(ages.marks.len() <= MAX_MARKS);
        let now = start + STEP * 20_000;
        assert_eq!(ages.oldest(0, 20_000, now).as_secs(), 20_000);
        assert!((100..=200).contains(&ages.oldest(19_900, 100, now).as_secs()));
    }
}
