//! Budgets of an organization and of its workspaces. What was spent is counted by nodes' usage and never changed here.

use api::Empty;
use api::field::Field;
use api::ops::budgets::{
    ArchiveBudget, ArchiveOrganizationBudget, BudgetChange, BudgetIncrease, BudgetLimit, BudgetView, CreateBudget,
    CreateOrganizationBudget, NewBudget, UpdateBudget, UpdateOrganizationBudget,
};
use domain::budget::{Amount, Budget, Enforcement, Increase, Limit, Measure, Subject as Counted, WhenUnreachable};
use domain::id::IdMint as _;
use domain::{BudgetId, Timestamp, WorkspaceId};
use store::Tx;
use store::budgets::window;

use crate::queries::budgets::{live, view};
use operation::call::{Call, Head, Reply};
use operation::error::{Failure, Outcome};
use operation::trail::Subject;

/// Creates a budget for calls of a workspace.
pub async fn create(call: Call<CreateBudget>) -> Outcome<Reply<BudgetView>> {
    create_in(&call, Some(call.workspace()?), &call.body).await
}

/// Creates a budget for calls of all workspaces together.
pub async fn create_for_all(call: Call<CreateOrganizationBudget>) -> Outcome<Reply<BudgetView>> {
    create_in(&call, None, &call.body).await
}

/// Changes a budget of a workspace.
pub async fn update(call: Call<UpdateBudget>) -> Outcome<Reply<BudgetView>> {
    update_in(&call, Some(call.workspace()?), call.path.budget_id, &call.body).await
}

/// Changes any budget of the organization.
pub async fn update_any(call: Call<UpdateOrganizationBudget>) -> Outcome<Reply<BudgetView>> {
    update_in(&call, None, call.path.budget_id, &call.body).await
}

/// Archives a budget of a workspace.
pub async fn archive(call: Call<ArchiveBudget>) -> Outcome<Reply<Empty>> {
    archive_in(&call, Some(call.workspace()?), call.path.budget_id).await
}

/// Archives any budget of the organization.
pub async fn archive_any(call: Call<ArchiveOrganizationBudget>) -> Outcome<Reply<Empty>> {
    archive_in(&call, None, call.path.budget_id).await
}

async fn create_in(head: &Head, workspace_id: Option<WorkspaceId>, body: &NewBudget) -> Outcome<Reply<BudgetView>> {
    let mut write = head.write().await?;
    let permit = write.permit();
    let now = head.now();
    let budget = Budget {
        id: BudgetId::from_uuid(head.cx.mint.next_uuid()),
        organization_id: permit.organization(),
        workspace_id,
        name: body.name.clone(),
        description: body.description.clone(),
        is_enabled: body.is_enabled.unwrap_or(true),
        subject: body.subject.clone(),
        group_by: body.group_by.clone(),
        measure: body.measure,
        limits: limits(&body.limits, body.measure)?,
        time_zone: body.time_zone.clone().unwrap_or_else(|| "UTC".to_owned()),
        enforcement: body.enforcement.unwrap_or(Enforcement::Hard),
        when_unreachable: body.when_unreachable.unwrap_or(WhenUnreachable::Refuse),
        alert_at: body.alert_at.clone(),
        increase: body.increase.as_ref().map(|it| increase(it, body.measure, now)).transpose()?,
        carries_over: body.carries_over,
        version: 1,
        created_at: now,
        updated_at: now,
        archived_at: None,
    };
    check(&budget)?;
    check_subject(&mut write, workspace_id, &budget.subject).await?;
    store::budgets::insert(&mut write, &permit, &budget).await?;
    let view = view(budget);
    write.audit(subject(&view).created("budget.create", &view));
    write.commit(view).await
}

async fn update_in(
    head: &Head,
    within: Option<WorkspaceId>,
    id: BudgetId,
    body: &BudgetChange,
) -> Outcome<Reply<BudgetView>> {
    let seen = head.seen_version(body.version)?;
    let mut write = head.write().await?;
    let permit = write.permit();
    let mut budget = live(&mut write, within, id).await?;
    let before = view(budget.clone());
    budget.version = seen;
    change(&mut budget, body, head.now())?;
    check(&budget)?;
    if body.subject.is_some() {
        check_subject(&mut write, budget.workspace_id, &budget.subject).await?;
    }
    budget.version = store::budgets::update(&mut write, &permit, &budget).await?;
    let after = view(budget);
    write.audit(subject(&after).changed("budget.update", &before, &after));
    write.commit(after).await
}

async fn archive_in(head: &Head, within: Option<WorkspaceId>, id: BudgetId) -> Outcome<Reply<Empty>> {
    let mut write = head.write().await?;
    let permit = write.permit();
    let budget = live(&mut write, within, id).await?;
    store::budgets::archive(&mut write, &permit, id, head.now()).await?;
    let before = view(budget);
    write.audit(subject(&before).removed("budget.archive", &before));
    write.commit(Empty {}).await
}

