//! One span for each call, with the attribute names of OpenTelemetry's semantic conventions for generative AI.
//!
//! The span is opened when the call starts and its fields are recorded once, when it is settled. It never holds a key, a prompt
//! or an answer. Nothing is formatted while nobody listens. It is a child of the client's span once the client is known, and
//! upstream requests name it as theirs; nothing else of the client's context goes upstream.

use domain::NanoUsd;
use domain::usage::{Endpoint, Outcome, TokenUsage};
use http::{HeaderMap, HeaderName, HeaderValue};
use ingress::admit::TRACEPARENT;
use tracing::Span;
use tracing::field::Empty;

use super::settle::{Meter, finish_word};

/// The target of request spans, so that a filter can name them.
pub const TARGET: &str = "headgate::request";

const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Makes the span a child of the client's.
pub(crate) fn continue_from(span: &Span, headers: &HeaderMap) {
    if span.is_disabled() {
        return;
    }
    let mut parents = headers.get_all(TRACEPARENT).iter();
    // Two of them are none (section 4.3).
    if let (Some(parent), None) = (parents.next().and_then(|value| value.to_str().ok()), parents.next()) {
        let state = headers.get(TRACESTATE).and_then(|value| value.to_str().ok());
        runtime::telemetry::continue_trace(span, parent, state);
    }
}

/// Returns the `traceparent` for upstream requests; `None` while tracing is off.
pub(crate) fn traceparent(span: &Span) -> Option<HeaderValue> {
    if span.is_disabled() {
        return None;
    }
    HeaderValue::try_from(runtime::telemetry::traceparent_of(span)?).ok()
}

/// Opens the span of a turn within that of its session.
pub(crate) fn start_in(session: &Span) -> Span {
    session.in_scope(start)
}

/// Opens the span of a call.
pub(crate) fn start() -> Span {
    tracing::info_span!(
        target: "headgate::request",
        "gateway.request",
        otel.kind = "server",
        otel.status_code = Empty,
        request.id = Empty,
        organization.id = Empty,
        workspace.id = Empty,
        virtual_key.id = Empty,
        route.id = Empty,
        gen_ai.operation.name = Empty,
        gen_ai.provider.name = Empty,
        gen_ai.request.model = Empty,
        gen_ai.response.model = Empty,
        gen_ai.response.finish_reasons = Empty,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
        http.response.status_code = Empty,
        attempts = Empty,
        outcome = Empty,
        cost_nano_usd = Empty,
        policy.revision = Empty,
        trace.client_id = Empty,
    )
}

/// Records what is known at the end of a call.
pub(crate) fn end(span: &Span, meter: &Meter, outcome: Outcome, status: u16, usage: TokenUsage, cost: NanoUsd) {
    if span.is_disabled() {
        return;
    }
    span.record("request.id", tracing::field::display(meter.request_id));
    span.record("gen_ai.operation.name", operation(meter.endpoint));
    span.record("http.response.status_code", status);
    span.record("outcome", outcome.as_str());
    span.record("otel.status_code", if status < 500 { "OK" } else { "ERROR" });
    span.record("attempts", meter.attempts.len());
    if let Some(caller) = &meter.caller {
        span.record("organization.id", tracing::field::display(caller.organization));
        span.record("workspace.id", tracing::field::display(caller.workspace));
        span.record("virtual_key.id", tracing::field::display(caller.key));
        span.record("policy.revision", meter.policy_revision);
        span.record("gen_ai.request.model", meter.model.as_str());
    }
    if let Some(route) = meter.route {
        span.record("route.id", tracing::field::display(route));
    }
    if let Some(served) = &meter.served {
        span.record("gen_ai.provider.name", served.provider.as_str());
        span.record("gen_ai.response.model", served.upstream_model.as_str());
        span.record("gen_ai.usage.input_tokens", usage.total_input());
        span.record("gen_ai.usage.output_tokens", usage.output);
        span.record("cost_nano_usd", cost.as_nanos());
    }
    if let Some(reason) = meter.finish {
        span.record("gen_ai.response.finish_reasons", finish_word(reason));
    }
    if let Some(trace_id) = &meter.notes.trace_id {
        span.record("trace.client_id", trace_id.as_str());
    }
}

const fn operation(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::ChatCompletions | Endpoint::Messages | Endpoint::Responses => "chat",
        Endpoint::Completions => "text_completion",
        Endpoint::GenerateContent => "generate_content",
        Endpoint::Embeddings => "embeddings",
        Endpoint::Rerank
        | Endpoint::Moderations
        | Endpoint::ImageGenerations
        | Endpoint::ImageEdits
        | Endpoint::ImageVariations
        | Endpoint::Speech
        | Endpoint::Transcriptions
        | Endpoint::Translations
        | Endpoint::Passthrough
        | Endpoint::Realtime
        | Endpoint::RealtimeSession
        | Endpoint::Files
        | Endpoint::Batches => endpoint.as_str(),
        Endpoint::CountTokens => "count_tokens",
        Endpoint::Models => "list_models",
        Endpoint::Own => "headgate",
        Endpoint::Other => "other",
    }
}
