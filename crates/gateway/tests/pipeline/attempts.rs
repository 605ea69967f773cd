//! Which failure leads where: retries, fallback, health, and nothing after the commit point.

use domain::route::Timeouts;
use domain::usage::{AttemptOutcome, Outcome};
use serde_json::json;

use crate::harness::Bench;
use crate::harness::client::{chat, chat_stream, messages, messages_stream};
use crate::harness::policy::{World, deployment_id};
use crate::harness::upstream::{
    OPENAI_WHOLE, Play, Step, Trouble, chunk, json_answer, openai_error, openai_stream, openai_whole, raw_answer,
    stream,
};

/// Plays `first` at the first target of `chain` and an answer at the second, and returns the hosts that were called.
async fn hosts_after(first: Play) -> (Bench, Vec<String>, u16) {
    let bench = Bench::new();
    bench.upstreams.play("a.test", first);
    bench.upstreams.play("b.test", openai_whole());
    let answer = bench.ask(chat("chain")).await;
    let hosts = bench.upstreams.hosts();
    (bench, hosts, answer.status.as_u16())
}

#[tokio::test(start_paused = true)]
async fn failures_of_a_target_move_on_to_the_next() {
    let whole = |status| openai_error(status, "no luck");
    let plays = [
        whole(500),
        whole(429),
        whole(401),
        whole(403),
        whole(404),
        whole(408),
        Play::Close,
        raw_answer(200, "application/json", "<html>not JSON"),
        raw_answer(200, "text/html", "hello"),
        json_answer(200, &json!({"error": {"message": "overloaded", "type": "server_error", "code": null}})),
        raw_answer(302, "text/html", ""),
        Play::Answer {
            status: 200,
            headers: vec![("content-length", "100".into())],
            steps: vec![Step::Chunk("{".into()), Step::Break],
        },
    ];
    for play in plays {
        let shown = format!("{play:?}");
        let (bench, hosts, status) = hosts_after(play).await;
        assert_eq!((hosts, status), (vec!["a.test".to_owned(), "b.test".to_owned()], 200), "{shown}");
        let event = bench.event().await;
        assert_eq!(
            (event.outcome, event.attempts.len(), event.deployment_id),
            (Outcome::Success, 2, Some(deployment_id(5)))
        );
        assert_ne!(event.attempts[0].outcome, AttemptOutcome::Success);
        assert_eq!(event.cost.to_string(), "0.00002", "the failed attempt costs nothing");
    }
}

#[tokio::test(start_paused = true)]
async fn the_clients_own_mistakes_end_the_call_with_the_upstreams_words() {
    for status in [400, 413, 422] {
        let body = json!({"error": {"message": "temperature is too high", "type": "invalid_request_error", "param": "temperature", "code": "x"}});
        let (bench, hosts, answered) = hosts_after(json_answer(status, &body)).await;
        assert_eq!((hosts, answered), (vec!["a.test".to_owned()], status));
        let event = bench.event().await;
        assert_eq!((event.outcome, event.status), (Outcome::UpstreamRejected, status));
    }
    let bench = Bench::new();
    let body = json!({"error": {"message": "temperature is too high", "type": "invalid_request_error", "param": "temperature", "code": "x"}});
    bench.upstreams.play("openai.test", json_answer(400, &body));
    bench.upstreams.play("openai.test", json_answer(400, &body));
    let same = bench.ask(chat("gpt")).await;
    assert_eq!((same.status.as_u16(), same.json()), (400, body));
    let other = bench.ask(messages("gpt")).await;
    assert_eq!((other.status.as_u16(), other.json()["type"].as_str()), (400, Some("error")));
    assert_eq!(other.json()["error"]["message"], "temperature is too high");
    assert_eq!(other.json()["error"]["type"], "invalid_request_error");
}

#[tokio::test(start_paused = true)]
async fn a_model_that_no_target_knows_is_the_upstreams_404() {
    let bench = Bench::new();
    bench.upstreams.play("openai.test", openai_error(404, "no such model"));
    let answer = bench.ask(chat("gpt")).await;
    assert_eq!((answer.status.as_u16(), bench.upstreams.calls().len()), (404, 1));
}

