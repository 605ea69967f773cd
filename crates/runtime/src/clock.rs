//! The system clock behind `domain::Clock`. The only place that asks the operating system for the time of day.

use std::time::{SystemTime, UNIX_EPOCH};

use domain::{Clock, Timestamp};

/// Tells the machine's time of day, in microseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the implementation that the ban points to")]
    fn now(&self) -> Timestamp {
        let now = SystemTime::now();
        // A machine set before 1970 still runs: the distance is then negative.
        let micros = match now.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
        };
        Timestamp::from_micros(micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_does_not_stand_in_the_past() {
        let written = "2026-11-01T00:00:00Z".parse::<Timestamp>().expect("a valid instant");
        assert!(SystemClock.now() > written);
    }
}
