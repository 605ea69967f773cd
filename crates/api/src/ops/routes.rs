//! Routes of a workspace.

use domain::route::{Node, Rules, Target, Timeouts};
use domain::{ModelName, Permission, RouteId, Timestamp, WorkspaceId};

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
}
