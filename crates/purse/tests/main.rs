//! The purse as calls and nodes use it: many at once, given up at any moment, with a lender that goes away. Time is the test's.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use domain::budget::{AccountKey, Measure, Window};
use domain::{BudgetId, OrganizationId};
use purse::book::{IDLE, PATIENCE};
use purse::testing::{AtOnce, Lender};
use purse::{Cry, Delivered, Hold, Item, Purse, Refusal, Refused, Spent};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

fn account(n: u16) -> AccountKey {
    AccountKey {
        organization_id: OrganizationId::from_uuid(1),
        budget_id: BudgetId::from_uuid(u128::from(n)),
        window: Window::Month,
        group_key: Arc::from(""),
    }
}

fn item(n: u16, amount: u64) -> Item {
    Item { account: account(n), measure: Measure::Cost, amount, is_soft: false, fails_open: false }
}

fn cost(cost: u64) -> Spent {
    Spent { cost, ..Spent::default() }
}

/// A node of a lender, with its driver under way.
fn node(lender: &Lender, n: usize, drivers: &mut JoinSet<()>) -> Purse {
    let purse = Purse::default();
    let (running, end) = (purse.clone(), lender.end(n));
    drivers.spawn(async move { running.run(Arc::new(end), Arc::new(AtOnce)).await });
    purse
}

fn settle(lender: &Lender, hold: Hold, spent: u64) {
    let mut settled = hold.settle(&|_| cost(spent));
    lender.with(|ledger| ledger.book(&settled.take_charges()));
}

/// Waits until everything that was not spent is back.
async fn all_is_back(lender: &Lender, accounts: &[AccountKey]) {
    let until = Instant::now() + 20 * IDLE;
    while accounts.iter().any(|account| lender.with(|ledger| ledger.stands(account)).1 > 0) {
        assert!(Instant::now() < until, "money is still lent");
        sleep(Duration::from_millis(100)).await;
    }
}

