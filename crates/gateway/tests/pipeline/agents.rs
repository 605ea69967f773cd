//! The traffic of agentic command lines over models of other vendors: what they send, turn after turn, works unchanged.

use domain::usage::{Endpoint, Outcome};
use serde_json::{Value, json};

use crate::harness::Bench;
use crate::harness::client::{Answer, Ask};
use crate::harness::upstream::{Step, openai_end, stream};

fn sse(events: &[Value]) -> Vec<Step> {
    events.iter().map(|event| Step::Chunk(format!("data: {event}\n\n").into())).collect()
}

fn events(answer: &Answer) -> Vec<Value> {
    let data = answer.text().lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).expect("JSON")).collect()
}

fn sent(bench: &Bench, at: usize) -> Value {
    serde_json::from_slice(&bench.upstreams.calls()[at].body).expect("JSON")
}

/// A turn of a reasoning OpenAI-style model that ends in two calls at once.
fn openai_calls() -> Vec<Step> {
    let chunk = |delta: Value, finish: Value| {
        json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "up",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
    };
    let call = |index: u64, id: &str, name: &str, arguments: &str| json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}}]});
    let more = |index: u64, text: &str| json!({"tool_calls": [{"index": index, "function": {"arguments": text}}]});
    let mut steps = sse(&[
        chunk(json!({"role": "assistant", "reasoning_content": "Look first."}), Value::Null),
        chunk(json!({"content": "Let me look."}), Value::Null),
        chunk(call(0, "call_a", "Read", "{\"path\":"), Value::Null),
        chunk(more(0, "\"a.rs\"}"), Value::Null),
        chunk(call(1, "call_b", "Bash", "{\"command\":\"ls\"}"), Value::Null),
        chunk(json!({}), json!("tool_calls")),
    ]);
    let end = openai_end();
    steps.extend(end[end.len() - 2..].iter().cloned());
    steps
}

