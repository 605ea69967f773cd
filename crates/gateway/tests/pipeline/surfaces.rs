//! Every client surface over every kind of target: what goes up, what comes back, what is billed.

use domain::usage::{Endpoint, Outcome};
use http::Method;
use policy::Content;
use serde_json::{Value, json};

use crate::harness::Bench;
use crate::harness::client::{Answer, Ask, chat_stream, gemini, messages, responses};
use crate::harness::policy::{World, token};
use crate::harness::upstream::{
    Play, Step, anthropic_stream, anthropic_whole, chunk, gemini_piece, gemini_stream, json_answer, openai_error,
    openai_stream, openai_whole, responses_stream, responses_whole, stream,
};

fn completions(path: &str, body: &Value) -> Ask {
    Ask::post(path, body.to_string())
}

/// The bytes that an upstream was scripted to send.
fn bytes_of(play: &Play) -> Vec<u8> {
    let Play::Answer { steps, .. } = play else { return Vec::new() };
    let of = |step: &Step| match step {
        Step::Chunk(bytes) => bytes.to_vec(),
        _ => Vec::new(),
    };
    steps.iter().flat_map(of).collect()
}

/// The JSON of each event of a stream.
fn events(answer: &Answer) -> Vec<Value> {
    let data = answer.text().lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).expect("JSON")).collect()
}

fn sent(bench: &Bench, at: usize) -> Value {
    serde_json::from_slice(&bench.upstreams.calls()[at].body).expect("JSON")
}

async fn used(bench: &Bench) -> (Endpoint, Outcome, u64, u64) {
    let event = bench.event().await;
    assert!(!event.is_estimated);
    (event.endpoint, event.outcome, event.usage.input, event.usage.output)
}

// === OpenAI's responses ===

#[tokio::test(start_paused = true)]
async fn responses_pass_untouched_to_an_upstream_that_has_them() {
    let bench = Bench::new();
    bench.upstreams.play("openai.test", json_answer(200, &responses_whole()));
    let answer = bench.ask(responses("gpt", &json!({"store": true, "future": 1}))).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, responses_whole().to_string().as_str()));
    assert_eq!(used(&bench).await, (Endpoint::Responses, Outcome::Success, 10, 5));
    assert_eq!(bench.upstreams.calls()[0].path, "/v1/responses");
    assert_eq!(sent(&bench, 0), json!({"model": "up-1", "input": "Hi", "store": true, "future": 1}));

    let bench = Bench::new();
    bench.upstreams.play("openai.test", responses_stream());
    let answer = bench.ask(responses("gpt", &json!({"stream": true}))).await;
    assert_eq!(answer.body, bytes_of(&responses_stream()));
    assert_eq!(used(&bench).await, (Endpoint::Responses, Outcome::Success, 10, 5));
    assert_eq!(sent(&bench, 0).get("stream_options"), None, "the last event has the usage anyway");
}

