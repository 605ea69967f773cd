//! Booking: events once, sums with them, and the node's watermark, all in one transaction.
//!
//! The jobs role books, because one batch spans organizations; whether the node may report for them is checked by the caller.
//! Invariant: booking a batch any number of times, in any order, leaves the same ledger as booking it once.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use domain::usage::{TokenUsage, UnitUsage, UsageEvent};
use domain::{NanoUsd, NodeId, Timestamp};
use sqlx::types::Json;

use super::event::{Columns, EventRow, day, day_of};
use super::measures::Measures;
use super::{attempts, minutes};
use crate::row::{signed, unsigned};
use crate::{Result, Store, StoreError, SystemTx, leases, ledger};

/// What a node reports at once, in spool order.
#[derive(Debug, Clone)]
pub struct Batch<'a> {
    /// The node, as its certificate names it.
    pub node_id: NodeId,
    /// The run of the node that its sequence numbers belong to.
    pub boot: &'a str,
    /// The sequence number of the batch's first event.
    pub first_sequence: u64,
    /// The sequence number of its last, whether or not the event itself could be read.
    pub last_sequence: u64,
    /// The events that could be read.
    pub events: &'a [UsageEvent],
    /// When the batch arrived.
    pub received_at: Timestamp,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Events that are in the ledger since now.
    pub inserted: u64,
    /// Events that were there already.
    pub repeated: u64,
    /// Events that the ledger will never take, by their place in the batch, with the reason.
    pub refused: Vec<(usize, &'static str)>,
    /// Everything up to and including this sequence number of the boot is settled.
    pub watermark: u64,
    /// Sequence numbers that never came, inclusive; the batch is booked all the same.
    pub missing: Option<(u64, u64)>,
}

/// An event may be this old, or this far ahead of our clock, when it arrives.
const OLDEST_DAYS: i32 = 400;
const AHEAD_DAYS: i32 = 2;

/// Books a batch. Errors: `Unavailable` and the like mean that nothing was booked and the batch should come again.
pub async fn append(store: &Store, batch: &Batch<'_>) -> Result<Appended> {
    let (mut refused, mut rows) = (Vec::new(), BTreeMap::new());
    for (place, event) in batch.events.iter().enumerate() {
        match refusal(event, batch.received_at) {
            Some(reason) => refused.push((place, reason)),
            // In the order of keys: two batches that overlap lock the same rows in the same order.
            None => drop(rows.insert((event.organization_id, event.id), event)),
        }
    }
    // Before the transaction and apart from it, so that no reader waits for the whole batch and one connection is enough.
    for day in missing_partitions(store, rows.values().map(|event| day_of(event.id)).collect()).await? {
        sqlx::query("SELECT headgate_usage_partition($1)").bind(day).execute(&store.pools.jobs).await?;
    }
    let mut tx = store.system().await?;
    let before = lock_watermark(&mut tx, batch).await?;
    let new = insert_events(&mut tx, rows.values().copied(), batch.received_at).await?;
    let booked: Vec<&UsageEvent> = rows.values().copied().filter(|event| new.contains(&event.id.to_string())).collect();
    if !booked.is_empty() {
        ledger::settle(&mut tx, &booked, batch.received_at).await?;
        add_to_sums(&mut tx, &booked, batch.received_at).await?;
        attempts::add(&mut tx, &booked, batch.received_at).await?;
        minutes::add(&mut tx, &booked, batch.received_at).await?;
        mark_keys_used(&mut tx, &booked).await?;
        // After the events, sums and keys: leases lock accounts and nothing of usage.
        leases::book(&mut tx, &booked, batch.received_at).await?;
    }
    let watermark = advance(&mut tx, batch).await?;
    tx.commit().await?;
    let inserted = booked.len() as u64;
    let expected = before.unwrap_or(0) + 1;
    Ok(Appended {
        inserted,
        repeated: rows.len() as u64 - inserted,
        refused,
        watermark,
        missing: (before.is_some() && batch.first_sequence > expected).then(|| (expected, batch.first_sequence - 1)),
    })
}

/// Largest count, duration in microseconds, or cost in micro-dollars: sums of them stay far below what a column holds.
const MOST: u64 = 1_000_000_000_000;
/// What belongs to one call begins within this of its id.
const APART_US: u64 = 2 * 86_400_000_000;

