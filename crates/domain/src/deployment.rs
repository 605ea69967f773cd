//! One thing that can serve: provider, upstream model and credential.

use crate::{BaseModel, CredentialId, DeploymentId, ModelName, OrganizationId, Timestamp, WorkspaceId};

/// A deployment of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// The public model name under which it can be asked for; unique in the workspace among deployments and routes.
    pub name: ModelName,
    /// The provider's name.
    pub provider: String,
    /// The model as the upstream names it; 1–256 printable characters, sent as data, never as a path.
    pub upstream_model: String,
    /// The model of the catalog that it really is, where the upstream's name does not say so.
    pub base_model: Option<BaseModel>,
    /// The credential; absent for providers that need none (`echo`).
    pub credential_id: Option<CredentialId>,
    /// Whether it takes part in routing.
    pub is_enabled: bool,
    /// Counts changes, from 1.
    pub version: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When it was archived.
    pub archived_at: Option<Timestamp>,
}

impl Deployment {
    /// Returns provider and name under which the catalog has what is known of the model.
    #[must_use]
    pub fn known_as(&self) -> (&str, &str) {
        match &self.base_model {
            Some(base) => base.parts(),
            None => (&self.provider, &self.upstream_model),
        }
    }
}
