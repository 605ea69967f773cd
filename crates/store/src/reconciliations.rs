//! Exports of providers that were held against the ledger, and the ledger's side of it. Facts: added and never changed.

use std::collections::BTreeMap;

use domain::page::{Cursor, Limit, Page};
use domain::reconciliation::{Counted, Difference, ExportFormat, Reconciliation, Tolerance};
use domain::{NanoUsd, Permit, ReconciliationId, Timestamp};
use sqlx::types::Json;

use crate::row::{self, Row, signed, time, unsigned};
use crate::{Result, StoreError, Tx, WriteTx};

#[derive(sqlx::FromRow)]
struct ReconciliationRow {
    organization_id: String,
    id: String,
    provider: String,
    format: String,
    file_name: String,
    digest: Vec<u8>,
    first_day: i32,
    last_day: i32,
    n_rows: i64,
    skipped: i64,
    tolerance_basis_points: i32,
    tolerance_nanos: i64,
    matched: i64,
    differing: i64,
    theirs: Json<Counted>,
    ours: Json<Counted>,
    differences: Json<Vec<Difference>>,
    uploaded_by: String,
    created_at: i64,
}

impl ReconciliationRow {
    fn read(self) -> Result<Reconciliation> {
        let row = Row { table: "reconciliations", id: &self.id };
        Ok(Reconciliation {
            id: row.parse("id", &self.id)?,
            organization_id: row.parse("organization_id", &self.organization_id)?,
            format: ExportFormat::find(&self.format).ok_or_else(|| row.corrupt("format"))?,
            digest: row.bytes32("digest", &self.digest)?,
            provider: self.provider,
            file_name: self.file_name,
            first_day: self.first_day,
            last_day: self.last_day,
            rows: unsigned(self.n_rows),
            skipped: unsigned(self.skipped),
            tolerance: Tolerance {
                basis_points: u32::try_from(self.tolerance_basis_points).unwrap_or(0),
                amount: NanoUsd::from_nanos(self.tolerance_nanos),
            },
            matched: unsigned(self.matched),
            differing: unsigned(self.differing),
            theirs: self.theirs.0,
            ours: self.ours.0,
            differences: self.differences.0,
            uploaded_by: self.uploaded_by,
            created_at: time(self.created_at),
        })
    }
}

/// Adds what a comparison found.
pub async fn insert(tx: &mut WriteTx, permit: &Permit, it: &Reconciliation) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query(
        "INSERT INTO reconciliations (organization_id, id, provider, format, file_name, digest, first_day, last_day, n_rows,
                                      skipped, tolerance_basis_points, tolerance_nanos, matched, differing, theirs, ours,
                                      differences, uploaded_by, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
    )
    .bind(it.organization_id.to_string())
    .bind(it.id.to_string())
    .bind(&it.provider)
    .bind(it.format.as_str())
    .bind(&it.file_name)
    .bind(&it.digest[..])
    .bind(it.first_day)
    .bind(it.last_day)
    .bind(signed(it.rows))
    .bind(signed(it.skipped))
    .bind(i32::try_from(it.tolerance.basis_points).unwrap_or(i32::MAX))
    .bind(it.tolerance.amount.as_nanos())
    .bind(signed(it.matched))
    .bind(signed(it.differing))
    .bind(Json(&it.theirs))
    .bind(Json(&it.ours))
    .bind(Json(&it.differences))
    .bind(&it.uploaded_by)
    .bind(it.created_at.as_micros())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Returns one with its differences.
pub async fn get(tx: &mut Tx, id: ReconciliationId) -> Result<Reconciliation> {
    let row: Option<ReconciliationRow> = sqlx::query_as(
        "SELECT organization_id, id, provider, format, file_name, digest, first_day, last_day, n_rows, skipped,
                tolerance_basis_points, tolerance_nanos, matched, differing, theirs, ours, differences, uploaded_by, created_at
           FROM reconciliations WHERE organization_id = $1 AND id = $2",
    )
    .bind(tx.org())
    .bind(id.to_string())
    .fetch_optional(tx.conn())
    .await?;
    row.ok_or(StoreError::NotFound("reconciliation"))?.read()
}

