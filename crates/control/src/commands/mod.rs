//! All writes, one file per aggregate. A command takes a decided [`Call`](operation::call::Call) and works in one write transaction.

pub mod access_tokens;
pub mod auth;
pub mod credentials;
pub mod deployments;
pub mod environments;
pub mod found_secrets;
pub mod members;
pub mod nodes;
pub mod organizations;
pub mod routes;
pub mod virtual_keys;
pub mod workspaces;
