//! Routes of a workspace.

use domain::route::{Node, Rules, Target, Timeouts, Unknown};
use domain::usage::Endpoint;
use domain::{DeploymentId, ModelName, NanoUsd, Permission, RequestId, RouteId, Timestamp, WorkspaceId};

use super::usage::SkippedView;
use super::{PageQuery, WorkspacePath};
use crate::field::Field;
use crate::operation::{Access, Empty, NoQuery, operations, shapes};

operations! {
    /// Lists routes by name.
    ListRoutes: Get "/workspaces/{workspace_id}/routes" as "routes.list"
        needs Access::Workspace(Permission::RoutingRead), path WorkspacePath, query PageQuery, body Empty, gives 200 domain::Page<RouteView>;

    /// Creates a route.
    CreateRoute: Post "/workspaces/{workspace_id}/routes" as "routes.create"
        needs Access::Workspace(Permission::RoutesManage), path WorkspacePath, query NoQuery, body NewRoute, gives 201 RouteView;

    /// Shows a route.
    GetRoute: Get "/workspaces/{workspace_id}/routes/{route_id}" as "routes.get"
        needs Access::Workspace(Permission::RoutingRead), path RoutePath, query NoQuery, body Empty, gives 200 RouteView;

    /// Changes a route; calls in flight finish as they began.
    UpdateRoute: Patch "/workspaces/{workspace_id}/routes/{route_id}" as "routes.update"
        needs Access::Workspace(Permission::RoutesManage), path RoutePath, query NoQuery, body RouteChange, gives 200 RouteView;

    /// Archives a route; its model name is unknown from then on.
    ArchiveRoute: Delete "/workspaces/{workspace_id}/routes/{route_id}" as "routes.archive"
        needs Access::Workspace(Permission::RoutesManage), path RoutePath, query NoQuery, body Empty, gives 204 Empty;

    /// Says what an unsaved route would have done with the last requests; changes nothing and sends nothing.
    DryRunRoute: Post "/workspaces/{workspace_id}/routes/dry-run" as "routes.dry_run"
        needs Access::Workspace(Permission::RequestsRead), path WorkspacePath, query NoQuery, body DryRun, gives 200 DryRunReport;
}

