//! What tests are made of: the real executable, scripted upstreams, faults on the wire, foreign clients, golden files.
//!
//! A dev-dependency only; nothing of the product uses it. Invariant: nothing here waits by sleeping. Every wait names its
//! condition and has a deadline, so a failing test says what did not happen.

#![deny(missing_docs)]

pub mod actor;
pub mod collector;
pub mod database;
pub mod fault;
pub mod fleet;
pub mod golden;
pub mod headgate;
pub mod http_client;
pub mod script;
pub mod upstream;
pub mod wait;

pub use actor::{Actor, Answer};
pub use database::Postgres;
pub use fleet::{Control, Gateway};
pub use headgate::Headgate;
pub use script::{Aimock, Peer, Script};
pub use state::testing::RedisServer;
pub use upstream::Upstream;
pub use wait::until;
