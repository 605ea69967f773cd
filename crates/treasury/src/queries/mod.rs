//! The reads, one file per aggregate, and the views that commands answer with.

pub mod alerts;
pub mod billing;
pub mod budgets;
pub mod kill_switches;
pub mod ledger;
pub mod models;
pub mod rate_limits;
pub mod reconciliations;
pub mod reports;
pub mod usage;
pub mod what_if;
