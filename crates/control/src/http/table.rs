//! The one place where operations meet their handlers.

use api::ops::{
    access_tokens as tokens, alerts, audit, auth, billing, budgets, credentials, deployments, environments,
    found_secrets, kill_switches, ledger, members, models, nodes, organizations, rate_limits, reconciliations, reports,
    routes, usage, virtual_keys as keys, workspaces,
};

use crate::http::mount::Mount;
use crate::{commands, queries};

/// Mounts every operation of the management API.
#[must_use]
pub fn mount() -> Mount {
    watch(limits(money(traffic(tenancy(Mount::default())))))
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
        .operation::<models::ListProviders, _, _>(queries::models::providers)
        .operation::<models::ListModels, _, _>(queries::models::models)
        .operation::<models::ListPrices, _, _>(queries::models::prices)
        .operation::<models::SetPrice, _, _>(commands::models::set_price)
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
        .operation::<usage::WorkspaceUsage, _, _>(queries::usage::of_workspace)
        .operation::<usage::OrganizationUsage, _, _>(queries::usage::of_organization)
        .operation::<usage::ExportWorkspaceUsage, _, _>(queries::usage::export_workspace)
        .operation::<usage::ExportOrganizationUsage, _, _>(queries::usage::export_organization)
        .operation::<usage::OrganizationAttempts, _, _>(queries::usage::attempts)
        .operation::<usage::ListRequests, _, _>(queries::usage::requests)
        .operation::<usage::GetRequest, _, _>(queries::usage::request)
        .operation::<nodes::ListNodeGroups, _, _>(queries::nodes::list_groups)
        .operation::<nodes::CreateNodeGroup, _, _>(commands::nodes::create_group)
        .operation::<nodes::UpdateNodeGroup, _, _>(commands::nodes::update_group)
        .operation::<nodes::ListNodes, _, _>(queries::nodes::list)
        .operation::<nodes::RevokeNode, _, _>(commands::nodes::revoke)
        .operation::<nodes::ListJoinTokens, _, _>(queries::nodes::list_join_tokens)
        .operation::<nodes::CreateJoinToken, _, _>(commands::nodes::create_join_token)
        .operation::<nodes::RevokeJoinToken, _, _>(commands::nodes::revoke_join_token)
}

fn money(mount: Mount) -> Mount {
    mount
        .operation::<ledger::ListPostings, _, _>(queries::ledger::postings)
        .operation::<ledger::LedgerInvariants, _, _>(queries::ledger::invariants)
        .operation::<ledger::Rerate, _, _>(commands::ledger::rerate)
        .operation::<reports::MakeReport, _, _>(queries::reports::make)
        .operation::<reports::ReportTable, _, _>(queries::reports::as_table)
        .operation::<reports::ReportLines, _, _>(queries::reports::as_lines)
        .operation::<reports::WhatIf, _, _>(queries::what_if::what_if)
        .operation::<billing::ListEntries, _, _>(queries::billing::entries)
        .operation::<billing::EnterIntoLedger, _, _>(commands::billing::enter)
        .operation::<billing::GetBalance, _, _>(queries::billing::balance)
        .operation::<billing::ListMarkups, _, _>(queries::billing::markups)
        .operation::<billing::SetMarkup, _, _>(commands::billing::set_markup)
        .operation::<billing::GetInvoice, _, _>(queries::billing::invoice)
        .operation::<reconciliations::ListReconciliations, _, _>(queries::reconciliations::list)
        .operation::<reconciliations::Reconcile, _, _>(commands::reconciliations::create)
        .operation::<reconciliations::GetReconciliation, _, _>(queries::reconciliations::get)
        .operation::<budgets::ListBudgets, _, _>(queries::budgets::list)
        .operation::<budgets::CreateBudget, _, _>(commands::budgets::create)
        .operation::<budgets::GetBudget, _, _>(queries::budgets::get)
        .operation::<budgets::UpdateBudget, _, _>(commands::budgets::update)
        .operation::<budgets::ArchiveBudget, _, _>(commands::budgets::archive)
        .operation::<budgets::ListBudgetAccounts, _, _>(queries::budgets::accounts)
        .operation::<budgets::ListOrganizationBudgets, _, _>(queries::budgets::list_all)
        .operation::<budgets::CreateOrganizationBudget, _, _>(commands::budgets::create_for_all)
        .operation::<budgets::GetOrganizationBudget, _, _>(queries::budgets::get_any)
        .operation::<budgets::UpdateOrganizationBudget, _, _>(commands::budgets::update_any)
        .operation::<budgets::ArchiveOrganizationBudget, _, _>(commands::budgets::archive_any)
        .operation::<budgets::ListOrganizationBudgetAccounts, _, _>(queries::budgets::accounts_of_any)
}

fn limits(mount: Mount) -> Mount {
    mount
        .operation::<rate_limits::ListRateLimits, _, _>(queries::rate_limits::list)
        .operation::<rate_limits::CreateRateLimit, _, _>(commands::rate_limits::create)
        .operation::<rate_limits::GetRateLimit, _, _>(queries::rate_limits::get)
        .operation::<rate_limits::UpdateRateLimit, _, _>(commands::rate_limits::update)
        .operation::<rate_limits::ArchiveRateLimit, _, _>(commands::rate_limits::archive)
        .operation::<rate_limits::ListOrganizationRateLimits, _, _>(queries::rate_limits::list_all)
        .operation::<rate_limits::CreateOrganizationRateLimit, _, _>(commands::rate_limits::create_for_all)
        .operation::<rate_limits::GetOrganizationRateLimit, _, _>(queries::rate_limits::get_any)
        .operation::<rate_limits::UpdateOrganizationRateLimit, _, _>(commands::rate_limits::update_any)
        .operation::<rate_limits::ArchiveOrganizationRateLimit, _, _>(commands::rate_limits::archive_any)
        .operation::<kill_switches::ListKillSwitches, _, _>(queries::kill_switches::list)
        .operation::<kill_switches::ThrowKillSwitch, _, _>(commands::kill_switches::throw)
        .operation::<kill_switches::GetKillSwitch, _, _>(queries::kill_switches::get)
        .operation::<kill_switches::LiftKillSwitch, _, _>(commands::kill_switches::lift)
}

fn watch(mount: Mount) -> Mount {
    mount
        .operation::<alerts::ListAlerts, _, _>(queries::alerts::list)
        .operation::<alerts::ListAlertDestinations, _, _>(queries::alerts::list_destinations)
        .operation::<alerts::CreateAlertDestination, _, _>(commands::alerts::create)
        .operation::<alerts::GetAlertDestination, _, _>(queries::alerts::get_destination)
        .operation::<alerts::UpdateAlertDestination, _, _>(commands::alerts::update)
        .operation::<alerts::ArchiveAlertDestination, _, _>(commands::alerts::archive)
        .operation::<alerts::RotateAlertDestinationSecret, _, _>(commands::alerts::rotate)
        .operation::<alerts::TestAlertDestination, _, _>(commands::alerts::test)
        .operation::<alerts::ListAlertDeliveries, _, _>(queries::alerts::list_deliveries)
        .operation::<alerts::RedeliverAlert, _, _>(commands::alerts::redeliver)
}
