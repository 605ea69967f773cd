//! Money of budgets over the real link: asked for, spent, given back, and lent on, between nodes of one control plane.

use std::sync::Arc;

use domain::budget::{AccountKey, Budget, Enforcement, Limit, Measure, Subject, WhenUnreachable, Window};
use domain::id::IdMint as _;
use domain::lease::{Answer, Ask, Grant, Holding, Tell, Told};
use domain::{BudgetId, DisplayName, OrganizationId};
use link::leases::Leases;
use purse::source::LeaseSource as _;
use purse::testing::AtOnce;
use purse::{Item, Purse, Refusal, Spent};

use super::bed::{Bed, TestNode, until};

const AMOUNT: u64 = 1_000;

/// A hard budget over everything, with `AMOUNT` in each month.
async fn budget(bed: &Bed) -> AccountKey {
    let it = Budget {
        id: BudgetId::from_uuid(bed.cx.mint.next_uuid()),
        organization_id: bed.organization(),
        workspace_id: None,
        name: DisplayName::parse("Research").expect("a name"),
        description: None,
        is_enabled: true,
        subject: Subject::default(),
        group_by: Vec::new(),
        measure: Measure::Tokens,
        limits: vec![Limit { window: Window::Month, amount: AMOUNT }],
        time_zone: "UTC".to_owned(),
        enforcement: Enforcement::Hard,
        when_unreachable: WhenUnreachable::Refuse,
        alert_at: Vec::new(),
        increase: None,
        carries_over: false,
        version: 1,
        created_at: bed.cx.now(),
        updated_at: bed.cx.now(),
        archived_at: None,
    };
    bed.write(async |tx, permit| store::budgets::insert(tx, permit, &it).await).await;
    AccountKey {
        organization_id: it.organization_id,
        budget_id: it.id,
        window: Window::Month,
        group_key: Arc::from(""),
    }
}

fn ask(account: &AccountKey, need: u64) -> Vec<Ask> {
    vec![Ask { account: account.clone(), need, ahead: 0 }]
}

fn word(sequence: u64) -> Tell {
    Tell { boot: "b1".to_owned(), sequence, ..Tell::default() }
}

async fn say(link: &Leases, word: Tell) -> Told {
    link.tell(word).await.expect("an answer")
}

fn granted(told: &Told) -> &Grant {
    match &told.answers[..] {
        [Answer::Granted(grant)] => grant,
        other => panic!("not granted: {other:?}"),
    }
}

fn item(account: &AccountKey, amount: u64) -> Item {
    Item { account: account.clone(), measure: Measure::Tokens, amount, is_soft: false, fails_open: false }
}

/// A node's purse, spoken for as a node does.
async fn purse(bed: &Bed) -> (TestNode, Purse) {
    let node = bed.join(bed.tcp()).await;
    let purse = Purse::default();
    let (running, source) = (purse.clone(), Arc::new(node.link.leases()));
    runtime::tasks::spawn("test.purse", async move { running.run(source, Arc::new(AtOnce)).await });
    (node, purse)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_word_gives_back_and_ends_is_there_for_what_it_asks() {
    let bed = Bed::new().await;
    let account = budget(&bed).await;
    let node = bed.join(bed.tcp()).await;
    let link = node.link.leases();
    let first = say(&link, Tell { asks: ask(&account, AMOUNT), ..word(1) }).await;
    let lease_id = granted(&first).lease_id;
    assert_eq!((granted(&first).granted, granted(&first).balance.limit), (AMOUNT, AMOUNT));

    // What is done is done before anything is asked, so that all of it can be lent anew.
    let again = say(&link, Tell { done: vec![lease_id], asks: ask(&account, AMOUNT), ..word(2) }).await;
    let next = granted(&again).lease_id;
    assert!(next != lease_id && granted(&again).granted == AMOUNT);

    // What is given back likewise.
    let holding = Holding { lease_id: next, granted: AMOUNT, returned: 400, unused: 0, held: 600 };
    let more = say(&link, Tell { holdings: vec![holding], asks: ask(&account, 400), ..word(3) }).await;
    assert_eq!((granted(&more).lease_id, granted(&more).granted), (next, AMOUNT + 400));
    assert!(more.standings[0].is_open);

    // A word that comes late is not heard.
    assert!(link.tell(Tell { asks: ask(&account, 1), ..word(2) }).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_goes_from_node_to_node_until_it_is_spent() {
    let bed = Bed::new().await;
    let account = budget(&bed).await;
    let ((_here, first), (_there, second)) = (purse(&bed).await, purse(&bed).await);
    let held = first.reserve(vec![item(&account, AMOUNT - 100)]).await.expect("held");
    let refused = second.reserve(vec![item(&account, AMOUNT + 1)]).await.expect_err("more than there is");
    assert!(matches!(refused.refusal, Refusal::Exhausted(known) if known.balance.limit == AMOUNT));
    // It waits for what the first node's call leaves over.
    let waiting = {
        let (second, account) = (second.clone(), account.clone());
        runtime::tasks::spawn("test.call", async move { second.reserve(vec![item(&account, 300)]).await })
    };
    until("the second node has asked", async || second.left(&account).filter(|(known, _)| known.balance.leased > 0))
        .await;
    let charges = held.settle(&|_| Spent { tokens: 700, ..Spent::default() }).take_charges();
    assert_eq!(charges.iter().map(|charge| charge.amount).collect::<Vec<_>>(), [700]);
    let given = waiting.await.expect("a task").expect("the rest is there");
    drop(given);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_gets_money_of_organizations_of_its_group_only() {
    let bed = Bed::new().await;
    let account = budget(&bed).await;
    let node = bed.join(bed.tcp()).await;
    let strange = AccountKey { organization_id: OrganizationId::from_uuid(42), ..account };
    let told = node.link.leases().tell(Tell { asks: ask(&strange, 1), ..word(1) }).await;
    // The usual group holds every organization; of one that is not there nothing is lent.
    assert_eq!(told.expect("an answer").answers, [Answer::Unknown]);
}
