//! Rate limits: how much in what span of time, and for which calls. Cheaper sisters of budgets: counted on nodes, kept nowhere.
//!
//! Which calls count, and by what counters are kept apart, is said as with budgets ([`Subject`], [`Dimension`]). Spans slide: a
//! limit of 60 a minute is never exceeded in any 60 seconds. How nodes share a limit is in [`Share`].

mod check;
mod share;

use std::fmt;
use std::time::Duration;

pub use share::Share;

use crate::budget::{self, Amount, Dimension, Flaw, Subject};
use crate::usage::text_enum;
use crate::{DisplayName, OrganizationId, RateLimitId, Timestamp, WorkspaceId};

text_enum! {
    /// What is counted.
    Measure {
        /// Calls.
        Requests = "requests",
        /// Tokens, read and written.
        Tokens = "tokens",
        /// Tokens read.
        InputTokens = "input_tokens",
        /// Tokens written.
        OutputTokens = "output_tokens",
        /// Money, in nano-dollars.
        Cost = "cost",
        /// Calls under way at the same time.
        Concurrent = "concurrent",
    }
}

text_enum! {
    /// In what span of time.
    Per {
        /// A second.
        Second = "second",
        /// A minute.
        Minute = "minute",
        /// An hour.
        Hour = "hour",
        /// A day: any 24 hours.
        Day = "day",
    }
}

impl Measure {
    /// Gives an amount its form for people.
    #[must_use]
    pub fn amount(self, amount: u64) -> Amount {
        Amount::new(self.unit(), amount)
    }

    /// Reads it back; says in words what is wrong.
    pub fn read_amount(self, amount: Amount) -> Result<u64, &'static str> {
        amount.read(self.unit())
    }

    const fn unit(self) -> budget::Measure {
        match self {
            Self::Cost => budget::Measure::Cost,
            Self::Tokens | Self::InputTokens | Self::OutputTokens => budget::Measure::Tokens,
            Self::Requests | Self::Concurrent => budget::Measure::Requests,
        }
    }
}

impl Per {
    /// Returns the length of the span.
    #[must_use]
    pub const fn span(self) -> Duration {
        Duration::from_secs(match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        })
    }
}

/// An amount in a span of time; of calls under way, at any moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// What is counted.
    pub measure: Measure,
    /// In what span; absent for calls under way alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<Per>,
    /// How much, in the unit of the measure; at least 1.
    pub amount: u64,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.measure {
            Measure::Cost => {
                let cost = crate::NanoUsd::from_nanos(i64::try_from(self.amount).unwrap_or(i64::MAX));
                write!(f, "{cost} dollars")?;
            }
            Measure::Concurrent => write!(f, "{} calls at once", self.amount)?,
            Measure::Requests => write!(f, "{} requests", self.amount)?,
            Measure::Tokens => write!(f, "{} tokens", self.amount)?,
            Measure::InputTokens => write!(f, "{} input tokens", self.amount)?,
            Measure::OutputTokens => write!(f, "{} output tokens", self.amount)?,
        }
        self.per.map_or(Ok(()), |per| write!(f, " per {per}"))
    }
}

/// A rate limit of an organization, or of one of its workspaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// Its id.
    pub id: RateLimitId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// The only workspace whose calls count; absent for all.
    pub workspace_id: Option<WorkspaceId>,
    /// Its name for people; errors name it.
    pub name: DisplayName,
    /// What it is for.
    pub description: Option<String>,
    /// Whether it holds at all.
    pub is_enabled: bool,
    /// Which calls count.
    pub subject: Subject,
    /// By what counters are kept apart; empty for a single one.
    pub group_by: Vec<Dimension>,
    /// The amounts; 1 to 8, each measure and span at most once.
    pub rates: Vec<Rate>,
    /// Counts changes, from 1.
    pub version: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When it was archived.
    pub archived_at: Option<Timestamp>,
}

impl RateLimit {
    /// Most amounts of one limit.
    pub const MAX_RATES: usize = 8;
    /// The largest amount: a billion dollars.
    pub const MAX_AMOUNT: u64 = crate::budget::Budget::MAX_AMOUNT;
    /// Most dimensions that counters are kept apart by.
    pub const MAX_DIMENSIONS: usize = crate::budget::Budget::MAX_DIMENSIONS;
    /// Longest description, in characters.
    pub const MAX_DESCRIPTION: usize = crate::budget::Budget::MAX_DESCRIPTION;
    /// Most of them in one organization: each call looks at them.
    pub const MAX_IN_ORGANIZATION: usize = 512;

    /// Finds the first flaw.
    pub fn check(&self) -> Result<(), Flaw> {
        check::check(self)
    }
}

/// Says whether an amount is one, and fits its span.
#[must_use]
pub fn is_rate(rate: &Rate) -> bool {
    (1..=RateLimit::MAX_AMOUNT).contains(&rate.amount) && rate.per.is_none() == (rate.measure == Measure::Concurrent)
}

#[cfg(test)]
mod tests;
