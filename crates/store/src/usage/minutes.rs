//! Sums by minute, for charts that are watched: by workspace and environment, for the last days only.
//!
//! Booked in the transaction of the events, like hours ([`super::sums`]), so reading a minute costs one small row however many calls it
//! had. Few dimensions on purpose: a row for every key and model would be about as many as calls. Invariant: a minute that is kept says
//! what its events say.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::usage::UsageEvent;
use domain::{EnvironmentId, Timestamp, WorkspaceId};

use super::append::json;
use super::measures::Measures;
use super::sums::{Group, SumRow};
use crate::row::time;
use crate::{Result, SystemTx, Tx, WriteTx};

/// How long minutes are kept; older calls are in hours alone.
pub const MINUTES_KEPT: Duration = Duration::from_hours(72);

/// What minutes may be grouped by, besides time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinuteDimension {
    /// The workspace.
    Workspace,
    /// The environment.
    Environment,
}

/// Which minutes to sum; what is `None` lets all through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minutes {
    /// From the minute of this time on.
    pub from: Timestamp,
    /// Before this time; the minute that contains it counts whole, unless it begins there.
    pub to: Timestamp,
    /// Only of this workspace.
    pub workspace_id: Option<WorkspaceId>,
    /// Only of this environment.
    pub environment_id: Option<EnvironmentId>,
    /// One group per combination of these.
    pub group_by: Vec<MinuteDimension>,
    /// And per so many minutes, counted from the epoch, when set.
    pub step: Option<u8>,
    /// At most this many groups.
    pub limit: u32,
}

impl Minutes {
    /// Sums everything of the organization in a time, as one group.
    #[must_use]
    pub const fn all(from: Timestamp, to: Timestamp) -> Self {
        Self { from, to, workspace_id: None, environment_id: None, group_by: Vec::new(), step: None, limit: 1 }
    }
}

/// The key of a row, in the order in which rows are locked.
#[derive(PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub(crate) struct MinuteKey {
    organization_id: String,
    workspace_id: String,
    minute_at: i64,
    environment_id: String,
}

impl MinuteKey {
    pub(crate) fn of(event: &UsageEvent) -> Self {
        Self {
            organization_id: event.organization_id.to_string(),
            workspace_id: event.workspace_id.to_string(),
            minute_at: event.started_at.minute().as_micros(),
            environment_id: event.environment_id.to_string(),
        }
    }
}

#[derive(serde::Serialize)]
struct MinuteRow {
    #[serde(flatten)]
    key: MinuteKey,
    #[serde(flatten)]
    measures: Measures,
}

// === Booking ===

/// Adds new events. What a node tells days late would be swept at once, and is left to hours.
pub(super) async fn add(tx: &mut SystemTx, events: &[&UsageEvent], received_at: Timestamp) -> Result<()> {
    let oldest = received_at.minus(MINUTES_KEPT).minute();
    let mut groups: BTreeMap<MinuteKey, Vec<&UsageEvent>> = BTreeMap::new();
    for event in events.iter().filter(|event| event.started_at >= oldest) {
        groups.entry(MinuteKey::of(event)).or_default().push(event);
    }
    if groups.is_empty() {
        return Ok(());
    }
    // Sorted by key, as hours are: concurrent batches take the rows in the same order.
    let row =
        |(key, events): (MinuteKey, Vec<&UsageEvent>)| MinuteRow { key, measures: Measures::of(&events, received_at) };
    let rows: Vec<MinuteRow> = groups.into_iter().map(row).collect();
    sqlx::query(
        "INSERT INTO usage_minutes AS m (organization_id, workspace_id, minute_at, environment_id, requests, errors, failures, input,
                                         cached_input, cache_write_5m, cache_write_1h, output, reasoning, images, audio_ms,
                                         characters, searches, pages, cost_nanos, reused, saved_input, saved_output,
                                         saved_cost_nanos, durations, first_bytes, overheads, last_received_at)
         SELECT organization_id, workspace_id, minute_at, environment_id, requests, errors, failures, input,
                cached_input, cache_write_5m, cache_write_1h, output, reasoning, images, audio_ms,
                characters, searches, pages, cost_nanos, reused, saved_input, saved_output,
                saved_cost_nanos, durations, first_bytes, overheads, last_received_at
           FROM jsonb_to_recordset($1) AS part (
                organization_id text, workspace_id text, minute_at bigint, environment_id text, requests bigint, errors bigint,
                failures bigint, input bigint, cached_input bigint, cache_write_5m bigint, cache_write_1h bigint, output bigint,
                reasoning bigint, images bigint, audio_ms bigint, characters bigint, searches bigint, pages bigint,
                cost_nanos bigint, reused bigint, saved_input bigint, saved_output bigint, saved_cost_nanos bigint,
                durations numeric, first_bytes numeric, overheads numeric, last_received_at bigint)
         ON CONFLICT (organization_id, workspace_id, minute_at, environment_id)
         DO UPDATE SET requests = m.requests + excluded.requests, errors = m.errors + excluded.errors,
                       failures = m.failures + excluded.failures, input = m.input + excluded.input,
                       cached_input = m.cached_input + excluded.cached_input,
                       cache_write_5m = m.cache_write_5m + excluded.cache_write_5m,
                       cache_write_1h = m.cache_write_1h + excluded.cache_write_1h,
                       output = m.output + excluded.output, reasoning = m.reasoning + excluded.reasoning,
                       images = m.images + excluded.images, audio_ms = m.audio_ms + excluded.audio_ms,
                       characters = m.characters + excluded.characters, searches = m.searches + excluded.searches,
                       pages = m.pages + excluded.pages, cost_nanos = m.cost_nanos + excluded.cost_nanos,
                       reused = m.reused + excluded.reused, saved_input = m.saved_input + excluded.saved_input,
                       saved_output = m.saved_output + excluded.saved_output,
                       saved_cost_nanos = m.saved_cost_nanos + excluded.saved_cost_nanos,
                       durations = m.durations + excluded.durations, first_bytes = m.first_bytes + excluded.first_bytes,
                       overheads = m.overheads + excluded.overheads,
                       last_received_at = greatest(m.last_received_at, excluded.last_received_at)",
    )
    .bind(json(&rows)?)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Adds what calls cost more, or less, than they were booked with. Minutes that are kept no longer stay away.
