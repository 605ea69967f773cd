//! Budgets: how much may be spent, on what, and how much is left. As a tree: the whole organization, then each workspace.

mod form;
mod meter;
mod panel;

use std::time::Duration;

use api::ops::budgets::{
    AccountQuery, AccountView, BudgetPath, BudgetView, ListBudgetAccounts, ListBudgets, ListOrganizationBudgetAccounts,
    ListOrganizationBudgets, OrganizationBudgetPath,
};
use api::ops::{OrganizationPath, PageQuery, WorkspacePath};
use domain::budget::Enforcement;
use domain::{OrganizationId, Page, Permission, WorkspaceId};
use leptos::prelude::*;
use model::amounts::{unit, window_text, words};
use model::subject::{conditions, depth, dimension_text};

use crate::names::{Names, use_names};
use kit::api::{Query, use_query};
use kit::nav::{Nav, use_nav};
use kit::session::{Session, use_session};
use ui::Tone;
use ui::badge::{Badge, Tag};
use ui::button::{Button, Weight};
use ui::data_view::{DataView, EmptyState, Skeleton};
use ui::icon::{Glyph, Icon};
use ui::page_head::PageHead;
use ui::sort;

/// How often figures are asked for again.
const EVERY: Duration = Duration::from_secs(10);

/// What the parts of this page share.
#[derive(Clone, Copy)]
struct Desk {
    organization_id: OrganizationId,
    workspace_id: WorkspaceId,
    nav: Nav,
    session: Session,
    names: Names,
    list: Query<Page<BudgetView>>,
    editing: RwSignal<Option<BudgetView>>,
}

impl Desk {
    /// Whether the person sees the budgets of all workspaces.
    fn sees_all(self) -> bool {
        self.session.can(Permission::BudgetsRead, self.organization_id)
    }

    fn manages_all(self) -> bool {
        self.session.can(Permission::BudgetsManage, self.organization_id)
    }

    fn manages_here(self) -> bool {
        self.session.can_in(Permission::BudgetsManage, self.workspace_id)
    }

    fn manages(self, budget: &BudgetView) -> bool {
        self.manages_all() || budget.workspace_id == Some(self.workspace_id) && self.manages_here()
    }

    fn path(self, budget: &BudgetView) -> BudgetPath {
        BudgetPath { workspace_id: self.workspace_id, budget_id: budget.id }
    }

    fn wide_path(self, budget: &BudgetView) -> OrganizationBudgetPath {
        OrganizationBudgetPath { organization_id: self.organization_id, budget_id: budget.id }
    }

    /// Which calls count, in one line; empty for all of its place.
    fn whom(self, budget: &BudgetView) -> String {
        let lines = conditions(&budget.subject, &|id| self.names.find(id));
        lines.into_iter().map(|(name, text)| format!("{name}: {text}")).collect::<Vec<_>>().join(" · ")
    }

    fn open(self, id: Option<String>) {
        self.nav.set(&[("budget", id), ("new", None)], false);
    }

    fn place_name(self, workspace: Option<WorkspaceId>) -> String {
        match workspace {
            None => "Whole organization".to_owned(),
            Some(id) => self.session.workspace_name(id).unwrap_or_else(|| id.to_string()),
        }
    }
}

fn kind_badges(budget: &BudgetView) -> AnyView {
    let (tone, text) = match (budget.is_enabled, budget.enforcement) {
        (false, _) => (Tone::Neutral, "Off"),
        (true, Enforcement::Hard) => (Tone::Accent, "Hard"),
        (true, Enforcement::Soft) => (Tone::Neutral, "Soft"),
    };
    let groups = budget.group_by.iter().map(|by| view! { <Tag text=dimension_text(by) /> }).collect_view();
    view! { <Badge tone text /> {groups} }.into_any()
}

/// Budgets of one place, the whole organization first, then the workspace at hand, then the others; the widest first in each.
fn grouped(budgets: Vec<BudgetView>, here: WorkspaceId) -> Vec<(Option<WorkspaceId>, Vec<BudgetView>)> {
    let mut groups: Vec<(Option<WorkspaceId>, Vec<BudgetView>)> = Vec::new();
    for budget in budgets {
        match groups.iter_mut().find(|(place, _)| *place == budget.workspace_id) {
            Some((_, group)) => group.push(budget),
            None => groups.push((budget.workspace_id, vec![budget])),
        }
    }
    for (_, group) in &mut groups {
        // Stable: the newest first among those that are equally narrow.
        sort::by(group, |left, right| depth(&left.subject).cmp(&depth(&right.subject)));
    }
    let rank = |place: Option<WorkspaceId>| match place {
        None => (0, None),
        Some(id) if id == here => (1, None),
        other => (2, other),
    };
    sort::by(&mut groups, |left, right| rank(left.0).cmp(&rank(right.0)));
    groups
}

