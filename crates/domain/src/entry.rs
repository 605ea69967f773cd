//! Money that people enter into the ledger by hand: credits, refunds, and corrections of what was spent.
//!
//! Facts, like postings of calls: added and never changed. An organization that pays beforehand has an account `prepaid`; credits
//! come into it from `funds`, refunds go back there. What is spent is posted at `spend/…` and `owed/…`, where corrections go as well.

use crate::ledger::{owed_to, spend_of};
use crate::usage::text_enum;
use crate::{BudgetId, LedgerEntryId, NanoUsd, OrganizationId, Timestamp, WorkspaceId};

text_enum! {
    /// What somebody entered.
    EntryKind {
        /// The organization paid, or was given, money to spend.
        Credit = "credit",
        /// Money that was not spent was paid back.
        Refund = "refund",
        /// What a workspace spent at a provider was more, or less, than was posted.
        Adjust = "adjust",
    }
}

/// Money that somebody moved. The amount is above zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: LedgerEntryId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// What it is.
    pub kind: EntryKind,
    /// The account that took it.
    pub debit: String,
    /// The account that gave it.
    pub credit: String,
    /// How much.
    pub amount: NanoUsd,
    /// Why.
    pub reason: String,
    /// What it refers to elsewhere: an invoice, a payment, a ticket.
    pub reference: Option<String>,
    /// The budget whose amount it raised or lowered.
    pub budget_id: Option<BudgetId>,
    /// Who entered it.
    pub entered_by: String,
    /// When.
    pub posted_at: Timestamp,
}

/// The account from which credits come.
pub const FUNDS: &str = "funds";
/// The account of what was paid beforehand.
pub const PREPAID: &str = "prepaid";

impl Entry {
    /// Longest reason and longest reference, in characters.
    pub const MAX_TEXT: usize = 1_000;

    /// Returns what it does to what was spent.
    #[must_use]
    pub fn spent(&self) -> NanoUsd {
        match self.kind {
            EntryKind::Adjust if self.debit.starts_with("spend/") => self.amount,
            EntryKind::Adjust => minus(self.amount),
            EntryKind::Credit | EntryKind::Refund => NanoUsd::ZERO,
        }
    }

    /// Returns what it does to what was paid beforehand.
    #[must_use]
    pub const fn paid(&self) -> NanoUsd {
        match self.kind {
            EntryKind::Credit => self.amount,
            EntryKind::Refund => minus(self.amount),
            EntryKind::Adjust => NanoUsd::ZERO,
        }
    }
}

const fn minus(amount: NanoUsd) -> NanoUsd {
    NanoUsd::from_nanos(amount.as_nanos().saturating_neg())
}

/// Returns debit and credit of a credit, or of a refund.
#[must_use]
pub fn funding(kind: EntryKind) -> (String, String) {
    let (funds, prepaid) = (FUNDS.to_owned(), PREPAID.to_owned());
    if kind == EntryKind::Refund { (prepaid, funds) } else { (funds, prepaid) }
}

/// Returns debit and credit of a correction: more was spent, or less.
#[must_use]
pub fn correction(workspace_id: WorkspaceId, provider: &str, is_more: bool) -> (String, String) {
    let (spend, owed) = (spend_of(workspace_id), owed_to(provider));
    if is_more { (spend, owed) } else { (owed, spend) }
}
