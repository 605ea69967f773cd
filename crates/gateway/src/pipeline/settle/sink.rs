//! Where what is told of calls goes.

use domain::usage::UsageEvent;
use link::SinkFull;
use link::usage::event::{Entry, OpenedCall};
use link::usage::spool::Spool;

/// Takes what is told of a call. The node's spool is one; it must not block.
pub trait UsageSink: Send + Sync {
    /// Notes that a call is about to be sent upstream, so that it is not forgotten when the node dies.
    fn opened(&self, call: OpenedCall);

    /// Takes the one event of a call that has ended; `Err` when it is full, so that the loss is counted.
    fn record(&self, event: UsageEvent) -> Result<(), SinkFull>;

    /// Takes what several calls tell, in this order, and leaves the vector empty. Returns how many events are lost.
    fn keep(&self, entries: &mut Vec<Entry>) -> u64 {
        let mut n_lost = 0;
        for entry in entries.drain(..) {
            match entry {
                Entry::Opened(call) => self.opened(call),
                Entry::Ended(event) => n_lost += u64::from(self.record(*event).is_err()),
            }
        }
        n_lost
    }

    /// Says whether the next event may be lost.
    fn is_full(&self) -> bool {
        false
    }
}

impl UsageSink for Spool {
    fn opened(&self, call: OpenedCall) {
        Self::opened(self, call);
    }

    fn record(&self, event: UsageEvent) -> Result<(), SinkFull> {
        Self::record(self, event)
    }

    fn keep(&self, entries: &mut Vec<Entry>) -> u64 {
        Self::keep(self, entries)
    }

    fn is_full(&self) -> bool {
        Self::is_full(self)
    }
}
