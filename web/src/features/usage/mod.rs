//! Usage: where does the money go? Stacked over time by one dimension, split by a second in the table, compared with before.

mod breakdown;

use std::time::Duration;

use api::ops::usage::{UsageQuery, UsageReport, WorkspaceUsage};
use api::ops::{OrganizationPath, WorkspacePath};
use domain::{Permission, WorkspaceId};
use leptos::prelude::*;

use crate::releases::use_markers;
use kit::api::use_query;
use kit::nav::{Nav, use_nav};
use kit::session::{Environments, Session, use_environments, use_session};
use kit::views::SavedViews;
use model::report::{Bucket, Metric, by_dimension};
use ui::Tone;
use ui::badge::Note;
use ui::browser;
use ui::chart::{ChartData, Marker, Shape, TimeChart};
use ui::data_view::{DataView, EmptyState, Skeleton};
use ui::field::{Choice, InlineSelect};
use ui::format::{money, number};
use ui::icon::Icon;
use ui::page_head::PageHead;
use ui::segmented::{Segment, Segmented};

/// Ways to split usage: the name in the API, the words.
const DIMENSIONS: [(&str, &str); 6] = [
    ("model", "Model"),
    ("virtual_key", "Virtual key"),
    ("provider", "Provider"),
    ("environment", "Environment"),
    ("deployment", "Deployment"),
    ("workspace", "Workspace"),
];

/// What the parts of this page share.
#[derive(Clone, Copy)]
struct Ledger {
    workspace_id: WorkspaceId,
    nav: Nav,
    session: Session,
    environments: Environments,
    /// The first dimension: the colours of the chart.
    by: Memo<&'static str>,
    /// The second dimension: the split of the table; empty for none.
    and: Memo<&'static str>,
    metric: Memo<Metric>,
    /// Whether the sums are over all workspaces of the organization.
    is_organization_wide: Memo<bool>,
    markers: Signal<Vec<Marker>>,
}

fn dimension(wanted: Option<&str>, otherwise: &'static str) -> &'static str {
    DIMENSIONS.iter().find(|dimension| wanted == Some(dimension.0)).map_or(otherwise, |dimension| dimension.0)
}

impl Ledger {
    fn new(workspace_id: WorkspaceId) -> Self {
        let (nav, session) = (use_nav(), use_session());
        let (by, and, metric, scope) = (nav.param("by"), nav.param("and"), nav.param("metric"), nav.param("scope"));
        let by = Memo::new(move |_| dimension(by.get().as_deref(), "model"));
        let may_see = move || {
            session.organization_of(workspace_id).is_some_and(|id| session.can(Permission::OrganizationUsageRead, id))
        };
        Self {
            workspace_id,
            nav,
            session,
            environments: use_environments(),
            by,
            and: Memo::new(move |_| {
                Some(dimension(and.get().as_deref(), "")).filter(|and| *and != by.get()).unwrap_or_default()
            }),
            metric: Memo::new(move |_| Metric::find(metric.get().as_deref().unwrap_or_default())),
            is_organization_wide: Memo::new(move |_| scope.get().as_deref() == Some("organization") && may_see()),
            markers: use_markers(workspace_id, nav, session),
        }
    }

    fn may_see_organization(self) -> bool {
        self.session
            .organization_of(self.workspace_id)
            .is_some_and(|id| self.session.can(Permission::OrganizationUsageRead, id))
    }

    fn query(self, group_by: String, is_before: bool) -> UsageQuery {
        let range = self.nav.range().get();
        let (from, to) = range.bounds(browser::now());
        let (from, to) = if is_before { (from.minus(range.length()), from) } else { (from, to) };
        // Environments belong to one workspace, so the filter has no meaning across them.
        let environment_id = if self.is_organization_wide.get() { None } else { self.environments.chosen() };
        UsageQuery { from: Some(from), to: Some(to), group_by: Some(group_by), environment_id, ..UsageQuery::default() }
    }

    /// Asks for a report at the chosen scope.
    fn report(self, group_by: impl Fn() -> String + Copy + 'static, is_before: bool) -> breakdown::Report {
        let of_workspace = use_query::<WorkspaceUsage>(move || {
            (!self.is_organization_wide.get() && !self.environments.is_pending())
                .then(|| (WorkspacePath { workspace_id: self.workspace_id }, self.query(group_by(), is_before)))
        });
        let of_organization = use_query::<api::ops::usage::OrganizationUsage>(move || {
            let organization_id =
                self.session.organization_of(self.workspace_id).filter(|_| self.is_organization_wide.get())?;
            Some((OrganizationPath { organization_id }, self.query(group_by(), is_before)))
        });
        breakdown::Report { ledger: self, of_workspace, of_organization }
    }
}

fn choices() -> Vec<Choice> {
    DIMENSIONS.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
}

fn controls(ledger: Ledger) -> AnyView {
    let set = move |name: &'static str| {
        Callback::new(move |value: String| ledger.nav.set(&[(name, (!value.is_empty()).then_some(value))], false))
    };
    let metrics = Signal::stored(Metric::ALL.map(|metric| Segment::new(metric.key(), metric.title())).to_vec());
    let and_choices = Signal::derive(move || {
        let others = choices().into_iter().filter(|choice| choice.0 != ledger.by.get());
        std::iter::once((String::new(), "no second split".to_owned())).chain(others).collect::<Vec<Choice>>()
    });
    let scopes = Signal::stored(vec![Segment::new("", "This workspace"), Segment::new("organization", "Organization")]);
    view! {
        <div class="row">
            <Segmented label="Measure" segments=metrics value=Signal::derive(move || ledger.metric.get().key().to_owned()) on_change=set("metric") />
            <span class="row">
                <span class="muted small">"by"</span>
                <InlineSelect label="First dimension" value=Signal::derive(move || ledger.by.get().to_owned()) choices=Signal::stored(choices()) on_change=set("by") />
                <span class="muted small">"and"</span>
                <InlineSelect label="Second dimension" value=Signal::derive(move || ledger.and.get().to_owned()) choices=and_choices on_change=set("and") />
            </span>
            <Show when=move || ledger.may_see_organization()>
                <Segmented label="Scope" segments=scopes value=Signal::derive(move || if ledger.is_organization_wide.get() { "organization".to_owned() } else { String::new() }) on_change=set("scope") />
            </Show>
        </div>
    }
    .into_any()
}

