//! Deployments. Their names share one space with those of routes; the one writer per organization makes the check sound.

use domain::change::Change;
use domain::deployment::Deployment;
use domain::page::{Cursor, Limit, Page};
use domain::{BaseModel, CredentialId, DeploymentId, ModelName, Permit, Timestamp, WorkspaceId};

use crate::row::{self, Row, signed, time, time_opt, unsigned};
use crate::tx::Exactly as _;
use crate::{Constraint, Result, StoreError, Tx, WriteTx};

#[derive(sqlx::FromRow)]
struct DeploymentRow {
    id: String,
    organization_id: String,
    workspace_id: String,
    name: String,
    provider: String,
    upstream_model: String,
    base_model: Option<String>,
    credential_id: Option<String>,
    is_enabled: bool,
    version: i64,
    created_at: i64,
    updated_at: i64,
    archived_at: Option<i64>,
}

impl DeploymentRow {
    fn read(self) -> Result<Deployment> {
        let row = Row { table: "deployments", id: &self.id };
        Ok(Deployment {
            id: row.parse("id", &self.id)?,
            organization_id: row.parse("organization_id", &self.organization_id)?,
            workspace_id: row.parse("workspace_id", &self.workspace_id)?,
            name: row.parse("name", &self.name)?,
            provider: self.provider,
            upstream_model: self.upstream_model,
            base_model: row.parse_opt("base_model", self.base_model.as_deref())?,
            credential_id: row.parse_opt("credential_id", self.credential_id.as_deref())?,
            is_enabled: self.is_enabled,
            version: unsigned(self.version),
            created_at: time(self.created_at),
            updated_at: time(self.updated_at),
            archived_at: time_opt(self.archived_at),
        })
    }
}

/// Fails when a live route of the workspace has the name.
async fn check_name(tx: &mut WriteTx, workspace: WorkspaceId, name: &ModelName) -> Result<()> {
    let taken: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM routes
          WHERE organization_id = $1 AND workspace_id = $2 AND name = $3 AND archived_at IS NULL)",
    )
    .bind(tx.org())
    .bind(workspace.to_string())
    .bind(name.as_str())
    .fetch_one(tx.conn())
    .await?;
    if taken { Err(StoreError::Conflict(Constraint::RouteName)) } else { Ok(()) }
}

