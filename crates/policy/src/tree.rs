//! A route's strategies, made flat: branches in one slice, deployments as slots of the model's targets.
//!
//! Made once when policy is compiled; choosing then walks indexes and allocates nothing (`plan`). Invariant: every slot of a leaf
//! is below [`SLOTS`], and children come before their parents.

use domain::DeploymentId;
use domain::route::{HashKey, LatencyMeasure, Node, Target, Test};

use crate::facts::{hash, mix};

/// Most targets of a model: the leaves of a tree and what only fallback rules name. A set of them is one `u64`.
pub const SLOTS: usize = 64;

/// The strategies of one model.
#[derive(Debug, Clone)]
pub struct Tree {
    pub(crate) branches: Box<[Branch]>,
    pub(crate) children: Box<[Child]>,
    pub(crate) root: u16,
    /// Sets of slots that share load: when in none of them half is fit, ejection is ignored.
    pub(crate) groups: Box<[u64]>,
    pub(crate) has_turns: bool,
}

/// One node.
#[derive(Debug, Clone)]
pub(crate) struct Branch {
    pub(crate) way: Way,
    /// First and one past the last of its children.
    pub(crate) first: u16,
    pub(crate) end: u16,
    /// The slots below it.
    pub(crate) slots: u64,
    /// What it is to consistent hashing, wherever it stands.
    pub(crate) identity: u64,
}

/// A child of a branch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Child {
    pub(crate) branch: u16,
    pub(crate) weight: u32,
}

/// How a branch orders its children.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    /// A deployment.
    Slot(u8),
    Ordered,
    Weighted,
    RoundRobin,
    LeastBusy,
    LowestLatency(LatencyMeasure),
    LowestCost,
    UsageBased,
    ConsistentHash(HashKey),
    /// One list of tests for each child but the last, which is taken otherwise.
    Conditional(Box<[Box<[Test]>]>),
    /// The share of the first child, in percent.
    Canary(u8),
}

impl Way {
    const fn name(&self) -> &'static str {
        match self {
            Self::Slot(_) => "deployment",
            Self::Ordered => "ordered",
            Self::Weighted => "weighted",
            Self::RoundRobin => "round_robin",
            Self::LeastBusy => "least_busy",
            Self::LowestLatency(_) => "lowest_latency",
            Self::LowestCost => "lowest_cost",
            Self::UsageBased => "usage_based",
            Self::ConsistentHash(_) => "consistent_hash",
            Self::Conditional(_) => "conditional",
            Self::Canary(_) => "canary",
        }
    }

    /// Says whether the children share one load, so that losing many of them overloads the rest.
    const fn shares_load(&self) -> bool {
        !matches!(self, Self::Slot(_) | Self::Ordered | Self::Conditional(_) | Self::Canary(_))
    }
}

impl Tree {
    /// Flattens a tree. `slot` finds the place of a deployment among the model's targets; what it does not find is left out.
    #[must_use]
    pub fn of(node: &Node, slot: &mut dyn FnMut(DeploymentId) -> Option<u8>) -> Self {
        let mut making = Making::default();
        let root = making.node(node, slot);
        making.finish(root)
    }

    /// Makes the tree of the short form: by priority, by weight among equals.
    #[must_use]
    pub fn of_targets(targets: &[Target], slot: &mut dyn FnMut(DeploymentId) -> Option<u8>) -> Self {
        let mut priorities: Vec<u16> = targets.iter().map(|target| target.priority).collect();
        priorities.sort_unstable();
        priorities.dedup();
        let mut making = Making::default();
        let mut levels = Vec::with_capacity(priorities.len());
        for priority in priorities {
            let mut level = Vec::new();
            for target in targets.iter().filter(|target| target.priority == priority) {
                let branch = making.leaf(target.deployment_id, slot);
                level.push(Child { branch, weight: target.weight });
            }
            let branch = match level[..] {
                [only] => only.branch,
                _ => making.branch(Way::Weighted, &level),
            };
            levels.push(Child { branch, weight: 1 });
        }
        let root = match levels[..] {
            [only] => only.branch,
            _ => making.branch(Way::Ordered, &levels),
        };
        making.finish(root)
    }

    /// Says whether the tree needs a number that counts its calls.
    #[must_use]
    pub const fn has_turns(&self) -> bool {
        self.has_turns
    }

