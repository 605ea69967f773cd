//! What the control plane signs and when a node believes it. Signing itself is behind [`Signer`] and [`Verifier`].
//!
//! Each statement is a fixed-layout byte string under its own domain label, so no two kinds of statement can be mistaken for
//! each other. Invariant: [`admit`] never lets a node go back, shrink by more than half or become empty unless the signed
//! statement itself says so, and a statement is never older than the one in force.

use domain::node::Holds;
use domain::{NodeGroupId, OrganizationId, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::resource::Resource;
use crate::set::{Location, SetHash};

/// Signs statements; implemented by the control plane.
pub trait Signer: Send + Sync {
    /// Names the key, so that two can be valid while one replaces the other.
    fn key_id(&self) -> &str;
    /// Signs a statement (Ed25519).
    fn sign(&self, statement: &[u8]) -> [u8; 64];
}

/// Verifies statements; implemented by the node over the keys it got at enrolment.
pub trait Verifier: Send + Sync {
    /// Says whether `signature` is that of `statement` under the key named `key_id`. An unknown key is `false`.
    fn verify(&self, key_id: &str, statement: &[u8], signature: &[u8]) -> bool;
}

/// The statement may go back to an earlier revision.
pub const FLAG_ROLLBACK: u32 = 1;
/// The set may shrink by more than half or become empty.
pub const FLAG_SHRINK: u32 = 2;

/// The HPKE `info` of a key grant.
pub const KEY_GRANT_INFO: &[u8] = b"headgate.v1.key-grant";

/// Returns the HPKE associated data that binds a granted data key to its organization, version and node.
#[must_use]
pub fn grant_place(organization: OrganizationId, data_key_version: u32, node: domain::NodeId) -> String {
    format!("v1|{organization}|{data_key_version}|{node}")
}

/// The state of one organization at one revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revision {
    /// The tenant.
    pub organization: OrganizationId,
    /// Counts committed changes, without gaps.
    pub number: u64,
    /// When the statement was signed.
    pub issued_at: Timestamp,
    /// The hash of all resources.
    pub set_hash: SetHash,
    /// The number of resources.
    pub resource_count: u64,
    /// [`FLAG_ROLLBACK`], [`FLAG_SHRINK`].
    pub flags: u32,
}

/// A statement with its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed<T> {
    /// What is stated.
    pub statement: T,
    /// The key that signed.
    pub key_id: String,
    /// Ed25519.
    pub signature: Vec<u8>,
}

/// What the nodes of a group may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeScope {
    /// The group.
    pub group: NodeGroupId,
    /// The organizations.
    pub holds: Holds,
    /// When the statement was signed.
    pub issued_at: Timestamp,
}

/// What takes something out of use, ahead of the delta that contains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Urgent {
    /// The tenant.
    pub organization: OrganizationId,
    /// The revision that contains the change.
    pub revision: u64,
    /// When the statement was signed.
    pub issued_at: Timestamp,
    /// What must not be used.
    pub revoked: Vec<Location>,
    /// What counts instead of what is held.
    pub changed: Vec<Resource>,
}

/// Something with a canonical byte form to sign.
pub trait Statement {
    /// Returns the bytes that are signed.
    fn bytes(&self) -> Vec<u8>;
}

impl Statement for Revision {
    fn bytes(&self) -> Vec<u8> {
        let mut out = b"headgate.v1.revision\0".to_vec();
        out.extend(self.organization.as_uuid().to_be_bytes());
        out.extend(self.number.to_be_bytes());
        out.extend(self.issued_at.as_micros().to_be_bytes());
        out.extend(self.set_hash.0);
        out.extend(self.resource_count.to_be_bytes());
        out.extend(self.flags.to_be_bytes());
        out
    }
}

impl Statement for NodeScope {
    fn bytes(&self) -> Vec<u8> {
        let mut out = b"headgate.v1.scope\0".to_vec();
        out.extend(self.group.as_uuid().to_be_bytes());
        out.extend(self.issued_at.as_micros().to_be_bytes());
        match &self.holds {
            Holds::All => out.push(1),
            Holds::Only(organizations) => {
                out.push(0);
                let mut sorted: Vec<_> = organizations.iter().map(|id| id.as_uuid()).collect();
                sorted.sort_unstable();
                out.extend(sorted.iter().flat_map(|id| id.to_be_bytes()));
            }
        }
        out
    }
}

impl Statement for Urgent {
    fn bytes(&self) -> Vec<u8> {
        let mut out = b"headgate.v1.urgent\0".to_vec();
        out.extend(self.organization.as_uuid().to_be_bytes());
        out.extend(self.revision.to_be_bytes());
        out.extend(self.issued_at.as_micros().to_be_bytes());
        for location in &self.revoked {
            out.push(location.key.kind as u8);
            out.extend(location.key.id.to_be_bytes());
            out.push(u8::from(location.workspace.is_some()));
            out.extend(location.workspace.map_or(0, domain::WorkspaceId::as_uuid).to_be_bytes());
        }
        for resource in &self.changed {
            // No kind has this number, so what is revoked cannot be taken for what changed.
            out.push(u8::MAX);
            out.push(resource.key.kind as u8);
            out.extend(resource.key.id.to_be_bytes());
            out.extend(resource.organization.as_uuid().to_be_bytes());
            out.push(u8::from(resource.workspace.is_some()));
            out.extend(resource.workspace.map_or(0, domain::WorkspaceId::as_uuid).to_be_bytes());
            out.extend(Sha256::digest(&resource.content));
        }
        out
    }
}

