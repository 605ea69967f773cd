//! Overview: is all well? Traffic, errors, spend and latency of a workspace, who moves them, and whether the nodes are in step.

mod figures;
mod movers;
mod nodes;

use std::time::Duration;

use api::ops::WorkspacePath;
use api::ops::usage::{UsageQuery, UsageReport, WorkspaceUsage};
use domain::{Timestamp, WorkspaceId};
use leptos::prelude::*;

use crate::releases::use_markers;
use kit::api::{Query, use_query};
use kit::nav::{Nav, use_nav};
use kit::page::{Page, WorkspacePage};
use kit::session::{Environments, Session, use_environments, use_session};
use model::range::TimeRange;
use model::report::{Bucket, dollars, milliseconds, over_time};
use ui::browser;
use ui::button::{LinkButton, Weight};
use ui::chart::{ChartData, Series, Shape, Slot, TimeChart};
use ui::data_view::{DataView, EmptyState, Skeleton};
use ui::format::money;
use ui::format::number;
use ui::icon::Icon;
use ui::page_head::PageHead;

/// What the parts of this page share.
#[derive(Clone, Copy)]
struct Board {
    workspace_id: WorkspaceId,
    nav: Nav,
    session: Session,
    environments: Environments,
    range: Memo<TimeRange>,
}

impl Board {
    /// The range, or the period of the same length before it.
    fn bounds(self, is_before: bool) -> (Timestamp, Timestamp) {
        let range = self.range.get();
        let (from, to) = range.bounds(browser::now());
        if is_before { (from.minus(range.length()), from) } else { (from, to) }
    }

    /// Arguments of a usage query over the range, or over the period before it.
    fn usage(self, group_by: &str, minutes: Option<u8>, is_before: bool) -> Option<(WorkspacePath, UsageQuery)> {
        if self.environments.is_pending() {
            return None;
        }
        let (from, to) = self.bounds(is_before);
        let query = UsageQuery {
            from: Some(from),
            to: Some(to),
            group_by: Some(group_by.to_owned()),
            minutes,
            environment_id: self.environments.chosen(),
            ..UsageQuery::default()
        };
        Some((WorkspacePath { workspace_id: self.workspace_id }, query))
    }

    /// Arguments of the query behind figures and charts. The period before is asked as finely, or not at all: against whole hours,
    /// a quarter of an hour would always have fallen.
    fn over_time(self, is_before: bool) -> Option<(WorkspacePath, UsageQuery)> {
        let bucket = self.bucket();
        let is_alike = Bucket::fine(self.bounds(is_before), browser::now()) == bucket;
        is_alike.then(|| self.usage(bucket.dimension(), bucket.minutes(), is_before)).flatten()
    }

    fn report(self, dimension: &'static str, is_before: bool) -> Query<UsageReport> {
        use_query::<WorkspaceUsage>(move || self.usage(dimension, None, is_before))
    }

    fn bucket(self) -> Bucket {
        Bucket::fine(self.bounds(false), browser::now())
    }
}

/// The charts of the page.
#[derive(Debug, Clone, PartialEq, Default)]
struct Charts {
    traffic: ChartData,
    latency: ChartData,
    spend: ChartData,
}

#[expect(clippy::too_many_arguments, reason = "one list per line of the three charts")]
fn charts(
    times: Vec<Timestamp>,
    step: Duration,
    ok: Vec<f64>,
    errors: Vec<f64>,
    p50: Vec<f64>,
    p95: Vec<f64>,
    cost: Vec<f64>,
    is_open: bool,
) -> Charts {
    let series = |name: &str, slot, values| Series { name: name.to_owned(), slot, values };
    let chart = |series| ChartData { times: times.clone(), step, series, is_open };
    Charts {
        traffic: chart(vec![series("Succeeded", Slot::Rank(0), ok), series("Errors", Slot::Error, errors)]),
        latency: chart(vec![series("p50", Slot::Rank(2), p50), series("p95", Slot::Rank(3), p95)]),
        spend: chart(vec![series("Spend", Slot::Rank(4), cost)]),
    }
}

fn from_report(report: &UsageReport, bucket: Bucket, range: TimeRange) -> Charts {
    let (from, to) = range.bounds(browser::now());
    let times = bucket.times(from, to);
    let of = |value: fn(&api::ops::usage::UsageSums) -> u64| {
        over_time(report, &times, 0.0, |sums| Some(number::as_f64(value(sums))))
    };
    let ok = of(|sums| sums.requests.saturating_sub(sums.errors));
    let errors = of(|sums| sums.errors);
    let cost = over_time(report, &times, 0.0, |sums| Some(money::as_dollars(sums.cost_usd)));
    let p50 = over_time(report, &times, f64::NAN, |sums| sums.p50_ms.map(number::as_f64));
    let p95 = over_time(report, &times, f64::NAN, |sums| sums.p95_ms.map(number::as_f64));
    charts(times, bucket.step(), ok, errors, p50, p95, cost, range.is_live())
}

