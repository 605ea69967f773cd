//! Stage 4: holds a place for the call. Today that is a cap on calls in flight, of the node and of each key; and, where the
//! operator wants no call to go unbilled, room in the usage spool.
//!
//! Budgets and rate windows will hold here as well; they need counters that nodes share. Invariant: a place is given back by
//! dropping its [`Hold`], which the meter does when it settles.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use domain::VirtualKeyId;
use domain::code::GatewayCode;
use ingress::Rejection;
use parking_lot::RwLock;
use rustc_hash::FxHashMap;

use super::Worker;

/// When to come back after too many calls at once.
const RETRY: Duration = Duration::from_secs(1);
/// When to come back while the usage spool is full.
const FULL_RETRY: Duration = Duration::from_secs(5);
/// Counters kept before those without a call in flight are thrown away.
const SWEEP_AT: usize = 10_000;

/// A place in flight.
#[derive(Debug)]
pub(crate) struct Hold {
    of_key: Arc<AtomicUsize>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.of_key.fetch_sub(1, Ordering::Relaxed);
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

/// Holds a place for a call of `key`, or says when to come back.
pub(crate) fn reserve(worker: &Worker, key: VirtualKeyId) -> Result<Hold, Rejection> {
    let shared = &worker.shared;
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
    let hold = Hold { of_key: shared.in_flight.key(key) };
    let before = hold.of_key.fetch_add(1, Ordering::Relaxed);
    let cap = limits.max_in_flight_per_key;
    if before >= cap {
        let detail = format!("this key has {cap} calls in flight on this node, its most; wait for one to end");
        return Err(refuse(detail, cap));
    }
    Ok(hold)
}

fn refuse(detail: impl Into<std::borrow::Cow<'static, str>>, limit: usize) -> Rejection {
    Rejection::new(GatewayCode::RateLimited, detail).with_retry_after(Some(RETRY)).with_limit(limit)
}
