//! The counters of one limit, by group. Bounded: groups that a limit has no room for share one counter.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use domain::rate_limit::{Measure, Rate, Share};
use parking_lot::Mutex;

use crate::counter::Counter;
use crate::gate::{Need, Use, Why};

const SHARDS: usize = 8;
/// A full shard looks for groups that are idle at most this often: a flood of strange groups must not buy work.
const SWEEP_EVERY_US: u64 = 1_000_000;
/// When to come back after too many calls at once, or to a node that has no part of a limit.
pub(crate) const SHORTLY: Duration = Duration::from_secs(1);

/// A refusal by those who count in common is repeated for so long without asking them: what others give back meanwhile is not
/// known here.
const HEEDED_US: u64 = 100_000;

/// Whose part of a limit a call is held to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Portion {
    /// This node's.
    Share(Share),
    /// That of all who count in common: so many of so many nodes.
    Common { members: u32, nodes: u32 },
}

impl Portion {
    pub(crate) fn of(self, amount: u64) -> u64 {
        match self {
            Self::Share(share) => share.of(amount),
            Self::Common { members, nodes } if members >= nodes => amount,
            Self::Common { members, nodes } => {
                u64::try_from(u128::from(amount) * u128::from(members) / u128::from(nodes.max(1))).unwrap_or(u64::MAX)
            }
        }
    }
}

/// Bounds on groups with counters of their own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) of_limit: usize,
    pub(crate) of_all: usize,
}

/// How a counter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// The rate.
    pub rate: Rate,
    /// The part of it that this node may take: its share, or that of all who count in common.
    pub part: u64,
    /// What is left of the part.
    pub left: u64,
    /// After this time all of it is.
    pub reset: Duration,
}

impl Left {
    /// Writes when all of it is there again as OpenAI's headers say it: `1h2m3s`, `6m0s`, `1.5s`, `20ms`.
    #[must_use]
    pub fn reset_text(&self) -> String {
        let ms = self.reset.as_millis();
        let (hours, minutes, rest) = (ms / 3_600_000, ms / 60_000 % 60, ms % 60_000);
        match (hours, minutes) {
            (0, 0) if ms < 1_000 => format!("{ms}ms"),
            (0, 0) if rest % 1_000 == 0 => format!("{}s", rest / 1_000),
            (0, 0) => format!("{}.{:03}s", rest / 1_000, rest % 1_000),
            // Never too early.
            (0, minutes) => format!("{minutes}m{}s", rest.div_ceil(1_000)),
            (hours, minutes) => format!("{hours}h{minutes}m{}s", rest.div_ceil(1_000)),
        }
    }
}

/// What a call took of one counter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    rate: Rate,
    slot: u64,
    amount: u64,
}

/// Whose counters a call was counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    /// Its group's own.
    Own,
    /// Those of all groups that there was no room for.
    Shared,
}

/// Why not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal {
    pub(crate) rate: Rate,
    pub(crate) part: u64,
    pub(crate) why: Why,
    pub(crate) wait: Option<Duration>,
}

