//! The ledger: every event once, sums that agree with the events, and percentiles from histograms.

use std::time::Duration;

use domain::page::Limit;
use domain::usage::{
    AttemptOutcome, AttemptRecord, CacheOutcome, CacheUse, Endpoint, Outcome, TokenUsage, UnitUsage, UsageEvent,
};
use domain::{CredentialId, DeploymentId, NanoUsd, NodeId, RequestId, Timestamp, VirtualKeyId, WorkspaceId};
use store::usage::{self, AttemptDimension, AttemptQuery, Batch, Dimension, Query, RequestFilter, Step};
use store::{StoreError, virtual_keys};

use crate::support::{NOON, Tenant, World, key, note, permit, uuid_at};

const HOUR: Duration = Duration::from_hours(1);

pub(crate) fn event(tenant: &Tenant, at: Timestamp) -> UsageEvent {
    let usage = TokenUsage { input: 100, output: 20, reasoning: 5, ..TokenUsage::default() };
    let deployment_id = DeploymentId::from_uuid(7);
    UsageEvent {
        id: RequestId::from_uuid(uuid_at(at)),
        organization_id: tenant.id,
        workspace_id: tenant.workspace.id,
        environment_id: tenant.environment.id,
        virtual_key_id: VirtualKeyId::from_uuid(5),
        node_id: node(),
        endpoint: Endpoint::ChatCompletions,
        model: "gpt-4o-mini".to_owned(),
        route_id: None,
        deployment_id: Some(deployment_id),
        provider: Some("openai".to_owned()),
        upstream_model: Some("gpt-4o-mini-2024".to_owned()),
        is_stream: true,
        outcome: Outcome::Success,
        status: 200,
        code: None,
        finish_reason: Some("stop".to_owned()),
        started_at: at,
        duration_us: 1_000_000,
        first_byte_us: Some(200_000),
        overhead_us: 120,
        usage,
        units: UnitUsage { searches: 1, audio_ms: 1_500, ..UnitUsage::default() },
        is_estimated: false,
        is_unmetered: true,
        cost: NanoUsd::from_nanos(27_000),
        price_id: None,
        cache: CacheUse::default(),
        policy_revision: 3,
        end_user: Some("user-1".to_owned()),
        conversation_id: None,
        trace_id: Some("trace".to_owned()),
        metadata: vec![("team".to_owned(), "a".to_owned())],
        routing: Some(domain::usage::Routing {
            received_us: 10,
            dispatched_us: 90,
            skipped: vec![domain::usage::Skipped {
                deployment_id: DeploymentId::from_uuid(5),
                reason: domain::usage::SkipReason::RateLimited,
            }],
            continued: 1,
        }),
        tags: vec!["blue".to_owned()],
        dropped: Vec::new(),
        charges: Vec::new(),
        is_by_old_secret: false,
        attempts: vec![AttemptRecord {
            modal: None,
            image: None,
            n: 1,
            deployment_id,
            credential_id: Some(CredentialId::from_uuid(6)),
            provider: "openai".to_owned(),
            upstream_model: "gpt-4o-mini-2024".to_owned(),
            started_at: at,
            duration_us: 999_000,
            first_byte_us: Some(199_000),
            outcome: AttemptOutcome::Success,
            status: Some(200),
            upstream_request_id: Some("up-1".to_owned()),
            usage,
            units: UnitUsage::default(),
            cost: NanoUsd::from_nanos(27_000),
        }],
    }
}

const fn node() -> NodeId {
    NodeId::from_uuid(4)
}

fn batch(first_sequence: u64, events: &[UsageEvent]) -> Batch<'_> {
    let last_sequence = first_sequence + events.len() as u64 - 1;
    Batch { node_id: node(), boot: "boot-1", first_sequence, last_sequence, events, received_at: NOON.plus(HOUR) }
}

async fn total(world: &World, tenant: &Tenant) -> usage::Sums {
    let mut tx = world.store.read(tenant.id).await.expect("a read");
    let query = Query::all(NOON.minus(Duration::from_hours(72)), NOON.plus(Duration::from_hours(72)));
    usage::sum(&mut tx, &query).await.expect("summed").pop().map(|group| group.sums).unwrap_or_default()
}

