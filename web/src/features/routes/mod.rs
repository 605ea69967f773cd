//! Routes: where does a call go? Routes with their targets and how these fare, and the deployments they are made of.

mod deployment_form;
mod deployments;
mod picture;
mod route_form;

use std::time::Duration;

use api::NoQuery;
use api::ops::credentials::{CredentialView, ListCredentials};
use api::ops::deployments::{DeploymentView, ListDeployments};
use api::ops::routes::{ArchiveRoute, GetRoute, ListRoutes, RoutePath, RouteView};
use api::ops::usage::{UsageQuery, UsageReport, UsageSums, WorkspaceUsage};
use api::ops::{OrganizationPath, PageQuery, WorkspacePath};
use domain::{DeploymentId, Page, Permission, WorkspaceId};
use leptos::prelude::*;

use crate::api::{Query, use_query};
use crate::as_code::as_code;
use crate::ask::use_ask;
use crate::nav::{Nav, use_nav};
use crate::session::{Session, use_session};
use ui::Tone;
use ui::browser;
use ui::button::{Button, Size, Weight};
use ui::confirm::Question;
use ui::data_view::{DataView, EmptyState, Skeleton};
use ui::dialog::{Dialog, Placement};
use ui::format::{number, time};
use ui::icon::Icon;
use ui::page_head::PageHead;
use ui::tabs::Tabs;
use ui::toast::Toasts;

/// What is open above the page.
#[derive(Debug, Clone, PartialEq)]
enum Act {
    EditRoute(RouteView),
    EditDeployment(DeploymentView),
}

/// What the parts of this page share.
#[derive(Clone, Copy)]
struct Switchboard {
    workspace_id: WorkspaceId,
    nav: Nav,
    session: Session,
    routes: Query<Page<RouteView>>,
    deployments: Query<Page<DeploymentView>>,
    credentials: Query<Page<CredentialView>>,
    /// How each deployment fared in the last hour.
    health: Query<UsageReport>,
    act: RwSignal<Option<Act>>,
}

impl Switchboard {
    fn may(self, permission: Permission) -> bool {
        self.session.can_in(permission, self.workspace_id)
    }

    fn path(self) -> WorkspacePath {
        WorkspacePath { workspace_id: self.workspace_id }
    }

    fn deployment(self, id: DeploymentId) -> Option<DeploymentView> {
        self.deployments.items().get().into_iter().find(|deployment| deployment.id == id)
    }

    /// Requests and failures of a deployment in the last hour, in words.
    fn fared(self, id: DeploymentId) -> (Tone, String) {
        if self.health.data().with(Option::is_none) {
            return (Tone::Neutral, "–".to_owned());
        }
        let Some(sums) = self.sums(id) else { return (Tone::Neutral, "no calls".to_owned()) };
        let tone = match (sums.failures.saturating_mul(20) > sums.requests, sums.failures) {
            (true, _) => Tone::Danger,
            (false, 0) => Tone::Ok,
            (false, _) => Tone::Warn,
        };
        let share = number::share(sums.failures, sums.requests);
        (tone, format!("{}, {share} failed", number::plural(sums.requests, "call", "calls")))
    }

    /// The 95th percentile of its duration in the last hour.
    fn p95(self, id: DeploymentId) -> Option<u64> {
        self.sums(id)?.p95_ms
    }

    fn sums(self, id: DeploymentId) -> Option<UsageSums> {
        let key = id.to_string();
        self.health
            .data()
            .with(|report| Some(report.as_ref()?.rows.iter().find(|row| row.group.first() == Some(&key))?.sums.clone()))
    }

    fn changed(self) {
        self.act.set(None);
        self.routes.refetch();
        self.deployments.refetch();
    }
}

fn use_switchboard(workspace_id: WorkspaceId) -> Switchboard {
    let session = use_session();
    let path = WorkspacePath { workspace_id };
    let page = || PageQuery { limit: Some(200), cursor: None };
    Switchboard {
        workspace_id,
        nav: use_nav(),
        session,
        routes: use_query::<ListRoutes>(move || Some((path, page()))).every(Duration::from_secs(30)),
        deployments: use_query::<ListDeployments>(move || Some((path, page()))).every(Duration::from_secs(30)),
        credentials: use_query::<ListCredentials>(move || {
            let organization_id =
                session.organization_of(workspace_id).filter(|id| session.can(Permission::CredentialsRead, *id))?;
            Some((OrganizationPath { organization_id }, page()))
        }),
        health: use_query::<WorkspaceUsage>(move || {
            let now = browser::now();
            let query = UsageQuery {
                from: Some(now.minus(Duration::from_secs(3_600))),
                to: Some(now),
                group_by: Some("deployment".to_owned()),
                ..UsageQuery::default()
            };
            session.can_in(Permission::UsageRead, workspace_id).then_some((path, query))
        })
        .every(Duration::from_secs(10)),
        act: RwSignal::new(None),
    }
}

