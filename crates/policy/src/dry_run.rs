//! What a route that is not saved would have done with a call of the ledger, by the planning that nodes use.
//!
//! Knows neither health nor load nor content, for the ledger does not: every target counts as fit and idle, and a decision that
//! asked for a fact that is not kept says so. Where chance decides it is drawn many times and counted. Pure: the same route and
//! record give the same answer.

use std::cell::Cell;
use std::sync::Arc;

use domain::route::Unknown;
use domain::usage::{Endpoint, TokenUsage, UsageEvent};
use domain::{BudgetId, DeploymentId, Timestamp};
use rustc_hash::FxHashMap;

use crate::compile::Parts;
use crate::facts::{Facts, hash, mix, usual_use};
use crate::plan::{Asked, Health, Load, Plan, Signals, plan};
use crate::resource::{Credential, Deployment, Route};
use crate::snapshot::{CredentialPolicy, CredentialUse, DeploymentPolicy, ModelPolicy};
use crate::tree::SLOTS;

/// Compiles a route by itself, over deployments and credentials as they are now. Secrets play no part.
#[must_use]
pub fn draft(route: &Route, deployments: &[Deployment], credentials: &[Credential]) -> ModelPolicy {
    let deployments: Vec<_> = deployments.iter().map(|it| Arc::new(deployment(it, credentials))).collect();
    let by_id: FxHashMap<DeploymentId, &Arc<DeploymentPolicy>> = deployments.iter().map(|it| (it.id, it)).collect();
    let (targets, tree) = (route.targets.as_slice(), route.tree.as_ref());
    let parts =
        Parts { targets, tree, rules: &route.rules, max_attempts: route.max_attempts, timeouts: route.timeouts };
    parts.compile(route.name.as_str().into(), &by_id, &mut |_, _| {})
}

fn deployment(it: &Deployment, credentials: &[Credential]) -> DeploymentPolicy {
    let credential = match it.credential {
        None => CredentialUse::None,
        Some(id) => match credentials.iter().find(|known| known.id == id && known.provider == it.provider) {
            Some(known) => CredentialUse::Ready(Arc::new(CredentialPolicy {
                id,
                provider: known.provider.clone(),
                base_url: known.base_url.clone(),
                secret: None,
                allows_passthrough: known.allows_passthrough,
                data_policy: known.data_policy,
            })),
            None => CredentialUse::Unavailable,
        },
    };
    DeploymentPolicy {
        id: it.id,
        name: it.name.to_string(),
        provider: it.provider.clone(),
        upstream_model: it.upstream_model.clone(),
        base_model: it.base_model.clone(),
        facts: it.facts.clone(),
        quantization: it.quantization,
        credential,
        is_enabled: it.is_enabled,
    }
}

/// Says whether calls of an endpoint go where a route leads.
#[must_use]
pub const fn is_routed(endpoint: Endpoint) -> bool {
    matches!(
        endpoint,
        Endpoint::ChatCompletions
            | Endpoint::Embeddings
            | Endpoint::Completions
            | Endpoint::Responses
            | Endpoint::GenerateContent
            | Endpoint::Messages
            | Endpoint::Rerank
            | Endpoint::Moderations
            | Endpoint::ImageGenerations
            | Endpoint::ImageEdits
            | Endpoint::ImageVariations
            | Endpoint::Speech
            | Endpoint::Transcriptions
            | Endpoint::Translations
    )
}

/// What a call would cost at a deployment, in nano-dollars; `None` without a price.
pub type CostOf<'a> = &'a dyn Fn(&DeploymentPolicy, TokenUsage) -> Option<u64>;

/// What a route would do with one call.
#[derive(Debug, Clone)]
pub struct Trial {
    /// One order of attempts, and why others were passed over.
    pub plan: Plan,
    /// By slot: in how many of the draws it was first.
    pub first: [u16; SLOTS],
    /// What the decision asked for in vain.
    pub unknown: Vec<Unknown>,
}

impl Trial {
    /// Lists the slots that may be first, with the number of draws.
    pub fn firsts(&self) -> impl Iterator<Item = (usize, u16)> {
        self.first.iter().copied().enumerate().filter(|(_, draws)| *draws > 0)
    }
}

