//! What is Gemini's alone: signatures through plain clients, calls without ids, schemas, arrays, counts and embeddings.

use llm::canonical::answer::fold;
use llm::canonical::embedding::{EmbeddingAnswer, Vector};
use llm::canonical::json::{Raw, Rest};
use llm::dialect::gemini::{self, CountForm, Counts, embeddings};
use llm::dialect::{AnswerOptions, Dialect, Mode, ReasoningStyle, RequestOptions, SchemaStyle, Speak as _, Undo};
use serde_json::{Value, json};

use crate::golden::{decode, encode};

const THIRD: RequestOptions = RequestOptions { reasoning: ReasoningStyle::Effort, ..RequestOptions::STANDARD };
const OLD: RequestOptions = RequestOptions { json_schema: SchemaStyle::ForcedTool, ..RequestOptions::STANDARD };

fn sent(dialect: Dialect, body: &Value, options: &RequestOptions) -> (Value, Vec<String>) {
    let request = dialect.decode_request(body.to_string().as_bytes()).unwrap();
    let encoded = Dialect::Gemini.encode_request(&request, options).unwrap();
    let losses = encoded.losses.iter().map(ToString::to_string).collect();
    (serde_json::from_slice(&encoded.body).unwrap(), losses)
}

/// An answer of a signed call, as a client of a dialect gets it.
fn answer_for(dialect: Dialect, has_id: bool) -> Value {
    let mut call = json!({"name": "f", "args": {"a": 1}});
    if has_id {
        call["id"] = json!("fc1");
    }
    let answer = json!({
        "candidates": [{"content": {"parts": [
            {"text": "hm", "thought": true},
            {"functionCall": call, "thoughtSignature": "AB+/cd=="},
            {"functionCall": {"name": "f", "args": {"a": 2}}},
        ]}, "finishReason": "STOP"}],
        "responseId": "r-1",
    });
    let events = decode(Dialect::Gemini, Mode::Whole, Undo::default(), answer.to_string().as_bytes()).unwrap();
    serde_json::from_str(&encode(dialect, Mode::Whole, events).0).unwrap()
}

/// Says whether any string of a body is a proof of reasoning.
fn carries_proofs(value: &Value, key: &str) -> bool {
    match value {
        Value::String(text) => llm::dialect::is_proof(text.as_bytes(), key.ends_with("id")),
        Value::Array(values) => values.iter().any(|value| carries_proofs(value, key)),
        Value::Object(fields) => fields.iter().any(|(key, value)| carries_proofs(value, key)),
        _ => false,
    }
}

#[test]
fn a_plain_openai_client_returns_the_signature_without_knowing() {
    for has_id in [true, false] {
        let answer = answer_for(Dialect::OpenAiChat, has_id);
        // All that such a client keeps of a message.
        let message = &answer["choices"][0]["message"];
        let calls = &message["tool_calls"];
        let result = |at: usize, text: &str| json!({"role": "tool", "tool_call_id": calls[at]["id"], "content": text});
        let body = json!({"model": "m", "messages": [
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": message["content"], "tool_calls": calls},
            result(1, "two"), result(0, "one"),
        ]});
        let (sent, losses) = sent(Dialect::OpenAiChat, &body, &THIRD);
        assert!(losses.is_empty(), "{losses:?}");
        let parts = &sent["contents"][1]["parts"];
        assert_eq!(parts[0]["thoughtSignature"], "AB+/cd==");
        assert_eq!(parts[1]["thoughtSignature"], Value::Null);
        // Ids that the model never gave are not sent, and results come in the order of the calls.
        assert_eq!(parts[0]["functionCall"]["id"], if has_id { json!("fc1") } else { Value::Null });
        assert_eq!(parts[1]["functionCall"]["id"], Value::Null);
        let results = &sent["contents"][2]["parts"];
        assert_eq!(results[0]["functionResponse"]["response"], json!({"output": "one"}));
        assert_eq!(results[1]["functionResponse"]["response"], json!({"output": "two"}));
        assert_eq!(results[0]["functionResponse"]["name"], "f");
    }
}

