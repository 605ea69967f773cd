//! What is said to the control plane, and what its answer changes.
//!
//! One word at a time. Every number of a lease is a sum since its beginning, so that a word or an answer that is lost is made
//! good by the next. Money that is given back counts as gone when it is said.

use std::time::{Duration, Instant};

use domain::budget::AccountKey;
use domain::lease::{Answer, Ask, Grant, Holding, Shortage, Standing, Tell, Told};
use rustc_hash::FxHashMap;

use super::lease::Lease;
use super::place::Place;
use super::{Book, Cry, IDLE, Served, TELL_EVERY};
use crate::account::Known;
use crate::source::Delivered;

/// Accounts asked for in one word.
const MOST_ASKS: usize = 256;
/// How often accounts that nobody uses any more are thrown away.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// Seconds of the recent pace that are asked for ahead.
const AHEAD: u64 = 2;

impl Book {
    /// Returns what is to be said now; `None` for nothing. Who says it adds the node's life.
    pub(crate) fn next_word(&mut self, now: Instant, delivered: &dyn Delivered) -> Option<Tell> {
        self.sweep(now);
        let asks = self.asks(now);
        let is_probe = std::mem::take(&mut self.wants_probe) && self.unreachable_since.is_some();
        let is_return = self.waiters.is_empty() && std::mem::take(&mut self.wants_return);
        let is_tick = self.told_at.is_none_or(|at| now.saturating_duration_since(at) >= TELL_EVERY);
        let has_leases = !self.leases.is_empty();
        let is_wished = std::mem::take(&mut self.wants_word);
        if asks.is_empty() && !is_probe && !is_wished && !(has_leases && (is_tick || is_return)) {
            return None;
        }
        self.told_at = Some(now);
        self.sequence += 1;
        let mut word = Tell { sequence: self.sequence, asks, ..Tell::default() };
        self.tell_leases(now, delivered, &mut word);
        Some(word)
    }

    /// Takes over the answer to a word that was said at `asked_at`; returns the waiting calls that it serves.
    pub(crate) fn apply(&mut self, word: &Tell, told: Told, asked_at: Instant, now: Instant) -> Vec<Served> {
        self.unreachable_since = None;
        if std::mem::take(&mut self.returns_recalled) {
            self.cry = Some(Cry::Returned);
        }
        for id in &word.done {
            self.forget(*id);
        }
        for standing in &told.standings {
            self.stands(standing, asked_at);
        }
        for (ask, answer) in word.asks.iter().zip(told.answers) {
            let with = |shortage: Shortage| Known { balance: shortage.balance, resets_at: shortage.resets_at };
            match answer {
                Answer::Granted(grant) => self.granted(&ask.account, &grant, asked_at, now),
                Answer::Exhausted(shortage) => {
                    self.with(&ask.account, |place| place.exhausted(ask.need, with(shortage), now));
                }
                Answer::Pending(shortage) => {
                    self.cry = Some(Cry::Wanted);
                    self.with(&ask.account, |place| place.pending(with(shortage), now));
                }
                Answer::Unknown => self.with(&ask.account, |place| place.unknown(now)),
            }
        }
        self.serve(now)
    }

    /// Notes that a word said at `asked_at` had no answer; says whether that is news. Another is said until one has: it may have
    /// been heard, and money be lent that nobody knows of here.
    pub(crate) fn unanswered(&mut self, asked_at: Instant) -> bool {
        self.wants_probe = true;
        let is_news = self.unreachable_since.is_none();
        self.unreachable_since.get_or_insert(asked_at);
        is_news
    }

    /// Returns when there may be something to say; `None` when only a call can bring it about.
    pub(crate) fn due_at(&self, now: Instant) -> Option<Instant> {
        // One that could be asked for now has been, or lacks nothing.
        let later = self.places.values().filter(|place| place.n_waiting > 0 && place.ask_at > now);
        let waited_for = later.map(|place| place.ask_at).min();
        let tick = (!self.leases.is_empty()).then(|| self.told_at.map_or(now, |at| at + TELL_EVERY));
        [waited_for, tick].into_iter().flatten().min()
    }

    fn granted(&mut self, account: &AccountKey, grant: &Grant, asked_at: Instant, now: Instant) {
        let slot = self.leases.find(grant.lease_id);
        let slot = slot.unwrap_or_else(|| self.leases.add(Lease::new(grant.lease_id, account.clone(), now)));
        let Some(lease) = self.leases.get_mut(slot) else { return };
        lease.extend(grant.granted, asked_at + grant.ttl);
        (lease.is_scarce, lease.used_at, lease.mark) = (grant.is_scarce, now, None);
        let known = Known { balance: grant.balance, resets_at: grant.window_end };
        self.with(account, |place| place.granted(slot, known));
    }