fn change(budget: &mut Budget, body: &BudgetChange, now: Timestamp) -> Outcome<()> {
    if let Some(name) = &body.name {
        budget.name = name.clone();
    }
    budget.description = body.description.clone().apply(budget.description.take());
    budget.is_enabled = body.is_enabled.unwrap_or(budget.is_enabled);
    if let Some(subject) = &body.subject {
        budget.subject.clone_from(subject);
    }
    if let Some(anew) = &body.limits {
        budget.limits = limits(anew, budget.measure)?;
    }
    budget.enforcement = body.enforcement.unwrap_or(budget.enforcement);
    budget.when_unreachable = body.when_unreachable.unwrap_or(budget.when_unreachable);
    if let Some(alert_at) = &body.alert_at {
        budget.alert_at.clone_from(alert_at);
    }
    match &body.increase {
        Field::Absent => {}
        Field::Null => budget.increase = None,
        Field::Value(it) => budget.increase = Some(increase(it, budget.measure, now)?),
    }
    budget.carries_over = body.carries_over.unwrap_or(budget.carries_over);
    budget.updated_at = now;
    Ok(())
}

fn limits(given: &[BudgetLimit], measure: Measure) -> Outcome<Vec<Limit>> {
    let read = |(at, limit): (usize, &BudgetLimit)| {
        let amount = amount(limit.amount, measure, &format!("/limits/{at}/amount"))?;
        Ok(Limit { window: limit.window, amount })
    };
    given.iter().enumerate().map(read).collect()
}

fn increase(given: &BudgetIncrease, measure: Measure, now: Timestamp) -> Outcome<Increase> {
    if given.expires_at <= now {
        return Err(Failure::unacceptable("/increase/expires_at", "must be later than now"));
    }
    let amount = amount(given.amount, measure, "/increase/amount")?;
    Ok(Increase { amount, expires_at: given.expires_at, reason: given.reason.trim().to_owned() })
}

fn amount(given: Amount, measure: Measure, pointer: &str) -> Outcome<u64> {
    given.read(measure).map_err(|detail| Failure::unacceptable(pointer, detail))
}

fn check(budget: &Budget) -> Outcome<()> {
    budget.check().map_err(|flaw| Failure::unacceptable(&flaw.pointer, flaw.detail))?;
    if window::is_time_zone(&budget.time_zone) {
        return Ok(());
    }
    Err(Failure::unacceptable("/time_zone", "there is no such time zone; use a name such as Europe/Berlin or UTC"))
}

/// A condition on something that is not there would count no call, and nobody would notice.
pub(crate) async fn check_subject(tx: &mut Tx, within: Option<WorkspaceId>, subject: &Counted) -> Outcome<()> {
    let is_here = |workspace| within.is_none_or(|within| within == workspace);
    let environments = store::environments::load(tx, Some(&subject.environment_ids)).await?;
    let known = environments.iter().filter(|it| is_here(it.workspace_id)).map(|it| it.id).collect::<Vec<_>>();
    named("environment_ids", "environment", &subject.environment_ids, &known, within)?;
    let keys = store::virtual_keys::load(tx, Some(&subject.virtual_key_ids)).await?;
    let known = keys.iter().filter(|it| is_here(it.workspace_id)).map(|it| it.id).collect::<Vec<_>>();
    named("virtual_key_ids", "virtual key", &subject.virtual_key_ids, &known, within)?;
    let routes = store::routes::load(tx, Some(&subject.route_ids)).await?;
    let live = routes.iter().filter(|it| is_here(it.workspace_id) && it.archived_at.is_none());
    let known = live.map(|it| it.id).collect::<Vec<_>>();
    named("route_ids", "route", &subject.route_ids, &known, within)?;
    for (at, name) in subject.providers.iter().enumerate() {
        if provider::find(name).is_none() {
            let known: Vec<_> = provider::ALL.iter().map(|provider| provider.spec().name).collect();
            let detail = format!("is not a provider; use one of {}", known.join(", "));
            return Err(Failure::unacceptable(&format!("/subject/providers/{at}"), detail));
        }
    }
    Ok(())
}

fn named<T: PartialEq>(field: &str, what: &str, given: &[T], known: &[T], within: Option<WorkspaceId>) -> Outcome<()> {
    let Some(at) = given.iter().position(|id| !known.contains(id)) else { return Ok(()) };
    let place = if within.is_some() { "this workspace" } else { "this organization" };
    Err(Failure::unacceptable(&format!("/subject/{field}/{at}"), format!("there is no such {what} in {place}")))
}

fn subject(view: &BudgetView) -> Subject {
    let subject = Subject::new("budget", view.id, &view.name);
    view.workspace_id.map_or(subject.clone(), |workspace| subject.within(workspace))
}
