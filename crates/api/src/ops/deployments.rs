//! Deployments of a workspace.

use domain::{CredentialId, DeploymentId, ModelName, Permission, Timestamp, WorkspaceId};

use super::{PageQuery, WorkspacePath};
use crate::operation::{Access, Empty, NoQuery, operations, shapes};

operations! {
    /// Lists deployments by name.
    ListDeployments: Get "/workspaces/{workspace_id}/deployments" as "deployments.list"
        needs Access::Workspace(Permission::RoutingRead), path WorkspacePath, query PageQuery, body Empty, gives 200 domain::Page<DeploymentView>;

    /// Creates a deployment.
    CreateDeployment: Post "/workspaces/{workspace_id}/deployments" as "deployments.create"
        needs Access::Workspace(Permission::DeploymentsManage), path WorkspacePath, query NoQuery, body NewDeployment, gives 201 DeploymentView;

    /// Shows a deployment.
    GetDeployment: Get "/workspaces/{workspace_id}/deployments/{deployment_id}" as "deployments.get"
        needs Access::Workspace(Permission::RoutingRead), path DeploymentPath, query NoQuery, body Empty, gives 200 DeploymentView;

    /// Changes a deployment; calls in flight finish as they began.
    UpdateDeployment: Patch "/workspaces/{workspace_id}/deployments/{deployment_id}" as "deployments.update"
        needs Access::Workspace(Permission::DeploymentsManage), path DeploymentPath, query NoQuery, body DeploymentChange, gives 200 DeploymentView;

    /// Archives a deployment that no route uses.
    ArchiveDeployment: Delete "/workspaces/{workspace_id}/deployments/{deployment_id}" as "deployments.archive"
        needs Access::Workspace(Permission::DeploymentsManage), path DeploymentPath, query NoQuery, body Empty, gives 204 Empty;
}

shapes! {
    /// A deployment of a workspace.
    #[derive(Copy, Eq)]
    pub struct DeploymentPath {
        /// The workspace.
        pub workspace_id: WorkspaceId,
        /// The deployment.
        pub deployment_id: DeploymentId,
    }

    /// A deployment.
    #[derive(Eq)]
    pub struct DeploymentView {
        /// Its id.
        pub id: DeploymentId,
        /// Its workspace.
        pub workspace_id: WorkspaceId,
        /// The public model name.
        pub name: ModelName,
        /// The provider's name.
        pub provider: String,
        /// The model as the upstream names it.
        pub upstream_model: String,
        /// The model of the catalog that it really is, as `provider/name`; its limits, abilities and prices hold.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub base_model: Option<String>,
        /// The credential, if the provider takes one.
        pub credential_id: Option<CredentialId>,
        /// Whether it takes part in routing.
        pub is_enabled: bool,
        /// Counts changes; send it back with a change.
        pub version: u64,
        /// When it was created.
        pub created_at: Timestamp,
        /// When it was last changed.
        pub updated_at: Timestamp,
    }

    /// A new deployment.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct NewDeployment {
        /// The public model name; unique in the workspace among deployments and routes.
        pub name: ModelName,
        /// The provider's name.
        pub provider: String,
        /// The model as the upstream names it.
        pub upstream_model: String,
        /// The model of the catalog that it really is, as `provider/name`, where the upstream's name does not say so: a deployment of
        /// Azure, a tuned model, an inference profile. Its limits, abilities and prices hold.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub base_model: Option<String>,
        /// The credential, if the provider takes one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub credential_id: Option<CredentialId>,
        /// Whether it takes part in routing; yes unless told.
        #[serde(default = "yes")]
        pub is_enabled: bool,
    }

    /// Changes to a deployment.
    #[derive(Eq, Default)]
    #[serde(deny_unknown_fields)]
    pub struct DeploymentChange {
        /// The version seen, unless `If-Match` is sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub version: Option<u64>,
        /// A new public name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub name: Option<ModelName>,
        /// Another upstream model.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub upstream_model: Option<String>,
        /// Another model of the catalog that it really is; an empty text takes it away.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub base_model: Option<String>,
        /// Another credential of the same provider.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub credential_id: Option<CredentialId>,
        /// Take it in or out of routing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub is_enabled: Option<bool>,
    }
}

const fn yes() -> bool {
    true
}