async fn call(purse: &Purse, lender: &Lender, items: Vec<Item>) -> Result<(), Box<Refused>> {
    let amount = items[0].amount;
    let hold = purse.reserve(items).await?;
    sleep(Duration::from_millis(20)).await;
    settle(lender, hold, amount);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn of_two_hundred_clients_at_four_nodes_exactly_as_many_succeed_as_there_is_money_for() {
    for calls in [0, 1, 7, 150, 800] {
        let (lender, mut drivers, mut clients) = (Lender::default(), JoinSet::new(), JoinSet::new());
        lender.with(|ledger| ledger.set(account(0), calls * 10 + 9));
        let nodes: Vec<Purse> = (0..4).map(|n| node(&lender, n, &mut drivers)).collect();
        for client in 0..200 {
            let (purse, lender) = (nodes[client % 4].clone(), lender.clone());
            clients.spawn(async move {
                let mut n_served = 0;
                for _ in 0..5 {
                    n_served += u64::from(call(&purse, &lender, vec![item(0, 10)]).await.is_ok());
                }
                n_served
            });
        }
        let n_served: u64 = clients.join_all().await.into_iter().sum();
        assert_eq!(n_served, calls.min(1_000), "money for {calls}");
        all_is_back(&lender, &[account(0)]).await;
        assert_eq!(lender.with(|ledger| ledger.stands(&account(0))), (calls * 10, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn money_that_one_node_does_not_need_comes_to_the_one_that_does() {
    let (lender, mut drivers) = (Lender::default(), JoinSet::new());
    lender.with(|ledger| ledger.set(account(0), 100));
    let (rich, poor) = (node(&lender, 0, &mut drivers), node(&lender, 1, &mut drivers));
    drop(rich.reserve(vec![item(0, 100)]).await.expect("all of it"));
    let asked_at = Instant::now();
    let hold = poor.reserve(vec![item(0, 60)]).await.expect("what the other gives back");
    assert!(asked_at.elapsed() < PATIENCE);
    settle(&lender, hold, 60);
}

/// How long a node waits for money that another has and does not need.
async fn wait_for_the_other_s(is_told: bool) -> Duration {
    let (lender, mut drivers) = (Lender::default(), JoinSet::new());
    lender.with(|ledger| ledger.set(account(0), 100_000));
    let (rich, poor) = (Purse::default(), Purse::default());
    if is_told {
        let (to_rich, to_poor) = (rich.clone(), poor.clone());
        rich.tell_others(move |cry| to_poor.hear(cry));
        poor.tell_others(move |cry| to_rich.hear(cry));
    }
    for (n, purse) in [&rich, &poor].into_iter().enumerate() {
        let (running, end) = (purse.clone(), lender.end(n));
        drivers.spawn(async move { running.run(Arc::new(end), Arc::new(AtOnce)).await });
    }
    // Plenty is left, so the node keeps it for calls to come.
    drop(rich.reserve(vec![item(0, 5_000)]).await.expect("lent"));
    sleep(Duration::from_millis(100)).await;
    let asked_at = Instant::now();
    let hold = poor.reserve(vec![item(0, 98_000)]).await.expect("what the other gives back");
    let waited = asked_at.elapsed();
    settle(&lender, hold, 98_000);
    all_is_back(&lender, &[account(0)]).await;
    assert_eq!(lender.with(|ledger| ledger.stands(&account(0))), (98_000, 0));
    waited
}

#[tokio::test(start_paused = true)]
async fn nodes_that_tell_each_other_need_not_wait_for_the_next_word_of_the_one_that_has_it() {
    let (by_itself, told) = (wait_for_the_other_s(false).await, wait_for_the_other_s(true).await);
    assert!(by_itself > Duration::from_millis(250) && told < Duration::from_millis(50), "{by_itself:?} {told:?}");
}

#[tokio::test(start_paused = true)]
async fn cries_that_nobody_meant_cost_some_words_and_no_money() {
    let (lender, mut drivers) = (Lender::default(), JoinSet::new());
    lender.with(|ledger| ledger.set(account(0), 100_000));
    let purse = node(&lender, 0, &mut drivers);
    drop(purse.reserve(vec![item(0, 5_000)]).await.expect("lent"));
    let before = lender.with(|ledger| ledger.n_words());
    for _ in 0..1_000 {
        purse.hear(Cry::Wanted);
        purse.hear(Cry::Returned);
        sleep(Duration::from_millis(1)).await;
    }
    let words = lender.with(|ledger| ledger.n_words()) - before;
    assert!(words <= 60, "{words} words in a second");
    drop(purse.try_reserve(&[item(0, 5_000)]).expect("it is still here").expect("held"));
}

#[tokio::test(start_paused = true)]
async fn a_call_given_up_at_any_moment_leaves_nothing_behind() {
    for polls in 0..12 {
        for step_ms in [0, 1, 300] {
            let (lender, mut drivers) = (Lender::default(), JoinSet::new());
            lender.with(|ledger| {
                ledger.set(account(0), 15);
                ledger.set(account(1), 10);
            });
            let purse = node(&lender, 0, &mut drivers);
            {
                let items = vec![item(0, 10), item(1, 10)];
                let (mut given_up, mut stays) =
                    (pin!(purse.reserve(items.clone())), pin!(call(&purse, &lender, items)));
                let mut context = Context::from_waker(Waker::noop());
                let mut kept = None;
                for _ in 0..polls {
                    if let Poll::Ready(given) = given_up.as_mut().poll(&mut context) {
                        kept = Some(given);
                        break;
                    }
                    assert!(stays.as_mut().poll(&mut context).is_pending());
                    sleep(Duration::from_millis(step_ms)).await;
                }
                drop(kept);
            }
            all_is_back(&lender, &[account(0), account(1)]).await;
            // What the one left is there for the next.
            call(&purse, &lender, vec![item(0, 10), item(1, 10)]).await.expect("money is there");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_served_when_another_call_of_the_node_ends() {
    let (lender, mut drivers) = (Lender::default(), JoinSet::new());
    lender.with(|ledger| ledger.set(account(0), 10));
    let (purse, other) = (node(&lender, 0, &mut drivers), node(&lender, 1, &mut drivers));
    let first = purse.reserve(vec![item(0, 8)]).await.expect("held");
    drop(other.reserve(vec![item(0, 2)]).await.expect("held"));
    // The rest is with the other node, so this one waits for it.
    let waiting = purse.reserve(vec![item(0, 9)]);
    let ends = async {
        sleep(Duration::from_millis(500)).await;
        settle(&lender, first, 1);
    };
    let (given, ()) = tokio::join!(waiting, ends);
    assert!(given.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_hold_is_raised_before_a_further_attempt_or_stays_as_it_was() {
    let (lender, mut drivers) = (Lender::default(), JoinSet::new());
    lender.with(|ledger| ledger.set(account(0), 25));
    let purse = node(&lender, 0, &mut drivers);
    let mut hold = purse.reserve(vec![item(0, 10)]).await.expect("held");
    hold.raise(cost(20)).await.expect("raised");
    assert_eq!(hold.charges().iter().map(|charge| charge.amount).sum::<u64>(), 20);
    let refused = hold.raise(cost(60)).await.expect_err("not so much");
    assert!(matches!(refused.refusal, Refusal::Exhausted(_)));
    assert!(!hold.try_raise(cost(30)));
    assert_eq!(hold.charges().iter().map(|charge| charge.amount).sum::<u64>(), 20);
    settle(&lender, hold, 17);
    all_is_back(&lender, &[account(0)]).await;
    assert_eq!(lender.with(|ledger| ledger.stands(&account(0))), (17, 0));
}

#[tokio::test(start_paused = true)]
async fn without_its_lender_a_node_spends_what_it_has_and_then_refuses_or_not_as_the_budget_says() {
    let (lender, mut drivers) = (Lender::default(), JoinSet::new());
    lender.with(|ledger| ledger.set(account(0), 1_000_000));
    let purse = node(&lender, 0, &mut drivers);
    drop(purse.reserve(vec![item(0, 10)]).await.expect("held"));
    lender.set_away(true);
    settle(&lender, purse.reserve(vec![item(0, 10)]).await.expect("what it has"), 10);
    let asked_at = Instant::now();
    let refused = purse.reserve(vec![item(0, 1_000)]).await.expect_err("nobody to ask");
    assert_eq!((refused.refusal, asked_at.elapsed()), (Refusal::Unreachable, PATIENCE));
    // Known by now: nobody waits any more.
    let asked_at = Instant::now();
    assert_eq!(purse.reserve(vec![item(0, 1_000)]).await.expect_err("nobody").refusal, Refusal::Unreachable);
    let open = Item { fails_open: true, ..item(0, 1_000) };
    let mut settled = purse.reserve(vec![open]).await.expect("goes on").settle(&|_| cost(5));
    assert_eq!(
        settled.take_charges().iter().map(|charge| (charge.lease_id, charge.amount)).collect::<Vec<_>>(),
        [(None, 5)]
    );
    assert!(asked_at.elapsed() < Duration::from_millis(1));
    // It is back, and found to be.
    lender.set_away(false);
    sleep(Duration::from_secs(1)).await;
    drop(purse.reserve(vec![item(0, 1_000)]).await.expect("lent again"));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_gives_everything_back() {
    let (lender, mut drivers) = (Lender::default(), JoinSet::new());
    lender.with(|ledger| ledger.set(account(0), 1_000));
    let purse = node(&lender, 0, &mut drivers);
    let hold = purse.reserve(vec![item(0, 10)]).await.expect("held");
    purse.drain();
    sleep(Duration::from_secs(1)).await;
    settle(&lender, hold, 4);
    drivers.join_next().await.expect("one").expect("ends by itself");
    assert_eq!(lender.with(|ledger| ledger.stands(&account(0))), (4, 0));
}

/// A node that lived before, whose usage of then is delivered after a while.
struct Former(Instant);

impl Delivered for Former {
    fn boot(&self) -> String {
        "now".to_owned()
    }

    fn delivered_boots(&self) -> Vec<String> {
        if Instant::now() < self.0 { Vec::new() } else { vec!["then".to_owned()] }
    }

    fn written(&self) -> Option<u64> {
        Some(0)
    }

    fn acknowledged(&self) -> u64 {
        0
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_nobody_calls_says_once_that_its_former_life_is_delivered() {
    let lender = Lender::default();
    let (purse, source) = (Purse::default(), Arc::new(lender.clone()));
    let delivered_at = Instant::now() + Duration::from_secs(30);
    let mut drivers = JoinSet::new();
    drivers.spawn(async move { purse.run(source, Arc::new(Former(delivered_at))).await });
    sleep(Duration::from_secs(29)).await;
    assert_eq!(lender.with(|ledger| ledger.n_words()), 0);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(lender.with(|ledger| ledger.n_words()), 1);
}
