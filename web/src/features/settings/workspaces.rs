//! Workspaces of the organization: list, create, rename, archive.

use api::ops::workspaces::{
    ArchiveWorkspace, CreateWorkspace, ListWorkspaces, NewWorkspace, UpdateWorkspace, WorkspaceChange, WorkspaceView,
};
use api::ops::{PageQuery, WorkspacePath};
use domain::{DisplayName, Page as ListPage, Permission};
use leptos::prelude::*;

use super::Office;
use kit::api::{Query, use_command, use_query};
use kit::ask::use_ask;
use kit::naming;
use kit::page::{Page, WorkspacePage};
use ui::button::{Button, Size, Weight};
use ui::confirm::Question;
use ui::data_view::{DataView, EmptyState, Skeleton};
use ui::dialog::{Dialog, DialogBody, DialogFoot};
use ui::field::{FormError, TextField};
use ui::icon::Icon;
use ui::table::{Column, DataTable};
use ui::toast::Toasts;
use ui::when::When;

/// What is open above the list.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Act {
    Create,
    Rename(WorkspaceView),
}

/// What the parts of this tab share.
#[derive(Clone, Copy)]
struct Tab {
    office: Office,
    list: Query<ListPage<WorkspaceView>>,
    act: RwSignal<Option<Act>>,
}

impl Tab {
    fn changed(self) {
        self.act.set(None);
        self.list.refetch();
        self.office.session.reload();
    }
}

fn archive(tab: Tab, workspace: &WorkspaceView) {
    let (toasts, name) = (expect_context::<Toasts>(), workspace.name.to_string());
    let question = Question {
        act: "Archive workspace".to_owned(),
        warning: "All its keys stop working at once".to_owned(),
        text: "Routes and deployments go with them. Usage and audit entries stay.".to_owned().into(),
        name: name.clone(),
    };
    use_ask().before::<ArchiveWorkspace>(question, WorkspacePath { workspace_id: workspace.id }, move |_| {
        toasts.done(format!("“{name}” is archived."));
        tab.changed();
    });
}

fn columns(tab: Tab) -> Vec<Column<WorkspaceView>> {
    let acts = move |workspace: &WorkspaceView| {
        let may = |permission| tab.office.session.can_in(permission, workspace.id);
        let (for_rename, for_archive) = (workspace.clone(), workspace.clone());
        let rename = Callback::new(move |()| tab.act.set(Some(Act::Rename(for_rename.clone()))));
        let archive = Callback::new(move |()| archive(tab, &for_archive));
        view! {
            <span class="row nowrap">
                {may(Permission::WorkspaceUpdate).then(|| view! { <Button size=Size::Small on_press=rename>"Rename"</Button> })}
                {may(Permission::WorkspaceArchive).then(|| view! { <Button size=Size::Small on_press=archive>"Archive"</Button> })}
            </span>
        }
        .into_any()
    };
    vec![
        Column::new("Name", |workspace: &WorkspaceView| workspace.name.to_string()).cell(|workspace| {
            let href = Page::Workspace(workspace.id, WorkspacePage::Overview).path();
            view! { <a class="strong" href=href>{workspace.name.to_string()}</a> }.into_any()
        }),
        Column::new("Slug", |workspace: &WorkspaceView| workspace.slug.to_string())
            .cell(|workspace| view! { <code class="muted">{workspace.slug.to_string()}</code> }.into_any()),
        Column::new("Created", |workspace: &WorkspaceView| workspace.created_at.to_string())
            .cell(|workspace| view! { <When at=workspace.created_at /> }.into_any())
            .wide_only(),
        Column::acts(acts),
    ]
}

