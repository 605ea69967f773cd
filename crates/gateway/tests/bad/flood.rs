//! HTTP/2 as an attacker writes it, again and again: the connection ends, or is held back, and the node serves on.
//!
//! Each flood is met twice: by an attacker that reads what it is told, until the connection is over, and by one that reads
//! nothing, of which no more may be taken than buffers hold.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Act, Case, Promise};
use crate::harness::Bench;
use crate::harness::h2::{call_head, literal, remembered};
use crate::harness::raw::h2_frame as frame;

const CLASS: &str = "HTTP/2";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const UNKNOWN: u8 = 0x4d;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// Frames of one wave.
const A_WAVE: u32 = 10;
/// Waves that come at once, and then, a second apart, those that an attacker keeps a connection with.
const N_AT_ONCE: u32 = 1_500;
const N_LATER: u32 = 600;
/// In how many seconds a connection may be over: without a first head, without an answer to a ping, and at rest.
const WITHIN: [u64; 3] = [20, 60, 240];
/// What may be taken of who reads nothing, or of who is told to stop: windows and buffers, with room.
const MAX_TAKEN: usize = 4 * 1024 * 1024;

type Wave = Box<dyn Fn(u32) -> Vec<u8>>;

/// Frames that come once, then others again and again.
pub(super) struct Flood {
    first: Vec<u8>,
    wave: Wave,
    /// It comes once, and nothing behind it: what is told of the stream is of interest.
    is_once: bool,
}

pub(super) fn list() -> Vec<Case> {
    let again = |name: &str, first: Vec<u8>, frames: Wave| {
        let wave: Wave = Box::new(move |at| (0..A_WAVE).flat_map(|n| frames(at * A_WAVE + n)).collect());
        Case::new(CLASS, name, Promise::Bounded, Act::Frames(Flood { first, wave, is_once: false }))
    };
    let fixed = |bytes: Vec<u8>| -> Wave { Box::new(move |_| bytes.clone()) };
    let open = || frame(HEADERS, END_HEADERS, 1, &call_head(&[]));
    let stream = |at: u32| at * 2 + 1;
    let filler = literal(&[("x-filler", "f".repeat(15_000).as_str())]);
    let hello = json!({"model": "echo/echo-1", "messages": [{"role": "user", "content": "Hi"}]}).to_string();
    let served = [open(), frame(DATA, END_STREAM, 1, hello.as_bytes())].concat();
    let mut cases = vec![
        again("SETTINGS", Vec::new(), fixed(frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]))),
        again("PING", Vec::new(), fixed(frame(PING, 0, 0, b"flooding"))),
        again("PING, after a call", served, fixed(frame(PING, 0, 0, b"flooding"))),
        again("PRIORITY", Vec::new(), fixed(frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 16]))),
        again(
            "PRIORITY of streams that are not there",
            Vec::new(),
            Box::new(move |at| frame(PRIORITY, 0, stream(at), &[0, 0, 0, 0, 16])),
        ),
        again("WINDOW_UPDATE of the connection", Vec::new(), fixed(frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()))),
        again("WINDOW_UPDATE of a stream", open(), fixed(frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()))),
        again("empty DATA", open(), fixed(frame(DATA, 0, 1, &[]))),
        again(
            "empty HEADERS",
            Vec::new(),
            Box::new(move |at| frame(HEADERS, END_HEADERS | END_STREAM, stream(at), &[])),
        ),
        again("frames of an unknown kind", Vec::new(), fixed(frame(UNKNOWN, 0, 0, &[0; 64]))),
        again(
            "streams that are opened and reset (Rapid Reset)",
            Vec::new(),
            Box::new(move |at| {
                let reset = frame(RST_STREAM, 0, stream(at), &8_u32.to_be_bytes());
                [frame(HEADERS, END_HEADERS, stream(at), &call_head(&[])), reset].concat()
            }),
        ),
        again(
            "streams that the node is made to reset (MadeYouReset)",
            Vec::new(),
            Box::new(move |at| {
                let wrong = frame(WINDOW_UPDATE, 0, stream(at), &0x7fff_ffff_u32.to_be_bytes());
                [frame(HEADERS, END_HEADERS, stream(at), &call_head(&[])), wrong].concat()
            }),
        ),
        again(
            "CONTINUATION without an end",
            frame(HEADERS, END_STREAM, 1, &call_head(&[])),
            fixed(frame(CONTINUATION, 0, 1, &filler)),
        ),
        again(
            "empty CONTINUATION without an end",
            frame(HEADERS, END_STREAM, 1, &call_head(&[])),
            fixed(frame(CONTINUATION, 0, 1, &[])),
        ),
    ];
    cases.extend(once());
    cases
}

