//! Adding a credential, and changing one. A new address always wants the secret again.

use api::ops::OrganizationPath;
use api::ops::credentials::{CreateCredential, CredentialChange, CredentialView, NewCredential, UpdateCredential};
use domain::DisplayName;
use domain::credential::DataPolicy;
use leptos::prelude::*;

use super::Vault;
use kit::api::use_command;
use ui::button::{Button, Weight};
use ui::dialog::{Dialog, DialogBody, DialogFoot};
use ui::field::{FormError, InputKind, SelectField, Switch, TextField};
use ui::toast::Toasts;

fn filled(text: RwSignal<String>) -> Option<String> {
    Some(text.get_untracked().trim().to_owned()).filter(|text| !text.is_empty())
}

/// Whether callers may use the provider's own API with it.
fn passthrough_field(allowed: RwSignal<bool>) -> AnyView {
    view! {
        <div class="stack-hair">
            <Switch label="Allow pass-through" value=allowed on_change=Callback::new(move |wanted| allowed.set(wanted)) />
            <p class="field-hint">"Keys may call the provider's own API under /passthrough with it. Model rules do not hold there; what can be counted is."</p>
        </div>
    }
    .into_any()
}

/// What the provider does with what is sent.
fn data_policy_field(policy: RwSignal<String>, error: Signal<Option<String>>) -> AnyView {
    let choices = Signal::stored(vec![
        ("may_train".to_owned(), "Keeps it, and may train on it".to_owned()),
        ("no_training".to_owned(), "Trains on nothing".to_owned()),
        ("zero_retention".to_owned(), "Keeps nothing".to_owned()),
    ]);
    view! { <SelectField label="Data policy" value=policy choices placeholder="Not said" hint="What the contract for this account says is done with what is sent. Requests may ask for it (data_collection, zdr); accounts of which nothing is said are passed over then." error /> }.into_any()
}

/// The dialog for a new credential, open while the address says `new`.
#[component]
pub(super) fn CreateDialog(vault: Vault) -> impl IntoView {
    let wanted = vault.nav.param("new");
    let close = Callback::new(move |()| vault.nav.set(&[("new", None)], true));
    view! {
        <Dialog open=Signal::derive(move || wanted.get().is_some()) on_close=close title=Signal::stored("Add a credential".to_owned())>
            <CreateForm vault close />
        </Dialog>
    }
}

#[component]
fn CreateForm(vault: Vault, close: Callback<()>) -> impl IntoView {
    let (provider, name) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let (base_url, secret) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let allows_passthrough = RwSignal::new(false);
    let data_policy = RwSignal::new(String::new());
    let create = use_command::<CreateCredential>();
    let toasts = expect_context::<Toasts>();
    let usable = move || {
        vault
            .providers
            .items()
            .get()
            .into_iter()
            .filter(|provider| provider.needs_credential || provider.needs_secret)
            .collect::<Vec<_>>()
    };
    let choices = Signal::derive(move || {
        usable().into_iter().map(|provider| (provider.name, provider.title)).collect::<Vec<_>>()
    });
    let chosen = Memo::new(move |_| {
        let wanted = provider.get();
        usable().into_iter().find(|provider| provider.name == wanted)
    });
    let own_address = move || chosen.get().and_then(|provider| provider.base_url);
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let fail = |field: &str, text: &str| create.errors.set(vec![(field.to_owned(), text.to_owned())], None);
        if provider.get_untracked().is_empty() {
            return fail("provider", "Choose a provider.");
        }
        let Ok(name) = DisplayName::parse(&name.get_untracked()) else {
            return fail("name", "Give it a name of 1 to 80 characters.");
        };
        let body = NewCredential {
            provider: provider.get_untracked(),
            name,
            base_url: filled(base_url),
            secret: filled(secret),
            allows_passthrough: allows_passthrough.get_untracked(),
            data_policy: DataPolicy::find(&data_policy.get_untracked()),
        };
        create.run(OrganizationPath { organization_id: vault.organization_id }, body, move |credential| {
            toasts.done(format!("“{}” is stored and sealed.", credential.name));
            close.run(());
            vault.list.refetch();
        });
    };
    view! {
        <form on:submit=submit>
            <DialogBody>
                <SelectField label="Provider" value=provider choices placeholder="Choose a provider" error=create.errors.of("provider") />
                <TextField label="Name" value=name required=true placeholder="OpenAI, team account" error=create.errors.of("name") />
                <TextField label="API key" value=secret kind=InputKind::Secret hint="Sealed at once; nobody can read it again, only replace it." error=create.errors.of("secret") />
                {move || {
                    let hint = own_address().map_or_else(|| "This provider has no address of its own.".to_owned(), |address| format!("Empty for {address}."));
                    view! { <TextField label="Base URL" value=base_url kind=InputKind::Code optional=own_address().is_some() hint error=create.errors.of("base_url") /> }
                }}
                {data_policy_field(data_policy, create.errors.of("data_policy"))}
                {passthrough_field(allows_passthrough)}
                <FormError errors=create.errors />
            </DialogBody>
            <DialogFoot>
                <Button on_press=close>"Cancel"</Button>
                <Button submits=true weight=Weight::Primary busy=create.is_busy>"Add credential"</Button>
            </DialogFoot>
        </form>
    }
}

