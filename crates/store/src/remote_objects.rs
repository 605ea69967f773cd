//! Files and batches that lie at an upstream, as nodes note them.
//!
//! Used under the jobs role, like usage: nodes write facts, no member does. Invariants: an object is found by its whole key
//! alone; what is due is handed out once until its time comes again; what was booked is never due.

use domain::remote::{RemoteKind, RemoteObject, RemoteScope};
use domain::{OrganizationId, RemoteId, Timestamp};

use crate::row::{Row, micros, time, time_opt};
use crate::{Result, SystemTx};

#[derive(sqlx::FromRow)]
struct ObjectRow {
    organization_id: String,
    workspace_id: String,
    environment_id: String,
    id: String,
    kind: String,
    virtual_key_id: String,
    provider: String,
    credential_id: String,
    upstream_id: String,
    facts: String,
    created_at: i64,
    expires_at: i64,
    due_at: Option<i64>,
    booked_at: Option<i64>,
}

impl ObjectRow {
    fn read(self) -> Result<RemoteObject> {
        let row = Row { table: "remote_objects", id: &self.id };
        Ok(RemoteObject {
            id: row.parse("id", &self.id)?,
            scope: RemoteScope {
                organization: row.parse("organization_id", &self.organization_id)?,
                workspace: row.parse("workspace_id", &self.workspace_id)?,
                environment: row.parse("environment_id", &self.environment_id)?,
            },
            kind: RemoteKind::find(&self.kind).ok_or_else(|| row.corrupt("kind"))?,
            virtual_key: row.parse("virtual_key_id", &self.virtual_key_id)?,
            credential: row.parse("credential_id", &self.credential_id)?,
            created_at: time(self.created_at),
            expires_at: time(self.expires_at),
            due_at: time_opt(self.due_at),
            booked_at: time_opt(self.booked_at),
            provider: self.provider,
            upstream_id: self.upstream_id,
            facts: self.facts,
        })
    }
}

/// Notes an object. One that is there already stays: an id names one object.
pub async fn insert(tx: &mut SystemTx, it: &RemoteObject) -> Result<()> {
    sqlx::query(
        "INSERT INTO remote_objects (organization_id, workspace_id, environment_id, id, kind, virtual_key_id, provider,
                                     credential_id, upstream_id, facts, created_at, expires_at, due_at, booked_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
         ON CONFLICT (organization_id, workspace_id, environment_id, id) DO NOTHING",
    )
    .bind(it.scope.organization.to_string())
    .bind(it.scope.workspace.to_string())
    .bind(it.scope.environment.to_string())
    .bind(it.id.to_string())
    .bind(it.kind.as_str())
    .bind(it.virtual_key.to_string())
    .bind(&it.provider)
    .bind(it.credential.to_string())
    .bind(&it.upstream_id)
    .bind(&it.facts)
    .bind(it.created_at.as_micros())
    .bind(it.expires_at.as_micros())
    .bind(micros(it.due_at))
    .bind(micros(it.booked_at))
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Finds an object that has not expired at `now`.
pub async fn find(
    tx: &mut SystemTx,
    scope: &RemoteScope,
    id: RemoteId,
    now: Timestamp,
) -> Result<Option<RemoteObject>> {
    let row: Option<ObjectRow> = sqlx::query_as(
        "SELECT organization_id, workspace_id, environment_id, id, kind, virtual_key_id, provider, credential_id, upstream_id,
                facts, created_at, expires_at, due_at, booked_at
           FROM remote_objects
          WHERE organization_id = $1 AND workspace_id = $2 AND environment_id = $3 AND id = $4 AND expires_at > $5",
    )
    .bind(scope.organization.to_string())
    .bind(scope.workspace.to_string())
    .bind(scope.environment.to_string())
    .bind(id.to_string())
    .bind(now.as_micros())
    .fetch_optional(tx.conn())
    .await?;
    row.map(ObjectRow::read).transpose()
}

/// What of an environment's objects is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listing {
    /// Which.
    pub kind: RemoteKind,
    /// Begin behind this one.
    pub after: Option<RemoteId>,
    /// At most this many.
    pub limit: u32,
    /// The oldest first.
    pub is_ascending: bool,
}

