//! Golden translations: every folder under `fixtures/dialect/<dialect>/` is a case.
//!
//! Inputs: `request.json` (a client's), `answer.json` or `answer.sse` (an upstream's), `error.json`
//! (`{"status", "body"}`), `options.json`. Each is translated to every dialect, its own included, and compared with
//! `sent_<dialect>.json` and `client_<dialect>.{json,sse}`. `UPDATE=1` rewrites those; read the diff before you commit.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use llm::canonical::event::Event;
use llm::dialect::{AnswerOptions, Dialect, Mode, ReasoningStyle, RequestOptions, SchemaStyle, Speak as _, Undo};
use serde_json::{Value, json};

const DIALECTS: [Dialect; 5] = [
    Dialect::OpenAiChat,
    Dialect::AnthropicMessages,
    Dialect::OpenAiResponses,
    Dialect::OpenAiCompletions,
    Dialect::Gemini,
];

#[test]
fn translations_are_as_recorded() {
    let mut failures = String::new();
    let mut n_cases = 0;
    for dialect in DIALECTS {
        let folder = fixtures().join(dialect.as_str());
        let mut cases: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        cases.sort();
        for case in cases {
            n_cases += 1;
            run(dialect, &case, &mut failures);
        }
    }
    assert!(n_cases > 60, "only {n_cases} cases found");
    assert!(failures.is_empty(), "{failures}\nrun with UPDATE=1 to accept, and read the diff");
}

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dialect")
}

/// Everything that a stream or body gives, split nowhere.
pub(crate) fn decode(dialect: Dialect, mode: Mode, undo: Undo, bytes: &[u8]) -> Result<Vec<Event>, String> {
    let mut decoder = dialect.decoder(mode, undo);
    let mut events = Vec::new();
    decoder.push(bytes, &mut events).map_err(|error| error.to_string())?;
    decoder.finish(&mut events).map_err(|error| error.to_string())?;
    Ok(events)
}

pub(crate) fn encode(dialect: Dialect, mode: Mode, events: Vec<Event>) -> (String, Vec<String>) {
    let options = AnswerOptions {
        model: None,
        id: "req_1".into(),
        created: 1_600_000_000,
        include_usage: true,
        ..AnswerOptions::default()
    };
    let mut encoder = dialect.encoder(mode, options);
    let mut out = BytesMut::new();
    for event in events {
        encoder.push(event, &mut out);
    }
    let losses = encoder.losses().iter().map(ToString::to_string).collect();
    (String::from_utf8(out.to_vec()).unwrap(), losses)
}

fn run(dialect: Dialect, case: &Path, failures: &mut String) {
    let options = read(case, "options.json").map_or(json!({}), |text| serde_json::from_str(&text).unwrap());
    for target in DIALECTS {
        // An upstream of texts takes no conversation, whatever it is; `completions.rs` says so once.
        let is_sent = target != Dialect::OpenAiCompletions || dialect == target;
        if let Some(request) = read(case, "request.json").filter(|_| is_sent) {
            let sent = translate_request(dialect, target, &request, &options);
            compare(case, &format!("sent_{}.json", target.as_str()), &sent, failures);
        }
        for (mode, name) in [(Mode::Whole, "json"), (Mode::Stream, "sse")] {
            if let Some(answer) = read(case, &format!("answer.{name}")) {
                let got = translate_answer(dialect, target, mode, &answer, &options);
                compare(case, &format!("client_{}.{name}", target.as_str()), &got, failures);
            }
        }
        if let Some(error) = read(case, "error.json") {
            let error: Value = serde_json::from_str(&error).unwrap();
            let status = u16::try_from(error["status"].as_u64().unwrap()).unwrap();
            let decoded = dialect.decode_error(status, error["body"].to_string().as_bytes());
            let body: Value = serde_json::from_slice(&target.encode_error(&decoded)).unwrap();
            let got = json!({"kind": format!("{:?}", decoded.kind), "status": decoded.status, "body": body});
            compare(case, &format!("client_{}.json", target.as_str()), &pretty(&got), failures);
        }
    }
}

