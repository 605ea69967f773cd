//! One budget at the side: what it says, and how each of its accounts stands.

use api::NoQuery;
use api::ops::budgets::{
    AccountView, ArchiveBudget, ArchiveOrganizationBudget, BudgetView, GetBudget, GetOrganizationBudget,
};
use domain::Page;
use leptos::prelude::*;
use model::amounts::{fullness, pace, size, unit, window_text, words};
use model::subject::{conditions, dimension_text};

use super::{Desk, kind_badges, meter, use_accounts};
use crate::names::Names;
use kit::as_code::as_code;
use kit::ask::use_ask;
use ui::button::{Button, Weight};
use ui::confirm::Question;
use ui::copy_button::CopyId;
use ui::data_view::{DataView, EmptyState, Skeleton};
use ui::dialog::{Dialog, DialogBody, DialogFoot, Placement};
use ui::icon::Icon;
use ui::table::{Column, DataTable};
use ui::toast::Toasts;
use ui::when::When;

#[component]
pub(super) fn BudgetPanel(desk: Desk) -> impl IntoView {
    let wanted = desk.nav.param("budget");
    let found = Memo::new(move |_| {
        let wanted = wanted.get()?;
        desk.list.items().get().into_iter().find(|budget| budget.id.to_string() == wanted)
    });
    let title =
        Signal::derive(move || found.get().map_or_else(|| "Budget".to_owned(), |budget| budget.name.to_string()));
    let body = move || found.get().map(|budget| panel_body(desk, budget));
    view! {
        <Dialog open=Signal::derive(move || found.get().is_some()) on_close=Callback::new(move |()| desk.open(None)) title placement=Placement::Side test_id="budget-panel">{body}</Dialog>
    }
}

/// What an account is for: its group, or the whole.
fn group_text(names: Names, account: &AccountView) -> String {
    let values: Vec<String> = account.group.iter().map(|it| names.of(&it.value)).collect();
    model::subject::group_text(values.iter().map(String::as_str))
}

fn account_key(account: &AccountView) -> String {
    let values: Vec<&str> = account.group.iter().map(|it| it.value.as_str()).collect();
    format!("{}|{}", account.window, values.join("|"))
}

fn columns(names: Names, unit: &'static str) -> Vec<Column<AccountView>> {
    let optional = move |amount: Option<domain::budget::Amount>| {
        amount.map_or_else(|| "–".to_owned(), |amount| words(amount, unit))
    };
    vec![
        Column::new("For", move |account: &AccountView| group_text(names, account)),
        Column::new("Window", |account: &AccountView| window_text(account.window).to_owned()).cell(|account| {
            let anew = account.resets_at.map(|at| view! { <span class="faint small">"anew " <When at /></span> });
            view! { <span class="stack-hair budget-window"><span>{window_text(account.window)}</span>{anew}</span> }
                .into_any()
        }),
        Column::new("Standing", |account: &AccountView| format!("{:.0} %", fullness(account) * 100.0))
            .sorted_by(fullness)
            .cell(|account| meter::bar(account, pace(account, ui::browser::now()))),
        Column::new("Used", move |account: &AccountView| words(account.posted, unit))
            .number(|account| size(account.posted)),
        Column::new("Held", move |account: &AccountView| words(account.held, unit))
            .number(|account| size(account.held)),
        Column::new("Left", move |account: &AccountView| optional(account.remaining))
            .number(|account| account.remaining.map_or(0.0, size)),
        Column::new("Limit", move |account: &AccountView| optional(account.limit))
            .number(|account| account.limit.map_or(0.0, size)),
    ]
}

fn archive(desk: Desk, budget: &BudgetView) {
    let (toasts, name) = (expect_context::<Toasts>(), budget.name.to_string());
    let question = Question {
        act: "Archive budget".to_owned(),
        warning: "It binds no call any more".to_owned(),
        text: "What was spent stays in the usage; the name is free. This cannot be undone.".into(),
        name: name.clone(),
    };
    let done = move || {
        toasts.done(format!("“{name}” is archived."));
        desk.open(None);
        desk.list.refetch();
    };
    if desk.manages_all() {
        use_ask().before::<ArchiveOrganizationBudget>(question, desk.wide_path(budget), move |_| done());
    } else {
        use_ask().before::<ArchiveBudget>(question, desk.path(budget), move |_| done());
    }
}

