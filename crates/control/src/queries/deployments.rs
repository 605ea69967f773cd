//! Deployments of a workspace.

use api::ops::deployments::{DeploymentView, GetDeployment, ListDeployments};
use domain::deployment::Deployment;
use domain::{DeploymentId, Page, WorkspaceId};
use store::Tx;

use operation::call::{Call, Reply};
use operation::error::{Failure, Outcome};

/// Lists deployments, newest first.
pub async fn list(call: Call<ListDeployments>) -> Outcome<Reply<Page<DeploymentView>>> {
    let limit = operation::page::limit(call.query.limit)?;
    let mut tx = call.read().await?;
    let page = store::deployments::list(&mut tx, call.workspace()?, call.query.cursor.as_ref(), limit).await?;
    Ok(Reply::new(page.map(view)))
}

/// Shows a deployment.
pub async fn get(call: Call<GetDeployment>) -> Outcome<Reply<DeploymentView>> {
    let mut tx = call.read().await?;
    Ok(Reply::new(view(live(&mut tx, call.workspace()?, call.path.deployment_id).await?)))
}

/// Returns a deployment of the workspace; one of another workspace, or an archived one, is absent.
pub(crate) async fn live(tx: &mut Tx, workspace: WorkspaceId, id: DeploymentId) -> Outcome<Deployment> {
    let found = store::deployments::get(tx, id).await?;
    let is_here = found.workspace_id == workspace && found.archived_at.is_none();
    if is_here { Ok(found) } else { Err(Failure::not_found()) }
}

pub(crate) fn view(deployment: Deployment) -> DeploymentView {
    DeploymentView {
        id: deployment.id,
        workspace_id: deployment.workspace_id,
        name: deployment.name,
        provider: deployment.provider,
        upstream_model: deployment.upstream_model,
        base_model: deployment.base_model.map(|base| base.to_string()),
        credential_id: deployment.credential_id,
        is_enabled: deployment.is_enabled,
        version: deployment.version,
        created_at: deployment.created_at,
        updated_at: deployment.updated_at,
    }
}
