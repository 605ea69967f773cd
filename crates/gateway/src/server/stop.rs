//! The steps of stopping a node, in order: serving, leaving, draining, cut.
//!
//! *Leaving* is for load balancers: the node is not ready any more, but whoever still comes is served, and each answer ends its
//! connection. *Draining* closes the listeners and finishes what runs; whoever asks anew on a connection that is still open is
//! sent elsewhere. Invariant: steps are only ever taken forward.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio_util::sync::CancellationToken;

/// How far a stop has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Nobody asked for a stop.
    Serving,
    /// Not ready any more; still serving, but connections end with their answers.
    Leaving,
    /// Nothing new; what runs may finish.
    Draining,
}

/// The step after the last phase.
const CUT: u8 = Phase::Draining as u8 + 1;

/// The steps of one node or lane; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Arc<Steps>);

#[derive(Debug, Default)]
struct Steps {
    phase: AtomicU8,
    leaving: CancellationToken,
    draining: CancellationToken,
    cut: CancellationToken,
}

impl Stop {
    /// Returns how far the stop has come. Cheap: asked at every request.
    pub(crate) fn phase(&self) -> Phase {
        match self.0.phase.load(Ordering::Relaxed) {
            0 => Phase::Serving,
            1 => Phase::Leaving,
            _ => Phase::Draining,
        }
    }

    /// Says whether what still runs is cut. Cheap, too.
    pub(crate) fn is_cut(&self) -> bool {
        self.0.phase.load(Ordering::Relaxed) == CUT
    }

    /// Begins to leave.
    pub(crate) fn leave(&self) {
        self.0.phase.fetch_max(Phase::Leaving as u8, Ordering::Relaxed);
        self.0.leaving.cancel();
    }

    /// Takes nothing new from now on.
    pub(crate) fn drain(&self) {
        self.0.phase.fetch_max(Phase::Draining as u8, Ordering::Relaxed);
        self.0.leaving.cancel();
        self.0.draining.cancel();
    }

    /// Cuts what still runs.
    pub(crate) fn cut(&self) {
        self.drain();
        self.0.phase.store(CUT, Ordering::Relaxed);
        self.0.cut.cancel();
    }

    /// Tells when the node begins to leave.
    pub(crate) fn leaving(&self) -> &CancellationToken {
        &self.0.leaving
    }

    /// Tells when nothing new is taken any more.
    pub(crate) fn draining(&self) -> &CancellationToken {
        &self.0.draining
    }

    /// Tells when what still runs is cut.
    pub(crate) fn cutting(&self) -> &CancellationToken {
        &self.0.cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_only_taken_forward() {
        let stop = Stop::default();
        assert_eq!(stop.phase(), Phase::Serving);
        stop.drain();
        stop.leave();
        assert_eq!(stop.phase(), Phase::Draining);
        assert!(stop.leaving().is_cancelled() && !stop.cutting().is_cancelled() && !stop.is_cut());
        stop.cut();
        stop.drain();
        assert!(stop.is_cut() && stop.phase() == Phase::Draining);
    }
}
