//! What must hold for any bytes; the fuzz targets and a normal test call these functions.
//!
//! Each function panics when a promise is broken, which is how a fuzzer learns of it. Nothing of the product calls them.
#![expect(clippy::missing_panics_doc, reason = "panicking is what these functions are for; the header says so")]

use bytes::BytesMut;
use serde_json::value::RawValue;

use crate::canonical::answer::fold;
use crate::canonical::error::DecodeError;
use crate::canonical::event::Event;
use crate::codec::sse;
use crate::dialect::gemini::CountForm;
use crate::dialect::gemini::embeddings::Batch;
use crate::dialect::openai_responses::compaction::{self, Compaction};
use crate::dialect::openai_responses::conversation::{self, Turn};
use crate::dialect::{
    AnswerOptions, Dialect, Mode, RequestOptions, Speak as _, Undo, anthropic_messages, gemini, openai_embeddings,
};

const DIALECTS: [Dialect; 5] = [
    Dialect::OpenAiChat,
    Dialect::AnthropicMessages,
    Dialect::OpenAiResponses,
    Dialect::OpenAiCompletions,
    Dialect::Gemini,
];

/// Frames of server-sent events do not depend on the split.
pub fn sse(bytes: &[u8]) {
    let read = |size: usize| {
        let mut frames = Vec::new();
        let mut sink = |frame: sse::Frame<'_>| {
            frames.push((frame.event.to_vec(), frame.data.to_vec(), frame.id.to_vec(), frame.retry_ms));
            Ok(())
        };
        let mut reader = sse::Reader::new(64);
        let result = bytes.chunks(size).try_for_each(|chunk| reader.push(chunk, &mut sink));
        let result = result.and_then(|()| reader.finish(&mut sink));
        (frames, result)
    };
    let whole = read(bytes.len().max(1));
    for size in [1, 2, 7] {
        assert_eq!(read(size), whole, "chunks of {size} bytes give other frames");
    }
}

/// OpenAI streams: the split does not matter, and whatever was read can be written.
pub fn openai_stream(bytes: &[u8]) {
    stream(Dialect::OpenAiChat, bytes);
}

/// Anthropic streams: the split does not matter, and whatever was read can be written.
pub fn anthropic_stream(bytes: &[u8]) {
    stream(Dialect::AnthropicMessages, bytes);
}

/// Streams of OpenAI's responses: the split does not matter, and whatever was read can be written.
pub fn responses_stream(bytes: &[u8]) {
    stream(Dialect::OpenAiResponses, bytes);
}

/// Gemini's streams, events or array: the split does not matter, and whatever was read can be written.
pub fn gemini_stream(bytes: &[u8]) {
    stream(Dialect::Gemini, bytes);
}

/// Streams of OpenAI's legacy completions: the split does not matter, and whatever was read can be written.
pub fn completions_stream(bytes: &[u8]) {
    stream(Dialect::OpenAiCompletions, bytes);
}

/// Whole answers: whatever was read can be written, and is well-formed JSON.
pub fn whole_answers(bytes: &[u8]) {
    for dialect in DIALECTS {
        let (events, result) = read(dialect, Mode::Whole, bytes, bytes.len().max(1));
        if result.is_ok() {
            write(&events);
        }
        let error = dialect.decode_error(500, bytes);
        for target in DIALECTS {
            assert!(is_json(&target.encode_error(&error)), "an error body is JSON");
        }
    }
}

/// Requests: whatever was read can be written in every dialect, is well-formed JSON, and reads back there.
pub fn requests(bytes: &[u8]) {
    for dialect in DIALECTS {
        let Ok(request) = dialect.decode_request(bytes) else { continue };
        for target in DIALECTS {
            let Ok(encoded) = target.encode_request(&request, &RequestOptions::STANDARD) else { continue };
            let again = target.decode_request(&encoded.body);
            assert!(again.is_ok(), "a request of our own making is refused: {again:?}");
        }
    }
    if let Ok(request) = openai_embeddings::decode_request(bytes) {
        assert_eq!(openai_embeddings::decode_request(&openai_embeddings::encode_request(&request)), Ok(request));
    }
}

