//! One request: where its time went, why it went there, its tokens and cost line by line, and what the caller said of it.

use api::NoQuery;
use api::ops::OrganizationPath;
use api::ops::models::{ListPrices, PriceQuery, PriceView};
use api::ops::usage::{GetRequest, RequestPath, RequestView};
use domain::{Permission, RequestId};
use leptos::prelude::*;

use super::bill::bill;
use super::waterfall::waterfall;
use super::{Log, outcome_view, routing};
use kit::api::use_query;
use kit::as_code::as_code;
use ui::Tone;
use ui::badge::{EnvironmentBadge, Note, Tag};
use ui::browser;
use ui::copy_button::CopyId;
use ui::data_view::{DataView, Skeleton};
use ui::dialog::{Dialog, DialogBody, Placement};
use ui::format::{number, time};

/// The panel, open while the address names a request.
#[component]
pub(super) fn RequestPanel(log: Log) -> impl IntoView {
    let wanted = log.nav.param("request");
    let id = Memo::new(move |_| wanted.get().and_then(|id| id.parse::<RequestId>().ok()));
    let close = Callback::new(move |()| log.nav.set(&[("request", None)], false));
    view! {
        <Dialog open=Signal::derive(move || id.get().is_some()) on_close=close title=Signal::stored("Request".to_owned()) placement=Placement::Side test_id="request-panel">
            {move || id.get().map(|id| view! { <PanelBody log id /> })}
        </Dialog>
    }
}

#[component]
fn PanelBody(log: Log, id: RequestId) -> impl IntoView {
    let path = RequestPath { workspace_id: log.workspace_id, request_id: id };
    let query = use_query::<GetRequest>(move || Some((path, NoQuery {})));
    let price = use_price(log, query.data());
    let known = routing::use_known(log, query.data());
    let ready = Callback::new(move |request: Signal<RequestView>| {
        view! {
            <div class="stack">
                {move || facts(log, &request.get())}
                <section class="stack-tight" aria-label="Timing"><h3>"Where the time went"</h3>{move || waterfall(&request.get())}</section>
                <section class="stack-tight" aria-label="Routing"><h3>"Why it went there"</h3>{move || routing::explanation(known, &request.get())}</section>
                <section class="stack-tight" aria-label="Tokens and cost"><h3>"Tokens and cost"</h3>{move || bill(&request.get(), price.get().as_ref())}</section>
                {move || context(&request.get())}
                {move || as_code::<GetRequest>(&path, &NoQuery {}, &request.get())}
            </div>
        }
        .into_any()
    });
    view! {
        <DialogBody>
            <DataView load=query.load on_retry=query.retry() skeleton=Skeleton::Rows(8) is_empty=|_| false empty=ViewFn::from(|| ()) ready />
        </DialogBody>
    }
}

/// The price that a request names, from the organization's price book.
fn use_price(log: Log, request: Signal<Option<RequestView>>) -> Memo<Option<PriceView>> {
    let prices = use_query::<ListPrices>(move || {
        let price_id = Some(request.get()?.price_id?);
        let organization_id = log.session.organization_of(log.workspace_id)?;
        let query = PriceQuery { price_id, ..PriceQuery::default() };
        let may = log.session.can(Permission::PricesRead, organization_id);
        may.then_some((OrganizationPath { organization_id }, query))
    });
    Memo::new(move |_| prices.items().get().into_iter().next())
}

fn facts(log: Log, request: &RequestView) -> AnyView {
    let zone = browser::zone();
    let served = match (&request.provider, &request.upstream_model) {
        (Some(provider), Some(model)) => format!("{model} at {provider}"),
        _ => "not served".to_owned(),
    };
    let mode = if request.is_stream { "streamed" } else { "whole" };
    view! {
        <dl class="facts">
            <dt>"Outcome"</dt>
            <dd>{outcome_view(request)} {request.code.clone().map(|code| view! { " " <code class="muted">{code}</code> })}</dd>
            <dt>"Arrived"</dt>
            <dd>{format!("{} {}", time::absolute(request.started_at, zone), zone.name())}</dd>
            <dt>"Asked for"</dt>
            <dd><Tag text=request.model.clone() /> <span class="muted">{format!(" {}, {mode}", request.endpoint)}</span></dd>
            <dt>"Served by"</dt>
            <dd>{served}</dd>
            <dt>"Key"</dt>
            <dd>{log.key_name(request.virtual_key_id)} " " <EnvironmentBadge name=log.environments.slug_of(request.environment_id) /></dd>
            {request.finish_reason.clone().map(|reason| view! { <dt>"Finished"</dt> <dd>{reason}</dd> })}
            <dt>"Id"</dt>
            <dd><CopyId id=request.id.to_string() /></dd>
        </dl>
    }
    .into_any()
}

fn context(request: &RequestView) -> AnyView {
    let optional = |name: &'static str, value: &Option<String>| {
        value.clone().map(|value| view! { <dt>{name}</dt> <dd><code>{value}</code></dd> })
    };
    let pairs = request
        .metadata
        .iter()
        .map(|(name, value)| view! { <dt>{name.clone()}</dt> <dd>{value.clone()}</dd> })
        .collect_view();
    let losses = request.dropped.join(", ");
    let dropped = (!losses.is_empty())
        .then(|| view! { <Note tone=Tone::Warn title="Not expressed at the target"><code>{losses}</code></Note> });
    view! {
        {dropped}
        <dl class="facts">
            {optional("End user", &request.end_user)}
            {optional("Conversation", &request.conversation_id)}
            {optional("Trace", &request.trace_id)}
            {(!request.tags.is_empty()).then(|| view! { <dt>"Tags"</dt> <dd>{request.tags.join(", ")}</dd> })}
            {pairs}
            <dt>"Node"</dt>
            <dd><CopyId id=request.node_id.to_string() /></dd>
            <dt>"Policy revision"</dt>
            <dd class="number">{number::grouped(request.policy_revision)}</dd>
        </dl>
    }
    .into_any()
}
