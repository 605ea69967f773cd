//! Spans as OTLP writes them (opentelemetry-proto, `trace.proto`), straight from what the SDK hands over.
//!
//! A span is written once, when it ends, and stays bytes from then on; messages between would copy each key and each value of it.
//! Invariant: every text of a span passes [`mask_secrets`], the same last wall that log lines have. Events and links are not
//! written: no span of ours has any.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry::{Array, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use super::mask_secrets;

/// `SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK` and `SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK`.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// Writes a span as an element of `ScopeSpans.spans`; `scratch` is room to write in.
pub(super) fn write_span(out: &mut Vec<u8>, scratch: &mut Vec<u8>, span: &SpanData) {
    scratch.clear();
    let context = &span.span_context;
    write_bytes(scratch, 1, &context.trace_id().to_bytes());
    write_bytes(scratch, 2, &context.span_id().to_bytes());
    let state = context.trace_state().header();
    if !state.is_empty() {
        write_bytes(scratch, 3, state.as_bytes());
    }
    if span.parent_span_id != SpanId::INVALID {
        write_bytes(scratch, 4, &span.parent_span_id.to_bytes());
    }
    write_bytes(scratch, 5, mask_secrets(&span.name).as_bytes());
    write_number(scratch, 6, kind_of(&span.span_kind));
    write_fixed64(scratch, 7, nanos_of(span.start_time));
    write_fixed64(scratch, 8, nanos_of(span.end_time));
    for attribute in &span.attributes {
        write_attribute(scratch, 9, attribute);
    }
    if span.dropped_attributes_count > 0 {
        write_number(scratch, 10, span.dropped_attributes_count.into());
    }
    write_status(scratch, &span.status);
    let remote = if span.parent_span_is_remote { IS_REMOTE } else { 0 };
    let flags = u32::from(context.trace_flags().to_u8()) | HAS_IS_REMOTE | remote;
    encode_key(16, WireType::ThirtyTwoBit, scratch);
    scratch.extend_from_slice(&flags.to_le_bytes());
    write_bytes(out, 2, scratch);
}

/// Returns `ResourceSpans.resource`.
pub(super) fn resource(of: &Resource) -> Vec<u8> {
    let (mut attributes, mut out) = (Vec::new(), Vec::new());
    for (key, value) in of {
        write_attribute(&mut attributes, 1, &KeyValue::new(key.clone(), value.clone()));
    }
    write_bytes(&mut out, 1, &attributes);
    out
}

/// Returns an `ExportTraceServiceRequest` of spans as [`write_span`] wrote them, one after another.
pub(super) fn request(resource: &[u8], scope: &str, spans: &[u8]) -> Vec<u8> {
    // InstrumentationScope.name within ScopeSpans.scope.
    let (mut name, mut head) = (Vec::new(), Vec::new());
    write_bytes(&mut name, 1, scope.as_bytes());
    write_bytes(&mut head, 1, &name);
    let in_scope = head.len() + spans.len();
    let in_resource = resource.len() + length_of_bytes(2, in_scope);
    let mut out = Vec::with_capacity(length_of_bytes(1, in_resource));
    encode_key(1, WireType::LengthDelimited, &mut out);
    write_length(&mut out, in_resource);
    out.extend_from_slice(resource);
    encode_key(2, WireType::LengthDelimited, &mut out);
    write_length(&mut out, in_scope);
    out.extend_from_slice(&head);
    out.extend_from_slice(spans);
    out
}

fn write_attribute(out: &mut Vec<u8>, field: u32, attribute: &KeyValue) {
    let key = attribute.key.as_str();
    let text = match &attribute.value {
        Value::String(text) => mask_secrets(text.as_str()),
        _ => "".into(),
    };
    let in_value = length_of_value(&attribute.value, &text);
    write_key(out, field, WireType::LengthDelimited);
    write_length(out, length_of_bytes(1, key.len()) + length_of_bytes(2, in_value));
    write_bytes(out, 1, key.as_bytes());
    write_key(out, 2, WireType::LengthDelimited);
    write_length(out, in_value);
    write_value(out, &attribute.value, &text);
}

