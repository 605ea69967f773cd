//! The data plane, driven through its public door: in-memory connections on both sides, virtual time, scripted upstreams.
//!
//! What needs real sockets (listeners, drain) is in `listener`. Nothing here sleeps: an upstream hangs by never answering, and
//! the paused clock moves on to the next deadline by itself.

mod bad;
mod faults;
mod harness;
mod incidents;
mod listener;
mod pipeline;
