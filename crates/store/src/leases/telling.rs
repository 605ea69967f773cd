//! What accounts have to tell: that a percent of the limit is reached, and that calls are refused. Each is told once for an account,
//! because what was told is kept in its row and changes under its lock, in the transaction of what is told.

use domain::alert::{Alert, AlertKind, Severity};
use domain::budget::{Amount, Budget, Measure, Window, group_values};
use domain::{NanoUsd, Timestamp};

use super::Budgets;
use books::leases::{Account, Books, Place};

/// Notes which percents are reached since they were looked at last, and returns what is to be said about it. Of several percents
/// that are reached at once, the highest is told.
pub(super) fn thresholds(books: &mut Books, budgets: &Budgets, now: Timestamp) -> Vec<Alert> {
    let changed = books.accounts.iter_mut().filter(|(_, account)| account.is_changed);
    let tell = |(place, account): (&Place, &mut Account)| {
        let budget = budgets.get(&(place.key.organization_id, place.key.budget_id)).filter(|it| is_live(it))?;
        let limit = limit(budget, place, account, now)?;
        let is_reached = |percent: u8| u128::from(account.posted) * 100 >= u128::from(limit) * u128::from(percent);
        let percent = budget.alert_at.iter().rev().copied().find(|percent| is_reached(*percent))?;
        if u32::from(percent) <= account.told_percent {
            return None;
        }
        account.told_percent = u32::from(percent);
        let severity = if percent >= 100 { Severity::Critical } else { Severity::Warning };
        let summary = format!(
            "Budget “{}”{} has reached {percent} % of its limit {}: {} of {}.",
            budget.name,
            of_group(budget, place),
            of_window(place.key.window),
            words(budget.measure, account.posted),
            words(budget.measure, limit),
        );
        let kind = (AlertKind::BudgetThreshold, severity);
        Some(
            about(kind, &format!("{percent}"), &summary, (budget, place, account, limit), now).with("percent", percent),
        )
    };
    changed.filter_map(tell).collect()
}

/// Notes that an account refuses, and returns what is to be said about it the first time.
pub(super) fn refusal(books: &mut Books, place: &Place, budget: &Budget, now: Timestamp) -> Option<Alert> {
    let account = books.accounts.get_mut(place).filter(|account| !account.told_refusing)?;
    let limit = limit(budget, place, account, now)?;
    (account.told_refusing, account.is_changed) = (true, true);
    let summary = format!(
        "Budget “{}”{} refuses calls: {} of {} {} are spent, and what is left is too little for a call.",
        budget.name,
        of_group(budget, place),
        words(budget.measure, account.posted),
        words(budget.measure, limit),
        of_window(place.key.window),
    );
    let kind = (AlertKind::BudgetExhausted, Severity::Critical);
    Some(about(kind, "refuses", &summary, (budget, place, account, limit), now))
}

fn is_live(budget: &Budget) -> bool {
    budget.is_enabled && budget.archived_at.is_none()
}

/// All that may be spent, as it held in the window. Nothing is reached of a limit that lets nothing through.
fn limit(budget: &Budget, place: &Place, account: &Account, now: Timestamp) -> Option<u64> {
    let last = account.ends_at.map_or(now, |end| now.min(Timestamp::from_micros(end.as_micros() - 1)));
    let limit = budget.amount(place.key.window, last)?.saturating_add(account.carried);
    (limit > 0).then_some(limit)
}

fn about(
    kind: (AlertKind, Severity),
    what: &str,
    summary: &str,
    (budget, place, account, limit): (&Budget, &Place, &Account, u64),
    now: Timestamp,
) -> Alert {
    let (window, starts_at) = (place.key.window, place.starts_at.as_micros());
    let subject = format!("budget/{}/{window}/{starts_at}/{}", budget.id, place.key.group_key);
    let once = format!("{subject}/{}/{what}", kind.0);
    let mut alert = Alert::new(budget.organization_id, kind, &subject, &once, summary, now)
        .within(budget.workspace_id)
        .with("budget_id", budget.id)
        .with("budget", &budget.name)
        .with("window", window)
        .with("measure", budget.measure)
        .with("enforcement", budget.enforcement)
        .with("posted", plain(budget.measure, account.posted))
        .with("limit", plain(budget.measure, limit));
    if window != Window::Total {
        alert = alert.with("starts_at", place.starts_at);
    }
    if let Some(end) = account.ends_at {
        alert = alert.with("resets_at", end);
    }
    for (by, value) in budget.group_by.iter().zip(group_values(&place.key.group_key)) {
        alert = alert.with(&format!("group.{by}"), value);
    }
    alert
}

fn of_group(budget: &Budget, place: &Place) -> String {
    let values = budget.group_by.iter().zip(group_values(&place.key.group_key));
    let said: Vec<String> =
        values.map(|(by, value)| format!("{by} {}", if value.is_empty() { "–" } else { &value })).collect();
    if said.is_empty() { String::new() } else { format!(" ({})", said.join(", ")) }
}

const fn of_window(window: Window) -> &'static str {
    match window {
        Window::Hour => "of this hour",
        Window::Day => "of the day",
        Window::Week => "of the week",
        Window::Month => "of the month",
        Window::Quarter => "of the quarter",
        Window::Total => "for all time",
    }
}

/// An amount as the API writes it.
fn plain(measure: Measure, amount: u64) -> String {
    match Amount::new(measure, amount) {
        Amount::Money(usd) => usd.to_string(),
        Amount::Count(count) => count.to_string(),
    }
}

/// An amount as a sentence has it: money to the cent, or exactly where it is less.
fn words(measure: Measure, amount: u64) -> String {
    match Amount::new(measure, amount) {
        Amount::Money(usd) if usd.as_nanos() >= 10_000_000 => {
            let cents = usd.as_nanos() / 10_000_000;
            format!("{}.{:02} USD", cents / 100, cents % 100)
        }
        Amount::Money(usd) => format!("{} USD", NanoUsd::from_nanos(usd.as_nanos())),
        Amount::Count(count) => format!("{count} {measure}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_well() {
        assert_eq!(words(Measure::Cost, 12_345_678_901), "12.34 USD");
        assert_eq!(words(Measure::Cost, 2_500_000), "0.0025 USD");
        assert_eq!(words(Measure::Tokens, 7), "7 tokens");
        assert_eq!(plain(Measure::Cost, 12_345_678_901), "12.345678901");
    }
}
