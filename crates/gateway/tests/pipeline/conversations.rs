//! Responses that continue others: kept by one node, continued on another, over whatever upstream.

use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::EnvironmentId;
use http::Method;
use serde_json::{Value, json};

use crate::harness::Bench;
use crate::harness::client::{Ask, responses};
use crate::harness::policy::{World, token};
use crate::harness::upstream::{anthropic_stream, anthropic_whole, json_answer, responses_stream, responses_whole};

fn of(method: Method, path: &str) -> Ask {
    Ask::new(method, path, "").header("x-api-key", token().expose())
}

fn sent(bench: &Bench, at: usize) -> Value {
    serde_json::from_slice(&bench.upstreams.calls()[at].body).expect("JSON")
}

#[tokio::test(start_paused = true)]
async fn a_conversation_goes_on_at_another_node_and_over_another_vendor() {
    let here = Bench::new();
    here.upstreams.play("anthropic.test", anthropic_whole());
    let first = here.ask(responses("claude", &json!({"instructions": "Be brief."}))).await.json();
    assert_eq!(first["store"], true, "{first}");
    let id = first["id"].as_str().expect("an id");

    let there = Bench::keeping(here.kept.clone(), &World::standard());
    there.upstreams.play("openai.test", json_answer(200, &responses_whole()));
    let more = json!({"previous_response_id": id, "input": "Go on"});
    let second = there.ask(responses("gpt", &more)).await;
    assert_eq!(second.text(), responses_whole().to_string(), "untouched");
    let asked = sent(&there, 0);
    assert_eq!((asked.get("previous_response_id"), asked.get("instructions")), (None, None), "{asked}");
    let texts: Vec<_> =
        asked["input"].as_array().expect("items").iter().map(|item| &item["content"][0]["text"]).collect();
    assert_eq!(texts, [&json!("Hi"), &json!("Hello there"), &json!("Go on")], "{asked}");
    assert_eq!(asked["input"][1].get("id"), None, "ids stay where they were made");

    // The upstream's own id is one that can be continued too, by a stream over a third.
    there.upstreams.play("anthropic.test", anthropic_stream());
    let more =
        json!({"previous_response_id": "resp_up", "input": [{"role": "user", "content": "And then?"}], "stream": true});
    let third = there.ask(responses("claude", &more)).await;
    assert!(third.text().contains("\"previous_response_id\":\"resp_up\"") && third.text().contains("\"store\":true"));
    let messages = sent(&there, 1)["messages"].clone();
    assert_eq!(messages.as_array().map(Vec::len), Some(5), "{messages}");
    assert_eq!(there.kept.all.lock().len(), 3, "each answer is kept, the streamed one too");
}

#[tokio::test(start_paused = true)]
async fn a_kept_response_can_be_looked_at_and_deleted() {
    let bench = Bench::new();
    bench.upstreams.play("openai.test", responses_stream());
    bench.ask(responses("gpt", &json!({"stream": true}))).await;
    let shown = bench.ask(of(Method::GET, "/v1/responses/resp_up")).await;
    assert_eq!(shown.json(), responses_whole());
    let input = bench.ask(of(Method::GET, "/v1/responses/resp_up/input_items?limit=20")).await.json();
    assert_eq!((&input["object"], &input["data"][0]["content"][0]["text"]), (&json!("list"), &json!("Hi")), "{input}");
    let deleted = bench.ask(of(Method::DELETE, "/v1/responses/resp_up")).await.json();
    assert_eq!(deleted, json!({"id": "resp_up", "object": "response", "deleted": true}));
    for ask in [
        of(Method::GET, "/v1/responses/resp_up"),
        of(Method::DELETE, "/v1/responses/resp_up"),
        of(Method::GET, "/v1/responses/..%2f..%2fx"),
        responses("gpt", &json!({"previous_response_id": "resp_up"})),
    ] {
        let answer = bench.ask(ask).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "response_unknown"), "{}", answer.text());
    }
    assert_eq!(bench.ask(of(Method::POST, "/v1/responses/resp_up")).await.header("allow"), "GET, DELETE");
    assert_eq!(bench.ledger.wait(2).await.len(), 2, "only calls of a model are in the ledger");
}

