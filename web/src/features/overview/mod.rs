//! Overview: is all well? Traffic, errors, spend and latency of a workspace, who moves them, and whether the nodes are in step.

mod figures;
mod movers;
mod nodes;

use std::time::Duration;

use api::ops::WorkspacePath;
use api::ops::usage::{ListRequests, RequestQuery, RequestView, UsageQuery, UsageReport, WorkspaceUsage};
use domain::{Page as ListPage, Permission, Timestamp, WorkspaceId};
use leptos::prelude::*;

use crate::releases::use_markers;
use kit::api::{Query, use_query};
use kit::nav::{Nav, use_nav};
use kit::page::{Page, WorkspacePage};
use kit::session::{Environments, Session, use_environments, use_session};
use model::range::TimeRange;
use model::report::{Bucket, dollars, from_requests, milliseconds, over_time, sums_of};
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
    /// Arguments of a usage query over the range, or over the period of the same length before it.
    fn usage(self, group_by: Option<String>, is_before: bool) -> Option<(WorkspacePath, UsageQuery)> {
        if self.environments.is_pending() {
            return None;
        }
        let range = self.range.get();
        let (from, to) = range.bounds(browser::now());
        let (from, to) = if is_before { (from.minus(range.length()), from) } else { (from, to) };
        let query = UsageQuery {
            from: Some(from),
            to: Some(to),
            group_by,
            environment_id: self.environments.chosen(),
            ..UsageQuery::default()
        };
        Some((WorkspacePath { workspace_id: self.workspace_id }, query))
    }

    fn report(self, dimension: &'static str, is_before: bool) -> Query<UsageReport> {
        use_query::<WorkspaceUsage>(move || self.usage(Some(dimension.to_owned()), is_before))
    }

    fn bucket(self) -> Bucket {
        Bucket::of(self.range.get())
    }
}

/// The requests of the last hour, asked only when the chart is cut into minutes.
fn use_recent(board: Board) -> Query<ListPage<RequestView>> {
    use_query::<ListRequests>(move || {
        let wanted = board.bucket() == Bucket::Minute
            && !board.environments.is_pending()
            && board.session.can_in(Permission::RequestsRead, board.workspace_id);
        wanted.then(|| {
            let (from, to) = board.range.get().bounds(browser::now());
            let query = RequestQuery {
                from: Some(from),
                to: Some(to),
                environment_id: board.environments.chosen(),
                limit: Some(200),
                ..RequestQuery::default()
            };
            (WorkspacePath { workspace_id: board.workspace_id }, query)
        })
    })
}

/// The charts of the page, whichever source they come from.
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

fn from_log(requests: &[RequestView], range: TimeRange) -> Charts {
    let (from, to) = range.bounds(browser::now());
    let times = Bucket::Minute.times(from, to);
    let minutes = from_requests(requests, &times);
    let ok = minutes.requests.iter().zip(&minutes.errors).map(|(all, errors)| all - errors).collect();
    charts(times, Bucket::Minute.step(), ok, minutes.errors, minutes.p50, minutes.p95, minutes.cost, range.is_live())
}

/// The page.
#[component]
pub(crate) fn Overview(workspace_id: WorkspaceId) -> impl IntoView {
    let nav = use_nav();
    let board =
        Board { workspace_id, nav, session: use_session(), environments: use_environments(), range: nav.range() };
    let now = use_query::<WorkspaceUsage>(move || board.usage(Some(board.bucket().dimension().to_owned()), false))
        .every(Duration::from_secs(5));
    let before = use_query::<WorkspaceUsage>(move || board.usage(None, true)).every(Duration::from_secs(60));
    let recent = use_recent(board).every(Duration::from_secs(5));
    let ready = Callback::new(move |report: Signal<UsageReport>| {
        let all = Memo::new(move |_| {
            let (bucket, range) = (board.bucket(), board.range.get());
            let log = recent.data().get().filter(|_| bucket == Bucket::Minute);
            log.map_or_else(
                || from_report(&report.get(), if bucket == Bucket::Minute { Bucket::Hour } else { bucket }, range),
                |log| from_log(&log.items, range),
            )
        });
        // The ledger sums whole hours; a range of minutes is summed from its requests, if they are all here.
        let whole_log = Memo::new(move |_| {
            let page =
                recent.data().get().filter(|page| board.bucket() == Bucket::Minute && page.next_cursor.is_none())?;
            Some(sums_of(&page.items))
        });
        let total = Signal::derive(move || whole_log.get().unwrap_or_else(|| report.get().total));
        let earlier = Signal::derive(move || before.data().get().filter(|_| board.bucket() != Bucket::Minute));
        // Empty charts say less than the words that take their place.
        let is_quiet = Memo::new(move |_| total.get().requests == 0);
        view! {
            <figures::Figures total before=earlier charts=all />
            <Show when=move || !is_quiet.get()>{main_charts(board, all, recent)}</Show>
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

fn main_charts(board: Board, all: Memo<Charts>, recent: Query<ListPage<RequestView>>) -> AnyView {
    let zone = browser::zone();
    let is_partial =
        move || board.bucket() == Bucket::Minute && recent.data().get().is_some_and(|page| page.next_cursor.is_some());
    let bucket_text = move || board.bucket().caption(zone);
    let markers = use_markers(board.workspace_id, board.nav, board.session);
    view! {
        <section class="card" aria-labelledby="chart-traffic">
            <div class="card-head">
                <div><h2 id="chart-traffic">"Requests"</h2><p>{bucket_text}{move || is_partial().then_some(", newest 200 requests")}</p></div>
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
