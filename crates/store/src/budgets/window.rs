//! Where windows begin and end, by the calendar of a time zone. The zones are part of the executable, so that every control
//! process computes the same edges. Invariant: the windows of a kind cover all time and never overlap.

use domain::Timestamp;
use domain::budget::Window;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp as Instant};

/// Returns a time zone by its IANA name.
fn zone(name: &str) -> Option<TimeZone> {
    jiff::tz::db().get(name).ok()
}

/// Says whether there is a time zone of this name.
#[must_use]
pub fn is_time_zone(name: &str) -> bool {
    zone(name).is_some()
}

/// Returns begin and end of the window that holds an instant. A window that never ends begins at 0. `None` when there is no such
/// time zone, or the instant is beyond the calendar.
#[must_use]
pub fn bounds(window: Window, time_zone: &str, at: Timestamp) -> Option<(Timestamp, Option<Timestamp>)> {
    const HOUR: i64 = 3_600_000_000;
    match window {
        Window::Total => return Some((Timestamp::from_micros(0), None)),
        Window::Hour => {
            let start = at.hour();
            return Some((start, Some(Timestamp::from_micros(start.as_micros().checked_add(HOUR)?))));
        }
        Window::Day | Window::Week | Window::Month | Window::Quarter => {}
    }
    let zone = zone(time_zone)?;
    let date = Instant::from_microsecond(at.as_micros()).ok()?.to_zoned(zone.clone()).date();
    let mut first = first_day(window, date)?;
    let mut start = begin(first, &zone)?;
    let mut end = begin(next(window, first)?, &zone)?;
    // A clock that is set back over midnight shows the day before twice; the second time belongs to the day that had begun.
    while at >= end {
        first = next(window, first)?;
        (start, end) = (end, begin(next(window, first)?, &zone)?);
    }
    Some((start, Some(end)))
}

/// Returns the hours of a calendar month, from the first on and before the last: sums are kept by hours of UTC, so an hour that the
/// month's midnight cuts in two belongs to the month in which it begins. `None` when there is no such time zone or month.
#[must_use]
pub fn month_hours(time_zone: &str, year: i64, month: u8) -> Option<(Timestamp, Timestamp)> {
    let inside = Timestamp::from_date(year, month, 15)?;
    let (start, end) = bounds(Window::Month, time_zone, inside)?;
    Some((whole_hour(start)?, whole_hour(end?)?))
}

/// The first hour that begins at or after an instant.
fn whole_hour(at: Timestamp) -> Option<Timestamp> {
    const HOUR: i64 = 3_600_000_000;
    let hour = at.hour();
    if hour == at { Some(at) } else { hour.as_micros().checked_add(HOUR).map(Timestamp::from_micros) }
}

fn first_day(window: Window, date: Date) -> Option<Date> {
    match window {
        Window::Week => {
            let days = i64::from(date.weekday().to_monday_zero_offset());
            date.checked_sub(Span::new().days(days)).ok()
        }
        Window::Month => Some(date.first_of_month()),
        Window::Quarter => Date::new(date.year(), (date.month() - 1) / 3 * 3 + 1, 1).ok(),
        Window::Hour | Window::Day | Window::Total => Some(date),
    }
}

fn next(window: Window, first: Date) -> Option<Date> {
    let span = match window {
        Window::Week => Span::new().days(7),
        Window::Month => Span::new().months(1),
        Window::Quarter => Span::new().months(3),
        Window::Hour | Window::Day | Window::Total => Span::new().days(1),
    };
    first.checked_add(span).ok()
}

