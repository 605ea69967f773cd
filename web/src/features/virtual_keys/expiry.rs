//! When a key ends: a few usual spans, or a date.

use std::time::Duration;

use domain::Timestamp;

use ui::field::Choice;
use ui::format::time::{Zone, from_input};

const DAY: u64 = 86_400;

/// The spans on offer.
pub(super) fn choices() -> Vec<Choice> {
    [
        ("", "Never"),
        ("7", "In 7 days"),
        ("30", "In 30 days"),
        ("90", "In 90 days"),
        ("365", "In one year"),
        ("date", "On a date…"),
    ]
    .map(|(key, text)| (key.to_owned(), text.to_owned()))
    .to_vec()
}

/// Reads the choice: no end, an end, or a date that cannot be read.
pub(super) fn read(choice: &str, date: &str, now: Timestamp, zone: Zone) -> Result<Option<Timestamp>, String> {
    match choice {
        "" => Ok(None),
        "date" => match from_input(date, zone) {
            Some(at) if at > now => Ok(Some(at)),
            _ => Err("Choose a date in the future.".to_owned()),
        },
        days => Ok(days.parse().ok().map(|days: u64| now.plus(Duration::from_secs(days * DAY)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_dates_are_read() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().expect("an instant");
        let end = |choice, date| read(choice, date, now, Zone::default()).map(|at| at.map(|at| at.to_string()));
        assert_eq!(end("", ""), Ok(None));
        assert_eq!(end("7", ""), Ok(Some("2026-11-29T12:00:00Z".to_owned())));
        assert_eq!(end("date", "2027-01-01"), Ok(Some("2027-01-01T00:00:00Z".to_owned())));
        assert!(end("date", "2026-01-01").is_err() && end("date", "").is_err());
    }
}
