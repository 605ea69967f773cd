//! Sums over hours, grouped by any dimensions, with histograms from which percentiles follow.

use domain::usage::{TokenUsage, UnitUsage};
use domain::{DeploymentId, EnvironmentId, NanoUsd, Timestamp, VirtualKeyId, WorkspaceId};

use super::histogram::Histogram;
use crate::row::{time, time_opt, unsigned};
use crate::{Result, Tx};

/// What sums may be grouped by, besides time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dimension {
    /// The workspace.
    Workspace,
    /// The environment.
    Environment,
    /// The virtual key.
    VirtualKey,
    /// The model, as clients asked for it.
    Model,
    /// The provider that answered; empty when none did.
    Provider,
    /// The deployment that answered; empty when none did.
    Deployment,
}

/// The width of a point in a time series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// An hour.
    Hour,
    /// A day.
    Day,
}

/// What to sum; everything that is `None` lets all through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// From the hour of this time on.
    pub from: Timestamp,
    /// Before this time; the hour that contains it counts whole, unless it begins there.
    pub to: Timestamp,
    /// Only this workspace.
    pub workspace_id: Option<WorkspaceId>,
    /// Only this environment.
    pub environment_id: Option<EnvironmentId>,
    /// Only this key.
    pub virtual_key_id: Option<VirtualKeyId>,
    /// Only this model.
    pub model: Option<String>,
    /// Only this provider.
    pub provider: Option<String>,
    /// Only this deployment.
    pub deployment_id: Option<DeploymentId>,
    /// One group per combination of these.
    pub group_by: Vec<Dimension>,
    /// And per point of time, when set.
    pub step: Option<Step>,
    /// Where days begin, in minutes east of UTC; an hour counts for the day in which it begins.
    pub utc_offset_minutes: i16,
    /// At most this many groups.
    pub limit: u32,
}

impl Query {
    /// Sums everything of the organization in a time, as one group.
    #[must_use]
    pub const fn all(from: Timestamp, to: Timestamp) -> Self {
        Self {
            from,
            to,
            workspace_id: None,
            environment_id: None,
            virtual_key_id: None,
            model: None,
            provider: None,
            deployment_id: None,
            group_by: Vec::new(),
            step: None,
            utc_offset_minutes: 0,
            limit: 1,
        }
    }
}

/// Sums over requests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sums {
    /// All requests.
    pub requests: u64,
    /// Requests that did not succeed.
    pub errors: u64,
    /// Requests that failed for a reason that is not the client's.
    pub failures: u64,
    /// Tokens by kind.
    pub tokens: TokenUsage,
    /// What was counted beside tokens.
    pub units: UnitUsage,
    /// Cost.
    pub cost: NanoUsd,
    /// Requests that got an answer again.
    pub reused: u64,
    /// Input tokens that the first calls of those answers had used.
    pub saved_input: u64,
    /// Output tokens that they had used.
    pub saved_output: u64,
    /// What they had cost.
    pub saved_cost: NanoUsd,
    /// Durations, in microseconds.
    pub duration: Histogram,
    /// Times to the first byte of those that had one.
    pub first_byte: Histogram,
    /// Times spent in Headgate itself.
    pub overhead: Histogram,
    /// When the newest event in here was booked.
    pub last_received_at: Option<Timestamp>,
}

/// One group of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The beginning of the point of time, when a step was asked for.
    pub at: Option<Timestamp>,
    /// The values of the dimensions, in the order asked; ids as text.
    pub values: Vec<String>,
    /// The sums.
    pub sums: Sums,
}

#[derive(sqlx::FromRow)]
struct GroupRow {
    at: Option<i64>,
    workspace_id: Option<String>,
    environment_id: Option<String>,
    virtual_key_id: Option<String>,
    model: Option<String>,
    provider: Option<String>,
    deployment_id: Option<String>,
    #[sqlx(flatten)]
    sums: SumRow,
}

/// The sums of a row, as queries over any table of sums name them.
#[derive(sqlx::FromRow)]
pub(super) struct SumRow {
    requests: i64,
    errors: i64,
    failures: i64,
    input: i64,
    cached_input: i64,
    cache_write_5m: i64,
    cache_write_1h: i64,
    output: i64,
    reasoning: i64,
    images: i64,
    audio_ms: i64,
    characters: i64,
    searches: i64,
    pages: i64,
    cost_nanos: i64,
    reused: i64,
    saved_input: i64,
    saved_output: i64,
    saved_cost_nanos: i64,
    durations: String,
    first_bytes: String,
    overheads: String,
    last_received_at: Option<i64>,
}

impl GroupRow {
    fn value(&self, dimension: Dimension) -> String {
        let value = match dimension {
            Dimension::Workspace => &self.workspace_id,
            Dimension::Environment => &self.environment_id,
            Dimension::VirtualKey => &self.virtual_key_id,
            Dimension::Model => &self.model,
            Dimension::Provider => &self.provider,
            Dimension::Deployment => &self.deployment_id,
        };
        value.clone().unwrap_or_default()
    }

