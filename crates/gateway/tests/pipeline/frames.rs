//! HTTP/2 as an attacker writes it, frame by frame: what it costs is bounded, and the next caller is served.

use domain::usage::Outcome;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};

use crate::harness::Bench;
use crate::harness::client::chat;
use crate::harness::policy::token;
use crate::harness::upstream::openai_whole;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// What a peer says when it has had enough.
const ENHANCE_YOUR_CALM: u32 = 11;

/// One end of a connection on which anything can be written.
struct Attacker {
    reading: ReadHalf<DuplexStream>,
    writing: WriteHalf<DuplexStream>,
}

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Attacker {
    async fn open(bench: &Bench, settings: &[(u16, u32)]) -> Self {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let lane = bench.lane.clone();
        runtime::tasks::spawn("test.gateway", async move { lane.serve(far).await });
        let (reading, writing) = tokio::io::split(near);
        let mut attacker = Self { reading, writing };
        attacker.writing.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("the preface");
        let settings =
            settings.iter().flat_map(|(name, value)| name.to_be_bytes().into_iter().chain(value.to_be_bytes()));
        attacker.writing.write_all(&frame(SETTINGS, 0, 0, &settings.collect::<Vec<_>>())).await.expect("settings");
        attacker
    }

    /// Reads frames until the connection ends or one `is_last`.
    async fn read_until(&mut self, is_last: impl Fn(&Frame) -> bool) -> Vec<Frame> {
        read_until(&mut self.reading, is_last).await
    }

    /// Writes `wave` again and again while the other side is listened to; returns how many bytes it took and what was said.
    async fn flood(&mut self, first: &[u8], mut wave: impl FnMut(u32) -> Vec<u8>, n_waves: u32) -> (usize, Vec<Frame>) {
        let Self { reading, writing } = self;
        let write = async {
            let mut n_taken = 0;
            if writing.write_all(first).await.is_ok() {
                n_taken += first.len();
                for at in 0..n_waves {
                    let bytes = wave(at);
                    if writing.write_all(&bytes).await.is_err() {
                        break;
                    }
                    n_taken += bytes.len();
                }
            }
            n_taken
        };
        tokio::join!(write, read_until(reading, |frame| frame.kind == GOAWAY))
    }
}

async fn read_until(reading: &mut ReadHalf<DuplexStream>, is_last: impl Fn(&Frame) -> bool) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut head = [0; 9];
    while reading.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        if reading.read_exact(&mut payload).await.is_err() {
            break;
        }
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        frames.push(Frame { kind: head[3], flags: head[4], stream, payload });
        if frames.last().is_some_and(&is_last) {
            break;
        }
    }
    frames
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Writes headers in HPACK, each as a literal that nobody remembers.
fn hpack(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        for text in [name, value] {
            // A length takes seven bits, or says with all of them that more follow, seven at a time.
            let mut rest = text.len();
            if rest < 127 {
                block.push(u8::try_from(rest).expect("seven bits"));
            } else {
                block.push(127);
                rest -= 127;
                while rest >= 128 {
                    block.push(u8::try_from(rest % 128).expect("seven bits") | 128);
                    rest /= 128;
                }
                block.push(u8::try_from(rest).expect("seven bits"));
            }
            block.extend(text.as_bytes());
        }
    }
    block
}

fn call_headers() -> Vec<(&'static str, String)> {
    vec![
        (":method", "POST".to_owned()),
        (":scheme", "http".to_owned()),
        (":authority", "gateway.test".to_owned()),
        (":path", "/v1/chat/completions".to_owned()),
        ("x-api-key", token().expose().to_owned()),
    ]
}