    /// Returns the strategies above a slot, from the root on, such as `ordered > weighted`; empty for a lone deployment.
    #[must_use]
    pub fn path(&self, slot: u8) -> String {
        let mut names = Vec::new();
        let mut at = self.root;
        while let Some(branch) = self.branches.get(usize::from(at)) {
            if matches!(branch.way, Way::Slot(_)) {
                break;
            }
            names.push(branch.way.name());
            let below = self.children_of(branch).iter().find(|child| self.slots(child.branch) & (1 << slot) != 0);
            let Some(below) = below else { break };
            at = below.branch;
        }
        names.join(" > ")
    }

    pub(crate) fn children_of(&self, branch: &Branch) -> &[Child] {
        self.children.get(usize::from(branch.first)..usize::from(branch.end)).unwrap_or_default()
    }

    pub(crate) fn slots(&self, branch: u16) -> u64 {
        self.branches.get(usize::from(branch)).map_or(0, |branch| branch.slots)
    }
}

#[derive(Default)]
struct Making {
    branches: Vec<Branch>,
    children: Vec<Child>,
}

impl Making {
    fn leaf(&mut self, id: DeploymentId, slot: &mut dyn FnMut(DeploymentId) -> Option<u8>) -> u16 {
        // What is not there is a branch without children.
        let Some(slot) = slot(id).filter(|slot| usize::from(*slot) < SLOTS) else {
            return self.branch(Way::Ordered, &[]);
        };
        let identity = hash(&id.as_uuid().to_be_bytes());
        self.push(Branch { way: Way::Slot(slot), first: 0, end: 0, slots: 1 << slot, identity })
    }

    fn branch(&mut self, way: Way, children: &[Child]) -> u16 {
        let first = self.children.len();
        self.children.extend_from_slice(children);
        let below = || children.iter().filter_map(|child| self.branches.get(usize::from(child.branch)));
        let slots = below().fold(0, |slots, child| slots | child.slots);
        let identity = below().fold(1, |all: u64, child| mix(all ^ child.identity.rotate_left(1)));
        let index = |at: usize| u16::try_from(at).unwrap_or(u16::MAX);
        self.push(Branch { way, first: index(first), end: index(first + children.len()), slots, identity })
    }

    fn push(&mut self, branch: Branch) -> u16 {
        self.branches.push(branch);
        u16::try_from(self.branches.len() - 1).unwrap_or(u16::MAX)
    }

    fn node(&mut self, node: &Node, slot: &mut dyn FnMut(DeploymentId) -> Option<u8>) -> u16 {
        let way = match node {
            Node::Deployment { deployment_id } => return self.leaf(*deployment_id, slot),
            Node::Ordered { .. } => Way::Ordered,
            Node::Weighted { .. } => Way::Weighted,
            Node::RoundRobin { .. } => Way::RoundRobin,
            Node::LeastBusy { .. } => Way::LeastBusy,
            Node::LowestLatency { measure, .. } => Way::LowestLatency(*measure),
            Node::LowestCost { .. } => Way::LowestCost,
            Node::UsageBased { .. } => Way::UsageBased,
            Node::ConsistentHash { by, .. } => Way::ConsistentHash(by.clone()),
            Node::Conditional { cases, .. } => {
                Way::Conditional(cases.iter().map(|case| case.when.clone().into_boxed_slice()).collect())
            }
            Node::Canary { percent, .. } => Way::Canary(*percent),
        };
        let mut below = Vec::new();
        node.visit_children(&mut |child| below.push(child));
        let weight = |at: usize| match node {
            Node::Weighted { children } => children.get(at).map_or(0, |share| share.weight),
            _ => 1,
        };
        let children: Vec<Child> = below
            .iter()
            .enumerate()
            .map(|(at, child)| Child { branch: self.node(child, slot), weight: weight(at) })
            .collect();
        self.branch(way, &children)
    }

    fn finish(self, root: u16) -> Tree {
        let mut groups = Vec::new();
        self.groups(root, &mut groups);
        let has_turns = self.branches.iter().any(|branch| matches!(branch.way, Way::RoundRobin));
        Tree {
            branches: self.branches.into_boxed_slice(),
            children: self.children.into_boxed_slice(),
            root,
            groups: groups.into_boxed_slice(),
            has_turns,
        }
    }

    fn groups(&self, at: u16, groups: &mut Vec<u64>) {
        let Some(branch) = self.branches.get(usize::from(at)) else { return };
        if matches!(branch.way, Way::Slot(_)) || branch.way.shares_load() {
            groups.push(branch.slots);
            return;
        }
        for child in self.children.get(usize::from(branch.first)..usize::from(branch.end)).unwrap_or_default() {
            self.groups(child.branch, groups);
        }
    }
}
