//! Routes of a workspace.

use domain::route::{Target, Timeouts};
use domain::{ModelName, Permission, RouteId, Timestamp, WorkspaceId};

use super::{PageQuery, WorkspacePath};
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
        /// The targets.
        pub targets: Vec<Target>,
        /// How many attempts one request may make.
        pub max_attempts: u16,
        /// The four durations.
        pub timeouts: Timeouts,
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
        /// 1–32 targets, each deployment at most once.
        pub targets: Vec<Target>,
        /// 1–10; 3 unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub max_attempts: Option<u16>,
        /// The four durations; each has a default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub timeouts: Option<Timeouts>,
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
        /// All targets anew.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub targets: Option<Vec<Target>>,
        /// A new number of attempts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub max_attempts: Option<u16>,
        /// New durations.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub timeouts: Option<Timeouts>,
    }
}
