//! Alerts on a real database: told once, routed once to those who hear of them, tried by one process at a time.

use std::time::Duration;

use domain::alert::{Alert, AlertKind, DeliveryState, Destination, DestinationKind, Filter, Severity};
use domain::budget::{Budget, Enforcement, Limit, Window};
use domain::lease::Answer;
use domain::{DestinationId, NodeId, OrganizationId};
use store::alerts::deliveries::{self, End, Wanted};
use store::alerts::{self, destinations};
use store::{Constraint, StoreError, budgets};

use crate::budgets::{Node, add, book, budget, charged};
use crate::support::{NOON, Tenant, World, name, note, permit, uuid};

const HOLD: Duration = Duration::from_secs(60);

async fn told(world: &World, organization: OrganizationId) -> Vec<Alert> {
    let mut tx = world.store.read(organization).await.expect("a read");
    let mut items = alerts::list(&mut tx, None, None, domain::Limit::default()).await.expect("a list").items;
    items.reverse();
    items
}

fn destination(tenant: &Tenant, title: &str, filter: Filter) -> Destination {
    Destination {
        id: DestinationId::from_uuid(uuid()),
        organization_id: tenant.id,
        name: name(title),
        kind: DestinationKind::Webhook,
        is_enabled: true,
        filter,
        recipients: vec![name("ada@example.com")],
        hint: "https://example.com".to_owned(),
        secret: Some(domain::credential::SealedSecret { key_version: 1, ciphertext: vec![1, 2, 3] }),
        secret_version: 1,
        old_secret_retires_at: None,
        version: 1,
        created_at: NOON,
        updated_at: NOON,
        archived_at: None,
    }
}

async fn add_destination(world: &World, it: &Destination) {
    let permit = permit(it.organization_id);
    let mut tx = world.store.write(it.organization_id).await.expect("a write");
    destinations::insert(&mut tx, &permit, it).await.expect("a new destination");
    note(&mut tx, &permit, "alert_destination.create");
    tx.commit().await.expect("committed");
}

fn alert(tenant: &Tenant, once: &str) -> Alert {
    Alert::new(tenant.id, (AlertKind::NodeLost, Severity::Warning), "node/1", once, "A node is lost.", NOON)
}

async fn raise(world: &World, alerts: &[Alert]) -> u64 {
    let mut tx = world.store.system().await.expect("a transaction");
    let count = alerts::raise(&mut tx, alerts).await.expect("raised");
    tx.commit().await.expect("committed");
    count
}

async fn route(world: &World) -> usize {
    let mut tx = world.store.system().await.expect("a transaction");
    let count = alerts::route(&mut tx, NOON).await.expect("routed");
    tx.commit().await.expect("committed");
    count
}

async fn claim(world: &World, secs: u64, busy: &[DestinationId]) -> Vec<deliveries::Claim> {
    let mut tx = world.store.system().await.expect("a transaction");
    let now = NOON.plus(Duration::from_secs(secs));
    let claims = deliveries::claim(&mut tx, now, HOLD, busy, 100).await.expect("claimed");
    tx.commit().await.expect("committed");
    claims
}

#[tokio::test]
async fn each_percent_of_a_budget_is_told_once_for_its_account() {
    let world = World::new().await;
    let (tenant, other) = (world.tenant("first").await, world.tenant("second").await);
    let it = Budget { alert_at: vec![50, 80, 100], enforcement: Enforcement::Soft, ..budget(&tenant, 1_000) };
    add(&world, &it).await;
    let node = NodeId::from_uuid(1);
    let spend = |amount| charged(&tenant, &it, node, None, amount);
    let percents = async || {
        let told = told(&world, tenant.id).await;
        told.iter().map(|alert| alert.facts["percent"].clone()).collect::<Vec<_>>()
    };
    book(&world, node, "b", 1, &[spend(499)]).await;
    assert!(percents().await.is_empty());
    let crossing = [spend(1)];
    for _ in 0..2 {
        book(&world, node, "b", 2, &crossing).await;
    }
    book(&world, node, "b", 3, &[spend(100)]).await;
    assert_eq!(percents().await, ["50"]);
    // Two at once are one, of the higher.
    book(&world, node, "b", 4, &[spend(200), spend(300)]).await;
    assert_eq!(percents().await, ["50", "100"]);
    book(&world, node, "b", 5, &[spend(5_000)]).await;
    assert_eq!(percents().await, ["50", "100"]);
    let first = &told(&world, tenant.id).await[0];
    assert_eq!((first.kind, first.severity), (AlertKind::BudgetThreshold, Severity::Warning));
    assert!(
        first.summary.contains("“Research” (end_user ada) has reached 50 % of its limit of the month"),
        "{first:?}"
    );
    assert_eq!((first.facts["posted"].as_str(), first.facts["group.end_user"].as_str()), ("0.0000005", "ada"));
    assert!(told(&world, other.id).await.is_empty());
}

