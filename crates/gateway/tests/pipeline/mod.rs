//! The pipeline driven in memory: scripted upstreams, virtual time, raw sockets for hostile input.

mod agents;
mod allocations;
mod attempts;
mod bad_inputs;
mod basics;
mod cache;
mod conversations;
mod cooldowns;
mod disconnect;
mod exchanges;
mod headers;
mod hostile;
mod http2;
mod keys;
mod media;
mod own;
mod passthrough;
mod realtime;
mod regressions;
mod rejections;
mod routing;
mod stopping;
mod surfaces;
mod tasks;
mod timeouts;
mod usage;
