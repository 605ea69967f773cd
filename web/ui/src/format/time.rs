//! Instants, ages and durations. Absolute times name their zone; relative ones are for glancing and keep the absolute at hand.

use std::time::Duration;

use domain::time::Timestamp;

use crate::format::number;

/// An instant, for parts of the console that know no entity.
pub type Instant = Timestamp;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A time zone as the browser tells it: minutes east of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Zone {
    /// Minutes to add to UTC.
    pub offset_minutes: i32,
}

impl Zone {
    /// `UTC`, `UTC+2`, `UTC−3:30`.
    pub fn name(self) -> String {
        let size = self.offset_minutes.unsigned_abs();
        let sign = if self.offset_minutes < 0 { '−' } else { '+' };
        match (size / 60, size % 60) {
            (0, 0) => "UTC".to_owned(),
            (hours, 0) => format!("UTC{sign}{hours}"),
            (hours, minutes) => format!("UTC{sign}{hours}:{minutes:02}"),
        }
    }

    fn local(self, at: Timestamp) -> Timestamp {
        Timestamp::from_micros(at.as_micros().saturating_add(i64::from(self.offset_minutes) * 60_000_000))
    }

    fn utc(self, local: Timestamp) -> Timestamp {
        Timestamp::from_micros(local.as_micros().saturating_sub(i64::from(self.offset_minutes) * 60_000_000))
    }
}

fn clock(local: Timestamp) -> (i64, i64, i64) {
    let secs = local.as_secs().rem_euclid(86_400);
    (secs / 3_600, secs / 60 % 60, secs % 60)
}

fn month_name(month: u8) -> &'static str {
    MONTHS.get(usize::from(month).saturating_sub(1)).copied().unwrap_or("?")
}

/// `22 Nov 2026, 09:30:05`, in the zone.
pub fn absolute(at: Timestamp, zone: Zone) -> String {
    let local = zone.local(at);
    let (year, month, day) = local.date();
    let (hour, minute, second) = clock(local);
    format!("{day} {} {year}, {hour:02}:{minute:02}:{second:02}", month_name(month))
}

/// `22 Nov, 09:30`, for lists.
pub fn short(at: Timestamp, zone: Zone) -> String {
    let local = zone.local(at);
    let (_, month, day) = local.date();
    let (hour, minute, _) = clock(local);
    format!("{day} {}, {hour:02}:{minute:02}", month_name(month))
}

/// `09:30:05`, or `21 Nov 09:30:05` on another day than `now`: for logs.
pub fn clock_time(at: Timestamp, now: Timestamp, zone: Zone) -> String {
    let local = zone.local(at);
    let (hour, minute, second) = clock(local);
    let clock = format!("{hour:02}:{minute:02}:{second:02}");
    let (_, month, day) = local.date();
    if local.date() == zone.local(now).date() { clock } else { format!("{day} {} {clock}", month_name(month)) }
}

/// `22 Nov 2026`.
pub fn date(at: Timestamp, zone: Zone) -> String {
    let (year, month, day) = zone.local(at).date();
    format!("{day} {} {year}", month_name(month))
}

/// The label of a point on a time axis whose points lie `step` apart.
pub fn tick(at: Timestamp, step: Duration, zone: Zone) -> String {
    let local = zone.local(at);
    let (_, month, day) = local.date();
    let (hour, minute, second) = clock(local);
    match step.as_secs() {
        0..60 => format!("{hour:02}:{minute:02}:{second:02}"),
        60..86_400 => format!("{hour:02}:{minute:02}"),
        _ => format!("{day} {}", month_name(month)),
    }
}

/// `just now`, `4 min ago`, `3 h ago`, `in 6 days`, and the date when it is far away.
pub fn relative(at: Timestamp, now: Timestamp, zone: Zone) -> String {
    let past = at <= now;
    let secs = if past { now.since(at).as_secs() } else { at.since(now).as_secs() };
    let (value, unit) = match secs {
        0..10 if past => return "just now".to_owned(),
        0..60 => (secs, "s"),
        60..3_600 => (secs / 60, "min"),
        3_600..86_400 => (secs / 3_600, "h"),
        86_400..172_800 => (1, "day"),
        172_800..5_184_000 => (secs / 86_400, "days"),
        _ => return date(at, zone),
    };
    if past { format!("{value} {unit} ago") } else { format!("in {value} {unit}") }
}

