//! The ledger's double entry: postings are added with the events that they belong to, and never changed.
//!
//! Settling is in the transaction that books events; putting prices right is in an organization's own write, with its audit entry.
//! Invariants: the postings of an event move what it cost; an adjustment changes the hour's sums in the same transaction; posting
//! the same thing twice is impossible, because each posting of an event has a number.

mod check;
mod entries;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::ledger::{Posting, PostingKind, movement, owed};
use domain::usage::UsageEvent;
use domain::{NanoUsd, Permit, PriceId, RequestId, Timestamp};

pub use check::{Finding, check, findings};
pub use entries::{Markup, Standing, enter, entries, entries_between, markups, set_markup, standing};

use crate::row::{Row, time};
use crate::usage::{MinuteKey, adjust_minutes, day_of};
use crate::{Result, SystemTx, Tx, WriteTx};

/// Columns of postings, as arrays.
#[derive(Default)]
struct Columns {
    organizations: Vec<String>,
    days: Vec<i32>,
    events: Vec<String>,
    numbers: Vec<i32>,
    debits: Vec<String>,
    credits: Vec<String>,
    amounts: Vec<i64>,
}

impl Columns {
    fn push(&mut self, event: &UsageEvent, n: i32, (debit, credit, amount): (String, String, NanoUsd)) {
        self.organizations.push(event.organization_id.to_string());
        self.days.push(day_of(event.id));
        self.events.push(event.id.to_string());
        self.numbers.push(n);
        self.debits.push(debit);
        self.credits.push(credit);
        self.amounts.push(amount.as_nanos());
    }
}

/// Posts what events cost that are in the ledger since this transaction.
pub(crate) async fn settle(tx: &mut SystemTx, events: &[&UsageEvent], posted_at: Timestamp) -> Result<()> {
    let mut columns = Columns::default();
    for event in events {
        let movements =
            owed(event).into_iter().filter_map(|(provider, amount)| movement(event.workspace_id, provider, amount));
        for (n, movement) in (0..).zip(movements) {
            columns.push(event, n, movement);
        }
    }
    if columns.events.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO ledger_postings (organization_id, day, event_id, n, kind, debit, credit, amount_nanos, posted_at)
         SELECT organization_id, day, event_id, n, 'settle', debit, credit, amount_nanos, $8
           FROM unnest($1::text[], $2::integer[], $3::text[], $4::integer[], $5::text[], $6::text[], $7::bigint[])
                AS new (organization_id, day, event_id, n, debit, credit, amount_nanos)",
    )
    .bind(columns.organizations)
    .bind(columns.days)
    .bind(columns.events)
    .bind(columns.numbers)
    .bind(columns.debits)
    .bind(columns.credits)
    .bind(columns.amounts)
    .bind(posted_at.as_micros())
    .execute(tx.conn())
    .await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct PostingRow {
    event_id: String,
    n: i32,
    kind: String,
    debit: String,
    credit: String,
    amount_nanos: i64,
    price_id: Option<String>,
    reason: Option<String>,
    posted_at: i64,
}

impl PostingRow {
    fn read(self) -> Result<Posting> {
        let row = Row { table: "ledger_postings", id: &self.event_id };
        Ok(Posting {
            event_id: row.parse("event_id", &self.event_id)?,
            n: u32::try_from(self.n).map_err(|_| row.corrupt("n"))?,
            kind: PostingKind::find(&self.kind).ok_or_else(|| row.corrupt("kind"))?,
            price_id: row.parse_opt("price_id", self.price_id.as_deref())?,
            debit: self.debit,
            credit: self.credit,
            amount: NanoUsd::from_nanos(self.amount_nanos),
            reason: self.reason,
            posted_at: time(self.posted_at),
        })
    }
}

/// Lists the postings of some events, by event and number.
pub async fn list(tx: &mut Tx, events: &[RequestId]) -> Result<Vec<Posting>> {
    let days: Vec<i32> = events.iter().map(|id| day_of(*id)).collect();
    let rows: Vec<PostingRow> = sqlx::query_as(
        "SELECT event_id, n, kind, debit, credit, amount_nanos, price_id, reason, posted_at FROM ledger_postings
          WHERE organization_id = $1 AND day = ANY($2) AND event_id = ANY($3) ORDER BY event_id, n",
    )
    .bind(tx.org())
    .bind(days)
    .bind(events.iter().map(ToString::to_string).collect::<Vec<_>>())
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(PostingRow::read).collect()
}

/// What an event costs more, or less, than was posted for it.
#[derive(Debug, Clone, Copy)]
pub struct Adjustment<'a> {
    /// The call.
    pub event: &'a UsageEvent,
    /// The number of its next posting.
    pub n: u32,
    /// To whom the difference is owed.
    pub provider: &'a str,
    /// The difference.
    pub amount: NanoUsd,
}

