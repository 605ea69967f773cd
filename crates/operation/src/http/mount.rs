//! Binds operations to commands and queries: authenticate, decide, decode, run, answer.
//!
//! [`Mount`] is the only way to a route and takes only handlers of [`Call`], whose constructor is private to this module and
//! runs after the decision: a route without an authorization decision does not compile. [`Mount::finish`] refuses a table
//! with a missing or an unexpected operation.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use api::{Meta, Method, Operation};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts as _, RawPathParams, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use domain::audit::Origin;
use domain::code::ProblemCode;
use domain::id::IdMint as _;
use domain::{OrganizationId, RequestId};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::auth::{self, Caller};
use crate::call::{Call, Head, Reply};
use crate::cx::Cx;
use crate::error::{Failure, Outcome};
use crate::http::csrf;
use crate::http::edge::RequestTag;
use crate::http::idempotency::Ticket;
use crate::server::Peer;
use crate::visibility;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Collects the routes of the table.
#[derive(Debug, Default)]
pub struct Mount {
    routes: Vec<(Meta, MethodRouter<Arc<Cx>>)>,
}

/// The table and the mounted operations differ.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("operations without a handler: {missing:?}; handlers without an operation or mounted twice: {surplus:?}")]
pub struct TableMismatch {
    missing: Vec<&'static str>,
    surplus: Vec<&'static str>,
}

impl Mount {
    /// Mounts an operation. A handler that does not take a [`Call`] is refused by the compiler:
    ///
    /// ```compile_fail
    /// async fn unguarded(body: String) -> String { body }
    /// let mount = operation::http::mount::Mount::default().operation::<api::ops::auth::Login, _, _>(unguarded);
    /// ```
    ///
    /// and a call cannot be made up outside the decision:
    ///
    /// ```compile_fail
    /// fn forge(head: operation::call::Head, path: api::ops::NoPath, body: api::ops::auth::NewLogin) {
    ///     let query = api::NoQuery {};
    ///     let _ = operation::call::Call::<api::ops::auth::Login> { head, path, query, body };
    /// }
    /// ```
    #[must_use]
    pub fn operation<O, F, Fut>(mut self, handler: F) -> Self
    where
        O: Operation,
        F: Fn(Call<O>) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = Outcome<Reply<O::Reply>>> + Send + 'static,
    {
        let endpoint = move |State(cx): State<Arc<Cx>>, request: Request| async move {
            let request_id = request_id(&cx, &request);
            match perform::<O, F, Fut>(cx, request, handler).await {
                Ok(response) => response,
                Err(failure) => failure.respond(request_id),
            }
        };
        let route = match O::META.method {
            Method::Get => axum::routing::get(endpoint),
            Method::Post => axum::routing::post(endpoint),
            Method::Patch => axum::routing::patch(endpoint),
            Method::Delete => axum::routing::delete(endpoint),
        };
        self.routes.push((O::META, route));
        self
    }

    /// Builds the router below [`api::BASE`]; every operation of `table` must be mounted exactly once.
    pub fn finish(self, table: impl IntoIterator<Item = &'static Meta>) -> Result<Router<Arc<Cx>>, TableMismatch> {
        let wanted: BTreeSet<_> = table.into_iter().map(|meta| meta.name).collect();
        let mut mounted = BTreeSet::new();
        let mut surplus: Vec<_> =
            self.routes.iter().map(|(meta, _)| meta.name).filter(|name| !mounted.insert(*name)).collect();
        surplus.extend(mounted.difference(&wanted));
        let missing: Vec<_> = wanted.difference(&mounted).copied().collect();
        if !missing.is_empty() || !surplus.is_empty() {
            return Err(TableMismatch { missing, surplus });
        }
        let mut router = Router::new();
        for (meta, route) in self.routes {
            router = router.route(&format!("{}{}", api::BASE, meta.path), route);
        }
        Ok(router.method_not_allowed_fallback(method_not_allowed))
    }
}

