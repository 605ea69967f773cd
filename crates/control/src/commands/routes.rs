//! Routes of a workspace.

use std::collections::BTreeSet;

use api::Empty;
use api::ops::routes::{ArchiveRoute, CreateRoute, RouteView, UpdateRoute};
use domain::id::IdMint as _;
use domain::route::{Route, Target, Timeouts};
use domain::{DeploymentId, RouteId};
use store::Tx;

use crate::call::{Call, Reply};
use crate::commands::audit::Subject;
use crate::error::{Failure, Outcome};
use crate::queries::routes::{live, view};

/// The longest of the four durations, in milliseconds.
const MAX_MS: u32 = 3_600_000;

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
        max_attempts: call.body.max_attempts.unwrap_or(Route::DEFAULT_ATTEMPTS),
        timeouts: call.body.timeouts.unwrap_or_default(),
        version: 1,
        created_at: now,
        updated_at: now,
        archived_at: None,
    };
    check(&mut write, &route).await?;
    store::routes::insert(&mut write, &permit, &route).await?;
    let view = view(route);
    write.audit(subject(&view).created("route.create", &view));
    write.commit(view).await
}

async fn check(tx: &mut Tx, route: &Route) -> Outcome<()> {
    let n = route.targets.len();
    if !(1..=Route::MAX_TARGETS).contains(&n) {
        return Err(Failure::unacceptable("/targets", format!("give 1 to {} targets", Route::MAX_TARGETS)));
    }
    if !(1..=Route::MAX_ATTEMPTS).contains(&route.max_attempts) {
        return Err(Failure::unacceptable("/max_attempts", format!("use 1 to {}", Route::MAX_ATTEMPTS)));
    }
    check_timeouts(&route.timeouts)?;
    let ids: Vec<DeploymentId> = route.targets.iter().map(|target| target.deployment_id).collect();
    let found = store::deployments::load(tx, Some(&ids)).await?;
    let known: BTreeSet<_> = found
        .iter()
        .filter(|deployment| deployment.workspace_id == route.workspace_id && deployment.archived_at.is_none())
        .map(|deployment| deployment.id)
        .collect();
    let mut seen = BTreeSet::new();
    for (at, target) in route.targets.iter().enumerate() {
        check_target(at, target, known.contains(&target.deployment_id), seen.insert(target.deployment_id))?;
    }
    Ok(())
}

fn check_target(at: usize, target: &Target, is_known: bool, is_first: bool) -> Outcome<()> {
    let refused = |field: &str, detail: &str| Err(Failure::unacceptable(&format!("/targets/{at}/{field}"), detail));
    if !is_known {
        return refused("deployment_id", "is not a model of this workspace");
    }
    if !is_first {
        return refused("deployment_id", "is a target already; each model at most once");
    }
    if target.weight > 1_000_000 {
        return refused("weight", "use 0 to 1000000");
    }
    Ok(())
}

fn check_timeouts(timeouts: &Timeouts) -> Outcome<()> {
    let named = [
        ("connect_ms", timeouts.connect_ms),
        ("first_byte_ms", timeouts.first_byte_ms),
        ("idle_ms", timeouts.idle_ms),
        ("total_ms", timeouts.total_ms),
    ];
    match named.iter().find(|(_, value)| !(1..=MAX_MS).contains(value)) {
        Some((name, _)) => Err(Failure::unacceptable(&format!("/timeouts/{name}"), format!("use 1 to {MAX_MS}"))),
        None => Ok(()),
    }
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
    if let Some(targets) = &call.body.targets {
        route.targets.clone_from(targets);
    }
    if let Some(max_attempts) = call.body.max_attempts {
        route.max_attempts = max_attempts;
    }
    if let Some(timeouts) = call.body.timeouts {
        route.timeouts = timeouts;
    }
    route.updated_at = call.now();
    check(&mut write, &route).await?;
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
