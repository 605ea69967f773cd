//! Virtual keys: who can call the gateway, with which models, until when.

mod create;
mod edit;
mod expiry;
mod issued;
mod panel;
mod revoke;
mod rotate;
mod snippets;

use api::ops::WorkspacePath;
use api::ops::virtual_keys::{IssuedVirtualKeyView, ListVirtualKeys, VirtualKeyQuery, VirtualKeyView};
use domain::virtual_key::KeyStatus;
use domain::{Page, Permission, VirtualKeyId, WorkspaceId};
use leptos::prelude::*;

use kit::nav::{Nav, use_nav};
use kit::pages::{Pages, use_pages};
use kit::session::{Environments, Session, use_environments, use_session};
use kit::views::{SavedViews, use_table_state};
use ui::Tone;
use ui::badge::{Badge, EnvironmentBadge, Tag};
use ui::browser;
use ui::button::{Button, Weight};
use ui::data_view::{DataView, EmptyState, Skeleton};
use ui::format::{number, time};
use ui::icon::Icon;
use ui::menu::Align;
use ui::page_head::PageHead;
use ui::table::{Column, DataTable};
use ui::when::WhenOr;

/// What the parts of this page share.
#[derive(Clone, Copy)]
struct Keys {
    workspace_id: WorkspaceId,
    nav: Nav,
    session: Session,
    environments: Environments,
    list: Pages<VirtualKeyView>,
    /// The key whose secret is on screen.
    issued: RwSignal<Option<IssuedVirtualKeyView>>,
}

impl Keys {
    fn open(self, id: Option<VirtualKeyId>) {
        self.nav.set(&[("key", id.map(|id| id.to_string())), ("new", None)], false);
    }

    fn may(self, permission: Permission) -> bool {
        self.session.can_in(permission, self.workspace_id)
    }
}

fn status_badge(status: KeyStatus) -> AnyView {
    let (tone, text) = match status {
        KeyStatus::Active => (Tone::Ok, "Active"),
        KeyStatus::Expired => (Tone::Warn, "Expired"),
        KeyStatus::Revoked => (Tone::Neutral, "Revoked"),
    };
    view! { <Badge tone text dot=true /> }.into_any()
}

fn status_text(key: &VirtualKeyView) -> &'static str {
    match key.status {
        KeyStatus::Active => "Active",
        KeyStatus::Expired => "Expired",
        KeyStatus::Revoked => "Revoked",
    }
}

