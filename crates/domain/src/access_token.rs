//! A secret for the management API, held by a person, valid in one organization.

use crate::secret::{Kid, RevocationCause, TokenMac};
use crate::{AccessTokenId, DisplayName, OrganizationId, Timestamp, UserId};

/// An access token as stored. Its rights are those of its owner at the moment of use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// Its id.
    pub id: AccessTokenId,
    /// The only organization it works in.
    pub organization_id: OrganizationId,
    /// Its owner.
    pub user_id: UserId,
    /// For people.
    pub name: DisplayName,
    /// The public part of the secret.
    pub kid: Kid,
    /// What the secret is compared with.
    pub mac: TokenMac,
    /// Which pepper `mac` was computed with.
    pub pepper_version: u16,
    /// The secret before, while or after it went on working beside the new one.
    pub old_secret: Option<OldSecret>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it got the secret it has now, if that is not its first.
    pub rotated_at: Option<Timestamp>,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Why, when nobody with the right to revoke it did.
    pub revoked_because: Option<RevocationCause>,
    /// The last use, in steps of a minute.
    pub last_used_at: Option<Timestamp>,
}

/// The secret that a rotation replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldSecret {
    /// What a presented secret is compared with.
    pub mac: TokenMac,
    /// Which pepper `mac` was computed with.
    pub pepper_version: u16,
    /// When it stops working.
    pub retires_at: Timestamp,
    /// Its last use since the rotation, in steps of a minute.
    pub last_used_at: Option<Timestamp>,
}

impl AccessToken {
    /// The longest overlap of a rotation, in seconds: 30 days.
    pub const MAX_OVERLAP_SECS: u64 = 30 * 24 * 3_600;

    /// Returns the old secret while it works beside the new one.
    #[must_use]
    pub fn retiring(&self, now: Timestamp) -> Option<&OldSecret> {
        self.old_secret.as_ref().filter(|old| now < old.retires_at)
    }

    /// Returns when the secret it has now was issued.
    #[must_use]
    pub fn issued_at(&self) -> Timestamp {
        self.rotated_at.unwrap_or(self.created_at)
    }

    /// Says whether the token works at `now`.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| now < at)
    }
}
