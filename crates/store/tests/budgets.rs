//! Budgets, their accounts and leases on a real database: granted, taken back, booked, closed.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::budget::{AccountKey, Budget, Charge, Enforcement, Limit, Measure, Subject, WhenUnreachable, Window};
use domain::lease::{Answer, Ask, Grant, Holding, Tell, Told};
use domain::usage::UsageEvent;
use domain::{BudgetId, LeaseId, NodeId, RequestId};
use store::usage::Batch;
use store::{Constraint, StoreError, budgets, leases, usage};

use crate::support::{NOON, Tenant, World, name, note, permit, uuid, uuid_at};
use crate::usage::event;

pub(crate) fn budget(tenant: &Tenant, amount: u64) -> Budget {
    Budget {
        id: BudgetId::from_uuid(uuid()),
        organization_id: tenant.id,
        workspace_id: None,
        name: name("Research"),
        description: Some("What we learn with".to_owned()),
        is_enabled: true,
        subject: Subject { tags: vec!["blue".to_owned()], ..Subject::default() },
        group_by: vec![domain::budget::Dimension::EndUser],
        measure: Measure::Cost,
        limits: vec![Limit { window: Window::Month, amount }, Limit { window: Window::Total, amount: amount * 10 }],
        time_zone: "Europe/Berlin".to_owned(),
        enforcement: Enforcement::Hard,
        when_unreachable: WhenUnreachable::Refuse,
        alert_at: vec![80],
        increase: None,
        carries_over: false,
        version: 1,
        created_at: NOON,
        updated_at: NOON,
        archived_at: None,
    }
}

pub(crate) async fn add(world: &World, it: &Budget) {
    let permit = permit(it.organization_id);
    let mut tx = world.store.write(it.organization_id).await.expect("a write");
    budgets::insert(&mut tx, &permit, it).await.expect("a new budget");
    note(&mut tx, &permit, "budget.create");
    tx.commit().await.expect("committed");
}

/// A node that keeps its leases as a node should.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    boot: &'static str,
    sequence: u64,
    held: BTreeMap<LeaseId, Holding>,
}

impl Node {
    pub(crate) fn new(id: u128, boot: &'static str) -> Self {
        Self { id: NodeId::from_uuid(id), boot, sequence: 0, held: BTreeMap::new() }
    }

    fn word(&mut self, asks: Vec<Ask>) -> Tell {
        self.sequence += 1;
        Tell {
            boot: self.boot.to_owned(),
            sequence: self.sequence,
            asks,
            holdings: self.held.values().copied().collect(),
            ..Tell::default()
        }
    }

    async fn tell(&mut self, world: &World, told: &Tell) -> Told {
        let fresh: Vec<LeaseId> = told.asks.iter().map(|_| LeaseId::from_uuid(uuid())).collect();
        let answer = leases::tell(&world.store, self.id, told, &fresh, NOON).await.expect("an answer");
        for granted in answer.answers.iter().filter_map(|answer| match answer {
            Answer::Granted(grant) => Some(grant),
            _ => None,
        }) {
            let empty = Holding { lease_id: granted.lease_id, granted: 0, returned: 0, unused: 0, held: 0 };
            let held = self.held.entry(granted.lease_id).or_insert(empty);
            held.unused += granted.granted - held.granted;
            held.granted = granted.granted;
        }
        answer
    }

    pub(crate) async fn ask(&mut self, world: &World, it: &Budget, need: u64, ahead: u64) -> Answer {
        let told = self.word(vec![Ask { account: account(it), need, ahead }]);
        self.tell(world, &told).await.answers.pop().expect("an answer")
    }
}

pub(crate) fn account(it: &Budget) -> AccountKey {
    AccountKey { organization_id: it.organization_id, budget_id: it.id, window: Window::Month, group_key: "ada".into() }
}

pub(crate) fn granted(answer: &Answer) -> Grant {
    let grant = match answer {
        Answer::Granted(grant) => Some(grant.clone()),
        _ => None,
    };
    grant.unwrap_or_else(|| unreachable!("not granted: {answer:?}"))
}

pub(crate) fn charged(
    tenant: &Tenant,
    it: &Budget,
    node: NodeId,
    lease_id: Option<LeaseId>,
    amount: u64,
) -> UsageEvent {
    let charge = Charge { budget_id: it.id, window: Window::Month, group_key: "ada".into(), lease_id, amount };
    UsageEvent { node_id: node, charges: vec![charge], ..event(tenant, NOON) }
}

