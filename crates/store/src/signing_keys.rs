//! Private keys of the installation (node CA, policy signing, audit signing), sealed by the root key. Not a tenant's.

use domain::Timestamp;

use crate::row::{self, time, time_opt};
use crate::tx::Exactly as _;
use crate::{Result, SystemTx};

/// A signing key at rest.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// Its id, as messages name it.
    pub kid: String,
    /// What it is for, such as `node_ca`, `policy` or `audit`.
    pub purpose: String,
    /// The public part: raw key or certificate, as its maker chose.
    pub public: Vec<u8>,
    /// The private part, sealed.
    pub sealed: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From then on it signs nothing new.
    pub retired_at: Option<Timestamp>,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{} key {}]", self.purpose, self.kid)
    }
}

#[derive(sqlx::FromRow)]
struct KeyRow {
    kid: String,
    purpose: String,
    public: Vec<u8>,
    sealed: Vec<u8>,
    created_at: i64,
    retired_at: Option<i64>,
}

/// Adds a key.
pub async fn insert(tx: &mut SystemTx, key: &SigningKey) -> Result<()> {
    sqlx::query(
        "INSERT INTO signing_keys (kid, purpose, public, sealed, created_at, retired_at) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(&key.kid)
    .bind(&key.purpose)
    .bind(key.public.as_slice())
    .bind(key.sealed.as_slice())
    .bind(key.created_at.as_micros())
    .bind(row::micros(key.retired_at))
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Takes the turn of making keys of a purpose, until the transaction ends: two control processes that start together on an
/// empty database must not make two. Call before [`list`] when a missing key will be made.
pub async fn lock(tx: &mut SystemTx, purpose: &str) -> Result<()> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtext('signing_keys'), hashtext($1))")
        .bind(purpose)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Lists the keys of a purpose, newest first, retired ones included.
pub async fn list(tx: &mut SystemTx, purpose: &str) -> Result<Vec<SigningKey>> {
    let rows: Vec<KeyRow> = sqlx::query_as(
        "SELECT kid, purpose, public, sealed, created_at, retired_at FROM signing_keys
          WHERE purpose = $1 ORDER BY created_at DESC, kid DESC",
    )
    .bind(purpose)
    .fetch_all(tx.conn())
    .await?;
    let read = |row: KeyRow| SigningKey {
        kid: row.kid,
        purpose: row.purpose,
        public: row.public,
        sealed: row.sealed,
        created_at: time(row.created_at),
        retired_at: time_opt(row.retired_at),
    };
    Ok(rows.into_iter().map(read).collect())
}

/// Says whether any key was ever made here: whether the installation is older than its first start.
pub async fn exist(tx: &mut SystemTx) -> Result<bool> {
    Ok(sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM signing_keys)").fetch_one(tx.conn()).await?)
}

/// Retires a key. Errors: `NotFound` when it is unknown or retired already.
pub async fn retire(tx: &mut SystemTx, kid: &str, at: Timestamp) -> Result<()> {
    sqlx::query("UPDATE signing_keys SET retired_at = $2 WHERE kid = $1 AND retired_at IS NULL")
        .bind(kid)
        .bind(at.as_micros())
        .execute(tx.conn())
        .await?
        .exactly(1, "signing key")
}

/// Replaces the seal of a key, after a change of the root key.
pub async fn reseal(tx: &mut SystemTx, kid: &str, sealed: &[u8]) -> Result<()> {
    sqlx::query("UPDATE signing_keys SET sealed = $2 WHERE kid = $1")
        .bind(kid)
        .bind(sealed)
        .execute(tx.conn())
        .await?
        .exactly(1, "signing key")
}
