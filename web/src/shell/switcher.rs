//! Which organization and workspace: a searchable list under the product's mark.

use api::ops::NoPath;
use api::ops::auth::MembershipView;
use api::ops::organizations::{CreateOrganization, NewOrganization};
use leptos::prelude::*;

use super::Frame;
use kit::api::use_command;
use kit::naming;
use kit::nav::Place;
use kit::page::{OrganizationPage, Page, WorkspacePage};
use ui::browser;
use ui::button::{Button, Weight};
use ui::dialog::{Dialog, DialogBody, DialogFoot};
use ui::field::{FormError, TextField};
use ui::icon::{Glyph, Icon, Mark};
use ui::menu::{MenuItem, MenuLink, Popover};
use ui::toast::Toasts;

/// The page of the same kind in another workspace.
fn same_page_in(page: Option<Page>, workspace: domain::WorkspaceId) -> Page {
    match page {
        Some(Page::Workspace(_, page)) => Page::Workspace(workspace, page),
        _ => Page::Workspace(workspace, WorkspacePage::Overview),
    }
}

fn matches(text: &str, wanted: &str) -> bool {
    wanted.is_empty() || text.to_lowercase().contains(&wanted.to_lowercase())
}

fn names(memberships: &[MembershipView], place: Option<Place>) -> (String, String) {
    let membership =
        place.and_then(|place| memberships.iter().find(|membership| membership.organization_id == place.organization));
    let workspace = membership.and_then(|membership| {
        let wanted = place.and_then(|place| place.workspace)?;
        membership.workspaces.iter().find(|access| access.workspace_id == wanted)
    });
    (
        workspace.map_or_else(|| "No workspace".to_owned(), |access| access.name.to_string()),
        membership.map_or_else(|| "No organization".to_owned(), |membership| membership.name.to_string()),
    )
}

fn group(frame: Frame, membership: &MembershipView, wanted: &str, open: RwSignal<bool>) -> Option<AnyView> {
    let name = membership.name.to_string();
    let page = frame.nav.page.get();
    let all = matches(&name, wanted);
    let links: Vec<AnyView> = membership
        .workspaces
        .iter()
        .filter(|access| all || matches(access.name.as_str(), wanted))
        .map(|access| {
            let href = same_page_in(page, access.workspace_id).path();
            view! { <MenuLink icon=Icon::Workspace text=access.name.to_string() href open /> }.into_any()
        })
        .collect();
    if links.is_empty() && !all {
        return None;
    }
    let settings = Page::Organization(membership.organization_id, OrganizationPage::Settings).path();
    Some(
        view! {
            <p class="menu-group">{name.clone()}</p>
            {links}
            <MenuLink icon=Icon::Building text=format!("{name} settings") href=settings open />
        }
        .into_any(),
    )
}

/// The switcher.
#[component]
pub(super) fn Switcher(frame: Frame) -> impl IntoView {
    let open = RwSignal::new(false);
    let search = RwSignal::new(String::new());
    let founding = RwSignal::new(false);
    let close = Callback::new(move |()| founding.set(false));
    let is_operator = move || frame.session.with(|me| me.is_operator).unwrap_or(false);
    let found = Callback::new(move |()| {
        open.set(false);
        founding.set(true);
    });
    let now = Signal::derive(move || names(&frame.session.memberships(), frame.place.get()));
    Effect::new(move |_| {
        if let Some(workspace) = frame.place.get().and_then(|place| place.workspace) {
            browser::remember("workspace", &workspace.to_string());
        }
    });
    Effect::new(move |_| {
        if !open.get() {
            search.set(String::new());
        }
    });
    let label = Signal::stored("Switch workspace".to_owned());
    let trigger = ViewFn::from(move || {
        view! {
            <Mark />
            <span class="switcher-names">
                <strong class="truncate">{move || now.get().0}</strong>
                <span class="truncate faint small">{move || now.get().1}</span>
            </span>
            <Glyph icon=Icon::UpDown />
        }
    });
    view! {
        <Popover label open class="switcher" test_id="switcher" trigger>
            <div class="menu-search">
                <input class="input" type="search" aria-label="Search workspaces" placeholder="Search workspaces" prop:value=move || search.get() on:input=move |event| search.set(event_target_value(&event)) />
            </div>
            <div class="menu">
                {move || frame.session.memberships().iter().filter_map(|membership| group(frame, membership, search.get().trim(), open)).collect_view()}
                {move || is_operator().then(|| view! { <MenuItem icon=Icon::Plus text="New organization" on_press=found /> })}
            </div>
        </Popover>
        <Dialog open=founding on_close=close title=Signal::stored("New organization".to_owned())><FoundForm frame close /></Dialog>
    }
}

#[component]
fn FoundForm(frame: Frame, close: Callback<()>) -> impl IntoView {
    let (name, slug) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let create = use_command::<CreateOrganization>();
    let toasts = expect_context::<Toasts>();
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let read = naming::read(create.errors, &name.get_untracked(), &slug.get_untracked());
        let Some((name, slug)) = read else { return };
        create.run(NoPath {}, NewOrganization { slug, name }, move |organization| {
            toasts.done(format!("Organization “{}” is ready.", organization.name));
            close.run(());
            let page = Page::Organization(organization.id, OrganizationPage::Settings);
            frame.session.reload_and(Callback::new(move |()| frame.nav.go(&page.path())));
        });
    };
    view! {
        <form on:submit=submit>
            <DialogBody>
                <p class="muted">"Members, credentials, keys, budgets and audit of one organization are apart from those of every other. You own it, and it begins with a first workspace."</p>
                <TextField label="Name" value=name required=true autofocus=true placeholder="Acme Research" error=create.errors.of("name") />
                <TextField label="Slug" value=slug required=true placeholder="acme-research" hint="Lower-case letters, digits and hyphens; unique in this installation, and it does not change later." error=create.errors.of("slug") />
                <FormError errors=create.errors />
            </DialogBody>
            <DialogFoot>
                <Button on_press=close>"Cancel"</Button>
                <Button submits=true weight=Weight::Primary busy=create.is_busy>"Create organization"</Button>
            </DialogFoot>
        </form>
    }
}
