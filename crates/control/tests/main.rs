//! The control plane through its public door: the in-process router over a real PostgreSQL, driven by typed actors.

#[cfg(test)]
mod access_tokens;
#[cfg(test)]
mod alerts;
mod audit;
#[cfg(test)]
mod auth;
#[cfg(test)]
mod authz;
#[cfg(test)]
mod billing;
#[cfg(test)]
mod bootstrap;
#[cfg(test)]
mod budgets;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod dry_run;
#[cfg(test)]
mod found_secrets;
#[cfg(test)]
mod idempotency;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod members;
#[cfg(test)]
mod models;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod paging;
#[cfg(test)]
mod reconciliations;
#[cfg(test)]
mod reports;
#[cfg(test)]
mod rotation;
#[cfg(test)]
mod usage;
#[cfg(test)]
mod watched_nodes;
#[cfg(test)]
mod world;
