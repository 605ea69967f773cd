//! Looks whether the books keep their rules, for all organizations at once, and keeps what it found.
//!
//! Each rule is one statement, so it sees one state of the books. Calls that began before a given time are left out: what is old was
//! looked at before.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::ledger::Rule;
use domain::{OrganizationId, Timestamp};

use crate::row::{Row, time, unsigned};
use crate::usage::day;
use crate::{Result, StoreError, SystemTx, Tx};

/// A lease may stay open for this long after its end: until then the certificate of a node that does not come back has ended.
const LEASE_OVER_AFTER: Duration = Duration::from_secs(25 * 60 * 60);

/// What a rule said of an organization when it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// When it was looked at.
    pub checked_at: Timestamp,
    /// What was looked at: calls that began from here on.
    pub since: Timestamp,
    /// How many things break it.
    pub broken: u64,
    /// One of them.
    pub sample: Option<String>,
}

#[derive(sqlx::FromRow)]
struct BrokenRow {
    organization_id: String,
    broken: i64,
    sample: String,
}

/// Looks at every rule, keeps what was found for every organization, and returns what breaks any. Postings are expected of events
/// that were booked from `settled_since` on.
pub async fn check(
    tx: &mut SystemTx,
    since: Timestamp,
    settled_since: Timestamp,
    now: Timestamp,
) -> Result<Vec<(OrganizationId, Finding)>> {
    let mut found = Vec::new();
    for rule in Rule::ALL.iter().copied() {
        let broken = match rule {
            Rule::PostingsMatchEvents => postings(tx, since, settled_since).await?,
            Rule::SumsMatchEvents => sums(tx, since).await?,
            Rule::AccountsMatchCharges => charges(tx, since).await?,
            Rule::AccountsMatchLeases => leased(tx).await?,
            Rule::LeasesEnd => open_leases(tx, now).await?,
            Rule::EntriesBalance => entries(tx).await?,
        };
        keep(tx, rule, &broken, (since, now)).await?;
        for row in broken {
            let id = Row { table: "organizations", id: &row.organization_id }.parse("id", &row.organization_id)?;
            let (broken, sample) = (unsigned(row.broken), Some(row.sample));
            found.push((id, Finding { rule, checked_at: now, since, broken, sample }));
        }
    }
    Ok(found)
}

/// Events whose postings do not move what they cost.
async fn postings(tx: &mut SystemTx, since: Timestamp, settled_since: Timestamp) -> Result<Vec<BrokenRow>> {
    let rows = sqlx::query_as(
        "SELECT e.organization_id, count(*) AS broken, min(e.id) AS sample
           FROM usage_events AS e
           LEFT JOIN (SELECT organization_id, day, event_id,
                             sum(CASE WHEN debit LIKE 'spend/%' THEN amount_nanos ELSE -amount_nanos END) AS spent
                        FROM ledger_postings WHERE day >= $1 AND kind = 'settle' GROUP BY organization_id, day, event_id) AS p
             ON p.organization_id = e.organization_id AND p.day = e.day AND p.event_id = e.id
          WHERE e.day >= $1 AND e.started_at >= $2 AND e.received_at >= $3 AND e.cost_nanos <> coalesce(p.spent, 0)
          GROUP BY e.organization_id",
    )
    .bind(day(since) - 2)
    .bind(since.as_micros())
    .bind(settled_since.as_micros())
    .fetch_all(tx.conn())
    .await?;
    Ok(rows)
}

