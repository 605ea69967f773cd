//! Requests for tests.

use api::ops::usage::{AttemptView, RequestView};
use domain::Timestamp;

const STARTED_US: i64 = 1_700_000_000_000_000;

fn at(us: u64) -> Timestamp {
    Timestamp::from_micros(STARTED_US + i64::try_from(us).expect("a short time"))
}

/// A try that began so many microseconds after the request.
pub(crate) fn attempt(n: u16, from_us: u64, duration_us: u64, first_byte_us: Option<u64>) -> AttemptView {
    let id = |prefix: &str, number: u16| format!("{prefix}_{number:026}");
    let json = serde_json::json!({
        "n": n, "deployment_id": id("dep", n), "credential_id": null, "provider": "openai", "upstream_model": "gpt-4o",
        "started_at": at(from_us), "duration_us": duration_us, "first_byte_us": first_byte_us, "outcome": "success",
        "status": 200, "upstream_request_id": null, "usage": {}, "cost_usd": "0"
    });
    serde_json::from_value(json).expect("a try")
}

/// A request with these tries.
pub(crate) fn request(duration_us: u64, attempts: Vec<AttemptView>) -> RequestView {
    let id = |prefix: &str| format!("{prefix}_{:026}", 1);
    let json = serde_json::json!({
        "id": id("req"), "environment_id": id("env"), "virtual_key_id": id("key"), "node_id": id("node"),
        "endpoint": "chat_completions", "model": "support-chat", "route_id": id("rte"), "deployment_id": null,
        "provider": null, "upstream_model": null, "is_stream": false, "outcome": "success", "status": 200, "code": null,
        "finish_reason": null, "started_at": at(0), "duration_us": duration_us, "first_byte_us": null, "overhead_us": 0,
        "usage": {}, "is_estimated": false, "cost_usd": "0", "price_id": null, "cache": "off", "saved_input": 0,
        "saved_output": 0, "saved_cost_usd": "0", "policy_revision": 1, "end_user": null, "conversation_id": null,
        "trace_id": null, "metadata": [], "tags": [], "dropped": [], "attempts": attempts
    });
    serde_json::from_value(json).expect("a request")
}
