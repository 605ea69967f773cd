//! The wall between organizations, read from the catalog and tried from outside.

use std::fmt::Write as _;

use domain::kill_switch::{KillSwitch, Target};
use domain::page::Limit;
use domain::{BudgetId, KillSwitchId, NodeId, OrganizationId, RequestId};
use store::usage::{Query, RequestFilter};
use store::{
    StoreError, Tx, access_tokens, audit, budgets, changes, credentials, deployments, environments, idempotency,
    join_tokens, kill_switches, ledger, members, migrate, nodes, organizations, prices, rate_limits, routes, usage,
    virtual_keys, workspaces,
};

use crate::budgets::used;
use crate::limits::limit;
use crate::support::{NOON, Tenant, World, key, note, permit, uuid};

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
          WHERE table_name IN ('audit_entries', 'usage_events', 'ledger_postings', 'ledger_entries', 'markups', 'reconciliations', 'prices', 'changes') AND table_schema = 'public'
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

/// Everything that reads can find of `subject` while working for `organization`, as text.
async fn digest(world: &World, organization: OrganizationId, subject: &Tenant) -> String {
    let (limit, mut tx) = (Limit::default(), world.store.read(organization).await.expect("a read"));
    let tx = &mut tx;
    let long = NOON.minus(std::time::Duration::from_hours(48));
    let lists = format!(
        "{:?}{:?}{:?}{:?}{:?}{:?}{:?}{:?}{:?}{:?}{:?}{:?}",
        workspaces::list(tx, None, None, limit).await.expect("listed"),
        environments::list(tx, subject.workspace.id).await.expect("listed"),
        environments::load(tx, None).await.expect("listed"),
        members::list(tx, None, limit).await.expect("listed"),
        members::list_bindings(tx, None).await.expect("listed"),
        access_tokens::list(tx, None, None, limit).await.expect("listed"),
        credentials::list(tx, None, limit).await.expect("listed"),
        credentials::list_data_keys(tx).await.expect("listed"),
        deployments::list(tx, subject.workspace.id, None, limit).await.expect("listed"),
        routes::list(tx, subject.workspace.id, None, limit).await.expect("listed"),
        virtual_keys::list(tx, subject.workspace.id, None, None, limit).await.expect("listed"),
        prices::list(tx, None, limit).await.expect("listed"),
    );
    let minutes = usage::Minutes::all(long, NOON.plus(std::time::Duration::from_hours(1)));
    let facts = format!(
        "{:?}{:?}{:?}{:?}{:?}{:?}{:?}{:?}{:?}{:?}{:?}",
        organizations::get(tx).await.expect("found").slug,
        nodes::list_groups(tx, None, limit).await.expect("listed"),
        nodes::list(tx, None, limit).await.expect("listed"),
        nodes::list_status(tx, &[NodeId::from_uuid(1)]).await.expect("listed"),
        join_tokens::list(tx, None, limit).await.expect("listed"),
        changes::list_after(tx, 0).await.expect("listed"),
        audit::list(tx, &audit::Filter::default(), None, limit).await.expect("listed"),
        audit::list_checkpoints(tx, 0, 10).await.expect("listed"),
        usage::list(tx, subject.workspace.id, &RequestFilter::default(), None, limit).await.expect("listed"),
        usage::sum(tx, &Query::all(long, NOON)).await.expect("summed"),
        usage::sum_minutes(tx, &minutes).await.expect("summed"),
    );
    lists + &facts + &bounds(world, tx, subject).await + &kept_answer(world, organization, subject).await
}

/// What holds calls back, and what they cost.
async fn bounds(world: &World, tx: &mut Tx, subject: &Tenant) -> String {
    let limit = Limit::default();
    let budgets = budgets::list(tx, None, None, limit).await.expect("listed").items;
    let mut money = format!("{budgets:?}{:?}", budgets::load(tx, None).await.expect("loaded"));
    for budget in subject.budgets(world).await {
        let accounts = budgets::accounts::list(tx, budget, NOON, None, limit).await.expect("listed");
        writeln!(money, "{accounts:?}").expect("text");
    }
    let events = subject.events(world).await;
    let bounds = format!(
        "{:?}{:?}{:?}{:?}{:?}{:?}{:?}{:?}{:?}",
        rate_limits::list(tx, None, None, limit).await.expect("listed"),
        rate_limits::load(tx, None).await.expect("loaded"),
        rate_limits::count(tx).await.expect("counted"),
        kill_switches::list(tx, true, None, limit).await.expect("listed"),
        kill_switches::load(tx, None).await.expect("loaded"),
        kill_switches::count(tx).await.expect("counted"),
        ledger::list(tx, &events).await.expect("listed"),
        ledger::findings(tx).await.expect("listed"),
        usage::is_booked(tx, events[0]).await.expect("looked up"),
    );
    money + &bounds
}

/// What a repeated request of somebody in `organization` would be answered from.
async fn kept_answer(world: &World, organization: OrganizationId, subject: &Tenant) -> String {
    let mut tx = world.store.write(organization).await.expect("a turn");
    let found = idempotency::find(&mut tx, "somebody", &subject.id.to_string(), &[1; 32]).await.expect("looked up");
    format!("{found:?}")
}

