//! Rate limits and kill switches: who is let through, what is said to who is not, what is cut.

use std::sync::Arc;
use std::time::Duration;

use domain::budget::{Dimension, Subject};
use domain::kill_switch::Target;
use domain::rate_limit::{Measure, Per, Rate, Share};
use domain::usage::Outcome;
use domain::{KillSwitchId, RateLimitId};
use http::Method;
use policy::Content;
use policy::resource::{KillSwitch, RateLimit};
use serde_json::json;
use tokio::time::advance;

use crate::harness::Bench;
use crate::harness::client::{Ask, Connection, chat, chat_stream, messages, next};
use crate::harness::policy::{KEY, WORKSPACE, World, deployment_id, token};
use crate::harness::upstream::{Play, Step, chunk, openai_end, openai_whole, stream};

fn rate(measure: Measure, per: Option<Per>, amount: u64) -> Rate {
    Rate { measure, per, amount }
}

fn per_minute(amount: u64) -> Rate {
    rate(Measure::Requests, Some(Per::Minute), amount)
}

fn limit(rates: Vec<Rate>) -> RateLimit {
    RateLimit {
        id: RateLimitId::from_uuid(700),
        workspace: None,
        name: "Fair use".to_owned(),
        subject: Subject::default(),
        group_by: Vec::new(),
        rates,
    }
}

fn limited(limit: RateLimit) -> Bench {
    let mut world = World::standard();
    world.contents.push(Content::RateLimit(limit));
    Bench::of(&world)
}

fn echo() -> Ask {
    chat("echo/echo-1")
}

fn with_cap(model: &str, max_tokens: u64) -> Ask {
    let body = json!({"model": model, "max_tokens": max_tokens, "messages": [{"role": "user", "content": "Hi"}]});
    Ask::post("/v1/chat/completions", body.to_string())
}

fn stopped(target: Target) -> World {
    let mut world = World::standard();
    let is_cutting = target.cuts_by_default();
    world.contents.push(Content::KillSwitch(KillSwitch { id: KillSwitchId::from_uuid(800), target, is_cutting }));
    world
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_when_to_come_back_and_who_does_is_served() {
    let bench = limited(limit(vec![per_minute(2)]));
    let first = bench.ask(echo()).await;
    assert_eq!(first.status, 200, "{}", first.text());
    assert_eq!(first.header("x-ratelimit-limit-requests"), "2");
    assert_eq!(first.header("x-ratelimit-remaining-requests"), "1");
    advance(Duration::from_secs(20)).await;
    assert_eq!(bench.ask(echo()).await.header("x-ratelimit-remaining-requests"), "0");
    let refused = bench.ask(echo()).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "rate_limited".to_owned()));
    for part in ["Fair use", "2 requests per minute"] {
        assert!(refused.text().contains(part), "{}", refused.text());
    }
    assert_eq!(refused.header("x-ratelimit-remaining-requests"), "0");
    let wait: u64 = refused.header("retry-after").parse().expect("whole seconds");
    assert!((40..=43).contains(&wait), "{wait}");
    advance(Duration::from_secs(wait - 3)).await;
    assert_eq!(bench.ask(echo()).await.status, 429, "a refusal counts nothing, and too early is too early");
    advance(Duration::from_secs(3)).await;
    assert_eq!(bench.ask(echo()).await.status, 200);
    let events = bench.ledger.wait(5).await;
    assert_eq!((events[2].outcome, events[2].code.as_deref()), (Outcome::Rejected, Some("rate_limited")));
}

