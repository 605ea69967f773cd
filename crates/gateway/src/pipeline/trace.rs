//! What the span of a call says at its end, with the attribute names of OpenTelemetry's semantic conventions for generative AI.
//!
//! There is one span for each call and one below it for each attempt. It never holds a key, a prompt or an answer. Nothing is made
//! or formatted while nobody listens. That of the call is a child of the client's span once the client is known; upstream requests
//! name that of the attempt, and nothing else of the client's context goes upstream.

use domain::NanoUsd;
use domain::usage::{Outcome, TokenUsage};
use runtime::telemetry::calls::{CallSpan, operation};

use super::settle::Meter;

/// Notes what is known at the end of a call, and ends its span.
pub(crate) fn end(mut span: CallSpan, meter: &Meter, outcome: Outcome, status: u16, usage: TokenUsage, cost: NanoUsd) {
    let Some(mut notes) = span.notes() else { return };
    notes.put("request.id", meter.request_id.to_string());
    notes.put("gen_ai.operation.name", operation(meter.endpoint));
    notes.count("http.response.status_code", status.into());
    notes.put("outcome", outcome.as_str());
    notes.status(status < 500);
    if status >= 500 || outcome == Outcome::UpstreamBroken {
        notes.put("error.type", outcome.as_str());
    }
    notes.count("attempts", u64::try_from(meter.attempts.len()).unwrap_or(u64::MAX));
    if let Some(caller) = &meter.caller {
        notes.put("organization.id", caller.organization.to_string());
        notes.put("workspace.id", caller.workspace.to_string());
        notes.put("virtual_key.id", caller.key.to_string());
        notes.count("policy.revision", meter.policy_revision);
        notes.put("gen_ai.request.model", meter.model.clone());
    }
    if let Some(route) = meter.route {
        notes.put("route.id", route.to_string());
    }
    if let Some(served) = &meter.served {
        notes.put("gen_ai.provider.name", provider::otel_name(&served.provider).to_owned());
        notes.put("gen_ai.response.model", served.upstream_model.clone());
        notes.usage(usage, cost);
    }
    if let Some(reason) = meter.finish {
        notes.list("gen_ai.response.finish_reasons", reason.as_str());
    }
    if let Some(conversation) = &meter.notes.conversation_id {
        notes.put("gen_ai.conversation.id", conversation.clone());
    }
    if let Some(trace_id) = &meter.notes.trace_id {
        notes.put("trace.client_id", trace_id.clone());
    }
    span.end();
}
