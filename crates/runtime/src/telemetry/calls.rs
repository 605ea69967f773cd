//! The spans of client calls and of the attempts to answer them, with the attribute names of OpenTelemetry's semantic conventions for
//! generative AI.
//!
//! Fields are recorded once, when a call or an attempt ends. Invariants: no span holds a key, a prompt or an answer; nothing is made
//! or formatted while nobody listens.

use std::time::Duration;

use domain::NanoUsd;
use domain::usage::{AttemptOutcome, AttemptRecord, Endpoint, TokenUsage};
use http::{HeaderMap, HeaderValue, Uri};
use tracing::Span;
use tracing::field::Empty;

use super::traces::{continue_trace, record_list, traceparent_of};

/// Opens the span of a call.
#[must_use]
pub fn start_call() -> Span {
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
        gen_ai.conversation.id = Empty,
        gen_ai.provider.name = Empty,
        gen_ai.request.model = Empty,
        gen_ai.request.max_tokens = Empty,
        gen_ai.request.temperature = Empty,
        gen_ai.request.top_p = Empty,
        gen_ai.response.id = Empty,
        gen_ai.response.model = Empty,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
        gen_ai.usage.cache_read.input_tokens = Empty,
        gen_ai.usage.cache_creation.input_tokens = Empty,
        gen_ai.usage.reasoning.output_tokens = Empty,
        error.type = Empty,
        http.response.status_code = Empty,
        attempts = Empty,
        outcome = Empty,
        cost_nano_usd = Empty,
        policy.revision = Empty,
        trace.client_id = Empty,
    )
}

/// Opens the span of a turn within that of its session.
#[must_use]
pub fn start_turn(session: &Span) -> Span {
    session.in_scope(start_call)
}

/// Makes the span a child of the client's.
pub fn continue_from(span: &Span, headers: &HeaderMap) {
    if span.is_disabled() {
        return;
    }
    let mut parents = headers.get_all("traceparent").iter();
    // Two of them are none (section 4.3).
    if let (Some(parent), None) = (parents.next().and_then(|value| value.to_str().ok()), parents.next()) {
        let state = headers.get("tracestate").and_then(|value| value.to_str().ok());
        continue_trace(span, parent, state);
    }
}

/// Records what a request asks of the model: the cap on the tokens of an answer, how freely it is to choose, and from which share of
/// likelihood.
pub fn record_asked(span: &Span, max_tokens: Option<u64>, temperature: Option<f64>, top_p: Option<f64>) {
    if let Some(n) = max_tokens {
        span.record("gen_ai.request.max_tokens", n);
    }
    for (name, value) in [("gen_ai.request.temperature", temperature), ("gen_ai.request.top_p", top_p)] {
        if let Some(value) = value {
            span.record(name, value);
        }
    }
}

/// The span of an attempt, and what is known of it before its end.
#[derive(Debug)]
pub struct AttemptSpan {
    span: Span,
    answer_id: Option<Box<str>>,
}

impl AttemptSpan {
    /// Opens the span; `None` when its call has none. `name_of` knows how the conventions name a provider.
    #[must_use]
    pub fn start(
        call: &Span,
        endpoint: Endpoint,
        record: &AttemptRecord,
        name_of: fn(&str) -> &str,
    ) -> Option<Box<Self>> {
        if call.is_disabled() {
            return None;
        }
        let operation = operation(endpoint);
        let span = tracing::info_span!(
            target: "headgate::request",
            parent: call,
            "gateway.attempt",
            otel.name = format!("{operation} {}", record.upstream_model),
            otel.kind = "client",
            otel.status_code = Empty,
            attempt.n = record.n,
            deployment.id = %record.deployment_id,
            gen_ai.operation.name = operation,
            gen_ai.provider.name = name_of(&record.provider),
            gen_ai.request.model = record.upstream_model.as_str(),
            gen_ai.request.max_tokens = Empty,
            gen_ai.request.temperature = Empty,
            gen_ai.request.top_p = Empty,
            gen_ai.response.id = Empty,
            gen_ai.response.time_to_first_chunk = Empty,
            gen_ai.usage.input_tokens = Empty,
            gen_ai.usage.output_tokens = Empty,
            gen_ai.usage.cache_read.input_tokens = Empty,
            gen_ai.usage.cache_creation.input_tokens = Empty,
            gen_ai.usage.reasoning.output_tokens = Empty,
            server.address = Empty,
            server.port = Empty,
            http.response.status_code = Empty,
            error.type = Empty,
            outcome = Empty,
            cost_nano_usd = Empty,
        );
        Some(Box::new(Self { span, answer_id: None }))
    }

