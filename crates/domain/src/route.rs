//! Targets with retry and timeout rules under a model name.

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
    /// 1–32 targets, each deployment at most once.
    pub targets: Vec<Target>,
    /// How many attempts one request may make, over all targets; 1–10.
    pub max_attempts: u16,
    /// The durations.
    pub timeouts: Timeouts,
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
    /// The most targets a route may have.
    pub const MAX_TARGETS: usize = 32;
    /// The most attempts a request may make.
    pub const MAX_ATTEMPTS: u16 = 10;
    /// The attempts of a route that does not say.
    pub const DEFAULT_ATTEMPTS: u16 = 3;
}
