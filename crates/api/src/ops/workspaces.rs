//! Workspaces.

use domain::{DisplayName, OrganizationId, Permission, Slug, Timestamp, WorkspaceId};

use super::{OrganizationPath, PageQuery, WorkspacePath};
use crate::operation::{Access, Empty, NoQuery, operations, shapes};

operations! {
    /// Lists the workspaces one sees.
    ListWorkspaces: Get "/organizations/{organization_id}/workspaces" as "workspaces.list"
        needs Access::Organization(Permission::OrganizationRead), path OrganizationPath, query PageQuery, body Empty, gives 200 domain::Page<WorkspaceView>;

    /// Creates a workspace with the environments development, staging and production.
    CreateWorkspace: Post "/organizations/{organization_id}/workspaces" as "workspaces.create"
        needs Access::Organization(Permission::WorkspacesCreate), path OrganizationPath, query NoQuery, body NewWorkspace, gives 201 WorkspaceView;

    /// Shows a workspace.
    GetWorkspace: Get "/workspaces/{workspace_id}" as "workspaces.get"
        needs Access::Workspace(Permission::WorkspaceRead), path WorkspacePath, query NoQuery, body Empty, gives 200 WorkspaceView;

    /// Renames a workspace.
    UpdateWorkspace: Patch "/workspaces/{workspace_id}" as "workspaces.update"
        needs Access::Workspace(Permission::WorkspaceUpdate), path WorkspacePath, query NoQuery, body WorkspaceChange, gives 200 WorkspaceView;

    /// Archives a workspace: its keys stop working at once, its usage and audit entries stay.
    ArchiveWorkspace: Delete "/workspaces/{workspace_id}" as "workspaces.archive"
        needs Access::Workspace(Permission::WorkspaceArchive), path WorkspacePath, query NoQuery, body Empty, gives 204 Empty;
}

shapes! {
    /// A workspace.
    #[derive(Eq)]
    pub struct WorkspaceView {
        /// Its id.
        pub id: WorkspaceId,
        /// The tenant.
        pub organization_id: OrganizationId,
        /// Unique in the organization.
        pub slug: Slug,
        /// For people.
        pub name: DisplayName,
        /// Counts changes; send it back with a change.
        pub version: u64,
        /// When it was created.
        pub created_at: Timestamp,
    }

    /// A new workspace.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct NewWorkspace {
        /// Unique in the organization.
        pub slug: Slug,
        /// For people.
        pub name: DisplayName,
    }

    /// Changes to a workspace.
    #[derive(Eq, Default)]
    #[serde(deny_unknown_fields)]
    pub struct WorkspaceChange {
        /// The version seen, unless `If-Match` is sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub version: Option<u64>,
        /// A new name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub name: Option<DisplayName>,
    }
}
