//! One key: what it is, what it did, and what can be done with it.

use api::NoQuery;
use api::ops::WorkspacePath;
use api::ops::usage::{UsageQuery, UsageReport, WorkspaceUsage};
use api::ops::virtual_keys::{GetVirtualKey, VirtualKeyPath, VirtualKeyView};
use domain::virtual_key::KeyStatus;
use domain::{Permission, VirtualKeyId};
use leptos::prelude::*;

use super::{Keys, edit, models_text, owner_view, revoke, rotate, status_badge};
use kit::api::{Query, use_query};
use kit::as_code::as_code;
use kit::page::{Page, WorkspacePage};
use ui::badge::EnvironmentBadge;
use ui::browser;
use ui::button::{Button, LinkButton, Weight};
use ui::copy_button::CopyId;
use ui::data_view::{DataView, Skeleton};
use ui::dialog::{Dialog, DialogBody, DialogFoot, Placement};
use ui::format::{money, number, time};
use ui::icon::Icon;
use ui::stat::Stat;
use ui::when::{UseSince, WhenOr};

/// Which act is open above the panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Edit,
    Rotate,
}

/// What the parts of the panel share.
#[derive(Clone, Copy)]
pub(super) struct OneKey {
    pub(super) keys: Keys,
    pub(super) id: VirtualKeyId,
    pub(super) query: Query<VirtualKeyView>,
    /// The last 24 hours; also the consequences that a revocation names.
    usage: Query<UsageReport>,
    pub(super) act: RwSignal<Option<Act>>,
}

impl OneKey {
    pub(super) fn path(self) -> VirtualKeyPath {
        VirtualKeyPath { workspace_id: self.keys.workspace_id, virtual_key_id: self.id }
    }

    /// After a change: the row shows it at once, wherever in the list it is; this key is asked anew.
    pub(super) fn changed(self, key: VirtualKeyView) {
        let id = key.id;
        self.act.set(None);
        self.keys.list.replace(key, |old| old.id == id);
        self.query.refetch();
    }
}

/// The panel, open while the address names a key.
#[component]
pub(super) fn KeyPanel(keys: Keys) -> impl IntoView {
    let wanted = keys.nav.param("key");
    let id = Memo::new(move |_| wanted.get().and_then(|id| id.parse::<VirtualKeyId>().ok()));
    let title = RwSignal::new("Virtual key".to_owned());
    view! {
        <Dialog open=Signal::derive(move || id.get().is_some()) on_close=Callback::new(move |()| keys.open(None)) title placement=Placement::Side test_id="key-panel">
            {move || id.get().map(|id| view! { <PanelBody keys id title /> })}
        </Dialog>
    }
}

#[component]
fn PanelBody(keys: Keys, id: VirtualKeyId, title: RwSignal<String>) -> impl IntoView {
    let path = VirtualKeyPath { workspace_id: keys.workspace_id, virtual_key_id: id };
    let query = use_query::<GetVirtualKey>(move || Some((path, NoQuery {})));
    let one = OneKey { keys, id, query, usage: use_last_day(keys, id), act: RwSignal::new(None) };
    Effect::new(move |_| {
        if let Some(key) = query.data().get() {
            title.set(key.name.to_string());
        }
    });
    let ready = Callback::new(move |key: Signal<VirtualKeyView>| {
        view! {
            <div class="stack">
                {move || facts(one, &key.get())}
                <LastDay one />
                {move || as_code::<GetVirtualKey>(&path, &NoQuery {}, &key.get())}
            </div>
        }
        .into_any()
    });
    view! {
        <DialogBody>
            <DataView load=query.load on_retry=query.retry() skeleton=Skeleton::Rows(6) is_empty=|_| false empty=ViewFn::from(|| ()) ready />
        </DialogBody>
        {move || query.data().get().map(|key| acts(one, &key))}
    }
}

