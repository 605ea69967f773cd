//! The end of a key: what will stop working, how often it was used, and its name typed to be sure.

use api::ops::usage::UsageReport;
use api::ops::virtual_keys::{RevokeVirtualKey, VirtualKeyView};
use leptos::prelude::*;

use super::panel::OneKey;
use kit::api::Query;
use kit::ask::use_ask;
use ui::confirm::Question;
use ui::format::number;
use ui::toast::Toasts;

fn use_of(report: Option<UsageReport>) -> String {
    match report.map(|report| report.total.requests) {
        Some(0) => "It made no calls in the last 24 hours.".to_owned(),
        Some(count) => format!("It made {} in the last 24 hours.", number::plural(count, "call", "calls")),
        None => "How often it was used is not known right now.".to_owned(),
    }
}

/// Asks whether a key shall end; `usage` is that of its last day.
pub(super) fn revoke(one: OneKey, usage: Query<UsageReport>, key: &VirtualKeyView) {
    let toasts = expect_context::<Toasts>();
    let text = Signal::derive(move || {
        format!(
            "Every application that uses this key is refused with key_revoked within a second. {} Usage and audit entries \
             stay. To replace a secret without an outage, rotate the key instead.",
            use_of(usage.data().get())
        )
    });
    let question = Question {
        act: "Revoke key".to_owned(),
        warning: "This cannot be undone".to_owned(),
        text,
        name: key.name.to_string(),
    };
    use_ask().before::<RevokeVirtualKey>(question, one.path(), move |key| {
        toasts.done(format!("“{}” is revoked.", key.name));
        one.changed(key);
    });
}
