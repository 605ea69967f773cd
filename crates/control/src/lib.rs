//! The control plane: who may do what, what nodes are told, what was used.
//!
//! A request's life: [`http::edge`] (id, span, headers) → [`http::mount`] (authenticate in [`auth`], decide in
//! [`visibility`], decode) → one function of [`commands`] or [`queries`] with a [`call::Call`] → the answer. A write's life:
//! [`call::Write`] takes the organization's turn, works through `store` under a `Permit`, records the audit entry, remembers
//! the answer of an idempotent request, commits. Background work is in [`jobs`], the first start in [`bootstrap`]. What nodes ask
//! and are told is crate `downlink`; the resources that it publishes are made from rows in [`resources`].
//!
//! Architecture invariants: no route without an authorization decision (`http::mount`); every committed change has an audit
//! entry in the same transaction (the store refuses others); secrets exist in clear only in the request and reply that carry
//! them; nothing here names SQL.

pub mod audit_log;
pub mod auth;
pub mod bootstrap;
pub mod call;
pub mod commands;
pub mod config;
pub mod cx;
pub mod error;
pub mod http;
pub mod jobs;
pub mod keyring;
pub mod metrics;
pub mod operator;
pub mod queries;
pub mod resources;
pub mod root_key;
pub mod rotation;
pub mod server;
pub mod signing_keys;
pub mod start;
pub mod visibility;

pub use config::ControlConfig;
pub use cx::{Cx, Ports};
pub use http::Assets;
pub use keyring::Keyring;
pub use root_key::LocalKey;
pub use start::{ControlHandle, Parts, start};