    fn read(self, group_by: &[Dimension]) -> Group {
        Group {
            at: self.at.map(time),
            values: group_by.iter().map(|dimension| self.value(*dimension)).collect(),
            sums: self.sums.read(),
        }
    }
}

impl SumRow {
    pub(super) fn read(self) -> Sums {
        Sums {
            requests: unsigned(self.requests),
            errors: unsigned(self.errors),
            failures: unsigned(self.failures),
            tokens: TokenUsage {
                input: unsigned(self.input),
                cached_input: unsigned(self.cached_input),
                cache_write_5m: unsigned(self.cache_write_5m),
                cache_write_1h: unsigned(self.cache_write_1h),
                output: unsigned(self.output),
                reasoning: unsigned(self.reasoning),
            },
            units: UnitUsage {
                images: unsigned(self.images),
                audio_ms: unsigned(self.audio_ms),
                characters: unsigned(self.characters),
                searches: unsigned(self.searches),
                pages: unsigned(self.pages),
            },
            cost: NanoUsd::from_nanos(self.cost_nanos),
            reused: unsigned(self.reused),
            saved_input: unsigned(self.saved_input),
            saved_output: unsigned(self.saved_output),
            saved_cost: NanoUsd::from_nanos(self.saved_cost_nanos),
            duration: Histogram::unpack(&self.durations),
            first_byte: Histogram::unpack(&self.first_bytes),
            overhead: Histogram::unpack(&self.overheads),
            last_received_at: time_opt(self.last_received_at),
        }
    }
}

/// Sums usage. Groups come by time, oldest first, where time is asked for, then by cost, largest first; none for no requests.
pub async fn sum(tx: &mut Tx, query: &Query) -> Result<Vec<Group>> {
    const HOUR: i64 = 3_600_000_000;
    let (step, offset) = match query.step {
        None => (None, 0),
        Some(Step::Hour) => (Some(HOUR), 0),
        Some(Step::Day) => (Some(24 * HOUR), i64::from(query.utc_offset_minutes) * (HOUR / 60)),
    };
    let by = |dimension| query.group_by.contains(&dimension);
    let rows: Vec<GroupRow> = sqlx::query_as(
        "SELECT hour_at - mod(hour_at + $18, $10::bigint) AS at,
                CASE WHEN $11 THEN workspace_id END AS workspace_id, CASE WHEN $12 THEN environment_id END AS environment_id,
                CASE WHEN $13 THEN virtual_key_id END AS virtual_key_id, CASE WHEN $14 THEN model END AS model,
                CASE WHEN $15 THEN provider END AS provider, CASE WHEN $16 THEN deployment_id END AS deployment_id,
                sum(requests)::bigint AS requests, sum(errors)::bigint AS errors, sum(failures)::bigint AS failures,
                sum(input)::bigint AS input, sum(cached_input)::bigint AS cached_input,
                sum(cache_write_5m)::bigint AS cache_write_5m, sum(cache_write_1h)::bigint AS cache_write_1h,
                sum(output)::bigint AS output, sum(reasoning)::bigint AS reasoning, sum(cost_nanos)::bigint AS cost_nanos,
                sum(reused)::bigint AS reused, sum(saved_input)::bigint AS saved_input,
                sum(saved_output)::bigint AS saved_output, sum(saved_cost_nanos)::bigint AS saved_cost_nanos,
                sum(images)::bigint AS images, sum(audio_ms)::bigint AS audio_ms,
                sum(characters)::bigint AS characters, sum(searches)::bigint AS searches, sum(pages)::bigint AS pages,
                sum(durations)::text AS durations, sum(first_bytes)::text AS first_bytes, sum(overheads)::text AS overheads,
                max(last_received_at) AS last_received_at
           FROM usage_rollups
          WHERE organization_id = $1 AND hour_at >= $2 AND hour_at < $3
            AND ($4::text IS NULL OR workspace_id = $4) AND ($5::text IS NULL OR environment_id = $5)
            AND ($6::text IS NULL OR virtual_key_id = $6) AND ($7::text IS NULL OR model = $7)
            AND ($8::text IS NULL OR provider = $8) AND ($9::text IS NULL OR deployment_id = $9)
          GROUP BY 1, 2, 3, 4, 5, 6, 7
          ORDER BY 1, sum(cost_nanos) DESC, sum(requests) DESC, 2, 3, 4, 5, 6, 7 LIMIT $17",
    )
    .bind(tx.org())
    .bind(query.from.hour().as_micros())
    .bind(query.to.as_micros())
    .bind(query.workspace_id.map(|id| id.to_string()))
    .bind(query.environment_id.map(|id| id.to_string()))
    .bind(query.virtual_key_id.map(|id| id.to_string()))
    .bind(query.model.as_deref())
    .bind(query.provider.as_deref())
    .bind(query.deployment_id.map(|id| id.to_string()))
    .bind(step)
    .bind(by(Dimension::Workspace))
    .bind(by(Dimension::Environment))
    .bind(by(Dimension::VirtualKey))
    .bind(by(Dimension::Model))
    .bind(by(Dimension::Provider))
    .bind(by(Dimension::Deployment))
    .bind(i64::from(query.limit))
    .bind(offset)
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| row.read(&query.group_by)).collect())
}