/// What the command line sends on every turn, the history apart.
fn claude_body(model: &str, messages: &Value) -> Value {
    json!({
        "model": model, "max_tokens": 32_000, "stream": true,
        "system": [
            {"type": "text", "text": "You are a command line agent."},
            {"type": "text", "text": "Be careful.", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ],
        "thinking": {"type": "enabled", "budget_tokens": 10_000},
        "metadata": {"user_id": "user_1_account__session_2"},
        "tools": [
            {"name": "Read", "description": "Reads a file", "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}},
            {"name": "Bash", "description": "Runs a command", "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}},
                "cache_control": {"type": "ephemeral"}},
        ],
        "messages": messages,
    })
}

fn claude(path: &str, body: &Value) -> Ask {
    Ask::post(path, body.to_string())
        .header("anthropic-version", "2023-06-01")
        .header("anthropic-beta", "interleaved-thinking-2025-05-14,fine-grained-tool-streaming-2025-05-14")
}

#[tokio::test(start_paused = true)]
async fn an_anthropic_agent_works_over_an_openai_model() {
    let bench = Bench::new();
    bench.upstreams.play("openai.test", stream(openai_calls()));
    let first = json!([{"role": "user", "content": [{"type": "text", "text": "Fix it", "cache_control": {"type": "ephemeral"}}]}]);
    let answer = bench.ask(claude("/v1/messages?beta=true", &claude_body("gpt", &first))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // A reader of the stream puts the turn together as the vendor's client does.
    let mut blocks: Vec<Value> = Vec::new();
    let mut partial = String::new();
    let mut stop = Value::Null;
    for event in events(&answer) {
        match event["type"].as_str().unwrap_or_default() {
            "content_block_start" => {
                assert_eq!(event["index"], blocks.len(), "blocks come one after another");
                blocks.push(event["content_block"].clone());
                partial.clear();
            }
            "content_block_delta" => {
                let (delta, block) = (&event["delta"], blocks.last_mut().expect("a block"));
                let add = |field: &str, block: &mut Value| {
                    let text = [block[field].as_str(), delta[field].as_str()].map(Option::unwrap_or_default).concat();
                    block[field] = json!(text);
                };
                match delta["type"].as_str().unwrap_or_default() {
                    "text_delta" => add("text", block),
                    "thinking_delta" => add("thinking", block),
                    "signature_delta" => block["signature"] = delta["signature"].clone(),
                    "input_json_delta" => partial.push_str(delta["partial_json"].as_str().unwrap_or_default()),
                    other => unreachable!("a delta of {other}"),
                }
            }
            "content_block_stop" => {
                let block = blocks.last_mut().expect("a block");
                if block["type"] == "tool_use" {
                    block["input"] = serde_json::from_str(&partial).expect("arguments are JSON");
                }
            }
            "message_delta" => stop = event["delta"]["stop_reason"].clone(),
            _ => {}
        }
    }
    let kinds: Vec<_> = blocks.iter().map(|block| block["type"].as_str().unwrap_or_default()).collect();
    assert_eq!((kinds, stop), (vec!["thinking", "text", "tool_use", "tool_use"], json!("tool_use")));
    assert_eq!((&blocks[2]["name"], &blocks[2]["input"]), (&json!("Read"), &json!({"path": "a.rs"})));
    assert_eq!((&blocks[3]["name"], &blocks[3]["input"]), (&json!("Bash"), &json!({"command": "ls"})));
    let asked = sent(&bench, 0);
    assert_eq!(asked["tools"].as_array().map(Vec::len), Some(2));
    assert_eq!(asked["messages"][0]["role"].as_str().map(|role| role.len() > 4), Some(true), "instructions come first");
    assert!(asked["reasoning_effort"].is_string(), "thinking is asked for in the vendor's way: {asked}");
    assert!(!bench.upstreams.calls()[0].headers.contains_key("anthropic-beta"), "another vendor's switches stay here");

    // The next turn: the whole turn goes back, with both results in one message.
    bench.upstreams.play("openai.test", crate::harness::upstream::openai_stream());
    let results = json!([
        {"type": "tool_result", "tool_use_id": blocks[2]["id"], "content": [{"type": "text", "text": "fn main() {}"}]},
        {"type": "tool_result", "tool_use_id": blocks[3]["id"], "content": "no such file", "is_error": true},
        {"type": "text", "text": "Go on."},
    ]);
    let history = json!([first[0], {"role": "assistant", "content": blocks}, {"role": "user", "content": results}]);
    let answer = bench.ask(claude("/v1/messages?beta=true", &claude_body("gpt", &history))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let messages = sent(&bench, 1)["messages"].as_array().expect("messages").clone();
    let calls: Vec<_> =
        messages.iter().flat_map(|message| message["tool_calls"].as_array().into_iter().flatten()).collect();
    let answered: Vec<_> =
        messages.iter().filter(|message| message["role"] == "tool").map(|message| &message["tool_call_id"]).collect();
    assert_eq!(
        calls.iter().map(|call| &call["id"]).collect::<Vec<_>>(),
        answered,
        "each call has its result: {messages:?}"
    );
    assert_eq!((calls.len(), &calls[0]["id"]), (2, &json!("call_a")), "and the ids are the upstream's own");
    let events = bench.ledger.wait(2).await;
    assert!(events.iter().all(|event| event.outcome == Outcome::Success && event.endpoint == Endpoint::Messages));
}

#[tokio::test(start_paused = true)]
async fn an_anthropic_agent_counts_tokens_over_any_model() {
    for model in ["gpt", "echo/echo-1"] {
        let bench = Bench::new();
        let mut body = claude_body(model, &json!([{"role": "user", "content": "Fix it"}]));
        for field in ["max_tokens", "stream", "metadata"] {
            body.as_object_mut().expect("an object").remove(field);
        }
        let answer = bench.ask(claude("/v1/messages/count_tokens?beta=true", &body)).await;
        assert!(answer.json()["input_tokens"].as_u64().is_some_and(|tokens| tokens > 20), "{model}: {}", answer.text());
    }
}

#[tokio::test(start_paused = true)]
async fn an_anthropic_agent_keeps_geminis_signatures() {
    let bench = Bench::new();
    let piece = |parts: Value, finish: Value| {
        json!({"candidates": [{"content": {"parts": parts, "role": "model"}, "finishReason": finish, "index": 0}],
            "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}, "modelVersion": "up"})
    };
    let call = json!([{"functionCall": {"name": "Read", "args": {"path": "a.rs"}}, "thoughtSignature": "c2lnbmVk"}]);
    bench.upstreams.play("gemini.test", stream(sse(&[piece(call, json!("STOP"))])));
    let first = json!([{"role": "user", "content": "Fix it"}]);
    let answer = bench.ask(claude("/v1/messages", &claude_body("gemini", &first))).await;
    let all = events(&answer);
    let start = all.iter().find(|event| event["content_block"]["type"] == "tool_use").expect("a call");
    let mut block = start["content_block"].clone();
    block["input"] = json!({"path": "a.rs"});
    bench.upstreams.play("gemini.test", stream(sse(&[piece(json!([{"text": "Done"}]), json!("STOP"))])));
    let result = json!([{"type": "tool_result", "tool_use_id": block["id"], "content": "ok"}]);
    let history = json!([first[0], {"role": "assistant", "content": [block]}, {"role": "user", "content": result}]);
    let answer = bench.ask(claude("/v1/messages", &claude_body("gemini", &history))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let contents = sent(&bench, 1)["contents"].clone();
    assert_eq!(contents[1]["parts"][0]["thoughtSignature"], "c2lnbmVk", "{contents}");
    assert_eq!(contents[2]["parts"][0]["functionResponse"]["name"], "Read", "{contents}");
}

/// What an agent that speaks responses sends: nothing is kept upstream, everything goes along.
fn codex_body(model: &str, input: &Value) -> Value {
    json!({
        "model": model, "instructions": "You are a coding agent.", "input": input, "stream": true, "store": false,
        "tools": [
            {"type": "function", "name": "shell", "description": "Runs a command", "strict": false,
                "parameters": {"type": "object", "properties": {"command": {"type": "array", "items": {"type": "string"}}}, "required": ["command"]}},
            {"type": "web_search"},
        ],
        "tool_choice": "auto", "parallel_tool_calls": true, "reasoning": {"effort": "medium", "summary": "auto"},
        "include": ["reasoning.encrypted_content"], "prompt_cache_key": "thread-1", "text": {"verbosity": "low"},
    })
}

#[tokio::test(start_paused = true)]
async fn a_responses_agent_works_over_an_anthropic_model() {
    let bench = Bench::new();
    let turn = [
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "up", "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": 10, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Look first."}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "c2ln"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "toolu_1", "name": "shell", "input": {}}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{\"command\":[\"ls\"]}"}}),
        json!({"type": "content_block_stop", "index": 1}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"output_tokens": 5}}),
        json!({"type": "message_stop"}),
    ];
    bench.upstreams.play("anthropic.test", stream(sse(&turn)));
    let first = json!([{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Fix it"}]}]);
    let answer = bench.ask(Ask::post("/v1/responses", codex_body("claude", &first).to_string())).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let items: Vec<Value> = events(&answer)
        .into_iter()
        .filter(|event| event["type"] == "response.output_item.done")
        .map(|event| event["item"].clone())
        .collect();
    let kinds: Vec<_> = items.iter().map(|item| item["type"].as_str().unwrap_or_default()).collect();
    assert_eq!(kinds, ["reasoning", "function_call"], "{}", answer.text());
    assert!(items[0]["encrypted_content"].is_string(), "the proof of the thinking comes along");
    assert_eq!((&items[1]["name"], &items[1]["arguments"]), (&json!("shell"), &json!("{\"command\":[\"ls\"]}")));
    assert!(answer.header("x-headgate-dropped").contains("tools[1]"), "{}", answer.header("x-headgate-dropped"));
    let asked = sent(&bench, 0);
    assert_eq!((&asked["tools"][0]["name"], asked["tools"].as_array().map(Vec::len)), (&json!("shell"), Some(1)));

    bench.upstreams.play("anthropic.test", crate::harness::upstream::anthropic_stream());
    let output = json!({"type": "function_call_output", "call_id": items[1]["call_id"], "output": "a.rs"});
    let history = json!([first[0], items[0], items[1], output]);
    let answer = bench.ask(Ask::post("/v1/responses", codex_body("claude", &history).to_string())).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let messages = sent(&bench, 1)["messages"].clone();
    let said = messages[1]["content"].as_array().expect("blocks").clone();
    assert_eq!((&said[0]["type"], &said[0]["signature"]), (&json!("thinking"), &json!("c2ln")), "{messages}");
    assert_eq!((&said[1]["type"], &said[1]["id"]), (&json!("tool_use"), &json!("toolu_1")));
    assert_eq!(messages[2]["content"][0]["tool_use_id"], "toolu_1");
    let last = events(&answer).pop().expect("an event");
    assert_eq!((&last["type"], &last["response"]["usage"]["output_tokens"]), (&json!("response.completed"), &json!(5)));
}
