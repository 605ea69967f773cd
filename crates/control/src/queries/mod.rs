//! All reads, one file per aggregate, and the views that commands answer with.

pub mod access_tokens;
pub mod audit;
pub mod auth;
pub mod credentials;
pub mod deployments;
pub mod environments;
pub mod members;
pub mod nodes;
pub mod organizations;
pub mod routes;
pub mod virtual_keys;
pub mod workspaces;