#[test]
fn a_plain_anthropic_client_returns_the_signature_without_knowing() {
    let answer = answer_for(Dialect::AnthropicMessages, true);
    let content = answer["content"].as_array().unwrap();
    let uses: Vec<&Value> = content.iter().filter(|block| block["type"] == "tool_use").collect();
    let result = |block: &Value| json!({"type": "tool_result", "tool_use_id": block["id"], "content": "ok"});
    let body = json!({"model": "m", "max_tokens": 9, "messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": content},
        {"role": "user", "content": [result(uses[0]), result(uses[1])]},
    ]});
    let (sent, _) = sent(Dialect::AnthropicMessages, &body, &THIRD);
    assert_eq!(sent["contents"][1]["parts"][0]["thoughtSignature"], "AB+/cd==");
    // Another upstream sees an id of its own alphabet and length, and no signature that is not its own.
    let request = Dialect::AnthropicMessages.decode_request(body.to_string().as_bytes()).unwrap();
    for target in [Dialect::OpenAiChat, Dialect::AnthropicMessages, Dialect::OpenAiResponses] {
        let encoded = target.encode_request(&request, &RequestOptions::STANDARD).unwrap();
        let text = std::str::from_utf8(&encoded.body).unwrap();
        assert!(text.contains("\"fc1\"") && !text.contains("_hgsig_"), "{text}");
    }
    assert!(carries_proofs(&body, ""));
}

#[test]
fn signatures_of_text_go_through_thinking_and_back() {
    let chunk = r#"{"candidates":[{"content":{"parts":[{"text":"42"},{"text":"","thoughtSignature":"QUJD"}]},"finishReason":"STOP"}]}"#;
    let events = decode(Dialect::Gemini, Mode::Whole, Undo::default(), chunk.as_bytes()).unwrap();
    let answer: Value = serde_json::from_str(&encode(Dialect::AnthropicMessages, Mode::Whole, events).0).unwrap();
    let body = json!({"model": "m", "max_tokens": 9, "messages": [
        {"role": "user", "content": "x"}, {"role": "assistant", "content": answer["content"]}, {"role": "user", "content": "y"},
    ]});
    let (sent, losses) = sent(Dialect::AnthropicMessages, &body, &THIRD);
    assert!(losses.is_empty(), "{losses:?}");
    assert_eq!(sent["contents"][1]["parts"], json!([{"text": "42"}, {"text": "", "thoughtSignature": "QUJD"}]));
    // Anthropic would refuse it.
    let request = Dialect::AnthropicMessages.decode_request(body.to_string().as_bytes()).unwrap();
    let encoded = Dialect::AnthropicMessages.encode_request(&request, &RequestOptions::STANDARD).unwrap();
    assert!(!std::str::from_utf8(&encoded.body).unwrap().contains("QUJD"));
}

#[test]
fn a_gemini_client_returns_what_anthropic_signed() {
    let answer = br#"{"id":"m","type":"message","role":"assistant","model":"c","content":[{"type":"thinking","thinking":"hm","signature":"sig/1"},{"type":"redacted_thinking","data":"xyz"},{"type":"tool_use","id":"toolu_1","name":"f","input":{}}],"stop_reason":"tool_use","usage":{}}"#;
    let events = decode(Dialect::AnthropicMessages, Mode::Whole, Undo::default(), answer).unwrap();
    let answer: Value = serde_json::from_str(&encode(Dialect::Gemini, Mode::Whole, events).0).unwrap();
    let body = json!({"contents": [
        {"role": "user", "parts": [{"text": "x"}]},
        answer["candidates"][0]["content"],
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"output": "ok"}}}]},
    ], "generationConfig": {"maxOutputTokens": 9000, "thinkingConfig": {"thinkingBudget": 2048}}});
    assert!(carries_proofs(&body, ""));
    let request = Dialect::Gemini.decode_request(body.to_string().as_bytes()).unwrap().with_address("c", false);
    let encoded = Dialect::AnthropicMessages.encode_request(&request, &RequestOptions::STANDARD).unwrap();
    let sent: Value = serde_json::from_slice(&encoded.body).unwrap();
    assert_eq!(sent["model"], "c");
    let wanted = json!([
        {"type": "thinking", "thinking": "hm", "signature": "sig/1"},
        {"type": "redacted_thinking", "data": "xyz"},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
    ]);
    assert_eq!(sent["messages"][1]["content"], wanted);
    assert_eq!(sent["messages"][2]["content"][0]["tool_use_id"], "toolu_1");
}

