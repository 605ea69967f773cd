//! The wall between organizations, read from the catalog and tried from outside.

use store::{StoreError, virtual_keys, workspaces};

use crate::support::{World, key, note, permit};

#[tokio::test]
async fn every_tenant_table_is_protected() {
    let world = World::new().await;
    let mut owner = world.database.owner().await.expect("a connection");
    let bad: Vec<(String, bool, bool, i64)> = sqlx::query_as(
        "SELECT c.relname::text, c.relrowsecurity, c.relforcerowsecurity,
                (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid
                    AND pg_get_expr(p.polqual, p.polrelid) LIKE '%nullif%app.organization_id%'
                    AND p.polroles = ARRAY['headgate_app'::regrole::oid])
           FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'organization_id' AND NOT a.attisdropped
          WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace
            AND NOT (c.relrowsecurity AND c.relforcerowsecurity
                     AND EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid AND p.polwithcheck IS NOT NULL
                                    AND lower(pg_get_expr(p.polqual, p.polrelid)) LIKE '%nullif%app.organization_id%'
                                    AND p.polroles = ARRAY['headgate_app'::regrole::oid]))",
    )
    .fetch_all(&mut owner)
    .await
    .expect("the catalog");
    assert!(bad.is_empty(), "{bad:?}");
}

#[tokio::test]
async fn working_roles_own_nothing_and_bypass_nothing() {
    let world = World::new().await;
    let mut owner = world.database.owner().await.expect("a connection");
    let bad: Vec<String> = sqlx::query_scalar(
        "SELECT r.rolname::text FROM pg_roles r WHERE r.rolname IN ('headgate_app', 'headgate_jobs')
            AND (r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolcreatedb
                 OR EXISTS (SELECT 1 FROM pg_class c WHERE c.relowner = r.oid)
                 OR EXISTS (SELECT 1 FROM pg_auth_members m WHERE m.member = r.oid))",
    )
    .fetch_all(&mut owner)
    .await
    .expect("the catalog");
    assert!(bad.is_empty(), "{bad:?}");
}

#[tokio::test]
async fn facts_can_be_added_but_neither_changed_nor_deleted() {
    let world = World::new().await;
    let mut owner = world.database.owner().await.expect("a connection");
    let bad: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT grantee::text, table_name::text, privilege_type::text FROM information_schema.role_table_grants
          WHERE table_name IN ('audit_entries', 'usage_events', 'prices', 'changes') AND table_schema = 'public'
            AND (grantee = 'headgate_app' OR (grantee = 'headgate_jobs' AND table_name <> 'changes'))
            AND privilege_type NOT IN ('SELECT', 'INSERT')",
    )
    .fetch_all(&mut owner)
    .await
    .expect("the catalog");
    assert!(bad.is_empty(), "{bad:?}");
}

#[tokio::test]
async fn another_organization_sees_and_changes_nothing() {
    let world = World::new().await;
    let (ours, theirs) = (world.tenant("ours").await, world.tenant("theirs").await);
    let ours_key = key(&ours, "ours");
    let mut tx = world.store.write(ours.id).await.expect("our turn");
    virtual_keys::insert(&mut tx, &permit(ours.id), &ours_key).await.expect("added");
    note(&mut tx, &permit(ours.id), "virtual_key.issue");
    tx.commit().await.expect("committed");

    let mut tx = world.store.read(theirs.id).await.expect("a read");
    assert!(virtual_keys::load(&mut tx, None).await.expect("readable").is_empty());
    assert!(matches!(virtual_keys::get(&mut tx, ours_key.id).await, Err(StoreError::NotFound(_))));
    assert!(workspaces::find(&mut tx, ours.workspace.id).await.expect("readable").is_none());

    // A row that claims to be ours, written in their transaction: the database itself refuses.
    let mut tx = world.store.write(theirs.id).await.expect("their turn");
    let refused = virtual_keys::insert(&mut tx, &permit(theirs.id), &key(&ours, "smuggled")).await;
    assert!(
        matches!(&refused, Err(StoreError::Internal(error)) if error.to_string().contains("row-level security")),
        "{refused:?}"
    );

    drop(tx);

    // And a permit of one organization is worth nothing in another's transaction.
    let mut tx = world.store.write(theirs.id).await.expect("their turn");
    let refused = virtual_keys::revoke(&mut tx, &permit(ours.id), ours_key.id, crate::support::NOON).await;
    assert!(matches!(refused, Err(StoreError::ForeignPermit)));
    drop(tx);
    let mut tx = world.store.write(theirs.id).await.expect("their turn");
    let refused = virtual_keys::revoke(&mut tx, &permit(theirs.id), ours_key.id, crate::support::NOON).await;
    assert!(matches!(refused, Err(StoreError::NotFound(_))));
}

#[tokio::test]
async fn a_connection_forgets_its_organization() {
    let world = World::new().await;
    let ours = world.tenant("ours").await;
    let single = store::PoolLimits { app: 1, ..store::PoolLimits::default() };
    let store = store::Store::open(world.database.database(), single).await.expect("a store");
    store.read(ours.id).await.expect("a read").end().await.expect("ended");
    // The only connection, outside any organization: no rows, and no error from the empty setting.
    let mut tx = store.read(domain::OrganizationId::from_uuid(1)).await.expect("a read");
    assert!(workspaces::load(&mut tx, None).await.expect("readable").is_empty());
}
