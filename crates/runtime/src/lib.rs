//! What every role needs from the machine: settings, logs and traces, named tasks, clock, randomness, TLS, egress rules.
//!
//! It is *not* a place for product rules: nothing here knows a key, a model or an organization. Invariant: this is the only
//! crate that reads the process environment, the system clock and system entropy, so all others can be tested without them.

#![deny(missing_docs)]

pub mod clock;
pub mod config;
pub mod egress;
pub mod health;
pub mod rng;
pub mod tasks;
pub mod telemetry;
pub mod tls;