#[tokio::test]
async fn an_event_is_booked_once_however_often_it_comes() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let events: Vec<UsageEvent> = (0..10).map(|_| event(&tenant, NOON)).collect();
    let first = usage::append(&world.store, &batch(1, &events[..6])).await.expect("booked");
    assert_eq!((first.inserted, first.repeated, first.watermark, first.missing), (6, 0, 6, None));
    let again = usage::append(&world.store, &batch(1, &events[..6])).await.expect("booked");
    assert_eq!((again.inserted, again.repeated, again.watermark), (0, 6, 6));
    // An overlap, as after a lost acknowledgement, and an event twice in one batch.
    let mut overlap = events[4..].to_vec();
    overlap.push(events[9].clone());
    let more = usage::append(&world.store, &batch(5, &overlap)).await.expect("booked");
    assert_eq!((more.inserted, more.repeated, more.watermark), (4, 2, 11));
    // An old batch never takes the watermark back.
    assert_eq!(usage::append(&world.store, &batch(1, &events[..2])).await.expect("booked").watermark, 11);
    let sums = total(&world, &tenant).await;
    assert_eq!((sums.requests, sums.cost, sums.tokens.input), (10, NanoUsd::from_nanos(270_000), 1_000));
    let mut system = world.store.system().await.expect("a transaction");
    assert_eq!(usage::watermark(&mut system, node(), "boot-1").await.expect("known"), Some(11));
    assert_eq!(usage::watermark(&mut system, node(), "boot-2").await.expect("unknown"), None);
}

#[tokio::test]
async fn concurrent_repeats_still_book_once() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let events: Vec<UsageEvent> = (0..40).map(|_| event(&tenant, NOON)).collect();
    let mut reports = tokio::task::JoinSet::new();
    for round in 0..6_u64 {
        let (store, events) = (world.store.clone(), events.clone());
        reports.spawn(async move {
            let from = usize::try_from(round).expect("small") * 4;
            usage::append(&store, &batch(1, &events[from..from + 20])).await.expect("booked").inserted
        });
    }
    let booked: u64 = reports.join_all().await.into_iter().sum();
    assert_eq!((booked, total(&world, &tenant).await.requests), (40, 40));
}

#[tokio::test]
async fn overlapping_first_reports_of_a_run_never_wait_for_each_other_in_a_circle() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    for boot in 0..30 {
        let boot = format!("run-{boot}");
        let events: Vec<UsageEvent> = (0..24).map(|_| event(&tenant, NOON)).collect();
        let mut reports = tokio::task::JoinSet::new();
        for from in [0, 4, 8, 12] {
            let (store, events, boot) = (world.store.clone(), events.clone(), boot.clone());
            reports.spawn(async move {
                let batch = Batch { boot: &boot, ..batch(1, &events[from..from + 12]) };
                usage::append(&store, &batch).await.expect("booked").inserted
            });
        }
        assert_eq!(reports.join_all().await.into_iter().sum::<u64>(), 24);
    }
}

#[tokio::test]
async fn an_event_is_read_back_whole_and_only_in_its_workspace() {
    let world = World::new().await;
    let (tenant, other) = (world.tenant("first").await, world.tenant("second").await);
    let mut sent = event(&tenant, NOON);
    sent.end_user = Some("nul \0 here".to_owned());
    sent.metadata = vec![("b".to_owned(), "\\u0000".to_owned()), ("a".to_owned(), "ä".to_owned())];
    usage::append(&world.store, &batch(1, &[sent.clone()])).await.expect("booked");
    let mut tx = world.store.read(tenant.id).await.expect("a read");
    sent.end_user = Some("nul \u{fffd} here".to_owned());
    assert_eq!(usage::get(&mut tx, tenant.workspace.id, sent.id).await.expect("found"), sent);
    let elsewhere = usage::get(&mut tx, WorkspaceId::from_uuid(1), sent.id).await;
    assert!(matches!(elsewhere, Err(StoreError::NotFound("request"))));
    let mut tx = world.store.read(other.id).await.expect("a read");
    let foreign = usage::get(&mut tx, tenant.workspace.id, sent.id).await;
    assert!(matches!(foreign, Err(StoreError::NotFound("request"))));
    assert_eq!(total(&world, &other).await, usage::Sums::default());
}

