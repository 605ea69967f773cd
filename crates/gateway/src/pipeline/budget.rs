//! Budgets: what a call may take at most is held before it is sent, raised before it is sent once more, and charged when it is
//! settled.
//!
//! The bound is safe, not likely: a token is at least a byte, an answer is as long as it may be, the dearest target serves. Not
//! here: which budgets bind a call (`policy::budgets`), and what is left of them (`purse`). Invariant: a call that a hard budget
//! binds is not sent without its hold; what cannot be bounded is refused.

mod bound;
mod refusal;
mod unread;

use std::sync::Arc;

use domain::budget::{AccountKey, Charge, Measure};
use domain::usage::{AttemptOutcome, AttemptRecord};
use domain::{BudgetId, NanoUsd, Timestamp};
use ingress::Rejection;
use policy::budgets::{Binding, Budgets, Spender};
use policy::snapshot::{DeploymentPolicy, ModelPolicy, OrganizationPolicy};
use purse::{Hold, Item, Settled, Spent};

use self::bound::Bound;
pub(crate) use self::bound::Window;
use self::refusal::{refuse, refuse_unpriced};
pub(crate) use self::unread::{Unread, ask_unread, hold_known, hold_unread, try_hold_unread};
use super::Worker;
use super::resolve::Wanted;
use super::settle::Meter;

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
    let terms = Terms::of(organization, &bindings, each);
    meter.money = Some(terms.take(worker, meter.started_at).await?);
    Ok(())
}

/// What is to be held, and how it will be charged.
struct Terms {
    items: Vec<Item>,
    each: Spent,
    by_provider: Vec<(AccountKey, Vec<Box<str>>)>,
    budgets: Arc<Budgets>,
}

impl Terms {
    fn of(organization: &OrganizationPolicy, bindings: &[Binding<'_>], each: Spent) -> Self {
        let of_some = bindings.iter().filter_map(|binding| Some((binding, binding.providers.as_ref()?)));
        let by_provider = of_some.flat_map(|(binding, providers)| {
            binding.accounts(organization.id).map(|account| (account, providers.clone()))
        });
        Self {
            items: items(organization, bindings, each),
            each,
            by_provider: by_provider.collect(),
            budgets: organization.budgets().clone(),
        }
    }

    /// Holds it. Waits only when money has to be asked for.
    async fn take(mut self, worker: &Worker, at: Timestamp) -> Result<Box<Money>, Rejection> {
        let given = match worker.shared.purse.try_reserve(&self.items) {
            Some(given) => given,
            None => worker.shared.purse.reserve(std::mem::take(&mut self.items)).await,
        };
        let hold = given.map_err(|refused| refuse(&self.budgets, &refused, at))?;
        Ok(Box::new(self.money(hold)))
    }

    fn money(self, hold: Hold) -> Money {
        let Self { each, by_provider, budgets, .. } = self;
        Money { hold, each, by_provider, budgets }
    }
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

/// Returns what is left of the tightest account of the call, or of one budget, in whole percent of its limit; `None` when none binds it
/// or this node has not heard of any.
pub(crate) fn left<'a>(
    worker: &Worker,
    organization: &OrganizationPolicy,
    meter: &Meter,
    targets: impl Iterator<Item = &'a DeploymentPolicy>,
    only: Option<BudgetId>,
) -> Option<u8> {
    if organization.budgets().is_empty() {
        return None;
    }
    let providers = providers(targets);
    let bindings = bind(organization.budgets(), meter, Some(&meter.model), &providers);
    let wanted = bindings.iter().filter(|binding| only.is_none_or(|id| binding.budget.id == id));
    let accounts = wanted.flat_map(|binding| binding.accounts(organization.id));
    let percent = accounts.filter_map(|account| {
        let (known, left) = worker.shared.purse.left(&account)?;
        let percent = u128::from(left) * 100 / u128::from(known.balance.limit.max(1));
        Some(u8::try_from(percent.min(100)).unwrap_or(100))
    });
    percent.min()
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

    /// Says whether these budgets are those that it was held of.
    pub(crate) fn is_of(&self, budgets: &Arc<Budgets>) -> bool {
        Arc::ptr_eq(&self.budgets, budgets)
    }

    /// Charges what the attempts took; all that may have been taken, when an answer came without a count. Keep what is returned
    /// until the charges are written down.
    pub(crate) fn settle(self, attempts: &[AttemptRecord], is_unmetered: bool) -> Settled {
        let Self { hold, by_provider, each, .. } = self;
        let all = spent(attempts.iter());
        let was_answered = attempts.iter().any(|attempt| attempt.outcome == AttemptOutcome::Success);
        hold.settle(&|account| {
            if is_unmetered && was_answered {
                return each;
            }
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
