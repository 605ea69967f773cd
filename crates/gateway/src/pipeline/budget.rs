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
use domain::usage::{AttemptOutcome, AttemptRecord};
use domain::{BudgetId, NanoUsd, Timestamp};
use ingress::Rejection;
use policy::budgets::{Binding, Budgets, Spender};
use policy::snapshot::{DeploymentPolicy, ModelPolicy, OrganizationPolicy};
use purse::{Hold, Item, Refusal, Refused, Settled, Spent};

use self::bound::Bound;
pub(crate) use self::bound::Window;
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

fn refuse_unbounded(name: &str, what: &str) -> Rejection {
    let detail = format!(
        "the budget \"{name}\" is never exceeded, and nobody can say beforehand what {what} will take; use another surface, or let \
         an administrator make the budget a soft one or exempt this key"
    );
    Rejection::new(GatewayCode::BudgetExhausted, detail)
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
