//! Which budgets are sound. Says where the first flaw is, as a JSON pointer into the budget's document. Whether the time zone
//! exists, the control plane knows.

use std::collections::BTreeSet;

use super::{Budget, Dimension, Increase, Limit, Subject, Window};

/// What is wrong with a budget, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {detail}")]
pub struct Flaw {
    /// A JSON pointer into the document.
    pub pointer: String,
    /// What to do about it.
    pub detail: String,
}

pub(crate) fn flaw<T>(pointer: impl Into<String>, detail: impl Into<String>) -> Result<T, Flaw> {
    Err(Flaw { pointer: pointer.into(), detail: detail.into() })
}

pub(super) fn check(it: &Budget) -> Result<(), Flaw> {
    if it.description.as_ref().is_some_and(|text| text.chars().count() > Budget::MAX_DESCRIPTION) {
        return flaw("/description", format!("must be at most {} characters long", Budget::MAX_DESCRIPTION));
    }
    check_limits(&it.limits)?;
    check_subject(&it.subject)?;
    check_grouping(&it.group_by)?;
    check_alerts(&it.alert_at)?;
    it.increase.as_ref().map_or(Ok(()), check_increase)?;
    let is_zone = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte);
    if it.time_zone.is_empty() || it.time_zone.len() > 64 || !it.time_zone.bytes().all(is_zone) {
        return flaw("/time_zone", "name a time zone, such as Europe/Berlin or UTC");
    }
    if it.carries_over && it.limits.iter().all(|limit| limit.window == Window::Total) {
        return flaw("/carries_over", "nothing is left over from a window that never ends");
    }
    Ok(())
}

fn check_limits(limits: &[Limit]) -> Result<(), Flaw> {
    if limits.is_empty() {
        return flaw("/limits", "give at least one limit");
    }
    let mut seen = BTreeSet::new();
    for (at, limit) in limits.iter().enumerate() {
        if !seen.insert(limit.window) {
            return flaw(format!("/limits/{at}/window"), "has a limit already; each window at most once");
        }
        if limit.amount > Budget::MAX_AMOUNT {
            return flaw(format!("/limits/{at}/amount"), "is too large");
        }
    }
    Ok(())
}

fn check_increase(it: &Increase) -> Result<(), Flaw> {
    if it.amount == 0 || it.amount > Budget::MAX_AMOUNT {
        return flaw("/increase/amount", "give an amount above zero");
    }
    if it.reason.trim().is_empty() || it.reason.chars().count() > Budget::MAX_DESCRIPTION {
        return flaw("/increase/reason", format!("say why, in at most {} characters", Budget::MAX_DESCRIPTION));
    }
    Ok(())
}

fn check_alerts(alerts: &[u8]) -> Result<(), Flaw> {
    if alerts.len() > Budget::MAX_ALERTS {
        return flaw("/alert_at", format!("give at most {} percents", Budget::MAX_ALERTS));
    }
    for (at, percent) in alerts.iter().enumerate() {
        if !(1..=100).contains(percent) || at > 0 && alerts[at - 1] >= *percent {
            return flaw(format!("/alert_at/{at}"), "use 1 to 100, ascending");
        }
    }
    Ok(())
}

pub(crate) fn check_grouping(dimensions: &[Dimension]) -> Result<(), Flaw> {
    if dimensions.len() > Budget::MAX_DIMENSIONS {
        return flaw("/group_by", format!("name at most {} things", Budget::MAX_DIMENSIONS));
    }
    let mut seen = BTreeSet::new();
    match dimensions.iter().position(|dimension| !seen.insert(dimension)) {
        Some(at) => flaw(format!("/group_by/{at}"), "is named already"),
        None => Ok(()),
    }
}

pub(crate) fn check_subject(it: &Subject) -> Result<(), Flaw> {
    let counts = [
        ("environment_ids", it.environment_ids.len()),
        ("virtual_key_ids", it.virtual_key_ids.len()),
        ("models", it.models.len()),
        ("route_ids", it.route_ids.len()),
        ("metadata", it.metadata.len()),
    ];
    for (name, count) in counts {
        check_count(&format!("/subject/{name}"), count)?;
    }
    check_texts("/subject/end_users", &it.end_users)?;
    check_texts("/subject/tags", &it.tags)?;
    check_texts("/subject/providers", &it.providers)?;
    for (name, values) in &it.metadata {
        let pointer = format!("/subject/metadata/{}", name.replace('~', "~0").replace('/', "~1"));
        check_text(&pointer, name)?;
        if values.is_empty() {
            return flaw(pointer, "give at least one value, or leave the name out");
        }
        check_texts(&pointer, values)?;
    }
    Ok(())
}

fn check_count(pointer: &str, count: usize) -> Result<(), Flaw> {
    let max = Budget::MAX_VALUES;
    if count > max { flaw(pointer, format!("give at most {max}")) } else { Ok(()) }
}

fn check_texts(pointer: &str, values: &[String]) -> Result<(), Flaw> {
    check_count(pointer, values.len())?;
    values.iter().enumerate().try_for_each(|(at, value)| check_text(&format!("{pointer}/{at}"), value))
}

fn check_text(pointer: &str, value: &str) -> Result<(), Flaw> {
    if value.is_empty() || value.len() > Budget::MAX_TEXT {
        return flaw(pointer, format!("must be 1 to {} bytes long", Budget::MAX_TEXT));
    }
    if value.chars().any(char::is_control) {
        return flaw(pointer, "must not contain control characters");
    }
    Ok(())
}
