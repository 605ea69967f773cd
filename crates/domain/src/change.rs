//! What kinds of resource nodes may be told, and the outbox row that says which one changed.

use crate::{
    BudgetId, CredentialId, DeploymentId, EnvironmentId, KillSwitchId, OrganizationId, PriceId, RateLimitId, RouteId,
    VirtualKeyId, WorkspaceId,
};

/// A subject that changed; its current row is what nodes get, or a removal when it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Change {
    /// The organization itself.
    Organization(OrganizationId),
    /// A workspace.
    Workspace(WorkspaceId),
    /// An environment.
    Environment(EnvironmentId),
    /// A virtual key.
    VirtualKey(VirtualKeyId),
    /// A credential.
    Credential(CredentialId),
    /// A deployment.
    Deployment(DeploymentId),
    /// A route.
    Route(RouteId),
    /// A price version.
    Price(PriceId),
    /// A budget.
    Budget(BudgetId),
    /// A rate limit.
    RateLimit(RateLimitId),
    /// A kill switch.
    KillSwitch(KillSwitchId),
}

impl Change {
    /// Returns `(kind, id)` as the outbox stores them.
    #[must_use]
    pub fn key(&self) -> (&'static str, String) {
        match self {
            Self::Organization(id) => ("organization", id.to_string()),
            Self::Workspace(id) => ("workspace", id.to_string()),
            Self::Environment(id) => ("environment", id.to_string()),
            Self::VirtualKey(id) => ("virtual_key", id.to_string()),
            Self::Credential(id) => ("credential", id.to_string()),
            Self::Deployment(id) => ("deployment", id.to_string()),
            Self::Route(id) => ("route", id.to_string()),
            Self::Price(id) => ("price", id.to_string()),
            Self::Budget(id) => ("budget", id.to_string()),
            Self::RateLimit(id) => ("rate_limit", id.to_string()),
            Self::KillSwitch(id) => ("kill_switch", id.to_string()),
        }
    }

    /// Reads `(kind, id)` back.
    #[must_use]
    pub fn from_key(kind: &str, id: &str) -> Option<Self> {
        Some(match kind {
            "organization" => Self::Organization(id.parse().ok()?),
            "workspace" => Self::Workspace(id.parse().ok()?),
            "environment" => Self::Environment(id.parse().ok()?),
            "virtual_key" => Self::VirtualKey(id.parse().ok()?),
            "credential" => Self::Credential(id.parse().ok()?),
            "deployment" => Self::Deployment(id.parse().ok()?),
            "route" => Self::Route(id.parse().ok()?),
            "price" => Self::Price(id.parse().ok()?),
            "budget" => Self::Budget(id.parse().ok()?),
            "rate_limit" => Self::RateLimit(id.parse().ok()?),
            "kill_switch" => Self::KillSwitch(id.parse().ok()?),
            _ => return None,
        })
    }
}
