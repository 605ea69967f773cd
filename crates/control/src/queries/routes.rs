//! Routes of a workspace.

mod dry_run;

use std::collections::BTreeSet;

use api::ops::routes::{GetRoute, ListRoutes, RouteView};
use domain::deployment::Deployment;
use domain::route::{Document, Route};
use domain::{DeploymentId, Page, RouteId, WorkspaceId};
use store::Tx;

use operation::call::{Call, Reply};
use operation::error::{Failure, Outcome};

pub use dry_run::dry_run;

/// Lists routes, newest first.
pub async fn list(call: Call<ListRoutes>) -> Outcome<Reply<Page<RouteView>>> {
    let limit = operation::page::limit(call.query.limit)?;
    let mut tx = call.read().await?;
    let page = store::routes::list(&mut tx, call.workspace()?, call.query.cursor.as_ref(), limit).await?;
    Ok(Reply::new(page.map(view)))
}

/// Shows a route.
pub async fn get(call: Call<GetRoute>) -> Outcome<Reply<RouteView>> {
    let mut tx = call.read().await?;
    Ok(Reply::new(view(live(&mut tx, call.workspace()?, call.path.route_id).await?)))
}

/// Returns a route of the workspace; one of another workspace, or an archived one, is absent.
pub(crate) async fn live(tx: &mut Tx, workspace: WorkspaceId, id: RouteId) -> Outcome<Route> {
    let found = store::routes::get(tx, id).await?;
    let is_here = found.workspace_id == workspace && found.archived_at.is_none();
    if is_here { Ok(found) } else { Err(Failure::not_found()) }
}

/// Finds what is wrong with a route of a workspace, and returns the deployments that it names.
pub(crate) async fn check(tx: &mut Tx, workspace: WorkspaceId, route: Document<'_>) -> Outcome<Vec<Deployment>> {
    let mut ids = BTreeSet::new();
    route.visit_deployments(&mut |id| {
        ids.insert(id);
    });
    let ids: Vec<DeploymentId> = ids.into_iter().collect();
    let mut found = store::deployments::load(tx, Some(&ids)).await?;
    found.retain(|deployment| deployment.workspace_id == workspace && deployment.archived_at.is_none());
    let is_known = |id| found.iter().any(|deployment| deployment.id == id);
    route.check(&is_known).map_err(|flaw| Failure::unacceptable(&flaw.pointer, flaw.detail))?;
    Ok(found)
}

pub(crate) fn view(route: Route) -> RouteView {
    RouteView {
        id: route.id,
        workspace_id: route.workspace_id,
        name: route.name,
        targets: route.targets,
        tree: route.tree,
        max_attempts: route.max_attempts,
        timeouts: route.timeouts,
        rules: route.rules,
        version: route.version,
        created_at: route.created_at,
        updated_at: route.updated_at,
    }
}
