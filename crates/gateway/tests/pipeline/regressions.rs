//! Defects that other gateways shipped, each as a test that it is not one of ours.
//!
//! Those of streams and answers are in the fault table (split events, missing end marks, compressed streams, `choices: null`),
//! those of counting in `usage` (sums over chunks, cache tokens left out).

use domain::route::Timeouts;
use domain::usage::Outcome;
use serde_json::{Value, json};

use crate::harness::Bench;
use crate::harness::client::{Ask, chat, messages};
use crate::harness::policy::{SECRET, World, token};
use crate::harness::upstream::{anthropic_whole, json_answer, openai_error, openai_whole};

fn bench(provider: &str) -> Bench {
    let path = if provider == "anthropic" || provider == "gemini" { "" } else { "/v1" };
    let mut world = World::empty();
    world.deployment(1, "m", provider, &format!("http://up.test{path}"));
    Bench::of(&world)
}

fn gemini_whole() -> crate::harness::upstream::Play {
    json_answer(
        200,
        &json!({"candidates": [{"content": {"role": "model", "parts": [{"text": "Hello"}]}, "finishReason": "STOP", "index": 0}],
            "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}}),
    )
}

/// Sends a body to a provider that answers well, and returns what the provider got.
async fn sent(provider: &str, path: &str, body: &Value) -> Value {
    let bench = bench(provider);
    bench.upstreams.play(
        "up.test",
        match provider {
            "anthropic" => anthropic_whole(),
            "gemini" => gemini_whole(),
            _ => openai_whole(),
        },
    );
    let answer = bench.ask(Ask::post(path, body.to_string())).await;
    assert_eq!(answer.status, 200, "{provider}: {}", answer.text());
    serde_json::from_slice(&bench.upstreams.calls()[0].body).expect("JSON")
}

#[tokio::test(start_paused = true)]
async fn every_system_message_arrives_and_developers_are_heard() {
    let body = json!({"model": "m", "messages": [
        {"role": "system", "content": "first rule"},
        {"role": "developer", "content": "second rule"},
        {"role": "user", "content": "Hi"},
        {"role": "system", "content": "third rule"},
        {"role": "user", "content": "Go on"}]});
    for provider in ["openai", "anthropic", "gemini", "mistral"] {
        let text = sent(provider, "/v1/chat/completions", &body).await.to_string();
        for rule in ["first rule", "second rule", "third rule", "Hi", "Go on"] {
            assert_eq!(text.matches(rule).count(), 1, "{provider}: `{rule}` in {text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn sampling_and_stops_are_not_dropped() {
    let body = json!({"model": "m", "temperature": 0.25, "top_p": 0.5, "stop": ["END", "FIN"], "max_tokens": 77,
        "messages": [{"role": "user", "content": "Hi"}]});
    for (provider, paths) in [
        ("openai", ["/temperature", "/top_p", "/stop/1"]),
        ("anthropic", ["/temperature", "/temperature", "/stop_sequences/1"]),
        ("gemini", ["/generationConfig/temperature", "/generationConfig/topP", "/generationConfig/stopSequences/1"]),
    ] {
        let got = sent(provider, "/v1/chat/completions", &body).await;
        assert!(paths.iter().all(|path| got.pointer(path).is_some()), "{provider}: {got}");
        assert!(got.to_string().contains("77"), "{provider}: {got}");
    }
}

#[tokio::test(start_paused = true)]
async fn empty_is_not_absent_and_lists_stay_lists() {
    let body = json!({"model": "m", "tools": [], "metadata": {}, "x_unknown": {"list": [], "null": null},
        "messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": null, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}]},
            {"role": "tool", "tool_call_id": "c1", "content": ""}]});
    let got = sent("openai_compatible", "/v1/chat/completions", &body).await;
    assert_eq!((&got["tools"], &got["x_unknown"]), (&json!([]), &json!({"list": [], "null": null})), "{got}");
    assert_eq!((&got["messages"][0]["content"], &got["messages"][1]["content"]), (&json!(""), &Value::Null), "{got}");
    // An empty text or no arguments are no reason to fail in another language either.
    for provider in ["anthropic", "gemini"] {
        sent(provider, "/v1/chat/completions", &body).await;
    }
    let body = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"},
        {"role": "assistant", "content": []}, {"role": "user", "content": [{"type": "text", "text": "again"}]}]});
    for provider in ["openai", "anthropic", "gemini"] {
        sent(provider, "/v1/messages", &body).await;
    }
}

