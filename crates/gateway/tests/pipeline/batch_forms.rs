//! Files and batches of vendors whose own are not quite, or not at all, OpenAI's: clients see OpenAI's.

use domain::CredentialId;
use domain::usage::{Endpoint, Outcome};
use policy::Content;
use serde_json::{Value, json};

use super::batches::{at_half_price, booked, call, form, get, upload};
use crate::harness::Bench;
use crate::harness::client::Ask;
use crate::harness::policy::{World, deployment_id};
use crate::harness::upstream::{json_answer, raw_answer};

/// A vendor as it answers, in the words of its reference.
struct Vendor {
    provider: &'static str,
    base_url: &'static str,
    /// What it says of the file.
    file: Value,
    /// What it says of a batch that was just made, and of one that is over.
    made: Value,
    over: Value,
    /// Its output, of the one call `a` that used 1,000 and 500 tokens.
    output: String,
    /// What is in the upload besides the lines.
    preamble: &'static [&'static str],
    /// The line as it arrives there.
    line: Value,
    /// What is asked for when a batch is made.
    wish: Value,
    /// The paths that are called, from upload to output.
    paths: [&'static str; 4],
}

fn chat_output() -> String {
    let body = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "up-20",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}});
    let line = json!({"id": "r", "custom_id": "a", "response": {"status_code": 200, "body": body}, "error": null});
    format!("{line}\n")
}

fn chat_file() -> Value {
    json!({"id": "file-up", "object": "file", "bytes": 321, "created_at": 1, "filename": "in.jsonl", "purpose": "batch"})
}

fn chat_body() -> Value {
    json!({"model": "up-20", "messages": [], "max_tokens": 5})
}

fn together() -> Vendor {
    let job = |status: &str, output: Option<&str>| {
        json!({"id": "job-up", "user_id": "u-up", "input_file_id": "file-up", "status": status, "progress": 50,
            "created_at": "2026-11-22T19:00:00Z", "completed_at": output.map(|_| "2026-11-22T20:00:00Z"),
            "job_deadline": "2026-11-23T19:00:00Z", "endpoint": "/v1/chat/completions", "model_id": "up-20",
            "output_file_id": output, "error_file_id": null})
    };
    Vendor {
        provider: "together",
        base_url: "http://own.test/v1",
        file: json!({"id": "file-up", "object": "file", "bytes": 321, "created_at": 1, "filename": "in.jsonl",
            "purpose": "batch-api", "FileType": "jsonl", "Processed": true, "LineCount": 0}),
        made: json!({"job": job("VALIDATING", None), "warning": ""}),
        over: job("COMPLETED", Some("file-out")),
        output: chat_output(),
        preamble: &[
            "name=\"purpose\"\r\n\r\nbatch-api\r\n",
            "name=\"file_name\"\r\n\r\nin.jsonl\r\n",
            "name=\"file_type\"\r\n\r\njsonl\r\n",
        ],
        line: json!({"custom_id": "a", "body": chat_body()}),
        wish: json!({"input_file_id": "file-up", "endpoint": "/v1/chat/completions", "completion_window": "24h",
            "metadata": {"mine": "1"}}),
        paths: ["/v1/files/upload", "/v1/batches", "/v1/batches/job-up", "/v1/files/file-out/content"],
    }
}

fn mistral() -> Vendor {
    let job = |status: &str, output: Option<&str>| {
        json!({"id": "job-up", "object": "batch", "input_files": ["file-up"], "metadata": {"mine": "1"},
            "endpoint": "/v1/chat/completions", "model": "up-20", "output_file": output, "error_file": null, "errors": [],
            "status": status, "created_at": 1_795_374_000, "total_requests": 1, "completed_requests": 1,
            "succeeded_requests": 1, "failed_requests": 0, "started_at": null,
            "completed_at": output.map(|_| 1_795_377_600)})
    };
    Vendor {
        provider: "mistral",
        base_url: "http://own.test/v1",
        file: json!({"id": "file-up", "object": "file", "bytes": 321, "created_at": 1, "filename": "in.jsonl",
            "purpose": "batch", "sample_type": "batch_request", "source": "upload", "num_lines": 1}),
        made: job("QUEUED", None),
        over: job("SUCCESS", Some("file-out")),
        output: chat_output(),
        preamble: &["name=\"purpose\"\r\n\r\nbatch\r\n"],
        line: json!({"custom_id": "a", "body": chat_body()}),
        wish: json!({"input_files": ["file-up"], "model": "up-20", "endpoint": "/v1/chat/completions",
            "timeout_hours": 24, "metadata": {"mine": "1"}}),
        paths: ["/v1/files", "/v1/batch/jobs", "/v1/batch/jobs/job-up", "/v1/files/file-out/content"],
    }
}

