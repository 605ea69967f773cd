//! Walks the tree and puts slots in order; then moves back what is not fit.

use domain::route::LatencyMeasure;
use domain::usage::SkipReason;

use super::{Asked, Health, Plan, unusable};
use crate::facts::{hash_of, holds, mix};
use crate::snapshot::ModelPolicy;
use crate::tree::{Branch, Child, SLOTS, Way};

/// How far back a target is put.
const FIT: u8 = 0;
const WARMING: u8 = 1;
const LIMITED: u8 = 2;
const EJECTED: u8 = 3;
/// Most children of a branch: each has a deployment of its own, or is a case of a conditional.
const MAX_CHILDREN: usize = 33;

pub(super) struct Making<'a> {
    model: &'a ModelPolicy,
    asked: &'a Asked<'a>,
    random: SplitMix,
    /// What keeps the conversation in one place.
    affinity: Option<u64>,
    usable: u64,
    fit: u64,
    ranks: [u8; SLOTS],
}

impl<'a> Making<'a> {
    pub(super) fn new(model: &'a ModelPolicy, asked: &'a Asked<'a>) -> Self {
        let affinity = model.rules.affinity_of(asked.facts);
        Self { model, asked, random: SplitMix(asked.seed), affinity, usable: 0, fit: 0, ranks: [FIT; SLOTS] }
    }

    pub(super) fn run(&mut self, plan: &mut Plan) {
        self.look(plan);
        self.expand(self.model.tree.root, plan);
        let tree = self.model.tree.slots(self.model.tree.root);
        let mut tried = plan.slots().iter().fold(0_u64, |tried, slot| tried | 1 << slot);
        for slot in each(self.usable & tree & !tried) {
            plan.note(slot, SkipReason::OtherBranch);
        }
        if !self.has_room(tried) {
            self.ranks.iter_mut().filter(|rank| **rank == EJECTED).for_each(|rank| *rank = FIT);
        }
        tried &= self.usable;
        for slot in each(tried) {
            let reason = match self.rank(slot) {
                WARMING => SkipReason::Warming,
                LIMITED => SkipReason::RateLimited,
                EJECTED => SkipReason::Ejected,
                _ => continue,
            };
            plan.note(slot, reason);
        }
        let n = usize::from(plan.n);
        let Some(order) = plan.order.get_mut(..n) else { return };
        if let Some(wish) = self.asked.wish.filter(|wish| wish.has_ranks()) {
            let rank = |slot: &u8| {
                let target = self.model.targets.get(usize::from(*slot));
                target.map_or(u64::MAX, |target| wish.rank(&target.deployment, self.asked.signals))
            };
            order.sort_by_key(rank);
        }
        order.sort_by_key(|slot| self.rank(*slot));
    }

    /// Looks at every target once: can it be tried, is it fit?
    fn look(&mut self, plan: &mut Plan) {
        for (at, target) in self.model.targets.iter().enumerate().take(SLOTS) {
            let slot = u8::try_from(at).unwrap_or_default();
            let deployment = &target.deployment;
            let wished = || self.asked.wish.and_then(|wish| wish.refuses(deployment, self.asked.signals));
            if let Some(reason) = unusable(target).or_else(wished) {
                plan.note(slot, reason);
                continue;
            }
            self.usable |= 1 << slot;
            let rank = match self.asked.signals.health(deployment.id) {
                Health::Fit => FIT,
                Health::Warming(percent) if self.random.next() % 100 < u64::from(percent) => FIT,
                Health::Warming(_) => WARMING,
                Health::RateLimited => LIMITED,
                Health::Ejected => EJECTED,
            };
            if rank != EJECTED {
                self.fit |= 1 << slot;
            }
            if let Some(place) = self.ranks.get_mut(at) {
                *place = rank;
            }
        }
    }

    fn rank(&self, slot: u8) -> u8 {
        self.ranks.get(usize::from(slot)).copied().unwrap_or(EJECTED)
    }

    /// Says whether some group that shares load has half of its targets, so that ejection does more good than harm.
    fn has_room(&self, tried: u64) -> bool {
        self.model.tree.groups.iter().any(|group| {
            let usable = (group & self.usable & tried).count_ones();
            usable > 0 && (group & self.fit & tried).count_ones() * 2 >= usable
        })
    }

    /// Appends the slots below a branch in order; each only once.
    fn expand(&mut self, at: u16, plan: &mut Plan) {
        let model = self.model;
        let Some(branch) = model.tree.branches.get(usize::from(at)) else { return };
        if let Way::Slot(slot) = branch.way {
            if self.usable & (1 << slot) != 0 && !plan.slots().contains(&slot) {
                plan.push(slot);
            }
            return;
        }
        let children = model.tree.children_of(branch);
        match &branch.way {
            Way::Slot(_) => {}
            Way::Ordered => children.iter().for_each(|child| self.expand(child.branch, plan)),
            Way::Conditional(cases) => {
                let case = cases.iter().position(|tests| tests.iter().all(|test| holds(test, self.asked.facts)));
                if let Some(child) = children.get(case.unwrap_or(cases.len())) {
                    self.expand(child.branch, plan);
                }
            }
            Way::Canary(percent) => {
                let draw = self.draw(branch.identity);
                let is_chosen = draw % 100 < u64::from(*percent);
                children.iter().skip(usize::from(!is_chosen)).for_each(|child| self.expand(child.branch, plan));
            }
            way => {
                let mut keys = [(0, 0_u16); MAX_CHILDREN];
                let n = children.len().min(MAX_CHILDREN);
                let Some(keys) = keys.get_mut(..n) else { return };
                for (at, (key, child)) in keys.iter_mut().zip(children).enumerate() {
                    *key = (self.key(way, at, n, *child), child.branch);
                }
                keys.sort_by_key(|(key, _)| *key);
                for (_, child) in keys.iter() {
                    self.expand(*child, plan);
                }
            }
        }
    }