#[derive(Debug)]
pub(crate) struct Book {
    shards: [Mutex<Shard>; SHARDS],
    /// What the groups share that there is no room for.
    rest: Mutex<Option<Entry>>,
    n_groups: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shard {
    /// Keyed by what clients say, so not with a hash that can be guessed.
    groups: HashMap<Arc<str>, Entry>,
    next_sweep_us: u64,
}

/// The counters of one group.
#[derive(Debug)]
struct Entry {
    rates: Arc<[Rate]>,
    parts: Vec<Part>,
    barred: Option<Barred>,
}

/// A refusal that is remembered.
#[derive(Debug, Clone, Copy)]
struct Barred {
    rate: Rate,
    part: u64,
    /// Who wants less is not meant.
    amount: u64,
    until_us: u64,
    heeded_until_us: u64,
}

#[derive(Debug)]
enum Part {
    Spans(Box<Counter>),
    AtOnce(u64),
}

impl Book {
    pub(crate) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            rest: Mutex::default(),
            n_groups: AtomicUsize::new(0),
        }
    }

    /// Calls `work` with the counters of a group, or with those of all that there is no room for; says which.
    fn with<T>(
        &self,
        (group, rates, now_us): (&Arc<str>, &Arc<[Rate]>, u64),
        (bounds, n_all): (Bounds, &AtomicUsize),
        work: impl FnOnce(&mut Entry) -> T,
    ) -> (T, Home) {
        let mut shard = self.shards[shard_of(group)].lock();
        if let Some(entry) = shard.groups.get_mut(group) {
            entry.fit(rates);
            return (work(entry), Home::Own);
        }
        if !self.has_room(bounds, n_all) && now_us >= shard.next_sweep_us {
            shard.next_sweep_us = now_us + SWEEP_EVERY_US;
            self.sweep_shard(&mut shard, now_us, n_all);
        }
        if self.has_room(bounds, n_all) {
            self.n_groups.fetch_add(1, Ordering::Relaxed);
            n_all.fetch_add(1, Ordering::Relaxed);
            return (work(shard.groups.entry(group.clone()).or_insert_with(|| Entry::new(rates))), Home::Own);
        }
        drop(shard);
        let mut rest = self.rest.lock();
        let entry = rest.get_or_insert_with(|| Entry::new(rates));
        entry.fit(rates);
        (work(entry), Home::Shared)
    }

    fn has_room(&self, bounds: Bounds, n_all: &AtomicUsize) -> bool {
        self.n_groups.load(Ordering::Relaxed) < bounds.of_limit && n_all.load(Ordering::Relaxed) < bounds.of_all
    }

    fn sweep_shard(&self, shard: &mut Shard, now_us: u64, n_all: &AtomicUsize) {
        let before = shard.groups.len();
        shard.groups.retain(|_, entry| !entry.is_idle(now_us));
        let gone = before - shard.groups.len();
        if gone > 0 && shard.groups.capacity() > 4 * shard.groups.len().max(16) {
            shard.groups.shrink_to_fit();
        }
        self.n_groups.fetch_sub(gone, Ordering::Relaxed);
        n_all.fetch_sub(gone, Ordering::Relaxed);
    }

    /// Throws idle counters away; says whether none is left.
    pub(crate) fn sweep(&self, now_us: u64, n_all: &AtomicUsize) -> bool {
        for shard in &self.shards {
            self.sweep_shard(&mut shard.lock(), now_us, n_all);
        }
        let mut rest = self.rest.lock();
        if rest.as_mut().is_some_and(|entry| entry.is_idle(now_us)) {
            *rest = None;
        }
        self.n_groups.load(Ordering::Relaxed) == 0 && rest.is_none()
    }

    /// Takes what a call needs of every rate, or nothing.
    pub(crate) fn take(
        &self,
        place: (&Arc<str>, &Arc<[Rate]>, u64),
        room: (Bounds, &AtomicUsize),
        need: &Need,
        portion: Portion,
    ) -> Result<(Vec<Taken>, Home), Refusal> {
        let (taken, home) = self.with(place, room, |entry| entry.take(place.2, need, portion));
        Ok((taken?, home))
    }

    /// Counts what those who count in common let through.
    pub(crate) fn note(
        &self,
        place: (&Arc<str>, &Arc<[Rate]>, u64),
        room: (Bounds, &AtomicUsize),
        need: &Need,
        portion: Portion,
    ) -> (Vec<Taken>, Home) {
        self.with(place, room, |entry| entry.put(place.2, need, portion))
    }

    /// Says what refuses a call whoever is asked, or did so a moment ago.
    pub(crate) fn recall(
        &self,
        place: (&Arc<str>, &Arc<[Rate]>, u64),
        room: (Bounds, &AtomicUsize),
        need: &Need,
        portion: Portion,
    ) -> Option<Refusal> {
        let (refusal, home) = self.with(place, room, |entry| {
            (entry.refusal_for_good(need, portion), entry.refusal_of_late(place.2, need, portion))
        });
        // What one of those who share counters was told is not meant for the others.
        let (for_good, of_late) = refusal;
        for_good.or_else(|| of_late.filter(|_| home == Home::Own))
    }

    /// Remembers a refusal by those who count in common.
    pub(crate) fn bar(
        &self,
        place: (&Arc<str>, &Arc<[Rate]>, u64),
        room: (Bounds, &AtomicUsize),
        (rate, part, amount, wait): (Rate, u64, u64, Duration),
    ) {
        let now_us = place.2;
        let until_us = now_us.saturating_add(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX));
        let heeded_until_us = until_us.min(now_us.saturating_add(HEEDED_US));
        self.with(place, room, |entry| {
            entry.barred = Some(Barred { rate, part, amount, until_us, heeded_until_us });
        });
    }

    /// Says what would refuse a call longest; `None` when nothing would.
    pub(crate) fn look(
        &self,
        place: (&Arc<str>, &Arc<[Rate]>, u64),
        room: (Bounds, &AtomicUsize),
        need: &Need,
        portion: Portion,
    ) -> Option<Refusal> {
        self.with(place, room, |entry| entry.refusal(place.2, need, portion)).0
    }

    /// Replaces what was taken by what was used; without a use, nothing of the call stays.
    pub(crate) fn settle(
        &self,
        (group, rates, now_us): (&Arc<str>, &Arc<[Rate]>, u64),
        (bounds, n_all): (Bounds, &AtomicUsize),
        (taken, home): (&[Taken], Home),
        used: Option<&Use>,
    ) {
        if home == Home::Shared {
            if let Some(entry) = self.rest.lock().as_mut() {
                entry.settle(now_us, taken, used);
            }
            return;
        }
        let mut shard = self.shards[shard_of(group)].lock();
        match shard.groups.get_mut(group) {
            Some(entry) => entry.settle(now_us, taken, used),
            // Idle meanwhile, and thrown away: what is used beyond the guess counts all the same, where there is room.
            None if self.has_room(bounds, n_all) => {
                self.n_groups.fetch_add(1, Ordering::Relaxed);
                n_all.fetch_add(1, Ordering::Relaxed);
                shard.groups.entry(group.clone()).or_insert_with(|| Entry::new(rates)).settle(now_us, taken, used);
            }
            None => {}
        }
    }

    /// Lists how the counters of a group stand.
    pub(crate) fn list(
        &self,
        place: (&Arc<str>, &Arc<[Rate]>, u64),
        room: (Bounds, &AtomicUsize),
        portion: Portion,
    ) -> Vec<Left> {
        self.with(place, room, |entry| entry.list(place.2, portion)).0
    }

    pub(crate) fn n_groups(&self) -> usize {
        self.n_groups.load(Ordering::Relaxed)
    }
}

