//! Budgets through the API: made, changed, refused, archived, written down; whose they are; how their accounts stand.

use api::field::Field;
use api::ops::audit::{AuditQuery, ListAuditEntries};
use api::ops::budgets::{
    AccountQuery, ArchiveBudget, BudgetChange, BudgetIncrease, BudgetLimit, BudgetPath, BudgetView, CreateBudget,
    CreateOrganizationBudget, GetBudget, GetOrganizationBudget, ListBudgetAccounts, ListBudgets,
    ListOrganizationBudgetAccounts, ListOrganizationBudgets, NewBudget, OrganizationBudgetPath, UpdateBudget,
    UpdateOrganizationBudget,
};
use api::ops::workspaces::{CreateWorkspace, NewWorkspace};
use api::ops::{OrganizationPath, PageQuery, WorkspacePath};
use api::{Empty, NoQuery};
use domain::budget::{AccountKey, Amount, Charge, Dimension, Enforcement, Measure, Subject, WhenUnreachable, Window};
use domain::id::IdMint as _;
use domain::lease::{Ask, Tell};
use domain::{LeaseId, NodeId, Role, Scope, VirtualKeyId, WorkspaceId};

use crate::usage::{book, event};
use crate::world::World;

fn org(world: &World) -> OrganizationPath {
    OrganizationPath { organization_id: world.organization() }
}

fn ws(world: &World) -> WorkspacePath {
    WorkspacePath { workspace_id: world.workspace() }
}

fn path(world: &World, budget: &BudgetView) -> BudgetPath {
    BudgetPath { workspace_id: world.workspace(), budget_id: budget.id }
}

fn usd(text: &str) -> Amount {
    Amount::Money(text.parse().expect("dollars"))
}

fn of_money(name: &str, amount: &str) -> NewBudget {
    NewBudget {
        name: name.parse().expect("a name"),
        description: None,
        is_enabled: None,
        subject: Subject::default(),
        group_by: Vec::new(),
        measure: Measure::Cost,
        limits: vec![BudgetLimit { window: Window::Month, amount: usd(amount) }],
        time_zone: None,
        enforcement: None,
        when_unreachable: None,
        alert_at: Vec::new(),
        increase: None,
        carries_over: false,
    }
}

async fn beside(world: &World) -> WorkspaceId {
    let body = NewWorkspace { slug: "beside".parse().expect("a slug"), name: "Beside".parse().expect("a name") };
    world.as_owner().call::<CreateWorkspace>(org(world), NoQuery {}, body).await.expect("a workspace").id
}

