//! Recorded calls of every provider: what is sent, what comes back, what it means. `UPDATE=1` rewrites `golden.json`; read the
//! difference as a reviewer would.
//!
//! `fixtures/<provider>/<case>/` holds the client's `request.json` and the upstream's `upstream.{json,sse,ndjson,events}` (the last
//! is a list of event-stream frames); `case.json` says what differs from the folder's `provider.json`: `client`, `model`,
//! `base_url`, `task` (one besides chat), and `status` and `headers` of an error. A case that a provider has no folder for is run from
//! `fixtures/shared/<dialect>/<case>/`, and must mean for it what it means for the dialect's vendor; what is sent for it is kept in
//! `fixtures/<provider>/shared/<case>.json`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use llm::canonical::answer::{Answer, fold};
use llm::canonical::content::Content;

use super::super::*;
use crate::scan::scan;
use crate::skim::{StreamSkim, skim_body};
use crate::task::multipart;
use crate::wire::event_stream;
use serde_json::{Value, json};

/// Cases that every provider of chat has of its own.
const CHAT_CASES: &[&str] = &["basic", "stream", "tool_call", "usage", "error_400", "error_429"];
/// Cases that may be the dialect's.
const SHARED_CASES: &[&str] = &["json_schema", "image", "reasoning", "context_overflow", "content_filter"];
/// Wire formats without a form for a case.
const NONE: &[(&str, &str)] = &[("ollama", "content_filter")];
const VECTOR_CASES: &[&str] = &["basic", "error_400", "error_429"];
/// Cases of whoever has no chat, by what it has.
const TASK_CASES: &[(Surface, &str)] =
    &[(Surface::Task(Task::Rerank), "rerank"), (Surface::Task(Task::Transcription), "transcription")];
const DIALECTS: [Dialect; 5] = [
    Dialect::OpenAiChat,
    Dialect::AnthropicMessages,
    Dialect::OpenAiResponses,
    Dialect::OpenAiCompletions,
    Dialect::Gemini,
];

pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// Providers that go over the network, with their folders.
fn folders() -> impl Iterator<Item = (&'static dyn Provider, PathBuf)> {
    let external = ALL.iter().copied().filter(|provider| provider.spec().needs_credential);
    external.map(|provider| (provider, root().join(provider.spec().name)))
}

pub(super) fn read(path: &Path) -> Option<Value> {
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
        for (surface, case) in TASK_CASES {
            let is_due = !speaks_chat && spec.place(*surface, false).is_some();
            assert!(!is_due || folder.join(case).join("request.json").exists(), "{}/{case}", spec.name);
        }
    }
}

/// Where a case of a provider comes from.
fn origin(provider: &dyn Provider, folder: &Path, case: &str) -> &'static str {
    let spec = provider.spec();
    let dialect = spec.dialects.first().filter(|_| spec.wire.is_none());
    let shared = dialect.map(|dialect| root().join("shared").join(dialect.as_str()).join(case));
    if folder.join(case).is_dir() {
        "own"
    } else if shared.is_some_and(|shared| shared.is_dir()) {
        "shared"
    } else if NONE.contains(&(spec.name, case)) {
        "–"
    } else {
        panic!("{}/{case}", spec.name)
    }
}

fn speaks_chat(provider: &dyn Provider) -> bool {
    provider.spec().wire.is_some() || !provider.spec().dialects.is_empty()
}

pub(super) fn chat_folders() -> impl Iterator<Item = (&'static dyn Provider, PathBuf)> {
    folders().filter(|(provider, _)| speaks_chat(*provider))
}

#[test]
fn shared_calls_mean_the_same_for_every_provider() {
    let vendors =
        [(Dialect::OpenAiChat, "openai"), (Dialect::AnthropicMessages, "anthropic"), (Dialect::Gemini, "gemini")];
    let mut n_cases = 0;
    for case in SHARED_CASES {
        let is_shared = |(provider, folder): &(&dyn Provider, PathBuf)| origin(*provider, folder, case) == "shared";
        for (provider, folder) in chat_folders().filter(is_shared) {
            let dialect = provider.spec().dialects[0];
            let settings = read(&folder.join("provider.json")).unwrap_or_else(|| json!({}));
            let shared = root().join("shared").join(dialect.as_str()).join(case);
            let found = run(provider, &settings, &shared);
            let kept = folder.join("shared").join(format!("{case}.json"));
            if is_update() {
                std::fs::create_dir_all(folder.join("shared")).unwrap();
                std::fs::write(&kept, format!("{}\n", serde_json::to_string_pretty(&found["sent"]).unwrap())).unwrap();
            }
            assert_eq!(Some(&found["sent"]), read(&kept).as_ref(), "{}: run with UPDATE=1", kept.display());
            // What the vendor of the dialect means, in its own folder.
            let vendor = vendors.iter().find(|(of, _)| *of == dialect).map_or("", |(_, vendor)| vendor);
            let meant = read(&root().join(vendor).join(case).join("golden.json"));
            let meant = meant.unwrap_or_else(|| panic!("{vendor}/{case}: run with UPDATE=1"));
            let meaning = |found: &Value| json!({"answer": found["answer"], "failure": found["failure"]});
            assert_eq!(meaning(&found), meaning(&meant), "{} with {}", provider.spec().name, shared.display());
            n_cases += 1;
        }
    }
    assert!(n_cases > 25, "{n_cases}");
}

