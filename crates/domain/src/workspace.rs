//! An isolation unit for keys, deployments, routes and usage.

use crate::{DisplayName, OrganizationId, Scope, Slug, Timestamp, WorkspaceId};

/// A workspace of an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// Its id.
    pub id: WorkspaceId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// Unique in the organization.
    pub slug: Slug,
    /// For people.
    pub name: DisplayName,
    /// Counts changes, from 1.
    pub version: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was archived; its keys stop working at that moment.
    pub archived_at: Option<Timestamp>,
}

impl Workspace {
    /// Returns the scope in which its things live.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        Scope::Workspace(self.organization_id, self.id)
    }
}
