//! Amounts of budgets and limits: as typed, in words, as shares of a bar, and where they lead at this pace.

use std::collections::BTreeMap;

use api::ops::budgets::AccountView;
use api::ops::rate_limits::RateAmount;
use domain::Timestamp;
use domain::budget::{Amount, Measure, Window};
use domain::rate_limit::{Measure as RateMeasure, Per};
use ui::Tone;
use ui::format::{money, number};

// === As typed ===

/// Reads an amount: dollars, or a whole number. `None` when it is empty.
pub fn read(text: &str, measure: Measure) -> Result<Option<Amount>, String> {
    let text: String =
        text.trim().trim_start_matches('$').chars().filter(|letter| !matches!(letter, ',' | ' ')).collect();
    if text.is_empty() {
        return Ok(None);
    }
    if measure == Measure::Cost {
        let read = text.parse().map(|amount| Some(Amount::Money(amount)));
        return read.map_err(|error: domain::money::ParseMoneyError| format!("{error}."));
    }
    text.parse().map(|count| Some(Amount::Count(count))).map_err(|_| "Give a whole number.".to_owned())
}

/// Returns what a rate counts as a budget would count it.
pub fn measure_of(rate: RateMeasure) -> Measure {
    match rate {
        RateMeasure::Cost => Measure::Cost,
        RateMeasure::Tokens | RateMeasure::InputTokens | RateMeasure::OutputTokens => Measure::Tokens,
        RateMeasure::Requests | RateMeasure::Concurrent => Measure::Requests,
    }
}

/// An amount as it is typed.
pub fn typed(amount: Amount) -> String {
    match amount {
        Amount::Money(amount) => amount.to_string(),
        Amount::Count(count) => count.to_string(),
    }
}

/// Words between commas.
pub fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// `team=blue, team=red, region=eu`: names with one or several values.
pub fn pairs(text: &str) -> Result<BTreeMap<String, Vec<String>>, String> {
    let mut pairs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for part in list(text) {
        let (name, value) = part.split_once('=').ok_or_else(|| "Write name=value, with commas between.".to_owned())?;
        pairs.entry(name.trim().to_owned()).or_default().push(value.trim().to_owned());
    }
    Ok(pairs)
}

/// Percents between commas, ascending.
pub fn percents(text: &str) -> Result<Vec<u8>, String> {
    let read = |part: String| part.trim_end_matches('%').trim().parse::<u8>();
    let mut percents =
        list(text).into_iter().map(read).collect::<Result<Vec<_>, _>>().map_err(|_| "Give percents such as 50, 80.")?;
    ui::sort::by(&mut percents, u8::cmp);
    Ok(percents)
}

// === In words ===

/// What amounts of a budget count.
pub fn unit(measure: Measure) -> &'static str {
    match measure {
        Measure::Cost => "",
        Measure::Tokens => "tokens",
        Measure::Requests => "calls",
    }
}

/// An amount in words of its measure.
pub fn words(amount: Amount, unit: &str) -> String {
    match amount {
        Amount::Money(amount) => money::usd(amount),
        Amount::Count(count) => format!("{} {unit}", number::grouped(count)),
    }
}

/// What a window is called behind an amount.
pub fn window_text(window: Window) -> &'static str {
    match window {
        Window::Hour => "per hour",
        Window::Day => "per day",
        Window::Week => "per week",
        Window::Month => "per month",
        Window::Quarter => "per quarter",
        Window::Total => "in total",
    }
}

/// What a rate counts, in words.
pub fn rate_unit(measure: RateMeasure) -> &'static str {
    match measure {
        RateMeasure::Requests => "requests",
        RateMeasure::Tokens => "tokens",
        RateMeasure::InputTokens => "tokens read",
        RateMeasure::OutputTokens => "tokens written",
        RateMeasure::Cost => "",
        RateMeasure::Concurrent => "calls at once",
    }
}

/// `60 requests per minute`.
pub fn rate_words(rate: &RateAmount) -> String {
    let amount = words(rate.amount, rate_unit(rate.measure));
    match rate.per {
        Some(Per::Second) => format!("{amount} per second"),
        Some(Per::Minute) => format!("{amount} per minute"),
        Some(Per::Hour) => format!("{amount} per hour"),
        Some(Per::Day) => format!("{amount} per day"),
        None => amount,
    }
}

// === As a bar ===

/// An amount as a number, to draw and to sort by.
pub fn size(amount: Amount) -> f64 {
    match amount {
        Amount::Money(amount) => number::signed_as_f64(amount.as_nanos()),
        Amount::Count(count) => number::as_f64(count),
    }
}

/// Shares of the whole bar: used, then held. What was spent beyond the limit fills it.
pub fn shares(posted: f64, held: f64, limit: f64) -> (f64, f64) {
    if limit <= 0.0 {
        return if posted + held > 0.0 { (1.0, 0.0) } else { (0.0, 0.0) };
    }
    let used = (posted / limit).clamp(0.0, 1.0);
    (used, (held / limit).clamp(0.0, 1.0 - used))
}

/// The shares of an account.
pub fn shares_of(account: &AccountView) -> (f64, f64) {
    shares(size(account.posted), size(account.held), account.limit.map_or(0.0, size))
}

/// The share of the limit that is used or held.
pub fn fullness(account: &AccountView) -> f64 {
    let (used, held) = shares_of(account);
    used + held
}

/// How near the end an account is.
pub fn tone(used: f64, held: f64) -> Tone {
    match used + held {
        all if all >= 1.0 => Tone::Danger,
        all if all >= 0.8 => Tone::Warn,
        _ => Tone::Accent,
    }
}

// === At this pace ===

