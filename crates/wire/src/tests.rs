mod matrix;

use hub::canonical::error::DecodeError;
use hub::canonical::event::Event;
use llm::dialect::{Dialect, Mode, Speak as _, Undo};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

static WIRES: [(&str, &dyn Wire); 3] = [("cohere", &COHERE), ("converse", &CONVERSE), ("ollama", &OLLAMA)];

fn read(wire: &dyn Wire, mode: Mode, bytes: &[u8], size: usize) -> (Vec<Event>, Result<(), DecodeError>) {
    let mut decoder = wire.decoder(mode, Undo::default());
    let mut events = Vec::new();
    let result = bytes.chunks(size.max(1)).try_for_each(|chunk| decoder.push(chunk, &mut events));
    let result = result.and_then(|()| decoder.finish(&mut events));
    (events, result)
}

fn encode(wire: &dyn Wire, model: &str, body: &Value) -> (Value, Vec<String>) {
    let mut body = body.clone();
    body["model"] = json!(model);
    let request = Dialect::OpenAiChat.decode_request(body.to_string().as_bytes()).unwrap();
    let encoded = wire.encode_request(&request, &RequestOptions::STANDARD).unwrap();
    let losses = encoded.losses.iter().map(ToString::to_string).collect();
    (serde_json::from_slice(&encoded.body).unwrap(), losses)
}

fn everything() -> Value {
    json!({
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            ]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "get.weather", "arguments": "{\"city\":\"Rome\"}"}},
                {"id": "c2", "type": "function", "function": {"name": "now", "arguments": ""}},
            ]},
            {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
            {"role": "tool", "tool_call_id": "c2", "content": "noon"},
            {"role": "user", "content": "And?"},
        ],
        "tools": [
            {"type": "function", "function": {"name": "get.weather", "parameters": {"type": "object"}}},
            {"type": "function", "function": {"name": "now"}},
        ],
        "tool_choice": "required",
        "max_tokens": 50, "temperature": 0.5, "top_p": 0.9, "stop": ["END"], "seed": 7, "user": "u",
        "logit_bias": {"1": 2},
    })
}

#[test]
fn converse_says_what_it_can_and_lists_the_rest() {
    let (body, losses) = encode(&CONVERSE, "amazon.nova-pro-v1:0", &everything());
    assert_eq!(
        body,
        json!({
            "system": [{"text": "Be brief."}],
            "messages": [
                {"role": "user", "content": [
                    {"text": "What is this?"},
                    {"image": {"format": "png", "source": {"bytes": "AAAA"}}},
                ]},
                {"role": "assistant", "content": [
                    {"toolUse": {"toolUseId": "c1", "name": body["toolConfig"]["tools"][0]["toolSpec"]["name"], "input": {"city": "Rome"}}},
                    {"toolUse": {"toolUseId": "c2", "name": "now", "input": {}}},
                ]},
                {"role": "user", "content": [
                    {"toolResult": {"toolUseId": "c1", "content": [{"text": "sunny"}]}},
                    {"toolResult": {"toolUseId": "c2", "content": [{"text": "noon"}]}},
                    {"text": "And?"},
                ]},
            ],
            "inferenceConfig": {"maxTokens": 50, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]},
            "toolConfig": {
                "tools": [
                    {"toolSpec": {"name": body["toolConfig"]["tools"][0]["toolSpec"]["name"], "inputSchema": {"json": {"type": "object"}}}},
                    {"toolSpec": {"name": "now", "inputSchema": {"json": {"type": "object", "properties": {}}}}},
                ],
                "toolChoice": {"any": {}},
            },
        })
    );
    assert!(body["toolConfig"]["tools"][0]["toolSpec"]["name"].as_str().unwrap().starts_with("get_weather_"));
    assert_eq!(
        losses,
        [
            "seed dropped: Bedrock has no such parameter",
            "logit_bias dropped: Bedrock has no such parameter",
            "user dropped: Bedrock has no such parameter",
        ]
    );
}