/// Hours whose sums are not those of their calls.
async fn sums(tx: &mut SystemTx, since: Timestamp) -> Result<Vec<BrokenRow>> {
    let rows = sqlx::query_as(
        "WITH of_events AS (
             SELECT e.organization_id, e.started_at - e.started_at % 3600000000 AS hour_at, count(*) AS requests,
                    sum(e.input + e.output) AS tokens,
                    sum(e.cost_nanos + coalesce((SELECT sum(CASE WHEN p.debit LIKE 'spend/%' THEN p.amount_nanos ELSE -p.amount_nanos END)
                                                   FROM ledger_postings AS p
                                                  WHERE p.organization_id = e.organization_id AND p.day = e.day AND p.event_id = e.id
                                                    AND p.kind = 'adjust'), 0)) AS cost
               FROM usage_events AS e WHERE e.day >= $1 AND e.started_at >= $2 GROUP BY 1, 2),
              of_sums AS (
             SELECT organization_id, hour_at, sum(requests) AS requests, sum(input + output) AS tokens, sum(cost_nanos) AS cost
               FROM usage_rollups WHERE hour_at >= $2 GROUP BY organization_id, hour_at)
         SELECT coalesce(e.organization_id, s.organization_id) AS organization_id, count(*) AS broken,
                'the hour from ' || min(coalesce(e.hour_at, s.hour_at)) / 1000000 || ' s on' AS sample
           FROM of_events AS e FULL JOIN of_sums AS s ON s.organization_id = e.organization_id AND s.hour_at = e.hour_at
          WHERE (e.requests, e.tokens, e.cost) IS DISTINCT FROM (s.requests, s.tokens, s.cost)
          GROUP BY 1",
    )
    .bind(day(since) - 2)
    .bind(since.as_micros())
    .fetch_all(tx.conn())
    .await?;
    Ok(rows)
}

/// Accounts of hours and days whose posted amount is not what calls were charged. Longer windows are the sums of the same charges.
async fn charges(tx: &mut SystemTx, since: Timestamp) -> Result<Vec<BrokenRow>> {
    let rows = sqlx::query_as(
        "WITH charged AS (
             SELECT e.organization_id, e.started_at, c.budget_id, c.\"window\" AS window_name, c.group_key, c.amount, l.starts_at
               FROM usage_events AS e
              CROSS JOIN LATERAL jsonb_to_recordset(e.charges)
                    AS c (budget_id text, \"window\" text, group_key text, lease_id text, amount bigint)
               LEFT JOIN budget_leases AS l ON l.organization_id = e.organization_id AND l.id = c.lease_id
                    AND l.node_id = e.node_id AND l.budget_id = c.budget_id AND l.window_name = c.\"window\" AND l.group_key = c.group_key
              WHERE e.day >= $1 AND e.charges IS NOT NULL AND c.\"window\" IN ('hour', 'day')),
              sums AS (
             SELECT a.organization_id, a.budget_id, a.posted, coalesce(sum(c.amount), 0) AS charged
               FROM budget_accounts AS a
               LEFT JOIN charged AS c ON c.organization_id = a.organization_id AND c.budget_id = a.budget_id
                    AND c.window_name = a.window_name AND c.group_key = a.group_key
                    AND coalesce(c.starts_at = a.starts_at, c.started_at >= a.starts_at AND c.started_at < a.ends_at)
              WHERE a.window_name IN ('hour', 'day') AND a.starts_at >= $2
              GROUP BY a.organization_id, a.budget_id, a.window_name, a.group_key, a.starts_at, a.posted)
         SELECT organization_id, count(*) AS broken, min(budget_id) AS sample FROM sums WHERE posted <> charged GROUP BY organization_id",
    )
    .bind(day(since) - 2)
    .bind(since.as_micros())
    .fetch_all(tx.conn())
    .await?;
    Ok(rows)
}

/// Accounts whose lent amount is not what open leases hold.
async fn leased(tx: &mut SystemTx) -> Result<Vec<BrokenRow>> {
    let rows = sqlx::query_as(
        "WITH held AS (
             SELECT organization_id, budget_id, window_name, group_key, starts_at, sum(granted - returned - booked) AS leased
               FROM budget_leases WHERE organization_id <> '' AND closed_at IS NULL
              GROUP BY organization_id, budget_id, window_name, group_key, starts_at)
         SELECT a.organization_id, count(*) AS broken, min(a.budget_id) AS sample
           FROM budget_accounts AS a
           LEFT JOIN held AS h ON h.organization_id = a.organization_id AND h.budget_id = a.budget_id
                AND h.window_name = a.window_name AND h.group_key = a.group_key AND h.starts_at = a.starts_at
          WHERE a.leased <> coalesce(h.leased, 0)
          GROUP BY a.organization_id",
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows)
}

