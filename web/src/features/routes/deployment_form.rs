//! Making, changing and archiving a deployment.

use api::ops::OrganizationPath;
use api::ops::deployments::{
    ArchiveDeployment, CreateDeployment, DeploymentChange, DeploymentPath, DeploymentView, NewDeployment,
    UpdateDeployment,
};
use api::ops::models::{ListModels, ListProviders, ModelQuery};
use api::{Empty, NoQuery};
use domain::{CredentialId, ModelName};
use leptos::prelude::*;

use super::Switchboard;
use crate::api::{use_command, use_query};
use ui::Tone;
use ui::badge::Note;
use ui::button::{Button, Weight};
use ui::dialog::{DialogBody, DialogFoot};
use ui::element_id;
use ui::field::{FormError, InputKind, SelectField, TextField};
use ui::toast::Toasts;

fn credential_choices(board: Switchboard, provider: Signal<String>) -> Signal<Vec<(String, String)>> {
    Signal::derive(move || {
        let provider = provider.get();
        let credentials =
            board.credentials.items().get().into_iter().filter(|credential| credential.provider == provider);
        credentials.map(|credential| (credential.id.to_string(), credential.name.to_string())).collect()
    })
}

/// The form for a new deployment.
#[component]
pub(super) fn CreateForm(board: Switchboard, close: Callback<()>) -> impl IntoView {
    let organization = board.session.organization_of(board.workspace_id);
    let providers = use_query::<ListProviders>(move || {
        organization.map(|organization_id| (OrganizationPath { organization_id }, NoQuery {}))
    });
    let (name, provider) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let (model, credential) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let models = use_query::<ListModels>(move || {
        let query = ModelQuery {
            provider: Some(provider.get()).filter(|provider| !provider.is_empty()),
            limit: Some(200),
            ..ModelQuery::default()
        };
        organization.map(|organization_id| (OrganizationPath { organization_id }, query))
    });
    let create = use_command::<CreateDeployment>();
    let toasts = expect_context::<Toasts>();
    let provider_choices = Signal::derive(move || {
        providers.items().get().into_iter().map(|provider| (provider.name, provider.title)).collect::<Vec<_>>()
    });
    let needs_credential = Memo::new(move |_| {
        let wanted = provider.get();
        providers.items().get().into_iter().any(|provider| provider.name == wanted && provider.needs_credential)
    });
    let credentials = credential_choices(board, provider.into());
    let list_id = element_id("models");
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let fail = |field: &str, text: String| create.errors.set(vec![(field.to_owned(), text)], None);
        let upstream_model = model.get_untracked().trim().to_owned();
        if provider.get_untracked().is_empty() || upstream_model.is_empty() {
            return fail("upstream_model", "Choose a provider and a model.".to_owned());
        }
        let wanted = name.get_untracked();
        let name = match ModelName::parse(if wanted.trim().is_empty() { &upstream_model } else { wanted.trim() }) {
            Ok(name) => name,
            Err(error) => return fail("name", format!("A model name {error}.")),
        };
        let credential_id: Option<CredentialId> = credential.get_untracked().parse().ok();
        let body =
            NewDeployment { name, provider: provider.get_untracked(), upstream_model, credential_id, is_enabled: true };
        create.run(board.path(), body, move |deployment| {
            toasts.done(format!("“{}” can be called now.", deployment.name));
            close.run(());
            board.changed();
        });
    };
    let options = move || {
        models
            .items()
            .get()
            .into_iter()
            .map(|model| view! { <option value=model.upstream_model>{model.title}</option> })
            .collect_view()
    };
    view! {
        <form on:submit=submit>
            <DialogBody>
                <SelectField label="Provider" value=provider choices=provider_choices placeholder="Choose a provider" error=create.errors.of("provider") />
                <ModelInput model list_id=list_id.clone() error=create.errors.of("upstream_model") />
                <datalist id=list_id>{options}</datalist>
                <Show when=move || needs_credential.get()>
                    <SelectField label="Credential" value=credential choices=credentials placeholder="Choose a credential" hint="A provider without one? Add it under Credentials first." error=create.errors.of("credential_id") />
                </Show>
                <TextField label="Public name" value=name kind=InputKind::Code optional=true hint="What clients send as “model”. Empty: the upstream model's name." error=create.errors.of("name") />
                <FormError errors=create.errors />
            </DialogBody>
            <DialogFoot>
                <Button on_press=close>"Cancel"</Button>
                <Button submits=true weight=Weight::Primary busy=create.is_busy>"Create deployment"</Button>
            </DialogFoot>
        </form>
    }
}

