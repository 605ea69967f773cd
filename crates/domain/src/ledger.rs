//! The ledger's double entry: what moved between the accounts of an organization, and the rules that the books keep.
//!
//! An account here is a side of a posting (`spend/ws_…`, `owed/openai`), not an account of a budget. Invariant: a posting has both
//! sides and an amount above zero, so the sum over all accounts is zero whatever was posted.

use std::collections::BTreeMap;

use crate::usage::{UsageEvent, text_enum};
use crate::{NanoUsd, PriceId, RequestId, Timestamp, WorkspaceId};

text_enum! {
    /// Why money moved.
    PostingKind {
        /// A call was booked.
        Settle = "settle",
        /// Its price was wrong and is put right.
        Adjust = "adjust",
    }
}

text_enum! {
    /// A rule that the books keep.
    Rule {
        /// Postings of each call move what the call cost.
        PostingsMatchEvents = "postings_match_events",
        /// Hourly sums are the sums of their calls, adjustments included.
        SumsMatchEvents = "sums_match_events",
        /// What accounts of budgets have posted is what calls were charged.
        AccountsMatchCharges = "accounts_match_charges",
        /// What accounts of budgets have lent is what open leases hold.
        AccountsMatchLeases = "accounts_match_leases",
        /// No lease is open long after its end.
        LeasesEnd = "leases_end",
        /// What was entered by hand moves money between accounts of its kind.
        EntriesBalance = "entries_balance",
    }
}

impl Rule {
    /// Returns one sentence on what must hold.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::PostingsMatchEvents => "The postings of each call move exactly what the call cost.",
            Self::SumsMatchEvents => "Hourly sums are the sums of their calls, adjustments included.",
            Self::AccountsMatchCharges => "What accounts of budgets have posted is what calls were charged.",
            Self::AccountsMatchLeases => "What accounts of budgets have lent is what open leases hold.",
            Self::LeasesEnd => "No lease of a budget is open long after its end.",
            Self::EntriesBalance => {
                "What was entered by hand moves money between accounts of its kind, of workspaces that exist."
            }
        }
    }
}

/// Money that moved. The amount is above zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posting {
    /// The call.
    pub event_id: RequestId,
    /// Counts the postings of the call, from 0.
    pub n: u32,
    /// Why.
    pub kind: PostingKind,
    /// The account that took it.
    pub debit: String,
    /// The account that gave it.
    pub credit: String,
    /// How much.
    pub amount: NanoUsd,
    /// Of an adjustment: the price that it comes from.
    pub price_id: Option<PriceId>,
    /// Of an adjustment: why.
    pub reason: Option<String>,
    /// When it was posted.
    pub posted_at: Timestamp,
}

/// Returns the account of what a workspace spent.
#[must_use]
pub fn spend_of(workspace_id: WorkspaceId) -> String {
    format!("spend/{workspace_id}")
}

/// Returns the account of what is owed to a provider.
#[must_use]
pub fn owed_to(provider: &str) -> String {
    // No database text holds it.
    format!("owed/{}", provider.replace('\0', "\u{fffd}"))
}

/// Returns debit, credit and amount of a movement; `None` for nothing. Less than nothing moves back.
#[must_use]
pub fn movement(workspace_id: WorkspaceId, provider: &str, amount: NanoUsd) -> Option<(String, String, NanoUsd)> {
    let (spend, owed) = (spend_of(workspace_id), owed_to(provider));
    match amount.as_nanos() {
        0 => None,
        nanos if nanos > 0 => Some((spend, owed, amount)),
        nanos => Some((owed, spend, NanoUsd::from_nanos(nanos.checked_neg().unwrap_or(i64::MAX)))),
    }
}

/// Returns what a call costs at each provider. All of it together is what the call cost.
#[must_use]
pub fn owed(event: &UsageEvent) -> BTreeMap<&str, NanoUsd> {
    let mut owed: BTreeMap<&str, NanoUsd> = BTreeMap::new();
    for attempt in &event.attempts {
        let sum = owed.entry(attempt.provider.as_str()).or_default();
        *sum = sum.saturating_add(attempt.cost);
    }
    // A call that cannot say which attempt cost what owes it to who answered.
    if owed.values().copied().sum::<NanoUsd>() != event.cost {
        owed = BTreeMap::from([(event.provider.as_deref().unwrap_or("unknown"), event.cost)]);
    }
    owed.retain(|_, amount| *amount != NanoUsd::ZERO);
    owed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever moves, and back: the sum over all accounts is zero, and what a workspace spent is the sum of what moved.
        #[test]
        fn the_books_balance_after_any_movements(amounts in proptest::collection::vec((0..3_u8, any::<i32>()), 0..50)) {
            let workspace = WorkspaceId::from_uuid(7);
            let mut balances: BTreeMap<String, i64> = BTreeMap::new();
            for (provider, amount) in &amounts {
                let moved = movement(workspace, &format!("p{provider}"), NanoUsd::from_nanos(i64::from(*amount)));
                prop_assert_eq!(moved.is_none(), *amount == 0);
                if let Some((debit, credit, amount)) = moved {
                    prop_assert!(debit != credit && amount > NanoUsd::ZERO);
                    *balances.entry(debit).or_default() += amount.as_nanos();
                    *balances.entry(credit).or_default() -= amount.as_nanos();
                }
            }
            prop_assert_eq!(balances.values().sum::<i64>(), 0);
            let spent = balances.get(&spend_of(workspace)).copied().unwrap_or(0);
            prop_assert_eq!(spent, amounts.iter().map(|(_, amount)| i64::from(*amount)).sum::<i64>());
        }
    }
}
