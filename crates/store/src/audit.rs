//! The audit log: read, searched and exported here; written only by the commit of a [`crate::WriteTx`].

use domain::audit::{AuditEntry, AuditOutcome, Origin};
use domain::page::{Cursor, Limit, Page};
use domain::{OrganizationId, Timestamp, WorkspaceId};

use crate::row::{self, Row, signed, time, unsigned};
use crate::{Result, StoreError, SystemTx, Tx};

/// A place in the chain and the hash of the entry there; `(0, zeros)` at the beginning.
pub type Head = (u64, [u8; 32]);

#[derive(sqlx::FromRow)]
struct EntryRow {
    organization_id: String,
    seq: i64,
    id: String,
    at: i64,
    actor_kind: String,
    actor_id: String,
    actor_name: String,
    action: String,
    subject_kind: String,
    subject_id: String,
    subject_name: String,
    workspace_id: Option<String>,
    outcome: String,
    before: Option<String>,
    after: Option<String>,
    ip: Option<String>,
    user_agent: Option<String>,
    request_id: Option<String>,
    previous_hash: Vec<u8>,
    hash: Vec<u8>,
}

impl EntryRow {
    fn read(self) -> Result<AuditEntry> {
        let row = Row { table: "audit_entries", id: &self.id };
        Ok(AuditEntry {
            id: row.parse("id", &self.id)?,
            organization_id: row.parse("organization_id", &self.organization_id)?,
            seq: unsigned(self.seq),
            at: time(self.at),
            actor_kind: self.actor_kind,
            actor_id: self.actor_id,
            actor_name: self.actor_name,
            action: self.action,
            subject_kind: self.subject_kind,
            subject_id: self.subject_id,
            subject_name: self.subject_name,
            workspace_id: row.parse_opt("workspace_id", self.workspace_id.as_deref())?,
            outcome: AuditOutcome::find(&self.outcome).ok_or_else(|| row.corrupt("outcome"))?,
            before: self.before,
            after: self.after,
            origin: Origin { ip: self.ip, user_agent: self.user_agent, request_id: self.request_id },
            previous_hash: row.bytes32("previous_hash", &self.previous_hash)?,
            hash: row.bytes32("hash", &self.hash)?,
        })
    }
}

/// Returns the newest place in the organization's chain, as kept beside the entries.
pub async fn head(tx: &mut Tx) -> Result<Head> {
    let org = tx.org();
    let found: Option<(i64, Vec<u8>)> = sqlx::query_as("SELECT seq, hash FROM audit_head WHERE organization_id = $1")
        .bind(&org)
        .fetch_optional(tx.conn())
        .await?;
    let (seq, hash) = found.ok_or(StoreError::NotFound("organization"))?;
    Ok((unsigned(seq), Row { table: "audit_head", id: &org }.bytes32("hash", &hash)?))
}

pub(crate) async fn insert(tx: &mut Tx, entries: &[AuditEntry]) -> Result<()> {
    for entry in entries {
        sqlx::query(
            "INSERT INTO audit_entries (organization_id, seq, id, at, actor_kind, actor_id, actor_name, action, subject_kind,
                                        subject_id, subject_name, workspace_id, outcome, before, after, ip, user_agent,
                                        request_id, previous_hash, hash)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)",
        )
        .bind(entry.organization_id.to_string())
        .bind(signed(entry.seq))
        .bind(entry.id.to_string())
        .bind(entry.at.as_micros())
        .bind(&entry.actor_kind)
        .bind(&entry.actor_id)
        .bind(&entry.actor_name)
        .bind(&entry.action)
        .bind(&entry.subject_kind)
        .bind(&entry.subject_id)
        .bind(&entry.subject_name)
        .bind(entry.workspace_id.map(|id| id.to_string()))
        .bind(entry.outcome.as_str())
        .bind(entry.before.as_deref())
        .bind(entry.after.as_deref())
        .bind(entry.origin.ip.as_deref())
        .bind(entry.origin.user_agent.as_deref())
        .bind(entry.origin.request_id.as_deref())
        .bind(entry.previous_hash.as_slice())
        .bind(entry.hash.as_slice())
        .execute(tx.conn())
        .await?;
    }
    Ok(())
}

/// Which entries to list; everything that is `None` lets all through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// From this time on.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Option<Timestamp>,
    /// Exactly this action, or every action that begins so when it ends in `.`.
    pub action: Option<String>,
    /// Only this actor.
    pub actor_id: Option<String>,
    /// Only this subject.
    pub subject_id: Option<String>,
    /// Only this workspace.
    pub workspace_id: Option<WorkspaceId>,
    /// Only this outcome.
    pub outcome: Option<AuditOutcome>,
}

