//! A client that leaves cancels the upstream and is settled, whenever it leaves.

use domain::usage::{AttemptOutcome, Outcome};
use gateway::CLIENT_CLOSED;

use crate::harness::Bench;
use crate::harness::client::{Connection, chat, chat_stream, messages_stream, next};
use crate::harness::upstream::{Play, Step, anthropic_steps, chunk, openai_end, stream};

#[tokio::test(start_paused = true)]
async fn before_the_answer() {
    for ask in [chat("gpt"), chat_stream("gpt")] {
        let bench = Bench::new();
        bench.upstreams.play("openai.test", Play::Hang);
        let mut connection = Connection::open(&bench.lane).await;
        tokio::select! {
            _ = connection.start(ask) => panic!("there is no answer"),
            () = bench.upstreams.wait_for_calls(1) => {}
        }
        drop(connection);
        bench.upstreams.wait_for_dropped_body().await;
        let event = bench.event().await;
        assert_eq!((event.outcome, event.status), (Outcome::ClientClosed, CLIENT_CLOSED));
        assert_eq!((event.attempts.len(), event.attempts[0].outcome), (1, AttemptOutcome::Cancelled));
        assert_eq!(event.cost.as_nanos(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn in_mid_stream() {
    let bench = Bench::new();
    bench.upstreams.play("openai.test", stream(vec![chunk("Hello"), chunk(" there"), Step::Hang]));
    let mut connection = Connection::open(&bench.lane).await;
    let mut body = connection.start(chat_stream("gpt")).await.into_body();
    assert!(next(&mut body).await.is_some());
    drop((body, connection));
    bench.upstreams.wait_for_dropped_body().await;
    let event = bench.event().await;
    assert_eq!((event.outcome, event.status, event.is_estimated), (Outcome::ClientClosed, 200, true));
    assert_eq!(event.attempts[0].outcome, AttemptOutcome::Cancelled);
    assert!(event.usage.output >= 1 && event.cost.as_nanos() > 0, "what was said until then is billed: {event:?}");
}

#[tokio::test(start_paused = true)]
async fn in_mid_stream_with_a_running_total() {
    let bench = Bench::new();
    bench.upstreams.play("anthropic.test", stream([&anthropic_steps()[..3], &[Step::Hang]].concat()));
    let mut connection = Connection::open(&bench.lane).await;
    let mut body = connection.start(messages_stream("claude")).await.into_body();
    assert!(next(&mut body).await.is_some());
    drop((body, connection));
    let event = bench.event().await;
    assert_eq!((event.outcome, event.usage.input, event.is_estimated), (Outcome::ClientClosed, 10, true));
}

#[tokio::test(start_paused = true)]
async fn after_the_end_mark_it_is_a_success() {
    let bench = Bench::new();
    bench.upstreams.play("openai.test", stream([vec![chunk("Hello")], openai_end(), vec![Step::Hang]].concat()));
    let mut connection = Connection::open(&bench.lane).await;
    let mut body = connection.start(chat_stream("gpt")).await.into_body();
    let mut read = Vec::new();
    while !read.ends_with(b"data: [DONE]\n\n") {
        read.extend_from_slice(&next(&mut body).await.expect("more"));
    }
    drop((body, connection));
    let event = bench.event().await;
    assert_eq!((event.outcome, event.usage.output, event.is_estimated), (Outcome::Success, 5, false));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_read_the_end_mark_is_in_the_ledger_already() {
    let openai = stream([vec![chunk("Hello")], openai_end(), vec![Step::Hang]].concat());
    let anthropic = stream([anthropic_steps(), vec![Step::Hang]].concat());
    let asks = [
        (chat_stream("gpt"), "data: [DONE]\n\n"),
        (chat_stream("claude"), "data: [DONE]\n\n"),
        (messages_stream("gpt"), "\"message_stop\"}\n\n"),
        (messages_stream("claude"), "\"message_stop\"}\n\n"),
    ];
    for (ask, end_mark) in asks {
        let bench = Bench::new();
        bench.upstreams.play("openai.test", openai.clone());
        bench.upstreams.play("anthropic.test", anthropic.clone());
        let mut connection = Connection::open(&bench.lane).await;
        let mut body = connection.start(ask).await.into_body();
        let mut read = Vec::new();
        while !read.ends_with(end_mark.as_bytes()) {
            read.extend_from_slice(&next(&mut body).await.expect("more"));
        }
        let events = bench.ledger.events.lock().clone();
        assert_eq!(events.iter().map(|event| event.outcome).collect::<Vec<_>>(), [Outcome::Success]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_in_flight_is_given_back() {
    let bench = Bench::new();
    bench.upstreams.play("openai.test", Play::Hang);
    let mut connection = Connection::open(&bench.lane).await;
    tokio::select! {
        _ = connection.start(chat("gpt")) => panic!("there is no answer"),
        () = bench.upstreams.wait_for_calls(1) => {}
    }
    assert_eq!(bench.gateway.metrics().in_flight(), 1);
    drop(connection);
    bench.event().await;
    assert_eq!(bench.gateway.metrics().in_flight(), 0);
}
