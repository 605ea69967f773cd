//! The arithmetic of accounts and leases, without a database. Invariant: what is leased of an account is what its open leases
//! were granted, less what they returned and what was booked on them; it never grows beyond what is free.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::budget::AccountKey;
use domain::lease::{Answer, Ask, Balance, Grant, Holding, Shortage, Standing};
use domain::{LeaseId, NodeId, Timestamp};

/// How long a node may admit calls without another word.
pub const TTL: Duration = Duration::from_secs(60);
/// How long leases of an account are recalled after somebody found too little.
const WANTED: Duration = Duration::from_secs(5);
/// A node that said nothing for this long is not expected to give anything back.
const SILENT: Duration = Duration::from_secs(10);

/// An account of one window. Ordered as rows are locked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Whose account.
    pub key: AccountKey,
    /// When the window began.
    pub starts_at: Timestamp,
}

/// An account: what was booked, what is leased, and what was told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// When the window ends; one without an end has none.
    pub ends_at: Option<Timestamp>,
    /// What was carried over from the window before.
    pub carried: u64,
    /// What was booked.
    pub posted: u64,
    /// What open leases still hold.
    pub leased: u64,
    /// What was booked beyond any lease.
    pub overdrawn: u64,
    /// Until when leases are recalled, because somebody found too little.
    pub wanted_until: Timestamp,
    /// The highest percent of the limit that was told.
    pub told_percent: u32,
    /// Whether it was told that calls are refused.
    pub told_refusing: bool,
    /// Whether the row has to be written.
    pub is_changed: bool,
}

/// What a life of a node was granted of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Of which account.
    pub place: Place,
    /// The node.
    pub node_id: NodeId,
    /// The node's life.
    pub boot: String,
    /// What was granted in all.
    pub granted: u64,
    /// What was given back.
    pub returned: u64,
    /// What was booked on it.
    pub booked: u64,
    /// What the node said is free.
    pub unused: u64,
    /// What the node said its calls hold.
    pub held: u64,
    /// When the node last told.
    pub told_at: Timestamp,
    /// Until when the node may admit calls by it.
    pub expires_at: Timestamp,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
    /// Whether the row has to be written.
    pub is_changed: bool,
}

impl Lease {
    /// What the account counts as leased on it.
    pub const fn outstanding(&self) -> u64 {
        if self.closed_at.is_some() { 0 } else { self.granted - self.returned - self.booked }
    }
}

/// Who asks, and when.
#[derive(Debug, Clone, Copy)]
pub struct Teller<'a> {
    /// The node.
    pub node_id: NodeId,
    /// Its life.
    pub boot: &'a str,
    /// The moment.
    pub now: Timestamp,
}

/// Locked rows of accounts, and leases of them.
#[derive(Debug, Default)]
pub struct Books {
    /// By place.
    pub accounts: BTreeMap<Place, Account>,
    /// By id.
    pub leases: BTreeMap<LeaseId, Lease>,
}

impl Books {
    /// Takes note of what a node has of a lease.
    pub fn hold(&mut self, teller: Teller<'_>, told: &Holding) {
        let Some(lease) = self.leases.get_mut(&told.lease_id).filter(|lease| lease.is_of(teller)) else { return };
        // What was booked cannot be given back; a node that says so is wrong.
        let returned = told.returned.clamp(lease.returned, lease.granted - lease.booked);
        if let Some(account) = self.accounts.get_mut(&lease.place) {
            account.leased -= returned - lease.returned;
            account.is_changed |= returned != lease.returned;
            lease.returned = returned;
            lease.expires_at = until(account, teller.now);
        }
        (lease.unused, lease.held, lease.told_at) = (told.unused, told.held, teller.now);
        lease.is_changed = true;
    }

    /// Ends a lease: what it has not spent is free again.
    pub fn close(&mut self, id: LeaseId, now: Timestamp) {
        let Some(lease) = self.leases.get_mut(&id).filter(|lease| lease.closed_at.is_none()) else { return };
        if let Some(account) = self.accounts.get_mut(&lease.place) {
            account.leased -= lease.outstanding();
            account.is_changed = true;
        }
        (lease.closed_at, lease.is_changed) = (Some(now), true);
    }

