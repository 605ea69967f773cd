//! Single requests, newest first, and one with all its attempts.

use domain::page::{Cursor, Limit, Page};
use domain::usage::{Outcome, UsageEvent};
use domain::{DeploymentId, EnvironmentId, RequestId, Timestamp, VirtualKeyId, WorkspaceId};

use super::event::{EventRow, day, day_of};
use crate::row;
use crate::{Result, StoreError, Tx};

/// Which requests to list; everything that is `None` lets all through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestFilter {
    /// From this start on.
    pub from: Option<Timestamp>,
    /// Before this start.
    pub to: Option<Timestamp>,
    /// Only this environment.
    pub environment_id: Option<EnvironmentId>,
    /// Only this key.
    pub virtual_key_id: Option<VirtualKeyId>,
    /// Only this model, as asked for.
    pub model: Option<String>,
    /// Only what this provider answered.
    pub provider: Option<String>,
    /// Only what this deployment answered.
    pub deployment_id: Option<DeploymentId>,
    /// Only this end.
    pub outcome: Option<Outcome>,
    /// Only this end user.
    pub end_user: Option<String>,
    /// Only this conversation.
    pub conversation_id: Option<String>,
    /// Only this trace.
    pub trace_id: Option<String>,
}

/// Lists the requests of a workspace, newest first.
pub async fn list(
    tx: &mut Tx,
    workspace_id: WorkspaceId,
    filter: &RequestFilter,
    cursor: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<UsageEvent>> {
    // The days bound the partitions that are read. An id is minted when its call arrives, a day apart at the very most; and
    // what follows a cursor is not younger than the cursor.
    let cursor = cursor.map(|cursor| cursor.0.parse::<RequestId>().map_err(|_| StoreError::Cursor)).transpose()?;
    let first_day = filter.from.map(|at| day(at) - 2);
    let last_day = filter.to.map(|at| day(at) + 2).into_iter().chain(cursor.map(day_of)).min();
    let rows: Vec<EventRow> = sqlx::query_as(
        "SELECT organization_id, day, id, workspace_id, environment_id, virtual_key_id, node_id, endpoint, model, route_id,
                deployment_id, provider, upstream_model, is_stream, outcome, status, code, finish_reason, started_at,
                duration_us, first_byte_us, overhead_us, input, cached_input, cache_write_5m, cache_write_1h, output,
                reasoning, is_estimated, cost_nanos, price_id, policy_revision, end_user, conversation_id, trace_id,
                metadata, routing, tags, dropped, attempts, cache, saved_input, saved_output, saved_cost_nanos, received_at, images, audio_ms, characters,
                searches, pages, is_unmetered, charges
           FROM usage_events
          WHERE organization_id = $1 AND workspace_id = $2 AND day >= $3 AND day <= $4
            AND ($5::text IS NULL OR id < $5)
            AND ($6::bigint IS NULL OR started_at >= $6) AND ($7::bigint IS NULL OR started_at < $7)
            AND ($8::text IS NULL OR environment_id = $8) AND ($9::text IS NULL OR virtual_key_id = $9)
            AND ($10::text IS NULL OR model = $10) AND ($11::text IS NULL OR provider = $11)
            AND ($12::text IS NULL OR deployment_id = $12) AND ($13::text IS NULL OR outcome = $13)
            AND ($14::text IS NULL OR end_user = $14) AND ($15::text IS NULL OR conversation_id = $15)
            AND ($16::text IS NULL OR trace_id = $16)
          ORDER BY id DESC LIMIT $17",
    )
    .bind(tx.org())
    .bind(workspace_id.to_string())
    .bind(first_day.unwrap_or(i32::MIN))
    .bind(last_day.unwrap_or(i32::MAX))
    .bind(cursor.map(|id| id.to_string()))
    .bind(row::micros(filter.from))
    .bind(row::micros(filter.to))
    .bind(filter.environment_id.map(|id| id.to_string()))
    .bind(filter.virtual_key_id.map(|id| id.to_string()))
    .bind(filter.model.as_deref())
    .bind(filter.provider.as_deref())
    .bind(filter.deployment_id.map(|id| id.to_string()))
    .bind(filter.outcome.map(Outcome::as_str))
    .bind(filter.end_user.as_deref())
    .bind(filter.conversation_id.as_deref())
    .bind(filter.trace_id.as_deref())
    .bind(row::surplus(limit))
    .fetch_all(tx.conn())
    .await?;
    row::page(rows, limit, EventRow::read, |event| event.id.to_string())
}

/// Returns one request of a workspace.
pub async fn get(tx: &mut Tx, workspace_id: WorkspaceId, id: RequestId) -> Result<UsageEvent> {
    let row: Option<EventRow> = sqlx::query_as(
        "SELECT organization_id, day, id, workspace_id, environment_id, virtual_key_id, node_id, endpoint, model, route_id,
                deployment_id, provider, upstream_model, is_stream, outcome, status, code, finish_reason, started_at,
                duration_us, first_byte_us, overhead_us, input, cached_input, cache_write_5m, cache_write_1h, output,
                reasoning, is_estimated, cost_nanos, price_id, policy_revision, end_user, conversation_id, trace_id,
                metadata, routing, tags, dropped, attempts, cache, saved_input, saved_output, saved_cost_nanos, received_at, images, audio_ms, characters,
                searches, pages, is_unmetered, charges
           FROM usage_events WHERE organization_id = $1 AND day = $2 AND id = $3 AND workspace_id = $4",
    )
    .bind(tx.org())
    .bind(day_of(id))
    .bind(id.to_string())
    .bind(workspace_id.to_string())
    .fetch_optional(tx.conn())
    .await?;
    row.ok_or(StoreError::NotFound("request"))?.read()
}
