//! A lender in memory, for tests: what the control plane promises, without a database. Its leases are all of one window.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::budget::{AccountKey, Charge};
use domain::lease::{Answer, Ask, Balance, Grant, Shortage, Standing, Tell, Told};
use domain::{LeaseId, Timestamp};
use parking_lot::Mutex;

use crate::source::{BoxFuture, Delivered, LeaseSource, Unreachable};

/// How long its leases last.
pub const TTL: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Lent {
    node: usize,
    account: AccountKey,
    granted: u64,
    returned: u64,
    booked: u64,
    /// What its node told, or was given since.
    unused: u64,
    held: u64,
    is_wanted: bool,
    is_open: bool,
}

impl Lent {
    const fn outstanding(&self) -> u64 {
        self.granted - self.returned - self.booked
    }
}

#[derive(Debug, Default)]
struct Limit {
    limit: u64,
    posted: u64,
}

/// The books of the lender.
#[derive(Debug, Default)]
pub struct Ledger {
    limits: BTreeMap<AccountKey, Limit>,
    leases: BTreeMap<LeaseId, Lent>,
    heard: BTreeMap<usize, u64>,
    n_words: usize,
}

impl Ledger {
    /// Sets what an account may spend.
    pub fn set(&mut self, account: AccountKey, limit: u64) {
        self.limits.entry(account).or_default().limit = limit;
    }

    /// Returns what was booked, and what is lent, of an account.
    #[must_use]
    pub fn stands(&self, account: &AccountKey) -> (u64, u64) {
        let of_account = self.leases.values().filter(|lent| lent.is_open && lent.account == *account);
        (self.limits.get(account).map_or(0, |limit| limit.posted), of_account.map(Lent::outstanding).sum())
    }

    /// Returns what a lease was granted and has not given back.
    #[must_use]
    pub fn granted(&self, lease: LeaseId) -> u64 {
        self.leases.get(&lease).map_or(0, |lent| lent.granted - lent.returned)
    }

    /// Returns how many words were answered.
    #[must_use]
    pub const fn n_words(&self) -> usize {
        self.n_words
    }

    /// Books what calls took of an organization's accounts.
    pub fn book(&mut self, charges: &[Charge]) {
        for charge in charges {
            let is_of = |account: &AccountKey| {
                account.budget_id == charge.budget_id
                    && account.window == charge.window
                    && account.group_key == charge.group_key
            };
            if let Some((_, limit)) = self.limits.iter_mut().find(|(account, _)| is_of(account)) {
                limit.posted += charge.amount;
            }
            if let Some(lent) = charge.lease_id.and_then(|id| self.leases.get_mut(&id)).filter(|lent| lent.is_open) {
                lent.booked += charge.amount.min(lent.outstanding());
            }
        }
    }

    /// Answers a word of a node.
    pub fn answer(&mut self, node: usize, word: &Tell) -> Told {
        self.n_words += 1;
        let heard = self.heard.entry(node).or_default();
        if word.sequence <= *heard {
            return Told::default();
        }
        *heard = word.sequence;
        let own = |lent: &Lent| lent.node == node && lent.is_open;
        for (id, lent) in self.leases.iter_mut().filter(|(_, lent)| own(lent)) {
            let named = word.holdings.iter().find(|holding| holding.lease_id == *id);
            lent.is_open = named.is_some() && !word.done.contains(id);
            if let Some(named) = named {
                lent.returned = lent.returned.max(named.returned);
                (lent.unused, lent.held) = (named.unused, named.held);
            }
        }
        let standings = word.holdings.iter().map(|holding| self.stands_lease(holding.lease_id)).collect();
        let answers = word.asks.iter().map(|ask| self.lend(node, ask)).collect();
        Told { answers, standings }
    }

    fn stands_lease(&mut self, lease_id: LeaseId) -> Standing {
        let lent = self.leases.get_mut(&lease_id);
        Standing {
            lease_id,
            is_open: lent.as_ref().is_some_and(|lent| lent.is_open),
            granted: lent.as_ref().map_or(0, |lent| lent.granted),
            ttl: TTL,
            is_recalled: lent.is_some_and(|lent| std::mem::take(&mut lent.is_wanted)),
        }
    }

    fn lend(&mut self, node: usize, ask: &Ask) -> Answer {
        let (posted, leased) = self.stands(&ask.account);
        let Some(limit) = self.limits.get(&ask.account).map(|limit| limit.limit) else { return Answer::Unknown };
        let balance = Balance { limit, posted, leased };
        let of_account = |lent: &Lent| lent.is_open && lent.account == ask.account;
        let free = balance.free();
        if free < ask.need {
            let mut unspent = free;
            for lent in self.leases.values_mut().filter(|lent| of_account(lent)) {
                let unused = if lent.node == node { 0 } else { lent.unused };
                lent.is_wanted |= unused > 0;
                unspent += (unused + lent.held).min(lent.outstanding());
            }
            let shortage = Shortage { balance, resets_at: None };
            return if unspent < ask.need { Answer::Exhausted(shortage) } else { Answer::Pending(shortage) };
        }
        let is_scarce = free < ask.need.saturating_mul(16);
        let more = ask.need + if is_scarce { 0 } else { ask.ahead.min(free / 8).min(free - ask.need) };
        let found = self.leases.iter().find(|(_, lent)| of_account(lent) && lent.node == node).map(|(id, _)| *id);
        let lease_id = found.unwrap_or_else(|| LeaseId::from_uuid(self.leases.len() as u128 + 1));
        let lent = self.leases.entry(lease_id).or_insert_with(|| Lent {
            node,
            account: ask.account.clone(),
            granted: 0,
            returned: 0,
            booked: 0,
            unused: 0,
            held: 0,
            is_wanted: false,
            is_open: true,
        });
        lent.granted += more;
        lent.unused += more;
        Answer::Granted(Grant {
            lease_id,
            granted: lent.granted,
            ttl: TTL,
            window_start: Timestamp::from_micros(0),
            window_end: None,
            is_scarce,
            balance: Balance { leased: leased + more, ..balance },
        })
    }
}

/// A lender that nodes share; each has an end of its own.
#[derive(Debug, Clone, Default)]
pub struct Lender {
    ledger: Arc<Mutex<Ledger>>,
    node: usize,
    is_away: Arc<Mutex<bool>>,
}

impl Lender {
    /// Returns the end of another node.
    #[must_use]
    pub fn end(&self, node: usize) -> Self {
        Self { node, ..self.clone() }
    }

    /// Does something with the books.
    pub fn with<T>(&self, work: impl FnOnce(&mut Ledger) -> T) -> T {
        work(&mut self.ledger.lock())
    }

    /// Goes away, or comes back.
    pub fn set_away(&self, is_away: bool) {
        *self.is_away.lock() = is_away;
    }
}

impl LeaseSource for Lender {
    fn tell(&self, word: Tell) -> BoxFuture<Result<Told, Unreachable>> {
        let this = self.clone();
        Box::pin(async move {
            // As over a network: it takes a moment, and others run meanwhile.
            tokio::time::sleep(Duration::from_millis(1)).await;
            if *this.is_away.lock() {
                return Err(Unreachable("the lender is away".into()));
            }
            Ok(this.ledger.lock().answer(this.node, &word))
        })
    }
}

/// Everything is in the ledger at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct AtOnce;

impl Delivered for AtOnce {
    fn boot(&self) -> String {
        "boot".to_owned()
    }

    fn delivered_boots(&self) -> Vec<String> {
        Vec::new()
    }

    fn written(&self) -> Option<u64> {
        Some(0)
    }

    fn acknowledged(&self) -> u64 {
        0
    }
}
