//! A person, independent of any organization.

use crate::{DisplayName, Email, Timestamp, UserId};

/// A person who can sign in. The password hash is not part of the entity; it never leaves the store and the verifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// Unique in the installation.
    pub email: Email,
    /// For people.
    pub name: DisplayName,
    /// Whether the next sign-in must choose a new password.
    pub must_change_password: bool,
    /// Counts changes, from 1.
    pub version: u64,
    /// When they were added.
    pub created_at: Timestamp,
    /// When they were disabled; sessions and tokens end at that moment.
    pub disabled_at: Option<Timestamp>,
}
