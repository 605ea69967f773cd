//! HTTP/2 as an attacker writes it, frame by frame: what it costs is bounded, and the next caller is served.

use domain::usage::Outcome;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};

use crate::harness::Bench;
use crate::harness::client::chat;
use crate::harness::h2::{call_head, literal};
use crate::harness::raw::h2_frame as frame;
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
        frames.push(Frame { kind: head[3], flags: head[4], stream });
        if frames.last().is_some_and(&is_last) {
            break;
        }
    }
    frames
}

/// A whole call on one stream.
fn call(stream: u32, is_stream: bool) -> Vec<u8> {
    let body =
        json!({"model": "gpt", "stream": is_stream, "messages": [{"role": "user", "content": "Hi"}]}).to_string();
    let mut bytes = frame(HEADERS, END_HEADERS, stream, &call_head(&[]));
    bytes.extend(frame(DATA, END_STREAM, stream, body.as_bytes()));
    bytes
}

async fn check_serves_the_next(bench: &Bench) {
    assert_eq!(bench.ask(chat("echo/echo-1")).await.status, 200, "the next caller is served");
}

#[tokio::test(start_paused = true)]
async fn a_head_over_the_limit_is_refused_alone() {
    let bench = Bench::new();
    let mut attacker = Attacker::open(&bench, &[]).await;
    // Each frame is small enough; together they are more than a head may have.
    let filler = |at: usize| literal(&[(["x-a", "x-b", "x-c"][at % 3], "f".repeat(12_000).as_str())]);
    let mut bytes = frame(HEADERS, END_STREAM, 1, &call_head(&[]));
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
