//! What a call wants of an account, what it took in the end, and why it is refused.

use domain::Timestamp;
use domain::budget::{AccountKey, Measure};
use domain::lease::Balance;

/// An amount in each measure: at most (before a call) or in truth (after it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// Nano-dollars.
    pub cost: u64,
    /// Tokens, in and out.
    pub tokens: u64,
    /// Calls: 1 for one that was sent upstream.
    pub requests: u64,
}

impl Spent {
    /// Returns the amount in one measure.
    #[must_use]
    pub const fn of(&self, measure: Measure) -> u64 {
        match measure {
            Measure::Cost => self.cost,
            Measure::Tokens => self.tokens,
            Measure::Requests => self.requests,
        }
    }
}

/// What a call wants of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The account.
    pub account: AccountKey,
    /// What it counts.
    pub measure: Measure,
    /// At most this much.
    pub amount: u64,
    /// Counts, and never refuses: no lease is taken.
    pub is_soft: bool,
    /// While the control plane cannot be asked, calls go on all the same.
    pub fails_open: bool,
}

/// How an account stood when the control plane last spoke of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Known {
    /// The amounts.
    pub balance: Balance,
    /// When the window ends; `None` for one that never does.
    pub resets_at: Option<Timestamp>,
}

impl Known {
    /// Orders accounts by the part of the limit that is left; the tightest first.
    #[must_use]
    pub fn tightness(&self) -> u128 {
        (u128::from(self.balance.free()) << 32) / u128::from(self.balance.limit.max(1))
    }
}

/// Why an account refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing is left, or not enough.
    Exhausted(Known),
    /// Other nodes have what is left and did not give it back in time.
    Elsewhere(Option<Known>),
    /// The control plane could not be asked.
    Unreachable,
}

/// A refused call, by the account that is tightest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a budget refuses this call")]
pub struct Refused {
    /// The account.
    pub account: AccountKey,
    /// What it counts.
    pub measure: Measure,
    /// What the call wanted of it.
    pub wanted: u64,
    /// Why.
    pub refusal: Refusal,
}