/// Says why an event can never be booked. What is refused here would make every batch that holds it fail for ever, or every list
/// that shows it.
fn refusal(event: &UsageEvent, received_at: Timestamp) -> Option<&'static str> {
    let (today, of_event) = (day(received_at), day_of(event.id));
    if of_event < today - OLDEST_DAYS || of_event > today + AHEAD_DAYS {
        return Some("the day inside its id is too far from today");
    }
    let minted_us = event.id.minted_at().as_micros();
    let is_apart = |at: Timestamp| at.as_micros().abs_diff(minted_us) > APART_US;
    if is_apart(event.started_at) || event.attempts.iter().any(|attempt| is_apart(attempt.started_at)) {
        return Some("its id and a start in it are days apart");
    }
    let of_attempts = event.attempts.iter().all(|attempt| {
        are_sane(&attempt.usage, &attempt.units, [attempt.duration_us, attempt.first_byte_us.unwrap_or(0), 0])
            && is_payable(attempt.cost)
    });
    let times = [event.duration_us, event.first_byte_us.unwrap_or(0), event.overhead_us];
    let saved = [event.cache.saved_input, event.cache.saved_output];
    let is_sane = of_attempts
        && are_sane(&event.usage, &event.units, times)
        && saved.iter().all(|count| *count <= MOST)
        && is_payable(event.cost)
        && is_payable(event.cache.saved_cost);
    (!is_sane).then_some("a count, a duration or its cost is beyond all bounds")
}

fn are_sane(usage: &TokenUsage, units: &UnitUsage, times: [u64; 3]) -> bool {
    let counts =
        [usage.input, usage.cached_input, usage.cache_write_5m, usage.cache_write_1h, usage.output, usage.reasoning];
    let units = [units.images, units.audio_ms, units.characters, units.searches, units.pages];
    counts.iter().chain(&units).chain(&times).all(|count| *count <= MOST)
}

const fn is_payable(cost: NanoUsd) -> bool {
    cost.as_nanos().unsigned_abs() <= 1_000 * MOST
}

// === Partitions ===

async fn missing_partitions(store: &Store, days: BTreeSet<i32>) -> Result<Vec<i32>> {
    Ok(sqlx::query_scalar(
        "SELECT day FROM unnest($1::integer[]) AS day
          WHERE to_regclass('usage_events_' || to_char(DATE '1970-01-01' + day, 'YYYYMMDD')) IS NULL ORDER BY day",
    )
    .bind(Vec::from_iter(days))
    .fetch_all(&store.pools.jobs)
    .await?)
}

/// Makes the partition of a day ahead of its first event.
pub async fn prepare_day(tx: &mut SystemTx, at: Timestamp) -> Result<()> {
    sqlx::query("SELECT headgate_usage_partition($1)").bind(day(at)).execute(tx.conn()).await?;
    Ok(())
}

/// Drops the events of all days up to and including one, whole partitions at a time, and returns how many days. Sums stay.
pub async fn drop_days_until(tx: &mut SystemTx, at: Timestamp) -> Result<u32> {
    let dropped: i32 = sqlx::query_scalar("SELECT headgate_usage_drop($1)").bind(day(at)).fetch_one(tx.conn()).await?;
    Ok(u32::try_from(dropped).unwrap_or(0))
}

// === Events ===

/// Serialises rows for one JSON parameter. PostgreSQL's text cannot hold U+0000, and one such event must not stop its batch.
pub(super) fn json<T: serde::Serialize>(rows: &[T]) -> Result<Json<Box<serde_json::value::RawValue>>> {
    let text = serde_json::to_string(rows).map_err(|_| StoreError::Range("a batch of usage"))?;
    let text = if text.contains("\\u0000") { without_nul(&text) } else { text };
    serde_json::value::RawValue::from_string(text).map(Json).map_err(|_| StoreError::Range("a batch of usage"))
}