/// What needs no repetition to be wrong.
fn once() -> Vec<Case> {
    let case = |name: &str, bytes: Vec<u8>| {
        let flood = Flood { first: bytes, wave: Box::new(|_| Vec::new()), is_once: true };
        Case::new(CLASS, name, Promise::Bounded, Act::Frames(flood))
    };
    let body = json!({"model": "gpt", "messages": [{"role": "user", "content": "Hi"}]}).to_string();
    let long = (body.len() + 1).to_string();
    let short = (body.len() - 1).to_string();
    let call = |length: &str| {
        let head = frame(HEADERS, END_HEADERS, 1, &call_head(&[("content-length", length)]));
        [head, frame(DATA, END_STREAM, 1, body.as_bytes())].concat()
    };
    // One entry of 4,000 bytes that is remembered, and then named by one byte each time.
    let bomb = [call_head(&[]), remembered("x-bomb", &"b".repeat(3_900)), vec![0x80 | 0x3e; 12_000]].concat();
    let churn: Vec<u8> = (0..100).flat_map(|n| remembered(&format!("x-churn-{n}"), &"c".repeat(90))).collect();
    let table = [vec![0x3f, 0xe1, 0xff, 0x03], call_head(&[])].concat();
    vec![
        case("a body shorter than it says", call(&long)),
        case("a body longer than it says", call(&short)),
        case("an HPACK bomb (4 KB named 12,000 times in one head)", frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb)),
        case(
            "a table that is churned in one head",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[call_head(&[]), churn].concat()),
        ),
        case("a table larger than was agreed", frame(HEADERS, END_HEADERS | END_STREAM, 1, &table)),
        case(
            "a header in capital letters",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &call_head(&[("X-Loud", "1")])),
        ),
        case(
            "a header of HTTP/1 (`connection`)",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &call_head(&[("connection", "close")])),
        ),
        case("a pseudo-header among the trailers", {
            let open = frame(HEADERS, END_HEADERS, 1, &call_head(&[]));
            [open, frame(HEADERS, END_HEADERS | END_STREAM, 1, &literal(&[(":path", "/v1/models")]))].concat()
        }),
        case("trailers that do not end the stream", {
            let open = frame(HEADERS, END_HEADERS, 1, &call_head(&[]));
            [open, frame(HEADERS, END_HEADERS, 1, &literal(&[("x-trailer", "1")]))].concat()
        }),
        case("DATA of a stream that is not there", frame(DATA, 0, 7, b"nobody")),
        case("a frame larger than was agreed", frame(DATA, 0, 1, &vec![0; 16_385])),
    ]
}

impl Flood {
    /// Meets the node with it, and says how that ended.
    pub(super) async fn run(self, bench: &Bench) -> String {
        let mut attacker = Attacker::open(bench, true).await;
        let told = attacker.flood(&self).await;
        if self.is_once {
            return told;
        }
        let mut unread = Attacker::open(bench, false).await;
        let n_taken = unread.flood_unread(&self).await;
        match n_taken {
            None => told,
            Some(n_taken) => {
                assert!(n_taken < MAX_TAKEN, "{n_taken} bytes were taken of one that reads nothing");
                format!("{told}; unread, it is held back")
            }
        }
    }
}

/// Sends bytes of HTTP/1, waits for the first byte of an answer, and is gone.
pub(super) async fn leave(bench: &Bench, bytes: &[u8]) {
    let (mut near, far) = tokio::io::duplex(64 * 1024);
    let lane = bench.lane.clone();
    let served = runtime::tasks::spawn("test.gateway", async move { lane.serve(far).await });
    near.write_all(bytes).await.expect("taken");
    near.read_u8().await.expect("an answer begins");
    drop(near);
    served.await.expect("the connection is over");
}

#[derive(Debug, Clone)]
struct Frame {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// What was read, by a task of its own.
#[derive(Default)]
struct Told {
    frames: Vec<Frame>,
    /// Answers to pings and settings that are to be written.
    owed: Vec<u8>,
}

struct Attacker {
    writing: WriteHalf<DuplexStream>,
    told: Arc<Mutex<Told>>,
    reading: Option<JoinHandle<Option<()>>>,
    /// Kept where nothing is read, so that the connection stays open.
    _unread: Option<ReadHalf<DuplexStream>>,
}

impl Attacker {
    async fn open(bench: &Bench, is_reading: bool) -> Self {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let lane = bench.lane.clone();
        runtime::tasks::spawn("test.gateway", async move { lane.serve(far).await });
        let (reading, mut writing) = tokio::io::split(near);
        let told = Arc::<Mutex<Told>>::default();
        writing.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("the preface");
        writing.write_all(&frame(SETTINGS, 0, 0, &[])).await.expect("settings");
        let (reading, unread) = if is_reading {
            (Some(runtime::tasks::spawn("test.attacker", read(reading, told.clone()))), None)
        } else {
            (None, Some(reading))
        };
        Self { writing, told, reading, _unread: unread }
    }

