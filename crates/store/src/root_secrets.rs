//! The secrets from which peppers and sealing keys are derived, sealed by the root key. Not a tenant's.

use domain::Timestamp;

use crate::row::{Row, time};
use crate::tx::Exactly as _;
use crate::{Result, SystemTx};

/// A root secret at rest.
#[derive(Clone, PartialEq, Eq)]
pub struct RootSecret {
    /// Its version, from 1; there are no gaps.
    pub version: u16,
    /// 32 bytes, sealed.
    pub sealed: Vec<u8>,
    /// The root key that sealed it.
    pub root_key_id: String,
    /// When it was made.
    pub created_at: Timestamp,
}

impl std::fmt::Debug for RootSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[root secret {} under {}]", self.version, self.root_key_id)
    }
}

/// Takes the turn of making or sealing root secrets, until the transaction ends.
pub async fn lock(tx: &mut SystemTx) -> Result<()> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtext('root_secrets'), 0)").execute(tx.conn()).await?;
    Ok(())
}

/// Lists the secrets, oldest first.
pub async fn list(tx: &mut SystemTx) -> Result<Vec<RootSecret>> {
    let rows: Vec<(i32, Vec<u8>, String, i64)> =
        sqlx::query_as("SELECT version, sealed, root_key_id, created_at FROM root_secrets ORDER BY version")
            .fetch_all(tx.conn())
            .await?;
    let read = |(version, sealed, root_key_id, created_at): (i32, Vec<u8>, String, i64)| {
        let version = Row { table: "root_secrets", id: &root_key_id }.small("version", version)?;
        Ok(RootSecret { version, sealed, root_key_id, created_at: time(created_at) })
    };
    rows.into_iter().map(read).collect()
}

/// Adds a secret.
pub async fn insert(tx: &mut SystemTx, secret: &RootSecret) -> Result<()> {
    sqlx::query("INSERT INTO root_secrets (version, sealed, root_key_id, created_at) VALUES ($1, $2, $3, $4)")
        .bind(i32::from(secret.version))
        .bind(secret.sealed.as_slice())
        .bind(&secret.root_key_id)
        .bind(secret.created_at.as_micros())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Replaces the seal of a secret.
pub async fn reseal(tx: &mut SystemTx, secret: &RootSecret) -> Result<()> {
    sqlx::query("UPDATE root_secrets SET sealed = $2, root_key_id = $3 WHERE version = $1")
        .bind(i32::from(secret.version))
        .bind(secret.sealed.as_slice())
        .bind(&secret.root_key_id)
        .execute(tx.conn())
        .await?
        .exactly(1, "root secret")
}