fn models_text(key: &VirtualKeyView) -> String {
    if key.allowed_models.is_empty() {
        return "All models".to_owned();
    }
    key.allowed_models.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn models_view(key: &VirtualKeyView) -> AnyView {
    match key.allowed_models.split_first() {
        None => view! { <span class="faint">"All models"</span> }.into_any(),
        Some((first, rest)) => {
            let more = (!rest.is_empty()).then(|| format!("+{}", rest.len()));
            view! { <span class="row-tags" title=models_text(key)><Tag text=first.to_string() /> {more.map(|more| view! { <span class="faint small">{more}</span> })}</span> }.into_any()
        }
    }
}

/// Who issued the key.
fn owner_text(key: &VirtualKeyView) -> String {
    match (&key.created_by_name, key.created_by) {
        (Some(name), _) => name.to_string(),
        (None, Some(_)) => "No longer a member".to_owned(),
        (None, None) => "First start".to_owned(),
    }
}

fn owner_view(key: &VirtualKeyView) -> AnyView {
    let is_faint = key.created_by_name.is_none();
    view! { <span class:faint=is_faint>{owner_text(key)}</span> }.into_any()
}

fn micros(at: Option<domain::Timestamp>) -> f64 {
    at.map_or(0.0, |at| number::signed_as_f64(at.as_micros()))
}

fn columns(environments: Environments) -> Vec<Column<VirtualKeyView>> {
    let zone = browser::zone();
    let shown = move |at: Option<domain::Timestamp>| at.map(|at| time::absolute(at, zone)).unwrap_or_default();
    vec![
        Column::new("Name", |key: &VirtualKeyView| key.name.to_string()),
        Column::new("Status", |key: &VirtualKeyView| status_text(key).to_owned()).cell(|key| status_badge(key.status)),
        Column::new("Environment", move |key: &VirtualKeyView| environments.slug_of(key.environment_id))
            .cell(move |key| view! { <EnvironmentBadge name=environments.slug_of(key.environment_id) /> }.into_any()),
        Column::new("Key", |key: &VirtualKeyView| key.hint.clone())
            .cell(|key| view! { <code class="muted">{key.hint.clone()}</code> }.into_any())
            .wide_only(),
        Column::new("Models", models_text).cell(models_view).wide_only(),
        Column::new("Owner", owner_text).cell(owner_view).wide_only(),
        Column::new("Last used", move |key: &VirtualKeyView| shown(key.last_used_at))
            .sorted_by(|key| micros(key.last_used_at))
            .cell(|key| view! { <WhenOr at=key.last_used_at otherwise="Never" /> }.into_any()),
        Column::new("Expires", move |key: &VirtualKeyView| shown(key.expires_at))
            .sorted_by(|key| micros(key.expires_at))
            .cell(|key| view! { <WhenOr at=key.expires_at otherwise="Never" /> }.into_any())
            .wide_only(),
        Column::new("Created", move |key: &VirtualKeyView| shown(Some(key.created_at)))
            .sorted_by(|key| micros(Some(key.created_at)))
            .cell(|key| view! { <WhenOr at=Some(key.created_at) otherwise="" /> }.into_any())
            .wide_only(),
    ]
}

fn empty(keys: Keys) -> AnyView {
    let may_create = keys.may(Permission::VirtualKeysCreate);
    let create = Callback::new(move |()| keys.nav.set(&[("new", Some("1".to_owned()))], false));
    view! {
        <EmptyState
            icon=Icon::Key
            title="No virtual keys here yet"
            text="A virtual key lets one application call the gateway. It is bound to an environment, can be limited to some models, and can be revoked within a second."
        >
            {may_create.then(|| view! { <Button weight=Weight::Primary icon=Icon::Plus on_press=create>"Create a key"</Button> })}
        </EmptyState>
    }
    .into_any()
}

/// The page.
#[component]
pub(crate) fn VirtualKeys(workspace_id: WorkspaceId) -> impl IntoView {
    let environments = use_environments();
    let list = use_pages::<ListVirtualKeys, VirtualKeyView>(
        move |cursor| {
            (!environments.is_pending()).then(|| {
                let query = VirtualKeyQuery { environment_id: environments.chosen(), limit: Some(200), cursor };
                (WorkspacePath { workspace_id }, query)
            })
        },
        |key| key.id.to_string(),
    )
    .every(std::time::Duration::from_secs(15));
    let keys =
        Keys { workspace_id, nav: use_nav(), session: use_session(), environments, list, issued: RwSignal::new(None) };
    let selected = keys.nav.param("key");
    let create = Callback::new(move |()| keys.nav.set(&[("new", Some("1".to_owned()))], false));
    let ready = Callback::new(move |page: Signal<Page<VirtualKeyView>>| {
        view! {
            <DataTable
                label="Virtual keys"
                columns=columns(environments)
                rows=Signal::derive(move || page.get().items)
                key=|key: &VirtualKeyView| key.id.to_string()
                on_open=Callback::new(move |key: VirtualKeyView| keys.open(Some(key.id)))
                selected=Signal::derive(move || selected.get())
                file_name="virtual-keys"
                tools=view! { <SavedViews nav=keys.nav panels=&["key", "new"] align=Align::Start /> }.into_any()
                state=use_table_state(keys.nav)
                more=keys.list.more()
            />
        }
        .into_any()
    });
    view! {
        <PageHead title="Virtual keys" about="Who can call the gateway, from which environment, with which models.">
            {move || {
                keys.may(Permission::VirtualKeysCreate)
                    .then(|| view! { <Button weight=Weight::Primary icon=Icon::Plus on_press=create test_id="create-key">"Create key"</Button> })
            }}
        </PageHead>
        <section class="card" aria-label="List of virtual keys">
            <DataView load=list.load on_retry=list.retry() skeleton=Skeleton::Rows(6) is_empty=|page| page.items.is_empty() empty=ViewFn::from(move || empty(keys)) ready />
        </section>
        <create::CreateDialog keys />
        <issued::IssuedDialog keys />
        <panel::KeyPanel keys />
    }
}
