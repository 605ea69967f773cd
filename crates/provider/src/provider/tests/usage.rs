//! What every vendor says of usage, and what of it is billed: the same whether the answer is looked at or read.
//!
//! Each row is a count as its vendor's reference documents it, in the places where the vendor puts it. A provider of chat without a row fails.

use domain::usage::{TokenUsage, UnitUsage};
use llm::canonical::event::Event;
use serde_json::{Value, json};

use super::super::*;
use crate::skim::{Skimmed, StreamSkim, skim_body};
use crate::wire::event_stream;

/// What is billed: tokens, other units, and whether part of it is a guess.
type Billed = (TokenUsage, UnitUsage, bool);

/// An answer with a count in it.
struct Row {
    provider: &'static str,
    what: &'static str,
    /// `None` for a form that only this vendor speaks.
    dialect: Option<Dialect>,
    mode: Mode,
    answer: Vec<u8>,
    billed: Billed,
}

fn tokens(input: u64, cached_input: u64, output: u64, reasoning: u64) -> TokenUsage {
    TokenUsage { input, cached_input, output, reasoning, ..TokenUsage::default() }
}

fn plain(tokens: TokenUsage) -> Billed {
    (tokens, UnitUsage::default(), false)
}

fn searched(tokens: TokenUsage, searches: u64) -> Billed {
    (tokens, UnitUsage { searches, ..UnitUsage::default() }, false)
}

fn row(
    provider: &'static str,
    what: &'static str,
    dialect: Dialect,
    mode: Mode,
    answer: String,
    billed: Billed,
) -> Row {
    Row { provider, what, dialect: Some(dialect), mode, answer: answer.into_bytes(), billed }
}

fn sse(events: &[Value]) -> String {
    events.iter().fold(String::new(), |text, event| text + &format!("data: {event}\n\n"))
}

// === Chat completions ===

/// Where a stream of chat completions has its counts.
enum At {
    /// In an event of its own, after the end.
    After,
    /// With the reason to stop.
    Stop,
    /// With every word, these before the last.
    Every(Vec<Value>),
    /// In an object of Groq's, beside the choices.
    Groq,
    /// In the choice.
    Choice,
}

fn whole(usage: &Value) -> String {
    json!({"id": "c", "object": "chat.completion", "created": 1, "model": "up", "usage": usage,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello there"}, "finish_reason": "stop"}]})
    .to_string()
}

fn stream(usage: &Value, at: &At) -> String {
    let event = |choices: Value| json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "up", "choices": choices});
    let word = |text: &str| event(json!([{"index": 0, "delta": {"content": text}, "finish_reason": null}]));
    let mut events =
        vec![word("Hello"), word(" there"), event(json!([{"index": 0, "delta": {}, "finish_reason": "stop"}]))];
    match at {
        At::After => {
            let mut last = event(json!([]));
            last["usage"] = usage.clone();
            events.push(last);
        }
        At::Stop => events[2]["usage"] = usage.clone(),
        At::Every(earlier) => {
            for (event, usage) in events.iter_mut().zip(earlier.iter().chain(std::iter::repeat(usage))) {
                event["usage"] = usage.clone();
            }
        }
        At::Groq => events[2]["x_groq"] = json!({"id": "req_1", "usage": usage}),
        At::Choice => events[2]["choices"][0]["usage"] = usage.clone(),
    }
    sse(&events) + "data: [DONE]\n\n"
}

/// Rows of one count, as a body and as a stream.
fn chat(provider: &'static str, what: &'static str, usage: &Value, at: &At, billed: Billed) -> [Row; 2] {
    let dialect = Dialect::OpenAiChat;
    [
        row(provider, what, dialect, Mode::Whole, whole(usage), billed),
        row(provider, what, dialect, Mode::Stream, stream(usage, at), billed),
    ]
}

fn usage(more: &Value) -> Value {
    super::merged(&json!({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}), more)
}

/// `usage` with what most vendors have: a part of the input from a cache.
fn cached() -> Value {
    usage(&json!({"prompt_tokens_details": {"cached_tokens": 40}}))
}

