//! The spans of client calls and of the attempts to answer them, with the attribute names of OpenTelemetry's semantic conventions for
//! generative AI.
//!
//! They go from here to the SDK without a way through `tracing`: a call has two spans of some twenty attributes, and each would be
//! written, copied and looked up again for every layer on the way (`docs/adr/0034-spans-of-calls-are-written-once.md`). Invariants: no
//! span holds a key, a prompt or an answer; nothing is made or formatted while nobody listens, or while the call is not sampled.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use domain::NanoUsd;
use domain::usage::{AttemptOutcome, AttemptRecord, Endpoint, TokenUsage};
use http::{HeaderMap, HeaderValue, Uri};
use opentelemetry::trace::{Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Array, Context, KeyValue, Value};
use opentelemetry_sdk::trace::{SdkTracer, Span};

use super::traces::{context_of, traceparent_of};

/// How many attributes a span has room for at once; more make it grow.
const ROOM: usize = 24;

/// Makes the spans of calls, once telemetry runs with a collector.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Begins to make spans of calls, for as long as the process lives.
pub(super) fn listen(tracer: SdkTracer) {
    // Telemetry starts once in a process.
    drop(TRACER.set(tracer));
}

/// The span of a call.
#[derive(Debug, Default)]
pub enum CallSpan {
    /// Nobody listens.
    #[default]
    Off,
    /// The call's own; it ends with [`CallSpan::end`].
    Own(Box<Open>),
    /// What a meter beside that of the call knows of the call's span: attempts stand below it.
    Beside(Box<SpanContext>),
}

/// A span that is made once its parent is known.
#[derive(Debug)]
pub struct Open {
    tracer: SdkTracer,
    parent: SpanContext,
    started: SystemTime,
    span: OnceLock<Span>,
}

impl Open {
    fn span(&self) -> &Span {
        let begin =
            || begin(&self.tracer, "gateway.request".into(), SpanKind::Server, &self.parent, Some(self.started));
        self.span.get_or_init(begin)
    }

    fn span_mut(&mut self) -> Option<&mut Span> {
        self.span();
        self.span.get_mut()
    }
}

impl CallSpan {
    /// Opens the span of a call.
    #[must_use]
    pub fn start() -> Self {
        TRACER.get().map_or(Self::Off, |tracer| Self::below(tracer, SpanContext::NONE))
    }

    /// Opens the span of a call that is part of another: of a turn within its session, of a copy.
    #[must_use]
    pub fn start_within(outer: &Self) -> Self {
        match (TRACER.get(), outer.context()) {
            (Some(tracer), Some(parent)) => Self::below(tracer, parent.clone()),
            _ => Self::Off,
        }
    }

    /// Returns what a meter beside the call's needs of its span.
    #[must_use]
    pub fn beside(&self) -> Self {
        self.context().map_or(Self::Off, |context| Self::Beside(Box::new(context.clone())))
    }

    fn below(tracer: &SdkTracer, parent: SpanContext) -> Self {
        let (tracer, started) = (tracer.clone(), opentelemetry::time::now());
        Self::Own(Box::new(Open { tracer, parent, started, span: OnceLock::new() }))
    }

    /// Makes the span a child of the client's. Nothing happens when the client names none, or more than one (W3C Trace Context,
    /// section 4.3), or once the span has been looked at.
    pub fn continue_from(&mut self, headers: &HeaderMap) {
        let Self::Own(open) = self else { return };
        let mut parents = headers.get_all("traceparent").iter();
        if let (Some(parent), None) = (parents.next().and_then(|value| value.to_str().ok()), parents.next()) {
            let state = headers.get("tracestate").and_then(|value| value.to_str().ok());
            open.parent = context_of(parent, state).unwrap_or(SpanContext::NONE);
        }
    }

    fn context(&self) -> Option<&SpanContext> {
        match self {
            Self::Off => None,
            Self::Own(open) => Some(open.span().span_context()),
            Self::Beside(context) => Some(context),
        }
    }