/// Adds a deployment. Errors: `Conflict(DeploymentName)`, `Conflict(RouteName)`.
pub async fn insert(tx: &mut WriteTx, permit: &Permit, deployment: &Deployment) -> Result<()> {
    tx.spend(permit)?;
    check_name(tx, deployment.workspace_id, &deployment.name).await?;
    sqlx::query(
        "INSERT INTO deployments (organization_id, id, workspace_id, name, provider, upstream_model, base_model,
                                  credential_id, is_enabled, version, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(deployment.organization_id.to_string())
    .bind(deployment.id.to_string())
    .bind(deployment.workspace_id.to_string())
    .bind(deployment.name.as_str())
    .bind(&deployment.provider)
    .bind(&deployment.upstream_model)
    .bind(deployment.base_model.as_ref().map(BaseModel::as_str))
    .bind(deployment.credential_id.map(|id| id.to_string()))
    .bind(deployment.is_enabled)
    .bind(signed(deployment.version))
    .bind(deployment.created_at.as_micros())
    .bind(deployment.updated_at.as_micros())
    .execute(tx.conn())
    .await?;
    tx.changed(Change::Deployment(deployment.id));
    Ok(())
}

/// Returns a deployment, archived or not.
pub async fn get(tx: &mut Tx, id: DeploymentId) -> Result<Deployment> {
    load(tx, Some(&[id])).await?.pop().ok_or(StoreError::NotFound("deployment"))
}

/// Lists the deployments of a workspace that are not archived, newest first.
pub async fn list(
    tx: &mut Tx,
    workspace_id: WorkspaceId,
    cursor: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<Deployment>> {
    let rows: Vec<DeploymentRow> = sqlx::query_as(
        "SELECT id, organization_id, workspace_id, name, provider, upstream_model, base_model, credential_id, is_enabled,
                version, created_at, updated_at, archived_at FROM deployments
          WHERE organization_id = $1 AND workspace_id = $2 AND archived_at IS NULL AND ($3::text IS NULL OR id < $3)
          ORDER BY id DESC LIMIT $4",
    )
    .bind(tx.org())
    .bind(workspace_id.to_string())
    .bind(row::after::<DeploymentId>(cursor)?)
    .bind(row::surplus(limit))
    .fetch_all(tx.conn())
    .await?;
    row::page(rows, limit, DeploymentRow::read, |deployment| deployment.id.to_string())
}

/// Loads all deployments, or those of the given ids, archived ones included.
pub async fn load(tx: &mut Tx, ids: Option<&[DeploymentId]>) -> Result<Vec<Deployment>> {
    let rows: Vec<DeploymentRow> = sqlx::query_as(
        "SELECT id, organization_id, workspace_id, name, provider, upstream_model, base_model, credential_id, is_enabled,
                version, created_at, updated_at, archived_at FROM deployments
          WHERE organization_id = $1 AND ($2::text[] IS NULL OR id = ANY($2)) ORDER BY id",
    )
    .bind(tx.org())
    .bind(row::texts(ids))
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(DeploymentRow::read).collect()
}

/// Lists the live deployments of the organization that use a credential.
pub async fn list_by_credential(tx: &mut Tx, credential_id: CredentialId) -> Result<Vec<Deployment>> {
    let rows: Vec<DeploymentRow> = sqlx::query_as(
        "SELECT id, organization_id, workspace_id, name, provider, upstream_model, base_model, credential_id, is_enabled,
                version, created_at, updated_at, archived_at FROM deployments
          WHERE organization_id = $1 AND credential_id = $2 AND archived_at IS NULL ORDER BY id",
    )
    .bind(tx.org())
    .bind(credential_id.to_string())
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(DeploymentRow::read).collect()
}

/// Writes everything but workspace and provider over the version that was read, and returns the new version.
pub async fn update(tx: &mut WriteTx, permit: &Permit, deployment: &Deployment) -> Result<u64> {
    tx.spend(permit)?;
    check_name(tx, deployment.workspace_id, &deployment.name).await?;
    sqlx::query(
        "UPDATE deployments
            SET name = $4, upstream_model = $5, base_model = $6, credential_id = $7, is_enabled = $8, updated_at = $9,
                version = version + 1
          WHERE organization_id = $1 AND id = $2 AND version = $3 AND archived_at IS NULL",
    )
    .bind(tx.org())
    .bind(deployment.id.to_string())
    .bind(signed(deployment.version))
    .bind(deployment.name.as_str())
    .bind(&deployment.upstream_model)
    .bind(deployment.base_model.as_ref().map(BaseModel::as_str))
    .bind(deployment.credential_id.map(|id| id.to_string()))
    .bind(deployment.is_enabled)
    .bind(deployment.updated_at.as_micros())
    .execute(tx.conn())
    .await?
    .current("deployment")?;
    tx.changed(Change::Deployment(deployment.id));
    Ok(deployment.version + 1)
}

/// Archives a deployment; its name is free again. Routes that name it skip it.
pub async fn archive(tx: &mut WriteTx, permit: &Permit, id: DeploymentId, at: Timestamp) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query(
        "UPDATE deployments SET archived_at = $3, updated_at = $3, version = version + 1
          WHERE organization_id = $1 AND id = $2 AND archived_at IS NULL",
    )
    .bind(tx.org())
    .bind(id.to_string())
    .bind(at.as_micros())
    .execute(tx.conn())
    .await?
    .exactly(1, "deployment")?;
    tx.changed(Change::Deployment(id));
    Ok(())
}
