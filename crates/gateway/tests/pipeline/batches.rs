//! Files and batches: ids of ours, lines under the upstream's names, whose they are, and the cost of an output booked once.

use std::sync::atomic::Ordering;

use domain::price::{Rates, ServiceTier, TierRates};
use domain::usage::{Endpoint, Outcome, UsageEvent};
use domain::{EnvironmentId, Price};
use gateway::GatewayConfig;
use http::Method;
use policy::Content;
use serde_json::{Value, json};

use crate::harness::Bench;
use crate::harness::client::{Answer, Ask};
use crate::harness::policy::{SECRET, World, token};
use crate::harness::upstream::{json_answer, raw_answer};

/// The standard world at half price in batches.
fn world() -> World {
    at_half_price(World::standard())
}

/// A world with half of its prices in batches.
pub(super) fn at_half_price(mut world: World) -> World {
    for content in &mut world.contents {
        if let Content::Price(price) = content {
            let half = Rates {
                input: Price::per_million(500_000_000),
                output: Price::per_million(1_000_000_000),
                ..Rates::default()
            };
            price.tiers = vec![TierRates { tier: ServiceTier::Batch, rates: half, long_context: Vec::new() }];
        }
    }
    world
}

pub(super) fn call(id: &str, model: &str) -> String {
    json!({"custom_id": id, "method": "POST", "url": "/v1/chat/completions", "body": {"model": model, "messages": []}})
        .to_string()
}

pub(super) fn form(purpose: &str, lines: &str, is_file_first: bool) -> String {
    let purpose = format!("--b0\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n{purpose}\r\n");
    let file =
        format!("--b0\r\nContent-Disposition: form-data; name=\"file\"; filename=\"in.jsonl\"\r\n\r\n{lines}\r\n");
    let parts = if is_file_first { [file, purpose] } else { [purpose, file] };
    format!("{}--b0--\r\n", parts.concat())
}

pub(super) fn of(method: Method, path: &str, body: String) -> Ask {
    Ask::new(method, path, body).header("x-api-key", token().expose())
}

pub(super) fn get(path: &str) -> Ask {
    of(Method::GET, path, String::new())
}

pub(super) fn upload(body: String) -> Ask {
    of(Method::POST, "/v1/files", body).header("content-type", "multipart/form-data; boundary=b0")
}

fn file_answer() -> Value {
    json!({"id": "file-up", "object": "file", "bytes": 321, "created_at": 1, "filename": "in.jsonl", "purpose": "batch", "status": "processed"})
}

fn batch_answer(status: &str, output: Option<&str>) -> Value {
    json!({"id": "batch_up", "object": "batch", "endpoint": "/v1/chat/completions", "input_file_id": "file-up", "status": status,
        "completion_window": "24h", "output_file_id": output, "error_file_id": null, "created_at": 1_795_348_800,
        "completed_at": (status == "completed").then_some(1_795_350_000), "metadata": {"mine": "1"}})
}

