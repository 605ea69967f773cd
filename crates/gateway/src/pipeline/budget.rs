//! Budgets: what a call may take at most is held before it is sent, raised before it is sent once more, and charged when it is
//! settled.
//!
//! The bound is safe, not likely: a token is at least a byte, an answer is as long as it may be, the dearest target serves. Not
//! here: which budgets bind a call (`policy::budgets`), and what is left of them (`purse`). Invariant: a call that a hard budget
//! binds is not sent without its hold; what cannot be bounded is refused.

mod bound;

use std::sync::Arc;
use std::time::Duration;

use domain::budget::{AccountKey, Charge, Measure};
use domain::code::GatewayCode;
use domain::usage::AttemptRecord;
use domain::{NanoUsd, Timestamp};
use ingress::Rejection;
use policy::budgets::{Binding, Budgets, Spender};
use policy::snapshot::{DeploymentPolicy, ModelPolicy, OrganizationPolicy};
use purse::{Hold, Item, Refusal, Refused, Settled, Spent};

use self::bound::Bound;
use super::Worker;
use super::resolve::Wanted;
use super::settle::Meter;

/// When to come back while the control plane cannot be asked.
const UNREACHABLE_RETRY: Duration = Duration::from_secs(5);
/// When to come back while other nodes have what is left.
const ELSEWHERE_RETRY: Duration = Duration::from_secs(1);

/// What a call holds of budgets.
#[derive(Debug)]
pub(crate) struct Money {
    hold: Hold,
    /// At most this much for each attempt.
    each: Spent,
    /// Accounts that count only what some providers served.
    by_provider: Vec<(AccountKey, Vec<Box<str>>)>,
    budgets: Arc<Budgets>,
}

/// Holds what the call may take, unless no budget binds it. Waits only when money has to be asked for.
pub(crate) async fn hold(
    worker: &Worker,
    organization: &OrganizationPolicy,
    wanted: &Wanted,
    meter: &mut Meter,
) -> Result<(), Rejection> {
    // Two targets may work at once where a route hedges.
    let hedges = models(wanted).any(|model| model.rules.hedge_after.is_some());
    let bound = Bound::of(wanted, if hedges { 2 } else { 1 });
    hold_for(worker, organization, &targets(wanted), &bound, meter).await
}

/// Takes note that what is sent from now on is another request of the same call, such as one that holds what was said so far.
pub(crate) fn sends(organization: &OrganizationPolicy, wanted: &Wanted, meter: &mut Meter) {
    let at = meter.started_at;
    let Some(money) = &mut meter.money else { return };
    let (targets, bound) = (targets(wanted), Bound::of(wanted, 1));
    // Without a price no hard budget in money binds the call.
    money.each = bound.of_targets(organization, &targets, at).unwrap_or_else(|_| bound.without_price(&targets));
}

fn models(wanted: &Wanted) -> impl Iterator<Item = &Arc<ModelPolicy>> {
    std::iter::once(&wanted.model).chain(&wanted.more)
}

fn targets(wanted: &Wanted) -> Vec<&DeploymentPolicy> {
    models(wanted).flat_map(|model| &model.targets).map(|target| &*target.deployment).collect()
}

/// Holds what a copy of the call may take at one target.
pub(crate) async fn hold_copy(
    worker: &Worker,
    organization: &OrganizationPolicy,
    deployment: &DeploymentPolicy,
    wanted: &Wanted,
    meter: &mut Meter,
) -> Result<(), Rejection> {
    hold_for(worker, organization, &[deployment], &Bound::of(wanted, 1), meter).await
}

