//! A provider's own API: which credential signs, where the path leads, what goes on and what is counted.

use domain::usage::{Endpoint, Outcome};
use http::Method;
use policy::Content;
use serde_json::json;

use crate::harness::Bench;
use crate::harness::client::Ask;
use crate::harness::policy::{SECRET, World, token};
use crate::harness::upstream::{OPENAI_WHOLE, json_answer, openai_stream, raw_answer};

fn world() -> World {
    let mut world = World::empty();
    world.deployment(1, "gpt", "openai", "http://openai.test/v1");
    world.deployment(2, "claude", "anthropic", "http://anthropic.test");
    for content in &mut world.contents {
        if let Content::Credential(credential) = content {
            credential.allows_passthrough = credential.provider == "openai";
        }
        // What is counted is billed by the model that the body names.
        if let Content::Price(price) = content {
            price.upstream_model = price.upstream_model.replace("up-1", "gpt-5");
        }
    }
    world
}

fn ask(method: Method, path: &str, body: &str) -> Ask {
    Ask::new(method, path, body.to_owned())
        .header("authorization", format!("Bearer {}", token().expose()))
        .header("content-type", "application/json")
}

const CHAT: &str = r#"{"model":"gpt-5","messages":[{"role":"user","content":"Hi"}]}"#;

#[tokio::test(start_paused = true)]
async fn a_call_is_signed_with_our_key_and_answered_as_it_comes() {
    let bench = Bench::of(&world());
    bench.upstreams.play("openai.test", raw_answer(201, "application/x-own", "whatever"));
    let call = ask(Method::DELETE, "/passthrough/openai/v1/files/file-1?after=x&key=canary", "")
        .header("x-headgate-user", "ann")
        .header("openai-organization", "org-canary")
        .header("openai-beta", "assistants=v2");
    let answer = bench.ask(call).await;
    assert_eq!(
        (answer.status.as_u16(), answer.text(), answer.header("content-type")),
        (201, "whatever", "application/x-own")
    );
    let calls = bench.upstreams.calls();
    assert_eq!(calls[0].path, "/v1/files/file-1?after=x");
    assert_eq!(calls[0].headers["authorization"], format!("Bearer {SECRET}"));
    assert_eq!(calls[0].headers["openai-beta"], "assistants=v2");
    assert!(!calls[0].headers.contains_key("openai-organization"));
    assert!(!format!("{calls:?}").contains(token().expose()), "the client's key stays here");
    assert!(!calls[0].headers.keys().any(|name| name.as_str().starts_with("x-headgate")));
    let event = bench.event().await;
    assert_eq!(
        (event.endpoint, event.outcome, event.model.as_str()),
        (Endpoint::Passthrough, Outcome::Success, "passthrough/openai")
    );
    assert!(event.is_unmetered && event.cost.as_nanos() == 0);
    assert_eq!(event.end_user.as_deref(), Some("ann"));
    assert_eq!(event.attempts.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_a_known_dialect_is_counted() {
    let bench = Bench::of(&world());
    bench.upstreams.play("openai.test", raw_answer(200, "application/json", OPENAI_WHOLE));
    let answer = bench.ask(ask(Method::POST, "/passthrough/openai/v1/chat/completions", CHAT)).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, OPENAI_WHOLE));
    bench.upstreams.play("openai.test", openai_stream());
    let body = CHAT.replace("{\"model\"", "{\"stream\":true,\"model\"");
    let answer = bench.ask(ask(Method::POST, "/passthrough/openai/v1/chat/completions", &body)).await;
    assert!(answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
    for event in bench.ledger.wait(2).await {
        assert_eq!((event.usage.input, event.usage.output, event.is_unmetered), (10, 5, false));
        assert_eq!((event.upstream_model.as_deref(), event.cost.to_string().as_str()), (Some("gpt-5"), "0.00002"));
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_was_allowed_is_reached() {
    let mut narrow = world();
    narrow.allow("gpt");
    let narrow = Bench::of(&narrow);
    let bench = Bench::of(&world());
    for (bench, path, status, code) in [
        (&bench, "/passthrough/anthropic/v1/messages", 403, "model_not_allowed"),
        (&bench, "/passthrough/mistral/v1/models", 404, "endpoint_unknown"),
        (&bench, "/passthrough/nobody/v1/models", 404, "endpoint_unknown"),
        (&narrow, "/passthrough/openai/v1/models", 403, "model_not_allowed"),
        (&bench, "/passthrough/openai/v1/../admin", 400, "request_invalid"),
        (&bench, "/passthrough/openai/%2e%2e/admin", 400, "request_invalid"),
        (&bench, "/passthrough/openai//evil.test/x", 400, "request_invalid"),
        (&bench, "/passthrough/openai/a%252e%252e/x", 400, "request_invalid"),
    ] {
        let refused = bench.ask(ask(Method::GET, path, "")).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (status, code), "{path}: {}", refused.text());
    }
    let unknown = bench.ask(Ask::new(Method::GET, "/passthrough/openai/v1/models", "")).await;
    assert_eq!(unknown.status, 401);
    assert!(bench.upstreams.calls().is_empty() && narrow.upstreams.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn refusals_come_back_but_not_those_of_our_key() {
    let bench = Bench::of(&world());
    let body = json!({"error": {"message": "no such file", "type": "x"}});
    bench.upstreams.play("openai.test", json_answer(404, &body));
    let refused = bench.ask(ask(Method::GET, "/passthrough/openai/v1/files/x", "")).await;
    assert_eq!((refused.status.as_u16(), refused.json()), (404, body));
    bench.upstreams.play("openai.test", json_answer(401, &json!({"error": {"message": "bad key sk-canary"}})));
    let refused = bench.ask(ask(Method::GET, "/passthrough/openai/v1/files/x", "")).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (502, "upstream_error"));
    assert!(!refused.text().contains("canary"));
    bench.upstreams.play("openai.test", raw_answer(302, "text/html", ""));
    assert_eq!(bench.ask(ask(Method::GET, "/passthrough/openai/v1/files/x", "")).await.status, 502);
    let events = bench.ledger.wait(3).await;
    assert_eq!(events[0].outcome, Outcome::UpstreamRejected);
}
