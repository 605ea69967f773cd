//! What is told of nodes: that one is lost, that it is back, that it could not use what it was told.

use std::time::Duration;

use crate::alert::{Alert, AlertKind, Severity};
use crate::node::Nack;
use crate::{AlertId, NodeGroupId, NodeId, OrganizationId, Timestamp};

/// A node says something every few seconds, what it said last is written down as often, and a silent stream is cut after 35.
const LOST_AFTER: Duration = Duration::from_secs(60);

/// A node as it was last heard of.
#[derive(Debug)]
pub struct Watched {
    /// The organization that administers it.
    pub organization_id: OrganizationId,
    /// Its group.
    pub group_id: NodeGroupId,
    /// The node.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// The last word from it.
    pub last_contact_at: Timestamp,
    /// Whether it said that it is about to stop.
    pub is_draining: bool,
    /// The last refusal, if it has not been mended since.
    pub last_nack: Option<Nack>,
    /// What was last told of it under its own subject.
    pub told: Option<(AlertKind, AlertId)>,
}

fn subject_of(node: NodeId) -> String {
    format!("node/{node}")
}

/// Says what is to be told of a node, as one of all that were heard of lately; what was told before comes again and is nothing new.
#[must_use]
pub fn told(node: &Watched, all: &[Watched], now: Timestamp) -> Vec<Alert> {
    let is_heard = |node: &Watched| now.since(node.last_contact_at) <= LOST_AFTER;
    let mut alerts: Vec<Alert> = node.last_nack.iter().map(|nack| refused(node, nack)).collect();
    match node.told {
        Some((AlertKind::NodeLost, lost)) if is_heard(node) => {
            let once = format!("{}/back/{lost}", subject_of(node.id));
            let summary = format!("The node {} is heard of again.", node.name);
            let alert = about(node, (AlertKind::NodeBack, Severity::Info), &once, &summary, now);
            alerts.push(alert.resolved());
        }
        Some((AlertKind::NodeLost, _)) => {}
        _ if is_heard(node) || node.is_draining => {}
        _ => {
            // Whoever asks the group is served by the others meanwhile, if there are any.
            let n_others = all.iter().filter(|other| other.group_id == node.group_id && is_heard(other)).count();
            let severity = if n_others == 0 { Severity::Critical } else { Severity::Warning };
            let once = format!("{}/lost/{}", subject_of(node.id), node.last_contact_at);
            let summary = format!("Nothing was heard of the node {} since {}.", node.name, node.last_contact_at);
            let alert = about(node, (AlertKind::NodeLost, severity), &once, &summary, now);
            alerts.push(alert.with("nodes_left_in_group", n_others));
        }
    }
    alerts
}

fn about(node: &Watched, kind: (AlertKind, Severity), once: &str, summary: &str, now: Timestamp) -> Alert {
    Alert::new(node.organization_id, kind, &subject_of(node.id), once, summary, now)
        .with("node_id", node.id)
        .with("node", &node.name)
        .with("group_id", node.group_id)
        .with("last_contact_at", node.last_contact_at)
}

/// What a node refused is its organization's affair, which need not be the one that administers the node.
fn refused(node: &Watched, nack: &Nack) -> Alert {
    let organization: OrganizationId = nack.organization_id;
    let subject = format!("node/{}/policy", node.id);
    let kind = (AlertKind::NodeRefusedPolicy, Severity::Warning);
    let is_own = organization == node.organization_id;
    let name = if is_own { node.name.clone() } else { node.id.to_string() };
    let revision = nack.revision;
    let summary =
        format!("The node {name} could not use all of revision {revision}; what it refused does not count there.");
    let once = format!("{subject}/{revision}");
    let alert = Alert::new(organization, kind, &subject, &once, &summary, nack.at);
    let alert = alert.with("node_id", node.id).with("revision", revision);
    match nack.reasons.first() {
        Some((what, reason)) => alert.with("refused", what).with("reason", reason),
        None => alert,
    }
}
