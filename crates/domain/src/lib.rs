//! The vocabulary of Headgate: ids, time, money, names, secrets, roles, error codes and entities.
//!
//! Nothing here performs IO, reads a clock or draws randomness; both arrive through the [`Clock`] and [`Entropy`] ports.
//! The crate builds for wasm32, so the console speaks the same nouns as the server.
//!
//! Architecture invariants: no crate of ours is a dependency; every public entity has one file; a value that exists is valid.

#![deny(missing_docs)]

pub mod access_token;
pub mod actor;
pub mod alert;
pub mod audit;
pub mod budget;
pub mod change;
pub mod client_secret;
pub mod code;
pub mod credential;
pub mod deployment;
pub mod entry;
pub mod environment;
pub mod id;
pub mod image;
pub mod kill_switch;
pub mod lease;
pub mod ledger;
pub mod member;
pub mod model;
pub mod money;
pub mod name;
pub mod node;
pub mod organization;
pub mod page;
pub mod price;
pub mod rate_limit;
pub mod rbac;
pub mod reconciliation;
pub mod remote;
pub mod rng;
pub mod route;
#[cfg(feature = "schema")]
mod schema;
pub mod secret;
pub mod session;
pub mod time;
pub mod usage;
pub mod user;
pub mod virtual_key;
pub mod watch;
pub mod workspace;

pub use actor::{Actor, ActorKind, JobName, Permit};
pub use id::*;
pub use money::{NanoUsd, Price};
pub use name::{BaseModel, DisplayName, Email, ModelName, ModelPattern, Slug};
pub use page::{Cursor, Limit, Page};
pub use rbac::{Permission, Role, Scope};
pub use rng::Entropy;
pub use secret::{Secret, TokenKind, TokenSecret};
pub use time::{Clock, Timestamp};