async fn method_not_allowed() -> Response {
    crate::error::render(&api::Problem::new(ProblemCode::MethodNotAllowed))
}

fn request_id(cx: &Cx, request: &Request) -> RequestId {
    request.extensions().get::<RequestTag>().map_or_else(|| RequestId::from_uuid(cx.mint.next_uuid()), |tag| tag.0)
}

async fn perform<O, F, Fut>(cx: Arc<Cx>, request: Request, handler: F) -> Outcome<Response>
where
    O: Operation,
    F: Fn(Call<O>) -> Fut,
    Fut: Future<Output = Outcome<Reply<O::Reply>>> + Send + 'static,
{
    // The generic part stays small: it is compiled once per operation.
    let Admitted { head, path, query, body } = Box::pin(admit(cx, &O::META, request)).await?;
    let path = serde_json::from_value(path).map_err(|_| Failure::not_found())?;
    let query = decode_query::<O::Query>(&query)?;
    let body = decode_body::<O::Body>(&body)?;
    let if_none_match = head.if_none_match.clone();
    let witness = head.witness();
    let reply = match Box::pin(handler(Call { head, path, query, body })).await {
        Err(Failure::Forbidden(permission)) => {
            witness.denied().await;
            return Err(Failure::Forbidden(permission));
        }
        reply => reply?,
    };
    let (parts, body) = reply.into_parts();
    let text = match body {
        crate::call::ReplyBody::Value(value) if O::META.status == 204 => {
            drop(value);
            return Ok(answer(&O::META, parts, None, None));
        }
        crate::call::ReplyBody::Value(value) => serde_json::to_value(value),
        crate::call::ReplyBody::Text(media, body) => return Ok(text_of(media, parts, body)),
    };
    let value = text.map_err(|error| Failure::Internal(error.to_string()))?;
    Ok(answer(&O::META, parts, Some(value), if_none_match.as_ref()))
}

/// What is needed to write a refusal down after the call has gone to its handler.
pub(crate) struct Witness {
    pub(crate) cx: Arc<Cx>,
    pub(crate) meta: &'static Meta,
    pub(crate) caller: Caller,
    pub(crate) organization: Option<OrganizationId>,
    pub(crate) origin: Origin,
}

impl Witness {
    /// Counts and records that a command found a permission missing.
    async fn denied(self) {
        self.cx.metrics.denied.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if let Some(organization) = self.organization {
            crate::trail::record_denial(&self.cx, self.meta, &self.caller, organization, self.origin).await;
        }
    }
}

/// A request that may be run.
struct Admitted {
    head: Head,
    path: Value,
    query: http::Uri,
    body: Bytes,
}

async fn admit(cx: Arc<Cx>, meta: &'static Meta, request: Request) -> Outcome<Admitted> {
    let request_id = request_id(&cx, &request);
    let (mut parts, body) = request.into_parts();
    let address = client_address(&cx, &parts);
    csrf::check_origin(&parts.method, &parts.headers, cx.config.origin())?;
    let caller = auth::authenticate(&cx, &parts.headers).await?;
    if caller.is_cookie {
        csrf::check_header(&parts.method, &parts.headers)?;
    }
    let (kind, id) = caller.actor.kind.describe();
    let who = if id.is_empty() { address.map_or_else(String::new, |address| address.to_string()) } else { id.clone() };
    cx.rates.take(who, cx.now()).map_err(|wait| Failure::Wait(ProblemCode::RateLimited, wait))?;
    let span = tracing::Span::current();
    span.record("operation", meta.name);
    span.record("actor", format_args!("{kind}:{id}"));

    let path = path_values(&mut parts, &cx).await?;
    let origin = origin(&parts.headers, address, request_id);
    let decided = visibility::decide(&cx, meta, &caller, &path).await;
    let decision = match decided {
        Ok(decision) => decision,
        Err(refusal) => return Err(refuse(&cx, meta, &caller, origin, refusal).await),
    };
    if caller.must_change_password && !auth::is_open_to_new_members(meta.name) {
        return Err(Failure::of(ProblemCode::PermissionDenied, "Choose a new password first (auth.change_password)."));
    }
    let body = read_body(max_body(&cx, meta), &parts.headers, body).await?;
    let ticket = if meta.is_idempotent_by_key() {
        let path_text = parts.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
        Ticket::read(&parts.headers, &caller.actor.kind, meta.name, path_text, &body)?
    } else {
        None
    };
    let if_match = version_header(&parts.headers)?;
    let if_none_match = parts.headers.get(header::IF_NONE_MATCH).cloned();
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(ToOwned::to_owned);
    let device = cx.config.reach().find_device(&parts.headers);
    let head =
        Head { cx, meta, caller, decision, origin, address, host, device, ticket, if_match, if_none_match, request_id };
    Ok(Admitted { head, path, query: parts.uri, body })
}

