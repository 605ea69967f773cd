//! Rate limits. Below an organization every one is reached, below a workspace only its own.

use api::ops::rate_limits::{
    GetOrganizationRateLimit, GetRateLimit, ListOrganizationRateLimits, ListRateLimits, RateAmount, RateLimitView,
};
use domain::rate_limit::RateLimit;
use domain::{Page, RateLimitId, WorkspaceId};
use store::Tx;

use operation::call::{Call, Reply};
use operation::error::{Failure, Outcome};

/// Lists the rate limits of a workspace.
pub async fn list(call: Call<ListRateLimits>) -> Outcome<Reply<Page<RateLimitView>>> {
    let limit = operation::page::limit(call.query.limit)?;
    let mut tx = call.read().await?;
    let workspace = Some(call.workspace()?);
    let page = store::rate_limits::list(&mut tx, workspace, call.query.cursor.as_ref(), limit).await?;
    Ok(Reply::new(page.map(view)))
}

/// Lists every rate limit of the organization.
pub async fn list_all(call: Call<ListOrganizationRateLimits>) -> Outcome<Reply<Page<RateLimitView>>> {
    let limit = operation::page::limit(call.query.limit)?;
    let mut tx = call.read().await?;
    let page = store::rate_limits::list(&mut tx, None, call.query.cursor.as_ref(), limit).await?;
    Ok(Reply::new(page.map(view)))
}

/// Shows a rate limit of a workspace.
pub async fn get(call: Call<GetRateLimit>) -> Outcome<Reply<RateLimitView>> {
    let mut tx = call.read().await?;
    Ok(Reply::new(view(live(&mut tx, Some(call.workspace()?), call.path.rate_limit_id).await?)))
}

/// Shows any rate limit of the organization.
pub async fn get_any(call: Call<GetOrganizationRateLimit>) -> Outcome<Reply<RateLimitView>> {
    let mut tx = call.read().await?;
    Ok(Reply::new(view(live(&mut tx, None, call.path.rate_limit_id).await?)))
}

/// Returns a rate limit of the place; one of elsewhere, or an archived one, is absent.
pub(crate) async fn live(tx: &mut Tx, within: Option<WorkspaceId>, id: RateLimitId) -> Outcome<RateLimit> {
    let found = store::rate_limits::get(tx, id).await?;
    let is_here = within.is_none_or(|workspace| found.workspace_id == Some(workspace)) && found.archived_at.is_none();
    if is_here { Ok(found) } else { Err(Failure::not_found()) }
}

pub(crate) fn view(limit: RateLimit) -> RateLimitView {
    let rates = limit.rates.iter().map(|rate| RateAmount {
        measure: rate.measure,
        per: rate.per,
        amount: rate.measure.amount(rate.amount),
    });
    RateLimitView {
        id: limit.id,
        workspace_id: limit.workspace_id,
        name: limit.name,
        description: limit.description,
        is_enabled: limit.is_enabled,
        subject: limit.subject,
        group_by: limit.group_by,
        rates: rates.collect(),
        version: limit.version,
        created_at: limit.created_at,
        updated_at: limit.updated_at,
    }
}
