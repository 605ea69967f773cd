//! Money entered by hand, the balance of an organization that pays beforehand, and bills as data.

use domain::entry::EntryKind;
use domain::{BudgetId, LedgerEntryId, NanoUsd, OrganizationId, Permission, Timestamp, WorkspaceId};

use super::{OrganizationPath, PageQuery};
use crate::operation::{Access, Empty, NoQuery, operations, shapes};

operations! {
    /// Lists what was entered by hand, newest first.
    ListEntries: Get "/organizations/{organization_id}/ledger/entries" as "ledger.entries"
        needs Access::Organization(Permission::OrganizationUsageRead), path OrganizationPath, query PageQuery, body Empty, gives 200 domain::Page<EntryView>;

    /// Enters a credit, a refund or a correction. It cannot be changed: what was wrong is put right by another.
    EnterIntoLedger: Post "/organizations/{organization_id}/ledger/entries" as "ledger.enter"
        needs Access::Organization(Permission::BillingManage), path OrganizationPath, query NoQuery, body NewEntry, gives 201 EntryView;

    /// Says how much of what was paid beforehand is left.
    GetBalance: Get "/organizations/{organization_id}/ledger/balance" as "ledger.balance"
        needs Access::Organization(Permission::OrganizationUsageRead), path OrganizationPath, query NoQuery, body Empty, gives 200 BalanceView;

    /// Lists what is added to prices of providers on bills.
    ListMarkups: Get "/organizations/{organization_id}/markups" as "markups.list"
        needs Access::Organization(Permission::OrganizationUsageRead), path OrganizationPath, query NoQuery, body Empty, gives 200 domain::Page<MarkupView>;

    /// Sets what is added to prices of a provider on bills, from a month on.
    SetMarkup: Post "/organizations/{organization_id}/markups" as "markups.set"
        needs Access::Organization(Permission::BillingManage), path OrganizationPath, query NoQuery, body NewMarkup, gives 201 MarkupView;

    /// Gives the bill of a month: what calls cost, what is added, what was entered by hand.
    GetInvoice: Get "/organizations/{organization_id}/invoice" as "invoices.get"
        needs Access::Organization(Permission::OrganizationUsageRead), path OrganizationPath, query InvoiceQuery, body Empty, gives 200 InvoiceView;
}

shapes! {
    /// Money to enter.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct NewEntry {
        /// What it is.
        pub kind: EntryKind,
        /// How much; above zero. A correction may be below: less was spent.
        pub amount_usd: NanoUsd,
        /// Of a correction: the workspace that spent it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub workspace_id: Option<WorkspaceId>,
        /// Of a correction: the provider that it was spent at.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub provider: Option<String>,
        /// Why; at most 1,000 characters.
        pub reason: String,
        /// What it refers to elsewhere: an invoice, a payment.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub reference: Option<String>,
        /// Of a credit or refund: a hard budget of the whole organization over all time (`total`), whose amount is raised or lowered
        /// with it, so that calls stop when what was paid is spent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub budget_id: Option<BudgetId>,
    }

    /// Money that somebody entered.
    #[derive(Eq)]
    pub struct EntryView {
        /// Its id.
        pub id: LedgerEntryId,
        /// What it is.
        pub kind: EntryKind,
        /// The account that took it: `prepaid`, `funds`, `spend/` and a workspace, `owed/` and a provider.
        pub debit: String,
        /// The account that gave it.
        pub credit: String,
        /// How much; above zero.
        pub amount_usd: NanoUsd,
        /// Why.
        pub reason: String,
        /// What it refers to elsewhere.
        pub reference: Option<String>,
        /// The budget whose amount was raised or lowered with it.
        pub budget_id: Option<BudgetId>,
        /// Who entered it.
        pub entered_by: String,
        /// When.
        pub posted_at: Timestamp,
    }

    /// How an organization that pays beforehand stands.
    #[derive(Eq)]
    pub struct BalanceView {
        /// The hour of the first credit: from there on what is spent counts; null without one.
        pub since: Option<Timestamp>,
        /// Credits.
        pub credits_usd: NanoUsd,
        /// Refunds.
        pub refunds_usd: NanoUsd,
        /// What calls cost since, re-rating included.
        pub spent_usd: NanoUsd,
        /// What corrections by hand add to it.
        pub adjusted_usd: NanoUsd,
        /// What is left: credits less all others.
        pub balance_usd: NanoUsd,
    }

    /// What is to be added.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct NewMarkup {
        /// The provider.
        pub provider: String,
        /// Year and month from which it holds, such as `2026-11`.
        pub effective_month: String,
        /// Hundredths of a percent, -10000 to 100000; below zero for a discount.
        pub basis_points: i32,
    }

    /// What is added to prices of a provider.
    #[derive(Eq)]
    pub struct MarkupView {
        /// The provider.
        pub provider: String,
        /// Year and month from which it holds.
        pub effective_month: String,
        /// Hundredths of a percent; below zero for a discount.
        pub basis_points: i32,
        /// When it was set; of two for the same month the later holds.
        pub created_at: Timestamp,
    }

    /// Which month.
    #[derive(Eq, Default)]
    pub struct InvoiceQuery {
        /// Year and month, such as `2026-11`; this month, by UTC, unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub month: Option<String>,
        /// The time zone whose calendar the month follows; `UTC` unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub time_zone: Option<String>,
    }

    /// A bill.
    #[derive(Eq)]
    pub struct InvoiceView {
        /// The organization.
        pub organization_id: OrganizationId,
        /// The month.
        pub month: String,
        /// The time zone whose calendar it follows.
        pub time_zone: String,
        /// Its first hour.
        pub from: Timestamp,
        /// The hour after its last.
        pub to: Timestamp,
        /// Whether the month is over: what was called within it may still come in for a while.
        pub is_over: bool,
        /// What calls cost, by workspace, provider and model.
        pub lines: Vec<InvoiceLine>,
        /// The sum of `lines` before what is added.
        pub cost_usd: NanoUsd,
        /// What is added, over all lines.
        pub markup_usd: NanoUsd,
        /// What corrections by hand of this month add.
        pub adjusted_usd: NanoUsd,
        /// What is billed: all three together.
        pub total_usd: NanoUsd,
        /// Credits of this month less refunds.
        pub paid_usd: NanoUsd,
        /// What was entered by hand in this month, oldest first; at most 1,000.
        pub entries: Vec<EntryView>,
    }

    /// A line of a bill.
    #[derive(Eq)]
    pub struct InvoiceLine {
        /// The workspace.
        pub workspace_id: String,
        /// The provider that answered; empty for calls that none answered.
        pub provider: String,
        /// The model, as clients asked for it.
        pub model: String,
        /// Calls.
        pub requests: u64,
        /// What they cost, re-rating included.
        pub cost_usd: NanoUsd,
        /// Hundredths of a percent that are added.
        pub basis_points: i32,
        /// What is added, rounded half up to the nano-dollar.
        pub markup_usd: NanoUsd,
        /// Both together.
        pub amount_usd: NanoUsd,
    }
}
