//! One writer per organization: gapless revisions in commit order, however many write at once.

use std::future::{Future as _, poll_fn};
use std::task::Poll;

use domain::change::Change;
use store::{PoolLimits, Store, StoreError, changes, virtual_keys};

use crate::support::{World, key, note, permit};

#[tokio::test]
async fn concurrent_writers_draw_gapless_revisions_in_commit_order() {
    const WRITES: u64 = 12;
    let world = World::new().await;
    let tenants = [world.tenant("first").await, world.tenant("second").await];
    let mut writers = tokio::task::JoinSet::new();
    for tenant in &tenants {
        for _ in 0..3 {
            let (store, tenant) = (world.store.clone(), tenant.clone());
            writers.spawn(async move {
                for _ in 0..WRITES / 3 {
                    let mut tx = store.write(tenant.id).await.expect("our turn");
                    let before = changes::revision(&mut tx).await.expect("a revision");
                    virtual_keys::insert(&mut tx, &permit(tenant.id), &key(&tenant, "key")).await.expect("added");
                    note(&mut tx, &permit(tenant.id), "virtual_key.issue");
                    assert_eq!(tx.commit().await.expect("committed"), before + 1);
                }
            });
        }
    }
    while let Some(ended) = writers.join_next().await {
        ended.expect("no writer failed");
    }
    let mut system = world.store.system().await.expect("a transaction");
    let revisions = changes::revisions(&mut system).await.expect("revisions");
    assert_eq!(revisions, tenants.each_ref().map(|tenant| (tenant.id, WRITES + 1)));
    for tenant in &tenants {
        let mut tx = world.store.read(tenant.id).await.expect("a read");
        let changed = changes::list_after(&mut tx, 1).await.expect("readable").expect("the outbox reaches back");
        assert_eq!((changed.revision, changed.changes.len() as u64), (WRITES + 1, WRITES));
        let chain = store::audit::export(&mut tx, 0, 1_000).await.expect("readable");
        domain::audit::verify_chain(tenant.id, (0, [0; 32]), &chain).expect("one unbroken chain");
        assert_eq!(chain.len() as u64, WRITES + 1);
    }
}

#[tokio::test]
async fn what_changed_is_told_once_and_an_old_reader_is_sent_for_a_full_set() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let (first, second) = (key(&tenant, "first"), key(&tenant, "second"));
    for subject in [&first, &second] {
        let mut tx = world.store.write(tenant.id).await.expect("our turn");
        virtual_keys::insert(&mut tx, &permit(tenant.id), subject).await.expect("added");
        note(&mut tx, &permit(tenant.id), "virtual_key.issue");
        tx.commit().await.expect("committed");
    }
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    virtual_keys::revoke(&mut tx, &permit(tenant.id), first.id, crate::support::NOON).await.expect("revoked");
    note(&mut tx, &permit(tenant.id), "virtual_key.revoke");
    assert_eq!(tx.commit().await.expect("committed"), 4);

    let mut tx = world.store.read(tenant.id).await.expect("a read");
    let changed = changes::list_after(&mut tx, 1).await.expect("readable").expect("reaches back");
    assert_eq!(changed.changes, [Change::VirtualKey(first.id), Change::VirtualKey(second.id)]);
    let changed = changes::list_after(&mut tx, 4).await.expect("readable").expect("up to date");
    assert!(changed.changes.is_empty());
    assert_eq!(
        changes::list_after(&mut tx, 9).await.expect("readable"),
        None,
        "ahead of us: somebody restored a backup"
    );
    tx.end().await.expect("ended");

    let mut system = world.store.system().await.expect("a transaction");
    assert!(changes::delete_until(&mut system, tenant.id, 2).await.expect("deleted") > 0);
    system.commit().await.expect("committed");
    let mut tx = world.store.read(tenant.id).await.expect("a read");
    assert_eq!(changes::list_after(&mut tx, 1).await.expect("readable"), None);
    assert!(changes::list_after(&mut tx, 2).await.expect("readable").is_some());
}