pub(crate) async fn book(world: &World, node: NodeId, boot: &str, sequence: u64, events: &[UsageEvent]) {
    let last_sequence = sequence + events.len() as u64 - 1;
    let batch = Batch { node_id: node, boot, first_sequence: sequence, last_sequence, events, received_at: NOON };
    usage::append(&world.store, &batch).await.expect("booked");
}

/// A budget with an account, an open lease and a booked call.
pub(crate) async fn used(world: &World, tenant: &Tenant) {
    let (it, mut node) = (budget(tenant, 1_000), Node::new(uuid(), "boot"));
    add(world, &it).await;
    let lease = granted(&node.ask(world, &it, 100, 0).await).lease_id;
    book(world, node.id, "boot", 1, &[charged(tenant, &it, node.id, Some(lease), 40)]).await;
}

/// `(posted, leased, overdrawn)` of the only account, checked against its leases.
async fn state(world: &World) -> (i64, i64, i64) {
    let mut connection = world.database.superuser().await.expect("a connection");
    let (posted, leased, overdrawn, open): (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT a.posted, a.leased, a.overdrawn,
                (SELECT coalesce(sum(granted - returned - booked), 0)::bigint FROM budget_leases WHERE closed_at IS NULL)
           FROM budget_accounts AS a",
    )
    .fetch_one(&mut connection)
    .await
    .expect("one account");
    assert_eq!(leased, open, "what is leased is what open leases hold");
    (posted, leased, overdrawn)
}

#[tokio::test]
async fn a_budget_is_read_back_and_changes_by_version() {
    let world = World::new().await;
    let (tenant, other) = (world.tenant("first").await, world.tenant("second").await);
    let mut it = budget(&tenant, 1_000);
    add(&world, &it).await;
    let mut tx = world.store.read(tenant.id).await.expect("a read");
    assert_eq!(budgets::get(&mut tx, it.id).await.expect("found"), it);
    tx.end().await.expect("ended");
    let mut tx = world.store.read(other.id).await.expect("a read");
    assert!(matches!(budgets::get(&mut tx, it.id).await, Err(StoreError::NotFound(_))));
    tx.end().await.expect("ended");

    let permit = permit(tenant.id);
    let mut tx = world.store.write(tenant.id).await.expect("a write");
    let twin = Budget { id: BudgetId::from_uuid(uuid()), ..it.clone() };
    let error = budgets::insert(&mut tx, &permit, &twin).await.expect_err("the name is taken");
    assert!(matches!(error, StoreError::Conflict(Constraint::BudgetName)), "{error:?}");
    drop(tx);
    let mut tx = world.store.write(tenant.id).await.expect("a write");
    it.limits[0].amount = 7;
    it.version = budgets::update(&mut tx, &permit, &it).await.expect("changed");
    let late = Budget { version: 1, ..it.clone() };
    assert!(matches!(budgets::update(&mut tx, &permit, &late).await, Err(StoreError::Stale(_))));
    assert_eq!(budgets::get(&mut tx, it.id).await.expect("found"), it);
    budgets::archive(&mut tx, &permit, it.id, NOON).await.expect("archived");
    let page = budgets::list(&mut tx, None, None, domain::Limit::default()).await.expect("a list");
    assert!(page.items.is_empty());
}

#[tokio::test]
async fn what_is_granted_spent_and_returned_adds_up() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let it = budget(&tenant, 1_000);
    add(&world, &it).await;
    let mut node = Node::new(1, "b1");
    let grant = granted(&node.ask(&world, &it, 10, 80).await);
    assert_eq!((grant.granted, grant.is_scarce, grant.ttl), (90, false, Duration::from_secs(60)));
    // November in Berlin.
    assert_eq!(grant.window_start, "2026-10-31T23:00:00Z".parse().expect("a time"));
    assert_eq!(grant.window_end, Some("2026-11-30T23:00:00Z".parse().expect("a time")));
    assert_eq!(state(&world).await, (0, 90, 0));

    // The call took seven; the same batch twice counts once.
    let events = [charged(&tenant, &it, node.id, Some(grant.lease_id), 7)];
    for _ in 0..2 {
        book(&world, node.id, "b1", 1, &events).await;
    }
    assert_eq!(state(&world).await, (7, 83, 0));

    let held = node.held.get_mut(&grant.lease_id).expect("the lease");
    (held.returned, held.unused) = (80, 3);
    let told = node.word(Vec::new());
    let standing = node.tell(&world, &told).await.standings[0];
    assert!(standing.is_open && !standing.is_recalled && standing.granted == 90);
    assert_eq!(state(&world).await, (7, 3, 0));
    // The very same word again is too late to be heard, and its successor changes nothing.
    let again = leases::tell(&world.store, node.id, &told, &[], NOON).await;
    assert!(matches!(again, Err(StoreError::Stale(_))), "{again:?}");
    let told = node.word(Vec::new());
    node.tell(&world, &told).await;
    assert_eq!(state(&world).await, (7, 3, 0));

    let done = Tell { done: vec![grant.lease_id], holdings: Vec::new(), ..node.word(Vec::new()) };
    node.held.clear();
    node.tell(&world, &done).await;
    assert_eq!(state(&world).await, (7, 0, 0));
    // What comes in later all the same is the truth.
    book(&world, node.id, "b1", 2, &[charged(&tenant, &it, node.id, Some(grant.lease_id), 5)]).await;
    assert_eq!(state(&world).await, (12, 0, 5));
}

