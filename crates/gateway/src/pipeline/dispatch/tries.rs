//! What has been tried, and what comes next: the plan's order, moved by failures.
//!
//! A failure leads where the route's rule for its class says, else on to the next target; one that is a fact about the request
//! ends the call unless a rule leads on. Repeated tries of one target wait and are charged to the retry budget.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use domain::route::FailureClass;
use domain::usage::SkipReason;
use domain::{CredentialId, RouteId, Timestamp};
use ingress::Rejection;
use policy::Plan;
use policy::snapshot::{CredentialUse, DeploymentPolicy, ModelPolicy, Next as Rule};
use provider::failure::{Failure, FailureKind, Scope};
use tokio::time::Instant;
use upstream::health::{LONGEST_EJECTION, USUAL_PAUSE};

use super::Failed;
use crate::pipeline::settle::Meter;
use crate::pipeline::{Worker, retry};
use ingress::unserved::refuse_plan;

/// The next try.
pub(super) struct Next {
    pub(super) slot: u8,
    pub(super) deployment: Arc<DeploymentPolicy>,
    pub(super) pause: Duration,
}

/// What has been tried, and what is left.
pub(crate) struct Tries {
    pub(super) model: Arc<ModelPolicy>,
    pub(super) plan: Plan,
    /// Places in the plan's order that were taken; it is gone through again and again.
    at: usize,
    /// What a rule put before the rest.
    first: VecDeque<u8>,
    /// Attempts that are left.
    left: usize,
    /// Whose retry budget pays.
    payer: u128,
    tried: Vec<(u8, u32, Failure)>,
    barred_credentials: Vec<CredentialId>,
    /// A set of slots.
    barred: u64,
    /// Slots that were tried before their turn in this round.
    ahead: u64,
    /// Slots whose probe another call had taken; they are last resorts.
    probed: u64,
    /// The slot whose provider failed as a whole at the last try.
    shunned: Option<u8>,
    last: Option<Rejection>,
    is_over: bool,
}

impl Tries {
    pub(super) fn new(model: &Arc<ModelPolicy>, plan: Plan) -> Self {
        let first = plan.slots().first().and_then(|slot| model.targets.get(usize::from(*slot)));
        let payer = first.map_or(0, |target| target.deployment.id.as_uuid());
        Self {
            model: model.clone(),
            plan,
            at: 0,
            first: VecDeque::new(),
            left: usize::from(model.max_attempts.max(1)),
            payer: model.route.map_or(payer, RouteId::as_uuid),
            tried: Vec::new(),
            barred_credentials: Vec::new(),
            barred: 0,
            ahead: 0,
            probed: 0,
            shunned: None,
            last: None,
            is_over: false,
        }
    }

    /// Leaves nothing to fall back on.
    pub(super) const fn only_first(&mut self) {
        self.left = 1;
    }

    /// Returns what to try next.
    pub(super) fn next(&mut self, worker: &Worker, meter: &Meter, total_at: Instant) -> Option<Next> {
        while !self.is_over {
            let slot = self.take()?;
            let Some(deployment) = self.deployment(slot).cloned() else { continue };
            if self.is_barred(slot, &deployment) {
                continue;
            }
            let Some((_, n, failure)) = self.tried.iter().find(|(tried, ..)| *tried == slot) else {
                if self.waits_for_probe(worker, slot, &deployment) {
                    continue;
                }
                return Some(Next { slot, deployment, pause: Duration::ZERO });
            };
            let pause = retry::pause(*n, failure.retry_after, worker.ids.seed());
            let (n, can_retry, now) = (*n, failure.can_retry(), Instant::now());
            let Some(pause) = pause.filter(|pause| now + *pause < total_at) else {
                self.plan.note(slot, SkipReason::TooLate);
                continue;
            };
            if !can_retry {
                continue;
            }
            if !worker.shared.retries.take(self.payer, self.model.rules.retry_budget, now) {
                self.plan.note(slot, SkipReason::RetryBudget);
                continue;
            }
            tracing::debug!(request.id = %meter.request_id, deployment.id = %deployment.id, attempt.n = n + 1, "retrying");
            return Some(Next { slot, deployment, pause });
        }
        None
    }

