//! Answers `GET /v1/headgate/limits`: what the caller's key may do and has left, on this node and at this moment.
//!
//! Whoever holds a key may know what it is for; nothing of other keys is shown. `windows` lists the budgets that bind the key's
//! calls, some of them perhaps only for certain models or providers, with what this node last heard of each. Of what it has not heard
//! of it asks first; soft budgets are counted where nodes do not see it. `rate_limits` lists rates likewise, with what this node has
//! counted of them.

use domain::budget::{Amount, Measure, Window};
use domain::lease::Balance;
use domain::rate_limit::{self, Per};
use domain::{BudgetId, EnvironmentId, OrganizationId, RateLimitId, Timestamp, VirtualKeyId, WorkspaceId};
use ingress::Rejection;
use ingress::admit::Notes;
use policy::Caller;
use policy::budgets::{Binding, BudgetPolicy, Spender};
use policy::snapshot::OrganizationPolicy;
use purse::Item;
use serde::Serialize;

use super::budget::providers;
use super::reply::Reply;
use super::{Worker, rates};

#[derive(Serialize)]
struct Shown<'a> {
    object: &'static str,
    organization_id: OrganizationId,
    workspace_id: WorkspaceId,
    workspace: &'a str,
    environment_id: EnvironmentId,
    environment: Option<&'a str>,
    virtual_key: Key<'a>,
    models: Models<'a>,
    in_flight: InFlight,
    windows: Vec<Left<'a>>,
    rate_limits: Vec<RateLeft>,
    policy_revision: u64,
}

#[derive(Serialize)]
struct Key<'a> {
    id: VirtualKeyId,
    name: &'a str,
    expires_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct Models<'a> {
    /// The key's own list; `None` is every model of the workspace.
    allowed: Option<Vec<String>>,
    /// The names that it may ask for now.
    available: Vec<&'a str>,
}

/// Calls at once.
#[derive(Serialize)]
struct InFlight {
    /// `node`: each node counts for itself.
    scope: &'static str,
    limit: usize,
    used: usize,
    remaining: usize,
}

/// A limit of a budget over a span of time. What this node has not heard of yet is `None`.
#[derive(Serialize)]
struct Left<'a> {
    budget_id: BudgetId,
    budget: &'a str,
    window: Window,
    measure: Measure,
    /// Calls are refused at its end.
    is_hard: bool,
    limit: Option<Amount>,
    /// What was spent.
    used: Option<Amount>,
    /// What is set aside for calls, here and at other nodes.
    held: Option<Amount>,
    /// What a call may have.
    remaining: Option<Amount>,
    resets_at: Option<Timestamp>,
}

/// A rate of a rate limit, and how it stands on this node.
#[derive(Serialize)]
struct RateLeft {
    rate_limit_id: RateLimitId,
    rate_limit: String,
    measure: rate_limit::Measure,
    per: Option<Per>,
    limit: Amount,
    /// The part of the limit that this node may take: all of it where nodes count in common.
    share: Amount,
    remaining: Amount,
    resets_in_ms: u64,
}

fn spender<'a>(caller: &Caller<'_>, notes: &'a Notes) -> Spender<'a> {
    Spender {
        workspace: caller.workspace.id,
        environment: caller.key.key.environment,
        key: caller.key.key.id,
        end_user: notes.end_user.as_deref(),
        metadata: &notes.metadata,
        tags: &notes.tags,
        model: None,
        route: None,
    }
}

async fn rates(worker: &Worker, caller: &Caller<'_>, notes: &Notes) -> Vec<RateLeft> {
    let providers = providers(caller.workspace.deployments().map(|it| &**it));
    let listed = rates::list(worker, caller.organization, &spender(caller, notes), &providers).await;
    let rows = listed.into_iter().flat_map(|(ask, lefts)| {
        lefts.into_iter().map(move |left| {
            let amount = |amount| left.rate.measure.amount(amount);
            RateLeft {
                rate_limit_id: ask.limit,
                rate_limit: ask.name.to_string(),
                measure: left.rate.measure,
                per: left.rate.per,
                limit: amount(left.rate.amount),
                share: amount(left.part),
                remaining: amount(left.left),
                resets_in_ms: u64::try_from(left.reset.as_millis()).unwrap_or(u64::MAX),
            }
        })
    });
    rows.collect()
}

