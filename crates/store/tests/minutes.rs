//! Sums by minute: what the events of each minute say, once however often they come, for as long as they are kept.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::usage::{CacheOutcome, CacheUse, Outcome, TokenUsage, UsageEvent};
use domain::{EnvironmentId, NanoUsd, NodeId, Timestamp};
use store::usage::{self, Batch, Dimension, MinuteDimension, Minutes, Query};

use crate::support::{NOON, Tenant, World};
use crate::usage::event;

const MINUTE: Duration = Duration::from_mins(1);

async fn book(world: &World, events: &[UsageEvent], received_at: Timestamp) -> u64 {
    let last_sequence = events.len() as u64;
    let node_id = NodeId::from_uuid(4);
    let batch = Batch { node_id, boot: "boot-1", first_sequence: 1, last_sequence, events, received_at };
    usage::append(&world.store, &batch).await.expect("booked").inserted
}

async fn sum(world: &World, tenant: &Tenant, query: &Minutes) -> Vec<usage::Group> {
    let mut tx = world.store.read(tenant.id).await.expect("a read");
    usage::sum_minutes(&mut tx, query).await.expect("summed")
}

/// Calls of all kinds over ten minutes around noon, seven a minute, the first and last microsecond of minutes among them.
fn many(tenant: &Tenant) -> Vec<UsageEvent> {
    let start = NOON.minus(MINUTE * 5);
    (0..70_u32)
        .map(|number| {
            let within = [0, 59_999_999, 1, 30_000_000, 17, 59_000_000, 42_000_000][number as usize % 7];
            let mut made = event(tenant, start.plus(MINUTE * (number / 7)).plus(Duration::from_micros(within)));
            made.duration_us = u64::from(number) * 7_000;
            made.cost = NanoUsd::from_nanos(i64::from(number) * 3 + 1);
            made.usage = TokenUsage { input: u64::from(number), output: 3, ..TokenUsage::default() };
            if number % 3 == 0 {
                made.environment_id = EnvironmentId::from_uuid(77);
            }
            if number % 5 == 0 {
                (made.outcome, made.status, made.first_byte_us) = (Outcome::Rejected, 503, None);
            }
            if number % 11 == 0 {
                let saved = (NanoUsd::from_nanos(9), 4, 2);
                made.cache = CacheUse {
                    outcome: CacheOutcome::Hit,
                    saved_cost: saved.0,
                    saved_input: saved.1,
                    saved_output: saved.2,
                };
            }
            made
        })
        .collect()
}

/// What the events say: calls, errors, tokens read, cost.
type Said = (u64, u64, u64, i64);

fn said<'a>(events: impl Iterator<Item = &'a UsageEvent>) -> BTreeMap<(Timestamp, String), Said> {
    let mut minutes: BTreeMap<(Timestamp, String), Said> = BTreeMap::new();
    for event in events {
        let at = Timestamp::from_micros(event.started_at.as_micros() / 60_000_000 * 60_000_000);
        let it = minutes.entry((at, event.environment_id.to_string())).or_default();
        it.0 += 1;
        it.1 += u64::from(event.outcome != Outcome::Success);
        it.2 += event.usage.input;
        it.3 += event.cost.as_nanos();
    }
    minutes
}

fn read(groups: &[usage::Group]) -> BTreeMap<(Timestamp, String), Said> {
    let said = |sums: &usage::Sums| (sums.requests, sums.errors, sums.tokens.input, sums.cost.as_nanos());
    groups.iter().map(|it| ((it.at.expect("a minute"), it.values[0].clone()), said(&it.sums))).collect()
}

#[tokio::test]
async fn each_minute_says_what_its_events_say_however_often_they_come() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let events = many(&tenant);
    let later = NOON.plus(MINUTE * 6);
    let mut reports = tokio::task::JoinSet::new();
    // In pieces that overlap, at once and again and again.
    for from in (0..70).step_by(10).chain([0, 35, 5]) {
        let (store, part) = (world.store.clone(), events[from..(from + 20).min(70)].to_vec());
        reports.spawn(async move {
            let (node_id, boot) = (NodeId::from_uuid(4), format!("boot-{from}"));
            let last_sequence = part.len() as u64;
            let batch =
                Batch { node_id, boot: &boot, first_sequence: 1, last_sequence, events: &part, received_at: later };
            usage::append(&store, &batch).await.expect("booked").inserted
        });
    }
    assert_eq!(reports.join_all().await.into_iter().sum::<u64>(), 70);
    assert_eq!(book(&world, &events, later).await, 0);

    let all = Minutes { limit: 100, ..Minutes::all(NOON.minus(MINUTE * 60), NOON.plus(MINUTE * 60)) };
    let by_environment = Minutes { group_by: vec![MinuteDimension::Environment], step: Some(1), ..all.clone() };
    let minutes = sum(&world, &tenant, &by_environment).await;
    assert_eq!((read(&minutes), minutes.len()), (said(events.iter()), 20));
    assert!(minutes.is_sorted_by_key(|it| it.at));

    // All measures, histograms included, are those of the hours.
    let mut tx = world.store.read(tenant.id).await.expect("a read");
    let hours = Query { group_by: vec![Dimension::Environment], limit: 100, ..Query::all(all.from, all.to) };
    let hours = usage::sum(&mut tx, &hours).await.expect("summed");
    let whole = sum(&world, &tenant, &Minutes { group_by: vec![MinuteDimension::Environment], ..all.clone() }).await;
    assert_eq!(whole, hours);
    assert_eq!(whole.iter().map(|it| it.sums.duration.total()).sum::<u64>(), 70);
}

