//! Budgets: nothing is sent without its hold, everything that was sent is charged once, and refusals say what to do.

pub(crate) mod unread;

use std::sync::Arc;
use std::time::Duration;

use domain::budget::{AccountKey, Dimension, Enforcement, Limit, Measure, Subject, WhenUnreachable, Window};
use domain::route::{Case, Node, Rules, Test};
use domain::usage::Outcome;
use domain::{BudgetId, ModelPattern};
use http::Method;
use policy::Content;
use policy::resource::Budget;
use purse::testing::{AtOnce, Lender};
use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::Bench;
use crate::harness::client::{Ask, Connection, chat, chat_stream, messages, next};
use crate::harness::policy::{ORG, World, deployment_id, token};
use crate::harness::upstream::{Play, Step, chunk, openai_end, openai_error, openai_whole, stream};

const BUDGET: BudgetId = BudgetId::from_uuid(900);
/// What a call of the scripted upstreams costs, in nano-dollars: ten tokens at $1 and five at $2 a million.
pub(crate) const COST: u64 = 20_000;

pub(crate) fn budget(measure: Measure) -> Budget {
    Budget {
        id: BUDGET,
        workspace: None,
        name: "Research".to_owned(),
        measure,
        enforcement: Enforcement::Hard,
        when_unreachable: WhenUnreachable::Refuse,
        subject: Subject::default(),
        group_by: Vec::new(),
        limits: vec![Limit { window: Window::Month, amount: 0 }],
    }
}

pub(crate) fn account(group: &str) -> AccountKey {
    AccountKey { organization_id: ORG, budget_id: BUDGET, window: Window::Month, group_key: Arc::from(group) }
}

/// A node with one budget, and who lends to it.
pub(crate) struct Lent {
    pub(crate) bench: Bench,
    pub(crate) lender: Lender,
    _driver: JoinSet<()>,
}

impl Lent {
    pub(crate) fn new(budget: Budget, limit: u64) -> Self {
        let mut world = World::standard();
        world.contents.push(Content::Budget(budget));
        Self::of(&world, limit)
    }

    pub(crate) fn of(world: &World, limit: u64) -> Self {
        let lender = Lender::default();
        lender.with(|ledger| ledger.set(account(""), limit));
        Self::at(world, lender)
    }

    /// Another node beside one, of the same lender.
    pub(crate) fn beside(&self, world: &World, node: usize) -> Self {
        Self::at(world, self.lender.end(node))
    }

    fn at(world: &World, lender: Lender) -> Self {
        let (bench, mut driver) = (Bench::of(world), JoinSet::new());
        let (purse, source) = (bench.purse.clone(), Arc::new(lender.clone()));
        driver.spawn(async move { purse.run(source, Arc::new(AtOnce)).await });
        Self { bench, lender, _driver: driver }
    }

    /// Books what was charged, as the control plane does, and waits until nothing is lent any more.
    pub(crate) async fn posted(&self, n_events: usize) -> u64 {
        for event in self.bench.ledger.wait(n_events).await {
            self.lender.with(|ledger| ledger.book(&event.charges));
        }
        let stands = || self.lender.with(|ledger| ledger.stands(&account("")));
        let mut looks = tokio::time::interval(Duration::from_millis(100));
        while stands().1 > 0 {
            looks.tick().await;
        }
        stands().0
    }
}

pub(crate) fn own() -> Ask {
    let bearer = format!("Bearer {}", token().expose());
    Ask::new(Method::GET, "/v1/headgate/limits", "").header("authorization", bearer)
}

