//! How upstreams fare: every try, by hour and by who was tried.
//!
//! Requests belong to whoever answered them ([`super::sums`]); a target that fails before its first byte answers none, so its
//! failures are here alone. Invariant: each attempt of a booked event counts once, under exactly one of the ways to end.

use std::collections::BTreeMap;

use domain::usage::{AttemptOutcome, AttemptRecord, UsageEvent};
use domain::{DeploymentId, Timestamp, WorkspaceId};

use super::append::json;
use super::histogram::Histogram;
use crate::row::{time, time_opt, unsigned};
use crate::{Result, SystemTx, Tx};

/// What attempts may be grouped by, besides the hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptDimension {
    /// The workspace of the call.
    Workspace,
    /// The provider that was tried.
    Provider,
    /// The deployment that was tried.
    Deployment,
    /// The model, as the upstream names it.
    Model,
}

/// Which attempts to sum; what is `None` lets all through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptQuery {
    /// From the hour of this time on.
    pub from: Timestamp,
    /// Before this time; the hour that contains it counts whole, unless it begins there.
    pub to: Timestamp,
    /// Only of this workspace.
    pub workspace_id: Option<WorkspaceId>,
    /// Only at this provider.
    pub provider: Option<String>,
    /// Only at this deployment.
    pub deployment_id: Option<DeploymentId>,
    /// One group per combination of these.
    pub group_by: Vec<AttemptDimension>,
    /// And per hour.
    pub is_hourly: bool,
    /// At most this many groups.
    pub limit: u32,
}

/// Sums over attempts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AttemptSums {
    /// All of them.
    pub attempts: u64,
    /// Gave the answer.
    pub succeeded: u64,
    /// The upstream refused the request itself (4xx but for those below).
    pub refused: u64,
    /// The upstream had enough (429).
    pub rate_limited: u64,
    /// The upstream answered with another error: 5xx, 401, 403, 408.
    pub failed: u64,
    /// No connection.
    pub unreachable: u64,
    /// One of the timeouts.
    pub timed_out: u64,
    /// The connection or the body broke.
    pub broken: u64,
    /// Given up, because the client left or another target was faster.
    pub cancelled: u64,
    /// Not sent: credential or request could not be made.
    pub unsendable: u64,
    /// Durations of those that succeeded, in microseconds.
    pub duration: Histogram,
    /// Their times to the first byte.
    pub first_byte: Histogram,
    /// When the newest in here was booked.
    pub last_received_at: Option<Timestamp>,
}

/// One group of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptGroup {
    /// The hour, when asked for.
    pub at: Option<Timestamp>,
    /// The values of the dimensions, in the order asked; ids as text.
    pub values: Vec<String>,
    /// The sums.
    pub sums: AttemptSums,
}

// === Booking ===

#[derive(PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
struct Key<'a> {
    organization_id: String,
    hour_at: i64,
    workspace_id: String,
    provider: &'a str,
    deployment_id: String,
    upstream_model: &'a str,
}

#[derive(Default, serde::Serialize)]
struct Measures {
    attempts: i64,
    succeeded: i64,
    refused: i64,
    rate_limited: i64,
    failed: i64,
    unreachable: i64,
    timed_out: i64,
    broken: i64,
    cancelled: i64,
    unsendable: i64,
    duration_buckets: Vec<u64>,
    first_byte_buckets: Vec<u64>,
    last_received_at: i64,
}

#[derive(serde::Serialize)]
struct RollupRow<'a> {
    #[serde(flatten)]
    key: Key<'a>,
    #[serde(flatten)]
    measures: Measures,
}

