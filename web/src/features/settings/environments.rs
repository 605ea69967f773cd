//! Environments of the workspace in view, in order of promotion.

use api::ops::WorkspacePath;
use api::ops::environments::{
    CreateEnvironment, DeleteEnvironment, EnvironmentChange, EnvironmentPath, EnvironmentView, NewEnvironment,
    UpdateEnvironment,
};
use domain::{DisplayName, Page, Permission, Slug, WorkspaceId};
use leptos::prelude::*;

use super::Office;
use kit::api::use_command;
use kit::ask::use_ask;
use kit::session::{Environments, use_environments};
use ui::badge::EnvironmentBadge;
use ui::button::{Button, Size, Weight};
use ui::confirm::Question;
use ui::copy_button::CopyId;
use ui::data_view::{DataView, EmptyState, Skeleton};
use ui::dialog::{Dialog, DialogBody, DialogFoot};
use ui::field::{FormError, TextField};
use ui::icon::Icon;
use ui::table::{Column, DataTable};
use ui::toast::Toasts;
use ui::when::When;

/// One made anew under the same slug has another id and the last place, so this is asked before and not undone after.
fn delete(environments: Environments, workspace_id: WorkspaceId, environment: &EnvironmentView) {
    let (toasts, name) = (expect_context::<Toasts>(), environment.name.to_string());
    let question = Question {
        act: "Delete environment".to_owned(),
        warning: "Its id is gone for good".to_owned(),
        text: "No key is attached to it, so no application is cut off. Scripts that name its id have to be changed."
            .to_owned()
            .into(),
        name: environment.slug.to_string(),
    };
    let path = EnvironmentPath { workspace_id, environment_id: environment.id };
    use_ask().before::<DeleteEnvironment>(question, path, move |_| {
        toasts.done(format!("Environment “{name}” is deleted."));
        environments.refetch();
    });
}

/// What is open above the list.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Act {
    Create,
    Edit(EnvironmentView),
}

fn columns(
    environments: Environments,
    workspace_id: WorkspaceId,
    act: RwSignal<Option<Act>>,
    may: bool,
) -> Vec<Column<EnvironmentView>> {
    vec![
        Column::new("Environment", |environment: &EnvironmentView| environment.slug.to_string())
            .cell(|environment| view! { <EnvironmentBadge name=environment.slug.to_string() /> }.into_any()),
        Column::new("Name", |environment: &EnvironmentView| environment.name.to_string()),
        Column::new("Id", |environment: &EnvironmentView| environment.id.to_string())
            .cell(|environment| view! { <CopyId id=environment.id.to_string() /> }.into_any())
            .wide_only(),
        Column::new("Created", |environment: &EnvironmentView| environment.created_at.to_string())
            .cell(|environment| view! { <When at=environment.created_at /> }.into_any())
            .wide_only(),
        Column::acts(move |environment: &EnvironmentView| {
            let (for_edit, for_delete) = (environment.clone(), environment.clone());
            let edit = Callback::new(move |()| act.set(Some(Act::Edit(for_edit.clone()))));
            let delete = Callback::new(move |()| delete(environments, workspace_id, &for_delete));
            let acts = may.then(|| {
                view! { <Button size=Size::Small on_press=edit>"Edit"</Button> <Button size=Size::Small on_press=delete>"Delete"</Button> }
            });
            view! { <span class="row nowrap">{acts}</span> }.into_any()
        }),
    ]
}