#[tokio::test(start_paused = true)]
async fn a_refused_credential_bars_all_targets_that_use_it() {
    let mut world = World::empty();
    world.deployment(1, "one", "openai", "http://a.test/v1");
    world.deployment(2, "two", "openai", "http://b.test/v1");
    // A second deployment under the first one's credential.
    let policy::Content::Deployment(mut twin) = world.contents[4].clone() else { panic!("a deployment") };
    twin.id = deployment_id(9);
    twin.name = domain::ModelName::parse("twin").expect("a name");
    world.contents.push(policy::Content::Deployment(twin));
    world.route(1, "route", &[1, 9, 2], 3, Timeouts::default());
    let bench = Bench::of(&world);
    bench.upstreams.play("a.test", openai_error(401, "bad key"));
    bench.upstreams.play("b.test", openai_whole());
    assert_eq!(bench.ask(chat("route")).await.status, 200);
    assert_eq!(bench.upstreams.hosts(), ["a.test", "b.test"]);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_overloaded_as_a_whole_is_left_for_another_first() {
    let bench = Bench::new();
    bench.upstreams.play("a.test", openai_error(503, "overloaded"));
    bench.upstreams.play("c.test", openai_whole());
    assert_eq!(bench.ask(chat("chain")).await.status, 200);
    assert_eq!(bench.upstreams.hosts(), ["a.test", "c.test"], "b.test is of the same provider");
}

#[tokio::test(start_paused = true)]
async fn connections_that_fail_move_on() {
    let bench = Bench::new();
    bench.upstreams.trouble("a.test", Trouble::Refuse);
    bench.upstreams.trouble("c.test", Trouble::Hang);
    bench.upstreams.play("b.test", openai_whole());
    assert_eq!(bench.ask(chat("chain")).await.status, 200);
    let outcomes: Vec<_> = bench.event().await.attempts.iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(outcomes, [AttemptOutcome::Connect, AttemptOutcome::Timeout, AttemptOutcome::Success]);
}

#[tokio::test(start_paused = true)]
async fn a_single_target_is_tried_again_until_the_limit_and_says_so() {
    let bench = Bench::new();
    for _ in 0..5 {
        bench.upstreams.play("openai.test", openai_error(500, "sk-secret in the words"));
    }
    let answer = bench.ask(chat("gpt")).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (502, "upstream_error"));
    assert_eq!((answer.header("x-headgate-attempts"), bench.upstreams.calls().len()), ("3", 3));
    assert!(!answer.text().contains("sk-secret"));
    assert_eq!(bench.event().await.outcome, Outcome::UpstreamFailed);
}

