//! A provider's own API: which credential signs, where the path leads, what goes on and what is counted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use domain::usage::{Endpoint, Outcome};
use http::Method;
use http_body_util::BodyExt as _;
use policy::Content;
use provider::wire::event_stream;
use serde_json::{Value, json};

use crate::harness::Bench;
use crate::harness::client::{Answer, Ask, Connection, next};
use crate::harness::policy::{SECRET, World, token};
use crate::harness::upstream::{OPENAI_WHOLE, Play, Step, Upstreams, json_answer, openai_stream, raw_answer};

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

// === Forms that only one vendor speaks ===

/// A world with one provider whose own API may be used; every price is that of `model`.
fn own(provider: &str, base: &str, model: &str) -> World {
    let mut world = World::empty();
    world.deployment(1, "m", provider, base);
    for content in &mut world.contents {
        match content {
            Content::Credential(credential) => credential.allows_passthrough = true,
            Content::Price(price) => model.clone_into(&mut price.upstream_model),
            _ => {}
        }
    }
    world
}

fn frames(events: &[(&str, Value)]) -> Bytes {
    let frame = |(kind, payload): &(&str, Value)| {
        let headers = [(":event-type", *kind), (":content-type", "application/json"), (":message-type", "event")];
        event_stream::write(&headers, payload.to_string().as_bytes())
    };
    events.iter().flat_map(frame).collect()
}

