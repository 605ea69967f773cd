//! Node groups, enrolment with a single-use token, certificates, revocation and status.

use std::time::Duration;

use domain::node::{Drift, Holds, JoinToken, Nack, Node, NodeGroup, NodeStatus};
use domain::page::Limit;
use domain::secret::TokenMac;
use domain::{JoinTokenId, NodeGroupId, NodeId, OrganizationId};
use store::{Constraint, StoreError, join_tokens, nodes};

use crate::support::{NOON, Tenant, World, kid, name, note, permit, uuid};

fn group(tenant: &Tenant, slug: &str, holds: Holds) -> NodeGroup {
    NodeGroup {
        id: NodeGroupId::from_uuid(uuid()),
        organization_id: tenant.id,
        slug: name(slug),
        region: "eu".to_owned(),
        holds,
        version: 1,
        created_at: NOON,
    }
}

fn token(group: &NodeGroup) -> JoinToken {
    JoinToken {
        id: JoinTokenId::from_uuid(uuid()),
        organization_id: group.organization_id,
        group_id: group.id,
        kid: kid(),
        mac: TokenMac::from_bytes([5; 32]),
        created_at: NOON,
        expires_at: NOON.plus(Duration::from_mins(15)),
    }
}

fn node(group: &NodeGroup, serial: &str) -> Node {
    Node {
        id: NodeId::from_uuid(uuid()),
        group_id: group.id,
        organization_id: group.organization_id,
        name: "gateway-1".to_owned(),
        hpke_public_key: vec![1; 32],
        certificate_serial: serial.to_owned(),
        certificate_expires_at: NOON.plus(Duration::from_hours(24)),
        created_at: NOON,
        revoked_at: None,
    }
}

#[tokio::test]
async fn groups_say_what_their_nodes_may_hold() {
    let world = World::new().await;
    let (first, second) = (world.tenant("first").await, world.tenant("second").await);
    let all = group(&first, "shared", Holds::All);
    let only = group(&first, "own", Holds::Only(vec![first.id, second.id]));
    let mut tx = world.store.write(first.id).await.expect("our turn");
    for group in [&all, &only] {
        nodes::insert_group(&mut tx, &permit(first.id), group).await.expect("added");
    }
    assert_eq!(nodes::get_group(&mut tx, only.id).await.expect("found"), only);
    note(&mut tx, &permit(first.id), "node_group.create");
    tx.commit().await.expect("committed");
    let mut tx = world.store.write(first.id).await.expect("our turn");
    assert_eq!(
        nodes::list_groups(&mut tx, None, Limit::default()).await.expect("listed").items,
        [all.clone(), only.clone()]
    );
    let twin = nodes::insert_group(&mut tx, &permit(first.id), &group(&first, "own", Holds::All)).await;
    assert!(matches!(twin, Err(StoreError::Conflict(Constraint::NodeGroupName))));
    drop(tx);
    let mut tx = world.store.read(second.id).await.expect("a read");
    assert!(matches!(nodes::get_group(&mut tx, only.id).await, Err(StoreError::NotFound(_))));
    let mut system = world.store.system().await.expect("a transaction");
    assert_eq!(nodes::find_group(&mut system, only.id).await.expect("found"), Some(only));
    assert_eq!(nodes::find_group(&mut system, NodeGroupId::from_uuid(1)).await.expect("none"), None);
}

