//! Join tokens: used up by the DELETE that finds them, so that one token enrols one node.

use domain::node::JoinToken;
use domain::page::{Cursor, Limit, Page};
use domain::secret::Kid;
use domain::{JoinTokenId, Permit, Timestamp};

use crate::row::{self, Row, time};
use crate::tx::Exactly as _;
use crate::{Result, SystemTx, Tx, WriteTx};

#[derive(sqlx::FromRow)]
struct TokenRow {
    id: String,
    organization_id: String,
    group_id: String,
    kid: String,
    mac: Vec<u8>,
    created_at: i64,
    expires_at: i64,
}

impl TokenRow {
    fn read(self) -> Result<JoinToken> {
        let row = Row { table: "join_tokens", id: &self.id };
        Ok(JoinToken {
            id: row.parse("id", &self.id)?,
            organization_id: row.parse("organization_id", &self.organization_id)?,
            group_id: row.parse("group_id", &self.group_id)?,
            kid: Kid::parse(&self.kid).ok_or_else(|| row.corrupt("kid"))?,
            mac: row.mac("mac", &self.mac)?,
            created_at: time(self.created_at),
            expires_at: time(self.expires_at),
        })
    }
}

/// Adds a token.
pub async fn insert(tx: &mut WriteTx, permit: &Permit, token: &JoinToken) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query(
        "INSERT INTO join_tokens (organization_id, id, group_id, kid, mac, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(token.organization_id.to_string())
    .bind(token.id.to_string())
    .bind(token.group_id.to_string())
    .bind(token.kid.as_str())
    .bind(token.mac.as_bytes().as_slice())
    .bind(token.created_at.as_micros())
    .bind(token.expires_at.as_micros())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Lists the tokens that have not been used, newest first, expired ones included.
pub async fn list(tx: &mut Tx, cursor: Option<&Cursor>, limit: Limit) -> Result<Page<JoinToken>> {
    let rows: Vec<TokenRow> = sqlx::query_as(
        "SELECT id, organization_id, group_id, kid, mac, created_at, expires_at FROM join_tokens
          WHERE organization_id = $1 AND ($2::text IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
    )
    .bind(tx.org())
    .bind(row::after::<JoinTokenId>(cursor)?)
    .bind(row::surplus(limit))
    .fetch_all(tx.conn())
    .await?;
    row::page(rows, limit, TokenRow::read, |token| token.id.to_string())
}

/// Lists the tokens that work at `now`, newest first.
pub async fn list_live(tx: &mut Tx, now: Timestamp, cursor: Option<&Cursor>, limit: Limit) -> Result<Page<JoinToken>> {
    let rows: Vec<TokenRow> = sqlx::query_as(
        "SELECT id, organization_id, group_id, kid, mac, created_at, expires_at FROM join_tokens
          WHERE organization_id = $1 AND expires_at > $2 AND ($3::text IS NULL OR id < $3) ORDER BY id DESC LIMIT $4",
    )
    .bind(tx.org())
    .bind(now.as_micros())
    .bind(row::after::<JoinTokenId>(cursor)?)
    .bind(row::surplus(limit))
    .fetch_all(tx.conn())
    .await?;
    row::page(rows, limit, TokenRow::read, |token| token.id.to_string())
}

/// Deletes a token before its use.
pub async fn delete(tx: &mut WriteTx, permit: &Permit, id: JoinTokenId) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query("DELETE FROM join_tokens WHERE organization_id = $1 AND id = $2")
        .bind(tx.org())
        .bind(id.to_string())
        .execute(tx.conn())
        .await?
        .exactly(1, "join token")
}

/// Looks a token up by its public id without using it up: to check its MAC and expiry, and to learn its organization.
pub async fn find_by_kid(tx: &mut SystemTx, kid: Kid) -> Result<Option<JoinToken>> {
    let row: Option<TokenRow> = sqlx::query_as(
        "SELECT id, organization_id, group_id, kid, mac, created_at, expires_at FROM join_tokens WHERE kid = $1",
    )
    .bind(kid.as_str())
    .fetch_optional(tx.conn())
    .await?;
    row.map(TokenRow::read).transpose()
}

/// Uses a token up, in the transaction that enrols its node. `None` when somebody else was faster.
///
/// Order of an enrolment: [`find_by_kid`] → compare the MAC → `store.write(token.organization_id)` → `redeem` →
/// [`crate::nodes::insert`] → audit → commit. Two nodes with one token: the second waits for its turn and finds nothing.
pub async fn redeem(tx: &mut WriteTx, permit: &Permit, id: JoinTokenId) -> Result<Option<JoinToken>> {
    tx.spend(permit)?;
    let row: Option<TokenRow> = sqlx::query_as(
        "DELETE FROM join_tokens WHERE organization_id = $1 AND id = $2
         RETURNING id, organization_id, group_id, kid, mac, created_at, expires_at",
    )
    .bind(tx.org())
    .bind(id.to_string())
    .fetch_optional(tx.conn())
    .await?;
    row.map(TokenRow::read).transpose()
}

/// Deletes tokens that expired before a time, and returns how many.
pub async fn delete_expired(tx: &mut SystemTx, before: Timestamp) -> Result<u64> {
    // Crosses tenants: retention deletes the expired tokens of every organization.
    let done = sqlx::query("DELETE FROM join_tokens WHERE expires_at < $1")
        .bind(before.as_micros())
        .execute(tx.conn())
        .await?;
    Ok(done.rows_affected())
}
