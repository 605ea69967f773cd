//! The four named timeouts, in virtual time: an upstream that hangs moves the clock to the next deadline.

use std::time::Duration;

use domain::route::Timeouts;
use domain::usage::{AttemptOutcome, Outcome};
use tokio::time::Instant;

use crate::harness::Bench;
use crate::harness::client::{Answer, chat, chat_stream, gemini, messages_stream};
use crate::harness::policy::World;
use crate::harness::upstream::{Play, Step, Trouble, anthropic_steps, chunk, stream};

const TIMEOUTS: Timeouts = Timeouts { connect_ms: 1_000, first_byte_ms: 10_000, idle_ms: 3_000, total_ms: 25_000 };

fn bench(max_attempts: u16) -> Bench {
    let mut world = World::empty();
    world.deployment(1, "one", "openai", "http://one.test/v1");
    world.route(1, "route", &[1], max_attempts, TIMEOUTS);
    Bench::of(&world)
}

fn check_rejected(answer: &Answer) {
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (504, "upstream_timeout"), "{}", answer.text());
}

fn about(started: Instant, seconds: u64) {
    let elapsed = started.elapsed();
    let range = Duration::from_millis(seconds * 1_000 - 50)..Duration::from_millis(seconds * 1_000 + 300);
    assert!(range.contains(&elapsed), "{elapsed:?} is not about {seconds} s");
}

#[tokio::test(start_paused = true)]
async fn connect() {
    let bench = bench(1);
    bench.upstreams.trouble("one.test", Trouble::Hang);
    let started = Instant::now();
    check_rejected(&bench.ask(chat("route")).await);
    about(started, 1);
    let event = bench.event().await;
    assert_eq!((event.outcome, event.attempts[0].outcome), (Outcome::UpstreamFailed, AttemptOutcome::Timeout));
}

#[tokio::test(start_paused = true)]
async fn first_byte() {
    for (ask, play) in [
        (chat("route"), Play::Hang),
        (chat_stream("route"), Play::Hang),
        (chat_stream("route"), stream(vec![Step::Hang])),
    ] {
        let bench = bench(1);
        bench.upstreams.play("one.test", play);
        let started = Instant::now();
        check_rejected(&bench.ask(ask).await);
        about(started, 10);
    }
}

#[tokio::test(start_paused = true)]
async fn idle_of_a_whole_answer() {
    let bench = bench(1);
    let steps = vec![Step::Chunk("{\"id\":".into()), Step::Hang];
    bench.upstreams.play("one.test", Play::Answer { status: 200, headers: vec![], steps });
    let started = Instant::now();
    check_rejected(&bench.ask(chat("route")).await);
    about(started, 3);
}

#[tokio::test(start_paused = true)]
async fn idle_of_a_stream() {
    let bench = bench(3);
    bench.upstreams.play("one.test", stream(vec![chunk("Hello"), Step::Hang]));
    let started = Instant::now();
    let answer = bench.ask(chat_stream("route")).await;
    assert!(answer.text().contains("upstream_timeout"), "{}", answer.text());
    about(started, 3);
    bench.upstreams.wait_for_dropped_body().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_hears_that_a_silent_upstream_is_still_there() {
    let timeouts = Timeouts { idle_ms: 40_000, total_ms: 100_000, ..TIMEOUTS };
    let mut world = World::empty();
    world.deployment(1, "one", "openai", "http://one.test/v1");
    world.deployment(2, "claude", "anthropic", "http://two.test");
    world.route(1, "same", &[1], 1, timeouts);
    world.route(2, "translated", &[2], 1, timeouts);
    let mut cut = anthropic_steps();
    cut.truncate(3);
    cut.push(Step::Hang);
    for (ask, host, steps) in [
        (chat_stream("same"), "one.test", vec![chunk("Hello"), Step::Hang]),
        (chat_stream("translated"), "two.test", cut.clone()),
        (messages_stream("translated"), "two.test", cut.clone()),
    ] {
        let bench = Bench::of(&world);
        bench.upstreams.play(host, stream(steps));
        let started = Instant::now();
        let answer = bench.ask(ask).await;
        let text = answer.text();
        assert!(text.contains("\n\n: ping\n\n: ping\n\n"), "{text}");
        assert_eq!(text.matches(": ping\n\n").count(), 2, "after 15 and 30 seconds: {text}");
        assert!(text.contains("upstream_timeout"), "the upstream's own time goes on: {text}");
        about(started, 40);
    }
    // Nothing is said within an event: half of one waits for the other half. Gemini's clients take every line for data.
    let halves = vec![chunk("Hello"), Step::Chunk("data: {\"id\":".into()), Step::Hang];
    let bench = Bench::of(&world);
    bench.upstreams.play("one.test", stream(halves));
    let answer = bench.ask(chat_stream("same")).await;
    let text = answer.text();
    assert!(text.contains("}\n\n: ping\n\n") && !text.contains("\"id\":: ping"), "{text}");
    let bench = Bench::of(&world);
    bench.upstreams.play("two.test", stream(cut));
    let answer = bench.ask(gemini("translated", "streamGenerateContent?alt=sse")).await;
    let text = answer.text();
    assert!(!text.contains(": ping"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn total_over_all_attempts() {
    let bench = bench(10);
    for _ in 0..10 {
        bench.upstreams.play("one.test", Play::Hang);
    }
    let started = Instant::now();
    check_rejected(&bench.ask(chat("route")).await);
    about(started, 25);
    assert_eq!(bench.event().await.attempts.len(), 3, "10 s, 10 s and what was left");
}

#[tokio::test(start_paused = true)]
async fn a_request_may_shorten_the_total_but_not_lengthen_it() {
    for (asked, seconds) in [("4000", 4), ("600000", 10)] {
        let bench = bench(1);
        bench.upstreams.play("one.test", Play::Hang);
        let started = Instant::now();
        check_rejected(&bench.ask(chat("route").header("x-headgate-timeout-ms", asked)).await);
        about(started, seconds);
    }
}
