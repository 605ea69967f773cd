//! A node's purse: the money of budgets that the control plane lent to this life of this node, and what calls hold of it.
//!
//! ```text
//! call ─▶ reserve ─▶ Hold ─▶ raise ─▶ settle ─▶ charges ─▶ usage event
//!            │ none left here
//!            ▼
//!          driver ── one word for all that wait ──▶ LeaseSource (the control plane)
//! ```
//!
//! [`book::Book`] decides and knows neither threads nor time of its own; [`Purse`] is its face towards calls. Not here: which
//! budgets bind a call and what it may cost at most (the gateway), what a budget has left (the ledger), calendars: a lease says
//! itself until when its money is good. Invariants, kept by tests over any order of events: of every lease, what was granted
//! and overdrawn is what is unused, held, spent and returned; a hold never exceeds what was granted; a hold is given back or
//! settled exactly once, also when its call is dropped.

#![deny(missing_docs)]

pub mod account;
pub mod book;
mod face;
pub mod source;
#[cfg(any(test, feature = "test-support"))]
pub mod testing;

pub use crate::account::{Item, Known, Refusal, Refused, Spent};
pub use crate::book::Cry;
pub use crate::face::{Hold, Purse, Settled};
pub use crate::source::{Delivered, LeaseSource};
