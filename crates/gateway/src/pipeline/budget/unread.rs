//! Budgets of calls whose request nobody has read: all of a window is held, or what was taken is charged at the end.

use std::sync::Arc;

use domain::budget::Measure;
use domain::code::GatewayCode;
use ingress::Rejection;
use policy::snapshot::{DeploymentPolicy, OrganizationPolicy};
use purse::Spent;

use super::bound::Window;
use super::refusal::{ELSEWHERE_RETRY, refuse, refuse_unbounded, refuse_unpriced};
use super::{Money, Terms, bind, spent};
use crate::pipeline::Worker;
use crate::pipeline::settle::Meter;

/// A call whose request nobody has read, and what is known of it.
#[derive(Clone, Copy)]
pub(crate) struct Unread<'a> {
    /// What it is, for people.
    pub(crate) what: &'a str,
    /// Who may answer.
    pub(crate) providers: &'a [&'a str],
    /// The model, if that is known.
    pub(crate) model: Option<&'a str>,
    /// The most that the target reads and writes, if that is known.
    pub(crate) window: Option<(&'a DeploymentPolicy, Window)>,
    /// It stands for calls without number.
    pub(crate) is_many: bool,
}

/// Holds the most that such a call can take; refuses it where a hard budget has to hold what nobody can bound.
pub(crate) async fn hold_unread(
    worker: &Worker,
    organization: &OrganizationPolicy,
    call: &Unread<'_>,
    meter: &mut Meter,
) -> Result<(), Rejection> {
    if let Some(terms) = terms_unread(organization, call, meter)? {
        meter.money = Some(terms.take(worker, meter.started_at).await?);
    }
    Ok(())
}

/// The same for who cannot wait: `None` where no budget binds. Money that is not here is refused, to be asked for again.
pub(crate) fn try_hold_unread(
    worker: &Worker,
    organization: &OrganizationPolicy,
    call: &Unread<'_>,
    meter: &Meter,
) -> Result<Option<Box<Money>>, Rejection> {
    let Some(terms) = terms_unread(organization, call, meter)? else { return Ok(None) };
    match worker.shared.purse.try_reserve(&terms.items) {
        Some(Ok(hold)) => Ok(Some(Box::new(terms.money(hold)))),
        Some(Err(refused)) => Err(refuse(&terms.budgets, &refused, meter.started_at)),
        None => {
            let detail = format!("money of a budget is being asked for; try {} again in a moment", call.what);
            Err(Rejection::new(GatewayCode::BudgetExhausted, detail).with_retry_after(Some(ELSEWHERE_RETRY)))
        }
    }
}

/// Asks for money of such a call, to be had later.
pub(crate) fn ask_unread(
    worker: &Arc<Worker>,
    organization: &OrganizationPolicy,
    call: &Unread<'_>,
    meter: &Meter,
) -> Option<impl Future<Output = Result<Box<Money>, Rejection>> + Send + use<>> {
    let terms = terms_unread(organization, call, meter).ok()??;
    let (worker, at) = (worker.clone(), meter.started_at);
    Some(async move { terms.take(&worker, at).await })
}

/// Charges a call that nobody could hold for, by what its attempts took: of what is here, else beyond any lease.
pub(crate) fn hold_known(
    worker: &Worker,
    organization: &OrganizationPolicy,
    providers: &[&str],
    model: &str,
    meter: &mut Meter,
) {
    let budgets = organization.budgets();
    if budgets.is_empty() || meter.money.is_some() {
        return;
    }
    let bindings = bind(budgets, meter, Some(model), providers);
    let mut terms = Terms::of(organization, &bindings, spent(meter.attempts.iter()));
    let purse = &worker.shared.purse;
    let mut given = purse.try_reserve(&terms.items);
    if !matches!(given, Some(Ok(_))) {
        terms.items.iter_mut().for_each(|item| item.is_soft = true);
        given = purse.try_reserve(&terms.items);
    }
    if let Some(Ok(hold)) = given {
        meter.money = Some(Box::new(terms.money(hold)));
    }
}

fn terms_unread(
    organization: &OrganizationPolicy,
    call: &Unread<'_>,
    meter: &Meter,
) -> Result<Option<Terms>, Rejection> {
    let budgets = organization.budgets();
    if budgets.is_empty() {
        return Ok(None);
    }
    let bindings = bind(budgets, meter, call.model, call.providers);
    if bindings.is_empty() {
        return Ok(None);
    }
    let tokens = call.window.map(|(_, window)| window.tokens());
    let cost = call.window.and_then(|(target, window)| window.cost(organization, target, meter.started_at));
    let is_open = |measure: Measure| match measure {
        Measure::Cost => cost.is_none(),
        Measure::Tokens => tokens.is_none(),
        Measure::Requests => call.is_many,
    };
    if let Some(binding) = bindings.iter().find(|binding| binding.budget.is_hard && is_open(binding.budget.measure)) {
        return Err(match call.window {
            Some((target, _)) if tokens.is_some() => refuse_unpriced(target),
            _ => refuse_unbounded(&binding.budget.name, call.what),
        });
    }
    let each = Spent { cost: cost.unwrap_or(0), tokens: tokens.unwrap_or(0), requests: 1 };
    Ok(Some(Terms::of(organization, &bindings, each)))
}
