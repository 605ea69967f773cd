//! Every code of the registry that a client can meet, in both dialects.

use std::sync::atomic::Ordering;

use domain::code::GatewayCode;
use domain::usage::{Endpoint, Outcome};
use gateway::{GatewayConfig, Limits};
use http::Method;
use serde_json::json;

use crate::harness::Bench;
use crate::harness::client::{Answer, Ask, Connection, chat, messages};
use crate::harness::policy::{World, token};
use crate::harness::upstream::{Play, Trouble, openai_error};

fn check(answer: &Answer, code: GatewayCode, is_anthropic: bool) {
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (code.status(), code.as_str()), "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/json");
    let body = answer.json();
    let error = &body["error"];
    assert!(error["message"].as_str().is_some_and(|message| message.len() > 20), "says what to do: {body}");
    assert!(error["type"].is_string());
    if is_anthropic {
        assert_eq!(body["type"], "error", "{body}");
        assert!(body["request_id"].as_str().is_some_and(|id| id.starts_with("req_")), "{body}");
    } else {
        assert!(error.as_object().is_some_and(|error| error.contains_key("param")), "{body}");
    }
    assert!(answer.header("x-headgate-request-id").starts_with("req_"));
    if code != GatewayCode::Internal {
        assert!(answer.header("x-headgate-overhead-us").parse::<u64>().is_ok(), "{body}");
    }
}

/// Asks the same in both dialects and expects the same code.
async fn both(bench: &Bench, asks: [Ask; 2], code: GatewayCode) {
    let [openai, anthropic] = asks;
    check(&bench.ask(openai).await, code, false);
    check(&bench.ask(anthropic).await, code, true);
}

