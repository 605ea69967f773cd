//! Files and batches at an upstream: found by their whole key, handed out one by one when due, never due once booked.

use std::time::Duration;

use domain::remote::{RemoteKind, RemoteObject, RemoteScope};
use domain::{CredentialId, EnvironmentId, RemoteId, Timestamp, VirtualKeyId, WorkspaceId};
use store::remote_objects::{self, Listing, Settled};

use crate::support::{NOON, Tenant, World, uuid, uuid_at};

const MINUTE: Duration = Duration::from_mins(1);

fn object(tenant: &Tenant, kind: RemoteKind, due_at: Option<Timestamp>) -> RemoteObject {
    RemoteObject {
        id: RemoteId::from_uuid(uuid()),
        scope: RemoteScope {
            organization: tenant.id,
            workspace: tenant.workspace.id,
            environment: tenant.environment.id,
        },
        kind,
        virtual_key: VirtualKeyId::from_uuid(uuid()),
        provider: "openai".to_owned(),
        credential: CredentialId::from_uuid(uuid()),
        upstream_id: "up-1".to_owned(),
        facts: r#"{"models":[]}"#.to_owned(),
        created_at: NOON,
        expires_at: NOON.plus(10 * MINUTE),
        due_at,
        booked_at: None,
    }
}

#[tokio::test]
async fn an_object_is_found_at_its_place_until_it_expires() {
    let world = World::new().await;
    let (tenant, other) = (world.tenant("acme").await, world.tenant("other").await);
    let it = object(&tenant, RemoteKind::File, None);
    let mut tx = world.store.system().await.expect("a transaction");
    remote_objects::insert(&mut tx, &it).await.expect("is noted");
    let again = RemoteObject { upstream_id: "changed".to_owned(), ..it.clone() };
    remote_objects::insert(&mut tx, &again).await.expect("is no error");
    let found = remote_objects::find(&mut tx, &it.scope, it.id, NOON).await.expect("a look-up");
    assert_eq!(found.as_ref(), Some(&it), "the first stays");
    let late = remote_objects::find(&mut tx, &it.scope, it.id, it.expires_at).await.expect("a look-up");
    assert_eq!(late, None, "its time is over");
    for elsewhere in [
        RemoteScope { organization: other.id, ..it.scope },
        RemoteScope { workspace: WorkspaceId::from_uuid(1), ..it.scope },
        RemoteScope { environment: EnvironmentId::from_uuid(1), ..it.scope },
    ] {
        let found = remote_objects::find(&mut tx, &elsewhere, it.id, NOON).await.expect("a look-up");
        assert_eq!(found, None, "{elsewhere:?}");
        assert!(!remote_objects::delete(&mut tx, &elsewhere, it.id).await.expect("is no error"));
        remote_objects::settle(&mut tx, &elsewhere, it.id, Settled::Booked { at: NOON }).await.expect("is no error");
    }
    let found = remote_objects::find(&mut tx, &it.scope, it.id, NOON).await.expect("a look-up").expect("is there");
    assert_eq!(found.booked_at, None, "nobody else's word counts");
    assert_eq!(remote_objects::delete_expired(&mut tx, NOON).await.expect("is no error"), 0);
    assert_eq!(remote_objects::delete_expired(&mut tx, NOON.plus(11 * MINUTE)).await.expect("is no error"), 1);
    assert!(!remote_objects::delete(&mut tx, &it.scope, it.id).await.expect("is no error"));
}

#[tokio::test]
async fn lists_go_by_kind_and_time_and_page() {
    let world = World::new().await;
    let (tenant, other) = (world.tenant("acme").await, world.tenant("other").await);
    let mut tx = world.store.system().await.expect("a transaction");
    let mut ids = Vec::new();
    for n in 0..3 {
        let id = RemoteId::from_uuid(uuid_at(NOON.plus(MINUTE * n)));
        remote_objects::insert(&mut tx, &RemoteObject { id, ..object(&tenant, RemoteKind::Batch, None) })
            .await
            .expect("is noted");
        ids.push(id);
    }
    remote_objects::insert(&mut tx, &object(&tenant, RemoteKind::File, None)).await.expect("is noted");
    remote_objects::insert(&mut tx, &object(&other, RemoteKind::Batch, None)).await.expect("is noted");
    let scope = object(&tenant, RemoteKind::Batch, None).scope;
    let latest = Listing { kind: RemoteKind::Batch, after: None, limit: 2, is_ascending: false };
    for (listing, expected) in [
        (latest, vec![ids[2], ids[1]]),
        (Listing { after: Some(ids[1]), ..latest }, vec![ids[0]]),
        (Listing { is_ascending: true, limit: 9, ..latest }, ids.clone()),
        (Listing { is_ascending: true, after: Some(ids[0]), ..latest }, vec![ids[1], ids[2]]),
    ] {
        let listed = remote_objects::list(&mut tx, &scope, listing, NOON).await.expect("a list");
        assert_eq!(listed.iter().map(|it| it.id).collect::<Vec<_>>(), expected, "{listing:?}");
    }
}

#[tokio::test]
async fn what_is_due_is_handed_out_once_and_never_after_it_was_booked() {
    let world = World::new().await;
    let (tenant, other) = (world.tenant("acme").await, world.tenant("other").await);
    let mut here = world.store.system().await.expect("a transaction");
    let first = object(&tenant, RemoteKind::Batch, Some(NOON));
    let second = object(&other, RemoteKind::MessageBatch, Some(NOON.plus(MINUTE)));
    for it in [&first, &second, &object(&tenant, RemoteKind::File, None)] {
        remote_objects::insert(&mut here, it).await.expect("is noted");
    }
    here.commit().await.expect("commits");

    // Two control processes at once: the row that one has taken, the other passes over.
    let mut here = world.store.system().await.expect("a transaction");
    let mut there = world.store.system().await.expect("a transaction");
    let (at, again) = (NOON.plus(2 * MINUTE), NOON.plus(5 * MINUTE));
    let mine = remote_objects::take_due(&mut here, None, 1, at, again).await.expect("is taken");
    let theirs = remote_objects::take_due(&mut there, None, 9, at, again).await.expect("is taken");
    assert_eq!((mine[0].id, theirs[0].id, mine.len(), theirs.len()), (first.id, second.id, 1, 1));
    here.commit().await.expect("commits");
    there.commit().await.expect("commits");

    let mut tx = world.store.system().await.expect("a transaction");
    assert!(remote_objects::take_due(&mut tx, None, 9, at, again).await.expect("is taken").is_empty());
    let of_tenant = [tenant.id];
    let taken =
        remote_objects::take_due(&mut tx, Some(&of_tenant), 9, again, again.plus(MINUTE)).await.expect("is taken");
    assert_eq!(taken.iter().map(|it| it.id).collect::<Vec<_>>(), [first.id], "only the group's organizations");
    remote_objects::settle(&mut tx, &first.scope, first.id, Settled::Booked { at }).await.expect("is settled");
    remote_objects::settle(&mut tx, &first.scope, first.id, Settled::Later { at }).await.expect("is no error");
    let booked = remote_objects::find(&mut tx, &first.scope, first.id, at).await.expect("a look-up").expect("is there");
    assert_eq!((booked.booked_at, booked.due_at), (Some(at), None), "booked is booked");
    remote_objects::settle(&mut tx, &second.scope, second.id, Settled::Later { at }).await.expect("is settled");
    let taken = remote_objects::take_due(&mut tx, None, 9, at, again).await.expect("is taken");
    assert_eq!(taken.iter().map(|it| it.id).collect::<Vec<_>>(), [second.id]);
}
