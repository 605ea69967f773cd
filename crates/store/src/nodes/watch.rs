//! What a look over the nodes of all organizations needs: since when nothing was heard of each, and what was told of that.

use domain::Timestamp;
use domain::alert::AlertKind;
use domain::watch::Watched;
use sqlx::types::Json;

use super::NackColumn;
use crate::row::{Row, time};
use crate::{Result, SystemTx};

#[derive(sqlx::FromRow)]
struct WatchedRow {
    organization_id: String,
    group_id: String,
    id: String,
    name: String,
    last_contact_at: i64,
    is_draining: bool,
    last_nack: Option<Json<NackColumn>>,
    told_kind: Option<String>,
    told_id: Option<String>,
}

/// Lists the nodes that are not revoked and were heard of after a moment.
pub async fn list(tx: &mut SystemTx, after: Timestamp) -> Result<Vec<Watched>> {
    // Crosses tenants: one look over the nodes of all.
    let rows: Vec<WatchedRow> = sqlx::query_as(
        "SELECT n.organization_id, n.group_id, n.id, n.name, s.last_contact_at, s.is_draining, s.last_nack,
                told.kind AS told_kind, told.id AS told_id
           FROM node_status s
           JOIN nodes n ON n.organization_id = s.organization_id AND n.id = s.node_id
           LEFT JOIN LATERAL (SELECT a.kind, a.id FROM alerts a
                               WHERE a.organization_id = n.organization_id AND a.subject = 'node/' || n.id
                               ORDER BY a.id DESC LIMIT 1) told ON true
          WHERE n.revoked_at IS NULL AND s.last_contact_at > $1 ORDER BY n.id",
    )
    .bind(after.as_micros())
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter()
        .map(|found| {
            let row = Row { table: "nodes", id: &found.id };
            let kind = found.told_kind.as_deref().and_then(AlertKind::find);
            let told = row.parse_opt("told_id", found.told_id.as_deref())?;
            Ok(Watched {
                organization_id: row.parse("organization_id", &found.organization_id)?,
                group_id: row.parse("group_id", &found.group_id)?,
                id: row.parse("id", &found.id)?,
                name: found.name.clone(),
                last_contact_at: time(found.last_contact_at),
                is_draining: found.is_draining,
                last_nack: found.last_nack.map(|Json(nack)| nack.read()),
                told: kind.zip(told),
            })
        })
        .collect()
}
