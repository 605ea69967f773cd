use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::stream;
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::*;

type Whole = UnsyncBoxBody<Bytes, Cut>;

#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("cut")]
struct Cut;

/// Answers by path.
#[derive(Default)]
struct Script {
    is_ending: AtomicBool,
    has_begun: Notify,
    has_left: Arc<Notify>,
}

/// Tells when what it is in is dropped.
struct Told(Arc<Notify>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

fn whole(text: impl Into<Bytes>) -> Whole {
    Full::new(text.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

fn pieces(pieces: impl IntoIterator<Item = Result<Bytes, Cut>, IntoIter: Send + 'static>) -> Whole {
    StreamBody::new(stream::iter(pieces.into_iter().map(|piece| piece.map(Frame::data)))).boxed_unsync()
}

impl Answers for &Script {
    type Body = Whole;

    async fn answer(&self, parts: Box<Parts>, body: Reading, is_double_framed: bool) -> Response<Whole> {
        let mut response = Response::new(match parts.uri.path() {
            "/unread" => whole("unread"),
            "/pieces" => {
                pieces([Ok("one ".into()), Ok(Bytes::new()), Ok("x".repeat(5_000).into()), Ok("three".into())])
            }
            "/cut" => pieces([Ok("one".into()), Err(Cut)]),
            "/endless" => pieces((0_u64..).map(|_| Ok("y".repeat(3_000).into()))),
            "/waits" => {
                let told = Told(self.has_left.clone());
                let first = stream::iter([Ok(Frame::data("first".into()))]);
                let rest = stream::once(async move {
                    let _told = told;
                    std::future::pending().await
                });
                StreamBody::new(futures_util::StreamExt::chain(first, rest)).boxed_unsync()
            }
            "/hangs" => {
                let _told = Told(self.has_left.clone());
                self.has_begun.notify_one();
                std::future::pending().await
            }
            path => match body.collect().await {
                Ok(body) => whole(format!("{} {path} {is_double_framed} {:?};", parts.method, body.to_bytes())),
                Err(_) => whole("broken;"),
            },
        });
        if parts.uri.query() == Some("close") {
            response.headers_mut().insert(CONNECTION, http::HeaderValue::from_static("close"));
        }
        response
    }

    fn refuse(&self, refused: Refused) -> Response<Whole> {
        let mut response = Response::new(whole("no"));
        *response.status_mut() = refused.status;
        response
    }

    fn note_request(&self) {}

    fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(0)
    }

    fn limits(&self) -> Limits {
        LIMITS
    }
}

const LIMITS: Limits = Limits { max_header_bytes: 32 * 1024, max_headers: 100, header_read_ms: 5_000, idle_ms: 60_000 };

async fn serve(script: &Script, far: DuplexStream) {
    Connection::new(Box::new(far), BytesMut::new(), script, Timer::after(LIMITS.idle_ms)).serve().await;
}

/// Writes pieces and closes its side; gives what came back until the other side closed, and how the date is left out.
async fn said_in(room: usize, pieces: &[&[u8]]) -> String {
    let (near, far) = duplex(room);
    let (mut reading, mut writing) = tokio::io::split(near);
    let script = Script::default();
    let client = async {
        for piece in pieces {
            // The server may have closed before everything was sent.
            if writing.write_all(piece).await.is_err() {
                break;
            }
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
        }
        // What comes later is not waited for.
        let _ = writing.shutdown().await;
    };
    let reader = async {
        let mut out = Vec::new();
        reading.read_to_end(&mut out).await.expect("reads");
        out
    };
    let ((), (), out) = tokio::join!(serve(&script, far), client, reader);
    String::from_utf8(out).expect("text").replace("date: Thu, 01 Jan 1970 00:00:00 GMT\r\n", "")
}

async fn said(pieces: &[&[u8]]) -> String {
    said_in(64 * 1024, pieces).await
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn last(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

const HOST: &str = "HTTP/1.1\r\nhost: a\r\n";

#[tokio::test]
async fn requests_in_a_row_are_answered_in_their_order() {
    let text = format!(
        "GET /a {HOST}\r\nPOST /b {HOST}content-length: 3\r\n\r\none\r\nPOST /c {HOST}transfer-encoding: chunked\r\n\r\n\
         3;x=y\r\ntwo\r\n2\r\n, \r\n0\r\ntrailer: z\r\n\r\nGET /d {HOST}connection: close\r\n\r\nGET /e {HOST}\r\n"
    );
    let wanted = ok("GET /a false b\"\";")
        + &ok("POST /b false b\"one\";")
        + &ok("POST /c false b\"two, \";")
        + &last("GET /d false b\"\";");
    assert_eq!(said(&[text.as_bytes()]).await, wanted);
}

#[tokio::test]
async fn a_body_is_read_to_its_length_and_no_further() {
    for (n, together) in [(10, true), (10_000, true), (200_000, false), (3_000_000, false)] {
        let body = "0123456789".repeat(n / 10);
        let head = format!("POST /a {HOST}content-length: {n}\r\n\r\n");
        let next = format!("GET /b {HOST}\r\n");
        let whole = format!("{head}{body}{next}");
        let pieces =
            if together { vec![whole.as_bytes()] } else { vec![head.as_bytes(), body.as_bytes(), next.as_bytes()] };
        let found = said_in(300_000, &pieces).await;
        let wanted = ok(&format!("POST /a false b\"{body}\";")) + &ok("GET /b false b\"\";");
        assert!(found == wanted, "{n}: {}", &found[..found.len().min(200)]);
    }
}

#[tokio::test]
async fn a_length_that_is_said_in_two_ways_is_told() {
    let text =
        format!("POST /a {HOST}transfer-encoding: chunked\r\ncontent-length: 3\r\nconnection: close\r\n\r\n0\r\n\r\n");
    assert_eq!(said(&[text.as_bytes()]).await, last("POST /a true b\"\";"));
}

#[tokio::test]
async fn who_waits_for_a_word_before_the_body_gets_it_when_the_body_is_wanted() {
    let head = |path: &str| format!("POST {path} {HOST}expect: 100-continue\r\ncontent-length: 3\r\n\r\n");
    let go_ahead = "HTTP/1.1 100 Continue\r\n\r\n";
    let wanted = ok("POST /a false b\"one\";");
    assert_eq!(said(&[head("/a").as_bytes(), b"one"]).await, format!("{go_ahead}{wanted}"));
    assert_eq!(said(&[format!("{}one", head("/a")).as_bytes()]).await, wanted, "it has come already");
    // Nobody knows whether the body comes nevertheless.
    assert_eq!(said(&[head("/unread").as_bytes(), format!("GET /a {HOST}\r\n").as_bytes()]).await, last("unread"));
    let old = "POST /a HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n";
    assert!(!said(&[old.as_bytes(), b"one"]).await.contains("100 Continue"));
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let text = format!("HEAD /a {HOST}\r\nHEAD /pieces {HOST}\r\nGET /b {HOST}connection: close\r\n\r\n");
    let wanted = "HTTP/1.1 200 OK\r\ncontent-length: 18\r\n\r\nHTTP/1.1 200 OK\r\n\r\n".to_owned()
        + &last("GET /b false b\"\";");
    assert_eq!(said(&[text.as_bytes()]).await, wanted);
}

#[tokio::test]
async fn bodies_of_unknown_length_are_framed_as_the_client_can_read_them() {
    let xs = "x".repeat(5_000);
    let text = format!("GET /pieces {HOST}\r\nGET /pieces?close {HOST}\r\nGET /a {HOST}\r\n");
    let chunks = format!("\r\n4\r\none \r\n1388\r\n{xs}\r\n5\r\nthree\r\n0\r\n\r\n");
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n";
    let wanted = format!("{head}{chunks}{head}connection: close\r\n{chunks}");
    for room in [64 * 1024, 1_000, 7] {
        assert_eq!(said_in(room, &[text.as_bytes()]).await, wanted, "{room}");
    }
    let old = "GET /pieces HTTP/1.0\r\nconnection: keep-alive\r\n\r\n";
    assert_eq!(said(&[old.as_bytes()]).await, format!("HTTP/1.0 200 OK\r\n\r\none {xs}three"));
}

#[tokio::test]
async fn old_clients_are_kept_when_they_ask_for_it() {
    let text = "GET /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\n\r\nGET /c HTTP/1.0\r\n\r\n";
    let kept = "HTTP/1.0 200 OK\r\ncontent-length: 17\r\nconnection: keep-alive\r\n\r\nGET /a false b\"\";";
    let ended = "HTTP/1.0 200 OK\r\ncontent-length: 17\r\n\r\nGET /b false b\"\";";
    assert_eq!(said(&[text.as_bytes()]).await, format!("{kept}{ended}"));
}

#[tokio::test]
async fn what_nobody_reads_of_a_body_is_passed_over_within_bounds() {
    let unread = format!("POST /unread {HOST}content-length: 5\r\n\r\nhello");
    let chunked = format!("POST /unread {HOST}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    let next = format!("GET /a {HOST}connection: close\r\n\r\n");
    let wanted = ok("unread") + &ok("unread") + &last("GET /a false b\"\";");
    assert_eq!(said(&[unread.as_bytes(), chunked.as_bytes(), next.as_bytes()]).await, wanted);
    let long = format!("POST /unread {HOST}content-length: 5000000\r\n\r\n{}", "x".repeat(5_000_000));
    assert_eq!(said(&[long.as_bytes(), next.as_bytes()]).await, ok("unread"));
    let smuggled = format!("POST /unread {HOST}transfer-encoding: chunked\r\n\r\nzz\r\nGET /a {HOST}\r\n");
    assert_eq!(said(&[smuggled.as_bytes()]).await, ok("unread"));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_told_and_nothing_behind_it_is_read() {
    let next = format!("GET /a {HOST}\r\n");
    for body in ["content-length: 9\r\n\r\none", "transfer-encoding: chunked\r\n\r\n9\r\none"] {
        assert_eq!(said(&[format!("POST /b {HOST}{body}").as_bytes()]).await, ok("broken;"), "{body:?}");
    }
    for frames in ["zz\r\n", "3\r\nfour\r\n", "3\none\r\n", "0\r\n\n"] {
        let text = format!("POST /b {HOST}transfer-encoding: chunked\r\n\r\n{frames}{next}");
        assert_eq!(said(&[text.as_bytes()]).await, ok("broken;"), "{frames:?}");
    }
}

#[tokio::test]
async fn what_is_refused_ends_the_connection() {
    let next = format!("GET /a {HOST}\r\n");
    for (text, status) in [
        (format!("GET / {HOST}content-length: x\r\n\r\n{next}"), "400 Bad Request"),
        (format!("GET / {HOST}expect: x\r\n\r\n{next}"), "417 Expectation Failed"),
        (format!("GET / {HOST}{}\r\n{next}", "x: y\r\n".repeat(200)), "431 Request Header Fields Too Large"),
        (format!("GET / {HOST}x: {}", "y".repeat(900_000)), "431 Request Header Fields Too Large"),
        ("\x16\x03\x01".to_owned(), "400 Bad Request"),
    ] {
        let before = format!("GET /b {HOST}\r\n{text}");
        let wanted = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
        assert_eq!(said(&[before.as_bytes()]).await, ok("GET /b false b\"\";") + &wanted, "{status}");
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_does_not_look_whole() {
    let found = said(&[format!("GET /cut {HOST}\r\nGET /a {HOST}\r\n").as_bytes()]).await;
    assert_eq!(found, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n");
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_call() {
    for path in ["/hangs", "/waits"] {
        for more in [String::new(), format!("GET /a {HOST}\r\n")] {
            let (mut near, far) = duplex(64 * 1024);
            let script = Script::default();
            let client = async {
                near.write_all(format!("GET {path} {HOST}\r\n{more}").as_bytes()).await.expect("is read");
                if path == "/hangs" {
                    script.has_begun.notified().await;
                } else {
                    let mut seen = Vec::new();
                    while !seen.ends_with(b"first\r\n") {
                        near.read_buf(&mut seen).await.expect("is written");
                    }
                }
                // Half of it is enough: nobody asks and stops listening to what else it might say.
                near.shutdown().await.expect("closes");
                script.has_left.notified().await;
            };
            tokio::join!(serve(&script, far), client);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_silent_too_long_is_given_up() {
    let whole = format!("GET /a {HOST}\r\n");
    let slow = "HTTP/1.1 408 Request Timeout\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno";
    for (text, answers, seconds) in [
        (String::new(), String::new(), 60),
        ("GET".to_owned(), slow.to_owned(), 5),
        (whole.clone(), ok("GET /a false b\"\";"), 60),
        (format!("{whole}GET"), ok("GET /a false b\"\";") + slow, 5),
    ] {
        let (mut near, far) = duplex(64 * 1024);
        let (script, started) = (Script::default(), Instant::now());
        let client = async {
            near.write_all(text.as_bytes()).await.expect("is read");
            let mut out = Vec::new();
            near.read_to_end(&mut out).await.expect("reads");
            let took = started.elapsed().as_secs();
            drop(near);
            (String::from_utf8(out).expect("text").replace("date: Thu, 01 Jan 1970 00:00:00 GMT\r\n", ""), took)
        };
        let ((), found) = tokio::join!(serve(&script, far), client);
        assert_eq!(found, (answers, seconds), "{text:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_given_up_and_one_that_is_slow_is_not() {
    let (mut near, far) = duplex(10_000);
    let (script, started) = (Script::default(), Instant::now());
    let client = async {
        near.write_all(format!("GET /endless {HOST}\r\n").as_bytes()).await.expect("is read");
        for _ in 0..5 {
            tokio::time::advance(Duration::from_secs(50)).await;
            let mut room = [0; 8_000];
            near.read_exact(&mut room).await.expect("more");
        }
        near
    };
    let ((), _near) = tokio::join!(serve(&script, far), client);
    assert_eq!(started.elapsed().as_secs(), 5 * 50 + 60);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_to_end_does_so_between_requests() {
    let (mut near, far) = duplex(64 * 1024);
    let (script, started) = (Script::default(), Instant::now());
    script.is_ending.store(true, Ordering::Relaxed);
    near.write_all(format!("GET /a {HOST}\r\n").as_bytes()).await.expect("has room");
    serve(&script, far).await;
    let mut out = String::new();
    near.read_to_string(&mut out).await.expect("reads");
    assert!(out.ends_with("GET /a false b\"\";") && started.elapsed().is_zero(), "{out}");
}

proptest! {
    #[test]
    fn any_split_of_the_input_gives_the_same_answers(
        asked in proptest::collection::vec((0..4_u8, 0..60_usize), 1..5),
        mut cuts in proptest::collection::vec(0..900_usize, 0..12),
        room in prop_oneof![Just(64 * 1024), 1..200_usize],
    ) {
        let mut text = String::new();
        for (kind, n) in asked {
            let body = "z".repeat(n);
            let request = match kind {
                0 => format!("GET /a {HOST}\r\n"),
                1 => format!("POST /b {HOST}content-length: {n}\r\n\r\n{body}"),
                2 if n > 0 => format!("POST /c {HOST}transfer-encoding: chunked\r\n\r\n{n:x}\r\n{body}\r\n0\r\nt: 1\r\n\r\n"),
                _ => format!("POST /pieces {HOST}content-length: {n}\r\n\r\n{body}"),
            };
            text.push_str(&request);
        }
        cuts.retain(|cut| *cut < text.len());
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|ends| &text.as_bytes()[ends[0]..ends[1]]).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (whole, found) = runtime.block_on(async { (said(&[text.as_bytes()]).await, said_in(room, &pieces).await) });
        prop_assert_eq!(found, whole);
    }

    #[test]
    fn no_bytes_make_it_panic_or_hang(pieces in proptest::collection::vec("(GET|POST|HEAD| /a | HTTP/1.1|\r\n|host: a\r\n|content-length: 3\r\n|transfer-encoding: chunked\r\n|3\r\n|[ -~\0]){0,9}", 0..5)) {
        let pieces: Vec<&[u8]> = pieces.iter().map(String::as_bytes).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(said(&pieces));
    }
}

// === Takeover ===

#[tokio::test]
async fn a_call_takes_the_connection_over_with_what_was_read_ahead() {
    struct Upgrades(Mutex<Option<Takeover>>);

    impl Answers for &Upgrades {
        type Body = Whole;

        async fn answer(&self, parts: Box<Parts>, _: Reading, _: bool) -> Response<Whole> {
            *self.0.lock() = Takeover::of(&parts);
            let mut response = Response::new(whole(""));
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert(CONNECTION, http::HeaderValue::from_static("upgrade"));
            response
        }

        fn refuse(&self, _: Refused) -> Response<Whole> {
            Response::new(whole("no"))
        }

        fn note_request(&self) {}

        fn is_ending(&self) -> bool {
            false
        }

        fn now(&self) -> Timestamp {
            Timestamp::from_micros(0)
        }

        fn limits(&self) -> Limits {
            LIMITS
        }
    }

    let (mut near, far) = duplex(64 * 1024);
    let upgrades = Upgrades(Mutex::new(None));
    let served = Connection::new(Box::new(far), BytesMut::new(), &upgrades, Timer::after(LIMITS.idle_ms)).serve();
    let client = async {
        near.write_all(format!("GET /a {HOST}connection: upgrade\r\nupgrade: x\r\n\r\nahead").as_bytes())
            .await
            .expect("is read");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            near.read_buf(&mut head).await.expect("is written");
        }
        assert!(head.starts_with(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n"));
        let takeover = upgrades.0.lock().take().expect("is offered");
        let mut taken = takeover.await.expect("is handed over");
        near.write_all(b", and after").await.expect("is read");
        let mut room = [0; 16];
        taken.read_exact(&mut room).await.expect("reads");
        assert_eq!(&room, b"ahead, and after");
        taken.write_all(b"bytes").await.expect("is written");
        near.read_exact(&mut room[..5]).await.expect("reads");
        assert_eq!(&room[..5], b"bytes");
        drop(taken);
    };
    tokio::join!(served, client);
}
