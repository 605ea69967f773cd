//! A tenant.

use std::time::Duration;

use crate::{DisplayName, OrganizationId, Slug, Timestamp};

/// Owns members, credentials, workspaces, node groups and an audit log of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    /// Its id.
    pub id: OrganizationId,
    /// Unique in the installation.
    pub slug: Slug,
    /// For people.
    pub name: DisplayName,
    /// How long a node that lost its control plane may go on verifying keys; 1 minute to 30 days, 24 hours unless changed.
    pub max_stale: Duration,
    /// How long answers of the responses surface are kept for later calls; zero keeps none, at most 400 days, 30 days unless
    /// changed.
    pub response_retention: Duration,
    /// Counts changes, from 1.
    pub version: u64,
    /// When it was created.
    pub created_at: Timestamp,
}

impl Organization {
    /// The stale age given to new organizations.
    pub const DEFAULT_MAX_STALE: Duration = Duration::from_secs(24 * 3_600);
    /// The retention given to new organizations.
    pub const DEFAULT_RESPONSE_RETENTION: Duration = Duration::from_secs(30 * 24 * 3_600);
    /// The longest [`Organization::response_retention`].
    pub const MAX_RESPONSE_RETENTION: Duration = Duration::from_secs(400 * 24 * 3_600);
    /// The bounds of [`Organization::max_stale`].
    pub const MAX_STALE_BOUNDS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(30 * 24 * 3_600));
}
