//! What every answer of the control address gets: a request id, a span, security headers, a metric; panics become 500.
//!
//! Knows nothing of operations. Headers that a handler has set are kept.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use domain::{IdMint as _, RequestId};
use futures_util::FutureExt as _;
use http::{HeaderName, HeaderValue, header};
use tracing::Instrument as _;

use crate::cx::Cx;

const HEADERS: [(HeaderName, HeaderValue); 7] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), microphone=(), geolocation=()"),
    ),
];

/// The id of the request at hand, for handlers that write it down.
#[derive(Debug, Clone, Copy)]
pub struct RequestTag(pub RequestId);

/// Wraps one request.
pub async fn wrap(State(cx): State<Arc<Cx>>, mut request: Request, next: Next) -> Response {
    let id = RequestId::from_uuid(cx.mint.next_uuid());
    request.extensions_mut().insert(RequestTag(id));
    let span = tracing::info_span!(
        "control.request",
        "request.id" = %id,
        "http.request.method" = %request.method(),
        "url.path" = request.uri().path(),
        "http.response.status_code" = tracing::field::Empty,
        "operation" = tracing::field::Empty,
        "actor" = tracing::field::Empty,
    );
    let started = cx.clock.now();
    let handled = AssertUnwindSafe(next.run(request).instrument(span.clone())).catch_unwind();
    let mut response = handled.await.unwrap_or_else(|reason| panicked(&*reason, id));
    span.record("http.response.status_code", response.status().as_u16());
    cx.metrics.answered(response.status(), cx.clock.now().since(started));
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(value);
    }
    if cx.config.is_https() {
        headers
            .insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000; includeSubDomains"));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(HeaderName::from_static("x-headgate-request-id"), value);
    }
    response
}

fn panicked(reason: &(dyn Any + Send), id: RequestId) -> Response {
    let text = reason.downcast_ref::<&str>().copied().or_else(|| reason.downcast_ref::<String>().map(String::as_str));
    tracing::error!(request.id = %id, panic = text.unwrap_or("no reason given"), "a request handler panicked");
    crate::error::internal(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_answered_with_the_id_that_the_log_names() {
        let id = RequestId::from_uuid(7);
        let answer = panicked(&"boom", id);
        assert_eq!(answer.status(), http::StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::body::to_bytes(answer.into_body(), 10_000).await.expect("a body");
        let body: api::Problem = serde_json::from_slice(&body).expect("a problem");
        assert_eq!(body.request_id, Some(id.to_string()));
    }
}