/// Lists an environment's objects of a kind by the time they were made.
pub async fn list(
    tx: &mut SystemTx,
    scope: &RemoteScope,
    listing: Listing,
    now: Timestamp,
) -> Result<Vec<RemoteObject>> {
    let sql = if listing.is_ascending {
        "SELECT organization_id, workspace_id, environment_id, id, kind, virtual_key_id, provider, credential_id, upstream_id,
                facts, created_at, expires_at, due_at, booked_at
           FROM remote_objects
          WHERE organization_id = $1 AND workspace_id = $2 AND environment_id = $3 AND kind = $4 AND expires_at > $5
            AND ($6::text IS NULL OR id > $6)
          ORDER BY id LIMIT $7"
    } else {
        "SELECT organization_id, workspace_id, environment_id, id, kind, virtual_key_id, provider, credential_id, upstream_id,
                facts, created_at, expires_at, due_at, booked_at
           FROM remote_objects
          WHERE organization_id = $1 AND workspace_id = $2 AND environment_id = $3 AND kind = $4 AND expires_at > $5
            AND ($6::text IS NULL OR id < $6)
          ORDER BY id DESC LIMIT $7"
    };
    let rows: Vec<ObjectRow> = sqlx::query_as(sql)
        .bind(scope.organization.to_string())
        .bind(scope.workspace.to_string())
        .bind(scope.environment.to_string())
        .bind(listing.kind.as_str())
        .bind(now.as_micros())
        .bind(listing.after.map(|id| id.to_string()))
        .bind(i64::from(listing.limit))
        .fetch_all(tx.conn())
        .await?;
    rows.into_iter().map(ObjectRow::read).collect()
}

/// Forgets an object; false when there was none.
pub async fn delete(tx: &mut SystemTx, scope: &RemoteScope, id: RemoteId) -> Result<bool> {
    let done = sqlx::query(
        "DELETE FROM remote_objects WHERE organization_id = $1 AND workspace_id = $2 AND environment_id = $3 AND id = $4",
    )
    .bind(scope.organization.to_string())
    .bind(scope.workspace.to_string())
    .bind(scope.environment.to_string())
    .bind(id.to_string())
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Takes objects that are due, and has each be due again at `again_at`. Two that ask at the same time get different ones.
/// `organizations` is `None` for all.
pub async fn take_due(
    tx: &mut SystemTx,
    organizations: Option<&[OrganizationId]>,
    limit: u32,
    now: Timestamp,
    again_at: Timestamp,
) -> Result<Vec<RemoteObject>> {
    let names: Option<Vec<String>> = organizations.map(|ids| ids.iter().map(ToString::to_string).collect());
    let rows: Vec<ObjectRow> = sqlx::query_as(
        "WITH due AS (
            SELECT organization_id, workspace_id, environment_id, id FROM remote_objects
             WHERE due_at <= $1 AND expires_at > $1 AND ($2::text[] IS NULL OR organization_id = ANY($2))
             ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED)
         UPDATE remote_objects AS it SET due_at = $4 FROM due
          WHERE it.organization_id = due.organization_id AND it.workspace_id = due.workspace_id
            AND it.environment_id = due.environment_id AND it.id = due.id
         RETURNING it.organization_id, it.workspace_id, it.environment_id, it.id, it.kind, it.virtual_key_id, it.provider,
                   it.credential_id, it.upstream_id, it.facts, it.created_at, it.expires_at, it.due_at, it.booked_at",
    )
    .bind(now.as_micros())
    .bind(names)
    .bind(i64::from(limit))
    .bind(again_at.as_micros())
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(ObjectRow::read).collect()
}

/// What became of an object's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is in the ledger.
    Booked {
        /// Since when.
        at: Timestamp,
    },
    /// It is to be looked after then.
    Later {
        /// When.
        at: Timestamp,
    },
}

/// Notes what became of an object's output. What was booked stays so.
pub async fn settle(tx: &mut SystemTx, scope: &RemoteScope, id: RemoteId, settled: Settled) -> Result<()> {
    let (due_at, booked_at) = match settled {
        Settled::Booked { at } => (None, Some(at)),
        Settled::Later { at } => (Some(at), None),
    };
    sqlx::query(
        "UPDATE remote_objects SET due_at = $5, booked_at = $6
          WHERE organization_id = $1 AND workspace_id = $2 AND environment_id = $3 AND id = $4 AND booked_at IS NULL",
    )
    .bind(scope.organization.to_string())
    .bind(scope.workspace.to_string())
    .bind(scope.environment.to_string())
    .bind(id.to_string())
    .bind(micros(due_at))
    .bind(micros(booked_at))
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Forgets what has expired, and returns how many.
pub async fn delete_expired(tx: &mut SystemTx, now: Timestamp) -> Result<u64> {
    // Crosses tenants: retention forgets the objects of every organization by their end.
    let done = sqlx::query("DELETE FROM remote_objects WHERE expires_at < $1")
        .bind(now.as_micros())
        .execute(tx.conn())
        .await?;
    Ok(done.rows_affected())
}
