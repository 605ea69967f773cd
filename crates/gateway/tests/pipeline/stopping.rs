//! A node that leaves: it serves on and ends connections with their answers, then it sends newcomers elsewhere.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::time::Instant;

use crate::harness::Bench;
use crate::harness::client::{Connection, chat, chat_stream, messages, next, read};
use crate::harness::policy::token;
use crate::harness::upstream::{Step, Upstreams, chunk, openai_end, stream};

#[tokio::test(start_paused = true)]
async fn a_leaving_node_serves_everybody_and_ends_connections_with_their_answers() {
    let bench = Bench::new();
    let mut kept = Connection::open(&bench.lane).await;
    assert_eq!(kept.send(chat("echo/echo-1")).await.header("connection"), "");
    bench.lane.leave();
    let answer = kept.send(chat("echo/echo-1")).await;
    assert_eq!((answer.status.as_u16(), answer.header("connection")), (200, "close"));
    kept.closed().await;
    let answer = bench.ask(chat_stream("echo/echo-1")).await;
    assert_eq!((answer.status.as_u16(), answer.header("connection")), (200, "close"));
}

#[tokio::test(start_paused = true)]
async fn a_draining_node_sends_requests_on_kept_connections_elsewhere() {
    let bench = Bench::new();
    let mut openai = Connection::open(&bench.lane).await;
    let mut anthropic = Connection::open(&bench.lane).await;
    let mut idle = Connection::open(&bench.lane).await;
    for connection in [&mut openai, &mut anthropic, &mut idle] {
        connection.send(chat("echo/echo-1")).await;
    }
    bench.lane.stop();
    for (connection, ask) in [(&mut openai, chat("echo/echo-1")), (&mut anthropic, messages("echo/echo-1"))] {
        let answer = connection.send(ask).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "draining"), "{}", answer.text());
        assert_eq!((answer.header("retry-after"), answer.header("connection")), ("1", "close"));
        connection.closed().await;
    }
    let since = Instant::now();
    idle.closed().await;
    assert!(since.elapsed() <= Duration::from_secs(1), "{:?}", since.elapsed());
    assert_eq!(bench.ledger.wait(3).await.len(), 3, "what was sent elsewhere is nobody's bill");
}

#[tokio::test(start_paused = true)]
async fn a_stream_outlives_the_drain_of_its_connection() {
    let bench = Bench::new();
    let gate = Upstreams::gate();
    let steps = [vec![chunk("Hello"), Step::Gate(gate.clone())], openai_end()].concat();
    bench.upstreams.play("openai.test", stream(steps));
    let mut connection = Connection::open(&bench.lane).await;
    let mut body = connection.start(chat_stream("gpt")).await.into_body();
    assert!(next(&mut body).await.is_some());
    bench.lane.leave();
    bench.lane.stop();
    // Well after idle connections have ended.
    let idle = Connection::open(&bench.lane).await;
    idle.closed().await;
    gate.notify_one();
    let mut rest = Vec::new();
    while let Some(bytes) = next(&mut body).await {
        rest.extend_from_slice(&bytes);
    }
    assert!(rest.ends_with(b"data: [DONE]\n\n"));
    connection.closed().await;
}

#[tokio::test(start_paused = true)]
async fn http2_clients_are_told_to_go_elsewhere_and_lose_no_stream() {
    let bench = Bench::new();
    let (near, far) = tokio::io::duplex(256 * 1024);
    let lane = bench.lane.clone();
    runtime::tasks::spawn("test.gateway", async move { lane.serve(far).await });
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near)).await.expect("shakes hands");
    let ended = runtime::tasks::spawn("test.client", async move { connection.await.is_ok() });
    let gate = Upstreams::gate();
    let steps = [vec![chunk("Hello"), Step::Gate(gate.clone())], openai_end()].concat();
    bench.upstreams.play("openai.test", stream(steps));
    let request = |model: &str| {
        let body = json!({"model": model, "stream": true, "messages": [{"role": "user", "content": "Hi"}]}).to_string();
        http::Request::post("http://gateway.test/v1/chat/completions")
            .header("x-api-key", token().expose())
            .body(Full::new(Bytes::from(body)))
            .expect("a request")
    };
    let mut body = sender.send_request(request("gpt")).await.expect("an answer").into_body();
    assert!(next(&mut body).await.is_some());
    bench.lane.leave();
    // What is opened before the client has read that it should go is served; then the client knows.
    while let Ok(late) = sender.send_request(request("echo/echo-1")).await {
        assert!(read(late).await.text().ends_with("[DONE]\n\n"));
    }
    gate.notify_one();
    let mut rest = Vec::new();
    while let Some(bytes) = next(&mut body).await {
        rest.extend_from_slice(&bytes);
    }
    assert!(rest.ends_with(b"data: [DONE]\n\n"));
    assert_eq!(ended.await.expect("joins"), Some(true), "the connection ends in order");
}
