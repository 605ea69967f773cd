//! Answers `GET /v1/headgate/limits`: what the caller's key may do and has left, on this node and at this moment.
//!
//! Whoever holds a key may know what it is for; nothing of other keys is shown. `windows` lists limits over time; a node is told
//! of none yet, so the list is empty.

use domain::{EnvironmentId, OrganizationId, Timestamp, VirtualKeyId, WorkspaceId};
use ingress::Rejection;
use policy::Caller;
use serde::Serialize;

use super::Worker;
use super::reply::Reply;

#[derive(Serialize)]
struct Limits<'a> {
    object: &'static str,
    organization_id: OrganizationId,
    workspace_id: WorkspaceId,
    workspace: &'a str,
    environment_id: EnvironmentId,
    environment: Option<&'a str>,
    virtual_key: Key<'a>,
    models: Models<'a>,
    in_flight: InFlight,
    windows: [Window; 0],
    policy_revision: u64,
}

#[derive(Serialize)]
struct Key<'a> {
    id: VirtualKeyId,
    name: &'a str,
    expires_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct Models<'a> {
    /// The key's own list; `None` is every model of the workspace.
    allowed: Option<Vec<String>>,
    /// The names that it may ask for now.
    available: Vec<&'a str>,
}

/// Calls at once.
#[derive(Serialize)]
struct InFlight {
    /// `node`: each node counts for itself.
    scope: &'static str,
    limit: usize,
    used: usize,
    remaining: usize,
}

/// A limit over a span of time: requests, tokens or cost.
#[derive(Serialize)]
enum Window {}

/// Shows what the caller's key has left.
pub(crate) fn show(worker: &Worker, caller: &Caller<'_>) -> Result<Reply, Rejection> {
    let key = &caller.key.key;
    let limit = worker.shared.config.limits.max_in_flight_per_key;
    let used = worker.shared.in_flight.used(key.id);
    let models = caller.workspace.models().filter(|model| caller.key.allows(&model.name));
    let limits = Limits {
        object: "headgate.limits",
        organization_id: caller.organization.id,
        workspace_id: caller.workspace.id,
        workspace: &caller.workspace.slug,
        environment_id: key.environment,
        environment: caller.workspace.environment(key.environment),
        virtual_key: Key { id: key.id, name: &key.name, expires_at: key.expires_at },
        models: Models {
            allowed: key.models.as_ref().map(|patterns| patterns.iter().map(ToString::to_string).collect()),
            available: models.map(|model| &*model.name).collect(),
        },
        in_flight: InFlight { scope: "node", limit, used, remaining: limit.saturating_sub(used) },
        windows: [],
        policy_revision: caller.organization.revision,
    };
    let body = serde_json::to_vec(&limits).map_err(|_| Rejection::internal())?;
    Ok(Reply::own(body.into()))
}
