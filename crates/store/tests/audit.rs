//! The audit log: complete, searchable, and every kind of tampering with the table shows.

use domain::audit::{Audit, AuditOutcome, ChainError, Origin, verify_chain};
use domain::page::Limit;
use domain::{ActorKind, AuditEntryId};
use store::audit::{self, Checkpoint, Filter};
use store::{AuditDraft, Store, Tx};

use crate::support::{NOON, Tenant, World, permit, uuid};

const ACTIONS: [&str; 4] = ["virtual_key.issue", "virtual_key.revoke", "route.create", "route.create"];

async fn write_some(world: &World, tenant: &Tenant) {
    for (number, action) in ACTIONS.into_iter().enumerate() {
        let mut audit = Audit::new(action, "thing", &format!("id-{number}"), &"name");
        audit.workspace_id = Some(tenant.workspace.id);
        audit.after = Some(format!("{{\"n\": {number}, \"text\": \"ä\"}}"));
        audit.origin = Origin { ip: Some("192.0.2.1".to_owned()), ..Origin::default() };
        let draft = AuditDraft { id: AuditEntryId::from_uuid(uuid()), at: NOON, actor_name: "tests".to_owned(), audit };
        let mut tx = world.store.write(tenant.id).await.expect("our turn");
        if number == 3 {
            let audit = Audit { outcome: AuditOutcome::Denied, ..draft.audit.clone() };
            tx.audit_denied(ActorKind::Anonymous, AuditDraft { audit, ..draft });
        } else {
            tx.audit(&permit(tenant.id), draft);
        }
        tx.commit().await.expect("committed");
    }
}

async fn read(store: &Store, tenant: &Tenant) -> Tx {
    store.read(tenant.id).await.expect("a read")
}

async fn verify(store: &Store, tenant: &Tenant) -> Result<(u64, [u8; 32]), ChainError> {
    let mut tx = read(store, tenant).await;
    let mut head = (0, [0; 32]);
    loop {
        // In pieces, as an export does.
        let piece = audit::export(&mut tx, head.0, 2).await.expect("readable");
        if piece.is_empty() {
            return Ok(head);
        }
        head = verify_chain(tenant.id, head, &piece)?;
    }
}

#[tokio::test]
async fn entries_are_searched_in_pages_newest_first() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    write_some(&world, &tenant).await;
    let mut tx = read(&world.store, &tenant).await;
    let limit = Limit::new(3).expect("a limit");
    let first = audit::list(&mut tx, &Filter::default(), None, limit).await.expect("listed");
    let second = audit::list(&mut tx, &Filter::default(), first.next_cursor.as_ref(), limit).await.expect("listed");
    let places: Vec<u64> = first.items.iter().chain(&second.items).map(|entry| entry.seq).collect();
    assert_eq!((places, second.next_cursor), (vec![5, 4, 3, 2, 1], None));

    let cases = [
        (Filter { action: Some("virtual_key.".to_owned()), ..Filter::default() }, 2),
        (Filter { action: Some("virtual_key".to_owned()), ..Filter::default() }, 0),
        (Filter { action: Some("route.create".to_owned()), ..Filter::default() }, 2),
        (Filter { subject_id: Some("id-1".to_owned()), ..Filter::default() }, 1),
        (Filter { actor_id: Some("bootstrap".to_owned()), ..Filter::default() }, 4),
        (Filter { workspace_id: Some(tenant.workspace.id), ..Filter::default() }, 4),
        (Filter { outcome: Some(AuditOutcome::Denied), ..Filter::default() }, 1),
        (Filter { to: Some(NOON), ..Filter::default() }, 0),
        (Filter { from: Some(NOON), ..Filter::default() }, 5),
    ];
    for (filter, count) in cases {
        let found = audit::list(&mut tx, &filter, None, Limit::default()).await.expect("listed").items.len();
        assert_eq!(found, count, "{filter:?}");
    }
}

#[tokio::test]
async fn an_untouched_chain_ends_in_its_head() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    write_some(&world, &tenant).await;
    let mut tx = read(&world.store, &tenant).await;
    let head = audit::head(&mut tx).await.expect("a head");
    assert_eq!(verify(&world.store, &tenant).await, Ok(head));
    assert_eq!(head.0, 5);
}

#[tokio::test]
async fn tampering_is_found_and_named() {
    let cases = [
        ("UPDATE audit_entries SET subject_name = 'other' WHERE seq = 3", Err(ChainError::Altered { seq: 3 })),
        ("UPDATE audit_entries SET before = '' WHERE seq = 2", Err(ChainError::Altered { seq: 2 })),
        (
            "UPDATE audit_entries SET hash = set_byte(hash, 0, get_byte(hash, 0) # 1) WHERE seq = 4",
            Err(ChainError::Altered { seq: 4 }),
        ),
        ("DELETE FROM audit_entries WHERE seq = 2", Err(ChainError::Gap { expected: 2, found: 3 })),
        (
            "UPDATE audit_entries SET seq = CASE seq WHEN 4 THEN 40 ELSE seq END WHERE seq = 4",
            Err(ChainError::Gap { expected: 4, found: 5 }),
        ),
    ];
    for (tampering, expected) in cases {
        let world = World::new().await;
        let tenant = world.tenant("first").await;
        write_some(&world, &tenant).await;
        let mut superuser = world.database.superuser().await.expect("a connection");
        sqlx::query(tampering).execute(&mut superuser).await.expect("tampered");
        assert_eq!(verify(&world.store, &tenant).await, expected, "{tampering}");
    }
    // A cut tail leaves a sound but shorter chain: the head beside it, and every checkpoint, tell.
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    write_some(&world, &tenant).await;
    let mut superuser = world.database.superuser().await.expect("a connection");
    sqlx::query("DELETE FROM audit_entries WHERE seq = 5").execute(&mut superuser).await.expect("tampered");
    let found = verify(&world.store, &tenant).await.expect("sound as far as it goes");
    assert_ne!(found, audit::head(&mut read(&world.store, &tenant).await).await.expect("a head"));
}

#[tokio::test]
async fn checkpoints_cover_what_has_grown() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let mut system = world.store.system().await.expect("a transaction");
    let unsealed = audit::list_unsealed(&mut system).await.expect("listed");
    let [(organization_id, (seq, hash))] = unsealed[..] else { panic!("one chain has grown: {unsealed:?}") };
    let checkpoint =
        Checkpoint { organization_id, seq, hash, kid: "k1".to_owned(), signature: vec![1; 64], signed_at: NOON };
    audit::insert_checkpoint(&mut system, &checkpoint).await.expect("kept");
    audit::insert_checkpoint(&mut system, &checkpoint).await.expect("ignored");
    assert!(audit::list_unsealed(&mut system).await.expect("listed").is_empty());
    system.commit().await.expect("committed");
    let mut tx = read(&world.store, &tenant).await;
    assert_eq!(audit::list_checkpoints(&mut tx, 0, 10).await.expect("listed"), [checkpoint]);
    assert_eq!(audit::list_checkpoints(&mut tx, seq, 10).await.expect("listed"), []);
}