#[tokio::test]
async fn what_can_never_be_booked_is_refused_without_stopping_the_rest() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let good = event(&tenant, NOON);
    let ancient = event(&tenant, NOON.minus(Duration::from_hours(24 * 500)));
    let future = event(&tenant, NOON.plus(Duration::from_hours(24 * 5)));
    let torn = UsageEvent { started_at: NOON.minus(Duration::from_hours(90)), ..event(&tenant, NOON) };
    let absurd = UsageEvent { cost: NanoUsd::from_nanos(i64::MAX), ..event(&tenant, NOON) };
    // Written as text, the time of an attempt would be one that no reader understands.
    let mut timeless = event(&tenant, NOON);
    timeless.attempts[0].started_at = Timestamp::from_micros(i64::MAX);
    let mut dear = event(&tenant, NOON);
    dear.attempts[0].cost = NanoUsd::from_nanos(i64::MIN);
    let mut endless = event(&tenant, NOON);
    endless.attempts[0].usage.output = u64::MAX;
    let events = [ancient, future, good.clone(), torn, absurd, timeless, dear, endless];
    let booked = usage::append(&world.store, &batch(1, &events)).await.expect("booked");
    let refused: Vec<usize> = booked.refused.iter().map(|(place, _)| *place).collect();
    assert_eq!((booked.inserted, booked.watermark), (1, 8));
    assert_eq!(refused, [0, 1, 3, 4, 5, 6, 7]);
}

#[tokio::test]
async fn a_provider_that_never_answers_is_seen_in_the_attempts() {
    let world = World::new().await;
    let (tenant, other) = (world.tenant("first").await, world.tenant("second").await);
    let mut events: Vec<UsageEvent> = (0..3).map(|_| event(&tenant, NOON)).collect();
    // Before the answer of the second call, another provider failed in every way.
    let ways = [
        (AttemptOutcome::Status, Some(503)),
        (AttemptOutcome::Status, Some(429)),
        (AttemptOutcome::Status, Some(401)),
        (AttemptOutcome::Status, Some(400)),
        (AttemptOutcome::Connect, None),
        (AttemptOutcome::Timeout, None),
        (AttemptOutcome::Broken, Some(200)),
        (AttemptOutcome::Cancelled, None),
        (AttemptOutcome::Unsendable, None),
    ];
    let answered = events[1].attempts[0].clone();
    events[1].attempts.extend(ways.map(|(outcome, status)| AttemptRecord {
        provider: "mistral".to_owned(),
        deployment_id: DeploymentId::from_uuid(8),
        outcome,
        status,
        ..answered.clone()
    }));
    usage::append(&world.store, &batch(1, &events)).await.expect("booked");
    usage::append(&world.store, &batch(1, &events)).await.expect("booked before");
    let query = AttemptQuery {
        from: NOON.minus(HOUR),
        to: NOON.plus(HOUR),
        workspace_id: None,
        provider: None,
        deployment_id: None,
        group_by: vec![AttemptDimension::Provider, AttemptDimension::Deployment],
        is_hourly: false,
        limit: 10,
    };
    let mut tx = world.store.read(tenant.id).await.expect("a read");
    let groups = usage::sum_attempts(&mut tx, &query).await.expect("summed");
    let names: Vec<_> = groups.iter().map(|group| group.values[0].as_str()).collect();
    assert_eq!(names, ["mistral", "openai"]);
    let failed = &groups[0].sums;
    assert_eq!((failed.attempts, failed.succeeded, failed.failed, failed.rate_limited), (9, 0, 2, 1));
    let others =
        [failed.refused, failed.unreachable, failed.timed_out, failed.broken, failed.cancelled, failed.unsendable];
    assert_eq!(others, [1; 6]);
    let fine = &groups[1].sums;
    assert_eq!((fine.attempts, fine.succeeded, fine.duration.total(), fine.first_byte.total()), (3, 3, 3, 3));
    assert_eq!((failed.duration.total(), fine.last_received_at), (0, Some(NOON.plus(HOUR))));
    let hourly = AttemptQuery { group_by: vec![AttemptDimension::Model], is_hourly: true, ..query.clone() };
    let hours = usage::sum_attempts(&mut tx, &hourly).await.expect("summed");
    assert_eq!((hours.len(), hours[0].at, hours[0].sums.attempts), (1, Some(NOON.hour()), 12));
    let only = AttemptQuery { provider: Some("openai".to_owned()), ..query.clone() };
    assert_eq!(usage::sum_attempts(&mut tx, &only).await.expect("summed").len(), 1);
    tx.end().await.expect("ended");
    let mut tx = world.store.read(other.id).await.expect("a read");
    assert_eq!(usage::sum_attempts(&mut tx, &query).await.expect("summed"), []);
}

