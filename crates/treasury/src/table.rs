//! The one place where operations about money meet their handlers.

use api::ops::{alerts, billing, budgets, kill_switches, ledger, models, rate_limits, reconciliations, reports, usage};
use operation::http::mount::Mount;

use crate::{commands, queries};

/// Mounts every operation of this crate.
#[must_use]
pub fn mount(mount: Mount) -> Mount {
    watch(limits(money(used(mount))))
}

fn used(mount: Mount) -> Mount {
    mount
        .operation::<models::ListProviders, _, _>(queries::models::providers)
        .operation::<models::ListModels, _, _>(queries::models::models)
        .operation::<models::AddModel, _, _>(commands::models::add)
        .operation::<models::UpdateModel, _, _>(commands::models::update)
        .operation::<models::RemoveModel, _, _>(commands::models::remove)
        .operation::<models::ListPrices, _, _>(queries::models::prices)
        .operation::<models::SetPrice, _, _>(commands::prices::set_price)
        .operation::<usage::WorkspaceUsage, _, _>(queries::usage::of_workspace)
        .operation::<usage::OrganizationUsage, _, _>(queries::usage::of_organization)
        .operation::<usage::ExportWorkspaceUsage, _, _>(queries::usage::export_workspace)
        .operation::<usage::ExportOrganizationUsage, _, _>(queries::usage::export_organization)
        .operation::<usage::OrganizationAttempts, _, _>(queries::usage::attempts)
        .operation::<usage::ListRequests, _, _>(queries::usage::requests)
        .operation::<usage::GetRequest, _, _>(queries::usage::request)
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