/// The head of a call, and more.
fn head(more: &[(&'static str, String)]) -> Vec<u8> {
    let headers: Vec<_> = call_headers().into_iter().chain(more.iter().cloned()).collect();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    hpack(&headers)
}

/// A whole call on one stream.
fn call(stream: u32, is_stream: bool) -> Vec<u8> {
    let body =
        json!({"model": "gpt", "stream": is_stream, "messages": [{"role": "user", "content": "Hi"}]}).to_string();
    let mut bytes = frame(HEADERS, END_HEADERS, stream, &head(&[]));
    bytes.extend(frame(DATA, END_STREAM, stream, body.as_bytes()));
    bytes
}

fn is_calmed(frames: &[Frame]) -> bool {
    let last = frames.iter().find(|frame| frame.kind == GOAWAY);
    last.is_some_and(|frame| frame.payload.get(4..8) == Some(&ENHANCE_YOUR_CALM.to_be_bytes()[..]))
}

async fn check_serves_the_next(bench: &Bench) {
    assert_eq!(bench.ask(chat("echo/echo-1")).await.status, 200, "the next caller is served");
}

#[tokio::test(start_paused = true)]
async fn streams_that_are_opened_and_reset_at_once_end_the_connection() {
    let bench = Bench::new();
    let mut attacker = Attacker::open(&bench, &[]).await;
    let reset = 8_u32.to_be_bytes();
    let wave = |at: u32| {
        let stream = at * 2 + 1;
        [frame(HEADERS, END_HEADERS, stream, &head(&[])), frame(RST_STREAM, 0, stream, &reset)].concat()
    };
    let (n_taken, frames) = attacker.flood(&[], wave, 50_000).await;
    assert!(is_calmed(&frames), "{frames:?}");
    assert!(n_taken < 4 * 1024 * 1024, "{n_taken} bytes were taken");
    assert!(bench.upstreams.calls().is_empty(), "no call came to its body");
    check_serves_the_next(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn a_head_that_goes_on_for_ever_ends_the_connection() {
    let bench = Bench::new();
    for n_bytes in [16_000, 0] {
        let mut attacker = Attacker::open(&bench, &[]).await;
        let filler = hpack(&[("x-filler", "f".repeat(15_000).as_str())]);
        let rest = &filler[..filler.len().min(n_bytes)];
        let begun = frame(HEADERS, END_STREAM, 1, &head(&[]));
        let (n_taken, frames) = attacker.flood(&begun, |_| frame(CONTINUATION, 0, 1, rest), 50_000).await;
        assert!(frames.iter().any(|frame| frame.kind == GOAWAY), "{n_bytes}: {frames:?}");
        assert!(n_taken < 1024 * 1024, "{n_taken} bytes were taken of continuations of {n_bytes}");
    }
    assert!(bench.upstreams.calls().is_empty());
    check_serves_the_next(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn a_head_over_the_limit_is_refused_alone() {
    let bench = Bench::new();
    let mut attacker = Attacker::open(&bench, &[]).await;
    // Each frame is small enough; together they are more than a head may have.
    let filler = |at: usize| hpack(&[(["x-a", "x-b", "x-c"][at % 3], "f".repeat(12_000).as_str())]);
    let mut bytes = frame(HEADERS, END_STREAM, 1, &head(&[]));
    for at in 0..3 {
        let flags = if at == 2 { END_HEADERS } else { 0 };
        bytes.extend(frame(CONTINUATION, flags, 1, &filler(at)));
    }
    bytes.extend(frame(PING, 0, 0, b"alive???"));
    attacker.writing.write_all(&bytes).await.expect("written");
    let frames = attacker.read_until(|frame| frame.kind == PING && frame.flags == ACK || frame.kind == GOAWAY).await;
    assert!(frames.iter().all(|frame| frame.kind != GOAWAY), "the connection goes on: {frames:?}");
    bench.upstreams.play("openai.test", openai_whole());
    attacker.writing.write_all(&call(3, false)).await.expect("written");
    let answered = attacker.read_until(|frame| frame.stream == 3 && frame.flags & END_STREAM != 0).await;
    assert!(answered.iter().any(|frame| frame.stream == 3 && frame.kind == DATA), "{answered:?}");
    let refused = frames.iter().chain(&answered).find(|frame| frame.stream == 1).expect("an answer to the first");
    assert!([HEADERS, RST_STREAM].contains(&refused.kind), "{refused:?}");
    assert_eq!(bench.upstreams.calls().len(), 1, "only the call on the third stream was made");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_lets_an_answer_out_does_not_hold_it_for_ever() {
    let bench = Bench::new();
    // Windows of nothing: heads come, bodies cannot.
    let mut attacker = Attacker::open(&bench, &[(4, 0)]).await;
    bench.upstreams.play("openai.test", crate::harness::upstream::openai_stream());
    attacker.writing.write_all(&call(1, true)).await.expect("written");
    bench.upstreams.wait_for_calls(1).await;
    let writing = &mut attacker.writing;
    let reading = &mut attacker.reading;
    // It answers every ping, so it is not taken for dead.
    let answering = async {
        let mut head = [0; 9];
        while reading.read_exact(&mut head).await.is_ok() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            if reading.read_exact(&mut payload).await.is_err() {
                break;
            }
            let answer = match (head[3], head[4]) {
                (PING, 0) => frame(PING, ACK, 0, &payload),
                (SETTINGS, 0) => frame(SETTINGS, ACK, 0, &[]),
                _ => continue,
            };
            if writing.write_all(&answer).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let events = tokio::select! {
        events = bench.ledger.wait(1) => events,
        () = answering => unreachable!("it answers for ever"),
    };
    assert_ne!(events[0].outcome, Outcome::Success, "{:?}", events[0]);
    check_serves_the_next(&bench).await;
}
