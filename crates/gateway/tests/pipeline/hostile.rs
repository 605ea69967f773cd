//! Input that is meant to harm: a clear 4xx, nothing touched, and the next caller is served.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use gateway::{GatewayConfig, Limits};
use serde_json::json;

use crate::harness::Bench;
use crate::harness::client::{Ask, chat};
use crate::harness::policy::{World, token};

async fn check_untouched(bench: &Bench) {
    assert_eq!(bench.upstreams.n_dials(), 0, "no upstream was called");
    assert_eq!(bench.ask(chat("echo/echo-1")).await.status, 200, "the next caller is served");
}

#[tokio::test(start_paused = true)]
async fn bodies_that_are_not_calls() {
    let bench = Bench::new();
    let deep = format!("{{\"model\":\"gpt\",\"messages\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let bodies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"{".to_vec(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"\"gpt\"".to_vec(),
        b"{\"model\":\"gpt\"}".to_vec(),
        b"{\"messages\":[]}".to_vec(),
        b"{\"model\":\"gpt\",\"messages\":[],}".to_vec(),
        b"{\"model\":\"gpt\",\"messages\":[]} trailing".to_vec(),
        b"{\"model\":\"gpt\",\"model\":\"claude\",\"messages\":[]}".to_vec(),
        b"{\"model\":\"gpt\",\"mod\\u0065l\":\"claude\",\"messages\":[]}".to_vec(),
        b"{\"model\":5,\"messages\":[]}".to_vec(),
        b"{\"model\":{\"a\":1},\"messages\":[]}".to_vec(),
        b"{\"model\":\"gpt\",\"messages\":\"Hi\"}".to_vec(),
        b"{\"model\":\"gpt\",\"messages\":null}".to_vec(),
        b"{\"model\":\"gpt\",\"stream\":\"yes\",\"messages\":[]}".to_vec(),
        b"{\"model\":\"gpt\",\"max_tokens\":-1,\"messages\":[]}".to_vec(),
        b"{\"model\":\"gpt\",\"messages\":[],\"x\":\"\xff\xfe\"}".to_vec(),
        b"{\"model\":\"gpt\",\"messages\":[],\"x\":\"\\ud800\"}".to_vec(),
        b"\xef\xbb\xbf{\"model\":\"gpt\",\"messages\":[]}".to_vec(),
        deep.into_bytes(),
        "[".repeat(1_000_000).into_bytes(),
    ];
    for body in bodies {
        for path in ["/v1/chat/completions", "/v1/messages"] {
            let answer = bench.ask(Ask::post(path, body.clone())).await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
            assert_eq!(
                (answer.status.as_u16(), answer.code().as_str()),
                (400, "request_invalid"),
                "{shown}: {}",
                answer.text()
            );
        }
    }
    check_untouched(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn model_names_are_names_and_nothing_else() {
    let bench = Bench::new();
    let names = [
        "../../v1/admin",
        "..%2f..%2f",
        "/etc/passwd",
        "gpt/../claude",
        "http://evil.test/",
        "gpt\u{0}",
        "gpt\r\nx: y",
        "",
        " gpt",
        "GPT",
    ];
    for name in names {
        let body = json!({"model": name, "messages": [{"role": "user", "content": "Hi"}]}).to_string();
        let answer = bench.ask(Ask::post("/v1/chat/completions", body)).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "model_unknown"), "{name:?}");
        let get = Ask::new(http::Method::GET, "/v1/models/..%2f..%2fadmin", "").header("x-api-key", token().expose());
        assert_eq!(bench.ask(get).await.status, 404);
    }
    let long = json!({"model": "m".repeat(100_000), "messages": []}).to_string();
    let answer = bench.ask(Ask::post("/v1/chat/completions", long)).await;
    assert!(answer.status == 404 && answer.body.len() < 1_000);
    check_untouched(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn bodies_that_are_too_large() {
    let bench = Bench::new();
    let head = |more: &str| {
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n{more}\r\n",
            token().expose()
        )
    };
    let declared = bench.raw(&[head("content-length: 104857600\r\n").as_bytes()]).await;
    assert!(declared.starts_with("HTTP/1.1 413") && declared.contains("request_too_large"), "{declared}");
    assert!(declared.to_ascii_lowercase().contains("connection: close"));
    let piece = format!("100000\r\n{}\r\n", " ".repeat(0x10_0000));
    let chunked_head = head("transfer-encoding: chunked\r\n");
    let pieces: Vec<&[u8]> =
        std::iter::once(chunked_head.as_bytes()).chain(std::iter::repeat_n(piece.as_bytes(), 40)).collect();
    let chunked = bench.raw(&pieces).await;
    assert!(chunked.starts_with("HTTP/1.1 413") && chunked.contains("request_too_large"), "{chunked}");
    check_untouched(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn compressed_bodies_unpack_within_bounds() {
    let bench = Bench::new();
    let pack = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("writes to memory");
        encoder.finish().expect("ends")
    };
    let good =
        pack(json!({"model": "echo/echo-1", "messages": [{"role": "user", "content": "Hi"}]}).to_string().as_bytes());
    let answer = bench.ask(Ask::post("/v1/chat/completions", good.clone()).header("content-encoding", "gzip")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let bomb = pack(&vec![b' '; 50_000_000]);
    assert!(bomb.len() < 64 * 1024, "{}", bomb.len());
    for (body, encoding, status, code) in [
        (bomb, "gzip", 413, "request_too_large"),
        (good[..good.len() - 3].to_vec(), "gzip", 400, "request_invalid"),
        (b"{}".to_vec(), "gzip", 400, "request_invalid"),
        (good.clone(), "br", 400, "request_invalid"),
        (good, "gzip, gzip", 400, "request_invalid"),
    ] {
        let answer = bench.ask(Ask::post("/v1/chat/completions", body).header("content-encoding", encoding)).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{}", answer.text());
    }
    check_untouched(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn framing_games() {
    let bench = Bench::new();
    let auth = format!("authorization: Bearer {}\r\ncontent-type: application/json\r\n", token().expose());
    let body = json!({"model": "echo/echo-1", "messages": [{"role": "user", "content": "Hi"}]}).to_string();
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let smuggled = "GET /v1/models HTTP/1.1\r\nhost: a\r\n\r\n";
    let line = "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n";
    let games = [
        format!("{line}{auth}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n{chunked}{smuggled}"),
        format!("{line}{auth}transfer-encoding: chunked\r\nCoNtEnT-LeNgTh: 4\r\n\r\n{chunked}{smuggled}"),
        format!("{line}{auth}content-length: 4\r\ncontent-length: 5\r\n\r\n{body}"),
        format!("{line}{auth}content-length: +4\r\n\r\n{body}"),
        format!("{line}{auth}content-length: 4, 4\r\n\r\n{body}"),
        format!("{line}{auth}content-length: 99999999999999999999999\r\n\r\n{body}"),
        format!("{line}{auth}transfer-encoding: xchunked\r\n\r\n{chunked}"),
        format!("{line}{auth}transfer-encoding: chunked, identity\r\n\r\n{chunked}"),
        format!("{line}{auth}transfer-encoding : chunked\r\n\r\n{chunked}"),
        format!("POST /v1/chat/completions HTTP/1.0\r\nhost: a\r\n{auth}transfer-encoding: chunked\r\n\r\n{chunked}"),
        format!("{line}{auth} folded: x\r\n\r\n"),
        format!("{line}{auth}x\0y: 1\r\n\r\n"),
        format!("{line}{auth}transfer-encoding: chunked\r\n\r\nzz\r\n{body}\r\n0\r\n\r\n"),
        "GET /v1/models\r\n\r\n".to_owned(),
        "\x16\x03\x01\x02\x00\x01\x00\x01\x03\x03 not a TLS port".to_owned(),
    ];
    for game in games {
        let answer = bench.raw(&[game.as_bytes()]).await;
        let shown = &game[..game.len().min(300)];
        assert!(answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.0 400"), "{shown}\n→ {answer}");
        assert_eq!(answer.matches("HTTP/1.").count(), 1, "nothing behind it is served: {shown}\n→ {answer}");
        if game.starts_with("POST /v1/chat") {
            let anthropic = bench.raw(&[game.replace("/v1/chat/completions", "/v1/messages").as_bytes()]).await;
            assert!(
                anthropic.starts_with("HTTP/1.1 400") || anthropic.starts_with("HTTP/1.0 400"),
                "{shown}\n→ {anthropic}"
            );
            assert!(
                anthropic.contains(r#"{"type":"error""#) && anthropic.contains("x-headgate-request-id: req_"),
                "{anthropic}"
            );
        }
    }
    let plain = bench
        .raw(&[format!("{line}{auth}transfer-encoding: chunked\r\nconnection: close\r\n\r\n{chunked}").as_bytes()])
        .await;
    assert!(plain.starts_with("HTTP/1.1 200"), "chunked alone is fine: {plain}");
    check_untouched(&bench).await;
}

#[tokio::test(start_paused = true)]
async fn heads_that_are_too_large_or_never_end() {
    let bench = Bench::new();
    let many = "x-a: 1\r\n".repeat(200);
    let answer = bench.raw(&[format!("GET /v1/models HTTP/1.1\r\nhost: a\r\n{many}\r\n").as_bytes()]).await;
    assert!(answer.starts_with("HTTP/1.1 431") || answer.starts_with("HTTP/1.1 400"), "{answer}");
    for size in [40_000, 300_000] {
        let head = format!("GET /v1/models HTTP/1.1\r\nhost: a\r\nx-long: {}\r\n\r\n", "x".repeat(size));
        let answer = bench.raw(&[head.as_bytes()]).await;
        assert!(answer.starts_with("HTTP/1.1 431") || answer.starts_with("HTTP/1.1 400"), "{size}: {answer}");
    }
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