pub(super) fn without_nul(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (plain, escape) = rest.split_at(at);
        out.push_str(plain);
        let length = if escape.starts_with("\\u") { 6 } else { 2 };
        let (escape, after) = escape.split_at(length.min(escape.len()));
        out.push_str(if escape == "\\u0000" { "\\ufffd" } else { escape });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Binds arrays in the order of a statement's columns.
macro_rules! bound {
    ($query:expr, $columns:expr; $($name:ident)+) => {
        $query$(.bind($columns.$name))+
    };
}

/// Inserts what is not there yet and returns the ids of what was inserted.
async fn insert_events<'a>(
    tx: &mut SystemTx,
    events: impl Iterator<Item = &'a UsageEvent>,
    received_at: Timestamp,
) -> Result<HashSet<String>> {
    let mut columns = Columns::default();
    for event in events {
        columns.push(EventRow::new(event, received_at))?;
    }
    if columns.id.is_empty() {
        return Ok(HashSet::new());
    }
    let query = sqlx::query_scalar(
        "INSERT INTO usage_events (organization_id, day, id, workspace_id, environment_id, virtual_key_id, node_id,
                                   endpoint, model, route_id, deployment_id, provider, upstream_model, is_stream, outcome,
                                   status, code, finish_reason, started_at, duration_us, first_byte_us, overhead_us, input,
                                   cached_input, cache_write_5m, cache_write_1h, output, reasoning, is_estimated,
                                   cost_nanos, price_id, policy_revision, end_user, conversation_id, trace_id, metadata,
                                   routing, tags, dropped, attempts, cache, saved_input, saved_output, saved_cost_nanos,
                                   received_at, images, audio_ms, characters, searches, pages, is_unmetered, charges)
         SELECT organization_id, day, id, workspace_id, environment_id, virtual_key_id, node_id, endpoint, model, route_id,
                deployment_id, provider, upstream_model, is_stream, outcome, status, code, finish_reason, started_at,
                duration_us, first_byte_us, overhead_us, input, cached_input, cache_write_5m, cache_write_1h, output,
                reasoning, is_estimated, cost_nanos, price_id, policy_revision, end_user, conversation_id, trace_id,
                metadata::jsonb, routing::jsonb, tags::jsonb, dropped::jsonb, attempts::jsonb, cache, saved_input,
                saved_output, saved_cost_nanos, received_at, images, audio_ms, characters, searches, pages, is_unmetered,
                charges::jsonb
           FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                       $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::boolean[], $15::text[],
                       $16::integer[], $17::text[], $18::text[], $19::bigint[], $20::bigint[], $21::bigint[], $22::bigint[],
                       $23::bigint[], $24::bigint[], $25::bigint[], $26::bigint[], $27::bigint[], $28::bigint[],
                       $29::boolean[], $30::bigint[], $31::text[], $32::bigint[], $33::text[], $34::text[], $35::text[],
                       $36::text[], $37::text[], $38::text[], $39::text[], $40::text[], $41::text[], $42::bigint[],
                       $43::bigint[], $44::bigint[], $45::bigint[], $46::bigint[], $47::bigint[], $48::bigint[],
                       $49::bigint[], $50::bigint[], $51::boolean[], $52::text[])
             AS event (organization_id, day, id, workspace_id, environment_id, virtual_key_id, node_id, endpoint, model,
                          route_id, deployment_id, provider, upstream_model, is_stream, outcome, status, code,
                          finish_reason, started_at, duration_us, first_byte_us, overhead_us, input, cached_input,
                          cache_write_5m, cache_write_1h, output, reasoning, is_estimated, cost_nanos, price_id,
                          policy_revision, end_user, conversation_id, trace_id, metadata, routing, tags, dropped, attempts,
                          cache, saved_input, saved_output, saved_cost_nanos, received_at, images, audio_ms, characters,
                          searches, pages, is_unmetered, charges)
         ON CONFLICT (organization_id, day, id) DO NOTHING RETURNING id",
    );
    let query = bound!(query, columns;
        organization_id day id workspace_id environment_id virtual_key_id node_id endpoint model route_id
        deployment_id provider upstream_model is_stream outcome status code finish_reason started_at
        duration_us first_byte_us overhead_us input cached_input cache_write_5m cache_write_1h output
        reasoning is_estimated cost_nanos price_id policy_revision end_user conversation_id trace_id metadata
        routing tags dropped attempts cache saved_input saved_output saved_cost_nanos received_at images
        audio_ms characters searches pages is_unmetered charges);
    let ids: Vec<String> = query.fetch_all(tx.conn()).await?;
    Ok(ids.into_iter().collect())
}