#[component]
fn ModelInput(model: RwSignal<String>, list_id: String, error: Signal<Option<String>>) -> impl IntoView {
    let id = element_id("field");
    let (control_id, error_id) = (id.clone(), format!("{id}-error"));
    view! {
        <ui::field::Field id label="Upstream model" hint="As the provider names it; the list is the catalog, any other name works too." error>
            <input
                id=control_id
                class="input input-code"
                type="text"
                list=list_id
                autocomplete="off"
                aria-invalid=move || error.get().map(|_| "true")
                aria-describedby=move || error.get().map(|_| error_id.clone())
                prop:value=move || model.get()
                on:input=move |event| model.set(event_target_value(&event))
            />
        </ui::field::Field>
    }
}

/// The form for a change.
#[component]
pub(super) fn EditForm(board: Switchboard, deployment: DeploymentView, close: Callback<()>) -> impl IntoView {
    let name = RwSignal::new(deployment.name.to_string());
    let model = RwSignal::new(deployment.upstream_model.clone());
    let credential = RwSignal::new(deployment.credential_id.map(|id| id.to_string()).unwrap_or_default());
    let credentials = credential_choices(board, Signal::stored(deployment.provider.clone()));
    let has_credential = deployment.credential_id.is_some();
    let update = use_command::<UpdateDeployment>();
    let toasts = expect_context::<Toasts>();
    let path = DeploymentPath { workspace_id: board.workspace_id, deployment_id: deployment.id };
    let version = deployment.version;
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let name = match ModelName::parse(name.get_untracked().trim()) {
            Ok(name) => name,
            Err(error) => return update.errors.set(vec![("name".to_owned(), format!("A model name {error}."))], None),
        };
        let body = DeploymentChange {
            version: Some(version),
            name: Some(name),
            upstream_model: Some(model.get_untracked().trim().to_owned()),
            credential_id: credential.get_untracked().parse().ok(),
            is_enabled: None,
        };
        update.run(path, body, move |deployment| {
            toasts.done(format!("Saved “{}”.", deployment.name));
            board.changed();
        });
    };
    view! {
        <form on:submit=submit>
            <DialogBody>
                <TextField label="Public name" value=name kind=InputKind::Code required=true error=update.errors.of("name") />
                <TextField label="Upstream model" value=model kind=InputKind::Code required=true error=update.errors.of("upstream_model") />
                {has_credential.then(|| view! { <SelectField label="Credential" value=credential choices=credentials error=update.errors.of("credential_id") /> })}
                <FormError errors=update.errors />
            </DialogBody>
            <DialogFoot>
                <Button on_press=close>"Cancel"</Button>
                <Button submits=true weight=Weight::Primary busy=update.is_busy>"Save deployment"</Button>
            </DialogFoot>
        </form>
    }
}

/// The form that ends a deployment.
#[component]
pub(super) fn ArchiveForm(board: Switchboard, deployment: DeploymentView, close: Callback<()>) -> impl IntoView {
    let typed = RwSignal::new(String::new());
    let archive = use_command::<ArchiveDeployment>();
    let toasts = expect_context::<Toasts>();
    let path = DeploymentPath { workspace_id: board.workspace_id, deployment_id: deployment.id };
    let name = StoredValue::new(deployment.name.to_string());
    let is_named = Signal::derive(move || name.with_value(|name| typed.get().trim() == name));
    let (_, fared) = board.fared(deployment.id);
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        if is_named.get_untracked() {
            archive.run(path, Empty {}, move |_| {
                toasts.done(format!("“{}” is archived.", name.get_value()));
                board.changed();
            });
        }
    };
    view! {
        <form on:submit=submit>
            <DialogBody>
                <Note tone=Tone::Danger title="Callers of this name are refused">
                    {format!("In the last hour: {fared}. A deployment that a route uses cannot be archived; take it out of the route first.")}
                </Note>
                <TextField label=format!("Type “{}” to confirm", deployment.name) value=typed autofocus=true />
                <FormError errors=archive.errors />
            </DialogBody>
            <DialogFoot>
                <Button on_press=close>"Cancel"</Button>
                <Button submits=true weight=Weight::Danger busy=archive.is_busy disabled=Signal::derive(move || !is_named.get())>"Archive deployment"</Button>
            </DialogFoot>
        </form>
    }
}
