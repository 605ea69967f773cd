//! Alerts about nodes: lost, back, and refusing what they are told; each told once.

use api::ops::OrganizationPath;
use api::ops::alerts::{AlertQuery, AlertView, ListAlerts};
use api::{Empty, NoQuery};
use control::jobs;
use domain::alert::{AlertKind, Severity};
use domain::id::IdMint as _;
use domain::node::{Nack, Node, NodeStatus};
use domain::page::Limit;
use domain::{JobName, NodeId, OrganizationId, Permit, Scope};

use crate::world::World;

/// Enrols a node into the first group of the first organization.
async fn enrol(world: &World, name: &str) -> Node {
    let organization_id = world.organization();
    let permit = Permit::system(JobName::NodeSync, Scope::Organization(organization_id));
    let mut tx = world.cx.store.read(organization_id).await.expect("a read");
    let groups = store::nodes::list_groups(&mut tx, None, Limit::default()).await.expect("groups");
    drop(tx);
    let node = Node {
        id: NodeId::from_uuid(world.cx.mint.next_uuid()),
        group_id: groups.items[0].id,
        organization_id,
        name: name.to_owned(),
        hpke_public_key: vec![1; 32],
        certificate_serial: format!("serial of {name}"),
        certificate_expires_at: world.now().plus(std::time::Duration::from_hours(24)),
        created_at: world.now(),
        revoked_at: None,
    };
    let mut tx = world.cx.store.write(organization_id).await.expect("our turn");
    store::nodes::insert(&mut tx, &permit, &node).await.expect("enrolled");
    world.record(&mut tx, &permit);
    tx.commit().await.expect("a commit");
    node
}

async fn hear(world: &World, node: &Node, change: impl FnOnce(&mut NodeStatus)) {
    let mut status = NodeStatus { is_connected: true, last_contact_at: Some(world.now()), ..NodeStatus::default() };
    change(&mut status);
    let mut tx = world.cx.store.system().await.expect("a transaction");
    store::nodes::set_status(&mut tx, node, &status).await.expect("kept");
    tx.commit().await.expect("a commit");
}

/// Lets time pass, looks, and lists what was told so far, oldest first.
async fn told_after(world: &World, seconds: u64) -> Vec<AlertView> {
    world.advance(seconds);
    assert!(jobs::run_due(&world.cx).await.contains(&"nodes"));
    let path = OrganizationPath { organization_id: world.organization() };
    let query = AlertQuery { kind: None, limit: None, cursor: None };
    let mut listed = world.as_owner().call::<ListAlerts>(path, query, Empty {}).await.expect("alerts").items;
    listed.reverse();
    listed
}

fn kinds(alerts: &[AlertView]) -> Vec<(AlertKind, Severity, String)> {
    alerts.iter().map(|it| (it.kind, it.severity, it.facts.get("node").cloned().unwrap_or_default())).collect()
}

#[tokio::test]
async fn a_node_that_falls_silent_is_told_of_once_and_when_it_is_back() {
    let world = World::new().await;
    let (first, second) = (enrol(&world, "gateway-1").await, enrol(&world, "gateway-2").await);
    hear(&world, &first, |_| {}).await;
    hear(&world, &second, |_| {}).await;
    assert_eq!(kinds(&told_after(&world, 55).await), [], "nodes say something every few seconds, but not at once");
    hear(&world, &first, |_| {}).await;
    let lost = (AlertKind::NodeLost, Severity::Warning, "gateway-2".to_owned());
    assert_eq!(kinds(&told_after(&world, 15).await), vec![lost.clone()], "the first serves what the second would have");
    hear(&world, &first, |_| {}).await;
    assert_eq!(told_after(&world, 50).await.len(), 1, "it is told once");

    // With the second away nobody is left to serve what the first would have.
    let last = (AlertKind::NodeLost, Severity::Critical, "gateway-1".to_owned());
    assert_eq!(kinds(&told_after(&world, 20).await), [lost.clone(), last.clone()]);
    hear(&world, &second, |_| {}).await;
    let back = (AlertKind::NodeBack, Severity::Info, "gateway-2".to_owned());
    let alerts = told_after(&world, 10).await;
    assert_eq!(kinds(&alerts), [lost.clone(), last.clone(), back.clone()]);
    assert!(alerts[2].is_resolved && alerts[2].subject == alerts[0].subject, "{alerts:?}");
    hear(&world, &second, |_| {}).await;
    assert_eq!(told_after(&world, 10).await.len(), 3);

    // The next time is another one.
    let again = (AlertKind::NodeLost, Severity::Critical, "gateway-2".to_owned());
    assert_eq!(kinds(&told_after(&world, 70).await), [lost, last, back, again]);
}

#[tokio::test]
async fn a_node_that_leaves_or_is_revoked_is_not_missed() {
    let world = World::new().await;
    let (leaving, revoked) = (enrol(&world, "gateway-1").await, enrol(&world, "gateway-2").await);
    hear(&world, &leaving, |status| status.is_draining = true).await;
    hear(&world, &revoked, |_| {}).await;
    let path = api::ops::nodes::NodePath { organization_id: world.organization(), node_id: revoked.id };
    world.as_owner().call::<api::ops::nodes::RevokeNode>(path, NoQuery {}, Empty {}).await.expect("revoked");
    assert_eq!(told_after(&world, 600).await.len(), 0);
}

#[tokio::test]
async fn a_refusal_is_told_to_the_organization_whose_policy_it_is() {
    let world = World::new().await;
    let node = enrol(&world, "gateway-1").await;
    let (stranger, other, _) = world.as_stranger().await;
    let nack = |organization_id: OrganizationId, revision: u64| Nack {
        organization_id,
        revision,
        at: world.now(),
        reasons: vec![("route/rte_1".to_owned(), "no target".to_owned())],
    };
    hear(&world, &node, |status| status.last_nack = Some(nack(world.organization(), 7))).await;
    let alerts = told_after(&world, 10).await;
    assert_eq!(alerts.len(), 1);
    assert!(alerts[0].summary.contains("gateway-1") && alerts[0].summary.contains("revision 7"), "{alerts:?}");
    assert_eq!(
        (alerts[0].kind, alerts[0].facts["refused"].as_str(), alerts[0].facts["reason"].as_str()),
        (AlertKind::NodeRefusedPolicy, "route/rte_1", "no target")
    );
    hear(&world, &node, |status| status.last_nack = Some(nack(world.organization(), 7))).await;
    assert_eq!(told_after(&world, 10).await.len(), 1, "the same revision is told once");

    // Of a shared node the other organization learns the id and no name, and the first nothing.
    hear(&world, &node, |status| status.last_nack = Some(nack(other, 3))).await;
    assert_eq!(told_after(&world, 10).await.len(), 1);
    let query = AlertQuery { kind: None, limit: None, cursor: None };
    let theirs = stranger.call::<ListAlerts>(OrganizationPath { organization_id: other }, query, Empty {}).await;
    let theirs = theirs.expect("alerts").items;
    assert_eq!(theirs.len(), 1);
    assert!(!format!("{theirs:?}").contains("gateway-1"), "{theirs:?}");
}