// === Sums ===

#[derive(PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
struct RollupKey {
    organization_id: String,
    hour_at: i64,
    workspace_id: String,
    environment_id: String,
    virtual_key_id: String,
    model: String,
    provider: String,
    deployment_id: String,
}

#[derive(serde::Serialize)]
struct RollupRow {
    #[serde(flatten)]
    key: RollupKey,
    #[serde(flatten)]
    measures: Measures,
}

async fn add_to_sums(tx: &mut SystemTx, events: &[&UsageEvent], received_at: Timestamp) -> Result<()> {
    let mut groups: BTreeMap<RollupKey, Vec<&UsageEvent>> = BTreeMap::new();
    for event in events {
        let key = RollupKey {
            organization_id: event.organization_id.to_string(),
            hour_at: event.started_at.hour().as_micros(),
            workspace_id: event.workspace_id.to_string(),
            environment_id: event.environment_id.to_string(),
            virtual_key_id: event.virtual_key_id.to_string(),
            model: event.model.clone(),
            provider: event.provider.clone().unwrap_or_default(),
            deployment_id: event.deployment_id.map(|id| id.to_string()).unwrap_or_default(),
        };
        groups.entry(key).or_default().push(event);
    }
    // Sorted by key: concurrent batches take the rows in the same order and cannot wait for each other in a circle.
    let row =
        |(key, events): (RollupKey, Vec<&UsageEvent>)| RollupRow { key, measures: Measures::of(&events, received_at) };
    let rows: Vec<RollupRow> = groups.into_iter().map(row).collect();
    sqlx::query(
        "INSERT INTO usage_rollups AS r (organization_id, hour_at, workspace_id, environment_id, virtual_key_id, model,
                                         provider, deployment_id, requests, errors, failures, input, cached_input,
                                         cache_write_5m, cache_write_1h, output, reasoning, cost_nanos, reused,
                                         saved_input, saved_output, saved_cost_nanos, durations, first_bytes, overheads, last_received_at,
                                         images, audio_ms, characters, searches, pages)
         SELECT organization_id, hour_at, workspace_id, environment_id, virtual_key_id, model,
                provider, deployment_id, requests, errors, failures, input, cached_input,
                cache_write_5m, cache_write_1h, output, reasoning, cost_nanos, reused, saved_input, saved_output,
                saved_cost_nanos, durations, first_bytes, overheads, last_received_at,
                images, audio_ms, characters, searches, pages
           FROM jsonb_to_recordset($1) AS part (
                organization_id text, hour_at bigint, workspace_id text, environment_id text, virtual_key_id text, model text,
                provider text, deployment_id text, requests bigint, errors bigint, failures bigint, input bigint,
                cached_input bigint, cache_write_5m bigint, cache_write_1h bigint, output bigint, reasoning bigint,
                cost_nanos bigint, reused bigint, saved_input bigint, saved_output bigint, saved_cost_nanos bigint,
                durations numeric, first_bytes numeric, overheads numeric,
                last_received_at bigint, images bigint, audio_ms bigint, characters bigint, searches bigint, pages bigint)
         ON CONFLICT (organization_id, hour_at, workspace_id, environment_id, virtual_key_id, model, provider, deployment_id)
         DO UPDATE SET requests = r.requests + excluded.requests, errors = r.errors + excluded.errors,
                       failures = r.failures + excluded.failures, input = r.input + excluded.input,
                       cached_input = r.cached_input + excluded.cached_input,
                       cache_write_5m = r.cache_write_5m + excluded.cache_write_5m,
                       cache_write_1h = r.cache_write_1h + excluded.cache_write_1h,
                       output = r.output + excluded.output, reasoning = r.reasoning + excluded.reasoning,
                       cost_nanos = r.cost_nanos + excluded.cost_nanos, reused = r.reused + excluded.reused,
                       saved_input = r.saved_input + excluded.saved_input,
                       saved_output = r.saved_output + excluded.saved_output,
                       saved_cost_nanos = r.saved_cost_nanos + excluded.saved_cost_nanos,
                       images = r.images + excluded.images, audio_ms = r.audio_ms + excluded.audio_ms,
                       characters = r.characters + excluded.characters, searches = r.searches + excluded.searches,
                       pages = r.pages + excluded.pages,
                       durations = r.durations + excluded.durations, first_bytes = r.first_bytes + excluded.first_bytes,
                       overheads = r.overheads + excluded.overheads,
                       last_received_at = greatest(r.last_received_at, excluded.last_received_at)",
    )
    .bind(json(&rows)?)
    .execute(tx.conn())
    .await?;
    Ok(())
}

