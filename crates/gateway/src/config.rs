//! Settings of the data plane: addresses, and limits beside those on requests (`ingress::limits`). Settings of the node's link and spool live with those modules; the four
//! timeouts of an upstream call come with each model's policy.
//!
//! Invariant: whatever a client may send, or make the node wait for, has a bound here.

use std::net::SocketAddr;
use std::time::Duration;

use ingress::Limits;
use serde::Deserialize;

/// Settings of one node's data plane.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// Where clients call.
    pub gateway_addr: SocketAddr,
    /// Where operators look: health, metrics, explain. Never exposed to clients.
    pub admin_addr: SocketAddr,
    /// Listener threads, each with its own runtime and upstream connections; 0 means one for each core.
    pub worker_threads: usize,
    /// What a client may send and how much of it at a time.
    pub limits: Limits,
    /// Bounds on realtime sessions.
    pub realtime: RealtimeLimits,
    /// Whether calls are refused while the usage spool is full. Otherwise they are served, and what cannot be kept is counted.
    pub refuses_when_full: bool,
    /// How long a node that was asked to stop still serves everybody while it says that it is not ready.
    pub drain_grace_ms: u64,
    /// How long calls in flight may go on after that.
    pub drain_ms: u64,
}

/// Bounds on realtime sessions.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RealtimeLimits {
    /// Largest message of either side.
    pub max_message_bytes: usize,
    /// Longest time in which neither side says anything.
    pub idle_ms: u64,
    /// Longest session.
    pub total_ms: u64,
}

impl Default for RealtimeLimits {
    fn default() -> Self {
        Self {
            // The vendor takes 15 MiB of sound in one event.
            max_message_bytes: 16 * 1024 * 1024,
            idle_ms: 15 * 60 * 1_000,
            // As long as the vendor's own sessions.
            total_ms: 60 * 60 * 1_000,
        }
    }
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            gateway_addr: SocketAddr::from(([127, 0, 0, 1], 7410)),
            admin_addr: SocketAddr::from(([127, 0, 0, 1], 7411)),
            worker_threads: 0,
            limits: Limits::default(),
            realtime: RealtimeLimits::default(),
            refuses_when_full: false,
            drain_grace_ms: 0,
            drain_ms: 30_000,
        }
    }
}

impl GatewayConfig {
    /// Returns the number of listener threads to start.
    #[must_use]
    pub fn n_workers(&self) -> usize {
        match self.worker_threads {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            n => n,
        }
    }

    /// Returns how long the node serves everybody after a stop was asked for.
    #[must_use]
    pub fn drain_grace(&self) -> Duration {
        Duration::from_millis(self.drain_grace_ms)
    }

    /// Returns how long a drain may last.
    #[must_use]
    pub fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
}