/// The first instant of a day: midnight, or what comes instead where the clock leaps over it.
fn begin(date: Date, zone: &TimeZone) -> Option<Timestamp> {
    Some(Timestamp::from_micros(date.to_zoned(zone.clone()).ok()?.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CALENDAR: [Window; 4] = [Window::Day, Window::Week, Window::Month, Window::Quarter];
    const ZONES: [&str; 8] = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "America/St_Johns",
        "Africa/Cairo",
        "Pacific/Apia",
        "Asia/Kathmandu",
    ];

    fn of(window: Window, zone: &str, at: &str) -> (String, String) {
        let (start, end) = bounds(window, zone, at.parse().expect("a time")).expect("a window");
        (start.to_string(), end.expect("an end").to_string())
    }

    fn pair(start: &str, end: &str) -> (String, String) {
        (start.to_owned(), end.to_owned())
    }

    #[test]
    fn days_follow_the_clock_through_both_changes_of_it() {
        // 23 hours and 25 hours.
        let spring = of(Window::Day, "Europe/Berlin", "2026-03-29T10:00:00Z");
        assert_eq!(spring, pair("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"));
        let autumn = of(Window::Day, "Europe/Berlin", "2026-10-25T10:00:00Z");
        assert_eq!(autumn, pair("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"));
        // In Cairo the clock leaps over midnight.
        let cairo = of(Window::Day, "Africa/Cairo", "2026-04-24T10:00:00Z");
        assert_eq!(cairo, pair("2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"));
    }

    #[test]
    fn weeks_months_and_quarters_begin_where_people_say() {
        let week = of(Window::Week, "UTC", "2026-11-22T23:59:59Z");
        assert_eq!(week, pair("2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"));
        let month = of(Window::Month, "UTC", "2028-02-29T12:00:00Z");
        assert_eq!(month, pair("2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"));
        let quarter = of(Window::Quarter, "America/New_York", "2026-11-22T12:00:00Z");
        assert_eq!(quarter, pair("2026-10-01T04:00:00Z", "2027-01-01T05:00:00Z"));
        let total = bounds(Window::Total, "UTC", "2026-11-22T12:00:00Z".parse().expect("a time"));
        assert_eq!(total, Some((Timestamp::from_micros(0), None)));
    }

    #[test]
    fn only_zones_that_exist_are_known() {
        assert!(is_time_zone("Europe/Berlin") && is_time_zone("UTC"));
        assert!(!is_time_zone("Europe/Atlantis") && !is_time_zone(""));
    }

    #[test]
    fn a_month_has_the_hours_that_begin_in_it() {
        let of = |zone, month| {
            let (from, to) = month_hours(zone, 2026, month).expect("a month");
            (from.to_string(), to.to_string())
        };
        assert_eq!(of("Europe/Berlin", 3), pair("2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z"));
        assert_eq!(of("America/New_York", 11), pair("2026-11-01T04:00:00Z", "2026-12-01T05:00:00Z"));
        // Midnight at 18:15 UTC: the hour from 18:00 on began in October.
        assert_eq!(of("Asia/Kathmandu", 11), pair("2026-10-31T19:00:00Z", "2026-11-30T19:00:00Z"));
        assert_eq!((month_hours("UTC", 2026, 13), month_hours("Europe/Atlantis", 2026, 1)), (None, None));
    }

    proptest! {
        #[test]
        fn months_have_every_hour_once(year in 1_990_i64..2_090, month in 1_u8..=12, zone in 0..ZONES.len()) {
            let (from, to) = month_hours(ZONES[zone], year, month).expect("a month");
            let (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            prop_assert_eq!(month_hours(ZONES[zone], year, month).expect("the next").0, to);
            prop_assert!(from.hour() == from && to.hour() == to);
            let hours = (to.as_micros() - from.as_micros()) / 3_600_000_000;
            prop_assert!((27 * 24..=31 * 24 + 1).contains(&hours), "{hours}");
        }

        #[test]
        fn windows_cover_all_time_and_never_overlap(
            micros in 0_i64..4_102_444_800_000_000, window in 0..CALENDAR.len(), zone in 0..ZONES.len(),
        ) {
            let (window, zone, at) = (CALENDAR[window], ZONES[zone], Timestamp::from_micros(micros));
            let (start, end) = bounds(window, zone, at).expect("a window");
            let end = end.expect("an end");
            prop_assert!(start <= at && at < end, "{start} {at} {end}");
            // Every instant of a window names the same one, and the next begins where it ends.
            prop_assert_eq!(bounds(window, zone, start), Some((start, Some(end))));
            let last = Timestamp::from_micros(end.as_micros() - 1);
            prop_assert_eq!(bounds(window, zone, last), Some((start, Some(end))));
            prop_assert_eq!(bounds(window, zone, end).map(|next| next.0), Some(end));
        }
    }
}
