//! Budgets, and how their accounts stand. Below an organization every budget is reached, below a workspace only its own.

use api::ops::budgets::{
    AccountQuery, AccountView, BudgetIncrease, BudgetLimit, BudgetView, GetBudget, GetOrganizationBudget, GroupValue,
    ListBudgetAccounts, ListBudgets, ListOrganizationBudgetAccounts, ListOrganizationBudgets,
};
use domain::budget::{Amount, Budget, Window, group_values};
use domain::{BudgetId, Page, Timestamp, WorkspaceId};
use store::Tx;
use store::budgets::accounts::{self, Account};

use operation::call::{Call, Head, Reply};
use operation::error::{Failure, Outcome};

/// Lists the budgets of a workspace.
pub async fn list(call: Call<ListBudgets>) -> Outcome<Reply<Page<BudgetView>>> {
    let limit = operation::page::limit(call.query.limit)?;
    let mut tx = call.read().await?;
    let page = store::budgets::list(&mut tx, Some(call.workspace()?), call.query.cursor.as_ref(), limit).await?;
    Ok(Reply::new(page.map(view)))
}

/// Lists every budget of the organization.
pub async fn list_all(call: Call<ListOrganizationBudgets>) -> Outcome<Reply<Page<BudgetView>>> {
    let limit = operation::page::limit(call.query.limit)?;
    let mut tx = call.read().await?;
    let page = store::budgets::list(&mut tx, None, call.query.cursor.as_ref(), limit).await?;
    Ok(Reply::new(page.map(view)))
}

/// Shows a budget of a workspace.
pub async fn get(call: Call<GetBudget>) -> Outcome<Reply<BudgetView>> {
    let mut tx = call.read().await?;
    Ok(Reply::new(view(live(&mut tx, Some(call.workspace()?), call.path.budget_id).await?)))
}

/// Shows any budget of the organization.
pub async fn get_any(call: Call<GetOrganizationBudget>) -> Outcome<Reply<BudgetView>> {
    let mut tx = call.read().await?;
    Ok(Reply::new(view(live(&mut tx, None, call.path.budget_id).await?)))
}

/// Says how the accounts of a workspace's budget stand.
pub async fn accounts(call: Call<ListBudgetAccounts>) -> Outcome<Reply<Page<AccountView>>> {
    accounts_of(&call, Some(call.workspace()?), call.path.budget_id, &call.query).await
}

/// Says how the accounts of any budget of the organization stand.
pub async fn accounts_of_any(call: Call<ListOrganizationBudgetAccounts>) -> Outcome<Reply<Page<AccountView>>> {
    accounts_of(&call, None, call.path.budget_id, &call.query).await
}

async fn accounts_of(
    head: &Head,
    within: Option<WorkspaceId>,
    id: BudgetId,
    query: &AccountQuery,
) -> Outcome<Reply<Page<AccountView>>> {
    let limit = operation::page::limit(query.limit)?;
    let now = head.now();
    let mut tx = head.read().await?;
    let budget = live(&mut tx, within, id).await?;
    let page = accounts::list(&mut tx, id, query.at.unwrap_or(now), query.cursor.as_ref(), limit).await?;
    Ok(Reply::new(page.map(|account| account_view(&budget, &account, now))))
}

/// Returns a budget of the place; one of elsewhere, or an archived one, is absent.
pub(crate) async fn live(tx: &mut Tx, within: Option<WorkspaceId>, id: BudgetId) -> Outcome<Budget> {
    let found = store::budgets::get(tx, id).await?;
    let is_here = within.is_none_or(|workspace| found.workspace_id == Some(workspace)) && found.archived_at.is_none();
    if is_here { Ok(found) } else { Err(Failure::not_found()) }
}

pub(crate) fn view(budget: Budget) -> BudgetView {
    let amount = |amount| Amount::new(budget.measure, amount);
    let limits =
        budget.limits.iter().map(|limit| BudgetLimit { window: limit.window, amount: amount(limit.amount) }).collect();
    let increase = budget.increase.map(|it| BudgetIncrease {
        amount: amount(it.amount),
        expires_at: it.expires_at,
        reason: it.reason,
    });
    BudgetView {
        id: budget.id,
        workspace_id: budget.workspace_id,
        name: budget.name,
        description: budget.description,
        is_enabled: budget.is_enabled,
        subject: budget.subject,
        group_by: budget.group_by,
        measure: budget.measure,
        limits,
        time_zone: budget.time_zone,
        enforcement: budget.enforcement,
        when_unreachable: budget.when_unreachable,
        alert_at: budget.alert_at,
        increase,
        carries_over: budget.carries_over,
        version: budget.version,
        created_at: budget.created_at,
        updated_at: budget.updated_at,
    }
}

fn account_view(budget: &Budget, account: &Account, now: Timestamp) -> AccountView {
    // Of a window that is over, what held in its last moment.
    let last = account.ends_at.map_or(now, |end| now.min(Timestamp::from_micros(end.as_micros().saturating_sub(1))));
    let limit = budget.amount(account.window, last).map(|amount| amount.saturating_add(account.carried));
    let remaining = limit.map(|limit| limit.saturating_sub(account.posted).saturating_sub(account.leased));
    let amount = |amount| Amount::new(budget.measure, amount);
    let values = group_values(&account.group_key);
    let group = budget.group_by.iter().zip(values).map(|(by, value)| GroupValue { by: by.clone(), value });
    AccountView {
        window: account.window,
        group: group.collect(),
        starts_at: (account.window != Window::Total).then_some(account.starts_at),
        resets_at: account.ends_at,
        limit: limit.map(amount),
        carried_over: amount(account.carried),
        posted: amount(account.posted),
        held: amount(account.leased),
        remaining: remaining.map(amount),
        overdrawn: amount(account.overdrawn),
        updated_at: account.updated_at,
    }
}
