//! Rate limits and kill switches through the API: made, changed, refused, lifted, written down.

use api::ops::audit::{AuditQuery, ListAuditEntries};
use api::ops::kill_switches::{
    KillSwitchPath, KillSwitchQuery, LiftKillSwitch, ListKillSwitches, NewKillSwitch, ThrowKillSwitch,
};
use api::ops::rate_limits::{
    ArchiveRateLimit, CreateOrganizationRateLimit, CreateRateLimit, GetRateLimit, ListOrganizationRateLimits,
    ListRateLimits, NewRateLimit, RateAmount, RateLimitChange, RateLimitPath, UpdateRateLimit,
};
use api::ops::{OrganizationPath, PageQuery, WorkspacePath};
use api::{Empty, NoQuery};
use domain::budget::{Amount, Dimension, Subject};
use domain::kill_switch::Target;
use domain::rate_limit::{Measure, Per};

use crate::world::World;

fn org(world: &World) -> OrganizationPath {
    OrganizationPath { organization_id: world.organization() }
}

fn ws(world: &World) -> WorkspacePath {
    WorkspacePath { workspace_id: world.workspace() }
}

fn new(name: &str) -> NewRateLimit {
    let usd = Amount::Money("2.50".parse().expect("dollars"));
    NewRateLimit {
        name: name.parse().expect("a name"),
        description: None,
        is_enabled: None,
        subject: Subject::default(),
        group_by: vec![Dimension::EndUser],
        rates: vec![
            RateAmount { measure: Measure::Requests, per: Some(Per::Minute), amount: Amount::Count(60) },
            RateAmount { measure: Measure::Cost, per: Some(Per::Hour), amount: usd },
            RateAmount { measure: Measure::Concurrent, per: None, amount: Amount::Count(4) },
        ],
    }
}

async fn actions(world: &World, prefix: &str) -> Vec<String> {
    let query = AuditQuery { action: Some(prefix.to_owned()), ..AuditQuery::default() };
    let entries = world.as_owner().call::<ListAuditEntries>(org(world), query, Empty {}).await.expect("entries").items;
    entries.iter().rev().map(|entry| entry.action.clone()).collect()
}

#[tokio::test]
async fn a_rate_limit_lives_from_its_making_to_its_archive_and_every_step_is_written_down() {
    let world = World::new().await;
    let owner = world.as_owner();
    let made = owner.call::<CreateRateLimit>(ws(&world), NoQuery {}, new("Each user")).await.expect("a rate limit");
    assert_eq!((made.version, made.is_enabled, made.rates.len()), (1, true, 3));
    assert_eq!(made.rates, new("x").rates);
    let path = RateLimitPath { workspace_id: world.workspace(), rate_limit_id: made.id };
    assert_eq!(owner.call::<GetRateLimit>(path, NoQuery {}, Empty {}).await.expect("the limit"), made);
    let taken = owner.refused::<CreateRateLimit>(ws(&world), NoQuery {}, new("Each user")).await;
    assert_eq!((taken.status, taken.fields[0].pointer.as_str()), (409, "/name"));
    owner.call::<CreateOrganizationRateLimit>(org(&world), NoQuery {}, new("Each user")).await.expect("another place");
    let all = owner.call::<ListOrganizationRateLimits>(org(&world), PageQuery::default(), Empty {}).await.expect("all");
    let own = owner.call::<ListRateLimits>(ws(&world), PageQuery::default(), Empty {}).await.expect("its own");
    assert_eq!((all.items.len(), own.items.len()), (2, 1));
    let change = RateLimitChange { version: Some(1), group_by: Some(Vec::new()), ..RateLimitChange::default() };
    let changed = owner.call::<UpdateRateLimit>(path, NoQuery {}, change.clone()).await.expect("changed");
    assert_eq!((changed.version, changed.group_by.len(), changed.rates.len()), (2, 0, 3));
    assert_eq!(owner.refused::<UpdateRateLimit>(path, NoQuery {}, change).await.status, 412);
    owner.call::<ArchiveRateLimit>(path, NoQuery {}, Empty {}).await.expect("archived");
    assert_eq!(owner.refused::<GetRateLimit>(path, NoQuery {}, Empty {}).await.status, 404);
    let steps = ["rate_limit.create", "rate_limit.create", "rate_limit.update", "rate_limit.archive"];
    assert_eq!(actions(&world, "rate_limit.").await, steps);
}

