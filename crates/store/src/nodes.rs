//! Node groups, nodes, their certificates and what they last reported.
//!
//! People administer them inside the owning organization; enrolment, renewal and status come over the node link, which knows a
//! node before it knows an organization, and so use [`SystemTx`].

pub mod watch;

use std::collections::BTreeMap;

use domain::node::{Drift, Holds, Nack, Node, NodeGroup, NodeStatus};
use domain::page::{Cursor, Limit, Page};
use domain::{NodeGroupId, NodeId, OrganizationId, Permit, Timestamp};
use sqlx::types::Json;

use crate::row::{self, Row, signed, time, time_opt, unsigned};
use crate::tx::Exactly as _;
use crate::{Result, Session, StoreError, SystemTx, Tx, WriteTx};

// === Groups ===

#[derive(sqlx::FromRow)]
struct GroupRow {
    id: String,
    organization_id: String,
    slug: String,
    region: String,
    holds_all: bool,
    held: Vec<String>,
    version: i64,
    created_at: i64,
}

impl GroupRow {
    fn read(self) -> Result<NodeGroup> {
        let row = Row { table: "node_groups", id: &self.id };
        let held = self.held.iter().map(|id| row.parse("held_organization_id", id)).collect::<Result<_>>()?;
        Ok(NodeGroup {
            id: row.parse("id", &self.id)?,
            organization_id: row.parse("organization_id", &self.organization_id)?,
            slug: row.parse("slug", &self.slug)?,
            region: self.region,
            holds: if self.holds_all { Holds::All } else { Holds::Only(held) },
            version: unsigned(self.version),
            created_at: time(self.created_at),
        })
    }
}

/// Adds a group. Errors: `Conflict(NodeGroupName)`.
pub async fn insert_group(tx: &mut WriteTx, permit: &Permit, group: &NodeGroup) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query(
        "INSERT INTO node_groups (organization_id, id, slug, region, holds_all, version, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(group.organization_id.to_string())
    .bind(group.id.to_string())
    .bind(group.slug.as_str())
    .bind(&group.region)
    .bind(group.holds == Holds::All)
    .bind(signed(group.version))
    .bind(group.created_at.as_micros())
    .execute(tx.conn())
    .await?;
    insert_holds(tx, group).await
}