impl<T: Statement> Signed<T> {
    /// Signs a statement.
    pub fn new(statement: T, signer: &dyn Signer) -> Self {
        let signature = signer.sign(&statement.bytes()).to_vec();
        Self { statement, key_id: signer.key_id().to_owned(), signature }
    }

    /// Returns the statement when its signature holds.
    pub fn verify(&self, verifier: &dyn Verifier) -> Result<&T, Refusal> {
        if verifier.verify(&self.key_id, &self.statement.bytes(), &self.signature) {
            Ok(&self.statement)
        } else {
            Err(Refusal::Signature)
        }
    }
}

/// Why a whole revision was refused; nothing of it applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The signature does not verify, or its key is unknown.
    #[error("signature does not verify")]
    Signature,
    /// The revision goes back without a signed rollback, or a delta starts from another revision than the one held.
    #[error("revision {offered} does not follow {held}")]
    Revision {
        /// What is held.
        held: u64,
        /// What was offered, or what the delta starts from.
        offered: u64,
    },
    /// The resulting state does not have the signed hash.
    #[error("resulting state does not have the signed hash")]
    SetHash,
    /// Much smaller or empty without a signed confirmation.
    #[error("set shrinks from {held} to {offered} resources without confirmation")]
    Shrink {
        /// Resources held.
        held: u64,
        /// Resources offered.
        offered: u64,
    },
    /// A resource of another organization, or an organization outside the node's scope.
    #[error("outside of what this node may hold")]
    Scope,
    /// Larger than a node accepts.
    #[error("larger than accepted")]
    Size,
    /// Messages out of order, or a message that cannot be read.
    #[error("message out of order or not readable")]
    Sequence,
}

impl Refusal {
    /// Returns the stable text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Revision { .. } => "revision",
            Self::SetHash => "set_hash",
            Self::Shrink { .. } => "shrink",
            Self::Scope => "scope",
            Self::Size => "size",
            Self::Sequence => "sequence",
        }
    }
}

/// Says whether going from `held` to `offered` is more than halving, or emptying.
#[must_use]
pub const fn is_shrink(held: u64, offered: u64) -> bool {
    held > 0 && (offered == 0 || offered < held / 2)
}

/// Decides whether `offered` may follow `held`. The caller has verified the signature.
pub fn admit(held: Option<&Revision>, offered: &Revision) -> Result<(), Refusal> {
    let Some(held) = held else { return Ok(()) };
    if offered.organization != held.organization {
        return Err(Refusal::Scope);
    }
    let is_same = offered.number == held.number && offered.set_hash == held.set_hash;
    // Another build of the control plane may encode the same revision differently; the later statement counts.
    let is_reissued = offered.number == held.number && offered.issued_at > held.issued_at;
    let goes_back = !is_same && !is_reissued && offered.number <= held.number;
    // A replayed rollback is older than what it would replace.
    let may_go_back = offered.flags & FLAG_ROLLBACK != 0 && offered.issued_at > held.issued_at;
    if goes_back && !may_go_back {
        return Err(Refusal::Revision { held: held.number, offered: offered.number });
    }
    if is_shrink(held.resource_count, offered.resource_count) && offered.flags & FLAG_SHRINK == 0 {
        return Err(Refusal::Shrink { held: held.resource_count, offered: offered.resource_count });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(number: u64, resource_count: u64) -> Revision {
        Revision {
            organization: OrganizationId::from_uuid(1),
            number,
            issued_at: Timestamp::from_micros(i64::try_from(number).unwrap()),
            set_hash: SetHash([u8::try_from(number).unwrap(); 32]),
            resource_count,
            flags: 0,
        }
    }

    #[test]
    fn a_node_never_goes_back_without_a_newer_signed_rollback() {
        let held = revision(5, 10);
        assert_eq!(admit(Some(&held), &revision(4, 10)), Err(Refusal::Revision { held: 5, offered: 4 }));
        let forked = Revision { set_hash: SetHash([9; 32]), ..held };
        assert_eq!(admit(Some(&held), &forked), Err(Refusal::Revision { held: 5, offered: 5 }));
        assert_eq!(admit(Some(&held), &Revision { issued_at: Timestamp::from_micros(6), ..forked }), Ok(()));
        assert_eq!(admit(Some(&held), &held), Ok(()));
        let replayed = Revision { flags: FLAG_ROLLBACK, ..revision(4, 10) };
        assert!(admit(Some(&held), &replayed).is_err());
        let rollback = Revision { issued_at: Timestamp::from_micros(6), ..replayed };
        assert_eq!(admit(Some(&held), &rollback), Ok(()));
    }

    #[test]
    fn halving_and_emptying_need_the_flag() {
        let held = revision(5, 10);
        assert_eq!(admit(Some(&held), &revision(6, 5)), Ok(()));
        for count in [4, 0] {
            assert_eq!(admit(Some(&held), &revision(6, count)), Err(Refusal::Shrink { held: 10, offered: count }));
            assert_eq!(admit(Some(&held), &Revision { flags: FLAG_SHRINK, ..revision(6, count) }), Ok(()));
        }
    }

    #[test]
    fn every_field_of_a_statement_is_signed() {
        let base = revision(5, 10);
        let others = [
            Revision { organization: OrganizationId::from_uuid(2), ..base },
            Revision { number: 6, ..base },
            Revision { issued_at: Timestamp::from_micros(0), ..base },
            Revision { set_hash: SetHash([0; 32]), ..base },
            Revision { resource_count: 11, ..base },
            Revision { flags: 1, ..base },
        ];
        assert!(others.iter().all(|other| other.bytes() != base.bytes()));
    }
}