    /// Answers what was asked of an account with this limit. `known` is what the node knows of its lease; `fresh` names a new one.
    pub fn ask(
        &mut self,
        teller: Teller<'_>,
        place: &Place,
        ask: &Ask,
        limit: u64,
        known: impl Fn(LeaseId) -> u64,
        fresh: LeaseId,
    ) -> Answer {
        let own = self.leases.iter().find(|(_, lease)| lease.is_of(teller) && lease.place == *place).map(|(id, _)| *id);
        let unspent = self.unspent(place, own, teller.now);
        let Some(account) = self.accounts.get_mut(place) else { return Answer::Unknown };
        let limit = limit.saturating_add(account.carried);
        let free = limit.saturating_sub(account.posted).saturating_sub(account.leased);
        // A grant whose answer was lost is there already.
        let lost = own.map_or(0, |id| self.leases[&id].granted.saturating_sub(known(id)));
        let missing = ask.need.saturating_sub(lost);
        let is_overdrawn = account.posted.saturating_add(account.leased) > limit;
        if free < missing || is_overdrawn && lost < ask.need {
            let balance = Balance { limit, posted: account.posted, leased: account.leased };
            let shortage = Shortage { balance, resets_at: account.ends_at };
            if is_overdrawn || free.saturating_add(unspent) < missing {
                return Answer::Exhausted(shortage);
            }
            account.wanted_until = teller.now.plus(WANTED);
            account.is_changed = true;
            return Answer::Pending(shortage);
        }
        let is_wanted = account.wanted_until > teller.now;
        let is_scarce = is_wanted || free < ask.need.saturating_mul(16) || free < limit / 20;
        let ahead = if is_scarce { 0 } else { ask.ahead.min((free - missing) / 8) };
        let more = missing + ahead;
        account.leased += more;
        account.is_changed = true;
        let id = own.unwrap_or(fresh);
        let lease = self.leases.entry(id).or_insert_with(|| Lease::new(teller, place));
        lease.granted += more;
        lease.unused = lease.unused.saturating_add(ahead);
        // Somebody waits for it.
        lease.held = lease.held.saturating_add(missing);
        lease.told_at = teller.now;
        lease.expires_at = until(account, teller.now);
        lease.is_changed = true;
        Answer::Granted(Grant {
            lease_id: id,
            granted: lease.granted,
            ttl: lease.expires_at.since(teller.now),
            window_start: place.starts_at,
            window_end: account.ends_at,
            is_scarce,
            balance: Balance { limit, posted: account.posted, leased: account.leased },
        })
    }

    /// What may yet come back of an account, as nodes said lately: what others do not use, and what calls under way hold, who
    /// seldom take all of it. What the asker itself does not use it has counted already.
    fn unspent(&self, place: &Place, own: Option<LeaseId>, now: Timestamp) -> u64 {
        let open = self.leases.iter().filter(|(_, lease)| lease.place == *place && lease.closed_at.is_none());
        open.filter(|(_, lease)| now.since(lease.told_at) < SILENT).fold(0, |sum, (id, lease)| {
            let unused = if Some(*id) == own { 0 } else { lease.unused };
            sum.saturating_add(unused.saturating_add(lease.held).min(lease.outstanding()))
        })
    }

    /// Says how a lease stands that a node named.
    pub fn standing(&self, teller: Teller<'_>, told: &Holding) -> Standing {
        let lease = self.leases.get(&told.lease_id).filter(|lease| lease.is_of(teller));
        let account = lease.and_then(|lease| self.accounts.get(&lease.place));
        Standing {
            lease_id: told.lease_id,
            is_open: account.is_some(),
            granted: lease.map_or(told.granted, |lease| lease.granted),
            ttl: lease.map_or(Duration::ZERO, |lease| lease.expires_at.since(teller.now)),
            is_recalled: told.unused > 0 && account.is_some_and(|account| account.wanted_until > teller.now),
        }
    }

    /// Books what a call took. The truth comes first: also what no lease covers is posted, and counted as overdrawn when
    /// `is_covered` says that a lease should have.
    pub fn book(&mut self, place: &Place, lease: Option<LeaseId>, amount: u64, is_covered: bool) {
        let Some(account) = self.accounts.get_mut(place) else { return };
        let mut taken = 0;
        if let Some(lease) = lease.and_then(|id| self.leases.get_mut(&id)) {
            taken = amount.min(lease.outstanding());
            lease.booked += taken;
            account.leased -= taken;
            lease.is_changed |= taken > 0;
        }
        account.posted = account.posted.saturating_add(amount).min(MOST);
        if is_covered {
            account.overdrawn = account.overdrawn.saturating_add(amount - taken).min(MOST);
        }
        account.is_changed = true;
    }
}

/// The largest number that a column holds.
const MOST: u64 = i64::MAX.unsigned_abs();

impl Lease {
    fn new(teller: Teller<'_>, place: &Place) -> Self {
        Self {
            place: place.clone(),
            node_id: teller.node_id,
            boot: teller.boot.to_owned(),
            granted: 0,
            returned: 0,
            booked: 0,
            unused: 0,
            held: 0,
            told_at: teller.now,
            expires_at: teller.now,
            closed_at: None,
            is_changed: true,
        }
    }

    fn is_of(&self, teller: Teller<'_>) -> bool {
        self.node_id == teller.node_id && self.boot == teller.boot && self.closed_at.is_none()
    }
}

fn until(account: &Account, now: Timestamp) -> Timestamp {
    let until = now.plus(TTL);
    account.ends_at.map_or(until, |end| end.min(until))
}

#[cfg(test)]
mod tests;
