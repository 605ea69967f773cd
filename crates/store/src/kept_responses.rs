//! Answers that nodes keep for later calls, sealed by the node. The control plane looks them up by their whole key and by age.
//!
//! Used under the jobs role, like usage: nodes write facts, no member does. Invariant: every statement but the one by age names
//! the organization, the workspace and the environment.

use domain::{EnvironmentId, OrganizationId, Timestamp, WorkspaceId};

use crate::row::{Row, time};
use crate::{Result, SystemTx};

/// Where a response is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The tenant.
    pub organization: OrganizationId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// The environment of the keys that may see it.
    pub environment: EnvironmentId,
    /// The id that the client knows.
    pub id: String,
}

/// A response at rest.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptResponse {
    /// Version of the data key that sealed it.
    pub data_key_version: u16,
    /// Nonce, ciphertext, tag.
    pub sealed: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it goes.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for KeptResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[kept response of {} bytes until {}]", self.sealed.len(), self.expires_at)
    }
}

/// Keeps a response. One that is there already stays: an id names one answer.
pub async fn insert(tx: &mut SystemTx, place: &Place, kept: &KeptResponse) -> Result<()> {
    sqlx::query(
        "INSERT INTO kept_responses (organization_id, workspace_id, environment_id, id, data_key_version, sealed, created_at,
                                     expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (organization_id, workspace_id, environment_id, id) DO NOTHING",
    )
    .bind(place.organization.to_string())
    .bind(place.workspace.to_string())
    .bind(place.environment.to_string())
    .bind(&place.id)
    .bind(i32::from(kept.data_key_version))
    .bind(kept.sealed.as_slice())
    .bind(kept.created_at.as_micros())
    .bind(kept.expires_at.as_micros())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Finds a response that has not expired at `now`.
pub async fn find(tx: &mut SystemTx, place: &Place, now: Timestamp) -> Result<Option<KeptResponse>> {
    let row: Option<(i32, Vec<u8>, i64, i64)> = sqlx::query_as(
        "SELECT data_key_version, sealed, created_at, expires_at FROM kept_responses
          WHERE organization_id = $1 AND workspace_id = $2 AND environment_id = $3 AND id = $4 AND expires_at > $5",
    )
    .bind(place.organization.to_string())
    .bind(place.workspace.to_string())
    .bind(place.environment.to_string())
    .bind(&place.id)
    .bind(now.as_micros())
    .fetch_optional(tx.conn())
    .await?;
    let read = |(version, sealed, created_at, expires_at): (i32, Vec<u8>, i64, i64)| {
        let data_key_version = Row { table: "kept_responses", id: &place.id }.small("data_key_version", version)?;
        Ok(KeptResponse { data_key_version, sealed, created_at: time(created_at), expires_at: time(expires_at) })
    };
    row.map(read).transpose()
}

/// Deletes a response; false when there was none.
pub async fn delete(tx: &mut SystemTx, place: &Place) -> Result<bool> {
    let done = sqlx::query(
        "DELETE FROM kept_responses WHERE organization_id = $1 AND workspace_id = $2 AND environment_id = $3 AND id = $4",
    )
    .bind(place.organization.to_string())
    .bind(place.workspace.to_string())
    .bind(place.environment.to_string())
    .bind(&place.id)
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Deletes what has expired, and returns how many.
pub async fn delete_expired(tx: &mut SystemTx, now: Timestamp) -> Result<u64> {
    // Crosses tenants: retention deletes the responses of every organization by their end.
    let done = sqlx::query("DELETE FROM kept_responses WHERE expires_at < $1")
        .bind(now.as_micros())
        .execute(tx.conn())
        .await?;
    Ok(done.rows_affected())
}
