//! Credentials, sealed, and the organization's data keys they are sealed with. Nothing here can open either.

use domain::change::Change;
use domain::credential::{Credential, DataPolicy, SealedSecret};
use domain::page::{Cursor, Limit, Page};
use domain::{CredentialId, Permit, Timestamp};

use crate::row::{self, Row, signed, time, time_opt, unsigned};
use crate::tx::Exactly as _;
use crate::{Result, StoreError, Tx, WriteTx};

#[derive(sqlx::FromRow)]
struct CredentialRow {
    id: String,
    organization_id: String,
    provider: String,
    name: String,
    base_url: String,
    secret_key_version: Option<i32>,
    secret_ciphertext: Option<Vec<u8>>,
    secret_version: i64,
    allows_passthrough: bool,
    data_policy: Option<String>,
    hint: String,
    version: i64,
    created_at: i64,
    updated_at: i64,
    archived_at: Option<i64>,
}

impl CredentialRow {
    fn read(self) -> Result<Credential> {
        let row = Row { table: "credentials", id: &self.id };
        let secret = match (self.secret_key_version, self.secret_ciphertext) {
            (Some(version), Some(ciphertext)) => {
                Some(SealedSecret { key_version: row.small("secret_key_version", version)?, ciphertext })
            }
            _ => None,
        };
        Ok(Credential {
            id: row.parse("id", &self.id)?,
            organization_id: row.parse("organization_id", &self.organization_id)?,
            provider: self.provider,
            name: row.parse("name", &self.name)?,
            base_url: self.base_url,
            secret,
            secret_version: u32::try_from(self.secret_version).map_err(|_| row.corrupt("secret_version"))?,
            allows_passthrough: self.allows_passthrough,
            data_policy: match self.data_policy.as_deref() {
                None => None,
                Some(text) => Some(DataPolicy::find(text).ok_or_else(|| row.corrupt("data_policy"))?),
            },
            hint: self.hint,
            version: unsigned(self.version),
            created_at: time(self.created_at),
            updated_at: time(self.updated_at),
            archived_at: time_opt(self.archived_at),
        })
    }
}

/// Adds a credential. Errors: `Conflict(CredentialName)`.
pub async fn insert(tx: &mut WriteTx, permit: &Permit, credential: &Credential) -> Result<()> {
    tx.spend(permit)?;
    let secret = credential.secret.as_ref();
    sqlx::query(
        "INSERT INTO credentials (organization_id, id, provider, name, base_url, secret_key_version, secret_ciphertext,
                                  secret_version, hint, version, created_at, updated_at, allows_passthrough,
                                  data_policy)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(credential.organization_id.to_string())
    .bind(credential.id.to_string())
    .bind(&credential.provider)
    .bind(credential.name.as_str())
    .bind(&credential.base_url)
    .bind(secret.map(|sealed| i32::from(sealed.key_version)))
    .bind(secret.map(|sealed| sealed.ciphertext.as_slice()))
    .bind(i64::from(credential.secret_version))
    .bind(&credential.hint)
    .bind(signed(credential.version))
    .bind(credential.created_at.as_micros())
    .bind(credential.updated_at.as_micros())
    .bind(credential.allows_passthrough)
    .bind(credential.data_policy.map(DataPolicy::as_str))
    .execute(tx.conn())
    .await?;
    tx.changed(Change::Credential(credential.id));
    Ok(())
}

/// Returns a credential, archived or not.
pub async fn get(tx: &mut Tx, id: CredentialId) -> Result<Credential> {
    load(tx, Some(&[id])).await?.pop().ok_or(StoreError::NotFound("credential"))
}

/// Lists credentials that are not archived, newest first.
pub async fn list(tx: &mut Tx, cursor: Option<&Cursor>, limit: Limit) -> Result<Page<Credential>> {
    let rows: Vec<CredentialRow> = sqlx::query_as(
        "SELECT id, organization_id, provider, name, base_url, secret_key_version, secret_ciphertext, secret_version, hint,
                version, created_at, updated_at, archived_at, allows_passthrough, data_policy FROM credentials
          WHERE organization_id = $1 AND archived_at IS NULL AND ($2::text IS NULL OR id < $2)
          ORDER BY id DESC LIMIT $3",
    )
    .bind(tx.org())
    .bind(row::after::<CredentialId>(cursor)?)
    .bind(row::surplus(limit))
    .fetch_all(tx.conn())
    .await?;
    row::page(rows, limit, CredentialRow::read, |credential| credential.id.to_string())
}

