//! What is booked is what the upstream counted, whatever way it counts and whatever language its client speaks.
//!
//! Each case is an answer as one vendor writes it, asked for by clients of all languages. The ledger must have its count in
//! kinds that do not overlap, at the price of each; the client is told the same count in its own form.

use bytes::Bytes;
use domain::usage::{Outcome, TokenUsage};
use provider::wire::event_stream;
use serde_json::{Value, json};

use crate::harness::Bench;
use crate::harness::client::{Answer, Ask};
use crate::harness::policy::World;
use crate::harness::raw::{End, Raw};

/// A vendor's way of counting.
struct Case {
    name: &'static str,
    provider: &'static str,
    base_path: &'static str,
    kind: &'static str,
    body: Bytes,
    /// `None` when the upstream says nothing that can be believed: then it is estimated.
    counted: Option<TokenUsage>,
}

const WHOLE: &str = "application/json";
const STREAM: &str = "text/event-stream";
const LINES: &str = "application/x-ndjson";
const FRAMES: &str = "application/vnd.amazon.eventstream";

fn tokens(input: u64, cached_input: u64, output: u64, reasoning: u64) -> TokenUsage {
    TokenUsage { input, cached_input, output, reasoning, ..TokenUsage::default() }
}

fn sse(events: &[Value]) -> String {
    events.iter().fold(String::new(), |text, event| text + &format!("data: {event}\n\n"))
}

// === Vendors ===

fn openai(usage: &Value) -> String {
    json!({"id": "c", "object": "chat.completion", "created": 1, "model": "up", "usage": usage,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello there"}, "finish_reason": "stop"}]})
    .to_string()
}

/// A stream of two words, an end and a list of usages: with the first word, with the second, with the end, after it.
fn openai_stream(usages: [Value; 4]) -> String {
    let [first, second, end, after] = usages;
    let event = |choices: Value, usage: Value| json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "up", "choices": choices, "usage": usage});
    let word = |text: &str| json!([{"index": 0, "delta": {"content": text}, "finish_reason": null}]);
    let stop = json!([{"index": 0, "delta": {}, "finish_reason": "stop"}]);
    let mut events = vec![event(word("Hello"), first), event(word(" there"), second), event(stop, end)];
    if !after.is_null() {
        events.push(event(json!([]), after));
    }
    sse(&events) + "data: [DONE]\n\n"
}

fn anthropic(usage: &Value) -> String {
    json!({"id": "m", "type": "message", "role": "assistant", "model": "up", "stop_reason": "end_turn", "stop_sequence": null,
        "content": [{"type": "text", "text": "Hello there"}], "usage": usage})
    .to_string()
}

fn anthropic_stream(start: &Value, ends: &[Value]) -> String {
    let message = json!({"id": "m", "type": "message", "role": "assistant", "model": "up", "content": [], "stop_reason": null,
        "stop_sequence": null, "usage": start});
    let mut events = vec![
        json!({"type": "message_start", "message": message}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " there"}}),
        json!({"type": "content_block_stop", "index": 0}),
    ];
    for usage in ends {
        let delta = json!({"stop_reason": "end_turn", "stop_sequence": null});
        let mut event = json!({"type": "message_delta", "delta": delta});
        if !usage.is_null() {
            event["usage"] = usage.clone();
        }
        events.push(event);
    }
    events.push(json!({"type": "message_stop"}));
    let kind = |event: &Value| event["type"].as_str().unwrap_or_default().to_owned();
    events.iter().fold(String::new(), |text, event| text + &format!("event: {}\ndata: {event}\n\n", kind(event)))
}