    /// Returns where to note what is known of the call; `None` when nobody will read it.
    pub fn notes(&mut self) -> Option<Notes<'_>> {
        match self {
            Self::Own(open) => Notes::on(open.span_mut()?),
            Self::Off | Self::Beside(_) => None,
        }
    }

    /// Ends the span.
    pub fn end(self) {
        if let Self::Own(mut open) = self
            && let Some(span) = open.span_mut()
        {
            span.end();
        }
    }
}

fn begin(
    tracer: &SdkTracer,
    name: Cow<'static, str>,
    kind: SpanKind,
    parent: &SpanContext,
    started: Option<SystemTime>,
) -> Span {
    let mut builder = SpanBuilder::from_name(name).with_kind(kind);
    builder.start_time = started;
    builder.attributes = Some(Vec::with_capacity(ROOM));
    let context = Context::new();
    let context = if parent.is_valid() { context.with_remote_span_context(parent.clone()) } else { context };
    tracer.build_with_context(builder, &context)
}

/// Where to note what is known of a call or an attempt.
#[derive(Debug)]
pub struct Notes<'a>(&'a mut Span);

impl<'a> Notes<'a> {
    fn on(span: &'a mut Span) -> Option<Self> {
        span.is_recording().then_some(Self(span))
    }

    /// Notes an attribute.
    pub fn put(&mut self, name: &'static str, value: impl Into<Value>) {
        self.0.set_attribute(KeyValue::new(name, value));
    }

    /// Notes an attribute that is a number of something.
    pub fn count(&mut self, name: &'static str, n: u64) {
        self.put(name, i64::try_from(n).unwrap_or(i64::MAX));
    }

    /// Notes an attribute that is a list, of which there is one value.
    pub fn list(&mut self, name: &'static str, value: &'static str) {
        self.put(name, Value::Array(Array::String(vec![value.into()])));
    }

    /// Notes how it went.
    pub fn status(&mut self, is_ok: bool) {
        self.0.set_status(if is_ok { Status::Ok } else { Status::error("") });
    }

    /// Notes what a request asks of the model: the cap on the tokens of an answer, how freely it is to choose, and from which share
    /// of likelihood.
    pub fn asked(&mut self, max_tokens: Option<u64>, temperature: Option<f64>, top_p: Option<f64>) {
        if let Some(n) = max_tokens {
            self.count("gen_ai.request.max_tokens", n);
        }
        for (name, value) in [("gen_ai.request.temperature", temperature), ("gen_ai.request.top_p", top_p)] {
            if let Some(value) = value {
                self.put(name, value);
            }
        }
    }

    /// Notes what was used and what it cost.
    pub fn usage(&mut self, usage: TokenUsage, cost: NanoUsd) {
        self.count("gen_ai.usage.input_tokens", usage.total_input());
        self.count("gen_ai.usage.output_tokens", usage.output);
        let written = usage.cache_write_5m + usage.cache_write_1h;
        for (name, n) in [
            ("gen_ai.usage.cache_read.input_tokens", usage.cached_input),
            ("gen_ai.usage.cache_creation.input_tokens", written),
            ("gen_ai.usage.reasoning.output_tokens", usage.reasoning),
        ] {
            if n > 0 {
                self.count(name, n);
            }
        }
        self.put("cost_nano_usd", cost.as_nanos());
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
        call: &CallSpan,
        endpoint: Endpoint,
        record: &AttemptRecord,
        name_of: fn(&str) -> &str,
    ) -> Option<Box<Self>> {
        let (tracer, parent) = (TRACER.get()?, call.context()?);
        Some(Box::new(Self::below(tracer, parent, endpoint, record, name_of)))
    }

