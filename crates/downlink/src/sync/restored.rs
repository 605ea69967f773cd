//! A database that was restored from a backup knows less than its nodes, and a node never goes back.
//!
//! So the revisions go forward: declaring the restoration moves every organization's revision past any that a node may hold, and
//! nodes take the restored state as the next one. Nothing ever tells a node to go back, so a control process that is merely late,
//! or a replayed message, still cannot. What was declared is kept, because two checks ask for it: a restored set may be much
//! smaller than what a node holds, and certificates given after the backup are not in the database.

use std::collections::BTreeMap;

use domain::audit::Audit;
use domain::id::IdMint as _;
use domain::node::Node;
use domain::{AuditEntryId, JobName, OrganizationId, Permit, Scope, Timestamp};
use serde::{Deserialize, Serialize};
use store::{AuditDraft, Revision, Store, StoreError};

use crate::ca::Peer;
use operation::cx::Cx;

const SETTING: &str = "restored";
/// Revisions that are skipped beyond the highest one known: more than were lost between backup and failure. A node that is still
/// ahead afterwards says so, and then the highest one is known.
const MARGIN: Revision = 1 << 20;

/// More changes than can have been lost: what a node holds beyond this is a lie.
const MOST_LOST: Revision = 1 << 40;

/// What was declared last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// When.
    pub at: Timestamp,
    /// Per organization, the revision that the restored state became.
    pub revisions: BTreeMap<OrganizationId, Revision>,
}

/// Declares that the database was restored from a backup. Nodes converge to it when they next hear of it.
pub async fn declare(cx: &Cx) -> Result<Restored, StoreError> {
    let mut tx = cx.store.system().await?;
    let held = store::nodes::highest_acknowledged(&mut tx).await?;
    let known = store::changes::revisions(&mut tx).await?;
    tx.commit().await?;
    let mut revisions = BTreeMap::new();
    for (organization, revision) in known {
        let said = held.get(&organization).copied().unwrap_or(0);
        // Numbers end, and a node that lies about what it holds must not bring their end about.
        let is_possible = said <= revision.saturating_add(MOST_LOST);
        if !is_possible {
            tracing::error!(organization.id = %organization, said, revision, "a node says that it holds a revision which cannot have been; it is not believed");
        }
        let beyond = revision.max(if is_possible { said } else { 0 }).saturating_add(MARGIN);
        // Kept before the leap is committed: a control process that runs may send it at once.
        revisions.insert(organization, beyond + 1);
    }
    let restored = Restored { at: cx.now(), revisions };
    let mut tx = cx.store.system().await?;
    store::settings::set(&mut tx, SETTING, &restored, restored.at).await?;
    tx.commit().await?;
    for (organization, revision) in &restored.revisions {
        let permit = Permit::system(JobName::Operator, Scope::Organization(*organization));
        let mut tx = cx.store.write(*organization).await?;
        store::changes::leap(&mut tx, &permit, revision - 1).await?;
        let after = Some(serde_json::json!({ "revision": revision }).to_string());
        let audit = Audit { after, ..Audit::new("installation.restored", "organization", organization, &"") };
        let id = AuditEntryId::from_uuid(cx.mint.next_uuid());
        tx.audit(&permit, AuditDraft { id, at: restored.at, actor_name: "operator".to_owned(), audit });
        tx.commit().await?;
    }
    Ok(restored)
}

/// Returns what was declared last.
async fn find(store: &Store) -> Result<Option<Restored>, StoreError> {
    let mut tx = store.system().await?;
    store::settings::find(&mut tx, SETTING).await
}

/// Says whether a restoration lies between what a node holds and what is published: then the two sets cannot be compared.
pub(crate) async fn lies_between(
    store: &Store,
    organization: OrganizationId,
    held: Revision,
    published: Revision,
) -> Result<bool, StoreError> {
    let declared = find(store).await?;
    let at = declared.and_then(|restored| restored.revisions.get(&organization).copied());
    Ok(at.is_some_and(|at| held < at && at <= published))
}

/// Returns the node of a certificate that is not in the database because it was given after the backup, and books it.
///
/// TLS has verified that this installation's authority gave it; it counts when it is older than the declaration.
pub(crate) async fn recognize(cx: &Cx, peer: &Peer) -> Result<Option<Node>, StoreError> {
    let mut tx = cx.store.system().await?;
    let declared: Option<Restored> = store::settings::find(&mut tx, SETTING).await?;
    if declared.is_none_or(|restored| peer.issued_at >= restored.at) {
        return Ok(None);
    }
    let Some(node) = store::nodes::find(&mut tx, peer.node).await? else { return Ok(None) };
    if node.revoked_at.is_some() {
        return Ok(Some(node));
    }
    let given =
        Node { certificate_serial: peer.serial.clone(), certificate_expires_at: peer.not_after, ..node.clone() };
    store::nodes::book_certificate(&mut tx, &given, peer.issued_at).await?;
    tx.commit().await?;
    tracing::info!(node.id = %node.id, "a certificate from before the restoration is booked");
    Ok(Some(node))
}