#[test]
fn calls_of_other_models_are_excused_where_signatures_are_wanted() {
    let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let result = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "ok"});
    let body = json!({"model": "m", "messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [call("a")]}, result("a"),
        {"role": "user", "content": "y"},
        {"role": "assistant", "tool_calls": [call("b"), call("c")]}, result("b"), result("c"),
    ]});
    let (third, losses) = sent(Dialect::OpenAiChat, &body, &THIRD);
    let signature = |at: usize, part: usize| third["contents"][at]["parts"][part]["thoughtSignature"].clone();
    // Only the first call of the turn in progress is checked.
    assert_eq!([signature(1, 0), signature(3, 1)], [Value::Null, Value::Null]);
    assert!(signature(3, 0).is_string(), "{third}");
    assert_eq!(losses.len(), 1, "{losses:?}");
    let (second, losses) = sent(Dialect::OpenAiChat, &body, &RequestOptions::STANDARD);
    assert!(!second.to_string().contains("thoughtSignature") && losses.is_empty());
}

#[test]
fn names_obey_the_vendors_rule_and_come_back() {
    let body = br#"{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"2nd-try"}}]}"#;
    let request = Dialect::OpenAiChat.decode_request(body).unwrap();
    let encoded = Dialect::Gemini.encode_request(&request, &RequestOptions::STANDARD).unwrap();
    assert!(std::str::from_utf8(&encoded.body).unwrap().contains("\"_2nd-try\""));
    let answer = br#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"_2nd-try"}}]}}]}"#;
    let events = decode(Dialect::Gemini, Mode::Whole, encoded.undo, answer).unwrap();
    assert!(encode(Dialect::OpenAiChat, Mode::Whole, events).0.contains("\"2nd-try\""));
}

fn fitted(schema: &Value) -> (Value, Vec<String>) {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "x"}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}});
    let (sent, losses) = sent(Dialect::OpenAiChat, &body, &OLD);
    (sent["generationConfig"]["responseSchema"].clone(), losses)
}

#[test]
fn schemas_are_said_in_the_vendors_subset() {
    let (schema, losses) = fitted(&json!({
        "$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "additionalProperties": false,
        "$defs": {"color": {"type": "string", "enum": ["red", "blue"]}},
        "properties": {
            "b": {"type": ["string", "null"], "format": "date-time"},
            "a": {"$ref": "#/$defs/color", "description": "Which"},
            "n": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}], "title": "N"},
            "u": {"type": ["string", "integer"]},
            "k": {"const": "x"},
            "l": {"type": "array", "items": {"oneOf": [{"type": "string"}, {"type": "number"}]}, "maxItems": 3},
            "s": {"allOf": [{"properties": {"p": {"type": "boolean"}}}, {"type": "object", "required": ["p"]}]},
        },
        "required": ["b"],
    }));
    assert!(losses.is_empty(), "{losses:?}");
    let wanted = json!({
        "type": "OBJECT",
        "properties": {
            "b": {"type": "STRING", "nullable": true, "format": "date-time"},
            "a": {"type": "STRING", "enum": ["red", "blue"], "description": "Which"},
            "n": {"nullable": true, "type": "INTEGER", "minimum": 1, "title": "N"},
            "u": {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}]},
            "k": {"enum": ["x"], "type": "STRING"},
            "l": {"type": "ARRAY", "items": {"anyOf": [{"type": "STRING"}, {"type": "NUMBER"}]}, "maxItems": 3},
            "s": {"type": "OBJECT", "properties": {"p": {"type": "BOOLEAN"}}, "required": ["p"]},
        },
        "required": ["b"],
        "propertyOrdering": ["b", "a", "n", "u", "k", "l", "s"],
    });
    assert_eq!(schema, wanted);
}