#[tokio::test]
async fn a_gap_in_the_sequence_is_told() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    usage::append(&world.store, &batch(1, &[event(&tenant, NOON)])).await.expect("booked");
    let booked = usage::append(&world.store, &batch(5, &[event(&tenant, NOON)])).await.expect("booked");
    assert_eq!((booked.missing, booked.watermark), (Some((2, 4)), 5));
}

#[tokio::test]
async fn events_fall_into_the_day_of_their_id_and_old_days_are_dropped_whole() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let yesterday = NOON.minus(Duration::from_hours(24));
    let events = [event(&tenant, yesterday), event(&tenant, NOON)];
    usage::append(&world.store, &batch(1, &events)).await.expect("booked");
    let mut system = world.store.system().await.expect("a transaction");
    usage::prepare_day(&mut system, NOON.plus(Duration::from_hours(24))).await.expect("made");
    usage::prepare_day(&mut system, NOON).await.expect("there already");
    assert_eq!(usage::drop_days_until(&mut system, yesterday).await.expect("dropped"), 1);
    system.commit().await.expect("committed");
    let mut tx = world.store.read(tenant.id).await.expect("a read");
    let filter = RequestFilter::default();
    let left = usage::list(&mut tx, tenant.workspace.id, &filter, None, Limit::default()).await.expect("listed");
    assert_eq!(left.items.iter().map(|event| event.id).collect::<Vec<_>>(), [events[1].id]);
    tx.end().await.expect("ended");
    // Sums stay.
    assert_eq!(total(&world, &tenant).await.requests, 2);
}

#[tokio::test]
async fn a_day_begins_where_the_zone_says_and_every_event_counts_in_one_day() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    // Every half hour over two days around midnight UTC, the last microsecond of an hour included.
    let midnight = NOON.minus(HOUR * 36);
    let at = |half: u32| midnight.minus(HOUR * 24).plus(Duration::from_mins(30) * half);
    let mut events: Vec<_> = (0..96).map(|half| event(&tenant, at(half))).collect();
    events.push(event(&tenant, midnight.minus(Duration::from_micros(1))));
    usage::append(&world.store, &batch(1, &events)).await.expect("booked");
    let mut tx = world.store.read(tenant.id).await.expect("a read");
    let all = Query { limit: 100, ..Query::all(midnight.minus(HOUR * 24), midnight.plus(HOUR * 24)) };
    for utc_offset_minutes in [-840, -300, -1, 0, 60, 330, 345, 840] {
        let query = Query { step: Some(Step::Day), utc_offset_minutes, ..all.clone() };
        let days = usage::sum(&mut tx, &query).await.expect("summed");
        assert_eq!(days.iter().map(|day| day.sums.requests).sum::<u64>(), 97, "{utc_offset_minutes}");
        let offset = i64::from(utc_offset_minutes) * 60_000_000;
        for day in &days {
            let begins = day.at.expect("a day").as_micros();
            assert_eq!(
                (begins + offset).rem_euclid(24 * 3_600_000_000),
                0,
                "midnight of the zone {utc_offset_minutes}"
            );
            let counted = events.iter().filter(|event| {
                let hour = event.started_at.hour().as_micros();
                (begins..begins + 24 * 3_600_000_000).contains(&hour)
            });
            assert_eq!(counted.count() as u64, day.sums.requests, "{utc_offset_minutes}");
        }
    }
    // The end is not part of a time; the hour it falls into is.
    let until = |to| Query { to, ..all.clone() };
    let sum = usage::sum(&mut tx, &until(midnight)).await.expect("summed").remove(0).sums;
    assert_eq!(sum.requests, 49);
    let sum =
        usage::sum(&mut tx, &until(midnight.plus(Duration::from_micros(1)))).await.expect("summed").remove(0).sums;
    assert_eq!(sum.requests, 51);
}

