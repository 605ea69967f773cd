//! The audit log: who did what to which subject, chained so that a change in the past shows.
//!
//! Each organization has one chain. Entry *n* commits to entry *n − 1* through `hash = SHA-256(previous_hash || canonical)`,
//! where `canonical` is the length-prefixed encoding of [`AuditEntry::canonical_bytes`]. The first entry follows 32 zero bytes.
//! Verification needs nothing but the entries, so it works offline on an export.

use sha2::{Digest, Sha256};

use crate::{ActorKind, AuditEntryId, OrganizationId, Timestamp, WorkspaceId};

/// How an audited act ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditOutcome {
    /// It took place.
    Success,
    /// It was not permitted.
    Denied,
}

impl AuditOutcome {
    /// Returns the stable text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Denied => "denied",
        }
    }

    /// Reads the text back.
    #[must_use]
    pub fn find(text: &str) -> Option<Self> {
        [Self::Success, Self::Denied].into_iter().find(|outcome| outcome.as_str() == text)
    }
}

/// Where a request came from; all optional, each at most 256 characters.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Origin {
    /// The client's address.
    pub ip: Option<String>,
    /// The client's own description.
    pub user_agent: Option<String>,
    /// The request id of the management API.
    pub request_id: Option<String>,
}

/// What a command records; the transaction adds place, time and hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// `noun.verb`, such as `virtual_key.issue`.
    pub action: &'static str,
    /// The subject's kind, such as `virtual_key`.
    pub subject_kind: &'static str,
    /// The subject's id.
    pub subject_id: String,
    /// The subject's name at that time, for people.
    pub subject_name: String,
    /// The workspace it belongs to.
    pub workspace_id: Option<WorkspaceId>,
    /// The subject before, as JSON text without secrets; `None` when it did not exist.
    pub before: Option<String>,
    /// The subject after, as JSON text without secrets; `None` when it is gone.
    pub after: Option<String>,
    /// How it ended.
    pub outcome: AuditOutcome,
    /// Where the request came from.
    pub origin: Origin,
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AuditEntry {
    /// Its id.
    pub id: AuditEntryId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// Its place in the organization's chain, from 1 without gaps.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// `user`, `access_token`, `node`, `system`, `finder` or `anonymous`.
    pub actor_kind: String,
    /// The actor's id; empty for `finder` and `anonymous`.
    pub actor_id: String,
    /// The actor's name at that time.
    pub actor_name: String,
    /// `noun.verb`.
    pub action: String,
    /// The subject's kind.
    pub subject_kind: String,
    /// The subject's id.
    pub subject_id: String,
    /// The subject's name at that time.
    pub subject_name: String,
    /// The workspace it belongs to.
    pub workspace_id: Option<WorkspaceId>,
    /// How it ended.
    pub outcome: AuditOutcome,
    /// JSON text of the subject before.
    pub before: Option<String>,
    /// JSON text of the subject after.
    pub after: Option<String>,
    /// Where the request came from.
    pub origin: Origin,
    /// The hash of the entry before; 32 zero bytes for the first.
    #[serde(with = "hex32")]
    pub previous_hash: [u8; 32],
    /// The hash of this entry.
    #[serde(with = "hex32")]
    pub hash: [u8; 32],
}

/// Why a chain does not hold. `seq` is the first bad entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// An entry is missing or out of place.
    #[error("entry {expected} is missing: found {found} in its place")]
    Gap {
        /// The place that should come.
        expected: u64,
        /// The place that came.
        found: u64,
    },
    /// The entry does not follow its predecessor.
    #[error("entry {seq} does not follow entry {}", seq - 1)]
    Broken {
        /// The entry's place.
        seq: u64,
    },
    /// The entry's content is not what was hashed.
    #[error("entry {seq} was altered")]
    Altered {
        /// The entry's place.
        seq: u64,
    },
    /// The entry belongs to another organization.
    #[error("entry {seq} belongs to another organization")]
    Foreign {
        /// The entry's place.
        seq: u64,
    },
}

impl Audit {
    /// Begins a record of a successful act without before and after.
    #[must_use]
    pub fn new(
        action: &'static str,
        subject_kind: &'static str,
        subject_id: &impl ToString,
        subject_name: &impl ToString,
    ) -> Self {
        Self {
            action,
            subject_kind,
            subject_id: subject_id.to_string(),
            subject_name: subject_name.to_string(),
            workspace_id: None,
            before: None,
            after: None,
            outcome: AuditOutcome::Success,
            origin: Origin::default(),
        }
    }
}

impl AuditEntry {
    /// Places a record in the chain.
    #[must_use]
    pub fn chain(
        id: AuditEntryId,
        organization_id: OrganizationId,
        previous: (u64, [u8; 32]),
        at: Timestamp,
        actor: (&ActorKind, &str),
        audit: Audit,
    ) -> Self {
        let (actor_kind, actor_id) = actor.0.describe();
        let mut entry = Self {
            id,
            organization_id,
            seq: previous.0 + 1,
            at,
            actor_kind: actor_kind.to_owned(),
            actor_id,
            actor_name: actor.1.to_owned(),
            action: audit.action.to_owned(),
            subject_kind: audit.subject_kind.to_owned(),
            subject_id: audit.subject_id,
            subject_name: audit.subject_name,
            workspace_id: audit.workspace_id,
            outcome: audit.outcome,
            before: audit.before,
            after: audit.after,
            origin: audit.origin,
            previous_hash: previous.1,
            hash: [0; 32],
        };
        entry.hash = entry.compute_hash();
        entry
    }