#[tokio::test]
async fn a_lease_counts_for_its_own_node_and_account_only() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let it = budget(&tenant, 1_000);
    add(&world, &it).await;
    let mut node = Node::new(1, "b1");
    let grant = granted(&node.ask(&world, &it, 100, 0).await);
    let stranger = NodeId::from_uuid(2);
    book(&world, stranger, "x", 1, &[charged(&tenant, &it, stranger, Some(grant.lease_id), 40)]).await;
    assert_eq!(state(&world).await, (40, 100, 40));
    let foreign = BudgetId::from_uuid(77);
    let mut lost = charged(&tenant, &it, node.id, None, 5);
    lost.charges[0].budget_id = foreign;
    book(&world, node.id, "b1", 1, &[lost]).await;
    assert_eq!(state(&world).await, (40, 100, 40));
}

#[tokio::test]
async fn money_that_others_do_not_use_is_recalled_and_given_on() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let it = budget(&tenant, 1_000);
    add(&world, &it).await;
    let (mut first, mut second) = (Node::new(1, "b1"), Node::new(2, "b2"));
    let grant = granted(&first.ask(&world, &it, 10, 1_000).await);
    assert_eq!(grant.granted, 10 + 990 / 8);
    let need = 1_000 - grant.granted + 50;
    assert!(matches!(second.ask(&world, &it, need, 0).await, Answer::Pending(_)));
    let told = first.word(Vec::new());
    assert!(first.tell(&world, &told).await.standings[0].is_recalled);
    let held = first.held.get_mut(&grant.lease_id).expect("the lease");
    (held.returned, held.unused) = (held.unused - 10, 10);
    let told = first.word(Vec::new());
    first.tell(&world, &told).await;
    assert_eq!(granted(&second.ask(&world, &it, need, 1_000).await).granted, need);
    let Answer::Exhausted(shortage) = second.ask(&world, &it, 900, 0).await else { panic!("more than is left") };
    assert_eq!((shortage.balance.limit, shortage.balance.posted), (1_000, 0));
    assert_eq!(shortage.resets_at, Some("2026-11-30T23:00:00Z".parse().expect("a time")));
}

#[tokio::test]
async fn a_life_that_is_over_gives_back_when_its_usage_is_delivered() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let it = budget(&tenant, 1_000);
    add(&world, &it).await;
    let mut former = Node::new(1, "b1");
    let grant = granted(&former.ask(&world, &it, 100, 0).await);
    let mut present = Node::new(1, "b2");
    granted(&present.ask(&world, &it, 10, 0).await);
    assert_eq!(state(&world).await, (0, 110, 0), "the former life may have spent it");
    book(&world, former.id, "b1", 1, &[charged(&tenant, &it, former.id, Some(grant.lease_id), 100)]).await;
    assert_eq!(state(&world).await, (100, 10, 0));
    let told = Tell { delivered_boots: vec!["b1".to_owned()], ..present.word(Vec::new()) };
    present.tell(&world, &told).await;
    assert_eq!(state(&world).await, (100, 10, 0));
}

#[tokio::test]
async fn a_grant_that_never_reached_its_node_is_closed_by_its_next_word() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let it = budget(&tenant, 1_000);
    add(&world, &it).await;
    let mut node = Node::new(1, "b1");
    granted(&node.ask(&world, &it, 100, 0).await);
    // As if the answer had been lost.
    node.held.clear();
    let told = node.word(Vec::new());
    node.tell(&world, &told).await;
    assert_eq!(state(&world).await, (0, 0, 0));
}

