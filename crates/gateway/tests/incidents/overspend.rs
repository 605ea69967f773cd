//! Money that was spent beyond a budget.

use domain::BudgetId;
use domain::budget::{Dimension, Measure};
use domain::usage::UsageEvent;
use futures_util::future::join_all;
use policy::Content;
use policy::resource::{Budget, RateLimit};

use super::{count_served, limit, per_minute};
use crate::harness::Bench;
use crate::harness::client::{Ask, chat, gemini, messages, responses};
use crate::harness::policy::{KEY, World};
use crate::harness::upstream::{openai_error, openai_whole};
use crate::pipeline::budgets::{COST, Lent, account, budget, own, short, unread};

fn grouped(dimension: Dimension, measure: Measure) -> Budget {
    Budget { group_by: vec![dimension], ..budget(measure) }
}

fn charged(events: &[UsageEvent]) -> u64 {
    events.iter().flat_map(|event| &event.charges).map(|charge| charge.amount).sum()
}

/// Asks `n` times at once and returns how many were answered; all others were told that the budget is used up.
async fn served_at_once(bench: &Bench, n: usize, ask: impl Fn() -> Ask) -> usize {
    for _ in 0..n {
        bench.upstreams.play("openai.test", openai_whole());
    }
    let answers = join_all((0..n).map(|_| bench.ask(ask()))).await;
    let served = count_served(&answers);
    let refused = answers.iter().filter(|answer| answer.status == 402 && answer.code() == "budget_exhausted").count();
    assert_eq!(served + refused, n);
    assert_eq!(bench.upstreams.calls().len(), served, "what is refused is not sent");
    served
}