#[tokio::test(start_paused = true)]
async fn options_of_streams_go_only_to_those_who_know_them() {
    for (provider, below, knows) in [
        ("openai", "/v1", true),
        ("openai_compatible", "/v1", true),
        ("mistral", "/v1", false),
        ("azure_openai", "", true),
        ("azure_openai", "/openai?api-version=2024-10-21", true),
        ("azure_openai", "/openai?api-version=2024-09-01-preview", true),
        ("azure_openai", "/openai?api-version=2024-06-01", false),
    ] {
        let mut world = World::empty();
        world.deployment(1, "m", provider, &format!("http://up.test{below}"));
        let bench = Bench::of(&world);
        bench.upstreams.play("up.test", crate::harness::upstream::openai_stream());
        let body = json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "Hi"}]});
        assert_eq!(bench.ask(Ask::post("/v1/chat/completions", body.to_string())).await.status, 200);
        let got: Value = serde_json::from_slice(&bench.upstreams.calls()[0].body).expect("JSON");
        assert_eq!(got.get("stream_options").is_some(), knows, "{provider} {below}: {got}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clients_own_credentials_stay_here_wherever_its_key_was() {
    let key = token().expose().to_owned();
    for header in ["x-headgate-key", "x-api-key", "api-key", "x-goog-api-key"] {
        let bench = bench("openai");
        bench.upstreams.play("up.test", openai_whole());
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}).to_string();
        let ask = Ask::new(http::Method::POST, "/v1/chat/completions", body)
            .header("content-type", "application/json")
            .header("cookie", "session=client-cookie")
            .header("proxy-authorization", "Basic client-proxy")
            .header("x-amz-security-token", "client-token")
            .header(header, key.clone());
        let answer = bench.ask(ask).await;
        assert_eq!(answer.status, 200, "{header}: {}", answer.text());
        let call = &bench.upstreams.calls()[0];
        assert_eq!(call.headers["authorization"], format!("Bearer {SECRET}"), "{header}");
        let all = format!("{call:?}");
        assert!(!all.contains(&key) && !all.contains("client-"), "{header}: {all}");
    }
    // Two proofs that differ are not chosen from: the one that is not ours would be told to somebody.
    let bench = bench("openai");
    let answer = bench.ask(chat("m").header("x-headgate-key", "sk-client-own")).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (401, "key_invalid"), "{}", answer.text());
    assert!(bench.upstreams.calls().is_empty() && !answer.text().contains("sk-client-own"), "{}", answer.text());
}

#[tokio::test(start_paused = true)]
async fn a_beta_is_asked_for_again_at_the_next_target() {
    let mut world = World::empty();
    world.deployment(1, "one", "anthropic", "http://a.test");
    world.deployment(2, "two", "anthropic", "http://b.test");
    world.route(1, "m", &[1, 2], 2, Timeouts::default());
    let bench = Bench::of(&world);
    bench.upstreams.play("a.test", openai_error(529, "full"));
    bench.upstreams.play("b.test", anthropic_whole());
    let answer = bench.ask(messages("m").header("anthropic-beta", "context-1m-2025-08-07")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    for call in bench.upstreams.calls() {
        assert_eq!(call.headers["anthropic-beta"], "context-1m-2025-08-07", "{}", call.host);
    }
}

#[tokio::test(start_paused = true)]
async fn a_price_of_nothing_is_a_price() {
    let mut world = World::empty();
    world.deployment(1, "m", "openai", "http://up.test/v1");
    for content in &mut world.contents {
        if let policy::Content::Price(price) = content {
            price.rates.output = domain::Price::per_million(0);
        }
    }
    let bench = Bench::of(&world);
    bench.upstreams.play("up.test", openai_whole());
    assert_eq!(bench.ask(chat("m")).await.status, 200);
    let event = bench.event().await;
    assert_eq!((event.outcome, event.cost.as_nanos()), (Outcome::Success, 10_000), "10 of input, nothing for output");
}
