//! Signs of life that a node asks for by itself, of deployments that are out or that nothing was sent to.
//!
//! Where a route has an interval, the upstream's list of models is asked for, which costs nothing: a probe is no client's call, is
//! in no ledger, and never asks a model. Each node probes for itself, at times of its own. Invariants: no more than one probe of a
//! deployment in an interval; an answer only ends an ejection early, so that the next call tries, and proves no model fit; only a
//! deployment that does not answer, or fails in its own name, is ejected.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use domain::{DeploymentId, OrganizationId, Timestamp};
use futures_util::future::join_all;
use http::header::{ACCEPT_ENCODING, HeaderName, USER_AGENT};
use http::{HeaderValue, Request, StatusCode};
use policy::Snapshot;
use policy::snapshot::{CredentialUse, DeploymentPolicy};
use provider::Provider;
use rustc_hash::FxHashMap;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use upstream::client::SendError;

use super::Worker;

/// How often it is looked for what is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Most probes at a time.
const AT_ONCE: usize = 16;
/// Longest wait for a connection, and for an answer.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(10);
const AGENT: HeaderValue = HeaderValue::from_static(concat!("headgate/", env!("CARGO_PKG_VERSION")));

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Alive,
    Dead,
    /// Nothing that says whether calls would be served: a refused key, a list that is not there, a rate limit.
    Nothing,
}

/// A deployment that a route wants probed.
struct Wanted {
    organization: OrganizationId,
    deployment: Arc<DeploymentPolicy>,
    /// The shortest of all routes that name it.
    every: Duration,
    due: Timestamp,
}

/// What is probed by this node, and when next.
#[derive(Default)]
pub struct Probing {
    /// The policy that `wanted` was made of.
    of: Option<Arc<Snapshot>>,
    wanted: FxHashMap<DeploymentId, Wanted>,
}

impl std::fmt::Debug for Probing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probing").field("n_wanted", &self.wanted.len()).finish_non_exhaustive()
    }
}

/// Probes what is due until it is stopped.
pub(crate) async fn keep_probing(worker: Arc<Worker>, stop: CancellationToken) {
    let mut probing = Probing::default();
    loop {
        let waited = stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await;
        if waited.is_none() || stop.run_until_cancelled(Box::pin(probing.run_due(&worker))).await.is_none() {
            return;
        }
    }
}

impl Probing {
    /// Probes what is due now, and returns how many deployments that were.
    pub(crate) async fn run_due(&mut self, worker: &Arc<Worker>) -> usize {
        let now = worker.shared.clock.now();
        self.follow(&worker.shared.policy, now, worker);
        let Some(snapshot) = self.of.clone() else { return 0 };
        let is_current = |id| snapshot.organization(id).is_some_and(|organization| !organization.is_stale(now));
        let mut chosen = Vec::new();
        for wanted in self.wanted.values_mut().filter(|wanted| wanted.due <= now) {
            let target = worker.shared.health.target(wanted.deployment.id);
            let is_wanted = target.is_ejected(now) || target.is_quiet(now, wanted.every);
            if !is_wanted || chosen.len() >= AT_ONCE || !is_current(wanted.organization) {
                continue;
            }
            wanted.due = now.plus(jittered(wanted.every, worker.ids.seed()));
            chosen.push((target, Arc::clone(&wanted.deployment)));
        }
        let probes = chosen.iter().map(|(target, deployment)| async move {
            let found = probe(worker, deployment).await;
            let now = worker.shared.clock.now();
            match found {
                Found::Alive if target.half_open(now) => {
                    tracing::info!(deployment.id = %deployment.id, "a deployment that was out answered a probe; the next call tries it");
                }
                Found::Dead => {
                    target.eject(now);
                    tracing::warn!(deployment.id = %deployment.id, "a deployment did not answer a probe and is out");
                }
                Found::Alive | Found::Nothing => {}
            }
        });
        join_all(probes).await;
        chosen.len()
    }

