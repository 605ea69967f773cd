//! Routes: where does a call go? Routes with their targets and how these fare, and the deployments they are made of.

mod deployment_form;
mod deployments;
mod dry_run;
mod picture;
mod route_form;
mod rules_form;
mod tree_editor;

use std::time::Duration;

use api::NoQuery;
use api::ops::credentials::{CredentialView, ListCredentials};
use api::ops::deployments::{DeploymentView, ListDeployments};
use api::ops::routes::{ArchiveRoute, GetRoute, ListRoutes, RoutePath, RouteView};
use api::ops::usage::{ListRequests, RequestQuery, RequestView, UsageQuery, UsageReport, UsageSums, WorkspaceUsage};
use api::ops::{OrganizationPath, PageQuery, WorkspacePath};
use domain::usage::AttemptOutcome;
use domain::{DeploymentId, Page, Permission, WorkspaceId};
use leptos::prelude::*;

use kit::api::{Query, use_query};
use kit::as_code::as_code;
use kit::ask::use_ask;
use kit::nav::{Nav, use_nav};
use kit::session::{Session, use_session};
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
    /// What each deployment answered in the last hour.
    health: Query<UsageReport>,
    /// The newest requests of the last hour with their tries: what a deployment failed at, others may have answered.
    recent: Query<Page<RequestView>>,
    /// Which deployments answered which model names in the last hour.
    traffic: Query<UsageReport>,
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

    /// Tries and failures of a deployment in the last hour, in words.
    fn fared(self, id: DeploymentId) -> (Tone, String) {
        if self.health.data().with(Option::is_none) {
            return (Tone::Neutral, "–".to_owned());
        }
        let sums = self.sums(id).unwrap_or_default();
        let (tries, failed) =
            self.recent.load.data.with(|page| page.as_ref().map_or((0, 0), |page| tally(&page.items, id)));
        // The log is of the newest requests only, the sums are of all.
        let (calls, failures) = if tries > 0 { (tries, failed) } else { (sums.requests, sums.failures) };
        if calls == 0 {
            return (Tone::Neutral, "no calls".to_owned());
        }
        let tone = match (failures.saturating_mul(20) > calls, failures) {
            (true, _) => Tone::Danger,
            (false, 0) => Tone::Ok,
            (false, _) => Tone::Warn,
        };
        (tone, format!("{}, {} failed", number::plural(calls, "try", "tries"), number::share(failures, calls)))
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

    /// The share of a route's calls that a deployment answered in the last hour; nothing without calls.
    fn live_share(self, model: &str, id: DeploymentId) -> Option<f64> {
        let key = id.to_string();
        self.traffic.data().with(|report| {
            let of_route =
                report.as_ref()?.rows.iter().filter(|row| row.group.first().is_some_and(|name| name == model));
            let (mut own, mut all) = (0, 0);
            for row in of_route.filter(|row| row.group.get(1).is_some_and(|id| !id.is_empty())) {
                all += row.sums.requests;
                own += if row.group.get(1) == Some(&key) { row.sums.requests } else { 0 };
            }
            (all > 0).then(|| number::as_f64(own) / number::as_f64(all))
        })
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
        recent: use_query::<ListRequests>(move || {
            let from = Some(browser::now().minus(Duration::from_secs(3_600)));
            let query = RequestQuery { from, limit: Some(200), ..RequestQuery::default() };
            session.can_in(Permission::RequestsRead, workspace_id).then_some((path, query))
        })
        .every(Duration::from_secs(10)),
        health: use_last_hour(session, workspace_id, "deployment"),
        traffic: use_last_hour(session, workspace_id, "model,deployment"),
        act: RwSignal::new(None),
    }
}

/// Tries of a deployment, and how many of them failed.
fn tally(requests: &[RequestView], id: DeploymentId) -> (u64, u64) {
    let tries = requests.iter().flat_map(|request| &request.attempts).filter(|attempt| attempt.deployment_id == id);
    tries.fold((0, 0), |(tries, failed), attempt| {
        let is_failed = !matches!(attempt.outcome, AttemptOutcome::Success | AttemptOutcome::Cancelled);
        (tries + 1, failed + u64::from(is_failed))
    })
}

fn use_last_hour(session: Session, workspace_id: WorkspaceId, group_by: &'static str) -> Query<UsageReport> {
    use_query::<WorkspaceUsage>(move || {
        let now = browser::now();
        let query = UsageQuery {
            from: Some(now.minus(Duration::from_secs(3_600))),
            to: Some(now),
            group_by: Some(group_by.to_owned()),
            ..UsageQuery::default()
        };
        session.can_in(Permission::UsageRead, workspace_id).then_some((WorkspacePath { workspace_id }, query))
    })
    .every(Duration::from_secs(10))
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
        <PageHead title="Routes" about="Where does a call go? A route sends a model name to deployments, by strategies of your choice, until one answers.">{button}</PageHead>
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{attempt, request};

    #[test]
    fn a_try_that_failed_counts_although_another_answered() {
        let mut failed = attempt(1, 0, 10, None);
        failed.outcome = AttemptOutcome::Status;
        let (bad, good) = (failed.deployment_id, attempt(2, 0, 10, None).deployment_id);
        let requests =
            [request(30, vec![failed, attempt(2, 10, 10, None)]), request(10, vec![attempt(2, 0, 10, None)])];
        assert_eq!((tally(&requests, bad), tally(&requests, good)), ((1, 1), (2, 0)));
    }
}