#[tokio::test]
async fn a_limit_that_is_lowered_is_told_of_with_the_next_call() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let mut it = Budget { enforcement: Enforcement::Soft, ..budget(&tenant, 1_000) };
    add(&world, &it).await;
    let node = NodeId::from_uuid(1);
    book(&world, node, "b", 1, &[charged(&tenant, &it, node, None, 500)]).await;
    assert!(told(&world, tenant.id).await.is_empty());
    let permit = permit(tenant.id);
    let mut tx = world.store.write(tenant.id).await.expect("a write");
    it.limits = vec![Limit { window: Window::Month, amount: 501 }];
    budgets::update(&mut tx, &permit, &it).await.expect("changed");
    note(&mut tx, &permit, "budget.update");
    tx.commit().await.expect("committed");
    book(&world, node, "b", 2, &[charged(&tenant, &it, node, None, 0)]).await;
    assert_eq!(told(&world, tenant.id).await.len(), 1);
}

#[tokio::test]
async fn that_a_budget_refuses_is_told_once_for_its_account() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let it = budget(&tenant, 100);
    add(&world, &it).await;
    let mut node = Node::new(1, "b1");
    for _ in 0..3 {
        let answer = node.ask(&world, &it, 101, 0).await;
        assert!(matches!(answer, Answer::Exhausted(_)), "{answer:?}");
    }
    let told = told(&world, tenant.id).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].kind, told[0].severity), (AlertKind::BudgetExhausted, Severity::Critical));
}

#[tokio::test]
async fn an_alert_is_there_once_and_goes_to_those_who_hear_of_it() {
    let world = World::new().await;
    let (tenant, other) = (world.tenant("first").await, world.tenant("second").await);
    let all = destination(&tenant, "all", Filter::default());
    let severe = destination(&tenant, "severe", Filter { least_severity: Severity::Critical, ..Filter::default() });
    let off = Destination { is_enabled: false, ..destination(&tenant, "off", Filter::default()) };
    let foreign = destination(&other, "foreign", Filter::default());
    for it in [&all, &severe, &off, &foreign] {
        add_destination(&world, it).await;
    }
    assert_eq!(raise(&world, &[alert(&tenant, "a"), alert(&tenant, "a")]).await, 1);
    assert_eq!(raise(&world, &[alert(&tenant, "a"), alert(&tenant, "b")]).await, 1);
    assert_eq!((route(&world).await, route(&world).await), (2, 0));
    let mut tx = world.store.read(tenant.id).await.expect("a read");
    let found = deliveries::list(&mut tx, Wanted::default(), None, domain::Limit::default()).await.expect("a list");
    assert_eq!(found.items.iter().map(|it| it.destination_id).collect::<Vec<_>>(), [all.id, all.id]);
    assert!(
        found.items.iter().all(|it| (it.state, it.attempts, it.next_at) == (DeliveryState::Waiting, 0, Some(NOON)))
    );
    let mut tx = world.store.read(other.id).await.expect("a read");
    let found = deliveries::list(&mut tx, Wanted::default(), None, domain::Limit::default()).await.expect("a list");
    assert!(found.items.is_empty());
    assert!(matches!(destinations::get(&mut tx, all.id).await, Err(StoreError::NotFound(_))));
}

