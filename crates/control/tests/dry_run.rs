//! Dry runs of routes: what a draft would have done with booked requests, and that nothing comes of asking.

use api::ops::deployments::{CreateDeployment, DeploymentChange, DeploymentPath, NewDeployment, UpdateDeployment};
use api::ops::models::{NewPrice, RatesView, SetPrice, UnitRatesView};
use api::ops::routes::{DryRun, DryRunReport, DryRunRoute, ListRoutes, NewRoute};
use api::ops::{OrganizationPath, PageQuery, WorkspacePath};
use api::{Empty, NoQuery};
use domain::route::{Case, Node, Share, Test, Unknown};
use domain::usage::{AttemptOutcome, AttemptRecord, Endpoint, SkipReason, UnitUsage, UsageEvent};
use domain::{DeploymentId, NanoUsd, Role, Scope};

use crate::usage::{book, event};
use crate::world::World;

fn ws(world: &World) -> WorkspacePath {
    WorkspacePath { workspace_id: world.workspace() }
}

fn leaf(deployment_id: DeploymentId) -> Node {
    Node::Deployment { deployment_id }
}

async fn deployment(world: &World, name: &str) -> DeploymentId {
    let new = NewDeployment {
        name: name.parse().expect("a model name"),
        provider: "echo".to_owned(),
        upstream_model: name.to_owned(),
        base_model: None,
        credential_id: None,
        is_enabled: true,
    };
    world.as_owner().call::<CreateDeployment>(ws(world), NoQuery {}, new).await.expect("a deployment").id
}

/// Sets a price in dollars per million, the same for what is read and said.
async fn price(world: &World, model: &str, dollars: &str) {
    let rate: NanoUsd = dollars.parse().expect("an amount");
    let new = NewPrice {
        provider: "echo".to_owned(),
        upstream_model: model.to_owned(),
        effective_at: None,
        usd_per_million_tokens: RatesView { input: rate, output: rate, ..RatesView::default() },
        usd_per_unit: UnitRatesView::default(),
        long_context: Vec::new(),
        tiers: Vec::new(),
        images: Vec::new(),
    };
    let place = OrganizationPath { organization_id: world.organization() };
    world.as_owner().call::<SetPrice>(place, NoQuery {}, new).await.expect("a price");
}

/// A request of some minutes ago that a deployment answered: ten tokens in, one out, at a thousand nano-dollars.
fn answered(world: &World, minutes: u32, model: &str, by: DeploymentId) -> UsageEvent {
    let mut event = UsageEvent { units: UnitUsage::default(), ..event(world, world.workspace(), minutes, model) };
    event.attempts.push(AttemptRecord {
        n: 1,
        deployment_id: by,
        credential_id: None,
        provider: "echo".to_owned(),
        upstream_model: "echo-1".to_owned(),
        started_at: event.started_at,
        duration_us: 10,
        first_byte_us: None,
        outcome: AttemptOutcome::Success,
        status: Some(200),
        upstream_request_id: None,
        usage: event.usage,
        modal: None,
        image: None,
        units: event.units,
        cost: event.cost,
    });
    event
}

fn draft(tree: Node) -> DryRun {
    let name = "r".parse().expect("a name");
    let route =
        NewRoute { name, targets: Vec::new(), tree: Some(tree), max_attempts: None, timeouts: None, rules: None };
    DryRun { route, model: None, last: None }
}

async fn run(world: &World, body: DryRun) -> DryRunReport {
    world.as_owner().call::<DryRunRoute>(ws(world), NoQuery {}, body).await.expect("a report")
}