/// Lists entries, newest first.
pub async fn list(tx: &mut Tx, filter: &Filter, cursor: Option<&Cursor>, limit: Limit) -> Result<Page<AuditEntry>> {
    let before = cursor.map(|cursor| cursor.0.parse::<u64>().map_err(|_| StoreError::Cursor)).transpose()?;
    let rows: Vec<EntryRow> = sqlx::query_as(
        "SELECT organization_id, seq, id, at, actor_kind, actor_id, actor_name, action, subject_kind, subject_id,
                subject_name, workspace_id, outcome, before, after, ip, user_agent, request_id, previous_hash, hash
           FROM audit_entries
          WHERE organization_id = $1 AND seq < $2
            AND ($3::bigint IS NULL OR at >= $3) AND ($4::bigint IS NULL OR at < $4)
            AND ($5::text IS NULL OR action = $5 OR (right($5, 1) = '.' AND starts_with(action, $5)))
            AND ($6::text IS NULL OR actor_id = $6) AND ($7::text IS NULL OR subject_id = $7)
            AND ($8::text IS NULL OR workspace_id = $8) AND ($9::text IS NULL OR outcome = $9)
          ORDER BY seq DESC LIMIT $10",
    )
    .bind(tx.org())
    .bind(before.map_or(i64::MAX, signed))
    .bind(row::micros(filter.from))
    .bind(row::micros(filter.to))
    .bind(filter.action.as_deref())
    .bind(filter.actor_id.as_deref())
    .bind(filter.subject_id.as_deref())
    .bind(filter.workspace_id.map(|id| id.to_string()))
    .bind(filter.outcome.map(AuditOutcome::as_str))
    .bind(row::surplus(limit))
    .fetch_all(tx.conn())
    .await?;
    row::page(rows, limit, EntryRow::read, |entry| entry.seq.to_string())
}

/// Returns up to `rows` entries after a place, oldest first: for export and verification, in pieces of bounded size.
pub async fn export(tx: &mut Tx, after_seq: u64, rows: u16) -> Result<Vec<AuditEntry>> {
    let rows: Vec<EntryRow> = sqlx::query_as(
        "SELECT organization_id, seq, id, at, actor_kind, actor_id, actor_name, action, subject_kind, subject_id,
                subject_name, workspace_id, outcome, before, after, ip, user_agent, request_id, previous_hash, hash
           FROM audit_entries WHERE organization_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
    )
    .bind(tx.org())
    .bind(signed(after_seq))
    .bind(i64::from(rows))
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(EntryRow::read).collect()
}

// === Checkpoints ===

/// A signed statement that a chain was this long and ended in this hash at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The organization.
    pub organization_id: OrganizationId,
    /// The place of the newest entry.
    pub seq: u64,
    /// Its hash.
    pub hash: [u8; 32],
    /// The key that signed.
    pub kid: String,
    /// The signature, over the bytes its maker defines.
    pub signature: Vec<u8>,
    /// When.
    pub signed_at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct CheckpointRow {
    organization_id: String,
    seq: i64,
    hash: Vec<u8>,
    kid: String,
    signature: Vec<u8>,
    signed_at: i64,
}

/// Lists the chains that have grown since their last checkpoint, with their present heads.
pub async fn list_unsealed(tx: &mut SystemTx) -> Result<Vec<(OrganizationId, Head)>> {
    let rows: Vec<(String, i64, Vec<u8>)> = sqlx::query_as(
        "SELECT h.organization_id, h.seq, h.hash FROM audit_head h
          WHERE h.seq > coalesce((SELECT max(c.seq) FROM audit_checkpoints c WHERE c.organization_id = h.organization_id), 0)
          ORDER BY h.organization_id",
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter()
        .map(|(id, seq, hash)| {
            let row = Row { table: "audit_head", id: &id };
            Ok((row.parse("organization_id", &id)?, (unsigned(seq), row.bytes32("hash", &hash)?)))
        })
        .collect()
}

/// Adds a checkpoint; a second one for the same place is ignored.
pub async fn insert_checkpoint(tx: &mut SystemTx, checkpoint: &Checkpoint) -> Result<()> {
    sqlx::query(
        "INSERT INTO audit_checkpoints (organization_id, seq, hash, kid, signature, signed_at)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (organization_id, seq) DO NOTHING",
    )
    .bind(checkpoint.organization_id.to_string())
    .bind(signed(checkpoint.seq))
    .bind(checkpoint.hash.as_slice())
    .bind(&checkpoint.kid)
    .bind(checkpoint.signature.as_slice())
    .bind(checkpoint.signed_at.as_micros())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Lists up to `rows` checkpoints after a place, oldest first.
pub async fn list_checkpoints(tx: &mut Tx, after_seq: u64, rows: u16) -> Result<Vec<Checkpoint>> {
    let rows: Vec<CheckpointRow> = sqlx::query_as(
        "SELECT organization_id, seq, hash, kid, signature, signed_at FROM audit_checkpoints
          WHERE organization_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
    )
    .bind(tx.org())
    .bind(signed(after_seq))
    .bind(i64::from(rows))
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter()
        .map(|found| {
            let id = found.organization_id;
            let row = Row { table: "audit_checkpoints", id: &id };
            Ok(Checkpoint {
                organization_id: row.parse("organization_id", &id)?,
                seq: unsigned(found.seq),
                hash: row.bytes32("hash", &found.hash)?,
                kid: found.kid,
                signature: found.signature,
                signed_at: time(found.signed_at),
            })
        })
        .collect()
}
