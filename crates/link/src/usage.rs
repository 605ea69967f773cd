//! What happened, on its way to the ledger: one fact per call, a log on disk, a reporter.
//!
//! `event` says what a record holds, `spool` keeps records until they are acknowledged, `reporter` brings them to the control
//! plane. Invariant: what a request thread has recorded outlives the process; whatever is lost is counted.

pub mod event;
pub mod reporter;
#[cfg(test)]
mod samples;
pub mod spool;
mod wire;

/// The log can take no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the usage spool is full")]
pub struct SinkFull;