fn measure(attempts: &[&AttemptRecord], received_at: Timestamp) -> Measures {
    let (mut duration, mut first_byte) = <(Histogram, Histogram)>::default();
    let mut sums = Measures { last_received_at: received_at.as_micros(), ..Measures::default() };
    for attempt in attempts {
        sums.attempts += 1;
        *match (attempt.outcome, attempt.status) {
            (AttemptOutcome::Success, _) => &mut sums.succeeded,
            (AttemptOutcome::Status, Some(429)) => &mut sums.rate_limited,
            // A wrong key is not the caller's mistake: it is the credential that an administrator gave.
            (AttemptOutcome::Status, Some(400..=499)) if !matches!(attempt.status, Some(401 | 403 | 408)) => {
                &mut sums.refused
            }
            (AttemptOutcome::Status, _) => &mut sums.failed,
            (AttemptOutcome::Connect, _) => &mut sums.unreachable,
            (AttemptOutcome::Timeout, _) => &mut sums.timed_out,
            (AttemptOutcome::Broken, _) => &mut sums.broken,
            (AttemptOutcome::Cancelled, _) => &mut sums.cancelled,
            (AttemptOutcome::Unsendable, _) => &mut sums.unsendable,
        } += 1;
        if attempt.outcome == AttemptOutcome::Success {
            duration.add(attempt.duration_us);
            if let Some(micros) = attempt.first_byte_us {
                first_byte.add(micros);
            }
        }
    }
    sums.duration_buckets = duration.counts().to_vec();
    sums.first_byte_buckets = first_byte.counts().to_vec();
    sums
}

/// Adds the attempts of events that were booked just now.
pub(super) async fn add(tx: &mut SystemTx, events: &[&UsageEvent], received_at: Timestamp) -> Result<()> {
    let mut groups: BTreeMap<Key<'_>, Vec<&AttemptRecord>> = BTreeMap::new();
    for event in events {
        for attempt in &event.attempts {
            let key = Key {
                organization_id: event.organization_id.to_string(),
                hour_at: event.started_at.hour().as_micros(),
                workspace_id: event.workspace_id.to_string(),
                provider: &attempt.provider,
                deployment_id: attempt.deployment_id.to_string(),
                upstream_model: &attempt.upstream_model,
            };
            groups.entry(key).or_default().push(attempt);
        }
    }
    // Sorted by key, as the other sums are: concurrent batches take the rows in the same order.
    let rows: Vec<RollupRow<'_>> = groups
        .into_iter()
        .map(|(key, attempts)| RollupRow { key, measures: measure(&attempts, received_at) })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO attempt_rollups AS r (organization_id, hour_at, workspace_id, provider, deployment_id, upstream_model,
                                           attempts, succeeded, refused, rate_limited, failed, unreachable, timed_out,
                                           broken, cancelled, unsendable, duration_buckets, first_byte_buckets,
                                           last_received_at)
         SELECT organization_id, hour_at, workspace_id, provider, deployment_id, upstream_model, attempts, succeeded, refused,
                rate_limited, failed, unreachable, timed_out, broken, cancelled, unsendable, duration_buckets,
                first_byte_buckets, last_received_at
           FROM jsonb_to_recordset($1) AS part (
                organization_id text, hour_at bigint, workspace_id text, provider text, deployment_id text,
                upstream_model text, attempts bigint, succeeded bigint, refused bigint, rate_limited bigint, failed bigint,
                unreachable bigint, timed_out bigint, broken bigint, cancelled bigint, unsendable bigint,
                duration_buckets bigint[], first_byte_buckets bigint[], last_received_at bigint)
         ON CONFLICT (organization_id, hour_at, workspace_id, provider, deployment_id, upstream_model)
         DO UPDATE SET attempts = r.attempts + excluded.attempts, succeeded = r.succeeded + excluded.succeeded,
                       refused = r.refused + excluded.refused, rate_limited = r.rate_limited + excluded.rate_limited,
                       failed = r.failed + excluded.failed, unreachable = r.unreachable + excluded.unreachable,
                       timed_out = r.timed_out + excluded.timed_out, broken = r.broken + excluded.broken,
                       cancelled = r.cancelled + excluded.cancelled, unsendable = r.unsendable + excluded.unsendable,
                       duration_buckets = headgate_add_buckets(r.duration_buckets, excluded.duration_buckets),
                       first_byte_buckets = headgate_add_buckets(r.first_byte_buckets, excluded.first_byte_buckets),
                       last_received_at = greatest(r.last_received_at, excluded.last_received_at)",
    )
    .bind(json(&rows)?)
    .execute(tx.conn())
    .await?;
    Ok(())
}

// === Sums ===

