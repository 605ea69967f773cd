//! Pauses that an upstream asks for elsewhere than in `retry-after`: in the body, in the words of the message, or in the headers
//! that count down a limit.
//!
//! Only hints, so whatever cannot be read is none. Facts: recorded answers of Google, Groq, Azure, Anthropic and Cerebras.

use std::time::Duration;

use domain::Timestamp;
use http::HeaderMap;
use memchr::memmem;

use super::{MAX_RETRY_AFTER, decimal};

/// How vendors begin to say when to come back.
const PHRASES: &[&str] = &["try again in ", "retry in ", "retry after "];

/// Finds a pause, at most [`MAX_RETRY_AFTER`].
pub(super) fn said(headers: &HeaderMap, body: &[u8], message: &str, now: Timestamp) -> Option<Duration> {
    let found = in_body(body).or_else(|| in_words(message)).or_else(|| in_limits(headers, now));
    found.map(|wait| wait.min(MAX_RETRY_AFTER))
}

/// Google's `RetryInfo`.
fn in_body(body: &[u8]) -> Option<Duration> {
    let at = memmem::find(body, b"\"retryDelay\"")?;
    let rest = std::str::from_utf8(body.get(at + 12..)?).ok()?;
    let value = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    length(value.split('"').next()?)
}

fn in_words(message: &str) -> Option<Duration> {
    let text = message.to_ascii_lowercase();
    PHRASES.iter().find_map(|phrase| {
        let (_, rest) = text.split_once(phrase)?;
        let mut words = rest.split_whitespace();
        let number = words.next()?.trim_end_matches([',', ';', ')']);
        match words.next().map(|unit| unit.trim_end_matches(['.', ',', ';', ')'])) {
            Some("seconds" | "second") => seconds(number),
            Some("minutes" | "minute") => seconds(number).map(|wait| wait.saturating_mul(60)),
            Some("milliseconds") => length(&format!("{number}ms")),
            _ => length(number.trim_end_matches('.')),
        }
    })
}

/// The limits that are used up, by the headers that count them; the longest of their pauses.
fn in_limits(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let waits = headers.iter().filter_map(|(name, value)| {
        let is_used_up = value.to_str().is_ok_and(|count| decimal(count.trim()) == Some(0));
        let reset =
            match (name.as_str().strip_prefix("x-ratelimit-remaining-"), name.as_str().strip_suffix("-remaining")) {
                (Some(kind), _) => format!("x-ratelimit-reset-{kind}"),
                (None, Some(kind)) => format!("{kind}-reset"),
                (None, None) => return None,
            };
        let reset = text(&reset).filter(|_| is_used_up)?;
        seconds(reset).or_else(|| length(reset)).or_else(|| reset.parse::<Timestamp>().ok().map(|at| at.since(now)))
    });
    waits.max()
}

fn seconds(text: &str) -> Option<Duration> {
    decimal(text).map(Duration::from_micros)
}

/// Reads a length of time such as `36.5s`, `2m59.56s`, `1h2m` or `20ms`.
fn length(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let (number, after) = rest.split_at(digits);
        let millionths = decimal(number)?;
        let (wait, after) = if let Some(after) = after.strip_prefix("ms") {
            (Duration::from_nanos(millionths), after)
        } else if let Some(after) = after.strip_prefix('h') {
            (Duration::from_micros(millionths).saturating_mul(3_600), after)
        } else if let Some(after) = after.strip_prefix('m') {
            (Duration::from_micros(millionths).saturating_mul(60), after)
        } else {
            (Duration::from_micros(millionths), after.strip_prefix('s')?)
        };
        total = total.saturating_add(wait);
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn millis(wait: Option<Duration>) -> Option<u128> {
        wait.map(|wait| wait.as_millis())
    }

    #[test]
    fn lengths_are_read() {
        for (text, expected) in [
            ("36.5s", Some(36_500)),
            ("2m59.56s", Some(179_560)),
            ("1h2m", Some(3_720_000)),
            ("20ms", Some(20)),
            ("", None),
            ("soon", None),
            ("5", None),
            ("-1s", None),
            ("1.2.3s", None),
        ] {
            assert_eq!(millis(length(text)), expected, "{text}");
        }
    }

    #[test]
    fn words_and_bodies_say_when_to_come_back() {
        let said =
            |body: &str, message: &str| millis(said(&HeaderMap::new(), body.as_bytes(), message, Timestamp::default()));
        assert_eq!(said(r#"{"details":[{"retryDelay": "36.5s"}]}"#, ""), Some(36_500));
        assert_eq!(said("", "Please try again in 4.9s. Visit …"), Some(4_900));
        assert_eq!(said("", "Please retry after 6 seconds."), Some(6_000));
        assert_eq!(said("", "Please retry in 2m3s."), Some(123_000));
        assert_eq!(said("", "Please retry after 3 minutes"), Some(180_000));
        assert_eq!(said("", "try again in 999h"), Some(MAX_RETRY_AFTER.as_millis()));
        assert_eq!(said("", "try again in a while"), None);
        assert_eq!(said(r#"{"retryDelay""#, ""), None);
    }

    #[test]
    fn a_limit_that_is_used_up_says_when_it_is_restored() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let wait = |headers: &[(&'static str, &str)]| {
            let headers =
                headers.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
            millis(in_limits(&headers.collect(), now))
        };
        let used = ("x-ratelimit-remaining-tokens", "0");
        assert_eq!(wait(&[used, ("x-ratelimit-reset-tokens", "2m59.56s")]), Some(179_560));
        assert_eq!(wait(&[("x-ratelimit-remaining-tokens", "9"), ("x-ratelimit-reset-tokens", "5s")]), None);
        assert_eq!(
            wait(&[
                used,
                ("x-ratelimit-reset-tokens", "1.5"),
                ("anthropic-ratelimit-requests-remaining", "0"),
                ("anthropic-ratelimit-requests-reset", "2026-11-22T10:00:20Z"),
            ]),
            Some(20_000)
        );
    }

    proptest! {
        #[test]
        fn any_text_is_survived(body in "\\PC{0,60}", message in "(try again in |retry after )?\\PC{0,20}") {
            let _ = said(&HeaderMap::new(), format!("\"retryDelay\":\"{body}").as_bytes(), &message, Timestamp::default());
        }
    }
}