/// A call that may cost little: its answer has a bound.
pub(crate) fn short(model: &str) -> Ask {
    let body = json!({"model": model, "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}]});
    Ask::post("/v1/chat/completions", body.to_string())
}

#[tokio::test(start_paused = true)]
async fn a_route_leads_elsewhere_when_little_of_a_budget_is_left() {
    let leaf = |n| Node::Deployment { deployment_id: deployment_id(n) };
    for budget_id in [None, Some(BUDGET)] {
        let mut world = World::empty();
        world.deployment(1, "large", "openai", "http://large.test/v1");
        world.deployment(2, "small", "openai", "http://small.test/v1");
        let when = vec![Test::BudgetLeft { budget_id, at_least: None, at_most: Some(50) }];
        let cases = vec![Case { when, node: leaf(2) }];
        let tree = Node::Conditional { cases, otherwise: Box::new(leaf(1)) };
        world.tree(1, "smart", tree, Rules::default());
        world.contents.push(Content::Budget(budget(Measure::Requests)));
        let lent = Lent::of(&world, 4);
        for _ in 0..4 {
            for host in ["large.test", "small.test"] {
                lent.bench.upstreams.play(host, openai_whole());
            }
            assert_eq!(lent.bench.ask(short("smart")).await.status, 200);
        }
        let hosts = lent.bench.upstreams.hosts();
        assert_eq!(hosts, ["large.test", "large.test", "small.test", "small.test"], "{budget_id:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_may_ask_for_a_field_of_the_body() {
    let leaf = |n| Node::Deployment { deployment_id: deployment_id(n) };
    let mut world = World::empty();
    world.deployment(1, "usual", "openai", "http://usual.test/v1");
    world.deployment(2, "thinker", "openai", "http://thinker.test/v1");
    let is = vec!["high".to_owned()];
    let when = vec![Test::Parameter { name: "reasoning_effort".to_owned(), is, at_least: None, at_most: None }];
    let cases = vec![Case { when, node: leaf(2) }];
    world.tree(1, "smart", Node::Conditional { cases, otherwise: Box::new(leaf(1)) }, Rules::default());
    let bench = Bench::of(&world);
    for effort in ["high", "low"] {
        for host in ["usual.test", "thinker.test"] {
            bench.upstreams.play(host, openai_whole());
        }
        let body =
            json!({"model": "smart", "reasoning_effort": effort, "messages": [{"role": "user", "content": "Hi"}]});
        assert_eq!(bench.ask(Ask::post("/v1/chat/completions", body.to_string())).await.status, 200);
    }
    assert_eq!(bench.upstreams.hosts(), ["thinker.test", "usual.test"]);
}

#[tokio::test(start_paused = true)]
async fn as_many_calls_are_served_as_there_is_money_for_and_the_next_is_told_why_not() {
    let lent = Lent::new(budget(Measure::Requests), 3);
    for n in 0..5 {
        let answer = lent.bench.ask(short("echo/echo-1")).await;
        assert_eq!(answer.status, if n < 3 { 200 } else { 402 }, "{n}: {}", answer.text());
        if n >= 3 {
            assert_eq!(answer.code(), "budget_exhausted");
            let said = answer.json()["error"]["message"].to_string();
            for part in ["Research", "month", "0 requests left", "this call may take 1 requests"] {
                assert!(said.contains(part), "{said}");
            }
        }
    }
    assert_eq!(lent.posted(5).await, 3);
    let events = lent.bench.ledger.wait(5).await;
    assert!(events[4].charges.is_empty() && events[4].attempts.is_empty());
    assert_eq!((events[4].outcome, events[4].status), (Outcome::Rejected, 402));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_choices_are_held_as_a_thousand() {
    // Enough for a hundred answers of ten tokens.
    let lent = Lent::new(budget(Measure::Cost), 100 * COST);
    lent.bench.upstreams.play("openai.test", openai_whole());
    let many = |n: u64| {
        let body = json!({"model": "gpt", "n": n, "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}]});
        Ask::post("/v1/chat/completions", body.to_string())
    };
    for n in [1_000, u64::MAX] {
        let refused = lent.bench.ask(many(n)).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (402, "budget_exhausted"), "{}", refused.text());
    }
    assert_eq!(lent.bench.upstreams.n_dials(), 0, "nothing was sent");
    assert_eq!(lent.bench.ask(many(10)).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_said_in_the_dialect_of_the_client() {
    let lent = Lent::new(budget(Measure::Requests), 0);
    let answer = lent.bench.ask(messages("claude")).await;
    assert_eq!((answer.status.as_u16(), answer.json()["type"].as_str()), (402, Some("error")));
    assert!(answer.text().contains("Research"));
}

#[tokio::test(start_paused = true)]
async fn what_was_held_beyond_the_cost_goes_back() {
    let lent = Lent::new(budget(Measure::Cost), 1_000_000_000);
    lent.bench.upstreams.play("openai.test", openai_whole());
    let answer = lent.bench.ask(short("gpt")).await;
    assert_eq!(answer.status, 200);
    let left: f64 = answer.header("x-headgate-budget-remaining-usd").parse().expect("an amount");
    assert!((0.9..1.0).contains(&left), "{left}");
    let opened = lent.bench.ledger.opened.lock()[0].clone();
    assert!(opened.holds[0].amount > COST, "the most it may cost is noted before it is sent: {opened:?}");
    assert!(opened.holds[0].lease_id.is_some());
    let event = lent.bench.event().await;
    assert_eq!(event.charges.iter().map(|charge| charge.amount).collect::<Vec<_>>(), [COST]);
    assert_eq!(lent.posted(1).await, COST);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_might_go_beyond_the_budget_is_not_sent() {
    // Enough for what it would cost, and not for what it may.
    let lent = Lent::new(budget(Measure::Cost), 10 * COST);
    let answer = lent.bench.ask(chat("gpt")).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (402, "budget_exhausted".to_owned()));
    assert!(lent.bench.upstreams.hosts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn failed_attempts_and_the_one_that_answers_are_one_charge() {
    let lent = Lent::new(budget(Measure::Cost), 1_000_000_000);
    lent.bench.upstreams.play("a.test", openai_error(500, "no luck"));
    lent.bench.upstreams.play("b.test", openai_whole());
    assert_eq!(lent.bench.ask(short("chain")).await.status, 200);
    assert_eq!(lent.posted(1).await, COST);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_is_charged_what_it_was_told() {
    let lent = Lent::new(budget(Measure::Cost), 1_000_000_000);
    lent.bench.upstreams.play("openai.test", stream(vec![chunk("Hello"), chunk(" there"), Step::Hang]));
    let mut connection = Connection::open(&lent.bench.lane).await;
    let mut body = connection.start(chat_stream("gpt")).await.into_body();
    assert!(next(&mut body).await.is_some());
    drop((body, connection));
    let event = lent.bench.event().await;
    assert_eq!(event.charges[0].amount, u64::try_from(event.cost.as_nanos()).expect("a cost"));
    assert!(event.charges[0].amount > 0);
    assert_eq!(lent.posted(1).await, event.charges[0].amount);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_money_is_asked_for_leaves_nothing_behind() {
    let lent = Lent::new(budget(Measure::Requests), 5);
    lent.lender.set_away(true);
    let mut connection = Connection::open(&lent.bench.lane).await;
    let answer = tokio::time::timeout(Duration::from_secs(1), connection.start(short("gpt"))).await;
    assert!(answer.is_err(), "there is no answer");
    drop(connection);
    lent.lender.set_away(false);
    assert_eq!(lent.posted(1).await, 0);
    assert!(lent.bench.upstreams.hosts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_the_control_plane_calls_are_refused_or_served_as_the_budget_says() {
    let lent = Lent::new(budget(Measure::Requests), 5);
    lent.lender.set_away(true);
    let answer = lent.bench.ask(short("echo/echo-1")).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (503, "policy_stale".to_owned()));
    assert!(answer.header("retry-after").parse::<u32>().is_ok() && answer.text().contains("Research"));

    let open = Budget { when_unreachable: WhenUnreachable::Allow, ..budget(Measure::Requests) };
    let lent = Lent::new(open, 5);
    lent.lender.set_away(true);
    assert_eq!(lent.bench.ask(short("echo/echo-1")).await.status, 200);
    let charge = lent.bench.event().await.charges[0].clone();
    assert_eq!((charge.lease_id, charge.amount), (None, 1));
}

#[tokio::test(start_paused = true)]
async fn a_soft_budget_counts_and_refuses_nothing() {
    let soft = Budget { enforcement: Enforcement::Soft, ..budget(Measure::Tokens) };
    let lent = Lent::new(soft, 0);
    lent.bench.upstreams.play("openai.test", openai_whole());
    assert_eq!(lent.bench.ask(chat("gpt")).await.status, 200);
    let charge = lent.bench.event().await.charges[0].clone();
    assert_eq!((charge.lease_id, charge.amount), (None, 15));
    assert_eq!(lent.lender.with(|ledger| ledger.n_words()), 0);
}

#[tokio::test(start_paused = true)]
async fn groups_have_accounts_of_their_own_and_calls_outside_the_subject_none() {
    let only = Subject { models: vec![ModelPattern::parse("echo/*").expect("a pattern")], ..Subject::default() };
    let grouped = Budget { subject: only, group_by: vec![Dimension::EndUser], ..budget(Measure::Requests) };
    let lent = Lent::new(grouped, 0);
    lent.lender.with(|ledger| ledger.set(account("ann"), 1));
    let of = |user: &str| short("echo/echo-1").header("x-headgate-user", user.to_owned());
    assert_eq!(lent.bench.ask(of("ann")).await.status, 200);
    assert_eq!(lent.bench.ask(of("ann")).await.status, 402);
    // An account that the lender does not know is nobody's: in truth it makes one.
    lent.bench.upstreams.play("openai.test", openai_whole());
    assert_eq!(lent.bench.ask(short("gpt")).await.status, 200);
    assert!(lent.bench.ledger.wait(3).await[2].charges.is_empty());
}

#[tokio::test(start_paused = true)]
async fn answers_given_again_hold_and_cost_nothing() {
    let mut world = World::standard();
    world.route(50, "kept", &[1], 1, domain::route::Timeouts::default());
    for content in &mut world.contents {
        if let Content::Route(route) = content
            && route.name.as_str() == "kept"
        {
            route.rules.cache = Some(domain::route::Cache::default());
        }
    }
    world.contents.push(Content::Budget(budget(Measure::Requests)));
    let lent = Lent::of(&world, 1);
    lent.bench.upstreams.play("openai.test", openai_whole());
    for _ in 0..3 {
        assert_eq!(lent.bench.ask(short("kept")).await.status, 200);
    }
    assert_eq!(lent.posted(3).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_charged_when_it_ends() {
    let lent = Lent::new(budget(Measure::Tokens), 1_000_000);
    lent.bench.upstreams.play("openai.test", stream([vec![chunk("Hello")], openai_end()].concat()));
    assert_eq!(lent.bench.ask(chat_stream("gpt")).await.status, 200);
    assert_eq!(lent.posted(1).await, 15);
}

#[tokio::test(start_paused = true)]
async fn a_model_without_a_price_is_not_served_on_a_budget_in_money() {
    let mut world = World::standard();
    world.contents.retain(|content| !matches!(content, Content::Price(price) if price.provider == "openai"));
    world.contents.push(Content::Budget(budget(Measure::Cost)));
    let lent = Lent::of(&world, 1_000_000_000);
    let answer = lent.bench.ask(short("gpt")).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (403, "model_not_allowed".to_owned()));
    assert!(answer.text().contains("has no price"), "{}", answer.text());
}

#[tokio::test(start_paused = true)]
async fn a_hedged_call_holds_for_both_and_is_charged_for_what_answered() {
    let mut world = World::standard();
    for content in &mut world.contents {
        if let Content::Route(route) = content {
            route.rules.hedge = Some(domain::route::Hedge { after_ms: 100 });
        }
    }
    world.contents.push(Content::Budget(budget(Measure::Cost)));
    let lent = Lent::of(&world, 1_000_000_000);
    lent.bench.upstreams.play("a.test", Play::Hang);
    lent.bench.upstreams.play("b.test", openai_whole());
    assert_eq!(lent.bench.ask(short("chain")).await.status, 200);
    let plain = Lent::new(budget(Measure::Cost), 1_000_000_000);
    plain.bench.upstreams.play("a.test", openai_whole());
    assert_eq!(plain.bench.ask(short("chain")).await.status, 200);
    let held = |lent: &Lent| lent.bench.ledger.opened.lock()[0].holds[0].amount;
    assert_eq!(held(&lent), 2 * held(&plain));
    assert_eq!(lent.posted(1).await, COST);
}

#[tokio::test(start_paused = true)]
async fn a_key_may_ask_what_its_budgets_have_left() {
    let lent = Lent::new(budget(Measure::Requests), 5);
    // The node has not heard of it yet, and asks.
    let said = lent.bench.ask(own()).await.json();
    let window = &said["windows"][0];
    assert_eq!((window["budget"].as_str(), window["window"].as_str()), (Some("Research"), Some("month")));
    assert_eq!((window["measure"].as_str(), window["is_hard"].as_bool()), (Some("requests"), Some(true)));
    assert_eq!((&window["limit"], &window["used"], &window["remaining"]), (&json!(5), &json!(0), &json!(5)), "{said}");
    assert_eq!(lent.bench.ask(short("echo/echo-1")).await.status, 200);
    assert_eq!(lent.posted(1).await, 1, "asking costs nothing");
    let none = lent.bench.ask(Ask::new(Method::GET, "/v1/headgate/limits", "")).await;
    assert_eq!(none.status, 401);
}

#[tokio::test(start_paused = true)]
async fn what_calls_hold_is_shown_apart_from_what_they_spent() {
    let lent = Lent::new(budget(Measure::Requests), 5);
    lent.bench.upstreams.play("openai.test", stream(vec![chunk("Hello"), Step::Hang]));
    let mut connection = Connection::open(&lent.bench.lane).await;
    let mut body = connection.start(chat_stream("gpt")).await.into_body();
    assert!(next(&mut body).await.is_some());
    let window = lent.bench.ask(own()).await.json()["windows"][0].clone();
    assert_eq!((&window["used"], &window["held"], &window["remaining"]), (&json!(0), &json!(1), &json!(4)), "{window}");
}