#[tokio::test(start_paused = true)]
async fn of_the_request() {
    let bench = Bench::new();
    let post =
        |body: &str| [Ask::post("/v1/chat/completions", body.to_owned()), Ask::post("/v1/messages", body.to_owned())];
    both(&bench, post("{"), GatewayCode::RequestInvalid).await;
    both(&bench, [chat("none"), messages("none")], GatewayCode::ModelUnknown).await;

    let raw = bench.raw(&[b"POST /v1/messages HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 104857600\r\n\r\n"]).await;
    assert!(raw.starts_with("HTTP/1.1 413") && raw.contains("request_too_large"), "{raw}");
    let key = format!("Bearer {}", token().expose());
    let get = |path| Ask::new(Method::GET, path, "").header("authorization", key.clone());
    both(&bench, [get("/v1/chat/completions"), get("/v1/messages")], GatewayCode::MethodNotAllowed).await;
    both(&bench, [get("/v1/nothing"), get("/v1/messages/nothing")], GatewayCode::EndpointUnknown).await;
    let answer = bench.ask(get("/v1/messages")).await;
    assert_eq!(answer.header("allow"), "POST");
    both(
        &bench,
        [Ask::new(Method::POST, "/v1/chat/completions", "{}"), Ask::new(Method::POST, "/v1/messages", "{}")],
        GatewayCode::KeyInvalid,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn of_the_key() {
    let mut world = World::standard();
    world.allow("claude*");
    both(&Bench::of(&world), [chat("gpt"), messages("gpt")], GatewayCode::ModelNotAllowed).await;
    let mut world = World::standard();
    world.key.status = policy::resource::KeyStatus::Revoked;
    both(&Bench::of(&world), [chat("gpt"), messages("gpt")], GatewayCode::KeyRevoked).await;
    let mut world = World::standard();
    world.key.expires_at = Some(domain::Timestamp::from_micros(1));
    both(&Bench::of(&world), [chat("gpt"), messages("gpt")], GatewayCode::KeyExpired).await;
    let mut world = World::standard();
    world.confirmed_at = domain::Timestamp::from_micros(0);
    both(&Bench::of(&world), [chat("gpt"), messages("gpt")], GatewayCode::PolicyStale).await;
}

#[tokio::test(start_paused = true)]
async fn of_upstreams() {
    let bench = Bench::new();
    for _ in 0..6 {
        bench.upstreams.play("openai.test", openai_error(500, "down"));
    }
    both(&bench, [chat("gpt"), messages("gpt")], GatewayCode::UpstreamError).await;
    bench.upstreams.trouble("anthropic.test", Trouble::Hang);
    both(&bench, [chat("claude"), messages("claude")], GatewayCode::UpstreamTimeout).await;
    let mut world = World::standard();
    for content in &mut world.contents {
        if let policy::Content::Deployment(deployment) = content {
            deployment.is_enabled = false;
        }
    }
    both(&Bench::of(&world), [chat("gpt"), messages("gpt")], GatewayCode::NoHealthyTarget).await;
}

#[tokio::test(start_paused = true)]
async fn of_policy_that_does_not_compile_and_only_of_that() {
    let mut world = World::standard();
    world.route(9, "broken", &[99], 1, domain::route::Timeouts::default());
    world.n_bad = 1;
    let bench = Bench::of(&world);
    both(&bench, [chat("broken"), messages("broken")], GatewayCode::PolicyInvalid).await;
    assert!(!bench.ask(chat("broken")).await.header("retry-after").is_empty());
    assert_eq!(bench.ask(chat("echo/echo-1")).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn of_too_many_calls_at_once() {
    let limits = Limits { max_in_flight_per_key: 1, ..Limits::default() };
    let bench = Bench::with(GatewayConfig { limits, ..GatewayConfig::default() }, &World::standard());
    bench.upstreams.play("openai.test", Play::Hang);
    let mut first = Connection::open(&bench.lane).await;
    let in_flight = first.start(chat("gpt"));
    tokio::select! {
        _ = in_flight => panic!("there is no answer"),
        () = async {
            bench.upstreams.wait_for_calls(1).await;
            both(&bench, [chat("gpt"), messages("gpt")], GatewayCode::RateLimited).await;
            let limited = bench.ask(chat("echo/echo-1")).await;
            assert_eq!((limited.status.as_u16(), limited.header("retry-after")), (429, "1"), "{}", limited.text());
            assert_eq!(limited.header("x-ratelimit-limit-requests"), "1");
            assert_eq!(limited.header("x-ratelimit-remaining-requests"), "0");
            assert_eq!(limited.header("x-ratelimit-reset-requests"), "1s");
        } => {}
    }
}

#[tokio::test(start_paused = true)]
async fn of_headgate_itself_and_only_of_that_call() {
    let bench = Bench::new();
    bench.upstreams.trouble("openai.test", Trouble::Panic);
    both(&bench, [chat("gpt"), messages("gpt")], GatewayCode::Internal).await;
    assert_eq!(bench.ask(chat("echo/echo-1")).await.status, 200);
    let events = bench.ledger.wait(3).await;
    assert_eq!(events[0].outcome, Outcome::ClientClosed, "settled while unwinding");
}

#[tokio::test(start_paused = true)]
async fn a_rejected_call_of_a_known_key_is_an_event() {
    let bench = Bench::new();
    bench.ask(chat("none")).await;
    let event = bench.event().await;
    assert_eq!((event.outcome, event.status, event.code.as_deref()), (Outcome::Rejected, 404, Some("model_unknown")));
    assert_eq!((event.model.as_str(), event.attempts.len(), event.cost.as_nanos()), ("none", 0, 0));
}

#[tokio::test(start_paused = true)]
async fn of_a_node_that_cannot_keep_usage_and_may_not_serve_without() {
    for refuses_when_full in [true, false] {
        let config = GatewayConfig { refuses_when_full, ..GatewayConfig::default() };
        let bench = Bench::with(config, &World::standard());
        assert_eq!(bench.ask(chat("echo/echo-1")).await.status, 200);
        bench.ledger.is_full.store(true, Ordering::Relaxed);
        if refuses_when_full {
            both(&bench, [chat("echo/echo-1"), messages("echo/echo-1")], GatewayCode::UsageFull).await;
            assert_eq!(bench.ask(chat("echo/echo-1")).await.header("retry-after"), "5");
        } else {
            assert_eq!(bench.ask(chat("echo/echo-1")).await.status, 200);
        }
        bench.ledger.is_full.store(false, Ordering::Relaxed);
        assert_eq!(bench.ask(chat("echo/echo-1")).await.status, 200);
        let n_served = if refuses_when_full { 2 } else { 3 };
        assert_eq!(bench.ledger.wait(n_served).await.len(), n_served, "a refusal takes up no room");
    }
}

#[tokio::test(start_paused = true)]
async fn models_are_listed_in_both_dialects_as_far_as_the_key_may_use_them() {
    let mut world = World::standard();
    world.allow("chain");
    world.allow("echo/*");
    let bench = Bench::of(&world);
    let get = |path: &str| Ask::new(Method::GET, path, "").header("x-api-key", token().expose());
    let list = bench.ask(get("/v1/models")).await.json();
    let ids: Vec<_> =
        list["data"].as_array().expect("a list").iter().map(|model| model["id"].as_str().expect("an id")).collect();
    assert_eq!((list["object"].as_str(), ids), (Some("list"), vec!["chain", "echo/echo-1", "echo/echo-embed"]));
    let list = bench.ask(get("/v1/models").header("anthropic-version", "2023-06-01")).await.json();
    assert_eq!((list["data"][0]["type"].as_str(), list["has_more"].as_bool()), (Some("model"), Some(false)));
    let one = bench.ask(get("/v1/models/echo%2Fecho-1")).await.json();
    assert_eq!((one["id"].as_str(), one["object"].as_str()), (Some("echo/echo-1"), Some("model")));
    assert_eq!(bench.ask(get("/v1/models/gpt")).await.code(), "model_unknown");
    let unknown = bench.ask(get("/v1/models/gpt").header("anthropic-version", "2023-06-01")).await.json();
    assert_eq!((unknown["type"].as_str(), unknown["error"]["type"].as_str()), (Some("error"), Some("not_found_error")));
    // A look at the models is not a call of one.
    bench.ask(chat("echo/echo-1")).await;
    assert_eq!(bench.event().await.endpoint, Endpoint::ChatCompletions);
    let mut metrics = String::new();
    bench.gateway.metrics().render(&mut metrics);
    assert!(metrics.contains("headgate_requests_total{endpoint=\"models\",outcome=\"success\"} 3"), "{metrics}");
}

#[tokio::test(start_paused = true)]
async fn a_listed_model_says_when_its_name_was_made() {
    // As many milliseconds as the top of an id has, less what the world adds to numbers.
    let made_at = |text: &str, base: u128| {
        let at: domain::Timestamp = text.parse().expect("an instant");
        (domain::id::uuid_v7(at, [0; 10]) - base, at.as_secs())
    };
    let (older, older_at) = made_at("2025-03-01T08:00:00Z", 100);
    let (newer, newer_at) = made_at("2025-04-02T09:30:00Z", 100);
    let (route, route_at) = made_at("2025-05-03T10:45:10Z", 400);
    let mut world = World::empty();
    world.deployment(newer, "gpt", "openai", "http://openai.test/v1");
    world.deployment(older, "other", "openai", "http://a.test/v1");
    world.route(route, "chain", &[older, newer], 2, domain::route::Timeouts::default());
    let bench = Bench::of(&world);
    let get = |path: &str| Ask::new(Method::GET, path, "").header("x-api-key", token().expose());
    for (name, at, written) in [
        ("gpt", newer_at, "2025-04-02T09:30:00Z"),
        ("other", older_at, "2025-03-01T08:00:00Z"),
        ("chain", route_at, "2025-05-03T10:45:10Z"),
    ] {
        let path = format!("/v1/models/{name}");
        assert_eq!(bench.ask(get(&path)).await.json()["created"], at, "{name}");
        let said = bench.ask(get(&path).header("anthropic-version", "2023-06-01")).await.json();
        assert_eq!(said["created_at"], written, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn embeddings_and_token_counts_are_served() {
    let bench = Bench::new();
    let body = json!({"model": "echo/echo-embed", "input": "Hi"}).to_string();
    let answer = bench.ask(Ask::post("/v1/embeddings", body)).await;
    assert!(
        answer.json()["data"][0]["embedding"].is_array() || answer.json()["data"][0]["embedding"].is_string(),
        "{}",
        answer.text()
    );
    let body = json!({"model": "gpt", "messages": [{"role": "user", "content": "Hi there"}]}).to_string();
    let answer = bench.ask(Ask::post("/v1/messages/count_tokens", body)).await;
    assert!(answer.json()["input_tokens"].as_u64().is_some_and(|tokens| tokens > 0), "{}", answer.text());
    let events = bench.ledger.wait(2).await;
    assert!(events[0].usage.input > 0 && events[1].cost.as_nanos() == 0, "{events:?}");
}
