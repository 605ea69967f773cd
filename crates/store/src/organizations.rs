//! Organizations, and with each its turn to write and the beginning of its audit chain.

use std::time::Duration;

use domain::change::Change;
use domain::organization::Organization;
use domain::{OrganizationId, Permit};

use crate::row::{Row, signed, time, unsigned};
use crate::tx::Exactly as _;
use crate::{Result, Session, StoreError, SystemTx, Tx, WriteTx};

#[derive(sqlx::FromRow)]
struct OrganizationRow {
    id: String,
    slug: String,
    name: String,
    max_stale_ms: i64,
    response_retention_ms: i64,
    version: i64,
    created_at: i64,
}

impl OrganizationRow {
    fn read(self) -> Result<Organization> {
        let row = Row { table: "organizations", id: &self.id };
        Ok(Organization {
            id: row.parse("id", &self.id)?,
            slug: row.parse("slug", &self.slug)?,
            name: row.parse("name", &self.name)?,
            max_stale: Duration::from_millis(unsigned(self.max_stale_ms)),
            response_retention: Duration::from_millis(unsigned(self.response_retention_ms)),
            version: unsigned(self.version),
            created_at: time(self.created_at),
        })
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Brings an organization into being; in a transaction from [`crate::Store::found`].
///
/// Errors: `Conflict(OrganizationSlug)`.
pub async fn insert(tx: &mut WriteTx, permit: &Permit, organization: &Organization) -> Result<()> {
    tx.spend(permit)?;
    let id = organization.id.to_string();
    sqlx::query(
        "INSERT INTO organizations (id, slug, name, max_stale_ms, response_retention_ms, version, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(&id)
    .bind(organization.slug.as_str())
    .bind(organization.name.as_str())
    .bind(millis(organization.max_stale))
    .bind(millis(organization.response_retention))
    .bind(signed(organization.version))
    .bind(organization.created_at.as_micros())
    .execute(tx.conn())
    .await?;
    sqlx::query("INSERT INTO turns (organization_id) VALUES ($1)").bind(&id).execute(tx.conn()).await?;
    sqlx::query("INSERT INTO audit_head (organization_id, seq, hash) VALUES ($1, 0, $2)")
        .bind(&id)
        .bind([0_u8; 32].as_slice())
        .execute(tx.conn())
        .await?;
    tx.changed(Change::Organization(organization.id));
    Ok(())
}

/// Returns the organization of the transaction.
pub async fn get(tx: &mut Tx) -> Result<Organization> {
    let row: Option<OrganizationRow> =
        sqlx::query_as("SELECT id, slug, name, max_stale_ms, response_retention_ms, version, created_at FROM organizations WHERE id = $1")
            .bind(tx.org())
            .fetch_optional(tx.conn())
            .await?;
    row.ok_or(StoreError::NotFound("organization"))?.read()
}

/// Writes name, slug and settings over the version that was read, and returns the new version.
pub async fn update(tx: &mut WriteTx, permit: &Permit, organization: &Organization) -> Result<u64> {
    tx.spend(permit)?;
    sqlx::query(
        "UPDATE organizations SET slug = $3, name = $4, max_stale_ms = $5, response_retention_ms = $6, version = version + 1
          WHERE id = $1 AND version = $2",
    )
    .bind(tx.org())
    .bind(signed(organization.version))
    .bind(organization.slug.as_str())
    .bind(organization.name.as_str())
    .bind(millis(organization.max_stale))
    .bind(millis(organization.response_retention))
    .execute(tx.conn())
    .await?
    .current("organization")?;
    tx.changed(Change::Organization(organization.id));
    Ok(organization.version + 1)
}

/// Lists every organization of the installation, oldest first.
pub async fn list_all(tx: &mut SystemTx) -> Result<Vec<Organization>> {
    let rows: Vec<OrganizationRow> =
        sqlx::query_as("SELECT id, slug, name, max_stale_ms, response_retention_ms, version, created_at FROM organizations ORDER BY id")
            .fetch_all(tx.conn())
            .await?;
    rows.into_iter().map(OrganizationRow::read).collect()
}

/// Lists the given organizations, oldest first; unknown ids are left out.
pub async fn list_by_ids(tx: &mut SystemTx, ids: &[OrganizationId]) -> Result<Vec<Organization>> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let rows: Vec<OrganizationRow> = sqlx::query_as(
        "SELECT id, slug, name, max_stale_ms, response_retention_ms, version, created_at FROM organizations
          WHERE id = ANY($1) ORDER BY id",
    )
    .bind(ids)
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(OrganizationRow::read).collect()
}
