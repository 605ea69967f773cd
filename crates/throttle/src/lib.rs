//! What holds calls back on a node: rate limits, and the cutting of calls under way.
//!
//! ```text
//! call ─▶ admit ─▶ Pass ─▶ settle      counted by a guess, then by what was used
//!            └─▶ Refused: which limit, and when to come back
//! call ─▶ enter ─▶ Ticket ◀── cut      a call under way that may be ended from outside
//! ```
//!
//! [`Throttle`] counts in sliding spans, in memory, for this node's [`domain::rate_limit::Share`] of each limit; or asks who counts
//! for several nodes ([`joint::Common`]), and does the former when there is no answer. No IO and no clock: a moment is
//! microseconds since any beginning, and never goes back. Not here: which limits bind a call (`policy`), what a call may
//! use (the gateway). Invariants, kept by tests: in no span does a counter admit more than its part; a refused call has taken
//! nothing; a call that waits as long as it is told to is admitted when nobody else comes; memory is bounded whatever clients say.

#![deny(missing_docs)]

mod book;
mod counter;
mod gate;
pub mod joint;
pub mod live;

pub use crate::book::Left;
pub use crate::gate::{Ask, Need, Pass, Refused, Standing, Throttle, Use, Why};
