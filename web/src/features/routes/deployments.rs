//! Deployments: provider, upstream model and credential under one public name.

use api::ops::deployments::{DeploymentChange, DeploymentPath, DeploymentView, UpdateDeployment};
use domain::{Page, Permission};
use leptos::prelude::*;

use super::deployment_form::archive;
use super::{Act, Switchboard};
use kit::api::{Command, use_act};
use kit::views::use_table_state;
use ui::badge::Badge;
use ui::button::{Button, Size};
use ui::data_view::{DataView, EmptyState, Skeleton};
use ui::field::Switch;
use ui::format::{number, time};
use ui::icon::Icon;
use ui::table::{Column, DataTable};
use ui::toast::Toasts;

fn credential_name(board: Switchboard, deployment: &DeploymentView) -> String {
    let Some(id) = deployment.credential_id else { return "none needed".to_owned() };
    let credentials = board.credentials.items().get();
    credentials
        .into_iter()
        .find(|credential| credential.id == id)
        .map_or_else(|| ui::format::id::short(&id.to_string()), |credential| credential.name.to_string())
}

fn serving(
    board: Switchboard,
    deployment: &DeploymentView,
    update: Command<UpdateDeployment>,
    toasts: Toasts,
) -> AnyView {
    let (id, version, name) = (deployment.id, deployment.version, deployment.name.to_string());
    let may = board.may(Permission::DeploymentsManage);
    let label = format!("{name} takes part in routing");
    let change = Callback::new(move |is_enabled: bool| {
        let name = name.clone();
        let path = DeploymentPath { workspace_id: board.workspace_id, deployment_id: id };
        let body =
            DeploymentChange { version: Some(version), is_enabled: Some(is_enabled), ..DeploymentChange::default() };
        update.run(path, body, move |now| {
            let undo = move || {
                let body = DeploymentChange {
                    version: Some(now.version),
                    is_enabled: Some(!is_enabled),
                    ..DeploymentChange::default()
                };
                update.run(path, body, move |_| board.changed());
            };
            let text = if is_enabled { "takes calls again" } else { "takes no new calls" };
            toasts.done_with_undo(format!("“{name}” {text}."), undo);
            board.changed();
        });
    });
    view! { <span class="switch-only"><Switch label value=Signal::stored(deployment.is_enabled) on_change=change disabled=Signal::stored(!may) /></span> }.into_any()
}

fn upstream(deployment: &DeploymentView) -> AnyView {
    view! { <span class="stack-hair"><code>{deployment.upstream_model.clone()}</code> <span class="faint small">{deployment.provider.clone()}</span></span> }
        .into_any()
}

fn columns(board: Switchboard) -> Vec<Column<DeploymentView>> {
    let update = use_act::<UpdateDeployment>();
    let toasts = expect_context::<Toasts>();
    let acts = move |deployment: &DeploymentView| {
        let (for_edit, for_archive) = (deployment.clone(), deployment.clone());
        let edit = Callback::new(move |()| board.act.set(Some(Act::EditDeployment(for_edit.clone()))));
        let end = Callback::new(move |()| archive(board, &for_archive));
        let may = board.may(Permission::DeploymentsManage);
        may.then(|| view! { <span class="row nowrap"><Button size=Size::Small on_press=edit>"Edit"</Button> <Button size=Size::Small on_press=end>"Archive"</Button></span> }).into_any()
    };
    vec![
        Column::new("Name", |deployment: &DeploymentView| deployment.name.to_string())
            .cell(|deployment| view! { <code class="strong">{deployment.name.to_string()}</code> }.into_any()),
        Column::new("Upstream", |deployment: &DeploymentView| {
            format!("{} {}", deployment.provider, deployment.upstream_model)
        })
        .cell(upstream)
        .wide_only(),
        Column::new("Credential", move |deployment: &DeploymentView| credential_name(board, deployment)).wide_only(),
        Column::new("Last hour", move |deployment: &DeploymentView| board.fared(deployment.id).1).cell(
            move |deployment| {
                let (tone, text) = board.fared(deployment.id);
                view! { <Badge tone text dot=true /> }.into_any()
            },
        ),
        Column::new("Takes calls", |deployment: &DeploymentView| deployment.is_enabled.to_string())
            .cell(move |deployment| serving(board, deployment, update, toasts)),
        Column::new("p95", move |deployment: &DeploymentView| {
            board.p95(deployment.id).map(|ms| ms.to_string()).unwrap_or_default()
        })
        .number(move |deployment| board.p95(deployment.id).map_or(0.0, number::as_f64))
        .cell(move |deployment| board.p95(deployment.id).map_or_else(|| "–".to_owned(), time::millis).into_any())
        .wide_only(),
        Column::acts(acts),
    ]
}

/// The tab.
pub(super) fn view_of(board: Switchboard) -> AnyView {
    let columns = StoredValue::new(columns(board));
    let ready = Callback::new(move |page: Signal<Page<DeploymentView>>| {
        view! {
            <DataTable label="Deployments" columns=columns.get_value() rows=Signal::derive(move || page.get().items) key=|deployment: &DeploymentView| deployment.id.to_string() file_name="deployments" state=use_table_state(board.nav) />
        }
        .into_any()
    });
    view! {
        <section class="card" aria-label="Deployments">
            <DataView load=board.deployments.load on_retry=board.deployments.retry() skeleton=Skeleton::Rows(5) is_empty=|page| page.items.is_empty() empty=ViewFn::from(|| view! { <EmptyState icon=Icon::Model title="No deployments yet" text="A deployment makes one model of one provider callable under a name of your choice." /> }) ready />
        </section>
    }
    .into_any()
}
