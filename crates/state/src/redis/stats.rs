//! What is counted of Redis, and its Prometheus text.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// Upper bounds of the look-ups' buckets, in microseconds.
const BOUNDS_US: [u64; 8] = [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000];

#[derive(Debug, Default)]
pub(super) struct Stats {
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
    /// Too slow, or refused.
    pub(super) failures: AtomicU64,
    /// Not asked, because Redis was away.
    pub(super) away: AtomicU64,
    pub(super) written: AtomicU64,
    /// Not written, for want of room or of Redis.
    pub(super) skipped: AtomicU64,
    pub(super) last_reason: Mutex<String>,
    buckets: [AtomicU64; 9],
    sum_us: AtomicU64,
}

impl Stats {
    /// Counts how long a look-up took.
    pub(super) fn took(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.buckets[BOUNDS_US.partition_point(|bound| *bound < us)].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    pub(super) fn write_lookups(&self, out: &mut String) {
        let results = [("hit", &self.hits), ("miss", &self.misses), ("failed", &self.failures), ("away", &self.away)];
        for (result, count) in results {
            let count = count.load(Ordering::Relaxed);
            // Writing to a `String` cannot fail.
            writeln!(out, "headgate_cache_lookups_total{{store=\"redis\",result=\"{result}\"}} {count}")
                .unwrap_or_default();
        }
    }

    pub(super) fn write_questions(results: [(&str, &AtomicU64); 3], out: &mut String) {
        out.push_str(
            "# HELP headgate_redis_limit_questions_total Calls whose rate limits Redis was asked about.\n\
             # TYPE headgate_redis_limit_questions_total counter\n",
        );
        for (result, count) in results {
            let count = count.load(Ordering::Relaxed);
            writeln!(out, "headgate_redis_limit_questions_total{{result=\"{result}\"}} {count}").unwrap_or_default();
        }
    }

    pub(super) fn write_metrics(&self, is_up: bool, out: &mut String) {
        let (written, skipped) = (self.written.load(Ordering::Relaxed), self.skipped.load(Ordering::Relaxed));
        write!(
            out,
            "# HELP headgate_redis_up Whether Redis answers.\n# TYPE headgate_redis_up gauge\n\
             headgate_redis_up {}\n\
             # HELP headgate_redis_writes_total Values handed to Redis, and those given up for want of room or of Redis.\n\
             # TYPE headgate_redis_writes_total counter\n\
             headgate_redis_writes_total{{result=\"written\"}} {written}\n\
             headgate_redis_writes_total{{result=\"skipped\"}} {skipped}\n\
             # HELP headgate_redis_lookup_seconds How long look-ups in Redis take.\n\
             # TYPE headgate_redis_lookup_seconds histogram\n",
            u8::from(is_up),
        )
        .unwrap_or_default();
        let mut count = 0;
        for (bucket, bound) in self.buckets.iter().zip(BOUNDS_US.map(Some).into_iter().chain([None])) {
            count += bucket.load(Ordering::Relaxed);
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |us| seconds(us).to_string());
            writeln!(out, "headgate_redis_lookup_seconds_bucket{{le=\"{bound}\"}} {count}").unwrap_or_default();
        }
        let sum = seconds(self.sum_us.load(Ordering::Relaxed));
        writeln!(out, "headgate_redis_lookup_seconds_sum {sum}\nheadgate_redis_lookup_seconds_count {count}")
            .unwrap_or_default();
    }
}

fn seconds(us: u64) -> f64 {
    Duration::from_micros(us).as_secs_f64()
}
