//! HTTP/2 on either side: clients with prior knowledge, upstreams by ALPN.

use bytes::Bytes;
use domain::route::Timeouts;
use domain::usage::Outcome;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;

use crate::harness::Bench;
use crate::harness::client::{Connection, chat, chat_stream, next, read};
use crate::harness::policy::{World, token};
use crate::harness::upstream::{Play, Step, chunk, openai_end, openai_stream, openai_whole, stream};

fn bench() -> Bench {
    let mut world = World::empty();
    world.deployment(1, "gpt", "openai", "http://h2.openai.test/v1");
    world.route(1, "route", &[1], 1, Timeouts::default());
    Bench::of(&world)
}

#[tokio::test(start_paused = true)]
async fn calls_share_one_connection_to_the_upstream() {
    let bench = bench();
    bench.upstreams.play("h2.openai.test", stream(vec![chunk("Hello"), Step::Hang]));
    let mut held = Connection::open(&bench.lane).await;
    let mut body = held.start(chat_stream("gpt")).await.into_body();
    assert!(next(&mut body).await.is_some());
    for _ in 0..3 {
        bench.upstreams.play("h2.openai.test", openai_whole());
        bench.upstreams.play("h2.openai.test", openai_stream());
        assert_eq!(bench.ask(chat("gpt")).await.status, 200);
        assert!(bench.ask(chat_stream("gpt")).await.text().ends_with("[DONE]\n\n"));
    }
    assert_eq!(bench.upstreams.n_dials(), 1);
    // A client that leaves resets its own stream and no other.
    drop((body, held));
    let events = bench.ledger.wait(7).await;
    assert_eq!(events.iter().filter(|event| event.outcome == Outcome::Success).count(), 6);
    bench.upstreams.wait_for_dropped_body().await;
    bench.upstreams.play("h2.openai.test", openai_whole());
    assert_eq!(bench.ask(chat("gpt")).await.status, 200);
    assert_eq!(bench.upstreams.n_dials(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_hangs_is_timed_out() {
    let bench = bench();
    bench.upstreams.play("h2.openai.test", Play::Hang);
    let answer = bench.ask(chat("route")).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (504, "upstream_timeout"));
}

#[tokio::test(start_paused = true)]
async fn clients_with_prior_knowledge_are_served_side_by_side() {
    let bench = Bench::new();
    let (near, far) = tokio::io::duplex(256 * 1024);
    let lane = bench.lane.clone();
    runtime::tasks::spawn("test.gateway", async move { lane.serve(far).await });
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near)).await.expect("shakes hands");
    runtime::tasks::spawn("test.client", async move {
        let _ = connection.await;
    });
    let call = |model: &str, is_stream: bool| {
        let body =
            json!({"model": model, "stream": is_stream, "messages": [{"role": "user", "content": "Hi"}]}).to_string();
        let request = http::Request::post("http://gateway.test/v1/chat/completions")
            .header("x-api-key", token().expose())
            .body(Full::new(Bytes::from(body)))
            .expect("a request");
        let mut sender = sender.clone();
        async move { sender.send_request(request).await.expect("an answer") }
    };
    bench.upstreams.play("openai.test", Play::Hang);
    bench.upstreams.play("anthropic.test", crate::harness::upstream::anthropic_whole());
    let hung = call("gpt", false);
    let served = async {
        bench.upstreams.wait_for_calls(1).await;
        assert_eq!(read(call("claude", false).await).await.status, 200);
        assert!(read(call("echo/echo-1", true).await).await.text().ends_with("[DONE]\n\n"));
        assert_eq!(read(call("none", false).await).await.code(), "model_unknown");
    };
    tokio::select! {
        _ = hung => panic!("there is no answer"),
        () = served => {}
    }
    // The hung call's stream was reset by the client; the upstream is told.
    bench.upstreams.wait_for_dropped_body().await;
    let events = bench.ledger.wait(4).await;
    assert!(events.iter().any(|event| event.outcome == Outcome::ClientClosed));
    bench.upstreams.play("openai.test", stream([vec![chunk("Hello")], openai_end()].concat()));
    assert!(read(call("gpt", true).await).await.text().ends_with("[DONE]\n\n"));
}
