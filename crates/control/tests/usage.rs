//! Usage through the API: who sees whose, filters, pages, tables.

use std::time::Duration;

use api::ops::usage::{
    AttemptQuery, ExportOrganizationUsage, ExportWorkspaceUsage, ListRequests, OrganizationAttempts, OrganizationUsage,
    RequestQuery, UsageQuery, WorkspaceUsage,
};
use api::ops::workspaces::{CreateWorkspace, NewWorkspace};
use api::ops::{OrganizationPath, WorkspacePath};
use api::{Empty, NoQuery};
use domain::id::IdMint as _;
use domain::usage::{AttemptOutcome, AttemptRecord, Endpoint, Outcome, TokenUsage, UnitUsage, UsageEvent};
use domain::{DeploymentId, NanoUsd, NodeId, RequestId, Role, Scope, Timestamp, VirtualKeyId, WorkspaceId};
use http::{StatusCode, header};
use store::usage::Batch;

use crate::world::World;

const MINUTE: Duration = Duration::from_secs(60);

/// An event of a workspace that began some minutes ago.
pub(crate) fn event(world: &World, workspace: WorkspaceId, minutes: u32, model: &str) -> UsageEvent {
    UsageEvent {
        id: RequestId::from_uuid(world.cx.mint.next_uuid()),
        organization_id: world.organization(),
        workspace_id: workspace,
        environment_id: world.environment("development"),
        virtual_key_id: VirtualKeyId::from_uuid(5),
        node_id: NodeId::from_uuid(4),
        endpoint: Endpoint::ChatCompletions,
        model: model.to_owned(),
        route_id: None,
        deployment_id: None,
        provider: Some("echo".to_owned()),
        upstream_model: Some("echo-1".to_owned()),
        is_stream: false,
        outcome: Outcome::Success,
        status: 200,
        code: None,
        finish_reason: None,
        started_at: world.now().minus(MINUTE * minutes),
        duration_us: 1_000,
        first_byte_us: None,
        overhead_us: 100,
        usage: TokenUsage { input: 10, output: 1, ..TokenUsage::default() },
        units: UnitUsage { images: 2, ..UnitUsage::default() },
        is_estimated: false,
        is_unmetered: false,
        cost: NanoUsd::from_nanos(1_000),
        price_id: None,
        cache: domain::usage::CacheUse::default(),
        policy_revision: 1,
        end_user: None,
        conversation_id: None,
        trace_id: None,
        metadata: Vec::new(),
        routing: None,
        tags: Vec::new(),
        dropped: Vec::new(),
        attempts: Vec::new(),
        charges: Vec::new(),
        is_by_old_secret: false,
    }
}

pub(crate) async fn book(world: &World, events: &[UsageEvent]) {
    book_from(world, 1, events).await;
}

/// Books events that follow those before `first_sequence`.
pub(crate) async fn book_from(world: &World, first_sequence: u64, events: &[UsageEvent]) {
    let last_sequence = first_sequence + events.len() as u64 - 1;
    let received_at = world.now();
    let batch =
        Batch { node_id: NodeId::from_uuid(4), boot: "boot", first_sequence, last_sequence, events, received_at };
    let booked = store::usage::append(&world.cx.store, &batch).await.expect("booked");
    assert_eq!(booked.inserted, events.len() as u64, "{:?}", booked.refused);
}

