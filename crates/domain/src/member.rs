//! A person in an organization, and the roles bound to them.

use crate::{DisplayName, Email, MemberId, OrganizationId, Role, RoleBindingId, Scope, Timestamp, UserId};

/// A person's membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: MemberId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// The person.
    pub user_id: UserId,
    /// The person's address, for lists.
    pub email: Email,
    /// The person's name, for lists.
    pub name: DisplayName,
    /// When they joined.
    pub created_at: Timestamp,
    /// When the membership was disabled: its roles and tokens count for nothing until it is enabled again.
    pub disabled_at: Option<Timestamp>,
}

/// A role granted to a member at a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleBinding {
    /// Its id.
    pub id: RoleBindingId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// Who holds it.
    pub member_id: MemberId,
    /// What is granted.
    pub role: Role,
    /// Where it holds: the organization, or one of its workspaces.
    pub scope: Scope,
    /// When it was granted.
    pub created_at: Timestamp,
}
