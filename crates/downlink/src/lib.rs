//! The control plane's half of the link between the planes: whom it lets in, what it tells nodes, and what it takes from them.
//!
//! ```text
//!  sync           listener, identity, who is connected          one certificate authority: ca
//!  sync_service   enrol, renew, the stream of policy            from publisher, which keeps what nodes must hold
//!  ingest         usage events into the ledger
//!  leases         money of budgets                              what is granted is decided in `store`
//!  keeping        answers kept for nodes
//!  remotes        files and batches at upstreams
//! ```
//! Crate `link` is the other half. People and tools are served by `control`, which is below this crate and knows no node's message.
//! Invariants: every call is looked up by its certificate, and no node reaches an organization outside of its group.

pub mod ca;
pub(crate) mod ingest;
mod keeping;
mod leases;
pub mod publisher;
mod remotes;
pub mod sync;
pub(crate) mod sync_service;
pub(crate) mod under_way;