    /// Returns the span itself.
    #[must_use]
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// Returns the `traceparent` for the attempt's request to an upstream, and notes whose it is; `None` while tracing is off.
    #[must_use]
    pub fn traceparent(&self, to: &Uri) -> Option<HeaderValue> {
        if self.span.is_disabled() {
            return None;
        }
        if let Some(host) = to.host() {
            self.span.record("server.address", host);
            let port = to.port_u16().or_else(|| (to.scheme_str() == Some("https")).then_some(443));
            self.span.record("server.port", port.unwrap_or(80));
        }
        HeaderValue::try_from(traceparent_of(&self.span)?).ok()
    }

    /// Keeps the upstream's own id of the answer, once.
    pub fn note_answer_id<'a>(&mut self, find: impl FnOnce() -> Option<&'a str>) {
        if self.answer_id.is_none() {
            self.answer_id = find().map(Box::from);
        }
    }

    /// Records what is known at the end of the attempt; the id of the answer that was given is the call's, too.
    pub fn end(&self, call: &Span, record: &AttemptRecord, finish: Option<&'static str>) {
        if let Some(id) = self.answer_id.as_deref() {
            self.span.record("gen_ai.response.id", id);
            if record.outcome == AttemptOutcome::Success {
                call.record("gen_ai.response.id", id);
            }
        }
        end_attempt(&self.span, record, finish);
    }
}

/// Records what is known at the end of an attempt.
fn end_attempt(span: &Span, record: &AttemptRecord, finish: Option<&'static str>) {
    if span.is_disabled() {
        return;
    }
    span.record("outcome", record.outcome.as_str());
    if let Some(status) = record.status {
        span.record("http.response.status_code", status);
    }
    if let Some(us) = record.first_byte_us {
        span.record("gen_ai.response.time_to_first_chunk", Duration::from_micros(us).as_secs_f64());
    }
    if record.outcome == AttemptOutcome::Success {
        span.record("otel.status_code", "OK");
        record_usage(span, record.usage, record.cost);
        if let Some(reason) = finish {
            record_list(span, "gen_ai.response.finish_reasons", reason);
        }
        return;
    }
    span.record("otel.status_code", "ERROR");
    match record.status.filter(|_| record.outcome == AttemptOutcome::Status) {
        Some(status) => span.record("error.type", tracing::field::display(status)),
        None => span.record("error.type", record.outcome.as_str()),
    };
    // What failed may be billed, too.
    if record.usage != TokenUsage::default() {
        record_usage(span, record.usage, record.cost);
    }
}

/// Records what was used and what it cost.
pub fn record_usage(span: &Span, usage: TokenUsage, cost: NanoUsd) {
    span.record("gen_ai.usage.input_tokens", usage.total_input());
    span.record("gen_ai.usage.output_tokens", usage.output);
    let written = usage.cache_write_5m + usage.cache_write_1h;
    for (name, n) in [
        ("gen_ai.usage.cache_read.input_tokens", usage.cached_input),
        ("gen_ai.usage.cache_creation.input_tokens", written),
        ("gen_ai.usage.reasoning.output_tokens", usage.reasoning),
    ] {
        if n > 0 {
            span.record(name, n);
        }
    }
    span.record("cost_nano_usd", cost.as_nanos());
}

/// What the conventions call an operation; ours, where they have no name for it.
#[must_use]
pub const fn operation(endpoint: Endpoint) -> &'static str {
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