#[test]
fn what_the_subset_lacks_is_said_in_words_and_reported() {
    let (schema, losses) = fitted(&json!({
        "type": "object",
        "properties": {
            "n": {"type": "integer", "enum": [1, 2], "multipleOf": 1, "description": "N"},
            "e": {"type": "string", "format": "email"},
            "m": {"type": "object", "additionalProperties": {"type": "string"}},
            "l": {"type": "array"},
            "x": {},
        },
    }));
    let properties = &schema["properties"];
    assert_eq!(properties["n"], json!({"type": "INTEGER", "description": "N (enum: [1,2], multipleOf: 1)"}));
    assert_eq!(properties["e"], json!({"type": "STRING", "description": "(format: \"email\")"}));
    assert_eq!(properties["l"]["items"], json!({"type": "STRING"}));
    assert_eq!(properties["x"], json!({"type": "STRING"}));
    for name in ["n.enum", "n.multipleOf", "e.format", "m.additionalProperties", "l.items", "x.type"] {
        assert!(losses.iter().any(|loss| loss.contains(&format!("properties.{name} changed"))), "{name}: {losses:?}");
    }
}

#[test]
fn schemas_that_refer_to_themselves_are_cut() {
    let (schema, losses) = fitted(&json!({
        "$ref": "#/$defs/node",
        "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
    }));
    assert_eq!(schema["properties"]["next"]["properties"]["next"]["type"], "OBJECT");
    assert_eq!(losses.len(), 1, "{losses:?}");
    // References that double at each step stay within bounds.
    let mut defs = serde_json::Map::new();
    for step in 0..30 {
        let next = json!({"$ref": format!("#/$defs/d{}", step + 1)});
        let properties = json!({"a": next, "b": next, "c": next, "d": next, "e": next});
        defs.insert(format!("d{step}"), json!({"type": "object", "properties": properties}));
    }
    let (schema, losses) = fitted(&json!({"$ref": "#/$defs/d0", "$defs": defs}));
    assert!(schema.to_string().len() < 1_000_000 && !losses.is_empty());
    // So does a long text that is referred to again and again.
    let many: serde_json::Map<String, Value> =
        (0..2000).map(|n| (format!("p{n}"), json!({"$ref": "#/$defs/long"}))).collect();
    let long = json!({"type": "string", "description": "x".repeat(100_000)});
    let (schema, losses) = fitted(&json!({"type": "object", "properties": many, "$defs": {"long": long}}));
    assert!(schema.to_string().len() < 2_000_000 && !losses.is_empty());
    let (_, losses) = fitted(&json!({"type": "object", "properties": {"a": {"$ref": "https://example.com/x"}}}));
    assert!(losses[0].contains("leads nowhere"), "{losses:?}");
}

