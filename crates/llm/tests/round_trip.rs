//! What goes into the hub and comes back in the same dialect means the same.

use std::fs;

use llm::canonical::answer::{Answer, fold};
use llm::canonical::content::Content;
use llm::dialect::{Dialect, Mode, RequestOptions, Speak as _, Undo};
use llm::{canonical::event::Event, dialect::AnswerOptions};

use crate::golden::{decode, encode, fixtures};

fn inputs(dialect: Dialect, name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = fixtures().join(dialect.as_str());
    let mut inputs: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().join(name))
        .filter_map(|path| Some((path.display().to_string(), fs::read(&path).ok()?)))
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty());
    inputs
}

const DIALECTS: [Dialect; 5] = [
    Dialect::OpenAiChat,
    Dialect::AnthropicMessages,
    Dialect::OpenAiResponses,
    Dialect::OpenAiCompletions,
    Dialect::Gemini,
];

#[test]
fn a_request_written_and_read_again_is_the_same_request() {
    for dialect in DIALECTS {
        for (path, body) in inputs(dialect, "request.json") {
            let request = dialect.decode_request(&body).unwrap();
            let encoded = dialect.encode_request(&request, &RequestOptions::STANDARD).unwrap();
            // Thinking that another vendor signed, or nobody, goes back to no upstream; calls cannot be streamed in pieces.
            let n_lost = [
                ("reasoning_unsigned", 1),
                ("reasoning_foreign", 2),
                ("streamed_history", 1),
                ("tool_stream_arguments", 1),
            ];
            if let Some((_, n_lost)) = n_lost.iter().find(|(case, _)| path.contains(case)) {
                assert_eq!(encoded.losses.len(), *n_lost, "{path}");
                continue;
            }
            assert_eq!(encoded.losses, [], "{path}");
            let again = dialect.decode_request(&encoded.body).unwrap();
            let twice = dialect.encode_request(&again, &RequestOptions::STANDARD).unwrap();
            assert_eq!(twice.body, encoded.body, "{path}");
        }
    }
}

#[test]
fn an_answer_written_and_read_again_folds_to_the_same_answer() {
    for dialect in DIALECTS {
        for (mode, name) in [(Mode::Whole, "answer.json"), (Mode::Stream, "answer.sse")] {
            for (path, body) in inputs(dialect, name) {
                let events = decode(dialect, mode, Undo::default(), &body).unwrap();
                let (text, losses) = encode(dialect, mode, events.clone());
                assert!(losses.is_empty(), "{path}: {losses:?}");
                let again = decode(dialect, mode, Undo::default(), text.as_bytes()).unwrap();
                let (first, second) = (fold(events), fold(again));
                assert_eq!(second.choices, first.choices, "{path}");
                // An error ends an answer where the others say what it cost.
                if first.error.is_none() {
                    assert_eq!(second.usage.map(|usage| usage.tokens), first.usage.map(|usage| usage.tokens), "{path}");
                }
            }
        }
    }
}

#[test]
fn unfolding_and_folding_is_the_identity() {
    for dialect in DIALECTS {
        for (path, body) in inputs(dialect, "answer.json") {
            let mut answer = fold(decode(dialect, Mode::Whole, Undo::default(), &body).unwrap());
            for block in answer.choices.iter_mut().flat_map(|choice| &mut choice.blocks) {
                block.rest.0.clear();
            }
            assert_eq!(fold(answer.clone().into_events()), answer, "{path}");
        }
    }
}

#[test]
fn a_stream_folds_to_the_whole_answer_of_the_same_content() {
    // Completions call no tools.
    for dialect in DIALECTS.into_iter().filter(|dialect| *dialect != Dialect::OpenAiCompletions) {
        for (stream, whole) in [("tool_call_stream", "tool_call"), ("parallel_tools_stream", "parallel_tools")] {
            let folder = fixtures().join(dialect.as_str());
            let stream = fs::read(folder.join(stream).join("answer.sse")).unwrap();
            let whole = fs::read(folder.join(whole).join("answer.json")).unwrap();
            let stream = fold(decode(dialect, Mode::Stream, Undo::default(), &stream).unwrap());
            let whole = fold(decode(dialect, Mode::Whole, Undo::default(), &whole).unwrap());
            assert_eq!(blocks(&stream), blocks(&whole));
            assert_eq!(stream.choices[0].finish, whole.choices[0].finish);
        }
    }
}