/// Kept responses: whatever was read can be written, reads back the same, and goes on as a call.
pub fn conversation(bytes: &[u8]) {
    let (wish, id, last) =
        (conversation::read_wish(bytes), conversation::kept_id(bytes), conversation::final_response(bytes));
    assert!(serde_json::from_slice::<&RawValue>(bytes).is_ok() || wish.is_err() && id.is_none() && last.is_none());
    if let Ok(turn) = Turn::decode(bytes) {
        assert_eq!(Turn::decode(&turn.encode()).as_ref(), Ok(&turn));
        assert!(is_json(&turn.encode_input_list()), "a list of items is JSON");
        let continued = conversation::continued(br#"{"model":"m","input":"more"}"#, turn.history());
        assert!(continued.is_ok_and(|(body, _)| is_json(&body)), "any history goes on");
    }
    if let Ok(Some(body)) = compaction::expand(bytes) {
        assert!(is_json(&body), "what was made short goes on");
    }
    if let Ok(compaction) = Compaction::of(bytes) {
        assert!(is_json(&compaction.request), "a transcript is JSON");
        assert!(compaction.answer(bytes, "x").is_none_or(|answer| compaction.is_stream() || is_json(&answer)));
    }
    if let Ok(items) = conversation::input_items(bytes)
        && let Ok((body, _)) = conversation::continued(bytes, items)
    {
        assert!(is_json(&body), "a continued call is JSON");
    }
}

/// Token counts: whatever was read can be written in both forms, and is well-formed JSON.
pub fn counts(bytes: &[u8]) {
    for request in [anthropic_messages::decode_count_request(bytes), gemini::decode_count_request(bytes)] {
        let Ok(request) = request else { continue };
        let options = RequestOptions::STANDARD;
        let encoded = [
            anthropic_messages::encode_count_request(&request, &options),
            gemini::encode_count_request(&request, &options, CountForm::Wrapped),
            gemini::encode_count_request(&request, &options, CountForm::Flat),
        ];
        assert!(encoded.iter().flatten().all(|encoded| is_json(&encoded.body)), "a count's request is JSON");
    }
    for count in [anthropic_messages::decode_count_answer(bytes), gemini::decode_count_answer(bytes)] {
        let Ok(count) = count else { continue };
        assert_eq!(anthropic_messages::decode_count_answer(&anthropic_messages::encode_count_answer(count)), Ok(count));
    }
}

/// Embeddings: whatever was read can be written in both dialects, and reads back there.
pub fn embeddings(bytes: &[u8]) {
    if let Ok((request, batch)) = gemini::embeddings::decode_request(bytes) {
        for batch in [batch, Batch::One, Batch::Many] {
            let Ok(encoded) = gemini::embeddings::encode_request(&request, batch, true) else { continue };
            assert!(gemini::embeddings::decode_request(&encoded).is_ok(), "a request of our own making is refused");
        }
        assert!(is_json(&openai_embeddings::encode_request(&request)), "a request is JSON");
    }
    for answer in [gemini::embeddings::decode_answer(bytes), openai_embeddings::decode_answer(bytes)] {
        let Ok(answer) = answer else { continue };
        for batch in [Batch::One, Batch::Many] {
            assert!(is_json(&gemini::embeddings::encode_answer(&answer, batch)), "vectors are JSON");
        }
    }
}

fn stream(dialect: Dialect, bytes: &[u8]) {
    let whole = read(dialect, Mode::Stream, bytes, bytes.len().max(1));
    for size in [1, 3] {
        assert_eq!(read(dialect, Mode::Stream, bytes, size), whole, "chunks of {size} bytes give other events");
    }
    write(&whole.0);
}

fn read(dialect: Dialect, mode: Mode, bytes: &[u8], size: usize) -> (Vec<Event>, Result<(), DecodeError>) {
    let mut decoder = dialect.decoder(mode, Undo::default());
    let mut events = Vec::new();
    let mut result = bytes.chunks(size).try_for_each(|chunk| decoder.push(chunk, &mut events));
    if result.is_ok() {
        result = decoder.finish(&mut events);
    }
    (events, result)
}

fn write(events: &[Event]) {
    let is_complete = matches!(events.last(), Some(Event::Done | Event::Error(_)));
    for dialect in DIALECTS {
        for mode in [Mode::Stream, Mode::Whole] {
            let mut encoder = dialect.encoder(mode, AnswerOptions::default());
            let mut out = BytesMut::new();
            for event in events {
                encoder.push(event.clone(), &mut out);
            }
            assert!(mode == Mode::Stream || !is_complete || is_json(&out), "a whole answer is JSON");
        }
    }
    let answer = fold(events.iter().cloned());
    assert!(answer.choices.iter().map(|choice| choice.index).is_sorted(), "choices are in order");
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(bytes).is_ok()
}