fn facts(one: OneKey, key: &VirtualKeyView) -> AnyView {
    let zone = browser::zone();
    let retiring = key.old_secret_retires_at.map(|at| {
        let until = format!("works until {} {}, ", time::absolute(at, zone), zone.name());
        view! { <dt>"Old secret"</dt> <dd>{until} <UseSince at=key.old_secret_last_used_at /></dd> }
    });
    view! {
        <dl class="facts">
            <dt>"Status"</dt>
            <dd>{status_badge(key.status)}</dd>
            <dt>"Environment"</dt>
            <dd><EnvironmentBadge name=one.keys.environments.slug_of(key.environment_id) /></dd>
            <dt>"Key"</dt>
            <dd><code>{key.hint.clone()}</code></dd>
            <dt>"Models"</dt>
            <dd>{models_text(key)}</dd>
            <dt>"Last used"</dt>
            <dd><WhenOr at=key.last_used_at otherwise="Never" /></dd>
            <dt>"Expires"</dt>
            <dd><WhenOr at=key.expires_at otherwise="Never" /></dd>
            {retiring}
            <dt>"Owner"</dt>
            <dd>{owner_view(key)}</dd>
            <dt>"Created"</dt>
            <dd><WhenOr at=Some(key.created_at) otherwise="" /></dd>
            {key.revoked_at.map(|at| view! { <dt>"Revoked"</dt> <dd><WhenOr at=Some(at) otherwise="" /></dd> })}
            {key.revoked_because.map(|_| view! { <dt>"Because"</dt> <dd>"Somebody found the secret and posted it"</dd> })}
            <dt>"Id"</dt>
            <dd><CopyId id=key.id.to_string() /></dd>
        </dl>
    }
    .into_any()
}

fn use_last_day(keys: Keys, id: VirtualKeyId) -> Query<UsageReport> {
    use_query::<WorkspaceUsage>(move || {
        let now = browser::now();
        let query = UsageQuery {
            from: Some(now.minus(std::time::Duration::from_secs(86_400))),
            to: Some(now),
            virtual_key_id: Some(id),
            ..UsageQuery::default()
        };
        Some((WorkspacePath { workspace_id: keys.workspace_id }, query))
    })
}

#[component]
fn LastDay(one: OneKey) -> impl IntoView {
    let usage = one.usage;
    let total = move || usage.data().get().map(|report| report.total).unwrap_or_default();
    let requests = one
        .keys
        .nav
        .href_with(Page::Workspace(one.keys.workspace_id, WorkspacePage::Requests), &[("key", one.id.to_string())]);
    view! {
        <section class="stack-tight" aria-label="Last 24 hours">
            <div class="row-between">
                <h3>"Last 24 hours"</h3>
                <LinkButton href=requests weight=Weight::Ghost size=ui::button::Size::Small>"See requests"</LinkButton>
            </div>
            <div class="stats stats-3">
                <Stat label="Requests" value=Signal::derive(move || number::grouped(total().requests)) />
                <Stat label="Errors" value=Signal::derive(move || number::grouped(total().errors)) />
                <Stat label="Spend" value=Signal::derive(move || money::usd(total().cost_usd)) />
            </div>
        </section>
    }
}

fn acts(one: OneKey, key: &VirtualKeyView) -> AnyView {
    let is_active = key.status != KeyStatus::Revoked;
    let may_update = is_active && one.keys.may(Permission::VirtualKeysUpdate);
    let may_revoke = is_active && one.keys.may(Permission::VirtualKeysRevoke);
    let open = move |act| Callback::new(move |()| one.act.set(Some(act)));
    let close = Callback::new(move |()| one.act.set(None));
    let (for_edit, for_rotate, for_revoke) = (key.clone(), key.clone(), key.clone());
    let end = Callback::new(move |()| revoke::revoke(one, one.usage, &for_revoke));
    view! {
        <DialogFoot>
            {may_update.then(|| view! { <Button icon=Icon::Edit on_press=open(Act::Edit)>"Edit"</Button> })}
            {may_update.then(|| view! { <Button icon=Icon::Refresh on_press=open(Act::Rotate)>"Rotate"</Button> })}
            {may_revoke.then(|| view! { <Button weight=Weight::Danger on_press=end test_id="revoke-key">"Revoke"</Button> })}
        </DialogFoot>
        <Dialog open=Signal::derive(move || one.act.get() == Some(Act::Edit)) on_close=close title=Signal::stored("Edit key".to_owned())>
            <edit::EditForm one key=for_edit.clone() />
        </Dialog>
        <Dialog open=Signal::derive(move || one.act.get() == Some(Act::Rotate)) on_close=close title=Signal::stored("Rotate key".to_owned())>
            {rotate::form(one, &for_rotate)}
        </Dialog>
    }
    .into_any()
}
