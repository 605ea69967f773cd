//! What operators and orchestrators ask a node: alive, ready, synced, metrics, why.
//!
//! Listens on its own address, which must not be exposed to clients: it names keys and models, never secrets.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use domain::Timestamp;
use domain::secret::Kid;
use policy::snapshot::{CredentialUse, KeyPolicy};
use policy::{Health, Snapshot};
use runtime::health::Readiness;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::MetricsWriter;
use crate::metrics::Text;
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
        .route("/explain", get(explain))
        .with_state(admin)
}

async fn readyz(State(admin): State<Arc<Admin>>) -> Response {
    let reasons: BTreeMap<_, _> = admin.readiness.list_reasons().into_iter().collect();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready: reasons.is_empty(), reasons })).into_response()
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
    reasons: BTreeMap<&'static str, String>,
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

// === Explain ===

#[derive(Deserialize)]
struct Asked {
    /// The public part of a virtual key.
    kid: String,
    /// The model that a client would ask for.
    model: String,
}

/// What would happen to a call, and which policy decides it.
#[derive(Serialize)]
struct Explained {
    organization_id: String,
    policy_revision: u64,
    set_hash: String,
    stale: bool,
    virtual_key_id: String,
    virtual_key_status: &'static str,
    virtual_key_expires_at: Option<Timestamp>,
    workspace_id: String,
    model: String,
    decision: &'static str,
    rule: String,
    max_attempts: Option<u16>,
    attempts: Vec<ExplainedAttempt>,
}

#[derive(Serialize)]
struct ExplainedAttempt {
    n: usize,
    deployment_id: String,
    deployment: String,
    provider: String,
    upstream_model: String,
    credential_id: Option<String>,
    healthy: bool,
}

async fn explain(State(admin): State<Arc<Admin>>, Query(asked): Query<Asked>) -> Response {
    let snapshot = admin.shared.policy.load_full();
    let Some(key) = Kid::parse(&asked.kid).and_then(|kid| snapshot.find_key(kid)) else {
        let text =
            "no key with this kid; it is the part after the second underscore of a virtual key, twelve characters\n";
        return (StatusCode::NOT_FOUND, text).into_response();
    };
    match explained(&admin, &snapshot, key, &asked.model) {
        Some(explained) => Json(explained).into_response(),
        None => (StatusCode::NOT_FOUND, "the key's organization is not held by this node\n").into_response(),
    }
}

fn explained(admin: &Admin, snapshot: &Snapshot, key: &KeyPolicy, name: &str) -> Option<Explained> {
    let now = admin.shared.clock.now();
    let organization = snapshot.organization(key.organization)?;
    let workspace = snapshot.workspace(key.key.workspace);
    let model = workspace.and_then(|workspace| workspace.model(name));
    let attempts = model.map(|model| {
        // The same seed each time: weights shuffle real calls, an explanation should stay as it is.
        policy::plan(model, 0, &mut |id| {
            if admin.shared.health.target(id).is_ejected(now) { Health::Ejected } else { Health::Healthy }
        })
    });
    let attempts = attempts.unwrap_or_default();
    let is_expired = key.key.expires_at.is_some_and(|at| at <= now);
    let status = key_status(key, is_expired, organization.is_stale(now));
    let (decision, rule) = match (status, workspace, model) {
        ("active", Some(_), Some(_)) if !key.allows(name) => {
            ("model_not_allowed", format!("the list of models of {}", key.key.id))
        }
        ("active", Some(_), Some(_)) if attempts.is_empty() => ("no_healthy_target", "no usable deployment".to_owned()),
        ("active", Some(_), Some(model)) => match model.route {
            Some(route) => ("dispatched", format!("route {route}")),
            None => ("dispatched", "the deployment of that name".to_owned()),
        },
        ("active", Some(_), None) => {
            ("model_unknown", "no route or deployment of that name in the workspace".to_owned())
        }
        ("active", None, _) => ("key_revoked", "the key's workspace is archived".to_owned()),
        (status, ..) => (status, format!("the state of {}", key.key.id)),
    };
    Some(Explained {
        organization_id: organization.id.to_string(),
        policy_revision: organization.revision,
        set_hash: organization.set_hash.to_string(),
        stale: organization.is_stale(now),
        virtual_key_id: key.key.id.to_string(),
        virtual_key_status: status,
        virtual_key_expires_at: key.key.expires_at,
        workspace_id: key.key.workspace.to_string(),
        model: name.to_owned(),
        decision,
        rule,
        max_attempts: model.map(|model| model.max_attempts),
        attempts: attempts.iter().enumerate().map(|(at, attempt)| explained_attempt(at + 1, attempt)).collect(),
    })
}

fn key_status(key: &KeyPolicy, is_expired: bool, is_stale: bool) -> &'static str {
    if key.is_unverifiable || is_stale {
        "policy_stale"
    } else if key.key.status == policy::resource::KeyStatus::Revoked {
        "key_revoked"
    } else if is_expired {
        "key_expired"
    } else {
        "active"
    }
}

fn explained_attempt(n: usize, attempt: &policy::Attempt) -> ExplainedAttempt {
    let deployment = &attempt.deployment;
    ExplainedAttempt {
        n,
        deployment_id: deployment.id.to_string(),
        deployment: deployment.name.clone(),
        provider: deployment.provider.clone(),
        upstream_model: deployment.upstream_model.clone(),
        credential_id: match &deployment.credential {
            CredentialUse::Ready(credential) => Some(credential.id.to_string()),
            _ => None,
        },
        healthy: attempt.health == Health::Healthy,
    }
}
