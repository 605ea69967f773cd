//! The outbox: which resource changed at which revision. The publisher reads it; the writer fills it at commit.

use std::collections::BTreeSet;

use domain::change::Change;
use domain::{OrganizationId, Permit};

use crate::row::{Row, signed, unsigned};
use crate::tx::Exactly as _;
use crate::{Result, Revision, StoreError, SystemTx, Tx, WriteTx};

/// Writes the changes of a transaction under the revision it is about to take.
pub(crate) async fn insert(tx: &mut Tx, changes: &BTreeSet<Change>) -> Result<()> {
    let (kinds, ids): (Vec<&str>, Vec<String>) = changes.iter().map(Change::key).unzip();
    sqlx::query(
        "INSERT INTO changes (organization_id, revision, kind, subject_id)
         SELECT t.organization_id, t.revision + 1, c.kind, c.subject_id
           FROM turns t, unnest($2::text[], $3::text[]) AS c (kind, subject_id) WHERE t.organization_id = $1",
    )
    .bind(tx.org())
    .bind(kinds)
    .bind(ids)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Returns the organization's revision as this transaction sees it.
pub async fn revision(tx: &mut Tx) -> Result<Revision> {
    let revision: Option<i64> = sqlx::query_scalar("SELECT revision FROM turns WHERE organization_id = $1")
        .bind(tx.org())
        .fetch_optional(tx.conn())
        .await?;
    revision.map(unsigned).ok_or(StoreError::NotFound("organization"))
}

/// Skips revisions: the commit of this write takes the one after `beyond`, or the next one when that is later.
///
/// For a database that was restored from a backup, whose nodes have seen later revisions than it knows. Whoever was before the
/// gap gets everything, since the changes in between are not there.
pub async fn leap(tx: &mut WriteTx, permit: &Permit, beyond: Revision) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query("UPDATE turns SET revision = greatest(revision, $2) WHERE organization_id = $1")
        .bind(tx.org())
        .bind(signed(beyond))
        .execute(tx.conn())
        .await?
        .exactly(1, "organization")?;
    let organization = tx.organization();
    tx.changed(Change::Organization(organization));
    Ok(())
}

/// Returns the revision of every organization: what the publisher polls.
pub async fn revisions(tx: &mut SystemTx) -> Result<Vec<(OrganizationId, Revision)>> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT organization_id, revision FROM turns ORDER BY organization_id")
            .fetch_all(tx.conn())
            .await?;
    rows.into_iter()
        .map(|(id, revision)| Ok((Row { table: "turns", id: &id }.parse("organization_id", &id)?, unsigned(revision))))
        .collect()
}

/// What changed after a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The organization's revision in the same state of the database.
    pub revision: Revision,
    /// The subjects that changed in `(after, revision]`, each once; read their rows in the same transaction.
    pub changes: Vec<Change>,
}

/// Lists what changed after a revision; `None` when the outbox no longer reaches back that far, so that only a full set will do.
pub async fn list_after(tx: &mut Tx, after: Revision) -> Result<Option<Changed>> {
    let now = revision(tx).await?;
    if after >= now {
        return Ok((after == now).then(|| Changed { revision: now, changes: Vec::new() }));
    }
    let org = tx.org();
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT kind, subject_id, min(revision) FROM changes WHERE organization_id = $1 AND revision > $2
          GROUP BY kind, subject_id ORDER BY kind, subject_id",
    )
    .bind(&org)
    .bind(signed(after))
    .fetch_all(tx.conn())
    .await?;
    // Revisions are gapless and each has at least one change, so the first kept one tells whether any is missing.
    if rows.iter().map(|(_, _, revision)| unsigned(*revision)).min() != Some(after + 1) {
        return Ok(None);
    }
    let row = Row { table: "changes", id: &org };
    let read = |(kind, id, _): &(String, String, i64)| Change::from_key(kind, id).ok_or_else(|| row.corrupt("kind"));
    Ok(Some(Changed { revision: now, changes: rows.iter().map(read).collect::<Result<_>>()? }))
}

/// Forgets changes up to and including a revision of an organization, and returns how many rows went.
pub async fn delete_until(tx: &mut SystemTx, organization: OrganizationId, revision: Revision) -> Result<u64> {
    let done = sqlx::query("DELETE FROM changes WHERE organization_id = $1 AND revision <= $2")
        .bind(organization.to_string())
        .bind(signed(revision))
        .execute(tx.conn())
        .await?;
    Ok(done.rows_affected())
}