/// The tab.
#[component]
pub(super) fn EnvironmentsTab(office: Office) -> impl IntoView {
    let environments = use_environments();
    let act = RwSignal::new(None::<Act>);
    let close = Callback::new(move |()| act.set(None));
    let place = office.session.place(office.nav.page.get_untracked());
    let Some(workspace_id) = place.and_then(|place| place.workspace) else {
        return view! { <section class="card card-pad"><p class="muted">"There is no workspace whose environments could be shown."</p></section> }.into_any();
    };
    let name = office.session.workspace_name(workspace_id).unwrap_or_default();
    let may = office.session.can_in(Permission::WorkspaceUpdate, workspace_id);
    let columns = StoredValue::new(columns(environments, workspace_id, act, may));
    let query = environments.query();
    let ready = Callback::new(move |page: Signal<Page<EnvironmentView>>| {
        view! { <DataTable label="Environments" columns=columns.get_value() rows=Signal::derive(move || page.get().items) key=|environment: &EnvironmentView| environment.id.to_string() /> }.into_any()
    });
    let title = Signal::derive(move || {
        match act.get() {
            Some(Act::Edit(_)) => "Edit environment",
            _ => "New environment",
        }
        .to_owned()
    });
    let form = move || match act.get() {
        Some(Act::Create) => view! { <CreateForm workspace_id environments close /> }.into_any(),
        Some(Act::Edit(environment)) => view! { <EditForm environment environments close /> }.into_any(),
        None => ().into_any(),
    };
    view! {
        <section class="card" aria-label="Environments">
            <div class="card-head">
                <div><h2>{format!("Environments of {name}")}</h2><p>"In order of promotion. An environment with keys cannot be deleted."</p></div>
                {may.then(|| view! { <Button size=Size::Small icon=Icon::Plus on_press=Callback::new(move |()| act.set(Some(Act::Create)))>"New environment"</Button> })}
            </div>
            <DataView load=query.load on_retry=query.retry() skeleton=Skeleton::Rows(3) is_empty=|page| page.items.is_empty() empty=ViewFn::from(|| view! { <EmptyState icon=Icon::Workspace title="No environment yet" text="Create one for each stage on the way to production; a key belongs to one of them." /> }) ready />
        </section>
        <Dialog open=Signal::derive(move || act.with(Option::is_some)) on_close=close title>{form}</Dialog>
    }
    .into_any()
}

#[component]
fn CreateForm(workspace_id: WorkspaceId, environments: Environments, close: Callback<()>) -> impl IntoView {
    let (name, slug) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let create = use_command::<CreateEnvironment>();
    let toasts = expect_context::<Toasts>();
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let fail = |field: &str, text: String| create.errors.set(vec![(field.to_owned(), text)], None);
        let Ok(name) = DisplayName::parse(&name.get_untracked()) else {
            return fail("name", "Give it a name of 1 to 80 characters.".to_owned());
        };
        let slug = match Slug::parse(&slug.get_untracked()) {
            Ok(slug) => slug,
            Err(error) => return fail("slug", format!("A slug: {error}.")),
        };
        create.run(WorkspacePath { workspace_id }, NewEnvironment { slug, name }, move |environment| {
            toasts.done(format!("Environment “{}” is ready.", environment.name));
            close.run(());
            environments.refetch();
        });
    };
    view! {
        <form on:submit=submit>
            <DialogBody>
                <TextField label="Name" value=name required=true autofocus=true placeholder="Preview" error=create.errors.of("name") />
                <TextField label="Slug" value=slug required=true placeholder="preview" error=create.errors.of("slug") />
                <FormError errors=create.errors />
            </DialogBody>
            <DialogFoot>
                <Button on_press=close>"Cancel"</Button>
                <Button submits=true weight=Weight::Primary busy=create.is_busy>"Create environment"</Button>
            </DialogFoot>
        </form>
    }
}

#[component]
fn EditForm(environment: EnvironmentView, environments: Environments, close: Callback<()>) -> impl IntoView {
    let name = RwSignal::new(environment.name.to_string());
    let position = RwSignal::new(environment.position.to_string());
    let update = use_command::<UpdateEnvironment>();
    let toasts = expect_context::<Toasts>();
    let path = EnvironmentPath { workspace_id: environment.workspace_id, environment_id: environment.id };
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let fail = |field: &str, text: String| update.errors.set(vec![(field.to_owned(), text)], None);
        let name = match DisplayName::parse(&name.get_untracked()) {
            Ok(name) => name,
            Err(error) => return fail("name", format!("A name {error}.")),
        };
        let Some(position) = position.get_untracked().trim().parse().ok().filter(|position| *position > 0) else {
            return fail("position", "Give a whole number from 1.".to_owned());
        };
        let body = EnvironmentChange { version: Some(environment.version), name: Some(name), position: Some(position) };
        update.run(path, body, move |environment| {
            toasts.done(format!("Environment “{}” is saved.", environment.name));
            close.run(());
            environments.refetch();
        });
    };
    view! {
        <form on:submit=submit>
            <DialogBody>
                <TextField label="Name" value=name required=true autofocus=true error=update.errors.of("name") />
                <TextField label="Place" value=position required=true hint="Environments stand in the order of these numbers, development first. The slug stays." error=update.errors.of("position") />
                <FormError errors=update.errors />
            </DialogBody>
            <DialogFoot>
                <Button on_press=close>"Cancel"</Button>
                <Button submits=true weight=Weight::Primary busy=update.is_busy>"Save"</Button>
            </DialogFoot>
        </form>
    }
}