fn gemini() -> Vendor {
    let operation = |state: &str, output: Option<&str>| {
        let mut operation = json!({"name": "batches/job-up", "metadata": {"model": "models/up-20", "state": state,
            "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
            "createTime": "2026-11-22T19:00:00Z", "endTime": output.map(|_| "2026-11-22T20:00:00Z"),
            "batchStats": {"requestCount": "1", "successfulRequestCount": "1"}}});
        if let Some(output) = output {
            operation["done"] = true.into();
            operation["response"] = json!({"responsesFile": format!("files/{output}")});
        }
        operation
    };
    let answer = json!({"candidates": [{"content": {"parts": [{"text": "Hi"}], "role": "model"}, "finishReason": "STOP",
        "index": 0}], "usageMetadata": {"promptTokenCount": 1000, "candidatesTokenCount": 500, "totalTokenCount": 1500},
        "modelVersion": "up-20", "responseId": "r-up"});
    Vendor {
        provider: "gemini",
        base_url: "http://own.test",
        file: json!({"file": {"name": "files/file-up", "displayName": "in.jsonl", "sizeBytes": "321", "state": "ACTIVE",
            "createTime": "2026-11-22T19:00:00Z", "expirationTime": "2026-11-24T19:00:00Z"}}),
        made: operation("BATCH_STATE_PENDING", None),
        over: operation("BATCH_STATE_SUCCEEDED", Some("file-out")),
        output: format!("{}\n", json!({"key": "a", "response": answer})),
        preamble: &[
            "Content-Type: application/json; charset=utf-8\r\n\r\n{\"file\":{\"display_name\":\"in.jsonl\"}}\r\n",
            "Content-Type: application/jsonl\r\n",
        ],
        line: json!({"key": "a", "request": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}],
            "generationConfig": {"maxOutputTokens": 5}}}),
        wish: json!({"batch": {"display_name": "headgate", "input_config": {"file_name": "files/file-up"}}}),
        paths: [
            "/upload/v1beta/files",
            "/v1beta/models/up-20:batchGenerateContent",
            "/v1beta/batches/job-up",
            "/download/v1beta/files/file-out:download?alt=media",
        ],
    }
}

/// One whose batches are OpenAI's, but for one model at a time.
fn deepinfra() -> Vendor {
    let batch = |status: &str, output: Option<&str>| {
        json!({"id": "job-up", "object": "batch", "endpoint": "/v1/chat/completions", "input_file_id": "file-up",
            "status": status, "completion_window": "24h", "output_file_id": output, "error_file_id": null,
            "created_at": 1_795_374_000, "completed_at": output.map(|_| 1_795_377_600), "metadata": {"mine": "1"}})
    };
    Vendor {
        provider: "deepinfra",
        base_url: "http://own.test/v1/openai",
        file: chat_file(),
        made: batch("validating", None),
        over: batch("completed", Some("file-out")),
        output: chat_output(),
        preamble: &["name=\"purpose\"\r\n\r\nbatch\r\n"],
        line: json!({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions",
            "body": {"model": "up-20", "messages": [], "max_completion_tokens": 5}}),
        wish: json!({"input_file_id": "file-up", "endpoint": "/v1/chat/completions", "completion_window": "24h",
            "metadata": {"mine": "1"}}),
        paths: [
            "/v1/openai/files",
            "/v1/openai/batches",
            "/v1/openai/batches/job-up",
            "/v1/openai/files/file-out/content",
        ],
    }
}

fn vendors() -> [Vendor; 4] {
    [together(), mistral(), gemini(), deepinfra()]
}

fn bench(vendor: &Vendor) -> Bench {
    let mut world = World::standard();
    world.deployment(20, "mine", vendor.provider, vendor.base_url);
    world.deployment(21, "other", vendor.provider, vendor.base_url);
    for content in &mut world.contents {
        if let Content::Deployment(deployment) = content
            && deployment.id == deployment_id(21)
        {
            deployment.credential = Some(CredentialId::from_uuid(220));
        }
    }
    Bench::of(&at_half_price(world))
}

/// A call with a parameter that some vendors name otherwise.
fn line(vendor: &Vendor, id: &str) -> String {
    let mut line: Value = serde_json::from_str(&call(id, "mine")).expect("JSON");
    line["body"]["max_completion_tokens"] = 5.into();
    if vendor.provider == "gemini" {
        line["body"]["messages"] = json!([{"role": "user", "content": "hi"}]);
    }
    line.to_string()
}

