//! One request: where its time went, every attempt, its tokens and cost line by line.

use api::NoQuery;
use api::ops::usage::{AttemptView, GetRequest, RequestPath, RequestView};
use domain::usage::{AttemptOutcome, TokenUsage};
use domain::{NanoUsd, RequestId};
use leptos::prelude::*;

use super::waterfall::Waterfall;
use super::{Log, outcome_view};
use crate::api::use_query;
use crate::as_code::as_code;
use ui::Tone;
use ui::badge::{Badge, EnvironmentBadge, Note, Tag};
use ui::browser;
use ui::copy_button::CopyId;
use ui::data_view::{DataView, Skeleton};
use ui::dialog::{Dialog, DialogBody, Placement};
use ui::format::{money, number, time};

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
    let ready = Callback::new(move |request: Signal<RequestView>| {
        view! {
            <div class="stack">
                {move || facts(log, &request.get())}
                <section class="stack-tight" aria-label="Timing"><h3>"Where the time went"</h3>{move || view! { <Waterfall request=request.get() /> }}</section>
                <section class="stack-tight" aria-label="Tokens and cost"><h3>"Tokens and cost"</h3>{move || bill(&request.get())}</section>
                <section class="stack-tight" aria-label="Attempts"><h3>"Attempts"</h3>{move || attempts(&request.get())}</section>
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

fn token_lines(usage: &TokenUsage) -> Vec<(&'static str, u64)> {
    let lines = [
        ("Input", usage.input),
        ("Input from cache", usage.cached_input),
        ("Written to cache (5 min)", usage.cache_write_5m),
        ("Written to cache (1 h)", usage.cache_write_1h),
        ("Output", usage.output),
        ("of which reasoning", usage.reasoning),
    ];
    lines.into_iter().filter(|line| line.1 > 0).collect()
}

fn bill(request: &RequestView) -> AnyView {
    let lines = token_lines(&request.usage).into_iter().map(|(name, count)| {
        view! { <tr><th scope="row">{name}</th><td class="cell-number">{number::grouped(count)}</td></tr> }
    });
    let price =
        request.price_id.map(|id| view! { <p class="faint small">"By price " <CopyId id=id.to_string() /></p> });
    let none = request.usage == TokenUsage::default();
    view! {
        <table class="bill">
            <caption class="visually-hidden">"Tokens by kind, and cost"</caption>
            <tbody>
                {none.then(|| view! { <tr><th scope="row">"No tokens"</th><td class="cell-number">"0"</td></tr> })}
                {lines.collect_view()}
            </tbody>
            <tfoot><tr><th scope="row">"Cost"</th><td class="cell-number">{money::exact(request.cost_usd)}</td></tr></tfoot>
        </table>
        {request.is_estimated.then(|| view! { <Note tone=Tone::Warn>"The upstream did not report tokens; these are an estimate."</Note> })}
        {price}
    }
    .into_any()
}

fn attempt_words(outcome: AttemptOutcome) -> (Tone, &'static str) {
    match outcome {
        AttemptOutcome::Success => (Tone::Ok, "Answered"),
        AttemptOutcome::Status => (Tone::Danger, "Error status"),
        AttemptOutcome::Connect => (Tone::Danger, "No connection"),
        AttemptOutcome::Timeout => (Tone::Danger, "Timed out"),
        AttemptOutcome::Broken => (Tone::Danger, "Broke off"),
        AttemptOutcome::Cancelled => (Tone::Neutral, "Cancelled"),
        AttemptOutcome::Unsendable => (Tone::Warn, "Not sendable"),
    }
}

fn attempt(attempt: &AttemptView) -> AnyView {
    let (tone, words) = attempt_words(attempt.outcome);
    let status = attempt.status.map(|status| format!("HTTP {status} · ")).unwrap_or_default();
    let first = attempt.first_byte_us.map(|us| format!("first byte {} · ", time::micros(us))).unwrap_or_default();
    let cost =
        if attempt.cost_usd == NanoUsd::ZERO { String::new() } else { format!(" · {}", money::usd(attempt.cost_usd)) };
    view! {
        <li class="attempt">
            <span class="attempt-n" aria-hidden="true">{attempt.n}</span>
            <div class="stack-hair">
                <span class="row"><span class="strong">{format!("{} at {}", attempt.upstream_model, attempt.provider)}</span> <Badge tone text=words /></span>
                <span class="muted small number">{format!("{status}{first}{}{cost}", time::micros(attempt.duration_us))}</span>
                {attempt.upstream_request_id.clone().map(|id| view! { <span class="faint small">"upstream id " <code>{id}</code></span> })}
            </div>
        </li>
    }
    .into_any()
}

fn attempts(request: &RequestView) -> AnyView {
    if request.attempts.is_empty() {
        return view! { <p class="muted">"None: the request was answered or refused before any upstream was tried."</p> }.into_any();
    }
    view! { <ol class="attempts">{request.attempts.iter().map(attempt).collect_view()}</ol> }.into_any()
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