#[tokio::test]
async fn a_changed_group_holds_what_the_change_says_and_a_stale_change_nothing() {
    let world = World::new().await;
    let (first, second) = (world.tenant("first").await, world.tenant("second").await);
    let made = group(&first, "shared", Holds::Only(vec![first.id]));
    let mut tx = world.store.write(first.id).await.expect("our turn");
    nodes::insert_group(&mut tx, &permit(first.id), &made).await.expect("added");
    let mut held = vec![first.id, second.id];
    held.sort_unstable();
    for (version, holds) in [(1, Holds::All), (2, Holds::Only(held)), (3, Holds::Only(vec![second.id]))] {
        let changed = NodeGroup { slug: name("renamed"), region: "us".to_owned(), holds, version, ..made.clone() };
        let next = nodes::update_group(&mut tx, &permit(first.id), &changed).await.expect("changed");
        let stored = nodes::get_group(&mut tx, made.id).await.expect("found");
        assert_eq!(stored, NodeGroup { version: next, ..changed });
    }
    let stale = nodes::update_group(&mut tx, &permit(first.id), &made).await;
    assert!(matches!(stale, Err(StoreError::Stale(_))), "{stale:?}");
}

#[tokio::test]
async fn a_token_enrols_one_node_however_many_try() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let group = group(&tenant, "shared", Holds::All);
    let joining = token(&group);
    let permit = permit(tenant.id);
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    nodes::insert_group(&mut tx, &permit, &group).await.expect("added");
    join_tokens::insert(&mut tx, &permit, &joining).await.expect("added");
    let listed = join_tokens::list(&mut tx, None, Limit::default()).await.expect("listed");
    assert_eq!(listed.items, std::slice::from_ref(&joining));
    note(&mut tx, &permit, "join_token.issue");
    tx.commit().await.expect("committed");

    let mut attempts = tokio::task::JoinSet::new();
    for number in 0..4 {
        let (store, joining, permit, node) =
            (world.store.clone(), joining.clone(), permit.clone(), node(&group, &format!("0{number}")));
        attempts.spawn(async move {
            let mut system = store.system().await.expect("a transaction");
            // A late one may find the token gone already.
            let found = join_tokens::find_by_kid(&mut system, joining.kid).await.expect("looked up")?;
            drop(system);
            let mut tx = store.write(found.organization_id).await.expect("our turn");
            join_tokens::redeem(&mut tx, &permit, found.id).await.expect("tried")?;
            nodes::insert(&mut tx, &permit, &node).await.expect("enrolled");
            note(&mut tx, &permit, "node.enrol");
            tx.commit().await.expect("committed");
            Some(node.id)
        });
    }
    let enrolled: Vec<NodeId> = attempts.join_all().await.into_iter().flatten().collect();
    let mut tx = world.store.read(tenant.id).await.expect("a read");
    let listed = nodes::list(&mut tx, None, Limit::default()).await.expect("listed").items;
    assert_eq!(listed.iter().map(|node| node.id).collect::<Vec<_>>(), enrolled);
    assert_eq!(enrolled.len(), 1);
}

#[tokio::test]
async fn unused_tokens_are_deleted_by_hand_or_by_age() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let group = group(&tenant, "shared", Holds::All);
    let (by_hand, by_age) = (token(&group), token(&group));
    let permit = permit(tenant.id);
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    nodes::insert_group(&mut tx, &permit, &group).await.expect("added");
    join_tokens::insert(&mut tx, &permit, &by_hand).await.expect("added");
    join_tokens::insert(&mut tx, &permit, &by_age).await.expect("added");
    join_tokens::delete(&mut tx, &permit, by_hand.id).await.expect("deleted");
    assert!(matches!(join_tokens::delete(&mut tx, &permit, by_hand.id).await, Err(StoreError::NotFound(_))));
    note(&mut tx, &permit, "join_token.revoke");
    tx.commit().await.expect("committed");
    let mut system = world.store.system().await.expect("a transaction");
    assert_eq!(join_tokens::delete_expired(&mut system, NOON).await.expect("none"), 0);
    assert_eq!(join_tokens::delete_expired(&mut system, NOON.plus(Duration::from_hours(1))).await.expect("one"), 1);
}

