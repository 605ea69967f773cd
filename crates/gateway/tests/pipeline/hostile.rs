//! Input that takes its time: how long it is waited for. What else is sent to harm is in `bad`.

use gateway::{GatewayConfig, Limits};

use crate::harness::Bench;
use crate::harness::client::chat;
use crate::harness::policy::{World, token};

async fn check_untouched(bench: &Bench) {
    assert_eq!(bench.upstreams.n_dials(), 0, "no upstream was called");
    assert_eq!(bench.ask(chat("echo/echo-1")).await.status, 200, "the next caller is served");
}

#[tokio::test(start_paused = true)]
async fn heads_that_never_end() {
    let bench = Bench::new();
    for start in ["", "P", "PRI * HTTP/2.0\r\n", "POST /v1/chat/comp", "POST /v1/messages HTTP/1.1\r\nhost: a\r\n"] {
        let started = tokio::time::Instant::now();
        let answer = bench.raw(&[start.as_bytes()]).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{start:?}: {answer}");
        assert!(started.elapsed().as_secs() <= 80, "{start:?} held a connection for {:?}", started.elapsed());
    }
    check_untouched(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn a_head_that_trickles_has_less_time_than_a_connection_that_rests() {
    let limits = Limits { header_read_ms: 5_000, idle_ms: 60_000, ..Limits::default() };
    let bench = Bench::with(GatewayConfig { limits, ..GatewayConfig::default() }, &World::standard());
    let auth = format!("x-api-key: {}\r\n", token().expose());
    let whole = format!("GET /v1/models HTTP/1.1\r\nhost: a\r\n{auth}\r\n");
    for (start, n_answers, seconds) in [
        (String::new(), 0, 60),
        ("G".to_owned(), 0, 5),
        ("PRI * HTTP/2.0\r\n".to_owned(), 0, 5),
        ("POST /v1/messages HTTP/1.1\r\nhost: a\r\n".to_owned(), 0, 5),
        (whole.clone(), 1, 60),
        (format!("{whole}GET /v1"), 1, 5),
    ] {
        let started = tokio::time::Instant::now();
        let answer = bench.raw(&[start.as_bytes()]).await;
        assert_eq!(answer.matches("HTTP/1.1 200").count(), n_answers, "{start:?}: {answer}");
        assert_eq!(started.elapsed().as_secs(), seconds, "{start:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_that_never_end() {
    let bench = Bench::new();
    for framing in ["content-length: 100\r\n\r\n{\"model\":", "transfer-encoding: chunked\r\n\r\n5\r\n{\"mod"] {
        let head = format!("POST /v1/messages HTTP/1.1\r\nhost: a\r\nx-api-key: {}\r\n{framing}", token().expose());
        let started = tokio::time::Instant::now();
        let answer = bench.raw(&[head.as_bytes()]).await;
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("request_timeout"), "{answer}");
        assert!(answer.contains("connection: close") && answer.contains("\"type\":\"error\""), "{answer}");
        assert!((59..70).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    }
    check_untouched(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_of_an_unknown_key_is_not_waited_for() {
    let bench = Bench::new();
    let started = tokio::time::Instant::now();
    let head = "POST /v1/messages HTTP/1.1\r\nhost: a\r\nx-api-key: sk-nobody\r\ncontent-length: 1000\r\n\r\n{";
    let answer = bench.raw(&[head.as_bytes()]).await;
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("key_invalid"), "{answer}");
    assert!(started.elapsed().as_secs() < 70, "the answer came at once; the rest was only thrown away");
}