impl Tenant {
    /// What the tenant has, past every wall.
    async fn budgets(&self, world: &World) -> Vec<BudgetId> {
        let ids = "SELECT id FROM budgets WHERE organization_id = $1 ORDER BY id";
        self.ids(world, ids).await.iter().map(|id| id.parse().expect("an id")).collect()
    }

    async fn events(&self, world: &World) -> Vec<RequestId> {
        let ids = "SELECT id FROM usage_events WHERE organization_id = $1 ORDER BY id";
        self.ids(world, ids).await.iter().map(|id| id.parse().expect("an id")).collect()
    }

    async fn ids(&self, world: &World, sql: &'static str) -> Vec<String> {
        let mut superuser = world.database.superuser().await.expect("a connection");
        sqlx::query_scalar(sql).bind(self.id.to_string()).fetch_all(&mut superuser).await.expect("ids")
    }
}

/// One of everything that an organization has.
async fn furnish(world: &World, tenant: &Tenant) {
    let permit = permit(tenant.id);
    let switch = KillSwitch {
        id: KillSwitchId::from_uuid(uuid()),
        organization_id: tenant.id,
        target: Target::Provider("openai".to_owned()),
        reason: "leaked".to_owned(),
        is_cutting: true,
        created_at: NOON,
        lifted_at: None,
    };
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    virtual_keys::insert(&mut tx, &permit, &key(tenant, "issued")).await.expect("added");
    rate_limits::insert(&mut tx, &permit, &limit(tenant)).await.expect("added");
    kill_switches::insert(&mut tx, &permit, &switch).await.expect("added");
    let whose = tenant.id.to_string();
    let kept = idempotency::insert(&mut tx, ("somebody", &whose), &[1; 32], (200, whose.as_bytes()), NOON);
    kept.await.expect("kept");
    note(&mut tx, &permit, "virtual_key.issue");
    tx.commit().await.expect("committed");
    used(world, tenant).await;
}

#[tokio::test]
async fn each_wall_stands_without_the_other() {
    let world = World::new().await;
    let tenants = [world.tenant("ours").await, world.tenant("theirs").await];
    for tenant in &tenants {
        furnish(&world, tenant).await;
    }
    let mut seen = Vec::new();
    for by in &tenants {
        for subject in &tenants {
            seen.push(digest(&world, by.id, subject).await);
        }
    }
    for own in [0, 3] {
        for what in ["Budget {", "Account {", "RateLimit {", "KillSwitch {", "Posting {", "Answered", "VirtualKey {"] {
            assert!(seen[own].contains(what), "the comparison is of nothing: no {what} in {}", seen[own]);
        }
    }
    let [ours, theirs] = &tenants;
    assert!(!seen[1].contains(&theirs.id.to_string()) && !seen[2].contains(&ours.id.to_string()));

    // Now with every policy off: the statements alone give the same answers.
    let mut owner = world.database.owner().await.expect("a connection");
    sqlx::raw_sql(
        "DO $$ DECLARE target regclass; BEGIN
             FOR target IN SELECT oid::regclass FROM pg_class WHERE relrowsecurity LOOP
                 EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', target);
             END LOOP; END $$",
    )
    .execute(&mut owner)
    .await
    .expect("switched off");
    let mut again = Vec::new();
    for by in &tenants {
        for subject in &tenants {
            again.push(digest(&world, by.id, subject).await);
        }
    }
    assert_eq!(seen, again);
}

#[tokio::test]
async fn an_address_leads_to_the_same_restricted_roles() {
    let world = World::new().await;
    let ours = world.tenant("ours").await;
    let database = store::Database::from_url(world.database.url()).expect("an address");
    assert!(!format!("{database:?}").contains("headgate_owner:"), "no password in logs");
    assert!(migrate::run(&database, NOON).await.expect("nothing to do").is_empty());
    let store = store::Store::open(&database, store::PoolLimits::default()).await.expect("a store");
    let mut tx = store.read(OrganizationId::from_uuid(1)).await.expect("a read");
    assert!(workspaces::load(&mut tx, None).await.expect("readable").is_empty());
    let mut tx = store.read(ours.id).await.expect("a read");
    assert_eq!(workspaces::load(&mut tx, None).await.expect("readable"), [ours.workspace]);
    assert!(matches!(store::Database::from_url("mysql://x"), Err(StoreError::Address)));
}

#[tokio::test]
async fn a_user_who_may_not_create_roles_is_told_what_to_run() {
    let world = World::new().await;
    let mut superuser = world.database.superuser().await.expect("a connection");
    let user = format!("plain_{}", std::process::id());
    let sql = format!("CREATE ROLE {user} LOGIN PASSWORD 'plain'; GRANT CREATE ON SCHEMA public TO {user}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut superuser).await.expect("made");
    let (_, place) = world.database.url().split_once('@').expect("an address");
    let database = store::Database::from_url(&format!("postgres://{user}:plain@{place}")).expect("an address");
    let error = migrate::run(&database, NOON).await.expect_err("not a member");
    assert!(error.to_string().contains(&format!("GRANT headgate_app, headgate_jobs TO {user}")), "{error}");
    let sql = format!("REVOKE ALL ON SCHEMA public FROM {user}; DROP ROLE {user}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut superuser).await.expect("removed");
}