fn facts(desk: Desk, budget: &BudgetView) -> AnyView {
    let limits = budget
        .limits
        .iter()
        .map(|limit| format!("{} {}", words(limit.amount, unit(budget.measure)), window_text(limit.window)));
    let limits = limits.collect::<Vec<_>>().join(", ");
    let of_whom = budget.subject.clone();
    let counted = move || {
        let subject = conditions(&of_whom, &|id| desk.names.find(id));
        if subject.is_empty() {
            return view! { <dt>"Counts"</dt> <dd>"Every call"</dd> }.into_any();
        }
        subject.into_iter().map(|(name, text)| view! { <dt>{name}</dt> <dd>{text}</dd> }).collect_view().into_any()
    };
    let increase = budget.increase.clone().map(|it| {
        let amount = words(it.amount, unit(budget.measure));
        view! { <dt>"More for a while"</dt> <dd>{format!("{amount}, {}, until ", it.reason)} <When at=it.expires_at /></dd> }
    });
    let percents = budget.alert_at.iter().map(|percent| format!("{percent} %")).collect::<Vec<_>>().join(", ");
    let dark = match budget.when_unreachable {
        domain::budget::WhenUnreachable::Refuse => "Calls are refused",
        domain::budget::WhenUnreachable::Allow => "Calls are served and booked",
    };
    view! {
        <dl class="facts">
            <dt>"Of"</dt>
            <dd>{desk.place_name(budget.workspace_id)}</dd>
            <dt>"Kind"</dt>
            <dd class="row-tags">{kind_badges(budget)}</dd>
            <dt>"Limits"</dt>
            <dd>{limits}</dd>
            {(!budget.group_by.is_empty()).then(|| {
                let by = budget.group_by.iter().map(dimension_text).collect::<Vec<_>>().join(", ");
                view! { <dt>"Counted apart"</dt> <dd>{by}</dd> }
            })}
            {counted}
            {increase}
            <dt>"Carries over"</dt>
            <dd>{if budget.carries_over { "What is left of a window, to the next" } else { "Nothing" }}</dd>
            <dt>"Time zone"</dt>
            <dd>{budget.time_zone.clone()}</dd>
            <dt>"Control plane away"</dt>
            <dd>{dark}</dd>
            {(!percents.is_empty()).then(|| view! { <dt>"Alerts at"</dt> <dd>{percents}</dd> })}
            <dt>"Changed"</dt>
            <dd><When at=budget.updated_at /></dd>
            <dt>"Id"</dt>
            <dd><CopyId id=budget.id.to_string() /></dd>
        </dl>
    }
    .into_any()
}

fn panel_body(desk: Desk, budget: BudgetView) -> AnyView {
    let (for_edit, for_archive) = (budget.clone(), budget.clone());
    let edit = Callback::new(move |()| desk.editing.set(Some(for_edit.clone())));
    let archive = Callback::new(move |()| archive(desk, &for_archive));
    let accounts = use_accounts(desk, &budget);
    let unit = unit(budget.measure);
    let ready = Callback::new(move |page: Signal<Page<AccountView>>| {
        view! {
            <DataTable
                label="Accounts"
                columns=columns(desk.names, unit)
                rows=Signal::derive(move || page.get().items)
                key=account_key
                file_name="budget"
            />
        }
        .into_any()
    });
    let none = || {
        view! { <EmptyState icon=Icon::Budget title="Nothing spent yet" text="An account begins with the first call that counts." /> }.into_any()
    };
    let code = if desk.sees_all() {
        as_code::<GetOrganizationBudget>(&desk.wide_path(&budget), &NoQuery {}, &budget)
    } else {
        as_code::<GetBudget>(&desk.path(&budget), &NoQuery {}, &budget)
    };
    let about = budget.description.clone().map(|text| view! { <p class="muted">{text}</p> });
    let (facts, may_manage) = (facts(desk, &budget), desk.manages(&budget));
    view! {
        <DialogBody>
            {about}
            {facts}
            <h3>"How it stands now"</h3>
            <DataView load=accounts.load on_retry=accounts.retry() skeleton=Skeleton::Rows(3) is_empty=|page| page.items.is_empty() empty=ViewFn::from(none) ready />
            {code}
        </DialogBody>
        <DialogFoot>
            {may_manage.then(|| view! {
                <Button icon=Icon::Edit on_press=edit>"Edit"</Button>
                <Button weight=Weight::Danger on_press=archive>"Archive"</Button>
            })}
        </DialogFoot>
    }
    .into_any()
}