    fn below(
        tracer: &SdkTracer,
        parent: &SpanContext,
        endpoint: Endpoint,
        record: &AttemptRecord,
        name_of: fn(&str) -> &str,
    ) -> Self {
        let operation = operation(endpoint);
        let name = if parent.is_sampled() { format!("{operation} {}", record.upstream_model) } else { String::new() };
        let mut span = begin(tracer, name.into(), SpanKind::Client, parent, None);
        if let Some(mut notes) = Notes::on(&mut span) {
            notes.count("attempt.n", record.n.into());
            notes.put("deployment.id", record.deployment_id.to_string());
            notes.put("gen_ai.operation.name", operation);
            notes.put("gen_ai.provider.name", name_of(&record.provider).to_owned());
            notes.put("gen_ai.request.model", record.upstream_model.clone());
        }
        Self { span, answer_id: None }
    }

    /// Returns where to note what is known of the attempt; `None` when nobody will read it.
    pub fn notes(&mut self) -> Option<Notes<'_>> {
        Notes::on(&mut self.span)
    }

    /// Returns the `traceparent` for the attempt's request to an upstream, and notes whose it is.
    pub fn traceparent(&mut self, to: &Uri) -> HeaderValue {
        if let (Some(host), Some(mut notes)) = (to.host(), Notes::on(&mut self.span)) {
            notes.put("server.address", host.to_owned());
            let port = to.port_u16().or_else(|| (to.scheme_str() == Some("https")).then_some(443));
            notes.count("server.port", port.unwrap_or(80).into());
        }
        traceparent_of(self.span.span_context())
    }

    /// Keeps the upstream's own id of the answer, once.
    pub fn note_answer_id<'a>(&mut self, find: impl FnOnce() -> Option<&'a str>) {
        if self.answer_id.is_none() && self.span.is_recording() {
            self.answer_id = find().map(Box::from);
        }
    }

    /// Notes what is known at the end of the attempt, and ends it; the id of the answer that was given is the call's, too.
    pub fn end(mut self, call: &mut CallSpan, record: &AttemptRecord, finish: Option<&'static str>) {
        if let Some(id) = &self.answer_id
            && record.outcome == AttemptOutcome::Success
            && let Some(mut notes) = call.notes()
        {
            notes.put("gen_ai.response.id", id.to_string());
        }
        if let Some(mut notes) = Notes::on(&mut self.span) {
            if let Some(id) = self.answer_id {
                notes.put("gen_ai.response.id", String::from(id));
            }
            note_end(&mut notes, record, finish);
        }
        self.span.end();
    }
}

