//! What leaves the process as a trace, and how a trace goes on across processes (W3C Trace Context).
//!
//! Only the spans named here are exported, without log lines in them: an upstream library's debug output has no business at a
//! collector. Invariant: every text of an exported span passes [`mask_secrets`], the same last wall that log lines have.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{Status, TraceContextExt as _};
use opentelemetry::{Array, KeyValue, StringValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tracing::{Metadata, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::export::LastFailure;
use super::mask_secrets;

/// The spans that are exported: one for each request of a client and each attempt to answer it, one for each of the management API.
const EXPORTED: [&str; 3] = ["gateway.request", "gateway.attempt", "control.request"];

/// Says whether something that code tells may leave as part of a trace.
pub(super) fn is_exported(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && EXPORTED.contains(&metadata.name())
}

/// Makes `span` a child of the caller's span, as W3C `traceparent` and `tracestate` name it; the caller's decision to sample
/// holds. Nothing happens when they cannot be read, when tracing is off, or once the span has been looked at.
pub fn continue_trace(span: &Span, traceparent: &str, tracestate: Option<&str>) {
    let parent = TraceContextPropagator::new().extract(&Carrier { traceparent, tracestate });
    if parent.span().span_context().is_valid() {
        // An error says that tracing is off or that the span has begun; both leave the span as it is.
        drop(span.set_parent(parent));
    }
}

/// Writes the `traceparent` for requests that are made on behalf of `span`; `None` while tracing is off.
#[must_use]
pub fn traceparent_of(span: &Span) -> Option<String> {
    let context = span.context();
    let context = context.span().span_context().clone();
    let flags = u8::from(context.is_sampled());
    context.is_valid().then(|| format!("00-{}-{}-{flags:02x}", context.trace_id(), context.span_id()))
}

/// Records an attribute that is a list, of which there is one value; fields of a span are never lists.
pub fn record_list(span: &Span, name: &'static str, value: &'static str) {
    span.set_attribute(name, Value::Array(Array::String(vec![value.into()])));
}

struct Carrier<'a> {
    traceparent: &'a str,
    tracestate: Option<&'a str>,
}

impl Extractor for Carrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => Some(self.traceparent),
            "tracestate" => self.tracestate,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

/// Masks what looks like a secret before spans leave, and says when they no longer arrive.
#[derive(Debug)]
pub(super) struct Masked<E> {
    exporter: E,
    is_failing: Arc<AtomicBool>,
    failure: LastFailure,
}

impl<E> Masked<E> {
    pub(super) fn new(exporter: E, failure: LastFailure) -> Self {
        Self { exporter, is_failing: Arc::default(), failure }
    }
}

impl<E: SpanExporter> SpanExporter for Masked<E> {
    fn export(&self, mut batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        batch.iter_mut().for_each(mask_span);
        let (exporting, is_failing) = (self.exporter.export(batch), Arc::clone(&self.is_failing));
        let failure = Arc::clone(&self.failure);
        async move {
            let done = exporting.await;
            let was_failing = is_failing.swap(done.is_err(), Ordering::Relaxed);
            match &done {
                // Once for a time of failures, not once for each batch.
                Err(error) if !was_failing => {
                    let cause = failure.lock().take().map(|cause| format!(": {cause}")).unwrap_or_default();
                    let reason = mask_secrets(&(super::chain(error) + &cause)).into_owned();
                    tracing::warn!(reason, "the trace collector does not take spans; they are dropped until it does");
                }
                Ok(()) if was_failing => tracing::info!("the trace collector takes spans again"),
                _ => {}
            }
            done
        }
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

fn mask_span(span: &mut SpanData) {
    mask_attributes(&mut span.attributes);
    for event in &mut span.events.events {
        mask_attributes(&mut event.attributes);
        if let Cow::Owned(masked) = mask_secrets(&event.name) {
            event.name = masked.into();
        }
    }
    if let Status::Error { description } = &mut span.status
        && let Cow::Owned(masked) = mask_secrets(description)
    {
        *description = masked.into();
    }
}

fn mask_attributes(attributes: &mut [KeyValue]) {
    for attribute in attributes {
        match &mut attribute.value {
            Value::String(text) => mask_text(text),
            Value::Array(Array::String(texts)) => texts.iter_mut().for_each(mask_text),
            _ => {}
        }
    }
}

fn mask_text(text: &mut StringValue) {
    if let Cow::Owned(masked) = mask_secrets(text.as_str()) {
        *text = masked.into();
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
    use tracing_subscriber::Layer as _;
    use tracing_subscriber::filter::filter_fn;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const SECRET: &str = "sk-proj-ABCDEFGHIJKLMNOP1234";

    /// Runs `act` with tracing on and returns what was exported.
    fn exported(act: impl FnOnce()) -> Vec<SpanData> {
        let memory = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(Masked::new(memory.clone(), LastFailure::default()))
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter_fn(is_exported)));
        tracing::subscriber::with_default(subscriber, act);
        memory.get_finished_spans().expect("spans")
    }

    #[test]
    fn the_callers_trace_goes_on_and_is_handed_on() {
        let mut handed_on = None;
        let spans = exported(|| {
            let span = tracing::info_span!("gateway.request");
            continue_trace(&span, PARENT, Some("vendor=1"));
            handed_on = traceparent_of(&span);
        });
        assert_eq!(spans.len(), 1);
        let context = &spans[0].span_context;
        assert_eq!(context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(spans[0].parent_span_id.to_string(), "b7ad6b7169203331");
        assert_eq!(handed_on, Some(format!("00-{}-{}-01", context.trace_id(), context.span_id())));
    }

    #[test]
    fn a_caller_that_does_not_sample_is_heeded() {
        let mut handed_on = None;
        let spans = exported(|| {
            let span = tracing::info_span!("gateway.request");
            continue_trace(&span, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", None);
            handed_on = traceparent_of(&span);
        });
        assert!(spans.is_empty(), "{spans:?}");
        let handed_on = handed_on.expect("a context");
        assert!(handed_on.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && handed_on.ends_with("-00"));
    }

    #[test]
    fn what_cannot_be_read_begins_a_trace_of_its_own() {
        for unreadable in ["", "x", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "ff-0af-b7a-01"] {
            let spans = exported(|| continue_trace(&tracing::info_span!("gateway.request"), unreadable, None));
            assert_eq!(spans[0].parent_span_id, opentelemetry::trace::SpanId::INVALID, "{unreadable}");
        }
    }

    #[test]
    fn nothing_is_handed_on_while_tracing_is_off() {
        assert_eq!(traceparent_of(&tracing::info_span!("gateway.request")), None);
    }

    #[test]
    fn only_the_named_spans_leave_and_no_secret_in_them() {
        let spans = exported(|| {
            let span = tracing::info_span!("gateway.request", note = SECRET, empty = tracing::field::Empty);
            span.record("empty", format!("key {SECRET}").as_str());
            span.in_scope(|| {
                tracing::info!(body = "a prompt", "an event");
                tracing::info_span!("other", body = "a prompt").in_scope(|| {});
            });
        });
        let text = format!("{spans:?}");
        assert_eq!(spans.len(), 1);
        assert!(!text.contains("ABCDEFGH") && !text.contains("a prompt"), "{text}");
        assert!(text.contains("sk-(hidden)"), "{text}");
    }
}
