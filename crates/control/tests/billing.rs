//! Money entered by hand, balances and bills through the API.

use api::ops::OrganizationPath;
use api::ops::billing::{
    BalanceView, EnterIntoLedger, EntryView, GetBalance, GetInvoice, InvoiceQuery, InvoiceView, ListEntries, NewEntry,
    NewMarkup, SetMarkup,
};
use api::ops::budgets::{
    BudgetLimit, CreateOrganizationBudget, GetOrganizationBudget, NewBudget, OrganizationBudgetPath,
};
use api::ops::ledger::LedgerInvariants;
use api::{Client, Empty, NoQuery};
use control::jobs;
use domain::budget::{Amount, Measure, Window};
use domain::entry::EntryKind;
use domain::ledger::Rule;
use domain::usage::UsageEvent;
use domain::{BudgetId, NanoUsd, Role, Scope};

use crate::usage::{book, event};
use crate::world::World;

fn org(world: &World) -> OrganizationPath {
    OrganizationPath { organization_id: world.organization() }
}

fn entry(kind: EntryKind, dollars: &str) -> NewEntry {
    NewEntry {
        kind,
        amount_usd: dollars.parse().expect("dollars"),
        workspace_id: None,
        provider: None,
        reason: "as agreed".to_owned(),
        reference: Some("INV-7".to_owned()),
        budget_id: None,
    }
}

fn correction(world: &World, dollars: &str) -> NewEntry {
    NewEntry {
        workspace_id: Some(world.workspace()),
        provider: Some("openai".to_owned()),
        ..entry(EntryKind::Adjust, dollars)
    }
}

async fn enter(world: &World, body: NewEntry) -> EntryView {
    world.as_owner().call::<EnterIntoLedger>(org(world), NoQuery {}, body).await.expect("an entry")
}

async fn balance(world: &World) -> BalanceView {
    world.as_owner().call::<GetBalance>(org(world), NoQuery {}, Empty {}).await.expect("a balance")
}

async fn invoice(world: &World, month: Option<&str>) -> InvoiceView {
    let query = InvoiceQuery { month: month.map(ToOwned::to_owned), time_zone: None };
    world.as_owner().call::<GetInvoice>(org(world), query, Empty {}).await.expect("a bill")
}

fn costing(world: &World, provider: &str, model: &str, dollars: &str) -> UsageEvent {
    UsageEvent {
        provider: Some(provider.to_owned()),
        cost: dollars.parse().expect("dollars"),
        started_at: world.now(),
        ..event(world, world.workspace(), 0, model)
    }
}

#[tokio::test]
async fn what_is_left_is_what_was_paid_less_what_was_spent_since() {
    let world = World::new().await;
    book(&world, &[costing(&world, "openai", "m", "3")]).await;
    assert_eq!(balance(&world).await.since, None, "nothing was paid beforehand");
    world.advance(7_200);
    let credit = enter(&world, entry(EntryKind::Credit, "100")).await;
    assert_eq!(
        (credit.debit.as_str(), credit.credit.as_str(), credit.reference.as_deref()),
        ("funds", "prepaid", Some("INV-7"))
    );
    book(&world, &[costing(&world, "openai", "m", "10.000000001")]).await;
    let refund = enter(&world, entry(EntryKind::Refund, "20")).await;
    assert_eq!((refund.debit.as_str(), refund.credit.as_str()), ("prepaid", "funds"));
    let less = enter(&world, correction(&world, "-0.5")).await;
    assert_eq!((less.debit.as_str(), less.amount_usd.to_string().as_str()), ("owed/openai", "0.5"));
    enter(&world, correction(&world, "0.25")).await;
    let found = balance(&world).await;
    assert_eq!(found.balance_usd.to_string(), "70.249999999");
    assert_eq!(
        (found.spent_usd.to_string().as_str(), found.adjusted_usd.to_string().as_str()),
        ("10.000000001", "-0.25")
    );
    let listed = world.as_owner().call::<ListEntries>(org(&world), api::ops::PageQuery::default(), Empty {}).await;
    assert_eq!(listed.expect("entries").items.len(), 4);
    jobs::run_due(&world.cx).await;
    let rules = world.as_owner().call::<LedgerInvariants>(org(&world), NoQuery {}, Empty {}).await.expect("rules");
    assert!(rules.rules.iter().any(|it| it.rule == Rule::EntriesBalance && it.checked_at.is_some() && it.broken == 0));
}

#[tokio::test]
async fn a_bill_has_lines_with_what_is_added_and_what_was_entered_by_hand() {
    let world = World::new().await;
    let owner = world.as_owner();
    let markup = |provider: &str, month: &str, basis_points| NewMarkup {
        provider: provider.to_owned(),
        effective_month: month.to_owned(),
        basis_points,
    };
    for body in [
        markup("openai", "2026-12", 9_999),
        markup("openai", "2026-01", 100),
        markup("openai", "2026-11", 550),
        markup("anthropic", "2025-07", -1_000),
    ] {
        owner.call::<SetMarkup>(org(&world), NoQuery {}, body).await.expect("a markup");
    }
    book(
        &world,
        &[
            costing(&world, "openai", "gpt", "1.000000001"),
            costing(&world, "openai", "gpt", "1"),
            costing(&world, "anthropic", "claude", "2"),
            costing(&world, "echo", "echo-1", "0.5"),
        ],
    )
    .await;
    enter(&world, entry(EntryKind::Credit, "50")).await;
    enter(&world, correction(&world, "-0.1")).await;
    let bill = invoice(&world, Some("2026-11")).await;
    let line = |model: &str| bill.lines.iter().find(|line| line.model == model).expect("a line");
    assert_eq!((line("gpt").requests, line("gpt").markup_usd.to_string().as_str()), (2, "0.11"));
    assert_eq!((line("claude").basis_points, line("claude").amount_usd.to_string().as_str()), (-1_000, "1.8"));
    assert_eq!(line("echo-1").markup_usd, NanoUsd::ZERO);
    assert_eq!((bill.cost_usd.to_string().as_str(), bill.markup_usd.to_string().as_str()), ("4.500000001", "-0.09"));
    assert_eq!((bill.total_usd.to_string().as_str(), bill.paid_usd.to_string().as_str()), ("4.310000001", "50"));
    assert_eq!(
        bill.lines.iter().map(|line| line.amount_usd).sum::<NanoUsd>().as_nanos() - 100_000_000,
        bill.total_usd.as_nanos()
    );
    assert_eq!((bill.is_over, bill.entries.len()), (false, 2));
    assert_eq!(invoice(&world, None).await, bill, "this month unless told");
    let before = invoice(&world, Some("2026-10")).await;
    assert!(before.is_over && before.lines.is_empty() && before.total_usd == NanoUsd::ZERO);
}