/// Notes what is known at the end of an attempt.
fn note_end(notes: &mut Notes<'_>, record: &AttemptRecord, finish: Option<&'static str>) {
    notes.put("outcome", record.outcome.as_str());
    if let Some(status) = record.status {
        notes.count("http.response.status_code", status.into());
    }
    if let Some(us) = record.first_byte_us {
        notes.put("gen_ai.response.time_to_first_chunk", Duration::from_micros(us).as_secs_f64());
    }
    let is_answered = record.outcome == AttemptOutcome::Success;
    notes.status(is_answered);
    // What failed may be billed, too.
    if is_answered || record.usage != TokenUsage::default() {
        notes.usage(record.usage, record.cost);
    }
    if is_answered {
        if let Some(reason) = finish {
            notes.list("gen_ai.response.finish_reasons", reason);
        }
        return;
    }
    match record.status.filter(|_| record.outcome == AttemptOutcome::Status) {
        Some(status) => notes.put("error.type", status.to_string()),
        None => notes.put("error.type", record.outcome.as_str()),
    }
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

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const PARENT: &str = "b7ad6b7169203331";

    fn record() -> AttemptRecord {
        let known = serde_json::json!({
            "n": 1, "deployment_id": "dep_00000000000000000000000001", "credential_id": null, "provider": "anthropic",
            "upstream_model": "claude", "started_at": "2026-01-01T00:00:00Z", "duration_us": 5, "first_byte_us": 3, "outcome": "success",
            "status": 200, "upstream_request_id": null, "cost": "0.000000007",
            "usage": domain::usage::TokenUsage { input: 11, output: 3, ..TokenUsage::default() },
        });
        serde_json::from_value(known).expect("a record")
    }

    /// Runs `act` with someone who listens and returns what was exported.
    fn exported(act: impl FnOnce(&SdkTracer)) -> Vec<SpanData> {
        let memory = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(memory.clone()).build();
        act(&provider.tracer("test"));
        memory.get_finished_spans().expect("spans")
    }

    fn call(tracer: &SdkTracer, traceparent: &[&str]) -> CallSpan {
        let mut call = CallSpan::below(tracer, SpanContext::NONE);
        let mut headers = HeaderMap::new();
        for text in traceparent {
            headers.append("traceparent", text.parse().expect("a value"));
        }
        call.continue_from(&headers);
        call
    }

    fn attempt(tracer: &SdkTracer, call: &CallSpan) -> AttemptSpan {
        let record = record();
        AttemptSpan::below(tracer, call.context().expect("a span"), Endpoint::Messages, &record, |name| name)
    }

    #[test]
    fn the_clients_trace_goes_on_and_is_handed_on() {
        let mut handed_on = None;
        let spans = exported(|tracer| {
            let call = call(tracer, &[&format!("00-{TRACE}-{PARENT}-01")]);
            let mut attempt = attempt(tracer, &call);
            handed_on = Some(attempt.traceparent(&"https://vendor.example/v1".parse().expect("an address")));
            drop(attempt);
            call.end();
        });
        let [attempt, call] = spans.as_slice() else { panic!("{spans:?}") };
        assert_eq!(call.span_context.trace_id().to_string(), TRACE);
        assert_eq!(call.parent_span_id.to_string(), PARENT);
        assert!(call.parent_span_is_remote && call.span_kind == SpanKind::Server);
        assert_eq!(attempt.parent_span_id, call.span_context.span_id());
        let handed_on = handed_on.expect("a header");
        assert_eq!(handed_on, format!("00-{TRACE}-{}-01", attempt.span_context.span_id()));
    }

    #[test]
    fn a_client_that_does_not_sample_is_heeded_and_nothing_is_noted() {
        let spans = exported(|tracer| {
            let mut call = call(tracer, &[&format!("00-{TRACE}-{PARENT}-00")]);
            let mut attempt = attempt(tracer, &call);
            assert!(call.notes().is_none() && attempt.notes().is_none());
            attempt.note_answer_id(|| panic!("nobody will read it"));
            let handed_on = attempt.traceparent(&"http://vendor.example".parse().expect("an address"));
            let text = handed_on.to_str().expect("text");
            assert!(text.starts_with(&format!("00-{TRACE}-")) && text.ends_with("-00"), "{text}");
            drop(attempt);
            call.end();
        });
        assert!(spans.is_empty(), "{spans:?}");
    }

    #[test]
    fn what_cannot_be_read_or_comes_twice_begins_a_trace_of_its_own() {
        let good = format!("00-{TRACE}-{PARENT}-01");
        let zero = format!("00-{}-{PARENT}-01", "0".repeat(32));
        for parents in [&[][..], &[""], &["x"], &[zero.as_str()], &["ff-0af-b7a-01"], &[good.as_str(), good.as_str()]] {
            let spans = exported(|tracer| call(tracer, parents).end());
            assert_eq!(spans[0].parent_span_id, opentelemetry::trace::SpanId::INVALID, "{parents:?}");
        }
    }

    #[test]
    fn what_stands_beside_a_call_does_not_end_its_span() {
        let spans = exported(|tracer| {
            let call = call(tracer, &[]);
            let mut beside = call.beside();
            assert!(beside.notes().is_none());
            drop(attempt(tracer, &beside));
            beside.end();
            call.end();
        });
        let [attempt, call] = spans.as_slice() else { panic!("{spans:?}") };
        assert_eq!(attempt.parent_span_id, call.span_context.span_id());
    }

    #[test]
    fn without_a_collector_a_call_has_no_span() {
        let mut call = CallSpan::start();
        assert!(matches!(call, CallSpan::Off) && call.notes().is_none());
        let record = record();
        assert!(AttemptSpan::start(&call, Endpoint::Messages, &record, |name| name).is_none());
        assert!(matches!((call.beside(), CallSpan::start_within(&call)), (CallSpan::Off, CallSpan::Off)));
    }
}
