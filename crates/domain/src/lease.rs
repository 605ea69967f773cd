//! How money reaches a node: it asks, is granted a lease of an account, says what it has left, and gives back what it needs not.
//!
//! Not how a node spends a lease, nor how the control plane keeps its accounts. Invariants: what is said more than once, or
//! late, changes nothing, because every number of a lease is a sum since its beginning and only grows; a node says one thing at a
//! time and names every lease it knows; a lease that was told done is never used again.

use std::time::Duration;

use crate::budget::AccountKey;
use crate::{LeaseId, Timestamp};

/// What a node says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tell {
    /// This life of the node, as its usage names it.
    pub boot: String,
    /// Counts what this life has said, from 1. What is older than something that was heard is not heard any more.
    pub sequence: u64,
    /// What it needs.
    pub asks: Vec<Ask>,
    /// Every lease it knows and has not told done. One of this life that is not named here never reached the node, and is closed.
    pub holdings: Vec<Holding>,
    /// Leases of which no hold is open, and of which the ledger has acknowledged everything that was spent.
    pub done: Vec<LeaseId>,
    /// Former lives of the node of which the ledger has acknowledged everything.
    pub delivered_boots: Vec<String>,
}

/// Money that a call waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Out of which account.
    pub account: AccountKey,
    /// How much more than the node knows to have: less than this is of no use.
    pub need: u64,
    /// How much it would like to have beyond that.
    pub ahead: u64,
}

/// What a node has of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// The lease.
    pub lease_id: LeaseId,
    /// All that it knows to have been granted.
    pub granted: u64,
    /// All that it has given back.
    pub returned: u64,
    /// What is neither spent nor set aside for a call.
    pub unused: u64,
    /// What is set aside for calls under way.
    pub held: u64,
}

/// What a node is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// To each thing that was asked, in order.
    pub answers: Vec<Answer>,
    /// Of each lease that was named, in order.
    pub standings: Vec<Standing>,
}

/// The answer to what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is there.
    Granted(Grant),
    /// There is not enough left, and nobody has any that could come back.
    Exhausted(Shortage),
    /// Others have some that they do not use, and are asked for it, or calls under way hold some that they may not need. Ask again
    /// in a quarter of a second, for a few seconds.
    Pending(Shortage),
    /// There is no such budget or limit any more, or it is switched off: it is in nobody's way.
    Unknown,
}

/// A lease, with what is new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The lease: the one that the node has of this account, or a new one.
    pub lease_id: LeaseId,
    /// All that has been granted on it.
    pub granted: u64,
    /// How long, from when the node asked, calls may be admitted on it; never past the end of the window.
    pub ttl: Duration,
    /// When the window began; `0` for one that never ends.
    pub window_start: Timestamp,
    /// When it ends.
    pub window_end: Option<Timestamp>,
    /// Little is left: what is not used should be given back at once.
    pub is_scarce: bool,
    /// How the account stands.
    pub balance: Balance,
}

/// How an account stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Balance {
    /// The amount of the window, with what was added for a while or carried over.
    pub limit: u64,
    /// What was spent.
    pub posted: u64,
    /// What is leased to nodes and not spent, as far as is known.
    pub leased: u64,
}

impl Balance {
    /// Returns what nobody has spent or leased.
    #[must_use]
    pub const fn free(&self) -> u64 {
        self.limit.saturating_sub(self.posted).saturating_sub(self.leased)
    }
}

/// Why there was nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    /// How the account stands.
    pub balance: Balance,
    /// When the amount is there anew.
    pub resets_at: Option<Timestamp>,
}

/// How a lease stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The lease.
    pub lease_id: LeaseId,
    /// Whether it may still be spent. One that may not is over at once: what is set aside is settled, nothing new begins.
    pub is_open: bool,
    /// All that has been granted on it.
    pub granted: u64,
    /// How long, from when the node told, calls may be admitted on it.
    pub ttl: Duration,
    /// Others need what is not used of it.
    pub is_recalled: bool,
}