/// A stream of Bedrock's that used 10 + 5 tokens.
fn converse_frames() -> Bytes {
    frames(&[
        ("messageStart", json!({"role": "assistant"})),
        ("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"text": "Hello"}})),
        ("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"text": " there"}})),
        ("contentBlockStop", json!({"contentBlockIndex": 0})),
        ("messageStop", json!({"stopReason": "end_turn"})),
        (
            "metadata",
            json!({"usage": {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}, "metrics": {"latencyMs": 7}}),
        ),
    ])
}

fn invoke_frames() -> Bytes {
    let steps = crate::harness::upstream::anthropic_steps();
    let events = steps.iter().filter_map(|step| match step {
        Step::Chunk(bytes) => std::str::from_utf8(bytes).ok()?.split_once("data: "),
        _ => None,
    });
    let framed: Vec<_> = events.map(|(_, data)| ("chunk", json!({"bytes": STANDARD.encode(data.trim())}))).collect();
    frames(&framed)
}

const FRAMES: &str = "application/vnd.amazon.eventstream";
const JSON: &str = "application/json";
const NOVA: &str = "amazon.nova-pro-v1:0";
const CLAUDE: &str = "anthropic.claude-opus-4-5-20251101-v1:0";
const BEDROCK: &str = "http://bedrock.test";

/// A stream of a maker whose form nobody here knows, in which the cloud says what it counted.
fn metered_frames() -> Bytes {
    let metrics =
        json!({"inputTokenCount": 10, "outputTokenCount": 5, "invocationLatency": 700, "firstByteLatency": 90});
    let chunks = [
        json!({"generation": "Hello", "prompt_token_count": 10, "generation_token_count": 1, "stop_reason": null}),
        json!({"generation": " there", "prompt_token_count": null, "generation_token_count": 5, "stop_reason": null}),
        json!({"generation": "", "generation_token_count": 5, "stop_reason": "stop", "amazon-bedrock-invocationMetrics": metrics}),
    ];
    let framed: Vec<_> =
        chunks.iter().map(|chunk| ("chunk", json!({"bytes": STANDARD.encode(chunk.to_string())}))).collect();
    frames(&framed)
}

/// One call of a vendor's own API, and its answer of 10 + 5 tokens, or of what is said.
struct Own {
    provider: &'static str,
    base: &'static str,
    path: &'static str,
    model: &'static str,
    kind: &'static str,
    answer: Bytes,
    counted: (u64, u64, u64),
}

fn bedrocks() -> Vec<Own> {
    let case = |path, model, kind, answer, counted| Own {
        provider: "bedrock",
        base: BEDROCK,
        path,
        model,
        kind,
        answer,
        counted,
    };
    let converse = json!({"output": {"message": {"role": "assistant", "content": [{"text": "Hello there"}]}}, "stopReason": "end_turn",
        "usage": {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}, "metrics": {"latencyMs": 7}});
    let claude = json!({"id": "m", "type": "message", "role": "assistant", "model": "up", "stop_reason": "end_turn", "stop_sequence": null,
        "content": [{"type": "text", "text": "Hello there"}], "usage": {"input_tokens": 10, "output_tokens": 5}});
    let nova = json!({"output": {"message": {"role": "assistant", "content": [{"text": "Hi"}]}}, "usage": {"inputTokens": 10, "outputTokens": 5}});
    let titan = json!({"embedding": [0.5], "inputTextTokenCount": 10});
    let count = json!({"inputTokens": 10});
    let text = |value: &Value| Bytes::from(value.to_string());
    vec![
        case("model/amazon.nova-pro-v1%3A0/converse", NOVA, JSON, text(&converse), (10, 5, 0)),
        case("model/amazon.nova-pro-v1%3A0/converse-stream", NOVA, FRAMES, converse_frames(), (10, 5, 0)),
        case("model/anthropic.claude-opus-4-5-20251101-v1%3A0/invoke", CLAUDE, JSON, text(&claude), (10, 5, 0)),
        case(
            "model/anthropic.claude-opus-4-5-20251101-v1%3A0/invoke-with-response-stream",
            CLAUDE,
            FRAMES,
            invoke_frames(),
            (10, 5, 0),
        ),
        case("model/amazon.nova-pro-v1:0/invoke", NOVA, JSON, text(&nova), (10, 5, 0)),
        case(
            "model/meta.llama3-3-70b-instruct-v1:0/invoke-with-response-stream",
            "meta.llama3-3-70b-instruct-v1:0",
            FRAMES,
            metered_frames(),
            (10, 5, 0),
        ),
        case(
            "model/amazon.titan-embed-text-v2:0/invoke",
            "amazon.titan-embed-text-v2:0",
            JSON,
            text(&titan),
            (10, 0, 0),
        ),
        case("model/amazon.nova-pro-v1:0/count-tokens", NOVA, JSON, text(&count), (0, 0, 0)),
    ]
}

fn coheres_and_others() -> Vec<Own> {
    let case =
        |provider, base, path, kind, answer, counted| Own { provider, base, path, model: "up", kind, answer, counted };
    let usage = json!({"billed_units": {"input_tokens": 10.0, "output_tokens": 5.0}, "tokens": {"input_tokens": 70, "output_tokens": 5}});
    let cohere = json!({"id": "c", "finish_reason": "COMPLETE", "message": {"role": "assistant", "content": [{"type": "text", "text": "Hello there"}]},
        "usage": usage});
    let pieces = [
        json!({"type": "message-start", "id": "c", "delta": {"message": {"role": "assistant"}}}),
        json!({"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}}),
        json!({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hello there"}}}}),
        json!({"type": "content-end", "index": 0}),
        json!({"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}}),
    ];
    let cohere_stream = pieces.iter().fold(String::new(), |text, piece| {
        text + &format!(
            "event: {}
data: {piece}

",
            piece["type"]
        )
    });
    let embed = json!({"id": "e", "embeddings": {"float": [[0.5]]}, "texts": ["Hi"], "meta": {"billed_units": {"input_tokens": 10.0}}});
    let rerank = json!({"id": "r", "results": [{"index": 0, "relevance_score": 0.9}], "meta": {"billed_units": {"search_units": 1.0}}});
    let said = json!({"model": "up", "created_at": "2026-11-22T12:00:00Z", "message": {"role": "assistant", "content": "Hello"}, "done": false});
    let done = json!({"model": "up", "created_at": "2026-11-22T12:00:00Z", "message": {"role": "assistant", "content": ""}, "done": true,
        "done_reason": "stop", "prompt_eval_count": 10, "eval_count": 5});
    let text = |value: &Value| Bytes::from(value.to_string());
    let cohere_at = |path, kind, answer, counted| case("cohere", "http://cohere.test", path, kind, answer, counted);
    vec![
        cohere_at("v2/chat", JSON, text(&cohere), (10, 5, 0)),
        cohere_at("v2/chat", "text/event-stream", cohere_stream.into(), (10, 5, 0)),
        cohere_at("v2/embed", JSON, text(&embed), (10, 0, 0)),
        cohere_at("v2/rerank", JSON, text(&rerank), (0, 0, 1)),
        case(
            "ollama",
            "http://ollama.test",
            "api/chat",
            "application/x-ndjson",
            format!("{said}\n{done}\n").into(),
            (10, 5, 0),
        ),
        case("ollama", "http://ollama.test", "api/chat", JSON, text(&done), (10, 5, 0)),
        case(
            "anthropic",
            "http://anthropic.test",
            "v1/messages/count_tokens",
            JSON,
            text(&json!({"input_tokens": 4_242})),
            (0, 0, 0),
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_vendors_own_form_comes_through_untouched_and_is_counted() {
    for case in bedrocks().iter().chain(&coheres_and_others()) {
        let bench = Bench::of(&own(case.provider, case.base, case.model));
        let host = format!("{}.test", case.provider);
        bench.upstreams.play(&host, raw_answer(200, case.kind, case.answer.clone()));
        let path = format!("/passthrough/{}/{}", case.provider, case.path);
        let answer = bench.ask(ask(Method::POST, &path, r#"{"model":"up","messages":[]}"#)).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, case.kind), "{path}");
        assert_eq!(answer.body, case.answer, "{path}");
        assert_eq!(bench.upstreams.calls()[0].path, format!("/{}", case.path));
        let event = bench.event().await;
        let counted = (event.usage.input, event.usage.output, event.units.searches);
        assert_eq!(counted, case.counted, "{path}: {event:?}");
        assert_eq!((event.outcome, event.is_unmetered, event.is_estimated), (Outcome::Success, false, false), "{path}");
        let cost = (event.usage.input * 1_000 + event.usage.output * 2_000).try_into();
        assert_eq!(Ok(event.cost.as_nanos()), cost, "{path}");
        assert_eq!(event.upstream_model.as_deref(), Some(case.model), "{path}");
    }
}

/// Units of a passed-through call, and what they cost: $1 a picture, $0.001 a character.
async fn passed(path: &str, asked: &Value, answer: Play) -> (Answer, domain::usage::UsageEvent) {
    let mut world = own("openai", "http://openai.test/v1", "m");
    for content in &mut world.contents {
        if let Content::Price(price) = content {
            price.rates.units.image = Some(domain::Price::per_million(1_000_000_000_000_000));
            price.rates.units.character = Some(domain::Price::per_million(1_000_000_000_000));
        }
    }
    let bench = Bench::of(&world);
    bench.upstreams.play("openai.test", answer);
    let answer = bench.ask(ask(Method::POST, &format!("/passthrough/openai/v1/{path}"), &asked.to_string())).await;
    assert_eq!((answer.status.as_u16(), bench.upstreams.calls()[0].path.clone()), (200, format!("/v1/{path}")));
    (answer, bench.event().await)
}

#[tokio::test(start_paused = true)]
async fn pictures_speech_and_moderation_are_counted_as_anywhere() {
    let pictures = json!({"created": 1, "data": [{"b64_json": "AA"}, {"b64_json": "AA"}], "x_unknown": 1});
    let asked = json!({"model": "m", "prompt": "a cat", "n": 2, "size": "1024x1792"});
    let (answer, event) = passed("images/generations", &asked, json_answer(200, &pictures)).await;
    assert_eq!(answer.json(), pictures, "untouched");
    assert_eq!((event.units.images, event.cost.to_string().as_str(), event.is_unmetered), (2, "2", false));
    assert_eq!(event.attempts[0].image.as_deref().map(ToString::to_string).as_deref(), Some("1024x1792"));

    let asked = json!({"model": "m", "input": "Grüße", "voice": "alloy"});
    let (answer, event) = passed("audio/speech", &asked, raw_answer(200, "audio/mpeg", "sound")).await;
    assert_eq!((answer.text(), event.units.characters), ("sound", 5));
    assert_eq!((event.cost.to_string().as_str(), event.is_unmetered), ("0.005", false));

    let verdict = json!({"id": "modr-1", "model": "m", "results": [{"flagged": false}]});
    let (answer, event) =
        passed("moderations", &json!({"model": "m", "input": "Hi"}), json_answer(200, &verdict)).await;
    assert_eq!((answer.json(), event.is_unmetered, event.cost.as_nanos()), (verdict, false, 0));

    // Without a body that names a model nothing is known of it; forms with files are handed on, and said to be so.
    for path in ["images/generations", "images/edits", "audio/transcriptions"] {
        let (_, event) = passed(path, &json!({"prompt": "a cat"}), json_answer(200, &json!({"data": [{}]}))).await;
        assert!(event.is_unmetered && event.cost.as_nanos() == 0, "{path}: {event:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_breaks_inside_a_binary_stream_is_the_clients_to_read_and_known_here() {
    let path = "/passthrough/bedrock/model/amazon.nova-pro-v1%3A0/converse-stream";
    let whole = converse_frames();
    let half = whole.slice(..whole.len() / 2);
    // An exception of the vendor's own.
    let headers = [(":exception-type", "throttlingException"), (":content-type", JSON), (":message-type", "exception")];
    let failed = Bytes::from(event_stream::write(&headers, br#"{"message":"Too many tokens"}"#));
    let bench = Bench::of(&own("bedrock", BEDROCK, NOVA));
    bench.upstreams.play("bedrock.test", raw_answer(200, FRAMES, failed.clone()));
    let answer = bench.ask(ask(Method::POST, path, "{}")).await;
    assert_eq!(answer.body, failed);
    assert_eq!(bench.event().await.outcome, Outcome::UpstreamBroken);
    // Its end in the middle: nothing of ours is written into it, and it does not look whole.
    let bench = Bench::of(&own("bedrock", BEDROCK, NOVA));
    let headers = vec![("content-type", FRAMES.to_owned())];
    let gate = Upstreams::gate();
    let steps = vec![Step::Chunk(half.clone()), Step::Gate(gate.clone()), Step::Break];
    bench.upstreams.play("bedrock.test", Play::Answer { status: 200, headers, steps });
    let answer = Connection::open(&bench.lane).await.start(ask(Method::POST, path, "{}")).await;
    let mut body = answer.into_body();
    assert_eq!(next(&mut body).await, Some(half));
    gate.notify_one();
    assert!(body.collect().await.is_err(), "the end of half a stream is not an end");
    let event = bench.event().await;
    assert_eq!((event.outcome, event.is_unmetered), (Outcome::UpstreamBroken, false));
    // Bytes of another kind: they go on, and the call says that nothing was counted.
    let bench = Bench::of(&own("bedrock", BEDROCK, NOVA));
    bench.upstreams.play("bedrock.test", raw_answer(200, FRAMES, "no frames at all, but long enough"));
    let answer = bench.ask(ask(Method::POST, path, "{}")).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "no frames at all, but long enough"));
    assert_eq!(bench.event().await.usage.total(), 0);
}

#[tokio::test(start_paused = true)]
async fn refusals_keep_the_headers_that_say_what_they_are() {
    let bench = Bench::of(&own("bedrock", BEDROCK, NOVA));
    let body = json!({"message": "Too many requests, please wait"}).to_string();
    let headers = vec![
        ("content-type", "application/x-amz-json-1.1".to_owned()),
        ("x-amzn-errortype", "ThrottlingException:http://internal.amazon.com/".to_owned()),
        ("retry-after", "7".to_owned()),
        ("set-cookie", "canary=1".to_owned()),
        ("x-headgate-model", "canary".to_owned()),
    ];
    let steps = vec![Step::Chunk(body.clone().into())];
    bench.upstreams.play("bedrock.test", Play::Answer { status: 429, headers, steps });
    let refused = bench.ask(ask(Method::POST, "/passthrough/bedrock/model/m/converse", "{}")).await;
    assert_eq!((refused.status.as_u16(), refused.text()), (429, body.as_str()));
    assert_eq!(refused.header("x-amzn-errortype"), "ThrottlingException:http://internal.amazon.com/");
    assert_eq!((refused.header("retry-after"), refused.header("content-type")), ("7", "application/x-amz-json-1.1"));
    assert_eq!((refused.header("set-cookie"), refused.header("x-headgate-model")), ("", "m"));
    assert!(!refused.header("x-headgate-request-id").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_question_for_the_head_alone_is_answered_with_it() {
    let bench = Bench::of(&world());
    bench.upstreams.play("openai.test", raw_answer(200, "application/x-own", "whatever"));
    let answer =
        bench.ask(ask(Method::HEAD, "/passthrough/openai/v1/files/f?after=a%20b&limit=2&filter=c%26d", "")).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, ""));
    assert_eq!((answer.header("content-type"), answer.header("content-length")), ("application/x-own", "8"));
    assert_eq!(bench.upstreams.calls()[0].path, "/v1/files/f?after=a%20b&limit=2&filter=c%26d");
    // So is what has nothing to say.
    bench.upstreams.play("openai.test", Play::Answer { status: 204, headers: vec![], steps: vec![] });
    let answer = bench.ask(ask(Method::DELETE, "/passthrough/openai/v1/files/f", "")).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (204, ""));
    let events = bench.ledger.wait(2).await;
    assert!(events.iter().all(|event| event.outcome == Outcome::Success && event.is_unmetered), "{events:?}");
    // The connection is as good as before.
    bench.upstreams.play("openai.test", raw_answer(200, "application/x-own", "whatever"));
    assert_eq!(bench.ask(ask(Method::GET, "/passthrough/openai/v1/files/f", "")).await.text(), "whatever");
}
