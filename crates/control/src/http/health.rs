//! Liveness, readiness and metrics.
//!
//! Alive: the process answers. Ready: nothing holds readiness back and the database answers. Metrics are on the admin address
//! only, since they tell about everybody.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, StatusCode, header};
use runtime::health::Readiness;

use operation::cx::Cx;

/// How long the database may take to answer the readiness question.
const PATIENCE: Duration = Duration::from_secs(2);

/// `/livez` and `/readyz`.
pub fn router(readiness: Arc<Readiness>) -> Router<Arc<Cx>> {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(move |State(cx): State<Arc<Cx>>| async move { ready(&cx, &readiness).await }))
}

/// `/livez`, `/readyz` and `/metrics`, for the admin address of a process that is only a control plane.
pub fn admin_router(cx: Arc<Cx>, readiness: Arc<Readiness>) -> Router {
    router(readiness).route("/metrics", get(|State(cx): State<Arc<Cx>>| async move { metrics(&cx) })).with_state(cx)
}

async fn ready(cx: &Cx, readiness: &Readiness) -> Response {
    let mut reasons = String::new();
    for (part, reason) in readiness.list_reasons() {
        let _ = writeln!(reasons, "{part}: {reason}");
    }
    if !matches!(tokio::time::timeout(PATIENCE, cx.store.ping()).await, Ok(Ok(()))) {
        reasons.push_str("database: does not answer\n");
    }
    if reasons.is_empty() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, reasons).into_response()
    }
}

fn metrics(cx: &Cx) -> Response {
    let mut response = cx.metrics.render().into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    response
}
