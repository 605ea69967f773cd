//! Calls under way that a kill switch ends.
//!
//! Each call that holds a place is known here, with its caller and with what serves it now. When policy changes, the calls that a
//! cutting switch is about are woken and end: before their answer with a refusal, in the middle of a stream with its dialect's
//! error event. Invariant: a call that began under earlier policy is looked at under the present one, before it is sent.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use domain::code::GatewayCode;
use ingress::Rejection;
pub(crate) use ingress::unserved::refuse_stopped;
use ingress::unserved::refuse_user;
use pin_project_lite::pin_project;
use policy::Snapshot;
use policy::snapshot::OrganizationPolicy;
use policy::stops::Serving;
use throttle::live::{Calls, Watch};
use tokio_util::sync::CancellationToken;

use super::reserve::Held;
use super::settle::CallerIds;
use super::{Shared, Worker};

/// How often policy is looked at. Well below the second in which a switch is to be felt.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often counters that count nothing are thrown away, in looks.
const SWEEP_EVERY: u32 = 300;
/// When to ask again for another target.
const SOON: Duration = Duration::from_secs(1);

/// The calls under way of a node.
pub(crate) type Live = Arc<Calls<Held>>;

/// Refuses a call that was stopped after its policy was pinned. To be asked once it is entered: later changes find it there.
///
/// For whom a call is made is said with the call, so that no earlier stage asked about the user.
pub(crate) fn check(
    worker: &Worker,
    organization: &OrganizationPolicy,
    caller: CallerIds,
    user: Option<&str>,
) -> Result<(), Rejection> {
    let present = worker.shared.policy.load();
    let stops = present.organization(caller.organization).map(|it| it.stops());
    let later = stops.filter(|stops| !Arc::ptr_eq(stops, organization.stops()));
    if later.is_some_and(|stops| stops.refuse(caller.workspace, caller.key)) {
        return Err(refuse_stopped());
    }
    // What stands now holds, also when it was lifted since.
    if stops.unwrap_or(organization.stops()).refuse_user(user) {
        return Err(refuse_user());
    }
    Ok(())
}

pin_project! {
    /// Work on a call, until it is cut. Written by hand: an async block would keep room for the work twice.
    pub(crate) struct Guarded<F> {
        watch: Option<Watch<Held>>,
        #[pin]
        work: F,
    }
}

/// Works on a call until it is cut.
pub(crate) const fn guard<F>(watch: Option<Watch<Held>>, work: F) -> Guarded<F> {
    Guarded { watch, work }
}

impl<T, F: Future<Output = Result<T, Rejection>>> Future for Guarded<F> {
    type Output = Result<T, Rejection>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.watch.as_ref().filter(|watch| watch.poll_cut(cx)) {
            Some(watch) => Poll::Ready(Err(refusal(watch.facts()))),
            None => this.work.poll(cx),
        }
    }
}

/// Returns how a cut call is refused.
pub(crate) fn refusal(facts: &Held) -> Rejection {
    if facts.is_by_server.load(Ordering::Relaxed) {
        let detail =
            "what serves this call was stopped by an administrator in the middle of it; ask again for another target";
        return Rejection::new(GatewayCode::NoHealthyTarget, detail).with_retry_after(Some(SOON));
    }
    if facts.is_by_user.load(Ordering::Relaxed) { refuse_user() } else { refuse_stopped() }
}

/// Looks at policy until `stop`, and ends what it stops.
pub(crate) async fn keep_cutting(shared: Arc<Shared>, stop: CancellationToken) {
    let mut seen = None;
    let mut looks = 0_u32;
    while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
        cut_stopped(&shared, &mut seen);
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(SWEEP_EVERY) {
            shared.throttle.sweep(shared.moment_us());
        }
    }
}

/// Ends the calls under way that policy stops now; `seen` is the policy of the last look. Returns how many.
pub(crate) fn cut_stopped(shared: &Shared, seen: &mut Option<Arc<Snapshot>>) -> usize {
    let present = shared.policy.load();
    if seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &present)) {
        return 0;
    }
    let present = seen.insert(Arc::clone(&present));
    if !present.organizations().any(|organization| organization.stops().may_cut()) {
        return 0;
    }
    let n_cut = shared.live.cut(|call| is_stopped(present, call));
    if n_cut > 0 {
        tracing::info!(n_cut, "calls under way were cut by a kill switch");
    }
    n_cut
}

fn is_stopped(policy: &Snapshot, call: &Held) -> bool {
    let CallerIds { organization, workspace, key, .. } = call.caller;
    let Some(organization) = policy.organization(organization) else { return false };
    if organization.stops().cut(workspace, key, None) {
        return true;
    }
    if organization.stops().cut_user(call.end_user.as_deref()) {
        call.is_by_user.store(true, Ordering::Relaxed);
        return true;
    }
    let Some(id) = *call.deployment.lock() else { return false };
    let deployments = policy.workspace(workspace).map(|workspace| workspace.deployments());
    let Some(deployment) = deployments.into_iter().flatten().find(|it| it.id == id) else { return false };
    let serving =
        Serving { deployment: Some(id), provider: &deployment.provider, upstream_model: &deployment.upstream_model };
    let is_cut = organization.stops().cut(workspace, key, Some(&serving));
    call.is_by_server.store(is_cut, Ordering::Relaxed);
    is_cut
}