shapes! {
    /// A route of a workspace.
    #[derive(Copy, Eq)]
    pub struct RoutePath {
        /// The workspace.
        pub workspace_id: WorkspaceId,
        /// The route.
        pub route_id: RouteId,
    }

    /// A route.
    #[derive(Eq)]
    pub struct RouteView {
        /// Its id.
        pub id: RouteId,
        /// Its workspace.
        pub workspace_id: WorkspaceId,
        /// The model name clients ask for.
        pub name: ModelName,
        /// The targets; empty when there is a tree.
        pub targets: Vec<Target>,
        /// How the target is chosen, unless `targets` says it.
        #[serde(default)]
        pub tree: Option<Node>,
        /// How many attempts one request may make.
        pub max_attempts: u16,
        /// The four durations.
        pub timeouts: Timeouts,
        /// What happens beyond choosing: fallbacks, hedges, copies, overrides.
        #[serde(default)]
        pub rules: Rules,
        /// Counts changes; send it back with a change.
        pub version: u64,
        /// When it was created.
        pub created_at: Timestamp,
        /// When it was last changed.
        pub updated_at: Timestamp,
    }

    /// A new route.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct NewRoute {
        /// The model name; unique in the workspace among deployments and routes.
        pub name: ModelName,
        /// 1–32 targets, each deployment at most once: by priority, by weight among equals. Or give a tree.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub targets: Vec<Target>,
        /// Strategies over deployments, at most 4 levels and 32 deployments.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub tree: Option<Node>,
        /// 1–10; 3 unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub max_attempts: Option<u16>,
        /// The four durations; each has a default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub timeouts: Option<Timeouts>,
        /// What happens beyond choosing; each rule has a default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub rules: Option<Rules>,
    }

    /// Changes to a route.
    #[derive(Eq, Default)]
    #[serde(deny_unknown_fields)]
    pub struct RouteChange {
        /// The version seen, unless `If-Match` is sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub version: Option<u64>,
        /// A new model name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub name: Option<ModelName>,
        /// All targets anew; takes the place of a tree.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub targets: Option<Vec<Target>>,
        /// A new tree, in place of targets; null with `targets` goes back to them.
        #[serde(default, skip_serializing_if = "Field::is_absent")]
        pub tree: Field<Node>,
        /// A new number of attempts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub max_attempts: Option<u16>,
        /// New durations.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub timeouts: Option<Timeouts>,
        /// All rules anew.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub rules: Option<Rules>,
    }

    /// A route that is not saved, and the requests to try it on.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct DryRun {
        /// The route as it would be created, or as it would be after a change.
        pub route: NewRoute,
        /// Only requests for this model name; all that a route may serve unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub model: Option<String>,
        /// How many of the newest; 1–1000, 200 unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub last: Option<u16>,
    }

    /// What a route would have done.
    #[derive(Eq)]
    pub struct DryRunReport {
        /// How many requests it was tried on.
        pub requests: u64,
        /// How many of them it would refuse.
        pub refused: u64,
        /// The deployments of the route, and others that requests went to first; the most wanted first.
        pub targets: Vec<DryRunTarget>,
        /// How many requests can be compared by cost: they were answered and counted, and every deployment that may be first has a
        /// price.
        pub compared: u64,
        /// What those did cost.
        pub paid_usd: NanoUsd,
        /// What they would cost where they would go first: the same tokens at the standard prices in force now.
        pub cost_usd: NanoUsd,
        /// What decisions asked for and nobody knows any more, with the number of requests.
        pub unknown: Vec<DryRunUnknown>,
        /// Each request, newest first.
        pub rows: Vec<DryRunRow>,
    }

    /// A deployment in a dry run.
    #[derive(Eq, Copy)]
    pub struct DryRunTarget {
        /// The deployment.
        pub deployment_id: DeploymentId,
        /// How many of the requests went to it first.
        pub was_first: u64,
        /// The share of the requests that would, in thousandths of all.
        pub first_permille: u16,
        /// What the compared requests would cost there; its part of the whole.
        pub cost_usd: NanoUsd,
    }

    /// A fact that is not known, and how many requests it may decide.
    #[derive(Eq, Copy)]
    pub struct DryRunUnknown {
        /// The fact.
        pub fact: Unknown,
        /// How many requests' decisions asked for it.
        pub requests: u64,
    }

    /// What a route would do with one request.
    #[derive(Eq)]
    pub struct DryRunRow {
        /// The request.
        pub request_id: RequestId,
        /// When it arrived.
        pub started_at: Timestamp,
        /// What was called.
        pub endpoint: Endpoint,
        /// The model the client asked for.
        pub model: String,
        /// Whether the client asked for a stream.
        pub is_stream: bool,
        /// Where it went first.
        pub was_first: Option<DeploymentId>,
        /// The code with which the route would refuse it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub refused: Option<String>,
        /// Where it would go first; several where chance decides.
        pub first: Vec<DryRunShare>,
        /// One order in which targets would be tried; where chance decides, others are as good.
        pub order: Vec<DeploymentId>,
        /// Targets that would be passed over in that order, and why.
        pub skipped: Vec<SkippedView>,
        /// What it did cost.
        pub paid_usd: NanoUsd,
        /// What it would cost where it goes first; absent when that cannot be said.
        pub cost_usd: Option<NanoUsd>,
        /// What its decision asked for and nobody knows any more.
        pub unknown: Vec<Unknown>,
    }

    /// A deployment that may be first, and how often it would be.
    #[derive(Eq, Copy)]
    pub struct DryRunShare {
        /// The deployment.
        pub deployment_id: DeploymentId,
        /// In thousandths.
        pub permille: u16,
    }
}