#[tokio::test]
async fn a_try_is_made_by_one_process_and_again_when_that_one_is_gone() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let it = destination(&tenant, "all", Filter::default());
    add_destination(&world, &it).await;
    raise(&world, &[alert(&tenant, "a")]).await;
    route(&world).await;
    assert!(claim(&world, 0, &[it.id]).await.is_empty(), "one that is busy is left alone");
    let first = claim(&world, 0, &[]).await.pop().expect("a try");
    assert_eq!(first.attempt, 1);
    assert!(claim(&world, 59, &[]).await.is_empty());
    let second = claim(&world, 60, &[]).await.pop().expect("another try");
    assert_eq!((second.id, second.attempt), (first.id, 2));
    // The first one was only slow: it has no say any more.
    let end = |state, next_at| End { state, next_at, status: Some(200), answer: "ok".to_owned() };
    let mut tx = world.store.system().await.expect("a transaction");
    let failed = end(DeliveryState::Dead, None);
    assert!(!deliveries::finish(&mut tx, &first, &failed).await.expect("finished"));
    assert!(deliveries::finish(&mut tx, &second, &end(DeliveryState::Delivered, None)).await.expect("finished"));
    assert!(!deliveries::finish(&mut tx, &second, &failed).await.expect("finished"));
    tx.commit().await.expect("committed");
    assert!(claim(&world, 100_000, &[]).await.is_empty());

    let permit = permit(tenant.id);
    let mut tx = world.store.write(tenant.id).await.expect("a write");
    deliveries::send_again(&mut tx, &permit, first.id, NOON).await.expect("due again");
    note(&mut tx, &permit, "alert_delivery.redeliver");
    tx.commit().await.expect("committed");
    assert_eq!(claim(&world, 0, &[]).await.len(), 1);
}

#[tokio::test]
async fn many_processes_never_make_one_try_twice_and_one_destination_holds_up_no_other() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let (one, two) = (destination(&tenant, "one", Filter::default()), destination(&tenant, "two", Filter::default()));
    add_destination(&world, &one).await;
    add_destination(&world, &two).await;
    let many: Vec<Alert> = (0..20).map(|n| alert(&tenant, &n.to_string())).collect();
    raise(&world, &many).await;
    let (a, b) = tokio::join!(route(&world), route(&world));
    assert_eq!(a + b, 20);
    let claims = claim(&world, 0, &[]).await;
    let of = |id: DestinationId| claims.iter().filter(|claim| claim.destination_id == id).count();
    assert_eq!((of(one.id), of(two.id)), (4, 4));
    let rounds = futures(&world).await;
    let mut seen: Vec<_> = claims.iter().chain(&rounds).map(|claim| claim.id).collect();
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count, "no try twice");
}

/// Six processes claim at the same time.
async fn futures(world: &World) -> Vec<deliveries::Claim> {
    let (a, b, c, d) =
        tokio::join!(claim(world, 0, &[]), claim(world, 0, &[]), claim(world, 0, &[]), claim(world, 0, &[]));
    [a, b, c, d].concat()
}

#[tokio::test]
async fn a_destination_changes_by_version_and_forgets_its_secret_when_archived() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let mut it = destination(&tenant, "all", Filter { kinds: vec![AlertKind::NodeLost], ..Filter::default() });
    add_destination(&world, &it).await;
    let permit = permit(tenant.id);
    let mut tx = world.store.write(tenant.id).await.expect("a write");
    assert_eq!(destinations::get(&mut tx, it.id).await.expect("found"), it);
    it.hint = "https://example.org".to_owned();
    it.version = destinations::update(&mut tx, &permit, &it).await.expect("changed");
    let late = Destination { version: 1, ..it.clone() };
    assert!(matches!(destinations::update(&mut tx, &permit, &late).await, Err(StoreError::Stale(_))));
    destinations::archive(&mut tx, &permit, it.id, NOON).await.expect("archived");
    let archived = destinations::get(&mut tx, it.id).await.expect("found");
    assert_eq!((archived.secret, archived.archived_at), (None, Some(NOON)));
    note(&mut tx, &permit, "alert_destination.archive");
    tx.commit().await.expect("committed");
    // The name is free again, once.
    add_destination(&world, &destination(&tenant, "all", Filter::default())).await;
    let mut tx = world.store.write(tenant.id).await.expect("a write");
    let taken = destinations::insert(&mut tx, &permit, &destination(&tenant, "all", Filter::default())).await;
    assert!(matches!(taken, Err(StoreError::Conflict(Constraint::DestinationName))), "{taken:?}");
}
