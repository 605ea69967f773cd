//! Budgets as people set them. What was spent of them is in [`crate::leases`].

pub mod accounts;
pub mod window;

use std::collections::BTreeSet;

use domain::budget::{Budget, Dimension, Increase, Limit as Cap, Subject};
use domain::change::Change;
use domain::page::{Cursor, Limit, Page};
use domain::{BudgetId, Permit, Timestamp, WorkspaceId};
use sqlx::types::Json;

use crate::row::{self, Row, signed, time, time_opt, unsigned};
use crate::tx::Exactly as _;
use crate::{Result, StoreError, SystemTx, Tx, WriteTx};

#[derive(sqlx::FromRow)]
struct BudgetRow {
    id: String,
    organization_id: String,
    workspace_id: Option<String>,
    name: String,
    description: Option<String>,
    is_enabled: bool,
    subject: Json<Subject>,
    group_by: Json<Vec<Dimension>>,
    measure: String,
    limits: Json<Vec<Cap>>,
    time_zone: String,
    enforcement: String,
    when_unreachable: String,
    alert_at: Json<Vec<u8>>,
    increase: Option<Json<Increase>>,
    carries_over: bool,
    version: i64,
    created_at: i64,
    updated_at: i64,
    archived_at: Option<i64>,
}

impl BudgetRow {
    fn read(self) -> Result<Budget> {
        use domain::budget::{Enforcement, Measure, WhenUnreachable};
        let row = Row { table: "budgets", id: &self.id };
        Ok(Budget {
            id: row.parse("id", &self.id)?,
            organization_id: row.parse("organization_id", &self.organization_id)?,
            workspace_id: row.parse_opt("workspace_id", self.workspace_id.as_deref())?,
            name: row.parse("name", &self.name)?,
            description: self.description,
            is_enabled: self.is_enabled,
            subject: self.subject.0,
            group_by: self.group_by.0,
            measure: Measure::find(&self.measure).ok_or_else(|| row.corrupt("measure"))?,
            limits: self.limits.0,
            time_zone: self.time_zone,
            enforcement: Enforcement::find(&self.enforcement).ok_or_else(|| row.corrupt("enforcement"))?,
            when_unreachable: WhenUnreachable::find(&self.when_unreachable)
                .ok_or_else(|| row.corrupt("when_unreachable"))?,
            alert_at: self.alert_at.0,
            increase: self.increase.map(|it| it.0),
            carries_over: self.carries_over,
            version: unsigned(self.version),
            created_at: time(self.created_at),
            updated_at: time(self.updated_at),
            archived_at: time_opt(self.archived_at),
        })
    }
}

/// Adds a budget. Errors: `Conflict(BudgetName)`.
pub async fn insert(tx: &mut WriteTx, permit: &Permit, it: &Budget) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query(
        "INSERT INTO budgets (organization_id, id, workspace_id, name, description, is_enabled, subject, group_by, measure,
                              limits, time_zone, enforcement, when_unreachable, alert_at, increase, carries_over, version,
                              created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
    )
    .bind(it.organization_id.to_string())
    .bind(it.id.to_string())
    .bind(it.workspace_id.map(|id| id.to_string()))
    .bind(it.name.as_str())
    .bind(&it.description)
    .bind(it.is_enabled)
    .bind(Json(&it.subject))
    .bind(Json(&it.group_by))
    .bind(it.measure.as_str())
    .bind(Json(&it.limits))
    .bind(&it.time_zone)
    .bind(it.enforcement.as_str())
    .bind(it.when_unreachable.as_str())
    .bind(Json(&it.alert_at))
    .bind(it.increase.as_ref().map(Json))
    .bind(it.carries_over)
    .bind(signed(it.version))
    .bind(it.created_at.as_micros())
    .bind(it.updated_at.as_micros())
    .execute(tx.conn())
    .await?;
    tx.changed(Change::Budget(it.id));
    Ok(())
}

/// Returns a budget, archived or not.
pub async fn get(tx: &mut Tx, id: BudgetId) -> Result<Budget> {
    load(tx, Some(&[id])).await?.pop().ok_or(StoreError::NotFound("budget"))
}

