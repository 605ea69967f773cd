//! Rate limits as people set them. They are counted on nodes; nothing of that is here.

use domain::budget::{Dimension, Subject};
use domain::change::Change;
use domain::page::{Cursor, Limit, Page};
use domain::rate_limit::{Rate, RateLimit};
use domain::{Permit, RateLimitId, Timestamp, WorkspaceId};
use sqlx::types::Json;

use crate::row::{self, Row, signed, time, time_opt, unsigned};
use crate::tx::Exactly as _;
use crate::{Result, StoreError, Tx, WriteTx};

#[derive(sqlx::FromRow)]
struct RateLimitRow {
    id: String,
    organization_id: String,
    workspace_id: Option<String>,
    name: String,
    description: Option<String>,
    is_enabled: bool,
    subject: Json<Subject>,
    group_by: Json<Vec<Dimension>>,
    rates: Json<Vec<Rate>>,
    version: i64,
    created_at: i64,
    updated_at: i64,
    archived_at: Option<i64>,
}

impl RateLimitRow {
    fn read(self) -> Result<RateLimit> {
        let row = Row { table: "rate_limits", id: &self.id };
        Ok(RateLimit {
            id: row.parse("id", &self.id)?,
            organization_id: row.parse("organization_id", &self.organization_id)?,
            workspace_id: row.parse_opt("workspace_id", self.workspace_id.as_deref())?,
            name: row.parse("name", &self.name)?,
            description: self.description,
            is_enabled: self.is_enabled,
            subject: self.subject.0,
            group_by: self.group_by.0,
            rates: self.rates.0,
            version: unsigned(self.version),
            created_at: time(self.created_at),
            updated_at: time(self.updated_at),
            archived_at: time_opt(self.archived_at),
        })
    }
}

/// Adds a rate limit. Errors: `Conflict(RateLimitName)`.
pub async fn insert(tx: &mut WriteTx, permit: &Permit, it: &RateLimit) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query(
        "INSERT INTO rate_limits (organization_id, id, workspace_id, name, description, is_enabled, subject, group_by, rates,
                                  version, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(it.organization_id.to_string())
    .bind(it.id.to_string())
    .bind(it.workspace_id.map(|id| id.to_string()))
    .bind(it.name.as_str())
    .bind(&it.description)
    .bind(it.is_enabled)
    .bind(Json(&it.subject))
    .bind(Json(&it.group_by))
    .bind(Json(&it.rates))
    .bind(signed(it.version))
    .bind(it.created_at.as_micros())
    .bind(it.updated_at.as_micros())
    .execute(tx.conn())
    .await?;
    tx.changed(Change::RateLimit(it.id));
    Ok(())
}

/// Returns a rate limit, archived or not.
pub async fn get(tx: &mut Tx, id: RateLimitId) -> Result<RateLimit> {
    load(tx, Some(&[id])).await?.pop().ok_or(StoreError::NotFound("rate limit"))
}

/// Counts the rate limits of the organization that are not archived.
pub async fn count(tx: &mut Tx) -> Result<u64> {
    let count: i64 =
        sqlx::query_scalar("SELECT count(*) FROM rate_limits WHERE organization_id = $1 AND archived_at IS NULL")
            .bind(tx.org())
            .fetch_one(tx.conn())
            .await?;
    Ok(unsigned(count))
}

/// Lists rate limits that are not archived, newest first: those of a workspace, or all of the organization.
pub async fn list(
    tx: &mut Tx,
    workspace_id: Option<WorkspaceId>,
    cursor: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<RateLimit>> {
    let rows: Vec<RateLimitRow> = sqlx::query_as(
        "SELECT id, organization_id, workspace_id, name, description, is_enabled, subject, group_by, rates, version,
                created_at, updated_at, archived_at
           FROM rate_limits
          WHERE organization_id = $1 AND ($2::text IS NULL OR workspace_id = $2) AND archived_at IS NULL
            AND ($3::text IS NULL OR id < $3)
          ORDER BY id DESC LIMIT $4",
    )
    .bind(tx.org())
    .bind(workspace_id.map(|id| id.to_string()))
    .bind(row::after::<RateLimitId>(cursor)?)
    .bind(row::surplus(limit))
    .fetch_all(tx.conn())
    .await?;
    row::page(rows, limit, RateLimitRow::read, |it| it.id.to_string())
}

/// Loads rate limits, archived or not; all of the organization, or those named.
pub async fn load(tx: &mut Tx, ids: Option<&[RateLimitId]>) -> Result<Vec<RateLimit>> {
    let rows: Vec<RateLimitRow> = sqlx::query_as(
        "SELECT id, organization_id, workspace_id, name, description, is_enabled, subject, group_by, rates, version,
                created_at, updated_at, archived_at
           FROM rate_limits
          WHERE organization_id = $1 AND ($2::text[] IS NULL OR id = ANY($2)) ORDER BY id",
    )
    .bind(tx.org())
    .bind(row::texts(ids))
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(RateLimitRow::read).collect()
}

/// Writes a rate limit over the version that was read, and returns the new version. Its scope stays.
/// Errors: `Stale`, `Conflict(RateLimitName)`.
pub async fn update(tx: &mut WriteTx, permit: &Permit, it: &RateLimit) -> Result<u64> {
    tx.spend(permit)?;
    sqlx::query(
        "UPDATE rate_limits
            SET name = $4, description = $5, is_enabled = $6, subject = $7, group_by = $8, rates = $9, updated_at = $10,
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
    .bind(Json(&it.group_by))
    .bind(Json(&it.rates))
    .bind(it.updated_at.as_micros())
    .execute(tx.conn())
    .await?
    .current("rate limit")?;
    tx.changed(Change::RateLimit(it.id));
    Ok(it.version + 1)
}

/// Archives a rate limit; its name is free again and it holds no more.
pub async fn archive(tx: &mut WriteTx, permit: &Permit, id: RateLimitId, at: Timestamp) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query(
        "UPDATE rate_limits SET archived_at = $3, updated_at = $3, version = version + 1
          WHERE organization_id = $1 AND id = $2 AND archived_at IS NULL",
    )
    .bind(tx.org())
    .bind(id.to_string())
    .bind(at.as_micros())
    .execute(tx.conn())
    .await?
    .exactly(1, "rate limit")?;
    tx.changed(Change::RateLimit(id));
    Ok(())
}