#[test]
fn converse_asks_claude_to_think_and_answers_schemas() {
    let format = json!({"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}});
    let body =
        json!({"messages": [{"role": "user", "content": "x"}], "reasoning_effort": "high", "response_format": format});
    let (body, _) = encode(&CONVERSE, "us.anthropic.claude-sonnet-4-5-20250929-v1:0", &body);
    assert_eq!(body["additionalModelRequestFields"], json!({"thinking": {"type": "enabled", "budget_tokens": 4096}}));
    assert_eq!(body["inferenceConfig"]["maxTokens"], 8_192);
    assert_eq!(body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"], r#"{"type":"object"}"#);
    let (body, _) = encode(&CONVERSE, "amazon.nova-2-lite-v1:0", &json!({"messages": [], "reasoning_effort": "low"}));
    assert_eq!(body["additionalModelRequestFields"]["reasoningConfig"]["maxReasoningEffort"], "low");
}

#[test]
fn what_bedrock_cannot_fetch_is_an_error() {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ]}]});
    let request = Dialect::OpenAiChat.decode_request(body.to_string().as_bytes()).unwrap();
    let error = CONVERSE.encode_request(&request, &RequestOptions::STANDARD).unwrap_err();
    assert_eq!(error.to_string(), "messages[0].content[0]: Bedrock takes images as bytes only; send base64 data");
}

#[test]
fn cohere_says_what_it_can_and_lists_the_rest() {
    let (body, losses) = encode(&COHERE, "command-a-03-2025", &everything());
    assert_eq!(body["messages"][1]["content"][1]["image_url"]["url"], "data:image/png;base64,AAAA");
    assert_eq!(body["messages"][2]["tool_calls"][1]["function"], json!({"name": "now", "arguments": "{}"}));
    assert_eq!(body["messages"][3], json!({"role": "tool", "tool_call_id": "c1", "content": "sunny"}));
    assert_eq!(
        [&body["p"], &body["stop_sequences"], &body["tool_choice"], &body["seed"], &body["stream"]],
        [&json!(0.9), &json!(["END"]), &json!("REQUIRED"), &json!(7), &json!(false)]
    );
    assert_eq!(losses.len(), 2, "{losses:?}");
    // One tool by name: only that one is offered.
    let mut named = everything();
    named["tool_choice"] = json!({"type": "function", "function": {"name": "now"}});
    let (body, _) = encode(&COHERE, "command-a-03-2025", &named);
    assert_eq!((body["tools"].as_array().unwrap().len(), &body["tool_choice"]), (1, &json!("REQUIRED")));
}

#[test]
fn ollama_says_what_it_can_and_lists_the_rest() {
    let (body, losses) = encode(&OLLAMA, "qwen3", &everything());
    assert_eq!(body["messages"][1], json!({"role": "user", "content": "What is this?", "images": ["AAAA"]}));
    assert_eq!(body["messages"][2]["tool_calls"][0]["function"]["arguments"], json!({"city": "Rome"}));
    assert_eq!(body["messages"][4]["tool_name"], "now");
    assert_eq!(
        (&body["options"], &body["stream"]),
        (&json!({"num_predict": 50, "temperature": 0.5, "top_p": 0.9, "seed": 7, "stop": ["END"]}), &json!(false))
    );
    assert!(losses.contains(&"tool_choice dropped: Ollama cannot force a tool".to_owned()));
}

// === Answers ===

