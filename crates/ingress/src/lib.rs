//! What a request says before anybody knows the caller's policy, and how it is refused. **Sans-IO.**
//!
//! ```text
//! head ─▶ endpoint: what is asked for ─▶ admit: head, notes, wish
//! body ─▶ surface: what policy needs of it ─▶ choice: what it asks of the targets
//!                      every way to say no ─▶ rejection, in the client's dialect
//! ```
//!
//! Not here: how bytes arrive (`gateway::server`), whose key it is, and what becomes of a call (`gateway::pipeline`).
//!
//! # Invariants
//!
//! - What can be refused without knowing the caller is refused here.
//! - A request can ask for less than policy allows, never for more.
//! - No rejection carries a secret, a prompt or an upstream's words unless the client's own request is at fault.

#![deny(missing_docs)]

pub mod admit;
pub mod choice;
pub mod dropped;
pub mod endpoint;
pub mod field;
pub mod limits;
pub mod parameter;
pub mod passage;
pub mod rejection;
pub mod surface;
pub mod unserved;
pub mod wish;

pub use crate::limits::Limits;
pub use crate::rejection::Rejection;
