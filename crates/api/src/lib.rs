//! The management API as data: one table of operations with their shapes, and a typed client over a transport port.
//!
//! The server mounts the table, the console and the command line call it, the OpenAPI document and the authorization matrix
//! are written from it. Paths are relative to [`BASE`]. Nothing here performs IO; the crate builds for wasm32.
//!
//! To add an operation: one entry in `ops/<aggregate>.rs`, its types beside it; see `docs/guides/adding-an-operation.md`.

#![deny(missing_docs)]

pub mod client;
pub mod docs;
pub mod field;
#[cfg(feature = "schema")]
pub mod openapi;
pub mod operation;
pub mod ops;
mod plain;
pub mod problem;
pub mod transport;

pub use client::{Client, ClientError};
pub use field::Field;
pub use operation::{Access, Csv, Empty, Jsonl, Meta, Method, NoQuery, Operation};
pub use plain::from_text;
pub use problem::{FieldError, Problem};
pub use transport::{Request, Response, Transport};

/// Where every path of the table begins.
pub const BASE: &str = "/api/v1";
/// The header that a browser session must send with every unsafe request; its value is `1`.
pub const CSRF_HEADER: &str = "x-headgate-csrf";
/// The header that names an idempotent `POST`.
pub const IDEMPOTENCY_HEADER: &str = "idempotency-key";
/// The session cookie over HTTPS.
pub const SESSION_COOKIE_SECURE: &str = "__Host-headgate";
/// The session cookie over plain HTTP, which is accepted on a loopback address only.
pub const SESSION_COOKIE_LOOPBACK: &str = "headgate_session";
