//! Decides whether a caller may perform an operation on the thing its path names: yes with a permit, 403, 404 or 401.
//!
//! The organization or workspace in the path is the place of the decision. What the caller may not see answers exactly as
//! what does not exist. Things below the place (a key, a route) are looked up inside it afterwards, so a foreign id there is
//! absent too.

use api::{Access, Meta};
use domain::actor::Denied;
use domain::{OrganizationId, Permission, Permit, Scope, WorkspaceId};
use serde_json::Value;

use crate::auth::Caller;
use crate::cx::Cx;
use crate::error::Failure;

/// The answer "yes" to an access question.
#[derive(Debug, Clone)]
pub enum Decision {
    /// Anybody may.
    Public,
    /// The signed-in person acts on what is their own.
    Own,
    /// The caller runs the installation; the permit is for its first organization.
    Operator(Permit),
    /// The permission was proved.
    Permitted(Permit),
}

impl Decision {
    /// Returns the permit, if the decision was about a place.
    #[must_use]
    pub const fn permit(&self) -> Option<&Permit> {
        match self {
            Self::Operator(permit) | Self::Permitted(permit) => Some(permit),
            Self::Public | Self::Own => None,
        }
    }
}

/// The answer "no".
#[derive(Debug)]
pub enum Refusal {
    /// Nobody is signed in.
    Unauthenticated,
    /// The place does not exist or may not be seen.
    Invisible,
    /// The place is seen, the permission is missing.
    Forbidden {
        /// Where to write it down.
        organization: OrganizationId,
        /// What is missing.
        permission: Permission,
    },
    /// The question could not be answered.
    Failed(Failure),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unauthenticated => {
                Self::unauthenticated("Sign in, or send an access token as Authorization: Bearer hga_…")
            }
            Refusal::Invisible => Self::not_found(),
            Refusal::Forbidden { permission, .. } => Self::Forbidden(permission),
            Refusal::Failed(failure) => failure,
        }
    }
}

/// Decides one call. `path` holds the path parameters as texts.
pub async fn decide(cx: &Cx, meta: &Meta, caller: &Caller, path: &Value) -> Result<Decision, Refusal> {
    if meta.access == Access::Public {
        return Ok(Decision::Public);
    }
    if caller.actor.kind.user().is_none() {
        cx.metrics.unauthenticated.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        return Err(Refusal::Unauthenticated);
    }
    let (permission, scope) = match meta.access {
        Access::Public | Access::SignedIn => return Ok(Decision::Own),
        Access::Operator => (Permission::OwnersManage, Scope::Organization(first_organization(cx).await?)),
        Access::Organization(permission) => (permission, Scope::Organization(parameter(path, "organization_id")?)),
        Access::Workspace(permission) => (permission, workspace_scope(cx, caller, path).await?),
    };
    match caller.actor.permit(permission, scope) {
        Ok(permit) if meta.access == Access::Operator => Ok(Decision::Operator(permit)),
        Ok(permit) => Ok(Decision::Permitted(permit)),
        Err(Denied::Invisible) => Err(Refusal::Invisible),
        Err(Denied::Forbidden(permission)) => {
            Err(Refusal::Forbidden { organization: scope.organization(), permission })
        }
    }
}

/// Reads an id from the path; a text that is no id names nothing.
fn parameter<T: std::str::FromStr>(path: &Value, name: &str) -> Result<T, Refusal> {
    path.get(name).and_then(Value::as_str).and_then(|text| text.parse().ok()).ok_or(Refusal::Invisible)
}

/// Finds the organization of the workspace in the path, among those the caller belongs to.
async fn workspace_scope(cx: &Cx, caller: &Caller, path: &Value) -> Result<Scope, Refusal> {
    let workspace: WorkspaceId = parameter(path, "workspace_id")?;
    for organization in caller.actor.organizations() {
        let found = async {
            let mut tx = cx.store.read(organization).await?;
            store::workspaces::find(&mut tx, workspace).await
        };
        let found = found.await.map_err(|error| Refusal::Failed(error.into()))?;
        // An archived workspace is gone for those who work; its usage stays in the organization's sums.
        if found.is_some_and(|workspace| workspace.archived_at.is_none()) {
            return Ok(Scope::Workspace(organization, workspace));
        }
    }
    Err(Refusal::Invisible)
}

async fn first_organization(cx: &Cx) -> Result<OrganizationId, Refusal> {
    let found = async {
        let mut tx = cx.store.system().await?;
        store::organizations::list_all(&mut tx).await
    };
    let all = found.await.map_err(|error| Refusal::Failed(error.into()))?;
    all.first().map(|organization| organization.id).ok_or(Refusal::Invisible)
}
