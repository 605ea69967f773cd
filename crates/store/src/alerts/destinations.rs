//! Where alerts are sent. Addresses and secrets are sealed; nothing here can open them.

use std::collections::BTreeSet;

use domain::alert::{Destination, DestinationKind, Filter};
use domain::credential::SealedSecret;
use domain::page::{Cursor, Limit, Page};
use domain::{DestinationId, Email, OrganizationId, Permit, Timestamp};
use sqlx::types::Json;

use crate::row::{self, Row, micros, signed, time, time_opt, unsigned};
use crate::tx::Exactly as _;
use crate::{Result, StoreError, SystemTx, Tx, WriteTx};

#[derive(sqlx::FromRow)]
struct DestinationRow {
    id: String,
    organization_id: String,
    name: String,
    kind: String,
    is_enabled: bool,
    filter: Json<Filter>,
    recipients: Json<Vec<String>>,
    hint: String,
    secret_key_version: Option<i32>,
    secret_ciphertext: Option<Vec<u8>>,
    secret_version: i64,
    old_secret_retires_at: Option<i64>,
    version: i64,
    created_at: i64,
    updated_at: i64,
    archived_at: Option<i64>,
}

impl DestinationRow {
    fn read(self) -> Result<Destination> {
        let row = Row { table: "alert_destinations", id: &self.id };
        let secret = match (self.secret_key_version, self.secret_ciphertext) {
            (Some(version), Some(ciphertext)) => {
                Some(SealedSecret { key_version: row.small("secret_key_version", version)?, ciphertext })
            }
            _ => None,
        };
        let recipients = self.recipients.0.iter().map(|mail| row.parse::<Email>("recipients", mail));
        Ok(Destination {
            id: row.parse("id", &self.id)?,
            organization_id: row.parse("organization_id", &self.organization_id)?,
            name: row.parse("name", &self.name)?,
            kind: DestinationKind::find(&self.kind).ok_or_else(|| row.corrupt("kind"))?,
            is_enabled: self.is_enabled,
            filter: self.filter.0,
            recipients: recipients.collect::<Result<_>>()?,
            hint: self.hint,
            secret,
            secret_version: u32::try_from(self.secret_version).map_err(|_| row.corrupt("secret_version"))?,
            old_secret_retires_at: time_opt(self.old_secret_retires_at),
            version: unsigned(self.version),
            created_at: time(self.created_at),
            updated_at: time(self.updated_at),
            archived_at: time_opt(self.archived_at),
        })
    }
}

fn mailboxes(it: &Destination) -> Json<Vec<String>> {
    Json(it.recipients.iter().map(ToString::to_string).collect())
}

