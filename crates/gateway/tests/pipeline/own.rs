//! Headgate's own endpoints: what a key has left, and what a call would become.

use domain::usage::Endpoint;
use http::Method;
use serde_json::{Value, json};

use crate::harness::Bench;
use crate::harness::client::{Ask, Connection, chat, chat_stream, next};
use crate::harness::policy::{SECRET, World, deployment_id, token};
use crate::harness::upstream::{Step, chunk, openai_whole, stream};

fn limits() -> Ask {
    Ask::new(Method::GET, "/v1/headgate/limits", "").header("x-api-key", token().expose())
}

fn transform(surface: &str, body: &Value) -> Ask {
    Ask::post("/v1/headgate/transform", json!({"surface": surface, "body": body}).to_string())
}

#[tokio::test(start_paused = true)]
async fn a_key_sees_what_it_has_left() {
    let mut world = World::standard();
    world.allow("gpt");
    world.allow("echo/*");
    let bench = Bench::of(&world);
    let shown = bench.ask(limits()).await.json();
    assert_eq!(shown["object"], "headgate.limits");
    assert_eq!(shown["models"]["allowed"], json!(["gpt", "echo/*"]));
    assert_eq!(shown["models"]["available"], json!(["echo/echo-1", "echo/echo-embed", "gpt"]));
    assert_eq!(shown["in_flight"], json!({"scope": "node", "limit": 5_000, "used": 0, "remaining": 5_000}));
    assert_eq!((&shown["windows"], &shown["virtual_key"]["expires_at"]), (&json!([]), &Value::Null));
    assert_eq!((&shown["environment"], &shown["virtual_key"]["name"]), (&json!("development"), &json!("test")));

    bench.upstreams.play("openai.test", stream(vec![chunk("Hello"), Step::Hang]));
    let mut held = Connection::open(&bench.lane).await;
    let mut body = held.start(chat_stream("gpt")).await.into_body();
    assert!(next(&mut body).await.is_some());
    let shown = bench.ask(limits()).await.json();
    assert_eq!(shown["in_flight"], json!({"scope": "node", "limit": 5_000, "used": 1, "remaining": 4_999}));

    let nobody = Ask::new(Method::GET, "/v1/headgate/limits", "");
    assert_eq!(bench.ask(nobody).await.code(), "key_invalid");
}

#[tokio::test(start_paused = true)]
async fn a_call_is_shown_as_it_would_be_sent() {
    let bench = Bench::new();
    let body = json!({"model": "gpt", "messages": [{"role": "user", "content": "Hi"}]});
    let shown = bench.ask(transform("chat_completions", &body)).await.json();
    assert_eq!(shown["target"]["deployment_id"], deployment_id(1).to_string(), "{shown}");
    assert_eq!((&shown["target"]["provider"], &shown["target"]["upstream_model"]), (&json!("openai"), &json!("up-1")));
    assert_eq!((&shown["model"], &shown["policy_revision"]), (&json!("gpt"), &json!(7)));
    let request = &shown["request"];
    assert_eq!(
        (&request["method"], &request["url"]),
        (&json!("POST"), &json!("http://openai.test/v1/chat/completions"))
    );
    assert_eq!(request["headers"]["authorization"], "Bearer (hidden)");
    assert!(!shown.to_string().contains(SECRET) && !shown.to_string().contains(token().expose()));
    assert_eq!(bench.upstreams.n_dials(), 0, "nothing was sent");

    // What is shown is what a real call sends.
    bench.upstreams.play("openai.test", openai_whole());
    bench.ask(Ask::post("/v1/chat/completions", body.to_string())).await;
    let call = &bench.upstreams.calls()[0];
    assert_eq!(request["body"].to_string(), String::from_utf8_lossy(&call.body));
    for (name, value) in request["headers"].as_object().expect("headers") {
        let sent = call.headers[name.as_str()].to_str().expect("text");
        assert!(value == sent || value.as_str().is_some_and(|value| value.contains("(hidden)")), "{name}: {sent}");
    }
    let events = bench.ledger.wait(1).await;
    assert_eq!((events.len(), events[0].endpoint), (1, Endpoint::ChatCompletions), "a look is nobody's bill");
}

#[tokio::test(start_paused = true)]
async fn translation_losses_and_fallbacks_are_shown() {
    let bench = Bench::new();
    let body = json!({"model": "claude", "max_tokens": 9, "seed": 7, "logprobs": true, "messages": [{"role": "user", "content": "Hi"}]});
    let shown = bench.ask(transform("chat_completions", &body)).await.json();
    assert_eq!(shown["request"]["url"], "http://anthropic.test/v1/messages", "{shown}");
    assert_eq!(shown["request"]["headers"]["x-api-key"], "(hidden)");
    assert_eq!(shown["request"]["body"]["max_tokens"], 9);
    let losses: Vec<_> = shown["losses"].as_array().expect("losses").iter().map(|loss| &loss["path"]).collect();
    assert!(losses.contains(&&json!("seed")), "{losses:?}");

    let body = json!({"model": "chain", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]});
    let shown = bench.ask(transform("messages", &body)).await.json();
    let names: Vec<_> = shown["fallbacks"].as_array().expect("a list").iter().map(|it| &it["deployment"]).collect();
    assert_eq!(
        (&shown["target"]["deployment"], names),
        (&json!("chain-a"), vec![&json!("chain-b"), &json!("chain-c")])
    );

    let body = json!({"model": "echo/echo-embed", "input": "Hi"});
    let shown = bench.ask(transform("embeddings", &body)).await.json();
    assert_eq!((&shown["request"], &shown["target"]["provider"]), (&Value::Null, &json!("echo")), "echo answers here");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_become_a_request_says_why() {
    let mut world = World::standard();
    world.allow("gpt");
    let bench = Bench::of(&world);
    let chat_body = |model: &str| json!({"model": model, "messages": [{"role": "user", "content": "Hi"}]});
    for (ask, status, code) in [
        (transform("chat_completions", &chat_body("claude")), 403, "model_not_allowed"),
        (transform("chat_completions", &chat_body("none")), 404, "model_unknown"),
        (transform("chat_completions", &json!({"model": "gpt"})), 400, "request_invalid"),
        (transform("carrier_pigeon", &chat_body("gpt")), 400, "request_invalid"),
        (Ask::post("/v1/headgate/transform", "{\"surface\":\"messages\"}"), 400, "request_invalid"),
        (Ask::post("/v1/headgate/transform", "{"), 400, "request_invalid"),
        (Ask::new(Method::GET, "/v1/headgate/transform", ""), 405, "method_not_allowed"),
        (Ask::new(Method::POST, "/v1/headgate/transform", "{}"), 401, "key_invalid"),
    ] {
        let answer = bench.ask(ask).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{}", answer.text());
    }
    let anthropic = transform("messages", &chat_body("none")).header("anthropic-version", "2023-06-01");
    assert_eq!(bench.ask(anthropic).await.json()["type"], "error");
    bench.upstreams.play("openai.test", openai_whole());
    bench.ask(chat("gpt")).await;
    assert_eq!(bench.ledger.wait(1).await.len(), 1, "none of them is in the ledger");
}