#[tokio::test]
async fn a_person_sees_the_usage_of_workspaces_they_see_and_of_no_other() {
    let world = World::new().await;
    let (organization, ours) = (world.organization(), world.workspace());
    let place = OrganizationPath { organization_id: organization };
    let body = NewWorkspace { slug: "beside".parse().expect("a slug"), name: "Beside".parse().expect("a name") };
    let beside = world.as_owner().call::<CreateWorkspace>(place, NoQuery {}, body).await.expect("a workspace").id;
    let events = [event(&world, ours, 5, "ours"), event(&world, beside, 5, "secret-model")];
    book(&world, &events).await;

    let viewer = world.as_role(Role::Viewer, Scope::Workspace(organization, ours)).await;
    let by_model = || UsageQuery { group_by: Some("model".to_owned()), ..UsageQuery::default() };
    let ws = |workspace_id| WorkspacePath { workspace_id };
    let seen = viewer.call::<WorkspaceUsage>(ws(ours), by_model(), Empty {}).await.expect("their own");
    assert_eq!((seen.total.requests, seen.rows[0].group[0].as_str()), (1, "ours"));
    for (what, refused) in [
        ("sums", viewer.refused::<WorkspaceUsage>(ws(beside), by_model(), Empty {}).await.status),
        ("table", viewer.refused::<ExportWorkspaceUsage>(ws(beside), by_model(), Empty {}).await.status),
        ("requests", viewer.refused::<ListRequests>(ws(beside), RequestQuery::default(), Empty {}).await.status),
    ] {
        assert_eq!(refused, 404, "{what}");
    }
    for (what, refused) in [
        ("sums", viewer.refused::<OrganizationUsage>(place, by_model(), Empty {}).await.status),
        ("table", viewer.refused::<ExportOrganizationUsage>(place, by_model(), Empty {}).await.status),
    ] {
        assert_eq!(refused, 403, "the organization's {what} would tell of workspaces they do not see");
    }
    let table = viewer.call::<ExportWorkspaceUsage>(ws(ours), by_model(), Empty {}).await.expect("a table").0;
    assert!(table.contains("ours") && !table.contains("secret-model"), "{table}");
    let (stranger, _, _) = world.as_stranger().await;
    assert_eq!(stranger.refused::<OrganizationUsage>(place, by_model(), Empty {}).await.status, 404);
    let whole = world.as_owner().call::<OrganizationUsage>(place, by_model(), Empty {}).await.expect("all of it");
    assert_eq!((whole.total.requests, whole.rows.len()), (2, 2));
}

#[tokio::test]
async fn the_failures_of_a_provider_that_answers_nothing_are_its_own() {
    let world = World::new().await;
    let place = OrganizationPath { organization_id: world.organization() };
    let mut answered = event(&world, world.workspace(), 5, "m");
    let attempt = |provider: &str, outcome, status| AttemptRecord {
        n: 1,
        deployment_id: DeploymentId::from_uuid(7),
        credential_id: None,
        provider: provider.to_owned(),
        upstream_model: "m-1".to_owned(),
        started_at: answered.started_at,
        duration_us: 2_000_000,
        first_byte_us: Some(1_000_000),
        outcome,
        status,
        upstream_request_id: None,
        usage: TokenUsage::default(),
        modal: None,
        image: None,
        units: UnitUsage::default(),
        cost: NanoUsd::ZERO,
    };
    let fell_back = vec![
        attempt("mistral", AttemptOutcome::Status, Some(500)),
        attempt("mistral", AttemptOutcome::Connect, None),
        attempt("echo", AttemptOutcome::Success, Some(200)),
    ];
    answered.attempts = fell_back;
    book(&world, &[answered]).await;
    let owner = world.as_owner();
    // By requests, nothing failed and only one provider is known.
    let by_provider = UsageQuery { group_by: Some("provider".to_owned()), ..UsageQuery::default() };
    let requests = owner.call::<OrganizationUsage>(place, by_provider, Empty {}).await.expect("sums");
    assert_eq!((requests.rows.len(), requests.total.failures), (1, 0));
    let tries = owner.call::<OrganizationAttempts>(place, AttemptQuery::default(), Empty {}).await.expect("sums");
    let told: Vec<_> = tries
        .rows
        .iter()
        .map(|row| (row.labels[0].as_str(), row.sums.attempts, row.sums.failures, row.sums.p50_ms.is_some()))
        .collect();
    assert_eq!(told, [("mistral", 2, 2, false), ("echo", 1, 0, true)]);
    assert_eq!((tries.total.attempts, tries.total.failed, tries.total.unreachable), (3, 1, 1));
    let wrong = AttemptQuery { group_by: Some("colour".to_owned()), ..AttemptQuery::default() };
    let refused = owner.refused::<OrganizationAttempts>(place, wrong, Empty {}).await;
    assert_eq!(refused.fields[0].pointer, "group_by");
}

