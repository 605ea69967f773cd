//! Routes. Their names share one space with those of deployments; the one writer per organization makes the check sound.

use domain::change::Change;
use domain::page::{Cursor, Limit, Page};
use domain::route::{Node, Route, Rules, Target, Timeouts};
use domain::{ModelName, Permit, RouteId, Timestamp, WorkspaceId};
use sqlx::types::Json;

use crate::row::{self, Row, signed, time, time_opt, unsigned};
use crate::tx::Exactly as _;
use crate::{Constraint, Result, StoreError, Tx, WriteTx};

#[derive(sqlx::FromRow)]
struct RouteRow {
    id: String,
    organization_id: String,
    workspace_id: String,
    name: String,
    targets: Json<Vec<Target>>,
    tree: Option<Json<Node>>,
    max_attempts: i32,
    timeouts: Json<Timeouts>,
    rules: Json<Rules>,
    version: i64,
    created_at: i64,
    updated_at: i64,
    archived_at: Option<i64>,
}

impl RouteRow {
    fn read(self) -> Result<Route> {
        let row = Row { table: "routes", id: &self.id };
        Ok(Route {
            id: row.parse("id", &self.id)?,
            organization_id: row.parse("organization_id", &self.organization_id)?,
            workspace_id: row.parse("workspace_id", &self.workspace_id)?,
            name: row.parse("name", &self.name)?,
            targets: self.targets.0,
            tree: self.tree.map(|tree| tree.0),
            max_attempts: row.small("max_attempts", self.max_attempts)?,
            timeouts: self.timeouts.0,
            rules: self.rules.0,
            version: unsigned(self.version),
            created_at: time(self.created_at),
            updated_at: time(self.updated_at),
            archived_at: time_opt(self.archived_at),
        })
    }
}

/// Fails when a live deployment of the workspace has the name.
async fn check_name(tx: &mut WriteTx, workspace: WorkspaceId, name: &ModelName) -> Result<()> {
    let taken: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM deployments
          WHERE organization_id = $1 AND workspace_id = $2 AND name = $3 AND archived_at IS NULL)",
    )
    .bind(tx.org())
    .bind(workspace.to_string())
    .bind(name.as_str())
    .fetch_one(tx.conn())
    .await?;
    if taken { Err(StoreError::Conflict(Constraint::DeploymentName)) } else { Ok(()) }
}

/// Adds a route. Errors: `Conflict(RouteName)`, `Conflict(DeploymentName)`.
pub async fn insert(tx: &mut WriteTx, permit: &Permit, route: &Route) -> Result<()> {
    tx.spend(permit)?;
    check_name(tx, route.workspace_id, &route.name).await?;
    sqlx::query(
        "INSERT INTO routes (organization_id, id, workspace_id, name, targets, tree, max_attempts, timeouts, rules, version,
                             created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(route.organization_id.to_string())
    .bind(route.id.to_string())
    .bind(route.workspace_id.to_string())
    .bind(route.name.as_str())
    .bind(Json(&route.targets))
    .bind(route.tree.as_ref().map(Json))
    .bind(i32::from(route.max_attempts))
    .bind(Json(&route.timeouts))
    .bind(Json(&route.rules))
    .bind(signed(route.version))
    .bind(route.created_at.as_micros())
    .bind(route.updated_at.as_micros())
    .execute(tx.conn())
    .await?;
    tx.changed(Change::Route(route.id));
    Ok(())
}

/// Returns a route, archived or not.
pub async fn get(tx: &mut Tx, id: RouteId) -> Result<Route> {
    load(tx, Some(&[id])).await?.pop().ok_or(StoreError::NotFound("route"))
}

/// Lists the routes of a workspace that are not archived, newest first.
pub async fn list(
    tx: &mut Tx,
    workspace_id: WorkspaceId,
    cursor: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<Route>> {
    let rows: Vec<RouteRow> = sqlx::query_as(
        "SELECT id, organization_id, workspace_id, name, targets, tree, max_attempts, timeouts, rules, version, created_at,
                updated_at, archived_at FROM routes
          WHERE organization_id = $1 AND workspace_id = $2 AND archived_at IS NULL AND ($3::text IS NULL OR id < $3)
          ORDER BY id DESC LIMIT $4",
    )
    .bind(tx.org())
    .bind(workspace_id.to_string())
    .bind(row::after::<RouteId>(cursor)?)
    .bind(row::surplus(limit))
    .fetch_all(tx.conn())
    .await?;
    row::page(rows, limit, RouteRow::read, |route| route.id.to_string())
}

/// Loads all routes, or those of the given ids, archived ones included.
pub async fn load(tx: &mut Tx, ids: Option<&[RouteId]>) -> Result<Vec<Route>> {
    let rows: Vec<RouteRow> = sqlx::query_as(
        "SELECT id, organization_id, workspace_id, name, targets, tree, max_attempts, timeouts, rules, version, created_at,
                updated_at, archived_at FROM routes
          WHERE organization_id = $1 AND ($2::text[] IS NULL OR id = ANY($2)) ORDER BY id",
    )
    .bind(tx.org())
    .bind(row::texts(ids))
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(RouteRow::read).collect()
}

/// Writes everything but the workspace over the version that was read, and returns the new version.
pub async fn update(tx: &mut WriteTx, permit: &Permit, route: &Route) -> Result<u64> {
    tx.spend(permit)?;
    check_name(tx, route.workspace_id, &route.name).await?;
    sqlx::query(
        "UPDATE routes
            SET name = $4, targets = $5, tree = $6, max_attempts = $7, timeouts = $8, rules = $9, updated_at = $10,
                version = version + 1
          WHERE organization_id = $1 AND id = $2 AND version = $3 AND archived_at IS NULL",
    )
    .bind(tx.org())
    .bind(route.id.to_string())
    .bind(signed(route.version))
    .bind(route.name.as_str())
    .bind(Json(&route.targets))
    .bind(route.tree.as_ref().map(Json))
    .bind(i32::from(route.max_attempts))
    .bind(Json(&route.timeouts))
    .bind(Json(&route.rules))
    .bind(route.updated_at.as_micros())
    .execute(tx.conn())
    .await?
    .current("route")?;
    tx.changed(Change::Route(route.id));
    Ok(route.version + 1)
}

/// Archives a route; its name is free again.
pub async fn archive(tx: &mut WriteTx, permit: &Permit, id: RouteId, at: Timestamp) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query(
        "UPDATE routes SET archived_at = $3, updated_at = $3, version = version + 1
          WHERE organization_id = $1 AND id = $2 AND archived_at IS NULL",
    )
    .bind(tx.org())
    .bind(id.to_string())
    .bind(at.as_micros())
    .execute(tx.conn())
    .await?
    .exactly(1, "route")?;
    tx.changed(Change::Route(id));
    Ok(())
}
