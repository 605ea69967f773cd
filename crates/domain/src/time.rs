//! Time as data: microseconds since the Unix epoch, UTC. No system clock is read here; the [`Clock`] port brings it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// An instant in microseconds since 1970-01-01T00:00:00Z. JSON form is RFC 3339 with `Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// Tells the time. The system implementation is `runtime::clock`; tests use [`ManualClock`].
pub trait Clock: Send + Sync {
    /// Returns the current instant.
    fn now(&self) -> Timestamp;
}

/// The text is not an RFC 3339 instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an RFC 3339 time such as 2026-11-22T09:30:00Z")]
pub struct ParseTimestampError;

const DAY_MICROS: i64 = 86_400_000_000;

impl Timestamp {
    /// Wraps microseconds since the epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Returns microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Returns whole milliseconds since the epoch; instants before 1970 count as zero.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.div_euclid(1_000)).unwrap_or(0)
    }

    /// Returns whole seconds since the epoch, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Adds a duration; saturates at the end of time.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Subtracts a duration; saturates at the beginning of time.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Returns the time from `earlier` to `self`, or zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Returns midnight UTC of the same day.
    #[must_use]
    pub const fn day(self) -> Self {
        Self(self.0 - self.0.rem_euclid(DAY_MICROS))
    }

    /// Returns the start of the same minute.
    #[must_use]
    pub const fn minute(self) -> Self {
        Self(self.0 - self.0.rem_euclid(60_000_000))
    }

    /// Returns the start of the same UTC hour.
    #[must_use]
    pub const fn hour(self) -> Self {
        Self(self.0 - self.0.rem_euclid(3_600_000_000))
    }

    /// Returns `(year, month, day)` of the UTC date.
    #[must_use]
    pub fn date(self) -> (i64, u8, u8) {
        // Days to civil date: Hinnant, "chrono-compatible low-level date algorithms".
        let days = self.0.div_euclid(DAY_MICROS) + 719_468;
        let era = days.div_euclid(146_097);
        let doe = days.rem_euclid(146_097);
        let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = doy - (153 * mp + 2) / 5 + 1;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + i64::from(month <= 2);
        (year, u8::try_from(month).unwrap_or(1), u8::try_from(day).unwrap_or(1))
    }

    /// Returns midnight UTC of a date, or `None` when the date does not exist.
    #[must_use]
    pub fn from_date(year: i64, month: u8, day: u8) -> Option<Self> {
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) || !(1..=9_999).contains(&year) {
            return None;
        }
        let (month, day) = (i64::from(month), i64::from(day));
        let y = if month <= 2 { year - 1 } else { year };
        let era = y.div_euclid(400);
        let yoe = y.rem_euclid(400);
        let doy = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
        let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
        let at = Self((era * 146_097 + doe - 719_468) * DAY_MICROS);
        let (_, back_month, back_day) = at.date();
        (i64::from(back_month) == month && i64::from(back_day) == day).then_some(at)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        let micros = self.0.rem_euclid(DAY_MICROS);
        let secs = micros / 1_000_000;
        let fraction = micros % 1_000_000;
        write!(f, "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", secs / 3_600, secs / 60 % 60, secs % 60)?;
        match (fraction, fraction % 1_000) {
            (0, _) => f.write_str("Z"),
            (_, 0) => write!(f, ".{:03}Z", fraction / 1_000),
            _ => write!(f, ".{fraction:06}Z"),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn digits(text: &str, from: usize, to: usize) -> Option<i64> {
    let part = text.get(from..to)?;
    part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?
}

fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if bytes.len() < 20
        || separators.iter().any(|(at, byte)| bytes[*at] != *byte)
        || !matches!(bytes[10], b'T' | b't' | b' ')
    {
        return None;
    }
    let (month, day) = (u8::try_from(digits(text, 5, 7)?).ok()?, u8::try_from(digits(text, 8, 10)?).ok()?);
    let date = Timestamp::from_date(digits(text, 0, 4)?, month, day)?;
    let (hour, minute, second) = (digits(text, 11, 13)?, digits(text, 14, 16)?, digits(text, 17, 19)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut at = 19;
    let mut fraction = 0_i64;
    if bytes[at] == b'.' {
        let end = (at + 1..bytes.len()).find(|i| !bytes[*i].is_ascii_digit()).unwrap_or(bytes.len());
        let shown = text.get(at + 1..end.min(at + 7))?;
        if shown.is_empty() {
            return None;
        }
        fraction = format!("{shown:0<6}").parse().ok()?;
        at = end;
    }
    let offset_minutes = match text.get(at..)? {
        "Z" | "z" => 0,
        zone if zone.len() == 6 && zone.as_bytes()[3] == b':' => {
            let (hours, minutes) = (digits(zone, 1, 3)?, digits(zone, 4, 6)?);
            let size = if hours > 23 || minutes > 59 { return None } else { hours * 60 + minutes };
            match zone.as_bytes()[0] {
                b'+' => size,
                b'-' => -size,
                _ => return None,
            }
        }
        _ => return None,
    };
    Some(Timestamp(date.0 + (((hour * 60 + minute - offset_minutes) * 60) + second) * 1_000_000 + fraction))
}

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, ParseTimestampError> {
        parse_rfc3339(text).ok_or(ParseTimestampError)
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A clock that moves only when told; for tests.
#[derive(Debug, Default)]
pub struct ManualClock(std::sync::atomic::AtomicI64);

impl ManualClock {
    /// Starts at `at`.
    #[must_use]
    pub const fn new(at: Timestamp) -> Self {
        Self(std::sync::atomic::AtomicI64::new(at.0))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.0.fetch_add(micros, std::sync::atomic::Ordering::SeqCst);
    }

    /// Sets the clock, also backwards.
    pub fn set(&self, at: Timestamp) {
        self.0.store(at.0, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339_round_trips() {
        for text in
            ["1970-01-01T00:00:00Z", "2026-11-22T11:16:13.123456Z", "2024-02-29T23:59:59.001Z", "1969-12-31T23:59:59Z"]
        {
            assert_eq!(text.parse::<Timestamp>().map(|at| at.to_string()).as_deref(), Ok(text));
        }
        assert_eq!("2026-11-22T12:16:13+01:00".parse(), "2026-11-22T11:16:13Z".parse::<Timestamp>());
    }

    #[test]
    fn what_is_not_an_instant_is_refused() {
        for text in [
            "",
            "2026-11-22",
            "2025-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T11:16:13",
            "2026-11-22T11:16:13.Z",
            "2026-11-22T11:16:13+99:00",
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }

    #[test]
    fn days_and_hours_are_cut_in_utc() {
        let at: Timestamp = "2026-11-22T11:16:13.5Z".parse().expect("a valid instant");
        assert_eq!(at.day().to_string(), "2026-11-22T00:00:00Z");
        assert_eq!(at.hour().to_string(), "2026-11-22T11:00:00Z");
        assert_eq!(at.date(), (2026, 11, 22));
    }
}
