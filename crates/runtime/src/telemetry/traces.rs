//! How a trace goes on across processes (W3C Trace Context), and which of the program's own spans are part of one.
//!
//! Only the spans named here are exported, without log lines in them: an upstream library's debug output has no business at a
//! collector. The spans of calls are made apart ([`super::calls`]).

use http::HeaderValue;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Metadata;

/// The spans that are exported: one for each request of the management API.
const EXPORTED: [&str; 1] = ["control.request"];

/// Says whether something that code tells may leave as part of a trace.
pub(super) fn is_exported(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && EXPORTED.contains(&metadata.name())
}

/// Reads the caller's span, as W3C `traceparent` and `tracestate` name it, with the caller's decision to sample; `None` when they
/// cannot be read.
pub(super) fn context_of(traceparent: &str, tracestate: Option<&str>) -> Option<SpanContext> {
    let context = TraceContextPropagator::new().extract(&Carrier { traceparent, tracestate });
    let context = context.span().span_context().clone();
    context.is_valid().then_some(context)
}

/// Writes the `traceparent` for requests that are made on behalf of a span.
pub(super) fn traceparent_of(context: &SpanContext) -> HeaderValue {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    write_hex(&mut text[3..35], &context.trace_id().to_bytes());
    write_hex(&mut text[36..52], &context.span_id().to_bytes());
    write_hex(&mut text[53..], &[u8::from(context.is_sampled())]);
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn write_hex(into: &mut [u8], bytes: &[u8]) {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    for (pair, byte) in into.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0xf)];
    }
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

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
    use tracing_subscriber::Layer as _;
    use tracing_subscriber::filter::filter_fn;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn what_is_read_is_written_alike() {
        for text in [
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-00",
        ] {
            let context = context_of(text, Some("vendor=1")).expect("a context");
            assert_eq!(traceparent_of(&context), text);
            assert_eq!(context.trace_state().header(), "vendor=1");
        }
    }

    #[test]
    fn only_the_named_spans_leave() {
        let memory = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(memory.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter_fn(is_exported)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info_span!("control.request").in_scope(|| {
                tracing::info!(body = "a prompt", "an event");
                tracing::info_span!("other", body = "a prompt").in_scope(|| {});
            });
        });
        let spans = memory.get_finished_spans().expect("spans");
        assert!(spans.len() == 1 && !format!("{spans:?}").contains("a prompt"), "{spans:?}");
    }
}