#[test]
fn a_converse_answer_is_read_whole() {
    let body = json!({
        "output": {"message": {"role": "assistant", "content": [
            {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s1"}}},
            {"text": "Sunny."},
            {"toolUse": {"toolUseId": "t1", "name": "now", "input": {"zone": 1}}},
        ]}},
        "stopReason": "tool_use",
        "usage": {"inputTokens": 10, "outputTokens": 5, "totalTokens": 115, "cacheReadInputTokens": 70,
            "cacheWriteInputTokens": 30, "cacheDetails": [{"ttl": "1h", "inputTokens": 20}]},
        "metrics": {"latencyMs": 5},
    });
    let (events, result) = read(&CONVERSE, Mode::Whole, body.to_string().as_bytes(), 7);
    assert_eq!(result, Ok(()));
    let answer = llm::canonical::answer::fold(events);
    let tokens = answer.usage.unwrap().tokens;
    assert_eq!(
        (tokens.input, tokens.cached_input, tokens.cache_write_5m, tokens.cache_write_1h, tokens.output),
        (10, 70, 10, 20, 5)
    );
    assert_eq!(answer.choices[0].finish.as_ref().unwrap().reason, FinishReason::ToolUse);
    assert_eq!(answer.choices[0].blocks.len(), 3);
}

fn converse_stream(events: &[(&str, Value)]) -> Vec<u8> {
    let frame = |(kind, payload): &(&str, Value)| {
        event_stream::write(&[(":message-type", "event"), (":event-type", kind)], payload.to_string().as_bytes())
    };
    events.iter().flat_map(frame).collect()
}

#[test]
fn a_converse_stream_gives_the_same_events_however_it_is_cut() {
    let bytes = converse_stream(&[
        ("messageStart", json!({"role": "assistant"})),
        ("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "h"}}})),
        ("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "s1"}}})),
        ("contentBlockStop", json!({"contentBlockIndex": 0})),
        ("contentBlockDelta", json!({"contentBlockIndex": 1, "delta": {"text": "Sun"}})),
        ("contentBlockDelta", json!({"contentBlockIndex": 1, "delta": {"text": "ny."}})),
        ("contentBlockStop", json!({"contentBlockIndex": 1})),
        ("contentBlockStart", json!({"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "t", "name": "now"}}})),
        ("contentBlockDelta", json!({"contentBlockIndex": 2, "delta": {"toolUse": {"input": "{\"a\""}}})),
        ("contentBlockDelta", json!({"contentBlockIndex": 2, "delta": {"toolUse": {"input": ":1}"}}})),
        ("contentBlockStop", json!({"contentBlockIndex": 2})),
        ("messageStop", json!({"stopReason": "tool_use"})),
        ("metadata", json!({"usage": {"inputTokens": 9, "outputTokens": 4, "totalTokens": 13}, "metrics": {}})),
    ]);
    let whole = read(&CONVERSE, Mode::Stream, &bytes, bytes.len());
    assert_eq!(whole.1, Ok(()));
    for size in 1..40 {
        assert_eq!(read(&CONVERSE, Mode::Stream, &bytes, size), whole, "{size}");
    }
    let answer = llm::canonical::answer::fold(whole.0);
    assert!(format!("{:?}", answer.choices[0].blocks).contains(r#"arguments: "{\"a\":1}""#));
    assert_eq!(answer.usage.unwrap().tokens.output, 4);
    // Cut before the stop, the answer is not whole; cut before the usage, it is.
    let cut = |frames: usize| {
        let at = (0..frames)
            .fold(0, |at, _| at + usize::try_from(u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())).unwrap());
        read(&CONVERSE, Mode::Stream, &bytes[..at], 64).1
    };
    assert_eq!((cut(11), cut(12)), (Err(DecodeError::Truncated), Ok(())));
}

#[test]
fn an_exception_in_a_stream_says_its_status_by_its_name() {
    let frame = event_stream::write(
        &[(":message-type", "exception"), (":exception-type", "throttlingException")],
        br#"{"message":"Too many tokens"}"#,
    );
    let (events, _) = read(&CONVERSE, Mode::Stream, &frame, 5);
    let [Event::Error(error)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((error.status, &*error.message), (429, "Too many tokens"));
}

#[test]
fn a_cohere_stream_gives_the_same_events_however_it_is_cut() {
    let lines = [
        json!({"type": "message-start", "id": "a1", "delta": {"message": {"role": "assistant"}}}),
        json!({"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "I will look."}}}),
        json!({"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": {"id": "t1", "type": "function", "function": {"name": "now", "arguments": ""}}}}}),
        json!({"type": "tool-call-delta", "index": 0, "delta": {"message": {"tool_calls": {"function": {"arguments": "{}"}}}}}),
        json!({"type": "tool-call-end", "index": 0}),
        json!({"type": "message-end", "delta": {"finish_reason": "TOOL_CALL", "usage": {"billed_units": {"input_tokens": 8.0, "output_tokens": 3.0}, "tokens": {"input_tokens": 900, "output_tokens": 3}}}}),
    ];
    let bytes = lines.iter().fold(String::new(), |bytes, line| bytes + "data: " + &line.to_string() + "\n\n");
    let whole = read(&COHERE, Mode::Stream, bytes.as_bytes(), bytes.len());
    assert_eq!(whole.1, Ok(()));
    for size in 1..40 {
        assert_eq!(read(&COHERE, Mode::Stream, bytes.as_bytes(), size), whole, "{size}");
    }
    let answer = llm::canonical::answer::fold(whole.0);
    let tokens = answer.usage.as_ref().unwrap().tokens;
    assert_eq!((tokens.input, tokens.output, &*answer.start.id), (8, 3, "a1"));
    assert!(matches!(answer.choices[0].blocks[0].content, Content::Reasoning(_)));
    assert_eq!(
        read(&COHERE, Mode::Stream, &bytes.as_bytes()[..bytes.find("data: {\"type\":\"message-end").unwrap()], 64).1,
        Err(DecodeError::Truncated)
    );
}

#[test]
fn a_cohere_answer_is_read_whole() {
    let body = json!({"id": "a1", "finish_reason": "COMPLETE", "message": {"role": "assistant", "content": [
        {"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Sunny."},
    ]}, "usage": {"tokens": {"input_tokens": 9, "output_tokens": 2}}});
    let (events, result) = read(&COHERE, Mode::Whole, body.to_string().as_bytes(), 9);
    assert_eq!(result, Ok(()));
    let answer = llm::canonical::answer::fold(events);
    assert_eq!((answer.usage.unwrap().tokens.input, answer.choices[0].blocks.len()), (9, 2));
    let failed = json!({"finish_reason": "ERROR", "message": {"role": "assistant"}});
    let (events, _) = read(&COHERE, Mode::Whole, failed.to_string().as_bytes(), 99);
    assert!(matches!(events.last(), Some(Event::Error(error)) if error.status == 500));
}

/// What clients of each dialect are told, and what they lose.
fn told(events: &[Event], mode: Mode) -> [(Value, Vec<String>); 4] {
    [Dialect::OpenAiChat, Dialect::OpenAiResponses, Dialect::AnthropicMessages, Dialect::Gemini].map(|dialect| {
        let mut encoder = dialect.encoder(mode, llm::dialect::AnswerOptions::default());
        let mut out = bytes::BytesMut::new();
        for event in events {
            encoder.push(event.clone(), &mut out);
        }
        let losses = encoder.losses().iter().map(ToString::to_string).collect();
        let text = String::from_utf8(out.to_vec()).unwrap();
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ").unwrap_or(line)).ok());
        (lines.collect(), losses)
    })
}

fn cohere_citation() -> Value {
    json!({"start": 3, "end": 9, "text": "großen", "content_index": 0, "type": "TEXT_CONTENT", "sources": [
        {"type": "document", "id": "d1", "document": {"title": "Rome", "url": "https://example.com/r", "snippet": "hot"}},
        {"type": "tool", "id": "t1:0", "tool_output": {"content": "31"}},
    ]})
}

#[test]
fn what_cohere_cites_reaches_clients_that_have_a_form_for_it() {
    let whole = json!({"finish_reason": "COMPLETE", "message": {"role": "assistant",
        "content": [{"type": "text", "text": "Am großen Tag."}], "citations": [cohere_citation()]}});
    let lines = [
        json!({"type": "message-start", "delta": {"message": {"role": "assistant"}}}),
        json!({"type": "content-start", "delta": {"message": {"content": {"type": "text", "text": "Am großen"}}}}),
        json!({"type": "content-delta", "delta": {"message": {"content": {"text": " Tag."}}}}),
        json!({"type": "content-end"}),
        json!({"type": "citation-start", "delta": {"message": {"citations": cohere_citation()}}}),
        json!({"type": "citation-end"}),
        json!({"type": "message-end", "delta": {"finish_reason": "COMPLETE"}}),
    ];
    let stream = lines.iter().fold(String::new(), |bytes, line| bytes + "data: " + &line.to_string() + "\n\n");
    for (mode, bytes) in [(Mode::Whole, whole.to_string()), (Mode::Stream, stream)] {
        let (events, result) = read(&COHERE, mode, bytes.as_bytes(), 7);
        assert_eq!(result, Ok(()));
        let [chat, responses, anthropic, gemini] = told(&events, mode);
        for (told, place) in
            [(&chat, r#""start_index":3,"end_index":9"#), (&responses, r#""start_index":3,"end_index":9"#)]
        {
            let text = told.0.to_string();
            assert!(text.contains(place) && text.contains(r#""url":"https://example.com/r""#), "{text}");
            assert!(told.1.iter().any(|loss| loss.contains("the source has none")), "{:?}", told.1);
        }
        let text = anthropic.0.to_string();
        assert!(text.contains(r#""cited_text":"31""#) && text.contains(r#""url":"t1:0""#), "{text}");
        // Bytes, not characters.
        assert!(gemini.0.to_string().contains(r#""segment":{"startIndex":3,"endIndex":10}"#), "{}", gemini.0);
    }
}

#[test]
fn what_converse_cites_reaches_clients_that_have_a_form_for_it() {
    let page = json!({"title": "Manual", "source": "m", "sourceContent": [{"text": "Press"}],
        "location": {"documentPage": {"documentIndex": 1, "start": 4, "end": 5}}});
    let web = json!({"title": "Web", "location": {"web": {"url": "https://example.com/w", "domain": "example.com"}}});
    let whole = json!({"output": {"message": {"role": "assistant", "content": [
        {"citationsContent": {"content": [{"text": "Press it."}], "citations": [page, web]}}]}}, "stopReason": "end_turn"});
    let stream = converse_stream(&[
        ("messageStart", json!({"role": "assistant"})),
        ("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"text": "Press it."}})),
        ("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"citation": page}})),
        ("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"citation": web}})),
        ("contentBlockStop", json!({"contentBlockIndex": 0})),
        ("messageStop", json!({"stopReason": "end_turn"})),
    ]);
    for (mode, bytes) in [(Mode::Whole, whole.to_string().into_bytes()), (Mode::Stream, stream)] {
        let (events, result) = read(&CONVERSE, mode, &bytes, 7);
        assert_eq!(result, Ok(()));
        let [chat, responses, anthropic, gemini] = told(&events, mode);
        let text = anthropic.0.to_string();
        assert!(
            text.contains(r#""document_index":1,"document_title":"Manual","start_page_number":4,"end_page_number":5"#),
            "{text}"
        );
        assert!(text.contains(r#""cited_text":"Press""#) && text.contains("https://example.com/w"), "{text}");
        for told in [chat, responses, gemini] {
            assert!(told.0.to_string().contains("https://example.com/w"), "{}", told.0);
            assert_eq!(told.1.len(), 1, "{:?}", told.1);
        }
    }
}

#[test]
fn ollamas_lines_give_the_same_events_however_they_are_cut() {
    let lines = [
        json!({"model": "qwen3", "message": {"role": "assistant", "content": "", "thinking": "h"}, "done": false}),
        json!({"model": "qwen3", "message": {"role": "assistant", "content": "Sun"}, "done": false}),
        json!({"model": "qwen3", "message": {"role": "assistant", "content": "ny."}, "done": false}),
        json!({"model": "qwen3", "message": {"role": "assistant", "content": "", "tool_calls": [
            {"function": {"name": "now", "arguments": {"a": 1}}}, {"function": {"name": "now", "arguments": {}}}]}, "done": false}),
        json!({"model": "qwen3", "message": {"role": "assistant", "content": ""}, "done": true, "done_reason": "stop",
            "prompt_eval_count": 11, "eval_count": 6}),
    ];
    let bytes = lines.iter().fold(String::new(), |bytes, line| bytes + &line.to_string() + "\n");
    let whole = read(&OLLAMA, Mode::Stream, bytes.as_bytes(), bytes.len());
    assert_eq!(whole.1, Ok(()));
    for size in 1..40 {
        assert_eq!(read(&OLLAMA, Mode::Stream, bytes.as_bytes(), size), whole, "{size}");
    }
    let answer = llm::canonical::answer::fold(whole.0);
    assert_eq!(answer.choices[0].finish.as_ref().unwrap().reason, FinishReason::ToolUse);
    assert_eq!((answer.usage.unwrap().tokens.input, answer.choices[0].blocks.len()), (11, 4));
    let cut = &bytes.as_bytes()[..bytes.len() - 40];
    assert!(read(&OLLAMA, Mode::Stream, cut, 64).1.is_err());
    let (events, _) = read(&OLLAMA, Mode::Stream, b"{\"error\":\"model runner has stopped\"}\n", 3);
    assert!(matches!(&events[..], [Event::Error(error)] if &*error.message == "model runner has stopped"));
}

#[test]
fn errors_are_read_from_any_bytes() {
    let error = OLLAMA.decode_error(404, br#"{"error":"model \"x\" not found"}"#);
    assert_eq!((error.status, &*error.message), (404, "model \"x\" not found"));
    assert_eq!(&*CONVERSE.decode_error(400, br#"{"message":"Input is too long"}"#).message, "Input is too long");
    assert_eq!(&*COHERE.decode_error(502, b"<html>").message, "<html>");
}

/// JSON that looks like an answer here and there.
fn plausible() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("message"),
        Just("content"),
        Just("delta"),
        Just("type"),
        Just("done"),
        Just("text"),
        Just("tool_calls"),
        Just("function"),
        Just("output"),
        Just("usage"),
        Just("contentBlockIndex"),
        Just("finish_reason"),
        Just("error"),
    ];
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("0".to_owned()),
        Just("-1".to_owned()),
        Just("\"message-end\"".to_owned()),
        Just("\"tool-call-start\"".to_owned()),
        Just("\"content-delta\"".to_owned()),
        Just("\"x\"".to_owned()),
        Just("1e400".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec((word.clone(), inner.clone()), 0..4).prop_map(|fields| {
                let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                format!("{{{}}}", fields.join(","))
            }),
            proptest::collection::vec(inner, 0..3).prop_map(|items| format!("[{}]", items.join(","))),
        ]
    })
}

proptest! {
    #[test]
    fn any_answer_is_survived_and_read_alike_however_it_is_cut(
        pieces in proptest::collection::vec(plausible(), 1..5), junk in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let sse = pieces.iter().fold(String::new(), |sse, piece| sse + "data: " + piece + "\n\n");
        let lines = pieces.iter().fold(String::new(), |lines, piece| lines + piece + "\n");
        let kinds = ["contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"];
        let frames: Vec<u8> = pieces.iter().zip(kinds).flat_map(|(piece, kind)| {
            event_stream::write(&[(":message-type", "event"), (":event-type", kind)], piece.as_bytes())
        }).collect();
        for (name, wire) in WIRES {
            for bytes in [sse.as_bytes(), lines.as_bytes(), &frames, &junk, pieces[0].as_bytes()] {
                for mode in [Mode::Stream, Mode::Whole] {
                    prop_assert_eq!(read(wire, mode, bytes, 1), read(wire, mode, bytes, bytes.len()), "{}", name);
                }
                wire.decode_error(500, bytes);
            }
        }
    }
}