/// The tab.
#[component]
pub(super) fn Workspaces(office: Office) -> impl IntoView {
    let list = use_query::<ListWorkspaces>(move || Some((office.path(), PageQuery { limit: Some(200), cursor: None })));
    let tab = Tab { office, list, act: RwSignal::new(None) };
    let create = Callback::new(move |()| tab.act.set(Some(Act::Create)));
    let ready = Callback::new(move |page: Signal<ListPage<WorkspaceView>>| {
        view! { <DataTable label="Workspaces" columns=columns(tab) rows=Signal::derive(move || page.get().items) key=|workspace: &WorkspaceView| workspace.id.to_string() /> }.into_any()
    });
    let title = Signal::derive(move || {
        match tab.act.get() {
            Some(Act::Rename(_)) => "Rename workspace",
            _ => "New workspace",
        }
        .to_owned()
    });
    let form = move || match tab.act.get() {
        Some(Act::Create) => view! { <CreateForm tab /> }.into_any(),
        Some(Act::Rename(workspace)) => view! { <RenameForm tab workspace /> }.into_any(),
        None => ().into_any(),
    };
    view! {
        <section class="card" aria-label="Workspaces">
            <div class="card-head">
                <div><h2>"Workspaces"</h2><p>"Keys, routes and usage of one workspace are apart from those of another."</p></div>
                {move || office.may(Permission::WorkspacesCreate).then(|| view! { <Button size=Size::Small icon=Icon::Plus on_press=create>"New workspace"</Button> })}
            </div>
            <DataView load=list.load on_retry=list.retry() skeleton=Skeleton::Rows(3) is_empty=|page| page.items.is_empty() empty=ViewFn::from(|| view! { <EmptyState icon=Icon::Workspace title="No workspace yet" text="Create one to issue keys and define routes." /> }) ready />
        </section>
        <Dialog open=Signal::derive(move || tab.act.with(Option::is_some)) on_close=Callback::new(move |()| tab.act.set(None)) title>{form}</Dialog>
    }
}

fn cancel(tab: Tab) -> AnyView {
    view! { <Button on_press=Callback::new(move |()| tab.act.set(None))>"Cancel"</Button> }.into_any()
}

#[component]
fn CreateForm(tab: Tab) -> impl IntoView {
    let (name, slug) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let create = use_command::<CreateWorkspace>();
    let toasts = expect_context::<Toasts>();
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let read = naming::read(create.errors, &name.get_untracked(), &slug.get_untracked());
        let Some((name, slug)) = read else { return };
        create.run(tab.office.path(), NewWorkspace { slug, name }, move |workspace| {
            toasts.done(format!("Workspace “{}” is ready.", workspace.name));
            tab.changed();
        });
    };
    view! {
        <form on:submit=submit>
            <DialogBody>
                <TextField label="Name" value=name required=true autofocus=true placeholder="Checkout" error=create.errors.of("name") />
                <TextField label="Slug" value=slug required=true placeholder="checkout" hint="Lower-case letters, digits and hyphens; it does not change later." error=create.errors.of("slug") />
                <FormError errors=create.errors />
            </DialogBody>
            <DialogFoot>{cancel(tab)} <Button submits=true weight=Weight::Primary busy=create.is_busy>"Create workspace"</Button></DialogFoot>
        </form>
    }
}

#[component]
fn RenameForm(tab: Tab, workspace: WorkspaceView) -> impl IntoView {
    let name = RwSignal::new(workspace.name.to_string());
    let update = use_command::<UpdateWorkspace>();
    let toasts = expect_context::<Toasts>();
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        match DisplayName::parse(&name.get_untracked()) {
            Ok(name) => {
                let body = WorkspaceChange { version: Some(workspace.version), name: Some(name) };
                update.run(WorkspacePath { workspace_id: workspace.id }, body, move |workspace| {
                    toasts.done(format!("Renamed to “{}”.", workspace.name));
                    tab.changed();
                });
            }
            Err(error) => update.errors.set(vec![("name".to_owned(), format!("A name {error}."))], None),
        }
    };
    view! {
        <form on:submit=submit>
            <DialogBody><TextField label="Name" value=name required=true autofocus=true error=update.errors.of("name") /> <FormError errors=update.errors /></DialogBody>
            <DialogFoot>{cancel(tab)} <Button submits=true weight=Weight::Primary busy=update.is_busy>"Rename"</Button></DialogFoot>
        </form>
    }
}