#[test]
fn a_client_reads_through_another_dialect_what_the_upstream_said() {
    // Text, calls, reasoning with signatures and tokens survive the way through the other dialect and back.
    for (from, through) in [
        (Dialect::OpenAiChat, Dialect::AnthropicMessages),
        (Dialect::AnthropicMessages, Dialect::OpenAiChat),
        (Dialect::OpenAiChat, Dialect::OpenAiResponses),
        (Dialect::AnthropicMessages, Dialect::OpenAiResponses),
        (Dialect::OpenAiResponses, Dialect::OpenAiChat),
        (Dialect::OpenAiResponses, Dialect::AnthropicMessages),
        (Dialect::OpenAiChat, Dialect::Gemini),
        (Dialect::AnthropicMessages, Dialect::Gemini),
        (Dialect::Gemini, Dialect::OpenAiChat),
        (Dialect::Gemini, Dialect::AnthropicMessages),
    ] {
        for case in ["stream", "tool_call_stream", "parallel_tools_stream", "reasoning_stream", "usage_stream"] {
            let bytes = fs::read(fixtures().join(from.as_str()).join(case).join("answer.sse")).unwrap();
            let events = decode(from, Mode::Stream, Undo::default(), &bytes).unwrap();
            let (text, losses) = encode(through, Mode::Stream, events.clone());
            assert!(losses.is_empty(), "{case}: {losses:?}");
            let again = decode(through, Mode::Stream, Undo::default(), text.as_bytes()).unwrap();
            let (first, second) = (fold(events), fold(again));
            assert_eq!(blocks(&second), blocks(&first), "{case}");
            let input = |answer: Answer| answer.usage.unwrap().tokens.total_input();
            assert_eq!(input(second), input(first), "{from:?} through {through:?}: {case}");
        }
    }
}

fn blocks(answer: &Answer) -> Vec<Content> {
    answer.choices.iter().flat_map(|choice| &choice.blocks).map(|block| plain(&block.content)).collect()
}

/// A call without arguments may be written as nothing or as an empty object, and blanks in arguments mean nothing.
fn plain(content: &Content) -> Content {
    let mut content = content.clone();
    if let Content::ToolUse(call) = &mut content {
        let text = if call.arguments.is_empty() { "{}" } else { &call.arguments };
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        call.arguments = value.to_string();
    }
    content
}