fn output_line(id: &str, model: &str) -> String {
    json!({"id": "r", "custom_id": id, "response": {"status_code": 200, "request_id": "x", "body": {"id": "c", "object": "chat.completion",
        "model": model, "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}}}, "error": null})
    .to_string()
}

fn output() -> String {
    format!("{}\n{}\n", output_line("a", "up-1-2026-11-01"), output_line("b", "up-1-2026-11-01"))
}

async fn uploaded(bench: &Bench) -> String {
    bench.upstreams.play("openai.test", json_answer(200, &file_answer()));
    let lines = format!("{}\n{}", call("a", "gpt"), call("b", "gpt"));
    let answer = bench.ask(upload(form("batch", &lines, false))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["id"].as_str().expect("an id").to_owned()
}

async fn made(bench: &Bench) -> String {
    let file = uploaded(bench).await;
    bench.upstreams.play("openai.test", json_answer(200, &batch_answer("validating", None)));
    let body = json!({"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h", "metadata": {"mine": "1"}});
    let answer = bench.ask(Ask::post("/v1/batches", body.to_string())).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["id"].as_str().expect("an id").to_owned()
}

/// Reads the output of a batch that is over.
async fn read(bench: &Bench, batch: &str) -> Answer {
    bench.upstreams.play("openai.test", json_answer(200, &batch_answer("completed", Some("file-out"))));
    bench.upstreams.play("openai.test", raw_answer(200, "application/jsonl", output()));
    bench.ask(get(&format!("/v1/files/{}-output/content", batch.replace("batch_", "file-")))).await
}

pub(super) fn booked(events: &[UsageEvent]) -> Vec<UsageEvent> {
    events.iter().filter(|event| !event.metadata.is_empty()).cloned().collect()
}

#[tokio::test(start_paused = true)]
async fn a_file_goes_to_its_upstream_line_by_line_under_the_upstreams_names() {
    for is_file_first in [false, true] {
        let bench = Bench::of(&world());
        bench.upstreams.play("openai.test", json_answer(200, &file_answer()));
        let lines = format!("{}\r\n\n{}", call("a", "gpt"), call("é", "gpt"));
        let answer = bench.ask(upload(form("batch", &lines, is_file_first))).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let shown = answer.json();
        let id = shown["id"].as_str().expect("an id");
        assert!(id.starts_with("file-") && !answer.text().contains("file-up"), "{shown}");
        assert_eq!((&shown["bytes"], &shown["purpose"]), (&json!(321), &json!("batch")));
        assert_eq!(answer.header("x-headgate-provider"), "openai");

        let sent = &bench.upstreams.calls()[0];
        let body = String::from_utf8(sent.body.to_vec()).expect("text");
        assert_eq!(sent.path, "/v1/files");
        assert_eq!(sent.headers["authorization"], format!("Bearer {SECRET}"));
        assert_eq!(sent.headers["transfer-encoding"], "chunked", "nothing is held, so its length is not known");
        let expected = lines.replace("\"gpt\"", "\"up-1\"").replace("\r\n\n", "\r\n");
        assert!(body.contains(&format!("\r\n\r\n{expected}\r\n--")), "{body}");
        assert!(body.contains("name=\"purpose\"\r\n\r\nbatch\r\n") && body.contains("filename=\"in.jsonl\""), "{body}");
        assert!(!body.contains(token().expose()));
        let event = bench.event().await;
        assert_eq!((event.endpoint, event.outcome, event.cost.as_nanos()), (Endpoint::Files, Outcome::Success, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_refused_and_says_which_call() {
    let mut narrow = world();
    narrow.allow("gpt");
    let (bench, narrow) = (Bench::of(&world()), Bench::of(&narrow));
    let good = call("a", "gpt");
    let twice = good.replace("\"messages\"", "\"model\":\"chain-a\",\"messages\"");
    let elsewhere = good.replace("/v1/chat/completions", "/v1/embeddings");
    for (bench, lines, status, code, said) in [
        (&bench, call("a", "nobody"), 404, "model_unknown", "call 1: there is no model `nobody`"),
        (&bench, call("a", "claude"), 400, "request_invalid", "lies where they are taken: Azure OpenAI, "),
        (
            &bench,
            format!("{good}\n{}", call("b", "chain-a")),
            400,
            "request_invalid",
            "call 2: the model `chain-a` lies with another",
        ),
        (
            &narrow,
            format!("{good}\n{}", call("b", "chain-a")),
            403,
            "model_not_allowed",
            "call 2: this key may not use",
        ),
        (&bench, format!("{good}\n{twice}"), 400, "request_invalid", "call 2: the key \"model\" occurs twice"),
        (&bench, format!("{good}\n{elsewhere}"), 400, "request_invalid", "call 2: its \"url\""),
        (&bench, format!("{good}\nno JSON"), 400, "request_invalid", "call 2"),
        (&bench, String::new(), 400, "request_invalid", "no lines"),
    ] {
        for is_file_first in [false, true] {
            let refused = bench.ask(upload(form("batch", &lines, is_file_first))).await;
            assert_eq!((refused.status.as_u16(), refused.code().as_str()), (status, code), "{}", refused.text());
            assert!(refused.text().contains(&said.replace('"', "\\\"")), "{}", refused.text());
        }
    }
    for is_file_first in [false, true] {
        let refused = bench.ask(upload(form("user_data", &good, is_file_first))).await;
        assert_eq!((refused.status.as_u16(), refused.json()["error"]["param"].as_str()), (400, Some("purpose")));
    }
    for cut in [form("batch", &good, false).replace("--b0--", ""), "{}".to_owned(), good.clone()] {
        assert_eq!(bench.ask(upload(cut)).await.code(), "request_invalid");
    }
    assert!(bench.remotes.all.lock().is_empty() && narrow.remotes.all.lock().is_empty(), "nothing is noted");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_refused_with_413() {
    let mut config = GatewayConfig::default();
    config.limits.max_upload_bytes = 2_000;
    let bench = Bench::with(config, &world());
    let lines = vec![call("a", "gpt"); 50].join("\n");
    let refused = bench.ask(upload(form("batch", &lines, false))).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (413, "request_too_large"));
    // A gateway whose other bodies are small takes files that are not.
    let mut config = GatewayConfig::default();
    config.limits.max_body_bytes = 2_000;
    let bench = Bench::with(config, &world());
    bench.upstreams.play("openai.test", json_answer(200, &file_answer()));
    assert_eq!(bench.ask(upload(form("batch", &lines, false))).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_made_looked_at_listed_and_cancelled_under_our_ids() {
    let bench = Bench::of(&world());
    let id = made(&bench).await;
    let sent: Value = serde_json::from_slice(&bench.upstreams.calls()[1].body).expect("JSON");
    assert_eq!((&sent["input_file_id"], &sent["metadata"]["mine"]), (&json!("file-up"), &json!("1")));
    bench.upstreams.play("openai.test", json_answer(200, &batch_answer("completed", Some("file-out"))));
    let shown = bench.ask(get(&format!("/v1/batches/{id}"))).await;
    assert!(!shown.text().contains("up\"") && !shown.text().contains("file-out"), "{}", shown.text());
    let shown = shown.json();
    assert_eq!((shown["id"].as_str(), shown["status"].as_str()), (Some(id.as_str()), Some("completed")));
    let output = shown["output_file_id"].as_str().expect("an output");
    assert_eq!(output, format!("{}-output", id.replace("batch_", "file-")));

    bench.upstreams.play("openai.test", json_answer(200, &batch_answer("in_progress", None)));
    let listed = bench.ask(get("/v1/batches?limit=5")).await.json();
    assert_eq!(
        (&listed["data"][0]["id"], &listed["has_more"], &listed["object"]),
        (&json!(id), &json!(false), &json!("list"))
    );
    let files = bench.ask(get("/v1/files")).await.json();
    let file = files["data"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!((&files["data"][0]["filename"], &files["data"][0]["bytes"]), (&json!("in.jsonl"), &json!(321)));
    assert_eq!(shown["input_file_id"], json!(file));

    bench.upstreams.play("openai.test", json_answer(200, &batch_answer("cancelling", None)));
    let cancelled = bench.ask(Ask::post(&format!("/v1/batches/{id}/cancel"), "")).await.json();
    assert_eq!(cancelled["status"], "cancelling");
    bench.upstreams.play("openai.test", json_answer(200, &file_answer()));
    assert_eq!(bench.ask(get(&format!("/v1/files/{file}"))).await.json()["id"], json!(file));
    bench.upstreams.play("openai.test", raw_answer(200, "application/jsonl", call("a", "up-1")));
    assert_eq!(bench.ask(get(&format!("/v1/files/{file}/content"))).await.text(), call("a", "gpt"));
    bench.upstreams.play("openai.test", json_answer(200, &json!({"id": "file-up", "deleted": true})));
    let deleted = bench.ask(of(Method::DELETE, &format!("/v1/files/{file}"), String::new())).await.json();
    assert_eq!(deleted, json!({"id": file, "object": "file", "deleted": true}));
    assert_eq!(bench.ask(get(&format!("/v1/files/{file}"))).await.code(), "object_unknown");
    let paths: Vec<_> = bench.upstreams.calls().into_iter().map(|call| call.path).collect();
    let expected = [
        "/v1/files",
        "/v1/batches",
        "/v1/batches/batch_up",
        "/v1/batches/batch_up",
        "/v1/batches/batch_up/cancel",
        "/v1/files/file-up",
        "/v1/files/file-up/content",
        "/v1/files/file-up",
    ];
    assert_eq!(paths, expected);
}

#[tokio::test(start_paused = true)]
async fn an_output_is_booked_once_however_often_and_wherever_it_is_read() {
    let here = Bench::of(&world());
    let batch = made(&here).await;
    let there = Bench::noting(here.remotes.clone(), &world());
    let first = read(&here, &batch).await;
    assert_eq!(first.text(), output().replace("up-1-2026-11-01", "gpt"), "models are named as the client named them");
    assert_eq!(first.header("content-type"), "application/jsonl");
    read(&there, &batch).await;
    let (mine, theirs) = (booked(&here.ledger.wait(4).await), booked(&there.ledger.wait(2).await));
    assert_eq!((mine.len(), theirs.len()), (1, 1));
    assert_eq!(mine[0].id, theirs[0].id, "the ledger takes an id once");
    let event = &mine[0];
    assert_eq!((event.endpoint, event.model.as_str(), event.outcome), (Endpoint::Batches, "gpt", Outcome::Success));
    assert_eq!((event.usage.input, event.usage.output, event.is_estimated), (2_000, 1_000, false));
    assert_eq!(event.cost.to_string(), "0.002", "half of the usual price");
    assert_eq!(event.id.minted_at(), event.started_at, "when the batch was over, whoever asks");
    assert!(event.metadata.contains(&("headgate.batch".to_owned(), batch.clone())), "{:?}", event.metadata);

    // Once it is marked, it is only read.
    here.remotes.booked().await;
    read(&here, &batch).await;
    assert_eq!(booked(&here.ledger.wait(5).await).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_output_that_breaks_off_is_booked_by_the_next_who_reads_it() {
    use crate::harness::upstream::{Play, Step};
    let bench = Bench::of(&world());
    let batch = made(&bench).await;
    bench.upstreams.play("openai.test", json_answer(200, &batch_answer("completed", Some("file-out"))));
    let gate = crate::harness::upstream::Upstreams::gate();
    let line = format!("{}\n", output_line("a", "up-1"));
    let steps = vec![Step::Chunk(line.into()), Step::Gate(gate.clone()), Step::Break];
    bench.upstreams.play("openai.test", Play::Answer { status: 200, headers: Vec::new(), steps });
    let path = format!("/v1/files/{}-output/content", batch.replace("batch_", "file-"));
    let mut connection = crate::harness::client::Connection::open(&bench.lane).await;
    let mut body = connection.start(get(&path)).await.into_body();
    assert!(crate::harness::client::next(&mut body).await.is_some());
    gate.notify_one();
    let rest = http_body_util::BodyExt::collect(body).await;
    assert!(rest.is_err(), "half an output never looks whole");
    let events = bench.ledger.wait(3).await;
    assert!(booked(&events).is_empty(), "half an output is no bill");
    read(&bench, &batch).await;
    let events = booked(&bench.ledger.wait(5).await);
    assert_eq!((events.len(), events[0].usage.input), (1, 2_000), "all of it, once");
}

#[tokio::test(start_paused = true)]
async fn an_output_that_nobody_reads_is_booked_by_a_node() {
    let bench = Bench::of(&world());
    made(&bench).await;
    bench.remotes.hurry();
    bench.upstreams.play("openai.test", json_answer(200, &batch_answer("in_progress", None)));
    assert_eq!(bench.gateway.book_due().await, 1);
    assert_eq!(bench.gateway.book_due().await, 0, "put off");
    bench.remotes.hurry();
    bench.upstreams.play("openai.test", json_answer(200, &batch_answer("completed", Some("file-out"))));
    assert_eq!(bench.gateway.book_due().await, 1);
    assert!(booked(&bench.ledger.wait(2).await).is_empty(), "its client has a while to read it");
    tokio::time::advance(std::time::Duration::from_secs(7_200)).await;
    bench.remotes.hurry();
    bench.upstreams.play("openai.test", json_answer(200, &batch_answer("completed", Some("file-out"))));
    bench.upstreams.play("openai.test", raw_answer(200, "application/jsonl", output()));
    assert_eq!(bench.gateway.book_due().await, 1);
    let events = booked(&bench.ledger.wait(3).await);
    assert_eq!((events.len(), events[0].usage.output), (1, 1_000));
    bench.remotes.booked().await;
    bench.remotes.hurry();
    assert_eq!(bench.gateway.book_due().await, 0, "booked is booked");
}

#[tokio::test(start_paused = true)]
async fn nobody_else_sees_them() {
    let bench = Bench::of(&world());
    let batch = made(&bench).await;
    let file = bench.ask(get("/v1/files")).await.json()["data"][0]["id"].as_str().expect("an id").to_owned();
    for object in bench.remotes.all.lock().values_mut() {
        object.scope.environment = EnvironmentId::from_uuid(99);
    }
    let n_calls = bench.upstreams.calls().len();
    for path in [
        format!("/v1/files/{file}"),
        format!("/v1/files/{file}/content"),
        format!("/v1/files/{}-output/content", batch.replace("batch_", "file-")),
        format!("/v1/batches/{batch}"),
        "/v1/batches/batch_up".to_owned(),
        "/v1/files/file-up".to_owned(),
        "/v1/files/..%2f..%2fmodels".to_owned(),
    ] {
        let refused = bench.ask(get(&path)).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (404, "object_unknown"), "{path}");
    }
    let body = json!({"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"});
    assert_eq!(bench.ask(Ask::post("/v1/batches", body.to_string())).await.code(), "object_unknown");
    assert_eq!(bench.ask(Ask::post(&format!("/v1/batches/{batch}/cancel"), "")).await.code(), "object_unknown");
    for path in ["/v1/files", "/v1/batches", "/v1/messages/batches"] {
        assert_eq!(bench.ask(get(path)).await.json()["data"], json!([]), "{path}");
    }
    assert_eq!(bench.upstreams.calls().len(), n_calls, "no upstream is asked");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_noted_is_taken_back() {
    let bench = Bench::of(&world());
    let file = uploaded(&bench).await;
    bench.remotes.is_away.store(true, Ordering::Relaxed);
    let away = bench.ask(get(&format!("/v1/files/{file}"))).await;
    assert_eq!((away.status.as_u16(), away.code().as_str()), (503, "objects_away"));
    bench.upstreams.play("openai.test", json_answer(200, &file_answer()));
    bench.upstreams.play("openai.test", json_answer(200, &json!({"deleted": true})));
    let refused = bench.ask(upload(form("batch", &call("a", "gpt"), false))).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (503, "objects_away"));
    assert_eq!(bench.upstreams.calls().last().expect("a call").path, "/v1/files/file-up", "deleted there");
}

#[tokio::test(start_paused = true)]
async fn refusals_of_the_upstream_come_back_under_our_ids() {
    let bench = Bench::of(&world());
    let batch = made(&bench).await;
    let body = json!({"error": {"message": "No batch found with id 'batch_up'.", "type": "invalid_request_error"}});
    bench.upstreams.play("openai.test", json_answer(404, &body));
    let refused = bench.ask(get(&format!("/v1/batches/{batch}"))).await;
    assert_eq!(refused.status, 404);
    assert!(refused.text().contains(&batch) && !refused.text().contains("batch_up"), "{}", refused.text());
    bench.upstreams.play("openai.test", json_answer(401, &json!({"error": {"message": "bad key sk-canary"}})));
    let refused = bench.ask(get(&format!("/v1/batches/{batch}"))).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (502, "upstream_error"));
    assert!(!refused.text().contains("canary"));
    bench.upstreams.play("openai.test", json_answer(400, &json!({"error": {"message": "too many files"}})));
    let refused = bench.ask(upload(form("batch", &call("a", "gpt"), false))).await;
    assert!(refused.status == 400 && refused.text().contains("too many files"), "{}", refused.text());
}

// === Anthropic ===

fn message_batch(status: &str) -> Value {
    let is_over = status == "ended";
    json!({"id": "msgbatch_up", "type": "message_batch", "processing_status": status, "created_at": "2026-11-22T12:00:00Z",
        "ended_at": is_over.then_some("2026-11-22T12:30:00Z"), "expires_at": "2026-11-23T12:00:00Z",
        "request_counts": {"processing": 0, "succeeded": 1, "errored": 1, "canceled": 0, "expired": 0},
        "results_url": is_over.then_some("https://api.anthropic.com/v1/messages/batches/msgbatch_up/results")})
}

const RESULTS: &str = r#"{"custom_id":"a","result":{"type":"succeeded","message":{"id":"m","type":"message","role":"assistant","model":"up-2","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1000,"output_tokens":500}}}}
{"custom_id":"b","result":{"type":"errored","error":{"type":"error","error":{"type":"invalid_request_error","message":"no"}}}}
"#;

#[tokio::test(start_paused = true)]
async fn a_batch_of_messages_goes_all_the_way() {
    let bench = Bench::of(&world());
    bench.upstreams.play("anthropic.test", json_answer(200, &message_batch("in_progress")));
    let request =
        |id: &str, model: &str| json!({"custom_id": id, "params": {"model": model, "max_tokens": 9, "messages": []}});
    let body = json!({"requests": [request("a", "claude"), request("b", "claude")], "later": {"x": [1]}});
    let made =
        bench.ask(Ask::post("/v1/messages/batches", body.to_string()).header("anthropic-version", "2023-06-01")).await;
    assert_eq!((made.status.as_u16(), made.header("x-headgate-dropped")), (200, "later"), "{}", made.text());
    let id = made.json()["id"].as_str().expect("an id").to_owned();
    assert!(id.starts_with("msgbatch_") && id != "msgbatch_up");
    let sent = &bench.upstreams.calls()[0];
    assert_eq!(
        (sent.path.as_str(), sent.headers["x-api-key"].to_str().expect("text")),
        ("/v1/messages/batches", SECRET)
    );
    let sent: Value = serde_json::from_slice(&sent.body).expect("JSON");
    assert_eq!(sent, json!({"requests": [request("a", "up-2"), request("b", "up-2")]}));

    bench.upstreams.play("anthropic.test", json_answer(200, &message_batch("ended")));
    let shown = bench.ask(get(&format!("/v1/messages/batches/{id}"))).await.json();
    assert_eq!(shown["results_url"], json!(format!("/v1/messages/batches/{id}/results")));
    bench.upstreams.play("anthropic.test", json_answer(200, &message_batch("ended")));
    let listed = bench.ask(get("/v1/messages/batches?limit=1")).await.json();
    assert_eq!(
        (&listed["data"][0]["id"], &listed["first_id"], &listed["has_more"]),
        (&json!(id), &json!(id), &json!(false))
    );
    assert_eq!(bench.ask(get(&format!("/v1/messages/batches?after_id={id}"))).await.json()["data"], json!([]));

    bench.upstreams.play("anthropic.test", json_answer(200, &message_batch("ended")));
    bench.upstreams.play("anthropic.test", raw_answer(200, "application/x-jsonl", RESULTS));
    let results = bench.ask(get(&format!("/v1/messages/batches/{id}/results"))).await;
    assert_eq!(results.text(), RESULTS.replace("up-2", "claude"));
    let events = booked(&bench.ledger.wait(6).await);
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].usage.input, events[0].usage.output), (1_000, 500), "what erred costs nothing");
    assert_eq!((events[0].cost.to_string().as_str(), events[0].model.as_str()), ("0.001", "claude"));

    bench.upstreams.play("anthropic.test", json_answer(200, &message_batch("canceling")));
    let cancelled = bench.ask(Ask::post(&format!("/v1/messages/batches/{id}/cancel"), "")).await.json();
    assert_eq!(cancelled["processing_status"], "canceling");
    // Wherever it is not yet marked as booked, deleting it reads it first.
    bench.upstreams.play("anthropic.test", json_answer(200, &message_batch("ended")));
    bench.upstreams.play("anthropic.test", raw_answer(200, "application/x-jsonl", RESULTS));
    bench
        .upstreams
        .play("anthropic.test", json_answer(200, &json!({"id": "msgbatch_up", "type": "message_batch_deleted"})));
    let deleted = bench.ask(of(Method::DELETE, &format!("/v1/messages/batches/{id}"), String::new())).await.json();
    assert_eq!(deleted, json!({"id": id, "type": "message_batch_deleted"}));
    let gone = bench.ask(get(&format!("/v1/messages/batches/{id}"))).await;
    assert_eq!((gone.status.as_u16(), &gone.json()["type"]), (404, &json!("error")), "in Anthropic's words");
}

#[tokio::test(start_paused = true)]
async fn batches_of_messages_that_do_not_fit_are_refused() {
    let bench = Bench::of(&world());
    for (body, said) in [
        (json!({"requests": []}), "is empty"),
        (json!({"requests": [{"custom_id": "a", "params": {"model": "gpt"}}]}), "they are taken: Anthropic"),
        (json!({"requests": [{"custom_id": "a"}]}), "no \\\"params\\\""),
        (json!([1]), "must be a JSON object"),
    ] {
        let refused = bench.ask(Ask::post("/v1/messages/batches", body.to_string())).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["type"]), (400, &json!("error")), "{}", refused.text());
        assert!(refused.text().contains(said), "{}", refused.text());
    }
    assert!(bench.upstreams.calls().is_empty());
}
