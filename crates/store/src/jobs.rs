//! Recurring work shared by control processes: who does it now, and when it is next due. One row per kind of work.
//!
//! A lease names an epoch; a worker that was paused past its lease fails to finish under its old epoch.

use std::time::Duration;

use domain::Timestamp;

use crate::row::{signed, unsigned};
use crate::tx::Exactly as _;
use crate::{Result, SystemTx};

/// The right to do a piece of recurring work once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Grows with every lease of the work.
    pub epoch: u64,
}

/// Takes the work when it is due and nobody holds it; `None` otherwise. The first call ever makes it due at once.
pub async fn claim(tx: &mut SystemTx, name: &str, now: Timestamp, hold: Duration) -> Result<Option<Lease>> {
    let epoch: Option<i64> = sqlx::query_scalar(
        "INSERT INTO jobs (name, due_at, leased_until, epoch) VALUES ($1, $2, $3, 1)
         ON CONFLICT (name) DO UPDATE SET leased_until = excluded.leased_until, epoch = jobs.epoch + 1
          WHERE jobs.due_at <= $2 AND jobs.leased_until <= $2
         RETURNING epoch",
    )
    .bind(name)
    .bind(now.as_micros())
    .bind(now.plus(hold).as_micros())
    .fetch_optional(tx.conn())
    .await?;
    Ok(epoch.map(|epoch| Lease { epoch: unsigned(epoch) }))
}

/// Gives the work back and says when it is next due. Errors: `Stale` when the lease was lost to another worker.
pub async fn finish(
    tx: &mut SystemTx,
    name: &str,
    lease: Lease,
    (ended_at, next_due): (Timestamp, Timestamp),
    error: Option<&str>,
) -> Result<()> {
    sqlx::query(
        "UPDATE jobs SET due_at = $4, leased_until = $3, last_ended_at = $3, last_error = $5 WHERE name = $1 AND epoch = $2",
    )
    .bind(name)
    .bind(signed(lease.epoch))
    .bind(ended_at.as_micros())
    .bind(next_due.as_micros())
    .bind(error)
    .execute(tx.conn())
    .await?
    .current("job")
}
