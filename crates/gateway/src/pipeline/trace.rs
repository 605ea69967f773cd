//! One span for each call and one below it for each attempt, with the attribute names of OpenTelemetry's semantic conventions for
//! generative AI.
//!
//! A span is opened when the call or the attempt starts and its fields are recorded once, at its end. It never holds a key, a
//! prompt or an answer. Nothing is made or formatted while nobody listens. That of the call is a child of the client's span once
//! the client is known; upstream requests name that of the attempt, and nothing else of the client's context goes upstream.

use domain::NanoUsd;
use domain::usage::{Outcome, TokenUsage};
use runtime::telemetry::calls::{operation, record_usage};
use tracing::Span;

use super::settle::Meter;

/// The target of request spans, so that a filter can name them.
pub const TARGET: &str = "headgate::request";

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
    if status >= 500 || outcome == Outcome::UpstreamBroken {
        span.record("error.type", outcome.as_str());
    }
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
        span.record("gen_ai.provider.name", provider::otel_name(&served.provider));
        span.record("gen_ai.response.model", served.upstream_model.as_str());
        record_usage(span, usage, cost);
    }
    if let Some(reason) = meter.finish {
        runtime::telemetry::record_list(span, "gen_ai.response.finish_reasons", reason.as_str());
    }
    if let Some(conversation) = &meter.notes.conversation_id {
        span.record("gen_ai.conversation.id", conversation.as_str());
    }
    if let Some(trace_id) = &meter.notes.trace_id {
        span.record("trace.client_id", trace_id.as_str());
    }
}
