//! Recurring work about money; `control` says when.

pub mod leases;
pub mod ledger;