/// Where an account leads at the pace of its window so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// What is used at the end of the window, as a share of the limit.
    pub share: f64,
    /// The same as an amount.
    pub amount: Amount,
    /// When the limit is reached, if that is before the window ends.
    pub full_at: Option<Timestamp>,
}

/// The part of a window before which its pace says nothing.
const TOO_EARLY: f64 = 0.05;

/// Draws the line on; nothing for windows without an end, too early in one, and when nothing or everything was used.
pub fn pace(account: &AccountView, now: Timestamp) -> Option<Pace> {
    let (starts_at, ends_at, limit) = (account.starts_at?, account.resets_at?, account.limit?);
    let (whole, gone) = (ends_at.since(starts_at).as_secs_f64(), now.since(starts_at).as_secs_f64());
    let (posted, bound) = (size(account.posted), size(limit));
    let is_told = whole > 0.0 && gone < whole && gone / whole >= TOO_EARLY && posted > 0.0 && bound > posted;
    if !is_told {
        return None;
    }
    let end = posted * whole / gone;
    let until_full = (end > bound).then(|| gone * bound / posted);
    Some(Pace {
        share: end / bound,
        amount: rounded(limit, end),
        full_at: until_full.map(|seconds| starts_at.plus(std::time::Duration::from_secs_f64(seconds))),
    })
}

/// A number as an amount of the same kind: whole cents, whole counts.
fn rounded(kind: Amount, number: f64) -> Amount {
    const CENT: f64 = 10_000_000.0;
    match kind {
        // Printed and read back: a number of a forecast is no exact amount, and this casts nothing.
        Amount::Money(_) => {
            let nanos = format!("{:.0}", (number / CENT).round() * CENT).parse().unwrap_or(i64::MAX);
            Amount::Money(domain::NanoUsd::from_nanos(nanos))
        }
        Amount::Count(_) => Amount::Count(format!("{:.0}", number.max(0.0)).parse().unwrap_or(u64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_their_measure_and_nonsense_is_named() {
        assert_eq!(read(" $12.50 ", Measure::Cost), Ok("12.5".parse().ok().map(Amount::Money)));
        assert_eq!(read("1,000 000", Measure::Tokens), Ok(Some(Amount::Count(1_000_000))));
        assert_eq!(read("0.000000001", Measure::Cost), Ok("0.000000001".parse().ok().map(Amount::Money)));
        assert_eq!(read(" ", Measure::Cost), Ok(None));
        assert!(read("1.5", Measure::Requests).is_err() && read("cheap", Measure::Cost).is_err());
    }

    #[test]
    fn conditions_are_read_from_words_between_commas() {
        assert_eq!(list(" a, ,b"), ["a", "b"]);
        let read = pairs("team=blue, team = red, region=eu").expect("pairs");
        assert_eq!(read["team"], ["blue", "red"]);
        assert!(pairs("team").is_err());
        assert_eq!(percents("80%, 50"), Ok(vec![50, 80]));
        assert!(percents("most").is_err());
    }

    #[test]
    fn a_bar_never_overflows_and_says_the_truth_at_its_edges() {
        let close = |pair: (f64, f64), wanted: (f64, f64)| {
            assert!((pair.0 - wanted.0).abs() < 1e-9 && (pair.1 - wanted.1).abs() < 1e-9, "{pair:?}");
        };
        close(shares(2.0, 1.0, 10.0), (0.2, 0.1));
        close(shares(12.0, 1.0, 10.0), (1.0, 0.0));
        close(shares(9.5, 1.0, 10.0), (0.95, 0.05));
        close(shares(0.0, 0.0, 0.0), (0.0, 0.0));
        close(shares(1.0, 0.0, 0.0), (1.0, 0.0));
        assert_eq!([tone(0.2, 0.1), tone(0.75, 0.1), tone(1.0, 0.0)], [Tone::Accent, Tone::Warn, Tone::Danger]);
    }

    #[test]
    fn amounts_have_the_words_of_their_measure() {
        assert_eq!(words(Amount::Count(12_000), "tokens"), "12,000 tokens");
        assert!(words(Amount::Money("12.50".parse().expect("dollars")), "").contains("12.5"));
        let rate = RateAmount { measure: RateMeasure::Requests, per: Some(Per::Minute), amount: Amount::Count(60) };
        assert_eq!(rate_words(&rate), "60 requests per minute");
        let rate = RateAmount { measure: RateMeasure::Concurrent, per: None, amount: Amount::Count(4) };
        assert_eq!(rate_words(&rate), "4 calls at once");
    }

    fn account(posted: u64, limit: u64, hours: i64) -> AccountView {
        let hour = |n: i64| Timestamp::from_micros(n * 3_600_000_000);
        AccountView {
            window: Window::Day,
            group: Vec::new(),
            starts_at: Some(hour(0)),
            resets_at: Some(hour(hours)),
            limit: Some(Amount::Count(limit)),
            carried_over: Amount::Count(0),
            posted: Amount::Count(posted),
            held: Amount::Count(0),
            remaining: None,
            overdrawn: Amount::Count(0),
            updated_at: hour(0),
        }
    }

    #[test]
    fn a_pace_is_drawn_on_to_the_end_of_the_window() {
        let noon = Timestamp::from_micros(12 * 3_600_000_000);
        let on_the_way = pace(&account(30, 100, 24), noon).expect("a pace");
        assert_eq!((on_the_way.amount, on_the_way.full_at), (Amount::Count(60), None));
        let too_fast = pace(&account(80, 100, 24), noon).expect("a pace");
        assert_eq!(too_fast.full_at, Some(Timestamp::from_micros(15 * 3_600_000_000)));
        assert_eq!([0, 100].map(|posted| pace(&account(posted, 100, 24), noon)), [None, None]);
        assert_eq!(pace(&account(1, 100, 24), Timestamp::from_micros(60_000_000)), None, "too early to say");
    }
}
