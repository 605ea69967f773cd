//! Making, changing and archiving a deployment.

use api::NoQuery;
use api::ops::OrganizationPath;
use api::ops::deployments::{
    ArchiveDeployment, CreateDeployment, DeploymentChange, DeploymentPath, DeploymentView, NewDeployment,
    UpdateDeployment,
};
use api::ops::models::{ListModels, ListProviders, ModelQuery, ModelView};
use domain::{CredentialId, ModelName};
use leptos::prelude::*;

use super::Switchboard;
use kit::api::{use_command, use_query};
use kit::ask::use_ask;
use ui::button::{Button, Weight};
use ui::check_list::Item;
use ui::combo_field::ComboField;
use ui::confirm::Question;
use ui::dialog::{DialogBody, DialogFoot};
use ui::field::{FormError, InputKind, SelectField, TextField};
use ui::format::number;
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
    let (base, sought) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let models = use_query::<ListModels>(move || {
        let query = ModelQuery {
            provider: Some(provider.get()).filter(|provider| !provider.is_empty()),
            search: Some(sought.get()).filter(|text| !text.is_empty()),
            limit: Some(50),
            ..ModelQuery::default()
        };
        organization.map(|organization_id| (OrganizationPath { organization_id }, query))
    });
    let items = Signal::derive(move || {
        let detail = |model: &ModelView| match (model.context_tokens, provider.get().is_empty()) {
            (_, true) => model.provider.clone(),
            (Some(tokens), false) => format!("{} tokens", number::compact(number::as_f64(tokens))),
            (None, false) => String::new(),
        };
        let item = |model: ModelView| Item {
            detail: detail(&model),
            value: model.upstream_model.clone(),
            text: model.upstream_model,
        };
        models.items().get().into_iter().map(item).collect::<Vec<_>>()
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
        let base_model = Some(base.get_untracked()).filter(|text| !text.trim().is_empty());
        let provider = provider.get_untracked();
        let body = NewDeployment { name, provider, upstream_model, base_model, credential_id, is_enabled: true };
        create.run(board.path(), body, move |deployment| {
            toasts.done(format!("“{}” can be called now.", deployment.name));
            close.run(());
            board.changed();
        });
    };
    view! {
        <form on:submit=submit>
            <DialogBody>
                <SelectField label="Provider" value=provider choices=provider_choices placeholder="Choose a provider" error=create.errors.of("provider") />
                <ComboField label="Upstream model" value=model items on_search=Callback::new(move |text| sought.set(text)) hint="As the provider names it; the list is the catalog, any other name works too." error=create.errors.of("upstream_model") />
                <Show when=move || needs_credential.get()>
                    <SelectField label="Credential" value=credential choices=credentials placeholder="Choose a credential" hint="A provider without one? Add it under Credentials first." error=create.errors.of("credential_id") />
                </Show>
                <TextField label="Is really" value=base kind=InputKind::Code optional=true hint="provider/name of the catalog, where the upstream's name does not say it (Azure, tuned models, inference profiles): limits and prices of that model hold." error=create.errors.of("base_model") />
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

/// The form for a change.
#[component]
pub(super) fn EditForm(board: Switchboard, deployment: DeploymentView, close: Callback<()>) -> impl IntoView {
    let name = RwSignal::new(deployment.name.to_string());
    let model = RwSignal::new(deployment.upstream_model.clone());
    let base = RwSignal::new(deployment.base_model.clone().unwrap_or_default());
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
            base_model: Some(base.get_untracked()),
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
                <TextField label="Is really" value=base kind=InputKind::Code optional=true hint="provider/name of the catalog, where the upstream's name does not say it (Azure, tuned models, inference profiles): limits and prices of that model hold." error=update.errors.of("base_model") />
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

/// Asks whether a deployment shall end.
pub(super) fn archive(board: Switchboard, deployment: &DeploymentView) {
    let (toasts, name) = (expect_context::<Toasts>(), deployment.name.to_string());
    let (_, fared) = board.fared(deployment.id);
    let question = Question {
        act: "Archive deployment".to_owned(),
        warning: "Callers of this name are refused".to_owned(),
        text: format!("In the last hour: {fared}. A deployment that a route uses cannot be archived; take it out of the route first.").into(),
        name: name.clone(),
    };
    let path = DeploymentPath { workspace_id: board.workspace_id, deployment_id: deployment.id };
    use_ask().before::<ArchiveDeployment>(question, path, move |_| {
        toasts.done(format!("“{name}” is archived."));
        board.changed();
    });
}
