//! The traffic of agentic command lines over models of other vendors: what they send, turn after turn, works unchanged.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::usage::{Endpoint, Outcome};
use policy::Content;
use provider::wire::event_stream;
use serde_json::{Value, json};

use crate::harness::Bench;
use crate::harness::client::{Answer, Ask};
use crate::harness::policy::World;
use crate::harness::upstream::{Play, Step, openai_end, openai_whole, stream};

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

/// Puts a turn together as the vendor's client does: its blocks, and why it ended.
fn put_together(answer: &Answer) -> (Vec<Value>, Value) {
    let mut blocks: Vec<Value> = Vec::new();
    let mut partial = String::new();
    let mut stop = Value::Null;
    for event in events(answer) {
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
    (blocks, stop)
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
    let (blocks, stop) = put_together(&answer);
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

/// A turn of a reasoning model on Responses: a thought, and a call.
fn responses_call() -> Vec<Step> {
    let thought = json!({"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Look first."}],
        "encrypted_content": "ZW5j"});
    let call = json!({"type": "function_call", "id": "fc_1", "status": "completed", "call_id": "call_a", "name": "Read",
        "arguments": "{\"path\":\"a.rs\"}"});
    let response = |status: &str, output: Value| {
        json!({"id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": "gpt-5.4", "output": output,
            "usage": {"input_tokens": 10, "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 3}, "total_tokens": 15}})
    };
    sse(&[
        json!({"type": "response.created", "sequence_number": 0, "response": response("in_progress", json!([]))}),
        json!({"type": "response.output_item.added", "sequence_number": 1, "output_index": 0, "item": {"type": "reasoning", "id": "rs_1", "summary": []}}),
        json!({"type": "response.reasoning_summary_text.delta", "sequence_number": 2, "item_id": "rs_1", "output_index": 0, "summary_index": 0, "delta": "Look first."}),
        json!({"type": "response.output_item.done", "sequence_number": 3, "output_index": 0, "item": thought.clone()}),
        json!({"type": "response.output_item.added", "sequence_number": 4, "output_index": 1, "item": call.clone()}),
        json!({"type": "response.output_item.done", "sequence_number": 5, "output_index": 1, "item": call.clone()}),
        json!({"type": "response.completed", "sequence_number": 6, "response": response("completed", json!([thought, call]))}),
    ])
}

#[tokio::test(start_paused = true)]
async fn an_anthropic_agent_gets_an_openai_models_reasoning_and_gives_it_back() {
    let mut world = World::standard();
    for content in &mut world.contents {
        if let Content::Deployment(deployment) = content
            && deployment.name.as_str() == "gpt"
        {
            "gpt-5.4".clone_into(&mut deployment.upstream_model);
        }
    }
    let bench = Bench::of(&world);
    bench.upstreams.play("openai.test", stream(responses_call()));
    let first = json!([{"role": "user", "content": "Fix it"}]);
    let ask = |messages: &Value| {
        let mut body = claude_body("gpt", messages);
        body["thinking"] = json!({"type": "adaptive", "display": "summarized"});
        claude("/v1/messages?beta=true", &body)
    };
    let answer = bench.ask(ask(&first)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(bench.upstreams.calls()[0].path, "/v1/responses");
    let (blocks, stop) = put_together(&answer);
    let kinds: Vec<_> = blocks.iter().map(|block| block["type"].as_str().unwrap_or_default()).collect();
    assert_eq!((kinds, stop), (vec!["thinking", "tool_use"], json!("tool_use")));
    assert_eq!(blocks[0]["thinking"], "Look first.");

    bench.upstreams.play("openai.test", stream(responses_call()));
    let result = json!([{"type": "tool_result", "tool_use_id": blocks[1]["id"], "content": "fn main() {}"}]);
    let history = json!([first[0], {"role": "assistant", "content": blocks}, {"role": "user", "content": result}]);
    let answer = bench.ask(ask(&history)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let input = sent(&bench, 1)["input"].clone();
    let item = |kind: &str| input.as_array().expect("items").iter().find(|item| item["type"] == kind).expect("an item");
    assert_eq!(item("reasoning")["encrypted_content"], "ZW5j", "{input}");
    assert_eq!(item("function_call")["call_id"], item("function_call_output")["call_id"], "{input}");
    let usage = bench.ledger.wait(2).await;
    assert!(usage.iter().all(|event| event.usage.reasoning == 3 && event.endpoint == Endpoint::Messages));
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

// === What the command lines of today send besides ===

/// The switches that Anthropic's command line sends with a turn, in a header.
const BETAS: &str = "claude-code-20250219,context-1m-2025-08-07,interleaved-thinking-2025-05-14,context-management-2025-06-27,\
                     prompt-caching-scope-2026-01-05,mid-conversation-system-2026-04-07,effort-2025-11-24,extended-cache-ttl-2025-04-11";

/// A later turn of it: sixty tools and one of the vendor's own, a word of the system in the middle of the conversation.
fn claude_today(model: &str) -> Value {
    let tool = |n: usize| {
        json!({"name": format!("mcp__server-{n}__do.it"), "description": "Does it", "eager_input_streaming": true,
            "input_schema": {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "properties": {"path": {"type": "string"}},
                "required": ["path"], "additionalProperties": false}})
    };
    let mut tools: Vec<Value> = (0..60).map(tool).collect();
    tools.push(json!({"type": "web_search_20250305", "name": "web_search", "max_uses": 8}));
    let global = json!({"type": "ephemeral", "ttl": "1h", "scope": "global"});
    json!({
        "model": model, "max_tokens": 64_000, "stream": true, "temperature": 1,
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.165.492; cc_entrypoint=cli; cch=b5d33;"},
            {"type": "text", "text": "You are a command line agent.", "cache_control": global},
            {"type": "text", "text": "The folder is /src.", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ],
        "thinking": {"type": "adaptive"}, "output_config": {"effort": "high"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "metadata": {"user_id": "{\"device_id\":\"d\",\"account_uuid\":\"\",\"session_id\":\"s\"}"},
        "tools": tools, "tool_choice": {"type": "none"},
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "<system-reminder>Today is Sunday.</system-reminder>"}, {"type": "text", "text": "Fix it"}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "", "signature": "c2ln"},
                {"type": "tool_use", "id": "toolu_1", "name": "mcp__server-7__do.it", "input": {"path": "a.rs"}, "caller": {"type": "direct"}},
            ]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [
                {"type": "text", "text": "fn main() {}"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
            ]}]},
            {"role": "system", "content": "The user has changed the folder."},
            {"role": "user", "content": [{"type": "text", "text": "Go on.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
        ],
    })
}

fn claude_today_asks(model: &str) -> Ask {
    Ask::post("/v1/messages?beta=true", claude_today(model).to_string())
        .header("anthropic-version", "2023-06-01")
        .header("anthropic-beta", BETAS)
        .header("anthropic-dangerous-direct-browser-access", "true")
        .header("x-app", "cli")
        .header("x-claude-code-session-id", "5e0a0000-0000-4000-8000-000000000000")
        .header("x-stainless-retry-count", "0")
        .header("x-stainless-timeout", "600")
}

/// The standard world, and Claude at two clouds.
fn clouds() -> World {
    let mut world = World::standard();
    world.deployment(21, "aws", "bedrock", "http://bedrock.test");
    world.deployment(22, "google", "vertex", "http://vertex.test/v1/projects/p/locations/l");
    for content in &mut world.contents {
        if let Content::Deployment(deployment) = content {
            match deployment.provider.as_str() {
                "bedrock" => "eu.anthropic.claude-opus-4-5-20251101-v1:0".clone_into(&mut deployment.upstream_model),
                "vertex" => "claude-opus-4-5@20251101".clone_into(&mut deployment.upstream_model),
                _ => {}
            }
        }
    }
    world
}

#[tokio::test(start_paused = true)]
async fn a_turn_of_todays_anthropic_agent_works_over_openai_and_gemini() {
    let bench = Bench::of(&clouds());
    bench.upstreams.play("openai.test", crate::harness::upstream::openai_stream());
    let answer = bench.ask(claude_today_asks("gpt")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let asked = sent(&bench, 0);
    let roles: Vec<_> = asked["messages"].as_array().expect("messages").iter().map(|one| one["role"].clone()).collect();
    assert_eq!(roles.len(), 7, "{roles:?}");
    assert_eq!(asked["messages"][5]["content"], "The user has changed the folder.", "it keeps its place: {asked}");
    assert_ne!(roles[5], "user");
    let names: Vec<_> =
        asked["tools"].as_array().expect("tools").iter().map(|tool| tool["function"]["name"].as_str()).collect();
    assert_eq!(names.len(), 60, "only the vendor's own is left out");
    assert!(names.iter().all(|name| name.is_some_and(|name| !name.contains('.'))), "{names:?}");
    assert_eq!((&asked["tool_choice"], &asked["reasoning_effort"]), (&json!("none"), &json!("high")));
    let said = asked.to_string();
    for foreign in [
        "cache_control",
        "context_management",
        "output_config",
        "clear_thinking",
        "eager_input",
        "\"signature\"",
        "caller",
    ] {
        assert!(!said.contains(foreign), "{foreign} is another vendor's: {said}");
    }
    let dropped = answer.header("x-headgate-dropped");
    assert!(dropped.contains("tools[60]") && dropped.contains("context_management"), "{dropped}");

    bench.upstreams.play("gemini.test", crate::harness::upstream::gemini_stream());
    let answer = bench.ask(claude_today_asks("gemini")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let asked = sent(&bench, 1);
    assert_eq!(asked["toolConfig"]["functionCallingConfig"]["mode"], "NONE", "{asked}");
    assert!(asked["systemInstruction"].to_string().contains("command line agent"));
    assert_eq!(asked["contents"][0]["role"], "user");
}

#[tokio::test(start_paused = true)]
async fn what_changes_with_every_call_does_not_spoil_another_vendors_prompt_cache() {
    for model in ["gpt", "gemini"] {
        let bench = Bench::new();
        let host = format!("{}.test", if model == "gpt" { "openai" } else { model });
        let mut begins = Vec::new();
        for mark in ["b5d33", "00000"] {
            let play = if model == "gpt" {
                crate::harness::upstream::openai_stream()
            } else {
                crate::harness::upstream::gemini_stream()
            };
            bench.upstreams.play(&host, play);
            let body = claude_today(model).to_string().replace("b5d33", mark);
            let answer = bench.ask(claude("/v1/messages?beta=true", &serde_json::from_str(&body).expect("JSON"))).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            begins.push(bench.upstreams.calls().last().expect("a call").body.clone());
        }
        assert_eq!(begins[0], begins[1], "{model}: the same words give the same prompt");
        assert!(!String::from_utf8_lossy(&begins[0]).contains("billing-header"), "{model}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_of_todays_anthropic_agent_works_with_claude_at_home_and_in_clouds() {
    let bench = Bench::of(&clouds());
    bench.upstreams.play("anthropic.test", crate::harness::upstream::anthropic_stream());
    let answer = bench.ask(claude_today_asks("claude")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let home = bench.upstreams.calls()[0].clone();
    assert_eq!(home.headers["anthropic-beta"], BETAS);
    let mut as_sent = claude_today("up-2");
    assert_eq!(
        serde_json::from_slice::<Value>(&home.body).expect("JSON"),
        as_sent,
        "nothing but the model's name changes"
    );

    // Amazon takes the switches it knows in the body, and none of the model's name or of streaming.
    bench.upstreams.play("bedrock.test", invoke_stream());
    let answer = bench.ask(claude_today_asks("aws")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(events(&answer).iter().any(|event| event["type"] == "message_stop"), "{}", answer.text());
    let aws = bench.upstreams.calls()[1].clone();
    assert!(!aws.headers.contains_key("anthropic-beta"));
    let asked = sent(&bench, 1);
    assert_eq!(
        asked["anthropic_beta"],
        json!([
            "context-1m-2025-08-07",
            "interleaved-thinking-2025-05-14",
            "context-management-2025-06-27",
            "effort-2025-11-24"
        ])
    );
    assert_eq!((&asked["context_management"], &asked["model"]), (&as_sent["context_management"], &Value::Null));

    // Google takes them in a header, and refuses those that it does not know.
    bench.upstreams.play("vertex.test", crate::harness::upstream::anthropic_stream());
    let answer = bench.ask(claude_today_asks("google")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let google = bench.upstreams.calls()[2].clone();
    assert_eq!(
        google.headers["anthropic-beta"],
        "context-1m-2025-08-07,interleaved-thinking-2025-05-14,context-management-2025-06-27"
    );
    as_sent.as_object_mut().expect("an object").remove("model");
    as_sent["anthropic_version"] = json!("vertex-2023-10-16");
    assert_eq!(sent(&bench, 2), as_sent);
}

fn invoke_stream() -> Play {
    let steps = crate::harness::upstream::anthropic_steps();
    let frame = |step: &Step| {
        let Step::Chunk(bytes) = step else { unreachable!("a chunk") };
        let data = std::str::from_utf8(bytes).expect("text").split_once("data: ").expect("data").1.trim();
        let payload = json!({"bytes": STANDARD.encode(data)}).to_string();
        let headers = [(":event-type", "chunk"), (":content-type", "application/json"), (":message-type", "event")];
        Step::Chunk(event_stream::write(&headers, payload.as_bytes()).into())
    };
    let headers = vec![("content-type", "application/vnd.amazon.eventstream".to_owned())];
    Play::Answer { status: 200, headers, steps: steps.iter().map(frame).collect() }
}

#[tokio::test(start_paused = true)]
async fn small_calls_of_an_anthropic_agent_work_over_an_openai_model() {
    let bench = Bench::new();
    // Is there quota left? One token is enough to know.
    bench.upstreams.play("openai.test", openai_whole());
    let body = json!({"model": "gpt", "max_tokens": 1, "messages": [{"role": "user", "content": "quota"}], "metadata": {"user_id": "u"}});
    let answer = bench.ask(claude("/v1/messages?beta=true", &body)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["type"]), (200, &json!("message")), "{}", answer.text());
    // A title for the conversation, as JSON.
    bench.upstreams.play("openai.test", crate::harness::upstream::openai_stream());
    let schema = json!({"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"], "additionalProperties": false});
    let body = json!({"model": "gpt", "max_tokens": 32_000, "stream": true, "temperature": 1, "tools": [], "system": [{"type": "text", "text": "Title it."}],
        "output_config": {"format": {"type": "json_schema", "schema": schema}}, "messages": [{"role": "user", "content": "Fix it"}]});
    let answer = bench.ask(claude("/v1/messages?beta=true", &body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let asked = sent(&bench, 1);
    assert_eq!(asked["response_format"]["json_schema"]["schema"], schema, "{asked}");
    assert!(asked["tools"].is_null(), "an empty list of tools is none: {asked}");
}

/// A later turn of an agent that speaks responses: calls of every kind are behind it, with their results.
fn codex_today(model: &str) -> Value {
    let grammar = json!({"type": "grammar", "syntax": "lark", "definition": "start: \"x\""});
    json!({
        "model": model, "instructions": "You are a coding agent.", "stream": true, "store": false,
        "tools": [
            {"type": "function", "name": "exec_command", "description": "Runs a command", "strict": false,
                "parameters": {"type": "object", "properties": {"cmd": {"type": "string"}}, "required": ["cmd"], "additionalProperties": false}},
            {"type": "custom", "name": "apply_patch", "description": "Changes files", "format": grammar},
            {"type": "local_shell"},
            {"type": "web_search", "external_web_access": true},
        ],
        "tool_choice": "auto", "parallel_tool_calls": false, "reasoning": {"effort": "xhigh", "summary": "auto"},
        "include": ["reasoning.encrypted_content"], "prompt_cache_key": "01999999-0000-7000-8000-000000000000",
        "service_tier": "priority", "text": {"verbosity": "low"}, "client_metadata": {"x-codex-installation-id": "i"},
        "input": [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "<permissions>read-only</permissions>"}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Fix it"}, {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Look first."}], "content": null, "encrypted_content": "gAAAAAB-not-ours"},
            {"type": "function_call", "name": "exec_command", "arguments": "{\"cmd\":\"ls\"}", "call_id": "call_1"},
            {"type": "function_call_output", "call_id": "call_1", "output": "a.rs"},
            {"type": "custom_tool_call", "status": "completed", "call_id": "call_2", "name": "apply_patch", "input": "*** Begin Patch"},
            {"type": "custom_tool_call_output", "call_id": "call_2", "output": "Success"},
            {"type": "function_call", "name": "exec_command", "arguments": "{\"cmd\":\"shot\"}", "call_id": "call_3"},
            {"type": "function_call_output", "call_id": "call_3", "output": [{"type": "input_text", "text": "A picture:"}, {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}]},
            {"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "x"}},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Done."}], "phase": "final_answer"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Go on."}]},
        ],
    })
}

#[tokio::test(start_paused = true)]
async fn a_turn_of_todays_responses_agent_works_over_other_vendors() {
    let bench = Bench::new();
    for (at, (model, host, play)) in [
        ("claude", "anthropic.test", crate::harness::upstream::anthropic_stream()),
        ("gemini", "gemini.test", crate::harness::upstream::gemini_stream()),
    ]
    .into_iter()
    .enumerate()
    {
        bench.upstreams.play(host, play);
        let ask = Ask::post("/v1/responses", codex_today(model).to_string())
            .header("originator", "codex_cli_rs")
            .header("session_id", "01999999-0000-7000-8000-000000000000")
            .header("openai-beta", "responses=experimental")
            .header("accept", "text/event-stream");
        let answer = bench.ask(ask).await;
        assert_eq!(answer.status, 200, "{model}: {}", answer.text());
        let last = events(&answer).pop().expect("an event");
        assert_eq!(last["type"], "response.completed", "{model}: {}", answer.text());
        let asked = sent(&bench, at).to_string();
        for kept in
            ["read-only", "exec_command", "apply_patch", "Begin Patch", "Success", "A picture:", "Done.", "Go on."]
        {
            assert!(asked.contains(kept), "{model}: `{kept}` was said: {asked}");
        }
        assert_eq!(asked.matches("iVBORw0KGgo=").count(), 2, "{model}: both pictures come along: {asked}");
        for foreign in ["gAAAAAB", "prompt_cache_key", "client_metadata", "verbosity", "custom_tool", "service_tier"] {
            assert!(!asked.contains(foreign), "{model}: {foreign} is another vendor's: {asked}");
        }
        assert!(!bench.upstreams.calls()[at].headers.contains_key("session_id"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_custom_tool_called_by_another_vendors_model_is_a_custom_call() {
    let bench = Bench::new();
    let turn = [
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "up", "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": 10, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "toolu_1", "name": "apply_patch", "input": {}}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{\"input\":\"*** Begin"}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": " Patch\\n+x\"}"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"output_tokens": 5}}),
        json!({"type": "message_stop"}),
    ];
    bench.upstreams.play("anthropic.test", stream(sse(&turn)));
    let answer = bench.ask(Ask::post("/v1/responses", codex_today("claude").to_string())).await;
    let all = events(&answer);
    let done = all.iter().find(|event| event["type"] == "response.output_item.done").expect("an item");
    let item = &done["item"];
    assert_eq!(
        (&item["type"], &item["name"]),
        (&json!("custom_tool_call"), &json!("apply_patch")),
        "{}",
        answer.text()
    );
    assert_eq!(item["input"], "*** Begin Patch\n+x");
}