async fn mark_keys_used(tx: &mut SystemTx, events: &[&UsageEvent]) -> Result<()> {
    let mut uses: BTreeMap<(String, String), (i64, Option<i64>)> = BTreeMap::new();
    for event in events {
        let at = event.started_at.as_micros();
        let (last, last_old) =
            uses.entry((event.organization_id.to_string(), event.virtual_key_id.to_string())).or_default();
        *last = (*last).max(at);
        *last_old = (*last_old).max(event.is_by_old_secret.then_some(at));
    }
    let (keys, times): (Vec<_>, Vec<_>) = uses.into_iter().unzip();
    let (organizations, keys): (Vec<_>, Vec<_>) = keys.into_iter().unzip();
    let (times, old_times): (Vec<_>, Vec<_>) = times.into_iter().unzip();
    sqlx::query(
        "INSERT INTO virtual_key_uses AS u (organization_id, virtual_key_id, last_used_at, old_secret_used_at)
         SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
         ON CONFLICT (organization_id, virtual_key_id)
         DO UPDATE SET last_used_at = greatest(u.last_used_at, excluded.last_used_at),
                       old_secret_used_at = greatest(u.old_secret_used_at, excluded.old_secret_used_at)",
    )
    .bind(organizations)
    .bind(keys)
    .bind(times)
    .bind(old_times)
    .execute(tx.conn())
    .await?;
    Ok(())
}

// === Watermark ===

/// Locks the run of the node before anything else is locked, and reads how far it is booked. A lock on its row alone would not
/// do: the first batches of a run find no row, and would each hold events that the next one waits for.
async fn lock_watermark(tx: &mut SystemTx, batch: &Batch<'_>) -> Result<Option<u64>> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtext('usage_cursors'), hashtext($1 || ' ' || $2))")
        .bind(batch.node_id.to_string())
        .bind(batch.boot)
        .execute(tx.conn())
        .await?;
    watermark(tx, batch.node_id, batch.boot).await
}

async fn advance(tx: &mut SystemTx, batch: &Batch<'_>) -> Result<u64> {
    let watermark: i64 = sqlx::query_scalar(
        "INSERT INTO usage_cursors AS c (node_id, boot, watermark, updated_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (node_id, boot) DO UPDATE
            SET watermark = greatest(c.watermark, excluded.watermark), updated_at = excluded.updated_at
         RETURNING watermark",
    )
    .bind(batch.node_id.to_string())
    .bind(batch.boot)
    .bind(signed(batch.last_sequence))
    .bind(batch.received_at.as_micros())
    .fetch_one(tx.conn())
    .await?;
    Ok(unsigned(watermark))
}

/// Returns how far a boot of a node has been booked; `None` when nothing of it has.
pub async fn watermark(tx: &mut SystemTx, node_id: NodeId, boot: &str) -> Result<Option<u64>> {
    let found: Option<i64> = sqlx::query_scalar("SELECT watermark FROM usage_cursors WHERE node_id = $1 AND boot = $2")
        .bind(node_id.to_string())
        .bind(boot)
        .fetch_optional(tx.conn())
        .await?;
    Ok(found.map(unsigned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_nul_escape_is_replaced() {
        let text = serde_json::to_string(&["a\0b", "\\u0000", "c\\\0\n", "é"]).expect("strings serialise");
        let back: Vec<String> = serde_json::from_str(&without_nul(&text)).expect("still JSON");
        assert_eq!(back, ["a\u{fffd}b", "\\u0000", "c\\\u{fffd}\n", "é"]);
    }
}