async fn insert_holds(tx: &mut WriteTx, group: &NodeGroup) -> Result<()> {
    let Holds::Only(held) = &group.holds else { return Ok(()) };
    sqlx::query(
        "INSERT INTO node_group_holds (organization_id, group_id, held_organization_id)
         SELECT $1, $2, held FROM unnest($3::text[]) AS held",
    )
    .bind(group.organization_id.to_string())
    .bind(group.id.to_string())
    .bind(row::texts(Some(held)))
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Writes slug, region and holdings over the version that was read, and returns the new version.
///
/// Control processes notice changed holdings when they next look at the groups of their connected nodes.
/// Errors: `Stale`, `Conflict(NodeGroupName)`.
pub async fn update_group(tx: &mut WriteTx, permit: &Permit, group: &NodeGroup) -> Result<u64> {
    tx.spend(permit)?;
    sqlx::query(
        "UPDATE node_groups SET slug = $4, region = $5, holds_all = $6, version = version + 1
          WHERE organization_id = $1 AND id = $2 AND version = $3",
    )
    .bind(tx.org())
    .bind(group.id.to_string())
    .bind(signed(group.version))
    .bind(group.slug.as_str())
    .bind(&group.region)
    .bind(group.holds == Holds::All)
    .execute(tx.conn())
    .await?
    .current("node group")?;
    sqlx::query("DELETE FROM node_group_holds WHERE organization_id = $1 AND group_id = $2")
        .bind(tx.org())
        .bind(group.id.to_string())
        .execute(tx.conn())
        .await?;
    insert_holds(tx, group).await?;
    Ok(group.version + 1)
}

/// Returns a group of the organization.
pub async fn get_group(tx: &mut Tx, id: NodeGroupId) -> Result<NodeGroup> {
    let row: Option<GroupRow> = sqlx::query_as(
        "SELECT g.id, g.organization_id, g.slug, g.region, g.holds_all, g.version, g.created_at,
                array(SELECT h.held_organization_id FROM node_group_holds h
                       WHERE h.organization_id = g.organization_id AND h.group_id = g.id ORDER BY 1) AS held
           FROM node_groups g WHERE g.organization_id = $1 AND g.id = $2",
    )
    .bind(tx.org())
    .bind(id.to_string())
    .fetch_optional(tx.conn())
    .await?;
    row.ok_or(StoreError::NotFound("node group"))?.read()
}

/// Returns a group by id, whoever owns it: what its nodes may hold.
pub async fn find_group(tx: &mut SystemTx, id: NodeGroupId) -> Result<Option<NodeGroup>> {
    let row: Option<GroupRow> = sqlx::query_as(
        "SELECT g.id, g.organization_id, g.slug, g.region, g.holds_all, g.version, g.created_at,
                array(SELECT h.held_organization_id FROM node_group_holds h
                       WHERE h.organization_id = g.organization_id AND h.group_id = g.id ORDER BY 1) AS held
           FROM node_groups g WHERE g.id = $1",
    )
    .bind(id.to_string())
    .fetch_optional(tx.conn())
    .await?;
    row.map(GroupRow::read).transpose()
}

/// Lists the groups of the organization, oldest first.
pub async fn list_groups(tx: &mut Tx, cursor: Option<&Cursor>, limit: Limit) -> Result<Page<NodeGroup>> {
    let rows: Vec<GroupRow> = sqlx::query_as(
        "SELECT g.id, g.organization_id, g.slug, g.region, g.holds_all, g.version, g.created_at,
                array(SELECT h.held_organization_id FROM node_group_holds h
                       WHERE h.organization_id = g.organization_id AND h.group_id = g.id ORDER BY 1) AS held
           FROM node_groups g WHERE g.organization_id = $1 AND ($2::text IS NULL OR g.id > $2) ORDER BY g.id LIMIT $3",
    )
    .bind(tx.org())
    .bind(row::after::<NodeGroupId>(cursor)?)
    .bind(row::surplus(limit))
    .fetch_all(tx.conn())
    .await?;
    row::page(rows, limit, GroupRow::read, |group| group.id.to_string())
}

// === Nodes ===

#[derive(sqlx::FromRow)]
struct NodeRow {
    id: String,
    organization_id: String,
    group_id: String,
    name: String,
    hpke_public_key: Vec<u8>,
    certificate_serial: String,
    certificate_expires_at: i64,
    created_at: i64,
    revoked_at: Option<i64>,
}

impl NodeRow {
    fn read(self) -> Result<Node> {
        let row = Row { table: "nodes", id: &self.id };
        Ok(Node {
            id: row.parse("id", &self.id)?,
            group_id: row.parse("group_id", &self.group_id)?,
            organization_id: row.parse("organization_id", &self.organization_id)?,
            name: self.name,
            hpke_public_key: self.hpke_public_key,
            certificate_serial: self.certificate_serial,
            certificate_expires_at: time(self.certificate_expires_at),
            created_at: time(self.created_at),
            revoked_at: time_opt(self.revoked_at),
        })
    }
}

/// Enrols a node with its first certificate.
///
/// The audit entry belongs in a write of the node's organization; see [`crate::join_tokens::redeem`] for the order.
pub async fn insert(tx: &mut WriteTx, permit: &Permit, node: &Node) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query(
        "INSERT INTO nodes (organization_id, id, group_id, name, hpke_public_key, certificate_serial, certificate_expires_at,
                            created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(node.organization_id.to_string())
    .bind(node.id.to_string())
    .bind(node.group_id.to_string())
    .bind(&node.name)
    .bind(node.hpke_public_key.as_slice())
    .bind(&node.certificate_serial)
    .bind(node.certificate_expires_at.as_micros())
    .bind(node.created_at.as_micros())
    .execute(tx.conn())
    .await?;
    add_certificate(tx, node, node.created_at).await
}

/// Certifies a node anew that came back with a join token: `node` carries the new serial and end.
///
/// Errors: `NotFound` when the node is unknown or revoked.
pub async fn readmit(tx: &mut WriteTx, permit: &Permit, node: &Node, issued_at: Timestamp) -> Result<()> {
    tx.spend(permit)?;
    set_certificate(tx, node, issued_at).await
}

async fn add_certificate(tx: &mut impl Session, node: &Node, issued_at: Timestamp) -> Result<()> {
    sqlx::query(
        "INSERT INTO node_certificates (organization_id, node_id, serial, issued_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(node.organization_id.to_string())
    .bind(node.id.to_string())
    .bind(&node.certificate_serial)
    .bind(issued_at.as_micros())
    .bind(node.certificate_expires_at.as_micros())
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Books a renewed certificate: `node` carries the new serial and end. Errors: `NotFound` when the node is unknown or revoked.
pub async fn renew(tx: &mut SystemTx, node: &Node, issued_at: Timestamp) -> Result<()> {
    set_certificate(tx, node, issued_at).await
}

async fn set_certificate(tx: &mut impl Session, node: &Node, issued_at: Timestamp) -> Result<()> {
    sqlx::query(
        "UPDATE nodes SET certificate_serial = $3, certificate_expires_at = $4
          WHERE organization_id = $1 AND id = $2 AND revoked_at IS NULL",
    )
    .bind(node.organization_id.to_string())
    .bind(node.id.to_string())
    .bind(&node.certificate_serial)
    .bind(node.certificate_expires_at.as_micros())
    .execute(tx.connection())
    .await?
    .exactly(1, "node")?;
    add_certificate(tx, node, issued_at).await
}

/// Books a certificate that was given before this database was restored from an earlier state. Twice is once.
pub async fn book_certificate(tx: &mut SystemTx, node: &Node, issued_at: Timestamp) -> Result<()> {
    sqlx::query(
        "INSERT INTO node_certificates (organization_id, node_id, serial, issued_at, expires_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (serial) DO NOTHING",
    )
    .bind(node.organization_id.to_string())
    .bind(node.id.to_string())
    .bind(&node.certificate_serial)
    .bind(issued_at.as_micros())
    .bind(node.certificate_expires_at.as_micros())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Returns a node of the organization.
pub async fn get(tx: &mut Tx, id: NodeId) -> Result<Node> {
    let row: Option<NodeRow> = sqlx::query_as(
        "SELECT id, organization_id, group_id, name, hpke_public_key, certificate_serial, certificate_expires_at, created_at,
                revoked_at FROM nodes WHERE organization_id = $1 AND id = $2",
    )
    .bind(tx.org())
    .bind(id.to_string())
    .fetch_optional(tx.conn())
    .await?;
    row.ok_or(StoreError::NotFound("node"))?.read()
}

/// Looks a node up by id, whoever owns it.
pub async fn find(tx: &mut SystemTx, id: NodeId) -> Result<Option<Node>> {
    let row: Option<NodeRow> = sqlx::query_as(
        "SELECT id, organization_id, group_id, name, hpke_public_key, certificate_serial, certificate_expires_at, created_at,
                revoked_at FROM nodes WHERE id = $1",
    )
    .bind(id.to_string())
    .fetch_optional(tx.conn())
    .await?;
    row.map(NodeRow::read).transpose()
}

/// Looks up whose certificate a serial number is.
pub async fn find_by_serial(tx: &mut SystemTx, serial: &str) -> Result<Option<Node>> {
    let row: Option<NodeRow> = sqlx::query_as(
        "SELECT n.id, n.organization_id, n.group_id, n.name, n.hpke_public_key, n.certificate_serial,
                n.certificate_expires_at, n.created_at, n.revoked_at
           FROM node_certificates c JOIN nodes n ON n.organization_id = c.organization_id AND n.id = c.node_id
          WHERE c.serial = $1",
    )
    .bind(serial)
    .fetch_optional(tx.conn())
    .await?;
    row.map(NodeRow::read).transpose()
}

/// Lists the nodes of the organization, newest first, revoked ones included.
pub async fn list(tx: &mut Tx, cursor: Option<&Cursor>, limit: Limit) -> Result<Page<Node>> {
    let rows: Vec<NodeRow> = sqlx::query_as(
        "SELECT id, organization_id, group_id, name, hpke_public_key, certificate_serial, certificate_expires_at, created_at,
                revoked_at FROM nodes WHERE organization_id = $1 AND ($2::text IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
    )
    .bind(tx.org())
    .bind(row::after::<NodeId>(cursor)?)
    .bind(row::surplus(limit))
    .fetch_all(tx.conn())
    .await?;
    row::page(rows, limit, NodeRow::read, |node| node.id.to_string())
}

/// Lists the ids of all revoked nodes whose newest certificate may still be valid: whose streams must be cut.
pub async fn list_revoked(tx: &mut SystemTx, now: Timestamp) -> Result<Vec<NodeId>> {
    // Crosses tenants: the node link cuts the streams of any organization's nodes.
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT id FROM nodes WHERE revoked_at IS NOT NULL AND certificate_expires_at > $1 ORDER BY id",
    )
    .bind(now.as_micros())
    .fetch_all(tx.conn())
    .await?;
    rows.iter().map(|id| Row { table: "nodes", id }.parse("id", id)).collect()
}

/// Revokes a node for ever. Errors: `NotFound` when it is unknown or revoked already.
pub async fn revoke(tx: &mut WriteTx, permit: &Permit, id: NodeId, at: Timestamp) -> Result<()> {
    tx.spend(permit)?;
    sqlx::query("UPDATE nodes SET revoked_at = $3 WHERE organization_id = $1 AND id = $2 AND revoked_at IS NULL")
        .bind(tx.org())
        .bind(id.to_string())
        .bind(at.as_micros())
        .execute(tx.conn())
        .await?
        .exactly(1, "node")
}

// === Status ===

#[derive(serde::Serialize, serde::Deserialize)]
struct NackColumn {
    organization_id: OrganizationId,
    revision: u64,
    at: Timestamp,
    reasons: Vec<(String, String)>,
}

impl NackColumn {
    fn read(self) -> Nack {
        let Self { organization_id, revision, at, reasons } = self;
        Nack { organization_id, revision, at, reasons }
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct DriftColumn {
    organization_id: OrganizationId,
    revision: u64,
    at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct StatusRow {
    node_id: String,
    is_connected: bool,
    is_draining: bool,
    build: String,
    last_contact_at: Option<i64>,
    acknowledged: Json<Vec<(OrganizationId, u64)>>,
    last_nack: Option<Json<NackColumn>>,
    drift: Option<Json<DriftColumn>>,
    withheld: Json<Vec<String>>,
    spool_depth: i64,
    spool_dropped: i64,
}

/// Keeps what a node last reported.
pub async fn set_status(tx: &mut SystemTx, node: &Node, status: &NodeStatus) -> Result<()> {
    let nack = status.last_nack.clone();
    let nack = nack.map(|Nack { organization_id, revision, at, reasons }| {
        Json(NackColumn { organization_id, revision, at, reasons })
    });
    let drift = status.drift.as_ref();
    let drift = drift.map(|Drift { organization_id, revision, at }| {
        Json(DriftColumn { organization_id: *organization_id, revision: *revision, at: *at })
    });
    sqlx::query(
        "INSERT INTO node_status (organization_id, node_id, is_connected, build, last_contact_at, acknowledged, last_nack,
                                  spool_depth, spool_dropped, drift, withheld, is_draining)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (organization_id, node_id) DO UPDATE
            SET is_connected = excluded.is_connected, build = excluded.build, last_contact_at = excluded.last_contact_at,
                acknowledged = excluded.acknowledged, last_nack = excluded.last_nack, spool_depth = excluded.spool_depth,
                spool_dropped = excluded.spool_dropped, drift = excluded.drift, withheld = excluded.withheld,
                is_draining = excluded.is_draining",
    )
    .bind(node.organization_id.to_string())
    .bind(node.id.to_string())
    .bind(status.is_connected)
    .bind(&status.build)
    .bind(row::micros(status.last_contact_at))
    .bind(Json(&status.acknowledged))
    .bind(nack)
    .bind(signed(status.spool_depth))
    .bind(signed(status.spool_dropped))
    .bind(drift)
    .bind(Json(&status.withheld))
    .bind(status.is_draining)
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Lists the nodes that were heard of after a moment, with what each may hold: who may be serving calls now.
pub async fn list_heard(tx: &mut SystemTx, after: Timestamp) -> Result<Vec<(NodeId, Holds)>> {
    // Crosses tenants: nodes of any group may serve the calls of an organization, and share its rate limits.
    let rows: Vec<(String, bool, Vec<String>)> = sqlx::query_as(
        "SELECT n.id, g.holds_all,
                array(SELECT h.held_organization_id FROM node_group_holds h
                       WHERE h.organization_id = g.organization_id AND h.group_id = g.id ORDER BY 1)
           FROM node_status s
           JOIN nodes n ON n.organization_id = s.organization_id AND n.id = s.node_id
           JOIN node_groups g ON g.organization_id = n.organization_id AND g.id = n.group_id
          WHERE s.last_contact_at > $1 ORDER BY n.id",
    )
    .bind(after.as_micros())
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter()
        .map(|(id, holds_all, held)| {
            let row = Row { table: "nodes", id: &id };
            let held = held.iter().map(|id| row.parse("held_organization_id", id)).collect::<Result<_>>()?;
            Ok((row.parse("id", &id)?, if holds_all { Holds::All } else { Holds::Only(held) }))
        })
        .collect()
}

/// Lists what the given nodes of the organization last reported; a node that never did is left out.
pub async fn list_status(tx: &mut Tx, ids: &[NodeId]) -> Result<Vec<(NodeId, NodeStatus)>> {
    let rows: Vec<StatusRow> = sqlx::query_as(
        "SELECT node_id, is_connected, build, last_contact_at, acknowledged, last_nack, drift, withheld, spool_depth,
                spool_dropped, is_draining FROM node_status WHERE organization_id = $1 AND node_id = ANY($2) ORDER BY node_id",
    )
    .bind(tx.org())
    .bind(row::texts(Some(ids)))
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter()
        .map(|found| {
            let id = Row { table: "node_status", id: &found.node_id }.parse("node_id", &found.node_id)?;
            let nack = found.last_nack.map(|Json(nack)| nack.read());
            let status = NodeStatus {
                is_connected: found.is_connected,
                is_draining: found.is_draining,
                build: found.build,
                last_contact_at: time_opt(found.last_contact_at),
                acknowledged: found.acknowledged.0,
                last_nack: nack,
                drift: found.drift.map(|Json(DriftColumn { organization_id, revision, at })| Drift {
                    organization_id,
                    revision,
                    at,
                }),
                withheld: found.withheld.0,
                spool_depth: unsigned(found.spool_depth),
                spool_dropped: unsigned(found.spool_dropped),
            };
            Ok((id, status))
        })
        .collect()
}

/// Returns, per organization, the highest revision that any node said it holds.
pub async fn highest_acknowledged(tx: &mut SystemTx) -> Result<BTreeMap<OrganizationId, u64>> {
    // Crosses tenants: what nodes of a shared fleet hold belongs to every organization.
    let rows: Vec<Json<Vec<(OrganizationId, u64)>>> =
        sqlx::query_scalar("SELECT acknowledged FROM node_status ORDER BY organization_id, node_id")
            .fetch_all(tx.conn())
            .await?;
    let mut highest = BTreeMap::new();
    for (organization, revision) in rows.into_iter().flat_map(|Json(list)| list) {
        let held: &mut u64 = highest.entry(organization).or_default();
        *held = revision.max(*held);
    }
    Ok(highest)
}
