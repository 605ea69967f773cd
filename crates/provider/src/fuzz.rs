//! What must hold for any bytes of an upstream; the fuzz targets and a normal test call these functions.
//!
//! Each function panics when a promise is broken, which is how a fuzzer learns of it. Nothing of the product calls them.
#![expect(clippy::missing_panics_doc, reason = "panicking is what these functions are for; the header says so")]

use std::fmt::Debug;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use llm::canonical::answer::fold;
use llm::canonical::error::DecodeError;
use llm::canonical::event::Event;
use llm::dialect::{AnswerOptions, Decoder, Dialect, Mode, RequestOptions, Speak as _, Undo};

use crate::provider::{ALL, Base, Call, Operation, Provider, Relay, Surface, Target, find};
use crate::scan::scan;
use crate::skim::{Skimmed, StreamSkim, skim_body, tier_in_events, tier_of};
use crate::task::{Asked, Task, multipart};
use crate::wire::event_stream::{self, Reader};
use crate::wire::{COHERE, CONVERSE, OLLAMA, Wire};

const DIALECTS: [Dialect; 5] = [
    Dialect::OpenAiChat,
    Dialect::AnthropicMessages,
    Dialect::OpenAiResponses,
    Dialect::OpenAiCompletions,
    Dialect::Gemini,
];
const FRAMES: [&str; 6] =
    ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"];

/// Frames of binary event streams do not depend on the split.
pub fn event_stream(bytes: &[u8]) {
    let read = |size: usize| {
        let mut frames = Vec::new();
        let mut reader = Reader::default();
        let mut sink = |frame: event_stream::Frame<'_>| {
            frames.push((frame.message_type.to_owned(), frame.kind.to_owned(), frame.payload.to_vec()));
            Ok(())
        };
        let read = bytes.chunks(size).try_for_each(|chunk| reader.push(chunk, &mut sink));
        (read.and_then(|()| reader.finish()), frames)
    };
    let _ = same_for_any_split(bytes, read);
    answers(&CONVERSE, Mode::Stream, bytes);
}

/// Converse: each line is a frame, whose kind its first byte says; so that a fuzzer need not find two checksums.
pub fn converse(bytes: &[u8]) {
    let mut framed = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some((kind, payload)) = line.split_first() else { continue };
        let headers = match FRAMES.get(usize::from(kind.wrapping_sub(b'0'))) {
            Some(kind) => [(":message-type", "event"), (":event-type", *kind)],
            None => [(":message-type", "exception"), (":exception-type", "throttlingException")],
        };
        framed.extend(event_stream::write(&headers, payload));
    }
    answers(&CONVERSE, Mode::Stream, &framed);
    answers(&CONVERSE, Mode::Whole, bytes);
}

/// Cohere's answers: the split does not matter, and whatever was read can be written.
pub fn cohere(bytes: &[u8]) {
    answers(&COHERE, Mode::Stream, bytes);
    answers(&COHERE, Mode::Whole, bytes);
}

/// Ollama's answers: the split does not matter, and whatever was read can be written.
pub fn ollama(bytes: &[u8]) {
    answers(&OLLAMA, Mode::Stream, bytes);
    answers(&OLLAMA, Mode::Whole, bytes);
}

/// What is seen of an answer that is relayed untouched does not depend on the split, and reading it harms nobody.
pub fn skim(bytes: &[u8]) {
    for dialect in DIALECTS {
        let read = |size: usize| -> Skimmed {
            let mut skim = StreamSkim::new(dialect);
            bytes.chunks(size).for_each(|chunk| skim.push(chunk));
            skim.finish()
        };
        same_for_any_split(bytes, read);
        let _ = (skim_body(dialect, bytes), tier_of(dialect, bytes), tier_in_events(dialect, bytes));
    }
}

