//! The ground that every operation of the management API stands on.
//!
//! A request's life: [`http::edge`] (id, span, headers) → [`http::mount`] (authenticate in [`auth`], decide in
//! [`visibility`], decode) → one handler with a [`call::Call`] → the answer. A write's life: [`call::Write`] takes the
//! organization's turn, works through `store` under a `Permit`, records the audit entry ([`trail`]), remembers the answer of an
//! idempotent request, compiles the change as a node would ([`resources`]), commits. The handlers are elsewhere: `treasury` has
//! those about money, `control` all others.
//!
//! Architecture invariants: no handler without an authorization decision, for a [`call::Call`] cannot be made outside of this crate; every
//! committed change has an audit entry in the same transaction (the store refuses others); nothing here names SQL or an operation
//! by its name.

pub mod audit_log;
pub mod auth;
pub mod call;
pub mod config;
pub mod cx;
pub mod error;
pub mod http;
pub mod keyring;
pub mod metrics;
pub mod page;
pub mod resources;
pub mod root_key;
pub mod rotation;
pub mod server;
pub mod signing_keys;
pub mod trail;
pub mod visibility;

pub use config::ControlConfig;
pub use cx::{Cx, Ports};
pub use keyring::Keyring;
pub use root_key::LocalKey;
