//! Long conversations made short: by the vendor's own operation where all targets have it, by a summary elsewhere.

use domain::usage::{Endpoint, Outcome, TokenUsage};
use serde_json::{Value, json};

use crate::harness::Bench;
use crate::harness::client::{Ask, responses};
use crate::harness::policy::{World, token};
use crate::harness::upstream::{anthropic_whole, json_answer, responses_whole};

fn post(path: &str, body: &Value) -> Ask {
    Ask::post(path, body.to_string()).header("authorization", format!("Bearer {}", token().expose()))
}

fn talk() -> Value {
    json!([
        {"role": "user", "content": "List the files"},
        {"type": "function_call", "call_id": "c", "name": "ls", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "a.rs"},
    ])
}

fn sent(bench: &Bench, at: usize) -> Value {
    serde_json::from_slice(&bench.upstreams.calls()[at].body).expect("JSON")
}

#[tokio::test(start_paused = true)]
async fn a_vendor_with_the_operation_gets_the_call_as_it_is_and_it_is_counted() {
    let bench = Bench::new();
    let sealed = json!({"id": "resp_1", "object": "response.compaction", "created_at": 1, "output": [
        {"id": "cmp_1", "type": "compaction", "encrypted_content": "gAAAA"}], "usage": {"input_tokens": 40, "output_tokens": 2, "total_tokens": 42}});
    bench.upstreams.play("openai.test", json_answer(200, &sealed));
    let answer = bench.ask(post("/v1/responses/compact", &json!({"model": "gpt", "input": talk()}))).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (200, sealed));
    assert!(bench.upstreams.calls()[0].path.ends_with("/responses/compact"));
    assert_eq!(sent(&bench, 0)["input"], talk());
    let event = bench.event().await;
    assert_eq!((event.endpoint, event.outcome), (Endpoint::Responses, Outcome::Success));
    assert_eq!(event.usage, TokenUsage { input: 40, output: 2, ..TokenUsage::default() });
}

#[tokio::test(start_paused = true)]
async fn another_vendors_model_writes_a_summary_which_later_calls_bring_back() {
    let bench = Bench::new();
    bench.upstreams.play("anthropic.test", anthropic_whole());
    let asked = json!({"model": "claude", "input": talk(), "tools": [{"type": "function", "name": "ls"}]});
    let answer = bench.ask(post("/v1/responses/compact", &asked)).await.json();
    assert_eq!(answer["object"], "response.compaction", "{answer}");
    let output = answer["output"].as_array().expect("items").clone();
    assert_eq!((output.len(), &output[0]), (2, &talk()[0]), "what the user said, and what stands for the rest");
    let request = sent(&bench, 0);
    assert!(request.get("tools").is_none() && request.to_string().contains("a.rs"), "{request}");
    let event = bench.event().await;
    assert!(event.usage.total() > 0 && event.cost.as_nanos() > 0 && event.endpoint == Endpoint::Responses);

    // Over any vendor, that of the operation included.
    bench.upstreams.play("openai.test", json_answer(200, &responses_whole()));
    let mut input = output.clone();
    input.push(json!({"role": "user", "content": "Go on"}));
    assert_eq!(bench.ask(responses("gpt", &json!({"input": input}))).await.status, 200);
    let brought = sent(&bench, 1)["input"][1].clone();
    assert_eq!((&brought["role"], &brought["type"]), (&json!("developer"), &json!("message")), "{brought}");
    let text = brought["content"][0]["text"].as_str().expect("a text");
    assert!(text.starts_with("Summary of the conversation so far") && text.contains("Hello"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_turn_with_a_trigger_is_answered_by_one_item_in_the_form_it_asked_for() {
    let bench = Bench::new();
    for (is_stream, wanted) in [(false, "application/json"), (true, "text/event-stream")] {
        bench.upstreams.play("anthropic.test", anthropic_whole());
        let mut input = talk();
        input.as_array_mut().expect("items").push(json!({"type": "compaction_trigger"}));
        let answer = bench.ask(responses("claude", &json!({"input": input, "stream": is_stream}))).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.header("content-type").starts_with(wanted));
        let last = answer.text().lines().rev().find_map(|line| line.strip_prefix("data: "));
        let whole = match last {
            Some(event) => serde_json::from_str::<Value>(event).expect("JSON")["response"].clone(),
            None => answer.json(),
        };
        let output = whole["output"].as_array().expect("items");
        assert_eq!((output.len(), &output[0]["type"]), (1, &json!("compaction")), "{whole}");
        assert!(whole["usage"]["total_tokens"].as_u64().is_some_and(|total| total > 0), "{whole}");
    }
    assert!(bench.kept.all.lock().is_empty(), "a summary is no turn to go on from");
}

#[tokio::test(start_paused = true)]
async fn input_is_counted_and_a_response_that_is_there_cannot_be_cancelled() {
    let bench = Bench::new();
    bench.upstreams.play("anthropic.test", json_answer(200, &json!({"input_tokens": 17})));
    let body = json!({"model": "claude", "input": talk(), "instructions": "Be brief."});
    let counted = bench.ask(post("/v1/responses/input_tokens", &body)).await;
    assert_eq!(counted.json(), json!({"object": "response.input_tokens", "input_tokens": 17}), "{}", counted.text());
    assert!(bench.upstreams.calls()[0].path.ends_with("/count_tokens"));
    let mut world = World::empty();
    world.deployment(1, "gpt", "openai", "http://api.openai.com/v1");
    let home = Bench::of(&world);
    home.upstreams
        .play("api.openai.com", json_answer(200, &json!({"object": "response.input_tokens", "input_tokens": 9})));
    let body = json!({"model": "gpt", "input": "Hello there"});
    let counted = home.ask(post("/v1/responses/input_tokens", &body)).await;
    assert_eq!(counted.json(), json!({"object": "response.input_tokens", "input_tokens": 9}), "{}", counted.text());
    let asked = &home.upstreams.calls()[0];
    let sent: Value = serde_json::from_slice(&asked.body).expect("JSON");
    assert_eq!(
        (asked.path.as_str(), sent),
        ("/v1/responses/input_tokens", json!({"model": "up-1", "input": "Hello there"}))
    );
    // Nobody counts for those that cannot; an estimate is better than none.
    let body = json!({"model": "gpt", "input": "Hello there"});
    let counted = bench.ask(post("/v1/responses/input_tokens", &body)).await.json();
    assert!(counted["input_tokens"].as_u64().is_some_and(|count| count > 0), "{counted}");

    bench.upstreams.play("openai.test", json_answer(200, &responses_whole()));
    bench.ask(responses("gpt", &json!({}))).await;
    for (id, status) in [("resp_up", 400), ("resp_none", 404)] {
        let answer = bench.ask(post(&format!("/v1/responses/{id}/cancel"), &json!({}))).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
    }
}

#[tokio::test(start_paused = true)]
async fn a_summary_without_words_is_a_failure_and_not_an_empty_memory() {
    let bench = Bench::new();
    let mut empty: Value = json!({"id": "msg", "type": "message", "role": "assistant", "model": "up", "content": [],
        "stop_reason": "end_turn", "usage": {"input_tokens": 5, "output_tokens": 0}});
    empty["stop_sequence"] = Value::Null;
    bench.upstreams.play("anthropic.test", json_answer(200, &empty));
    let answer = bench.ask(post("/v1/responses/compact", &json!({"model": "claude", "input": talk()}))).await;
    assert_eq!(answer.status.as_u16(), 502, "{}", answer.text());
}
