//! `cargo xtask bench ingest [EVENTS]`: how many events a second are booked: events, postings, sums, keys and watermark, in
//! transactions that are on disk before they are acknowledged. Two nodes report at once, as much as they can, to a private
//! cluster on the same machine. Held to the bound that was promised; exit status 1 when it is missed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use domain::id::uuid_v7;
use domain::usage::{AttemptOutcome, AttemptRecord, CacheUse, Endpoint, Outcome, TokenUsage, UnitUsage, UsageEvent};
use domain::{
    CredentialId, DeploymentId, EnvironmentId, NanoUsd, NodeId, OrganizationId, RequestId, Timestamp, VirtualKeyId,
    WorkspaceId,
};
use store::embedded::{Cluster, Options};
use store::usage::{Batch, append};
use store::{PoolLimits, Store, migrate};

/// Events a second that were promised.
const BOUND: u128 = 20_000;
const EVENTS: u64 = 400_000;
/// As many as a node sends at once at most.
const BATCH: u64 = 5_000;
const NODES: u64 = 2;
const KEYS: u64 = 100;
const MODELS: u64 = 5;
const NOON: &str = "2026-11-22T12:00:00Z";

/// A call as most are: one attempt, two pairs of metadata, a tag.
fn event(n: u64) -> UsageEvent {
    let noon: Timestamp = NOON.parse().expect("a time");
    let started_at = Timestamp::from_micros(noon.as_micros() + i64::try_from(n * 50).expect("a small number"));
    let mut random = [0; 10];
    random[2..].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    let usage = TokenUsage { input: 900 + n % 300, cached_input: 100, output: 150 + n % 70, ..TokenUsage::default() };
    let (cost, deployment) = (NanoUsd::from_nanos(2_000_000 + i64::try_from(n % 997).unwrap_or(0)), n % MODELS);
    let upstream_model = format!("gpt-4o-{deployment}");
    let attempt = AttemptRecord {
        n: 1,
        deployment_id: DeploymentId::from_uuid(u128::from(deployment)),
        credential_id: Some(CredentialId::from_uuid(6)),
        provider: "openai".to_owned(),
        upstream_model: upstream_model.clone(),
        started_at,
        duration_us: 900_000 + n % 100_000,
        first_byte_us: Some(200_000),
        outcome: AttemptOutcome::Success,
        status: Some(200),
        upstream_request_id: Some(format!("req_{n:024x}")),
        usage,
        modal: None,
        image: None,
        units: UnitUsage::default(),
        cost,
    };
    UsageEvent {
        id: RequestId::from_uuid(uuid_v7(started_at, random)),
        organization_id: OrganizationId::from_uuid(1),
        workspace_id: WorkspaceId::from_uuid(u128::from(n % 5)),
        environment_id: EnvironmentId::from_uuid(u128::from(n % 5)),
        virtual_key_id: VirtualKeyId::from_uuid(u128::from(n % KEYS)),
        node_id: NodeId::from_uuid(4),
        endpoint: Endpoint::ChatCompletions,
        model: upstream_model.clone(),
        route_id: None,
        deployment_id: Some(attempt.deployment_id),
        provider: Some("openai".to_owned()),
        upstream_model: Some(upstream_model),
        is_stream: true,
        outcome: Outcome::Success,
        status: 200,
        code: None,
        finish_reason: Some("stop".to_owned()),
        started_at,
        duration_us: attempt.duration_us,
        first_byte_us: attempt.first_byte_us,
        overhead_us: 120,
        usage,
        units: UnitUsage::default(),
        is_estimated: false,
        is_unmetered: false,
        cost,
        price_id: None,
        cache: CacheUse::default(),
        policy_revision: 3,
        end_user: Some(format!("user-{}", n % 1_000)),
        conversation_id: None,
        trace_id: None,
        metadata: vec![("team".to_owned(), "a".to_owned()), ("feature".to_owned(), "search".to_owned())],
        routing: None,
        tags: vec!["prod".to_owned()],
        dropped: Vec::new(),
        attempts: vec![attempt],
        charges: Vec::new(),
        is_by_old_secret: false,
    }
}

/// Reports a node's part, batch by batch; returns the longest batch in milliseconds.
async fn report(store: Store, node: u64, n_events: u64) -> u128 {
    let (node_id, received_at) = (NodeId::from_uuid(u128::from(node)), NOON.parse().expect("a time"));
    let mut longest = 0;
    for first in (0..n_events).step_by(usize::try_from(BATCH).expect("a small number")) {
        let last = (first + BATCH).min(n_events);
        let events: Vec<UsageEvent> = (first..last).map(|n| event(n * NODES + node)).collect();
        let batch = Batch {
            node_id,
            boot: "bench",
            first_sequence: first + 1,
            last_sequence: last,
            events: &events,
            received_at,
        };
        let started = Instant::now();
        let appended = append(&store, &batch).await.expect("booked");
        longest = longest.max(started.elapsed().as_millis());
        assert_eq!(appended.inserted, last - first, "{:?}", appended.refused);
    }
    longest
}

#[expect(clippy::print_stdout, reason = "a benchmark's figures are its output")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let n_events = arguments.first().and_then(|text| text.parse().ok()).unwrap_or(EVENTS);
    let folder: PathBuf = std::env::temp_dir().join(format!("headgate-bench-ingest-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let per_second = runtime.block_on(async {
        let cluster = Cluster::start(Options::new(&folder)).await.expect("a private cluster");
        migrate::run(cluster.database(), NOON.parse().expect("a time")).await.expect("a schema");
        let store = Store::open(cluster.database(), PoolLimits::default()).await.expect("a store");
        // The day's partition is made by its first event; that is not what is measured.
        report(store.clone(), n_events * NODES, 1).await;
        let started = Instant::now();
        let nodes: Vec<_> = (0..NODES).map(|node| report(store.clone(), node, n_events / NODES)).collect();
        let mut tasks = tokio::task::JoinSet::new();
        for node in nodes {
            tasks.spawn(node);
        }
        let longest = tasks.join_all().await.into_iter().max().unwrap_or(0);
        let per_second = u128::from(n_events) * 1_000 / started.elapsed().as_millis().max(1);
        println!(
            "{n_events} events in {:?}: {per_second} a second, the longest batch of {BATCH} took {longest} ms",
            started.elapsed()
        );
        store.close().await;
        cluster.stop().await.expect("a stopped cluster");
        per_second
    });
    std::fs::remove_dir_all(&folder).ok();
    if per_second >= BOUND { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
