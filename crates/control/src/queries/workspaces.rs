//! Workspaces as their members see them.

use api::ops::workspaces::{GetWorkspace, ListWorkspaces, WorkspaceView};
use domain::Page;
use domain::workspace::Workspace;

use operation::call::{Call, Reply};
use operation::error::Outcome;

/// Lists the workspaces one sees.
pub async fn list(call: Call<ListWorkspaces>) -> Outcome<Reply<Page<WorkspaceView>>> {
    let limit = operation::page::limit(call.query.limit)?;
    let mut tx = call.read().await?;
    let seen = call.caller.actor.visible_workspaces(call.organization()?);
    let page = store::workspaces::list(&mut tx, seen.as_deref(), call.query.cursor.as_ref(), limit).await?;
    Ok(Reply::new(page.map(view)))
}

/// Shows a workspace.
pub async fn get(call: Call<GetWorkspace>) -> Outcome<Reply<WorkspaceView>> {
    let mut tx = call.read().await?;
    Ok(Reply::new(view(store::workspaces::get(&mut tx, call.workspace()?).await?)))
}

pub(crate) fn view(workspace: Workspace) -> WorkspaceView {
    WorkspaceView {
        id: workspace.id,
        organization_id: workspace.organization_id,
        slug: workspace.slug,
        name: workspace.name,
        version: workspace.version,
        created_at: workspace.created_at,
    }
}
