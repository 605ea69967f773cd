//! Answers kept for repeated requests. Looked up and kept inside the write of the command itself, so that a repeat waits for
//! the first to commit (one writer per organization) and then sees its answer. The answer's bytes are the caller's to seal.

use domain::Timestamp;

use crate::{Result, SystemTx, WriteTx};

/// What is known about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Nothing: carry the command out and keep its answer.
    Nothing,
    /// The same request was answered like this.
    Answered {
        /// The HTTP status.
        status: u16,
        /// The kept bytes.
        response: Vec<u8>,
    },
    /// Another request used the key.
    OtherRequest,
}

/// Looks a key of an actor up.
pub async fn find(tx: &mut WriteTx, actor: &str, key: &str, request_hash: &[u8; 32]) -> Result<Known> {
    let row: Option<(Vec<u8>, i32, Vec<u8>)> = sqlx::query_as(
        "SELECT request_hash, status, response FROM idempotency_keys WHERE organization_id = $1 AND actor = $2 AND key = $3",
    )
    .bind(tx.org())
    .bind(actor)
    .bind(key)
    .fetch_optional(tx.conn())
    .await?;
    Ok(match row {
        None => Known::Nothing,
        Some((hash, status, response)) if hash == request_hash => {
            Known::Answered { status: u16::try_from(status).unwrap_or(500), response }
        }
        Some(_) => Known::OtherRequest,
    })
}

/// Keeps the answer to a request.
pub async fn insert(
    tx: &mut WriteTx,
    (actor, key): (&str, &str),
    request_hash: &[u8; 32],
    (status, response): (u16, &[u8]),
    at: Timestamp,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO idempotency_keys (organization_id, actor, key, request_hash, status, response, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(tx.org())
    .bind(actor)
    .bind(key)
    .bind(request_hash.as_slice())
    .bind(i32::from(status))
    .bind(response)
    .bind(at.as_micros())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Forgets answers that were kept before a time, and returns how many.
pub async fn delete_before(tx: &mut SystemTx, before: Timestamp) -> Result<u64> {
    // Crosses tenants: retention deletes the answers of every organization by age.
    let done = sqlx::query("DELETE FROM idempotency_keys WHERE created_at < $1")
        .bind(before.as_micros())
        .execute(tx.conn())
        .await?;
    Ok(done.rows_affected())
}
