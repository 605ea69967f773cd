//! One lease: where its money is. Numbers only; who may have it is decided in `book`.

use std::time::Instant;

use domain::LeaseId;
use domain::budget::AccountKey;
use rustc_hash::FxHashMap;

/// Money that one life of this node may spend until it expires.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one independent fact of the lease")]
pub(super) struct Lease {
    pub(super) id: LeaseId,
    pub(super) account: AccountKey,
    pub(super) granted: u64,
    pub(super) unused: u64,
    pub(super) held: u64,
    pub(super) spent: u64,
    pub(super) returned: u64,
    /// Spent beyond what was there: a call that cost more than its bound.
    pub(super) overdrawn: u64,
    pub(super) expires_at: Instant,
    pub(super) is_scarce: bool,
    /// Others wait for what is unused.
    pub(super) is_recalled: bool,
    /// Nothing new begins on it.
    pub(super) is_closed: bool,
    /// Some charge of it was lost; see `Book::reported`.
    pub(super) is_lost: bool,
    /// Holds and charges that are not written yet.
    pub(super) n_open: u32,
    pub(super) used_at: Instant,
    /// Charges of it are in the ledger when this event is.
    pub(super) mark: Option<u64>,
}

impl Lease {
    pub(super) fn new(id: LeaseId, account: AccountKey, now: Instant) -> Self {
        Self {
            id,
            account,
            granted: 0,
            unused: 0,
            held: 0,
            spent: 0,
            returned: 0,
            overdrawn: 0,
            expires_at: now,
            is_scarce: false,
            is_closed: false,
            is_recalled: false,
            is_lost: false,
            n_open: 0,
            used_at: now,
            mark: None,
        }
    }

    /// Takes over what it has been granted in all, and until when it may be spent.
    pub(super) fn extend(&mut self, granted: u64, expires_at: Instant) {
        self.unused = self.unused.saturating_add(granted.saturating_sub(self.granted));
        self.granted = self.granted.max(granted);
        self.expires_at = self.expires_at.max(expires_at);
    }

    /// Says whether calls may hold of it.
    pub(super) fn is_good(&self, now: Instant) -> bool {
        !self.is_closed && self.expires_at > now
    }

    /// Sets money aside; there is enough.
    pub(super) fn hold(&mut self, amount: u64, now: Instant) {
        self.unused -= amount;
        self.held += amount;
        self.n_open += 1;
        self.used_at = now;
        self.mark = None;
    }

    /// Ends a hold of `amount` of which `taken` was spent. What was spent beyond it comes from the unused, then from nowhere.
    pub(super) fn spend(&mut self, amount: u64, taken: u64, now: Instant) {
        self.held -= amount;
        self.spent = self.spent.saturating_add(taken);
        self.unused = self.unused.saturating_add(amount);
        self.overdrawn = self.overdrawn.saturating_add(taken.saturating_sub(self.unused));
        self.unused = self.unused.saturating_sub(taken);
        self.used_at = now;
    }

    /// Gives all back that is unused; returns how much.
    pub(super) fn give_back(&mut self) -> u64 {
        let unused = std::mem::take(&mut self.unused);
        self.returned = self.returned.saturating_add(unused);
        self.is_recalled = false;
        unused
    }

    pub(super) fn adds_up(&self) -> bool {
        let in_sum = u128::from(self.granted) + u128::from(self.overdrawn);
        let out = [self.unused, self.held, self.spent, self.returned];
        in_sum == out.into_iter().map(u128::from).sum::<u128>()
    }
}

/// The leases of a node. A slot is stable while something of its lease is open.
#[derive(Debug, Default)]
pub(super) struct Leases {
    slots: Vec<Option<Lease>>,
    free: Vec<u32>,
    by_id: FxHashMap<LeaseId, u32>,
}

impl Leases {
    pub(super) fn get(&self, slot: u32) -> Option<&Lease> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Lease> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    pub(super) fn find(&self, id: LeaseId) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn add(&mut self, lease: Lease) -> u32 {
        let id = lease.id;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = Some(lease);
        }
        self.by_id.insert(id, slot);
        slot
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Lease> {
        let lease = self.slots.get_mut(slot as usize)?.take()?;
        self.by_id.remove(&lease.id);
        self.free.push(slot);
        Some(lease)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.slots.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Lease> {
        self.slots.iter_mut().flatten()
    }
}