    /// Returns the bytes that the hash commits to: every field but the two hashes, each as a big-endian `u32` length and its
    /// UTF-8 text; an absent field is the length `0xffff_ffff`.
    #[must_use]
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        let mut put = |text: Option<&str>| match text {
            Some(text) => {
                out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX - 1).to_be_bytes());
                out.extend_from_slice(text.as_bytes());
            }
            None => out.extend_from_slice(&u32::MAX.to_be_bytes()),
        };
        put(Some("headgate.audit.v1"));
        put(Some(&self.id.to_string()));
        put(Some(&self.organization_id.to_string()));
        put(Some(&self.seq.to_string()));
        put(Some(&self.at.as_micros().to_string()));
        put(Some(&self.actor_kind));
        put(Some(&self.actor_id));
        put(Some(&self.actor_name));
        put(Some(&self.action));
        put(Some(&self.subject_kind));
        put(Some(&self.subject_id));
        put(Some(&self.subject_name));
        put(self.workspace_id.map(|id| id.to_string()).as_deref());
        put(Some(self.outcome.as_str()));
        put(self.before.as_deref());
        put(self.after.as_deref());
        put(self.origin.ip.as_deref());
        put(self.origin.user_agent.as_deref());
        put(self.origin.request_id.as_deref());
        out
    }

    /// Computes the hash that the entry must carry.
    #[must_use]
    pub fn compute_hash(&self) -> [u8; 32] {
        Sha256::new().chain_update(self.previous_hash).chain_update(self.canonical_bytes()).finalize().into()
    }
}

/// Checks entries that follow `previous` (place and hash; `(0, zeros)` at the beginning) and returns the new head.
pub fn verify_chain<'a>(
    organization_id: OrganizationId,
    previous: (u64, [u8; 32]),
    entries: impl IntoIterator<Item = &'a AuditEntry>,
) -> Result<(u64, [u8; 32]), ChainError> {
    entries.into_iter().try_fold(previous, |(seq, hash), entry| {
        let expected = seq + 1;
        if entry.organization_id != organization_id {
            return Err(ChainError::Foreign { seq: entry.seq });
        }
        if entry.seq != expected {
            return Err(ChainError::Gap { expected, found: entry.seq });
        }
        if entry.compute_hash() != entry.hash {
            return Err(ChainError::Altered { seq: expected });
        }
        if entry.previous_hash != hash {
            return Err(ChainError::Broken { seq: expected });
        }
        Ok((expected, entry.hash))
    })
}

/// Serialises 32 bytes as 64 lower-case hexadecimal digits.
pub mod hex32 {
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the digits.
    pub fn serialize<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(bytes))
    }

    /// Reads the digits.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        decode(&text).ok_or_else(|| serde::de::Error::custom("expected 64 hexadecimal digits"))
    }

    /// Returns the digits of any bytes.
    #[must_use]
    pub fn encode(bytes: &[u8]) -> String {
        bytes
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .map(|nibble| char::from_digit(u32::from(nibble), 16).unwrap_or('0'))
            .collect()
    }

    /// Reads 64 digits.
    #[must_use]
    pub fn decode(text: &str) -> Option<[u8; 32]> {
        let mut out = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        for (slot, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *slot = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JobName;

    fn chain(n: u64) -> (OrganizationId, Vec<AuditEntry>) {
        let organization = OrganizationId::from_uuid(1);
        let mut head = (0, [0; 32]);
        let entries = (0..n)
            .map(|i| {
                let audit =
                    Audit { after: Some(format!("{{\"n\":{i}}}")), ..Audit::new("thing.create", "thing", &i, &"name") };
                let actor = ActorKind::System(JobName::Bootstrap);
                let id = AuditEntryId::from_uuid(u128::from(i));
                let entry =
                    AuditEntry::chain(id, organization, head, Timestamp::from_micros(5), (&actor, "bootstrap"), audit);
                head = (entry.seq, entry.hash);
                entry
            })
            .collect();
        (organization, entries)
    }

    #[test]
    fn a_whole_chain_holds_and_survives_json() {
        let (organization, entries) = chain(5);
        let head = verify_chain(organization, (0, [0; 32]), &entries).expect("an untouched chain");
        assert_eq!(head.0, 5);
        let text = serde_json::to_string(&entries).expect("entries serialise");
        let back: Vec<AuditEntry> = serde_json::from_str(&text).expect("entries parse");
        assert_eq!(verify_chain(organization, (0, [0; 32]), &back), Ok(head));
    }

    #[test]
    fn alteration_deletion_and_reordering_are_named() {
        let (organization, entries) = chain(5);
        let verify = |entries: &[AuditEntry]| verify_chain(organization, (0, [0; 32]), entries);
        let mut altered = entries.clone();
        altered[2].subject_name.push('!');
        assert_eq!(verify(&altered), Err(ChainError::Altered { seq: 3 }));
        let mut resealed = altered.clone();
        resealed[2].hash = resealed[2].compute_hash();
        assert_eq!(verify(&resealed), Err(ChainError::Broken { seq: 4 }));
        let mut deleted = entries.clone();
        deleted.remove(1);
        assert_eq!(verify(&deleted), Err(ChainError::Gap { expected: 2, found: 3 }));
        let mut swapped = entries.clone();
        swapped.swap(3, 4);
        assert_eq!(verify(&swapped), Err(ChainError::Gap { expected: 4, found: 5 }));
    }
}
