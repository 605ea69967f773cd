//! SQL and nothing but SQL: pools, transactions, migrations, the private cluster, and one module of queries per aggregate.
//!
//! Rules, each with its enforcer:
//! 1. Functions take a transaction, never a pool, so nested connections cannot happen (signatures).
//! 2. A transaction is opened for one organization and says so to the database in the same round trip; every statement on a
//!    tenant table also names `organization_id`: two walls, not one (row security; `tests/row_security.rs`).
//! 3. One writer per organization: [`Store::write`] takes the organization's row in `turns` first; the gapless revision is
//!    bumped last, so revisions are commit-ordered (`tests/isolation.rs`).
//! 4. Every UPDATE and DELETE states its expected row count; every mutable row has a `version`; constraints are an enum.
//! 5. Ids, times, randomness, hashes and money come from the caller and are bound; `now()` and `random()` do not appear.
//! 6. Every statement is prepared against the real schema by a test that reads the sources (`tests/statements.rs`).
//!
//! It knows neither HTTP nor protobuf, and takes a [`domain::Permit`] without making one.

#![deny(missing_docs)]

pub mod access_tokens;
pub mod alerts;
pub mod audit;
pub mod budgets;
pub mod changes;
pub mod credentials;
pub mod deployments;
pub mod embedded;
pub mod environments;
mod error;
pub mod idempotency;
pub mod jobs;
pub mod join_tokens;
pub mod kept_responses;
pub mod kill_switches;
pub mod leases;
pub mod ledger;
pub mod members;
pub mod migrate;
pub mod models;
pub mod nodes;
pub mod organizations;
mod pool;
pub mod prices;
pub mod rate_limits;
pub mod reconciliations;
pub mod remote_objects;
pub mod root_secrets;
pub mod routes;
mod row;
pub mod sessions;
pub mod settings;
pub mod signing_keys;
#[cfg(feature = "test-support")]
pub mod testing;
mod tx;
pub mod usage;
pub mod users;
pub mod virtual_keys;
pub mod workspaces;

pub use error::{Constraint, StoreError};
pub use pool::{Database, PoolLimits};
pub use tx::{Announcements, AppendTx, AuditDraft, Revision, Session, Store, SystemTx, Tx, WriteTx};

/// What store functions return.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;
