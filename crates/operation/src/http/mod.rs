//! What every request of the management API goes through.

pub mod csrf;
pub mod edge;
pub mod idempotency;
pub mod mount;
pub mod rate;
