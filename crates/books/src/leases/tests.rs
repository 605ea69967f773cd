use domain::budget::Window;
use domain::{BudgetId, OrganizationId};
use proptest::prelude::*;

use super::*;

const NODES: u128 = 3;
const LIMIT: u64 = 1_000;

fn place() -> Place {
    let key = AccountKey {
        organization_id: OrganizationId::from_uuid(1),
        budget_id: BudgetId::from_uuid(2),
        window: Window::Total,
        group_key: "".into(),
    };
    Place { key, starts_at: Timestamp::from_micros(0) }
}

fn books() -> Books {
    let account = Account {
        ends_at: None,
        carried: 0,
        posted: 0,
        leased: 0,
        overdrawn: 0,
        wanted_until: Timestamp::from_micros(0),
        told_percent: 0,
        told_refusing: false,
        is_changed: false,
    };
    Books { accounts: [(place(), account)].into(), leases: BTreeMap::new() }
}

fn teller(node: u128, secs: i64) -> Teller<'static> {
    Teller { node_id: NodeId::from_uuid(node), boot: "b", now: Timestamp::from_micros(secs * 1_000_000) }
}

fn want(books: &mut Books, node: u128, need: u64, ahead: u64) -> Answer {
    let ask = Ask { account: place().key, need, ahead };
    let known = books.leases.values().filter(|lease| lease.is_of(teller(node, 1))).map(|lease| lease.granted).sum();
    let fresh = LeaseId::from_uuid(node * 1_000 + u128::try_from(books.leases.len()).unwrap_or(0));
    books.ask(teller(node, 1), &place(), &ask, LIMIT, |_| known, fresh)
}

fn granted(answer: &Answer) -> &Grant {
    match answer {
        Answer::Granted(grant) => grant,
        other => panic!("not granted: {other:?}"),
    }
}

#[test]
fn a_need_comes_with_an_eighth_of_the_rest_while_there_is_plenty() {
    let mut books = books();
    let first = want(&mut books, 1, 10, 1_000);
    assert_eq!((granted(&first).granted, granted(&first).is_scarce), (10 + 990 / 8, false));
    let last = want(&mut books, 2, 800, 1_000);
    assert_eq!((granted(&last).granted, granted(&last).is_scarce), (800, true));
}

#[test]
fn an_answer_that_was_lost_is_given_again_and_not_granted_twice() {
    let mut books = books();
    let ask = Ask { account: place().key, need: 10, ahead: 0 };
    let fresh = LeaseId::from_uuid(9);
    let first = books.ask(teller(1, 1), &place(), &ask, LIMIT, |_| 0, fresh);
    let again = books.ask(teller(1, 2), &place(), &ask, LIMIT, |_| 0, LeaseId::from_uuid(10));
    assert_eq!((granted(&first).granted, granted(&again).granted), (10, 10));
    assert_eq!(granted(&again).lease_id, fresh);
}

#[test]
fn what_others_do_not_use_is_asked_back_before_anybody_is_refused() {
    let mut books = books();
    let lease_id = granted(&want(&mut books, 1, 10, 900)).lease_id;
    let left = LIMIT - books.leases[&lease_id].granted;
    let unused = books.leases[&lease_id].unused;
    assert!(matches!(want(&mut books, 2, left + 1, 0), Answer::Pending(_)));
    let told = Holding { lease_id, granted: LIMIT - left, returned: 0, unused, held: 10 };
    assert!(books.standing(teller(1, 1), &told).is_recalled);
    books.hold(teller(1, 1), &Holding { returned: unused, unused: 0, ..told });
    assert_eq!(granted(&want(&mut books, 2, left + 1, 0)).granted, left + 1);
}

#[test]
fn what_calls_under_way_hold_may_come_back_and_what_was_spent_may_not() {
    let mut books = books();
    let lease_id = granted(&want(&mut books, 1, 900, 0)).lease_id;
    assert!(matches!(want(&mut books, 2, 200, 0), Answer::Pending(_)));
    // Of the same node too: another of its calls may end.
    assert!(matches!(want(&mut books, 1, 200, 0), Answer::Pending(_)));
    assert!(matches!(want(&mut books, 2, LIMIT + 1, 0), Answer::Exhausted(_)));
    let told = Holding { lease_id, granted: 900, returned: 0, unused: 0, held: 50 };
    books.hold(teller(1, 1), &told);
    assert!(matches!(want(&mut books, 2, 200, 0), Answer::Exhausted(_)), "the rest is spent and not booked yet");
    assert_eq!(granted(&want(&mut books, 2, 100, 0)).granted, 100);
}