#[tokio::test]
async fn nobody_knows_a_node_that_is_gone_and_its_leases_are_closed() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let it = budget(&tenant, 1_000);
    add(&world, &it).await;
    granted(&Node::new(1, "b1").ask(&world, &it, 100, 0).await);
    let mut tx = world.store.system().await.expect("a transaction");
    assert_eq!(leases::close_of_lost_nodes(&mut tx, NOON).await.expect("closed"), 1);
    assert_eq!(leases::close_of_lost_nodes(&mut tx, NOON).await.expect("closed"), 0);
    tx.commit().await.expect("committed");
    assert_eq!(state(&world).await, (0, 0, 0));
    let mut tx = world.store.system().await.expect("a transaction");
    assert_eq!(leases::forget_before(&mut tx, NOON.plus(Duration::from_secs(1))).await.expect("forgotten"), 2);
}

#[tokio::test]
async fn soft_archived_and_switched_off_budgets_lease_nothing_and_soft_ones_count() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let mut node = Node::new(1, "b1");
    let soft = Budget { enforcement: Enforcement::Soft, ..budget(&tenant, 10) };
    let off = Budget { id: BudgetId::from_uuid(uuid()), name: name("Off"), is_enabled: false, ..budget(&tenant, 10) };
    for it in [&soft, &off] {
        add(&world, it).await;
        assert_eq!(node.ask(&world, it, 1, 0).await, Answer::Unknown);
    }
    assert_eq!(node.ask(&world, &budget(&tenant, 1), 1, 0).await, Answer::Unknown);
    book(&world, node.id, "b1", 1, &[charged(&tenant, &soft, node.id, None, 25)]).await;
    assert_eq!(state(&world).await, (25, 0, 0));
}

#[tokio::test]
async fn what_was_left_is_carried_over_once() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let it =
        Budget { carries_over: true, created_at: NOON.minus(Duration::from_hours(24 * 90)), ..budget(&tenant, 1_000) };
    add(&world, &it).await;
    let october = NOON.minus(Duration::from_hours(24 * 40));
    let mut charge = charged(&tenant, &it, NodeId::from_uuid(1), None, 1_300);
    for attempt in &mut charge.attempts {
        attempt.started_at = october;
    }
    let early = UsageEvent { id: RequestId::from_uuid(uuid_at(october)), started_at: october, ..charge };
    book(&world, early.node_id, "b1", 1, &[early]).await;
    // October had its own amount and the one that September left; at most one amount goes on to November.
    let grant = granted(&Node::new(1, "b1").ask(&world, &it, 10, 0).await);
    assert_eq!(grant.balance.limit, 1_700);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_nodes_at_once_never_get_more_than_there_is() {
    const LIMIT: u64 = 2_000;
    let world = std::sync::Arc::new(World::new().await);
    let tenant = world.tenant("first").await;
    let it = budget(&tenant, LIMIT);
    add(&world, &it).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 1..=8_u64 {
        let (world, tenant, it) = (std::sync::Arc::clone(&world), tenant.clone(), it.clone());
        tasks.spawn(async move {
            let mut node = Node::new(u128::from(number), "b");
            let mut dice = number;
            let mut roll = |below: u64| {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (dice >> 33) % below
            };
            let mut spent = 0;
            for sequence in 1..=12 {
                if let Answer::Granted(grant) = node.ask(&world, &it, roll(120), roll(200)).await {
                    let held = node.held.get_mut(&grant.lease_id).expect("the lease");
                    let amount = roll(held.unused + 1);
                    held.unused -= amount;
                    spent += amount;
                    let back = roll(held.unused + 1);
                    (held.unused, held.returned) = (held.unused - back, held.returned + back);
                    let event = charged(&tenant, &it, node.id, Some(grant.lease_id), amount);
                    // Told twice, as after a lost acknowledgement.
                    book(&world, node.id, "b", sequence, std::slice::from_ref(&event)).await;
                    book(&world, node.id, "b", sequence, &[event]).await;
                }
            }
            spent
        });
    }
    let spent: u64 = tasks.join_all().await.into_iter().sum();
    let (posted, leased, overdrawn) = state(&world).await;
    assert_eq!((u64::try_from(posted).expect("positive"), overdrawn), (spent, 0));
    assert!(u64::try_from(posted + leased).expect("positive") <= LIMIT, "{posted} + {leased}");
}