/// A measured duration with three digits at most: `0.3 ms`, `840 ms`, `1.24 s`, `2 min 5 s`.
pub fn micros(value: u64) -> String {
    let us = number::as_f64(value);
    match value {
        0..1_000 => format!("{value} µs"),
        1_000..10_000 => format!("{} ms", number::trimmed(us / 1e3, 2)),
        10_000..100_000 => format!("{} ms", number::trimmed(us / 1e3, 1)),
        100_000..1_000_000 => format!("{:.0} ms", us / 1e3),
        1_000_000..10_000_000 => format!("{:.2} s", us / 1e6),
        10_000_000..60_000_000 => format!("{} s", number::trimmed(us / 1e6, 1)),
        _ if (value / 1_000_000).is_multiple_of(60) => format!("{} min", value / 60_000_000),
        _ => format!("{} min {} s", value / 60_000_000, value / 1_000_000 % 60),
    }
}

/// The same for milliseconds.
pub fn millis(value: u64) -> String {
    if value == 0 { "0 ms".to_owned() } else { micros(value.saturating_mul(1_000)) }
}

/// The value of an `<input type="datetime-local">`.
pub fn to_input(at: Timestamp, zone: Zone) -> String {
    let local = zone.local(at);
    let (year, month, day) = local.date();
    let (hour, minute, _) = clock(local);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}")
}

/// Reads the value of an `<input type="datetime-local">` or `type="date"`.
pub fn from_input(text: &str, zone: Zone) -> Option<Timestamp> {
    let full = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        _ => return None,
    };
    full.parse().ok().map(|local| zone.utc(local))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    const BERLIN: Zone = Zone { offset_minutes: 60 };

    #[test]
    fn absolute_times_follow_the_zone() {
        let instant = at("2026-11-22T23:30:05.123Z");
        assert_eq!(absolute(instant, Zone::default()), "22 Nov 2026, 23:30:05");
        assert_eq!(absolute(instant, BERLIN), "23 Nov 2026, 00:30:05");
        assert_eq!(short(instant, BERLIN), "23 Nov, 00:30");
        assert_eq!(
            [Zone::default().name(), BERLIN.name(), Zone { offset_minutes: -210 }.name()],
            ["UTC", "UTC+1", "UTC−3:30"]
        );
    }

    #[test]
    fn logs_name_the_day_when_it_is_another() {
        let now = at("2026-11-22T23:50:00Z");
        assert_eq!(clock_time(at("2026-11-22T23:30:05Z"), now, Zone::default()), "23:30:05");
        assert_eq!(clock_time(at("2026-11-21T23:30:05Z"), now, Zone::default()), "21 Nov 23:30:05");
        assert_eq!(clock_time(at("2026-11-22T22:30:05Z"), now, BERLIN), "22 Nov 23:30:05");
    }

    #[test]
    fn ages_read_like_speech() {
        let now = at("2026-11-22T12:00:00Z");
        let cases = [
            ("2026-11-22T11:59:57Z", "just now"),
            ("2026-11-22T11:59:20Z", "40 s ago"),
            ("2026-11-22T11:56:00Z", "4 min ago"),
            ("2026-11-22T09:00:00Z", "3 h ago"),
            ("2026-11-21T11:00:00Z", "1 day ago"),
            ("2026-11-28T13:00:00Z", "in 6 days"),
            ("2026-01-02T00:00:00Z", "2 Jan 2026"),
        ];
        for (instant, text) in cases {
            assert_eq!(relative(at(instant), now, Zone::default()), text);
        }
    }

    #[test]
    fn durations_keep_three_digits() {
        assert_eq!(
            [312, 1_240, 84_000, 840_000, 1_240_000, 125_000_000].map(micros),
            ["312 µs", "1.24 ms", "84 ms", "840 ms", "1.24 s", "2 min 5 s"]
        );
    }

    #[test]
    fn form_values_round_trip() {
        let instant = at("2026-11-22T23:30:00Z");
        assert_eq!(to_input(instant, BERLIN), "2026-11-23T00:30");
        assert_eq!(from_input("2026-11-23T00:30", BERLIN), Some(instant));
        assert_eq!(from_input("2026-11-23", Zone::default()), Some(at("2026-11-23T00:00:00Z")));
        assert_eq!(from_input("soon", BERLIN), None);
    }
}
