//! Rate limits of an organization and of its workspaces. What was counted of them is on nodes, and nowhere else.

use api::Empty;
use api::ops::rate_limits::{
    ArchiveOrganizationRateLimit, ArchiveRateLimit, CreateOrganizationRateLimit, CreateRateLimit, NewRateLimit,
    RateAmount, RateLimitChange, RateLimitView, UpdateOrganizationRateLimit, UpdateRateLimit,
};
use domain::id::IdMint as _;
use domain::rate_limit::{Rate, RateLimit};
use domain::{RateLimitId, WorkspaceId};

use crate::commands::budgets::check_subject;
use crate::queries::rate_limits::{live, view};
use operation::call::{Call, Head, Reply};
use operation::error::{Failure, Outcome};
use operation::trail::Subject;

/// Creates a rate limit for calls of a workspace.
pub async fn create(call: Call<CreateRateLimit>) -> Outcome<Reply<RateLimitView>> {
    create_in(&call, Some(call.workspace()?), &call.body).await
}

/// Creates a rate limit for calls of all workspaces together.
pub async fn create_for_all(call: Call<CreateOrganizationRateLimit>) -> Outcome<Reply<RateLimitView>> {
    create_in(&call, None, &call.body).await
}

/// Changes a rate limit of a workspace.
pub async fn update(call: Call<UpdateRateLimit>) -> Outcome<Reply<RateLimitView>> {
    update_in(&call, Some(call.workspace()?), call.path.rate_limit_id, &call.body).await
}

/// Changes any rate limit of the organization.
pub async fn update_any(call: Call<UpdateOrganizationRateLimit>) -> Outcome<Reply<RateLimitView>> {
    update_in(&call, None, call.path.rate_limit_id, &call.body).await
}

/// Archives a rate limit of a workspace.
pub async fn archive(call: Call<ArchiveRateLimit>) -> Outcome<Reply<Empty>> {
    archive_in(&call, Some(call.workspace()?), call.path.rate_limit_id).await
}

/// Archives any rate limit of the organization.
pub async fn archive_any(call: Call<ArchiveOrganizationRateLimit>) -> Outcome<Reply<Empty>> {
    archive_in(&call, None, call.path.rate_limit_id).await
}

async fn create_in(head: &Head, within: Option<WorkspaceId>, body: &NewRateLimit) -> Outcome<Reply<RateLimitView>> {
    let mut write = head.write().await?;
    let permit = write.permit();
    let now = head.now();
    let limit = RateLimit {
        id: RateLimitId::from_uuid(head.cx.mint.next_uuid()),
        organization_id: permit.organization(),
        workspace_id: within,
        name: body.name.clone(),
        description: body.description.clone(),
        is_enabled: body.is_enabled.unwrap_or(true),
        subject: body.subject.clone(),
        group_by: body.group_by.clone(),
        rates: rates(&body.rates)?,
        version: 1,
        created_at: now,
        updated_at: now,
        archived_at: None,
    };
    check(&limit)?;
    check_subject(&mut write, within, &limit.subject).await?;
    if store::rate_limits::count(&mut write).await? >= RateLimit::MAX_IN_ORGANIZATION as u64 {
        let detail = format!("an organization has at most {}; archive one first", RateLimit::MAX_IN_ORGANIZATION);
        return Err(Failure::unacceptable("", detail));
    }
    store::rate_limits::insert(&mut write, &permit, &limit).await?;
    let view = view(limit);
    write.audit(subject(&view).created("rate_limit.create", &view));
    write.commit(view).await
}

async fn update_in(
    head: &Head,
    within: Option<WorkspaceId>,
    id: RateLimitId,
    body: &RateLimitChange,
) -> Outcome<Reply<RateLimitView>> {
    let seen = head.seen_version(body.version)?;
    let mut write = head.write().await?;
    let permit = write.permit();
    let mut limit = live(&mut write, within, id).await?;
    let before = view(limit.clone());
    limit.version = seen;
    if let Some(name) = &body.name {
        limit.name = name.clone();
    }
    limit.description = body.description.clone().apply(limit.description.take());
    limit.is_enabled = body.is_enabled.unwrap_or(limit.is_enabled);
    if let Some(subject) = &body.subject {
        limit.subject.clone_from(subject);
    }
    if let Some(group_by) = &body.group_by {
        limit.group_by.clone_from(group_by);
    }
    if let Some(given) = &body.rates {
        limit.rates = rates(given)?;
    }
    limit.updated_at = head.now();
    check(&limit)?;
    if body.subject.is_some() {
        check_subject(&mut write, limit.workspace_id, &limit.subject).await?;
    }
    limit.version = store::rate_limits::update(&mut write, &permit, &limit).await?;
    let after = view(limit);
    write.audit(subject(&after).changed("rate_limit.update", &before, &after));
    write.commit(after).await
}

async fn archive_in(head: &Head, within: Option<WorkspaceId>, id: RateLimitId) -> Outcome<Reply<Empty>> {
    let mut write = head.write().await?;
    let permit = write.permit();
    let limit = live(&mut write, within, id).await?;
    store::rate_limits::archive(&mut write, &permit, limit.id, head.now()).await?;
    let before = view(limit);
    write.audit(subject(&before).removed("rate_limit.archive", &before));
    write.commit(Empty {}).await
}

fn rates(given: &[RateAmount]) -> Outcome<Vec<Rate>> {
    let read = |(at, it): (usize, &RateAmount)| {
        let amount = it.measure.read_amount(it.amount);
        let amount = amount.map_err(|detail| Failure::unacceptable(&format!("/rates/{at}/amount"), detail))?;
        Ok(Rate { measure: it.measure, per: it.per, amount })
    };
    given.iter().enumerate().map(read).collect()
}

fn check(limit: &RateLimit) -> Outcome<()> {
    limit.check().map_err(|flaw| Failure::unacceptable(&flaw.pointer, flaw.detail))
}

fn subject(view: &RateLimitView) -> Subject {
    let subject = Subject::new("rate_limit", view.id, &view.name);
    match view.workspace_id {
        Some(workspace) => subject.within(workspace),
        None => subject,
    }
}