    /// Takes over what is said of a lease that was named.
    fn stands(&mut self, standing: &Standing, asked_at: Instant) {
        let Some(lease) = self.leases.find(standing.lease_id).and_then(|slot| self.leases.get_mut(slot)) else {
            return;
        };
        lease.is_closed |= !standing.is_open;
        if standing.is_open {
            lease.extend(standing.granted, asked_at + standing.ttl);
        }
        if standing.is_recalled {
            lease.is_recalled = true;
            // Said at once: another node waits.
            self.told_at = None;
        }
    }

    fn with(&mut self, account: &AccountKey, change: impl FnOnce(&mut Place)) {
        if let Some(place) = self.places.get_mut(account) {
            change(place);
        }
    }

    /// Asks for each account that somebody waits for: as much as the first needs who has to wait, the rest as a wish. So money
    /// that is too little for all goes to those who came first.
    fn asks(&mut self, now: Instant) -> Vec<Ask> {
        let mut asks: Vec<Ask> = Vec::new();
        let mut known: FxHashMap<&AccountKey, (usize, u64)> = FxHashMap::default();
        for item in self.waiters.values().flat_map(|waiter| &waiter.items).filter(|item| !item.is_soft) {
            let Some(place) = self.places.get(&item.account).filter(|place| place.ask_at <= now) else { continue };
            let lease = place.current.and_then(|slot| self.leases.get(slot));
            // What is recalled is given back with the same word.
            let unused = lease.filter(|lease| lease.is_good(now) && !lease.is_recalled).map_or(0, |lease| lease.unused);
            let (at, sum) = known.entry(&item.account).or_insert((usize::MAX, 0));
            *sum = sum.saturating_add(item.amount);
            if let Some(ask) = asks.get_mut(*at) {
                ask.ahead = ask.ahead.saturating_add(item.amount);
            } else if *sum > unused && asks.len() < MOST_ASKS {
                *at = asks.len();
                let ahead = place.pace().saturating_mul(AHEAD);
                asks.push(Ask { account: item.account.clone(), need: *sum - unused, ahead });
            }
        }
        let wishes = self.places.iter_mut().filter(|(_, place)| place.wants_refill);
        for (account, place) in wishes.take(MOST_ASKS) {
            place.wants_refill = false;
            if place.n_waiting == 0 && place.last_amount > 0 && !self.is_draining {
                let ahead = place.pace().saturating_mul(AHEAD);
                asks.push(Ask { account: account.clone(), need: place.last_amount, ahead });
            }
        }
        asks
    }

    /// Names every lease and what it holds, gives back what nobody uses, and ends leases that have nothing open.
    fn tell_leases(&mut self, now: Instant, delivered: &dyn Delivered, word: &mut Tell) {
        let (written, acknowledged) = (delivered.written(), delivered.acknowledged());
        for lease in self.leases.iter_mut() {
            let is_asked = word.asks.iter().any(|ask| ask.account == lease.account);
            let place = self.places.get_mut(&lease.account);
            let is_waited_for = place.as_ref().is_some_and(|place| place.n_waiting > 0);
            let is_wanted = is_asked || is_waited_for;
            let is_unused = now.saturating_duration_since(lease.used_at) >= IDLE && !is_wanted;
            let is_over = !lease.is_good(now) || self.is_draining || is_unused;
            if is_over || lease.is_recalled || lease.is_scarce && !is_wanted {
                self.returns_recalled |= lease.is_recalled && lease.unused > 0;
                let is_some = lease.give_back() > 0;
                // There is something now for who was refused.
                if let Some(place) = place.filter(|_| is_some) {
                    place.forget_refusal();
                }
            }
            if is_over && lease.n_open == 0 && !lease.is_lost {
                lease.mark = lease.mark.or(written);
                let is_delivered = lease.spent == 0 || lease.mark.is_some_and(|mark| mark <= acknowledged);
                // A lease that is good is not ended while more is asked for on it.
                if is_delivered && !(is_asked && lease.is_good(now)) {
                    lease.is_closed = true;
                    word.done.push(lease.id);
                    continue;
                }
            }
            word.holdings.push(Holding {
                lease_id: lease.id,
                granted: lease.granted,
                returned: lease.returned,
                unused: lease.unused,
                held: lease.held,
            });
        }
    }

    fn forget(&mut self, id: domain::LeaseId) {
        let Some(slot) = self.leases.find(id) else { return };
        let Some(lease) = self.leases.remove(slot) else { return };
        self.with(&lease.account, |place| place.current = place.current.filter(|current| *current != slot));
    }

    fn sweep(&mut self, now: Instant) {
        if self.swept_at.is_some_and(|at| now.saturating_duration_since(at) < SWEEP_EVERY) {
            return;
        }
        self.swept_at = Some(now);
        let leases = &self.leases;
        self.places.retain(|_, place| {
            place.current = place.current.filter(|slot| leases.get(*slot).is_some_and(|lease| lease.is_good(now)));
            !place.is_forgettable(now)
        });
    }
}
