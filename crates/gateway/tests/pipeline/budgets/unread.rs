//! Calls whose request nobody reads: what their target can take at the most is held, and what nobody can bound is refused.

use domain::budget::{Enforcement, Measure};
use http::Method;
use policy::Content;
use policy::resource::Budget;
use serde_json::json;

use super::{COST, Lent, budget};
use crate::harness::client::Ask;
use crate::harness::policy::{World, token};
use crate::harness::upstream::{OPENAI_WHOLE, raw_answer};

/// `gpt` is a model of the catalog here, and its credential may sign calls of the vendor's own API.
pub(crate) fn world(budget: Budget) -> World {
    let mut world = World::standard();
    for content in &mut world.contents {
        match content {
            Content::Credential(credential) => credential.allows_passthrough = true,
            Content::Deployment(deployment) if deployment.upstream_model == "up-1" => {
                "gpt-5".clone_into(&mut deployment.upstream_model);
            }
            Content::Price(price) if price.upstream_model == "up-1" => "gpt-5".clone_into(&mut price.upstream_model),
            _ => {}
        }
    }
    world.contents.push(Content::Budget(budget));
    world
}

fn pass(method: Method, path: &str, body: &str) -> Ask {
    Ask::new(method, &format!("/passthrough/openai/v1/{path}"), body.to_owned())
        .header("authorization", format!("Bearer {}", token().expose()))
        .header("content-type", "application/json")
}

pub(crate) fn chat() -> Ask {
    let body = json!({"model": "gpt-5", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}]});
    pass(Method::POST, "chat/completions", &body.to_string())
}

#[tokio::test(start_paused = true)]
async fn a_call_of_a_known_form_holds_the_models_window_and_is_charged_what_it_took() {
    let lent = Lent::of(&world(budget(Measure::Cost)), 10_000_000_000);
    lent.bench.upstreams.play("openai.test", raw_answer(200, "application/json", OPENAI_WHOLE));
    assert_eq!(lent.bench.ask(chat()).await.status, 200);
    let held = lent.bench.ledger.opened.lock()[0].holds[0].amount;
    assert!(held > 100_000_000, "a hundred thousand tokens at a dollar a million: {held}");
    assert_eq!(lent.posted(1).await, COST);

    let poor = Lent::of(&world(budget(Measure::Cost)), 10 * COST);
    let answer = poor.bench.ask(chat()).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (402, "budget_exhausted".to_owned()));
    assert!(answer.text().contains("this call may take"), "{}", answer.text());
    assert!(poor.bench.upstreams.hosts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_count_takes_all_that_was_held() {
    let lent = Lent::of(&world(budget(Measure::Tokens)), 10_000_000);
    lent.bench.upstreams.play("openai.test", raw_answer(200, "text/plain", "nobody can count this"));
    assert_eq!(lent.bench.ask(chat()).await.status, 200);
    let held = lent.bench.ledger.opened.lock()[0].holds[0].amount;
    assert!(lent.bench.event().await.is_unmetered);
    assert_eq!(lent.posted(1).await, held);
}

#[tokio::test(start_paused = true)]
async fn calls_are_counted_even_if_nobody_knows_what_they_are_and_looks_cost_nothing() {
    let lent = Lent::of(&world(budget(Measure::Requests)), 1);
    for _ in 0..2 {
        lent.bench.upstreams.play("openai.test", raw_answer(200, "application/x-own", "whatever"));
        assert_eq!(lent.bench.ask(pass(Method::GET, "files", "")).await.status, 200);
    }
    lent.bench.upstreams.play("openai.test", raw_answer(200, "application/x-own", "whatever"));
    assert_eq!(lent.bench.ask(pass(Method::POST, "whatever", "{}")).await.status, 200);
    assert_eq!(lent.bench.ask(pass(Method::POST, "whatever", "{}")).await.status, 402);
    assert_eq!(lent.posted(4).await, 1);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_can_bound_is_refused_under_a_hard_budget_and_counted_under_a_soft_one() {
    let batch = || {
        let body = json!({"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"});
        Ask::post("/v1/batches", body.to_string())
    };
    let unknown = || pass(Method::POST, "whatever", "{}");
    for (measure, ask) in [(Measure::Requests, batch()), (Measure::Cost, batch()), (Measure::Tokens, unknown())] {
        let lent = Lent::of(&world(budget(measure)), 1_000_000_000);
        let answer = lent.bench.ask(ask).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (402, "budget_exhausted".to_owned()), "{}", answer.text());
        assert!(answer.text().contains("nobody can say beforehand"), "{}", answer.text());
    }
    let soft = Budget { enforcement: Enforcement::Soft, ..budget(Measure::Requests) };
    let lent = Lent::of(&world(soft), 0);
    lent.bench.upstreams.play("openai.test", raw_answer(200, "application/x-own", "whatever"));
    assert_eq!(lent.bench.ask(unknown()).await.status, 200);
    assert_eq!(lent.bench.event().await.charges[0].amount, 1);
}