#[tokio::test(start_paused = true)]
async fn litellm_34732_turns_of_a_session_at_once_cannot_all_pass_its_budget() {
    let lent = Lent::new(grouped(Dimension::Metadata("session".into()), Measure::Requests), 0);
    lent.lender.with(|ledger| ledger.set(account("s1"), 3));
    let turn = || short("gpt").header("x-headgate-metadata", r#"{"session":"s1"}"#);
    assert_eq!(served_at_once(&lent.bench, 40, turn).await, 3);
}

#[tokio::test(start_paused = true)]
async fn litellm_40095_the_first_calls_of_an_end_user_nobody_knew_are_held_to_the_budget() {
    let lent = Lent::new(grouped(Dimension::EndUser, Measure::Requests), 0);
    lent.lender.with(|ledger| ledger.set(account("new"), 1));
    assert_eq!(served_at_once(&lent.bench, 8, || short("gpt").header("x-headgate-user", "new")).await, 1);
}

#[tokio::test(start_paused = true)]
async fn litellm_26672_a_key_that_has_spent_its_budget_sends_nothing_more() {
    let limit = 200 * COST;
    let lent = Lent::new(grouped(Dimension::VirtualKey, Measure::Cost), 0);
    lent.lender.with(|ledger| ledger.set(account(&KEY.to_string()), limit));
    let served = served_at_once(&lent.bench, 300, || short("gpt")).await;
    assert!((50..=200).contains(&served), "{served}");
    let events = lent.bench.ledger.wait(300).await;
    assert!(charged(&events) <= limit);
    assert_eq!(charged(&events), served as u64 * COST);
}

#[tokio::test(start_paused = true)]
async fn litellm_28020_a_budget_of_nothing_lets_nothing_through_and_one_that_is_spent_exactly_is_spent() {
    let nothing = Lent::new(budget(Measure::Requests), 0);
    assert_eq!(served_at_once(&nothing.bench, 1, || short("gpt")).await, 0);
    let exact = Lent::new(budget(Measure::Requests), 2);
    for expected in [200, 200, 402] {
        exact.bench.upstreams.play("openai.test", openai_whole());
        assert_eq!(exact.bench.ask(short("gpt")).await.status, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn litellm_11962_every_budget_that_binds_a_call_counts_and_the_tightest_decides() {
    let mut world = World::standard();
    let of_team = budget(Measure::Requests);
    let name = "Ann".to_owned();
    let of_user = Budget { id: BudgetId::from_uuid(901), name, ..grouped(Dimension::EndUser, Measure::Requests) };
    world.contents.extend([Content::Budget(of_team), Content::Budget(of_user)]);
    let lent = Lent::of(&world, 100);
    let ann = domain::budget::AccountKey { budget_id: BudgetId::from_uuid(901), ..account("ann") };
    lent.lender.with(|ledger| ledger.set(ann, 2));
    assert_eq!(served_at_once(&lent.bench, 10, || short("gpt").header("x-headgate-user", "ann")).await, 2);
    let refused = lent.bench.ask(short("gpt").header("x-headgate-user", "ann")).await;
    assert!(refused.text().contains("Ann"), "{}", refused.text());
}

#[tokio::test(start_paused = true)]
async fn litellm_27381_a_limit_of_the_organization_binds_whatever_is_called() {
    let mut world = unread::world(budget(Measure::Requests));
    world.contents.retain(|content| !matches!(content, Content::Budget(_)));
    world.contents.push(Content::RateLimit(limit(vec![per_minute(1)])));
    let bench = Bench::of(&world);
    assert_eq!(bench.ask(chat("echo/echo-1")).await.status, 200);
    let embeddings = Ask::post("/v1/embeddings", r#"{"model":"echo/echo-embed","input":"Hi"}"#);
    let others = [messages("claude"), responses("gpt", &serde_json::json!({})), embeddings, unread::chat()];
    for ask in others.into_iter().chain([gemini("gemini", "generateContent")]) {
        let path = ask.path().to_owned();
        assert_eq!(bench.ask(ask).await.status, 429, "{path}");
    }
    assert!(bench.upstreams.hosts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn bifrost_3547_nodes_have_one_budget_between_them_and_not_one_each() {
    let mut world = World::standard();
    world.contents.push(Content::Budget(budget(Measure::Requests)));
    let first = Lent::of(&world, 40);
    let nodes = [first.beside(&world, 1), first.beside(&world, 2), first];
    let calls = nodes.iter().cycle().take(120).map(|node| node.bench.ask(short("echo/echo-1")));
    assert_eq!(count_served(&join_all(calls).await), 40, "neither more nor fewer");
}

#[tokio::test(start_paused = true)]
async fn bifrost_2873_what_is_passed_through_counts_like_any_call() {
    let lent = Lent::of(&unread::world(budget(Measure::Requests)), 1);
    assert_eq!(served_at_once(&lent.bench, 5, unread::chat).await, 1);
}

#[tokio::test(start_paused = true)]
async fn langwatch_421_a_budget_holds_while_nothing_of_the_usage_has_been_booked() {
    let lent = Lent::new(budget(Measure::Requests), 3);
    let mut served = 0;
    for _ in 0..110 {
        served += u32::from(lent.bench.ask(short("echo/echo-1")).await.status == 200);
    }
    assert_eq!(served, 3);
    assert_eq!(lent.lender.with(|ledger| ledger.stands(&account(""))).0, 0, "nothing was booked all the while");
}

#[tokio::test(start_paused = true)]
async fn envoy_2460_each_tenant_is_held_to_its_limit_and_not_only_counted() {
    let by_tenant = RateLimit { group_by: vec![Dimension::Metadata("tenant".into())], ..limit(vec![per_minute(2)]) };
    let mut world = World::standard();
    world.contents.push(Content::RateLimit(by_tenant));
    let bench = Bench::of(&world);
    for tenant in [r#"{"tenant":"a"}"#, r#"{"tenant":"b"}"#] {
        for expected in [200, 200, 429, 429, 429] {
            let answer = bench.ask(chat("echo/echo-1").header("x-headgate-metadata", tenant)).await;
            assert_eq!(answer.status, expected, "{tenant}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn kong_ai_rate_limiting_the_call_that_would_cross_the_limit_is_not_sent() {
    let lent = Lent::new(budget(Measure::Tokens), 3_000);
    let served = served_at_once(&lent.bench, 300, || short("gpt")).await;
    assert!((50..=200).contains(&served), "{served}");
    assert!(charged(&lent.bench.ledger.wait(300).await) <= 3_000);
}

#[tokio::test(start_paused = true)]
async fn kong_ai_rate_limiting_who_answered_is_charged_and_not_who_was_asked_for() {
    let lent = Lent::new(grouped(Dimension::Provider, Measure::Cost), 0);
    lent.lender.with(|ledger| {
        ledger.set(account("openai"), 1_000_000_000);
        ledger.set(account("openai_compatible"), 1_000_000_000);
    });
    lent.bench.upstreams.play("a.test", openai_error(500, "no luck"));
    lent.bench.upstreams.play("b.test", openai_error(500, "no luck"));
    lent.bench.upstreams.play("c.test", openai_whole());
    assert_eq!(lent.bench.ask(short("chain")).await.status, 200);
    let event = lent.bench.event().await;
    let took: Vec<_> = event.charges.iter().filter(|it| it.amount > 0).map(|it| (&*it.group_key, it.amount)).collect();
    assert_eq!(took, [("openai_compatible", COST)]);
}

#[tokio::test(start_paused = true)]
async fn wso2_2936_a_limit_in_money_adds_up_until_it_refuses() {
    let cost = domain::rate_limit::Rate {
        measure: domain::rate_limit::Measure::Cost,
        per: Some(domain::rate_limit::Per::Hour),
        amount: 10 * COST,
    };
    let mut world = World::standard();
    world.contents.push(Content::RateLimit(limit(vec![cost])));
    let bench = Bench::of(&world);
    let mut served = 0;
    for n in 0..30 {
        bench.upstreams.play("openai.test", openai_whole());
        served += usize::from(bench.ask(short("gpt")).await.status == 200);
        bench.ledger.wait(n + 1).await;
    }
    assert!((5..=10).contains(&served), "{served}");
}

#[tokio::test(start_paused = true)]
async fn bifrost_5770_a_route_leads_elsewhere_at_its_percent_and_not_before() {
    use domain::route::{Case, Node, Rules, Test};
    let leaf = |n| Node::Deployment { deployment_id: crate::harness::policy::deployment_id(n) };
    let mut world = World::empty();
    world.deployment(1, "large", "openai", "http://large.test/v1");
    world.deployment(2, "small", "openai", "http://small.test/v1");
    let when = vec![Test::BudgetLeft { budget_id: None, at_least: None, at_most: Some(1) }];
    let cases = vec![Case { when, node: leaf(2) }];
    world.tree(1, "smart", Node::Conditional { cases, otherwise: Box::new(leaf(1)) }, Rules::default());
    world.contents.push(Content::Budget(budget(Measure::Requests)));
    let lent = Lent::of(&world, 200);
    for _ in 0..200 {
        for host in ["large.test", "small.test"] {
            lent.bench.upstreams.play(host, openai_whole());
        }
        assert_eq!(lent.bench.ask(short("smart")).await.status, 200);
    }
    let hosts = lent.bench.upstreams.hosts();
    let first_small = hosts.iter().position(|host| host == "small.test").expect("led elsewhere in the end");
    assert!((197..200).contains(&first_small), "{first_small} of 200");
}

#[tokio::test(start_paused = true)]
async fn gpt_mobile_284_a_refusal_says_what_the_call_may_take_and_a_shorter_one_goes() {
    let lent = Lent::new(budget(Measure::Cost), 3_000_000);
    let refused = lent.bench.ask(chat("gpt")).await;
    assert_eq!(refused.status, 402);
    for part in ["Research", "this call may take", "shorter answer"] {
        assert!(refused.text().contains(part), "{part}: {}", refused.text());
    }
    assert_eq!(served_at_once(&lent.bench, 1, || short("gpt")).await, 1);
    let shown = lent.bench.ask(own()).await.json();
    assert_eq!(shown["windows"][0]["budget"], "Research");
}
