//! Members, roles and role bindings.

use domain::{
    DisplayName, Email, MemberId, OrganizationId, Permission, Role, RoleBindingId, Timestamp, UserId, WorkspaceId,
};

use super::{OrganizationPath, PageQuery, WorkspacePath};
use crate::operation::{Access, Empty, NoQuery, operations, shapes};

operations! {
    /// Lists members with their role bindings.
    ListMembers: Get "/organizations/{organization_id}/members" as "members.list"
        needs Access::Organization(Permission::MembersRead), path OrganizationPath, query PageQuery, body Empty, gives 200 domain::Page<MemberView>;

    /// Adds a person with a first role. A person new to the installation gets a one-time password, shown once.
    AddMember: Post "/organizations/{organization_id}/members" as "members.add"
        needs Access::Organization(Permission::MembersManage), path OrganizationPath, query NoQuery, body NewMember, gives 201 AddedMemberView;

    /// Disables a member: roles and access tokens in this organization count for nothing from now on, sessions end unless the
    /// person works in another organization, too.
    DisableMember: Post "/organizations/{organization_id}/members/{member_id}/disable" as "members.disable"
        needs Access::Organization(Permission::MembersManage), path MemberPath, query NoQuery, body Empty, gives 200 MemberView;

    /// Enables a disabled member with the roles they had. Tokens stay revoked.
    EnableMember: Post "/organizations/{organization_id}/members/{member_id}/enable" as "members.enable"
        needs Access::Organization(Permission::MembersManage), path MemberPath, query NoQuery, body Empty, gives 200 MemberView;

    /// Replaces a member's password by a one-time password, shown once, and ends all their sessions. Only for people who belong to
    /// no other organization; the machine's operator can do it for anybody.
    ResetMemberPassword: Post "/organizations/{organization_id}/members/{member_id}/reset-password" as "members.reset_password"
        needs Access::Organization(Permission::MembersManage), path MemberPath, query NoQuery, body Empty, gives 200 OneTimePasswordView;

    /// Removes a member: bindings and access tokens in this organization end at once, sessions unless the person works in another
    /// organization, too.
    RemoveMember: Delete "/organizations/{organization_id}/members/{member_id}" as "members.remove"
        needs Access::Organization(Permission::MembersManage), path MemberPath, query NoQuery, body Empty, gives 204 Empty;

    /// Lists the members who can see a workspace.
    ListWorkspaceMembers: Get "/workspaces/{workspace_id}/members" as "workspace_members.list"
        needs Access::Workspace(Permission::WorkspaceRead), path WorkspacePath, query PageQuery, body Empty, gives 200 domain::Page<MemberView>;

    /// Lists the built-in roles with their permissions.
    ListRoles: Get "/organizations/{organization_id}/roles" as "roles.list"
        needs Access::Organization(Permission::OrganizationRead), path OrganizationPath, query NoQuery, body Empty, gives 200 domain::Page<RoleView>;

    /// Binds a role to a member. Nobody can give more than they have; ownership is given by owners only.
    BindRole: Post "/organizations/{organization_id}/role-bindings" as "role_bindings.bind"
        needs Access::Organization(Permission::RoleBindingsManage), path OrganizationPath, query NoQuery, body NewRoleBinding, gives 201 RoleBindingView;

    /// Unbinds a role. The last owner cannot be unbound.
    UnbindRole: Delete "/organizations/{organization_id}/role-bindings/{role_binding_id}" as "role_bindings.unbind"
        needs Access::Organization(Permission::RoleBindingsManage), path RoleBindingPath, query NoQuery, body Empty, gives 204 Empty;
}

shapes! {
    /// A member of an organization.
    #[derive(Copy, Eq)]
    pub struct MemberPath {
        /// The organization.
        pub organization_id: OrganizationId,
        /// The member.
        pub member_id: MemberId,
    }

    /// A role binding of an organization.
    #[derive(Copy, Eq)]
    pub struct RoleBindingPath {
        /// The organization.
        pub organization_id: OrganizationId,
        /// The binding.
        pub role_binding_id: RoleBindingId,
    }

    /// A person in an organization.
    #[derive(Eq)]
    pub struct MemberView {
        /// Its id.
        pub id: MemberId,
        /// The person.
        pub user_id: UserId,
        /// The person's address.
        pub email: Email,
        /// The person's name.
        pub name: DisplayName,
        /// What they hold where.
        pub role_bindings: Vec<RoleBindingView>,
        /// When they joined.
        pub created_at: Timestamp,
        /// When the membership was disabled.
        #[serde(default)]
        pub disabled_at: Option<Timestamp>,
    }

    /// A password that somebody else made.
    #[derive(Eq)]
    pub struct OneTimePasswordView {
        /// For the next sign-in, which must then choose another. Shown once.
        pub one_time_password: String,
        /// When it stops working.
        pub expires_at: Timestamp,
    }

    /// A role at a scope.
    #[derive(Eq)]
    pub struct RoleBindingView {
        /// Its id.
        pub id: RoleBindingId,
        /// Who holds it.
        pub member_id: MemberId,
        /// What is granted.
        pub role: Role,
        /// The workspace; absent for the whole organization.
        pub workspace_id: Option<WorkspaceId>,
        /// When it was granted.
        pub created_at: Timestamp,
    }

    /// A person to add.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct NewMember {
        /// Their address; if it is known in the installation, the same person joins.
        pub email: Email,
        /// Their name; kept as it is for a known person.
        pub name: DisplayName,
        /// Their first role.
        pub role: Role,
        /// Where; absent for the whole organization.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub workspace_id: Option<WorkspaceId>,
    }

    /// A person who was added.
    #[derive(Eq)]
    pub struct AddedMemberView {
        /// The member.
        pub member: MemberView,
        /// For a new person: the password of their first sign-in, which must then be changed. Shown once.
        pub one_time_password: Option<String>,
    }

    /// A role to bind.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct NewRoleBinding {
        /// To whom.
        pub member_id: MemberId,
        /// What.
        pub role: Role,
        /// Where; absent for the whole organization.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub workspace_id: Option<WorkspaceId>,
    }

    /// A built-in role.
    #[derive(Eq)]
    pub struct RoleView {
        /// Its name.
        pub name: Role,
        /// Its name for people.
        pub title: String,
        /// What it is for.
        pub about: String,
        /// What it grants.
        pub permissions: Vec<Permission>,
    }
}
