//! Requests: what happened to this one? The log of single calls, with filters and a panel per call.

mod bill;
mod filters;
mod panel;
mod routing;
mod waterfall;

use std::collections::BTreeMap;
use std::time::Duration;

use api::ops::WorkspacePath;
use api::ops::usage::{ListRequests, RequestQuery, RequestView, UsageQuery, WorkspaceUsage};
use api::ops::virtual_keys::{ListVirtualKeys, VirtualKeyQuery};
use domain::usage::Outcome;
use domain::{Cursor, Page as ListPage, Permission, VirtualKeyId, WorkspaceId};
use leptos::prelude::*;

use kit::api::use_query;
use kit::nav::{Nav, use_nav};
use kit::page::{Page, WorkspacePage};
use kit::pages::{Pages, use_pages};
use kit::session::{Environments, Session, use_environments, use_session};
use kit::views::use_table_state;
use ui::Tone;
use ui::badge::{Badge, EnvironmentBadge, Tag};
use ui::browser;
use ui::button::{Button, LinkButton, Size, Weight};
use ui::data_view::{DataView, EmptyState, Skeleton};
use ui::format::{money, number, time};
use ui::icon::Icon;
use ui::page_head::PageHead;
use ui::table::{Column, DataTable};
use ui::when::Clock;

/// What the parts of this page share.
#[derive(Clone, Copy)]
struct Log {
    workspace_id: WorkspaceId,
    nav: Nav,
    session: Session,
    environments: Environments,
    /// Names of keys by id: those that called in this range, however many keys there are, and the newest.
    keys: Memo<BTreeMap<String, String>>,
    key: Memo<Option<String>>,
    outcome: Memo<Option<String>>,
    /// What else is filtered by, in the order of [`filters::TEXTS`].
    texts: [Memo<Option<String>>; 5],
}

impl Log {
    fn key_name(self, id: VirtualKeyId) -> String {
        let id = id.to_string();
        self.keys.with(|keys| keys.get(&id).cloned()).unwrap_or_else(|| ui::format::id::short(&id))
    }

    /// Whether anything but the range narrows the list.
    fn is_narrowed(self) -> bool {
        let filters = [self.key, self.outcome, self.nav.environment()].into_iter().chain(self.texts);
        filters.into_iter().any(|filter| filter.with(Option::is_some))
    }

    fn query(self, cursor: Option<Cursor>) -> RequestQuery {
        let (from, to) = self.nav.range().get().bounds(browser::now());
        let [model, provider, end_user, conversation_id, trace_id] = self.texts.map(|text| text.get());
        RequestQuery {
            from: Some(from),
            to: (!self.nav.range().get().is_live()).then_some(to),
            environment_id: self.environments.chosen(),
            virtual_key_id: self.key.get().and_then(|id| id.parse().ok()),
            model,
            provider,
            end_user,
            conversation_id,
            trace_id,
            outcome: self.outcome.get().and_then(|text| Outcome::find(&text)),
            limit: Some(200),
            cursor,
            ..RequestQuery::default()
        }
    }
}

/// The words and tone of an outcome.
fn outcome_words(outcome: Outcome) -> (Tone, &'static str) {
    match outcome {
        Outcome::Success => (Tone::Ok, "Success"),
        Outcome::Rejected => (Tone::Warn, "Rejected"),
        Outcome::UpstreamRejected => (Tone::Warn, "Upstream refused"),
        Outcome::UpstreamFailed => (Tone::Danger, "Upstream failed"),
        Outcome::UpstreamBroken => (Tone::Danger, "Broken stream"),
        Outcome::ClientClosed => (Tone::Neutral, "Client left"),
        Outcome::Interrupted => (Tone::Danger, "Interrupted"),
    }
}

fn outcome_view(request: &RequestView) -> AnyView {
    let (tone, words) = outcome_words(request.outcome);
    let tries = (request.attempts.len() > 1)
        .then(|| view! { <span class="faint small">{format!("{} attempts", request.attempts.len())}</span> });
    view! { <span class="row-tags"><Badge tone text=words dot=true /> <span class="faint number small">{request.status}</span> {tries}</span> }.into_any()
}

fn columns(log: Log) -> Vec<Column<RequestView>> {
    let zone = browser::zone();
    vec![
        Column::new("Time", move |request: &RequestView| time::absolute(request.started_at, zone))
            .sorted_by(|request| number::signed_as_f64(request.started_at.as_micros()))
            .cell(move |request| view! { <Clock at=request.started_at zone /> }.into_any()),
        Column::new("Outcome", |request: &RequestView| {
            format!("{} {}", outcome_words(request.outcome).1, request.status)
        })
        .cell(outcome_view),
        Column::new("Model", |request: &RequestView| request.model.clone())
            .cell(|request| view! { <Tag text=request.model.clone() /> }.into_any()),
        Column::new("Provider", |request: &RequestView| request.provider.clone().unwrap_or_default()).hidden_at_first(),
        Column::new("Key", move |request: &RequestView| log.key_name(request.virtual_key_id)).wide_only(),
        Column::new("Environment", move |request: &RequestView| log.environments.slug_of(request.environment_id))
            .cell(move |request| {
                view! { <EnvironmentBadge name=log.environments.slug_of(request.environment_id) /> }.into_any()
            })
            .wide_only(),
        Column::new("Tokens", |request: &RequestView| request.usage.total().to_string())
            .number(|request| number::as_f64(request.usage.total()))
            .cell(|request| {
                format!("{} → {}", number::grouped(request.usage.total_input()), number::grouped(request.usage.output))
                    .into_any()
            }),
        Column::new("Cost", |request: &RequestView| request.cost_usd.to_string())
            .number(|request| number::signed_as_f64(request.cost_usd.as_nanos()))
            .cell(|request| {
                view! { <span title=money::exact(request.cost_usd)>{money::aligned(request.cost_usd, 6)}</span> }
                    .into_any()
            }),
        Column::new("Latency", |request: &RequestView| request.duration_us.to_string())
            .number(|request| number::as_f64(request.duration_us))
            .cell(|request| time::micros(request.duration_us).into_any()),
        Column::new("First byte", |request: &RequestView| {
            request.first_byte_us.map(|us| us.to_string()).unwrap_or_default()
        })
        .number(|request| request.first_byte_us.map_or(0.0, number::as_f64))
        .cell(|request| request.first_byte_us.map_or_else(|| "–".to_owned(), time::micros).into_any())
        .wide_only(),
    ]
}

