//! Migrations on a real database: repeatable, checksummed, one at a time.

use store::migrate::{self, SchemaError};
use store::{Constraint, StoreError};

use crate::support::{NOON, World};

#[tokio::test]
async fn a_second_run_applies_nothing() {
    let world = World::new().await;
    assert_eq!(migrate::run(world.database.database(), NOON).await.expect("runs"), Vec::<&str>::new());
    migrate::check(world.database.database()).await.expect("the schema of this build");
}

#[tokio::test]
async fn an_altered_or_newer_schema_is_refused_by_name() {
    let world = World::new().await;
    let mut owner = world.database.owner().await.expect("a connection");
    sqlx::query("INSERT INTO schema_migrations VALUES (99, '0099_future.sql', '', 0)")
        .execute(&mut owner)
        .await
        .expect("added");
    let error = migrate::check(world.database.database()).await.expect_err("ahead");
    assert!(matches!(error, StoreError::Schema(SchemaError::Ahead { found: 99, .. })), "{error}");
    sqlx::query("DELETE FROM schema_migrations WHERE version = 99").execute(&mut owner).await.expect("deleted");
    sqlx::query("UPDATE schema_migrations SET checksum = '\\x00' WHERE version = 3")
        .execute(&mut owner)
        .await
        .expect("altered");
    let error = world.database.store().await.expect_err("changed");
    assert!(matches!(error, StoreError::Schema(SchemaError::Changed { name: "0003_routing.sql" })), "{error}");
}

#[tokio::test]
async fn two_migrators_take_turns() {
    let world = World::new().await;
    let mut owner = world.database.owner().await.expect("a connection");
    sqlx::raw_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public").execute(&mut owner).await.expect("emptied");
    let (left, right) =
        tokio::join!(migrate::run(world.database.database(), NOON), migrate::run(world.database.database(), NOON));
    let mut counts = [left.expect("runs").len(), right.expect("runs").len()];
    counts.sort_unstable();
    assert_eq!(counts, [0, migrate::ALL.len()]);
}

#[tokio::test]
async fn every_constraint_that_input_can_violate_is_known() {
    let world = World::new().await;
    let mut owner = world.database.owner().await.expect("a connection");
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT i.relname::text FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
          WHERE x.indisunique AND NOT x.indisprimary AND t.relnamespace = 'public'::regnamespace AND NOT i.relispartition",
    )
    .fetch_all(&mut owner)
    .await
    .expect("the catalog");
    // Unique by construction: ids, and the hash of 256 random bits.
    let minted = ["workspaces_id", "node_groups_id", "nodes_id", "environments_workspace", "sessions_secret_hash_key"];
    let unknown: Vec<_> = names
        .iter()
        .filter(|name| !minted.contains(&name.as_str()) && Constraint::from_name(name) == Constraint::Other)
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
