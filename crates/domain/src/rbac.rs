//! Who may do what: permissions, built-in roles, and the scope tree they are granted on.
//!
//! The table is monotone (nothing denies), small enough to enumerate in a test, and the same in the server and the console.

use crate::id::{OrganizationId, WorkspaceId};

/// Where a role is granted, or where a thing lives. A grant on an organization covers its workspaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// The whole organization.
    Organization(OrganizationId),
    /// One workspace of an organization.
    Workspace(OrganizationId, WorkspaceId),
}

impl Scope {
    /// Returns the organization.
    #[must_use]
    pub const fn organization(self) -> OrganizationId {
        match self {
            Self::Organization(organization) | Self::Workspace(organization, _) => organization,
        }
    }

    /// Returns the workspace, if the scope is one.
    #[must_use]
    pub const fn workspace(self) -> Option<WorkspaceId> {
        match self {
            Self::Organization(_) => None,
            Self::Workspace(_, workspace) => Some(workspace),
        }
    }

    /// Says whether a grant at `self` reaches a thing at `other`.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        match self {
            Self::Organization(organization) => organization == other.organization(),
            Self::Workspace(..) => self == other,
        }
    }
}

/// At which level a permission is meaningful.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Only an organization-wide grant gives it.
    Organization,
    /// An organization-wide grant or one on the workspace gives it.
    Workspace,
}

macro_rules! permissions {
    ($($(#[$doc:meta])* $name:ident = $text:literal @ $level:ident : $($role:ident)*;)+) => {
        /// One thing an actor may be allowed to do, named `resource:verb`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Permission {
            $($(#[$doc])* $name,)+
        }

        impl Permission {
            /// Every permission, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Returns the `resource:verb` text.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// Returns the level at which it can be granted.
            #[must_use]
            pub const fn level(self) -> Level {
                match self { $(Self::$name => Level::$level,)+ }
            }

            const fn roles(self) -> &'static [Role] {
                match self { $(Self::$name => &[$(Role::$role),*],)+ }
            }

            /// Says whether it lets one look and change nothing.
            #[must_use]
            pub fn is_read(self) -> bool {
                self.as_str().ends_with(":read")
            }
        }
    };
}

macro_rules! roles {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $title:literal, $about:literal;)+) => {
        /// A built-in role.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Role {
            $($(#[$doc])* $name,)+
        }

        impl Role {
            /// Every role, strongest first.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Returns the stable name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// Returns the name for people.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }

            /// Returns one sentence on what the role is for.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(Self::$name => $about,)+ }
            }
        }
    };
}

roles! {
    /// Everything, also ownership.
    Owner = "owner", "Owner", "Everything, including granting and removing ownership.";
    /// Everything but ownership.
    Admin = "admin", "Admin", "Everything except granting or removing ownership.";
    /// Members, tokens, credentials, nodes and the audit log; no traffic content.
    SecurityAdmin = "security_admin", "Security admin", "Members, tokens, credentials, nodes and the audit log.";
    /// Prices and spend.
    BillingAdmin = "billing_admin", "Billing admin", "Prices, spend and usage of the whole organization.";
    /// Reads the audit log and configuration.
    Auditor = "auditor", "Auditor", "Reads the audit log, configuration and usage; changes nothing.";
    /// Keys, deployments and routes of a workspace.
    Developer = "developer", "Developer", "Keys, deployments and routes of a workspace.";
    /// Prompts of a workspace.
    PromptAuthor = "prompt_author", "Prompt author", "Sees models and usage of a workspace; writes prompts.";
    /// Sees configuration and usage.
    Viewer = "viewer", "Viewer", "Sees configuration and usage; changes nothing.";
}