/// And a part of the output that was reasoning.
fn reasoned() -> Value {
    super::merged(&cached(), &json!({"completion_tokens_details": {"reasoning_tokens": 5}}))
}

fn chat_rows() -> Vec<Row> {
    let rows = first_chat_rows().into_iter().chain(more_chat_rows()).chain(servers_rows());
    rows.flatten().chain(perplexity_rows()).collect()
}

fn first_chat_rows() -> Vec<[Row; 2]> {
    vec![
        chat("openai", "parts inside their wholes", &reasoned(), &At::After, plain(tokens(60, 40, 20, 5))),
        chat(
            "azure_openai",
            "a cache that is written to",
            &usage(&json!({"prompt_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 10}})),
            &At::After,
            plain(TokenUsage { cache_write_5m: 10, ..tokens(50, 40, 20, 0) }),
        ),
        chat(
            "mistral",
            "sound in seconds",
            &usage(&json!({"prompt_audio_seconds": 3, "prompt_tokens_details": {"cached_tokens": 40}})),
            &At::Stop,
            (tokens(60, 40, 20, 0), UnitUsage { audio_ms: 3_000, ..UnitUsage::default() }, false),
        ),
        chat(
            "mistral",
            "no sound",
            &usage(&json!({"prompt_audio_seconds": {}})),
            &At::Stop,
            plain(tokens(100, 0, 20, 0)),
        ),
        chat(
            "groq",
            "an object of its own",
            &usage(&json!({"queue_time": 0.1, "total_time": 0.2, "prompt_tokens_details": {"cached_tokens": 40},
                "completion_tokens_details": {"reasoning_tokens": 5}})),
            &At::Groq,
            plain(tokens(60, 40, 20, 5)),
        ),
        chat(
            "together",
            "hits at the top",
            &usage(&json!({"cached_tokens": 40})),
            &At::Stop,
            plain(tokens(60, 40, 20, 0)),
        ),
        chat("fireworks", "hits among the details", &cached(), &At::Stop, plain(tokens(60, 40, 20, 0))),
        chat(
            "deepseek",
            "hits and misses beside the details",
            &usage(
                &json!({"prompt_cache_hit_tokens": 40, "prompt_cache_miss_tokens": 60, "completion_tokens_details": {"reasoning_tokens": 5}}),
            ),
            &At::After,
            plain(tokens(60, 40, 20, 5)),
        ),
    ]
}

fn more_chat_rows() -> Vec<[Row; 2]> {
    let none = || usage(&json!({}));
    vec![
        chat(
            "xai",
            "reasoning beside the completion, as the total tells",
            &json!({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 125, "num_sources_used": 0,
                "prompt_tokens_details": {"text_tokens": 100, "cached_tokens": 40}, "completion_tokens_details": {"reasoning_tokens": 5}}),
            &At::Every(vec![Value::Null, Value::Null]),
            plain(tokens(60, 40, 25, 5)),
        ),
        chat(
            "xai",
            "reasoning that cannot lie in the completion",
            &json!({"prompt_tokens": 100, "completion_tokens": 20, "completion_tokens_details": {"reasoning_tokens": 50}}),
            &At::After,
            plain(tokens(100, 0, 70, 50)),
        ),
        chat(
            "openrouter",
            "with the price of it",
            &usage(&json!({"cost": 0.01, "is_byok": false, "cost_details": {"upstream_inference_cost": null},
                "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 20, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 5}})),
            &At::After,
            plain(TokenUsage { cache_write_5m: 20, ..tokens(50, 30, 20, 5) }),
        ),
        chat("cerebras", "parts inside their wholes", &reasoned(), &At::Stop, plain(tokens(60, 40, 20, 5))),
        chat("nebius", "no parts", &none(), &At::After, plain(tokens(100, 0, 20, 0))),
        chat("bedrock_mantle", "parts inside their wholes", &reasoned(), &At::After, plain(tokens(60, 40, 20, 5))),
        chat(
            "sambanova",
            "with speeds",
            &usage(&json!({"is_last_response": true, "total_latency": 0.5, "time_to_first_token": 0.1})),
            &At::After,
            plain(tokens(100, 0, 20, 0)),
        ),
        chat(
            "deepinfra",
            "with an estimate of the price",
            &usage(&json!({"estimated_cost": 0.0001, "prompt_tokens_details": {"cached_tokens": 40}})),
            &At::After,
            plain(tokens(60, 40, 20, 0)),
        ),
        chat("huggingface", "no parts", &none(), &At::After, plain(tokens(100, 0, 20, 0))),
        chat(
            "databricks",
            "parts at the top, inside their wholes",
            &usage(&json!({"cache_read_input_tokens": 30, "cache_creation_input_tokens": 20, "reasoning_tokens": 5})),
            &At::Stop,
            plain(TokenUsage { cache_write_5m: 20, ..tokens(50, 30, 20, 5) }),
        ),
        chat("cloudflare", "hits among the details", &cached(), &At::After, plain(tokens(60, 40, 20, 0))),
    ]
}

/// Software that serves models, with which others build.
fn servers_rows() -> Vec<[Row; 2]> {
    let none = || usage(&json!({}));
    vec![
        chat(
            "nvidia",
            "no parts",
            &usage(&json!({"prompt_tokens_details": null})),
            &At::After,
            plain(tokens(100, 0, 20, 0)),
        ),
        chat(
            "vllm",
            "running totals, and hits known at the end",
            &cached(),
            &At::Every(vec![
                json!({"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101, "prompt_tokens_details": null}),
                none(),
            ]),
            plain(tokens(60, 40, 20, 0)),
        ),
        chat(
            "sglang",
            "reasoning at the top, inside the completion",
            &usage(&json!({"prompt_tokens_details": null, "reasoning_tokens": 5})),
            &At::After,
            plain(tokens(100, 0, 20, 5)),
        ),
        chat(
            "openai_compatible",
            "in the choice",
            &usage(&json!({"cached_tokens": 40})),
            &At::Choice,
            plain(tokens(60, 40, 20, 0)),
        ),
        chat(
            "openai_compatible",
            "one count under three names",
            &usage(
                &json!({"cached_tokens": 40, "cache_read_input_tokens": 40, "prompt_tokens_details": {"cached_tokens": 40}}),
            ),
            &At::After,
            plain(tokens(60, 40, 20, 0)),
        ),
        chat(
            "openai_compatible",
            "more hits than input",
            &usage(&json!({"prompt_tokens_details": {"cached_tokens": 400}})),
            &At::After,
            plain(tokens(0, 100, 20, 0)),
        ),
    ]
}

/// Perplexity bills sources as input, reasoning beside the completion, and searches: each one of a deep research, else one a call.
fn perplexity_rows() -> impl Iterator<Item = Row> {
    let narrow = usage(&json!({"search_context_size": "low", "cost": {"request_cost": 0.005, "total_cost": 0.006}}));
    let running =
        json!({"prompt_tokens": 100, "completion_tokens": 2, "total_tokens": 102, "search_context_size": "low"});
    let wide = usage(&json!({"search_context_size": "high", "num_search_queries": 3}));
    let (billed, units, _) = searched(tokens(100, 0, 20, 0), 1);
    let deep = json!({"prompt_tokens": 33, "completion_tokens": 7_163, "total_tokens": 7_196, "citation_tokens": 20_016,
        "num_search_queries": 18, "reasoning_tokens": 73_997, "cost": {"total_cost": 0.409}});
    [
        chat(
            "perplexity",
            "one search a call",
            &narrow,
            &At::Every(vec![running.clone(), running]),
            (billed, units, false),
        ),
        chat("perplexity", "a wide search", &wide, &At::Stop, (billed, units, true)),
        chat("perplexity", "deep research", &deep, &At::Stop, searched(tokens(20_049, 0, 81_160, 73_997), 18)),
    ]
    .into_iter()
    .flatten()
}

// === Responses ===

fn responses_rows() -> Vec<Row> {
    let usage = json!({"input_tokens": 100, "input_tokens_details": {"cached_tokens": 40}, "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 120});
    let search =
        |kind: &str| json!({"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": kind}});
    let said = json!({"id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": "a \"web_search_call\"", "annotations": []}]});
    let response = json!({"id": "resp_1", "object": "response", "created_at": 1, "model": "up", "status": "completed", "error": null,
        "incomplete_details": null, "output": [search("search"), search("open_page"), search("search"), said], "usage": usage});
    let mut beside = response.clone();
    beside["output"] = json!([said]);
    beside["usage"]["total_tokens"] = json!(125);
    let done = sse(&[json!({"type": "response.completed", "sequence_number": 1, "response": response})]);
    let dialect = Dialect::OpenAiResponses;
    let billed = searched(tokens(60, 40, 20, 5), 2);
    vec![
        row("openai", "searches", dialect, Mode::Whole, response.to_string(), billed),
        row("openai", "searches", dialect, Mode::Stream, done, billed),
        row("xai", "reasoning beside", dialect, Mode::Whole, beside.to_string(), plain(tokens(60, 40, 25, 5))),
    ]
}

// === Anthropic ===

fn message_rows() -> Vec<Row> {
    let whole = |usage: &Value| {
        json!({"id": "m", "type": "message", "role": "assistant", "model": "up", "stop_reason": "end_turn", "stop_sequence": null,
            "content": [{"type": "text", "text": "Hello there"}], "usage": usage})
        .to_string()
    };
    let stream = |start: &Value, end: &Value| {
        let message = json!({"id": "m", "type": "message", "role": "assistant", "model": "up", "content": [], "stop_reason": null,
            "stop_sequence": null, "usage": start});
        sse(&[
            json!({"type": "message_start", "message": message}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello there"}}),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": end}),
            json!({"type": "message_stop"}),
        ])
    };
    let full = json!({"input_tokens": 10, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 20, "output_tokens": 7,
        "cache_creation": {"ephemeral_5m_input_tokens": 15, "ephemeral_1h_input_tokens": 5}, "output_tokens_details": {"thinking_tokens": 3},
        "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1}, "service_tier": "standard"});
    let counted = TokenUsage { cache_write_5m: 15, cache_write_1h: 5, ..tokens(10, 30, 7, 3) };
    let (start, end) = (json!({"input_tokens": 23_000, "output_tokens": 1}), json!({"output_tokens": 1_000}));
    let step =
        |kind: &str, input: u64, output: u64| json!({"type": kind, "input_tokens": input, "output_tokens": output});
    let with = |end: &Value, steps: &[Value]| super::merged(end, &json!({"iterations": steps}));
    let compacted = with(&end, &[step("compaction", 180_000, 3_500), step("message", 23_000, 1_000)]);
    let advised = with(&end, &[step("message", 23_000, 1_000), step("advisor_message", 823, 1_612)]);
    let odd = super::merged(&full, &json!({"iterations": "none", "server_tool_use": null}));
    let row = |what, mode, answer, billed| row("anthropic", what, Dialect::AnthropicMessages, mode, answer, billed);
    vec![
        row("the cache beside, and searches", Mode::Whole, whole(&full), searched(counted, 2)),
        row(
            "the cache beside, and searches",
            Mode::Stream,
            stream(&start, &full),
            searched(TokenUsage { input: 23_000, ..counted }, 2),
        ),
        row("a summary on the way", Mode::Stream, stream(&start, &compacted), plain(tokens(203_000, 0, 4_500, 0))),
        row(
            "a summary on the way",
            Mode::Whole,
            whole(&super::merged(&start, &compacted)),
            plain(tokens(203_000, 0, 4_500, 0)),
        ),
        row(
            "an adviser, whose price is another's",
            Mode::Stream,
            stream(&start, &advised),
            (tokens(23_823, 0, 2_612, 0), UnitUsage::default(), true),
        ),
        row("something else in the place of steps", Mode::Whole, whole(&odd), plain(counted)),
    ]
}

// === Gemini ===

fn gemini_rows() -> Vec<Row> {
    let part = |model: &str, usage: &Value, queries: &[&str]| {
        let mut candidate = json!({"content": {"role": "model", "parts": [{"text": "Hello there"}]}, "finishReason": "STOP", "index": 0});
        if !queries.is_empty() {
            candidate["groundingMetadata"] = json!({"webSearchQueries": queries});
        }
        json!({"candidates": [candidate], "usageMetadata": usage, "modelVersion": model, "responseId": "r"})
    };
    let counts = json!({"promptTokenCount": 100, "cachedContentTokenCount": 40, "candidatesTokenCount": 15, "thoughtsTokenCount": 5,
        "toolUsePromptTokenCount": 9, "totalTokenCount": 129});
    let inside =
        json!({"promptTokenCount": 100, "candidatesTokenCount": 20, "thoughtsTokenCount": 5, "totalTokenCount": 120});
    let early = json!({"promptTokenCount": 100, "candidatesTokenCount": 1, "totalTokenCount": 101});
    let late = sse(&[part("gemini-3-flash-preview", &early, &[]), part("gemini-3-flash-preview", &counts, &[])]);
    let dialect = Dialect::Gemini;
    let row = |provider, what, mode, answer, billed| row(provider, what, dialect, mode, answer, billed);
    vec![
        row(
            "gemini",
            "thoughts beside, a tool's reading",
            Mode::Whole,
            part("gemini-3-flash-preview", &counts, &[]).to_string(),
            plain(tokens(69, 40, 20, 5)),
        ),
        row("gemini", "hits known at the end", Mode::Stream, late, plain(tokens(69, 40, 20, 5))),
        row(
            "gemini",
            "thoughts inside, as the total tells",
            Mode::Whole,
            part("gemini-2.0-flash", &inside, &[]).to_string(),
            plain(tokens(100, 0, 20, 5)),
        ),
        row(
            "vertex",
            "each search",
            Mode::Whole,
            part("gemini-3-pro-preview", &counts, &["a", "b"]).to_string(),
            searched(tokens(60, 40, 20, 5), 2),
        ),
        row(
            "vertex",
            "searches of one call",
            Mode::Stream,
            sse(&[part("gemini-2.5-flash", &counts, &["a", "b"])]),
            searched(tokens(60, 40, 20, 5), 1),
        ),
    ]
}

// === Forms of one vendor ===

fn own_rows() -> Vec<Row> {
    let row = |provider, what, mode, answer: Vec<u8>, tokens| Row {
        provider,
        what,
        dialect: None,
        mode,
        answer,
        billed: plain(tokens),
    };
    let cohere = json!({"id": "c", "finish_reason": "COMPLETE", "message": {"role": "assistant", "content": [{"type": "text", "text": "Hello"}]},
        "usage": {"billed_units": {"input_tokens": 100.0, "output_tokens": 20.0}, "tokens": {"input_tokens": 900, "output_tokens": 22}, "cached_tokens": 40}});
    let ollama = json!({"model": "up", "created_at": "2026-11-22T12:00:00Z", "message": {"role": "assistant", "content": "Hello"}, "done": true,
        "done_reason": "stop", "total_duration": 5_000_000, "prompt_eval_count": 100, "eval_count": 20});
    let mut warm = ollama.clone();
    warm.as_object_mut().unwrap().remove("prompt_eval_count");
    let usage = json!({"inputTokens": 50, "outputTokens": 20, "totalTokens": 120, "cacheReadInputTokens": 30, "cacheWriteInputTokens": 20,
        "cacheDetails": [{"ttl": "5m", "inputTokens": 15}, {"ttl": "1h", "inputTokens": 5}]});
    let converse = json!({"output": {"message": {"role": "assistant", "content": [{"text": "Hello"}]}}, "stopReason": "end_turn",
        "metrics": {"latencyMs": 7}, "usage": usage});
    let frame = |kind: &str, payload: &Value| {
        let headers = [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")];
        event_stream::write(&headers, payload.to_string().as_bytes())
    };
    let frames = [
        frame("messageStart", &json!({"role": "assistant"})),
        frame("contentBlockDelta", &json!({"contentBlockIndex": 0, "delta": {"text": "Hello"}})),
        frame("contentBlockStop", &json!({"contentBlockIndex": 0})),
        frame("messageStop", &json!({"stopReason": "end_turn"})),
        frame("metadata", &json!({"usage": usage, "metrics": {"latencyMs": 7}})),
    ];
    let bedrock = TokenUsage { cache_write_5m: 15, cache_write_1h: 5, ..tokens(50, 30, 20, 0) };
    let text = |value: &Value| value.to_string().into_bytes();
    vec![
        row("cohere", "billed units before tokens, hits inside", Mode::Whole, text(&cohere), tokens(60, 40, 20, 0)),
        row("ollama", "evaluated", Mode::Whole, text(&ollama), tokens(100, 0, 20, 0)),
        row(
            "ollama",
            "evaluated, in the last line",
            Mode::Stream,
            format!("{ollama}\n").into_bytes(),
            tokens(100, 0, 20, 0),
        ),
        row("ollama", "a prompt that was not evaluated again", Mode::Whole, text(&warm), tokens(0, 0, 20, 0)),
        row("bedrock", "the cache beside", Mode::Whole, text(&converse), bedrock),
        row("bedrock", "the cache beside, after the end", Mode::Stream, frames.concat(), bedrock),
    ]
}

// === Both ways to know ===

/// What is known of an answer that is only looked at.
fn looked_at(dialect: Dialect, row: &Row, size: usize) -> Skimmed {
    if row.mode == Mode::Whole {
        return skim_body(dialect, &row.answer);
    }
    let mut skim = StreamSkim::new(dialect);
    row.answer.chunks(size).for_each(|chunk| skim.push(chunk));
    skim.finish()
}

/// What is known of an answer that is read and written anew.
fn read(row: &Row, size: usize) -> Skimmed {
    let mut decoder =
        find(row.provider).unwrap().decoder(row.dialect.unwrap_or(WIRE_DIALECT), row.mode, Undo::default());
    let mut events = Vec::new();
    for chunk in row.answer.chunks(size) {
        decoder.push(chunk, &mut events).unwrap();
    }
    decoder.finish(&mut events).unwrap();
    let mut found = Skimmed::default();
    for event in &events {
        if let Event::Usage(usage) = event {
            found.note_usage(usage);
        }
    }
    found
}

#[test]
fn every_vendors_way_to_count_gives_the_units_it_bills() {
    let own = [chat_rows(), responses_rows(), message_rows(), gemini_rows(), own_rows()];
    let rows: Vec<Row> = own.into_iter().flatten().collect();
    for provider in ALL.iter().map(|provider| provider.spec()) {
        let is_chat = provider.needs_credential && (provider.wire.is_some() || !provider.dialects.is_empty());
        assert!(!is_chat || rows.iter().any(|row| row.provider == provider.name), "{} has no row", provider.name);
    }
    for row in &rows {
        let billed = |found: Skimmed| (found.usage.unwrap_or_default(), found.units, found.is_guessed);
        for size in [row.answer.len(), 1, 7, 100] {
            let shown = format!("{}, {}, {:?}, in pieces of {size}", row.provider, row.what, row.mode);
            assert_eq!(billed(read(row, size)), row.billed, "read: {shown}");
            if let Some(dialect) = row.dialect {
                assert_eq!(billed(looked_at(dialect, row, size)), row.billed, "looked at: {shown}");
            }
        }
    }
}

#[test]
fn vendors_of_vectors_count_the_input_alone() {
    for usage in [json!({"total_tokens": 7}), json!({"prompt_tokens": 7, "total_tokens": 7})] {
        let body = json!({"object": "list", "model": "up", "data": [{"index": 0, "embedding": [0.5]}], "usage": usage});
        let found = skim_body(Dialect::OpenAiChat, body.to_string().as_bytes());
        assert_eq!(found.usage, Some(tokens(7, 0, 0, 0)));
    }
}
