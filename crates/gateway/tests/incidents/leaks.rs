//! Money and places that calls held and never gave back, and limits that refuse who is within them.

use std::time::Duration;

use domain::budget::Measure;
use domain::rate_limit::{Measure as Rated, Per, Share};
use domain::route::{Cache, Timeouts};
use futures_util::future::join_all;
use policy::Content;
use serde_json::json;
use tokio::time::advance;

use super::{count_served, limit, limited, per_minute, rate};
use crate::harness::Bench;
use crate::harness::client::{Ask, Connection, chat, chat_stream, messages, messages_stream, next};
use crate::harness::policy::World;
use crate::harness::upstream::{
    Play, Step, anthropic_steps, anthropic_stream, anthropic_whole, chunk, openai_error, openai_whole, stream,
};
use crate::pipeline::budgets::{COST, Lent, budget, own, short, unread};

/// Enough for one or a few calls at once, and not for the holds of thirty.
const FEW: u64 = 3_000_000;

fn short_stream(model: &str) -> Ask {
    let message = json!([{"role": "user", "content": "Hi"}]);
    let body = json!({"model": model, "max_tokens": 10, "stream": true, "messages": message});
    Ask::post("/v1/chat/completions", body.to_string())
}

/// Asserts that nothing is held any more: a call is served, and all that is booked is what calls cost.
async fn assert_whole(lent: &Lent, n_events: usize) {
    let cost: i64 = lent.bench.ledger.wait(n_events).await.iter().map(|event| event.cost.as_nanos()).sum();
    lent.bench.upstreams.forget("openai.test");
    lent.bench.upstreams.play("openai.test", openai_whole());
    let answer = lent.bench.ask(short("gpt")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(lent.posted(n_events + 1).await, u64::try_from(cost).expect("a cost") + COST);
}

#[tokio::test(start_paused = true)]
async fn litellm_27639_what_calls_held_whose_clients_left_is_free_again() {
    let lent = Lent::new(budget(Measure::Cost), FEW);
    for n in 1..=30 {
        lent.bench.upstreams.play("openai.test", Play::Hang);
        let mut connection = Connection::open(&lent.bench.lane).await;
        tokio::select! {
            _ = connection.start(short("gpt")) => panic!("there is no answer"),
            () = lent.bench.upstreams.wait_for_calls(n) => {}
        }
        drop(connection);
        lent.bench.ledger.wait(n).await;
    }
    assert_whole(&lent, 30).await;
}

#[tokio::test(start_paused = true)]
async fn litellm_30522_streams_that_clients_leave_take_what_was_said_and_no_more() {
    let lent = Lent::new(budget(Measure::Cost), FEW);
    for n in 1..=30 {
        lent.bench.upstreams.play("openai.test", stream(vec![chunk("Hello"), Step::Hang]));
        let mut connection = Connection::open(&lent.bench.lane).await;
        let answer = connection.start(short_stream("gpt")).await;
        assert_eq!(answer.status(), 200, "call {n}");
        let mut body = answer.into_body();
        assert!(next(&mut body).await.is_some());
        drop((body, connection));
        lent.bench.ledger.wait(n).await;
    }
    assert_whole(&lent, 30).await;
}

#[tokio::test(start_paused = true)]
async fn litellm_40050_what_a_budget_counts_is_what_the_ledger_has() {
    let lent = Lent::new(budget(Measure::Cost), 1_000_000_000);
    for _ in 0..10 {
        lent.bench.upstreams.play("anthropic.test", anthropic_stream());
        assert_eq!(lent.bench.ask(messages_stream("claude")).await.status, 200);
    }
    let cost: i64 = lent.bench.ledger.wait(10).await.iter().map(|event| event.cost.as_nanos()).sum();
    assert_eq!(u64::try_from(cost), Ok(10 * COST));
    assert_eq!(lent.posted(10).await, 10 * COST);
    let window = lent.bench.ask(own()).await.json()["windows"][0].clone();
    assert_eq!(window["used"], "0.0002", "{window}");
}

#[tokio::test(start_paused = true)]
async fn litellm_35568_a_stream_that_breaks_is_charged_what_the_upstream_had_counted() {
    let lent = Lent::new(budget(Measure::Cost), 1_000_000_000);
    lent.bench.upstreams.play("anthropic.test", stream([&anthropic_steps()[..3], &[Step::Break]].concat()));
    lent.bench.ask(messages_stream("claude")).await;
    let event = lent.bench.event().await;
    assert!(event.cost.as_nanos() >= 10_000, "ten tokens of input at least: {event:?}");
    assert_eq!(lent.posted(1).await, u64::try_from(event.cost.as_nanos()).expect("a cost"));
}

#[tokio::test(start_paused = true)]
async fn otari_128_a_stream_that_fails_before_its_first_chunk_holds_nothing() {
    let lent = Lent::new(budget(Measure::Cost), FEW);
    for n in 1..=30 {
        lent.bench.upstreams.forget("openai.test");
        for _ in 0..4 {
            lent.bench.upstreams.play("openai.test", stream(vec![Step::Break]));
        }
        assert_ne!(lent.bench.ask(short_stream("gpt")).await.status, 402, "call {n}");
        lent.bench.ledger.wait(n).await;
    }
    assert_whole(&lent, 30).await;
}

#[tokio::test(start_paused = true)]
async fn litellm_38111_what_is_passed_through_gives_its_hold_back() {
    let lent = Lent::of(&unread::world(budget(Measure::Cost)), 1_000_000_000);
    for n in 1..=30 {
        lent.bench.upstreams.play("openai.test", openai_whole());
        assert_eq!(lent.bench.ask(unread::chat()).await.status, 200, "call {n} of those that hold a model's window");
        lent.bench.ledger.wait(n).await;
    }
    assert_eq!(lent.posted(30).await, 30 * COST);
}

#[tokio::test(start_paused = true)]
async fn litellm_20615_without_a_budget_a_wrong_price_refuses_nobody() {
    let mut world = World::standard();
    for content in &mut world.contents {
        if let Content::Price(price) = content {
            price.rates.input = domain::Price::per_million(1_000_000_000_000_000);
        }
    }
    let bench = Bench::of(&world);
    for n in 1..=3 {
        bench.upstreams.play("openai.test", openai_whole());
        assert_eq!(bench.ask(short("gpt")).await.status, 200);
        assert!(bench.ledger.wait(n).await[n - 1].cost.as_nanos() >= 10_000_000_000, "ten dollars and more");
    }
}

// === Places ===

fn one_at_once() -> policy::resource::RateLimit {
    limit(vec![rate(Rated::Concurrent, None, 1)])
}

#[tokio::test(start_paused = true)]
async fn litellm_20256_places_of_calls_that_failed_or_were_too_slow_are_free() {
    let bench = limited(one_at_once());
    for n in 1..=12 {
        bench.upstreams.forget("openai.test");
        for _ in 0..4 {
            bench.upstreams.play("openai.test", if n % 2 == 0 { Play::Hang } else { openai_error(502, "no luck") });
        }
        let answer = bench.ask(chat("gpt").header("x-headgate-timeout-ms", "1500")).await;
        assert!([502, 503, 504].contains(&answer.status.as_u16()), "call {n}: {}", answer.text());
        bench.ledger.wait(n).await;
    }
    assert_eq!(bench.ask(chat("echo/echo-1")).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn litellm_1477_calls_that_were_refused_leave_no_place_taken() {
    let bench = limited(one_at_once());
    for model in ["no-such-model", "gpt", "no-such-model"] {
        bench.upstreams.play("openai.test", openai_error(400, "role: user2"));
        assert!(bench.ask(chat(model)).await.status.is_client_error());
    }
    let broken = Ask::post("/v1/chat/completions", r#"{"model":"gpt","messages":"#);
    assert_eq!(bench.ask(broken).await.status, 400);
    assert_eq!(bench.ask(chat("echo/echo-1")).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn litellm_39309_a_call_that_one_limit_refuses_uses_nothing_of_another() {
    let bench = limited(limit(vec![per_minute(2), rate(Rated::Concurrent, None, 1)]));
    bench.upstreams.play("openai.test", stream(vec![chunk("Hello"), Step::Hang]));
    let mut connection = Connection::open(&bench.lane).await;
    let mut body = connection.start(chat_stream("gpt")).await.into_body();
    assert!(next(&mut body).await.is_some());
    for _ in 0..5 {
        assert_eq!(bench.ask(chat("echo/echo-1")).await.status, 429, "another is under way");
    }
    drop((body, connection));
    bench.ledger.wait(6).await;
    assert_eq!(bench.ask(chat("echo/echo-1")).await.status, 200, "the second of two in this minute");
}

#[tokio::test(start_paused = true)]
async fn litellm_27955_answers_from_the_cache_give_their_place_back() {
    let mut world = World::standard();
    world.route(50, "kept", &[2], 1, Timeouts::default());
    for content in &mut world.contents {
        if let Content::Route(route) = content
            && route.name.as_str() == "kept"
        {
            route.rules.cache = Some(Cache::default());
        }
    }
    world.contents.push(Content::RateLimit(one_at_once()));
    let bench = Bench::of(&world);
    bench.upstreams.play("anthropic.test", anthropic_whole());
    for n in 1..=4 {
        let answer = bench.ask(messages("kept")).await;
        assert_eq!(answer.status, 200, "call {n}: {}", answer.text());
        bench.ledger.wait(n).await;
    }
    assert_eq!(bench.upstreams.calls().len(), 1, "all others were answered from the cache");
}

// === Limits ===

#[tokio::test(start_paused = true)]
async fn litellm_24677_a_limit_admits_all_it_says() {
    for n in [1, 10, 100] {
        let bench = limited(limit(vec![per_minute(n)]));
        for _ in 0..n {
            assert_eq!(bench.ask(chat("echo/echo-1")).await.status, 200);
        }
        assert_eq!(bench.ask(chat("echo/echo-1")).await.status, 429);
    }
}

fn tokens(amount: u64) -> policy::resource::RateLimit {
    limit(vec![rate(Rated::Tokens, Some(Per::Minute), amount)])
}

/// Asks one after another and returns how many tokens the upstream counted for those that were let through.
async fn used(nodes: &[Bench], n: usize) -> u64 {
    let mut used = 0;
    for node in nodes.iter().cycle().take(n) {
        node.upstreams.play("openai.test", openai_whole());
        let before = node.ledger.events.lock().len();
        used += if node.ask(short("gpt")).await.status == 200 { 15 } else { 0 };
        node.ledger.wait(before + 1).await;
    }
    used
}

#[tokio::test(start_paused = true)]
async fn litellm_27736_a_limit_in_tokens_is_one_for_all_nodes() {
    let nodes: Vec<Bench> = (0..3).map(|_| limited(tokens(300))).collect();
    for (place, node) in (0_u32..).zip(&nodes) {
        node.gateway.set_share(Share::new(3, place));
    }
    let used = used(&nodes, 60).await;
    assert!((225..=300).contains(&used), "{used}");
}

#[tokio::test(start_paused = true)]
async fn litellm_10555_tokens_of_one_call_after_another_add_up() {
    let used = used(&[limited(tokens(45))], 5).await;
    assert!((30..=45).contains(&used), "{used}");
}

#[tokio::test(start_paused = true)]
async fn litellm_5783_calls_at_once_do_not_pass_a_limit_in_tokens_together() {
    let bench = limited(tokens(150));
    for _ in 0..30 {
        bench.upstreams.play("openai.test", openai_whole());
    }
    let answers = join_all((0..30).map(|_| bench.ask(short("gpt")))).await;
    let used = 15 * count_served(&answers);
    assert!((60..=150).contains(&used), "{used}");
}

#[tokio::test(start_paused = true)]
async fn litellm_18953_who_was_refused_is_served_at_the_time_that_was_named() {
    let bench = limited(tokens(45));
    let refused = loop {
        bench.upstreams.play("openai.test", openai_whole());
        let answer = bench.ask(short("gpt")).await;
        if answer.status != 200 {
            break answer;
        }
        advance(Duration::from_secs(1)).await;
    };
    let wait: u64 = refused.header("retry-after").parse().expect("whole seconds");
    assert!(wait <= 62, "a minute and a slot, and no rest of five minutes: {wait}");
    advance(Duration::from_secs(wait)).await;
    assert_eq!(bench.ask(short("gpt")).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn kong_ai_rate_limiting_answers_from_the_cache_use_no_tokens() {
    let mut world = World::standard();
    world.route(50, "kept", &[1], 1, Timeouts::default());
    for content in &mut world.contents {
        if let Content::Route(route) = content
            && route.name.as_str() == "kept"
        {
            route.rules.cache = Some(Cache::default());
        }
    }
    world.contents.push(Content::RateLimit(tokens(60)));
    let bench = Bench::of(&world);
    bench.upstreams.play("openai.test", openai_whole());
    for n in 1..=20 {
        assert_eq!(bench.ask(short("kept")).await.status, 200, "call {n}");
        bench.ledger.wait(n).await;
    }
}