fn translate_request(from: Dialect, to: Dialect, body: &str, options: &Value) -> String {
    let mut request_options = RequestOptions::STANDARD;
    if options["json_schema"] == "forced_tool" {
        request_options.json_schema = SchemaStyle::ForcedTool;
    }
    if options["reasoning"] == "effort" {
        request_options.reasoning = ReasoningStyle::Effort;
    }
    let request = from.decode_request(body.as_bytes()).unwrap();
    match to.encode_request(&request, &request_options) {
        Err(error) => pretty(&json!({"error": error.to_string()})),
        Ok(encoded) => {
            let body: Value = serde_json::from_slice(&encoded.body).unwrap();
            let losses: Vec<String> = encoded.losses.iter().map(ToString::to_string).collect();
            let mut sent = json!({"body": body, "losses": losses});
            if !encoded.undo.tool_names.is_empty() {
                let names: Vec<_> =
                    encoded.undo.tool_names.iter().map(|(sent, own)| json!([&**sent, &**own])).collect();
                sent["undo_names"] = json!(names);
            }
            if let Some(tool) = &encoded.undo.text_tool {
                sent["undo_text_tool"] = json!(&**tool);
            }
            pretty(&sent)
        }
    }
}

fn translate_answer(from: Dialect, to: Dialect, mode: Mode, bytes: &str, options: &Value) -> String {
    let undo = Undo { tool_names: Vec::new(), text_tool: options["text_tool"].as_str().map(Into::into) };
    let events = decode(from, mode, undo.clone(), bytes.as_bytes()).unwrap();
    check_order(&events);
    if from == to {
        check_splits(from, mode, &undo, bytes.as_bytes(), &events);
    }
    let (mut text, losses) = encode(to, mode, events);
    if mode == Mode::Whole {
        let body: Value = serde_json::from_str(&text).unwrap();
        return pretty(&json!({"body": body, "losses": losses}));
    }
    for loss in losses {
        writeln!(text, ": loss: {loss}").unwrap();
    }
    text
}

fn check_splits(from: Dialect, mode: Mode, undo: &Undo, bytes: &[u8], events: &[Event]) {
    // Every place of a short stream; of a longer one every few bytes, some five hundred places.
    for at in (0..bytes.len()).step_by(1 + bytes.len() / 500) {
        let mut decoder = from.decoder(mode, undo.clone());
        let mut again = Vec::new();
        decoder.push(&bytes[..at], &mut again).unwrap();
        decoder.push(&bytes[at..], &mut again).unwrap();
        decoder.finish(&mut again).unwrap();
        assert_eq!(again, events, "split at byte {at}");
    }
}

/// The promise that every decoder makes about its events.
pub(crate) fn check_order(events: &[Event]) {
    let mut open = Vec::new();
    let mut seen = Vec::new();
    let mut finished = Vec::new();
    let is_early = |event: &Event| matches!(event, Event::Start(_) | Event::Ping | Event::Usage(_) | Event::Error(_));
    assert!(events.first().is_none_or(is_early), "begins with {:?}", events.first());
    for (at, event) in events.iter().enumerate() {
        match event {
            Event::BlockStart { index, choice, .. } => {
                assert!(!seen.contains(index), "block {index} begins twice");
                assert!(!finished.contains(choice), "a block after its choice's end");
                seen.push(*index);
                open.push(*index);
            }
            Event::Delta { index, .. } => assert!(open.contains(index), "a delta of closed block {index}"),
            Event::BlockStop { index } => {
                let position = open.iter().position(|known| known == index).expect("only open blocks stop");
                open.remove(position);
            }
            Event::Finish(finish) => {
                assert!(!finished.contains(&finish.choice), "choice {} finishes twice", finish.choice);
                finished.push(finish.choice);
            }
            Event::Error(_) | Event::Done => assert_eq!(at + 1, events.len(), "something follows the end"),
            _ => {}
        }
    }
    if matches!(events.last(), Some(Event::Done)) {
        assert!(open.is_empty(), "blocks left open: {open:?}");
    }
}

fn read(case: &Path, name: &str) -> Option<String> {
    fs::read_to_string(case.join(name)).ok()
}

fn pretty(value: &Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(value).unwrap())
}

#[expect(clippy::disallowed_methods, reason = "a switch of the test run, not a setting of the product")]
fn compare(case: &Path, name: &str, got: &str, failures: &mut String) {
    let path = case.join(name);
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    if wanted == got {
        return;
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, got).unwrap();
        return;
    }
    writeln!(failures, "=== {}\n--- recorded\n{wanted}\n--- now\n{got}", path.display()).unwrap();
}