#[test]
fn a_stream_can_be_one_array() {
    let chunk = r#"{"candidates":[{"content":{"parts":[{"text":"Hi"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":1}}"#;
    let events = decode(Dialect::Gemini, Mode::Stream, Undo::default(), format!("[{chunk}\n]").as_bytes()).unwrap();
    let sse = decode(Dialect::Gemini, Mode::Stream, Undo::default(), format!("data: {chunk}\r\n\r\n").as_bytes());
    assert_eq!(sse.unwrap(), events);
    let mut encoder = gemini::array_encoder(AnswerOptions::default());
    let mut out = bytes::BytesMut::new();
    for event in events.clone() {
        encoder.push(event, &mut out);
        encoder.push(llm::canonical::event::Event::Ping, &mut out);
    }
    let items: Vec<Value> = serde_json::from_slice(&out).unwrap();
    assert_eq!(items.len(), 2);
    let again = decode(Dialect::Gemini, Mode::Stream, Undo::default(), &out).unwrap();
    assert_eq!(fold(again), fold(events));
    let broken = decode(Dialect::Gemini, Mode::Stream, Undo::default(), br#"[{"candidates":[{"content"#).unwrap_err();
    assert_eq!(broken, "the stream ended before the answer was complete");
    assert!(decode(Dialect::Gemini, Mode::Stream, Undo::default(), b"[7]").is_err());
}

#[test]
fn counts_are_disjoint_and_the_last_report_counts() {
    let counts = Counts { prompt: 100, cached: 80, candidates: 10, thoughts: 5, tool_use: 7, total: 122 };
    let tokens = counts.tokens();
    assert_eq!((tokens.input, tokens.cached_input, tokens.output, tokens.reasoning), (27, 80, 15, 5));
    // Some models count thoughts among the candidates; the total tells.
    assert_eq!(Counts { total: 117, ..counts }.tokens().output, 10);
    let max = u64::MAX;
    let all = Counts { prompt: max, cached: max, candidates: max, thoughts: max, tool_use: max, total: max };
    assert_eq!(all.tokens().output, max);
    // What came from the cache may be told late; nothing is counted twice.
    let chunk = |cached: u64| {
        format!(
            "data: {{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":\"a\"}}]}},\"finishReason\":\"STOP\"}}],\"usageMetadata\":{{\"promptTokenCount\":100,\"cachedContentTokenCount\":{cached}}}}}\n\n"
        )
    };
    let body = chunk(0) + &chunk(80);
    let events = decode(Dialect::Gemini, Mode::Stream, Undo::default(), body.as_bytes()).unwrap();
    let usage = fold(events).usage.unwrap();
    assert_eq!((usage.tokens.input, usage.tokens.cached_input), (20, 80));
}

#[test]
fn token_counts_are_asked_for_in_either_form() {
    let whole = br#"{"generateContentRequest":{"model":"models/g","contents":[{"parts":[{"text":"x"}]}],"systemInstruction":{"parts":[{"text":"s"}]}}}"#;
    let request = gemini::decode_count_request(whole).unwrap();
    assert_eq!((&*request.model, request.messages.len()), ("g", 2));
    let body = |form| gemini::encode_count_request(&request, &RequestOptions::STANDARD, form).unwrap().body;
    let wrapped: Value = serde_json::from_slice(&body(CountForm::Wrapped)).unwrap();
    assert_eq!(wrapped["generateContentRequest"]["model"], "models/g");
    let flat: Value = serde_json::from_slice(&body(CountForm::Flat)).unwrap();
    assert_eq!(flat["contents"], wrapped["generateContentRequest"]["contents"]);
    assert!(gemini::decode_count_request(br#"{"contents":[]}"#).is_ok());
    assert_eq!(&gemini::encode_count_answer(7)[..], br#"{"totalTokens":7}"#);
    assert_eq!(gemini::decode_count_answer(br#"{"totalTokens":7,"promptTokensDetails":[]}"#), Ok(7));
    assert_eq!(gemini::decode_count_answer(b"{}"), Ok(0));
}

#[test]
fn embeddings_speak_both_endpoints() {
    use embeddings::Batch;
    let one = br#"{"content":{"parts":[{"text":"x"}]},"task_type":"RETRIEVAL_QUERY","outputDimensionality":8}"#;
    let (mut request, batch) = embeddings::decode_request(one).unwrap();
    assert_eq!((batch, request.dimensions), (Batch::One, Some(8)));
    request.model = "e".to_owned();
    let sent: Value = serde_json::from_slice(&embeddings::encode_request(&request, batch, true).unwrap()).unwrap();
    let wanted = json!({"model": "models/e", "content": {"parts": [{"text": "x"}]}, "outputDimensionality": 8, "taskType": "RETRIEVAL_QUERY"});
    assert_eq!(sent, wanted);
    let many = json!({"requests": [wanted, wanted]}).to_string();
    let (request, batch) = embeddings::decode_request(many.as_bytes()).unwrap();
    assert_eq!((batch, request.inputs.len(), &*request.model), (Batch::Many, 2, "e"));
    let sent = embeddings::encode_request(&request, batch, true).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&sent).unwrap(), serde_json::from_str::<Value>(&many).unwrap());
    assert!(embeddings::encode_request(&request, Batch::One, true).is_err());
    assert!(embeddings::decode_request(br#"{"requests":[]}"#).is_err());
    let answer = br#"{"embeddings":[{"values":[0.10,-2e-3]},{"values":[1]}],"usageMetadata":{"promptTokenCount":3}}"#;
    let answer = embeddings::decode_answer(answer).unwrap();
    assert_eq!((answer.vectors.len(), answer.usage.input), (2, 3));
    let text = embeddings::encode_answer(&answer, Batch::Many);
    assert!(
        std::str::from_utf8(&text).unwrap().starts_with(r#"{"embeddings":[{"values":[0.10,-2e-3]},{"values":[1]}]"#)
    );
    let base64 = Vector::Raw(Raw::parse("\"AACAPwAAIMA=\"").unwrap());
    let answer =
        EmbeddingAnswer { model: String::new(), vectors: vec![base64], usage: answer.usage, rest: Rest::default() };
    let text = embeddings::encode_answer(&answer, Batch::One);
    assert!(std::str::from_utf8(&text).unwrap().starts_with(r#"{"embedding":{"values":[1,-2.5]}"#));
    assert_eq!(embeddings::decode_answer(br#"{"embedding":{"values":[1]}}"#).unwrap().vectors.len(), 1);
}

#[test]
fn long_conversations_cost_no_more_than_their_length() {
    let calls: Vec<Value> = (0..20_000).map(|n| json!({"functionCall": {"name": "f", "args": {"n": n}}})).collect();
    let results: Vec<Value> = (0..20_000)
        .map(|n| json!({"functionResponse": {"name": "f", "response": {"output": n.to_string()}}}))
        .collect();
    let body = json!({"contents": [{"parts": [{"text": "x"}]}, {"role": "model", "parts": calls}, {"parts": results}]});
    let request = Dialect::Gemini.decode_request(body.to_string().as_bytes()).unwrap();
    let openai = Dialect::OpenAiChat.encode_request(&request, &RequestOptions::STANDARD).unwrap();
    let (sent, _) =
        sent(Dialect::OpenAiChat, &serde_json::from_slice(&openai.body).unwrap(), &RequestOptions::STANDARD);
    assert_eq!(sent["contents"][2]["parts"][19_999]["functionResponse"]["response"], json!({"output": "19999"}));
}

#[test]
fn wrong_types_are_named_by_their_path() {
    let check = |body: &str, wanted: &str| {
        let error = Dialect::Gemini.decode_request(body.as_bytes()).expect_err("the body must be refused");
        assert_eq!(error.to_string(), wanted);
    };
    check("{}", "contents: is required");
    check(r#"{"contents":{}}"#, "contents: expected an array");
    check(r#"{"contents":[{"role":"usr"}]}"#, "contents[0].role: expected one of user, model");
    check(r#"{"contents":[{"parts":[{"text":7}]}]}"#, "contents[0].parts[0].text: expected a string");
    check(r#"{"contents":[{"parts":[{"functionCall":{}}]}]}"#, "contents[0].parts[0].functionCall.name: is required");
    check(
        r#"{"contents":[{"parts":[{"inline_data":{"data":""}}]}]}"#,
        "contents[0].parts[0].inlineData.mimeType: is required",
    );
    check(
        r#"{"contents":[],"generationConfig":{"maxOutputTokens":-1}}"#,
        "generationConfig.maxOutputTokens: expected a whole number that is not negative",
    );
    check(
        r#"{"contents":[],"tools":[{"functionDeclarations":[{"name":"f","parameters":7}]}]}"#,
        "tools[0].functionDeclarations[0].parameters: expected a schema object",
    );
}

#[test]
fn models_have_the_vendors_shape() {
    let model = llm::dialect::ModelEntry {
        id: "m".into(),
        display_name: None,
        created: 0,
        owned_by: "echo".into(),
        ..Default::default()
    };
    let list: Value = serde_json::from_slice(&Dialect::Gemini.encode_models(&[model])).unwrap();
    assert_eq!(list["models"][0]["name"], "models/m");
    assert_eq!(list["models"][0]["displayName"], "m");
}
