//! Workspaces.

use domain::change::Change;
use domain::page::{Cursor, Limit, Page};
use domain::workspace::Workspace;
use domain::{OrganizationId, Permit, Timestamp, WorkspaceId};

use crate::row::{self, Row, signed, time, time_opt, unsigned};
use crate::tx::Exactly as _;
use crate::{Result, StoreError, SystemTx, Tx, WriteTx};

#[derive(sqlx::FromRow)]
struct WorkspaceRow {
    id: String,
    organization_id: String,
    slug: String,
    name: String,
    version: i64,
    created_at: i64,
    archived_at: Option<i64>,
}

impl WorkspaceRow {
    fn read(self) -> Result<Workspace> {
        let row = Row { table: "workspaces", id: &self.id };
        Ok(Workspace {
            id: row.parse("id", &self.id)?,
            organization_id: row.parse("organization_id", &self.organization_id)?,
            slug: row.parse("slug", &self.slug)?,
            name: row.parse("name", &self.name)?,
            version: unsigned(self.version),
            created_at: time(self.created_at),
            archived_at: time_opt(self.archived_at),
        })
    }
}

/// Adds a workspace. Errors: `Conflict(WorkspaceSlug)`.
pub async fn insert(tx: &mut WriteTx, permit: &Permit, workspace: &Workspace) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query(
        "INSERT INTO workspaces (organization_id, id, slug, name, version, created_at, archived_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(workspace.organization_id.to_string())
    .bind(workspace.id.to_string())
    .bind(workspace.slug.as_str())
    .bind(workspace.name.as_str())
    .bind(signed(workspace.version))
    .bind(workspace.created_at.as_micros())
    .bind(row::micros(workspace.archived_at))
    .execute(tx.conn())
    .await?;
    tx.changed(Change::Workspace(workspace.id));
    Ok(())
}

/// Returns a workspace, archived or not.
pub async fn get(tx: &mut Tx, id: WorkspaceId) -> Result<Workspace> {
    find(tx, id).await?.ok_or(StoreError::NotFound("workspace"))
}

/// Looks a workspace up.
pub async fn find(tx: &mut Tx, id: WorkspaceId) -> Result<Option<Workspace>> {
    Ok(load(tx, Some(&[id])).await?.pop())
}

/// Lists workspaces that are not archived, oldest first: all, or of the given ones.
pub async fn list(
    tx: &mut Tx,
    among: Option<&[WorkspaceId]>,
    cursor: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<Workspace>> {
    let rows: Vec<WorkspaceRow> = sqlx::query_as(
        "SELECT id, organization_id, slug, name, version, created_at, archived_at FROM workspaces
          WHERE organization_id = $1 AND archived_at IS NULL
            AND ($2::text[] IS NULL OR id = ANY($2)) AND ($3::text IS NULL OR id > $3)
          ORDER BY id LIMIT $4",
    )
    .bind(tx.org())
    .bind(row::texts(among))
    .bind(row::after::<WorkspaceId>(cursor)?)
    .bind(row::surplus(limit))
    .fetch_all(tx.conn())
    .await?;
    row::page(rows, limit, WorkspaceRow::read, |workspace| workspace.id.to_string())
}

/// Loads all workspaces, or those of the given ids, archived ones included, oldest first.
pub async fn load(tx: &mut Tx, ids: Option<&[WorkspaceId]>) -> Result<Vec<Workspace>> {
    let rows: Vec<WorkspaceRow> = sqlx::query_as(
        "SELECT id, organization_id, slug, name, version, created_at, archived_at FROM workspaces
          WHERE organization_id = $1 AND ($2::text[] IS NULL OR id = ANY($2)) ORDER BY id",
    )
    .bind(tx.org())
    .bind(row::texts(ids))
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(WorkspaceRow::read).collect()
}

/// Writes slug and name over the version that was read, and returns the new version.
pub async fn update(tx: &mut WriteTx, permit: &Permit, workspace: &Workspace) -> Result<u64> {
    tx.spend(permit)?;
    sqlx::query(
        "UPDATE workspaces SET slug = $4, name = $5, version = version + 1
          WHERE organization_id = $1 AND id = $2 AND version = $3",
    )
    .bind(tx.org())
    .bind(workspace.id.to_string())
    .bind(signed(workspace.version))
    .bind(workspace.slug.as_str())
    .bind(workspace.name.as_str())
    .execute(tx.conn())
    .await?
    .current("workspace")?;
    tx.changed(Change::Workspace(workspace.id));
    Ok(workspace.version + 1)
}

/// Archives a workspace; its keys stop working at that moment. Errors: `NotFound` when it is unknown or archived already.
pub async fn archive(tx: &mut WriteTx, permit: &Permit, id: WorkspaceId, at: Timestamp) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query(
        "UPDATE workspaces SET archived_at = $3, version = version + 1
          WHERE organization_id = $1 AND id = $2 AND archived_at IS NULL",
    )
    .bind(tx.org())
    .bind(id.to_string())
    .bind(at.as_micros())
    .execute(tx.conn())
    .await?
    .exactly(1, "workspace")?;
    tx.changed(Change::Workspace(id));
    Ok(())
}

/// Finds whose workspace it is: addresses under `/workspaces/…` do not name the organization.
pub async fn find_organization(tx: &mut SystemTx, id: WorkspaceId) -> Result<Option<OrganizationId>> {
    let text: Option<String> = sqlx::query_scalar("SELECT organization_id FROM workspaces WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(tx.conn())
        .await?;
    Row { table: "workspaces", id: &id.to_string() }.parse_opt("organization_id", text.as_deref())
}
