//! Who moves the figures: the largest models or keys by spend, each against the period before.

use std::time::Duration;

use api::ops::usage::{UsageReport, UsageRow};
use leptos::prelude::*;

use super::Board;
use kit::page::{Page, WorkspacePage};
use model::report::Bucket;
use ui::button::{LinkButton, Size, Weight};
use ui::data_view::{DataView, Skeleton};
use ui::format::{money, number};
use ui::icon::Icon;
use ui::meter::RankedLine;

const SHOWN: usize = 6;

fn name_of(row: &UsageRow) -> String {
    row.labels.first().or(row.group.first()).cloned().unwrap_or_default()
}

fn line(row: &UsageRow, before: Option<&UsageRow>, largest: f64) -> AnyView {
    let cost = money::as_dollars(row.sums.cost_usd);
    let change = before.and_then(|before| number::change(cost, money::as_dollars(before.sums.cost_usd)));
    let weight = if largest > 0.0 { cost / largest } else { 0.0 };
    let detail = format!(
        "{} · {}",
        number::plural(row.sums.requests, "request", "requests"),
        change.unwrap_or_else(|| "new".to_owned())
    );
    let name = view! { <span>{name_of(row)} " " <span class="faint small">{detail}</span></span> }.into_any();
    view! { <RankedLine name value=money::usd(row.sums.cost_usd) share=weight /> }.into_any()
}

fn lines(report: &UsageReport, before: Option<&UsageReport>) -> AnyView {
    let largest = report.rows.iter().map(|row| money::as_dollars(row.sums.cost_usd)).fold(0.0, f64::max);
    let found = |row: &UsageRow| before.and_then(|before| before.rows.iter().find(|other| other.group == row.group));
    let lines: Vec<AnyView> = report.rows.iter().take(SHOWN).map(|row| line(row, found(row), largest)).collect();
    let more = report.rows.len().saturating_sub(SHOWN);
    view! {
        <ul>{lines}</ul>
        {(more > 0).then(|| view! { <p class="faint small">{format!("and {more} more")}</p> })}
    }
    .into_any()
}

/// The card of one dimension.
#[component]
pub(super) fn Movers(board: Board, dimension: &'static str, title: &'static str) -> impl IntoView {
    let now = board.report(dimension, false).every(Duration::from_secs(15));
    let before = board.report(dimension, true);
    let usage = Page::Workspace(board.workspace_id, WorkspacePage::Usage);
    let href = Signal::derive(move || board.nav.href_with(usage, &[("by", dimension.to_owned())]));
    let ready = Callback::new(move |report: Signal<UsageReport>| {
        (move || lines(&report.get(), before.data().get().as_ref())).into_any()
    });
    // Sums by model and key are kept by the hour.
    let about = move || match board.bucket() {
        Bucket::Minutes(_) => "by spend, in whole hours, against those before",
        Bucket::Hour | Bucket::Day => "by spend, against the period before",
    };
    let heading = format!("movers-{dimension}");
    let label = heading.clone();
    view! {
        <section class="card" aria-labelledby=label>
            <div class="card-head">
                <div><h2 id=heading>{title}</h2><p>{about}</p></div>
                <LinkButton href size=Size::Small weight=Weight::Ghost icon=Icon::Usage>"Usage"</LinkButton>
            </div>
            <div class="card-body">
                <DataView load=now.load on_retry=now.retry() skeleton=Skeleton::Rows(4) is_empty=|report| report.rows.is_empty() empty=ViewFn::from(|| view! { <p class="muted">"Nothing was used in this range."</p> }) ready />
            </div>
        </section>
    }
}