#[tokio::test]
async fn minutes_are_cut_where_asked_and_belong_to_one_organization() {
    let world = World::new().await;
    let (tenant, other) = (world.tenant("first").await, world.tenant("second").await);
    let events = many(&tenant);
    book(&world, &[events.clone(), vec![event(&other, NOON)]].concat(), NOON.plus(MINUTE * 6)).await;
    let all = Minutes { limit: 100, ..Minutes::all(NOON.minus(MINUTE * 60), NOON.plus(MINUTE * 60)) };
    let counts = |groups: &[usage::Group]| groups.iter().map(|it| (it.at, it.sums.requests)).collect::<Vec<_>>();
    let fives = sum(&world, &tenant, &Minutes { step: Some(5), ..all.clone() }).await;
    assert_eq!(counts(&fives), [(Some(NOON.minus(MINUTE * 5)), 35), (Some(NOON), 35)]);
    let quarters = sum(&world, &tenant, &Minutes { step: Some(15), ..all.clone() }).await;
    assert_eq!(counts(&quarters), [(Some(NOON.minus(MINUTE * 15)), 35), (Some(NOON), 35)]);
    // The minute of the start counts whole, and so does that of the end, unless it begins there.
    let some = |from: u64, to: u64| Minutes {
        from: NOON.plus(Duration::from_secs(from)),
        to: NOON.plus(Duration::from_secs(to)),
        ..all.clone()
    };
    for (query, wanted) in [
        (some(0, 60), 7),
        (some(59, 61), 14),
        (some(60, 120), 7),
        (Minutes { environment_id: Some(EnvironmentId::from_uuid(77)), ..all.clone() }, 24),
        (Minutes { workspace_id: Some(tenant.workspace.id), ..all.clone() }, 70),
    ] {
        let found = sum(&world, &tenant, &query).await;
        assert_eq!(found.first().map(|it| it.sums.requests), Some(wanted), "{query:?}");
    }
    assert!(sum(&world, &tenant, &Minutes { workspace_id: Some(other.workspace.id), ..all.clone() }).await.is_empty());
    assert_eq!(counts(&sum(&world, &other, &all).await), [(None, 1)]);
    let by_workspace = Minutes { group_by: vec![MinuteDimension::Workspace], ..all };
    assert_eq!(sum(&world, &other, &by_workspace).await[0].values, [other.workspace.id.to_string()]);
}

#[tokio::test]
async fn old_minutes_are_swept_and_what_comes_too_late_makes_none() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let oldest = NOON.minus(usage::MINUTES_KEPT);
    let events = [event(&tenant, NOON), event(&tenant, oldest), event(&tenant, oldest.minus(Duration::from_micros(1)))];
    assert_eq!(book(&world, &events, NOON).await, 3);
    let all = Minutes::all(oldest.minus(MINUTE * 60), NOON.plus(MINUTE));
    assert_eq!(sum(&world, &tenant, &all).await[0].sums.requests, 2);
    let mut tx = world.store.system().await.expect("a transaction");
    assert_eq!(usage::drop_minutes_before(&mut tx, oldest).await.expect("swept"), 0);
    assert_eq!(usage::drop_minutes_before(&mut tx, oldest.plus(MINUTE)).await.expect("swept"), 1);
    tx.commit().await.expect("committed");
    assert_eq!(sum(&world, &tenant, &all).await[0].sums.requests, 1);
    // Hours have them all.
    let mut tx = world.store.read(tenant.id).await.expect("a read");
    let hours = usage::sum(&mut tx, &Query::all(all.from, all.to)).await.expect("summed");
    assert_eq!(hours[0].sums.requests, 3);
}