#[test]
fn rewritten_tool_names_come_back_in_the_answer() {
    let body = br#"{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"a.b"}},{"type":"function","function":{"name":"a/b"}}]}"#;
    let request = Dialect::OpenAiChat.decode_request(body).unwrap();
    let encoded = Dialect::AnthropicMessages.encode_request(&request, &RequestOptions::STANDARD).unwrap();
    let names: Vec<_> = encoded.undo.tool_names.iter().map(|(sent, _)| sent.clone()).collect();
    assert_eq!(names.len(), 2);
    assert_ne!(names[0], names[1]);
    let answer = format!(
        r#"{{"id":"m","type":"message","role":"assistant","model":"c","content":[{{"type":"tool_use","id":"t","name":"{}","input":{{}}}}],"stop_reason":"tool_use","usage":{{}}}}"#,
        names[1]
    );
    let events = decode(Dialect::AnthropicMessages, Mode::Whole, encoded.undo, answer.as_bytes()).unwrap();
    let (text, _) = encode(Dialect::OpenAiChat, Mode::Whole, events);
    assert!(text.contains(r#""name":"a/b""#), "{text}");
}

#[test]
fn the_last_event_carries_our_annotation_and_the_clients_model_name() {
    let bytes = fs::read(fixtures().join("openai_chat/stream/answer.sse")).unwrap();
    for (dialect, mode) in DIALECTS.into_iter().flat_map(|dialect| [(dialect, Mode::Stream), (dialect, Mode::Whole)]) {
        let options = AnswerOptions { model: Some("public".into()), ..AnswerOptions::default() };
        let mut encoder = dialect.encoder(mode, options);
        let mut out = bytes::BytesMut::new();
        for event in decode(Dialect::OpenAiChat, Mode::Stream, Undo::default(), &bytes).unwrap() {
            if matches!(event, Event::Done) {
                encoder.annotate(llm::canonical::json::Raw::parse(r#"{"cost_usd":"0.1"}"#).unwrap());
            }
            encoder.push(event, &mut out);
        }
        let text = String::from_utf8(out.to_vec()).unwrap();
        assert!(text.contains(r#""x_headgate":{"cost_usd":"0.1"}"#), "{text}");
        let name = if dialect == Dialect::Gemini { "modelVersion" } else { "model" };
        assert!(text.contains(&format!("\"{name}\":\"public\"")) && !text.contains("gpt-x"), "{text}");
        assert!(
            !text.contains("\"usage\":{\"prompt_tokens\"") || mode == Mode::Whole,
            "usage was not asked for: {text}"
        );
    }
}

#[test]
fn models_lists_have_each_vendors_shape() {
    let model = llm::dialect::ModelEntry {
        id: "m".into(),
        display_name: None,
        created: 1_700_000_000,
        owned_by: "echo".into(),
        ..Default::default()
    };
    let list =
        |dialect: Dialect| String::from_utf8(dialect.encode_models(std::slice::from_ref(&model)).to_vec()).unwrap();
    assert_eq!(
        list(Dialect::OpenAiChat),
        r#"{"object":"list","data":[{"id":"m","object":"model","created":1700000000,"owned_by":"echo"}]}"#
    );
    assert_eq!(
        list(Dialect::AnthropicMessages),
        r#"{"data":[{"type":"model","id":"m","display_name":"m","created_at":"2023-11-14T22:13:20Z"}],"has_more":false,"first_id":"m","last_id":"m"}"#
    );
}

#[test]
fn token_counts_are_asked_for_without_answer_parameters() {
    use llm::dialect::anthropic_messages as anthropic;
    let body = br#"{"model":"m","system":"s","messages":[{"role":"user","content":"x"}],"thinking":{"type":"enabled","budget_tokens":1024}}"#;
    let request = anthropic::decode_count_request(body).unwrap();
    let encoded = anthropic::encode_count_request(&request, &RequestOptions::STANDARD).unwrap();
    let text = std::str::from_utf8(&encoded.body).unwrap();
    assert!(!text.contains("max_tokens") && text.contains("budget_tokens"), "{text}");
    assert!(Dialect::AnthropicMessages.decode_request(body).is_err());
    assert_eq!(&anthropic::encode_count_answer(7)[..], br#"{"input_tokens":7}"#);
    assert_eq!(anthropic::decode_count_answer(br#"{"input_tokens":7,"x":1}"#), Ok(7));
}

#[test]
fn embeddings_keep_vectors_and_unknown_fields() {
    use llm::dialect::openai_embeddings as embeddings;
    for body in [
        r#"{"model":"e","input":"x","encoding_format":"base64","x_new":[1.50]}"#,
        r#"{"model":"e","input":["x","y"],"dimensions":8,"user":"u"}"#,
        r#"{"model":"e","input":[[1,2],[3]]}"#,
    ] {
        let request = embeddings::decode_request(body.as_bytes()).unwrap();
        assert_eq!(std::str::from_utf8(&embeddings::encode_request(&request)).unwrap(), body);
    }
    assert!(embeddings::decode_request(br#"{"model":"e","input":[1,"x"]}"#).is_err());
    let tokens = embeddings::decode_request(br#"{"model":"e","input":[1,2]}"#).unwrap();
    assert_eq!(tokens.inputs, [llm::canonical::embedding::EmbeddingInput::Tokens(vec![1, 2])]);
    let answer = r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.10,-2e-3]}],"model":"e","usage":{"prompt_tokens":3,"total_tokens":3}}"#;
    let decoded = embeddings::decode_answer(answer.as_bytes()).unwrap();
    assert_eq!(decoded.usage.input, 3);
    assert_eq!(std::str::from_utf8(&embeddings::encode_answer(&decoded, None)).unwrap(), answer);
}

#[test]
fn a_streamed_server_tool_folds_with_its_input() {
    let bytes = fs::read(fixtures().join("anthropic_messages/unknown_fields_stream/answer.sse")).unwrap();
    let events = decode(Dialect::AnthropicMessages, Mode::Stream, Undo::default(), &bytes).unwrap();
    let (text, _) = encode(Dialect::AnthropicMessages, Mode::Whole, events);
    assert!(text.contains(r#"{"type":"server_tool_use","id":"srv_1","name":"web_search","input":{"q":1}}"#), "{text}");
}