async fn refuse(
    cx: &Cx,
    meta: &'static Meta,
    caller: &Caller,
    origin: Origin,
    refusal: visibility::Refusal,
) -> Failure {
    if let visibility::Refusal::Forbidden { organization, .. } = refusal {
        cx.metrics.denied.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        crate::trail::record_denial(cx, meta, caller, organization, origin).await;
    }
    refusal.into()
}

/// Reads the path parameters as a JSON object. Parameters that are not UTF-8 name nothing.
async fn path_values(parts: &mut http::request::Parts, cx: &Arc<Cx>) -> Outcome<Value> {
    let parameters = RawPathParams::from_request_parts(parts, cx).await.map_err(|_| Failure::not_found())?;
    let pairs = parameters.iter().map(|(name, value)| (name.to_owned(), Value::String(value.to_owned())));
    Ok(Value::Object(pairs.collect()))
}

fn client_address(cx: &Cx, parts: &http::request::Parts) -> Option<IpAddr> {
    let peer = parts.extensions.get::<Peer>().map(|peer| peer.0.ip());
    if !cx.config.trust_forwarded_for {
        return peer;
    }
    // The last entry is the one that our own proxy added.
    let forwarded = parts.headers.get_all("x-forwarded-for").iter().next_back().and_then(|value| value.to_str().ok());
    forwarded.and_then(|list| list.rsplit(',').next()?.trim().parse().ok()).or(peer)
}

fn origin(headers: &HeaderMap, address: Option<IpAddr>, request_id: RequestId) -> Origin {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    Origin {
        ip: address.map(|address| address.to_string()),
        user_agent: agent.map(|text| text.chars().filter(|letter| !letter.is_control()).take(256).collect()),
        request_id: Some(request_id.to_string()),
    }
}

/// How long a body may be. Files come as text within JSON, where a line break or a quote takes two bytes.
fn max_body(cx: &Cx, meta: &Meta) -> usize {
    match meta.name {
        "found_secrets.report" => api::ops::found_secrets::MAX_BODY,
        "reconciliations.create" => api::ops::reconciliations::MAX_CONTENT * 2,
        _ => cx.config.max_body_bytes,
    }
}

async fn read_body(limit: usize, headers: &HeaderMap, body: Body) -> Outcome<Bytes> {
    let too_large =
        || Failure::of(ProblemCode::RequestTooLarge, format!("A request body may have at most {limit} bytes."));
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let read = tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, limit)).await;
    let read = read.map_err(|_| Failure::invalid("", "the request body did not arrive within 30 s"))?;
    let bytes = read.map_err(|error| {
        let is_limit = std::error::Error::source(&error)
            .is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>);
        if is_limit { too_large() } else { Failure::invalid("", "the request body broke off") }
    })?;
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = media.split(';').next().unwrap_or("").trim();
    if !bytes.is_empty() && !essence.eq_ignore_ascii_case("application/json") {
        return Err(Failure::of(ProblemCode::UnsupportedMediaType, "Send the body as application/json."));
    }
    Ok(bytes)
}

