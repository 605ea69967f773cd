//! Facts of the installation as JSON under a name, such as the id of its first organization. Not configuration.

use domain::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::types::Json;

use crate::{Result, StoreError, SystemTx};

/// Looks a fact up.
pub async fn find<T: DeserializeOwned>(tx: &mut SystemTx, name: &str) -> Result<Option<T>> {
    let value: Option<Json<Box<serde_json::value::RawValue>>> =
        sqlx::query_scalar("SELECT value FROM settings WHERE name = $1").bind(name).fetch_optional(tx.conn()).await?;
    let corrupt = |_| StoreError::Corrupt { table: "settings", column: "value", id: name.to_owned() };
    value.map(|Json(raw)| serde_json::from_str(raw.get()).map_err(corrupt)).transpose()
}

/// Writes a fact, replacing what was there.
pub async fn set<T: Serialize + Sync>(tx: &mut SystemTx, name: &str, value: &T, at: Timestamp) -> Result<()> {
    sqlx::query(
        "INSERT INTO settings (name, value, updated_at) VALUES ($1, $2, $3)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
    )
    .bind(name)
    .bind(serde_json::to_value(value).map(Json).map_err(|_| StoreError::Range("a setting"))?)
    .bind(at.as_micros())
    .execute(tx.conn())
    .await?;
    Ok(())
}
