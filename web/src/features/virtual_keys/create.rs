//! The form for a new key.

use api::ops::deployments::ListDeployments;
use api::ops::routes::ListRoutes;
use api::ops::virtual_keys::{IssueVirtualKey, NewVirtualKey};
use api::ops::{PageQuery, WorkspacePath};
use domain::{DisplayName, ModelPattern, WorkspaceId};
use leptos::prelude::*;

use super::{Keys, expiry};
use kit::api::{use_command, use_query};
use ui::browser;
use ui::button::{Button, Weight};
use ui::check_list::{CheckList, Item};
use ui::dialog::{Dialog, DialogBody, DialogFoot};
use ui::field::{FormError, InputKind, SelectField, TextField};

/// Every model name of the workspace: routes first, since they are what clients should call.
pub(super) fn use_models(workspace_id: WorkspaceId) -> Signal<Vec<Item>> {
    let query = || PageQuery { limit: Some(200), cursor: None };
    let routes = use_query::<ListRoutes>(move || Some((WorkspacePath { workspace_id }, query())));
    let deployments = use_query::<ListDeployments>(move || Some((WorkspacePath { workspace_id }, query())));
    let item = |name: String, detail: String| Item { value: name.clone(), text: name, detail };
    Signal::derive(move || {
        let routes = routes.items().get().into_iter().map(|route| item(route.name.to_string(), "route".to_owned()));
        let deployments = deployments
            .items()
            .get()
            .into_iter()
            .map(|deployment| item(deployment.name.to_string(), deployment.provider));
        routes.chain(deployments).collect()
    })
}

/// The dialog, open while the address says `new`.
#[component]
pub(super) fn CreateDialog(keys: Keys) -> impl IntoView {
    let wanted = keys.nav.param("new");
    let close = Callback::new(move |()| keys.nav.set(&[("new", None)], true));
    view! {
        <Dialog open=Signal::derive(move || wanted.get().is_some()) on_close=close title=Signal::stored("Create a virtual key".to_owned()) test_id="create-key-dialog">
            <CreateForm keys close />
        </Dialog>
    }
}

#[component]
fn CreateForm(keys: Keys, close: Callback<()>) -> impl IntoView {
    let name = RwSignal::new(String::new());
    let environment = RwSignal::new(keys.nav.environment().get_untracked().unwrap_or_default());
    let (end, date) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let models = RwSignal::new(Vec::<String>::new());
    let all_models = use_models(keys.workspace_id);
    let create = use_command::<IssueVirtualKey>();
    let environments = Signal::derive(move || {
        keys.environments
            .all()
            .into_iter()
            .map(|environment| (environment.slug.to_string(), environment.name.to_string()))
            .collect::<Vec<_>>()
    });
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let all = keys.environments.all();
        let slug = environment.get_untracked();
        let chosen = all.iter().find(|environment| environment.slug.as_str() == slug).or(all.first());
        let Some(environment_id) = chosen.map(|environment| environment.id) else { return };
        let fail = |field: &str, text: String| create.errors.set(vec![(field.to_owned(), text)], None);
        let name = match DisplayName::parse(&name.get_untracked()) {
            Ok(name) => name,
            Err(error) => return fail("name", format!("A name {error}.")),
        };
        let expires_at =
            match expiry::read(&end.get_untracked(), &date.get_untracked(), browser::now(), browser::zone()) {
                Ok(at) => at,
                Err(text) => return fail("expires_at", text),
            };
        let allowed_models = models.get_untracked().iter().filter_map(|name| ModelPattern::parse(name).ok()).collect();
        let body = NewVirtualKey { environment_id, name, allowed_models, expires_at };
        create.run(WorkspacePath { workspace_id: keys.workspace_id }, body, move |issued| {
            close.run(());
            keys.list.refetch();
            keys.issued.set(Some(issued));
        });
    };
    view! {
        <form on:submit=submit>
            <DialogBody>
                <TextField label="Name" value=name required=true autofocus=true placeholder="checkout-service" hint="The application or person that will use it." error=create.errors.of("name") />
                <SelectField label="Environment" value=environment choices=environments error=create.errors.of("environment_id") />
                <CheckList label="Models" hint="Choose none to allow every model of the workspace, present and future." items=all_models chosen=models />
                <SelectField label="Expires" value=end choices=Signal::stored(expiry::choices()) error=create.errors.of("expires_at") />
                <Show when=move || end.get() == "date"><TextField label="Date" value=date kind=InputKind::Date /></Show>
                <FormError errors=create.errors />
            </DialogBody>
            <DialogFoot>
                <Button on_press=close>"Cancel"</Button>
                <Button submits=true weight=Weight::Primary busy=create.is_busy>"Create key"</Button>
            </DialogFoot>
        </form>
    }
}