#[tokio::test]
async fn a_node_is_known_by_every_certificate_until_it_is_revoked() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let group = group(&tenant, "shared", Holds::All);
    let permit = permit(tenant.id);
    let mut enrolled = node(&group, "0a");
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    nodes::insert_group(&mut tx, &permit, &group).await.expect("added");
    nodes::insert(&mut tx, &permit, &enrolled).await.expect("enrolled");
    note(&mut tx, &permit, "node.enrol");
    tx.commit().await.expect("committed");

    let later = NOON.plus(Duration::from_hours(16));
    enrolled.certificate_serial = "0b".to_owned();
    enrolled.certificate_expires_at = later.plus(Duration::from_hours(24));
    let mut system = world.store.system().await.expect("a transaction");
    nodes::renew(&mut system, &enrolled, later).await.expect("renewed");
    system.commit().await.expect("committed");
    let mut system = world.store.system().await.expect("a transaction");
    for serial in ["0a", "0b"] {
        assert_eq!(
            nodes::find_by_serial(&mut system, serial).await.expect("found"),
            Some(enrolled.clone()),
            "{serial}"
        );
    }
    assert_eq!(nodes::find_by_serial(&mut system, "0c").await.expect("none"), None);
    assert_eq!(nodes::list_revoked(&mut system, later).await.expect("none"), []);
    drop(system);

    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    nodes::revoke(&mut tx, &permit, enrolled.id, later).await.expect("revoked");
    assert!(matches!(nodes::revoke(&mut tx, &permit, enrolled.id, later).await, Err(StoreError::NotFound(_))));
    assert_eq!(nodes::get(&mut tx, enrolled.id).await.expect("found").revoked_at, Some(later));
    note(&mut tx, &permit, "node.revoke");
    tx.commit().await.expect("committed");
    let mut system = world.store.system().await.expect("a transaction");
    assert_eq!(nodes::list_revoked(&mut system, later).await.expect("one"), [enrolled.id]);
    assert_eq!(nodes::list_revoked(&mut system, later.plus(Duration::from_hours(24))).await.expect("none"), []);
    assert!(matches!(nodes::renew(&mut system, &enrolled, later).await, Err(StoreError::NotFound(_))));
    assert_eq!(
        nodes::find(&mut system, enrolled.id).await.expect("found").and_then(|node| node.revoked_at),
        Some(later)
    );
}

#[tokio::test]
async fn the_last_report_of_a_node_replaces_the_one_before() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let group = group(&tenant, "shared", Holds::All);
    let permit = permit(tenant.id);
    let enrolled = node(&group, "0a");
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    nodes::insert_group(&mut tx, &permit, &group).await.expect("added");
    nodes::insert(&mut tx, &permit, &enrolled).await.expect("enrolled");
    note(&mut tx, &permit, "node.enrol");
    tx.commit().await.expect("committed");
    let mut status = NodeStatus {
        is_connected: true,
        is_draining: true,
        build: "0.1.0".to_owned(),
        last_contact_at: Some(NOON),
        acknowledged: vec![(tenant.id, 4), (OrganizationId::from_uuid(8), u64::from(u32::MAX))],
        last_nack: Some(Nack {
            organization_id: tenant.id,
            revision: 3,
            at: NOON,
            reasons: vec![("route/rte_1".to_owned(), "no target".to_owned())],
        }),
        drift: Some(Drift { organization_id: tenant.id, revision: 2, at: NOON }),
        withheld: vec!["price".to_owned()],
        spool_depth: 2,
        spool_dropped: 0,
    };
    for _ in 0..2 {
        let mut system = world.store.system().await.expect("a transaction");
        nodes::set_status(&mut system, &enrolled, &status).await.expect("kept");
        system.commit().await.expect("committed");
        let mut tx = world.store.read(tenant.id).await.expect("a read");
        let listed = nodes::list_status(&mut tx, &[enrolled.id]).await.expect("listed");
        assert_eq!(listed, [(enrolled.id, status.clone())]);
        status = NodeStatus { is_connected: false, last_nack: None, drift: None, ..status };
    }
}