#[test]
fn the_table_of_recorded_calls_is_current() {
    let cases = || CHAT_CASES.iter().chain(SHARED_CASES);
    let mut table = String::from(TABLE_HEAD);
    table.extend(cases().map(|case| format!(" {} |", case.replace("error_", ""))));
    let _ = writeln!(table, "\n|---|{}", "---|".repeat(cases().count()));
    for (provider, folder) in chat_folders() {
        let _ = write!(table, "| {} |", provider.spec().title);
        table.extend(cases().map(|case| format!(" {} |", origin(provider, &folder, case))));
        table.push('\n');
    }
    let _ = writeln!(table, "{SECOND_HEAD}");
    for (provider, folder) in folders().filter(|(provider, _)| !speaks_chat(*provider)) {
        let has = |surface| provider.spec().place(surface, false).is_some();
        let cell = |case: &str| if folder.join(case).is_dir() { " own |" } else { " – |" };
        let first =
            [Surface::Embeddings, Surface::Task(Task::Speech)].map(|it| if has(it) { " own |" } else { " – |" });
        let _ = write!(table, "| {} |{}", provider.spec().title, first.concat());
        table.extend(["rerank", "transcription", "error_400", "error_429"].map(cell));
        table.push('\n');
    }
    table.push_str(&super::tasks::table());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/recorded-calls.md");
    if is_update() {
        std::fs::write(&path, &table).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(kept, table, "run with UPDATE=1");
}

const TABLE_HEAD: &str = "\
# Recorded calls

Written by the tests of `crates/provider` (`UPDATE=1`). Each cell is a request of a client, what is sent for it, and an answer written from the
vendor's reference with what it means: **own** is in `crates/provider/fixtures/<provider>`, **shared** is the case of the dialect in `fixtures/shared`,
run with this provider's address and rules, with what is sent for it kept in its folder; **–** means that the upstream has no form for it.

| provider |";

const SECOND_HEAD: &str = "
Who has no chat:

| provider | vectors | speech | rerank | transcription | 400 | 429 |
|---|---|---|---|---|---|---|";

#[test]
fn every_recorded_call_means_what_it_did() {
    let mut n_cases = 0;
    for (provider, folder) in folders() {
        let settings = read(&folder.join("provider.json")).unwrap_or_else(|| json!({}));
        let mut cases: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        cases.sort();
        for case in cases.iter().filter(|path| path.is_dir() && !path.ends_with("shared")) {
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
pub(super) fn is_update() -> bool {
    std::env::var_os("UPDATE").is_some()
}

pub(super) fn run(provider: &dyn Provider, settings: &Value, case: &Path) -> Value {
    let meta = read(&case.join("case.json")).unwrap_or_else(|| json!({}));
    let setting = |name: &str| meta.get(name).or_else(|| settings.get(name)).and_then(Value::as_str).map(str::to_owned);
    let spec = provider.spec();
    let client = setting("client").map(|name| *DIALECTS.iter().find(|dialect| dialect.as_str() == name).unwrap());
    let client = client.or(spec.dialects.first().copied()).unwrap_or(Dialect::OpenAiChat);
    let is_vectors = spec.wire.is_none() && spec.dialects.is_empty();
    let operation = match setting("task").as_deref() {
        Some("rerank") => Operation::Task(Task::Rerank),
        Some("speech") => Operation::Task(Task::Speech),
        Some("transcription") => Operation::Task(Task::Transcription),
        Some("translation") => Operation::Task(Task::Translation),
        Some("moderation") => Operation::Task(Task::Moderation),
        Some("image_generation") => Operation::Task(Task::ImageGeneration),
        Some("image_edit") => Operation::Task(Task::ImageEdit),
        Some("image_variation") => Operation::Task(Task::ImageVariation),
        Some("embeddings") => Operation::Embeddings,
        Some("count") => Operation::CountTokens(client),
        Some(other) => panic!("{other}"),
        None if is_vectors => Operation::Embeddings,
        None => Operation::Chat(client),
    };
    let base = setting("base_url").or(spec.base_url.map(str::to_owned)).unwrap_or("https://upstream.test/v1".into());
    let model = setting("model").unwrap_or("served-model".into());
    let mut request = read(&case.join("request.json")).unwrap();
    // Gemini's clients say it in the address.
    let is_stream = client == Dialect::Gemini && request.as_object_mut().unwrap().remove("stream").is_some();
    let is_form = matches!(operation, Operation::Task(task) if task.takes_files());
    let body = if is_form { form_of(&request) } else { Bytes::from(request.to_string()) };
    let mut scan = if is_form { multipart::scan(&body).unwrap() } else { scan(&body).unwrap() };
    scan.stream = scan.stream.or(Some(is_stream));
    let headers = HeaderMap::new();
    let call = Call { operation, body: &body, scan: &scan, headers: &headers, inlined: None };
    let base = Base::parse(spec, &base).unwrap_or_else(|error| panic!("{}: {error}", case.display()));
    let target = Target { base: &base, upstream_model: &model, base_model: None, facts: None };
    let prepared = provider.prepare(&call, &target).unwrap_or_else(|error| panic!("{}: {error}", case.display()));
    let sent = json!({
        "uri": prepared.request.uri().to_string(),
        "body": shown(prepared.request.body()),
        "losses": prepared.losses.iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    let status = meta["status"].as_u64().or_else(|| read(&case.join("expect.json"))?["status"].as_u64());
    match status {
        Some(status) => json!({"sent": sent, "failure": failure(provider, client, &model, status, &meta, case)}),
        None => json!({"sent": sent, "answer": answer(provider, &prepared.relay, case)}),
    }
}

/// Writes a form with the fields of an object; `file` is one.
fn form_of(fields: &Value) -> Bytes {
    let mut form = String::new();
    for (name, value) in fields.as_object().unwrap() {
        let file = match name.as_str() {
            "file" => "; filename=\"a.wav\"\r\nContent-Type: audio/wav",
            "image" => "; filename=\"a.png\"\r\nContent-Type: image/png",
            _ => "",
        };
        let value = value.as_str().unwrap();
        let _ = write!(form, "--b\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{value}\r\n");
    }
    Bytes::from(form + "--b--\r\n")
}

/// A body as it is read: JSON, a form by its fields, anything else as text.
fn shown(body: &Bytes) -> Value {
    if !multipart::is_form(body) {
        return serde_json::from_slice(body).unwrap_or_else(|_| json!(String::from_utf8_lossy(body)));
    }
    let form = multipart::parse(body).unwrap();
    let field = |part: &multipart::Part<'_>| json!([part.name, String::from_utf8_lossy(form.value(part))]);
    json!({"form": form.parts.iter().map(field).collect::<Vec<_>>()})
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
        Relay::Count { dialect } => return json!({"input_tokens": count::decode_answer(*dialect, &bytes).unwrap()}),
        Relay::Embeddings => {
            let found = skim_body(Dialect::OpenAiChat, &bytes);
            return json!({"usage": found.usage, "is_complete": found.is_complete});
        }
        Relay::Formed(asked) => {
            let kind = if case.join("upstream.mp3").exists() { "audio/mpeg" } else { "application/json" };
            let told = asked.read(&http::HeaderValue::from_static(kind), &bytes.into()).unwrap();
            let found = told.found;
            return json!({"body": shown(&told.body), "usage": found.usage, "units": found.units, "is_guessed": found.is_guessed});
        }
    };
    let decode = |chunks: Vec<&[u8]>| {
        let mut decoder = provider.decoder(dialect, mode, undo.clone());
        let mut events = Vec::new();
        let result = chunks.into_iter().try_for_each(|chunk| decoder.push(chunk, &mut events));
        let result = result.and_then(|()| decoder.finish(&mut events));
        assert_eq!(result, Ok(()), "{}", case.display());
        events
    };
    let events = decode(vec![&bytes[..]]);
    for size in 1..bytes.len().min(64) {
        assert_eq!(decode(bytes.chunks(size).collect()), events, "{} in chunks of {size}", case.display());
    }
    // A whole body is read when it is there; of a stream single cuts are tried, of a long one some seven hundred.
    let cuts = if mode == Mode::Stream { bytes.len() } else { 1 };
    for at in (1..cuts).step_by(1 + cuts / 700) {
        let (before, after) = bytes.split_at(at);
        assert_eq!(decode(vec![before, after]), events, "{} cut at {at}", case.display());
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
    if let Some(bytes) = file("upstream.json").or_else(|| file("upstream.mp3")) {
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
