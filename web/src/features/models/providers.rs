//! How providers fare: tries, failures and latency of the last 24 hours, by provider and its model, over all workspaces. A provider
//! whose failures another one made good is here with them; what requests cost is under Usage.

use std::time::Duration;

use api::ops::OrganizationPath;
use api::ops::usage::{AttemptQuery, AttemptReport, AttemptRow, AttemptTotals, OrganizationAttempts};
use domain::Permission;
use leptos::prelude::*;
use ui::Tone;
use ui::badge::{Badge, Tag};
use ui::browser;
use ui::data_view::{DataView, EmptyState, Skeleton};
use ui::format::{number, time};
use ui::icon::Icon;
use ui::table::{Column, DataTable};

use super::Catalog;
use kit::api::use_query;
use kit::views::use_table_state;

fn part(row: &AttemptRow, at: usize) -> String {
    let label = row.labels.get(at).filter(|label| !label.is_empty()).or(row.group.get(at));
    label.cloned().unwrap_or_default()
}

/// What was tried and may be held against the target: not what was given up, and not what the caller did wrong.
const fn judged(sums: &AttemptTotals) -> u64 {
    sums.attempts.saturating_sub(sums.cancelled).saturating_sub(sums.refused)
}

/// The words and tone of a share of failures: a twentieth is an outage, less is a note.
fn health(row: &AttemptRow) -> (Tone, String) {
    let (failures, judged) = (row.sums.failures, judged(&row.sums));
    let tone = match (failures, row.sums.rate_limited, failures.saturating_mul(20) > judged) {
        (0, 0, _) => Tone::Ok,
        (1.., _, true) => Tone::Danger,
        _ => Tone::Warn,
    };
    let text = match (failures, row.sums.rate_limited) {
        (0, 0) => "Healthy".to_owned(),
        (0, limited) => format!("{} rate limited", number::share(limited, judged)),
        (failures, _) => format!("{} failed", number::share(failures, judged)),
    };
    (tone, text)
}

/// The kinds of failures that there were, most first.
fn kinds(sums: &AttemptTotals) -> String {
    let mut kinds = vec![
        (sums.failed, "answered with an error"),
        (sums.unreachable, "no connection"),
        (sums.timed_out, "timed out"),
        (sums.broken, "broke off"),
        (sums.unsendable, "not sent"),
        (sums.rate_limited, "rate limited"),
        (sums.refused, "request refused"),
        (sums.cancelled, "given up"),
    ];
    ui::sort::by(&mut kinds, |left, right| right.0.cmp(&left.0));
    let named = kinds.iter().filter(|(count, _)| *count > 0).map(|(count, kind)| format!("{count} {kind}"));
    let text = named.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "–".to_owned() } else { text }
}

fn millis(value: Option<u64>) -> AnyView {
    value.map_or_else(|| "–".to_owned(), time::millis).into_any()
}

fn columns() -> Vec<Column<AttemptRow>> {
    let latency = |title: &'static str, pick: fn(&AttemptRow) -> Option<u64>| {
        Column::new(title, move |row: &AttemptRow| pick(row).map(|ms| ms.to_string()).unwrap_or_default())
            .number(move |row| pick(row).map_or(0.0, number::as_f64))
            .cell(move |row| millis(pick(row)))
    };
    vec![
        Column::new("Provider", |row: &AttemptRow| part(row, 0))
            .cell(|row| view! { <span class="strong">{part(row, 0)}</span> }.into_any()),
        Column::new("Model", |row: &AttemptRow| part(row, 1))
            .cell(|row| view! { <Tag text=part(row, 1) /> }.into_any()),
        Column::new("Health", |row: &AttemptRow| health(row).1)
            .sorted_by(|row| number::as_f64(row.sums.failures) / number::as_f64(judged(&row.sums).max(1)))
            .cell(|row| {
                let (tone, text) = health(row);
                view! { <Badge tone text dot=true /> }.into_any()
            }),
        Column::new("Tries", |row: &AttemptRow| row.sums.attempts.to_string())
            .number(|row| number::as_f64(row.sums.attempts))
            .cell(|row| number::grouped(row.sums.attempts).into_any()),
        latency("p50", |row| row.sums.p50_ms).wide_only(),
        latency("p95", |row| row.sums.p95_ms),
        latency("First byte p50", |row| row.sums.first_byte_p50_ms).wide_only(),
        Column::new("What went wrong", |row: &AttemptRow| kinds(&row.sums)).wide_only(),
    ]
}

/// The tab.
pub(super) fn view_of(catalog: Catalog) -> AnyView {
    let organization_id = catalog.organization_id;
    if !catalog.session.can(Permission::OrganizationUsageRead, organization_id) {
        return view! { <section class="card card-pad"><p class="muted">"How providers fare is for those who may read the organization's usage."</p></section> }.into_any();
    }
    let usage = use_query::<OrganizationAttempts>(move || {
        let now = browser::now();
        let query = AttemptQuery {
            from: Some(now.minus(Duration::from_secs(86_400))),
            to: Some(now),
            group_by: Some("provider,upstream_model".to_owned()),
            ..AttemptQuery::default()
        };
        Some((OrganizationPath { organization_id }, query))
    })
    .every(Duration::from_secs(15));
    let ready = Callback::new(move |report: Signal<AttemptReport>| {
        let rows = Signal::derive(move || report.get().rows);
        view! { <DataTable label="Providers" columns=columns() rows key=|row: &AttemptRow| row.group.join("/") file_name="providers" state=use_table_state(catalog.nav) /> }.into_any()
    });
    view! {
        <section class="card" aria-label="How providers fare">
            <div class="card-head"><div><h2>"How providers fare"</h2><p>"The last 24 hours of all workspaces, try by try: also those after which another target answered. Latency is that of answers."</p></div></div>
            <DataView load=usage.load on_retry=usage.retry() skeleton=Skeleton::Rows(5) is_empty=|report| report.rows.is_empty() empty=ViewFn::from(|| view! { <EmptyState icon=Icon::Model title="No calls in the last 24 hours" text="As soon as calls are answered, latency and failures of each provider are here." /> }) ready />
        </section>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(sums: AttemptTotals) -> AttemptRow {
        let group = vec!["openai".to_owned(), "gpt-4o".to_owned()];
        AttemptRow { labels: group.clone(), group, sums }
    }

    #[test]
    fn a_twentieth_of_failures_is_an_outage() {
        let told = |attempts, failures| {
            health(&row(AttemptTotals { attempts, failures, failed: failures, ..AttemptTotals::default() }))
        };
        assert_eq!(told(100, 0), (Tone::Ok, "Healthy".to_owned()));
        assert_eq!(told(100, 5).0, Tone::Warn);
        assert_eq!(told(100, 6).0, Tone::Danger);
    }

    #[test]
    fn what_a_provider_did_not_do_is_not_held_against_it() {
        let sums = AttemptTotals {
            attempts: 100,
            cancelled: 50,
            refused: 40,
            failures: 1,
            failed: 1,
            ..AttemptTotals::default()
        };
        assert_eq!(health(&row(sums.clone())).0, Tone::Danger, "one of ten");
        assert_eq!(kinds(&sums), "50 given up, 40 request refused, 1 answered with an error");
        let limited = AttemptTotals { attempts: 10, rate_limited: 5, ..AttemptTotals::default() };
        assert_eq!(health(&row(limited)).0, Tone::Warn);
        assert_eq!(kinds(&AttemptTotals::default()), "–");
    }
}
