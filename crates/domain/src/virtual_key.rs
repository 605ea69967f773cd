//! The secret a client sends to the gateway, bound to a workspace and an environment.

use crate::secret::{Kid, RevocationCause, TokenMac};
use crate::{DisplayName, EnvironmentId, ModelPattern, OrganizationId, Timestamp, UserId, VirtualKeyId, WorkspaceId};

/// One accepted secret of a key. During a rotation there are two: the new one, and the old one with an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySecret {
    /// What a presented secret is compared with.
    pub mac: TokenMac,
    /// Which pepper `mac` was computed with.
    pub pepper_version: u16,
    /// When this secret was issued.
    pub issued_at: Timestamp,
    /// When this secret stops working; `None` for the current one.
    pub retires_at: Option<Timestamp>,
}

/// A virtual key as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualKey {
    /// Its id.
    pub id: VirtualKeyId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// Its environment.
    pub environment_id: EnvironmentId,
    /// For people.
    pub name: DisplayName,
    /// The public part of the secret; stays through rotations.
    pub kid: Kid,
    /// The current secret first, then at most one that retires.
    pub secrets: Vec<KeySecret>,
    /// Which models it may call; empty means all of the workspace.
    pub allowed_models: Vec<ModelPattern>,
    /// Who issued it.
    pub created_by: Option<UserId>,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked; for ever.
    pub revoked_at: Option<Timestamp>,
    /// Why, when nobody with the right to revoke it did.
    pub revoked_because: Option<RevocationCause>,
    /// The last call, as reported with usage.
    pub last_used_at: Option<Timestamp>,
    /// The last call with a secret that was being rotated away, as reported with usage; of this rotation or one before.
    pub old_secret_used_at: Option<Timestamp>,
    /// Counts changes, from 1.
    pub version: u64,
    /// When it was issued.
    pub created_at: Timestamp,
}

/// What a key can do at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyStatus {
    /// It works.
    Active,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
}

impl VirtualKey {
    /// Returns the old secret while it works beside the new one.
    #[must_use]
    pub fn old_secret(&self, now: Timestamp) -> Option<&KeySecret> {
        self.secrets.iter().find(|secret| secret.retires_at.is_some_and(|at| now < at))
    }

    /// Returns the last call with the old secret since it has been the old one.
    #[must_use]
    pub fn old_secret_last_used_at(&self, now: Timestamp) -> Option<Timestamp> {
        let rotated_at = self.old_secret(now).and(self.secrets.first())?.issued_at;
        self.old_secret_used_at.filter(|at| *at >= rotated_at)
    }

    /// The longest overlap of a rotation, in seconds: 30 days.
    pub const MAX_OVERLAP_SECS: u64 = 30 * 24 * 3_600;

    /// Returns what the key can do at `now`.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> KeyStatus {
        if self.revoked_at.is_some() {
            KeyStatus::Revoked
        } else if self.expires_at.is_some_and(|at| at <= now) {
            KeyStatus::Expired
        } else {
            KeyStatus::Active
        }
    }

    /// Says whether the key may call `model`.
    #[must_use]
    pub fn allows(&self, model: &str) -> bool {
        self.allowed_models.is_empty() || self.allowed_models.iter().any(|pattern| pattern.matches(model))
    }
}
