//! Deliveries: who is to be told, what was tried, and when it is tried next.
//!
//! A try begins with a claim, which counts it and hides the delivery for a while; it ends with [`finish`], which has an effect only
//! for the try that was claimed last. Invariant: a try is made by one process; a process that died in the middle of one is
//! replaced after the claim has run out, so a delivery is tried at least once and seen twice at worst.

use std::time::Duration;

use domain::alert::{Alert, Delivery, DeliveryState};
use domain::page::{Cursor, Limit, Page};
use domain::{AlertId, DeliveryId, DestinationId, OrganizationId, Permit, Timestamp};

use crate::row::{self, Row, micros, time, time_opt};
use crate::tx::Exactly as _;
use crate::{Result, StoreError, SystemTx, Tx, WriteTx};

/// Tries that one destination may have under way in one process.
pub const AT_ONCE: i64 = 4;

/// A try that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The tenant.
    pub organization_id: OrganizationId,
    /// The delivery.
    pub id: DeliveryId,
    /// What is sent.
    pub alert_id: AlertId,
    /// Where to.
    pub destination_id: DestinationId,
    /// Which try it is, from 1.
    pub attempt: u32,
    /// When the delivery is given up.
    pub gives_up_at: Timestamp,
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// How far the delivery has come.
    pub state: DeliveryState,
    /// When it is tried next; given when it is waiting, and only then.
    pub next_at: Option<Timestamp>,
    /// The status of the answer.
    pub status: Option<u16>,
    /// What the destination said, or why nothing came.
    pub answer: String,
}

/// Which deliveries are listed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// Only those of an alert.
    pub alert_id: Option<AlertId>,
    /// Only those to a destination.
    pub destination_id: Option<DestinationId>,
    /// Only those that have come so far.
    pub state: Option<DeliveryState>,
}

#[derive(sqlx::FromRow)]
struct DeliveryRow {
    id: String,
    organization_id: String,
    alert_id: String,
    destination_id: String,
    state: String,
    attempts: i32,
    created_at: i64,
    next_at: Option<i64>,
    attempted_at: Option<i64>,
    last_status: Option<i32>,
    last_answer: Option<String>,
}

impl DeliveryRow {
    fn read(self) -> Result<Delivery> {
        let row = Row { table: "alert_deliveries", id: &self.id };
        Ok(Delivery {
            id: row.parse("id", &self.id)?,
            organization_id: row.parse("organization_id", &self.organization_id)?,
            alert_id: row.parse("alert_id", &self.alert_id)?,
            destination_id: row.parse("destination_id", &self.destination_id)?,
            state: DeliveryState::find(&self.state).ok_or_else(|| row.corrupt("state"))?,
            attempts: row.small("attempts", self.attempts)?,
            created_at: time(self.created_at),
            next_at: time_opt(self.next_at),
            attempted_at: time_opt(self.attempted_at),
            last_status: self.last_status.map(|status| row.small("last_status", status)).transpose()?,
            last_answer: self.last_answer,
        })
    }
}

/// Writes deliveries down, due at once.
pub(crate) async fn insert(tx: &mut SystemTx, passed: &[(&Alert, DestinationId)], now: Timestamp) -> Result<()> {
    if passed.is_empty() {
        return Ok(());
    }
    let texts = |text: &dyn Fn(&(&Alert, DestinationId)) -> String| passed.iter().map(text).collect::<Vec<_>>();
    sqlx::query(
        "INSERT INTO alert_deliveries (organization_id, id, alert_id, destination_id, state, attempts, created_at, next_at,
                                       gives_up_at)
         SELECT organization_id, id, alert_id, destination_id, 'waiting', 0, $5, $5, $6
           FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS new (organization_id, id, alert_id, destination_id)
         ON CONFLICT (organization_id, id) DO NOTHING",
    )
    .bind(texts(&|(alert, _)| alert.organization_id.to_string()))
    .bind(texts(&|(alert, destination)| alert.delivery_to(*destination).to_string()))
    .bind(texts(&|(alert, _)| alert.id.to_string()))
    .bind(texts(&|(_, destination)| destination.to_string()))
    .bind(now.as_micros())
    .bind(super::gives_up_at(now))
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Begins tries of deliveries that are due, at most [`AT_ONCE`] for each destination and none for those that are `busy`. Nobody
/// else begins one of them before `hold` is over.
pub async fn claim(
    tx: &mut SystemTx,
    now: Timestamp,
    hold: Duration,
    busy: &[DestinationId],
    limit: usize,
) -> Result<Vec<Claim>> {
    let rows: Vec<(String, String, String, String, i32, i64)> = sqlx::query_as(
        "WITH due AS (
             SELECT organization_id, id, row_number() OVER (PARTITION BY destination_id ORDER BY next_at, id) AS n
               FROM alert_deliveries
              WHERE state = 'waiting' AND next_at <= $1 AND NOT destination_id = ANY($3)
         ), mine AS (
             SELECT d.organization_id, d.id
               FROM alert_deliveries AS d JOIN due ON due.organization_id = d.organization_id AND due.id = d.id
              WHERE due.n <= $4 AND d.state = 'waiting' AND d.next_at <= $1
              ORDER BY d.next_at, d.id LIMIT $5 FOR UPDATE OF d SKIP LOCKED
         )
         UPDATE alert_deliveries AS d SET next_at = $2, attempts = d.attempts + 1, attempted_at = $1
           FROM mine WHERE d.organization_id = mine.organization_id AND d.id = mine.id
         RETURNING d.organization_id, d.id, d.alert_id, d.destination_id, d.attempts, d.gives_up_at",
    )
    .bind(now.as_micros())
    .bind(now.plus(hold).as_micros())
    .bind(busy.iter().map(ToString::to_string).collect::<Vec<_>>())
    .bind(AT_ONCE)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(tx.conn())
    .await?;
    let read = |(organization_id, id, alert_id, destination_id, attempt, gives_up_at): (String, _, _, _, _, _)| {
        let (id, alert_id, destination_id): (String, String, String) = (id, alert_id, destination_id);
        let row = Row { table: "alert_deliveries", id: &id };
        Ok(Claim {
            organization_id: row.parse("organization_id", &organization_id)?,
            id: row.parse("id", &id)?,
            alert_id: row.parse("alert_id", &alert_id)?,
            destination_id: row.parse("destination_id", &destination_id)?,
            attempt: row.small("attempts", attempt)?,
            gives_up_at: time(gives_up_at),
        })
    };
    rows.into_iter().map(read).collect()
}