#[tokio::test(start_paused = true)]
async fn every_surface_counts_and_is_refused_in_its_own_dialect() {
    let bench = limited(limit(vec![per_minute(1)]));
    assert_eq!(bench.ask(echo()).await.status, 200);
    let embeddings = Ask::post("/v1/embeddings", r#"{"model":"echo/echo-embed","input":"Hi"}"#);
    let passed = Ask::post("/passthrough/openai/chat/completions", r#"{"model":"up-1"}"#);
    for ask in [embeddings, messages("claude"), chat_stream("gpt")] {
        let refused = bench.ask(ask).await;
        assert_eq!(refused.status, 429, "{}", refused.text());
        assert!(refused.text().contains("Fair use") && refused.header("retry-after").parse::<u64>().is_ok());
    }
    assert_eq!(bench.ask(messages("claude")).await.json()["type"], "error");
    assert_ne!(bench.ask(passed).await.status, 200);
    assert!(bench.upstreams.hosts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn tokens_and_money_are_guessed_and_then_counted() {
    let tokens = rate(Measure::Tokens, Some(Per::Minute), 1_000);
    let cost = rate(Measure::Cost, Some(Per::Hour), 1_000_000_000);
    let bench = limited(limit(vec![tokens, cost]));
    bench.upstreams.play("openai.test", openai_whole());
    let answer = bench.ask(with_cap("gpt", 900)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let held: u64 = answer.header("x-ratelimit-remaining-tokens").parse().expect("a number");
    assert!(held < 100, "what it may write is held: {held}");
    bench.event().await;
    bench.upstreams.play("openai.test", openai_whole());
    let answer = bench.ask(with_cap("gpt", 900)).await;
    assert_eq!(answer.status, 200, "15 tokens were used: {}", answer.text());
    // One that may be longer than the limit goes when nothing else counts.
    advance(Duration::from_secs(70)).await;
    bench.upstreams.play("openai.test", openai_whole());
    assert_eq!(bench.ask(with_cap("gpt", 100_000)).await.status, 200);
    // One that is longer never does, and its client is told not to try again.
    let long = json!({"model": "gpt", "messages": [{"role": "user", "content": "word ".repeat(3_000)}]});
    let refused = bench.ask(Ask::post("/v1/chat/completions", long.to_string())).await;
    assert_eq!(refused.status, 429);
    assert_eq!((refused.header("retry-after"), refused.header("x-should-retry")), ("", "false"));
}

#[tokio::test(start_paused = true)]
async fn calls_at_once_are_counted_by_end_user_until_they_end() {
    let at_once = rate(Measure::Concurrent, None, 1);
    let bench = limited(RateLimit { group_by: vec![Dimension::EndUser], ..limit(vec![at_once]) });
    bench.upstreams.play("openai.test", stream(vec![chunk("Hello"), Step::Hang]));
    let mut connection = Connection::open(&bench.lane).await;
    let mut body = connection.start(chat_stream("gpt").header("x-headgate-user", "ann")).await.into_body();
    assert!(next(&mut body).await.is_some());
    let of = |user: &str| echo().header("x-headgate-user", user.to_owned());
    assert_eq!(bench.ask(of("ann")).await.status, 429);
    assert_eq!(bench.ask(of("bob")).await.status, 200);
    drop((body, connection));
    bench.ledger.wait(3).await;
    assert_eq!(bench.ask(of("ann")).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn nodes_share_a_limit() {
    let nodes: Vec<Bench> = (0..3).map(|_| limited(limit(vec![per_minute(7)]))).collect();
    for (place, node) in (0_u32..).zip(&nodes) {
        node.gateway.set_share(Share::new(3, place));
    }
    let mut served = 0;
    for node in nodes.iter().cycle().take(30) {
        let answer = node.ask(echo()).await;
        served += u32::from(answer.status == 200);
        assert!(answer.status == 200 || answer.text().contains("one of 3"), "{}", answer.text());
    }
    assert_eq!(served, 7);
}

#[tokio::test(start_paused = true)]
async fn a_key_sees_its_rate_limits_and_how_they_stand() {
    let bench = limited(limit(vec![per_minute(5), rate(Measure::Cost, Some(Per::Day), 2_500_000_000)]));
    assert_eq!(bench.ask(echo()).await.status, 200);
    bench.event().await;
    let bearer = format!("Bearer {}", token().expose());
    let own = Ask::new(Method::GET, "/v1/headgate/limits", "").header("authorization", bearer);
    let shown = bench.ask(own).await.json()["rate_limits"].clone();
    assert_eq!(shown[0]["rate_limit"], "Fair use");
    assert_eq!((&shown[0]["limit"], &shown[0]["share"], &shown[0]["remaining"]), (&json!(5), &json!(5), &json!(4)));
    assert_eq!((&shown[1]["measure"], &shown[1]["limit"]), (&json!("cost"), &json!("2.5")));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_key_is_refused_and_its_calls_under_way_end() {
    let bench = Bench::new();
    bench.upstreams.play("openai.test", stream(vec![chunk("Hello"), chunk(" there"), Step::Hang]));
    bench.upstreams.play("openai.test", Play::Hang);
    let mut connection = Connection::open(&bench.lane).await;
    let mut body = connection.start(chat_stream("gpt")).await.into_body();
    assert!(next(&mut body).await.is_some());
    let waiting = bench.ask(chat("gpt"));
    let cutting = async {
        bench.upstreams.wait_for_calls(2).await;
        assert_eq!(bench.gateway.cut_stopped(), 0);
        bench.policy.store(Arc::new(stopped(Target::VirtualKey(KEY)).snapshot()));
        assert_eq!(bench.gateway.cut_stopped(), 2);
    };
    let (refused, ()) = tokio::join!(waiting, cutting);
    assert_eq!((refused.status.as_u16(), refused.code()), (401, "key_revoked".to_owned()));
    let mut said = Vec::new();
    while let Some(piece) = next(&mut body).await {
        said.extend(piece);
    }
    let said = String::from_utf8(said).expect("text");
    assert!(said.contains("key_revoked") && said.contains("stopped by an administrator"), "{said}");
    let events = bench.ledger.wait(2).await;
    let streamed = events.iter().find(|event| event.is_stream).expect("the stream's");
    assert_eq!((streamed.outcome, streamed.code.as_deref()), (Outcome::Rejected, Some("key_revoked")));
    assert!(streamed.usage.output > 0 && streamed.cost.as_nanos() > 0, "what was said is billed: {streamed:?}");
    assert_eq!(bench.ask(echo()).await.code(), "key_revoked");
    bench.policy.store(Arc::new(World::standard().snapshot()));
    assert_eq!(bench.ask(echo()).await.status, 200, "lifted");
}

#[tokio::test(start_paused = true)]
async fn a_stopped_user_is_refused_with_every_key_and_others_are_served() {
    let bench = Bench::new();
    bench.upstreams.play("openai.test", Play::Hang);
    let waiting = bench.ask(chat("gpt").header("x-headgate-user", "mallory"));
    let cutting = async {
        bench.upstreams.wait_for_calls(1).await;
        bench.policy.store(Arc::new(stopped(Target::EndUser("mallory".to_owned())).snapshot()));
        assert_eq!(bench.gateway.cut_stopped(), 1, "what is under way ends");
    };
    let (cut, ()) = tokio::join!(waiting, cutting);
    assert_eq!((cut.status.as_u16(), cut.code()), (403, "user_stopped".to_owned()));
    let refused = bench.ask(echo().header("x-headgate-user", "mallory")).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (403, "user_stopped".to_owned()));
    assert!(refused.text().contains("x-headgate-user"), "{}", refused.text());
    for other in ["ann", "mallory2", "Mallory"] {
        assert_eq!(bench.ask(echo().header("x-headgate-user", other)).await.status, 200, "{other}");
    }
    assert_eq!(bench.ask(echo()).await.status, 200, "who names nobody is not stopped");
    let kept = World::standard();
    bench.policy.store(Arc::new(kept.snapshot()));
    assert_eq!(bench.ask(echo().header("x-headgate-user", "mallory")).await.status, 200, "lifted");
}

#[tokio::test(start_paused = true)]
async fn workspaces_and_organizations_stop_with_all_their_keys() {
    for target in [Target::Workspace(WORKSPACE), Target::Organization] {
        let bench = Bench::of(&stopped(target));
        assert_eq!(bench.ask(messages("claude")).await.status, 401);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopped_deployment_leaves_its_place_to_others_and_ends_what_it_began() {
    let bench = Bench::new();
    let gate = Arc::new(tokio::sync::Notify::new());
    let steps = [vec![chunk("Hello"), Step::Gate(gate.clone())], openai_end()].concat();
    bench.upstreams.play("a.test", stream(steps));
    let mut connection = Connection::open(&bench.lane).await;
    let mut body = connection.start(chat_stream("chain")).await.into_body();
    assert!(next(&mut body).await.is_some());
    bench.policy.store(Arc::new(stopped(Target::Deployment(deployment_id(4))).snapshot()));
    assert_eq!(bench.gateway.cut_stopped(), 0, "what has begun there ends");
    bench.upstreams.play("b.test", openai_whole());
    assert_eq!(bench.ask(chat("chain")).await.status, 200);
    assert_eq!(bench.upstreams.hosts(), ["a.test", "b.test"]);
    gate.notify_one();
    while next(&mut body).await.is_some() {}
    assert!(bench.ledger.wait(2).await.iter().all(|event| event.outcome == Outcome::Success));

    let mut world = stopped(Target::Provider("openai".to_owned()));
    if let Some(Content::KillSwitch(switch)) = world.contents.last_mut() {
        switch.is_cutting = true;
    }
    bench.upstreams.play("openai.test", Play::Hang);
    let cutting = async {
        bench.upstreams.wait_for_calls(3).await;
        bench.policy.store(Arc::new(world.snapshot()));
        assert_eq!(bench.gateway.cut_stopped(), 1);
    };
    let (refused, ()) = tokio::join!(bench.ask(chat("gpt")), cutting);
    assert_eq!(refused.code(), "no_healthy_target");
    assert_eq!(bench.ask(chat("gpt")).await.code(), "no_healthy_target");
}