/// The page.
#[component]
pub(crate) fn Overview(workspace_id: WorkspaceId) -> impl IntoView {
    let nav = use_nav();
    let board =
        Board { workspace_id, nav, session: use_session(), environments: use_environments(), range: nav.range() };
    let now = use_query::<WorkspaceUsage>(move || board.over_time(false)).every(Duration::from_secs(5));
    let before = use_query::<WorkspaceUsage>(move || board.over_time(true)).every(Duration::from_secs(60));
    let ready = Callback::new(move |report: Signal<UsageReport>| {
        let all = Memo::new(move |_| from_report(&report.get(), board.bucket(), board.range.get()));
        let total = Signal::derive(move || report.get().total);
        let earlier = Signal::derive(move || before.data().get());
        // Empty charts say less than the words that take their place.
        let is_quiet = Memo::new(move |_| total.get().requests == 0);
        view! {
            <figures::Figures total before=earlier charts=all />
            <Show when=move || !is_quiet.get()>{main_charts(board, all)}</Show>
        }
        .into_any()
    });
    view! {
        <PageHead title="Overview" about="Is all well? Traffic, errors, spend and latency of this workspace.">
            <Freshness report=now.data() board />
        </PageHead>
        <FirstCall board report=now.data() />
        <DataView load=now.load on_retry=now.retry() skeleton=Skeleton::Tiles(4) is_empty=|_| false empty=ViewFn::from(|| ()) ready />
        <div class="columns-2">
            <movers::Movers board dimension="model" title="Models" />
            <movers::Movers board dimension="virtual_key" title="Virtual keys" />
        </div>
        <nodes::NodesInStep board />
    }
}

fn main_charts(board: Board, all: Memo<Charts>) -> AnyView {
    let zone = browser::zone();
    let bucket_text = move || board.bucket().caption(zone);
    let markers = use_markers(board.workspace_id, board.nav, board.session);
    view! {
        <section class="card" aria-labelledby="chart-traffic">
            <div class="card-head">
                <div><h2 id="chart-traffic">"Requests"</h2><p>{bucket_text}</p></div>
            </div>
            <div class="card-body"><TimeChart label="Requests" data=Signal::derive(move || all.get().traffic) shape=Shape::Bars axis=number::compact value=number::compact zone tall=true markers /></div>
        </section>
        <div class="columns-2">
            <section class="card" aria-labelledby="chart-latency">
                <div class="card-head"><div><h2 id="chart-latency">"Latency"</h2><p>"to the last byte, median and 95th percentile, " {bucket_text}</p></div></div>
                <div class="card-body"><TimeChart label="Latency" data=Signal::derive(move || all.get().latency) shape=Shape::Lines axis=milliseconds value=milliseconds zone markers /></div>
            </section>
            <section class="card" aria-labelledby="chart-spend">
                <div class="card-head"><div><h2 id="chart-spend">"Spend"</h2><p>{bucket_text}</p></div></div>
                <div class="card-body"><TimeChart label="Spend" data=Signal::derive(move || all.get().spend) shape=Shape::Bars axis=money::axis value=dollars zone markers /></div>
            </section>
        </div>
    }
    .into_any()
}

#[component]
fn Freshness(report: Signal<Option<UsageReport>>, board: Board) -> impl IntoView {
    let zone = browser::zone();
    let text = move || {
        let fresh = report.get().and_then(|report| report.fresh_at);
        fresh.map(|at| format!("Newest event {} {}", ui::format::time::absolute(at, zone), zone.name()))
    };
    view! {
        <span class="row small muted">
            {text}
            <Show when=move || board.range.get().is_live()>
                <span class="live"><span class="pulse" aria-hidden="true"></span> "Live"</span>
            </Show>
        </span>
    }
}

/// Shown while the workspace has no traffic: how to make the first call.
#[component]
fn FirstCall(board: Board, report: Signal<Option<UsageReport>>) -> impl IntoView {
    let is_quiet = Memo::new(move |_| report.get().is_some_and(|report| report.total.requests == 0));
    let keys = Page::Workspace(board.workspace_id, WorkspacePage::Keys);
    let create = Signal::derive(move || board.nav.href_with(keys, &[("new", "1".to_owned())]));
    view! {
        <Show when=move || is_quiet.get()>
            <section class="card" aria-label="First call">
                <EmptyState icon=Icon::Bolt title="No requests in this range" text="Create a virtual key, point any OpenAI or Anthropic SDK at the gateway with it, and the first call shows up here within seconds.">
                    <LinkButton href=create weight=Weight::Primary icon=Icon::Key>"Create a key"</LinkButton>
                    <LinkButton href=Signal::derive(move || keys.path())>"See keys"</LinkButton>
                </EmptyState>
            </section>
        </Show>
    }
}