#[tokio::test]
async fn a_budget_lives_from_its_defaults_to_its_archive_and_every_step_is_written_down() {
    let world = World::new().await;
    let owner = world.as_owner();
    let made = owner.call::<CreateBudget>(ws(&world), NoQuery {}, of_money("Team", "12.50")).await.expect("a budget");
    assert_eq!((made.workspace_id, made.version, made.is_enabled), (Some(world.workspace()), 1, true));
    assert_eq!((made.enforcement, made.when_unreachable), (Enforcement::Hard, WhenUnreachable::Refuse));
    assert_eq!((made.time_zone.as_str(), made.limits[0].amount), ("UTC", usd("12.50")));
    assert_eq!(owner.call::<GetBudget>(path(&world, &made), NoQuery {}, Empty {}).await.expect("the budget"), made);
    let taken = owner.refused::<CreateBudget>(ws(&world), NoQuery {}, of_money("Team", "1")).await;
    assert_eq!((taken.status, taken.fields[0].pointer.as_str()), (409, "/name"));
    owner
        .call::<CreateOrganizationBudget>(org(&world), NoQuery {}, of_money("Team", "1"))
        .await
        .expect("another place");

    let unseen = owner.refused::<UpdateBudget>(path(&world, &made), NoQuery {}, BudgetChange::default()).await;
    assert_eq!(unseen.code.as_str(), "version_required");
    let increase = BudgetIncrease {
        amount: usd("5"),
        expires_at: world.now().plus(std::time::Duration::from_secs(3_600)),
        reason: "launch week".to_owned(),
    };
    let change = BudgetChange {
        version: Some(1),
        description: Field::Value("What the team tries out".to_owned()),
        limits: Some(vec![
            BudgetLimit { window: Window::Day, amount: usd("1") },
            BudgetLimit { window: Window::Month, amount: usd("20") },
        ]),
        enforcement: Some(Enforcement::Soft),
        increase: Field::Value(increase.clone()),
        ..BudgetChange::default()
    };
    let changed =
        owner.call::<UpdateBudget>(path(&world, &made), NoQuery {}, change.clone()).await.expect("a changed budget");
    assert_eq!((changed.version, changed.limits.len(), changed.increase.as_ref()), (2, 2, Some(&increase)));
    let stale = owner.refused::<UpdateBudget>(path(&world, &made), NoQuery {}, change).await;
    assert_eq!((stale.status, stale.code.as_str()), (412, "version_mismatch"));
    let back = BudgetChange { version: Some(2), increase: Field::Null, ..BudgetChange::default() };
    let changed = owner.call::<UpdateBudget>(path(&world, &made), NoQuery {}, back).await.expect("taken back");
    assert_eq!((changed.increase, changed.description.is_some()), (None, true));

    owner.call::<ArchiveBudget>(path(&world, &made), NoQuery {}, Empty {}).await.expect("archived");
    let gone = owner.refused::<GetBudget>(path(&world, &made), NoQuery {}, Empty {}).await;
    assert_eq!(gone.status, 404);
    owner.call::<CreateBudget>(ws(&world), NoQuery {}, of_money("Team", "1")).await.expect("the name is free");

    let query = AuditQuery { action: Some("budget.".to_owned()), ..AuditQuery::default() };
    let mut entries = owner.call::<ListAuditEntries>(org(&world), query, Empty {}).await.expect("entries").items;
    entries.retain(|entry| entry.subject_id == made.id.to_string());
    let actions: Vec<_> = entries.iter().rev().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["budget.create", "budget.update", "budget.update", "budget.archive"]);
    let raise = &entries[2];
    assert!(raise.before.as_ref().is_some_and(|before| before.contains("12.5")));
    assert!(raise.after.as_ref().is_some_and(|after| after.contains("launch week")));
}

