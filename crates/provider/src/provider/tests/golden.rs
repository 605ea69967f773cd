//! Recorded calls of every provider: what is sent, what comes back, what it means. `UPDATE=1` rewrites `golden.json`; read the
//! difference as a reviewer would.
//!
//! `fixtures/<provider>/<case>/` holds the client's `request.json` and the upstream's `upstream.{json,sse,ndjson,events}` (the last
//! is a list of event-stream frames); `case.json` says what differs from the folder's `provider.json`: `client`, `model`,
//! `base_url`, `task` (one besides chat), and `status` and `headers` of an error.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use llm::canonical::answer::{Answer, fold};
use llm::canonical::content::Content;

use super::tests::json_of;
use super::*;
use crate::scan::scan;
use crate::skim::{StreamSkim, skim_body};
use crate::wire::event_stream;
use serde_json::{Value, json};

const CHAT_CASES: &[&str] = &["basic", "stream", "tool_call", "usage", "error_400", "error_429"];
const VECTOR_CASES: &[&str] = &["basic", "error_400", "error_429"];
const DIALECTS: [Dialect; 5] = [
    Dialect::OpenAiChat,
    Dialect::AnthropicMessages,
    Dialect::OpenAiResponses,
    Dialect::OpenAiCompletions,
    Dialect::Gemini,
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// Providers that go over the network, with their folders.
fn folders() -> impl Iterator<Item = (&'static dyn Provider, PathBuf)> {
    let external = ALL.iter().copied().filter(|provider| provider.spec().needs_credential);
    external.map(|provider| (provider, root().join(provider.spec().name)))
}

fn read(path: &Path) -> Option<Value> {
    std::fs::read(path)
        .ok()
        .map(|bytes| serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

#[test]
fn every_provider_has_its_recorded_calls() {
    for (provider, folder) in folders() {
        let spec = provider.spec();
        let speaks_chat = spec.wire.is_some() || !spec.dialects.is_empty();
        for case in if speaks_chat { CHAT_CASES } else { VECTOR_CASES } {
            assert!(folder.join(case).join("request.json").exists(), "{}/{case}", spec.name);
        }
    }
}

#[test]
fn every_recorded_call_means_what_it_did() {
    let mut n_cases = 0;
    for (provider, folder) in folders() {
        let settings = read(&folder.join("provider.json")).unwrap_or_else(|| json!({}));
        let mut cases: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        cases.sort();
        for case in cases.iter().filter(|path| path.is_dir()) {
            let found = run(provider, &settings, case);
            let golden = case.join("golden.json");
            if is_update() {
                std::fs::write(&golden, format!("{}\n", serde_json::to_string_pretty(&found).unwrap())).unwrap();
            }
            let expected = read(&golden).unwrap_or_else(|| panic!("{}: run with UPDATE=1", golden.display()));
            assert_eq!(found, expected, "{}", case.display());
            n_cases += 1;
        }
    }
    assert!(n_cases > 150, "{n_cases}");
}

#[expect(clippy::disallowed_methods, reason = "a switch of the test run, not a setting of the product")]
fn is_update() -> bool {
    std::env::var_os("UPDATE").is_some()
}

fn run(provider: &dyn Provider, settings: &Value, case: &Path) -> Value {
    let meta = read(&case.join("case.json")).unwrap_or_else(|| json!({}));
    let setting = |name: &str| meta.get(name).or_else(|| settings.get(name)).and_then(Value::as_str).map(str::to_owned);
    let spec = provider.spec();
    let client = setting("client").map(|name| *DIALECTS.iter().find(|dialect| dialect.as_str() == name).unwrap());
    let client = client.or(spec.dialects.first().copied()).unwrap_or(Dialect::OpenAiChat);
    let is_vectors = spec.wire.is_none() && spec.dialects.is_empty();
    let operation = match setting("task").as_deref() {
        Some("rerank") => Operation::Task(Task::Rerank),
        Some("speech") => Operation::Task(Task::Speech),
        Some("embeddings") => Operation::Embeddings,
        Some(other) => panic!("{other}"),
        None if is_vectors => Operation::Embeddings,
        None => Operation::Chat(client),
    };
    let base = setting("base_url").or(spec.base_url.map(str::to_owned)).unwrap_or("https://upstream.test/v1".into());
    let model = setting("model").unwrap_or("served-model".into());
    let mut request = read(&case.join("request.json")).unwrap();
    // Gemini's clients say it in the address.
    let is_stream = client == Dialect::Gemini && request.as_object_mut().unwrap().remove("stream").is_some();
    let body = Bytes::from(request.to_string());
    let mut scan = scan(&body).unwrap();
    scan.stream = scan.stream.or(Some(is_stream));
    let headers = HeaderMap::new();
    let call = Call { operation, body: &body, scan: &scan, headers: &headers, inlined: None };
    let base = Base::parse(spec, &base).unwrap_or_else(|error| panic!("{}: {error}", case.display()));
    let target = Target { base: &base, upstream_model: &model };
    let prepared = provider.prepare(&call, &target).unwrap_or_else(|error| panic!("{}: {error}", case.display()));
    let sent = json!({
        "uri": prepared.request.uri().to_string(),
        "body": json_of(prepared.request.body()),
        "losses": prepared.losses.iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    let status = meta["status"].as_u64().or_else(|| read(&case.join("expect.json"))?["status"].as_u64());
    match status {
        Some(status) => json!({"sent": sent, "failure": failure(provider, client, &model, status, &meta, case)}),
        None => json!({"sent": sent, "answer": answer(provider, &prepared.relay, case)}),
    }
}

fn failure(provider: &dyn Provider, client: Dialect, model: &str, status: u64, meta: &Value, case: &Path) -> Value {
    let body = std::fs::read(case.join("upstream.json")).unwrap();
    let status = u16::try_from(status).unwrap();
    let mut headers = HeaderMap::new();
    let given = meta.get("headers").cloned().or_else(|| read(&case.join("expect.json"))?.get("headers").cloned());
    for (name, value) in given.unwrap_or_default().as_object().into_iter().flatten() {
        headers.insert(name.parse::<http::HeaderName>().unwrap(), value.as_str().unwrap().parse().unwrap());
    }
    let failure = provider.classify(status, &headers, &body, Timestamp::default());
    let error = provider.decode_error(client, model, status, &body);
    json!({
        "kind": failure.kind.as_str(),
        "scope": format!("{:?}", failure.scope),
        "retry_after_ms": failure.retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap()),
        "native": [failure.native.0, failure.native.1],
        "message": failure.message,
        "decoded": {"kind": format!("{:?}", error.kind), "status": error.status, "message": error.message},
    })
}

fn answer(provider: &dyn Provider, relay: &Relay, case: &Path) -> Value {
    let (mode, bytes) = upstream(case);
    let (dialect, undo) = match relay {
        Relay::Untouched { dialect, .. } => (*dialect, Undo::default()),
        Relay::Translated { dialect, undo } => (*dialect, undo.clone()),
        Relay::Embeddings | Relay::Count { .. } => {
            let found = skim_body(Dialect::OpenAiChat, &bytes);
            return json!({"usage": found.usage, "is_complete": found.is_complete});
        }
        Relay::Formed(asked) => {
            let told = asked.read(&http::HeaderValue::from_static("application/json"), &bytes.into()).unwrap();
            let found = told.found;
            return json!({"body": json_of(&told.body), "usage": found.usage, "units": found.units, "is_guessed": found.is_guessed});
        }
    };
    let decode = |size: usize| {
        let mut decoder = provider.decoder(dialect, mode, undo.clone());
        let mut events = Vec::new();
        let result = bytes.chunks(size).try_for_each(|chunk| decoder.push(chunk, &mut events));
        let result = result.and_then(|()| decoder.finish(&mut events));
        assert_eq!(result, Ok(()), "{}", case.display());
        events
    };
    let events = decode(bytes.len());
    for size in 1..bytes.len().min(64) {
        assert_eq!(decode(size), events, "{} in chunks of {size}", case.display());
    }
    let folded = fold(events);
    if let Relay::Untouched { dialect, .. } = relay {
        let found = if mode == Mode::Stream {
            let mut skim = StreamSkim::new(*dialect);
            skim.push(&bytes);
            skim.finish()
        } else {
            skim_body(*dialect, &bytes)
        };
        assert_eq!(found.usage, folded.usage.as_ref().map(|usage| usage.tokens), "{}", case.display());
        assert_eq!(found.error.is_some(), folded.error.is_some(), "{}", case.display());
    }
    said(&folded)
}

/// The bytes an upstream sent, and how.
fn upstream(case: &Path) -> (Mode, Vec<u8>) {
    let file = |name: &str| std::fs::read(case.join(name)).ok();
    if let Some(bytes) = file("upstream.json") {
        return (Mode::Whole, bytes);
    }
    if let Some(bytes) = file("upstream.sse").or_else(|| file("upstream.ndjson")) {
        return (Mode::Stream, bytes);
    }
    let frames = read(&case.join("upstream.events")).unwrap_or_else(|| panic!("{}: no answer", case.display()));
    let frame = |frame: &Value| {
        let (kind, payload) = (frame[0].as_str().unwrap(), &frame[1]);
        let (message, name) = match kind.strip_suffix("Exception") {
            Some(_) => ("exception", ":exception-type"),
            None => ("event", ":event-type"),
        };
        let payload = match kind {
            "chunk" => json!({"bytes": base64::engine::general_purpose::STANDARD.encode(payload.to_string())}),
            _ => payload.clone(),
        };
        let headers = [(":message-type", message), (name, kind), (":content-type", "application/json")];
        event_stream::write(&headers, payload.to_string().as_bytes())
    };
    (Mode::Stream, frames.as_array().unwrap().iter().flat_map(frame).collect())
}

fn said(answer: &Answer) -> Value {
    let choice = answer.choices.first();
    let blocks = choice.into_iter().flat_map(|choice| &choice.blocks).map(|block| match &block.content {
        Content::Text(text) => json!({"text": text.text}),
        Content::Reasoning(reasoning) => json!({"reasoning": reasoning.text, "signature": reasoning.signature}),
        Content::ToolUse(call) => json!({"call": call.name, "arguments": call.arguments}),
        Content::Refusal(text) => json!({"refusal": text}),
        other => json!({"other": format!("{other:?}")}),
    });
    let finish = choice.and_then(|choice| choice.finish.as_ref());
    json!({
        "blocks": blocks.collect::<Vec<_>>(),
        "finish": finish.map(|finish| format!("{:?}", finish.reason)),
        "native": finish.and_then(|finish| finish.native.as_deref()),
        "usage": answer.usage.as_ref().map(|usage| usage.tokens),
        "error": answer.error.as_ref().map(|error| json!({"status": error.status, "message": error.message})),
    })
}