permissions! {
    /// See the organization and its settings.
    OrganizationRead = "organization:read" @ Organization: Owner Admin SecurityAdmin BillingAdmin Auditor Developer PromptAuthor Viewer;
    /// Rename the organization and change its settings.
    OrganizationUpdate = "organization:update" @ Organization: Owner Admin;
    /// Grant or remove ownership.
    OwnersManage = "owners:manage" @ Organization: Owner;
    /// See members and role bindings.
    MembersRead = "members:read" @ Organization: Owner Admin SecurityAdmin Auditor;
    /// Add, change and remove members.
    MembersManage = "members:manage" @ Organization: Owner Admin SecurityAdmin;
    /// Bind and unbind roles below ownership.
    RoleBindingsManage = "role_bindings:manage" @ Organization: Owner Admin SecurityAdmin;
    /// See everybody's access tokens (never their secrets).
    AccessTokensRead = "access_tokens:read" @ Organization: Owner Admin SecurityAdmin Auditor;
    /// Create access tokens for oneself.
    AccessTokensCreate = "access_tokens:create" @ Organization: Owner Admin SecurityAdmin BillingAdmin Auditor Developer PromptAuthor Viewer;
    /// Revoke anybody's access tokens.
    AccessTokensRevoke = "access_tokens:revoke" @ Organization: Owner Admin SecurityAdmin;
    /// See credentials (never their secrets).
    CredentialsRead = "credentials:read" @ Organization: Owner Admin SecurityAdmin Auditor Developer;
    /// Create, change and archive credentials.
    CredentialsManage = "credentials:manage" @ Organization: Owner Admin SecurityAdmin;
    /// Use a credential in a deployment.
    CredentialsUse = "credentials:use" @ Organization: Owner Admin Developer;
    /// See prices.
    PricesRead = "prices:read" @ Organization: Owner Admin SecurityAdmin BillingAdmin Auditor Developer PromptAuthor Viewer;
    /// Say what models are: their size and abilities.
    ModelsManage = "models:manage" @ Organization: Owner Admin;
    /// Set own prices.
    PricesManage = "prices:manage" @ Organization: Owner Admin BillingAdmin;
    /// See node groups, nodes and join tokens.
    NodesRead = "nodes:read" @ Organization: Owner Admin SecurityAdmin Auditor Developer Viewer;
    /// Create groups and join tokens, revoke nodes.
    NodesManage = "nodes:manage" @ Organization: Owner Admin SecurityAdmin;
    /// Read and verify the audit log.
    AuditRead = "audit:read" @ Organization: Owner Admin SecurityAdmin Auditor;
    /// Export the audit log.
    AuditExport = "audit:export" @ Organization: Owner Admin SecurityAdmin Auditor;
    /// See spend and usage of the whole organization.
    OrganizationUsageRead = "organization_usage:read" @ Organization: Owner Admin BillingAdmin Auditor;
    /// Enter credits, refunds and corrections, set what is added on bills, hold providers' exports against the ledger.
    BillingManage = "billing:manage" @ Organization: Owner Admin BillingAdmin;
    /// Create workspaces.
    WorkspacesCreate = "workspaces:create" @ Organization: Owner Admin;
    /// See a workspace and its environments.
    WorkspaceRead = "workspace:read" @ Workspace: Owner Admin SecurityAdmin BillingAdmin Auditor Developer PromptAuthor Viewer;
    /// Rename a workspace, manage its environments.
    WorkspaceUpdate = "workspace:update" @ Workspace: Owner Admin;
    /// Archive a workspace.
    WorkspaceArchive = "workspace:archive" @ Workspace: Owner Admin;
    /// See virtual keys (never their secrets).
    VirtualKeysRead = "virtual_keys:read" @ Workspace: Owner Admin SecurityAdmin Auditor Developer Viewer;
    /// Issue virtual keys.
    VirtualKeysCreate = "virtual_keys:create" @ Workspace: Owner Admin Developer;
    /// Change and rotate virtual keys.
    VirtualKeysUpdate = "virtual_keys:update" @ Workspace: Owner Admin Developer;
    /// Revoke virtual keys.
    VirtualKeysRevoke = "virtual_keys:revoke" @ Workspace: Owner Admin SecurityAdmin Developer;
    /// See deployments, routes and models.
    RoutingRead = "routing:read" @ Workspace: Owner Admin SecurityAdmin BillingAdmin Auditor Developer PromptAuthor Viewer;
    /// Create, change and archive deployments.
    DeploymentsManage = "deployments:manage" @ Workspace: Owner Admin Developer;
    /// Create, change and archive routes.
    RoutesManage = "routes:manage" @ Workspace: Owner Admin Developer;
    /// See budgets and how they stand.
    BudgetsRead = "budgets:read" @ Workspace: Owner Admin SecurityAdmin BillingAdmin Auditor Developer PromptAuthor Viewer;
    /// Create, change and archive budgets.
    BudgetsManage = "budgets:manage" @ Workspace: Owner Admin BillingAdmin;
    /// See rate limits.
    RateLimitsRead = "rate_limits:read" @ Workspace: Owner Admin SecurityAdmin BillingAdmin Auditor Developer PromptAuthor Viewer;
    /// Create, change and archive rate limits.
    RateLimitsManage = "rate_limits:manage" @ Workspace: Owner Admin SecurityAdmin;
    /// See what is stopped, and why.
    KillSwitchesRead = "kill_switches:read" @ Organization: Owner Admin SecurityAdmin BillingAdmin Auditor Developer Viewer;
    /// Stop things at once, and let them go on.
    KillSwitchesManage = "kill_switches:manage" @ Organization: Owner Admin SecurityAdmin;
    /// See alerts, where they are sent, and how far they have come.
    AlertsRead = "alerts:read" @ Organization: Owner Admin SecurityAdmin BillingAdmin Auditor;
    /// Manage where alerts are sent, try a destination, send again.
    AlertsManage = "alerts:manage" @ Organization: Owner Admin SecurityAdmin BillingAdmin;
    /// See usage sums of a workspace.
    UsageRead = "usage:read" @ Workspace: Owner Admin BillingAdmin Auditor Developer PromptAuthor Viewer;
    /// See single requests of a workspace (facts, not content).
    RequestsRead = "requests:read" @ Workspace: Owner Admin Auditor Developer;
}