fn gemini(usage: &Value) -> Value {
    json!({"candidates": [{"content": {"role": "model", "parts": [{"text": "Hello there"}]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": usage, "modelVersion": "up", "responseId": "r"})
}

fn gemini_stream(usages: &[Value; 3]) -> String {
    let part = |text: &str, usage: &Value| {
        json!({"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}], "usageMetadata": usage,
            "modelVersion": "up", "responseId": "r"})
    };
    let mut last = part("!", &usages[2]);
    last["candidates"][0]["finishReason"] = json!("STOP");
    sse(&[part("Hello", &usages[0]), part(" there", &usages[1]), last])
}

fn openai_cases() -> Vec<Case> {
    let case = |name, provider, kind, body: String, counted| Case {
        name,
        provider,
        base_path: "/v1",
        kind,
        body: body.into(),
        counted,
    };
    let plain = |input: u64, output: u64| json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output});
    let details = json!({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
        "prompt_tokens_details": {"cached_tokens": 40}, "completion_tokens_details": {"reasoning_tokens": 5}});
    let null = Value::Null;
    vec![
        case("OpenAI, cached tokens inside", "openai", WHOLE, openai(&details), Some(tokens(60, 40, 20, 5))),
        case(
            "OpenAI, once at the end",
            "openai",
            STREAM,
            openai_stream([null.clone(), null.clone(), null.clone(), details]),
            Some(tokens(60, 40, 20, 5)),
        ),
        case(
            "compatible, a running total in every chunk",
            "openai_compatible",
            STREAM,
            openai_stream([plain(10, 1), plain(10, 2), plain(10, 2), plain(10, 5)]),
            Some(tokens(10, 0, 5, 0)),
        ),
        case(
            "compatible, the same twice",
            "openai_compatible",
            STREAM,
            openai_stream([null.clone(), null.clone(), plain(10, 5), plain(10, 5)]),
            Some(tokens(10, 0, 5, 0)),
        ),
        case(
            "compatible, with the reason to stop",
            "openai_compatible",
            STREAM,
            openai_stream([null.clone(), null.clone(), plain(10, 5), null.clone()]),
            Some(tokens(10, 0, 5, 0)),
        ),
        case(
            "DeepSeek, hits of the cache beside",
            "deepseek",
            WHOLE,
            openai(
                &json!({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "prompt_cache_hit_tokens": 64,
                "prompt_cache_miss_tokens": 36, "completion_tokens_details": {"reasoning_tokens": 7}}),
            ),
            Some(tokens(36, 64, 20, 7)),
        ),
        case("compatible, none", "openai_compatible", WHOLE, openai(&null), None),
        case(
            "compatible, none in a stream",
            "openai_compatible",
            STREAM,
            openai_stream([(); 4].map(|()| Value::Null)),
            None,
        ),
        case(
            "compatible, negative",
            "openai_compatible",
            WHOLE,
            openai(&json!({"prompt_tokens": -3, "completion_tokens": -1, "total_tokens": -4})),
            None,
        ),
        case("compatible, nothing for an answer", "openai_compatible", WHOLE, openai(&plain(0, 0)), None),
        case("compatible, absurd", "openai_compatible", WHOLE, openai(&plain(1 << 62, 1 << 62)), None),
    ]
}

/// Vendors that speak OpenAI's language and count in ways of their own.
fn resembling_cases() -> Vec<Case> {
    let case = |name, provider, kind, body: String, counted| Case {
        name,
        provider,
        base_path: "/v1",
        kind,
        body: body.into(),
        counted,
    };
    let with_end = |usage: Value| openai_stream([Value::Null, Value::Null, usage, Value::Null]);
    vec![
        case(
            "xAI, reasoning beside the completion",
            "xai",
            WHOLE,
            openai(
                &json!({"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 135, "completion_tokens_details": {"reasoning_tokens": 94}}),
            ),
            Some(tokens(32, 0, 103, 94)),
        ),
        case(
            "Together, cached tokens at the top",
            "together",
            STREAM,
            with_end(json!({"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105, "cached_tokens": 30})),
            Some(tokens(70, 30, 5, 0)),
        ),
        case(
            "Groq, cached tokens inside, with the end",
            "groq",
            STREAM,
            with_end(
                json!({"queue_time": 0.1, "prompt_tokens": 100, "prompt_time": 0.1, "completion_tokens": 5, "completion_time": 0.1,
                "total_tokens": 105, "total_time": 0.2, "prompt_tokens_details": {"cached_tokens": 64}}),
            ),
            Some(tokens(36, 64, 5, 0)),
        ),
        case(
            "OpenRouter, written and read caches inside",
            "openrouter",
            WHOLE,
            openai(
                &json!({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "cost": 0.01, "is_byok": false,
                "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 20, "audio_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 5}}),
            ),
            Some(TokenUsage { cache_write_5m: 20, ..tokens(50, 30, 20, 5) }),
        ),
        case(
            "Mistral, with the end, nothing after",
            "mistral",
            STREAM,
            with_end(json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15})),
            Some(tokens(10, 0, 5, 0)),
        ),
    ]
}

fn anthropic_cases() -> Vec<Case> {
    let case = |name, kind, body: String, counted| Case {
        name,
        provider: "anthropic",
        base_path: "",
        kind,
        body: body.into(),
        counted,
    };
    let usage = json!({"input_tokens": 10, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 20, "output_tokens": 7,
        "cache_creation": {"ephemeral_5m_input_tokens": 15, "ephemeral_1h_input_tokens": 5}});
    let counted = TokenUsage { cache_write_5m: 15, cache_write_1h: 5, ..tokens(10, 30, 7, 0) };
    let mut start = usage.clone();
    start["output_tokens"] = json!(1);
    vec![
        case("Anthropic, the cache beside", WHOLE, anthropic(&usage), Some(counted)),
        case(
            "Anthropic, opening and end",
            STREAM,
            anthropic_stream(&start, &[json!({"output_tokens": 7})]),
            Some(counted),
        ),
        case(
            "Anthropic, running totals",
            STREAM,
            anthropic_stream(&start, &[json!({"output_tokens": 3}), json!({"output_tokens": 7})]),
            Some(counted),
        ),
        case("Anthropic, everything again at the end", STREAM, anthropic_stream(&start, &[usage]), Some(counted)),
        case("Anthropic, only an opening", STREAM, anthropic_stream(&start, &[Value::Null]), None),
    ]
}

fn cohere_stream() -> String {
    sse(&[
        json!({"type": "message-start", "id": "c", "delta": {"message": {"role": "assistant"}}}),
        json!({"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}}),
        json!({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hello"}}}}),
        json!({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": " there"}}}}),
        json!({"type": "content-end", "index": 0}),
        json!({"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": {"billed_units": {"input_tokens": 8.0, "output_tokens": 3.0},
            "tokens": {"input_tokens": 900, "output_tokens": 3}}}}),
    ])
}

/// Bedrock's count stands beside the cache's, and in a stream after the end.
fn bedrock_cases() -> Vec<Case> {
    let usage = json!({"inputTokens": 10, "outputTokens": 7, "totalTokens": 67, "cacheReadInputTokens": 30, "cacheWriteInputTokens": 20,
        "cacheDetails": [{"ttl": "5m", "inputTokens": 15}, {"ttl": "1h", "inputTokens": 5}]});
    let counted = TokenUsage { cache_write_5m: 15, cache_write_1h: 5, ..tokens(10, 30, 7, 0) };
    let whole = |usage: &Value| {
        let mut body = json!({"output": {"message": {"role": "assistant", "content": [{"text": "Hello there"}]}}, "stopReason": "end_turn", "metrics": {"latencyMs": 7}});
        if !usage.is_null() {
            body["usage"] = usage.clone();
        }
        Bytes::from(body.to_string())
    };
    let stream = |usage: &Value| {
        let mut events = vec![
            ("messageStart", json!({"role": "assistant"})),
            ("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"text": "Hello"}})),
            ("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"text": " there"}})),
            ("contentBlockStop", json!({"contentBlockIndex": 0})),
            ("messageStop", json!({"stopReason": "end_turn"})),
        ];
        if !usage.is_null() {
            events.push(("metadata", json!({"usage": usage, "metrics": {"latencyMs": 7}})));
        }
        let frame = |(kind, payload): &(&str, Value)| {
            let headers = [(":event-type", *kind), (":content-type", "application/json"), (":message-type", "event")];
            event_stream::write(&headers, payload.to_string().as_bytes())
        };
        events.iter().flat_map(frame).collect::<Bytes>()
    };
    let case = |name, kind, body, counted| Case { name, provider: "bedrock", base_path: "", kind, body, counted };
    vec![
        case("Bedrock, the cache beside", WHOLE, whole(&usage), Some(counted)),
        case("Bedrock, none", WHOLE, whole(&Value::Null), None),
        case("Bedrock, after the end", FRAMES, stream(&usage), Some(counted)),
        case("Bedrock, none in a stream", FRAMES, stream(&Value::Null), None),
    ]
}

fn other_cases() -> Vec<Case> {
    let case = |name, provider, kind, body: String, counted| Case {
        name,
        provider,
        base_path: "",
        kind,
        body: body.into(),
        counted,
    };
    let gem = |candidates: u64, thoughts: u64| {
        json!({"promptTokenCount": 100, "cachedContentTokenCount": 40, "candidatesTokenCount": candidates,
            "thoughtsTokenCount": thoughts, "totalTokenCount": 100 + candidates + thoughts})
    };
    let cohere = json!({"id": "c", "finish_reason": "COMPLETE", "message": {"role": "assistant", "content": [{"type": "text", "text": "Hello there"}]},
        "usage": {"billed_units": {"input_tokens": 8.0, "output_tokens": 3.0}, "tokens": {"input_tokens": 900, "output_tokens": 3}}});
    let ollama = |end: Value| {
        let said = json!({"model": "up", "created_at": "2026-11-22T12:00:00Z", "message": {"role": "assistant", "content": "Hello there"}, "done": false});
        format!("{said}\n{end}\n")
    };
    let done = json!({"model": "up", "created_at": "2026-11-22T12:00:00Z", "message": {"role": "assistant", "content": ""}, "done": true,
        "done_reason": "stop", "prompt_eval_count": 11, "eval_count": 6});
    let mut whole_ollama = done.clone();
    whole_ollama["message"]["content"] = json!("Hello there");
    vec![
        case(
            "Gemini, thoughts beside, cached tokens inside",
            "gemini",
            WHOLE,
            gemini(&gem(20, 5)).to_string(),
            Some(tokens(60, 40, 25, 5)),
        ),
        case(
            "Gemini, a running total in every chunk",
            "gemini",
            STREAM,
            gemini_stream(&[gem(1, 5), gem(9, 5), gem(20, 5)]),
            Some(tokens(60, 40, 25, 5)),
        ),
        case("Cohere, billed units before tokens", "cohere", WHOLE, cohere.to_string(), Some(tokens(8, 0, 3, 0))),
        case("Gemini, none", "gemini", WHOLE, gemini(&Value::Null).to_string(), None),
        case(
            "Vertex, with the end only",
            "vertex",
            STREAM,
            gemini_stream(&[Value::Null, Value::Null, gem(20, 5)]),
            Some(tokens(60, 40, 25, 5)),
        ),
        case("Cohere, in the last event", "cohere", STREAM, cohere_stream(), Some(tokens(8, 0, 3, 0))),
        case("Ollama, whole", "ollama", WHOLE, whole_ollama.to_string(), Some(tokens(11, 0, 6, 0))),
        case("Ollama, in the last line", "ollama", LINES, ollama(done), Some(tokens(11, 0, 6, 0))),
    ]
}

// === Clients ===

#[derive(Debug, Clone, Copy)]
enum Client {
    Chat,
    Responses,
    Messages,
    Gemini,
}

impl Client {
    fn ask(self, is_stream: bool) -> Ask {
        let user = json!([{"role": "user", "content": "Hi"}]);
        match self {
            Self::Chat => Ask::post(
                "/v1/chat/completions",
                json!({"model": "m", "stream": is_stream, "stream_options": {"include_usage": true}, "messages": user})
                    .to_string(),
            ),
            Self::Responses => Ask::post(
                "/v1/responses",
                json!({"model": "m", "stream": is_stream, "store": false, "input": "Hi"}).to_string(),
            ),
            Self::Messages => Ask::post(
                "/v1/messages",
                json!({"model": "m", "stream": is_stream, "max_tokens": 64, "messages": user}).to_string(),
            ),
            Self::Gemini => {
                let operation = if is_stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
                let body = json!({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]});
                Ask::post(&format!("/v1beta/models/m:{operation}"), body.to_string())
            }
        }
    }

    /// What the client is told: all input tokens, all output tokens.
    fn told(self, answer: &Answer, is_stream: bool) -> (u64, u64) {
        let bodies: Vec<Value> = if is_stream {
            let data = answer.text().lines().filter_map(|line| line.strip_prefix("data: "));
            data.filter_map(|data| serde_json::from_str(data).ok()).collect()
        } else {
            vec![answer.json()]
        };
        let mut told = (0, 0);
        for body in bodies {
            let usage = match self {
                Self::Chat => &body["usage"],
                Self::Responses if is_stream => &body["response"]["usage"],
                Self::Responses | Self::Messages if body["usage"].is_object() => &body["usage"],
                Self::Responses | Self::Messages => &body["message"]["usage"],
                Self::Gemini => &body["usageMetadata"],
            };
            let sum = |names: &[&str]| names.iter().filter_map(|name| usage[*name].as_u64()).sum::<u64>();
            let (input, output) = match self {
                // What comes untouched may count reasoning beside the completion, as the total tells.
                Self::Chat => {
                    let (input, completion) = (sum(&["prompt_tokens"]), sum(&["completion_tokens"]));
                    (input, completion.max(sum(&["total_tokens"]).saturating_sub(input)))
                }
                Self::Responses => (sum(&["input_tokens"]), sum(&["output_tokens"])),
                Self::Messages => (
                    sum(&["input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"]),
                    sum(&["output_tokens"]),
                ),
                Self::Gemini => (sum(&["promptTokenCount"]), sum(&["candidatesTokenCount", "thoughtsTokenCount"])),
            };
            told = (told.0.max(input), told.1.max(output));
        }
        told
    }
}

fn bench(case: &Case, end: End, cut: usize) -> Bench {
    let mut world = World::empty();
    world.deployment(1, "m", case.provider, &format!("http://up.test{}", case.base_path));
    let bench = Bench::of(&world);
    let body = case.body.slice(..case.body.len() - cut);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n", case.kind, case.body.len());
    bench.upstreams.fault("up.test", Raw::of([head.as_bytes(), &body].concat(), end));
    bench
}

#[tokio::test(start_paused = true)]
async fn what_is_booked_is_what_the_upstream_counted() {
    for case in openai_cases()
        .iter()
        .chain(&resembling_cases())
        .chain(&anthropic_cases())
        .chain(&other_cases())
        .chain(&bedrock_cases())
    {
        let is_stream = case.kind != WHOLE;
        for client in [Client::Chat, Client::Responses, Client::Messages, Client::Gemini] {
            if matches!(client, Client::Responses) && case.provider == "openai" {
                // It speaks that language itself, and so would not answer in the other.
                continue;
            }
            let bench = bench(case, End::Hang, 0);
            let answer = bench.ask(client.ask(is_stream)).await;
            let event = bench.event().await;
            let shown = format!("{}, {client:?}: {} {} {:?}", case.name, answer.status, answer.text(), event.usage);
            assert_eq!((answer.status.as_u16(), event.outcome), (200, Outcome::Success), "{shown}");
            let Some(counted) = case.counted else {
                assert!(event.is_estimated && event.usage.output > 0 && event.usage.total() < 1_000, "{shown}");
                assert!(event.cost.as_nanos() > 0, "{shown}");
                continue;
            };
            assert_eq!((event.usage, event.is_estimated), (counted, false), "{shown}");
            // $1 a million of any input, $2 of output.
            let cost = counted.total_input() * 1_000 + counted.output * 2_000;
            assert_eq!(event.cost.as_nanos(), i64::try_from(cost).expect("small"), "{shown}");
            assert_eq!(client.told(&answer, is_stream), (counted.total_input(), counted.output), "{shown}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_cut_before_its_count_is_booked_as_far_as_it_is_known() {
    let cases = [
        openai_cases().swap_remove(1),
        anthropic_cases().swap_remove(1),
        other_cases().swap_remove(1),
        bedrock_cases().swap_remove(2),
    ];
    for (case, known_input) in cases.iter().zip([0, 60, 100, 0]) {
        // What the last 40 bytes hold is the end in each of them; the OpenAI count stands there alone.
        let cut = case.body.len() - memchr::memmem::find(&case.body, b" there").expect("two words") + 1;
        for client in [Client::Chat, Client::Messages] {
            let bench = bench(case, End::Reset, cut);
            let answer = bench.ask(client.ask(true)).await;
            let event = bench.event().await;
            let shown = format!("{}, {client:?}: {} {:?}", case.name, answer.text(), event.usage);
            assert_eq!((event.outcome, event.is_estimated), (Outcome::UpstreamBroken, true), "{shown}");
            if known_input > 0 {
                assert_eq!(event.usage.total_input(), known_input, "{shown}");
                assert!(event.cost.as_nanos() > 0, "what the upstream had counted is paid for: {shown}");
            } else {
                assert_eq!(event.cost.as_nanos(), 0, "nobody can show what it was: {shown}");
            }
        }
    }
}
