//! Files and batches that lie at an upstream: what is known of one, so that any node finds it under an id of ours.
//!
//! Never their content. Invariant: an object belongs to one environment of one workspace, and is looked up with all of it.

use crate::id::{CredentialId, EnvironmentId, OrganizationId, RemoteId, VirtualKeyId, WorkspaceId};
use crate::time::Timestamp;

/// Whose objects: those of one environment's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RemoteScope {
    /// The tenant.
    pub organization: OrganizationId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// The environment of the keys that may see them.
    pub environment: EnvironmentId,
}

/// What an object is to its upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RemoteKind {
    /// A file that was uploaded.
    File,
    /// A batch of a file's lines, as OpenAI has them.
    Batch,
    /// A batch of messages, as Anthropic has them.
    MessageBatch,
}

impl RemoteKind {
    /// Every kind.
    pub const ALL: &[Self] = &[Self::File, Self::Batch, Self::MessageBatch];

    /// Returns the stable text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Batch => "batch",
            Self::MessageBatch => "message_batch",
        }
    }

    /// Finds the kind that a text names.
    #[must_use]
    pub fn find(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text)
    }
}

/// A file or a batch at an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteObject {
    /// Ours; what clients know is made of it.
    pub id: RemoteId,
    /// Who may see it.
    pub scope: RemoteScope,
    /// What it is.
    pub kind: RemoteKind,
    /// The key that made it, which pays.
    pub virtual_key: VirtualKeyId,
    /// The provider's registered name.
    pub provider: String,
    /// The credential under which it lies there.
    pub credential: CredentialId,
    /// Its id there.
    pub upstream_id: String,
    /// What nodes know besides, as JSON that only they read.
    pub facts: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it is forgotten.
    pub expires_at: Timestamp,
    /// When a node looks after its output next; `None` when there is nothing to book, or no more.
    pub due_at: Option<Timestamp>,
    /// When its output was booked.
    pub booked_at: Option<Timestamp>,
}

impl RemoteObject {
    /// Longest time that an object is known, in days: no vendor keeps a batch's output for longer.
    pub const MAX_DAYS: u64 = 62;
    /// Longest facts.
    pub const MAX_FACTS: usize = 64 * 1024;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_read_back() {
        for kind in RemoteKind::ALL {
            assert_eq!(RemoteKind::find(kind.as_str()), Some(*kind));
        }
        assert_eq!(RemoteKind::find("files"), None);
    }
}