fn use_key_names(workspace_id: WorkspaceId, nav: Nav, session: Session) -> Memo<BTreeMap<String, String>> {
    let path = WorkspacePath { workspace_id };
    let newest = use_query::<ListVirtualKeys>(move || {
        let query = VirtualKeyQuery { limit: Some(200), ..VirtualKeyQuery::default() };
        session.can_in(Permission::VirtualKeysRead, workspace_id).then_some((path, query))
    });
    let callers = use_query::<WorkspaceUsage>(move || {
        let (from, to) = nav.range().get().bounds(browser::now());
        let group_by = Some("virtual_key".to_owned());
        let query = UsageQuery { from: Some(from), to: Some(to), group_by, ..UsageQuery::default() };
        session.can_in(Permission::UsageRead, workspace_id).then_some((path, query))
    })
    .every(Duration::from_secs(60));
    Memo::new(move |_| {
        let rows = callers.data().get().map(|report| report.rows).unwrap_or_default();
        let called = rows.into_iter().filter_map(|row| {
            let (id, name) = (row.group.into_iter().next()?, row.labels.into_iter().next()?);
            (!name.is_empty()).then_some((id, name))
        });
        let newest = newest.items().get();
        newest.into_iter().map(|key| (key.id.to_string(), key.name.to_string())).chain(called).collect()
    })
}

/// The page.
#[component]
pub(crate) fn Requests(workspace_id: WorkspaceId) -> impl IntoView {
    let (nav, session, environments) = (use_nav(), use_session(), use_environments());
    let keys = use_key_names(workspace_id, nav, session);
    let log = Log {
        workspace_id,
        nav,
        session,
        environments,
        keys,
        key: nav.param("key"),
        outcome: nav.param("outcome"),
        texts: filters::TEXTS.map(|text| nav.param(text.0)),
    };
    let list = use_pages::<ListRequests, RequestView>(
        move |cursor| (!environments.is_pending()).then(|| (WorkspacePath { workspace_id }, log.query(cursor))),
        |request| request.id.to_string(),
    )
    .every(Duration::from_secs(5));
    let ready = Callback::new(move |page: Signal<ListPage<RequestView>>| list_view(log, page, list));
    view! {
        <PageHead title="Requests" about="What happened to this call? Every request the gateway served or refused, newest first.">
            <span class="row small muted">
                {format!("Times in {}", browser::zone().name())}
                {move || match (nav.range().get().is_live(), list.is_held_still()) {
                    (false, _) => ().into_any(),
                    (true, false) => view! { <span class="live"><span class="pulse" aria-hidden="true"></span> "Live"</span> }.into_any(),
                    // Older rows are in view: nothing moves until one asks for it.
                    (true, true) => view! { <Button size=Size::Small icon=Icon::Refresh on_press=list.retry()>"Paused, back to live"</Button> }.into_any(),
                }}
            </span>
        </PageHead>
        <section class="card" aria-label="Requests">
            <DataView
                load=list.load
                on_retry=list.retry()
                skeleton=Skeleton::Rows(10)
                is_empty=|page| page.items.is_empty()
                empty=ViewFn::from(move || empty(log))
                ready
            />
        </section>
        <panel::RequestPanel log />
    }
}

fn empty(log: Log) -> AnyView {
    let words = if log.is_narrowed() {
        view! { <EmptyState icon=Icon::Requests title="No requests match" text="Nothing was called in this range with these filters. Widen the range or clear a filter." /> }.into_any()
    } else {
        let keys = Page::Workspace(log.workspace_id, WorkspacePage::Keys);
        let create = log.nav.href_with(keys, &[("new", "1".to_owned())]);
        let may = log.session.can_in(Permission::VirtualKeysCreate, log.workspace_id);
        view! {
            <EmptyState icon=Icon::Requests title="No requests in this range" text="Every call with a virtual key shows up here within a second, also one that is refused. Make the first, or widen the range.">
                {may.then(|| view! { <LinkButton href=create weight=Weight::Primary icon=Icon::Key>"Create a key"</LinkButton> })}
            </EmptyState>
        }
        .into_any()
    };
    view! { <div class="table-tools">{filters::view_of(log)}</div> {words} }.into_any()
}

fn list_view(log: Log, page: Signal<ListPage<RequestView>>, list: Pages<RequestView>) -> AnyView {
    let selected = log.nav.param("request");
    view! {
        <DataTable
            label="Requests"
            columns=columns(log)
            rows=Signal::derive(move || page.get().items)
            key=|request: &RequestView| request.id.to_string()
            on_open=Callback::new(move |request: RequestView| log.nav.set(&[("request", Some(request.id.to_string()))], false))
            selected=Signal::derive(move || selected.get())
            file_name="requests"
            tools=filters::view_of(log)
            state=use_table_state(log.nav)
            more=list.more()
        />
    }
    .into_any()
}
