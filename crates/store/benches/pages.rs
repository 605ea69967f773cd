//! `cargo xtask bench usage-pages [EVENTS]`: how long what the console's pages of usage ask takes when a month has ten million
//! events: of 100 keys, 10 models, in five workspaces, made by SQL. Held to the bound that was promised; exit status 1 when it is
//! missed. A test cluster serves; only reads are measured.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use domain::page::Limit;
use domain::{EnvironmentId, NodeId, OrganizationId, Timestamp, VirtualKeyId, WorkspaceId};
use sqlx::{AssertSqlSafe, PgConnection};
use store::testing::TestDatabase;
use store::usage::{self, By, Dimension, Query, RequestFilter, Span, Step};
use store::{Store, Tx};

const EVENTS: i64 = 10_000_000;
const BOUND: Duration = Duration::from_millis(200);
const FIRST_DAY: i32 = 20_758;
const DAYS: i32 = 30;
const DAY: i64 = 86_400_000_000;
const ROUNDS: usize = 5;

fn at(day: i32) -> Timestamp {
    Timestamp::from_micros(i64::from(day) * DAY)
}

async fn run(connection: &mut PgConnection, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.expect("a statement");
}

/// Makes a day of events and their sums; ids are of that day and in the order of time.
async fn fill(connection: &mut PgConnection, day: i32, n_events: i64) {
    let (organization, workspace) = (OrganizationId::from_uuid(1), WorkspaceId::from_uuid(0).to_string());
    let workspace = &workspace[..workspace.len() - 1];
    let key = VirtualKeyId::from_uuid(0).to_string();
    let key = &key[..key.len() - 2];
    let (environment, node) = (EnvironmentId::from_uuid(1), NodeId::from_uuid(4));
    let start = i64::from(day) * DAY;
    // Ids of digits alone are ids, too, and sort as their time does.
    run(
        connection,
        format!(
            "SELECT headgate_usage_partition({day});
             INSERT INTO usage_events (organization_id, day, id, workspace_id, environment_id, virtual_key_id, node_id, endpoint, model,
                    provider, upstream_model, is_stream, outcome, status, started_at, duration_us, overhead_us, input, cached_input,
                    cache_write_5m, cache_write_1h, output, reasoning, is_estimated, cost_nanos, policy_revision, metadata, tags,
                    dropped, attempts, received_at)
             SELECT '{organization}', {day}, 'req_' || lpad((({start} / 1000) + n * 86400000 / {n_events})::text, 16, '0') || lpad(n::text, 10, '0'),
                    '{workspace}' || n % 5, '{environment}', '{key}' || lpad((n % 100)::text, 2, '0'), '{node}', 'chat_completions', 'model-' || n % 10,
                    'openai', 'model-' || n % 10, true, 'success', 200, {start} + n * {DAY} / {n_events}, 900000 + n % 100000, 120, 900,
                    100, 0, 0, 150, 0, false, 2000000, 1, '[[\"team\", \"a\"]]', '[\"prod\"]', '[]', '[]', {start}
               FROM generate_series(0, {n_events} - 1) AS n;
             INSERT INTO usage_rollups (organization_id, hour_at, workspace_id, environment_id, virtual_key_id, model, provider,
                    deployment_id, requests, errors, failures, input, cached_input, cache_write_5m, cache_write_1h, output,
                    reasoning, cost_nanos, durations, first_bytes, overheads, last_received_at)
             SELECT organization_id, started_at - started_at % 3600000000, workspace_id, environment_id, virtual_key_id, model, provider,
                    '', count(*), 0, 0, sum(input), sum(cached_input), 0, 0, sum(output), 0, sum(cost_nanos),
                    ('0.' || repeat('0', 142 * 12) || lpad(count(*)::text, 12, '0'))::numeric, ('0.' || repeat('0', 125 * 12) || lpad(count(*)::text, 12, '0'))::numeric,
                    ('0.' || repeat('0', 40 * 12) || lpad(count(*)::text, 12, '0'))::numeric, max(received_at)
               FROM usage_events WHERE organization_id = '{organization}' AND day = {day} GROUP BY 1, 2, 3, 4, 5, 6, 7;"
        ),
    )
    .await;
}