/// Lists them without their differences, newest first.
pub async fn list(tx: &mut Tx, cursor: Option<&Cursor>, limit: Limit) -> Result<Page<Reconciliation>> {
    let rows: Vec<ReconciliationRow> = sqlx::query_as(
        "SELECT organization_id, id, provider, format, file_name, digest, first_day, last_day, n_rows, skipped,
                tolerance_basis_points, tolerance_nanos, matched, differing, theirs, ours, '[]'::jsonb AS differences, uploaded_by,
                created_at
           FROM reconciliations WHERE organization_id = $1 AND ($2::text IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
    )
    .bind(tx.org())
    .bind(row::after::<ReconciliationId>(cursor)?)
    .bind(row::surplus(limit))
    .fetch_all(tx.conn())
    .await?;
    row::page(rows, limit, ReconciliationRow::read, |it| it.id.to_string())
}

/// A day, a model of a provider, and a credential, as text; empty for none.
pub type Place = (i32, String, String);

#[derive(sqlx::FromRow)]
struct AttemptsRow {
    at_day: i32,
    upstream_model: String,
    credential_id: String,
    requests: i64,
    input: i64,
    output: i64,
    cost_nanos: i64,
}

/// Sums what attempts at a provider used and cost, by day of UTC, model and credential, of events with ids of one day: an attempt that
/// began on another day counts there. What was put right by another price since is in the cost.
pub async fn attempts(
    tx: &mut Tx,
    provider: &str,
    day: i32,
    (from, to): (Timestamp, Timestamp),
) -> Result<BTreeMap<Place, Counted>> {
    let rows: Vec<AttemptsRow> = sqlx::query_as(
        "SELECT (a.started_at / 86400000000)::integer AS at_day, a.upstream_model, coalesce(a.credential_id, '') AS credential_id,
                count(*) AS requests,
                sum(coalesce((a.usage ->> 'input')::bigint, 0) + coalesce((a.usage ->> 'cached_input')::bigint, 0)
                    + coalesce((a.usage ->> 'cache_write_5m')::bigint, 0)
                    + coalesce((a.usage ->> 'cache_write_1h')::bigint, 0))::bigint AS input,
                sum(coalesce((a.usage ->> 'output')::bigint, 0))::bigint AS output,
                sum(a.cost_nanos + coalesce(a.adjusted, 0))::bigint AS cost_nanos
           FROM (SELECT it ->> 'upstream_model' AS upstream_model, it ->> 'credential_id' AS credential_id, it -> 'usage' AS usage,
                        (extract(epoch FROM (it ->> 'started_at')::timestamptz) * 1000000)::bigint AS started_at,
                        ((it ->> 'cost')::numeric * 1000000000)::bigint AS cost_nanos,
                        -- The whole difference goes to the first attempt at the model: the price was one for all of them.
                        CASE WHEN row_number() OVER (PARTITION BY e.id, it ->> 'upstream_model' ORDER BY n) = 1 THEN p.adjusted END AS adjusted
                   FROM usage_events AS e
                  CROSS JOIN jsonb_array_elements(e.attempts) WITH ORDINALITY AS attempt (it, n)
                   LEFT JOIN (SELECT l.event_id, r.upstream_model,
                                     sum(CASE WHEN l.debit LIKE 'spend/%' THEN l.amount_nanos ELSE -l.amount_nanos END) AS adjusted
                                FROM ledger_postings AS l
                                JOIN prices AS r ON r.organization_id = l.organization_id AND r.id = l.price_id AND r.provider = $2
                               WHERE l.organization_id = $1 AND l.day = $3 AND l.kind = 'adjust'
                               GROUP BY l.event_id, r.upstream_model) AS p
                     ON p.event_id = e.id AND p.upstream_model = it ->> 'upstream_model'
                  WHERE e.organization_id = $1 AND e.day = $3 AND it ->> 'provider' = $2) AS a
          WHERE a.started_at >= $4 AND a.started_at < $5
          GROUP BY 1, 2, 3",
    )
    .bind(tx.org())
    .bind(provider)
    .bind(day)
    .bind(from.as_micros())
    .bind(to.as_micros())
    .fetch_all(tx.conn())
    .await?;
    let read = |it: AttemptsRow| {
        let counted = Counted {
            requests: Some(unsigned(it.requests)),
            input: Some(unsigned(it.input)),
            output: Some(unsigned(it.output)),
            cost: Some(NanoUsd::from_nanos(it.cost_nanos)),
        };
        ((it.at_day, it.upstream_model, it.credential_id), counted)
    };
    Ok(rows.into_iter().map(read).collect())
}