/// The page.
#[component]
pub(crate) fn Usage(workspace_id: WorkspaceId) -> impl IntoView {
    let ledger = Ledger::new(workspace_id);
    let bucket = move || Bucket::of(ledger.nav.range().get());
    let over_time = ledger
        .report(move || format!("{},{}", bucket().dimension(), ledger.by.get()), false)
        .every(Duration::from_secs(15));
    let ready = Callback::new(move |report: Signal<UsageReport>| {
        let data = Signal::derive(move || {
            let (from, to) = ledger.nav.range().get().bounds(browser::now());
            by_dimension(
                &report.get(),
                &bucket().times(from, to),
                bucket().step(),
                ledger.metric.get(),
                ledger.nav.range().get().is_live(),
            )
        });
        (move || chart(ledger, data, ledger.metric.get())).into_any()
    });
    view! {
        <PageHead title="Usage" about="Where does the money go? Sums over requests, by any two dimensions."><SavedViews nav=ledger.nav panels=&[] /></PageHead>
        {controls(ledger)}
        <breakdown::Totals ledger />
        <section class="card" aria-label="Usage over time">
            <div class="card-head"><div><h2>{move || ledger.metric.get().title()}</h2><p>{move || format!("by {}, {}", ledger.by.get().replace('_', " "), bucket().caption(browser::zone()))}</p></div></div>
            <div class="card-body">
                {move || {
                    let query = over_time.current();
                    view! { <DataView load=query.load on_retry=query.retry() skeleton=Skeleton::Chart is_empty=|report| report.rows.is_empty() empty=ViewFn::from(empty) ready /> }
                }}
            </div>
        </section>
        <breakdown::Breakdown ledger />
    }
}

fn chart(ledger: Ledger, data: Signal<ChartData>, metric: Metric) -> AnyView {
    let markers = ledger.markers;
    let label = format!("{} by {}", metric.title(), ledger.by.get().replace('_', " "));
    view! { <TimeChart label data shape=Shape::Bars axis=metric.axis() value=metric.text() zone=browser::zone() tall=true markers /> }.into_any()
}

fn empty() -> AnyView {
    view! { <EmptyState icon=Icon::Usage title="Nothing was used in this range" text="Choose a wider range, another environment, or make a call: it is booked within seconds." /> }.into_any()
}

fn truncated_note(report: &UsageReport) -> Option<AnyView> {
    report.is_truncated.then(|| view! { <Note tone=Tone::Warn>"There are more groups than can be listed; the smallest are left out of the table and included in the total."</Note> }.into_any())
}

fn figures(report: &UsageReport) -> [(&'static str, String); 4] {
    let sums = &report.total;
    [
        ("Spend", money::usd(sums.cost_usd)),
        ("Requests", number::grouped(sums.requests)),
        ("Tokens", number::compact(number::as_f64(sums.tokens.total()))),
        ("Errors", format!("{} ({})", number::grouped(sums.errors), number::share(sums.errors, sums.requests))),
    ]
}
