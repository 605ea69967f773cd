//! How a streamed answer that broke off goes on at another upstream. **Sans-IO.**
//!
//! [`ask`] makes what the next upstream is asked: the conversation and, at its end, what was said so far. [`Thread`] makes one
//! answer of both: no second opening, blocks numbered on, usage added up, words that are said twice left out. Who is asked, and
//! when, is the gateway's.
//!
//! # Invariants
//!
//! - Only text goes on. As soon as an answer holds anything that another model cannot take up in the middle (a tool call, a
//!   refusal, a block of one vendor, a second choice), [`Thread::said`] is `None`.
//! - What was given out is never taken back, and no block is closed twice.

#![deny(missing_docs)]

mod ask;
mod seam;
mod thread;

pub use ask::{Asked, ask, may_continue};
pub use thread::Thread;