impl Role {
    /// Says whether the role grants `permission`.
    #[must_use]
    pub fn grants(self, permission: Permission) -> bool {
        permission.roles().contains(&self)
    }

    /// Lists what the role grants.
    pub fn permissions(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.iter().copied().filter(move |permission| self.grants(*permission))
    }
}

/// A role granted at a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grant {
    /// What is granted.
    pub role: Role,
    /// Where it holds.
    pub scope: Scope,
}

/// Says whether `grants` allow `permission` on a thing at `at`.
///
/// Permissions of organization level need a grant on the organization; a workspace grant never gives them, except that any
/// grant inside an organization lets its holder see that the organization exists ([`Permission::OrganizationRead`]).
#[must_use]
pub fn allows(grants: &[Grant], permission: Permission, at: Scope) -> bool {
    grants.iter().any(|grant| {
        let reaches = match permission.level() {
            Level::Organization => grant.scope == Scope::Organization(at.organization()),
            Level::Workspace => grant.scope.covers(at),
        };
        let membership = permission == Permission::OrganizationRead && grant.scope.organization() == at.organization();
        grant.role.grants(permission) && (reaches || membership)
    })
}

/// The text names no permission or role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown {kind}; see the list of roles and permissions")]
pub struct UnknownName {
    kind: &'static str,
}

macro_rules! text_form {
    ($name:ident, $kind:literal) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text).ok_or(UnknownName { kind: $kind })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

text_form!(Permission, "permission");
text_form!(Role, "role");

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes() -> (Scope, Scope, Scope) {
        let (a, b) = (OrganizationId::from_uuid(1), OrganizationId::from_uuid(2));
        (Scope::Organization(a), Scope::Workspace(a, WorkspaceId::from_uuid(3)), Scope::Organization(b))
    }

    #[test]
    fn an_owner_may_do_everything_and_nobody_else_may_manage_owners() {
        assert!(Permission::ALL.iter().all(|permission| Role::Owner.grants(*permission)));
        assert_eq!(Role::ALL.iter().filter(|role| role.grants(Permission::OwnersManage)).count(), 1);
    }

    #[test]
    fn readers_change_nothing() {
        for role in [Role::Viewer, Role::Auditor, Role::PromptAuthor] {
            for permission in role.permissions() {
                let verb = permission.as_str().split(':').nth(1).unwrap_or_default();
                assert!(
                    matches!(verb, "read" | "export") || permission == Permission::AccessTokensCreate,
                    "{role} {permission}"
                );
            }
        }
    }

    #[test]
    fn a_workspace_grant_stays_in_its_workspace() {
        let (organization, workspace, foreign) = scopes();
        let grants = [Grant { role: Role::Owner, scope: workspace }];
        assert!(allows(&grants, Permission::VirtualKeysCreate, workspace));
        assert!(!allows(
            &grants,
            Permission::VirtualKeysCreate,
            Scope::Workspace(organization.organization(), WorkspaceId::from_uuid(9))
        ));
        assert!(!allows(&grants, Permission::CredentialsManage, organization));
        assert!(allows(&grants, Permission::OrganizationRead, organization));
        assert!(!allows(&grants, Permission::OrganizationRead, foreign));
    }

    #[test]
    fn names_parse_back() {
        assert!(Role::ALL.iter().all(|role| role.as_str().parse() == Ok(*role)));
        assert!(Permission::ALL.iter().all(|permission| permission.as_str().parse() == Ok(*permission)));
    }
}
