//! Decides over leases, holds and waiting calls. Knows neither threads nor time of its own.
//!
//! A call's hold is all or nothing over its accounts. Who waits for an account is served in the order of arrival; a later call
//! takes money there only when those before it have theirs. Invariant ([`Book::check`], over any order of events): of each
//! lease, granted + overdrawn = unused + held + spent + returned.

mod lease;
mod place;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use domain::LeaseId;
use domain::budget::{AccountKey, Charge, Measure};
use rustc_hash::FxHashMap;

use self::lease::{Lease, Leases};
use self::place::Place;
use crate::account::{Item, Known, Refusal, Refused, Spent};

/// A refusal is remembered for so long, so that a storm of calls asks once.
pub const REMEMBERED: Duration = Duration::from_millis(500);
/// Money that no call used for so long is given back.
pub const IDLE: Duration = Duration::from_secs(3);
/// Longest wait of a call for money that others have.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// Pause before an account is asked for again whose money others have.
pub const ASK_AGAIN: Duration = Duration::from_millis(250);
/// Shortest pause between two words that cries bring about.
const HEED_EVERY: Duration = Duration::from_millis(20);
/// How often is told what leases hold.
pub const TELL_EVERY: Duration = Duration::from_secs(1);

/// What a call holds of one lease, or counts without one.
#[derive(Debug)]
pub(crate) enum Held {
    Leased { slot: u32, measure: Measure, amount: u64, fails_open: bool },
    Free { account: AccountKey, measure: Measure },
}

/// What a call is given.
pub(crate) type Given = Result<Vec<Held>, Box<Refused>>;

/// What became of an attempt to hold.
#[derive(Debug)]
pub(crate) enum Tried {
    Held(Vec<Held>),
    Refused(Box<Refused>),
    /// Money has to be asked for.
    Short,
}

/// A waiting call that has its answer.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) ticket: u64,
    pub(crate) result: Given,
}

/// What was spent, and the leases whose charges are not written yet.
#[derive(Debug, Default)]
pub(crate) struct Settling {
    pub(crate) charges: Vec<Charge>,
    pub(crate) open: Vec<u32>,
}

#[derive(Debug)]
struct Waiter {
    items: Vec<Item>,
}

/// What nodes tell each other, so that money of an account gets quicker from one to another. Money itself goes by the control
/// plane alone; a cry that is lost, late or made up costs a word with it, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cry {
    /// A call waits for money that another node may have left.
    Wanted,
    /// Money that was asked for is back.
    Returned,
}

impl Cry {
    /// Returns the word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Returned => "returned",
        }
    }

    /// Finds the cry that a word stands for.
    #[must_use]
    pub fn find(word: &str) -> Option<Self> {
        [Self::Wanted, Self::Returned].into_iter().find(|cry| cry.as_str() == word)
    }
}

/// The book of one node's purse.
#[expect(clippy::struct_excessive_bools, reason = "each is one independent wish")]
#[derive(Debug, Default)]
pub struct Book {
    places: FxHashMap<AccountKey, Place>,
    leases: Leases,
    waiters: BTreeMap<u64, Waiter>,
    next_ticket: u64,
    /// Words said.
    sequence: u64,
    /// Since when nobody answers.
    unreachable_since: Option<Instant>,
    /// A call was refused because nobody answers; worth another try.
    wants_probe: bool,
    /// Money should be asked for before it runs out.
    wants_refill: bool,
    /// Little is left of some budget, and here is some that no call holds.
    wants_return: bool,
    /// There is something to say besides.
    wants_word: bool,
    /// What other nodes should hear of.
    cry: Option<Cry>,
    heeded_at: Option<Instant>,
    /// The word under way gives back what others wait for.
    returns_recalled: bool,
    told_at: Option<Instant>,
    swept_at: Option<Instant>,
    is_draining: bool,
}

