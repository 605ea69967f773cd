//! Node groups, nodes with what they last reported, and unused join tokens.

use std::collections::BTreeMap;
use std::time::Duration;

use api::ops::nodes::{
    JoinTokenView, ListJoinTokens, ListNodeGroups, ListNodes, NackReasonView, NackView, NodeGroupView, NodeView,
};
use domain::node::{Holds, JoinToken, Nack, Node, NodeGroup, NodeStatus};
use domain::{NodeId, OrganizationId, Page, Timestamp};
use store::Tx;

use operation::call::{Call, Reply};
use operation::error::Outcome;

/// A connected node says something every few seconds, and what it said last is written down as often; a silent one is cut after 35.
const HEARD_WITHIN: Duration = Duration::from_secs(60);

/// Lists the node groups that the organization administers.
pub async fn list_groups(call: Call<ListNodeGroups>) -> Outcome<Reply<Page<NodeGroupView>>> {
    let limit = operation::page::limit(call.query.limit)?;
    let mut tx = call.read().await?;
    let page = store::nodes::list_groups(&mut tx, call.query.cursor.as_ref(), limit).await?;
    Ok(Reply::new(page.map(group_view)))
}

pub(crate) fn group_view(group: NodeGroup) -> NodeGroupView {
    let (holds_all, organization_ids) = match group.holds {
        Holds::All => (true, Vec::new()),
        Holds::Only(ids) => (false, ids),
    };
    NodeGroupView {
        id: group.id,
        slug: group.slug,
        region: group.region,
        holds_all,
        organization_ids,
        version: group.version,
        created_at: group.created_at,
    }
}

/// Lists nodes, newest first.
pub async fn list(call: Call<ListNodes>) -> Outcome<Reply<Page<NodeView>>> {
    let limit = operation::page::limit(call.query.limit)?;
    let (organization, now) = (call.organization()?, call.now());
    let mut tx = call.read().await?;
    let page = store::nodes::list(&mut tx, call.query.cursor.as_ref(), limit).await?;
    let ids: Vec<NodeId> = page.items.iter().map(|node| node.id).collect();
    let mut status: BTreeMap<_, _> = store::nodes::list_status(&mut tx, &ids).await?.into_iter().collect();
    let desired = store::changes::revision(&mut tx).await?;
    Ok(Reply::new(page.map(|node| {
        let status = status.remove(&node.id).unwrap_or_default();
        view(node, status, (organization, now), desired)
    })))
}

/// Shows one node of the organization.
pub(crate) async fn get(tx: &mut Tx, id: NodeId, now: Timestamp) -> Outcome<NodeView> {
    let node = store::nodes::get(tx, id).await?;
    let status = store::nodes::list_status(tx, &[id]).await?.pop().map(|(_, status)| status).unwrap_or_default();
    let desired = store::changes::revision(tx).await?;
    let organization = tx.organization();
    Ok(view(node, status, (organization, now), desired))
}

fn view(node: Node, status: NodeStatus, (organization, now): (OrganizationId, Timestamp), desired: u64) -> NodeView {
    // A control process that was killed never writes that its nodes are gone from it.
    let is_heard = status.last_contact_at.is_some_and(|at| now.since(at) <= HEARD_WITHIN);
    let acknowledged =
        status.acknowledged.iter().find(|(id, _)| *id == organization).map_or(0, |(_, revision)| *revision);
    // A node of a shared fleet may have refused something of another organization: that is not this one's to see.
    let nack = status.last_nack.filter(|nack| nack.organization_id == organization).map(nack_view);
    NodeView {
        id: node.id,
        group_id: node.group_id,
        name: node.name,
        build: status.build,
        is_connected: status.is_connected && is_heard && node.revoked_at.is_none(),
        desired_revision: desired,
        acknowledged_revision: acknowledged,
        last_contact_at: status.last_contact_at,
        last_nack: nack,
        drifted_at: status.drift.filter(|drift| drift.organization_id == organization).map(|drift| drift.at),
        withheld_kinds: status.withheld,
        spool_depth: status.spool_depth,
        spool_dropped: status.spool_dropped,
        certificate_expires_at: node.certificate_expires_at,
        created_at: node.created_at,
        revoked_at: node.revoked_at,
    }
}

fn nack_view(nack: Nack) -> NackView {
    let reasons = nack.reasons.into_iter().map(|(resource, reason)| NackReasonView { resource, reason });
    NackView { revision: nack.revision, at: nack.at, reasons: reasons.collect() }
}

/// Lists join tokens that still work.
pub async fn list_join_tokens(call: Call<ListJoinTokens>) -> Outcome<Reply<Page<JoinTokenView>>> {
    let (limit, now) = (operation::page::limit(call.query.limit)?, call.now());
    let mut tx = call.read().await?;
    let page = store::join_tokens::list_live(&mut tx, now, call.query.cursor.as_ref(), limit).await?;
    Ok(Reply::new(page.map(|token| join_token_view(&token))))
}

pub(crate) fn join_token_view(token: &JoinToken) -> JoinTokenView {
    JoinTokenView {
        id: token.id,
        group_id: token.group_id,
        hint: token.kid.to_string(),
        created_at: token.created_at,
        expires_at: token.expires_at,
    }
}
