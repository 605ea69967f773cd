//! What operators see of the link: connected or not, since when, what was refused. Written by the session, read by admin.

use std::fmt::Write as _;
use std::sync::Arc;

use domain::rate_limit::Share;
use domain::{Clock, NodeId, Timestamp};
use parking_lot::RwLock;
use serde::Serialize;
use tokio::sync::watch;

/// The state of the link; clones share it.
#[derive(Clone)]
pub struct SyncStatus {
    node_id: NodeId,
    clock: Arc<dyn Clock>,
    state: Arc<RwLock<State>>,
    share: Arc<watch::Sender<Share>>,
}

impl std::fmt::Debug for SyncStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyncStatus").field("state", &*self.state.read()).finish_non_exhaustive()
    }
}

/// See [`SyncStatus`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct State {
    /// Whether the sync stream stands.
    pub is_connected: bool,
    /// Whether the control plane has sent everything at least once in this process.
    pub is_synced: bool,
    /// Whether the policy in force came from the sealed copy and was not confirmed since.
    pub is_from_copy: bool,
    /// The last word from the control plane.
    pub last_contact_at: Option<Timestamp>,
    /// Sessions since the process started.
    pub sessions: u64,
    /// Revisions applied since the process started.
    pub applied: u64,
    /// Revisions refused as a whole since the process started.
    pub refused: u64,
    /// The last refusal, for people.
    pub last_refusal: Option<String>,
    /// Why the last session ended.
    pub last_end: Option<String>,
    /// Sealed copies that could not be used at start.
    pub bad_copies: Vec<String>,
    /// When the node's certificate ends.
    pub certificate_ends_at: Option<Timestamp>,
}

impl SyncStatus {
    pub(crate) fn new(node_id: NodeId, clock: Arc<dyn Clock>) -> Self {
        Self { node_id, clock, state: Arc::default(), share: Arc::new(watch::Sender::new(Share::WHOLE)) }
    }

    /// Returns the node's id.
    #[must_use]
    pub const fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// Returns a copy of the state.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.read().clone()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.write());
    }

    /// Returns what tells the node's part of rate limits.
    #[must_use]
    pub fn share(&self) -> watch::Receiver<Share> {
        self.share.subscribe()
    }

    pub(crate) fn take_share(&self, share: Share) {
        self.share.send_if_modified(|known| std::mem::replace(known, share) != share);
    }

    pub(crate) fn heard(&self) {
        let now = self.clock.now();
        self.change(|state| state.last_contact_at = Some(now));
    }

    /// Writes the link's metrics in the Prometheus text format.
    pub fn write_metrics(&self, out: &mut String) {
        let state = self.state();
        let now = self.clock.now();
        let silent = state.last_contact_at.map_or(-1, |at| i64::try_from(now.since(at).as_secs()).unwrap_or(i64::MAX));
        let gauges = [
            (
                "headgate_sync_connected",
                "Whether the sync stream to the control plane stands.",
                i64::from(state.is_connected),
            ),
            (
                "headgate_sync_silence_seconds",
                "Time since the last word from the control plane; -1 before the first.",
                silent,
            ),
        ];
        for (name, help, value) in gauges {
            // Writing to a String cannot fail.
            let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n");
        }
        let counters = [
            ("headgate_sync_sessions_total", "Sync sessions.", state.sessions),
            ("headgate_sync_applied_total", "Policy revisions applied.", state.applied),
            ("headgate_sync_refused_total", "Policy revisions refused as a whole.", state.refused),
        ];
        for (name, help, value) in counters {
            let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}\n");
        }
    }
}
