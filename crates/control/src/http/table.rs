//! The one place where operations meet their handlers.

use api::ops::{
    access_tokens as tokens, audit, auth, credentials, deployments, environments, found_secrets, members, nodes,
    organizations, routes, virtual_keys as keys, workspaces,
};

use crate::{commands, queries};
use operation::http::mount::Mount;

/// Mounts every operation of the management API.
#[must_use]
pub fn mount() -> Mount {
    treasury::table::mount(traffic(tenancy(Mount::default())))
}

fn tenancy(mount: Mount) -> Mount {
    mount
        .operation::<auth::Login, _, _>(commands::auth::login)
        .operation::<found_secrets::ReportFoundSecrets, _, _>(commands::found_secrets::report)
        .operation::<auth::Logout, _, _>(commands::auth::logout)
        .operation::<auth::Me, _, _>(queries::auth::me)
        .operation::<auth::ChangePassword, _, _>(commands::auth::change_password)
        .operation::<auth::ListSessions, _, _>(queries::auth::list_sessions)
        .operation::<auth::RevokeSession, _, _>(commands::auth::revoke_session)
        .operation::<organizations::ListOrganizations, _, _>(queries::organizations::list)
        .operation::<organizations::CreateOrganization, _, _>(commands::organizations::create)
        .operation::<organizations::GetOrganization, _, _>(queries::organizations::get)
        .operation::<organizations::UpdateOrganization, _, _>(commands::organizations::update)
        .operation::<workspaces::ListWorkspaces, _, _>(queries::workspaces::list)
        .operation::<workspaces::CreateWorkspace, _, _>(commands::workspaces::create)
        .operation::<workspaces::GetWorkspace, _, _>(queries::workspaces::get)
        .operation::<workspaces::UpdateWorkspace, _, _>(commands::workspaces::update)
        .operation::<workspaces::ArchiveWorkspace, _, _>(commands::workspaces::archive)
        .operation::<environments::ListEnvironments, _, _>(queries::environments::list)
        .operation::<environments::CreateEnvironment, _, _>(commands::environments::create)
        .operation::<environments::UpdateEnvironment, _, _>(commands::environments::update)
        .operation::<environments::DeleteEnvironment, _, _>(commands::environments::delete)
        .operation::<members::ListMembers, _, _>(queries::members::list)
        .operation::<members::AddMember, _, _>(commands::members::add)
        .operation::<members::DisableMember, _, _>(commands::members::disable)
        .operation::<members::EnableMember, _, _>(commands::members::enable)
        .operation::<members::ResetMemberPassword, _, _>(commands::members::reset_password)
        .operation::<members::RemoveMember, _, _>(commands::members::remove)
        .operation::<members::ListWorkspaceMembers, _, _>(queries::members::list_of_workspace)
        .operation::<members::ListRoles, _, _>(queries::members::roles)
        .operation::<members::BindRole, _, _>(commands::members::bind)
        .operation::<members::UnbindRole, _, _>(commands::members::unbind)
        .operation::<tokens::ListAccessTokens, _, _>(queries::access_tokens::list)
        .operation::<tokens::CreateAccessToken, _, _>(commands::access_tokens::create)
        .operation::<tokens::RotateAccessToken, _, _>(commands::access_tokens::rotate)
        .operation::<tokens::RevokeAccessToken, _, _>(commands::access_tokens::revoke)
        .operation::<audit::ListAuditEntries, _, _>(queries::audit::list)
        .operation::<audit::VerifyAudit, _, _>(queries::audit::verify)
        .operation::<audit::ExportAudit, _, _>(queries::audit::export)
}

fn traffic(mount: Mount) -> Mount {
    mount
        .operation::<credentials::ListCredentials, _, _>(queries::credentials::list)
        .operation::<credentials::CreateCredential, _, _>(commands::credentials::create)
        .operation::<credentials::GetCredential, _, _>(queries::credentials::get)
        .operation::<credentials::UpdateCredential, _, _>(commands::credentials::update)
        .operation::<credentials::ArchiveCredential, _, _>(commands::credentials::archive)
        .operation::<deployments::ListDeployments, _, _>(queries::deployments::list)
        .operation::<deployments::CreateDeployment, _, _>(commands::deployments::create)
        .operation::<deployments::GetDeployment, _, _>(queries::deployments::get)
        .operation::<deployments::UpdateDeployment, _, _>(commands::deployments::update)
        .operation::<deployments::ArchiveDeployment, _, _>(commands::deployments::archive)
        .operation::<routes::ListRoutes, _, _>(queries::routes::list)
        .operation::<routes::CreateRoute, _, _>(commands::routes::create)
        .operation::<routes::DryRunRoute, _, _>(queries::routes::dry_run)
        .operation::<routes::GetRoute, _, _>(queries::routes::get)
        .operation::<routes::UpdateRoute, _, _>(commands::routes::update)
        .operation::<routes::ArchiveRoute, _, _>(commands::routes::archive)
        .operation::<keys::ListVirtualKeys, _, _>(queries::virtual_keys::list)
        .operation::<keys::IssueVirtualKey, _, _>(commands::virtual_keys::issue)
        .operation::<keys::GetVirtualKey, _, _>(queries::virtual_keys::get)
        .operation::<keys::UpdateVirtualKey, _, _>(commands::virtual_keys::update)
        .operation::<keys::RotateVirtualKey, _, _>(commands::virtual_keys::rotate)
        .operation::<keys::RevokeVirtualKey, _, _>(commands::virtual_keys::revoke)
        .operation::<nodes::ListNodeGroups, _, _>(queries::nodes::list_groups)
        .operation::<nodes::CreateNodeGroup, _, _>(commands::nodes::create_group)
        .operation::<nodes::UpdateNodeGroup, _, _>(commands::nodes::update_group)
        .operation::<nodes::ListNodes, _, _>(queries::nodes::list)
        .operation::<nodes::RevokeNode, _, _>(commands::nodes::revoke)
        .operation::<nodes::ListJoinTokens, _, _>(queries::nodes::list_join_tokens)
        .operation::<nodes::CreateJoinToken, _, _>(commands::nodes::create_join_token)
        .operation::<nodes::RevokeJoinToken, _, _>(commands::nodes::revoke_join_token)
}