#[tokio::test]
async fn what_cannot_be_says_where_and_what_to_write_instead() {
    let world = World::new().await;
    let owner = world.as_owner();
    let url = format!("/api/v1/workspaces/{}/budgets", world.workspace());
    let base =
        |more: &str| format!(r#"{{"name":"b","measure":"cost","limits":[{{"window":"day","amount":"1"}}]{more}}}"#);
    let key = VirtualKeyId::from_uuid(77);
    for (body, pointer, words) in [
        (r#"{"name":"b","measure":"cost","limits":[]}"#.to_owned(), "/limits", "at least one"),
        (
            r#"{"name":"b","measure":"cost","limits":[{"window":"day","amount":5}]}"#.to_owned(),
            "/limits/0/amount",
            "dollars as text",
        ),
        (
            r#"{"name":"b","measure":"tokens","limits":[{"window":"day","amount":"5"}]}"#.to_owned(),
            "/limits/0/amount",
            "whole number",
        ),
        (
            r#"{"name":"b","measure":"tokens","limits":[{"window":"day","amount":-5}]}"#.to_owned(),
            "/limits/0/amount",
            "whole number",
        ),
        (
            r#"{"name":"b","measure":"cost","limits":[{"window":"fortnight","amount":"5"}]}"#.to_owned(),
            "/limits/0/window",
            "`week`",
        ),
        (base(r#","time_zone":"Europe/Atlantis""#), "/time_zone", "Europe/Berlin"),
        (base(r#","group_by":["colour"]"#), "/group_by/0", "metadata:"),
        (base(r#","group_by":["model","model"]"#), "/group_by/1", "already"),
        (base(r#","alert_at":[80,50]"#), "/alert_at/1", "ascending"),
        (base(r#","subject":{"providers":["nobody"]}"#), "/subject/providers/0", "openai"),
        (
            base(&format!(r#","subject":{{"virtual_key_ids":["{key}"]}}"#)),
            "/subject/virtual_key_ids/0",
            "no such virtual key",
        ),
        (
            base(r#","increase":{"amount":"1","expires_at":"2020-01-01T00:00:00Z","reason":"r"}"#),
            "/increase/expires_at",
            "later than now",
        ),
        (
            base(r#","increase":{"amount":"1","expires_at":"2030-01-01T00:00:00Z","reason":" "}"#),
            "/increase/reason",
            "say why",
        ),
    ] {
        let problem = owner.send("POST", &url, Some(&body)).await.problem();
        let field = problem.fields.first().unwrap_or_else(|| panic!("{body}: {problem:?}"));
        assert_eq!(field.pointer, pointer, "{body}: {field:?}");
        assert!(field.detail.contains(words), "{body}: {field:?}");
    }
}

#[tokio::test]
async fn a_workspace_reaches_its_own_budgets_and_the_organization_all_of_them() {
    let world = World::new().await;
    let owner = world.as_owner();
    let beside = beside(&world).await;
    let there = WorkspacePath { workspace_id: beside };
    let ours = owner.call::<CreateBudget>(ws(&world), NoQuery {}, of_money("Ours", "1")).await.expect("ours");
    let theirs = owner.call::<CreateBudget>(there, NoQuery {}, of_money("Theirs", "1")).await.expect("theirs");
    let wide =
        owner.call::<CreateOrganizationBudget>(org(&world), NoQuery {}, of_money("All", "1")).await.expect("for all");
    assert_eq!(wide.workspace_id, None);

    let listed = owner.call::<ListBudgets>(ws(&world), PageQuery::default(), Empty {}).await.expect("a list").items;
    assert_eq!(listed, std::slice::from_ref(&ours));
    let all =
        owner.call::<ListOrganizationBudgets>(org(&world), PageQuery::default(), Empty {}).await.expect("a list").items;
    assert_eq!(all, [wide.clone(), theirs.clone(), ours.clone()]);

    let local = world.as_role(Role::Owner, Scope::Workspace(world.organization(), world.workspace())).await;
    for other in [&theirs, &wide] {
        let refused = local.refused::<GetBudget>(path(&world, other), NoQuery {}, Empty {}).await;
        assert_eq!(refused.status, 404, "{}", other.name);
        let change = BudgetChange { version: Some(1), is_enabled: Some(false), ..BudgetChange::default() };
        assert_eq!(local.refused::<UpdateBudget>(path(&world, other), NoQuery {}, change).await.status, 404);
        assert_eq!(local.refused::<ArchiveBudget>(path(&world, other), NoQuery {}, Empty {}).await.status, 404);
        let accounts =
            local.refused::<ListBudgetAccounts>(path(&world, other), AccountQuery::default(), Empty {}).await;
        assert_eq!(accounts.status, 404);
    }
    let whole = local.refused::<ListOrganizationBudgets>(org(&world), PageQuery::default(), Empty {}).await;
    assert_eq!(whole.status, 403, "they belong to the organization and see its workspaces only in part");

    // Who bills works for all workspaces, and sets the limit of any.
    let billing = world.as_role(Role::BillingAdmin, Scope::Organization(world.organization())).await;
    let at = OrganizationBudgetPath { organization_id: world.organization(), budget_id: ours.id };
    let change = BudgetChange { version: Some(1), is_enabled: Some(false), ..BudgetChange::default() };
    let off = billing.call::<UpdateOrganizationBudget>(at, NoQuery {}, change).await.expect("switched off");
    assert_eq!((off.is_enabled, off.workspace_id), (false, Some(world.workspace())));
    let developer = world.as_role(Role::Developer, Scope::Organization(world.organization())).await;
    assert!(developer.call::<GetOrganizationBudget>(at, NoQuery {}, Empty {}).await.is_ok(), "who spends may look");
    let refused = developer.refused::<CreateBudget>(ws(&world), NoQuery {}, of_money("Mine", "1")).await;
    assert_eq!(refused.code.as_str(), "permission_denied");

    // A budget of a workspace counts nothing of another, so it cannot name it.
    let foreign = world.environment("development").to_string();
    let body = format!(
        r#"{{"name":"b","measure":"requests","limits":[{{"window":"day","amount":1}}],"subject":{{"environment_ids":["{foreign}"]}}}}"#
    );
    let refused = owner.send("POST", &format!("/api/v1/workspaces/{beside}/budgets"), Some(&body)).await.problem();
    assert_eq!(refused.fields[0].pointer, "/subject/environment_ids/0");
}

#[tokio::test]
async fn accounts_say_what_was_spent_what_is_held_and_what_remains() {
    let world = World::new().await;
    let owner = world.as_owner();
    let body = NewBudget {
        group_by: vec![Dimension::EndUser, Dimension::Metadata("team".into())],
        limits: vec![
            BudgetLimit { window: Window::Month, amount: usd("10") },
            BudgetLimit { window: Window::Total, amount: usd("100") },
        ],
        increase: Some(BudgetIncrease {
            amount: usd("1"),
            expires_at: world.now().plus(std::time::Duration::from_secs(3_600)),
            reason: "more".to_owned(),
        }),
        ..of_money("People", "1")
    };
    let made = owner.call::<CreateBudget>(ws(&world), NoQuery {}, body).await.expect("a budget");
    let none =
        owner.call::<ListBudgetAccounts>(path(&world, &made), AccountQuery::default(), Empty {}).await.expect("none");
    assert!(none.items.is_empty(), "an account begins with a call");

    let group: std::sync::Arc<str> = domain::budget::group_key(["ada", "b|ue"]).into();
    let node = NodeId::from_uuid(4);
    let account = |window| AccountKey {
        organization_id: world.organization(),
        budget_id: made.id,
        window,
        group_key: group.clone(),
    };
    let ask = |window| Ask { account: account(window), need: 3_000_000_000, ahead: 0 };
    let asks = vec![ask(Window::Month), ask(Window::Total)];
    let told = Tell { boot: "boot".to_owned(), sequence: 1, asks, ..Tell::default() };
    let fresh = [LeaseId::from_uuid(world.cx.mint.next_uuid()), LeaseId::from_uuid(world.cx.mint.next_uuid())];
    store::leases::tell(&world.cx.store, node, &told, &fresh, world.now()).await.expect("granted");
    let charge = Charge {
        budget_id: made.id,
        window: Window::Month,
        group_key: group.clone(),
        lease_id: Some(fresh[0]),
        amount: 2_000_000_000,
    };
    let mut event = event(&world, world.workspace(), 1, "m");
    event.charges = vec![charge];
    book(&world, &[event]).await;

    let first = AccountQuery { limit: Some(1), ..AccountQuery::default() };
    let page = owner.call::<ListBudgetAccounts>(path(&world, &made), first, Empty {}).await.expect("a page");
    let month = &page.items[0];
    let values: Vec<_> = month.group.iter().map(|it| (it.by.to_string(), it.value.as_str())).collect();
    assert_eq!(values, [("end_user".to_owned(), "ada"), ("metadata:team".to_owned(), "b|ue")]);
    assert_eq!((month.window, month.limit, month.posted), (Window::Month, Some(usd("11")), usd("2")));
    assert_eq!((month.held, month.remaining, month.overdrawn), (usd("1"), Some(usd("8")), usd("0")));
    let text = |at: Option<domain::Timestamp>| at.map(|at| at.to_string());
    assert_eq!(text(month.starts_at).as_deref(), Some("2026-11-01T00:00:00Z"));
    assert_eq!(text(month.resets_at).as_deref(), Some("2026-12-01T00:00:00Z"));

    let rest = AccountQuery { limit: Some(1), cursor: page.next_cursor.clone(), ..AccountQuery::default() };
    let rest = owner.call::<ListBudgetAccounts>(path(&world, &made), rest, Empty {}).await.expect("the rest");
    let total = &rest.items[0];
    assert_eq!((total.window, total.starts_at, total.resets_at), (Window::Total, None, None));
    assert_eq!((total.held, total.remaining, rest.next_cursor), (usd("3"), Some(usd("98")), None));

    // The increase is over, and the month too: what counted then can still be asked for.
    world.advance(40 * 86_400);
    let now =
        owner.call::<ListBudgetAccounts>(path(&world, &made), AccountQuery::default(), Empty {}).await.expect("now");
    assert_eq!((now.items.len(), now.items[0].limit), (1, Some(usd("100"))));
    let then = AccountQuery { at: Some(crate::world::START.parse().expect("an instant")), ..AccountQuery::default() };
    let at = OrganizationBudgetPath { organization_id: world.organization(), budget_id: made.id };
    let then = owner.call::<ListOrganizationBudgetAccounts>(at, then, Empty {}).await.expect("then");
    assert_eq!((then.items.len(), then.items[0].posted, then.items[0].limit), (2, usd("2"), Some(usd("10"))));
    let junk = owner
        .send(
            "GET",
            &format!("/api/v1/workspaces/{}/budgets/{}/accounts?cursor=junk", world.workspace(), made.id),
            None,
        )
        .await;
    assert_eq!(junk.problem().code.as_str(), "request_invalid");
}