/// Lists budgets that are not archived, newest first: those of a workspace, or all of the organization.
pub async fn list(
    tx: &mut Tx,
    workspace_id: Option<WorkspaceId>,
    cursor: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<Budget>> {
    let rows: Vec<BudgetRow> = sqlx::query_as(
        "SELECT id, organization_id, workspace_id, name, description, is_enabled, subject, group_by, measure, limits,
                time_zone, enforcement, when_unreachable, alert_at, increase, carries_over, version, created_at, updated_at,
                archived_at
           FROM budgets
          WHERE organization_id = $1 AND ($2::text IS NULL OR workspace_id = $2) AND archived_at IS NULL
            AND ($3::text IS NULL OR id < $3)
          ORDER BY id DESC LIMIT $4",
    )
    .bind(tx.org())
    .bind(workspace_id.map(|id| id.to_string()))
    .bind(row::after::<BudgetId>(cursor)?)
    .bind(row::surplus(limit))
    .fetch_all(tx.conn())
    .await?;
    row::page(rows, limit, BudgetRow::read, |it| it.id.to_string())
}

/// Loads budgets, archived or not; all of the organization, or those named.
pub async fn load(tx: &mut Tx, ids: Option<&[BudgetId]>) -> Result<Vec<Budget>> {
    let rows: Vec<BudgetRow> = sqlx::query_as(
        "SELECT id, organization_id, workspace_id, name, description, is_enabled, subject, group_by, measure, limits,
                time_zone, enforcement, when_unreachable, alert_at, increase, carries_over, version, created_at, updated_at,
                archived_at
           FROM budgets
          WHERE organization_id = $1 AND ($2::text[] IS NULL OR id = ANY($2)) ORDER BY id",
    )
    .bind(tx.org())
    .bind(row::texts(ids))
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(BudgetRow::read).collect()
}

/// Loads budgets of several organizations by their whole keys, archived or not.
pub(crate) async fn find_all(
    tx: &mut SystemTx,
    keys: &BTreeSet<(domain::OrganizationId, BudgetId)>,
) -> Result<Vec<Budget>> {
    let (organizations, ids): (Vec<_>, Vec<_>) =
        keys.iter().map(|(organization, id)| (organization.to_string(), id.to_string())).unzip();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<BudgetRow> = sqlx::query_as(
        "SELECT id, organization_id, workspace_id, name, description, is_enabled, subject, group_by, measure, limits,
                time_zone, enforcement, when_unreachable, alert_at, increase, carries_over, version, created_at, updated_at,
                archived_at
           FROM budgets
          WHERE (organization_id, id) IN (SELECT * FROM unnest($1::text[], $2::text[]))",
    )
    .bind(organizations)
    .bind(ids)
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(BudgetRow::read).collect()
}

/// Writes what may change of a budget over the version that was read, and returns the new version. Scope, grouping, measure and
/// time zone stay, since they say in which accounts a call counts.
pub async fn update(tx: &mut WriteTx, permit: &Permit, it: &Budget) -> Result<u64> {
    tx.spend(permit)?;
    sqlx::query(
        "UPDATE budgets
            SET name = $4, description = $5, is_enabled = $6, subject = $7, limits = $8, enforcement = $9,
                when_unreachable = $10, alert_at = $11, increase = $12, carries_over = $13, updated_at = $14,
                version = version + 1
          WHERE organization_id = $1 AND id = $2 AND version = $3 AND archived_at IS NULL",
    )
    .bind(tx.org())
    .bind(it.id.to_string())
    .bind(signed(it.version))
    .bind(it.name.as_str())
    .bind(&it.description)
    .bind(it.is_enabled)
    .bind(Json(&it.subject))
    .bind(Json(&it.limits))
    .bind(it.enforcement.as_str())
    .bind(it.when_unreachable.as_str())
    .bind(Json(&it.alert_at))
    .bind(it.increase.as_ref().map(Json))
    .bind(it.carries_over)
    .bind(it.updated_at.as_micros())
    .execute(tx.conn())
    .await?
    .current("budget")?;
    tx.changed(Change::Budget(it.id));
    Ok(it.version + 1)
}

/// Archives a budget; its name is free again and nothing counts any more.
pub async fn archive(tx: &mut WriteTx, permit: &Permit, id: BudgetId, at: Timestamp) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query(
        "UPDATE budgets SET archived_at = $3, updated_at = $3, version = version + 1
          WHERE organization_id = $1 AND id = $2 AND archived_at IS NULL",
    )
    .bind(tx.org())
    .bind(id.to_string())
    .bind(at.as_micros())
    .execute(tx.conn())
    .await?
    .exactly(1, "budget")?;
    tx.changed(Change::Budget(id));
    Ok(())
}
