//! Signs of life that a node asks for by itself: when, where, and what follows.

use std::time::Duration;

use domain::route::{Node, Rules};
use gateway::Probing;
use serde_json::json;

use crate::harness::Bench;
use crate::harness::client::chat;
use crate::harness::policy::{World, deployment_id};
use crate::harness::upstream::{Play, Trouble, json_answer, openai_error, openai_whole};

const EVERY: Duration = Duration::from_secs(30);

/// A route over two deployments in order, the second of them an upstream without a list of models, with probes every 30 s.
fn world() -> World {
    let mut world = World::empty();
    world.deployment(1, "a", "openai", "http://a.test/v1");
    world.deployment(2, "b", "perplexity", "http://b.test");
    let leaf = |n| Node::Deployment { deployment_id: deployment_id(n) };
    let rules = Rules { probe_interval_ms: Some(30_000), ..Rules::default() };
    world.tree(1, "probed", Node::Ordered { children: vec![leaf(1), leaf(2)] }, rules);
    world
}

fn list() -> Play {
    json_answer(200, &json!({"object": "list", "data": []}))
}

async fn pass(bench: &Bench, probing: &mut Probing, time: Duration) -> usize {
    let mut n = 0;
    let until = tokio::time::Instant::now() + time;
    while tokio::time::Instant::now() < until {
        tokio::time::advance(Duration::from_secs(1)).await;
        n += bench.gateway.probe_due(probing).await;
    }
    n
}

#[tokio::test(start_paused = true)]
async fn what_is_idle_is_asked_for_its_models_at_no_cost_and_once_in_an_interval() {
    let bench = Bench::of(&world());
    let mut probing = Probing::default();
    for _ in 0..9 {
        bench.upstreams.play("a.test", list());
    }
    let n = pass(&bench, &mut probing, EVERY * 4).await;
    assert!((3..=4).contains(&n), "{n}");
    let calls = bench.upstreams.calls();
    assert_eq!(calls.len(), n);
    assert!(calls.iter().all(|call| call.path == "/v1/models" && call.host == "a.test"), "no list, no probe");
    assert!(calls[0].headers.contains_key("authorization"));
    assert!(bench.ledger.events.lock().is_empty() && bench.ledger.opened.lock().is_empty(), "nobody's call");
}

#[tokio::test(start_paused = true)]
async fn a_deployment_with_traffic_is_not_asked() {
    let bench = Bench::of(&world());
    let mut probing = Probing::default();
    for _ in 0..12 {
        bench.upstreams.play("a.test", openai_whole());
        assert_eq!(bench.ask(chat("probed")).await.status, 200);
        assert_eq!(pass(&bench, &mut probing, Duration::from_secs(10)).await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_answer_is_out_before_a_call_finds_out_and_an_answer_lets_the_next_call_try() {
    let bench = Bench::of(&world());
    let mut probing = Probing::default();
    bench.upstreams.play("a.test", openai_error(503, "down"));
    while pass(&bench, &mut probing, Duration::from_secs(1)).await == 0 {}
    bench.upstreams.play("b.test", openai_whole());
    assert_eq!(bench.ask(chat("probed")).await.status, 200);
    assert_eq!(bench.upstreams.hosts(), ["a.test", "b.test"], "the call went around it");
    // Thrice more, and it is out for forty seconds: longer than an interval.
    for _ in 0..3 {
        bench.upstreams.play("a.test", openai_error(500, "down"));
        while pass(&bench, &mut probing, Duration::from_secs(1)).await == 0 {}
    }
    bench.upstreams.play("a.test", list());
    while pass(&bench, &mut probing, Duration::from_secs(1)).await == 0 {}
    bench.upstreams.play("a.test", openai_whole());
    assert_eq!(bench.ask(chat("probed")).await.status, 200);
    assert_eq!(bench.upstreams.hosts().last().map(String::as_str), Some("a.test"));
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_says_nothing_and_no_connection_says_enough() {
    let bench = Bench::of(&world());
    let mut probing = Probing::default();
    bench.upstreams.play("a.test", openai_error(401, "who are you"));
    while pass(&bench, &mut probing, Duration::from_secs(1)).await == 0 {}
    bench.upstreams.play("a.test", openai_whole());
    assert_eq!(bench.ask(chat("probed")).await.status, 200);
    assert_eq!(bench.upstreams.hosts(), ["a.test", "a.test"]);
    bench.upstreams.trouble("a.test", Trouble::Refuse);
    // The connection that served before is gone by the time of the probe.
    tokio::time::advance(Duration::from_secs(600)).await;
    while pass(&bench, &mut probing, Duration::from_secs(1)).await == 0 {}
    bench.upstreams.play("b.test", openai_whole());
    assert_eq!(bench.ask(chat("probed")).await.status, 200);
    assert_eq!(bench.upstreams.hosts().last().map(String::as_str), Some("b.test"));
}

#[tokio::test(start_paused = true)]
async fn without_the_rule_nothing_is_asked() {
    let bench = Bench::new();
    assert_eq!(pass(&bench, &mut Probing::default(), Duration::from_secs(300)).await, 0);
    assert!(bench.upstreams.hosts().is_empty());
}