#[tokio::test]
async fn a_write_without_an_audit_entry_leaves_nothing() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let silent = key(&tenant, "silent");
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    virtual_keys::insert(&mut tx, &permit(tenant.id), &silent).await.expect("added");
    assert!(matches!(tx.commit().await, Err(StoreError::Unaudited)));
    let mut tx = world.store.read(tenant.id).await.expect("a read");
    assert!(matches!(virtual_keys::get(&mut tx, silent.id).await, Err(StoreError::NotFound(_))));
    assert_eq!(changes::revision(&mut tx).await.expect("a revision"), 1);
}

#[tokio::test]
async fn a_write_that_changes_no_resource_takes_no_revision() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    note(&mut tx, &permit(tenant.id), "session.begin");
    assert_eq!(tx.commit().await.expect("committed"), 1);
}

#[tokio::test]
async fn a_dropped_write_gives_its_turn_back() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    drop(world.store.write(tenant.id).await.expect("our turn"));
    let mut tx = world.store.write(tenant.id).await.expect("the next turn");
    note(&mut tx, &permit(tenant.id), "session.begin");
    tx.commit().await.expect("committed");
}

#[tokio::test]
async fn an_unknown_organization_cannot_be_written() {
    let world = World::new().await;
    let unknown = domain::OrganizationId::from_uuid(9);
    let tx = world.store.write(unknown).await.expect("begins");
    assert!(matches!(tx.commit().await, Err(StoreError::NotFound("organization"))));
}

#[tokio::test]
async fn commits_that_change_resources_are_announced() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let mut announcements = world.store.listen().await.expect("listening");
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    virtual_keys::insert(&mut tx, &permit(tenant.id), &key(&tenant, "key")).await.expect("added");
    note(&mut tx, &permit(tenant.id), "virtual_key.issue");
    tx.commit().await.expect("committed");
    assert_eq!(announcements.next().await.expect("an announcement"), Some(tenant.id));
}

#[tokio::test]
async fn a_call_given_up_while_it_begins_leaves_nothing_begun() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    // One connection, so that whatever is left on it meets the next call.
    let limits = PoolLimits { app: 1, jobs: 1, ..PoolLimits::default() };
    let store = Store::open(world.database.database(), limits).await.expect("a store");
    for n_polls in 1..=5 {
        {
            let mut reading = Box::pin(store.read(tenant.id));
            for _ in 0..n_polls {
                let is_over = poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx).is_ready())).await;
                if is_over {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let mut tx = store.write(tenant.id).await.expect("a transaction that may write");
        virtual_keys::insert(&mut tx, &permit(tenant.id), &key(&tenant, "key")).await.expect("added");
        note(&mut tx, &permit(tenant.id), "virtual_key.issue");
        tx.commit().await.expect("committed");
    }
}

#[tokio::test]
async fn connections_that_a_restart_of_the_server_left_dead_fail_nobody() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    // As many connections as come: they are all in the pools again, idle and sound, when the server ends them.
    let mut reads = Vec::new();
    for _ in 0..6 {
        reads.push(world.store.read(tenant.id).await.expect("a read"));
    }
    let system = [
        world.store.system().await.expect("a transaction"),
        world.store.system().await.expect("a transaction"),
        world.store.system().await.expect("a transaction"),
    ];
    for tx in reads {
        tx.end().await.expect("an end in good order");
    }
    for tx in system {
        tx.commit().await.expect("an end in good order");
    }
    let ended = world
        .database
        .tamper(
            "DO $$ BEGIN
                PERFORM pg_terminate_backend(pid, 10000) FROM pg_stat_activity
                  WHERE datname = current_database() AND pid <> pg_backend_pid();
             END $$",
        )
        .await;
    ended.expect("connections are ended");
    world.store.ping().await.expect("the database answers");
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    virtual_keys::insert(&mut tx, &permit(tenant.id), &key(&tenant, "key")).await.expect("added");
    note(&mut tx, &permit(tenant.id), "virtual_key.issue");
    tx.commit().await.expect("committed");
    world.store.system().await.expect("a transaction").commit().await.expect("committed");
}
