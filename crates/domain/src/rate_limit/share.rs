//! How nodes share a limit: each takes its part, and the parts add up to no more than the whole.

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
