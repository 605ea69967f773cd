//! All writes, one file per aggregate. A command takes a decided [`crate::call::Call`] and works in one write transaction.

pub mod access_tokens;
pub mod alerts;
pub(crate) mod audit;
pub mod auth;
pub mod billing;
pub mod budgets;
pub mod credentials;
pub mod deployments;
pub mod environments;
pub mod found_secrets;
pub mod kill_switches;
pub mod ledger;
pub mod members;
pub mod models;
pub mod nodes;
pub mod organizations;
pub mod rate_limits;
pub mod reconciliations;
pub mod routes;
pub mod virtual_keys;
pub mod workspaces;