/// The dialog for a change.
#[component]
pub(super) fn EditDialog(vault: Vault) -> impl IntoView {
    let close = Callback::new(move |()| vault.editing.set(None));
    view! {
        <Dialog open=Signal::derive(move || vault.editing.with(Option::is_some)) on_close=close title=Signal::stored("Edit credential".to_owned())>
            {move || vault.editing.get().map(|credential| view! { <EditForm vault credential close /> })}
        </Dialog>
    }
}

#[component]
fn EditForm(vault: Vault, credential: CredentialView, close: Callback<()>) -> impl IntoView {
    let name = RwSignal::new(credential.name.to_string());
    let base_url = RwSignal::new(credential.base_url.clone());
    let secret = RwSignal::new(String::new());
    let allows_passthrough = RwSignal::new(credential.allows_passthrough);
    let data_policy = RwSignal::new(credential.data_policy.map(|it| it.to_string()).unwrap_or_default());
    let update = use_command::<UpdateCredential>();
    let toasts = expect_context::<Toasts>();
    let path = vault.path(&credential);
    let (before, version) = (credential.base_url, credential.version);
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let Ok(name) = DisplayName::parse(&name.get_untracked()) else {
            return update
                .errors
                .set(vec![("name".to_owned(), "Give it a name of 1 to 80 characters.".to_owned())], None);
        };
        let body = CredentialChange {
            version: Some(version),
            name: Some(name),
            base_url: filled(base_url).filter(|address| *address != before),
            secret: filled(secret),
            allows_passthrough: Some(allows_passthrough.get_untracked()),
            data_policy: Some(data_policy.get_untracked()),
        };
        update.run(path, body, move |credential| {
            toasts.done(format!("Saved “{}”.", credential.name));
            close.run(());
            vault.list.refetch();
        });
    };
    view! {
        <form on:submit=submit>
            <DialogBody>
                <TextField label="Name" value=name required=true error=update.errors.of("name") />
                <TextField label="Base URL" value=base_url kind=InputKind::Code hint="Another origin wants the secret again, so that it never goes where nobody meant it to." error=update.errors.of("base_url") />
                <TextField label="New API key" value=secret kind=InputKind::Secret optional=true hint="Empty keeps the stored one." error=update.errors.of("secret") />
                {data_policy_field(data_policy, update.errors.of("data_policy"))}
                {passthrough_field(allows_passthrough)}
                <FormError errors=update.errors />
            </DialogBody>
            <DialogFoot>
                <Button on_press=close>"Cancel"</Button>
                <Button submits=true weight=Weight::Primary busy=update.is_busy>"Save"</Button>
            </DialogFoot>
        </form>
    }
}