async fn windows<'a>(worker: &Worker, caller: &Caller<'a>, notes: &Notes) -> Vec<Left<'a>> {
    let budgets = caller.organization.budgets();
    if budgets.is_empty() {
        return Vec::new();
    }
    let providers = providers(caller.workspace.deployments().map(|it| &**it));
    let bindings = budgets.of_call(&spender(caller, notes), &providers);
    hear(worker, caller.organization, &bindings).await;
    let mut windows = Vec::new();
    for binding in bindings {
        let BudgetPolicy { id, name, measure, is_hard, .. } = binding.budget;
        let amount = |amount| Amount::new(*measure, amount);
        for account in binding.accounts(caller.organization.id) {
            let known = worker.shared.purse.left(&account);
            windows.push(Left {
                budget_id: *id,
                budget: name,
                window: account.window,
                measure: *measure,
                is_hard: *is_hard,
                limit: known.map(|(known, _)| amount(known.balance.limit)),
                used: known.map(|(known, _)| amount(known.balance.posted)),
                held: known.map(|(known, left)| amount(held(&known.balance, left))),
                remaining: known.map(|(_, left)| amount(left)),
                resets_at: known.and_then(|(known, _)| known.resets_at),
            });
        }
    }
    windows
}

/// Asks how those accounts stand of which this node knows nothing: by the least that a call could want, which goes back at once.
async fn hear(worker: &Worker, organization: &OrganizationPolicy, bindings: &[Binding<'_>]) {
    let items = bindings.iter().filter(|binding| binding.budget.is_hard).flat_map(|binding| {
        let measure = binding.budget.measure;
        let item = move |account| Item { account, measure, amount: 1, is_soft: false, fails_open: false };
        binding.accounts(organization.id).map(item)
    });
    let unknown: Vec<Item> = items.filter(|item| worker.shared.purse.left(&item.account).is_none()).collect();
    if !unknown.is_empty() {
        drop(worker.shared.purse.reserve(unknown).await);
    }
}

/// What is neither spent nor left.
const fn held(balance: &Balance, left: u64) -> u64 {
    balance.limit.saturating_sub(balance.posted).saturating_sub(left)
}

/// Shows what the caller's key has left.
pub(crate) async fn show(worker: &Worker, caller: &Caller<'_>, notes: &Notes) -> Result<Reply, Rejection> {
    let key = &caller.key.key;
    let limit = worker.shared.config.limits.max_in_flight_per_key;
    let used = worker.shared.in_flight.used(key.id);
    let models = caller.workspace.models().filter(|model| caller.key.allows(&model.name));
    let limits = Shown {
        object: "headgate.limits",
        organization_id: caller.organization.id,
        workspace_id: caller.workspace.id,
        workspace: &caller.workspace.slug,
        environment_id: key.environment,
        environment: caller.workspace.environment(key.environment),
        virtual_key: Key { id: key.id, name: &key.name, expires_at: key.expires_at },
        models: Models {
            allowed: key.models.as_ref().map(|patterns| patterns.iter().map(ToString::to_string).collect()),
            available: models.map(|model| &*model.name).collect(),
        },
        in_flight: InFlight { scope: "node", limit, used, remaining: limit.saturating_sub(used) },
        windows: windows(worker, caller, notes).await,
        rate_limits: rates(worker, caller, notes).await,
        policy_revision: caller.organization.revision,
    };
    let body = serde_json::to_vec(&limits).map_err(|_| Rejection::internal())?;
    Ok(Reply::own(body.into()))
}