    /// Returns another target to ask at the same time, if there is one and the budget has room.
    pub(super) fn hedge(&mut self, worker: &Worker) -> Option<Next> {
        let rest = self.plan.slots().get(self.at..).unwrap_or_default();
        let slot = rest.iter().copied().find(|slot| {
            let is_tried = self.tried.iter().any(|(tried, ..)| tried == slot);
            let is_held_back = self.plan.skip(*slot).is_some() || self.ahead & (1 << slot) != 0;
            !is_tried && !is_held_back && self.deployment(*slot).is_some_and(|it| !self.is_barred(*slot, it))
        })?;
        let deployment = self.deployment(slot)?.clone();
        if !worker.shared.retries.take(self.payer, self.model.rules.retry_budget, Instant::now()) {
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        self.ahead |= 1 << slot;
        Some(Next { slot, deployment, pause: Duration::ZERO })
    }

    fn deployment(&self, slot: u8) -> Option<&Arc<DeploymentPolicy>> {
        self.model.targets.get(usize::from(slot)).map(|target| &target.deployment)
    }

    /// Takes the next of the plan; another provider first, when the last failure was of one as a whole.
    fn take(&mut self) -> Option<u8> {
        self.left = self.left.checked_sub(1)?;
        if let Some(slot) = self.first.pop_front() {
            return Some(slot);
        }
        if let Some(elsewhere) = self.shunned.take().and_then(|shunned| self.elsewhere(shunned)) {
            self.ahead |= 1 << elsewhere;
            return Some(elsewhere);
        }
        loop {
            let slots = self.plan.slots();
            let slot = *slots.get(self.at.checked_rem(slots.len())?)?;
            self.at += 1;
            if self.ahead & (1 << slot) == 0 {
                return Some(slot);
            }
            self.ahead &= !(1 << slot);
        }
    }

    /// Finds an untried target of another provider among those whose turn is yet to come.
    fn elsewhere(&self, shunned: u8) -> Option<u8> {
        let shunned = &self.deployment(shunned)?.provider;
        let rest = self.plan.slots().get(self.at..)?.iter().copied();
        rest.take(self.left + 1).find(|slot| {
            let is_new = !self.tried.iter().any(|(tried, ..)| tried == slot);
            let deployment = self.deployment(*slot);
            is_new && deployment.is_some_and(|it| it.provider != *shunned && !self.is_barred(*slot, it))
        })
    }

    fn is_barred(&self, slot: u8, deployment: &DeploymentPolicy) -> bool {
        let credential = match &deployment.credential {
            CredentialUse::Ready(credential) => Some(credential.id),
            _ => None,
        };
        self.barred & (1 << slot) != 0 || credential.is_some_and(|id| self.barred_credentials.contains(&id))
    }

    /// Says whether the target comes back from an ejection and another call is already trying it. The last resort is tried anyway.
    fn waits_for_probe(&mut self, worker: &Worker, slot: u8, deployment: &DeploymentPolicy) -> bool {
        if self.plan.skip(slot) == Some(SkipReason::Ejected) || self.probed & (1 << slot) != 0 {
            return false;
        }
        let now = worker.shared.clock.now();
        let may_send = worker.shared.health.look(deployment.id, |target| target.take_probe(now)).unwrap_or(true);
        if !may_send && self.plan.slots().len() > 1 {
            self.probed |= 1 << slot;
            self.plan.note(slot, SkipReason::ProbeUnderWay);
            // What was passed over costs no attempt.
            self.left += 1;
            return true;
        }
        false
    }

    /// Notes a failed attempt.
    pub(super) fn failed(&mut self, worker: &Worker, meter: &Meter, slot: u8, failed: Failed) {
        let Failed { failure, outcome, rejection, is_rehearsed } = failed;
        let Some(deployment) = self.deployment(slot).cloned() else { return };
        if !is_rehearsed {
            note_health(worker, &deployment, &failure);
        }
        tracing::info!(
            request.id = %meter.request_id,
            deployment.id = %deployment.id,
            attempt.n = meter.attempts.len(),
            outcome = outcome.as_str(),
            failure = failure.kind.as_str(),
            status = failure.status,
            "an attempt failed",
        );
        if failure.scope == Scope::Provider {
            self.shunned = Some(slot);
        }
        let model = self.model.clone();
        let rule = class_of(failure.kind).map_or(&Rule::Usual, |class| model.rules.next(class));
        match (rule, failure.scope) {
            (Rule::Stop, _) | (Rule::Usual, Scope::Request) => self.is_over = true,
            (Rule::To(slots), _) => self.lead_to(slots),
            _ => {}
        }
        match (failure.scope, &deployment.credential) {
            (Scope::Credential, CredentialUse::Ready(credential)) if !failure.can_retry() => {
                self.barred_credentials.push(credential.id);
            }
            _ if !failure.can_retry() => self.barred |= 1 << slot,
            _ => {}
        }
        match self.tried.iter_mut().find(|(tried, ..)| *tried == slot) {
            Some((_, n, last)) => (*n, *last) = (*n + 1, failure),
            None => self.tried.push((slot, 1, failure)),
        }
        self.last = Some(rejection);
    }

    /// Puts what a rule names before the rest. It gets an attempt of its own, or a route with one attempt had no use of it.
    fn lead_to(&mut self, slots: &[u8]) {
        let tried = &self.tried;
        let new = slots.iter().filter(|slot| !tried.iter().any(|(known, ..)| known == *slot));
        self.first = new.copied().collect();
        self.left = self.left.max(self.first.len());
    }

    /// Notes that no further attempt may be made.
    pub(super) fn refuse(&mut self, rejection: Rejection) {
        self.is_over = true;
        self.last = Some(rejection);
    }

    pub(super) fn take_rejection(&mut self) -> Rejection {
        self.last.take().unwrap_or_else(|| refuse_plan(&self.plan, self.model.targets.len()))
    }
}

/// Returns the class that a route may have a rule for; `None` for what only the client can mend.
const fn class_of(kind: FailureKind) -> Option<FailureClass> {
    match kind {
        FailureKind::InvalidRequest | FailureKind::TooLarge | FailureKind::ForeignReasoning => None,
        FailureKind::ContextWindow => Some(FailureClass::ContextWindow),
        FailureKind::ContentPolicy => Some(FailureClass::ContentFilter),
        FailureKind::RateLimited | FailureKind::Overloaded => Some(FailureClass::RateLimit),
        FailureKind::Timeout => Some(FailureClass::Timeout),
        FailureKind::Unauthorized
        | FailureKind::Forbidden
        | FailureKind::QuotaExhausted
        | FailureKind::NotFound
        | FailureKind::Server
        | FailureKind::Connect
        | FailureKind::Broken
        | FailureKind::Malformed => Some(FailureClass::Error),
    }
}

fn note_health(worker: &Worker, deployment: &DeploymentPolicy, failure: &Failure) {
    if failure.is_clients_fault() {
        return;
    }
    let now = worker.shared.clock.now();
    let target = worker.shared.health.target(deployment.id);
    if failure.kind == FailureKind::RateLimited {
        // Load, not damage: others go first for a while, and nothing is ejected.
        target.pause(now, failure.retry_after.unwrap_or(USUAL_PAUSE));
        share_pause(worker, deployment, failure, now);
        return;
    }
    if target.failed(now) {
        tracing::warn!(
            deployment.id = %deployment.id,
            provider = %deployment.provider,
            failure = failure.kind.as_str(),
            "a deployment failed repeatedly and is tried last until a probe succeeds",
        );
    }
    if let Some(retry_after) = failure.retry_after {
        target.pause(now, retry_after);
        share_pause(worker, deployment, failure, now);
    }
}

/// Tells the other nodes what the upstream itself asked for; it holds for them as well.
fn share_pause(worker: &Worker, deployment: &DeploymentPolicy, failure: &Failure, now: Timestamp) {
    if let Some(retry_after) = failure.retry_after {
        worker.shared.ephemeral.cooldowns.share(deployment.id, now.plus(retry_after.min(LONGEST_EJECTION)));
    }
}