#[tokio::test]
async fn a_draft_is_tried_on_what_was_asked_and_says_shares_reasons_and_money() {
    let world = World::new().await;
    let (old, cheap, off) =
        (deployment(&world, "old").await, deployment(&world, "cheap").await, deployment(&world, "off").await);
    let path = DeploymentPath { workspace_id: world.workspace(), deployment_id: off };
    let change = DeploymentChange { version: Some(1), is_enabled: Some(false), ..DeploymentChange::default() };
    world.as_owner().call::<UpdateDeployment>(path, NoQuery {}, change).await.expect("switched off");
    price(&world, "cheap", "10").await;
    price(&world, "old", "100").await;
    let mut tagged = answered(&world, 1, "r", old);
    tagged.tags = vec!["batch".to_owned()];
    let count = UsageEvent { endpoint: Endpoint::CountTokens, ..answered(&world, 4, "r", old) };
    let events = [
        tagged,
        answered(&world, 2, "r", old),
        answered(&world, 3, "other", old),
        count,
        event(&world, world.workspace(), 5, "r"),
    ];
    book(&world, &events).await;

    let tree = Node::Conditional {
        cases: vec![
            Case { when: vec![Test::Tag { is: vec!["batch".into()] }], node: leaf(cheap) },
            Case { when: vec![Test::Tools { is: true }], node: leaf(cheap) },
        ],
        otherwise: Box::new(Node::Ordered { children: vec![leaf(off), leaf(old)] }),
    };
    let report = run(&world, DryRun { model: Some("r".to_owned()), ..draft(tree.clone()) }).await;
    assert_eq!((report.requests, report.refused, report.rows.len()), (3, 0, 3), "no count of tokens, no other model");
    let first: Vec<_> = report.targets.iter().map(|it| (it.deployment_id, it.was_first, it.first_permille)).collect();
    assert_eq!(first, [(old, 2, 667), (cheap, 0, 333), (off, 0, 0)]);
    // Eleven tokens at ten and at a hundred dollars per million; what nobody answered is on neither side.
    assert_eq!((report.compared, report.paid_usd, report.cost_usd), (2, nanos(2_000), nanos(110_000 + 1_100_000)));
    assert_eq!(report.targets[1].cost_usd, nanos(110_000));
    let row = |event: &UsageEvent| report.rows.iter().find(|row| row.request_id == event.id).expect("a row");
    let (batch, plain, lost) = (row(&events[0]), row(&events[1]), row(&events[4]));
    assert_eq!((batch.order.as_slice(), batch.cost_usd, batch.unknown.len()), (&[cheap][..], Some(nanos(110_000)), 0));
    assert_eq!((plain.order.as_slice(), plain.unknown.as_slice()), (&[old][..], &[Unknown::Tools][..]));
    let skipped = |id| plain.skipped.iter().find(|it| it.deployment_id == id).map(|it| it.reason);
    assert_eq!((skipped(off), skipped(cheap)), (Some(SkipReason::Disabled), Some(SkipReason::OtherBranch)));
    assert_eq!((lost.cost_usd, lost.was_first, lost.first[0].deployment_id), (None, None, old));

    let last = run(&world, DryRun { last: Some(1), ..draft(tree.clone()) }).await;
    assert_eq!((last.requests, last.rows[0].request_id), (1, events[4].id), "the one that was minted last");
    assert_eq!(run(&world, draft(tree)).await.requests, 4);
    let routes = world.as_owner().call::<ListRoutes>(ws(&world), PageQuery::default(), Empty {}).await.expect("routes");
    assert!(routes.items.is_empty(), "nothing was made");
}

const fn nanos(nanos: i64) -> NanoUsd {
    NanoUsd::from_nanos(nanos)
}

#[tokio::test]
async fn chance_is_told_as_shares_and_a_target_without_a_price_makes_no_comparison() {
    let world = World::new().await;
    let (one, two) = (deployment(&world, "one").await, deployment(&world, "two").await);
    price(&world, "one", "1").await;
    let events: Vec<_> = (0..40).map(|n| answered(&world, n, "r", one)).collect();
    book(&world, &events).await;
    let share = |weight, id| Share { weight, node: leaf(id) };
    let tree = Node::Weighted { children: vec![share(3, one), share(1, two)] };
    let report = run(&world, draft(tree.clone())).await;
    let first = report.targets[0].first_permille;
    assert!((735..=765).contains(&first) && report.targets[0].deployment_id == one, "{first}");
    assert_eq!((report.compared, report.paid_usd, report.rows[0].cost_usd), (0, NanoUsd::ZERO, None));
    price(&world, "two", "1").await;
    let report = run(&world, draft(tree)).await;
    assert_eq!(report.compared, 40);
    // Both cost the same, but for what is lost in cutting each part to whole nano-dollars.
    assert!((40 * 11_000 - 80..=40 * 11_000).contains(&report.cost_usd.as_nanos()), "{}", report.cost_usd);
}

#[tokio::test]
async fn what_is_wrong_with_a_draft_is_said_below_its_field_and_reading_requests_is_needed() {
    let world = World::new().await;
    let one = deployment(&world, "one").await;
    let owner = world.as_owner();
    let unknown = draft(Node::Ordered { children: vec![leaf(one), leaf(DeploymentId::from_uuid(7))] });
    let refused = owner.refused::<DryRunRoute>(ws(&world), NoQuery {}, unknown).await;
    assert_eq!((refused.status, refused.fields[0].pointer.as_str()), (422, "/route/tree/children/1/deployment_id"));
    let many = DryRun { last: Some(1_001), ..draft(leaf(one)) };
    assert_eq!(owner.refused::<DryRunRoute>(ws(&world), NoQuery {}, many).await.fields[0].pointer, "/last");
    let viewer = world.as_role(Role::Viewer, Scope::Workspace(world.organization(), world.workspace())).await;
    assert_eq!(viewer.refused::<DryRunRoute>(ws(&world), NoQuery {}, draft(leaf(one))).await.status, 403);
    assert_eq!(run(&world, draft(leaf(one))).await.requests, 0);
}
