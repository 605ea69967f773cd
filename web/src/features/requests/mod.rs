//! Requests: what happened to this one? The log of single calls, with filters and a panel per call.

mod panel;
mod waterfall;

use std::time::Duration;

use api::Client;
use api::ops::WorkspacePath;
use api::ops::usage::{ListRequests, RequestQuery, RequestView};
use api::ops::virtual_keys::{ListVirtualKeys, VirtualKeyQuery, VirtualKeyView};
use domain::usage::Outcome;
use domain::{Cursor, Page as ListPage, Permission, VirtualKeyId, WorkspaceId};
use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api::{Fetch, Query, use_query};
use crate::nav::{Nav, use_nav};
use crate::session::{Environments, use_environments, use_session};
use ui::Tone;
use ui::badge::{Badge, EnvironmentBadge, Tag};
use ui::browser;
use ui::button::{Button, Size};
use ui::data_view::{DataView, EmptyState, Skeleton};
use ui::field::{Choice, InlineSelect};
use ui::format::{money, number, time};
use ui::icon::Icon;
use ui::page_head::PageHead;
use ui::table::{Column, DataTable};
use ui::when::When;

/// What the parts of this page share.
#[derive(Clone, Copy)]
struct Log {
    workspace_id: WorkspaceId,
    nav: Nav,
    environments: Environments,
    keys: Query<ListPage<VirtualKeyView>>,
    key: Memo<Option<String>>,
    model: Memo<Option<String>>,
    outcome: Memo<Option<String>>,
}

impl Log {
    fn key_name(self, id: VirtualKeyId) -> String {
        let keys = self.keys.items().get();
        keys.into_iter()
            .find(|key| key.id == id)
            .map_or_else(|| ui::format::id::short(&id.to_string()), |key| key.name.to_string())
    }

