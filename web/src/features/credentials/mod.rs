//! Credentials: the secrets with which the gateway calls providers. They can be replaced, never read.

mod form;

use std::time::Duration;

use api::NoQuery;
use api::ops::credentials::{ArchiveCredential, CredentialPath, GetCredential};
use api::ops::credentials::{CredentialView, ListCredentials};
use api::ops::models::{ListProviders, ProviderView};
use api::ops::{OrganizationPath, PageQuery};
use domain::{OrganizationId, Page, Permission};
use leptos::prelude::*;

use kit::api::{Query, use_query};
use kit::as_code::as_code;
use kit::ask::use_ask;
use kit::nav::{Nav, use_nav};
use kit::session::{Session, use_session};
use ui::Tone;
use ui::badge::{Badge, Tag};
use ui::button::{Button, Weight};
use ui::confirm::Question;
use ui::copy_button::CopyId;
use ui::data_view::{DataView, EmptyState, Skeleton};
use ui::dialog::{Dialog, DialogBody, DialogFoot, Placement};
use ui::format::number;
use ui::icon::Icon;
use ui::page_head::PageHead;
use ui::table::{Column, DataTable};
use ui::toast::Toasts;
use ui::when::When;

/// What the parts of this page share.
#[derive(Clone, Copy)]
struct Vault {
    organization_id: OrganizationId,
    nav: Nav,
    session: Session,
    list: Query<Page<CredentialView>>,
    providers: Query<Page<ProviderView>>,
    editing: RwSignal<Option<CredentialView>>,
}

impl Vault {
    fn may_manage(self) -> bool {
        self.session.can(Permission::CredentialsManage, self.organization_id)
    }

    fn provider_title(self, name: &str) -> String {
        let providers = self.providers.items().get();
        providers
            .into_iter()
            .find(|provider| provider.name == name)
            .map_or_else(|| name.to_owned(), |provider| provider.title)
    }

    fn path(self, credential: &CredentialView) -> CredentialPath {
        CredentialPath { organization_id: self.organization_id, credential_id: credential.id }
    }

    fn open(self, id: Option<String>) {
        self.nav.set(&[("credential", id), ("new", None)], false);
    }
}

fn secret_view(credential: &CredentialView) -> AnyView {
    match (credential.has_secret, credential.hint.is_empty()) {
        (false, _) => view! { <span class="faint">"none"</span> }.into_any(),
        (true, true) => view! { <Badge tone=Tone::Ok text="Sealed" /> }.into_any(),
        (true, false) => view! { <code class="muted">"…" {credential.hint.clone()}</code> }.into_any(),
    }
}

fn columns(vault: Vault) -> Vec<Column<CredentialView>> {
    vec![
        Column::new("Name", |credential: &CredentialView| credential.name.to_string()),
        Column::new("Provider", move |credential: &CredentialView| vault.provider_title(&credential.provider)),
        Column::new("Address", |credential: &CredentialView| credential.base_url.clone())
            .cell(|credential| view! { <Tag text=credential.base_url.clone() /> }.into_any())
            .wide_only(),
        Column::new(
            "Secret",
            |credential: &CredentialView| if credential.has_secret { "sealed".to_owned() } else { "none".to_owned() },
        )
        .cell(secret_view),
        Column::new("Deployments", |credential: &CredentialView| credential.n_deployments.to_string())
            .number(|credential| number::as_f64(credential.n_deployments)),
        Column::new("Changed", |credential: &CredentialView| credential.updated_at.to_string())
            .sorted_by(|credential| number::signed_as_f64(credential.updated_at.as_micros()))
            .cell(|credential| view! { <When at=credential.updated_at /> }.into_any())
            .wide_only(),
    ]
}

fn empty(vault: Vault) -> AnyView {
    let create = Callback::new(move |()| vault.nav.set(&[("new", Some("1".to_owned()))], false));
    view! {
        <EmptyState icon=Icon::Credential title="No credentials yet" text="A credential is a provider's API key, sealed at rest and bound to one address. Without any, the built-in echo provider still answers.">
            {vault.may_manage().then(|| view! { <Button weight=Weight::Primary icon=Icon::Plus on_press=create>"Add a credential"</Button> })}
        </EmptyState>
    }
    .into_any()
}