/// Spreads locks, and nothing else.
fn shard_of(group: &str) -> usize {
    use std::hash::{Hash as _, Hasher as _};
    if group.is_empty() {
        return 0;
    }
    let mut hasher = rustc_hash::FxHasher::default();
    group.hash(&mut hasher);
    // The high bits are the mixed ones.
    usize::try_from(hasher.finish() >> 61).unwrap_or(0) % SHARDS
}

impl Part {
    fn new(rate: &Rate) -> Self {
        match rate.per {
            Some(per) => Self::Spans(Box::new(Counter::new(per.span()))),
            None => Self::AtOnce(0),
        }
    }
}

fn is_same(one: &Rate, other: &Rate) -> bool {
    (one.measure, one.per) == (other.measure, other.per)
}

impl Entry {
    fn new(rates: &Arc<[Rate]>) -> Self {
        Self { rates: rates.clone(), parts: rates.iter().map(Part::new).collect(), barred: None }
    }

    /// Takes changed rates over; what has been counted of those that stay is kept.
    fn fit(&mut self, rates: &Arc<[Rate]>) {
        if Arc::ptr_eq(&self.rates, rates) {
            return;
        }
        if self.rates != *rates {
            let mut old: Vec<(Rate, Part)> = self.rates.iter().copied().zip(std::mem::take(&mut self.parts)).collect();
            let mut keep = |rate: &Rate| {
                let at = old.iter().position(|(known, _)| is_same(known, rate))?;
                Some(old.swap_remove(at).1)
            };
            self.parts = rates.iter().map(|rate| keep(rate).unwrap_or_else(|| Part::new(rate))).collect();
        }
        self.rates = rates.clone();
    }

    fn is_idle(&mut self, now_us: u64) -> bool {
        self.parts.iter_mut().all(|part| match part {
            Part::Spans(counter) => counter.used(now_us) == 0,
            Part::AtOnce(count) => *count == 0,
        })
    }

    fn take(&mut self, now_us: u64, need: &Need, portion: Portion) -> Result<Vec<Taken>, Refusal> {
        if let Some(refusal) = self.refusal(now_us, need, portion) {
            return Err(refusal);
        }
        Ok(self.put(now_us, need, portion))
    }

    fn put(&mut self, now_us: u64, need: &Need, portion: Portion) -> Vec<Taken> {
        let take = |(rate, part): (&Rate, &mut Part)| match part {
            Part::AtOnce(_) if !need.occupies => None,
            Part::AtOnce(count) => {
                *count += 1;
                Some(Taken { rate: *rate, slot: 0, amount: 1 })
            }
            Part::Spans(counter) => {
                let amount = need.of(rate.measure, portion.of(rate.amount));
                Some(Taken { rate: *rate, slot: counter.add(now_us, amount), amount })
            }
        };
        self.rates.iter().zip(&mut self.parts).filter_map(take).collect()
    }

