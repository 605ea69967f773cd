//! Signed-in browsers. A session is found by the SHA-256 of its cookie's secret; it belongs to a person, not to a tenant.

use domain::session;
use domain::{SessionId, Timestamp, UserId};

use crate::row::{Row, time};
use crate::tx::Exactly as _;
use crate::{Result, Session, SystemTx};

#[derive(sqlx::FromRow)]
struct SessionRow {
    id: String,
    user_id: String,
    created_at: i64,
    last_seen_at: i64,
    ip: Option<String>,
    user_agent: Option<String>,
}

impl SessionRow {
    fn read(self) -> Result<session::Session> {
        let row = Row { table: "sessions", id: &self.id };
        Ok(session::Session {
            id: row.parse("id", &self.id)?,
            user_id: row.parse("user_id", &self.user_id)?,
            created_at: time(self.created_at),
            last_seen_at: time(self.last_seen_at),
            ip: self.ip,
            user_agent: self.user_agent,
        })
    }
}

/// Adds a session.
pub async fn insert(tx: &mut impl Session, session: &session::Session, secret_hash: &[u8; 32]) -> Result<()> {
    sqlx::query(
        "INSERT INTO sessions (id, user_id, secret_hash, created_at, last_seen_at, ip, user_agent)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(session.id.to_string())
    .bind(session.user_id.to_string())
    .bind(secret_hash.as_slice())
    .bind(session.created_at.as_micros())
    .bind(session.last_seen_at.as_micros())
    .bind(session.ip.as_deref())
    .bind(session.user_agent.as_deref())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Looks a session up by the hash of its secret; whether it is live is the caller's to judge.
pub async fn find_by_secret(tx: &mut SystemTx, secret_hash: &[u8; 32]) -> Result<Option<session::Session>> {
    let row: Option<SessionRow> = sqlx::query_as(
        "SELECT id, user_id, created_at, last_seen_at, ip, user_agent FROM sessions WHERE secret_hash = $1",
    )
    .bind(secret_hash.as_slice())
    .fetch_optional(tx.conn())
    .await?;
    row.map(SessionRow::read).transpose()
}

/// Lists a person's sessions, newest first.
pub async fn list(tx: &mut SystemTx, user_id: UserId) -> Result<Vec<session::Session>> {
    let rows: Vec<SessionRow> = sqlx::query_as(
        "SELECT id, user_id, created_at, last_seen_at, ip, user_agent FROM sessions WHERE user_id = $1 ORDER BY id DESC",
    )
    .bind(user_id.to_string())
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(SessionRow::read).collect()
}

/// Moves the last use forward, never back.
pub async fn touch(tx: &mut SystemTx, id: SessionId, at: Timestamp) -> Result<()> {
    sqlx::query("UPDATE sessions SET last_seen_at = $2 WHERE id = $1 AND last_seen_at < $2")
        .bind(id.to_string())
        .bind(at.as_micros())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Ends one session of a person.
pub async fn delete(tx: &mut impl Session, user_id: UserId, id: SessionId) -> Result<()> {
    sqlx::query("DELETE FROM sessions WHERE user_id = $1 AND id = $2")
        .bind(user_id.to_string())
        .bind(id.to_string())
        .execute(tx.connection())
        .await?
        .exactly(1, "session")
}

/// Ends all sessions of a person, except one if given, and returns how many. Inside one organization only its members' end.
pub async fn delete_all(tx: &mut impl Session, user_id: UserId, except: Option<SessionId>) -> Result<u64> {
    let done = sqlx::query("DELETE FROM sessions WHERE user_id = $1 AND ($2::text IS NULL OR id <> $2)")
        .bind(user_id.to_string())
        .bind(except.map(|id| id.to_string()))
        .execute(tx.connection())
        .await?;
    Ok(done.rows_affected())
}

/// Deletes sessions that were last used, or began, before the given times, and returns how many.
pub async fn delete_ended(tx: &mut SystemTx, unseen_since: Timestamp, begun_before: Timestamp) -> Result<u64> {
    let done = sqlx::query("DELETE FROM sessions WHERE last_seen_at < $1 OR created_at < $2")
        .bind(unseen_since.as_micros())
        .bind(begun_before.as_micros())
        .execute(tx.conn())
        .await?;
    Ok(done.rows_affected())
}