/// The page.
#[component]
pub fn Budgets(organization_id: OrganizationId, workspace_id: WorkspaceId) -> impl IntoView {
    let session = use_session();
    let query = || PageQuery { limit: Some(200), cursor: None };
    let sees_all = untrack(|| session.can(Permission::BudgetsRead, organization_id));
    let list = if sees_all {
        use_query::<ListOrganizationBudgets>(move || Some((OrganizationPath { organization_id }, query())))
    } else {
        use_query::<ListBudgets>(move || Some((WorkspacePath { workspace_id }, query())))
    };
    let desk = Desk {
        organization_id,
        workspace_id,
        nav: use_nav(),
        session,
        names: use_names(Signal::stored(Some(workspace_id))),
        list: list.every(EVERY),
        editing: RwSignal::new(None),
    };
    let create = Callback::new(move |()| desk.nav.set(&[("new", Some("1".to_owned()))], false));
    let ready = Callback::new(move |page: Signal<Page<BudgetView>>| tree(desk, page));
    view! {
        <PageHead title="Budgets" about="How much may be spent, on what, and how much is left. A hard budget is never exceeded; a soft one only counts.">
            {move || desk.manages_here().then(|| view! { <Button weight=Weight::Primary icon=Icon::Plus on_press=create test_id="create-budget">"Create budget"</Button> })}
        </PageHead>
        <section class="card" aria-label="List of budgets">
            <DataView load=list.load on_retry=list.retry() skeleton=Skeleton::Rows(6) is_empty=|page| page.items.is_empty() empty=ViewFn::from(move || empty(desk)) ready />
        </section>
        <form::CreateDialog desk />
        <form::EditDialog desk />
        <panel::BudgetPanel desk />
    }
}

fn empty(desk: Desk) -> AnyView {
    let create = Callback::new(move |()| desk.nav.set(&[("new", Some("1".to_owned()))], false));
    view! {
        <EmptyState icon=Icon::Budget title="No budgets yet" text="A budget caps dollars, tokens or calls of a day, a month or for ever: for a workspace, or for each end user, key or model apart.">
            {desk.manages_here().then(|| view! { <Button weight=Weight::Primary icon=Icon::Plus on_press=create>"Create a budget"</Button> })}
        </EmptyState>
    }
    .into_any()
}

fn tree(desk: Desk, page: Signal<Page<BudgetView>>) -> AnyView {
    let groups = Memo::new(move |_| grouped(page.get().items, desk.workspace_id));
    let group = move |(place, budgets): (Option<WorkspaceId>, Vec<BudgetView>)| {
        let rows = budgets.into_iter().map(|budget| view! { <BudgetRow desk budget /> }).collect_view();
        let name = desk.place_name(place);
        let label = name.clone();
        view! {
            <section class="budget-place" aria-label=label>
                <h2 class="budget-group"><Glyph icon=if place.is_some() { Icon::Workspace } else { Icon::Building } /> {name}</h2>
                {rows}
            </section>
        }
    };
    view! { <div data-testid="budgets">{move || groups.get().into_iter().map(group).collect_view()}</div> }.into_any()
}

/// The accounts of a budget that hold this moment, asked for again and again.
fn use_accounts(desk: Desk, budget: &BudgetView) -> Query<Page<AccountView>> {
    let (path, wide) = (desk.path(budget), desk.wide_path(budget));
    let query = || AccountQuery { limit: Some(200), ..AccountQuery::default() };
    if untrack(|| desk.sees_all()) {
        use_query::<ListOrganizationBudgetAccounts>(move || Some((wide, query()))).every(EVERY)
    } else {
        use_query::<ListBudgetAccounts>(move || Some((path, query()))).every(EVERY)
    }
}

