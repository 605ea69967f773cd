//! Upstream API families: who they are, what to send them, how to sign it and what they answer. **Sans-IO.**
//!
//! Headgate's languages (dialects and the hub model) are in `llm`; here is what depends on a vendor: its addresses and
//! authentication, what a failed answer means, and the wire formats that only one upstream
//! speaks. Scanning a request and skimming an answer, which spare the translation where both sides speak the same dialect, live
//! here too: what they look for is what an upstream needs changed and what the ledger needs counted.
//!
//! # Invariants
//!
//! - No clock, no socket, no randomness: the same inputs give the same bytes.
//! - A request goes to the target's own base and carries only headers that we set or that are on the provider's list.
//! - Nothing here panics on any input.

#![deny(missing_docs)]

pub mod auth;
pub mod estimate;
pub mod failure;
pub mod fuzz;
pub mod listing;
pub mod media;
mod provider;
pub mod scan;
pub mod skim;
pub mod task;

pub use ::{catalog, wire};
pub use ::catalog::pricing;
pub use provider::*;
