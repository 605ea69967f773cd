//! What serves a model name: targets or a tree of strategies, with retry, timeout and fallback rules.

mod cache;
mod check;
mod dry_run;
mod rules;
mod tree;

pub use cache::{Cache, CacheMode, CacheScope};
pub use check::{Document, Flaw, MAX_MS, MAX_WEIGHT};
pub use dry_run::Unknown;
pub use rules::{
    Affinity, Dropped, FailureClass, Fallback, Hedge, Overrides, RetryBudget, Rules, Shadow, SlowStart, StreamFailure,
};
pub use tree::{Bound, Case, HashKey, LatencyMeasure, Node, Share, Test};

use crate::{DeploymentId, ModelName, OrganizationId, RouteId, Timestamp, WorkspaceId};

/// One deployment inside a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Target {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// Targets of the lowest priority are tried first; the next priority is the fallback.
    pub priority: u16,
    /// The share among targets of the same priority; 0 means only when nothing else is left.
    pub weight: u32,
}

/// The four named durations of an attempt and its request, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Timeouts {
    /// To a connection, TLS included.
    pub connect_ms: u32,
    /// From sending to the first byte of the answer.
    pub first_byte_ms: u32,
    /// Between two chunks of an answer.
    pub idle_ms: u32,
    /// Over everything, all attempts included.
    pub total_ms: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        // First byte is long because a reasoning model may think for minutes before a whole answer.
        Self { connect_ms: 5_000, first_byte_ms: 300_000, idle_ms: 120_000, total_ms: 600_000 }
    }
}

/// A route of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its id.
    pub id: RouteId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// The model name clients ask for; unique in the workspace among deployments and routes.
    pub name: ModelName,
    /// 1–32 targets, each deployment at most once; the short form of a tree. Empty when there is a tree.
    pub targets: Vec<Target>,
    /// How the target is chosen; at most 4 levels of strategies over 32 deployments.
    pub tree: Option<Node>,
    /// How many attempts one request may make, over all targets; 1–10.
    pub max_attempts: u16,
    /// The durations.
    pub timeouts: Timeouts,
    /// What happens beyond choosing.
    pub rules: Rules,
    /// Counts changes, from 1.
    pub version: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When it was archived.
    pub archived_at: Option<Timestamp>,
}

impl Route {
    /// The most targets a route may have, and the most leaves a tree.
    pub const MAX_TARGETS: usize = 32;
    /// The most levels of strategies in a tree.
    pub const MAX_DEPTH: usize = 4;
    /// The most attempts a request may make.
    pub const MAX_ATTEMPTS: u16 = 10;
    /// The attempts of a route that does not say.
    pub const DEFAULT_ATTEMPTS: u16 = 3;

    /// Returns the part that decides about calls.
    #[must_use]
    pub const fn document(&self) -> Document<'_> {
        Document {
            targets: self.targets.as_slice(),
            tree: self.tree.as_ref(),
            max_attempts: self.max_attempts,
            timeouts: &self.timeouts,
            rules: &self.rules,
        }
    }

    /// Says whether the route names a deployment.
    #[must_use]
    pub fn names(&self, id: DeploymentId) -> bool {
        let mut is_named = false;
        self.document().visit_deployments(&mut |named| is_named |= named == id);
        is_named
    }
}