/// Ends a try. Says whether it was still ours: another process may have begun the next one meanwhile, and then decides.
pub async fn finish(tx: &mut SystemTx, claim: &Claim, end: &End) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE alert_deliveries SET state = $4, next_at = $5, last_status = $6, last_answer = $7
          WHERE organization_id = $1 AND id = $2 AND attempts = $3 AND state = 'waiting'",
    )
    .bind(claim.organization_id.to_string())
    .bind(claim.id.to_string())
    .bind(i32::try_from(claim.attempt).unwrap_or(i32::MAX))
    .bind(end.state.as_str())
    .bind(micros(end.next_at))
    .bind(end.status.map(i32::from))
    .bind(&end.answer)
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Returns a delivery.
pub async fn get(tx: &mut Tx, id: DeliveryId) -> Result<Delivery> {
    let row: Option<DeliveryRow> = sqlx::query_as(
        "SELECT id, organization_id, alert_id, destination_id, state, attempts, created_at, next_at, attempted_at, last_status,
                last_answer
           FROM alert_deliveries WHERE organization_id = $1 AND id = $2",
    )
    .bind(tx.org())
    .bind(id.to_string())
    .fetch_optional(tx.conn())
    .await?;
    row.ok_or(StoreError::NotFound("delivery"))?.read()
}

/// Lists deliveries, newest alerts first.
pub async fn list(tx: &mut Tx, wanted: Wanted, cursor: Option<&Cursor>, limit: Limit) -> Result<Page<Delivery>> {
    let rows: Vec<DeliveryRow> = sqlx::query_as(
        "SELECT id, organization_id, alert_id, destination_id, state, attempts, created_at, next_at, attempted_at, last_status,
                last_answer
           FROM alert_deliveries
          WHERE organization_id = $1 AND ($2::text IS NULL OR alert_id = $2) AND ($3::text IS NULL OR destination_id = $3)
            AND ($4::text IS NULL OR state = $4) AND ($5::text IS NULL OR id < $5)
          ORDER BY id DESC LIMIT $6",
    )
    .bind(tx.org())
    .bind(wanted.alert_id.map(|id| id.to_string()))
    .bind(wanted.destination_id.map(|id| id.to_string()))
    .bind(wanted.state.map(DeliveryState::as_str))
    .bind(row::after::<DeliveryId>(cursor)?)
    .bind(row::surplus(limit))
    .fetch_all(tx.conn())
    .await?;
    row::page(rows, limit, DeliveryRow::read, |it| it.id.to_string())
}

/// Makes a delivery due at once, whatever became of it; it is then tried for as long as a new one. Errors: `NotFound`.
pub async fn send_again(tx: &mut WriteTx, permit: &Permit, id: DeliveryId, now: Timestamp) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query(
        "UPDATE alert_deliveries SET state = 'waiting', next_at = $3, gives_up_at = $4 WHERE organization_id = $1 AND id = $2",
    )
    .bind(tx.org())
    .bind(id.to_string())
    .bind(now.as_micros())
    .bind(super::gives_up_at(now))
    .execute(tx.conn())
    .await?
    .exactly(1, "delivery")
}
