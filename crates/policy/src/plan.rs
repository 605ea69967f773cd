//! Strategies, facts and signals → the order of attempts. Pure: the same seed and signals give the same order.
//!
//! The tree says the order; what is not fit at the moment goes behind everything that is, as a last resort: when everything is
//! ejected, trying is better than refusing. When in no group of targets that share load half is fit, ejection is ignored, because
//! the few that are left would be overrun (the *panic threshold*). Unusable deployments are left out. Nothing here allocates.

mod order;
#[cfg(test)]
mod tests;

use domain::DeploymentId;
use domain::route::Route;
use domain::usage::SkipReason;

use crate::facts::Facts;
use crate::snapshot::{DeploymentPolicy, ModelPolicy, TargetPolicy};
use crate::tree::SLOTS;

/// What is known of a deployment's fitness at this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Nothing speaks against it.
    Fit,
    /// It came back lately and is given this share of its calls, in percent.
    Warming(u8),
    /// It asked for a pause: it is loaded, not broken.
    RateLimited,
    /// It failed lately; only when nothing better is left.
    Ejected,
}

/// What is known of a deployment's load at this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Calls under way.
    pub n_in_flight: u32,
    /// Time to the first token of a stream, lately; 0 when unknown.
    pub first_token_us: u64,
    /// Time per output token, lately; 0 when unknown.
    pub per_token_us: u64,
    /// Tokens in the last minute.
    pub recent_tokens: u64,
}

/// What a node knows of deployments.
pub trait Signals {
    /// Whether a deployment is fit. Looks only.
    fn health(&self, id: DeploymentId) -> Health;
    /// How busy it is.
    fn load(&self, id: DeploymentId) -> Load;
    /// What this call would cost there, in nano-dollars; `None` without a price.
    fn cost(&self, deployment: &DeploymentPolicy) -> Option<u64>;
}

/// What one request asks of the choice.
pub trait Wish {
    /// Why a target is not to be tried.
    fn refuses(&self, deployment: &DeploymentPolicy, signals: &dyn Signals) -> Option<SkipReason>;
    /// Its place among those that may be: lower first, equal ones as the route has it.
    fn rank(&self, deployment: &DeploymentPolicy, signals: &dyn Signals) -> u64;
    /// Whether [`Wish::rank`] says anything.
    fn has_ranks(&self) -> bool;
}

/// What a plan is made of.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The call.
    pub facts: &'a dyn Facts,
    /// The deployments.
    pub signals: &'a dyn Signals,
    /// What the request asks of the choice.
    pub wish: Option<&'a dyn Wish>,
    /// Decides what is left to chance.
    pub seed: u64,
    /// Counts the model's calls, for those in turn.
    pub turn: u64,
}

/// The order of attempts, and why others were passed over. Slots are places in the model's targets.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    order: [u8; Route::MAX_TARGETS],
    n: u8,
    skips: [Option<SkipReason>; SLOTS],
}

impl Default for Plan {
    fn default() -> Self {
        Self { order: [0; Route::MAX_TARGETS], n: 0, skips: [None; SLOTS] }
    }
}

impl Plan {
    /// Returns every target to try, once each, in order.
    #[must_use]
    pub fn slots(&self) -> &[u8] {
        self.order.get(..usize::from(self.n)).unwrap_or_default()
    }

    /// Says whether nothing can be tried.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Returns why a target was passed over or put last.
    #[must_use]
    pub fn skip(&self, slot: u8) -> Option<SkipReason> {
        *self.skips.get(usize::from(slot))?
    }

    /// Notes why a target was passed over.
    pub fn note(&mut self, slot: u8, reason: SkipReason) {
        if let Some(noted) = self.skips.get_mut(usize::from(slot)) {
            *noted = Some(reason);
        }
    }

    fn push(&mut self, slot: u8) {
        if let Some(place) = self.order.get_mut(usize::from(self.n)) {
            *place = slot;
            self.n += 1;
        }
    }
}

/// Returns the targets in the order in which they are to be tried. Empty when none is usable (`no_healthy_target`).
#[must_use]
pub fn plan(model: &ModelPolicy, asked: &Asked<'_>) -> Plan {
    let mut plan = Plan::default();
    // The usual case: one deployment, and nothing to decide.
    if let ([only], None) = (&model.targets[..], asked.wish) {
        match unusable(only) {
            None => plan.push(0),
            Some(reason) => plan.note(0, reason),
        }
        return plan;
    }
    let mut making = order::Making::new(model, asked);
    making.run(&mut plan);
    plan
}

fn unusable(target: &TargetPolicy) -> Option<SkipReason> {
    if !target.deployment.is_enabled {
        Some(SkipReason::Disabled)
    } else if !target.deployment.is_usable() {
        Some(SkipReason::NoCredential)
    } else {
        None
    }
}
