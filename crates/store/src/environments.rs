//! Environments of workspaces.

use domain::change::Change;
use domain::environment::Environment;
use domain::{EnvironmentId, Permit, WorkspaceId};

use crate::row::{self, Row, signed, time, unsigned};
use crate::tx::Exactly as _;
use crate::{Result, StoreError, Tx, WriteTx};

#[derive(sqlx::FromRow)]
struct EnvironmentRow {
    id: String,
    organization_id: String,
    workspace_id: String,
    slug: String,
    name: String,
    position: i32,
    version: i64,
    created_at: i64,
}

impl EnvironmentRow {
    fn read(self) -> Result<Environment> {
        let row = Row { table: "environments", id: &self.id };
        Ok(Environment {
            id: row.parse("id", &self.id)?,
            organization_id: row.parse("organization_id", &self.organization_id)?,
            workspace_id: row.parse("workspace_id", &self.workspace_id)?,
            slug: row.parse("slug", &self.slug)?,
            name: row.parse("name", &self.name)?,
            position: row.small("position", self.position)?,
            version: unsigned(self.version),
            created_at: time(self.created_at),
        })
    }
}

/// Adds an environment. Errors: `Conflict(EnvironmentSlug)`.
pub async fn insert(tx: &mut WriteTx, permit: &Permit, environment: &Environment) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query(
        "INSERT INTO environments (organization_id, id, workspace_id, slug, name, position, version, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(environment.organization_id.to_string())
    .bind(environment.id.to_string())
    .bind(environment.workspace_id.to_string())
    .bind(environment.slug.as_str())
    .bind(environment.name.as_str())
    .bind(i32::from(environment.position))
    .bind(signed(environment.version))
    .bind(environment.created_at.as_micros())
    .execute(tx.conn())
    .await?;
    tx.changed(Change::Environment(environment.id));
    Ok(())
}

/// Returns an environment.
pub async fn get(tx: &mut Tx, id: EnvironmentId) -> Result<Environment> {
    load(tx, Some(&[id])).await?.pop().ok_or(StoreError::NotFound("environment"))
}

/// Lists all environments of a workspace in order of promotion. A workspace has a handful, so there are no pages.
pub async fn list(tx: &mut Tx, workspace_id: WorkspaceId) -> Result<Vec<Environment>> {
    let rows: Vec<EnvironmentRow> = sqlx::query_as(
        "SELECT id, organization_id, workspace_id, slug, name, position, version, created_at FROM environments
          WHERE organization_id = $1 AND workspace_id = $2 ORDER BY position, id",
    )
    .bind(tx.org())
    .bind(workspace_id.to_string())
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(EnvironmentRow::read).collect()
}

/// Loads all environments, or those of the given ids.
pub async fn load(tx: &mut Tx, ids: Option<&[EnvironmentId]>) -> Result<Vec<Environment>> {
    let rows: Vec<EnvironmentRow> = sqlx::query_as(
        "SELECT id, organization_id, workspace_id, slug, name, position, version, created_at FROM environments
          WHERE organization_id = $1 AND ($2::text[] IS NULL OR id = ANY($2)) ORDER BY id",
    )
    .bind(tx.org())
    .bind(row::texts(ids))
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(EnvironmentRow::read).collect()
}

/// Writes slug, name and place over the version that was read, and returns the new version.
pub async fn update(tx: &mut WriteTx, permit: &Permit, environment: &Environment) -> Result<u64> {
    tx.spend(permit)?;
    sqlx::query(
        "UPDATE environments SET slug = $4, name = $5, position = $6, version = version + 1
          WHERE organization_id = $1 AND id = $2 AND version = $3",
    )
    .bind(tx.org())
    .bind(environment.id.to_string())
    .bind(signed(environment.version))
    .bind(environment.slug.as_str())
    .bind(environment.name.as_str())
    .bind(i32::from(environment.position))
    .execute(tx.conn())
    .await?
    .current("environment")?;
    tx.changed(Change::Environment(environment.id));
    Ok(environment.version + 1)
}

/// Says whether any key, revoked or not, was ever attached to the environment.
pub async fn has_keys(tx: &mut Tx, id: EnvironmentId) -> Result<bool> {
    let found = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM virtual_keys WHERE organization_id = $1 AND environment_id = $2)",
    )
    .bind(tx.org())
    .bind(id.to_string())
    .fetch_one(tx.conn())
    .await?;
    Ok(found)
}

/// Deletes an environment that no key is attached to.
pub async fn delete(tx: &mut WriteTx, permit: &Permit, id: EnvironmentId) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query("DELETE FROM environments WHERE organization_id = $1 AND id = $2")
        .bind(tx.org())
        .bind(id.to_string())
        .execute(tx.conn())
        .await?
        .exactly(1, "environment")?;
    tx.changed(Change::Environment(id));
    Ok(())
}