/// Adds a destination. Errors: `Conflict(DestinationName)`.
pub async fn insert(tx: &mut WriteTx, permit: &Permit, it: &Destination) -> Result<()> {
    tx.spend(permit)?;
    let secret = it.secret.as_ref();
    sqlx::query(
        "INSERT INTO alert_destinations (organization_id, id, name, kind, is_enabled, filter, recipients, hint,
                                         secret_key_version, secret_ciphertext, secret_version, old_secret_retires_at, version,
                                         created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(it.organization_id.to_string())
    .bind(it.id.to_string())
    .bind(it.name.as_str())
    .bind(it.kind.as_str())
    .bind(it.is_enabled)
    .bind(Json(&it.filter))
    .bind(mailboxes(it))
    .bind(&it.hint)
    .bind(secret.map(|sealed| i32::from(sealed.key_version)))
    .bind(secret.map(|sealed| sealed.ciphertext.as_slice()))
    .bind(i64::from(it.secret_version))
    .bind(micros(it.old_secret_retires_at))
    .bind(signed(it.version))
    .bind(it.created_at.as_micros())
    .bind(it.updated_at.as_micros())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Returns a destination, archived or not.
pub async fn get(tx: &mut Tx, id: DestinationId) -> Result<Destination> {
    let row: Option<DestinationRow> = sqlx::query_as(
        "SELECT id, organization_id, name, kind, is_enabled, filter, recipients, hint, secret_key_version, secret_ciphertext,
                secret_version, old_secret_retires_at, version, created_at, updated_at, archived_at
           FROM alert_destinations WHERE organization_id = $1 AND id = $2",
    )
    .bind(tx.org())
    .bind(id.to_string())
    .fetch_optional(tx.conn())
    .await?;
    row.ok_or(StoreError::NotFound("destination"))?.read()
}

/// Counts the destinations of the organization that are not archived.
pub async fn count(tx: &mut Tx) -> Result<u64> {
    let count: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM alert_destinations WHERE organization_id = $1 AND archived_at IS NULL",
    )
    .bind(tx.org())
    .fetch_one(tx.conn())
    .await?;
    Ok(unsigned(count))
}

/// Lists destinations that are not archived, newest first.
pub async fn list(tx: &mut Tx, cursor: Option<&Cursor>, limit: Limit) -> Result<Page<Destination>> {
    let rows: Vec<DestinationRow> = sqlx::query_as(
        "SELECT id, organization_id, name, kind, is_enabled, filter, recipients, hint, secret_key_version, secret_ciphertext,
                secret_version, old_secret_retires_at, version, created_at, updated_at, archived_at
           FROM alert_destinations
          WHERE organization_id = $1 AND archived_at IS NULL AND ($2::text IS NULL OR id < $2)
          ORDER BY id DESC LIMIT $3",
    )
    .bind(tx.org())
    .bind(row::after::<DestinationId>(cursor)?)
    .bind(row::surplus(limit))
    .fetch_all(tx.conn())
    .await?;
    row::page(rows, limit, DestinationRow::read, |it| it.id.to_string())
}

/// Loads the destinations of organizations that something is sent to.
pub(crate) async fn list_enabled(
    tx: &mut SystemTx,
    organizations: &BTreeSet<OrganizationId>,
) -> Result<Vec<Destination>> {
    let rows: Vec<DestinationRow> = sqlx::query_as(
        "SELECT id, organization_id, name, kind, is_enabled, filter, recipients, hint, secret_key_version, secret_ciphertext,
                secret_version, old_secret_retires_at, version, created_at, updated_at, archived_at
           FROM alert_destinations
          WHERE organization_id = ANY($1) AND archived_at IS NULL AND is_enabled ORDER BY organization_id, id",
    )
    .bind(organizations.iter().map(ToString::to_string).collect::<Vec<_>>())
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(DestinationRow::read).collect()
}

/// Writes a destination over the version that was read, and returns the new version. Its kind stays.
/// Errors: `Stale`, `Conflict(DestinationName)`.
pub async fn update(tx: &mut WriteTx, permit: &Permit, it: &Destination) -> Result<u64> {
    tx.spend(permit)?;
    let secret = it.secret.as_ref();
    sqlx::query(
        "UPDATE alert_destinations
            SET name = $4, is_enabled = $5, filter = $6, recipients = $7, hint = $8, secret_key_version = $9,
                secret_ciphertext = $10, secret_version = $11, old_secret_retires_at = $12, updated_at = $13,
                version = version + 1
          WHERE organization_id = $1 AND id = $2 AND version = $3 AND archived_at IS NULL",
    )
    .bind(tx.org())
    .bind(it.id.to_string())
    .bind(signed(it.version))
    .bind(it.name.as_str())
    .bind(it.is_enabled)
    .bind(Json(&it.filter))
    .bind(mailboxes(it))
    .bind(&it.hint)
    .bind(secret.map(|sealed| i32::from(sealed.key_version)))
    .bind(secret.map(|sealed| sealed.ciphertext.as_slice()))
    .bind(i64::from(it.secret_version))
    .bind(micros(it.old_secret_retires_at))
    .bind(it.updated_at.as_micros())
    .execute(tx.conn())
    .await?
    .current("destination")?;
    Ok(it.version + 1)
}

/// Archives a destination and forgets its secrets; what is on its way to it is given up.
pub async fn archive(tx: &mut WriteTx, permit: &Permit, id: DestinationId, at: Timestamp) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query(
        "UPDATE alert_destinations
            SET archived_at = $3, updated_at = $3, secret_key_version = NULL, secret_ciphertext = NULL, version = version + 1
          WHERE organization_id = $1 AND id = $2 AND archived_at IS NULL",
    )
    .bind(tx.org())
    .bind(id.to_string())
    .bind(at.as_micros())
    .execute(tx.conn())
    .await?
    .exactly(1, "destination")
}