#[derive(sqlx::FromRow)]
struct SumRow {
    at: Option<i64>,
    workspace_id: Option<String>,
    provider: Option<String>,
    deployment_id: Option<String>,
    upstream_model: Option<String>,
    attempts: i64,
    succeeded: i64,
    refused: i64,
    rate_limited: i64,
    failed: i64,
    unreachable: i64,
    timed_out: i64,
    broken: i64,
    cancelled: i64,
    unsendable: i64,
    duration_buckets: Vec<i64>,
    first_byte_buckets: Vec<i64>,
    last_received_at: Option<i64>,
}

impl SumRow {
    fn read(self, group_by: &[AttemptDimension]) -> AttemptGroup {
        let histogram = |counts: Vec<i64>| Histogram::from_counts(counts.into_iter().map(unsigned).collect());
        let value = |dimension: &AttemptDimension| {
            let value = match dimension {
                AttemptDimension::Workspace => &self.workspace_id,
                AttemptDimension::Provider => &self.provider,
                AttemptDimension::Deployment => &self.deployment_id,
                AttemptDimension::Model => &self.upstream_model,
            };
            value.clone().unwrap_or_default()
        };
        AttemptGroup {
            at: self.at.map(time),
            values: group_by.iter().map(value).collect(),
            sums: AttemptSums {
                attempts: unsigned(self.attempts),
                succeeded: unsigned(self.succeeded),
                refused: unsigned(self.refused),
                rate_limited: unsigned(self.rate_limited),
                failed: unsigned(self.failed),
                unreachable: unsigned(self.unreachable),
                timed_out: unsigned(self.timed_out),
                broken: unsigned(self.broken),
                cancelled: unsigned(self.cancelled),
                unsendable: unsigned(self.unsendable),
                duration: histogram(self.duration_buckets),
                first_byte: histogram(self.first_byte_buckets),
                last_received_at: time_opt(self.last_received_at),
            },
        }
    }
}

/// Sums attempts. Groups come by hour, oldest first, where hours are asked for, then by how many there were; none for none.
pub async fn sum_attempts(tx: &mut Tx, query: &AttemptQuery) -> Result<Vec<AttemptGroup>> {
    let by = |dimension| query.group_by.contains(&dimension);
    let rows: Vec<SumRow> = sqlx::query_as(
        "SELECT CASE WHEN $7 THEN hour_at END AS at, CASE WHEN $8 THEN workspace_id END AS workspace_id,
                CASE WHEN $9 THEN provider END AS provider, CASE WHEN $10 THEN deployment_id END AS deployment_id,
                CASE WHEN $11 THEN upstream_model END AS upstream_model,
                sum(attempts)::bigint AS attempts, sum(succeeded)::bigint AS succeeded, sum(refused)::bigint AS refused,
                sum(rate_limited)::bigint AS rate_limited, sum(failed)::bigint AS failed,
                sum(unreachable)::bigint AS unreachable, sum(timed_out)::bigint AS timed_out,
                sum(broken)::bigint AS broken, sum(cancelled)::bigint AS cancelled, sum(unsendable)::bigint AS unsendable,
                headgate_merge_buckets(duration_buckets) AS duration_buckets,
                headgate_merge_buckets(first_byte_buckets) AS first_byte_buckets, max(last_received_at) AS last_received_at
           FROM attempt_rollups
          WHERE organization_id = $1 AND hour_at >= $2 AND hour_at < $3
            AND ($4::text IS NULL OR workspace_id = $4) AND ($5::text IS NULL OR provider = $5)
            AND ($6::text IS NULL OR deployment_id = $6)
          GROUP BY 1, 2, 3, 4, 5
          ORDER BY 1, sum(attempts) DESC, 2, 3, 4, 5 LIMIT $12",
    )
    .bind(tx.org())
    .bind(query.from.hour().as_micros())
    .bind(query.to.as_micros())
    .bind(query.workspace_id.map(|id| id.to_string()))
    .bind(query.provider.as_deref())
    .bind(query.deployment_id.map(|id| id.to_string()))
    .bind(query.is_hourly)
    .bind(by(AttemptDimension::Workspace))
    .bind(by(AttemptDimension::Provider))
    .bind(by(AttemptDimension::Deployment))
    .bind(by(AttemptDimension::Model))
    .bind(i64::from(query.limit))
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| row.read(&query.group_by)).collect())
}
