//! How nodes share a limit: each takes its part, and the parts add up to no more than the whole.

use crate::node::Holds;

/// The place of a node among those that may serve the same calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Share {
    nodes: u32,
    place: u32,
}

impl Default for Share {
    fn default() -> Self {
        Self::WHOLE
    }
}

impl Share {
    /// A node that is alone.
    pub const WHOLE: Self = Self { nodes: 1, place: 0 };

    /// Makes the share of the node at `place`, from 0, of `nodes`. A place that there is not has the smallest part.
    #[must_use]
    pub const fn new(nodes: u32, place: u32) -> Self {
        Self { nodes: if nodes == 0 { 1 } else { nodes }, place }
    }

    /// Returns the share of each node, given who may serve now and what each may hold, in the same order everywhere.
    #[must_use]
    pub fn among<T: Copy>(nodes: &[(T, Holds)]) -> Vec<(T, Self)> {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let share = |(at, (id, holds)): (usize, &(T, Holds))| {
            let peers = || nodes.iter().enumerate().filter(|(_, (_, other))| other == holds || other.meets(holds));
            let n = peers().count();
            // Places are handed out among equals alone; where some share only a part of the calls, nobody takes what is left over.
            let are_equal = peers().all(|(_, (_, other))| other == holds);
            let place = if are_equal { peers().filter(|(other, _)| *other < at).count() } else { n };
            (*id, Self::new(count(n), count(place)))
        };
        if nodes.iter().all(|(_, holds)| *holds == nodes[0].1) {
            let whole = count(nodes.len());
            return nodes.iter().enumerate().map(|(at, (id, _))| (*id, Self::new(whole, count(at)))).collect();
        }
        nodes.iter().enumerate().map(share).collect()
    }

    /// Returns how many nodes share.
    #[must_use]
    pub const fn nodes(self) -> u32 {
        self.nodes
    }

    /// Returns the place, from 0.
    #[must_use]
    pub const fn place(self) -> u32 {
        self.place
    }

    /// Returns the node's part of an amount. What cannot be divided goes to the first places, so that the parts add up.
    #[must_use]
    pub const fn of(self, amount: u64) -> u64 {
        let nodes = self.nodes as u64;
        amount / nodes + if (self.place as u64) < amount % nodes { 1 } else { 0 }
    }
}