/// The page.
#[component]
pub(crate) fn Routes(workspace_id: WorkspaceId) -> impl IntoView {
    let board = use_switchboard(workspace_id);
    let tab = board.nav.param("tab");
    let is_deployments = Memo::new(move |_| tab.get().as_deref() == Some("deployments"));
    let create = Callback::new(move |()| board.nav.set(&[("new", Some("1".to_owned()))], false));
    let panel = Callback::new(
        move |key: String| if key == "deployments" { deployments::view_of(board) } else { routes_view(board) },
    );
    let button = move || {
        let (permission, text) = if is_deployments.get() {
            (Permission::DeploymentsManage, "New deployment")
        } else {
            (Permission::RoutesManage, "New route")
        };
        board
            .may(permission)
            .then(|| view! { <Button weight=Weight::Primary icon=Icon::Plus on_press=create>{text}</Button> })
    };
    view! {
        <PageHead title="Routes" about="Where does a call go? A route sends a model name to deployments, in order and by weight, until one answers.">{button}</PageHead>
        <Tabs
            label="Routes and deployments"
            tabs=vec![("routes", "Routes"), ("deployments", "Deployments")]
            current=Signal::derive(move || tab.get().unwrap_or_default())
            on_change=Callback::new(move |key: String| board.nav.set(&[("tab", Some(key))], true))
            panel
        />
        {dialogs(board, is_deployments)}
    }
}

fn dialogs(board: Switchboard, is_deployments: Memo<bool>) -> AnyView {
    let creating = board.nav.param("new");
    let stop_creating = Callback::new(move |()| board.nav.set(&[("new", None)], true));
    let close = Callback::new(move |()| board.act.set(None));
    let create_title =
        Signal::derive(move || if is_deployments.get() { "New deployment" } else { "New route" }.to_owned());
    let title = Signal::derive(move || {
        match board.act.get() {
            Some(Act::EditRoute(_)) => "Edit route",
            _ => "Edit deployment",
        }
        .to_owned()
    });
    let body = move || match board.act.get() {
        Some(Act::EditRoute(route)) => view! { <route_form::RouteForm board route=Some(route) close /> }.into_any(),
        Some(Act::EditDeployment(deployment)) => {
            view! { <deployment_form::EditForm board deployment close /> }.into_any()
        }
        None => ().into_any(),
    };
    view! {
        <Dialog open=Signal::derive(move || creating.get().is_some()) on_close=stop_creating title=create_title placement=Placement::CenterWide>
            {move || if is_deployments.get() {
                view! { <deployment_form::CreateForm board close=stop_creating /> }.into_any()
            } else {
                view! { <route_form::RouteForm board route=None close=stop_creating /> }.into_any()
            }}
        </Dialog>
        <Dialog open=Signal::derive(move || board.act.with(Option::is_some)) on_close=close title placement=Placement::CenterWide>{body}</Dialog>
    }
    .into_any()
}

fn routes_view(board: Switchboard) -> AnyView {
    let ready = Callback::new(move |page: Signal<Page<RouteView>>| {
        view! { <div class="stack">{move || page.get().items.into_iter().map(|route| route_card(board, route)).collect_view()}</div> }.into_any()
    });
    view! { <DataView load=board.routes.load on_retry=board.routes.retry() skeleton=Skeleton::Rows(6) is_empty=|page| page.items.is_empty() empty=ViewFn::from(move || empty(board)) ready /> }.into_any()
}

fn empty(board: Switchboard) -> AnyView {
    let create = Callback::new(move |()| board.nav.set(&[("new", Some("1".to_owned()))], false));
    let may = board.may(Permission::RoutesManage);
    view! {
        <section class="card">
            <EmptyState icon=Icon::Route title="No routes yet" text="Every deployment can be called by its own name already. A route puts a name of yours in front of several, with weights and fallbacks.">
                {may.then(|| view! { <Button weight=Weight::Primary icon=Icon::Plus on_press=create>"Create a route"</Button> })}
            </EmptyState>
        </section>
    }
    .into_any()
}

fn archive(board: Switchboard, route: &RouteView) {
    let (toasts, name) = (expect_context::<Toasts>(), route.name.to_string());
    let question = Question {
        act: "Archive route".to_owned(),
        warning: "Callers of this name are refused".to_owned(),
        text: format!("Requests for “{name}” answer model_unknown within a second. Its deployments stay.").into(),
        name: name.clone(),
    };
    let path = RoutePath { workspace_id: board.workspace_id, route_id: route.id };
    use_ask().before::<ArchiveRoute>(question, path, move |_| {
        toasts.done(format!("“{name}” is archived."));
        board.changed();
    });
}

fn route_card(board: Switchboard, route: RouteView) -> AnyView {
    let may = board.may(Permission::RoutesManage);
    let (for_edit, for_archive) = (route.clone(), route.clone());
    let edit = Callback::new(move |()| board.act.set(Some(Act::EditRoute(for_edit.clone()))));
    let archive = Callback::new(move |()| archive(board, &for_archive));
    let timeouts = route.timeouts;
    let limits = format!(
        "up to {}, first byte within {}, all within {}",
        number::plural(u64::from(route.max_attempts), "attempt", "attempts"),
        time::millis(u64::from(timeouts.first_byte_ms)),
        time::millis(u64::from(timeouts.total_ms))
    );
    let name = route.name.to_string();
    let label = format!("Route {}", route.name);
    let path = RoutePath { workspace_id: board.workspace_id, route_id: route.id };
    let code = as_code::<GetRoute>(&path, &NoQuery {}, &route);
    view! {
        <section class="card" aria-label=label>
            <div class="card-head">
                <div><h2><code>{name}</code></h2><p>{limits}</p></div>
                {may.then(|| view! {
                    <span class="row">
                        <Button size=Size::Small icon=Icon::Edit on_press=edit>"Edit"</Button>
                        <Button size=Size::Small on_press=archive>"Archive"</Button>
                    </span>
                })}
            </div>
            <div class="card-body stack-tight"><picture::RoutePicture board route /> {code}</div>
        </section>
    }
    .into_any()
}