/// Posts differences, and adds them to the sums of the hours and minutes of their calls.
pub async fn adjust(
    tx: &mut WriteTx,
    permit: &Permit,
    adjustments: &[Adjustment<'_>],
    (price_id, reason): (PriceId, &str),
    posted_at: Timestamp,
) -> Result<()> {
    tx.spend(permit)?;
    let (mut columns, mut hours, mut minutes) = (Columns::default(), BTreeMap::new(), BTreeMap::new());
    for it in adjustments {
        let Some(movement) = movement(it.event.workspace_id, it.provider, it.amount) else { continue };
        columns.push(it.event, i32::try_from(it.n).unwrap_or(i32::MAX), movement);
        *hours.entry(Hour::of(it.event)).or_insert(0_i64) += it.amount.as_nanos();
        *minutes.entry(MinuteKey::of(it.event)).or_insert(0_i64) += it.amount.as_nanos();
    }
    if columns.events.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO ledger_postings (organization_id, day, event_id, n, kind, debit, credit, amount_nanos, price_id, reason, posted_at)
         SELECT organization_id, day, event_id, n, 'adjust', debit, credit, amount_nanos, $8, $9, $10
           FROM unnest($1::text[], $2::integer[], $3::text[], $4::integer[], $5::text[], $6::text[], $7::bigint[])
                AS new (organization_id, day, event_id, n, debit, credit, amount_nanos)",
    )
    .bind(columns.organizations)
    .bind(columns.days)
    .bind(columns.events)
    .bind(columns.numbers)
    .bind(columns.debits)
    .bind(columns.credits)
    .bind(columns.amounts)
    .bind(price_id.to_string())
    .bind(reason)
    .bind(posted_at.as_micros())
    .execute(tx.conn())
    .await?;
    add_to_sums(tx, hours).await?;
    adjust_minutes(tx, minutes).await
}

/// The key of a row of sums, within an organization.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Hour {
    at: i64,
    workspace: String,
    environment: String,
    key: String,
    model: String,
    provider: String,
    deployment: String,
}

impl Hour {
    fn of(event: &UsageEvent) -> Self {
        Self {
            at: event.started_at.hour().as_micros(),
            workspace: event.workspace_id.to_string(),
            environment: event.environment_id.to_string(),
            key: event.virtual_key_id.to_string(),
            model: event.model.clone(),
            provider: event.provider.clone().unwrap_or_default(),
            deployment: event.deployment_id.map(|id| id.to_string()).unwrap_or_default(),
        }
    }
}

/// One row after the other in the order of keys, as booking takes them: neither waits for the other in a circle.
async fn add_to_sums(tx: &mut WriteTx, hours: BTreeMap<Hour, i64>) -> Result<()> {
    for (hour, nanos) in hours {
        sqlx::query(
            "UPDATE usage_rollups SET cost_nanos = cost_nanos + $9
              WHERE organization_id = $1 AND hour_at = $2 AND workspace_id = $3 AND environment_id = $4 AND virtual_key_id = $5
                AND model = $6 AND provider = $7 AND deployment_id = $8",
        )
        .bind(tx.org())
        .bind(hour.at)
        .bind(hour.workspace)
        .bind(hour.environment)
        .bind(hour.key)
        .bind(hour.model)
        .bind(hour.provider)
        .bind(hour.deployment)
        .bind(nanos)
        .execute(tx.conn())
        .await?;
    }
    Ok(())
}

/// What was posted for an event besides what it was booked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posted {
    /// The sum of adjustments that come from prices of one model.
    pub adjusted: NanoUsd,
    /// The number of the event's next posting.
    pub next: u32,
}

#[derive(sqlx::FromRow)]
struct PostedRow {
    event_id: String,
    last: i32,
    adjusted: i64,
}

/// Returns what was posted for events, of adjustments those that come from prices of a model. An event without postings has none.
pub async fn posted(
    tx: &mut Tx,
    events: &[RequestId],
    (provider, upstream_model): (&str, &str),
) -> Result<HashMap<RequestId, Posted>> {
    let days: BTreeSet<i32> = events.iter().map(|id| day_of(*id)).collect();
    let rows: Vec<PostedRow> = sqlx::query_as(
        "SELECT p.event_id, max(p.n) AS last,
                coalesce(sum(CASE WHEN r.id IS NULL THEN 0 WHEN p.debit LIKE 'spend/%' THEN p.amount_nanos ELSE -p.amount_nanos END), 0)::bigint
                    AS adjusted
           FROM ledger_postings AS p
           LEFT JOIN prices AS r ON r.organization_id = p.organization_id AND r.id = p.price_id AND r.provider = $4
                AND r.upstream_model = $5 AND p.kind = 'adjust'
          WHERE p.organization_id = $1 AND p.day = ANY($2) AND p.event_id = ANY($3) GROUP BY p.event_id",
    )
    .bind(tx.org())
    .bind(Vec::from_iter(days))
    .bind(events.iter().map(ToString::to_string).collect::<Vec<_>>())
    .bind(provider)
    .bind(upstream_model)
    .fetch_all(tx.conn())
    .await?;
    let read = |row: PostedRow| {
        let id = Row { table: "ledger_postings", id: &row.event_id }.parse("event_id", &row.event_id)?;
        let next = u32::try_from(row.last).unwrap_or(u32::MAX).saturating_add(1);
        Ok((id, Posted { adjusted: NanoUsd::from_nanos(row.adjusted), next }))
    };
    rows.into_iter().map(read).collect()
}
