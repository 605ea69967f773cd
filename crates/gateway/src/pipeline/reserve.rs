//! Stage 4: holds a place for the call: under the caps on calls in flight, of the node and of each key; under its rate limits; among
//! the calls that a kill switch can cut; and, where the operator wants no call to go unbilled, with room in the usage spool.
//!
//! Invariant: a place is given back by settling or dropping its [`Hold`], which the meter does when it settles.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Context;
use std::time::Duration;

use domain::code::GatewayCode;
use domain::{DeploymentId, VirtualKeyId};
use ingress::Rejection;
use parking_lot::{Mutex, RwLock};
use policy::snapshot::OrganizationPolicy;
use rustc_hash::FxHashMap;
use throttle::live::{Ticket, Watch};
use throttle::{Pass, Standing, Use};

use super::rates::Counted;
use super::settle::{CallerIds, Meter};
use super::{Shared, Worker, cut, rates};

/// When to come back after too many calls at once.
const RETRY: Duration = Duration::from_secs(1);
/// When to come back while the usage spool is full.
const FULL_RETRY: Duration = Duration::from_secs(5);
/// Counters kept before those without a call in flight are thrown away.
const SWEEP_AT: usize = 10_000;

/// A place in flight.
#[derive(Debug)]
pub(crate) struct Hold(Ticket<Held>);

/// What is known of a call under way.
#[derive(Debug)]
pub(crate) struct Held {
    pub(super) caller: CallerIds,
    /// What serves it now.
    pub(super) deployment: Mutex<Option<DeploymentId>>,
    /// It was cut for what serves it, not for who calls.
    pub(super) is_by_server: AtomicBool,
    /// For whom it is made.
    pub(super) end_user: Option<Box<str>>,
    /// It was cut for whom it is made.
    pub(super) is_by_user: AtomicBool,
    /// What it took of rate limits.
    pass: Mutex<Option<Pass>>,
    of_key: Arc<AtomicUsize>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of_key.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Hold {
    fn with(self, pass: Option<Pass>) -> Self {
        *self.0.facts().pass.lock() = pass;
        self
    }

    /// Notes what serves the call from now on.
    pub(crate) fn serve(&self, deployment: DeploymentId) {
        *self.0.facts().deployment.lock() = Some(deployment);
    }

    /// Returns what watches the call for being cut.
    pub(crate) fn watch(&self) -> Watch<Held> {
        self.0.watch()
    }

    /// Returns how the call is refused when it is cut; if it is not, the task is woken when it is.
    pub(crate) fn poll_cut(&self, cx: &Context<'_>) -> Option<Rejection> {
        self.0.poll_cut(cx).then(|| cut::refusal(self.0.facts()))
    }

    /// Returns how the rate limits of the call stood.
    pub(crate) fn standing(&self) -> Option<Standing> {
        self.0.facts().pass.lock().as_ref().map(|pass| *pass.standing())
    }

    /// Counts what the call used, and gives its place back.
    pub(crate) fn settle(self, shared: &Shared, used: &Use, provider: Option<&str>) {
        let pass = self.0.facts().pass.lock().take();
        if let Some(pass) = pass {
            pass.settle(shared.moment_us(), used, provider);
        }
    }
}

/// Calls in flight by key, over all workers.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    keys: RwLock<FxHashMap<VirtualKeyId, Arc<AtomicUsize>>>,
}

impl InFlight {
    /// Returns how many calls of a key are in flight.
    pub(crate) fn used(&self, id: VirtualKeyId) -> usize {
        self.keys.read().get(&id).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    fn key(&self, id: VirtualKeyId) -> Arc<AtomicUsize> {
        if let Some(found) = self.keys.read().get(&id) {
            return found.clone();
        }
        let mut keys = self.keys.write();
        if keys.len() >= SWEEP_AT {
            // A counter that only the map holds counts nothing.
            keys.retain(|_, counter| Arc::strong_count(counter) > 1);
        }
        keys.entry(id).or_default().clone()
    }
}

/// Holds a place for a call of the meter's caller, or says when to come back.
pub(crate) async fn reserve(
    worker: &Worker,
    organization: &OrganizationPolicy,
    counted: &Counted<'_>,
    meter: &Meter,
) -> Result<Hold, Rejection> {
    let hold = place(worker, organization, meter)?;
    Ok(hold.with(rates::admit(worker, organization, counted, meter).await?))
}

/// The same for those who cannot wait: by this node's share of rate limits.
pub(crate) fn reserve_now(
    worker: &Worker,
    organization: &OrganizationPolicy,
    counted: &Counted<'_>,
    meter: &Meter,
) -> Result<Hold, Rejection> {
    Ok(place(worker, organization, meter)?.with(rates::admit_now(worker, organization, counted, meter)?))
}

fn place(worker: &Worker, organization: &OrganizationPolicy, meter: &Meter) -> Result<Hold, Rejection> {
    let shared = &worker.shared;
    let caller = meter.caller.ok_or_else(Rejection::internal)?;
    if shared.config.refuses_when_full && shared.usage.is_full() {
        return Err(Rejection::new(
            GatewayCode::UsageFull,
            "this gateway node has no room left to note what calls use, and may not serve without; try again shortly",
        )
        .with_retry_after(Some(FULL_RETRY)));
    }
    let limits = &shared.config.limits;
    // The call itself is already counted as in flight.
    if usize::try_from(shared.metrics.in_flight()).unwrap_or(0) > limits.max_in_flight {
        return Err(refuse(
            "this gateway node is serving as many calls as it can; try again shortly",
            limits.max_in_flight,
        ));
    }
    let of_key = shared.in_flight.key(caller.key);
    let before = of_key.fetch_add(1, Ordering::Relaxed);
    let hold = Hold(shared.live.enter(Held {
        caller,
        deployment: Mutex::new(None),
        is_by_server: AtomicBool::new(false),
        end_user: meter.notes.end_user.as_deref().map(Into::into),
        is_by_user: AtomicBool::new(false),
        pass: Mutex::new(None),
        of_key,
    }));
    let cap = limits.max_in_flight_per_key;
    if before >= cap {
        let detail = format!("this key has {cap} calls in flight on this node, its most; wait for one to end");
        return Err(refuse(detail, cap));
    }
    cut::check(worker, organization, caller, meter.notes.end_user.as_deref())?;
    Ok(hold)
}

fn refuse(detail: impl Into<std::borrow::Cow<'static, str>>, limit: usize) -> Rejection {
    Rejection::new(GatewayCode::RateLimited, detail).with_retry_after(Some(RETRY)).with_limit(limit)
}