#[test]
fn a_node_that_is_silent_has_nothing_to_give_back() {
    let mut books = books();
    want(&mut books, 1, 10, 900);
    let ask = Ask { account: place().key, need: 900, ahead: 0 };
    let answer = books.ask(teller(2, 30), &place(), &ask, LIMIT, |_| 0, LeaseId::from_uuid(7));
    assert!(matches!(answer, Answer::Exhausted(shortage) if shortage.balance.limit == LIMIT));
}

#[test]
fn what_is_taken_beyond_a_lease_is_booked_and_counted() {
    let mut books = books();
    let lease_id = granted(&want(&mut books, 1, 10, 0)).lease_id;
    books.book(&place(), Some(lease_id), 15, true);
    let account = &books.accounts[&place()];
    assert_eq!((account.posted, account.leased, account.overdrawn), (15, 0, 5));
    books.close(lease_id, Timestamp::from_micros(1));
    books.book(&place(), Some(lease_id), 1, true);
    assert_eq!((books.accounts[&place()].posted, books.accounts[&place()].overdrawn), (16, 6));
}

#[test]
fn an_account_beyond_its_limit_gives_nothing() {
    let mut books = books();
    books.book(&place(), None, LIMIT + 1, false);
    assert!(matches!(want(&mut books, 1, 0, 0), Answer::Granted(_)));
    assert!(matches!(want(&mut books, 1, 1, 0), Answer::Exhausted(_)));
}

#[derive(Debug, Clone)]
enum Step {
    Ask { node: u128, need: u64, ahead: u64 },
    Return { pick: usize, amount: u64 },
    Book { pick: usize, amount: u64 },
    Close { pick: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (1..=NODES, 0..400_u64, 0..2_000_u64).prop_map(|(node, need, ahead)| Step::Ask { node, need, ahead }),
        (any::<usize>(), 0..500_u64).prop_map(|(pick, amount)| Step::Return { pick, amount }),
        (any::<usize>(), 0..500_u64).prop_map(|(pick, amount)| Step::Book { pick, amount }),
        any::<usize>().prop_map(|pick| Step::Close { pick }),
    ];
    proptest::collection::vec(step, 1..80)
}

proptest! {
    #[test]
    fn money_is_neither_made_nor_lost(steps in steps()) {
        let mut books = books();
        for step in steps {
            let ids: Vec<LeaseId> = books.leases.keys().copied().collect();
            let of = |pick: usize| ids.get(pick % ids.len().max(1)).copied();
            match step {
                Step::Ask { node, need, ahead } => drop(want(&mut books, node, need, ahead)),
                Step::Return { pick, amount } => if let Some(lease_id) = of(pick) {
                    let lease = &books.leases[&lease_id];
                    let told = Holding {
                        lease_id, granted: lease.granted, returned: lease.returned + amount, unused: amount, held: 0,
                    };
                    let teller = Teller { node_id: lease.node_id, ..teller(1, 1) };
                    // Said twice, it counts once.
                    books.hold(teller, &told);
                    books.hold(teller, &told);
                },
                Step::Book { pick, amount } => if let Some(id) = of(pick) {
                    // A node never spends beyond its lease.
                    let amount = amount.min(books.leases[&id].outstanding());
                    books.book(&place(), Some(id), amount, true);
                },
                Step::Close { pick } => if let Some(id) = of(pick) {
                    books.close(id, Timestamp::from_micros(2));
                },
            }
            let account = &books.accounts[&place()];
            prop_assert_eq!(account.leased, books.leases.values().map(Lease::outstanding).sum::<u64>());
            prop_assert_eq!(account.posted, books.leases.values().map(|lease| lease.booked).sum::<u64>());
            prop_assert!(account.posted + account.leased <= LIMIT);
            prop_assert_eq!(account.overdrawn, 0);
        }
    }
}
