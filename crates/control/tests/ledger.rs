//! The ledger through the API: what moved for a call, whether the books keep their rules, wrong prices put right.

use std::time::Duration;

use api::ops::deployments::{CreateDeployment, DeploymentChange, DeploymentPath, NewDeployment, UpdateDeployment};
use api::ops::ledger::{
    InvariantsView, LedgerInvariants, ListPostings, PostingPath, PostingView, Rerate, RerateReport, RerateRequest,
};
use api::ops::models::{ListPrices, NewPrice, PriceQuery, RatesView, SetPrice};
use api::ops::usage::{OrganizationUsage, UsageQuery};
use api::ops::{OrganizationPath, WorkspacePath};
use api::{Empty, NoQuery};
use control::jobs;
use domain::ledger::{PostingKind, Rule};
use domain::usage::{AttemptOutcome, AttemptRecord, TokenUsage, UnitUsage, UsageEvent};
use domain::{DeploymentId, NanoUsd, PriceId, RequestId, Role, Scope};

use crate::usage::{book, event};
use crate::world::World;

fn org(world: &World) -> OrganizationPath {
    OrganizationPath { organization_id: world.organization() }
}

/// A call of `n` input tokens that was billed at so many nano-dollars.
fn billed(world: &World, minutes: u32, model: &str, input: u64, nanos: i64) -> UsageEvent {
    let cost = NanoUsd::from_nanos(nanos);
    let base = event(world, world.workspace(), minutes, "m");
    let usage = TokenUsage { input, ..TokenUsage::default() };
    let attempt = AttemptRecord {
        n: 1,
        deployment_id: DeploymentId::from_uuid(7),
        credential_id: None,
        provider: "openai".to_owned(),
        upstream_model: model.to_owned(),
        started_at: base.started_at,
        duration_us: 1,
        first_byte_us: None,
        outcome: AttemptOutcome::Success,
        status: Some(200),
        upstream_request_id: None,
        usage,
        modal: None,
        image: None,
        units: UnitUsage::default(),
        cost,
    };
    UsageEvent {
        provider: Some("openai".to_owned()),
        upstream_model: Some(model.to_owned()),
        usage,
        units: UnitUsage::default(),
        cost,
        attempts: vec![attempt],
        ..base
    }
}

/// Sets an own price of a model, from now on: so many dollars per million tokens of input.
async fn price(world: &World, dollars: &str) -> PriceId {
    let set = world.as_owner().call::<SetPrice>(org(world), NoQuery {}, new_price(dollars)).await.expect("a price");
    set.id.expect("an id")
}

fn new_price(dollars: &str) -> NewPrice {
    NewPrice {
        provider: "openai".to_owned(),
        upstream_model: "own-1".to_owned(),
        effective_at: None,
        usd_per_million_tokens: RatesView { input: dollars.parse().expect("dollars"), ..RatesView::default() },
        usd_per_unit: api::ops::models::UnitRatesView::default(),
        long_context: Vec::new(),
        tiers: Vec::new(),
        images: Vec::new(),
    }
}

async fn postings(world: &World, id: RequestId) -> Vec<PostingView> {
    let path = PostingPath { organization_id: world.organization(), request_id: id };
    world.as_owner().call::<ListPostings>(path, NoQuery {}, Empty {}).await.expect("postings").items
}

async fn rerate(world: &World, price_id: PriceId, is_dry_run: bool) -> RerateReport {
    let body = rerate_of(world, price_id, is_dry_run);
    world.as_owner().call::<Rerate>(org(world), NoQuery {}, body).await.expect("a report")
}

fn rerate_of(world: &World, price_id: PriceId, is_dry_run: bool) -> RerateRequest {
    RerateRequest {
        price_id,
        from: world.now().minus(Duration::from_secs(3_600)),
        to: world.now(),
        reason: "the contract says otherwise".to_owned(),
        is_dry_run,
        after: None,
    }
}

async fn invariants(world: &World) -> InvariantsView {
    world.as_owner().call::<LedgerInvariants>(org(world), NoQuery {}, Empty {}).await.expect("rules")
}

/// What was spent, as hours say and as minutes do.
async fn spent(world: &World) -> NanoUsd {
    let sum = async |query| {
        let usage = world.as_owner().call::<OrganizationUsage>(org(world), query, Empty {}).await;
        usage.expect("usage").total.cost_usd
    };
    let hours = sum(UsageQuery::default()).await;
    let minutes = UsageQuery { group_by: Some("minute".to_owned()), ..UsageQuery::default() };
    assert_eq!(sum(minutes).await, hours);
    hours
}

