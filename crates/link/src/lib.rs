//! The node's half of the link between the planes: who the node is, what it is told, what it reports.
//!
//! `sync` enrols, follows the control plane's policy and keeps a sealed copy of it; `usage` keeps what happened on disk until
//! the ledger has it. What a request needs of either is a snapshot to read and a queue to push into.
//!
//! `responses` keeps and finds answers that later calls continue; `remotes` knows whose the files and batches at upstreams
//! are; `leases` asks for money of budgets.
//!
//! Not here: requests (`gateway`), what policy means (`policy`). Invariant: but for a call that continues another, or wants to
//! be continued, and calls of files and batches, nothing in this crate stands on the request path.

#![deny(missing_docs)]

pub mod leases;
pub mod remotes;
pub mod responses;
pub mod sync;
pub mod usage;

pub use crate::usage::SinkFull;

/// The build that a node names to its control plane.
pub const BUILD: &str = env!("CARGO_PKG_VERSION");