#[tokio::test]
async fn what_cannot_be_says_where() {
    let world = World::new().await;
    let owner = world.as_owner();
    let limits = format!("/api/v1/workspaces/{}/rate-limits", world.workspace());
    let switches = format!("/api/v1/organizations/{}/kill-switches", world.organization());
    for (url, body, pointer) in [
        (&limits, r#"{"name":"l","rates":[]}"#, "/rates"),
        (&limits, r#"{"name":"l","rates":[{"measure":"requests","amount":1}]}"#, "/rates/0/per"),
        (&limits, r#"{"name":"l","rates":[{"measure":"requests","per":"minute","amount":0}]}"#, "/rates/0/amount"),
        (&limits, r#"{"name":"l","rates":[{"measure":"cost","per":"minute","amount":5}]}"#, "/rates/0/amount"),
        (
            &limits,
            r#"{"name":"l","rates":[{"measure":"concurrent","amount":5}],"subject":{"providers":["nobody"]}}"#,
            "/subject/providers/0",
        ),
        (&switches, r#"{"target":{"kind":"organization"},"reason":" "}"#, "/reason"),
        (&switches, r#"{"target":{"kind":"provider","id":"nobody"},"reason":"r"}"#, "/target/id"),
        (
            &switches,
            r#"{"target":{"kind":"virtual_key","id":"key_00000000000000000000000001"},"reason":"r"}"#,
            "/target/id",
        ),
    ] {
        let problem = owner.send("POST", url, Some(body)).await.problem();
        let field = problem.fields.first().unwrap_or_else(|| panic!("{body}: {problem:?}"));
        assert_eq!(field.pointer, pointer, "{body}: {field:?}");
    }
}

#[tokio::test]
async fn a_kill_switch_is_thrown_once_lifted_and_stays_readable() {
    let world = World::new().await;
    let owner = world.as_owner();
    let throw = |target: Target| NewKillSwitch { target, reason: "leaked".to_owned(), cuts_calls: None };
    let workspace = throw(Target::Workspace(world.workspace()));
    let made = owner.call::<ThrowKillSwitch>(org(&world), NoQuery {}, workspace.clone()).await.expect("thrown");
    assert!(made.cuts_calls && made.lifted_at.is_none());
    assert_eq!(owner.refused::<ThrowKillSwitch>(org(&world), NoQuery {}, workspace).await.status, 409);
    let provider = throw(Target::Provider("openai".to_owned()));
    let gentle = owner.call::<ThrowKillSwitch>(org(&world), NoQuery {}, provider).await.expect("thrown");
    assert!(!gentle.cuts_calls);
    let user = throw(Target::EndUser("customer 4711".to_owned()));
    let user = owner.call::<ThrowKillSwitch>(org(&world), NoQuery {}, user).await.expect("a user that nobody has seen");
    assert!(user.cuts_calls);
    let path = KillSwitchPath { organization_id: world.organization(), kill_switch_id: user.id };
    owner.call::<LiftKillSwitch>(path, NoQuery {}, Empty {}).await.expect("lifted");
    let nobody = throw(Target::EndUser("x".repeat(257)));
    assert_eq!(owner.refused::<ThrowKillSwitch>(org(&world), NoQuery {}, nobody).await.status, 422);
    let path = KillSwitchPath { organization_id: world.organization(), kill_switch_id: made.id };
    owner.call::<LiftKillSwitch>(path, NoQuery {}, Empty {}).await.expect("lifted");
    assert_eq!(owner.refused::<LiftKillSwitch>(path, NoQuery {}, Empty {}).await.status, 404);
    let list = async |lifted| {
        let query = KillSwitchQuery { lifted, ..KillSwitchQuery::default() };
        owner.call::<ListKillSwitches>(org(&world), query, Empty {}).await.expect("a page").items
    };
    assert_eq!((list(None).await.len(), list(Some(true)).await.len()), (1, 3));
    let done = ["throw", "throw", "throw", "lift", "lift"].map(|act| format!("kill_switch.{act}"));
    assert_eq!(actions(&world, "kill_switch.").await, done);
}