#[tokio::test(start_paused = true)]
async fn a_long_retry_after_is_handed_on_and_a_short_one_is_waited_for() {
    let limited = |seconds: &str| Play::Answer {
        status: 429,
        headers: vec![("content-type", "application/json".into()), ("retry-after", seconds.into())],
        steps: vec![Step::Chunk(r#"{"error":{"message":"slow down","type":"x"}}"#.into())],
    };
    let bench = Bench::new();
    bench.upstreams.play("openai.test", limited("40"));
    let answer = bench.ask(chat("gpt")).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (502, "40"));
    assert_eq!(bench.upstreams.calls().len(), 1);

    let bench = Bench::new();
    let started = tokio::time::Instant::now();
    bench.upstreams.play("openai.test", limited("2"));
    bench.upstreams.play("openai.test", openai_whole());
    assert_eq!(bench.ask(chat("gpt")).await.status, 200);
    assert!(started.elapsed().as_secs() >= 2);
}

#[tokio::test(start_paused = true)]
async fn the_retry_budget_ends_a_storm() {
    let bench = Bench::new();
    for _ in 0..400 {
        bench.upstreams.play("openai.test", openai_error(500, "down"));
    }
    for _ in 0..100 {
        // Concurrent, so that virtual time earns next to nothing.
        assert_eq!(bench.ask(chat("gpt").header("x-headgate-timeout-ms", "50")).await.status.as_u16() / 100, 5);
    }
    let n = bench.upstreams.calls().len();
    assert!((100..260).contains(&n), "{n} calls for 100 requests");
}

#[tokio::test(start_paused = true)]
async fn an_ejected_target_is_tried_last_and_comes_back_by_a_probe() {
    let bench = Bench::new();
    for _ in 0..5 {
        bench.upstreams.play("a.test", openai_error(500, "down"));
        bench.upstreams.play("b.test", openai_whole());
        assert_eq!(bench.ask(chat("chain")).await.status, 200);
    }
    bench.upstreams.play("b.test", openai_whole());
    assert_eq!(bench.ask(chat("chain")).await.status, 200);
    assert_eq!(bench.upstreams.hosts().last().map(String::as_str), Some("b.test"));
    assert_eq!(bench.upstreams.hosts().len(), 11, "the sixth call went to the second target at once");
    tokio::time::advance(upstream::health::FIRST_EJECTION).await;
    bench.upstreams.play("a.test", openai_whole());
    assert_eq!(bench.ask(chat("chain")).await.status, 200);
    assert_eq!(bench.upstreams.hosts().last().map(String::as_str), Some("a.test"));
}

// === Streams ===

#[tokio::test(start_paused = true)]
async fn a_stream_fails_over_until_its_first_byte() {
    let in_band = Step::Chunk("data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\n".into());
    for first in
        [openai_error(500, "down"), stream(vec![Step::Break]), stream(vec![]), stream(vec![in_band]), openai_whole()]
    {
        let shown = format!("{first:?}");
        let bench = Bench::new();
        bench.upstreams.play("a.test", first);
        bench.upstreams.play("b.test", openai_stream());
        let answer = bench.ask(chat_stream("chain")).await;
        assert!(answer.text().ends_with("data: [DONE]\n\n"), "{shown}: {}", answer.text());
        assert_eq!(bench.upstreams.hosts(), ["a.test", "b.test"], "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_dies_after_its_first_byte_ends_with_an_error_event() {
    for (end, outcome) in [(Step::Break, AttemptOutcome::Broken), (Step::Hang, AttemptOutcome::Timeout)] {
        let bench = Bench::new();
        bench.upstreams.play("a.test", stream(vec![chunk("Hello"), end]));
        bench.upstreams.play("b.test", openai_stream());
        let answer = bench.ask(chat_stream("chain")).await;
        assert_eq!(answer.status, 200);
        let last = answer.text().trim_end().rsplit("\n\n").next().unwrap_or_default();
        let error: serde_json::Value = serde_json::from_str(last.trim_start_matches("data: ")).expect("an error event");
        let code = if outcome == AttemptOutcome::Timeout { "upstream_timeout" } else { "upstream_error" };
        assert_eq!(error["error"]["code"], code);
        assert_eq!(bench.upstreams.hosts(), ["a.test"], "no second target after the commit point");
        let event = bench.event().await;
        assert_eq!((event.outcome, event.status, event.code.as_deref()), (Outcome::UpstreamBroken, 200, Some(code)));
        assert_eq!((event.attempts[0].outcome, event.is_estimated, event.cost.as_nanos()), (outcome, true, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_cut_is_ended_before_the_error() {
    let bench = Bench::new();
    let cut = Step::Chunk("event: content_block_delta\ndata: {\"type\":\"content_bl".into());
    let steps = crate::harness::upstream::anthropic_steps();
    bench.upstreams.play("anthropic.test", stream([&steps[..2], &[cut, Step::Break]].concat()));
    let answer = bench.ask(messages_stream("claude")).await;
    let last = answer.text().trim_end().rsplit("\n\n").next().unwrap_or_default().to_owned();
    assert!(last.starts_with("event: error\ndata: {\"type\":\"error\""), "{last}");
    let event = bench.event().await;
    assert_eq!((event.outcome, event.usage.input, event.is_estimated), (Outcome::UpstreamBroken, 10, true));
}

#[tokio::test(start_paused = true)]
async fn a_broken_stream_says_so_in_the_other_dialect_too() {
    let bench = Bench::new();
    bench.upstreams.play("openai.test", stream(vec![chunk("Hello"), Step::Break]));
    let answer = bench.ask(messages_stream("gpt")).await;
    assert!(answer.text().contains("event: error"), "{}", answer.text());
    bench
        .upstreams
        .play("anthropic.test", stream([&crate::harness::upstream::anthropic_steps()[..3], &[Step::Break]].concat()));
    let answer = bench.ask(chat_stream("claude")).await;
    assert!(answer.text().contains("\"upstream_error\"") && !answer.text().contains("[DONE]"), "{}", answer.text());
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_upstream_in_mid_stream_passes_and_is_settled_as_broken() {
    let bench = Bench::new();
    let error = "data: {\"error\":{\"message\":\"boom\",\"type\":\"server_error\"}}\n\n";
    bench.upstreams.play("openai.test", stream(vec![chunk("Hello"), Step::Chunk(error.into())]));
    let answer = bench.ask(chat_stream("gpt")).await;
    assert!(answer.text().ends_with(error), "{}", answer.text());
    assert_eq!(bench.event().await.outcome, Outcome::UpstreamBroken);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_that_the_upstream_closed_costs_no_attempt() {
    let bench = Bench::new();
    bench.upstreams.play("openai.test", openai_whole());
    assert_eq!(bench.ask(chat("gpt")).await.status, 200);
    // The second call goes out on the kept connection, which closes under it; the third play answers on a new one.
    bench.upstreams.play("openai.test", Play::Close);
    bench.upstreams.play("openai.test", openai_whole());
    let answer = bench.ask(chat("gpt")).await;
    assert_eq!((answer.status.as_u16(), answer.text(), answer.header("x-headgate-attempts")), (200, OPENAI_WHOLE, "1"));
    assert_eq!(bench.upstreams.n_dials(), 2);
}
