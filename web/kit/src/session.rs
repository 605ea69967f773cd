//! Who is signed in, what they may do, and which organization and workspace they look at.
//!
//! The permissions decide what is offered; the server decides what happens.

use api::ops::auth::{Me, MeView, MembershipView, WorkspaceAccessView};
use api::ops::environments::{EnvironmentView, ListEnvironments};
use api::ops::{NoPath, PageQuery, WorkspacePath};
use api::{Empty, NoQuery, client};
use domain::{EnvironmentId, OrganizationId, Permission, WorkspaceId};
use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api::{Query, exchange, failure_of, use_query};
use crate::nav::{Nav, Place};
use crate::page::Page;
use ui::browser;
use ui::data_view::Failure;

/// What is known about the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Not asked yet.
    Unknown,
    SignedOut,
    SignedIn(Box<MeView>),
    /// The server did not say.
    Unreachable(Failure),
}

/// The session, from context.
#[derive(Clone, Copy)]
pub struct Session {
    pub state: RwSignal<State>,
}

impl Session {
    pub fn provide() -> Self {
        let session = Self { state: RwSignal::new(State::Unknown) };
        provide_context(session);
        session.reload();
        session
    }

    /// Asks the server who this is.
    pub fn reload(self) {
        self.reload_and(Callback::new(|()| ()));
    }

    /// The same, and goes on once it is known.
    pub fn reload_and(self, then: Callback<()>) {
        spawn_local(async move {
            let answer = exchange(client::request::<Me>(&NoPath {}, &NoQuery {}, &Empty {})).await;
            self.state.set(match answer.and_then(|response| client::read::<Me>(&response)) {
                Ok(me) => State::SignedIn(Box::new(me)),
                Err(error) if error.problem().is_some_and(|problem| problem.status == 401) => State::SignedOut,
                Err(error) => State::Unreachable(failure_of(&error)),
            });
            then.run(());
        });
    }

    pub fn signed_in(self, me: MeView) {
        self.state.set(State::SignedIn(Box::new(me)));
    }

    pub fn signed_out(self) {
        self.state.set(State::SignedOut);
    }

    /// Reads something of the signed-in person; `None` when nobody is.
    pub fn with<T>(self, read: impl FnOnce(&MeView) -> T) -> Option<T> {
        self.state.with(|state| match state {
            State::SignedIn(me) => Some(read(me)),
            _ => None,
        })
    }

    pub fn memberships(self) -> Vec<MembershipView> {
        self.with(|me| me.organizations.clone()).unwrap_or_default()
    }

    pub fn membership(self, organization: OrganizationId) -> Option<MembershipView> {
        self.memberships().into_iter().find(|membership| membership.organization_id == organization)
    }

    pub fn workspaces(self, organization: OrganizationId) -> Vec<WorkspaceAccessView> {
        self.membership(organization).map(|membership| membership.workspaces).unwrap_or_default()
    }

    /// Says whether the person may do something in an organization.
    pub fn can(self, permission: Permission, organization: OrganizationId) -> bool {
        self.membership(organization).is_some_and(|membership| membership.permissions.contains(&permission))
    }

    /// Says whether the person may do something in a workspace.
    pub fn can_in(self, permission: Permission, workspace: WorkspaceId) -> bool {
        let allows =
            |access: &WorkspaceAccessView| access.workspace_id == workspace && access.permissions.contains(&permission);
        self.memberships().iter().any(|membership| membership.workspaces.iter().any(allows))
    }

    pub fn organization_of(self, workspace: WorkspaceId) -> Option<OrganizationId> {
        let holds =
            |membership: &MembershipView| membership.workspaces.iter().any(|access| access.workspace_id == workspace);
        self.memberships().into_iter().find(holds).map(|membership| membership.organization_id)
    }

    pub fn workspace_name(self, workspace: WorkspaceId) -> Option<String> {
        let memberships = self.memberships();
        let mut all = memberships.iter().flat_map(|membership| &membership.workspaces);
        all.find(|access| access.workspace_id == workspace).map(|access| access.name.to_string())
    }

    /// Where the person was last, if they still may be there; otherwise the first workspace they see.
    pub fn home(self) -> Option<Place> {
        let memberships = self.memberships();
        let remembered = browser::remembered("workspace").and_then(|id| id.parse::<WorkspaceId>().ok());
        let known = remembered
            .and_then(|id| self.organization_of(id).map(|organization| Place { organization, workspace: Some(id) }));
        known.or_else(|| {
            let with_workspace = memberships.iter().find(|membership| !membership.workspaces.is_empty());
            with_workspace.or(memberships.first()).map(|membership| Place {
                organization: membership.organization_id,
                workspace: membership.workspaces.first().map(|access| access.workspace_id),
            })
        })
    }

    /// The place the page is about.
    pub fn place(self, page: Option<Page>) -> Option<Place> {
        match page {
            Some(Page::Workspace(workspace, _)) => {
                self.organization_of(workspace).map(|organization| Place { organization, workspace: Some(workspace) })
            }
            Some(Page::Organization(organization, _)) => {
                let home = self.home().filter(|home| home.organization == organization);
                let first = || self.workspaces(organization).first().map(|access| access.workspace_id);
                Some(Place { organization, workspace: home.and_then(|home| home.workspace).or_else(first) })
            }
            _ => self.home(),
        }
    }
}

/// Returns the session from context.
pub fn use_session() -> Session {
    expect_context::<Session>()
}

/// The environments of the workspace in view, from context.
#[derive(Clone, Copy)]
pub struct Environments {
    query: Query<domain::Page<EnvironmentView>>,
    nav: Nav,
}

impl Environments {
    pub fn provide(nav: Nav, workspace: Memo<Option<WorkspaceId>>) -> Self {
        let query = use_query::<ListEnvironments>(move || {
            workspace.get().map(|workspace_id| (WorkspacePath { workspace_id }, PageQuery::default()))
        });
        let environments = Self { query, nav };
        provide_context(environments);
        environments
    }

    pub fn all(self) -> Vec<EnvironmentView> {
        self.query.items().get()
    }

    /// The same as it loads, for a view of them.
    pub fn query(self) -> Query<domain::Page<EnvironmentView>> {
        self.query
    }

    pub fn refetch(self) {
        self.query.refetch();
    }

    /// The environment that the address filters by.
    pub fn chosen(self) -> Option<EnvironmentId> {
        let wanted = self.nav.environment().get()?;
        self.all().into_iter().find(|environment| environment.slug.as_str() == wanted).map(|environment| environment.id)
    }

    /// Whether a filter is in the address whose environment is not known yet; queries wait rather than show too much.
    pub fn is_pending(self) -> bool {
        self.nav.environment().get().is_some()
            && self.query.load.data.with(Option::is_none)
            && self.query.load.failure.with(Option::is_none)
    }

    pub fn slug_of(self, id: EnvironmentId) -> String {
        self.all()
            .into_iter()
            .find(|environment| environment.id == id)
            .map_or_else(|| "–".to_owned(), |environment| environment.slug.to_string())
    }
}

/// Returns the environments from context.
pub fn use_environments() -> Environments {
    expect_context::<Environments>()
}