    /// Returns the place of a child among its siblings.
    fn key(&mut self, way: &Way, at: usize, n: usize, child: Child) -> u64 {
        let Some(below) = self.model.tree.branches.get(usize::from(child.branch)) else { return u64::MAX };
        if let Way::ConsistentHash(by) = way {
            let draw =
                hash_of(by, self.asked.facts).map_or_else(|| self.random.next(), |key| mix(key ^ below.identity));
            return race(draw, 1);
        }
        if matches!(way, Way::Weighted) {
            let draw = self.draw(below.identity);
            return race(draw, child.weight);
        }
        if matches!(way, Way::LowestCost) {
            let deployments = each(self.worth(below)).filter_map(|slot| self.model.targets.get(usize::from(slot)));
            return deployments
                .filter_map(|target| self.asked.signals.cost(&target.deployment))
                .min()
                .unwrap_or(u64::MAX);
        }
        // What is measured gives way to a prompt cache.
        if self.affinity.is_some() {
            let draw = self.draw(below.identity);
            return race(draw, 1);
        }
        if matches!(way, Way::RoundRobin) {
            let turn = usize::try_from(self.asked.turn % n.max(1) as u64).unwrap_or_default();
            return ((at + n - turn) % n.max(1)) as u64;
        }
        // Chance decides between equals.
        let measured = each(self.worth(below)).map(|slot| self.measure(way, slot)).min().unwrap_or(u64::MAX);
        measured.min(u64::MAX >> 16) << 16 | self.random.next() >> 48
    }

    /// The slots that a branch is judged by: the fit ones, if there are any.
    const fn worth(&self, branch: &Branch) -> u64 {
        let fit = branch.slots & self.fit & self.usable;
        if fit == 0 { branch.slots & self.usable } else { fit }
    }

    fn measure(&self, way: &Way, slot: u8) -> u64 {
        let Some(target) = self.model.targets.get(usize::from(slot)) else { return u64::MAX };
        let load = self.asked.signals.load(target.deployment.id);
        match way {
            Way::LeastBusy => u64::from(load.n_in_flight),
            Way::UsageBased => load.recent_tokens,
            Way::LowestLatency(measure) => {
                let lately = match measure {
                    LatencyMeasure::FirstToken => load.first_token_us,
                    LatencyMeasure::PerToken => load.per_token_us,
                };
                lately.saturating_mul(u64::from(load.n_in_flight) + 1)
            }
            _ => 0,
        }
    }

    /// Draws at random, or for the conversation.
    fn draw(&mut self, identity: u64) -> u64 {
        self.affinity.map_or_else(|| self.random.next(), |affinity| mix(affinity ^ identity))
    }
}

/// The members of a set of slots.
fn each(mut slots: u64) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let slot = slots.trailing_zeros();
        slots &= slots.wrapping_sub(1);
        u8::try_from(slot).ok().filter(|slot| usize::from(*slot) < SLOTS)
    })
}

/// `SplitMix64`: small, seedable, good enough to share load.
struct SplitMix(u64);

impl SplitMix {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }
}

/// Returns an arrival time at rate `weight` from a uniform draw: the first to arrive of several is chosen in proportion to its
/// weight (exponential race). Weight 0 arrives last.
fn race(draw: u64, weight: u32) -> u64 {
    if weight == 0 {
        return u64::MAX;
    }
    // -log2(u) in fixed point: 64-bit uniform → bits of leading zeros and a fraction by linear interpolation would bias the
    // shares, so the logarithm is computed bit by bit (squaring), 32 fractional bits.
    (neg_log2(draw | 1) << 8) / u64::from(weight)
}

/// Returns -log2(x / 2^64) with 32 fractional bits; `x` is not zero.
const fn neg_log2(x: u64) -> u64 {
    let zeros = x.leading_zeros();
    // Normalised to [1, 2) with 63 fractional bits; squaring doubles the logarithm and its overflow is the next bit.
    let mut mantissa = (x << zeros) as u128;
    let mut log = 0_u64;
    let mut bit = 0;
    while bit < 32 {
        mantissa = (mantissa * mantissa) >> 63;
        log <<= 1;
        if mantissa >> 64 != 0 {
            log |= 1;
            mantissa >>= 1;
        }
        bit += 1;
    }
    // log2(x) = (63 - zeros) + log/2^32, so -log2(x/2^64) = 1 + zeros - log/2^32.
    ((1 + zeros as u64) << 32) - log
}