#[tokio::test]
async fn a_credit_raises_the_hard_budget_that_stops_calls_when_it_is_spent() {
    let world = World::new().await;
    let owner = world.as_owner();
    let amount = |dollars: &str| {
        Amount::new(Measure::Cost, u64::try_from(dollars.parse::<NanoUsd>().unwrap().as_nanos()).unwrap())
    };
    let body: NewBudget =
        serde_json::from_str(r#"{"name":"prepaid","measure":"cost","limits":[{"window":"total","amount":"0"}]}"#)
            .expect("a body");
    let budget = owner.call::<CreateOrganizationBudget>(org(&world), NoQuery {}, body).await.expect("a budget").id;
    let path = OrganizationBudgetPath { organization_id: world.organization(), budget_id: budget };
    let with = |kind, dollars| NewEntry { budget_id: Some(budget), ..entry(kind, dollars) };
    enter(&world, with(EntryKind::Credit, "100")).await;
    enter(&world, with(EntryKind::Refund, "30.5")).await;
    let found = owner.call::<GetOrganizationBudget>(path, NoQuery {}, Empty {}).await.expect("the budget");
    assert_eq!(found.limits, [BudgetLimit { window: Window::Total, amount: amount("69.5") }]);
    for (body, field) in [
        (with(EntryKind::Refund, "70"), "/budget_id"),
        (NewEntry { budget_id: Some(BudgetId::from_uuid(9)), ..entry(EntryKind::Credit, "1") }, "/budget_id"),
        (NewEntry { budget_id: Some(budget), ..correction(&world, "1") }, "/budget_id"),
    ] {
        let refused = owner.refused::<EnterIntoLedger>(org(&world), NoQuery {}, body).await;
        assert_eq!(refused.fields[0].pointer, field);
    }
    let soft: NewBudget = serde_json::from_str(
        r#"{"name":"soft","measure":"cost","enforcement":"soft","limits":[{"window":"total","amount":"1"}]}"#,
    )
    .expect("a body");
    let soft = owner.call::<CreateOrganizationBudget>(org(&world), NoQuery {}, soft).await.expect("a budget").id;
    let body = NewEntry { budget_id: Some(soft), ..entry(EntryKind::Credit, "1") };
    assert_eq!(owner.refused::<EnterIntoLedger>(org(&world), NoQuery {}, body).await.fields[0].pointer, "/budget_id");
    assert_eq!(balance(&world).await.balance_usd.to_string(), "69.5", "what was refused left nothing");
}

#[tokio::test]
async fn entering_money_wants_the_right_a_reason_and_happens_once() {
    let world = World::new().await;
    let owner = world.as_owner();
    for (body, field) in [
        (entry(EntryKind::Credit, "0"), "/amount_usd"),
        (entry(EntryKind::Refund, "-1"), "/amount_usd"),
        (entry(EntryKind::Credit, "1000000.000000001"), "/amount_usd"),
        (NewEntry { reason: " ".to_owned(), ..entry(EntryKind::Credit, "1") }, "/reason"),
        (entry(EntryKind::Adjust, "1"), "/workspace_id"),
        (NewEntry { provider: Some("openai".to_owned()), ..entry(EntryKind::Credit, "1") }, "/provider"),
        (NewEntry { provider: Some("nobody".to_owned()), ..correction(&world, "1") }, "/provider"),
    ] {
        let refused = owner.refused::<EnterIntoLedger>(org(&world), NoQuery {}, body).await;
        assert_eq!(refused.fields[0].pointer, field);
    }
    let (body, place) = (entry(EntryKind::Credit, "5"), org(&world));
    let client = Client::new(&owner);
    let first = client.call_once::<EnterIntoLedger>("k", &place, &NoQuery {}, &body).await.expect("an entry");
    let again = client.call_once::<EnterIntoLedger>("k", &place, &NoQuery {}, &body).await.expect("the same");
    assert_eq!((first.id, balance(&world).await.balance_usd.to_string().as_str()), (again.id, "5"));
    let scope = Scope::Organization(world.organization());
    let auditor = world.as_role(Role::Auditor, scope).await;
    let refused = auditor.refused::<EnterIntoLedger>(org(&world), NoQuery {}, entry(EntryKind::Credit, "1")).await;
    assert_eq!(refused.code.as_str(), "permission_denied");
    assert!(auditor.call::<GetBalance>(org(&world), NoQuery {}, Empty {}).await.is_ok());
    let billing = world.as_role(Role::BillingAdmin, scope).await;
    assert!(billing.call::<EnterIntoLedger>(org(&world), NoQuery {}, entry(EntryKind::Credit, "1")).await.is_ok());
}