/// Tries a route on a call, `draws` times. `turn` is the place of the call among those it is tried on.
#[must_use]
pub fn try_on(model: &ModelPolicy, event: &UsageEvent, cost: CostOf<'_>, draws: u16, turn: u64) -> Trial {
    let past = Past { event, name: &model.name, cost, unknown: Cell::new(0) };
    let identity = hash(&event.id.as_uuid().to_be_bytes());
    let mut trial = Trial { plan: Plan::default(), first: [0; SLOTS], unknown: Vec::new() };
    for draw in 0..u64::from(draws.max(1)) {
        let turn = turn.wrapping_mul(u64::from(draws.max(1))).wrapping_add(draw);
        let asked = Asked { facts: &past, signals: &past, wish: None, seed: mix(identity ^ mix(draw)), turn };
        let made = plan(model, &asked);
        if let Some(count) = made.slots().first().and_then(|slot| trial.first.get_mut(usize::from(*slot))) {
            *count = count.saturating_add(1);
        }
        if draw == 0 {
            trial.plan = made;
        }
    }
    let noted = past.unknown.get();
    trial.unknown = Unknown::ALL.into_iter().filter(|fact| noted & bit(*fact) != 0).collect();
    trial
}

const fn bit(fact: Unknown) -> u16 {
    1 << fact as u8
}

/// A call as the ledger remembers it.
struct Past<'a> {
    event: &'a UsageEvent,
    /// The name that the route would have been called by.
    name: &'a str,
    cost: CostOf<'a>,
    unknown: Cell<u16>,
}

impl Past<'_> {
    fn miss(&self, fact: Unknown) {
        self.unknown.set(self.unknown.get() | bit(fact));
    }
}

impl Facts for Past<'_> {
    fn at(&self) -> Timestamp {
        self.event.started_at
    }

    fn model(&self) -> &str {
        // A call of another name is tried as if it had asked for this one.
        let asked = self.event.model.as_str();
        let is_variant = || asked.rsplit_once(':').is_some_and(|(base, _)| base == self.name);
        if asked == self.name || is_variant() { asked } else { self.name }
    }

    fn metadata(&self, name: &str) -> Option<&str> {
        self.event.metadata.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn header(&self, _: &str) -> Option<&str> {
        self.miss(Unknown::Headers);
        None
    }

    fn has_tag(&self, is_wanted: &dyn Fn(&str) -> bool) -> bool {
        self.event.tags.iter().any(|tag| is_wanted(tag))
    }

    fn user(&self) -> Option<&str> {
        self.event.end_user.as_deref()
    }

    fn conversation(&self) -> Option<&str> {
        self.event.conversation_id.as_deref()
    }

    fn is_stream(&self) -> bool {
        self.event.is_stream
    }

    fn has_tools(&self) -> bool {
        self.miss(Unknown::Tools);
        false
    }

    fn has_images(&self) -> bool {
        self.miss(Unknown::Images);
        false
    }

    fn has_schema(&self) -> bool {
        self.miss(Unknown::Schema);
        false
    }

    fn max_tokens(&self) -> Option<u64> {
        self.miss(Unknown::MaxTokens);
        None
    }

    fn input_tokens(&self) -> u64 {
        self.event.usage.total_input()
    }

    fn parameter(&self, _: &str) -> Option<String> {
        self.miss(Unknown::Parameters);
        None
    }

    fn budget_left(&self, _: Option<BudgetId>) -> Option<u8> {
        self.miss(Unknown::Budgets);
        None
    }
}

impl Signals for Past<'_> {
    fn health(&self, _: DeploymentId) -> Health {
        Health::Fit
    }

    fn load(&self, _: DeploymentId) -> Load {
        self.miss(Unknown::Load);
        Load::default()
    }

    fn cost(&self, deployment: &DeploymentPolicy) -> Option<u64> {
        let cost = (self.cost)(deployment, usual_use(self.input_tokens(), None));
        if cost.is_none() {
            self.miss(Unknown::Price);
        }
        cost
    }
}

#[cfg(test)]
mod tests;