/// Loads all credentials, or those of the given ids, archived ones included.
pub async fn load(tx: &mut Tx, ids: Option<&[CredentialId]>) -> Result<Vec<Credential>> {
    let rows: Vec<CredentialRow> = sqlx::query_as(
        "SELECT id, organization_id, provider, name, base_url, secret_key_version, secret_ciphertext, secret_version, hint,
                version, created_at, updated_at, archived_at, allows_passthrough, data_policy FROM credentials
          WHERE organization_id = $1 AND ($2::text[] IS NULL OR id = ANY($2)) ORDER BY id",
    )
    .bind(tx.org())
    .bind(row::texts(ids))
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(CredentialRow::read).collect()
}

/// Writes name, address and secret over the version that was read, and returns the new version.
pub async fn update(tx: &mut WriteTx, permit: &Permit, credential: &Credential) -> Result<u64> {
    tx.spend(permit)?;
    let secret = credential.secret.as_ref();
    sqlx::query(
        "UPDATE credentials
            SET name = $4, base_url = $5, secret_key_version = $6, secret_ciphertext = $7, secret_version = $8, hint = $9,
                updated_at = $10, allows_passthrough = $11, data_policy = $12, version = version + 1
          WHERE organization_id = $1 AND id = $2 AND version = $3 AND archived_at IS NULL",
    )
    .bind(tx.org())
    .bind(credential.id.to_string())
    .bind(signed(credential.version))
    .bind(credential.name.as_str())
    .bind(&credential.base_url)
    .bind(secret.map(|sealed| i32::from(sealed.key_version)))
    .bind(secret.map(|sealed| sealed.ciphertext.as_slice()))
    .bind(i64::from(credential.secret_version))
    .bind(&credential.hint)
    .bind(credential.updated_at.as_micros())
    .bind(credential.allows_passthrough)
    .bind(credential.data_policy.map(DataPolicy::as_str))
    .execute(tx.conn())
    .await?
    .current("credential")?;
    tx.changed(Change::Credential(credential.id));
    Ok(credential.version + 1)
}

/// Archives a credential and forgets its secret. Deployments that use it stop serving.
pub async fn archive(tx: &mut WriteTx, permit: &Permit, id: CredentialId, at: Timestamp) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query(
        "UPDATE credentials
            SET archived_at = $3, updated_at = $3, secret_key_version = NULL, secret_ciphertext = NULL, version = version + 1
          WHERE organization_id = $1 AND id = $2 AND archived_at IS NULL",
    )
    .bind(tx.org())
    .bind(id.to_string())
    .bind(at.as_micros())
    .execute(tx.conn())
    .await?
    .exactly(1, "credential")?;
    tx.changed(Change::Credential(id));
    Ok(())
}

// === Data keys ===

/// A data key of an organization, sealed by the root key.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedDataKey {
    /// Counts from 1; the highest seals what is new.
    pub version: u16,
    /// The sealed key, in the form its sealer chose.
    pub sealed: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl std::fmt::Debug for SealedDataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[sealed data key {}]", self.version)
    }
}

/// Adds a data key.
pub async fn insert_data_key(tx: &mut WriteTx, permit: &Permit, key: &SealedDataKey) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query("INSERT INTO data_keys (organization_id, version, sealed, created_at) VALUES ($1, $2, $3, $4)")
        .bind(tx.org())
        .bind(i32::from(key.version))
        .bind(key.sealed.as_slice())
        .bind(key.created_at.as_micros())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Replaces the seal of a data key, after a change of the root key.
pub async fn reseal_data_key(tx: &mut WriteTx, permit: &Permit, key: &SealedDataKey) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query("UPDATE data_keys SET sealed = $3 WHERE organization_id = $1 AND version = $2")
        .bind(tx.org())
        .bind(i32::from(key.version))
        .bind(key.sealed.as_slice())
        .execute(tx.conn())
        .await?
        .exactly(1, "data key")
}

/// Lists the data keys of the organization, oldest first.
pub async fn list_data_keys(tx: &mut Tx) -> Result<Vec<SealedDataKey>> {
    let rows: Vec<(i32, Vec<u8>, i64)> =
        sqlx::query_as("SELECT version, sealed, created_at FROM data_keys WHERE organization_id = $1 ORDER BY version")
            .bind(tx.org())
            .fetch_all(tx.conn())
            .await?;
    let org = tx.org();
    let row = Row { table: "data_keys", id: &org };
    rows.into_iter()
        .map(|(version, sealed, created_at)| {
            Ok(SealedDataKey { version: row.small("version", version)?, sealed, created_at: time(created_at) })
        })
        .collect()
}
