//! Hostile input: each gets a clear 4xx, touches nothing, and the next ordinary call works.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::json;
use testkit::headgate::{Start, data_dir};
use testkit::{Actor, Headgate, Upstream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::chat::{MODEL, chat, openai_at};

const ANSWER_WITHIN: Duration = Duration::from_secs(20);

struct Target {
    upstream: Upstream,
    headgate: Headgate,
    _folder: tempfile::TempDir,
}

async fn start() -> Result<Target> {
    start_with(&[]).await
}

async fn start_with(flags: &[(&str, &str)]) -> Result<Target> {
    let upstream = Upstream::counting().await?;
    let folder = data_dir()?;
    let variables = openai_at(&upstream.url());
    let start = variables.iter().fold(Start::role("up", folder.path())?, |start, (name, value)| start.env(name, value));
    let start = flags.iter().fold(start, |start, (name, value)| start.flag(name, value));
    Ok(Target { upstream, headgate: start.ready().await?, _folder: folder })
}

impl Target {
    /// Nothing reached the upstream so far, and an ordinary call still works.
    async fn is_untouched(&self) -> Result<()> {
        assert_eq!(self.upstream.n_calls(), 0, "hostile input reached the upstream: {:?}", self.upstream.calls());
        let answer = chat(&self.headgate.as_client()?, MODEL, "ordinary").await?;
        assert_eq!(answer.status, 200, "{}", answer.text());
        Ok(())
    }
}

async fn post(client: &Actor, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Result<(u16, String)> {
    let answering = async {
        let answer = client.open(Method::POST, path, headers, body.into()).await?;
        let status = answer.status().as_u16();
        let text = answer.into_body().collect().await?.to_bytes();
        anyhow::Ok((status, String::from_utf8_lossy(&text).into_owned()))
    };
    tokio::time::timeout(ANSWER_WITHIN, answering).await.context("no answer in time")?
}

#[tokio::test]
async fn bodies_that_are_not_what_they_should_be_are_refused() -> Result<()> {
    let target = start().await?;
    let client = target.headgate.as_client()?;
    let deep = format!(r#"{{"model":"{MODEL}","messages":{}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let cases: Vec<(&str, String)> = vec![
        ("not JSON", "{\"model\": ".to_owned()),
        ("empty", String::new()),
        ("not an object", "[1,2,3]".to_owned()),
        (
            "two models",
            format!(r#"{{"model":"{MODEL}","model":"other","messages":[{{"role":"user","content":"x"}}]}}"#),
        ),
        (
            "two models, one escaped",
            format!(r#"{{"model":"{MODEL}","mod\u0065l":"other","messages":[{{"role":"user","content":"x"}}]}}"#),
        ),
        ("depth 10,000", deep),
        ("a number for a model", r#"{"model":7,"messages":[{"role":"user","content":"x"}]}"#.to_owned()),
        ("a text for messages", format!(r#"{{"model":"{MODEL}","messages":"x"}}"#)),
        (
            "a text for stream",
            format!(r#"{{"model":"{MODEL}","stream":"yes","messages":[{{"role":"user","content":"x"}}]}}"#),
        ),
        ("no model", r#"{"messages":[{"role":"user","content":"x"}]}"#.to_owned()),
        ("text after the end", format!(r#"{{"model":"{MODEL}","messages":[{{"role":"user","content":"x"}}]}} {{}}"#)),
    ];
    for (name, body) in cases {
        for path in ["/v1/chat/completions", "/v1/messages"] {
            let (status, text) =
                post(&client, path, &[], body.clone()).await.with_context(|| format!("{name} to {path}"))?;
            assert_eq!(status, 400, "{name} to {path}: {text}");
            assert!(text.contains("request_invalid"), "{name} to {path}: {text}");
        }
    }
    target.is_untouched().await
}

#[tokio::test]
async fn model_names_with_tricks_are_unknown_models() -> Result<()> {
    let target = start().await?;
    let client = target.headgate.as_client()?;
    for model in [
        "../../admin",
        "gpt-4o-mini/../../v1/files",
        "%2e%2e%2fadmin",
        "gpt-4o-mini\u{0}",
        "gpt-4o-mini\r\nx: y",
        "openai/../anthropic/x",
        "http://169.254.169.254/",
        "gpt-4o-mini?x=1",
        "gpt-4o-mini#",
        " gpt-4o-mini",
        "",
        &"m".repeat(100_000),
    ] {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "x"}]}).to_string();
        let (status, text) = post(&client, "/v1/chat/completions", &[], body).await?;
        assert!(status == 404 && text.contains("model_unknown"), "{model:.40?}: {status} {text}");
    }
    target.is_untouched().await
}

#[tokio::test]
async fn bodies_that_are_too_large_are_refused_without_being_taken() -> Result<()> {
    let target = start().await?;
    let client = target.headgate.as_client()?;
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![b' '; 100 << 20])?;
    let (status, text) = post(&client, "/v1/chat/completions", &[("content-encoding", "gzip")], bomb.finish()?).await?;
    assert_eq!(status, 413, "a gzip bomb: {text}");
    assert!(text.contains("request_too_large"), "{text}");

    // A declared length alone is enough; not a byte of the body is needed.
    let declared = raw(&target, DIALECTS[0].0, "content-length: 104857600\r\n", b"").await?;
    assert!(declared.starts_with("HTTP/1.1 413"), "{declared}");
    // Without a declared length, the answer comes while the body is still being sent.
    let chunk = [b"10000\r\n".as_slice(), &vec![b' '; 0x10000], b"\r\n"].concat();
    let chunked = raw(&target, DIALECTS[0].0, "transfer-encoding: chunked\r\n", &chunk.repeat(1_600)).await?;
    assert!(chunked.starts_with("HTTP/1.1 413"), "{chunked}");
    target.is_untouched().await
}

/// The surfaces of two dialects, with how an error begins in each.
const DIALECTS: [(&str, &str); 2] =
    [("/v1/chat/completions", r#"{"error":{"message":"#), ("/v1/messages", r#"{"type":"error","error":{"type":"#)];

#[tokio::test]
async fn ambiguous_framing_and_broken_heads_are_refused_in_the_dialect_of_their_path() -> Result<()> {
    let target = start().await?;
    let smuggled = b"0\r\n\r\nPOST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n\r\n";
    let many = "x-a: y\r\n".repeat(5_000);
    for (name, status, headers) in [
        ("both lengths", 400, "content-length: 5\r\ntransfer-encoding: chunked\r\n"),
        ("two lengths", 400, "content-length: 5\r\ncontent-length: 6\r\n"),
        ("a negative length", 400, "content-length: -1\r\n"),
        ("an unknown coding", 400, "transfer-encoding: chunked, identity\r\n"),
        ("a folded header", 400, "content-length: 5\r\nx-a: b\r\n c\r\n"),
        ("a space before the colon", 400, "content-length : 5\r\n"),
        ("a header with a NUL", 400, "x-a: \0\r\ncontent-length: 5\r\n"),
        ("5,000 headers", 431, many.as_str()),
    ] {
        for (path, error) in DIALECTS {
            let answer = raw(&target, path, headers, smuggled).await.with_context(|| format!("{name} to {path}"))?;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{name} to {path}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{name}: the smuggled request was answered: {answer}");
            let (head, body) = answer.split_once("\r\n\r\n").context("a head")?;
            assert!(body.starts_with(error) && body.contains("request_invalid"), "{name} to {path}: {answer}");
            assert!(head.contains("\r\nx-headgate-request-id: req_"), "{name} to {path}: {answer}");
        }
    }
    target.is_untouched().await
}

#[tokio::test]
async fn slow_senders_are_shown_out() -> Result<()> {
    let timeouts = [("--header-timeout", "300ms"), ("--body-timeout", "400ms"), ("--idle-timeout", "900ms")];
    let target = start_with(&[timeouts.as_slice(), &[("--max-connections", "64")]].concat()).await?;
    let key = target.headgate.field("virtual_key");
    let url = target.headgate.field("gateway_url");
    let address = url.strip_prefix("http://").context("a plain address")?;
    for path in ["/v1/chat/completions", "/v1/messages"] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{{"
        );
        let answer = until_closed(address, &head).await?;
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("request_timeout"), "{path}: {answer}");
        assert!(answer.contains("connection: close"), "{path}: {answer}");
    }
    for half in ["", "P", "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let answer = until_closed(address, half).await?;
        assert!(!answer.contains("HTTP/1.1 2"), "{half:?}: {answer}");
    }
    // A thousand that only connect hold nobody up for long: the node keeps as many as it was told to, each for a while.
    let mut idle = Vec::new();
    for _ in 0..1_000 {
        idle.push(TcpStream::connect(address).await?);
    }
    target.is_untouched().await?;
    drop(idle);
    Ok(())
}

/// Sends a text and reads until the gateway closes the connection.
async fn until_closed(address: &str, text: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(text.as_bytes()).await?;
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    tokio::time::timeout(ANSWER_WITHIN, reading).await.with_context(|| format!("{text:?} was kept"))??;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn strangers_get_no_further_than_the_door() -> Result<()> {
    let target = start().await?;
    let url = target.headgate.field("gateway_url");
    let key = target.headgate.field("virtual_key");
    let mut forged = key.to_owned();
    let last = forged.pop().unwrap_or('a');
    forged.push(if last == 'a' { 'b' } else { 'a' });
    for bearer in ["", "x", "hgk_", &forged, &"k".repeat(20_000), target.headgate.field("access_token")] {
        let answer = chat(&Actor::new(url, Some(bearer))?, MODEL, "x").await?;
        assert_eq!(answer.status, 401, "{bearer:.40}: {}", answer.text());
    }
    // The key in any of the five headers opens the door.
    for header in ["x-api-key", "api-key", "x-goog-api-key", "x-headgate-key"] {
        let stranger = Actor::new(url, None)?;
        let answer = stranger.send(Method::GET, "/v1/models", &[(header, key)], None).await?;
        assert_eq!(answer.status, 200, "{header}: {}", answer.text());
    }
    target.is_untouched().await
}

/// Sends a request head with these headers, then a body, and reads one answer, or what comes until the connection ends.
async fn raw(target: &Target, path: &str, headers: &str, body: &[u8]) -> Result<String> {
    let url = target.headgate.field("gateway_url");
    let address = url.strip_prefix("http://").context("a plain address")?;
    let stream = TcpStream::connect(address).await?;
    let (mut from, mut to) = stream.into_split();
    let key = target.headgate.field("virtual_key");
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n{headers}\r\n"
    );
    let sent = [head.as_bytes(), body].concat();
    // The server may close while it is still being sent to: that is an answer, not a failure.
    let sending = runtime::tasks::spawn("hostile.send", async move { to.write_all(&sent).await.is_ok() });
    let mut answer = Vec::new();
    let reading = async {
        let mut buffer = [0_u8; 4_096];
        while let Ok(n) = from.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..n]);
            if n == 0 || is_whole(&answer) {
                break;
            }
        }
    };
    tokio::time::timeout(ANSWER_WITHIN, reading).await.context("neither an answer nor an end in time")?;
    sending.abort();
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Tells whether an answer has come with as much of a body as it said.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.and_then(|length| length.parse().ok()).unwrap_or(0)
}
