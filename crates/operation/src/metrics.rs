//! Counters of the control plane as Prometheus text, written by hand from atomics.
//!
//! Label values come from closed sets only: status class, operation-independent buckets. No tenant appears here.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

/// Upper bounds of the duration buckets, in milliseconds.
const BOUNDS_MS: [u64; 8] = [5, 10, 25, 50, 100, 250, 1_000, 5_000];

/// What the control plane counts.
#[derive(Debug, Default)]
pub struct Metrics {
    by_class: [AtomicU64; 5],
    buckets: [AtomicU64; BOUNDS_MS.len() + 1],
    total_us: AtomicU64,
    /// Requests that failed to authenticate.
    pub unauthenticated: AtomicU64,
    /// Requests that were refused for want of a permission.
    pub denied: AtomicU64,
    /// Sign-ins that were slowed down.
    pub throttled: AtomicU64,
    /// Writes that were committed.
    pub writes: AtomicU64,
    /// Calls of revoked nodes.
    pub nodes_refused: AtomicU64,
    /// Usage events that the ledger will never take.
    pub usage_refused: AtomicU64,
    /// Handshakes with nodes under way.
    pub handshakes: AtomicU64,
    /// Full sets on their way to nodes.
    pub full_sets: AtomicU64,
    /// Rules of the books that did not hold when this process last looked, over all organizations.
    pub ledger_broken: AtomicU64,
    /// When this process last looked, in seconds since 1970.
    pub ledger_checked_at: AtomicU64,
}

impl Metrics {
    /// Counts one answer.
    pub fn answered(&self, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.by_class[class].fetch_add(1, Ordering::Relaxed);
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MS.iter().position(|bound| millis <= *bound).unwrap_or(BOUNDS_MS.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.total_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(0), Ordering::Relaxed);
    }

    /// Renders the Prometheus text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::from(
            "# HELP headgate_control_requests_total Answers of the control address by status class.\n# TYPE headgate_control_requests_total counter\n",
        );
        for (class, count) in self.by_class.iter().enumerate() {
            let _ = writeln!(
                text,
                "headgate_control_requests_total{{class=\"{}xx\"}} {}",
                class + 1,
                count.load(Ordering::Relaxed)
            );
        }
        text.push_str("# HELP headgate_control_request_duration_seconds Time to answer.\n# TYPE headgate_control_request_duration_seconds histogram\n");
        let mut below = 0;
        for (bound, count) in BOUNDS_MS.iter().zip(&self.buckets) {
            below += count.load(Ordering::Relaxed);
            let _ = writeln!(
                text,
                "headgate_control_request_duration_seconds_bucket{{le=\"{}.{:03}\"}} {below}",
                bound / 1_000,
                bound % 1_000
            );
        }
        let all = below + self.buckets[BOUNDS_MS.len()].load(Ordering::Relaxed);
        let total = self.total_us.load(Ordering::Relaxed);
        let _ = writeln!(text, "headgate_control_request_duration_seconds_bucket{{le=\"+Inf\"}} {all}");
        let _ = writeln!(
            text,
            "headgate_control_request_duration_seconds_sum {}.{:06}",
            total / 1_000_000,
            total % 1_000_000
        );
        let _ = writeln!(text, "headgate_control_request_duration_seconds_count {all}");
        let counters = [
            (
                "headgate_control_unauthenticated_total",
                "Requests without valid proof of who acts.",
                &self.unauthenticated,
            ),
            ("headgate_control_denied_total", "Requests refused for want of a permission.", &self.denied),
            ("headgate_control_throttled_logins_total", "Sign-ins that were told to come back later.", &self.throttled),
            ("headgate_control_writes_total", "Committed changes.", &self.writes),
            ("headgate_control_nodes_refused_total", "Calls of revoked nodes.", &self.nodes_refused),
            (
                "headgate_control_usage_refused_total",
                "Usage events that the ledger will never take; nodes keep them aside.",
                &self.usage_refused,
            ),
        ];
        for (name, help, count) in counters {
            let _ =
                writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {}", count.load(Ordering::Relaxed));
        }
        let gauges = [
            ("headgate_control_handshakes", "Handshakes with nodes under way.", &self.handshakes),
            ("headgate_control_full_sets", "Full sets on their way to nodes.", &self.full_sets),
            (
                "headgate_control_ledger_broken_rules",
                "Rules of the books that did not hold at the last look, over all organizations.",
                &self.ledger_broken,
            ),
            (
                "headgate_control_ledger_checked_timestamp_seconds",
                "When the books were last looked at by this process; 0 for never.",
                &self.ledger_checked_at,
            ),
        ];
        for (name, help, gauge) in gauges {
            let _ =
                writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {}", gauge.load(Ordering::Relaxed));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_classes_counted() {
        let metrics = Metrics::default();
        metrics.answered(StatusCode::OK, Duration::from_millis(7));
        metrics.answered(StatusCode::NOT_FOUND, Duration::from_secs(60));
        let text = metrics.render();
        assert!(text.contains("headgate_control_requests_total{class=\"4xx\"} 1"));
        assert!(text.contains("_bucket{le=\"0.005\"} 0") && text.contains("_bucket{le=\"0.010\"} 1"));
        assert!(text.contains("_bucket{le=\"+Inf\"} 2") && text.contains("_sum 60.007000"));
    }
}
