//! What a node holds of one organization, as far as it said so and as far as we sent it.
//!
//! The last acknowledged state stays known when a later one is refused, because that is what the node goes on serving from:
//! revocations still concern it, and whether a set shrinks is measured against it. No IO.

use std::collections::{BTreeSet, VecDeque};

use policy::set::SetHash;
use tokio::time::Instant;

/// States that may wait for their acknowledgement; of more, the oldest are forgotten.
const MAX_UNDER_WAY: usize = 256;

/// One state of one organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    pub(super) revision: u64,
    pub(super) hash: SetHash,
    pub(super) count: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Holding {
    acknowledged: Option<State>,
    under_way: VecDeque<(State, Instant)>,
    needs_everything: bool,
    is_told: bool,
    /// The highest revision whose urgent part was sent.
    pub(super) urged: u64,
    /// Versions of the data key that the node has.
    pub(super) granted: BTreeSet<u32>,
}

impl Holding {
    /// Begins with what the node says it holds.
    pub(super) fn said(state: State, granted: BTreeSet<u32>) -> Self {
        Self { acknowledged: Some(state), granted, ..Self::default() }
    }

    /// What the node holds once everything under way has arrived.
    pub(super) fn latest(&self) -> Option<State> {
        self.under_way.back().map(|(state, _)| *state).or(self.acknowledged)
    }

    /// What a delta may start from; `None` when only everything will do.
    pub(super) fn base(&self) -> Option<(u64, SetHash)> {
        self.latest().filter(|_| !self.needs_everything).map(|state| (state.revision, state.hash))
    }

    /// What the node acknowledged last.
    pub(super) const fn acknowledged(&self) -> Option<State> {
        self.acknowledged
    }

    /// Since when the oldest state waits for its acknowledgement.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.under_way.front().map(|(_, at)| *at)
    }

    pub(super) fn sent(&mut self, state: State, at: Instant) {
        if self.under_way.len() == MAX_UNDER_WAY {
            self.under_way.pop_front();
        }
        self.under_way.push_back((state, at));
        self.needs_everything = false;
        self.is_told = true;
    }

    /// Says whether this stream has already said that the node is at this state.
    pub(super) fn is_at(&self, revision: u64, hash: SetHash) -> bool {
        self.is_told && self.base() == Some((revision, hash))
    }

    /// The node holds a revision that we sent; what was sent before it is settled too. Says whether it can be so.
    pub(super) fn acknowledge(&mut self, revision: u64) -> bool {
        if let Some(at) = self.under_way.iter().position(|(state, _)| state.revision == revision) {
            self.acknowledged = self.under_way.drain(..=at).next_back().map(|(state, _)| state);
        }
        self.acknowledged.is_some_and(|state| state.revision == revision)
    }

    /// The node refused something as a whole and goes on with what it acknowledged; what is under way will not fit either.
    pub(super) fn refuse(&mut self) {
        self.under_way.clear();
        self.needs_everything = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(revision: u64) -> State {
        State { revision, hash: SetHash([u8::try_from(revision).unwrap(); 32]), count: revision * 10 }
    }

    #[tokio::test]
    async fn a_refusal_forgets_what_was_sent_and_keeps_what_the_node_serves() {
        let mut holding = Holding::said(state(3), BTreeSet::new());
        let now = Instant::now();
        holding.sent(state(4), now);
        holding.sent(state(5), now);
        assert_eq!((holding.latest(), holding.base()), (Some(state(5)), Some((5, state(5).hash))));
        assert!(holding.acknowledge(4));
        assert_eq!((holding.acknowledged(), holding.waits_since()), (Some(state(4)), Some(now)));
        holding.refuse();
        assert_eq!((holding.latest(), holding.base(), holding.waits_since()), (Some(state(4)), None, None));
        holding.sent(state(6), now);
        assert_eq!(holding.base(), Some((6, state(6).hash)), "everything was sent: deltas go on from there");
        // Late word about what was forgotten changes nothing.
        assert!(!holding.acknowledge(5) && !holding.acknowledge(u64::MAX));
        assert_eq!(holding.acknowledged(), Some(state(4)));
    }

    #[tokio::test]
    async fn what_waits_is_bounded() {
        let mut holding = Holding::default();
        for n in 0..1_000 {
            holding.sent(State { revision: n, ..state(1) }, Instant::now());
        }
        assert_eq!(holding.under_way.len(), MAX_UNDER_WAY);
    }
}
