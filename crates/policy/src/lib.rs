//! Policy as nodes see it: resources, the hashed set of an organization, and the compiled snapshot that requests read.
//!
//! Control plane and node share this crate, so both compute the same hash over the same bytes and a change that would not
//! compile at a node is refused before it is committed. No IO, no clock, no cryptography beyond digests: signatures and
//! secrets come through the ports [`sign::Verifier`] and [`compile::SecretOpener`].
//!
//! Architecture invariants: a delta applied to a set equals the full set of its revision (`set::tests`); compiling rebuilds
//! only touched workspaces; one bad resource never takes a good one with it; nothing here panics on any input.

#![deny(missing_docs)]

pub mod budgets;
pub mod cache;
pub mod compile;
pub mod dry_run;
pub mod facts;
#[cfg(any(test, feature = "test-support"))]
pub mod fuzz;
pub mod limits;
pub mod plan;
pub mod replica;
pub mod resource;
pub mod set;
pub mod sign;
pub mod snapshot;
pub mod stops;
pub mod table;
#[cfg(any(test, feature = "test-support"))]
pub mod testing;
pub mod tree;
pub mod wire;

pub use compile::{BadResource, SecretOpener, compile};
pub use facts::Facts;
pub use plan::{Asked, Health, Load, Plan, Signals, plan};
pub use replica::{Applied, Refused, Replica};
pub use resource::{Content, Kind, Resource, ResourceKey};
pub use set::{ResourceSet, SetHash};
pub use sign::{Refusal, Revision, Signer, Verifier};
pub use snapshot::{Caller, KeyRefusal, Snapshot};