    /// Finds what refuses a call without counting anything.
    fn refusal_for_good(&self, need: &Need, portion: Portion) -> Option<Refusal> {
        let found = |rate: &Rate| {
            let part = portion.of(rate.amount);
            let refusal = |why, wait| Some(Refusal { rate: *rate, part, why, wait });
            match rate.per {
                None if !need.occupies => None,
                _ if part == 0 => refusal(Why::NoPart, Some(SHORTLY)),
                Some(_) if need.least.of(rate.measure) > part => refusal(Why::TooLarge, None),
                _ => None,
            }
        };
        self.rates.iter().map(found).fold(None, longer)
    }

    fn refusal_of_late(&self, now_us: u64, need: &Need, portion: Portion) -> Option<Refusal> {
        let Barred { rate, part, amount, until_us, heeded_until_us } = self.barred?;
        let is_meant =
            if rate.measure == Measure::Concurrent { need.occupies } else { need.of(rate.measure, part) >= amount };
        let is_heeded = now_us < heeded_until_us && part == portion.of(rate.amount) && self.rates.contains(&rate);
        let wait = Some(Duration::from_micros(until_us.saturating_sub(now_us)));
        (is_meant && is_heeded).then_some(Refusal { rate, part, why: Why::Full, wait })
    }

    /// Finds what refuses a call longest; what refuses it for ever comes first.
    fn refusal(&mut self, now_us: u64, need: &Need, portion: Portion) -> Option<Refusal> {
        let mut worst: Option<Refusal> = None;
        for (rate, part) in self.rates.iter().zip(&mut self.parts) {
            let of_node = portion.of(rate.amount);
            let refusal = |why, wait| Some(Refusal { rate: *rate, part: of_node, why, wait });
            let found = match part {
                Part::AtOnce(_) if !need.occupies => None,
                _ if of_node == 0 => refusal(Why::NoPart, Some(SHORTLY)),
                Part::AtOnce(count) if *count < of_node => None,
                Part::AtOnce(_) => refusal(Why::Full, Some(SHORTLY)),
                Part::Spans(_) if need.least.of(rate.measure) > of_node => refusal(Why::TooLarge, None),
                Part::Spans(counter) => {
                    let amount = need.of(rate.measure, of_node);
                    if counter.used(now_us).saturating_add(amount) <= of_node {
                        None
                    } else {
                        refusal(Why::Full, counter.wait(now_us, amount, of_node))
                    }
                }
            };
            worst = longer(worst, found);
        }
        worst
    }

    fn settle(&mut self, now_us: u64, taken: &[Taken], used: Option<&Use>) {
        // There may be room again.
        self.barred = None;
        for Taken { rate, slot, amount } in taken {
            let Some(at) = self.rates.iter().position(|known| is_same(known, rate)) else { continue };
            match &mut self.parts[at] {
                Part::AtOnce(count) => *count = count.saturating_sub(1),
                Part::Spans(counter) => {
                    let real = used.map_or(0, |used| used.of(rate.measure));
                    if real < *amount {
                        counter.give_back(now_us, *slot, amount - real);
                    } else if real > *amount {
                        counter.add(now_us, real - amount);
                    }
                }
            }
        }
    }

    fn list(&mut self, now_us: u64, portion: Portion) -> Vec<Left> {
        let left = |(rate, part): (&Rate, &mut Part)| {
            let of_node = portion.of(rate.amount);
            let (used, reset) = match part {
                Part::AtOnce(count) => (*count, if *count > 0 { SHORTLY } else { Duration::ZERO }),
                Part::Spans(counter) => (counter.used(now_us), counter.reset(now_us)),
            };
            Left { rate: *rate, part: of_node, left: of_node.saturating_sub(used), reset }
        };
        self.rates.iter().zip(&mut self.parts).map(left).collect()
    }
}

/// Returns the refusal that lasts longer; one without an end lasts longest.
pub(crate) fn longer(one: Option<Refusal>, other: Option<Refusal>) -> Option<Refusal> {
    match (one, other) {
        (Some(one), Some(other)) => {
            let is_longer = match (one.wait, other.wait) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some(one), Some(other)) => other > one,
            };
            Some(if is_longer { other } else { one })
        }
        (one, other) => one.or(other),
    }
}

impl Use {
    /// Returns what counts by a measure.
    #[must_use]
    pub const fn of(&self, measure: Measure) -> u64 {
        match measure {
            Measure::Requests => self.requests,
            Measure::Tokens => self.input_tokens.saturating_add(self.output_tokens),
            Measure::InputTokens => self.input_tokens,
            Measure::OutputTokens => self.output_tokens,
            Measure::Cost => self.cost,
            Measure::Concurrent => 1,
        }
    }
}
