//! Any split of the same bytes gives the same events.

use std::fs;

use llm::codec::sse::Reader;
use llm::dialect::{Dialect, Mode, Speak as _, Undo};
use proptest::prelude::*;

use crate::golden::{check_order, decode, fixtures};

/// All streams among the fixtures.
fn streams(dialect: Dialect) -> Vec<Vec<u8>> {
    let folder = fixtures().join(dialect.as_str());
    let cases = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().join("answer.sse"));
    let mut streams: Vec<Vec<u8>> = cases.filter_map(|path| fs::read(path).ok()).collect();
    streams.sort();
    streams
}

fn pieces(bytes: &[u8], cuts: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.sort_unstable();
    let mut pieces = Vec::new();
    let mut from = 0;
    for place in places {
        pieces.push(bytes[from..place].to_vec());
        from = place;
    }
    pieces.push(bytes[from..].to_vec());
    pieces
}

type OwnedFrame = (Vec<u8>, Vec<u8>, Vec<u8>, Option<u64>);

fn frames(pieces: &[Vec<u8>], limit: usize) -> (Vec<OwnedFrame>, bool) {
    let mut reader = Reader::new(limit);
    let mut frames = Vec::new();
    let mut sink = |frame: llm::codec::sse::Frame<'_>| {
        frames.push((frame.event.to_vec(), frame.data.to_vec(), frame.id.to_vec(), frame.retry_ms));
        Ok(())
    };
    let mut is_ok = pieces.iter().all(|piece| reader.push(piece, &mut sink).is_ok());
    is_ok = is_ok && reader.finish(&mut sink).is_ok();
    (frames, is_ok)
}

/// Lines that a server may send, whole or odd.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "data: ?[a-z :\u{e9}]{0,12}",
        1 => "event: ?[a-z]{0,4}",
        1 => "(id|retry): ?[0-9a-z]{0,4}",
        1 => ":[a-z ]{0,5}",
        1 => "[a-z]{0,6}",
        3 => Just(String::new()),
    ]
}

fn dialects() -> impl Strategy<Value = Dialect> {
    prop_oneof![
        Just(Dialect::OpenAiChat),
        Just(Dialect::AnthropicMessages),
        Just(Dialect::OpenAiResponses),
        Just(Dialect::OpenAiCompletions),
        Just(Dialect::Gemini)
    ]
}

fn event_stream() -> impl Strategy<Value = Vec<u8>> {
    let end = prop_oneof![Just("\n"), Just("\r\n"), Just("\r")];
    let lines = prop::collection::vec((line(), end), 0..24);
    (any::<bool>(), lines).prop_map(|(has_mark, lines)| {
        let mut bytes = if has_mark { b"\xEF\xBB\xBF".to_vec() } else { Vec::new() };
        for (line, end) in lines {
            bytes.extend_from_slice(line.as_bytes());
            bytes.extend_from_slice(end.as_bytes());
        }
        bytes
    })
}

proptest! {
    #[test]
    fn sse_frames_do_not_depend_on_the_split(
        bytes in event_stream(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        limit in prop_oneof![Just(8_usize), Just(1 << 20)],
    ) {
        let whole = frames(std::slice::from_ref(&bytes), limit);
        prop_assert_eq!(frames(&pieces(&bytes, &cuts), limit), whole.clone());
        let single: Vec<Vec<u8>> = bytes.iter().map(|&byte| vec![byte]).collect();
        prop_assert_eq!(frames(&single, limit), whole);
    }

    #[test]
    fn events_do_not_depend_on_the_split(
        case in any::<prop::sample::Index>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        dialect in dialects(),
    ) {
        let streams = streams(dialect);
        let bytes = &streams[case.index(streams.len())];
        let whole = decode(dialect, Mode::Stream, Undo::default(), bytes).unwrap();
        let mut decoder = dialect.decoder(Mode::Stream, Undo::default());
        let mut events = Vec::new();
        for piece in pieces(bytes, &cuts) {
            decoder.push(&piece, &mut events).unwrap();
        }
        decoder.finish(&mut events).unwrap();
        prop_assert_eq!(events, whole);
    }

    #[test]
    fn a_stream_cut_short_is_never_complete(
        case in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
        dialect in dialects(),
    ) {
        let streams = streams(dialect);
        let bytes = &streams[case.index(streams.len())];
        let mut decoder = dialect.decoder(Mode::Stream, Undo::default());
        let mut events = Vec::new();
        decoder.push(&bytes[..cut.index(bytes.len())], &mut events).unwrap();
        let text = String::from_utf8_lossy(&bytes[..cut.index(bytes.len())]).into_owned();
        let has_finish = text.contains("\"finish_reason\":\"") || text.contains("\"stop_reason\":\"") || text.contains("\"finishReason\"") || text.contains("\"blockReason\"")
            || text.contains("\"error\"")
            || ["completed", "incomplete", "failed"].iter().any(|word| text.contains(&format!("event: response.{word}")));
        if decoder.finish(&mut events).is_ok() {
            prop_assert!(has_finish, "complete without a finish: {}", text);
        }
        check_order(&events);
    }
}

#[test]
fn a_long_line_is_refused_however_it_comes() {
    let bytes = [b"data: ".as_slice(), &[b'x'; 100], b"\n\n"].concat();
    for size in [1, 7, 200] {
        let pieces: Vec<Vec<u8>> = bytes.chunks(size).map(<[u8]>::to_vec).collect();
        assert_eq!(frames(&pieces, 64), (Vec::new(), false));
        assert!(frames(&pieces, 200).1);
    }
    let many = "data: 0123456789\n".repeat(20) + "\n";
    assert!(!frames(&[many.into_bytes()], 64).1, "the sum of an event's lines is bounded too");
}

#[test]
fn the_standards_oddities_are_kept() {
    let input = b"\xEF\xBB\xBFdata:a\rdata: b\r\ndata\n\nid: 7\nevent: x\ndata:  c\n\nevent: lost\n\n: note\nid: 8\0\nretry: 12\ndata: d\n\nretry: 1x\ndata: e";
    let (got, is_ok) = frames(&[input.to_vec()], 1000);
    let frame = |event: &str, data: &str, id: &str, retry: Option<u64>| {
        (event.as_bytes().to_vec(), data.as_bytes().to_vec(), id.as_bytes().to_vec(), retry)
    };
    assert!(is_ok);
    let wanted = vec![
        frame("", "a\nb\n", "", None),
        frame("x", " c", "7", None),
        frame("", "d", "7", Some(12)),
        frame("", "e", "7", None),
    ];
    assert_eq!(got, wanted);
}

#[test]
fn what_is_written_is_read_back() {
    let mut out = bytes::BytesMut::new();
    llm::codec::sse::write("x", b"one\ntwo", &mut out);
    llm::codec::sse::write("", b"three", &mut out);
    assert_eq!(&out[..], b"event: x\ndata: one\ndata: two\n\ndata: three\n\n");
    assert_eq!(frames(&[out.to_vec()], 100).0.len(), 2);
}