pub(crate) async fn adjust_minutes(tx: &mut WriteTx, minutes: BTreeMap<MinuteKey, i64>) -> Result<()> {
    // One after the other in the order of keys, as booking takes them.
    for (minute, nanos) in minutes {
        sqlx::query(
            "UPDATE usage_minutes SET cost_nanos = cost_nanos + $5
              WHERE organization_id = $1 AND workspace_id = $2 AND minute_at = $3 AND environment_id = $4",
        )
        .bind(tx.org())
        .bind(minute.workspace_id)
        .bind(minute.minute_at)
        .bind(minute.environment_id)
        .bind(nanos)
        .execute(tx.conn())
        .await?;
    }
    Ok(())
}

/// Deletes the minutes before a time and returns how many rows.
pub async fn drop_minutes_before(tx: &mut SystemTx, at: Timestamp) -> Result<u64> {
    // Crosses tenants: retention deletes the minutes of every organization by their age.
    let done = sqlx::query("DELETE FROM usage_minutes WHERE minute_at < $1")
        .bind(at.minute().as_micros())
        .execute(tx.conn())
        .await?;
    Ok(done.rows_affected())
}

// === Reading ===

#[derive(sqlx::FromRow)]
struct PointRow {
    at: Option<i64>,
    workspace_id: Option<String>,
    environment_id: Option<String>,
    #[sqlx(flatten)]
    sums: SumRow,
}

impl PointRow {
    fn read(self, group_by: &[MinuteDimension]) -> Group {
        let value = |dimension: &MinuteDimension| match dimension {
            MinuteDimension::Workspace => self.workspace_id.clone().unwrap_or_default(),
            MinuteDimension::Environment => self.environment_id.clone().unwrap_or_default(),
        };
        Group { at: self.at.map(time), values: group_by.iter().map(value).collect(), sums: self.sums.read() }
    }
}

/// Sums minutes. Groups come by time, oldest first, where a step is asked for, then by cost, largest first; none for no requests.
pub async fn sum_minutes(tx: &mut Tx, query: &Minutes) -> Result<Vec<Group>> {
    const MINUTE: i64 = 60_000_000;
    let by = |dimension| query.group_by.contains(&dimension);
    let rows: Vec<PointRow> = sqlx::query_as(
        "SELECT minute_at - mod(minute_at, $6::bigint) AS at, CASE WHEN $7 THEN workspace_id END AS workspace_id,
                CASE WHEN $8 THEN environment_id END AS environment_id,
                sum(requests)::bigint AS requests, sum(errors)::bigint AS errors, sum(failures)::bigint AS failures,
                sum(input)::bigint AS input, sum(cached_input)::bigint AS cached_input,
                sum(cache_write_5m)::bigint AS cache_write_5m, sum(cache_write_1h)::bigint AS cache_write_1h,
                sum(output)::bigint AS output, sum(reasoning)::bigint AS reasoning,
                sum(images)::bigint AS images, sum(audio_ms)::bigint AS audio_ms,
                sum(characters)::bigint AS characters, sum(searches)::bigint AS searches, sum(pages)::bigint AS pages,
                sum(cost_nanos)::bigint AS cost_nanos, sum(reused)::bigint AS reused,
                sum(saved_input)::bigint AS saved_input, sum(saved_output)::bigint AS saved_output,
                sum(saved_cost_nanos)::bigint AS saved_cost_nanos, sum(durations)::text AS durations,
                sum(first_bytes)::text AS first_bytes, sum(overheads)::text AS overheads,
                max(last_received_at) AS last_received_at
           FROM usage_minutes
          WHERE organization_id = $1 AND minute_at >= $2 AND minute_at < $3
            AND ($4::text IS NULL OR workspace_id = $4) AND ($5::text IS NULL OR environment_id = $5)
          GROUP BY 1, 2, 3 ORDER BY 1, sum(cost_nanos) DESC, sum(requests) DESC, 2, 3 LIMIT $9",
    )
    .bind(tx.org())
    .bind(query.from.minute().as_micros())
    .bind(query.to.as_micros())
    .bind(query.workspace_id.map(|id| id.to_string()))
    .bind(query.environment_id.map(|id| id.to_string()))
    .bind(query.step.map(|minutes| i64::from(minutes.max(1)) * MINUTE))
    .bind(by(MinuteDimension::Workspace))
    .bind(by(MinuteDimension::Environment))
    .bind(i64::from(query.limit))
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| row.read(&query.group_by)).collect())
}
