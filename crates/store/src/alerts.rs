//! Alerts: written down where they happen, then handed to the destinations whose filters they pass.
//!
//! Invariants: an alert with the same `once` is there once; an alert is routed once, to all who hear of it, in one transaction.

pub mod deliveries;
pub mod destinations;

use std::collections::{BTreeMap, BTreeSet};

use domain::alert::{Alert, AlertKind, Delivery, Severity};
use domain::page::{Cursor, Limit, Page};
use domain::{AlertId, OrganizationId, Timestamp};
use sqlx::types::Json;

use crate::row::{self, Row, time};
use crate::{Result, Session, StoreError, SystemTx, Tx};

/// Alerts that are routed in one transaction.
const ROUTED_AT_ONCE: i64 = 200;

#[derive(sqlx::FromRow)]
struct AlertRow {
    id: String,
    organization_id: String,
    workspace_id: Option<String>,
    kind: String,
    severity: String,
    subject: String,
    is_resolved: bool,
    summary: String,
    facts: Json<BTreeMap<String, String>>,
    occurred_at: i64,
    once: String,
}

impl AlertRow {
    fn read(self) -> Result<Alert> {
        let row = Row { table: "alerts", id: &self.id };
        Ok(Alert {
            id: row.parse("id", &self.id)?,
            organization_id: row.parse("organization_id", &self.organization_id)?,
            workspace_id: row.parse_opt("workspace_id", self.workspace_id.as_deref())?,
            kind: AlertKind::find(&self.kind).ok_or_else(|| row.corrupt("kind"))?,
            severity: Severity::find(&self.severity).ok_or_else(|| row.corrupt("severity"))?,
            subject: self.subject,
            is_resolved: self.is_resolved,
            summary: self.summary,
            facts: self.facts.0,
            occurred_at: time(self.occurred_at),
            once: self.once,
        })
    }
}

/// Writes alerts down, in the transaction of what they tell; what was told before is passed over. Returns how many are new.
pub async fn raise(tx: &mut impl Session, alerts: &[Alert]) -> Result<u64> {
    let mut count = 0;
    for it in alerts {
        let written = sqlx::query(
            "INSERT INTO alerts (organization_id, id, workspace_id, kind, severity, subject, is_resolved, summary, facts,
                                 occurred_at, once)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING",
        )
        .bind(it.organization_id.to_string())
        .bind(it.id.to_string())
        .bind(it.workspace_id.map(|id| id.to_string()))
        .bind(it.kind.as_str())
        .bind(it.severity.as_str())
        .bind(&it.subject)
        .bind(it.is_resolved)
        .bind(&it.summary)
        .bind(Json(&it.facts))
        .bind(it.occurred_at.as_micros())
        .bind(&it.once)
        .execute(tx.connection())
        .await?;
        count += written.rows_affected();
    }
    Ok(count)
}

/// Returns an alert.
pub async fn get(tx: &mut Tx, id: AlertId) -> Result<Alert> {
    let row: Option<AlertRow> = sqlx::query_as(
        "SELECT id, organization_id, workspace_id, kind, severity, subject, is_resolved, summary, facts, occurred_at, once
           FROM alerts WHERE organization_id = $1 AND id = $2",
    )
    .bind(tx.org())
    .bind(id.to_string())
    .fetch_optional(tx.conn())
    .await?;
    row.ok_or(StoreError::NotFound("alert"))?.read()
}

/// Lists alerts, newest first; of one kind, or all.
pub async fn list(tx: &mut Tx, kind: Option<AlertKind>, cursor: Option<&Cursor>, limit: Limit) -> Result<Page<Alert>> {
    let rows: Vec<AlertRow> = sqlx::query_as(
        "SELECT id, organization_id, workspace_id, kind, severity, subject, is_resolved, summary, facts, occurred_at, once
           FROM alerts
          WHERE organization_id = $1 AND ($2::text IS NULL OR kind = $2) AND ($3::text IS NULL OR id < $3)
          ORDER BY id DESC LIMIT $4",
    )
    .bind(tx.org())
    .bind(kind.map(AlertKind::as_str))
    .bind(row::after::<AlertId>(cursor)?)
    .bind(row::surplus(limit))
    .fetch_all(tx.conn())
    .await?;
    row::page(rows, limit, AlertRow::read, |it| it.id.to_string())
}

/// Decides who hears of alerts that were not routed yet: a delivery for each destination that they pass. Returns how many alerts.
/// What another process routes just now is left to it.
pub async fn route(tx: &mut SystemTx, now: Timestamp) -> Result<usize> {
    let rows: Vec<AlertRow> = sqlx::query_as(
        "SELECT id, organization_id, workspace_id, kind, severity, subject, is_resolved, summary, facts, occurred_at, once
           FROM alerts
          WHERE organization_id <> '' AND routed_at IS NULL ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED",
    )
    .bind(ROUTED_AT_ONCE)
    .fetch_all(tx.conn())
    .await?;
    let alerts = rows.into_iter().map(AlertRow::read).collect::<Result<Vec<_>>>()?;
    if alerts.is_empty() {
        return Ok(0);
    }
    let organizations: BTreeSet<OrganizationId> = alerts.iter().map(|alert| alert.organization_id).collect();
    let destinations = destinations::list_enabled(tx, &organizations).await?;
    let mut passed = Vec::new();
    for alert in &alerts {
        let own = destinations.iter().filter(|it| it.organization_id == alert.organization_id);
        passed.extend(own.filter(|it| it.filter.lets_pass(alert)).map(|it| (alert, it.id)));
    }
    deliveries::insert(tx, &passed, now).await?;
    sqlx::query(
        "UPDATE alerts SET routed_at = $3
          WHERE (organization_id, id) IN (SELECT * FROM unnest($1::text[], $2::text[])) AND routed_at IS NULL",
    )
    .bind(alerts.iter().map(|it| it.organization_id.to_string()).collect::<Vec<_>>())
    .bind(alerts.iter().map(|it| it.id.to_string()).collect::<Vec<_>>())
    .bind(now.as_micros())
    .execute(tx.conn())
    .await?;
    Ok(alerts.len())
}

/// Forgets alerts of long ago with their deliveries, and returns how many. Those that are still on their way stay.
pub async fn delete_before(tx: &mut SystemTx, at: Timestamp) -> Result<u64> {
    let deleted = sqlx::query(
        "DELETE FROM alerts AS a
          WHERE a.organization_id <> '' AND a.occurred_at < $1 AND a.routed_at IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM alert_deliveries AS d
                             WHERE d.organization_id = a.organization_id AND d.alert_id = a.id AND d.state = 'waiting')",
    )
    .bind(at.as_micros())
    .execute(tx.conn())
    .await?;
    Ok(deleted.rows_affected())
}

/// When a delivery that is written down now is given up.
pub(crate) fn gives_up_at(now: Timestamp) -> i64 {
    now.plus(Delivery::TRIED_FOR).as_micros()
}
