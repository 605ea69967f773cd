//! How providers fare: calls, failures, latency and spend of the last 24 hours, by provider and model, over all workspaces.

use std::time::Duration;

use api::ops::OrganizationPath;
use api::ops::usage::{OrganizationUsage, UsageQuery, UsageReport, UsageRow};
use domain::Permission;
use leptos::prelude::*;
use ui::Tone;
use ui::badge::{Badge, Tag};
use ui::browser;
use ui::data_view::{DataView, EmptyState, Skeleton};
use ui::format::{money, number, time};
use ui::icon::Icon;
use ui::table::{Column, DataTable};

use super::Catalog;
use crate::api::use_query;
use crate::views::use_table_state;

fn part(row: &UsageRow, at: usize) -> String {
    let label = row.labels.get(at).filter(|label| !label.is_empty()).or(row.group.get(at));
    label.filter(|text| !text.is_empty()).cloned().unwrap_or_else(|| "none answered".to_owned())
}

/// The words and tone of a share of failures: a twentieth is an outage, less is a note.
fn health(row: &UsageRow) -> (Tone, String) {
    let (failures, requests) = (row.sums.failures, row.sums.requests);
    let tone = match (failures, failures.saturating_mul(20) > requests) {
        (0, _) => Tone::Ok,
        (_, true) => Tone::Danger,
        (_, false) => Tone::Warn,
    };
    (tone, if failures == 0 { "Healthy".to_owned() } else { format!("{} failed", number::share(failures, requests)) })
}

fn millis(value: Option<u64>) -> AnyView {
    value.map_or_else(|| "–".to_owned(), time::millis).into_any()
}

fn columns() -> Vec<Column<UsageRow>> {
    let latency = |title: &'static str, pick: fn(&UsageRow) -> Option<u64>| {
        Column::new(title, move |row: &UsageRow| pick(row).map(|ms| ms.to_string()).unwrap_or_default())
            .number(move |row| pick(row).map_or(0.0, number::as_f64))
            .cell(move |row| millis(pick(row)))
    };
    vec![
        Column::new("Provider", |row: &UsageRow| part(row, 0))
            .cell(|row| view! { <span class="strong">{part(row, 0)}</span> }.into_any()),
        Column::new("Model", |row: &UsageRow| part(row, 1)).cell(|row| view! { <Tag text=part(row, 1) /> }.into_any()),
        Column::new("Health", |row: &UsageRow| health(row).1)
            .sorted_by(|row| number::as_f64(row.sums.failures) / number::as_f64(row.sums.requests.max(1)))
            .cell(|row| {
                let (tone, text) = health(row);
                view! { <Badge tone text dot=true /> }.into_any()
            }),
        Column::new("Calls", |row: &UsageRow| row.sums.requests.to_string())
            .number(|row| number::as_f64(row.sums.requests))
            .cell(|row| number::grouped(row.sums.requests).into_any()),
        latency("p50", |row| row.sums.p50_ms).wide_only(),
        latency("p95", |row| row.sums.p95_ms),
        latency("First byte p50", |row| row.sums.first_byte_p50_ms).wide_only(),
        Column::new("Spend", |row: &UsageRow| row.sums.cost_usd.to_string())
            .number(|row| number::signed_as_f64(row.sums.cost_usd.as_nanos()))
            .cell(|row| money::usd(row.sums.cost_usd).into_any())
            .wide_only(),
    ]
}

/// The tab.
pub(super) fn view_of(catalog: Catalog) -> AnyView {
    let organization_id = catalog.organization_id;
    if !catalog.session.can(Permission::OrganizationUsageRead, organization_id) {
        return view! { <section class="card card-pad"><p class="muted">"How providers fare is for those who may read the organization's usage."</p></section> }.into_any();
    }
    let usage = use_query::<OrganizationUsage>(move || {
        let now = browser::now();
        let query = UsageQuery {
            from: Some(now.minus(Duration::from_secs(86_400))),
            to: Some(now),
            group_by: Some("provider,model".to_owned()),
            ..UsageQuery::default()
        };
        Some((OrganizationPath { organization_id }, query))
    })
    .every(Duration::from_secs(15));
    let ready = Callback::new(move |report: Signal<UsageReport>| {
        let rows = Signal::derive(move || report.get().rows);
        view! { <DataTable label="Providers" columns=columns() rows key=|row: &UsageRow| row.group.join("/") file_name="providers" state=use_table_state(catalog.nav) /> }.into_any()
    });
    view! {
        <section class="card" aria-label="How providers fare">
            <div class="card-head"><div><h2>"How providers fare"</h2><p>"The last 24 hours of all workspaces, by the model that was asked for. Failures are those that are not the caller's."</p></div></div>
            <DataView load=usage.load on_retry=usage.retry() skeleton=Skeleton::Rows(5) is_empty=|report| report.rows.is_empty() empty=ViewFn::from(|| view! { <EmptyState icon=Icon::Model title="No calls in the last 24 hours" text="As soon as calls are answered, latency and failures of each provider are here." /> }) ready />
        </section>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::ops::usage::UsageSums;

    fn row(requests: u64, failures: u64, group: &[&str]) -> UsageRow {
        let group: Vec<String> = group.iter().map(|text| (*text).to_owned()).collect();
        UsageRow { labels: group.clone(), group, sums: UsageSums { requests, failures, ..UsageSums::default() } }
    }

    #[test]
    fn a_twentieth_of_failures_is_an_outage() {
        let told = |requests, failures| health(&row(requests, failures, &["openai", "gpt-4o"]));
        assert_eq!(told(100, 0), (Tone::Ok, "Healthy".to_owned()));
        assert_eq!(told(100, 5).0, Tone::Warn);
        assert_eq!(told(100, 6).0, Tone::Danger);
        assert_eq!(part(&row(1, 1, &["", "nope"]), 0), "none answered");
    }
}
