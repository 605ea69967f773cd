//! The ports: towards the control plane, one word of the node and one answer; and towards the node's own spool.

use std::pin::Pin;

use domain::lease::{Tell, Told};

/// A future behind a port.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The control plane did not answer, or not in a way that can be read.
#[derive(Debug, thiserror::Error)]
#[error("the control plane could not be asked for money of budgets")]
pub struct Unreachable(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Lends money. A node's link is one.
pub trait LeaseSource: Send + Sync {
    /// Says a word and hears the answer.
    fn tell(&self, word: Tell) -> BoxFuture<Result<Told, Unreachable>>;
}

/// Knows how far usage events have come; the spool does. Sequences rise with each event.
pub trait Delivered: Send + Sync {
    /// This life of the node, as its events name it.
    fn boot(&self) -> String;

    /// Former lives of which the ledger has everything.
    fn delivered_boots(&self) -> Vec<String>;

    /// Returns the sequence of the last event that was written; `None` while some wait for the disk.
    fn written(&self) -> Option<u64>;

    /// Returns the sequence up to which the ledger has everything.
    fn acknowledged(&self) -> u64;
}
