//! The operations about money: prices, budgets, limits, kill switches, usage, ledger, bills, reports, alerts.
//!
//! Invariants: amounts are whole nano-dollars and nothing here divides them (that is `books`); a posting is added and never changed.

pub mod commands;
pub mod jobs;
pub mod queries;
pub mod table;
