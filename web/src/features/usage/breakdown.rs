//! The totals against the period before, and the table of groups with its export.

use std::time::Duration;

use api::ops::usage::{UsageReport, UsageRow};
use leptos::prelude::*;

use super::{Ledger, empty, figures, truncated_note};
use kit::api::Query;
use kit::views::use_table_state;
use model::report::Metric;
use ui::Tone;
use ui::data_view::{DataView, Skeleton};
use ui::format::{money, number, time};
use ui::stat::{Stat, Trend};
use ui::table::{Column, DataTable};

/// A report at whichever scope is chosen.
#[derive(Clone, Copy)]
pub(super) struct Report {
    pub(super) ledger: Ledger,
    pub(super) of_workspace: Query<UsageReport>,
    pub(super) of_organization: Query<UsageReport>,
}

impl Report {
    /// The query of the chosen scope; reactive.
    pub(super) fn current(self) -> Query<UsageReport> {
        if self.ledger.is_organization_wide.get() { self.of_organization } else { self.of_workspace }
    }

    pub(super) fn every(self, period: Duration) -> Self {
        Self {
            of_workspace: self.of_workspace.every(period),
            of_organization: self.of_organization.every(period),
            ..self
        }
    }

    fn data(self) -> Signal<Option<UsageReport>> {
        Signal::derive(move || self.current().data().get())
    }
}

/// The four totals.
#[component]
pub(super) fn Totals(ledger: Ledger) -> impl IntoView {
    let now = ledger.report(|| "model".to_owned(), false).every(Duration::from_secs(15)).data();
    let before = ledger.report(|| "model".to_owned(), true).data();
    let metrics = [Metric::Cost, Metric::Requests, Metric::Tokens, Metric::Errors];
    let tiles = metrics.into_iter().enumerate().map(|(index, metric)| {
        let text = Signal::derive(move || {
            now.get().map_or_else(|| "–".to_owned(), |report| figures(&report)[index].1.clone())
        });
        let trend = Signal::derive(move || {
            let (now, before) = (now.get()?, before.get()?);
            let text = number::change(metric.of(&now.total), metric.of(&before.total))?;
            Some(Trend { text, tone: Tone::Neutral })
        });
        let detail = Signal::derive(move || {
            before.get().map(|report| format!("before: {}", figures(&report)[index].1)).unwrap_or_default()
        });
        view! { <Stat label=metric.title() value=text trend detail /> }
    });
    view! { <div class="stats">{tiles.collect_view()}</div> }
}

fn label(row: &UsageRow, index: usize) -> String {
    let text = row
        .labels
        .get(index)
        .filter(|label| !label.is_empty())
        .or_else(|| row.group.get(index))
        .cloned()
        .unwrap_or_default();
    if text.is_empty() { "none".to_owned() } else { text }
}

fn columns(ledger: Ledger) -> Vec<Column<UsageRow>> {
    let title = |key: &str| super::DIMENSIONS.iter().find(|dimension| dimension.0 == key).map(|dimension| dimension.1);
    let mut columns = vec![Column::new(title(ledger.by.get()).unwrap_or("Group"), |row: &UsageRow| label(row, 0))];
    if let Some(second) = title(ledger.and.get()) {
        columns.push(Column::new(second, |row: &UsageRow| label(row, 1)));
    }
    let count = |title, value: fn(&UsageRow) -> u64| {
        Column::new(title, move |row: &UsageRow| value(row).to_string())
            .number(move |row| number::as_f64(value(row)))
            .cell(move |row| number::grouped(value(row)).into_any())
    };
    columns.extend([
        Column::new("Spend", |row: &UsageRow| row.sums.cost_usd.to_string())
            .number(|row| number::signed_as_f64(row.sums.cost_usd.as_nanos()))
            .cell(|row| {
                view! { <span title=money::exact(row.sums.cost_usd)>{money::aligned(row.sums.cost_usd, 4)}</span> }
                    .into_any()
            }),
        count("Requests", |row| row.sums.requests),
        count("Errors", |row| row.sums.errors).wide_only(),
        count("Input tokens", |row| row.sums.tokens.total_input()).wide_only(),
        count("Cached", |row| row.sums.tokens.cached_input).wide_only(),
        count("Output tokens", |row| row.sums.tokens.output).wide_only(),
        Column::new("p95", |row: &UsageRow| row.sums.p95_ms.map(|ms| ms.to_string()).unwrap_or_default())
            .number(|row| row.sums.p95_ms.map_or(0.0, number::as_f64))
            .cell(|row| row.sums.p95_ms.map_or_else(|| "–".to_owned(), time::millis).into_any())
            .wide_only(),
    ]);
    columns
}

/// The table of groups.
#[component]
pub(super) fn Breakdown(ledger: Ledger) -> impl IntoView {
    let group_by = move || match ledger.and.get() {
        "" => ledger.by.get().to_owned(),
        and => format!("{},{and}", ledger.by.get()),
    };
    let report = ledger.report(group_by, false).every(Duration::from_secs(15));
    let ready = Callback::new(move |report: Signal<UsageReport>| {
        view! {
            {move || truncated_note(&report.get())}
            {move || {
                let columns = columns(ledger);
                view! {
                    <DataTable label="Usage by group" columns rows=Signal::derive(move || report.get().rows) key=|row: &UsageRow| row.group.join("/") file_name="usage" state=use_table_state(ledger.nav) />
                }
            }}
        }
        .into_any()
    });
    view! {
        <section class="card" aria-label="Usage by group">
            {move || {
                let query = report.current();
                view! { <DataView load=query.load on_retry=query.retry() skeleton=Skeleton::Rows(6) is_empty=|report| report.rows.is_empty() empty=ViewFn::from(empty) ready /> }
            }}
        </section>
    }
}
