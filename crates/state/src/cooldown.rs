//! "This upstream said: not before …", told to the other nodes.
//!
//! Only what an upstream itself said is shared: it holds for the account, whoever asks. What a node observed (timeouts,
//! refused connections) may be the fault of its own network and stays with it.

use domain::{DeploymentId, Timestamp};

/// Tells other nodes that a deployment asked for a pause.
pub trait Cooldowns: Send + Sync + std::fmt::Debug {
    /// Tells them, some time soon; waits for nothing, and is lost when nobody can be told.
    fn share(&self, deployment: DeploymentId, until: Timestamp);
}

/// Takes what other nodes told.
pub type Listener = Box<dyn Fn(DeploymentId, Timestamp) + Send + Sync>;

/// A node that has nobody to tell.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Cooldowns for Alone {
    fn share(&self, _: DeploymentId, _: Timestamp) {}
}
