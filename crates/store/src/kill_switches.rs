//! Kill switches: what is, or was, stopped at once.

use domain::change::Change;
use domain::kill_switch::{KillSwitch, Target, TargetKind};
use domain::page::{Cursor, Limit, Page};
use domain::{KillSwitchId, Permit, Timestamp};

use crate::row::{self, Row, time, time_opt, unsigned};
use crate::tx::Exactly as _;
use crate::{Result, StoreError, Tx, WriteTx};

#[derive(sqlx::FromRow)]
struct KillSwitchRow {
    id: String,
    organization_id: String,
    target_kind: String,
    target_id: String,
    reason: String,
    is_cutting: bool,
    created_at: i64,
    lifted_at: Option<i64>,
}

impl KillSwitchRow {
    fn read(self) -> Result<KillSwitch> {
        let row = Row { table: "kill_switches", id: &self.id };
        let kind = TargetKind::find(&self.target_kind).ok_or_else(|| row.corrupt("target_kind"))?;
        Ok(KillSwitch {
            id: row.parse("id", &self.id)?,
            organization_id: row.parse("organization_id", &self.organization_id)?,
            target: Target::read(kind, &self.target_id).map_err(|_| row.corrupt("target_id"))?,
            reason: self.reason,
            is_cutting: self.is_cutting,
            created_at: time(self.created_at),
            lifted_at: time_opt(self.lifted_at),
        })
    }
}

/// Throws a switch. Errors: `Conflict(KillSwitchTarget)` when the target is stopped already.
pub async fn insert(tx: &mut WriteTx, permit: &Permit, it: &KillSwitch) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query(
        "INSERT INTO kill_switches (organization_id, id, target_kind, target_id, reason, is_cutting, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(it.organization_id.to_string())
    .bind(it.id.to_string())
    .bind(it.target.kind().as_str())
    .bind(it.target.id_text())
    .bind(&it.reason)
    .bind(it.is_cutting)
    .bind(it.created_at.as_micros())
    .execute(tx.conn())
    .await?;
    tx.changed(Change::KillSwitch(it.id));
    Ok(())
}

/// Returns a switch, lifted or not.
pub async fn get(tx: &mut Tx, id: KillSwitchId) -> Result<KillSwitch> {
    load(tx, Some(&[id])).await?.pop().ok_or(StoreError::NotFound("kill switch"))
}

/// Counts the switches of the organization that are in force.
pub async fn count(tx: &mut Tx) -> Result<u64> {
    let count: i64 =
        sqlx::query_scalar("SELECT count(*) FROM kill_switches WHERE organization_id = $1 AND lifted_at IS NULL")
            .bind(tx.org())
            .fetch_one(tx.conn())
            .await?;
    Ok(unsigned(count))
}

/// Lists the switches of the organization, newest first; those in force alone, or the lifted ones, too.
pub async fn list(tx: &mut Tx, with_lifted: bool, cursor: Option<&Cursor>, limit: Limit) -> Result<Page<KillSwitch>> {
    let rows: Vec<KillSwitchRow> = sqlx::query_as(
        "SELECT id, organization_id, target_kind, target_id, reason, is_cutting, created_at, lifted_at
           FROM kill_switches
          WHERE organization_id = $1 AND ($2 OR lifted_at IS NULL) AND ($3::text IS NULL OR id < $3)
          ORDER BY id DESC LIMIT $4",
    )
    .bind(tx.org())
    .bind(with_lifted)
    .bind(row::after::<KillSwitchId>(cursor)?)
    .bind(row::surplus(limit))
    .fetch_all(tx.conn())
    .await?;
    row::page(rows, limit, KillSwitchRow::read, |it| it.id.to_string())
}

/// Loads switches: all in force, or those named, lifted or not.
pub async fn load(tx: &mut Tx, ids: Option<&[KillSwitchId]>) -> Result<Vec<KillSwitch>> {
    let rows: Vec<KillSwitchRow> = sqlx::query_as(
        "SELECT id, organization_id, target_kind, target_id, reason, is_cutting, created_at, lifted_at
           FROM kill_switches
          WHERE organization_id = $1 AND (id = ANY($2) OR $2::text[] IS NULL AND lifted_at IS NULL) ORDER BY id",
    )
    .bind(tx.org())
    .bind(row::texts(ids))
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(KillSwitchRow::read).collect()
}

/// Lifts a switch. Errors: `NotFound` when it is lifted already.
pub async fn lift(tx: &mut WriteTx, permit: &Permit, id: KillSwitchId, at: Timestamp) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query("UPDATE kill_switches SET lifted_at = $3 WHERE organization_id = $1 AND id = $2 AND lifted_at IS NULL")
        .bind(tx.org())
        .bind(id.to_string())
        .bind(at.as_micros())
        .execute(tx.conn())
        .await?
        .exactly(1, "kill switch")?;
    tx.changed(Change::KillSwitch(id));
    Ok(())
}