#[tokio::test]
async fn a_call_moves_what_it_cost_and_nothing_moves_for_nothing() {
    let world = World::new().await;
    let (paid, free) = (billed(&world, 5, "own-1", 1_000, 2_500), billed(&world, 5, "own-1", 0, 0));
    book(&world, &[paid.clone(), free.clone()]).await;
    let moved = postings(&world, paid.id).await;
    assert_eq!((moved.len(), moved[0].kind, moved[0].amount_usd), (1, PostingKind::Settle, NanoUsd::from_nanos(2_500)));
    assert_eq!(moved[0].debit, format!("spend/{}", world.workspace()));
    assert_eq!(moved[0].credit, "owed/openai");
    assert!(postings(&world, free.id).await.is_empty());
    let (stranger, _, _) = world.as_stranger().await;
    let path = PostingPath { organization_id: world.organization(), request_id: paid.id };
    assert_eq!(stranger.refused::<ListPostings>(path, NoQuery {}, Empty {}).await.status, 404);
}

#[tokio::test]
async fn wrong_prices_are_put_right_beside_what_was_booked_and_only_once() {
    let world = World::new().await;
    world.advance(7_200);
    let wrong = price(&world, "2.50").await;
    world.advance(600);
    // By the price in force, by a way nobody knows, and by another model's.
    let priced = billed(&world, 5, "own-1", 1_000, 2_500_000);
    let free = billed(&world, 4, "own-1", 1_000, 7);
    let other = billed(&world, 3, "own-2", 1_000, 9);
    book(&world, &[priced.clone(), free.clone(), other.clone()]).await;
    let before = spent(&world).await;
    let right = price(&world, "2").await;

    let tried = rerate(&world, right, true).await;
    assert_eq!((tried.requests, tried.changed, tried.unexplained), (2, 1, 1));
    assert_eq!((tried.before_usd.to_string().as_str(), tried.after_usd.to_string().as_str()), ("0.0025", "0.002"));
    assert_eq!(postings(&world, priced.id).await.len(), 1, "a dry run posts nothing");

    let done = rerate(&world, right, false).await;
    assert_eq!(done, tried);
    let moved = postings(&world, priced.id).await;
    assert_eq!((moved.len(), moved[1].kind, moved[1].price_id), (2, PostingKind::Adjust, Some(right)));
    assert_eq!((moved[1].debit.as_str(), moved[1].amount_usd.to_string().as_str()), ("owed/openai", "0.0005"));
    assert_eq!(moved[0].amount_usd.to_string(), "0.0025", "what was booked stays");
    assert_eq!((postings(&world, free.id).await.len(), postings(&world, other.id).await.len()), (1, 1));
    assert_eq!(before.as_nanos() - spent(&world).await.as_nanos(), 500_000, "sums follow");

    let again = rerate(&world, right, false).await;
    assert_eq!((again.changed, again.before_usd), (0, again.after_usd));
    assert_eq!(postings(&world, priced.id).await.len(), 2);
    let back = rerate(&world, wrong, false).await;
    assert_eq!((back.changed, postings(&world, priced.id).await.len()), (1, 3));
    assert_eq!(spent(&world).await, before);
    jobs::run_due(&world.cx).await;
    assert!(invariants(&world).await.is_kept);
}