#[tokio::test]
async fn sums_answer_by_every_dimension_and_step() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let mut events = Vec::new();
    for number in 0..12_u32 {
        let at = NOON.minus(HOUR * number);
        let mut made = event(&tenant, at);
        made.cost = NanoUsd::from_nanos(i64::from(number) + 1);
        if number % 3 == 0 {
            made.model = "claude".to_owned();
            made.provider = Some("anthropic".to_owned());
            made.deployment_id = None;
        }
        if number % 4 == 0 {
            made.virtual_key_id = VirtualKeyId::from_uuid(55);
        }
        if number == 11 {
            (made.outcome, made.status, made.provider) = (Outcome::Rejected, 503, None);
        }
        if number == 10 {
            made.outcome = Outcome::ClientClosed;
        }
        events.push(made);
    }
    usage::append(&world.store, &batch(1, &events)).await.expect("booked");
    let mut tx = world.store.read(tenant.id).await.expect("a read");
    let all = Query { limit: 100, ..Query::all(NOON.minus(HOUR * 24), NOON.plus(HOUR)) };
    let whole = usage::sum(&mut tx, &all).await.expect("summed").remove(0).sums;
    assert_eq!((whole.requests, whole.errors, whole.failures), (12, 2, 1));
    assert_eq!(whole.cost, NanoUsd::from_nanos(78));

    let by = |group_by: Vec<Dimension>| Query { group_by, ..all.clone() };
    for (dimension, count) in [
        (Dimension::Workspace, 1),
        (Dimension::Environment, 1),
        (Dimension::VirtualKey, 2),
        (Dimension::Model, 2),
        (Dimension::Provider, 3),
        (Dimension::Deployment, 2),
    ] {
        let groups = usage::sum(&mut tx, &by(vec![dimension])).await.expect("summed");
        assert_eq!(groups.len(), count, "{dimension:?}");
        assert_eq!(groups.iter().map(|group| group.sums.requests).sum::<u64>(), 12);
        assert!(groups.windows(2).all(|pair| pair[0].sums.cost >= pair[1].sums.cost), "largest first");
    }
    let pair = usage::sum(&mut tx, &by(vec![Dimension::Provider, Dimension::Model])).await.expect("summed");
    assert!(pair.iter().any(|group| group.values == ["anthropic", "claude"]));
    let hours = usage::sum(&mut tx, &Query { step: Some(Step::Hour), ..all.clone() }).await.expect("summed");
    assert_eq!(hours.len(), 12);
    assert_eq!(hours[11].at, Some(NOON));
    // Noon down to one o'clock in the morning is one day; the last hour before midnight would be another.
    let days = usage::sum(&mut tx, &Query { step: Some(Step::Day), ..all.clone() }).await.expect("summed");
    assert_eq!(days.iter().map(|day| (day.at, day.sums.requests)).collect::<Vec<_>>(), [(Some(NOON.day()), 12)]);

    for (filtered, count) in [
        (Query { model: Some("claude".to_owned()), ..all.clone() }, 4),
        (Query { provider: Some("openai".to_owned()), ..all.clone() }, 7),
        (Query { virtual_key_id: Some(VirtualKeyId::from_uuid(55)), ..all.clone() }, 3),
        (Query { deployment_id: Some(DeploymentId::from_uuid(7)), ..all.clone() }, 8),
        (Query { workspace_id: Some(tenant.workspace.id), ..all.clone() }, 12),
        (Query { environment_id: Some(tenant.environment.id), ..all.clone() }, 12),
        (Query { from: NOON.minus(HOUR * 2), to: NOON, ..all.clone() }, 2),
    ] {
        let groups = usage::sum(&mut tx, &filtered).await.expect("summed");
        assert_eq!(groups.first().map(|group| group.sums.requests), Some(count), "{filtered:?}");
    }
}

