//! The HTTP face of the control plane: the API, the console, the documentation, health.

pub mod console;
pub mod health;
pub mod scanning;
pub mod table;

use std::sync::Arc;

use api::{Problem, docs};
use axum::Router;
use axum::body::Body;
use axum::extract::{OriginalUri, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use domain::code::ProblemCode;
use http::{HeaderValue, Method, header};
use runtime::health::Readiness;

use crate::http::console::{Console, ConsoleFiles};
use operation::cx::Cx;
use operation::http::mount::TableMismatch;

/// Files that the executable brings along.
#[derive(Clone)]
pub struct Assets {
    /// The console; none in a build without it.
    pub console: Option<ConsoleFiles>,
    /// The OpenAPI document, JSON text.
    pub openapi: &'static str,
}

impl std::fmt::Debug for Assets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assets").field("has_console", &self.console.is_some()).finish_non_exhaustive()
    }
}

/// Builds the whole router of the control address.
pub fn router(cx: Arc<Cx>, assets: Assets, readiness: Arc<Readiness>) -> Result<Router, TableMismatch> {
    let Assets { console, openapi } = assets;
    let console = console.map_or_else(Console::absent, Console::new);
    let page: Arc<str> = docs::render(&serde_json::from_str(openapi).unwrap_or_default()).into();
    let scanning: Arc<str> = scanning::document(cx.config.public_url.as_deref()).into();
    let operations = table::mount().finish(api::ops::all())?;
    let router = operations
        .route("/api/v1/openapi.json", get(move || async move { typed("application/json", openapi) }))
        .route(scanning::PATH, get(move || async move { scanning::respond(&scanning) }))
        .route("/docs", get(move || async move { docs_page(page.to_string()) }))
        .route("/docs/style.css", get(|| async { typed("text/css; charset=utf-8", docs::STYLE) }))
        .route("/api/{*rest}", axum::routing::any(unknown_path))
        .merge(health::router(readiness))
        .fallback(move |OriginalUri(uri), request: Request| {
            let response = console.respond(request.method(), uri.path(), request.headers());
            std::future::ready(response)
        })
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&cx), operation::http::edge::wrap))
        .with_state(cx);
    Ok(router)
}

async fn unknown_path(State(_): State<Arc<Cx>>, method: Method) -> Response {
    let detail = format!("There is no such operation for {method}; see /docs.");
    operation::error::render(&Problem::new(ProblemCode::NotFound).with_detail(detail))
}

fn typed(media: &'static str, text: &'static str) -> Response {
    let mut response = Body::from(text).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn docs_page(page: String) -> Response {
    let mut response = Body::from(page).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'"),
    );
    response
}