/// Leases that nobody ended.
async fn open_leases(tx: &mut SystemTx, now: Timestamp) -> Result<Vec<BrokenRow>> {
    let rows = sqlx::query_as(
        "SELECT organization_id, count(*) AS broken, min(id) AS sample FROM budget_leases
          WHERE organization_id <> '' AND closed_at IS NULL AND expires_at < $1 AND told_at < $1
          GROUP BY organization_id",
    )
    .bind(now.minus(LEASE_OVER_AFTER).as_micros())
    .fetch_all(tx.conn())
    .await?;
    Ok(rows)
}

/// Entries by hand that move something else than their kind says.
async fn entries(tx: &mut SystemTx) -> Result<Vec<BrokenRow>> {
    let rows = sqlx::query_as(
        "SELECT e.organization_id, count(*) AS broken, min(e.id) AS sample FROM ledger_entries AS e
          WHERE e.organization_id <> '' AND NOT (e.amount_nanos > 0 AND CASE e.kind
                WHEN 'credit' THEN e.debit = 'funds' AND e.credit = 'prepaid'
                WHEN 'refund' THEN e.debit = 'prepaid' AND e.credit = 'funds'
                ELSE (e.debit LIKE 'owed/%' OR e.credit LIKE 'owed/%')
                     AND EXISTS (SELECT 1 FROM workspaces AS w WHERE w.organization_id = e.organization_id
                                    AND 'spend/' || w.id IN (e.debit, e.credit)) END)
          GROUP BY e.organization_id",
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows)
}

/// Writes what a rule said, of every organization.
async fn keep(tx: &mut SystemTx, rule: Rule, broken: &[BrokenRow], (since, now): (Timestamp, Timestamp)) -> Result<()> {
    let broken: BTreeMap<&str, &BrokenRow> = broken.iter().map(|row| (row.organization_id.as_str(), row)).collect();
    let (organizations, rows): (Vec<&str>, Vec<&BrokenRow>) = broken.into_iter().unzip();
    sqlx::query(
        "INSERT INTO ledger_checks (organization_id, rule, checked_at, since_at, broken, sample)
         SELECT o.id, $1, $2, $3, coalesce(b.broken, 0), b.sample
           FROM organizations AS o
           LEFT JOIN unnest($4::text[], $5::bigint[], $6::text[]) AS b (organization_id, broken, sample) ON b.organization_id = o.id
         ON CONFLICT (organization_id, rule)
         DO UPDATE SET checked_at = excluded.checked_at, since_at = excluded.since_at, broken = excluded.broken, sample = excluded.sample",
    )
    .bind(rule.as_str())
    .bind(now.as_micros())
    .bind(since.as_micros())
    .bind(organizations)
    .bind(rows.iter().map(|row| row.broken).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.sample.as_str()).collect::<Vec<_>>())
    .execute(tx.conn())
    .await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct FindingRow {
    rule: String,
    checked_at: i64,
    since_at: i64,
    broken: i64,
    sample: Option<String>,
}

/// Returns what each rule said when it was last looked at; nothing of one that never was.
pub async fn findings(tx: &mut Tx) -> Result<Vec<Finding>> {
    let rows: Vec<FindingRow> = sqlx::query_as(
        "SELECT rule, checked_at, since_at, broken, sample FROM ledger_checks WHERE organization_id = $1 ORDER BY rule",
    )
    .bind(tx.org())
    .fetch_all(tx.conn())
    .await?;
    let read = |row: FindingRow| {
        let corrupt = || StoreError::Corrupt { table: "ledger_checks", column: "rule", id: row.rule.clone() };
        Ok(Finding {
            rule: Rule::find(&row.rule).ok_or_else(corrupt)?,
            checked_at: time(row.checked_at),
            since: time(row.since_at),
            broken: unsigned(row.broken),
            sample: row.sample,
        })
    };
    rows.into_iter().map(read).collect()
}
