//! Counting in common with other nodes, as far as this crate has to know of it: what is asked, and who answers.
//!
//! A question is all or nothing over its counters and goes by the clock of whoever answers. Nobody who asks waits for long: an
//! answer that does not come is none, and the node counts in its share. Not here: where the counters are (`state`).

use std::pin::Pin;
use std::time::Duration;

use domain::OrganizationId;
use domain::rate_limit::{Measure, Rate};

use crate::counter;

/// A future behind the port.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Names the counters of a limit and a group among nodes. A keyed hash: groups are what clients say, and nobody who reads the
/// counters is to learn or to test it.
pub type Mark = [u8; 16];

/// Parts of a span, besides the one that is written; as on nodes.
pub const SLOTS: usize = counter::SLOTS;

/// One counter, and what a call wants of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// The limit and the group.
    pub mark: Mark,
    /// The rate.
    pub rate: Rate,
    /// How much of it those who count in common may take.
    pub part: u64,
    /// What the call takes.
    pub amount: u64,
}

impl Count {
    /// Returns the length of a slot in microseconds; 0 for calls at once.
    #[must_use]
    pub fn slot_us(&self) -> u64 {
        self.rate.per.map_or(0, |per| counter::slot_us(per.span()))
    }

    /// Says whether it counts calls at once.
    #[must_use]
    pub fn is_at_once(&self) -> bool {
        self.rate.measure == Measure::Concurrent
    }
}

/// What a call wants, of one organization's counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The tenant.
    pub organization: OrganizationId,
    /// Its counters.
    pub counts: Vec<Count>,
}

/// How a counter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stand {
    /// The slot that was written.
    pub slot: u64,
    /// What counts.
    pub used: u64,
    /// After this time nothing of it does.
    pub reset: Duration,
}

/// What became of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// All was taken.
    Taken {
        /// Names the call among those at once.
        ticket: u64,
        /// How the counters stand with the call in them, in the order of the question.
        stands: Vec<Stand>,
    },
    /// Nothing was taken.
    Refused {
        /// Which counter refuses longest.
        at: usize,
        /// After this time it has room when nobody else comes.
        wait: Duration,
    },
}

/// What was guessed of a counter, and what was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Correction {
    /// The counter; its amount is what was taken.
    pub count: Count,
    /// Where that went; absent when nothing was taken there.
    pub slot: Option<u64>,
    /// What was used.
    pub used: u64,
}

/// A call that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The tenant.
    pub organization: OrganizationId,
    /// The call's name among those at once, if it had one.
    pub ticket: Option<u64>,
    /// What is to be put right.
    pub corrections: Vec<Correction>,
}

/// Counts for several nodes.
pub trait Common: Send + Sync + std::fmt::Debug {
    /// Returns how many nodes count here at present; `None` while it cannot be asked, and then nobody waits for it.
    fn members(&self) -> Option<u32>;

    /// Takes what a call wants of every counter, or nothing. `None` when there is no answer in time.
    fn take(&self, question: Question) -> BoxFuture<'_, Option<Answer>>;

    /// Says how counters stand.
    fn look(&self, question: Question) -> BoxFuture<'_, Option<Vec<Stand>>>;

    /// Puts right what was guessed. Waits for nothing, and may be lost.
    fn settle(&self, settlement: Settlement);
}
