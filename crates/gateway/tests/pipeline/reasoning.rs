//! Reasoning that only its maker reads: who is asked first, what is dropped, and what is not sent anywhere else.

use domain::route::{Dropped, Node, Rules, Share};
use domain::usage::SkipReason;
use serde_json::{Value, json};

use crate::harness::Bench;
use crate::harness::client::{Ask, responses};
use crate::harness::policy::{World, deployment_id};
use crate::harness::upstream::{anthropic_whole, json_answer, openai_error, openai_whole, responses_whole};

fn leaf(n: u128) -> Node {
    Node::Deployment { deployment_id: deployment_id(n) }
}

/// `one` (OpenAI's chat) before `two` (Anthropic) under the route `m`.
fn bench(rules: Rules) -> Bench {
    let mut world = World::empty();
    world.deployment(1, "one", "openai", "http://one.test/v1");
    world.deployment(2, "two", "anthropic", "http://two.test");
    world.tree(1, "m", Node::Ordered { children: vec![leaf(1), leaf(2)] }, rules);
    Bench::of(&world)
}

/// A conversation in Anthropic's dialect with thinking that Anthropic signed.
fn thoughtful(model: &str) -> Ask {
    let body = json!({"model": model, "max_tokens": 4096, "thinking": {"type": "enabled", "budget_tokens": 1024}, "messages": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "EqQB"}, {"type": "text", "text": "Yes?"}]},
        {"role": "user", "content": "Go on"}]});
    Ask::post("/v1/messages", body.to_string())
}

#[tokio::test(start_paused = true)]
async fn whoever_signed_the_thinking_goes_first_and_others_get_it_without() {
    let bench = bench(Rules::default());
    bench.upstreams.play("two.test", anthropic_whole());
    assert_eq!(bench.ask(thoughtful("m")).await.status, 200);
    assert_eq!(bench.upstreams.hosts(), ["two.test"]);

    bench.upstreams.play("two.test", openai_error(500, "down"));
    bench.upstreams.play("one.test", openai_whole());
    let answer = bench.ask(thoughtful("m")).await;
    assert_eq!((answer.status.as_u16(), bench.upstreams.hosts()[2].as_str()), (200, "one.test"));
    assert!(answer.header("x-headgate-dropped").contains("reasoning"), "{:?}", answer.headers);
    let sent = String::from_utf8_lossy(&bench.upstreams.calls()[2].body).into_owned();
    assert!(!sent.contains("EqQB") && sent.contains("Yes?"), "{sent}");
}

#[tokio::test(start_paused = true)]
async fn where_nothing_may_be_dropped_nobody_else_is_asked() {
    let bench = bench(Rules { dropped: Dropped::Refused, ..Rules::default() });
    bench.upstreams.play("two.test", openai_error(503, "down"));
    bench.upstreams.play("two.test", anthropic_whole());
    assert_eq!(bench.ask(thoughtful("m")).await.status, 200);
    assert_eq!(bench.upstreams.hosts(), ["two.test", "two.test"]);
    let event = bench.event().await;
    let skipped: Vec<_> =
        event.routing.iter().flat_map(|it| &it.skipped).map(|it| (it.deployment_id, it.reason)).collect();
    assert_eq!(skipped, [(deployment_id(1), SkipReason::ForeignReasoning)]);
}

fn item(id: &str, sealed: &str) -> Value {
    json!({"type": "reasoning", "id": id, "summary": [], "encrypted_content": sealed})
}

/// Two accounts at OpenAI, half of the calls each.
fn accounts() -> Bench {
    let mut world = World::empty();
    world.deployment(1, "one", "openai", "http://one.test/v1");
    world.deployment(2, "two", "openai", "http://two.test/v1");
    let children = vec![Share { weight: 1, node: leaf(1) }, Share { weight: 1, node: leaf(2) }];
    world.tree(1, "m", Node::Weighted { children }, Rules::default());
    Bench::of(&world)
}

#[tokio::test(start_paused = true)]
async fn a_conversation_with_encrypted_reasoning_stays_with_the_account_that_made_it() {
    let bench = accounts();
    let mut seen = Vec::new();
    for n in 0..12 {
        for host in ["one.test", "two.test"] {
            bench.upstreams.forget(host);
            bench.upstreams.play(host, json_answer(200, &responses_whole()));
            bench.upstreams.play(host, json_answer(200, &responses_whole()));
        }
        let first = json!({"role": "user", "content": format!("conversation {n}")});
        let begun = json!({"input": [first], "store": false, "include": ["reasoning.encrypted_content"]});
        assert_eq!(bench.ask(responses("m", &begun)).await.status, 200);
        let more =
            json!({"input": [first, item("rs_1", "gAAAAabc"), {"role": "user", "content": "Go on"}], "store": false});
        assert_eq!(bench.ask(responses("m", &more)).await.status, 200);
        let hosts = bench.upstreams.hosts();
        let [.., before, after] = &hosts[..] else { panic!("two calls") };
        assert_eq!(before, after, "conversation {n}");
        seen.push(after.clone());
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 2, "conversations are shared out");
}

#[tokio::test(start_paused = true)]
async fn who_cannot_read_the_reasoning_is_not_the_last_to_be_asked() {
    let refused = json!({"error": {"message": "The encrypted content gAAA... could not be verified.", "type": "invalid_request_error",
        "param": null, "code": "invalid_encrypted_content"}});
    let bench = accounts();
    let more = json!({"input": [{"role": "user", "content": "Hi"}, item("rs_1", "gAAAAabc"), {"role": "user", "content": "Go on"}],
        "store": false});
    for host in ["one.test", "two.test"] {
        bench.upstreams.play(host, json_answer(400, &refused));
        bench.upstreams.play(host, json_answer(200, &responses_whole()));
    }
    let answer = bench.ask(responses("m", &more)).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (400, "invalid_encrypted_content".to_owned()));
    let mut hosts = bench.upstreams.hosts();
    hosts.sort_unstable();
    assert_eq!(hosts, ["one.test", "two.test"], "each was asked once");
    assert_eq!(bench.ask(responses("m", &more)).await.status, 200, "nothing is held against them");
}