#[tokio::test(start_paused = true)]
async fn responses_are_made_of_what_another_vendor_answers() {
    let bench = Bench::new();
    bench.upstreams.play("anthropic.test", anthropic_whole());
    let tools = json!([{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": null}]);
    let more = json!({"instructions": "Be brief.", "tools": tools, "metadata": {"a": "b"}, "max_output_tokens": 50});
    let answer = bench.ask(responses("claude", &more)).await.json();
    assert_eq!(answer["output"][0]["content"][0]["text"], "Hello there", "{answer}");
    assert_eq!((&answer["object"], &answer["status"]), (&json!("response"), &json!("completed")));
    assert_eq!(
        (&answer["instructions"], &answer["tools"]),
        (&json!("Be brief."), &tools),
        "as the vendor repeats them"
    );
    assert_eq!((&answer["metadata"], &answer["max_output_tokens"]), (&json!({"a": "b"}), &json!(50)));
    let event = bench.event().await;
    assert_eq!(answer["id"], event.id.to_string().replace("req_", "resp_"));
    assert_eq!((event.endpoint, event.usage.input, event.usage.output), (Endpoint::Responses, 10, 5));
    assert_eq!(sent(&bench, 0)["system"], "Be brief.");

    let bench = Bench::new();
    bench.upstreams.play("anthropic.test", anthropic_stream());
    let answer = bench.ask(responses("claude", &json!({"stream": true, "instructions": "Be brief."}))).await;
    let events = events(&answer);
    let names: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap_or_default()).collect();
    assert_eq!(
        names,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    assert!(events.iter().enumerate().all(|(at, event)| event["sequence_number"] == at));
    let (first, last) = (&events[0]["response"], &events[8]["response"]);
    assert_eq!((&first["id"], &first["instructions"]), (&last["id"], &json!("Be brief.")));
    assert_eq!(last["usage"]["output_tokens"], 5);
    assert_eq!(used(&bench).await, (Endpoint::Responses, Outcome::Success, 10, 5));
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_responses_that_breaks_off_fails() {
    let bench = Bench::new();
    let begun = anthropic_stream();
    let Play::Answer { steps, .. } = begun else { unreachable!("a stream") };
    bench.upstreams.play("anthropic.test", stream([&steps[..3], &[Step::Break]].concat()));
    let answer = bench.ask(responses("claude", &json!({"stream": true}))).await;
    let events = events(&answer);
    let names: Vec<_> = events.iter().rev().take(2).map(|event| event["type"].as_str().unwrap_or_default()).collect();
    assert_eq!(names, ["response.failed", "error"], "{}", answer.text());
    assert_eq!(bench.event().await.outcome, Outcome::UpstreamBroken);
}

// === OpenAI's legacy completions ===

#[tokio::test(start_paused = true)]
async fn completions_reach_whoever_chats() {
    let bench = Bench::new();
    bench.upstreams.play("anthropic.test", anthropic_whole());
    let body = json!({"model": "claude", "prompt": "Hi", "max_tokens": 9});
    let answer = bench.ask(completions("/v1/completions", &body)).await.json();
    assert_eq!((&answer["object"], &answer["choices"][0]["text"]), (&json!("text_completion"), &json!("Hello there")));
    assert_eq!(used(&bench).await, (Endpoint::Completions, Outcome::Success, 10, 5));

    let bench = Bench::new();
    let whole = json!({"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "up",
        "choices": [{"index": 0, "text": "Hello", "logprobs": null, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}});
    bench.upstreams.play("openai.test", json_answer(200, &whole));
    let body = json!({"model": "gpt", "prompt": ["Hi", "Ho"], "suffix": "!"});
    let answer = bench.ask(completions("/v1/completions", &body)).await;
    assert_eq!(answer.text(), whole.to_string());
    assert_eq!(bench.upstreams.calls()[0].path, "/v1/completions");
    assert_eq!(used(&bench).await, (Endpoint::Completions, Outcome::Success, 10, 5));
}

// === Gemini ===

#[tokio::test(start_paused = true)]
async fn gemini_passes_untouched_to_gemini() {
    let bench = Bench::new();
    let whole = gemini_piece("Hello there", 5, Some("STOP"));
    bench.upstreams.play("gemini.test", json_answer(200, &whole));
    let answer = bench.ask(gemini("gemini", "generateContent")).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, whole.to_string().as_str()));
    let call = &bench.upstreams.calls()[0];
    assert_eq!(call.path, "/v1beta/models/up%2D8:generateContent".replace("%2D", "-"));
    assert_eq!(sent(&bench, 0), json!({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}));
    assert!(!call.headers.contains_key("authorization") && call.headers["x-goog-api-key"] != token().expose());
    assert_eq!(used(&bench).await, (Endpoint::GenerateContent, Outcome::Success, 10, 5));

    let bench = Bench::new();
    bench.upstreams.play("gemini.test", gemini_stream());
    let answer = bench.ask(gemini("gemini", "streamGenerateContent?alt=sse")).await;
    assert_eq!(answer.body, bytes_of(&gemini_stream()));
    assert_eq!(answer.header("content-type"), "text/event-stream; charset=utf-8");
    assert_eq!(bench.upstreams.calls()[0].path, "/v1beta/models/up-8:streamGenerateContent?alt=sse");
    assert_eq!(used(&bench).await, (Endpoint::GenerateContent, Outcome::Success, 10, 5), "running totals");
}

#[tokio::test(start_paused = true)]
async fn a_gemini_stream_without_events_is_one_json_array() {
    for (model, host, play) in [
        ("gemini", "gemini.test", gemini_stream()),
        ("gpt", "openai.test", openai_stream()),
        ("claude", "anthropic.test", anthropic_stream()),
    ] {
        let bench = Bench::new();
        bench.upstreams.play(host, play);
        let answer = bench.ask(gemini(model, "streamGenerateContent")).await;
        assert_eq!(answer.header("content-type"), "application/json", "{model}");
        let items = answer.json();
        let items = items.as_array().expect("an array");
        let text: String =
            items.iter().filter_map(|item| item["candidates"][0]["content"]["parts"][0]["text"].as_str()).collect();
        assert_eq!(text, "Hello there", "{model}");
        let last = items.last().expect("an item");
        assert_eq!(last["candidates"][0]["finishReason"], "STOP", "{model}: {last}");
        assert_eq!(used(&bench).await, (Endpoint::GenerateContent, Outcome::Success, 10, 5), "{model}");
    }
    let bench = Bench::new();
    bench.upstreams.play("openai.test", stream(vec![chunk("Hello"), Step::Break]));
    let answer = bench.ask(gemini("gpt", "streamGenerateContent")).await;
    let items = answer.json();
    let last = items.as_array().and_then(|items| items.last()).expect("an item");
    assert_eq!(last["error"]["status"], "INTERNAL", "it ends as JSON, and not as if it were whole: {items}");
    let echoed = Bench::new().ask(gemini("echo/echo-1", "streamGenerateContent")).await;
    assert_eq!(echoed.json()[0]["candidates"][0]["content"]["parts"][0]["text"], "Hi");
}

#[tokio::test(start_paused = true)]
async fn gemini_clients_reach_every_vendor() {
    let bench = Bench::new();
    bench.upstreams.play("openai.test", openai_whole());
    let answer = bench.ask(gemini("gpt", "generateContent")).await.json();
    assert_eq!(answer["candidates"][0]["content"]["parts"][0]["text"], "Hello there");
    assert_eq!(answer["usageMetadata"]["totalTokenCount"], 15);
    assert_eq!(sent(&bench, 0)["model"], "up-1");
    assert_eq!(used(&bench).await, (Endpoint::GenerateContent, Outcome::Success, 10, 5));

    let bench = Bench::new();
    bench.upstreams.play("anthropic.test", anthropic_stream());
    let answer = bench.ask(gemini("claude", "streamGenerateContent?alt=sse")).await;
    let last = events(&answer).pop().expect("an event");
    assert_eq!(last["usageMetadata"]["candidatesTokenCount"], 5, "{}", answer.text());
    assert_eq!(sent(&bench, 0)["stream"], true);

    // The older version's address, and a name with a slash, plain or encoded.
    let bench = Bench::new();
    for path in ["/v1/models/echo/echo-1:generateContent", "/v1beta/models/echo%2Fecho-1:generateContent"] {
        let body = json!({"contents": [{"parts": [{"text": "Hi"}]}]});
        let answer = bench.ask(Ask::post(path, body.to_string())).await;
        assert_eq!(answer.json()["candidates"][0]["content"]["parts"][0]["text"], "Hi", "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn gemini_models_are_listed_in_its_form() {
    let bench = Bench::new();
    let get = |path: &str| Ask::new(Method::GET, path, "").header("x-goog-api-key", token().expose());
    let listed = bench.ask(get("/v1beta/models?pageSize=50")).await.json();
    let names: Vec<_> = listed["models"].as_array().expect("models").iter().map(|model| &model["name"]).collect();
    assert!(names.contains(&&json!("models/gpt")) && names.contains(&&json!("models/echo/echo-1")), "{listed}");
    assert_eq!(bench.ask(get("/v1beta/models/gpt")).await.json()["name"], "models/gpt");
    assert_eq!(bench.ask(get("/v1/models")).await.json(), listed, "the key's header tells whose client asks");
}

#[tokio::test(start_paused = true)]
async fn the_list_of_models_tells_window_price_and_abilities() {
    let bench = Bench::new();
    let get = |path: &str, header: &'static str| Ask::new(Method::GET, path, "").header(header, token().expose());
    let model = bench.ask(get("/v1/models/echo/echo-1", "x-api-key")).await.json();
    assert_eq!((&model["object"], &model["owned_by"]), (&json!("model"), &json!("echo")), "{model}");
    assert_eq!(
        (&model["pricing"]["prompt"], &model["pricing"]["completion"]),
        (&json!("0.000001"), &json!("0.000002"))
    );
    let window = model["context_length"].as_u64().expect("a window");
    assert_eq!(model["architecture"]["input_modalities"][0], "text", "{model}");
    assert!(model["supported_parameters"].as_array().is_some_and(|names| names.contains(&json!("tools"))), "{model}");
    let anthropic = get("/v1/models/echo/echo-1", "x-api-key").header("anthropic-version", "2023-06-01");
    let anthropic = bench.ask(anthropic).await.json();
    assert_eq!((&anthropic["type"], &anthropic["max_input_tokens"]), (&json!("model"), &json!(window)));
    let google = bench.ask(get("/v1beta/models/echo/echo-1", "x-goog-api-key")).await.json();
    assert_eq!(google["inputTokenLimit"], window);
    let google = bench.ask(get("/v1beta/models/echo/echo-embed", "x-goog-api-key")).await.json();
    assert_eq!(google["supportedGenerationMethods"], json!(["embedContent", "batchEmbedContents"]));
    // Nothing is claimed of a model that the catalog does not know, and of a route only what holds for all its targets.
    for unknown in ["gpt", "chain"] {
        let model = bench.ask(get(&format!("/v1/models/{unknown}"), "x-api-key")).await.json();
        assert_eq!(
            (&model["context_length"], &model["pricing"]["prompt"]),
            (&Value::Null, &json!("0.000001")),
            "{model}"
        );
    }
}

// === Token counts ===

#[tokio::test(start_paused = true)]
async fn tokens_are_counted_by_whoever_can() {
    let body = json!({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "systemInstruction": {"parts": [{"text": "Be brief."}]}});
    let wrapped = json!({"generateContentRequest": {"model": "models/gemini", "contents": body["contents"],
        "systemInstruction": body["systemInstruction"]}});
    let count = |model: &str, body: &Value| Ask::post(&format!("/v1beta/models/{model}:countTokens"), body.to_string());
    for body in [&body, &wrapped] {
        let bench = Bench::new();
        bench.upstreams.play("gemini.test", json_answer(200, &json!({"totalTokens": 31})));
        let answer = bench.ask(count("gemini", body)).await;
        assert_eq!(answer.json()["totalTokens"], 31, "{}", answer.text());
        assert_eq!(bench.upstreams.calls()[0].path, "/v1beta/models/up-8:countTokens");
        assert_eq!(sent(&bench, 0)["generateContentRequest"]["model"], "models/up-8");
        assert_eq!(used(&bench).await, (Endpoint::CountTokens, Outcome::Success, 0, 0));
    }
    let bench = Bench::new();
    bench.upstreams.play("anthropic.test", json_answer(200, &json!({"input_tokens": 32})));
    assert_eq!(bench.ask(count("claude", &wrapped)).await.json(), json!({"totalTokens": 32}));
    assert_eq!(bench.upstreams.calls()[0].path, "/v1/messages/count_tokens");
    assert_eq!(sent(&bench, 0)["system"], "Be brief.");

    let bench = Bench::new();
    bench.upstreams.play("gemini.test", json_answer(200, &json!({"totalTokens": 33})));
    let anthropic = json!({"model": "gemini", "system": "Be brief.", "messages": [{"role": "user", "content": "Hi"}]});
    let answer = bench.ask(Ask::post("/v1/messages/count_tokens", anthropic.to_string())).await;
    assert_eq!(answer.json(), json!({"input_tokens": 33}), "{}", answer.text());

    let bench = Bench::new();
    let estimated = bench.ask(count("gpt", &wrapped)).await.json();
    assert!(estimated["totalTokens"].as_u64().is_some_and(|tokens| tokens > 0), "{estimated}");
    assert_eq!(bench.upstreams.n_dials(), 0, "nobody counts there");
}

#[tokio::test(start_paused = true)]
async fn a_cloud_that_does_not_count_a_model_gives_an_estimate() {
    let mut world = World::standard();
    world.deployment(21, "aws", "bedrock", "http://bedrock.test");
    for content in &mut world.contents {
        if let Content::Deployment(deployment) = content
            && deployment.provider == "bedrock"
        {
            "eu.anthropic.claude-sonnet-4-5-20250929-v1:0".clone_into(&mut deployment.upstream_model);
        }
    }
    let body = json!({"model": "aws", "system": "Be brief.", "messages": [{"role": "user", "content": "Hi"}]});
    let refusal = |message: &str| json!({"message": message});
    for (status, answer, expected) in [
        (200, json!({"inputTokens": 34}), Some(34)),
        (400, refusal("The provided model doesn't support counting tokens."), None),
        (403, refusal("not authorized to perform: bedrock:CountTokens"), None),
    ] {
        let bench = Bench::of(&world);
        bench.upstreams.play("bedrock.test", json_answer(status, &answer));
        let counted = bench.ask(Ask::post("/v1/messages/count_tokens", body.to_string())).await;
        assert_eq!(counted.status, 200, "{}", counted.text());
        let tokens = counted.json()["input_tokens"].as_u64().expect("a number");
        assert!(expected.map_or(tokens > 0 && tokens != 34, |expected| tokens == expected), "{}", counted.text());
        let path = &bench.upstreams.calls()[0].path;
        assert_eq!(
            path, "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/count-tokens",
            "without the region's part"
        );
        assert_eq!(used(&bench).await, (Endpoint::CountTokens, Outcome::Success, 0, 0));
    }
    // What fails otherwise is not hidden.
    let bench = Bench::of(&world);
    for _ in 0..3 {
        bench.upstreams.play("bedrock.test", json_answer(503, &refusal("busy")));
    }
    assert!(bench.ask(Ask::post("/v1/messages/count_tokens", body.to_string())).await.status.is_server_error());
}

// === Embeddings ===

#[tokio::test(start_paused = true)]
async fn gemini_embeddings_are_made_of_anyones() {
    let vectors = |n: usize| {
        let data: Vec<_> =
            (0..n).map(|index| json!({"object": "embedding", "index": index, "embedding": [0.5, -1]})).collect();
        json!({"object": "list", "data": data, "model": "up", "usage": {"prompt_tokens": 10, "total_tokens": 10}})
    };
    let bench = Bench::new();
    bench.upstreams.play("openai.test", json_answer(200, &vectors(1)));
    let body =
        json!({"content": {"parts": [{"text": "Hi"}]}, "taskType": "RETRIEVAL_QUERY", "outputDimensionality": 2});
    let answer = bench.ask(Ask::post("/v1beta/models/gpt:embedContent", body.to_string())).await;
    assert_eq!(answer.json()["embedding"], json!({"values": [0.5, -1]}), "{}", answer.text());
    assert_eq!(answer.header("x-headgate-dropped"), "taskType");
    assert_eq!(sent(&bench, 0), json!({"model": "up-1", "input": "Hi", "dimensions": 2, "encoding_format": "float"}));
    assert_eq!(used(&bench).await, (Endpoint::Embeddings, Outcome::Success, 10, 0));

    let bench = Bench::new();
    bench.upstreams.play("openai.test", json_answer(200, &vectors(2)));
    let one = |text: &str| json!({"model": "models/gpt", "content": {"parts": [{"text": text}]}});
    let body = json!({"requests": [one("Hi"), one("Ho")]});
    let answer = bench.ask(Ask::post("/v1beta/models/gpt:batchEmbedContents", body.to_string())).await;
    assert_eq!(answer.json()["embeddings"].as_array().map(Vec::len), Some(2));
    assert_eq!(sent(&bench, 0)["input"], json!(["Hi", "Ho"]));
    let wrong = bench.ask(Ask::post("/v1beta/models/gpt:embedContent", body.to_string())).await;
    assert_eq!(wrong.status, 400);
}

// === Models in addresses ===

#[tokio::test(start_paused = true)]
async fn azure_and_engine_addresses_name_the_model() {
    let messages = json!([{"role": "user", "content": "Hi"}]);
    for (path, body, up) in [
        (
            "/openai/deployments/gpt/chat/completions?api-version=2024-10-21",
            json!({"messages": messages}),
            "/v1/chat/completions",
        ),
        (
            "/openai/deployments/gpt/chat/completions",
            json!({"model": "else", "messages": messages}),
            "/v1/chat/completions",
        ),
        ("/openai/v1/chat/completions", json!({"model": "gpt", "messages": messages}), "/v1/chat/completions"),
        ("/v1/engines/gpt/chat/completions", json!({"messages": messages}), "/v1/chat/completions"),
    ] {
        let bench = Bench::new();
        bench.upstreams.play("openai.test", openai_whole());
        let answer = bench.ask(Ask::post(path, body.to_string()).header("api-key", token().expose())).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(
            (bench.upstreams.calls()[0].path.as_str(), &sent(&bench, 0)["model"]),
            (up, &json!("up-1")),
            "{path}"
        );
        assert_eq!(bench.event().await.model, "gpt");
    }
    let bench = Bench::new();
    bench.upstreams.play("anthropic.test", anthropic_whole());
    let body = json!({"messages": messages});
    let answer = bench.ask(Ask::post("/openai/deployments/claude/chat/completions", body.to_string())).await;
    assert_eq!(
        answer.json()["choices"][0]["message"]["content"],
        "Hello there",
        "a body without a model is translated too"
    );
}

#[tokio::test(start_paused = true)]
async fn tricks_in_addresses_lead_nowhere() {
    let bench = Bench::new();
    let body = json!({"contents": [{"parts": [{"text": "Hi"}]}], "messages": [], "prompt": "x"}).to_string();
    for (path, status) in [
        ("/v1beta/models/..%2f..%2fv1%2fmessages:generateContent", 404),
        ("/v1beta/models/../../v1/headgate/limits:generateContent", 404),
        ("/v1beta/models/gpt%00:generateContent", 404),
        ("/v1beta/models/%ff:generateContent", 400),
        ("/v1beta/models/gpt%3falt=sse:generateContent", 404),
        ("/openai/deployments/..%2f..%2fgpt/chat/completions", 404),
        ("/openai/deployments/%2e%2e/chat/completions", 404),
        ("/v1/engines/../completions", 404),
        ("/v1beta/models/gpt:deleteModel", 405),
        ("/v1beta/cachedContents", 404),
    ] {
        let answer = bench.ask(Ask::post(path, body.clone())).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
    assert_eq!(bench.upstreams.n_dials(), 0);
}

// === Errors ===

#[tokio::test(start_paused = true)]
async fn each_surface_errs_in_its_own_dialect() {
    let bench = Bench::new();
    let unknown = bench.ask(gemini("none", "generateContent")).await;
    let error = &unknown.json()["error"];
    assert_eq!((unknown.status.as_u16(), &error["code"], &error["status"]), (404, &json!(404), &json!("NOT_FOUND")));
    assert_eq!(error["details"][0]["reason"], "MODEL_UNKNOWN", "{error}");
    let keyless = Ask::new(Method::POST, "/v1beta/models/gpt:generateContent?key=x", "{}");
    let keyless = bench.ask(keyless).await;
    assert_eq!((keyless.status.as_u16(), &keyless.json()["error"]["status"]), (401, &json!("UNAUTHENTICATED")));
    assert_eq!(bench.ask(responses("none", &json!({}))).await.code(), "model_unknown");
    let promptless = bench.ask(Ask::post("/v1beta/models/gpt:generateContent", "{\"contents\":\"Hi\"}")).await;
    assert_eq!(promptless.json()["error"]["status"], "INVALID_ARGUMENT");

    bench.upstreams.play("openai.test", openai_error(400, "too long"));
    let refused = bench.ask(gemini("gpt", "generateContent")).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]["message"]), (400, &json!("too long")));
    bench.upstreams.play("openai.test", openai_error(400, "bad vector"));
    let body = json!({"content": {"parts": [{"text": "Hi"}]}});
    let refused = bench.ask(Ask::post("/v1beta/models/gpt:embedContent", body.to_string())).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]["status"]), (400, &json!("INVALID_ARGUMENT")));
}

#[tokio::test(start_paused = true)]
async fn the_built_in_provider_answers_on_every_chat_surface() {
    let bench = Bench::new();
    let said = |answer: Answer| answer.text().replace("\\\"", "\"");
    for stream in [false, true] {
        let operation = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
        let asks = [
            responses("echo/echo-1", &json!({"stream": stream})),
            completions("/v1/completions", &json!({"model": "echo/echo-1", "prompt": "Hi", "stream": stream})),
            gemini("echo/echo-1", operation),
        ];
        for ask in asks {
            let answer = bench.ask(ask).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert!(said(answer).contains("\"Hi\""));
        }
    }
    for ask in [chat_stream("echo/echo-1"), messages("echo/echo-1")] {
        assert_eq!(bench.ask(ask).await.status, 200);
    }
    let body = json!({"contents": [{"parts": [{"text": "Hi"}]}]});
    let counted = bench.ask(Ask::post("/v1beta/models/echo/echo-1:countTokens", body.to_string())).await.json();
    assert!(counted["totalTokens"].as_u64().is_some_and(|tokens| tokens > 0), "{counted}");
}
