//! Calls to upstreams: connections, pools, health of targets.

pub mod client;
pub mod dial;
pub(crate) mod exchanges;
pub mod health;
pub mod load;
pub mod proxy;
pub(crate) mod upload;
