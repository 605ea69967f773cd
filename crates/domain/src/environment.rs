//! A named stage inside a workspace that keys attach to.

use crate::{DisplayName, EnvironmentId, OrganizationId, Slug, Timestamp, WorkspaceId};

/// A stage such as `production`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// Its id.
    pub id: EnvironmentId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// Unique in the workspace.
    pub slug: Slug,
    /// For people.
    pub name: DisplayName,
    /// Place in lists and promotion order, ascending.
    pub position: u16,
    /// Counts changes, from 1.
    pub version: u64,
    /// When it was created.
    pub created_at: Timestamp,
}

impl Environment {
    /// The stages of a new workspace, in order of promotion.
    pub const DEFAULTS: [(&'static str, &'static str); 3] =
        [("development", "Development"), ("staging", "Staging"), ("production", "Production")];

    /// Returns the letter that its keys carry (`d`, `s`, `p`, …).
    #[must_use]
    pub fn letter(&self) -> char {
        self.slug.as_str().chars().find(char::is_ascii_lowercase).unwrap_or('x')
    }
}