/// A limit of which no call has counted yet.
fn unused(budget: &BudgetView) -> Vec<AccountView> {
    let nothing = domain::budget::Amount::new(budget.measure, 0);
    let account = |limit: &api::ops::budgets::BudgetLimit| AccountView {
        window: limit.window,
        group: Vec::new(),
        starts_at: None,
        resets_at: None,
        limit: Some(limit.amount),
        carried_over: nothing,
        posted: nothing,
        held: nothing,
        remaining: Some(limit.amount),
        overdrawn: nothing,
        updated_at: budget.updated_at,
    };
    budget.limits.iter().map(account).collect()
}

/// The accounts to draw in the list: those of each limit, in the order of limits.
fn lines_of(budget: &BudgetView, accounts: &[AccountView]) -> Vec<AccountView> {
    let found = |own: AccountView| accounts.iter().find(|it| it.window == own.window).cloned().unwrap_or(own);
    unused(budget).into_iter().map(found).collect()
}

#[component]
fn BudgetRow(desk: Desk, budget: BudgetView) -> impl IntoView {
    let id = budget.id.to_string();
    let unit = unit(budget.measure);
    let name = budget.name.to_string();
    let label = name.clone();
    let badges = kind_badges(&budget);
    let about = budget.description.clone().map(|text| view! { <p class="muted small">{text}</p> });
    let of_whom = budget.clone();
    let whom = move || {
        let text = desk.whom(&of_whom);
        (!text.is_empty()).then(|| view! { <p class="faint small">{text}</p> })
    };
    let indent = ["budget-row", "budget-row budget-row-1", "budget-row budget-row-2"];
    let indent = indent[depth(&budget.subject).min(2)];
    let lines = if budget.group_by.is_empty() {
        let accounts = use_accounts(desk, &budget);
        let of = budget.clone();
        let lines = move || {
            let accounts = accounts.items().get();
            lines_of(&of, &accounts).iter().map(|account| meter::line(account, unit)).collect_view()
        };
        view! { {lines} }.into_any()
    } else {
        let limits = budget.limits.iter().map(|limit| {
            view! { <span class="budget-parts"><strong class="number">{words(limit.amount, unit)}</strong> " " <span class="muted">{window_text(limit.window)}</span></span> }
        });
        view! { <div class="budget-parts">{limits.collect_view()} <span class="faint small">"for each of them apart"</span></div> }.into_any()
    };
    view! {
        <article class=indent aria-label=label>
            <div class="row">
                <button type="button" class="budget-name" on:click=move |_| desk.open(Some(id.clone()))>{name}</button>
                {badges}
            </div>
            {about}
            {whom}
            {lines}
        </article>
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::BudgetId;
    use domain::budget::{Amount, Measure, Subject, WhenUnreachable, Window};

    fn budget(workspace_id: Option<WorkspaceId>, n: u128) -> BudgetView {
        let now = domain::Timestamp::from_micros(0);
        BudgetView {
            id: BudgetId::from_uuid(n),
            workspace_id,
            name: "b".parse().expect("a name"),
            description: None,
            is_enabled: true,
            subject: Subject::default(),
            group_by: Vec::new(),
            measure: Measure::Requests,
            limits: vec![
                api::ops::budgets::BudgetLimit { window: Window::Month, amount: Amount::Count(9) },
                api::ops::budgets::BudgetLimit { window: Window::Day, amount: Amount::Count(3) },
            ],
            time_zone: "UTC".to_owned(),
            enforcement: Enforcement::Hard,
            when_unreachable: WhenUnreachable::Refuse,
            alert_at: Vec::new(),
            increase: None,
            carries_over: false,
            version: 1,
            created_at: now,
            updated_at: now,
        }
    }

    #[test]
    fn the_tree_begins_with_the_organization_and_the_workspace_at_hand() {
        let (here, other) = (WorkspaceId::from_uuid(9), WorkspaceId::from_uuid(1));
        let groups = grouped(vec![budget(Some(other), 1), budget(Some(here), 2), budget(None, 3)], here);
        assert_eq!(groups.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [None, Some(here), Some(other)]);
    }

    #[test]
    fn a_limit_without_an_account_is_whole() {
        let it = budget(None, 1);
        let mut day = unused(&it).remove(1);
        day.posted = Amount::Count(2);
        let lines = lines_of(&it, &[day]);
        assert_eq!((lines[0].posted, lines[1].posted), (Amount::Count(0), Amount::Count(2)));
        assert_eq!(lines[0].remaining, Some(Amount::Count(9)));
    }
}
