//! Golden translations of the wire formats: every client's recorded request in each of them, and each one's recorded answers for every client.
//!
//! Requests are those of `crates/llm/fixtures/dialect`, answers those of `crates/provider/fixtures`; what comes of them is in
//! `crates/wire/fixtures`. `UPDATE=1` rewrites that; read the diff before you commit.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use llm::dialect::AnswerOptions;

use super::*;

const DIALECTS: [Dialect; 5] = [
    Dialect::OpenAiChat,
    Dialect::AnthropicMessages,
    Dialect::OpenAiResponses,
    Dialect::OpenAiCompletions,
    Dialect::Gemini,
];
/// Whose recorded answers are in a format.
const RECORDED: [(&str, &str); 3] = [("cohere", "cohere"), ("converse", "bedrock"), ("ollama", "ollama")];

fn below(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

fn cases(folder: &Path) -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|case| case.is_dir());
    cases.sort();
    cases
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

fn pretty(value: &Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(value).unwrap())
}

#[expect(clippy::disallowed_methods, reason = "a switch of the test run, not a setting of the product")]
fn compare(path: &Path, got: &str, failures: &mut String) {
    if std::fs::read_to_string(path).unwrap_or_default() == got {
        return;
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, got).unwrap();
        return;
    }
    writeln!(failures, "=== {}\n{got}", path.display()).unwrap();
}

#[test]
fn requests_of_every_client_are_written_as_recorded() {
    let (mut failures, mut n_cases) = (String::new(), 0);
    for dialect in DIALECTS.into_iter().filter(|dialect| *dialect != Dialect::OpenAiCompletions) {
        for case in cases(&below("../llm/fixtures/dialect").join(dialect.as_str())) {
            let Ok(body) = std::fs::read(case.join("request.json")) else { continue };
            let request = dialect.decode_request(&body).unwrap();
            let mut sent = serde_json::Map::new();
            for (wire, format) in WIRES {
                let got = match format.encode_request(&request, &RequestOptions::STANDARD) {
                    Err(error) => json!({"error": error.to_string()}),
                    Ok(encoded) => json!({
                        "body": serde_json::from_slice::<Value>(&encoded.body).unwrap(),
                        "losses": encoded.losses.iter().map(ToString::to_string).collect::<Vec<_>>(),
                        "names": encoded.undo.tool_names.iter().map(|(sent, own)| json!([&**sent, &**own])).collect::<Vec<_>>(),
                    }),
                };
                sent.insert(wire.to_owned(), got);
            }
            let path = below("fixtures/sent").join(dialect.as_str()).join(format!("{}.json", name(&case)));
            compare(&path, &pretty(&sent.into()), &mut failures);
            n_cases += 1;
        }
    }
    assert!(n_cases > 30, "{n_cases}");
    assert!(failures.is_empty(), "{failures}\nrun with UPDATE=1 to accept, and read the diff");
}

/// What an upstream sent, and how: a list of frames stands for a binary stream.
fn answer(case: &Path) -> Option<(Mode, Vec<u8>)> {
    let file = |name: &str| std::fs::read(case.join(name)).ok();
    if let Some(bytes) = file("upstream.json") {
        return Some((Mode::Whole, bytes));
    }
    if let Some(bytes) = file("upstream.sse").or_else(|| file("upstream.ndjson")) {
        return Some((Mode::Stream, bytes));
    }
    let frames: Value = serde_json::from_slice(&file("upstream.events")?).unwrap();
    let frame = |frame: &Value| {
        let (kind, payload) = (frame[0].as_str().unwrap(), frame[1].to_string());
        let (message, field) =
            if kind.ends_with("Exception") { ("exception", ":exception-type") } else { ("event", ":event-type") };
        event_stream::write(&[(":message-type", message), (field, kind)], payload.as_bytes())
    };
    Some((Mode::Stream, frames.as_array().unwrap().iter().flat_map(frame).collect()))
}

#[test]
fn answers_are_told_to_every_client_as_recorded_wherever_they_are_cut() {
    let (mut failures, mut n_cases) = (String::new(), 0);
    for ((wire, format), (_, provider)) in WIRES.into_iter().zip(RECORDED) {
        for case in cases(&below("../provider/fixtures").join(provider)) {
            let meta = std::fs::read_to_string(case.join("case.json")).unwrap_or_default();
            // Errors, vectors and the makers' own forms are recorded elsewhere.
            let is_chat = !["\"status\"", "\"task\"", "\"client\""].iter().any(|word| meta.contains(word));
            let Some((mode, bytes)) = answer(&case).filter(|_| is_chat) else { continue };
            let (events, result) = read(format, mode, &bytes, bytes.len());
            assert_eq!(result, Ok(()), "{}", case.display());
            let cuts = if mode == Mode::Stream { bytes.len() } else { 1 };
            for at in 1..cuts {
                let mut decoder = format.decoder(mode, Undo::default());
                let mut again = Vec::new();
                decoder.push(&bytes[..at], &mut again).unwrap();
                decoder.push(&bytes[at..], &mut again).unwrap();
                decoder.finish(&mut again).unwrap();
                assert_eq!(again, events, "{} cut at {at}", case.display());
            }
            for dialect in DIALECTS {
                for (mode, ending) in [(Mode::Whole, "json"), (Mode::Stream, "sse")] {
                    let told = told(dialect, mode, &events);
                    let file = format!("client_{}.{ending}", dialect.as_str());
                    compare(&below("fixtures/told").join(wire).join(name(&case)).join(file), &told, &mut failures);
                }
            }
            n_cases += 1;
        }
    }
    assert!(n_cases > 12, "{n_cases}");
    assert!(failures.is_empty(), "{failures}\nrun with UPDATE=1 to accept, and read the diff");
}

fn told(dialect: Dialect, mode: Mode, events: &[Event]) -> String {
    let options =
        AnswerOptions { id: "req_1".into(), created: 1_600_000_000, include_usage: true, ..AnswerOptions::default() };
    let mut encoder = dialect.encoder(mode, options);
    let mut out = BytesMut::new();
    for event in events {
        encoder.push(event.clone(), &mut out);
    }
    let mut text = String::from_utf8(out.to_vec()).unwrap();
    if mode == Mode::Whole {
        text = pretty(&serde_json::from_str(&text).unwrap());
    }
    for loss in encoder.losses() {
        writeln!(text, ": loss: {loss}").unwrap();
    }
    text
}
