//! Money entered by hand, and how an organization that pays beforehand stands. Facts: added and never changed.

use domain::entry::{Entry, EntryKind};
use domain::page::{Cursor, Limit, Page};
use domain::{LedgerEntryId, NanoUsd, Permit, Timestamp};

use crate::row::{self, Row, time};
use crate::{Result, Tx, WriteTx};

#[derive(sqlx::FromRow)]
struct EntryRow {
    organization_id: String,
    id: String,
    kind: String,
    debit: String,
    credit: String,
    amount_nanos: i64,
    reason: String,
    reference: Option<String>,
    budget_id: Option<String>,
    entered_by: String,
    posted_at: i64,
}

impl EntryRow {
    fn read(self) -> Result<Entry> {
        let row = Row { table: "ledger_entries", id: &self.id };
        Ok(Entry {
            id: row.parse("id", &self.id)?,
            organization_id: row.parse("organization_id", &self.organization_id)?,
            kind: EntryKind::find(&self.kind).ok_or_else(|| row.corrupt("kind"))?,
            budget_id: row.parse_opt("budget_id", self.budget_id.as_deref())?,
            debit: self.debit,
            credit: self.credit,
            amount: NanoUsd::from_nanos(self.amount_nanos),
            reason: self.reason,
            reference: self.reference,
            entered_by: self.entered_by,
            posted_at: time(self.posted_at),
        })
    }
}

/// Adds what somebody entered.
pub async fn enter(tx: &mut WriteTx, permit: &Permit, it: &Entry) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query(
        "INSERT INTO ledger_entries (organization_id, id, kind, debit, credit, amount_nanos, reason, reference, budget_id,
                                     entered_by, posted_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(it.organization_id.to_string())
    .bind(it.id.to_string())
    .bind(it.kind.as_str())
    .bind(&it.debit)
    .bind(&it.credit)
    .bind(it.amount.as_nanos())
    .bind(&it.reason)
    .bind(&it.reference)
    .bind(it.budget_id.map(|id| id.to_string()))
    .bind(&it.entered_by)
    .bind(it.posted_at.as_micros())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Lists what was entered, newest first.
pub async fn entries(tx: &mut Tx, cursor: Option<&Cursor>, limit: Limit) -> Result<Page<Entry>> {
    let rows: Vec<EntryRow> = sqlx::query_as(
        "SELECT organization_id, id, kind, debit, credit, amount_nanos, reason, reference, budget_id, entered_by, posted_at
           FROM ledger_entries WHERE organization_id = $1 AND ($2::text IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
    )
    .bind(tx.org())
    .bind(row::after::<LedgerEntryId>(cursor)?)
    .bind(row::surplus(limit))
    .fetch_all(tx.conn())
    .await?;
    row::page(rows, limit, EntryRow::read, |it| it.id.to_string())
}

/// Lists what was entered in a time, oldest first.
pub async fn entries_between(tx: &mut Tx, from: Timestamp, to: Timestamp, limit: u32) -> Result<Vec<Entry>> {
    let rows: Vec<EntryRow> = sqlx::query_as(
        "SELECT organization_id, id, kind, debit, credit, amount_nanos, reason, reference, budget_id, entered_by, posted_at
           FROM ledger_entries WHERE organization_id = $1 AND posted_at >= $2 AND posted_at < $3 ORDER BY posted_at, id LIMIT $4",
    )
    .bind(tx.org())
    .bind(from.as_micros())
    .bind(to.as_micros())
    .bind(i64::from(limit))
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(EntryRow::read).collect()
}

/// How an organization that pays beforehand stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// The hour of the first credit: from there on what is spent counts. None without a credit.
    pub since: Option<Timestamp>,
    /// Credits.
    pub credits: NanoUsd,
    /// Refunds.
    pub refunds: NanoUsd,
    /// What corrections by hand add to what was spent.
    pub adjusted: NanoUsd,
    /// What calls cost.
    pub spent: NanoUsd,
}

#[derive(sqlx::FromRow)]
struct StandingRow {
    since_at: Option<i64>,
    credits: i64,
    refunds: i64,
    adjusted: i64,
    spent: i64,
}

/// Returns how the organization stands before an instant. Calls are counted by whole hours.
pub async fn standing(tx: &mut Tx, before: Timestamp) -> Result<Standing> {
    let row: StandingRow = sqlx::query_as(
        "WITH entries AS (
             SELECT kind, debit, amount_nanos, posted_at FROM ledger_entries WHERE organization_id = $1 AND posted_at < $2),
              first AS (
             SELECT min(posted_at) - min(posted_at) % 3600000000 AS since_at FROM entries WHERE kind = 'credit')
         SELECT first.since_at,
                coalesce((SELECT sum(amount_nanos) FROM entries WHERE kind = 'credit'), 0)::bigint AS credits,
                coalesce((SELECT sum(amount_nanos) FROM entries WHERE kind = 'refund'), 0)::bigint AS refunds,
                coalesce((SELECT sum(CASE WHEN debit LIKE 'spend/%' THEN amount_nanos ELSE -amount_nanos END)
                            FROM entries WHERE kind = 'adjust' AND posted_at >= first.since_at), 0)::bigint AS adjusted,
                coalesce((SELECT sum(cost_nanos) FROM usage_rollups
                           WHERE organization_id = $1 AND hour_at >= first.since_at AND hour_at < $2), 0)::bigint AS spent
           FROM first",
    )
    .bind(tx.org())
    .bind(before.as_micros())
    .fetch_one(tx.conn())
    .await?;
    Ok(Standing {
        since: row.since_at.map(time),
        credits: NanoUsd::from_nanos(row.credits),
        refunds: NanoUsd::from_nanos(row.refunds),
        adjusted: NanoUsd::from_nanos(row.adjusted),
        spent: NanoUsd::from_nanos(row.spent),
    })
}

/// What is added to what calls of a provider cost, from a month on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Markup {
    /// The provider.
    pub provider: String,
    /// Year and month from which it holds.
    pub effective_month: String,
    /// Hundredths of a percent; below zero for a discount.
    pub basis_points: i32,
    /// When it was set; of two for the same month the later holds.
    pub created_at: Timestamp,
}

/// Sets what is added from a month on.
pub async fn set_markup(tx: &mut WriteTx, permit: &Permit, it: &Markup) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query(
        "INSERT INTO markups (organization_id, provider, effective_month, created_at, basis_points) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(tx.org())
    .bind(&it.provider)
    .bind(&it.effective_month)
    .bind(it.created_at.as_micros())
    .bind(it.basis_points)
    .execute(tx.conn())
    .await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct MarkupRow {
    provider: String,
    effective_month: String,
    basis_points: i32,
    created_at: i64,
}

/// Lists all that were set, by provider, the newest first.
pub async fn markups(tx: &mut Tx) -> Result<Vec<Markup>> {
    let rows: Vec<MarkupRow> = sqlx::query_as(
        "SELECT provider, effective_month, basis_points, created_at FROM markups WHERE organization_id = $1
          ORDER BY provider, effective_month DESC, created_at DESC",
    )
    .bind(tx.org())
    .fetch_all(tx.conn())
    .await?;
    let read = |it: MarkupRow| Markup {
        provider: it.provider,
        effective_month: it.effective_month,
        basis_points: it.basis_points,
        created_at: time(it.created_at),
    };
    Ok(rows.into_iter().map(read).collect())
}
