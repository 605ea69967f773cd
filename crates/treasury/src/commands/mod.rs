//! The writes, one file per aggregate. A command takes a decided [`Call`](operation::call::Call) and works in one write transaction.

pub mod alerts;
pub mod billing;
pub mod budgets;
pub mod kill_switches;
pub mod ledger;
pub mod models;
pub mod prices;
pub mod rate_limits;
pub mod reconciliations;
