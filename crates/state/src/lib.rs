//! Ephemeral state of gateway nodes: what may be lost at any moment and only makes calls cheaper or wiser.
//!
//! Ports, those of this crate each with an implementation in memory and one in Redis:
//!
//! | port | keeps | when it is lost |
//! |---|---|---|
//! | [`Cache`] | answers that may be given again | every look-up is a miss |
//! | [`Cooldowns`] | "this upstream said: not before …" | every node finds out by itself |
//! | `throttle::joint::Common`, in Redis alone | what rate limits have counted, over nodes | each node counts its share; spans begin anew |
//!
//! [`flights`] are of one node: identical calls at the same time.
//!
//! Not here: anything that is billed (that is the spool and the ledger), what a call is identical to (the gateway makes the keys),
//! HTTP. Invariants: a call waits for Redis no longer than the patience it was opened with, and not at all while Redis is known to
//! be away; answers in Redis are sealed under a key of their organization, and names are keyed hashes.

#![deny(missing_docs)]

pub mod answer;
pub mod canonical;
pub mod cooldown;
pub mod flights;
pub mod key;
pub mod memory;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "redis")]
mod seal;
#[cfg(feature = "test-support")]
pub mod testing;
pub mod tiers;

use std::pin::Pin;
use std::sync::Arc;

use domain::Timestamp;

pub use crate::answer::Answer;
pub use crate::cooldown::Cooldowns;
pub use crate::key::{CacheKey, KeyMaker};
pub use crate::memory::Memory;
pub use crate::tiers::Tiers;

/// A future behind a port.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Keeps answers for a time.
pub trait Cache: Send + Sync + std::fmt::Debug {
    /// Finds an answer that has not expired at `now`. A store that cannot answer has none.
    fn find<'a>(&'a self, key: &'a CacheKey, now: Timestamp) -> BoxFuture<'a, Option<Arc<Answer>>>;

    /// Keeps an answer until it expires, or not: a store may be full, away, or have no room for one so large. Waits for nothing.
    fn keep(&self, key: &CacheKey, answer: Arc<Answer>, now: Timestamp);
}
