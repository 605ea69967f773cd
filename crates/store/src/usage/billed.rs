//! Calls that a model answered, or was tried for, to look at what they were billed.

use domain::usage::UsageEvent;
use domain::{DeploymentId, RequestId, Timestamp};
use sqlx::types::Json;

use super::event::{EventRow, day, day_of};
use crate::row::micros;
use crate::{Result, Tx};

/// Says whether a call of the organization is in the ledger.
pub async fn is_booked(tx: &mut Tx, id: RequestId) -> Result<bool> {
    let found: Option<i32> =
        sqlx::query_scalar("SELECT day FROM usage_events WHERE organization_id = $1 AND day = $2 AND id = $3")
            .bind(tx.org())
            .bind(day_of(id))
            .bind(id.to_string())
            .fetch_optional(tx.conn())
            .await?;
    Ok(found.is_some())
}

/// Which calls.
#[derive(Debug, Clone, Copy)]
pub struct Billed<'a> {
    /// The provider of an attempt.
    pub provider: &'a str,
    /// Its model.
    pub upstream_model: &'a str,
    /// Deployments that are it under another name.
    pub through: &'a [DeploymentId],
    /// Calls that began from here on.
    pub from: Timestamp,
    /// Calls that began before this.
    pub to: Timestamp,
}

/// What an attempt has that is wanted.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum Wanted<'a> {
    Named { provider: &'a str, upstream_model: &'a str },
    Through { deployment_id: DeploymentId },
}

/// Lists calls with an attempt at a model, oldest first, after one.
pub async fn list_billed(
    tx: &mut Tx,
    which: Billed<'_>,
    after: Option<RequestId>,
    limit: u16,
) -> Result<Vec<UsageEvent>> {
    let named = Wanted::Named { provider: which.provider, upstream_model: which.upstream_model };
    let through = which.through.iter().map(|id| Wanted::Through { deployment_id: *id });
    let wanted: Vec<Json<[Wanted<'_>; 1]>> = std::iter::once(named).chain(through).map(|it| Json([it])).collect();
    let rows: Vec<EventRow> = sqlx::query_as(
        "SELECT organization_id, day, id, workspace_id, environment_id, virtual_key_id, node_id, endpoint, model, route_id,
                deployment_id, provider, upstream_model, is_stream, outcome, status, code, finish_reason, started_at,
                duration_us, first_byte_us, overhead_us, input, cached_input, cache_write_5m, cache_write_1h, output,
                reasoning, is_estimated, cost_nanos, price_id, policy_revision, end_user, conversation_id, trace_id,
                metadata, routing, tags, dropped, attempts, cache, saved_input, saved_output, saved_cost_nanos, received_at, images, audio_ms, characters,
                searches, pages, is_unmetered, charges
           FROM usage_events
          WHERE organization_id = $1 AND day >= $2 AND day <= $3 AND started_at >= $4 AND started_at < $5
            AND ($6::text IS NULL OR id > $6) AND attempts @> ANY($7)
          ORDER BY id LIMIT $8",
    )
    .bind(tx.org())
    .bind(day(which.from) - 2)
    .bind(day(which.to) + 2)
    .bind(micros(Some(which.from)))
    .bind(micros(Some(which.to)))
    .bind(after.map(|id| id.to_string()))
    .bind(wanted)
    .bind(i64::from(limit))
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(EventRow::read).collect()
}
