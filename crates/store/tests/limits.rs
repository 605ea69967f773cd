//! Rate limits and kill switches on a real database.

use domain::budget::{Dimension, Subject};
use domain::kill_switch::{KillSwitch, Target};
use domain::page::Limit;
use domain::rate_limit::{Measure, Per, Rate, RateLimit};
use domain::{KillSwitchId, RateLimitId};
use store::{Constraint, StoreError, kill_switches, rate_limits};

use crate::support::{NOON, Tenant, World, name, note, permit, uuid};

pub(crate) fn limit(tenant: &Tenant) -> RateLimit {
    RateLimit {
        id: RateLimitId::from_uuid(uuid()),
        organization_id: tenant.id,
        workspace_id: Some(tenant.workspace.id),
        name: name("Fair use"),
        description: Some("Nobody takes it all".to_owned()),
        is_enabled: true,
        subject: Subject { tags: vec!["blue".to_owned()], ..Subject::default() },
        group_by: vec![Dimension::EndUser],
        rates: vec![
            Rate { measure: Measure::Requests, per: Some(Per::Minute), amount: 60 },
            Rate { measure: Measure::Concurrent, per: None, amount: 4 },
        ],
        version: 1,
        created_at: NOON,
        updated_at: NOON,
        archived_at: None,
    }
}

#[tokio::test]
async fn a_rate_limit_is_kept_changed_by_version_and_archived() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    let (permit, mut it) = (permit(tenant.id), limit(&tenant));
    let mut tx = world.store.write(tenant.id).await.expect("a write");
    rate_limits::insert(&mut tx, &permit, &it).await.expect("a new limit");
    assert_eq!(rate_limits::get(&mut tx, it.id).await.expect("the limit"), it);
    assert_eq!(rate_limits::count(&mut tx).await.expect("a number"), 1);
    it.rates.truncate(1);
    it.group_by.clear();
    it.version = rate_limits::update(&mut tx, &permit, &it).await.expect("changed");
    let late = RateLimit { version: 1, ..it.clone() };
    assert!(matches!(rate_limits::update(&mut tx, &permit, &late).await, Err(StoreError::Stale(_))));
    let page = rate_limits::list(&mut tx, it.workspace_id, None, Limit::default()).await.expect("a page");
    assert_eq!(page.items, [it.clone()]);
    let page = rate_limits::list(&mut tx, None, None, Limit::default()).await.expect("a page");
    assert_eq!(page.items, [it.clone()], "the organization's are those of its workspaces, too");
    rate_limits::archive(&mut tx, &permit, it.id, NOON).await.expect("archived");
    assert_eq!(rate_limits::count(&mut tx).await.expect("a number"), 0);
    rate_limits::insert(&mut tx, &permit, &limit(&tenant)).await.expect("its name is free");
    let twice = rate_limits::insert(&mut tx, &permit, &limit(&tenant)).await;
    assert!(matches!(twice, Err(StoreError::Conflict(Constraint::RateLimitName))));
}

#[tokio::test]
async fn a_target_is_stopped_once_until_it_is_lifted_and_what_was_stopped_stays_readable() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    let permit = permit(tenant.id);
    let switch = |target: Target| KillSwitch {
        id: KillSwitchId::from_uuid(uuid()),
        organization_id: tenant.id,
        target,
        reason: "leaked".to_owned(),
        is_cutting: true,
        created_at: NOON,
        lifted_at: None,
    };
    let target = Target::Provider("openai".to_owned());
    let (it, whole) = (switch(target.clone()), switch(Target::Organization));
    let mut tx = world.store.write(tenant.id).await.expect("a write");
    for it in [&it, &whole] {
        kill_switches::insert(&mut tx, &permit, it).await.expect("thrown");
    }
    assert_eq!(kill_switches::get(&mut tx, it.id).await.expect("the switch"), it);
    kill_switches::lift(&mut tx, &permit, it.id, NOON).await.expect("lifted");
    assert!(matches!(kill_switches::lift(&mut tx, &permit, it.id, NOON).await, Err(StoreError::NotFound(_))));
    assert_eq!(kill_switches::load(&mut tx, None).await.expect("those in force"), std::slice::from_ref(&whole));
    assert_eq!(kill_switches::count(&mut tx).await.expect("a number"), 1);
    let list = kill_switches::list(&mut tx, true, None, Limit::default()).await.expect("a page").items;
    assert_eq!(list.len(), 2);
    assert_eq!(kill_switches::list(&mut tx, false, None, Limit::default()).await.expect("a page").items, [whole]);
    kill_switches::insert(&mut tx, &permit, &switch(target)).await.expect("thrown again");
    note(&mut tx, &permit, "kill_switch.create");
    tx.commit().await.expect("committed");
    let other = world.tenant("other").await;
    let mut tx = world.store.read(other.id).await.expect("a read");
    assert!(matches!(kill_switches::get(&mut tx, it.id).await, Err(StoreError::NotFound(_))));
    let mut tx = world.store.write(tenant.id).await.expect("a write");
    let twice = kill_switches::insert(&mut tx, &permit, &switch(Target::Organization)).await;
    assert!(matches!(twice, Err(StoreError::Conflict(Constraint::KillSwitchTarget))));
}