fn decode_query<Q: DeserializeOwned>(uri: &http::Uri) -> Outcome<Q> {
    let query = axum::extract::Query::<Q>::try_from_uri(uri);
    query.map(|query| query.0).map_err(|error| {
        let reason = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        let (name, reason) = reason.split_once(": ").unwrap_or(("query", &reason));
        Failure::invalid(name, reason)
    })
}

fn decode_body<B: DeserializeOwned>(bytes: &Bytes) -> Outcome<B> {
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { bytes };
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = pointer(error.path());
        let inner = error.into_inner();
        let reason = inner.to_string();
        let reason = reason.split(" at line ").next().unwrap_or(&reason);
        // serde names a missing or repeated field only in its text.
        let named = |prefix: &str| reason.strip_prefix(prefix).and_then(|rest| rest.strip_suffix('`'));
        if let Some(field) = named("missing field `") {
            return Failure::invalid(&format!("{path}/{field}"), "is required");
        }
        if let Some(field) = named("duplicate field `") {
            return Failure::invalid(&format!("{path}/{field}"), "is given twice");
        }
        if inner.is_data() {
            return Failure::invalid(&path, reason);
        }
        Failure::invalid("", format!("the body is not valid JSON: {reason}"))
    })?;
    json.end().map_err(|_| Failure::invalid("", "the body has something after its JSON value"))?;
    Ok(value)
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter().fold(String::new(), |mut text, segment| {
        match segment {
            Segment::Seq { index } => text.extend(["/", &index.to_string()]),
            Segment::Map { key } | Segment::Enum { variant: key } => text.extend(["/", key]),
            Segment::Unknown => {}
        }
        text
    })
}

/// Reads `If-Match: "3"`.
fn version_header(headers: &HeaderMap) -> Outcome<Option<u64>> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or("").trim();
    let number = text.trim_start_matches("W/").trim_matches('"').parse();
    number.map(Some).map_err(|_| Failure::invalid("if-match", "send the ETag that you were given, such as \"3\""))
}

fn answer(
    meta: &Meta,
    parts: crate::call::ReplyParts,
    value: Option<Value>,
    if_none_match: Option<&HeaderValue>,
) -> Response {
    let version = value.as_ref().and_then(|value| value.get("version")).and_then(Value::as_u64);
    let tag = version.and_then(|version| HeaderValue::from_str(&format!("\"{version}\"")).ok());
    let is_fresh = meta.method == Method::Get && tag.is_some() && tag.as_ref() == if_none_match;
    let status =
        if is_fresh { StatusCode::NOT_MODIFIED } else { StatusCode::from_u16(meta.status).unwrap_or(StatusCode::OK) };
    let body = match value {
        Some(value) if !is_fresh => Body::from(value.to_string()),
        _ => Body::empty(),
    };
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    if status != StatusCode::NO_CONTENT && !is_fresh {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if let Some(tag) = tag {
        headers.insert(header::ETAG, tag);
    }
    extra(headers, parts);
    response
}

fn text_of(media: &'static str, parts: crate::call::ReplyParts, body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    extra(response.headers_mut(), parts);
    response
}

fn extra(headers: &mut HeaderMap, parts: crate::call::ReplyParts) {
    for (name, value) in parts.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.append(name, value);
        }
    }
}

/// Serialises a reply for storage under an idempotency key.
pub fn to_text(value: &impl Serialize) -> Outcome<String> {
    serde_json::to_string(value).map_err(|error| Failure::Internal(error.to_string()))
}

/// Names of headers that replies set.
pub const SET_COOKIE: HeaderName = header::SET_COOKIE;
/// Where a file is offered for download.
pub const CONTENT_DISPOSITION: HeaderName = header::CONTENT_DISPOSITION;
