//! Bytes that nobody should send: clear errors, no panics.

use std::fs;

use llm::canonical::answer::fold;
use llm::dialect::{Dialect, Mode, Speak as _, Undo};
use llm::fuzz;
use proptest::prelude::*;

use crate::golden::{decode, fixtures};

const DIALECTS: [Dialect; 5] = [
    Dialect::OpenAiChat,
    Dialect::AnthropicMessages,
    Dialect::OpenAiResponses,
    Dialect::OpenAiCompletions,
    Dialect::Gemini,
];

#[track_caller]
fn check(dialect: Dialect, body: &str, wanted: &str) {
    let error = dialect.decode_request(body.as_bytes()).expect_err("the body must be refused");
    assert_eq!(error.to_string(), wanted);
}

#[test]
fn wrong_types_are_named_by_their_path() {
    let openai = |body: &str, wanted: &str| check(Dialect::OpenAiChat, body, wanted);
    openai(r#"{"messages":[]}"#, "model: is required");
    openai(r#"{"model":null,"messages":[]}"#, "model: is required");
    openai(r#"{"model":"m"}"#, "messages: is required");
    openai(r#"{"model":7,"messages":[]}"#, "model: expected a string");
    openai(r#"{"model":"m","messages":{}}"#, "messages: expected an array");
    openai(r#"{"model":"m","messages":["x"]}"#, "messages[0]: expected an object");
    openai(
        r#"{"model":"m","messages":[{"role":"usr","content":"x"}]}"#,
        "messages[0].role: expected one of system, developer, user, assistant, tool",
    );
    openai(r#"{"model":"m","messages":[{"role":"user"}]}"#, "messages[0].content: is required");
    openai(
        r#"{"model":"m","messages":[{"role":"user","content":7}]}"#,
        "messages[0].content: expected a string or an array of content parts",
    );
    openai(
        r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":{}}]}]}"#,
        "messages[0].content[0].text: expected a string",
    );
    openai(r#"{"model":"m","messages":[{"role":"tool","content":"x"}]}"#, "messages[0].tool_call_id: is required");
    openai(r#"{"model":"m","messages":[],"stream":"true"}"#, "stream: expected true or false");
    openai(
        r#"{"model":"m","messages":[],"max_tokens":-1}"#,
        "max_tokens: expected a whole number that is not negative",
    );
    openai(
        r#"{"model":"m","messages":[],"max_tokens":18446744073709551616}"#,
        "max_tokens: expected a whole number that is not negative",
    );
    openai(r#"{"model":"m","messages":[],"temperature":1e400}"#, "temperature: expected a number");
    openai(
        r#"{"model":"m","messages":[{"role":"user","content":"\ud800"}]}"#,
        "messages[0].content: expected a string",
    );
    openai(
        r#"{"model":"m","messages":[],"tools":[{"type":"function","function":{"name":"f","parameters":"x"}}]}"#,
        "tools[0].function.parameters: expected a JSON Schema object",
    );
    let anthropic = |body: &str, wanted: &str| check(Dialect::AnthropicMessages, body, wanted);
    anthropic(r#"{"model":"m","messages":[]}"#, "max_tokens: is required");
    anthropic(
        r#"{"model":"m","max_tokens":1,"messages":[{"role":"tool","content":"x"}]}"#,
        "messages[0].role: expected one of user, assistant, system",
    );
    anthropic(
        r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64"}}]}]}"#,
        "messages[0].content[0].source.media_type: is required",
    );
    anthropic(
        r#"{"model":"m","max_tokens":1,"messages":[],"thinking":{"type":"maybe"}}"#,
        "thinking.type: expected one of enabled, adaptive, disabled",
    );
}

#[test]
fn what_is_not_json_is_refused_in_words() {
    for body in [&b""[..], b"{", b"[1", b"\xEF\xBB\xBF{}", b"{\"model\":\xff}", b"nul", b"{} {}"] {
        for dialect in DIALECTS {
            let error = dialect.decode_request(body).expect_err("not JSON").to_string();
            assert!(error.starts_with("not valid JSON: "), "{error}");
        }
    }
}

#[test]
fn depth_costs_no_stack() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let body = format!(
        r#"{{"model":"m","max_tokens":1,"x":{deep},"prompt":"x","messages":[{turn}],"input":[{turn}],"contents":[{{"parts":[{{"x":{deep}}}]}}]}}"#,
        turn = format_args!(r#"{{"role":"user","content":[{{"type":"x","y":{deep}}}]}}"#)
    );
    for dialect in DIALECTS {
        assert!(dialect.decode_request(body.as_bytes()).is_ok());
    }
    let schema = r#"{"items":"#.repeat(10_000) + "{}" + &"}".repeat(10_000);
    let body = format!(
        r#"{{"model":"m","messages":[],"response_format":{{"type":"json_schema","json_schema":{{"name":"n","schema":{schema}}}}}}}"#
    );
    let request = Dialect::OpenAiChat.decode_request(body.as_bytes()).unwrap();
    let error =
        Dialect::AnthropicMessages.encode_request(&request, &llm::dialect::RequestOptions::STANDARD).unwrap_err();
    assert!(error.to_string().contains("nested too deeply"), "{error}");
}

#[test]
fn a_dying_upstream_is_truncated_not_complete() {
    for (dialect, body) in [
        (Dialect::OpenAiChat, "data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n"),
        (Dialect::OpenAiChat, ""),
        (Dialect::AnthropicMessages, "event: ping\ndata: {\"type\":\"ping\"}\n\n"),
        (Dialect::AnthropicMessages, ""),
    ] {
        let error = decode(dialect, Mode::Stream, Undo::default(), body.as_bytes()).unwrap_err();
        assert_eq!(error, "the stream ended before the answer was complete");
    }
}

#[test]
fn hostile_counts_do_not_overflow() {
    let max = u64::MAX;
    let body = format!(
        r#"{{"id":"m","content":[],"usage":{{"input_tokens":{max},"cache_creation_input_tokens":{max},"cache_read_input_tokens":{max},"output_tokens":{max},"cache_creation":{{"ephemeral_1h_input_tokens":{max},"ephemeral_5m_input_tokens":{max}}}}}}}"#
    );
    let events = decode(Dialect::AnthropicMessages, Mode::Whole, Undo::default(), body.as_bytes()).unwrap();
    for dialect in DIALECTS {
        let (text, _) = crate::golden::encode(dialect, Mode::Whole, events.clone());
        assert!(text.contains(&max.to_string()));
    }
}

#[test]
fn error_bodies_of_any_shape_become_a_message() {
    for dialect in DIALECTS {
        for body in ["", "<html>502</html>", "{}", "[]", r#"{"error":null}"#, r#"{"error":{"message":7}}"#, "\u{0}"] {
            let error = dialect.decode_error(502, body.as_bytes());
            assert_eq!(error.status, 502);
            let text = dialect.encode_error(&error);
            assert!(serde_json::from_slice::<serde_json::Value>(&text).is_ok());
        }
    }
}

/// What `cargo fuzz` finds for each of its targets; all but three are copies of the fixtures.
const TARGETS: [&str; 11] = [
    "anthropic_stream",
    "completions_stream",
    "conversation",
    "counts",
    "embeddings",
    "gemini_stream",
    "openai_stream",
    "requests",
    "responses_stream",
    "sse",
    "whole_answers",
];

/// The fixtures, as they are and with one byte changed, go through the same functions as the fuzzers'.
#[test]
fn the_fuzz_targets_hold_on_the_corpus() {
    let mut n_files = 0;
    for dialect in ["openai_chat", "anthropic_messages", "openai_responses", "openai_completions", "gemini"] {
        for case in fs::read_dir(fixtures().join(dialect)).unwrap() {
            for name in ["request.json", "answer.json", "answer.sse"] {
                let Ok(mut bytes) = fs::read(case.as_ref().unwrap().path().join(name)) else { continue };
                n_files += 1;
                all(&bytes);
                for at in (0..bytes.len()).step_by(61.max(bytes.len() / 24)) {
                    let before = bytes[at];
                    bytes[at] = b"\"{}[]:,0\n\\"[at % 10];
                    all(&bytes);
                    bytes[at] = before;
                }
            }
        }
    }
    let kept = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for target in TARGETS {
        let n_kept = fs::read_dir(kept.join(target)).map_or(0, Iterator::count);
        assert!(n_kept > 2, "{target} has {n_kept} kept inputs");
    }
    for target in ["conversation", "counts", "embeddings"] {
        for file in fs::read_dir(kept.join(target)).unwrap() {
            let mut bytes = fs::read(file.unwrap().path()).unwrap();
            n_files += 1;
            for at in 0..bytes.len() {
                let before = bytes[at];
                bytes[at] = b"\"{}[]:,0\n\\"[at % 10];
                fuzz::conversation(&bytes);
                fuzz::counts(&bytes);
                fuzz::embeddings(&bytes);
                bytes[at] = before;
            }
        }
    }
    assert!(n_files > 85, "only {n_files} files");
}

fn all(bytes: &[u8]) {
    fuzz::sse(bytes);
    fuzz::openai_stream(bytes);
    fuzz::anthropic_stream(bytes);
    fuzz::responses_stream(bytes);
    fuzz::completions_stream(bytes);
    fuzz::gemini_stream(bytes);
    fuzz::whole_answers(bytes);
    fuzz::requests(bytes);
    fuzz::conversation(bytes);
    fuzz::counts(bytes);
    fuzz::embeddings(bytes);
}

proptest! {
    #[test]
    fn the_fuzz_targets_hold_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        all(&bytes);
    }

    #[test]
    fn the_fuzz_targets_hold_on_json_like_text(text in "(data: )?[\\{\\}\\[\\]\",:a-z0-9\\\\\n ]{0,200}") {
        all(text.as_bytes());
    }
}

#[test]
fn a_report_of_usage_that_is_none_costs_nobody_the_answer() {
    let answers = [
        (Dialect::OpenAiChat, r#"{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}],"usage":USAGE}"#),
        (Dialect::OpenAiCompletions, r#"{"choices":[{"text":"Hi","finish_reason":"stop"}],"usage":USAGE}"#),
        (
            Dialect::AnthropicMessages,
            r#"{"content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn","usage":USAGE}"#,
        ),
        (
            Dialect::OpenAiResponses,
            r#"{"status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"Hi"}]}],"usage":USAGE}"#,
        ),
        (
            Dialect::Gemini,
            r#"{"candidates":[{"content":{"parts":[{"text":"Hi"}]},"finishReason":"STOP"}],"usageMetadata":USAGE}"#,
        ),
    ];
    for (dialect, answer) in answers {
        for usage in ["[10,5]", "\"10\"", "7", "true"] {
            let body = answer.replace("USAGE", usage);
            let events = decode(dialect, Mode::Whole, Undo::default(), body.as_bytes()).expect(&body);
            assert_eq!(fold(events).usage, None, "{body}");
        }
    }
}
