//! What a client is told whom a budget refuses: which one, what is left of it, and when to come back.

use std::time::Duration;

use domain::budget::Measure;
use domain::code::GatewayCode;
use domain::{NanoUsd, Timestamp};
use ingress::Rejection;
use policy::budgets::Budgets;
use policy::snapshot::DeploymentPolicy;
use purse::{Refusal, Refused};

/// When to come back while the control plane cannot be asked.
const UNREACHABLE_RETRY: Duration = Duration::from_secs(5);
/// When to come back while other nodes have what is left.
pub(super) const ELSEWHERE_RETRY: Duration = Duration::from_secs(1);

pub(super) fn refuse_unbounded(name: &str, what: &str) -> Rejection {
    let detail = format!(
        "the budget \"{name}\" is never exceeded, and nobody can say beforehand what {what} will take; use another surface, or let \
         an administrator make the budget a soft one or exempt this key"
    );
    Rejection::new(GatewayCode::BudgetExhausted, detail)
}

pub(super) fn refuse_unpriced(deployment: &DeploymentPolicy) -> Rejection {
    let detail = format!(
        "a budget in money binds this call, and {} has no price for `{}`, so that nobody can say what it will cost; an administrator \
         can enter one",
        deployment.provider, deployment.upstream_model
    );
    Rejection::new(GatewayCode::ModelNotAllowed, detail).with_param("model")
}

pub(super) fn refuse(budgets: &Budgets, refused: &Refused, now: Timestamp) -> Rejection {
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