struct Case {
    name: &'static str,
    query: Asked,
}

enum Asked {
    Sum(Query),
    Requests(RequestFilter),
    Report(Vec<By>),
}

fn cases() -> Vec<Case> {
    let last = FIRST_DAY + DAYS;
    let sum = |days: i32, group_by: &[Dimension], step| {
        Asked::Sum(Query { group_by: group_by.to_vec(), step, limit: 5_001, ..Query::all(at(last - days), at(last)) })
    };
    let requests = |model: Option<&str>| {
        let model = model.map(ToOwned::to_owned);
        Asked::Requests(RequestFilter {
            from: Some(at(last - 7)),
            to: Some(at(last)),
            model,
            ..RequestFilter::default()
        })
    };
    let case = |name, query| Case { name, query };
    vec![
        case("7 days, total", sum(7, &[], None)),
        case("7 days by model and day", sum(7, &[Dimension::Model], Some(Step::Day))),
        case("30 days, total", sum(30, &[], None)),
        case("30 days by day", sum(30, &[], Some(Step::Day))),
        case("30 days by key and model", sum(30, &[Dimension::VirtualKey, Dimension::Model], None)),
        case("requests of 7 days, a page", requests(None)),
        case("requests of a model, a page", requests(Some("model-3"))),
        case("report of a month by workspace and model", Asked::Report(vec![By::Workspace, By::Model])),
    ]
}

async fn ask(tx: &mut Tx, query: &Asked) -> usize {
    match query {
        Asked::Sum(query) => usage::sum(tx, query).await.expect("sums").len(),
        Asked::Requests(filter) => {
            let page = usage::list(tx, WorkspaceId::from_uuid(0), filter, None, Limit::default()).await;
            page.expect("a page").items.len()
        }
        Asked::Report(by) => {
            let span = Span { from: at(FIRST_DAY), to: at(FIRST_DAY + DAYS), by, limit: 100_001 };
            usage::report_sums(tx, span).await.expect("sums").len()
        }
    }
}

/// Returns the median of some rounds.
async fn measure(store: &Store, query: &Asked) -> (usize, Duration) {
    let (mut took, mut n_rows) = (Vec::new(), 0);
    for _ in 0..ROUNDS {
        let mut tx = store.read(OrganizationId::from_uuid(1)).await.expect("a transaction");
        let started = Instant::now();
        n_rows = ask(&mut tx, query).await;
        took.push(started.elapsed());
    }
    took.sort();
    (n_rows, took[ROUNDS / 2])
}

#[expect(clippy::print_stdout, reason = "a benchmark's figures are its output")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let n_events: i64 = arguments.first().and_then(|text| text.parse().ok()).unwrap_or(EVENTS);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let is_kept = runtime.block_on(async {
        let database = TestDatabase::create().await.expect("a database");
        let mut connection = database.superuser().await.expect("a connection");
        for day in FIRST_DAY..FIRST_DAY + DAYS {
            fill(&mut connection, day, n_events / i64::from(DAYS)).await;
        }
        run(&mut connection, "ANALYZE usage_events; ANALYZE usage_rollups".to_owned()).await;
        let store = database.store().await.expect("a store");
        let mut is_kept = true;
        for case in cases() {
            let (n_rows, took) = measure(&store, &case.query).await;
            let says = if took <= BOUND { "" } else { "  MISSED" };
            println!("{:44} {n_rows:>6} rows {:>8.1} ms{says}", case.name, took.as_secs_f64() * 1_000.0);
            is_kept &= took <= BOUND;
        }
        is_kept
    });
    if is_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
