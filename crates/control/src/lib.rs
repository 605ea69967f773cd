//! The control plane: who may do what, what nodes are told, what was used.
//!
//! What every operation goes through is crate `operation`, those about money are crate `treasury`, all others are the
//! [`commands`] and [`queries`] here; [`http::table`] brings them together. Background work is in [`jobs`], the first start in
//! [`bootstrap`]. What nodes ask and are told is crate `downlink`.
//!
//! Architecture invariants: no route without an authorization decision (`operation::http::mount`); secrets exist in clear only in
//! the request and reply that carry them; nothing here names SQL.

pub mod bootstrap;
pub mod commands;
pub mod http;
pub mod jobs;
pub mod operator;
pub mod queries;
pub mod start;

pub use http::Assets;
pub use start::{ControlHandle, Parts, start};
