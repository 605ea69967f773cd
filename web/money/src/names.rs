//! Names of what budgets and limits are about: keys, routes and environments of the workspace at hand, deployments and workspaces.
//!
//! An id that is not known here, of another workspace say, has no name; who asks shortens it.

use api::ops::deployments::{DeploymentView, ListDeployments};
use api::ops::routes::{ListRoutes, RouteView};
use api::ops::virtual_keys::{ListVirtualKeys, VirtualKeyQuery, VirtualKeyView};
use api::ops::{PageQuery, WorkspacePath};
use domain::{Page, Permission, WorkspaceId};
use kit::api::{Query, use_query};
use kit::session::{Environments, Session, use_environments, use_session};
use leptos::prelude::*;

/// The names, once they are there.
#[derive(Clone, Copy)]
pub(crate) struct Names {
    session: Session,
    environments: Environments,
    pub(crate) keys: Query<Page<VirtualKeyView>>,
    pub(crate) routes: Query<Page<RouteView>>,
    pub(crate) deployments: Query<Page<DeploymentView>>,
}

/// Looks them up, as far as the person may see them.
pub(crate) fn use_names(workspace_id: Signal<Option<WorkspaceId>>) -> Names {
    let session = use_session();
    let place = move |needs: Permission| {
        let workspace_id = workspace_id.get().filter(|id| session.can_in(needs, *id))?;
        Some(WorkspacePath { workspace_id })
    };
    let all = || PageQuery { limit: Some(200), cursor: None };
    Names {
        session,
        environments: use_environments(),
        keys: use_query::<ListVirtualKeys>(move || {
            let query = VirtualKeyQuery { environment_id: None, limit: Some(200), cursor: None };
            Some((place(Permission::VirtualKeysRead)?, query))
        }),
        routes: use_query::<ListRoutes>(move || Some((place(Permission::RoutingRead)?, all()))),
        deployments: use_query::<ListDeployments>(move || Some((place(Permission::RoutingRead)?, all()))),
    }
}

impl Names {
    /// The name behind an id; tracks what is still on its way.
    pub(crate) fn find(self, id: &str) -> Option<String> {
        match id.split_once('_')?.0 {
            "key" => {
                self.keys.items().get().into_iter().find(|it| it.id.to_string() == id).map(|it| it.name.to_string())
            }
            "rte" => {
                self.routes.items().get().into_iter().find(|it| it.id.to_string() == id).map(|it| it.name.to_string())
            }
            "dep" => {
                let all = self.deployments.items().get();
                all.into_iter().find(|it| it.id.to_string() == id).map(|it| it.name.to_string())
            }
            "env" => {
                self.environments.all().into_iter().find(|it| it.id.to_string() == id).map(|it| it.name.to_string())
            }
            "ws" => self.session.workspace_name(id.parse().ok()?),
            _ => None,
        }
    }

    /// The name, or what is left of an id that has none here; other texts stay as they are.
    pub(crate) fn of(self, text: &str) -> String {
        let is_id = ["key_", "rte_", "dep_", "env_", "ws_"].iter().any(|prefix| text.starts_with(prefix));
        self.find(text).unwrap_or_else(|| if is_id { ui::format::id::short(text) } else { text.to_owned() })
    }
}