#[tokio::test]
async fn percentiles_survive_many_batches() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    for number in 0..10_u64 {
        let events: Vec<UsageEvent> = (1..=10)
            .map(|step| UsageEvent { duration_us: (number * 10 + step) * 10_000, ..event(&tenant, NOON) })
            .collect();
        usage::append(&world.store, &batch(number * 10 + 1, &events)).await.expect("booked");
    }
    let sums = total(&world, &tenant).await;
    assert_eq!(sums.duration.total(), 100);
    for (per_cent, exact) in [(50, 500_000_u64), (95, 950_000)] {
        let found = sums.duration.percentile(per_cent).expect("not empty");
        assert!(found.abs_diff(exact) * 8 <= exact, "p{per_cent} = {found}");
    }
    assert!(sums.overhead.percentile(50).is_some_and(|micros| (105..=136).contains(&micros)));
    assert_eq!(sums.last_received_at, Some(NOON.plus(HOUR)));
}

#[tokio::test]
async fn requests_are_paged_newest_first_and_each_appears_once() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let events: Vec<UsageEvent> = (0..25).map(|number| event(&tenant, NOON.minus(HOUR * 5 * number))).collect();
    usage::append(&world.store, &batch(1, &events)).await.expect("booked");
    let mut tx = world.store.read(tenant.id).await.expect("a read");
    let (mut cursor, mut seen) = (None, Vec::new());
    let limit = Limit::new(4).expect("a limit");
    loop {
        let filter = RequestFilter::default();
        let page = usage::list(&mut tx, tenant.workspace.id, &filter, cursor.as_ref(), limit).await.expect("listed");
        seen.extend(page.items.into_iter().map(|event| event.id));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, events.iter().map(|event| event.id).collect::<Vec<_>>());

    let only = RequestFilter { from: Some(NOON.minus(HOUR * 10)), to: Some(NOON), ..RequestFilter::default() };
    let page = usage::list(&mut tx, tenant.workspace.id, &only, None, Limit::default()).await.expect("listed");
    assert_eq!(page.items.iter().map(|event| event.id).collect::<Vec<_>>(), [events[1].id, events[2].id]);
    for (filter, count) in [
        (RequestFilter { model: Some("gpt-4o-mini".to_owned()), ..RequestFilter::default() }, 25),
        (RequestFilter { outcome: Some(Outcome::Rejected), ..RequestFilter::default() }, 0),
        (RequestFilter { end_user: Some("user-1".to_owned()), ..RequestFilter::default() }, 25),
        (RequestFilter { conversation_id: Some("none".to_owned()), ..RequestFilter::default() }, 0),
        (RequestFilter { trace_id: Some("trace".to_owned()), ..RequestFilter::default() }, 25),
        (RequestFilter { virtual_key_id: Some(VirtualKeyId::from_uuid(5)), ..RequestFilter::default() }, 25),
        (RequestFilter { environment_id: Some(tenant.environment.id), ..RequestFilter::default() }, 25),
        (RequestFilter { provider: Some("openai".to_owned()), ..RequestFilter::default() }, 25),
        (RequestFilter { deployment_id: Some(DeploymentId::from_uuid(7)), ..RequestFilter::default() }, 25),
    ] {
        let page = usage::list(&mut tx, tenant.workspace.id, &filter, None, Limit::default()).await.expect("listed");
        assert_eq!(page.items.len(), count, "{filter:?}");
    }
}

