//! Stage 4: holds a place for the call. Today that is a cap on calls in flight, of the node and of each key.
//!
//! Budgets and rate windows will hold here as well; they need counters that nodes share. Invariant: a place is given back by
//! dropping its [`Hold`], which the meter does when it settles.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use domain::VirtualKeyId;
use domain::code::GatewayCode;
use parking_lot::RwLock;
use rustc_hash::FxHashMap;

use super::Worker;
use crate::rejection::Rejection;

/// When to come back after too many calls at once.
const RETRY: Duration = Duration::from_secs(1);
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
