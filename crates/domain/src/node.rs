//! Gateway nodes, the groups that say what they may hold, and the tokens they enrol with.

use crate::secret::{Kid, TokenMac};
use crate::{JoinTokenId, NodeGroupId, NodeId, OrganizationId, Slug, Timestamp};

/// Which organizations the nodes of a group may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holds {
    /// Every organization of the installation (a shared fleet).
    All,
    /// Only these.
    Only(Vec<OrganizationId>),
}

impl Holds {
    /// Says whether a node of the group may hold `organization`.
    #[must_use]
    pub fn includes(&self, organization: OrganizationId) -> bool {
        match self {
            Self::All => true,
            Self::Only(list) => list.contains(&organization),
        }
    }

    /// Says whether nodes of both groups may serve the same calls.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => true,
            (Self::Only(list), Self::Only(_)) => list.iter().any(|organization| other.includes(*organization)),
        }
    }
}

/// A set of nodes. It is administered by the organization that owns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeGroup {
    /// Its id.
    pub id: NodeGroupId,
    /// Who administers it.
    pub organization_id: OrganizationId,
    /// Unique in the organization.
    pub slug: Slug,
    /// Where its nodes run, for people (`eu-central`).
    pub region: String,
    /// What its nodes may hold. Only the installation's first organization may own a group that holds all.
    pub holds: Holds,
    /// Counts changes, from 1.
    pub version: u64,
    /// When it was created.
    pub created_at: Timestamp,
}

/// One gateway process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Its group.
    pub group_id: NodeGroupId,
    /// Who administers it.
    pub organization_id: OrganizationId,
    /// The host name it gave at enrolment, for people; at most 80 characters.
    pub name: String,
    /// Its X25519 public key, to which data keys are sealed.
    pub hpke_public_key: Vec<u8>,
    /// The serial number of its newest certificate, hex.
    pub certificate_serial: String,
    /// When its newest certificate ends.
    pub certificate_expires_at: Timestamp,
    /// When it enrolled.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// What a node last reported, as the console shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeStatus {
    /// Whether its sync stream is open.
    pub is_connected: bool,
    /// Whether it said that it is about to stop.
    pub is_draining: bool,
    /// Its build, such as `0.1.0`.
    pub build: String,
    /// The last word from it.
    pub last_contact_at: Option<Timestamp>,
    /// Per organization, the revision it acknowledged.
    pub acknowledged: Vec<(OrganizationId, u64)>,
    /// The last refusal, if it has not been mended since.
    pub last_nack: Option<Nack>,
    /// The last time in this session that it held another state than the one it acknowledged.
    pub drift: Option<Drift>,
    /// Kinds of resources that it does not understand and is not sent.
    pub withheld: Vec<String>,
    /// Usage events waiting in its spool.
    pub spool_depth: u64,
    /// Usage events it ever had to drop.
    pub spool_dropped: u64,
}

/// A node held something else than what it had acknowledged. It was sent everything anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The organization.
    pub organization_id: OrganizationId,
    /// The revision that it said it held.
    pub revision: u64,
    /// When it was found.
    pub at: Timestamp,
}

/// A node's refusal of part of a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nack {
    /// The organization.
    pub organization_id: OrganizationId,
    /// The revision.
    pub revision: u64,
    /// When.
    pub at: Timestamp,
    /// Per resource key (`kind/id`), the reason.
    pub reasons: Vec<(String, String)>,
}

/// A single-use secret with which a node enrols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Its id.
    pub id: JoinTokenId,
    /// Who made it.
    pub organization_id: OrganizationId,
    /// The group its node will belong to.
    pub group_id: NodeGroupId,
    /// The public part of the secret.
    pub kid: Kid,
    /// What the secret is compared with.
    pub mac: TokenMac,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working; 15 minutes after its creation unless told, 24 hours at most.
    pub expires_at: Timestamp,
}