    /// Takes over what the policy in force wants. What is new is first probed somewhere within its interval.
    fn follow(&mut self, policy: &ArcSwap<Snapshot>, now: Timestamp, worker: &Worker) {
        let snapshot = policy.load_full();
        if self.of.as_ref().is_some_and(|known| Arc::ptr_eq(known, &snapshot)) {
            return;
        }
        let mut before = std::mem::take(&mut self.wanted);
        for workspace in snapshot.workspaces() {
            for model in workspace.models() {
                let Some(every) = model.rules.probe_interval else { continue };
                for target in model.targets.iter().filter(|target| is_probed(&target.deployment)) {
                    let id = target.deployment.id;
                    let due = before.remove(&id).map(|known| known.due);
                    let wanted = self.wanted.entry(id).or_insert_with(|| Wanted {
                        organization: workspace.organization,
                        deployment: Arc::clone(&target.deployment),
                        every,
                        due: due.unwrap_or_else(|| now.plus(share(every, worker.ids.seed()))),
                    });
                    wanted.every = wanted.every.min(every);
                }
            }
        }
        self.of = Some(snapshot);
    }
}

/// Returns a random part of a duration.
fn share(of: Duration, random: u64) -> Duration {
    let micros = of.as_micros().saturating_mul(u128::from(random >> 32)) >> 32;
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// Returns the interval or up to a tenth more, so that nodes do not ask in step.
fn jittered(every: Duration, random: u64) -> Duration {
    every + share(every / 10, random)
}

fn is_probed(deployment: &DeploymentPolicy) -> bool {
    deployment.is_usable() && provider::find(&deployment.provider).is_some_and(|it| it.spec().listing.is_some())
}

async fn probe(worker: &Arc<Worker>, deployment: &DeploymentPolicy) -> Found {
    let until = Instant::now() + ANSWER;
    let Some(provider) = provider::find(&deployment.provider) else { return Found::Nothing };
    let Some(request) = Box::pin(ask(worker, provider, deployment, until)).await else { return Found::Nothing };
    match timeout_at(until, worker.client.send(Box::new(request), CONNECT)).await {
        Ok(Ok(response)) => found(response.status()),
        // What this node may not dial says nothing of the upstream.
        Ok(Err(SendError::Denied { .. } | SendError::Url { .. })) => Found::Nothing,
        Ok(Err(_)) | Err(_) => Found::Dead,
    }
}

fn found(status: StatusCode) -> Found {
    match status {
        it if it.is_success() => Found::Alive,
        StatusCode::NOT_IMPLEMENTED => Found::Nothing,
        it if it.is_server_error() => Found::Dead,
        _ => Found::Nothing,
    }
}

/// Makes the request for the list of models; nothing where that cannot be made here.
async fn ask(
    worker: &Arc<Worker>,
    provider: &'static dyn Provider,
    deployment: &DeploymentPolicy,
    until: Instant,
) -> Option<Request<Bytes>> {
    let spec = provider.spec();
    let base = worker.bases.base(spec, &deployment.credential).ok().filter(|base| !base.is_dated())?;
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = base.below(spec.listing?, None).ok()?;
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, AGENT);
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for (name, value) in spec.defaults {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let CredentialUse::Ready(credential) = &deployment.credential else { return Some(request) };
    let given = worker.shared.exchanges.get(&worker.client, provider, credential, until).await.ok()?;
    let secret = given.as_ref().map(|given| &given.secret).or(credential.secret.as_ref());
    provider.sign(&mut request, secret, worker.shared.clock.now()).ok()?;
    Some(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_fails_in_its_own_name_is_dead() {
        let of = |status: u16| found(StatusCode::from_u16(status).expect("a status"));
        assert_eq!([200, 204].map(of), [Found::Alive; 2]);
        assert_eq!([500, 502, 503, 529].map(of), [Found::Dead; 4]);
        assert_eq!([301, 400, 401, 403, 404, 405, 429, 501].map(of), [Found::Nothing; 8]);
    }

    #[test]
    fn nodes_ask_at_times_of_their_own_and_never_too_early() {
        let every = Duration::from_secs(10);
        assert_eq!(jittered(every, 0), every);
        let late = jittered(every, u64::MAX);
        assert!(late > every && late <= Duration::from_secs(11), "{late:?}");
        assert!(share(every, u64::MAX / 2) < every);
    }
}
