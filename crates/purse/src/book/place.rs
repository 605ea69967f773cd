//! What is known of one account: its lease, who waits, how fast it is spent, and what the control plane said last.

use std::time::{Duration, Instant};

use super::lease::Lease;
use super::{ASK_AGAIN, REMEMBERED};
use crate::account::{Known, Refusal};

/// For so long an account counts as unknown after the control plane said so.
const UNKNOWN_FOR: Duration = Duration::from_secs(5);
/// The pace is taken over windows of this length.
const PACE_OVER: Duration = Duration::from_secs(1);

/// One account.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) current: Option<u32>,
    pub(super) n_waiting: u32,
    /// What calls need that are served before others; of one pass over those who wait.
    pub(super) claimed: u64,
    pub(super) known: Option<Known>,
    /// Who lacks so much is refused, until then.
    refusal: Option<(u64, Instant, Refusal)>,
    pub(super) unknown_until: Option<Instant>,
    pub(super) ask_at: Instant,
    refill_at: Instant,
    pub(super) wants_refill: bool,
    pub(super) last_amount: u64,
    pace_since: Instant,
    pace_now: u64,
    pace_before: u64,
}

impl Place {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            current: None,
            n_waiting: 0,
            claimed: 0,
            known: None,
            refusal: None,
            unknown_until: None,
            ask_at: now,
            refill_at: now,
            wants_refill: false,
            last_amount: 0,
            pace_since: now,
            pace_now: 0,
            pace_before: 0,
        }
    }

    /// Notes that a call took money of the lease; says whether more should be asked for before it runs out.
    pub(super) fn took(&mut self, amount: u64, lease: &Lease, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.pace_since);
        if passed >= PACE_OVER {
            self.pace_before = if passed < 2 * PACE_OVER { self.pace_now } else { 0 };
            self.pace_now = 0;
            self.pace_since = now;
        }
        self.pace_now = self.pace_now.saturating_add(amount);
        self.last_amount = amount;
        let is_low = !lease.is_scarce && !self.wants_refill && now >= self.refill_at && lease.unused < self.pace() / 2;
        self.wants_refill |= is_low;
        is_low
    }

    /// Returns what is taken in a second, of late.
    pub(super) fn pace(&self) -> u64 {
        self.pace_now.max(self.pace_before)
    }

    /// Returns the refusal that still holds for a call that lacks so much.
    pub(super) fn remembered(&self, shortfall: u64, now: Instant) -> Option<Refusal> {
        let (from, until, refusal) = self.refusal?;
        (shortfall >= from && now < until).then_some(refusal)
    }

    pub(super) fn granted(&mut self, slot: u32, known: Known) {
        self.current = Some(slot);
        self.known = Some(known);
        self.refusal = None;
        self.unknown_until = None;
    }

    pub(super) fn exhausted(&mut self, need: u64, known: Known, now: Instant) {
        self.known = Some(known);
        self.refusal = Some((need, now + REMEMBERED, Refusal::Exhausted(known)));
        self.ask_at = now;
        self.refill_at = now + REMEMBERED;
    }

    pub(super) fn forget_refusal(&mut self) {
        self.refusal = None;
    }

    pub(super) fn pending(&mut self, known: Known, now: Instant) {
        self.known = Some(known);
        self.ask_at = now + ASK_AGAIN;
        self.refill_at = self.ask_at;
    }

    pub(super) fn unknown(&mut self, now: Instant) {
        self.unknown_until = Some(now + UNKNOWN_FOR);
        self.ask_at = now;
    }

    /// Says whether nothing of it is worth keeping.
    pub(super) fn is_forgettable(&self, now: Instant) -> bool {
        let is_over = |until: Option<Instant>| until.is_none_or(|until| until <= now);
        self.current.is_none()
            && self.n_waiting == 0
            && is_over(self.unknown_until)
            && is_over(self.refusal.map(|(_, until, _)| until))
    }
}
