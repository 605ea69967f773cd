//! End-to-end stories: the real executable, real clients, real upstream protocols, real faults.
//!
//! One test executable, one file per story. A story acts through the public doors only and asserts what a user or an
//! operator would see. `cargo xtask test` builds and installs what they need.

mod again;
mod batches;
mod browser;
mod budgets;
mod chat;
mod crash;
mod doctor;
mod faults;
mod first_start;
mod found;
mod fresh_machine;
mod given_database;
mod hostile;
mod limits;
mod operator;
mod outage;
mod outlets;
mod planes;
mod readme;
mod realtime;
mod rolling;
mod sdks;
mod spool;
mod telemetry;