/// How long an `AnyValue` is; `text` is a string's, masked.
fn length_of_value(value: &Value, text: &str) -> usize {
    match value {
        Value::Bool(_) => 2,
        Value::I64(n) => 1 + encoded_len_varint(n.cast_unsigned()),
        Value::F64(_) => 9,
        Value::String(_) => length_of_bytes(1, text.len()),
        Value::Array(array) => length_of_bytes(5, elements(array).len()),
        _ => 0,
    }
}

fn write_value(out: &mut Vec<u8>, value: &Value, text: &str) {
    match value {
        Value::Bool(is) => write_number(out, 2, u64::from(*is)),
        Value::I64(n) => write_number(out, 3, n.cast_unsigned()),
        Value::F64(n) => write_fixed64(out, 4, n.to_bits()),
        Value::String(_) => write_bytes(out, 1, text.as_bytes()),
        Value::Array(array) => write_bytes(out, 5, &elements(array)),
        // The SDK knows no other; a later one would arrive as an attribute without a value.
        _ => {}
    }
}

/// Returns `ArrayValue.values`.
fn elements(array: &Array) -> Vec<u8> {
    let mut out = Vec::new();
    let mut push = |value: &Value| {
        let text = match value {
            Value::String(text) => mask_secrets(text.as_str()),
            _ => "".into(),
        };
        encode_key(1, WireType::LengthDelimited, &mut out);
        write_length(&mut out, length_of_value(value, &text));
        write_value(&mut out, value, &text);
    };
    match array {
        Array::Bool(all) => all.iter().for_each(|is| push(&Value::Bool(*is))),
        Array::I64(all) => all.iter().for_each(|n| push(&Value::I64(*n))),
        Array::F64(all) => all.iter().for_each(|n| push(&Value::F64(*n))),
        Array::String(all) => all.iter().for_each(|text| push(&Value::String(text.clone()))),
        _ => {}
    }
    out
}

fn write_status(out: &mut Vec<u8>, status: &Status) {
    let mut body = Vec::new();
    match status {
        Status::Unset => {}
        Status::Ok => write_number(&mut body, 3, 1),
        Status::Error { description } => {
            if !description.is_empty() {
                write_bytes(&mut body, 2, mask_secrets(description).as_bytes());
            }
            write_number(&mut body, 3, 2);
        }
    }
    write_bytes(out, 15, &body);
}

/// `Span.SpanKind`.
fn kind_of(kind: &SpanKind) -> u64 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    }
}

fn nanos_of(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

fn write_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    write_key(out, field, WireType::LengthDelimited);
    write_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Writes the key of a field below 16, which is one byte.
fn write_key(out: &mut Vec<u8>, field: u32, kind: WireType) {
    debug_assert!(field < 16, "field {field}");
    out.push(field.to_le_bytes()[0] << 3 | kind as u8);
}

fn write_length(out: &mut Vec<u8>, n: usize) {
    // Nearly all of them are short, and the general way asks for room byte by byte.
    match u8::try_from(n) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => encode_varint(length(n), out),
    }
}

fn write_number(out: &mut Vec<u8>, field: u32, number: u64) {
    write_key(out, field, WireType::Varint);
    encode_varint(number, out);
}

fn write_fixed64(out: &mut Vec<u8>, field: u32, bits: u64) {
    write_key(out, field, WireType::SixtyFourBit);
    out.extend_from_slice(&bits.to_le_bytes());
}

/// How long bytes are with their key and their length; for fields below 16, whose key is one byte.
fn length_of_bytes(field: u32, n: usize) -> usize {
    debug_assert!(field < 16, "field {field}");
    1 + encoded_len_varint(length(n)) + n
}

