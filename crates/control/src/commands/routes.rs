//! Routes of a workspace.

use api::Empty;
use api::field::Field;
use api::ops::routes::{ArchiveRoute, CreateRoute, RouteView, UpdateRoute};
use domain::RouteId;
use domain::id::IdMint as _;
use domain::route::Route;

use crate::queries::routes::{check, live, view};
use operation::call::{Call, Reply};
use operation::error::Outcome;
use operation::trail::Subject;

/// Creates a route.
pub async fn create(call: Call<CreateRoute>) -> Outcome<Reply<RouteView>> {
    let mut write = call.write().await?;
    let permit = write.permit();
    let now = call.now();
    let route = Route {
        id: RouteId::from_uuid(call.cx.mint.next_uuid()),
        organization_id: permit.organization(),
        workspace_id: call.workspace()?,
        name: call.body.name.clone(),
        targets: call.body.targets.clone(),
        tree: call.body.tree.clone(),
        max_attempts: call.body.max_attempts.unwrap_or(Route::DEFAULT_ATTEMPTS),
        timeouts: call.body.timeouts.unwrap_or_default(),
        rules: call.body.rules.clone().unwrap_or_default(),
        version: 1,
        created_at: now,
        updated_at: now,
        archived_at: None,
    };
    check(&mut write, route.workspace_id, route.document()).await?;
    store::routes::insert(&mut write, &permit, &route).await?;
    let view = view(route);
    write.audit(subject(&view).created("route.create", &view));
    write.commit(view).await
}

/// Changes a route.
pub async fn update(call: Call<UpdateRoute>) -> Outcome<Reply<RouteView>> {
    let seen = call.seen_version(call.body.version)?;
    let mut write = call.write().await?;
    let permit = write.permit();
    let mut route = live(&mut write, call.workspace()?, call.path.route_id).await?;
    let before = view(route.clone());
    route.version = seen;
    if let Some(name) = &call.body.name {
        route.name = name.clone();
    }
    match (&call.body.targets, &call.body.tree) {
        (None, Field::Absent) => {}
        (targets, tree) => {
            route.targets = targets.clone().unwrap_or_default();
            route.tree = tree.clone().apply(None);
        }
    }
    if let Some(max_attempts) = call.body.max_attempts {
        route.max_attempts = max_attempts;
    }
    if let Some(timeouts) = call.body.timeouts {
        route.timeouts = timeouts;
    }
    if let Some(rules) = &call.body.rules {
        route.rules.clone_from(rules);
    }
    route.updated_at = call.now();
    check(&mut write, route.workspace_id, route.document()).await?;
    route.version = store::routes::update(&mut write, &permit, &route).await?;
    let after = view(route);
    write.audit(subject(&after).changed("route.update", &before, &after));
    write.commit(after).await
}

/// Archives a route.
pub async fn archive(call: Call<ArchiveRoute>) -> Outcome<Reply<Empty>> {
    let mut write = call.write().await?;
    let permit = write.permit();
    let route = live(&mut write, call.workspace()?, call.path.route_id).await?;
    store::routes::archive(&mut write, &permit, route.id, call.now()).await?;
    let before = view(route);
    write.audit(subject(&before).removed("route.archive", &before));
    write.commit(Empty {}).await
}

fn subject(view: &RouteView) -> Subject {
    Subject::new("route", view.id, &view.name).within(view.workspace_id)
}