#[tokio::test(start_paused = true)]
async fn another_environments_responses_are_not_there() {
    let here = Bench::new();
    here.upstreams.play("openai.test", json_answer(200, &responses_whole()));
    here.ask(responses("gpt", &json!({}))).await;
    let place = here.kept.all.lock().keys().next().cloned().expect("one is kept");
    let (content, until) = here.kept.all.lock().remove(&place).expect("it is there");
    assert!(until.since(crate::harness::START.parse().expect("a time")) == Duration::from_secs(86_400));
    let moved = gateway::responses::Place { environment: EnvironmentId::from_uuid(99), ..place };
    here.kept.all.lock().insert(moved, (content, until));
    assert_eq!(here.ask(of(Method::GET, "/v1/responses/resp_up")).await.code(), "response_unknown");
    let n_dials = here.upstreams.n_dials();
    let asked = here.ask(responses("gpt", &json!({"previous_response_id": "resp_up"}))).await;
    assert_eq!((asked.code().as_str(), here.upstreams.n_dials()), ("response_unknown", n_dials), "nothing was sent");
}

#[tokio::test(start_paused = true)]
async fn who_wants_nothing_kept_has_nothing_kept() {
    let bench = Bench::new();
    bench.upstreams.play("anthropic.test", anthropic_whole());
    let answer = bench.ask(responses("claude", &json!({"store": false}))).await.json();
    assert_eq!((&answer["store"], bench.kept.all.lock().len()), (&json!(false), 0));

    let mut world = World::standard();
    world.keep_responses(Duration::ZERO);
    let bench = Bench::of(&world);
    bench.upstreams.play("anthropic.test", anthropic_whole());
    let answer = bench.ask(responses("claude", &json!({"store": true}))).await;
    assert_eq!((&answer.json()["store"], answer.header("x-headgate-dropped")), (&json!(false), "store"));
    assert_eq!(bench.kept.all.lock().len(), 0);
    let refused = bench.ask(responses("claude", &json!({"previous_response_id": "resp_1"}))).await;
    assert_eq!(
        (refused.status.as_u16(), refused.json()["error"]["param"].as_str()),
        (400, Some("previous_response_id"))
    );
    assert!(refused.text().contains("retention") && bench.upstreams.calls().len() == 1, "{}", refused.text());
    let refused = bench.ask(responses("gpt", &json!({"background": true}))).await;
    assert_eq!(refused.json()["error"]["param"], "background");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_could_not_be_kept_says_so() {
    let bench = Bench::new();
    bench.kept.is_away.store(true, Ordering::Relaxed);
    bench.upstreams.play("openai.test", json_answer(200, &responses_whole()));
    let answer = bench.ask(responses("gpt", &json!({}))).await;
    assert_eq!((&answer.json()["store"], answer.header("x-headgate-dropped")), (&json!(false), "store"));
    bench.upstreams.play("anthropic.test", anthropic_stream());
    let stream = bench.ask(responses("claude", &json!({"stream": true}))).await;
    let last = stream.text().lines().rev().find_map(|line| line.strip_prefix("data: ")).expect("an event");
    let last: Value = serde_json::from_str(last).expect("JSON");
    assert_eq!((&last["type"], &last["response"]["store"]), (&json!("response.completed"), &json!(false)));
    let away = bench.ask(responses("gpt", &json!({"previous_response_id": "resp_1"}))).await;
    assert_eq!((away.status.as_u16(), away.code().as_str()), (503, "responses_away"), "{}", away.text());
    assert!(!away.header("retry-after").is_empty());
}

#[tokio::test(start_paused = true)]
async fn answers_made_here_have_the_ids_of_their_surface() {
    let bench = Bench::new();
    let answer = bench.ask(responses("echo/echo-1", &json!({}))).await;
    let id = answer.header("x-headgate-request-id").replacen("req_", "resp_", 1);
    assert_eq!(answer.json()["id"], json!(id));
    let stream = bench.ask(responses("echo/echo-1", &json!({"stream": true}))).await;
    assert!(stream.text().contains("\"id\":\"resp_") && !stream.text().contains("\"id\":\"req_"), "{}", stream.text());
}