#[tokio::test]
async fn a_call_marks_its_key_as_used() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let issued = key(&tenant, "ci");
    let mut tx = world.store.write(tenant.id).await.expect("our turn");
    virtual_keys::insert(&mut tx, &permit(tenant.id), &issued).await.expect("added");
    note(&mut tx, &permit(tenant.id), "virtual_key.issue");
    tx.commit().await.expect("committed");
    let late = UsageEvent { virtual_key_id: issued.id, ..event(&tenant, NOON) };
    let early = UsageEvent { virtual_key_id: issued.id, ..event(&tenant, NOON.minus(HOUR)) };
    for (sequence, event) in [(1, late), (2, early)] {
        usage::append(&world.store, &batch(sequence, &[event])).await.expect("booked");
    }
    let mut tx = world.store.read(tenant.id).await.expect("a read");
    let found = virtual_keys::get(&mut tx, issued.id).await.expect("found");
    assert_eq!((found.last_used_at, found.old_secret_used_at), (Some(NOON), None));
    drop(tx);
    // With the secret that is being rotated away, and with the new one after it.
    let old = UsageEvent { virtual_key_id: issued.id, is_by_old_secret: true, ..event(&tenant, NOON.minus(HOUR)) };
    let new = UsageEvent { virtual_key_id: issued.id, ..event(&tenant, NOON) };
    usage::append(&world.store, &batch(3, &[new, old])).await.expect("booked");
    let mut tx = world.store.read(tenant.id).await.expect("a read");
    let found = virtual_keys::get(&mut tx, issued.id).await.expect("found");
    assert_eq!((found.last_used_at, found.old_secret_used_at), (Some(NOON), Some(NOON.minus(HOUR))));
}

#[tokio::test]
async fn one_batch_may_span_organizations_and_each_sees_its_own() {
    let world = World::new().await;
    let (first, second) = (world.tenant("first").await, world.tenant("second").await);
    let mut events: Vec<UsageEvent> = (0..3).map(|_| event(&first, NOON)).collect();
    events.extend((0..2).map(|_| event(&second, NOON)));
    // A key that both happen to name: ids are minted apart, but nothing may depend on it.
    assert_eq!(usage::append(&world.store, &batch(1, &events)).await.expect("booked").inserted, 5);
    assert_eq!(total(&world, &first).await.requests, 3);
    assert_eq!(total(&world, &second).await.requests, 2);
}

#[tokio::test]
async fn what_answers_given_again_saved_is_kept_and_summed() {
    let world = World::new().await;
    let tenant = world.tenant("first").await;
    let saving =
        |outcome| CacheUse { outcome, saved_input: 100, saved_output: 20, saved_cost: NanoUsd::from_nanos(27_000) };
    let free = |outcome| UsageEvent {
        usage: TokenUsage::default(),
        cost: NanoUsd::ZERO,
        deployment_id: None,
        provider: None,
        upstream_model: None,
        attempts: Vec::new(),
        cache: saving(outcome),
        ..event(&tenant, NOON)
    };
    let missed = CacheUse { outcome: CacheOutcome::Miss, ..CacheUse::default() };
    let events =
        [UsageEvent { cache: missed, ..event(&tenant, NOON) }, free(CacheOutcome::Hit), free(CacheOutcome::Coalesced)];
    for part in [&events[..2], &events[2..], &events[..]] {
        usage::append(&world.store, &batch(1, part)).await.expect("booked");
    }
    let sums = total(&world, &tenant).await;
    assert_eq!((sums.requests, sums.reused, sums.cost.as_nanos()), (3, 2, 27_000));
    assert_eq!((sums.saved_input, sums.saved_output, sums.saved_cost.as_nanos()), (200, 40, 54_000));
    let mut tx = world.store.read(tenant.id).await.expect("a read");
    for event in &events {
        let read = usage::get(&mut tx, tenant.workspace.id, event.id).await.expect("is there");
        assert_eq!(&read, event);
    }
}