fn length(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opentelemetry::InstrumentationScope;
    use opentelemetry::trace::{SpanContext, TraceFlags, TraceId, TraceState};
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span};
    use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};
    use prost::Message as _;

    use super::*;

    const SECRET: &str = "sk-proj-ABCDEFGHIJKLMNOP1234";

    fn span(attributes: Vec<KeyValue>, status: Status) -> SpanData {
        let state = TraceState::from_key_value([("vendor", "1")]).expect("a state");
        let id = SpanId::from(0xb7ad_6b71_6920_3331);
        SpanData {
            span_context: SpanContext::new(TraceId::from(7 << 100), id, TraceFlags::SAMPLED, false, state),
            parent_span_id: SpanId::from(9),
            parent_span_is_remote: true,
            span_kind: SpanKind::Client,
            name: "chat model".into(),
            start_time: UNIX_EPOCH + Duration::from_nanos(1_764_000_000_123_456_789),
            end_time: UNIX_EPOCH + Duration::from_nanos(1_764_000_001_000_000_001),
            attributes,
            dropped_attributes_count: 3,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope: InstrumentationScope::default(),
        }
    }

    fn written(spans: &[SpanData]) -> ScopeSpans {
        let (mut out, mut scratch) = (Vec::new(), Vec::new());
        for span in spans {
            write_span(&mut out, &mut scratch, span);
        }
        let resource = resource(&Resource::builder_empty().with_service_name("headgate").build());
        let request = request(&resource, "ours", &out);
        let mut read = ExportTraceServiceRequest::decode(request.as_slice()).expect("a request");
        assert_eq!(read.encoded_len(), request.len(), "nothing that nobody knows");
        let mut of_resource = read.resource_spans.remove(0);
        let service = &of_resource.resource.as_ref().expect("a resource").attributes[0];
        assert!(read.resource_spans.is_empty() && service.key == "service.name");
        of_resource.scope_spans.remove(0)
    }

    #[test]
    fn what_is_written_is_what_the_librarys_own_messages_say() {
        let attributes = vec![
            KeyValue::new("text", "Grüße"),
            KeyValue::new("long", "x".repeat(300)),
            KeyValue::new("empty", ""),
            KeyValue::new("n", -5),
            KeyValue::new("most", i64::MAX),
            KeyValue::new("share", 0.25),
            KeyValue::new("is", true),
            KeyValue::new("texts", Value::Array(Array::String(vec!["stop".into(), "x".repeat(200).into()]))),
            KeyValue::new("numbers", Value::Array(Array::I64(vec![0, 1, -1]))),
            KeyValue::new("shares", Value::Array(Array::F64(vec![0.5]))),
            KeyValue::new("all", Value::Array(Array::Bool(vec![true, false]))),
        ];
        let statuses = [Status::Unset, Status::Ok, Status::error(""), Status::error("away")];
        let spans: Vec<SpanData> = statuses.map(|status| span(attributes.clone(), status)).into();
        let read = written(&spans);
        assert_eq!(read.scope.expect("a scope").name, "ours");
        assert_eq!(read.spans, spans.into_iter().map(Span::from).collect::<Vec<_>>());
    }

    #[test]
    fn a_span_without_anything_is_one_too() {
        let mut bare = span(vec![], Status::Unset);
        bare.span_context =
            SpanContext::new(TraceId::from(1), SpanId::from(1), TraceFlags::default(), false, TraceState::NONE);
        (bare.parent_span_id, bare.parent_span_is_remote, bare.dropped_attributes_count) = (SpanId::INVALID, false, 0);
        assert_eq!(written(std::slice::from_ref(&bare)).spans, [Span::from(bare)]);
    }

    #[test]
    fn no_secret_leaves() {
        let mut one = span(
            vec![
                KeyValue::new("note", format!("key {SECRET}")),
                KeyValue::new("notes", Value::Array(Array::String(vec![SECRET.into()]))),
            ],
            Status::error(format!("refused {SECRET}")),
        );
        one.name = format!("chat {SECRET}").into();
        let text = format!("{:?}", written(&[one]));
        assert!(!text.contains("ABCDEFGH"), "{text}");
        assert_eq!(text.matches("sk-(hidden)").count(), 4, "{text}");
    }
}