async fn made(bench: &Bench, vendor: &Vendor) -> (String, String) {
    bench.upstreams.play("own.test", json_answer(200, &vendor.file));
    let answer = bench.ask(upload(form("batch", &line(vendor, "a"), false))).await;
    assert_eq!(answer.status, 200, "{}: {}", vendor.provider, answer.text());
    let shown = answer.json();
    assert_eq!((&shown["object"], &shown["purpose"], &shown["bytes"]), (&json!("file"), &json!("batch"), &json!(321)));
    assert!(!answer.text().contains("-up"), "{}", answer.text());
    let file = shown["id"].as_str().expect("an id").to_owned();
    bench.upstreams.play("own.test", json_answer(200, &vendor.made));
    let body = json!({"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h",
        "metadata": {"mine": "1"}});
    let answer = bench.ask(Ask::post("/v1/batches", body.to_string())).await;
    assert_eq!(answer.status, 200, "{}: {}", vendor.provider, answer.text());
    let shown = answer.json();
    for (field, value) in [
        ("object", json!("batch")),
        ("status", json!("validating")),
        ("endpoint", json!("/v1/chat/completions")),
        ("completion_window", json!("24h")),
        ("created_at", json!(1_795_374_000)),
        ("input_file_id", json!(file)),
        ("output_file_id", Value::Null),
    ] {
        assert_eq!(shown[field], value, "{}: {field} of {shown}", vendor.provider);
    }
    assert!(!answer.text().contains("-up"), "{}", answer.text());
    (file, shown["id"].as_str().expect("an id").to_owned())
}

#[tokio::test(start_paused = true)]
async fn openais_files_and_batches_are_spoken_to_every_vendor_in_its_own_form() {
    for vendor in vendors() {
        let bench = bench(&vendor);
        let (_, batch) = made(&bench, &vendor).await;
        bench.upstreams.play("own.test", json_answer(200, &vendor.over));
        bench.upstreams.play("own.test", raw_answer(200, "application/jsonl", vendor.output.clone()));
        let answer = bench.ask(get(&format!("/v1/files/{}-output/content", batch.replace("batch_", "file-")))).await;
        let output = answer.json();
        assert_eq!(output["custom_id"], "a", "{}: {output}", vendor.provider);
        let body = &output["response"]["body"];
        assert_eq!((&body["model"], &body["choices"][0]["message"]["content"]), (&json!("mine"), &json!("Hi")));
        assert_eq!(body["usage"]["prompt_tokens"], 1_000, "{output}");

        let sent = bench.upstreams.calls();
        let paths: Vec<_> = sent.iter().map(|call| call.path.as_str()).collect();
        assert_eq!(paths, vendor.paths, "{}", vendor.provider);
        let upload = String::from_utf8(sent[0].body.to_vec()).expect("text");
        for part in vendor.preamble {
            assert!(upload.contains(part), "{}: {upload}", vendor.provider);
        }
        let text = upload.split("\r\n").find(|line| line.contains("\"a\"")).expect("the line");
        assert_eq!(serde_json::from_str::<Value>(text).expect("JSON"), vendor.line, "{}", vendor.provider);
        let is_google = sent[0].headers.get("x-goog-upload-protocol").is_some();
        assert_eq!(is_google, vendor.provider == "gemini");
        let wish: Value = serde_json::from_slice(&sent[1].body).expect("JSON");
        assert_eq!(wish, vendor.wish, "{}", vendor.provider);

        let events = booked(&bench.ledger.wait(4).await);
        assert_eq!(events.len(), 1, "{}", vendor.provider);
        let event = &events[0];
        assert_eq!((event.endpoint, event.outcome), (Endpoint::Batches, Outcome::Success));
        assert_eq!((event.model.as_str(), event.usage.input, event.usage.output), ("mine", 1_000, 500));
        assert_eq!(event.cost.to_string(), "0.001", "half of the usual price");
        assert_eq!(event.started_at.to_string(), "2026-11-22T20:00:00Z", "when it was over");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_its_vendor_ends_without_a_word_is_asked_for() {
    for vendor in vendors() {
        let bench = bench(&vendor);
        let (file, batch) = made(&bench, &vendor).await;
        let is_silent = vendor.provider == "gemini";
        if is_silent {
            bench.upstreams.play("own.test", json_answer(200, &json!({})));
        }
        bench.upstreams.play("own.test", json_answer(200, &vendor.made));
        let answer = bench.ask(Ask::post(&format!("/v1/batches/{batch}/cancel"), "")).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["id"]), (200, &json!(batch)), "{}", answer.text());
        bench.upstreams.play("own.test", json_answer(200, &vendor.made));
        let listed = bench.ask(get("/v1/batches")).await.json();
        assert_eq!((&listed["data"][0]["id"], &listed["data"][0]["status"]), (&json!(batch), &json!("validating")));
        bench.upstreams.play("own.test", json_answer(200, &vendor.file));
        let shown = bench.ask(get(&format!("/v1/files/{file}"))).await.json();
        assert_eq!((&shown["id"], &shown["filename"]), (&json!(file), &json!("in.jsonl")), "{shown}");
        bench.upstreams.play("own.test", json_answer(200, &json!({})));
        let deleted = bench.ask(super::batches::of(http::Method::DELETE, &format!("/v1/files/{file}"), String::new()));
        assert_eq!(deleted.await.json()["deleted"], true);
        let cancels = bench.upstreams.calls().into_iter().filter(|call| call.path.ends_with("cancel")).count();
        assert_eq!(cancels, 1, "{}", vendor.provider);
    }
}