async fn hold_for(
    worker: &Worker,
    organization: &OrganizationPolicy,
    targets: &[&DeploymentPolicy],
    bound: &Bound<'_>,
    meter: &mut Meter,
) -> Result<(), Rejection> {
    let budgets = organization.budgets();
    let providers = providers(targets.iter().copied());
    let bindings = bind(budgets, meter, Some(&meter.model), &providers);
    if bindings.is_empty() {
        return Ok(());
    }
    let counts_cost = |binding: &Binding<'_>| binding.budget.is_hard && binding.budget.measure == Measure::Cost;
    let each = bound.of_targets(organization, targets, meter.started_at);
    let each = match each {
        Ok(each) => each,
        Err(unpriced) if bindings.iter().any(counts_cost) => return Err(refuse_unpriced(unpriced)),
        Err(_) => Spent { cost: 0, ..bound.without_price(targets) },
    };
    let items = items(organization, &bindings, each);
    let given = match worker.shared.purse.try_reserve(&items) {
        Some(given) => given,
        None => worker.shared.purse.reserve(items).await,
    };
    let hold = given.map_err(|refused| refuse(budgets, &refused, meter.started_at))?;
    let by_provider = bindings.iter().filter_map(|binding| Some((binding, binding.providers.as_ref()?)));
    let by_provider = by_provider
        .flat_map(|(binding, providers)| binding.accounts(organization.id).map(|account| (account, providers.clone())))
        .collect();
    meter.money = Some(Box::new(Money { hold, each, by_provider, budgets: budgets.clone() }));
    Ok(())
}

/// A call whose cost nobody can bound.
pub(crate) struct Unbounded<'a> {
    /// What it is, for people.
    pub(crate) what: &'a str,
    /// Who may answer.
    pub(crate) providers: &'a [&'a str],
    /// The model as the client asks for it, if that is known.
    pub(crate) model: Option<&'a str>,
}

/// Refuses a call whose cost nobody can bound, where a hard budget would have to hold it; counts it for soft ones.
pub(crate) fn refuse_unbounded(
    worker: &Worker,
    organization: &OrganizationPolicy,
    call: &Unbounded<'_>,
    meter: &mut Meter,
) -> Result<(), Rejection> {
    let budgets = organization.budgets();
    if budgets.is_empty() {
        return Ok(());
    }
    let bindings = bind(budgets, meter, call.model, call.providers);
    let what = call.what;
    if let Some(binding) = bindings.iter().find(|binding| binding.budget.is_hard) {
        let detail = format!(
            "the budget \"{}\" is never exceeded, and nobody can say beforehand what {what} will take; use another surface, or let \
             an administrator make the budget a soft one or exempt this key",
            binding.budget.name
        );
        return Err(Rejection::new(GatewayCode::BudgetExhausted, detail));
    }
    if bindings.is_empty() {
        return Ok(());
    }
    let items = items(organization, &bindings, Spent::default());
    // Soft budgets take no lease, so this neither waits nor refuses.
    if let Some(Ok(hold)) = worker.shared.purse.try_reserve(&items) {
        let money = Money { hold, each: Spent::default(), by_provider: Vec::new(), budgets: budgets.clone() };
        meter.money = Some(Box::new(money));
    }
    Ok(())
}

/// Lists who may answer, each once.
pub(crate) fn providers<'a>(targets: impl IntoIterator<Item = &'a DeploymentPolicy>) -> Vec<&'a str> {
    let mut providers: Vec<&str> = Vec::with_capacity(2);
    for target in targets {
        if !providers.contains(&&*target.provider) {
            providers.push(&target.provider);
        }
    }
    providers
}

fn bind<'a>(budgets: &'a Budgets, meter: &Meter, model: Option<&str>, providers: &[&str]) -> Vec<Binding<'a>> {
    let Some(caller) = meter.caller else { return Vec::new() };
    let spender = Spender {
        workspace: caller.workspace,
        environment: caller.environment,
        key: caller.key,
        end_user: meter.notes.end_user.as_deref(),
        metadata: &meter.notes.metadata,
        tags: &meter.notes.tags,
        model,
        route: meter.route,
    };
    budgets.of_call(&spender, providers)
}

fn items(organization: &OrganizationPolicy, bindings: &[Binding<'_>], each: Spent) -> Vec<Item> {
    let of = |binding: &Binding<'_>| {
        let budget = binding.budget;
        let (measure, is_soft, fails_open) = (budget.measure, !budget.is_hard, budget.fails_open);
        let item = move |account| Item { account, measure, amount: each.of(measure), is_soft, fails_open };
        binding.accounts(organization.id).map(item).collect::<Vec<_>>()
    };
    bindings.iter().flat_map(of).collect()
}