enum Taken {
    Held(Held),
    /// No such budget.
    Nothing,
    Short,
    Refused(Refusal),
}

impl Book {
    /// Holds what a call wants, all of it or nothing.
    pub(crate) fn reserve(&mut self, items: &[Item], now: Instant) -> Tried {
        self.try_hold(items, now, false)
    }

    /// Lets a call wait that could not be held for; returns its ticket. It may be served at once.
    pub(crate) fn wait(&mut self, items: Vec<Item>, now: Instant) -> (u64, Vec<Served>) {
        for item in items.iter().filter(|item| !item.is_soft) {
            self.places.entry(item.account.clone()).or_insert_with(|| Place::new(now)).n_waiting += 1;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiters.insert(ticket, Waiter { items });
        (ticket, self.serve(now))
    }

    /// Takes a waiting call out; what it stood in the way of may be served now.
    pub(crate) fn cancel(&mut self, ticket: u64, now: Instant) -> Vec<Served> {
        if self.remove_waiter(ticket).is_none() { Vec::new() } else { self.serve(now) }
    }

    /// Ends a call's wait that has lasted too long: `None` when it was served already.
    pub(crate) fn give_up(&mut self, ticket: u64, now: Instant) -> Option<(Given, Vec<Served>)> {
        let waiter = self.remove_waiter(ticket)?;
        let is_unreachable = self.unreachable_since.is_some();
        if is_unreachable && waiter.items.iter().all(|item| item.fails_open || item.is_soft || self.has(item, now)) {
            let result = self.hold_open(&waiter.items, now);
            return Some((result, self.serve(now)));
        }
        let short = waiter.items.iter().filter(|item| !item.is_soft && !self.has(item, now));
        let known = |item: &Item| self.places.get(&item.account).and_then(|place| place.known);
        let tightest = short.min_by_key(|item| known(item).map_or(u128::MAX, |known| known.tightness()));
        let item = tightest.or_else(|| waiter.items.first())?;
        let refusal = if is_unreachable { Refusal::Unreachable } else { Refusal::Elsewhere(known(item)) };
        let refused = refuse(item, refusal);
        Some((Err(refused), self.serve(now)))
    }

    /// Returns what a hold lacks of a higher bound; empty when it suffices.
    pub(crate) fn lacks(&self, held: &[Held], bound: Spent) -> Vec<Item> {
        let mut totals: Vec<Item> = Vec::new();
        for (slot, measure, amount, fails_open) in held.iter().filter_map(Held::as_leased) {
            let Some(lease) = self.leases.get(slot) else { continue };
            match totals.iter_mut().find(|item| item.account == lease.account) {
                Some(item) => item.amount += amount,
                None => {
                    totals.push(Item { account: lease.account.clone(), measure, amount, is_soft: false, fails_open });
                }
            }
        }
        for item in &mut totals {
            item.amount = bound.of(item.measure).saturating_sub(item.amount);
        }
        totals.retain(|item| item.amount > 0);
        totals
    }

    /// Says in words of charges what a hold would be booked as if its node died now.
    pub(crate) fn as_charges(&self, held: &[Held]) -> Vec<Charge> {
        let leased = held.iter().filter_map(Held::as_leased);
        let in_full = |(slot, _, amount, _)| {
            let lease = self.leases.get(slot)?;
            Some(charge(&lease.account, Some(lease.id), amount))
        };
        leased.filter_map(in_full).filter(|charge: &Charge| charge.amount > 0).collect()
    }

    /// Gives back a hold of a call that cost nothing.
    pub(crate) fn release(&mut self, held: Vec<Held>, now: Instant) -> Vec<Served> {
        self.put_back(held, now);
        self.serve(now)
    }

    /// Makes charges of a hold by what the call took of each account. The leases stay open until [`Book::reported`].
    pub(crate) fn settle(
        &mut self,
        held: &[Held],
        spent: &dyn Fn(&AccountKey) -> Spent,
        now: Instant,
    ) -> (Settling, Vec<Served>) {
        let mut settling = Settling::default();
        // What is still to be charged, by account: a hold that was raised has several parts of one.
        let mut rest: Vec<(AccountKey, u64)> = Vec::new();
        for (n, part) in held.iter().enumerate() {
            let (slot, measure, amount) = match part {
                Held::Leased { slot, measure, amount, .. } => (*slot, *measure, *amount),
                Held::Free { account, measure } => {
                    settling.charge(account, None, spent(account).of(*measure));
                    continue;
                }
            };
            let Some(lease) = self.leases.get(slot) else { continue };
            let at = rest.iter().position(|(account, _)| *account == lease.account).unwrap_or_else(|| {
                rest.push((lease.account.clone(), spent(&lease.account).of(measure)));
                rest.len() - 1
            });
            let is_last = !held[n + 1..].iter().any(|later| later.is_of(&self.leases, &rest[at].0));
            let Some(lease) = self.leases.get_mut(slot) else { continue };
            let taken = if is_last { rest[at].1 } else { rest[at].1.min(amount) };
            rest[at].1 -= taken;
            lease.spend(amount, taken, now);
            self.wants_return |= lease.is_scarce && lease.unused > 0;
            settling.charge(&lease.account, Some(lease.id), taken);
            settling.open.push(slot);
        }
        (settling, self.serve(now))
    }

    /// Notes that charges were written down, or were lost: a lease with lost charges is never done in this life of the node, so
    /// that what was spent is not lent again.
    pub(crate) fn reported(&mut self, slots: &[u32], is_kept: bool) {
        for slot in slots {
            if let Some(lease) = self.leases.get_mut(*slot) {
                lease.n_open -= 1;
                lease.is_lost |= !is_kept;
            }
        }
    }

    /// Returns what an account has left, as far as this node knows: what nobody was lent, and what it has itself.
    pub fn left(&self, account: &AccountKey) -> Option<(Known, u64)> {
        let place = self.places.get(account)?;
        let unused = place.current.and_then(|slot| self.leases.get(slot)).map_or(0, |lease| lease.unused);
        place.known.map(|known| (known, known.balance.free().saturating_add(unused)))
    }

    /// Returns what is left of the tightest account in money that is held of.
    pub(crate) fn left_of(&self, held: &[Held]) -> Option<u64> {
        let of_money = held.iter().filter_map(Held::as_leased).filter(|(_, measure, ..)| *measure == Measure::Cost);
        let left = |(slot, ..): (u32, Measure, u64, bool)| Some(self.left(&self.leases.get(slot)?.account)?.1);
        of_money.filter_map(left).min()
    }

    /// Hears another node; says whether there is something to say now.
    pub(crate) fn hear(&mut self, cry: Cry, now: Instant) -> bool {
        let concerns = match cry {
            Cry::Wanted => self.leases.iter().any(|lease| lease.unused > 0),
            Cry::Returned => !self.waiters.is_empty(),
        };
        if !concerns || self.heeded_at.is_some_and(|at| now.saturating_duration_since(at) < HEED_EVERY) {
            return false;
        }
        self.heeded_at = Some(now);
        match cry {
            Cry::Wanted => self.told_at = None,
            Cry::Returned => {
                for place in self.places.values_mut().filter(|place| place.n_waiting > 0) {
                    place.ask_at = place.ask_at.min(now);
                }
            }
        }
        true
    }

    /// Takes what other nodes should hear of.
    pub(crate) fn take_cry(&mut self) -> Option<Cry> {
        self.cry.take()
    }

    /// Has a word said, whatever there is to say.
    pub(crate) fn wish_word(&mut self) {
        self.wants_word = true;
    }

    /// Gives everything back from now on.
    pub(crate) fn drain(&mut self) {
        self.is_draining = true;
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// Says whether the control plane should be asked at once; asking takes the wish away.
    pub(crate) fn take_wish(&mut self) -> bool {
        std::mem::take(&mut self.wants_refill)
            | (self.wants_probe && self.unreachable_since.is_some())
            | (self.wants_return && self.waiters.is_empty())
    }

    /// Says whether every lease adds up and no hold was forgotten; for tests.
    ///
    /// # Errors
    /// The first lease that does not.
    pub fn check(&self) -> Result<(), LeaseId> {
        self.leases.iter().find(|lease| !lease.adds_up()).map_or(Ok(()), |lease| Err(lease.id))
    }

    fn try_hold(&mut self, items: &[Item], now: Instant, in_turn: bool) -> Tried {
        let mut held = Vec::with_capacity(items.len());
        let mut refused: Option<Box<Refused>> = None;
        let mut is_short = false;
        for item in items {
            match self.take(item, now, in_turn) {
                Taken::Held(part) => held.push(part),
                Taken::Nothing => {}
                Taken::Short => is_short = true,
                Taken::Refused(refusal) => {
                    let new = refuse(item, refusal);
                    refused = Some(match refused {
                        Some(old) if old.tightness() <= new.tightness() => old,
                        _ => new,
                    });
                }
            }
        }
        if refused.is_none() && !is_short {
            return Tried::Held(held);
        }
        self.put_back(held, now);
        refused.map_or(Tried::Short, Tried::Refused)
    }

    fn take(&mut self, item: &Item, now: Instant, in_turn: bool) -> Taken {
        if item.is_soft {
            return Taken::Held(Held::Free { account: item.account.clone(), measure: item.measure });
        }
        let Some(place) = self.places.get_mut(&item.account) else { return self.refuse_unreachable(item, now) };
        if place.unknown_until.is_some_and(|until| now < until) {
            return Taken::Nothing;
        }
        let is_turn = in_turn || place.n_waiting == 0;
        let mut unused = 0;
        if let Some(slot) = place.current
            && let Some(lease) = self.leases.get_mut(slot)
        {
            if lease.is_good(now) {
                unused = lease.unused;
                let claimed = if in_turn { place.claimed } else { 0 };
                if is_turn && unused.saturating_sub(claimed) >= item.amount {
                    lease.hold(item.amount, now);
                    self.wants_refill |= place.took(item.amount, lease, now);
                    return Taken::Held(Held::Leased {
                        slot,
                        measure: item.measure,
                        amount: item.amount,
                        fails_open: item.fails_open,
                    });
                }
            } else {
                place.current = None;
            }
        }
        if let Some(refusal) = place.remembered(item.amount.saturating_sub(unused), now) {
            return Taken::Refused(refusal);
        }
        self.refuse_unreachable(item, now)
    }

    /// What is to be done when money is short: wait for it, unless nobody has answered for long.
    fn refuse_unreachable(&mut self, item: &Item, now: Instant) -> Taken {
        match self.unreachable_since {
            Some(since) if now.saturating_duration_since(since) >= PATIENCE => {
                self.wants_probe = true;
                if item.fails_open {
                    return Taken::Held(Held::Free { account: item.account.clone(), measure: item.measure });
                }
                Taken::Refused(Refusal::Unreachable)
            }
            _ => Taken::Short,
        }
    }

    /// Holds what is there, and lets the rest be spent without a lease.
    fn hold_open(&mut self, items: &[Item], now: Instant) -> Given {
        let free = |item: &Item| Held::Free { account: item.account.clone(), measure: item.measure };
        let mut held = Vec::with_capacity(items.len());
        for item in items {
            match self.take(item, now, true) {
                Taken::Held(part) => held.push(part),
                Taken::Nothing => {}
                _ if item.fails_open => held.push(free(item)),
                _ => {
                    self.put_back(held, now);
                    return Err(refuse(item, Refusal::Unreachable));
                }
            }
        }
        Ok(held)
    }

    fn has(&self, item: &Item, now: Instant) -> bool {
        let Some(place) = self.places.get(&item.account) else { return false };
        let lease = place.current.and_then(|slot| self.leases.get(slot));
        place.unknown_until.is_some_and(|until| now < until)
            || lease.is_some_and(|lease| lease.is_good(now) && lease.unused >= item.amount)
    }

    fn put_back(&mut self, held: Vec<Held>, now: Instant) {
        for part in held {
            if let Some((slot, _, amount, _)) = part.as_leased()
                && let Some(lease) = self.leases.get_mut(slot)
            {
                lease.spend(amount, 0, now);
                lease.n_open -= 1;
                self.wants_return |= lease.is_scarce && lease.unused > 0;
            }
        }
    }

    fn remove_waiter(&mut self, ticket: u64) -> Option<Waiter> {
        let waiter = self.waiters.remove(&ticket)?;
        for item in waiter.items.iter().filter(|item| !item.is_soft) {
            if let Some(place) = self.places.get_mut(&item.account) {
                place.n_waiting = place.n_waiting.saturating_sub(1);
            }
        }
        Some(waiter)
    }

    /// Serves those who wait, in the order of arrival. What an earlier one needs is not given to a later one.
    fn serve(&mut self, now: Instant) -> Vec<Served> {
        let mut served = Vec::new();
        if self.waiters.is_empty() {
            return served;
        }
        for place in self.places.values_mut() {
            place.claimed = 0;
        }
        // Taken out while it is gone through; those who stay are put back.
        let waiters = std::mem::take(&mut self.waiters);
        for (ticket, waiter) in waiters {
            let result = match self.try_hold(&waiter.items, now, true) {
                Tried::Held(held) => Ok(held),
                Tried::Refused(refused) => Err(refused),
                Tried::Short => {
                    for item in &waiter.items {
                        if let Some(place) = self.places.get_mut(&item.account) {
                            place.claimed = place.claimed.saturating_add(item.amount);
                        }
                    }
                    self.waiters.insert(ticket, waiter);
                    continue;
                }
            };
            self.waiters.insert(ticket, waiter);
            self.remove_waiter(ticket);
            served.push(Served { ticket, result });
        }
        served
    }
}

#[expect(clippy::unnecessary_box_returns, reason = "every result holds it boxed, so that holds stay small")]
fn refuse(item: &Item, refusal: Refusal) -> Box<Refused> {
    Box::new(Refused { account: item.account.clone(), measure: item.measure, wanted: item.amount, refusal })
}

impl Refused {
    /// Orders refusals: the account with the smallest part of its limit left is the tightest.
    fn tightness(&self) -> u128 {
        match self.refusal {
            Refusal::Exhausted(known) | Refusal::Elsewhere(Some(known)) => known.tightness(),
            Refusal::Elsewhere(None) | Refusal::Unreachable => u128::MAX,
        }
    }
}

impl Held {
    const fn as_leased(&self) -> Option<(u32, Measure, u64, bool)> {
        match self {
            Self::Leased { slot, measure, amount, fails_open } => Some((*slot, *measure, *amount, *fails_open)),
            Self::Free { .. } => None,
        }
    }

    fn is_of(&self, leases: &Leases, account: &AccountKey) -> bool {
        let lease = self.as_leased().and_then(|(slot, ..)| leases.get(slot));
        lease.is_some_and(|lease: &Lease| lease.account == *account)
    }
}

impl Settling {
    fn charge(&mut self, account: &AccountKey, lease: Option<LeaseId>, amount: u64) {
        if amount > 0 {
            self.charges.push(charge(account, lease, amount));
        }
    }
}

fn charge(account: &AccountKey, lease_id: Option<LeaseId>, amount: u64) -> Charge {
    let AccountKey { budget_id, window, group_key, .. } = account;
    Charge { budget_id: *budget_id, window: *window, group_key: group_key.clone(), lease_id, amount }
}