    fn query(self, cursor: Option<Cursor>) -> RequestQuery {
        let (from, to) = self.nav.range().get().bounds(browser::now());
        RequestQuery {
            from: Some(from),
            to: (!self.nav.range().get().is_live()).then_some(to),
            environment_id: self.environments.chosen(),
            virtual_key_id: self.key.get().and_then(|id| id.parse().ok()),
            model: self.model.get(),
            outcome: self.outcome.get().and_then(|text| Outcome::find(&text)),
            limit: Some(100),
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
            .cell(|request| view! { <When at=request.started_at /> }.into_any()),
        Column::new("Outcome", |request: &RequestView| {
            format!("{} {}", outcome_words(request.outcome).1, request.status)
        })
        .cell(outcome_view),
        Column::new("Model", |request: &RequestView| request.model.clone())
            .cell(|request| view! { <Tag text=request.model.clone() /> }.into_any()),
        Column::new("Provider", |request: &RequestView| request.provider.clone().unwrap_or_default()).wide_only(),
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
            .cell(|request| money::usd(request.cost_usd).into_any()),
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

fn filters(log: Log) -> AnyView {
    let (outcome, key, model) = (log.outcome, log.key, log.model);
    let outcomes = std::iter::once((String::new(), "Any outcome".to_owned()))
        .chain(Outcome::ALL.iter().map(|outcome| (outcome.as_str().to_owned(), outcome_words(*outcome).1.to_owned())));
    let outcomes = Signal::stored(outcomes.collect::<Vec<Choice>>());
    let keys = Signal::derive(move || {
        let keys = log.keys.items().get().into_iter().map(|key| (key.id.to_string(), key.name.to_string()));
        std::iter::once((String::new(), "Any key".to_owned())).chain(keys).collect::<Vec<Choice>>()
    });
    let set = move |name: &'static str| {
        Callback::new(move |value: String| log.nav.set(&[(name, (!value.is_empty()).then_some(value))], false))
    };
    let model_input = move |event: leptos::ev::Event| {
        let value = event_target_value(&event).trim().to_owned();
        log.nav.set(&[("model", (!value.is_empty()).then_some(value))], false);
    };
    view! {
        <InlineSelect label="Outcome" value=Signal::derive(move || outcome.get().unwrap_or_default()) choices=outcomes on_change=set("outcome") />
        <InlineSelect label="Virtual key" value=Signal::derive(move || key.get().unwrap_or_default()) choices=keys on_change=set("key") />
        <input class="input select-inline filter-model" type="text" aria-label="Model" placeholder="Model, exactly" prop:value=move || model.get().unwrap_or_default() on:change=model_input />
    }
    .into_any()
}

/// The page.
#[component]
pub(crate) fn Requests(workspace_id: WorkspaceId) -> impl IntoView {
    let (nav, session, environments) = (use_nav(), use_session(), use_environments());
    let keys = use_query::<ListVirtualKeys>(move || {
        let may = session.can_in(Permission::VirtualKeysRead, workspace_id);
        may.then(|| {
            (WorkspacePath { workspace_id }, VirtualKeyQuery { limit: Some(200), ..VirtualKeyQuery::default() })
        })
    });
    let log = Log {
        workspace_id,
        nav,
        environments,
        keys,
        key: nav.param("key"),
        model: nav.param("model"),
        outcome: nav.param("outcome"),
    };
    // Pages beyond the first; a new filter drops them.
    let older = RwSignal::new(None::<ListPage<RequestView>>);
    let list = use_query::<ListRequests>(move || {
        (!environments.is_pending()).then(|| (WorkspacePath { workspace_id }, log.query(None)))
    })
    .every(Duration::from_secs(5));
    Effect::new(move |_| {
        let _ = (nav.range().get(), environments.chosen(), log.key.get(), log.model.get(), log.outcome.get());
        older.set(None);
    });
    let ready = Callback::new(move |page: Signal<ListPage<RequestView>>| list_view(log, page, older));
    view! {
        <PageHead title="Requests" about="What happened to this call? Every request the gateway served or refused, newest first.">
            <Show when=move || nav.range().get().is_live()><span class="live small"><span class="pulse" aria-hidden="true"></span> "Live"</span></Show>
        </PageHead>
        <section class="card" aria-label="Requests">
            <DataView
                load=list.load
                on_retry=list.retry()
                skeleton=Skeleton::Rows(10)
                is_empty=|page| page.items.is_empty()
                empty=ViewFn::from(move || view! {
                    <div class="table-tools">{filters(log)}</div>
                    <EmptyState icon=Icon::Requests title="No requests match" text="Nothing was called in this range with these filters. Widen the range or clear a filter." />
                })
                ready
            />
        </section>
        <panel::RequestPanel log />
    }
}

fn list_view(log: Log, page: Signal<ListPage<RequestView>>, older: RwSignal<Option<ListPage<RequestView>>>) -> AnyView {
    let is_busy = RwSignal::new(false);
    let rows = Signal::derive(move || {
        let mut rows = page.get().items;
        let known: std::collections::HashSet<_> = rows.iter().map(|row| row.id).collect();
        rows.extend(older.get().into_iter().flat_map(|page| page.items).filter(|row| !known.contains(&row.id)));
        rows
    });
    let next = Memo::new(move |_| older.get().map_or_else(|| page.get().next_cursor, |older| older.next_cursor));
    let more = Callback::new(move |()| {
        let query = log.query(next.get_untracked());
        is_busy.set(true);
        spawn_local(async move {
            let path = WorkspacePath { workspace_id: log.workspace_id };
            let answer = Client::new(Fetch).call::<ListRequests>(&path, &query, &api::Empty {}).await;
            let _ = is_busy.try_set(false);
            if let Ok(mut page) = answer {
                older.update(|older| {
                    let mut items = older.take().map(|older| older.items).unwrap_or_default();
                    items.append(&mut page.items);
                    *older = Some(ListPage { items, next_cursor: page.next_cursor });
                });
            }
        });
    });
    let selected = log.nav.param("request");
    view! {
        <DataTable
            label="Requests"
            columns=columns(log)
            rows
            key=|request: &RequestView| request.id.to_string()
            on_open=Callback::new(move |request: RequestView| log.nav.set(&[("request", Some(request.id.to_string()))], false))
            selected=Signal::derive(move || selected.get())
            file_name="requests"
            tools=filters(log)
        />
        <Show when=move || next.get().is_some()>
            <div class="table-more"><Button size=Size::Small busy=is_busy on_press=more>"Show older"</Button></div>
        </Show>
    }
    .into_any()
}
