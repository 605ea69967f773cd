//! What operators and orchestrators ask a node: alive, ready, synced, metrics, why.
//!
//! Listens on its own address, which must not be exposed to clients: it names keys and models, never secrets.

mod explain;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use domain::Timestamp;
use policy::Snapshot;
use runtime::health::Readiness;
use runtime::telemetry::metrics::Text;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::MetricsWriter;
use crate::pipeline::Shared;

/// What the endpoints read.
pub(crate) struct Admin {
    shared: Arc<Shared>,
    readiness: Readiness,
    more_metrics: Vec<MetricsWriter>,
}

impl Admin {
    pub(crate) fn new(shared: Arc<Shared>, readiness: Readiness, more_metrics: Vec<MetricsWriter>) -> Arc<Self> {
        Arc::new(Self { shared, readiness, more_metrics })
    }
}

/// Serves the endpoints until the stop signal.
pub(crate) async fn serve(listener: TcpListener, admin: Arc<Admin>, stop: CancellationToken) {
    let served = axum::serve(listener, router(admin)).with_graceful_shutdown(async move { stop.cancelled().await });
    if let Err(error) = served.await {
        tracing::error!(%error, "the admin endpoints ended");
    }
}

fn router(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/synced", get(synced))
        .route("/metrics", get(metrics))
        .route("/explain", get(explain::of_key))
        .route("/explain/{request_id}", get(explain::of_call))
        .with_state(admin)
}

async fn readyz(State(admin): State<Arc<Admin>>) -> Response {
    let reasons: BTreeMap<_, _> = admin.readiness.list_reasons().into_iter().collect();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let degraded = (admin.shared.ephemeral.degraded)().into_iter().collect();
    (status, Json(Standing { ready: reasons.is_empty(), reasons, degraded })).into_response()
}

#[derive(Serialize)]
struct Standing {
    ready: bool,
    reasons: BTreeMap<&'static str, String>,
    /// What is away and not missed by a call.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    degraded: BTreeMap<&'static str, String>,
}

// === Synced ===

#[derive(Serialize)]
struct SyncState {
    synced: bool,
    organizations: Vec<OrganizationState>,
    keys: usize,
    workspaces: usize,
}

#[derive(Serialize)]
struct OrganizationState {
    organization_id: String,
    revision: u64,
    set_hash: String,
    confirmed_at: Timestamp,
    age_ms: u64,
    stale: bool,
    bad_resources: Vec<BadResource>,
}

#[derive(Serialize)]
struct BadResource {
    resource: String,
    reason: String,
}

async fn synced(State(admin): State<Arc<Admin>>) -> Response {
    let snapshot = admin.shared.policy.load_full();
    let state = synced_state(&snapshot, admin.shared.clock.now());
    let status = if state.synced { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(state)).into_response()
}

fn synced_state(snapshot: &Snapshot, now: Timestamp) -> SyncState {
    let mut organizations: Vec<OrganizationState> = snapshot
        .organizations()
        .map(|organization| {
            let confirmed_at = organization.freshness.confirmed_at();
            OrganizationState {
                organization_id: organization.id.to_string(),
                revision: organization.revision,
                set_hash: organization.set_hash.to_string(),
                confirmed_at,
                age_ms: u64::try_from(now.since(confirmed_at).as_millis()).unwrap_or(u64::MAX),
                stale: organization.is_stale(now),
                bad_resources: organization
                    .bad_resources()
                    .map(|(location, reason)| BadResource { resource: location.key.to_string(), reason: reason.code() })
                    .collect(),
            }
        })
        .collect();
    organizations.sort_by(|left, right| left.organization_id.cmp(&right.organization_id));
    let synced = !organizations.is_empty() && organizations.iter().all(|organization| !organization.stale);
    SyncState { synced, organizations, keys: snapshot.key_count(), workspaces: snapshot.workspace_count() }
}

// === Metrics ===

async fn metrics(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let mut out = String::with_capacity(32 * 1024);
    admin.shared.metrics.render(&mut out);
    render_policy(&admin, &mut out);
    for write in &admin.more_metrics {
        write(&mut out);
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], out)
}

fn render_policy(admin: &Admin, out: &mut String) {
    let snapshot = admin.shared.policy.load_full();
    let now = admin.shared.clock.now();
    let oldest = snapshot.organizations().map(|it| now.since(it.freshness.confirmed_at())).max().unwrap_or_default();
    let bad: usize = snapshot.organizations().map(|it| it.bad_resources().count()).sum();
    let mut text = Text(out);
    for (name, help, value) in [
        (
            "headgate_policy_organizations",
            "Organizations whose policy the node holds.",
            snapshot.organizations().count() as u64,
        ),
        ("headgate_policy_keys", "Virtual keys that the node holds.", snapshot.key_count() as u64),
        ("headgate_policy_bad_resources", "Resources that did not compile.", bad as u64),
        (
            "headgate_policy_age_seconds",
            "Time since the control plane last confirmed the oldest policy.",
            oldest.as_secs(),
        ),
        ("headgate_ready", "Whether the node is ready.", u64::from(admin.readiness.is_ready())),
    ] {
        text.head(name, "gauge", help);
        text.line(name, &[], value);
    }
}
