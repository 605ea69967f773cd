//! Kill switches: what is to stop at once, and why.
//!
//! One that is in force refuses calls, or takes deployments out of routing, on every node that hears of it. Lifting it ends that;
//! the row stays, so that what was stopped, when and why can be read later. Who did it is in the audit log.

use std::fmt;

use crate::usage::text_enum;
use crate::{DeploymentId, KillSwitchId, ModelPattern, OrganizationId, Timestamp, VirtualKeyId, WorkspaceId};

text_enum! {
    /// What kind of thing is stopped.
    TargetKind {
        /// Every key of the organization.
        Organization = "organization",
        /// Every key of a workspace.
        Workspace = "workspace",
        /// One key.
        VirtualKey = "virtual_key",
        /// One deployment.
        Deployment = "deployment",
        /// Every deployment of a model.
        Model = "model",
        /// Every deployment of a provider.
        Provider = "provider",
        /// The calls for one end user.
        EndUser = "end_user",
    }
}

/// What is stopped. In JSON `{"kind": "virtual_key", "id": "key_…"}`; the organization has no id there.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// Every key of the organization.
    Organization,
    /// Every key of a workspace.
    Workspace(WorkspaceId),
    /// One key.
    VirtualKey(VirtualKeyId),
    /// One deployment.
    Deployment(DeploymentId),
    /// Every deployment whose `provider/model` fits, in all workspaces.
    Model(ModelPattern),
    /// Every deployment of the provider of this registered name, in all workspaces, and its own API.
    Provider(String),
    /// The calls that name this end user (`x-headgate-user`), with any key of the organization.
    EndUser(String),
}

/// The kind and the id do not make a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not the id of such a thing")]
pub struct UnknownTarget;

impl Target {
    /// Returns the kind.
    #[must_use]
    pub const fn kind(&self) -> TargetKind {
        match self {
            Self::Organization => TargetKind::Organization,
            Self::Workspace(_) => TargetKind::Workspace,
            Self::VirtualKey(_) => TargetKind::VirtualKey,
            Self::Deployment(_) => TargetKind::Deployment,
            Self::Model(_) => TargetKind::Model,
            Self::Provider(_) => TargetKind::Provider,
            Self::EndUser(_) => TargetKind::EndUser,
        }
    }

    /// Returns the text of what is named; empty for the organization.
    #[must_use]
    pub fn id_text(&self) -> String {
        match self {
            Self::Organization => String::new(),
            Self::Workspace(id) => id.to_string(),
            Self::VirtualKey(id) => id.to_string(),
            Self::Deployment(id) => id.to_string(),
            Self::Model(pattern) => pattern.to_string(),
            Self::Provider(name) | Self::EndUser(name) => name.clone(),
        }
    }

    /// Reads both back.
    pub fn read(kind: TargetKind, id: &str) -> Result<Self, UnknownTarget> {
        match kind {
            TargetKind::Organization if id.is_empty() => Some(Self::Organization),
            TargetKind::Organization => None,
            TargetKind::Workspace => id.parse().ok().map(Self::Workspace),
            TargetKind::VirtualKey => id.parse().ok().map(Self::VirtualKey),
            TargetKind::Deployment => id.parse().ok().map(Self::Deployment),
            TargetKind::Model => ModelPattern::parse(id).ok().map(Self::Model),
            TargetKind::Provider => is_provider(id).then(|| Self::Provider(id.to_owned())),
            TargetKind::EndUser => is_end_user(id).then(|| Self::EndUser(id.to_owned())),
        }
        .ok_or(UnknownTarget)
    }

    /// Says whether calls under way are cut unless told otherwise. Whoever stops a key, a user, a workspace or an organization wants
    /// nothing more to go out; what a deployment has begun is usually better ended than broken.
    #[must_use]
    pub const fn cuts_by_default(&self) -> bool {
        matches!(self, Self::Organization | Self::Workspace(_) | Self::VirtualKey(_) | Self::EndUser(_))
    }
}

/// Says whether a text is an end user as nodes keep it of the header.
fn is_end_user(text: &str) -> bool {
    (1..=KillSwitch::MAX_END_USER).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

fn is_provider(name: &str) -> bool {
    (1..=KillSwitch::MAX_PROVIDER).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Organization => f.write_str("the organization"),
            Self::Model(pattern) => write!(f, "model {pattern}"),
            Self::Provider(name) => write!(f, "provider {name}"),
            Self::EndUser(name) => write!(f, "user {name}"),
            Self::Workspace(_) | Self::VirtualKey(_) | Self::Deployment(_) => f.write_str(&self.id_text()),
        }
    }
}

/// Something that is, or was, stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KillSwitch {
    /// Its id.
    pub id: KillSwitchId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// What is stopped.
    pub target: Target,
    /// Why, for people of the organization; clients are not told.
    pub reason: String,
    /// Whether calls under way are cut, too.
    pub is_cutting: bool,
    /// When it was thrown.
    pub created_at: Timestamp,
    /// When it was lifted.
    pub lifted_at: Option<Timestamp>,
}

impl KillSwitch {
    /// Most of them in force at a time in one organization: each call looks at them.
    pub const MAX_IN_FORCE: usize = 256;
    /// Longest end user, in characters: what is kept of `x-headgate-user`.
    pub const MAX_END_USER: usize = 256;
    /// Longest reason, in characters.
    pub const MAX_REASON: usize = 1_000;
    /// Longest name of a provider.
    pub const MAX_PROVIDER: usize = 64;

    /// Says whether a reason is one.
    #[must_use]
    pub fn is_reason(text: &str) -> bool {
        !text.trim().is_empty() && text.chars().count() <= Self::MAX_REASON
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_as_it_is_written() {
        let targets = [
            Target::Organization,
            Target::Workspace(WorkspaceId::from_uuid(1)),
            Target::VirtualKey(VirtualKeyId::from_uuid(2)),
            Target::Deployment(DeploymentId::from_uuid(3)),
            Target::Model(ModelPattern::parse("openai/*").expect("a pattern")),
            Target::Provider("azure_openai".to_owned()),
        ];
        for target in targets {
            assert_eq!(Target::read(target.kind(), &target.id_text()).as_ref(), Ok(&target));
            let json = serde_json::to_string(&target).expect("serialises");
            assert_eq!(serde_json::from_str::<Target>(&json).expect("parses"), target, "{json}");
        }
        assert_eq!(serde_json::to_string(&Target::Organization).expect("serialises"), r#"{"kind":"organization"}"#);
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for (kind, id) in [
            (TargetKind::Organization, "org_1"),
            (TargetKind::VirtualKey, "ws_00000000000000000000000001"),
            (TargetKind::Provider, ""),
            (TargetKind::Provider, "../x"),
            (TargetKind::Model, ""),
        ] {
            assert_eq!(Target::read(kind, id), Err(UnknownTarget), "{id}");
        }
    }
}
