//! The book under any order of events, with two nodes, one lender, and words that get lost either way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::budget::{AccountKey, Charge, Measure, Window};
use domain::lease::{Answer, Balance, Grant, Told};
use domain::{BudgetId, LeaseId, OrganizationId, Timestamp};
use proptest::prelude::*;

use super::{ASK_AGAIN, Book, Cry, Held, IDLE, REMEMBERED, Served, Tried};
use crate::account::{Item, Refusal, Spent};
use crate::testing::{AtOnce, Ledger, TTL};

fn account(n: u16) -> AccountKey {
    AccountKey {
        organization_id: OrganizationId::from_uuid(1),
        budget_id: BudgetId::from_uuid(u128::from(n)),
        window: Window::Month,
        group_key: Arc::from(""),
    }
}

fn charge(n: u16, amount: u64) -> Charge {
    let AccountKey { budget_id, window, group_key, .. } = account(n);
    Charge { budget_id, window, group_key, lease_id: None, amount }
}

fn item(n: u16, amount: u64) -> Item {
    Item { account: account(n), measure: Measure::Cost, amount, is_soft: false, fails_open: false }
}

fn cost(cost: u64) -> Spent {
    Spent { cost, ..Spent::default() }
}

/// A node, and what its calls hold.
#[derive(Default)]
struct Node {
    book: Book,
    holds: Vec<Vec<Held>>,
    waiting: Vec<u64>,
    reports: Vec<(Vec<u32>, Vec<Charge>)>,
    n_served: usize,
}

impl Node {
    fn take(&mut self, served: Vec<Served>) {
        for Served { ticket, result } in served {
            self.waiting.retain(|known| *known != ticket);
            self.n_served += 1;
            if let Ok(held) = result {
                self.holds.push(held);
            }
        }
    }

    fn reserve(&mut self, items: Vec<Item>, now: Instant) {
        match self.book.reserve(&items, now) {
            Tried::Held(held) => self.holds.push(held),
            Tried::Refused(_) => {}
            Tried::Short => {
                let (ticket, served) = self.book.wait(items, now);
                self.waiting.push(ticket);
                self.take(served);
            }
        }
    }

    fn settle(&mut self, at: usize, spent: Spent, now: Instant) -> Option<Vec<Charge>> {
        if self.holds.is_empty() {
            return None;
        }
        let held = self.holds.swap_remove(at % self.holds.len());
        let (settling, served) = self.book.settle(&held, &|_| spent, now);
        self.take(served);
        self.reports.push((settling.open, settling.charges.clone()));
        Some(settling.charges)
    }

    fn say(&mut self, ledger: &mut Ledger, node: usize, now: Instant, fate: Fate) {
        let Some(word) = self.book.next_word(now, &AtOnce) else { return };
        let reply = (fate != Fate::Unsaid).then(|| ledger.answer(node, &word));
        match reply.filter(|_| fate == Fate::Heard) {
            Some(reply) => {
                let served = self.book.apply(&word, reply, now, now);
                self.take(served);
            }
            None => drop(self.book.unanswered(now)),
        }
    }

