//! Environments of a workspace.

use domain::{DisplayName, EnvironmentId, Permission, Slug, Timestamp, WorkspaceId};

use super::{PageQuery, WorkspacePath};
use crate::operation::{Access, Empty, NoQuery, operations, shapes};

operations! {
    /// Lists environments in order of promotion.
    ListEnvironments: Get "/workspaces/{workspace_id}/environments" as "environments.list"
        needs Access::Workspace(Permission::WorkspaceRead), path WorkspacePath, query PageQuery, body Empty, gives 200 domain::Page<EnvironmentView>;

    /// Creates an environment after the existing ones.
    CreateEnvironment: Post "/workspaces/{workspace_id}/environments" as "environments.create"
        needs Access::Workspace(Permission::WorkspaceUpdate), path WorkspacePath, query NoQuery, body NewEnvironment, gives 201 EnvironmentView;

    /// Renames an environment or moves it in the order.
    UpdateEnvironment: Patch "/workspaces/{workspace_id}/environments/{environment_id}" as "environments.update"
        needs Access::Workspace(Permission::WorkspaceUpdate), path EnvironmentPath, query NoQuery, body EnvironmentChange, gives 200 EnvironmentView;

    /// Deletes an environment that no key is attached to.
    DeleteEnvironment: Delete "/workspaces/{workspace_id}/environments/{environment_id}" as "environments.delete"
        needs Access::Workspace(Permission::WorkspaceUpdate), path EnvironmentPath, query NoQuery, body Empty, gives 204 Empty;
}

shapes! {
    /// An environment of a workspace.
    #[derive(Copy, Eq)]
    pub struct EnvironmentPath {
        /// The workspace.
        pub workspace_id: WorkspaceId,
        /// The environment.
        pub environment_id: EnvironmentId,
    }

    /// An environment.
    #[derive(Eq)]
    pub struct EnvironmentView {
        /// Its id.
        pub id: EnvironmentId,
        /// Its workspace.
        pub workspace_id: WorkspaceId,
        /// Unique in the workspace.
        pub slug: Slug,
        /// For people.
        pub name: DisplayName,
        /// Place in the order of promotion, ascending.
        pub position: u16,
        /// Counts changes; send it back with a change.
        pub version: u64,
        /// When it was created.
        pub created_at: Timestamp,
    }

    /// A new environment.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct NewEnvironment {
        /// Unique in the workspace.
        pub slug: Slug,
        /// For people.
        pub name: DisplayName,
    }

    /// Changes to an environment.
    #[derive(Eq, Default)]
    #[serde(deny_unknown_fields)]
    pub struct EnvironmentChange {
        /// The version seen, unless `If-Match` is sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub version: Option<u64>,
        /// A new name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub name: Option<DisplayName>,
        /// A new place.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub position: Option<u16>,
    }
}