#[tokio::test]
async fn calls_of_a_deployment_are_billed_anew_by_the_price_of_the_model_that_it_is() {
    let world = World::new().await;
    let new = |base: &str| NewDeployment {
        name: "tuned".parse().expect("a model name"),
        provider: "echo".to_owned(),
        upstream_model: "ft:9".to_owned(),
        base_model: Some(base.to_owned()),
        credential_id: None,
        is_enabled: true,
    };
    let path = WorkspacePath { workspace_id: world.workspace() };
    let owner = world.as_owner();
    for wrong in ["echo-1", "echo/none", "/echo-1"] {
        let refused = owner.refused::<CreateDeployment>(path, NoQuery {}, new(wrong)).await;
        assert_eq!(refused.fields[0].pointer, "/base_model", "{wrong}");
    }
    let tuned = owner.call::<CreateDeployment>(path, NoQuery {}, new("openai/gpt-4o")).await.expect("a deployment");
    assert_eq!(tuned.base_model.as_deref(), Some("openai/gpt-4o"));
    let of_base = PriceQuery { upstream_model: Some("gpt-4o".to_owned()), ..PriceQuery::default() };
    let book = owner.call::<ListPrices>(org(&world), of_base, Empty {}).await.expect("prices").items;
    assert!(
        !book.is_empty() && book.iter().all(|it| it.provider == "openai"),
        "its prices came into the book: {book:?}"
    );

    let base = billed(&world, 5, "ft:9", 1_000, 2_500_000);
    let own = AttemptRecord { deployment_id: tuned.id, provider: "echo".to_owned(), ..base.attempts[0].clone() };
    let call = UsageEvent { price_id: book[0].id, provider: Some("echo".to_owned()), attempts: vec![own], ..base };
    crate::usage::book(&world, std::slice::from_ref(&call)).await;
    world.advance(7_200);
    let body = NewPrice { upstream_model: "gpt-4o".to_owned(), ..new_price("2") };
    let right = owner.call::<SetPrice>(org(&world), NoQuery {}, body).await.expect("a price").id.expect("an id");
    let body = RerateRequest { from: world.now().minus(Duration::from_secs(9_000)), ..rerate_of(&world, right, false) };
    let done = owner.call::<Rerate>(org(&world), NoQuery {}, body).await.expect("a report");
    assert_eq!((done.requests, done.changed, done.unexplained), (1, 1, 0), "{done:?}");
    let moved = postings(&world, call.id).await;
    assert_eq!((moved.len(), moved[1].debit.as_str()), (2, "owed/echo"), "it is owed to whom it was paid");
    assert_eq!(moved[1].amount_usd.to_string(), "0.0005");

    let change = DeploymentChange { version: Some(1), base_model: Some(String::new()), ..DeploymentChange::default() };
    let path = DeploymentPath { workspace_id: world.workspace(), deployment_id: tuned.id };
    let changed = owner.call::<UpdateDeployment>(path, NoQuery {}, change).await.expect("a change");
    assert_eq!((changed.base_model, changed.upstream_model.as_str()), (None, "ft:9"));
}

#[tokio::test]
async fn billing_anew_says_what_is_wrong_and_wants_the_right_to_set_prices() {
    let world = World::new().await;
    let body = |from: u64, to: u64, reason: &str| RerateRequest {
        price_id: PriceId::from_uuid(9),
        from: world.now().minus(Duration::from_secs(from)),
        to: world.now().minus(Duration::from_secs(to)),
        reason: reason.to_owned(),
        is_dry_run: true,
        after: None,
    };
    let owner = world.as_owner();
    for (body, pointer) in
        [(body(60, 60, "r"), "/from"), (body(60, 0, " "), "/reason"), (body(60, 0, "r"), "/price_id")]
    {
        let refused = owner.refused::<Rerate>(org(&world), NoQuery {}, body).await;
        assert_eq!(refused.fields[0].pointer, pointer);
    }
    let auditor = world.as_role(Role::Auditor, Scope::Organization(world.organization())).await;
    let refused = auditor.refused::<Rerate>(org(&world), NoQuery {}, body(60, 0, "r")).await;
    assert_eq!(refused.code.as_str(), "permission_denied");
    assert!(auditor.call::<LedgerInvariants>(org(&world), NoQuery {}, Empty {}).await.is_ok());
}

#[tokio::test]
async fn a_broken_rule_is_found_named_counted_and_told_to_nobody_else() {
    let world = World::new().await;
    assert!(!invariants(&world).await.is_kept, "what was never looked at is not known to hold");
    assert!(jobs::run_due(&world.cx).await.contains(&"ledger"));
    book(&world, &[billed(&world, 5, "own-1", 1_000, 2_500)]).await;
    let (stranger, other, _) = world.as_stranger().await;
    world.advance(4_000);
    jobs::run_due(&world.cx).await;
    let kept = invariants(&world).await;
    assert!(kept.is_kept, "{kept:?}");

    for (sql, rule) in [
        ("UPDATE ledger_postings SET amount_nanos = amount_nanos + 1", Rule::PostingsMatchEvents),
        ("UPDATE usage_rollups SET cost_nanos = cost_nanos - 1", Rule::SumsMatchEvents),
    ] {
        assert!(world.database.tamper(sql).await.expect("a tampered row") > 0);
        world.advance(4_000);
        jobs::run_due(&world.cx).await;
        let view = invariants(&world).await;
        let found = view.rules.iter().find(|it| it.rule == rule).expect("the rule");
        assert!(!view.is_kept && found.broken == 1 && found.sample.is_some(), "{sql}: {view:?}");
    }
    let metrics = world.cx.metrics.render();
    assert!(metrics.contains("headgate_control_ledger_broken_rules 2"), "{metrics}");
    let theirs = OrganizationPath { organization_id: other };
    let theirs = stranger.call::<LedgerInvariants>(theirs, NoQuery {}, Empty {}).await.expect("rules");
    assert!(theirs.is_kept);
}