/// Requests: whatever is read can be written in every wire format or is refused, and what is written is JSON.
pub fn requests(bytes: &[u8]) {
    let _ = scan(bytes);
    for dialect in DIALECTS {
        let Ok(request) = dialect.decode_request(bytes) else { continue };
        for wire in [&CONVERSE as &dyn Wire, &COHERE, &OLLAMA] {
            let Ok(encoded) = wire.encode_request(&request, &RequestOptions::STANDARD) else { continue };
            assert!(is_json(&encoded.body), "a request is JSON");
        }
    }
}

/// What a task is asked with, so that an answer to it can be read.
const ASKED: [(Operation, &str); 5] = [
    (Operation::Embeddings, r#"{"model":"m","input":["a","b"]}"#),
    (
        Operation::Task(Task::Rerank),
        r#"{"model":"m","query":"q","documents":["a",{"text":"b"}],"return_documents":true}"#,
    ),
    (Operation::Task(Task::ImageGeneration), r#"{"model":"m","prompt":"a cat","size":"1024x1024"}"#),
    (Operation::Task(Task::Speech), r#"{"model":"m","input":"Hello","voice":"JBFqnCBsd6RMkjVDRZzb"}"#),
    (Operation::Task(Task::Transcription), HEARD),
];
const HEARD: &str = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b\r\n\
    Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n--b\r\n\
    Content-Disposition: form-data; name=\"response_format\"\r\n\r\nverbose_json\r\n--b--\r\n";

/// Tasks in the vendors' own forms: whatever a client asks is written or refused, whatever an upstream answers is read or refused.
pub fn tasks(bytes: &[u8]) {
    for provider in ALL {
        let spec = provider.spec();
        let Ok(base) = Base::parse(spec, spec.base_url.unwrap_or("https://upstream.test/v1")) else { continue };
        for (operation, body) in ASKED {
            let surface = match operation {
                Operation::Task(task) => Surface::Task(task),
                _ => Surface::Embeddings,
            };
            let has_form = spec.place(surface, false).is_some_and(|place| place.form.is_some());
            if !has_form && spec.name != "openai" {
                continue;
            }
            ask(*provider, &base, operation, bytes);
            let Some(asked) = ask(*provider, &base, operation, body.as_bytes()) else { continue };
            for kind in ["application/json", "text/plain", "audio/mpeg"] {
                let told = asked.read(&HeaderValue::from_static(kind), &Bytes::copy_from_slice(bytes));
                let Ok(told) = told else { continue };
                let claims_json = told.content_type.as_bytes().starts_with(b"application/json");
                assert!(!claims_json || is_json(&told.body) || told.body == bytes, "an answer is what it says it is");
            }
        }
    }
}

fn ask(provider: &dyn Provider, base: &Base, operation: Operation, body: &[u8]) -> Option<Box<Asked>> {
    let body = Bytes::copy_from_slice(body);
    let scan = if multipart::is_form(&body) { multipart::scan(&body).ok()? } else { scan(&body).ok()? };
    let headers = HeaderMap::new();
    let call = Call { operation, body: &body, scan: &scan, headers: &headers, inlined: None };
    match provider.prepare(&call, &Target { base, upstream_model: "m", base_model: None, facts: None }).ok()?.relay {
        Relay::Formed(asked) => Some(asked),
        _ => None,
    }
}

/// Forms with files: the parts lie within the body, and another field leaves the rest as it was.
pub fn forms(bytes: &[u8]) {
    let Ok(form) = multipart::parse(bytes) else { return };
    let values: Vec<Vec<u8>> = form.parts.iter().map(|part| form.value(part).to_vec()).collect();
    let written = form.with_field("a-name-that-nobody-has", "model", "m");
    let Ok(again) = multipart::parse(&written) else { return };
    for value in &values {
        assert!(again.parts.iter().any(|part| again.value(part) == &value[..]), "a part is as it was");
    }
}

/// Bedrock's frames around a maker's own events: each line is the JSON of one chunk.
pub fn invoke(bytes: &[u8]) {
    let Some(bedrock) = find("bedrock") else { return };
    let mut framed = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let payload = format!("{{\"bytes\":\"{}\"}}", STANDARD.encode(line));
        framed.extend(event_stream::write(&[(":message-type", "event"), (":event-type", "chunk")], payload.as_bytes()));
    }
    let messages = || bedrock.decoder(Dialect::AnthropicMessages, Mode::Stream, Undo::default());
    for make in [&messages as &dyn Fn() -> Box<dyn Decoder>, &|| bedrock.onlooker().unwrap_or_else(messages)] {
        for bytes in [&framed[..], bytes] {
            let read = |size: usize| {
                let (mut decoder, mut events) = (make(), Vec::new());
                let read = bytes.chunks(size).try_for_each(|chunk| decoder.push(chunk, &mut events));
                (events.clone(), read.and_then(|()| decoder.finish(&mut events)))
            };
            let _ = same_for_any_split(bytes, read);
        }
    }
}

fn answers(wire: &dyn Wire, mode: Mode, bytes: &[u8]) {
    let read = |size: usize| -> (Vec<Event>, Result<(), DecodeError>) {
        let mut decoder = wire.decoder(mode, Undo::default());
        let mut events = Vec::new();
        let read = bytes.chunks(size).try_for_each(|chunk| decoder.push(chunk, &mut events));
        let read = read.and_then(|()| decoder.finish(&mut events));
        (events, read)
    };
    let (events, _) = same_for_any_split(bytes, read);
    let is_complete = matches!(events.last(), Some(Event::Done | Event::Error(_)));
    for dialect in DIALECTS {
        for mode in [Mode::Stream, Mode::Whole] {
            let mut encoder = dialect.encoder(mode, AnswerOptions::default());
            let mut out = bytes::BytesMut::new();
            for event in &events {
                encoder.push(event.clone(), &mut out);
            }
            assert!(mode == Mode::Stream || !is_complete || is_json(&out), "a whole answer is JSON");
        }
    }
    let answer = fold(events);
    assert!(answer.choices.iter().map(|choice| choice.index).is_sorted(), "choices are in order");
    let error = wire.decode_error(500, bytes);
    assert!(DIALECTS.iter().all(|dialect| is_json(&dialect.encode_error(&error))), "an error body is JSON");
}

fn same_for_any_split<T: PartialEq + Debug>(bytes: &[u8], read: impl Fn(usize) -> T) -> T {
    let whole = read(bytes.len().max(1));
    for size in [1, 3, 16] {
        assert_eq!(read(size), whole, "chunks of {size} bytes give something else");
    }
    whole
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<&serde_json::value::RawValue>(bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;

    type Target = fn(&[u8]);

    const TARGETS: [(&str, Target); 9] = [
        ("event_stream", super::event_stream),
        ("converse", super::converse),
        ("cohere", super::cohere),
        ("ollama", super::ollama),
        ("skim", super::skim),
        ("requests", super::requests),
        ("tasks", super::tasks),
        ("forms", super::forms),
        ("invoke", super::invoke),
    ];

    /// The kept inputs, as they are and with one byte changed.
    #[test]
    fn the_fuzz_targets_hold_on_the_corpus() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for (name, target) in TARGETS {
            let mut n_files = 0;
            for file in fs::read_dir(corpus.join(name)).unwrap() {
                let mut bytes = fs::read(file.unwrap().path()).unwrap();
                n_files += 1;
                target(&bytes);
                for at in (0..bytes.len()).step_by(1.max(bytes.len() / 40)) {
                    let before = bytes[at];
                    bytes[at] = b"\"{}[]:,0\n\\"[at % 10];
                    target(&bytes);
                    bytes[at] = before;
                }
            }
            assert!(n_files > 1, "{name} has {n_files} kept inputs");
        }
    }

    proptest! {
        #[test]
        fn the_fuzz_targets_hold_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            for (_, target) in TARGETS {
                target(&bytes);
            }
        }

        #[test]
        fn the_fuzz_targets_hold_on_json_like_text(text in "([0-6]|data: )?[\\{\\}\\[\\]\",:a-z0-9\\\\\n ]{0,200}") {
            for (_, target) in TARGETS {
                target(text.as_bytes());
            }
        }
    }
}