#[tokio::test(start_paused = true)]
async fn one_model_and_one_endpoint_are_asked_of_where_no_more_is_taken() {
    let good = |vendor: &Vendor| line(vendor, "a");
    for vendor in [mistral(), gemini(), deepinfra()] {
        let bench = bench(&vendor);
        let refused =
            bench.ask(upload(form("batch", &format!("{}\n{}", good(&vendor), call("b", "other")), false))).await;
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert!(refused.text().contains("call 2: the model `other` is another"), "{}", refused.text());
    }
    let vendor = gemini();
    let bench = bench(&vendor);
    let picture = json!([{"type": "image_url", "image_url": {"url": "https://pictures.test/a.png"}}]);
    let mut fetching: Value = serde_json::from_str(&good(&vendor)).expect("JSON");
    fetching["body"]["messages"][0]["content"] = picture;
    for (text, said) in [
        (
            good(&vendor).replace("/v1/chat/completions", "/v1/embeddings"),
            "takes batches of `/v1/chat/completions` alone",
        ),
        (good(&vendor).replace("\"custom_id\":\"a\",", ""), "it has no \\\"custom_id\\\""),
        (fetching.to_string(), "does not fetch"),
        (good(&vendor).replace("\"hi\"", "[{\"type\":\"input_audio\"}]"), "call 1: "),
    ] {
        let refused = bench.ask(upload(form("batch", &text, false))).await;
        assert_eq!(refused.status, 400, "{text}: {}", refused.text());
        assert!(refused.text().contains("call 1: ") && refused.text().contains(said), "{}", refused.text());
    }
    assert!(bench.upstreams.calls().is_empty() && bench.remotes.all.lock().is_empty(), "nothing is sent or noted");
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_was_renamed_for_its_vendor_gets_its_name_back() {
    let vendor = gemini();
    let bench = bench(&vendor);
    let mut asked: Value = serde_json::from_str(&line(&vendor, "a")).expect("JSON");
    let name = "look up!";
    asked["body"]["tools"] =
        json!([{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}]);
    bench.upstreams.play("own.test", json_answer(200, &vendor.file));
    let file = bench.ask(upload(form("batch", &asked.to_string(), false))).await.json();
    let upload = String::from_utf8(bench.upstreams.calls()[0].body.to_vec()).expect("text");
    let sent = upload.split("\r\n").find(|line| line.contains("\"key\"")).expect("the line");
    let sent: Value = serde_json::from_str(sent).expect("JSON");
    let renamed = sent["request"]["tools"][0]["functionDeclarations"][0]["name"].as_str().expect("a name").to_owned();
    assert_ne!(renamed, name);
    bench.upstreams.play("own.test", json_answer(200, &vendor.made));
    let body = json!({"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"});
    let batch =
        bench.ask(Ask::post("/v1/batches", body.to_string())).await.json()["id"].as_str().expect("an id").to_owned();
    bench.upstreams.play("own.test", json_answer(200, &vendor.over));
    let answer = json!({"candidates": [{"content": {"role": "model", "parts": [{"functionCall": {"name": renamed,
        "args": {"a": 1}}}]}, "finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1}});
    let output = format!("{}\n", json!({"key": "a", "response": answer}));
    bench.upstreams.play("own.test", raw_answer(200, "application/jsonl", output));
    let output = bench.ask(get(&format!("/v1/files/{}-output/content", batch.replace("batch_", "file-")))).await.json();
    let called = &output["response"]["body"]["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!(called["name"], name, "{output}");
}
