//! Calls to upstreams: opens connections within the egress rules, keeps them for the next call, and notes how targets do.
//!
//! ```text
//! client ─▶ pool ─▶ dial ─▶ egress rules, proxy, TLS        exchanges: short-lived secrets in place of long-lived ones
//!    └── HTTP/1.1 (http1) or HTTP/2 (hyper)                 health, load: what a route asks about a target
//! ```
//!
//! Not here: which target is tried, how often and how long (`gateway`); what a request says (`provider`).
//!
//! # Invariants
//!
//! - No connection is opened to an address that the egress rules refuse.
//! - A connection whose answer was not read to its end is closed, never used again.
//! - A secret goes to no other address than the one it is for, and into no error.

#![deny(missing_docs)]

pub mod client;
pub mod dial;
pub mod exchanges;
pub mod health;
pub mod load;
pub mod proxy;
pub mod upload;