#[tokio::test]
async fn requests_are_filtered_by_time_key_model_and_end_and_pages_have_each_once() {
    let world = World::new().await;
    let at = WorkspacePath { workspace_id: world.workspace() };
    let mut events: Vec<_> = (0..20_u32).map(|n| event(&world, world.workspace(), n, "a")).collect();
    for (n, event) in events.iter_mut().enumerate() {
        if n % 2 == 0 {
            event.model = "b".to_owned();
        }
        if n % 5 == 0 {
            (event.outcome, event.status) = (Outcome::Rejected, 503);
        }
        if n % 3 == 0 {
            event.virtual_key_id = VirtualKeyId::from_uuid(6);
            event.end_user = Some("user-1".to_owned());
        }
    }
    book(&world, &events).await;
    let owner = world.as_owner();
    let count = |keep: &dyn Fn(&UsageEvent) -> bool| events.iter().filter(|event| keep(event)).count();
    let (from, to) = (world.now().minus(MINUTE * 9), world.now().minus(MINUTE * 2));
    let all = RequestQuery { limit: Some(200), ..RequestQuery::default() };
    let cases: [(RequestQuery, usize); 6] = [
        (all.clone(), 20),
        (RequestQuery { model: Some("b".to_owned()), ..all.clone() }, count(&|it| it.model == "b")),
        (
            RequestQuery { from: Some(from), to: Some(to), ..all.clone() },
            count(&|it| (from..to).contains(&it.started_at)),
        ),
        (
            RequestQuery { virtual_key_id: Some(VirtualKeyId::from_uuid(6)), ..all.clone() },
            count(&|it| it.virtual_key_id == VirtualKeyId::from_uuid(6)),
        ),
        (
            RequestQuery { outcome: Some(Outcome::Rejected), end_user: Some("user-1".to_owned()), ..all.clone() },
            count(&|it| it.outcome == Outcome::Rejected && it.end_user.is_some()),
        ),
        (RequestQuery { provider: Some("openai".to_owned()), ..all }, 0),
    ];
    for (query, wanted) in cases {
        let whole = owner.call::<ListRequests>(at, query.clone(), Empty {}).await.expect("requests").items;
        assert_eq!(whole.len(), wanted, "{query:?}");
        let (mut paged, mut cursor) = (Vec::new(), None);
        loop {
            let query = RequestQuery { limit: Some(3), cursor, ..query.clone() };
            let page = owner.call::<ListRequests>(at, query, Empty {}).await.expect("a page");
            paged.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(paged, whole, "{query:?}");
    }
}

#[tokio::test]
async fn the_edges_of_a_time_are_read_in_any_zone_and_a_table_is_offered_for_download() {
    let world = World::new().await;
    let workspace = world.workspace();
    // Nine in the morning UTC; the events are of 8:59 and 7:59.
    book(&world, &[event(&world, workspace, 1, "a"), event(&world, workspace, 61, "a")]).await;
    let owner = world.as_owner();
    let base = format!("/api/v1/workspaces/{workspace}/usage");
    for (from, to, wanted) in [
        ("2026-11-22T08:00:00Z", "2026-11-22T09:00:00Z", 1),
        ("2026-11-22T10:00:00%2B02:00", "2026-11-22T11:00:00%2B02:00", 1),
        ("2026-11-22T03:00:00-05:00", "2026-11-22T04:00:00-05:00", 1),
        ("2026-11-22T07:59:59.999999Z", "2026-11-22T08:00:00Z", 1),
        ("2026-11-22T07:00:00Z", "2026-11-22T09:00:00Z", 2),
        ("2026-11-22T09:00:00Z", "2026-11-22T10:00:00Z", 0),
    ] {
        let answer = owner.send("GET", &format!("{base}?from={from}&to={to}"), None).await;
        assert_eq!(answer.json()["total"]["requests"], wanted, "{from} {to}: {}", answer.body);
    }
    let late = owner.send("GET", &format!("{base}?utc_offset_minutes=841"), None).await;
    assert_eq!(
        (late.status, late.problem().fields[0].pointer.as_str()),
        (StatusCode::BAD_REQUEST, "utc_offset_minutes")
    );
    let days = owner.send("GET", &format!("{base}?group_by=day&utc_offset_minutes=960"), None).await;
    assert_eq!(days.status, StatusCode::BAD_REQUEST);
    let days = owner.send("GET", &format!("{base}?group_by=day&utc_offset_minutes=-510"), None).await.json();
    let begins: Vec<Timestamp> = days["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| row["group"][0].as_str().expect("a time").parse().expect("a time"))
        .collect();
    // Eight and a half hours west, both hours begin before midnight, though the later one reaches over it.
    assert_eq!(begins, ["2026-11-21T08:30:00Z".parse().expect("a time")], "{days}");

    let table = owner.send("GET", &format!("{base}/export?group_by=model,hour"), None).await;
    assert_eq!(table.headers[header::CONTENT_TYPE], "text/csv; charset=utf-8; header=present");
    let disposition = table.headers[header::CONTENT_DISPOSITION].to_str().expect("text");
    assert!(disposition.starts_with("attachment") && disposition.ends_with(".csv\""), "{disposition}");
    assert_eq!(table.body.lines().count(), 3, "{}", table.body);
    assert!(table.body.starts_with("model,model_name,hour,hour_name,requests,"), "{}", table.body);
}

#[tokio::test]
async fn minutes_are_exact_and_what_they_cannot_say_is_refused_with_what_to_ask() {
    let world = World::new().await;
    let (organization, workspace) = (world.organization(), world.workspace());
    // Nine in the morning; two calls of one minute, one of the next but one, one of an hour ago.
    let minutes_ago = [3, 3, 1, 61].map(|minutes| event(&world, workspace, minutes, "a"));
    book(&world, &minutes_ago).await;
    let owner = world.as_owner();
    let base = format!("/api/v1/workspaces/{workspace}/usage");
    let counts = |answer: &serde_json::Value| -> Vec<(String, u64)> {
        let row = |row: &serde_json::Value| {
            (row["group"][0].as_str().expect("a time").to_owned(), row["sums"]["requests"].as_u64().expect("a count"))
        };
        answer["rows"].as_array().expect("rows").iter().map(row).collect()
    };
    let at = |minute: &str, count: u64| (format!("2026-11-22T{minute}:00Z"), count);
    let hour = owner.send("GET", &format!("{base}?group_by=minute"), None).await.json();
    assert_eq!(counts(&hour), [at("08:57", 2), at("08:59", 1)]);
    assert_eq!((hour["total"]["requests"].as_u64(), hour["total"]["p95_ms"].is_u64()), (Some(3), true), "{hour}");
    let from = "from=2026-11-22T06:00:00Z";
    let quarters = owner.send("GET", &format!("{base}?group_by=minute&minutes=15&{from}"), None).await.json();
    assert_eq!(counts(&quarters), [at("07:45", 1), at("08:45", 3)]);
    let split = owner.send("GET", &format!("{base}?group_by=minute,environment&{from}"), None).await.json();
    assert_eq!(split["rows"][0]["labels"][1], "Development", "{split}");
    let everywhere = format!("/api/v1/organizations/{organization}/usage?group_by=workspace,minute&{from}");
    assert_eq!(owner.send("GET", &everywhere, None).await.json()["rows"].as_array().map(Vec::len), Some(3));
    let table = owner.send("GET", &format!("{base}/export?group_by=minute"), None).await;
    assert_eq!(table.body.lines().count(), 3, "{}", table.body);

    for (query, pointer, says) in [
        ("group_by=minute&from=2026-11-21T08:59:00Z", "from", "24 hours"),
        ("group_by=minute&from=2026-11-19T08:59:00Z&to=2026-11-19T09:30:00Z", "from", "3 days"),
        ("group_by=minute,model", "group_by", "model by `hour`"),
        ("group_by=minute&model=a", "model", "by `hour`"),
        ("group_by=minute&provider=echo", "provider", "by `hour`"),
        ("group_by=minute,hour", "group_by", "one of minute, hour and day"),
        ("group_by=minute&minutes=7", "minutes", "use 1, 2"),
        ("group_by=minute&minutes=0", "minutes", "use 1, 2"),
        ("group_by=hour&minutes=5", "minutes", "not in `group_by`"),
    ] {
        let refused = owner.send("GET", &format!("{base}?{query}"), None).await;
        let field = &refused.problem().fields[0];
        assert_eq!((refused.status, field.pointer.as_str()), (StatusCode::BAD_REQUEST, pointer), "{query}");
        assert!(field.detail.contains(says), "{query}: {}", field.detail);
    }
    let oldest = "group_by=minute&from=2026-11-19T09:00:00Z&to=2026-11-20T09:00:00Z";
    assert_eq!(owner.send("GET", &format!("{base}?{oldest}"), None).await.status, StatusCode::OK);
}
