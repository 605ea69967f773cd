//! `GET /explain`: what a node would do with a call, and which policy decides it. `GET /explain/{request_id}`: what it did.
//!
//! Names keys, models and deployments, never secrets and never content.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::Timestamp;
use domain::secret::Kid;
use policy::snapshot::{CredentialUse, DeploymentPolicy, KeyPolicy, ModelPolicy};
use policy::{Asked as PlanFor, Facts, Health, Plan, Signals, Snapshot};
use serde::{Deserialize, Serialize};

use super::Admin;
use crate::pipeline::dispatch::Known;

#[derive(Deserialize)]
pub(super) struct Asked {
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
    /// What is passed over, or put last, and why.
    skipped: Vec<ExplainedSkip>,
}

#[derive(Serialize)]
struct ExplainedSkip {
    deployment_id: String,
    deployment: String,
    reason: &'static str,
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
    /// The strategies that lead to it, from the root on; empty for a lone deployment.
    chosen_by: String,
}

pub(super) async fn of_key(State(admin): State<Arc<Admin>>, Query(asked): Query<Asked>) -> Response {
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

/// Shows how one of the last calls was decided.
pub(super) async fn of_call(State(admin): State<Arc<Admin>>, Path(id): Path<String>) -> Response {
    let Ok(id) = id.parse() else {
        return (StatusCode::NOT_FOUND, "not the id of a request; it is in the header x-headgate-request-id\n")
            .into_response();
    };
    match admin.shared.decisions.explain(id) {
        found if found.is_empty() => {
            let text = "this node does not remember such a call; it keeps the last thousand\n";
            (StatusCode::NOT_FOUND, text).into_response()
        }
        found => Json(found).into_response(),
    }
}

fn explained(admin: &Admin, snapshot: &Snapshot, key: &KeyPolicy, name: &str) -> Option<Explained> {
    let now = admin.shared.clock.now();
    let organization = snapshot.organization(key.organization)?;
    let workspace = snapshot.workspace(key.key.workspace);
    let model = workspace.and_then(|workspace| workspace.model(name));
    let known = Known { at: now, slow_start: Duration::ZERO, targets: &admin.shared.health, price: None };
    let plan = model.map(|model| {
        // The same seed each time: weights shuffle real calls, an explanation should stay as it is.
        let facts = Bare { model: name, at: now };
        policy::plan(model, &PlanFor { facts: &facts, signals: &known, wish: None, seed: 0, turn: 0 })
    });
    let plan = plan.unwrap_or_default();
    let is_expired = key.key.expires_at.is_some_and(|at| at <= now);
    let status = key_status(key, is_expired, organization.is_stale(now));
    let (decision, rule) = match (status, workspace, model) {
        ("active", Some(_), Some(_)) if !key.allows(name) => {
            ("model_not_allowed", format!("the list of models of {}", key.key.id))
        }
        ("active", Some(_), Some(_)) if plan.is_empty() => ("no_healthy_target", "no usable deployment".to_owned()),
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
        attempts: model.map(|model| attempts(model, &plan, &known)).unwrap_or_default(),
        skipped: model.map(|model| skipped(model, &plan)).unwrap_or_default(),
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

fn attempts(model: &ModelPolicy, plan: &Plan, known: &Known<'_>) -> Vec<ExplainedAttempt> {
    let order = plan.slots().iter().cycle().take(usize::from(model.max_attempts.max(1)));
    let targets = order.filter_map(|slot| Some((*slot, model.targets.get(usize::from(*slot))?)));
    targets
        .enumerate()
        .map(|(at, (slot, target))| {
            let deployment = &target.deployment;
            let DeploymentPolicy { id, name, provider, upstream_model, credential, .. } = &**deployment;
            ExplainedAttempt {
                n: at + 1,
                deployment_id: id.to_string(),
                deployment: name.clone(),
                provider: provider.clone(),
                upstream_model: upstream_model.clone(),
                credential_id: match credential {
                    CredentialUse::Ready(credential) => Some(credential.id.to_string()),
                    _ => None,
                },
                healthy: known.health(*id) == Health::Fit,
                chosen_by: model.tree.path(slot),
            }
        })
        .collect()
}

fn skipped(model: &ModelPolicy, plan: &Plan) -> Vec<ExplainedSkip> {
    let slots = (0_u8..).zip(&model.targets);
    slots
        .filter_map(|(slot, target)| {
            let reason = plan.skip(slot)?.as_str();
            Some(ExplainedSkip {
                deployment_id: target.deployment.id.to_string(),
                deployment: target.deployment.name.clone(),
                reason,
            })
        })
        .collect()
}

/// A call of which nothing is known but the model it asks for.
struct Bare<'a> {
    model: &'a str,
    at: Timestamp,
}

impl Facts for Bare<'_> {
    fn at(&self) -> Timestamp {
        self.at
    }

    fn model(&self) -> &str {
        self.model
    }
}
