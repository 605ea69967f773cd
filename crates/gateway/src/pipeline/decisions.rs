//! The last routing decisions of a node, for `GET /explain/{request_id}`: which targets were looked at, tried, passed over, why.
//!
//! A bounded ring for each of a few locks, so that workers do not wait for each other. Nothing here is content, and nothing of it
//! outlives the process; what must last is in the usage event.

use std::collections::VecDeque;
use std::sync::Arc;

use domain::usage::{AttemptOutcome, AttemptRecord, SkipReason};
use domain::{DeploymentId, OrganizationId, RequestId, Timestamp};
use parking_lot::Mutex;
use policy::Plan;
use policy::snapshot::ModelPolicy;
use serde::Serialize;

use super::settle::Meter;

/// Decisions kept behind each lock.
const KEPT: usize = 256;
const N_RINGS: usize = 4;

/// The decisions of a node.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    rings: [Mutex<VecDeque<Decision>>; N_RINGS],
}

/// One decision.
#[derive(Debug, Clone)]
struct Decision {
    id: RequestId,
    organization: OrganizationId,
    at: Timestamp,
    model: Arc<ModelPolicy>,
    plan: Plan,
    /// The last one apart, because most calls have no other.
    last: Option<Tried>,
    earlier: Vec<Tried>,
}

#[derive(Debug, Clone, Copy)]
struct Tried {
    n: u16,
    deployment: DeploymentId,
    /// `None` while its stream is under way.
    outcome: Option<AttemptOutcome>,
    status: Option<u16>,
    duration_us: u64,
}

impl Tried {
    const fn of(record: &AttemptRecord, outcome: Option<AttemptOutcome>) -> Self {
        let AttemptRecord { n, deployment_id, status, duration_us, .. } = *record;
        Self { n, deployment: deployment_id, outcome, status, duration_us }
    }
}

impl Decisions {
    /// Notes how a call was decided; `again` when it has been before, and went on.
    pub(crate) fn note(&self, meter: &mut Meter, model: &Arc<ModelPolicy>, plan: &Plan, again: bool) {
        let Some(caller) = meter.caller else { return };
        let under_way = meter.current_attempt().map(|record| Tried::of(record, None));
        let mut ended: Vec<Tried> = Vec::new();
        let (last, earlier) = match (&meter.attempts[..], under_way) {
            ([], last) => (last, ended),
            ([only], None) => (Some(Tried::of(only, Some(only.outcome))), ended),
            (all, last) => {
                ended.extend(all.iter().map(|record| Tried::of(record, Some(record.outcome))));
                (last, ended)
            }
        };
        let decision = Decision {
            id: meter.request_id,
            organization: caller.organization,
            at: meter.started_at,
            model: model.clone(),
            plan: *plan,
            last,
            earlier,
        };
        let Some(ring) = self.ring(meter.request_id) else { return };
        let mut ring = ring.lock();
        if again {
            ring.retain(|known| known.id != decision.id || !Arc::ptr_eq(&known.model, model));
        }
        if ring.len() >= KEPT {
            ring.pop_front();
        }
        ring.push_back(decision);
    }

    fn ring(&self, id: RequestId) -> Option<&Mutex<VecDeque<Decision>>> {
        let place = usize::try_from(id.as_uuid() % N_RINGS as u128).ok()?;
        self.rings.get(place)
    }

    /// Explains a call; one entry for each model that it went through, the last one last.
    pub(crate) fn explain(&self, id: RequestId) -> Vec<Explanation> {
        let Some(ring) = self.ring(id) else { return Vec::new() };
        let found: Vec<Decision> = ring.lock().iter().filter(|decision| decision.id == id).cloned().collect();
        found.iter().map(Decision::explain).collect()
    }
}

/// A decision in words.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    request_id: String,
    organization_id: String,
    at: Timestamp,
    model: String,
    route_id: Option<String>,
    targets: Vec<Target>,
}

#[derive(Debug, Serialize)]
struct Target {
    deployment_id: String,
    deployment: String,
    provider: String,
    upstream_model: String,
    /// Its place in the order, from 1; `None` for what was never to be tried.
    place: Option<usize>,
    /// The strategies that lead to it, from the root on.
    chosen_by: String,
    /// Why it was passed over or put last.
    skipped: Option<SkipReason>,
    attempts: Vec<Attempt>,
}

#[derive(Debug, Serialize)]
struct Attempt {
    n: u16,
    outcome: &'static str,
    status: Option<u16>,
    duration_us: u64,
}

impl Decision {
    fn explain(&self) -> Explanation {
        let slots = (0_u8..).zip(&self.model.targets);
        let targets = slots.map(|(slot, target)| {
            let deployment = &target.deployment;
            let of_target = |tried: &&Tried| tried.deployment == deployment.id;
            let attempts: Vec<_> = self.earlier.iter().chain(&self.last).filter(of_target).map(Attempt::of).collect();
            let place = self.plan.slots().iter().position(|known| *known == slot);
            let not_needed = (place.is_some() && attempts.is_empty()).then_some(SkipReason::NotNeeded);
            Target {
                deployment_id: deployment.id.to_string(),
                deployment: deployment.name.clone(),
                provider: deployment.provider.clone(),
                upstream_model: deployment.upstream_model.clone(),
                place: place.map(|at| at + 1),
                chosen_by: self.model.tree.path(slot),
                skipped: self.plan.skip(slot).or(not_needed),
                attempts,
            }
        });
        Explanation {
            request_id: self.id.to_string(),
            organization_id: self.organization.to_string(),
            at: self.at,
            model: self.model.name.to_string(),
            route_id: self.model.route.map(|id| id.to_string()),
            targets: targets.collect(),
        }
    }
}

impl Attempt {
    fn of(tried: &Tried) -> Self {
        Self {
            n: tried.n,
            outcome: tried.outcome.map_or("under_way", AttemptOutcome::as_str),
            status: tried.status,
            duration_us: tried.duration_us,
        }
    }
}