impl Money {
    /// Raises the hold for one more attempt, on top of what those before took.
    pub(crate) async fn raise(&mut self, attempts: &[AttemptRecord], at: Timestamp) -> Result<(), Rejection> {
        let spent = spent(attempts.iter());
        let bound = Spent {
            cost: spent.cost.saturating_add(self.each.cost),
            tokens: spent.tokens.saturating_add(self.each.tokens),
            requests: 1,
        };
        let raised = self.hold.raise(bound).await;
        raised.map_err(|refused| refuse(&self.budgets, &refused, at))
    }

    /// Says what the call is to be charged if it is never heard of again.
    pub(crate) fn holds(&self) -> Vec<Charge> {
        self.hold.charges()
    }

    /// Charges what the attempts took. Keep what is returned until the charges are written down.
    pub(crate) fn settle(self, attempts: &[AttemptRecord]) -> Settled {
        let Self { hold, by_provider, .. } = self;
        let all = spent(attempts.iter());
        hold.settle(&|account| {
            let only = by_provider.iter().find(|(known, _)| known == account).map(|(_, providers)| providers);
            only.map_or(all, |providers| {
                let counts =
                    |attempt: &&AttemptRecord| providers.iter().any(|provider| **provider == *attempt.provider);
                spent(attempts.iter().filter(counts))
            })
        })
    }

    /// Returns what is left of the tightest budget in money, without what this call holds.
    pub(crate) fn left(&self) -> Option<NanoUsd> {
        self.hold.left().map(|left| NanoUsd::from_nanos(i64::try_from(left).unwrap_or(i64::MAX)))
    }
}

fn spent<'a>(attempts: impl Iterator<Item = &'a AttemptRecord>) -> Spent {
    attempts.fold(Spent::default(), |sum, attempt| Spent {
        cost: sum.cost.saturating_add(u64::try_from(attempt.cost.as_nanos()).unwrap_or(0)),
        tokens: sum.tokens.saturating_add(attempt.usage.total()),
        requests: 1,
    })
}

fn refuse_unpriced(deployment: &DeploymentPolicy) -> Rejection {
    let detail = format!(
        "a budget in money binds this call, and {} has no price for `{}`, so that nobody can say what it will cost; an administrator \
         can enter one",
        deployment.provider, deployment.upstream_model
    );
    Rejection::new(GatewayCode::ModelNotAllowed, detail).with_param("model")
}

fn refuse(budgets: &Budgets, refused: &Refused, now: Timestamp) -> Rejection {
    let Refused { account, measure, wanted, refusal } = refused;
    let name = budgets.find(account.budget_id).map_or("", |budget| &*budget.name);
    let amount = |amount: u64| match measure {
        Measure::Cost => format!("{} USD", NanoUsd::from_nanos(i64::try_from(amount).unwrap_or(i64::MAX))),
        Measure::Tokens => format!("{amount} tokens"),
        Measure::Requests => format!("{amount} requests"),
    };
    let (known, why, retry) = match refusal {
        Refusal::Unreachable => {
            let detail = format!(
                "this gateway node cannot ask at the moment what is left of the budget \"{name}\", and has used up what it was \
                 lent; try again shortly"
            );
            return Rejection::new(GatewayCode::PolicyStale, detail).with_retry_after(Some(UNREACHABLE_RETRY));
        }
        Refusal::Exhausted(known) => (Some(*known), "", None),
        Refusal::Elsewhere(known) => {
            (*known, "; calls under way hold the rest, try again shortly", Some(ELSEWHERE_RETRY))
        }
    };
    let left = known.map_or(0, |known| known.balance.free());
    let resets = known
        .and_then(|known| known.resets_at)
        .map_or_else(|| "it does not reset by itself".to_owned(), |at| format!("it resets at {at}"));
    let detail = format!(
        "the budget \"{name}\" ({window}) has {left} left and this call may take {wanted}; {resets}{why}. Ask for a shorter answer, \
         or let an administrator raise the budget",
        window = account.window,
        left = amount(left),
        wanted = amount(*wanted),
    );
    let after_reset = known.and_then(|known| known.resets_at).map(|at| at.since(now));
    Rejection::new(GatewayCode::BudgetExhausted, detail).with_retry_after(retry.or(after_reset))
}
