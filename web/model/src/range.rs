//! The time range of the whole console: relative or absolute, kept in the address (`range=24h`, or `from=…&to=…`).
//!
//! Pure. A relative range ends now and moves on; an absolute one stands still.

use std::time::Duration;

use domain::time::Timestamp;

use ui::format::time::{Zone, short};

const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

/// Relative ranges on offer: the text in the address, the label, the seconds.
pub const PRESETS: [(&str, &str, u64); 7] = [
    ("15m", "Last 15 minutes", 900),
    ("1h", "Last hour", HOUR),
    ("6h", "Last 6 hours", 6 * HOUR),
    ("24h", "Last 24 hours", DAY),
    ("7d", "Last 7 days", 7 * DAY),
    ("30d", "Last 30 days", 30 * DAY),
    ("90d", "Last 90 days", 90 * DAY),
];

/// A window on time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeRange {
    /// Ends now; an index into [`PRESETS`].
    Last(usize),
    /// From, to.
    Between(Timestamp, Timestamp),
}

impl Default for TimeRange {
    fn default() -> Self {
        Self::Last(3)
    }
}

impl TimeRange {
    /// Reads the query; what is missing or odd gives the default.
    pub fn parse(range: Option<&str>, from: Option<&str>, to: Option<&str>) -> Self {
        if let Some(index) = range.and_then(|range| PRESETS.iter().position(|preset| preset.0 == range)) {
            return Self::Last(index);
        }
        match (from.and_then(|text| text.parse().ok()), to.and_then(|text| text.parse().ok())) {
            (Some(from), Some(to)) if from < to => Self::Between(from, to),
            _ => Self::default(),
        }
    }

    /// The query pairs of this range; empty for the default.
    pub fn query(self) -> Vec<(&'static str, String)> {
        match self {
            _ if self == Self::default() => Vec::new(),
            Self::Last(index) => {
                PRESETS.get(index).map(|preset| vec![("range", preset.0.to_owned())]).unwrap_or_default()
            }
            Self::Between(from, to) => vec![("from", from.to_string()), ("to", to.to_string())],
        }
    }

    /// The bounds at an instant. Relative ranges end one bucket into the future, so that the bucket in progress is inside.
    pub fn bounds(self, now: Timestamp) -> (Timestamp, Timestamp) {
        match self {
            Self::Last(_) => (now.minus(self.length()), now),
            Self::Between(from, to) => (from, to),
        }
    }

    pub fn length(self) -> Duration {
        match self {
            Self::Last(index) => Duration::from_secs(PRESETS.get(index).map_or(DAY, |preset| preset.2)),
            Self::Between(from, to) => to.since(from),
        }
    }

    pub fn is_live(self) -> bool {
        matches!(self, Self::Last(_))
    }

    pub fn label(self, zone: Zone) -> String {
        match self {
            Self::Last(index) => PRESETS.get(index).map_or("", |preset| preset.1).to_owned(),
            Self::Between(from, to) => format!("{} – {}", short(from, zone), short(to, zone)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_round_trips() {
        let absolute = TimeRange::Between(Timestamp::from_micros(0), Timestamp::from_micros(60_000_000));
        for range in [TimeRange::Last(0), TimeRange::Last(5), TimeRange::default(), absolute] {
            let query = range.query();
            let get = |name: &str| query.iter().find(|pair| pair.0 == name).map(|pair| pair.1.as_str());
            assert_eq!(TimeRange::parse(get("range"), get("from"), get("to")), range);
        }
    }

    #[test]
    fn a_backward_window_is_the_default() {
        let range = TimeRange::parse(None, Some("2026-11-22T00:00:00Z"), Some("2026-11-21T00:00:00Z"));
        assert_eq!(range, TimeRange::default());
        assert_eq!(range.length(), Duration::from_secs(DAY));
    }
}