    /// Writes down what was charged.
    fn report(&mut self, ledger: &mut Ledger) {
        for (open, charges) in self.reports.drain(..) {
            ledger.book(&charges);
            self.book.reported(&open, true);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Heard,
    Unsaid,
    Unheard,
}

#[derive(Debug, Clone)]
enum Step {
    Reserve(usize, u64, Option<u64>),
    Settle(usize, usize, u64),
    Release(usize, usize),
    Raise(usize, usize, u64),
    Cancel(usize, usize),
    GiveUp(usize, usize),
    Say(usize, Fate),
    Report(usize),
    /// A cry of another, or of nobody.
    Hear(usize, Cry),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let node = 0..2_usize;
    let fate = prop_oneof![6 => Just(Fate::Heard), 1 => Just(Fate::Unsaid), 1 => Just(Fate::Unheard)];
    let step = prop_oneof![
        4 => (node.clone(), 0..40_u64, proptest::option::of(0..20_u64)).prop_map(|(n, a, b)| Step::Reserve(n, a, b)),
        3 => (node.clone(), any::<usize>(), 0..40_u64).prop_map(|(n, at, a)| Step::Settle(n, at, a)),
        1 => (node.clone(), any::<usize>()).prop_map(|(n, at)| Step::Release(n, at)),
        1 => (node.clone(), any::<usize>(), 0..60_u64).prop_map(|(n, at, a)| Step::Raise(n, at, a)),
        1 => (node.clone(), any::<usize>()).prop_map(|(n, at)| Step::Cancel(n, at)),
        1 => (node.clone(), any::<usize>()).prop_map(|(n, at)| Step::GiveUp(n, at)),
        6 => (node.clone(), fate).prop_map(|(n, fate)| Step::Say(n, fate)),
        2 => node.clone().prop_map(Step::Report),
        2 => (node, any::<bool>()).prop_map(|(n, wanted)| Step::Hear(n, if wanted { Cry::Wanted } else { Cry::Returned })),
        2 => prop_oneof![0..300_u64, 2_000..5_000_u64, 59_000..62_000_u64].prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 1..120)
}

/// What the ledger has booked and lent is never more than the limit, whatever calls have spent is covered by a lease, and a node
/// never has more than it was given.
fn check(nodes: &[Node; 2], ledger: &Ledger, limits: [u64; 2]) -> Result<(), TestCaseError> {
    for (n, limit) in [0_u16, 1].into_iter().zip(limits) {
        let (posted, lent) = ledger.stands(&account(n));
        prop_assert!(posted + lent <= limit, "{posted} booked and {lent} lent of {limit}");
    }
    for node in nodes {
        prop_assert_eq!(node.book.check(), Ok(()));
        for lease in node.book.leases.iter() {
            prop_assert_eq!(lease.overdrawn, 0);
            let here = lease.unused + lease.held + lease.spent;
            prop_assert!(here <= ledger.granted(lease.id), "{here} of {}", ledger.granted(lease.id));
            let held = node.holds.iter().flatten().filter_map(Held::as_leased);
            let of_calls: u64 =
                held.filter(|(slot, ..)| node.book.leases.find(lease.id) == Some(*slot)).map(|held| held.2).sum();
            prop_assert_eq!(lease.held, of_calls);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn money_is_neither_made_nor_lost_in_any_order_of_events(steps in steps(), limits in [0..200_u64, 0..200_u64]) {
        let mut ledger = Ledger::default();
        ledger.set(account(0), limits[0]);
        ledger.set(account(1), limits[1]);
        let mut nodes = [Node::default(), Node::default()];
        let mut now = Instant::now();
        for step in steps {
            match step {
                Step::Reserve(n, a, b) => {
                    let items = [Some(item(0, a)), b.map(|b| item(1, b))].into_iter().flatten().collect();
                    nodes[n].reserve(items, now);
                }
                Step::Settle(n, at, amount) => {
                    let node = &mut nodes[n];
                    if !node.holds.is_empty() {
                        let at = at % node.holds.len();
                        // No call costs more than its bound here.
                        let bound = node.holds[at].iter().filter_map(Held::as_leased).map(|held| held.2).min().unwrap_or(0);
                        node.settle(at, cost(amount.min(bound)), now);
                    }
                }
                Step::Release(n, at) => {
                    let node = &mut nodes[n];
                    if !node.holds.is_empty() {
                        let held = node.holds.swap_remove(at % node.holds.len());
                        let served = node.book.release(held, now);
                        node.take(served);
                    }
                }
                Step::Raise(n, at, bound) => {
                    let node = &mut nodes[n];
                    if !node.holds.is_empty() {
                        let at = at % node.holds.len();
                        let lacks = node.book.lacks(&node.holds[at], cost(bound));
                        if let Tried::Held(mut more) = node.book.reserve(&lacks, now) {
                            node.holds[at].append(&mut more);
                            prop_assert!(node.book.lacks(&node.holds[at], cost(bound)).is_empty());
                        }
                    }
                }
                Step::Cancel(n, at) if !nodes[n].waiting.is_empty() => {
                    let at = at % nodes[n].waiting.len();
                    let ticket = nodes[n].waiting.swap_remove(at);
                    let served = nodes[n].book.cancel(ticket, now);
                    nodes[n].take(served);
                }
                Step::GiveUp(n, at) if !nodes[n].waiting.is_empty() => {
                    let at = at % nodes[n].waiting.len();
                    let ticket = nodes[n].waiting.swap_remove(at);
                    let (result, served) = nodes[n].book.give_up(ticket, now).expect("it waits");
                    prop_assert!(result.is_err());
                    nodes[n].take(served);
                }
                Step::Cancel(..) | Step::GiveUp(..) => {}
                Step::Say(n, fate) => nodes[n].say(&mut ledger, n, now, fate),
                Step::Report(n) => nodes[n].report(&mut ledger),
                Step::Hear(n, cry) => _ = nodes[n].book.hear(cry, now),
                Step::Pass(ms) => now += Duration::from_millis(ms),
            }
            check(&nodes, &ledger, limits)?;
        }
        // Everything ends: all that was not spent is free again.
        for (n, node) in nodes.iter_mut().enumerate() {
            for ticket in std::mem::take(&mut node.waiting) {
                let served = node.book.cancel(ticket, now);
                node.take(served);
            }
            for held in std::mem::take(&mut node.holds) {
                let served = node.book.release(held, now);
                node.take(served);
            }
            node.report(&mut ledger);
            for _ in 0..4 {
                now += IDLE + TTL;
                node.say(&mut ledger, n, now, Fate::Heard);
            }
            prop_assert!(node.book.leases.is_empty());
            prop_assert!(node.book.next_word(now, &AtOnce).is_none());
        }
        for n in [0, 1] {
            prop_assert_eq!(ledger.stands(&account(n)).1, 0);
        }
    }
}

fn started(limit: u64) -> (Node, Ledger, Instant) {
    let mut ledger = Ledger::default();
    ledger.set(account(0), limit);
    (Node::default(), ledger, Instant::now())
}

#[test]
fn calls_that_wait_are_served_in_the_order_of_arrival_until_nothing_is_left() {
    let (mut node, mut ledger, now) = started(10);
    for _ in 0..5 {
        node.reserve(vec![item(0, 4)], now);
    }
    for _ in 0..5 {
        node.say(&mut ledger, 0, now, Fate::Heard);
    }
    // What calls under way hold may come back, so the others are not refused yet.
    assert_eq!((node.holds.len(), node.n_served, node.waiting.len()), (2, 2, 3));
    node.settle(0, cost(2), now);
    node.say(&mut ledger, 0, now + ASK_AGAIN, Fate::Heard);
    assert_eq!((node.holds.len(), node.n_served, node.waiting.len()), (2, 3, 2));
    node.settle(0, cost(4), now);
    node.settle(0, cost(4), now);
    node.say(&mut ledger, 0, now + 2 * ASK_AGAIN, Fate::Heard);
    assert_eq!((node.holds.len(), node.n_served, node.waiting.len()), (0, 5, 0));
}

#[test]
fn a_storm_of_refused_calls_asks_once() {
    let (mut node, mut ledger, now) = started(3);
    node.reserve(vec![item(0, 4)], now);
    node.say(&mut ledger, 0, now, Fate::Heard);
    assert_eq!(ledger.n_words(), 1);
    for _ in 0..1_000 {
        assert!(matches!(node.book.reserve(&[item(0, 4)], now), Tried::Refused(_)));
    }
    assert!(node.book.next_word(now, &AtOnce).is_none());
    // It is forgotten soon: the limit may have been raised.
    assert!(matches!(node.book.reserve(&[item(0, 4)], now + REMEMBERED), Tried::Short));
}

#[test]
fn the_tightest_account_is_named() {
    let (mut node, mut ledger, now) = started(100);
    ledger.set(account(1), 1_000);
    ledger.book(&[charge(0, 90), charge(1, 999)]);
    let (ticket, _) = node.book.wait(vec![item(0, 20), item(1, 20)], now);
    let word = node.book.next_word(now, &AtOnce).expect("asks");
    let served = node.book.apply(&word, ledger.answer(0, &word), now, now);
    assert_eq!(served[0].ticket, ticket);
    let refused = served[0].result.as_ref().expect_err("refused");
    assert_eq!((&refused.account, refused.wanted), (&account(1), 20));
    assert!(matches!(refused.refusal, Refusal::Exhausted(known) if known.balance.free() == 1));
}

#[test]
fn a_lease_that_has_expired_admits_nothing_and_keeps_what_is_held() {
    let (mut node, mut ledger, now) = started(100);
    node.reserve(vec![item(0, 10)], now);
    node.say(&mut ledger, 0, now, Fate::Heard);
    assert_eq!(node.holds.len(), 1);
    let later = now + TTL;
    assert!(matches!(node.book.reserve(&[item(0, 1)], later), Tried::Short));
    let charges = node.settle(0, cost(7), later).expect("a hold");
    assert_eq!(charges.iter().map(|charge| charge.amount).collect::<Vec<_>>(), [7]);
    assert!(charges[0].lease_id.is_some());
}

#[test]
fn a_call_that_cost_more_than_its_bound_is_charged_in_full() {
    let (mut node, mut ledger, now) = started(100);
    node.reserve(vec![item(0, 10)], now);
    node.say(&mut ledger, 0, now, Fate::Heard);
    let charges = node.settle(0, cost(1_000), now).expect("a hold");
    assert_eq!(charges[0].amount, 1_000);
    assert_eq!(node.book.check(), Ok(()));
}

#[test]
fn leases_whose_charges_were_lost_are_never_done() {
    let (mut node, mut ledger, now) = started(100);
    node.reserve(vec![item(0, 10)], now);
    node.say(&mut ledger, 0, now, Fate::Heard);
    node.settle(0, cost(10), now);
    for (open, _) in std::mem::take(&mut node.reports) {
        node.book.reported(&open, false);
    }
    let mut later = now;
    for _ in 0..5 {
        later += Duration::from_secs(10);
        if let Some(word) = node.book.next_word(later, &AtOnce) {
            assert!(word.done.is_empty());
            node.book.apply(&word, ledger.answer(0, &word), later, later);
        }
    }
    assert!(!node.book.leases.is_empty());
}

#[test]
fn a_budget_that_is_not_known_holds_nobody_back_and_a_soft_one_never_does() {
    let (mut node, mut ledger, now) = started(100);
    let soft = Item { is_soft: true, ..item(3, 1_000) };
    node.reserve(vec![item(7, 5), soft], now);
    node.say(&mut ledger, 0, now, Fate::Heard);
    let charges = node.settle(0, cost(9), now).expect("a hold");
    assert_eq!(charges, [charge(3, 9)]);
}

#[test]
fn money_is_asked_for_before_it_runs_out() {
    let (mut node, mut ledger, now) = started(1_000_000);
    let mut later = now;
    let mut n_waits = 0;
    for _ in 0..1_000 {
        later += Duration::from_millis(10);
        node.reserve(vec![item(0, 10)], later);
        n_waits += node.waiting.len();
        node.say(&mut ledger, 0, later, Fate::Heard);
        node.settle(0, cost(10), later);
        node.report(&mut ledger);
    }
    assert!(n_waits <= 2, "{n_waits}");
    assert_eq!(ledger.stands(&account(0)).0, 10_000);
}

#[test]
fn a_grant_is_good_from_the_moment_it_was_asked_for() {
    let (mut node, _, now) = started(0);
    node.reserve(vec![item(0, 1)], now);
    let word = node.book.next_word(now, &AtOnce).expect("asks");
    let grant = Grant {
        lease_id: LeaseId::from_uuid(9),
        granted: 5,
        ttl: Duration::from_secs(1),
        window_start: Timestamp::from_micros(0),
        window_end: None,
        is_scarce: false,
        balance: Balance::default(),
    };
    let late = now + Duration::from_secs(2);
    let reply = Told { answers: vec![Answer::Granted(grant)], standings: Vec::new() };
    assert!(node.book.apply(&word, reply, now, late).is_empty());
    assert!(matches!(node.book.reserve(&[item(0, 1)], late), Tried::Short));
}