    /// Writes until the connection is over, and says what ended it.
    async fn flood(&mut self, flood: &Flood) -> String {
        let started = Instant::now();
        let mut is_open = self.writing.write_all(&flood.first).await.is_ok();
        let mut n_taken = flood.first.len();
        let n_at_once = if flood.is_once { 0 } else { N_AT_ONCE };
        for at in 0..n_at_once + N_LATER {
            if at >= n_at_once {
                tokio::time::advance(Duration::from_secs(1)).await;
            }
            let owed = std::mem::take(&mut self.told.lock().owed);
            let wave = if flood.is_once { Vec::new() } else { (flood.wave)(at) };
            is_open = is_open && self.writing.write_all(&[owed, wave.clone()].concat()).await.is_ok();
            n_taken += wave.len();
            if !is_open || flood.is_once && self.stream_end().is_some() {
                break;
            }
        }
        let seconds = started.elapsed().as_secs();
        if !is_open && let Some(reading) = self.reading.take() {
            // The last words are still to be read.
            reading.await.expect("it reads to the end");
        }
        let goaway = self.told.lock().frames.iter().rev().find(|frame| frame.kind == GOAWAY).cloned();
        let reason = goaway.and_then(|frame| Some(u32::from_be_bytes(frame.payload.get(4..8)?.try_into().ok()?)));
        match (reason, self.stream_end()) {
            (Some(reason), _) if reason != 0 => {
                assert!(n_taken < MAX_TAKEN, "{n_taken} bytes were taken before GOAWAY");
                // Of a flood, which of its limits comes first is the HTTP library's affair, and the machine's.
                if flood.is_once { format!("GOAWAY `{}`", name_of(reason)) } else { "GOAWAY".to_owned() }
            }
            (_, Some(end)) if flood.is_once => end,
            _ if is_open => "the connection stays open".to_owned(),
            _ => {
                let within = WITHIN.into_iter().find(|limit| seconds < *limit);
                format!("the connection is closed within {} s", within.expect("it ends in time"))
            }
        }
    }

    /// What was told of a stream: its reset, or the status of its answer.
    fn stream_end(&self) -> Option<String> {
        let told = self.told.lock();
        let of_streams = told.frames.iter().filter(|frame| frame.stream != 0);
        let mut ends = of_streams.filter_map(|frame| match frame.kind {
            RST_STREAM => {
                let reason = u32::from_be_bytes(frame.payload.get(..4)?.try_into().ok()?);
                Some(format!("RST_STREAM `{}`", name_of(reason)))
            }
            // The status stands first: one of the static table, or a literal of three digits behind its name.
            HEADERS => Some(match frame.payload.first() {
                Some(0x8c) => "400".to_owned(),
                Some(0x88) => "200".to_owned(),
                _ => {
                    let digits = frame.payload.windows(3).find(|three| three.iter().all(u8::is_ascii_digit));
                    digits.map_or_else(|| "an answer".to_owned(), |three| String::from_utf8_lossy(three).into_owned())
                }
            }),
            _ => None,
        });
        ends.next()
    }

    /// Writes without reading until nothing more is taken; `None` when the connection ends first, or nothing has to be said to
    /// any of it.
    async fn flood_unread(&mut self, flood: &Flood) -> Option<usize> {
        let mut n_taken = 0;
        let mut next = flood.first.clone();
        for at in 0..N_AT_ONCE {
            match tokio::time::timeout(Duration::from_millis(50), self.writing.write_all(&next)).await {
                Ok(Ok(())) => n_taken += next.len(),
                Ok(Err(_)) => return None,
                Err(_) => return Some(n_taken),
            }
            next = (flood.wave)(at);
        }
        None
    }
}

async fn read(mut reading: ReadHalf<DuplexStream>, told: Arc<Mutex<Told>>) {
    let mut head = [0; 9];
    while reading.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        if reading.read_exact(&mut payload).await.is_err() {
            break;
        }
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut told = told.lock();
        match (head[3], head[4] & ACK) {
            (PING, 0) => told.owed.extend(frame(PING, ACK, 0, &payload)),
            (SETTINGS, 0) => told.owed.extend(frame(SETTINGS, ACK, 0, &[])),
            // What a flood is answered with is of no interest.
            (PING | SETTINGS, _) => {}
            (kind, _) => told.frames.push(Frame { kind, stream, payload }),
        }
    }
}

fn name_of(reason: u32) -> &'static str {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    usize::try_from(reason).ok().and_then(|reason| NAMES.get(reason)).copied().unwrap_or("unknown")
}
