//! The left rail: where one is, then workspace things, then organization things. What one may not see is not listed.

use domain::Permission;
use leptos::prelude::*;

use super::{Frame, switcher::Switcher};
use crate::chunks::Chunks;
use kit::page::{OrganizationPage, Page, WorkspacePage};
use kit::session::Session;
use ui::icon::{Glyph, Icon};

/// What one needs to see a page of a workspace.
pub(super) fn needs_in_workspace(page: WorkspacePage) -> Permission {
    match page {
        WorkspacePage::Overview | WorkspacePage::Usage => Permission::UsageRead,
        WorkspacePage::Requests => Permission::RequestsRead,
        WorkspacePage::Keys => Permission::VirtualKeysRead,
        WorkspacePage::Routes => Permission::RoutingRead,
        WorkspacePage::Budgets => Permission::BudgetsRead,
        WorkspacePage::RateLimits => Permission::RateLimitsRead,
    }
}

/// What one needs to see a page of an organization.
pub(super) fn needs_in_organization(page: OrganizationPage) -> Permission {
    match page {
        OrganizationPage::Credentials => Permission::CredentialsRead,
        OrganizationPage::Models => Permission::PricesRead,
        OrganizationPage::Ledger => Permission::OrganizationUsageRead,
        OrganizationPage::KillSwitches => Permission::KillSwitchesRead,
        OrganizationPage::Nodes => Permission::NodesRead,
        OrganizationPage::Audit => Permission::AuditRead,
        // Who may not see all members sees those of their workspace.
        OrganizationPage::Members | OrganizationPage::Settings => Permission::OrganizationRead,
    }
}

/// The pages that the person may see from where they are, workspace first.
pub(super) fn visible_pages(session: Session, frame: Frame) -> (Vec<Page>, Vec<Page>) {
    let Some(place) = frame.place.get() else { return (Vec::new(), Vec::new()) };
    let of_workspace = place.workspace.map(|workspace| {
        let pages = WorkspacePage::ALL.into_iter().filter(|page| session.can_in(needs_in_workspace(*page), workspace));
        pages.map(|page| Page::Workspace(workspace, page)).collect()
    });
    let pages =
        OrganizationPage::ALL.into_iter().filter(|page| session.can(needs_in_organization(*page), place.organization));
    (of_workspace.unwrap_or_default(), pages.map(|page| Page::Organization(place.organization, page)).collect())
}

/// The icon of a page in lists.
pub(super) fn icon_of(page: Page) -> Icon {
    match page {
        Page::Workspace(_, page) => page.icon(),
        Page::Organization(_, page) => page.icon(),
        Page::Account => Icon::User,
        Page::Home | Page::SignIn => Icon::Overview,
    }
}

/// The content of the rail.
#[component]
pub(super) fn Rail(frame: Frame) -> impl IntoView {
    let groups = move || visible_pages(frame.session, frame);
    let build = move || frame.session.with(|me| me.build.clone()).unwrap_or_default();
    view! {
        <Switcher frame />
        <nav class="rail-group" aria-label="Workspace">
            <p class="rail-title" aria-hidden="true">"Workspace"</p>
            {move || groups().0.into_iter().map(|page| link(frame, page)).collect_view()}
        </nav>
        <nav class="rail-group" aria-label="Organization">
            <p class="rail-title" aria-hidden="true">"Organization"</p>
            {move || groups().1.into_iter().map(|page| link(frame, page)).collect_view()}
        </nav>
        <p class="rail-foot">"Headgate " {build}</p>
    }
}

fn link(frame: Frame, page: Page) -> AnyView {
    let (nav, chunks) = (frame.nav, expect_context::<Chunks>());
    view! {
        <a class="rail-link" on:pointerenter=move |_| chunks.expect(page) on:focus=move |_| chunks.expect(page) href=move || nav.href(page) aria-current=move || (nav.page.get() == Some(page)).then_some("page") on:click=move |_| frame.is_rail_open.set(false)>
            <Glyph icon=icon_of(page) />
            <span>{page.title()}</span>
        </a>
    }
    .into_any()
}