/// The page.
#[component]
pub(crate) fn Credentials(organization_id: OrganizationId) -> impl IntoView {
    let path = OrganizationPath { organization_id };
    let list = use_query::<ListCredentials>(move || Some((path, PageQuery { limit: Some(200), cursor: None })))
        .every(Duration::from_secs(30));
    let providers = use_query::<ListProviders>(move || Some((path, NoQuery {})));
    let vault = Vault {
        organization_id,
        nav: use_nav(),
        session: use_session(),
        list,
        providers,
        editing: RwSignal::new(None),
    };
    let selected = vault.nav.param("credential");
    let create = Callback::new(move |()| vault.nav.set(&[("new", Some("1".to_owned()))], false));
    let ready = Callback::new(move |page: Signal<Page<CredentialView>>| {
        view! {
            <DataTable
                label="Credentials"
                columns=columns(vault)
                rows=Signal::derive(move || page.get().items)
                key=|credential: &CredentialView| credential.id.to_string()
                on_open=Callback::new(move |credential: CredentialView| vault.open(Some(credential.id.to_string())))
                selected=Signal::derive(move || selected.get())
                file_name="credentials"
            />
        }
        .into_any()
    });
    view! {
        <PageHead title="Credentials" about="With which secrets does the gateway call providers? Sealed at rest, opened only inside gateway nodes.">
            {move || vault.may_manage().then(|| view! { <Button weight=Weight::Primary icon=Icon::Plus on_press=create test_id="add-credential">"Add credential"</Button> })}
        </PageHead>
        <section class="card" aria-label="List of credentials">
            <DataView load=list.load on_retry=list.retry() skeleton=Skeleton::Rows(5) is_empty=|page| page.items.is_empty() empty=ViewFn::from(move || empty(vault)) ready />
        </section>
        <form::CreateDialog vault />
        <form::EditDialog vault />
        <CredentialPanel vault />
    }
}

#[component]
fn CredentialPanel(vault: Vault) -> impl IntoView {
    let wanted = vault.nav.param("credential");
    let found = Memo::new(move |_| {
        let wanted = wanted.get()?;
        vault.list.items().get().into_iter().find(|credential| credential.id.to_string() == wanted)
    });
    let title = Signal::derive(move || {
        found.get().map_or_else(|| "Credential".to_owned(), |credential| credential.name.to_string())
    });
    let body = move || found.get().map(|credential| panel_body(vault, credential));
    view! {
        <Dialog open=Signal::derive(move || found.get().is_some()) on_close=Callback::new(move |()| vault.open(None)) title placement=Placement::Side>{body}</Dialog>
    }
}

fn archive(vault: Vault, credential: &CredentialView) {
    let (toasts, name) = (expect_context::<Toasts>(), credential.name.to_string());
    let serving = number::plural(credential.n_deployments, "deployment", "deployments");
    let question = Question {
        act: "Archive credential".to_owned(),
        warning: "The secret is destroyed".to_owned(),
        text: format!("{serving} of this organization stop serving. This cannot be undone.").into(),
        name: name.clone(),
    };
    use_ask().before::<ArchiveCredential>(question, vault.path(credential), move |_| {
        toasts.done(format!("“{name}” is archived and its secret destroyed."));
        vault.open(None);
        vault.list.refetch();
    });
}

fn panel_body(vault: Vault, credential: CredentialView) -> AnyView {
    let (for_edit, for_archive) = (credential.clone(), credential.clone());
    let edit = Callback::new(move |()| vault.editing.set(Some(for_edit.clone())));
    let archive = Callback::new(move |()| archive(vault, &for_archive));
    view! {
        <DialogBody>
            <dl class="facts">
                <dt>"Provider"</dt>
                <dd>{vault.provider_title(&credential.provider)}</dd>
                <dt>"Address"</dt>
                <dd><code>{credential.base_url.clone()}</code></dd>
                <dt>"Secret"</dt>
                <dd>{secret_view(&credential)}</dd>
                <dt>"Used by"</dt>
                <dd>{number::plural(credential.n_deployments, "deployment", "deployments")}</dd>
                <dt>"Created"</dt>
                <dd><When at=credential.created_at /></dd>
                <dt>"Changed"</dt>
                <dd><When at=credential.updated_at /></dd>
                <dt>"Id"</dt>
                <dd><CopyId id=credential.id.to_string() /></dd>
            </dl>
            {as_code::<GetCredential>(&vault.path(&credential), &NoQuery {}, &credential)}
        </DialogBody>
        <DialogFoot>
            {vault.may_manage().then(|| view! {
                <Button icon=Icon::Edit on_press=edit>"Edit or replace the secret"</Button>
                <Button weight=Weight::Danger on_press=archive>"Archive"</Button>
            })}
        </DialogFoot>
    }
    .into_any()
}
