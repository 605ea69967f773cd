//! `/passthrough/{provider}/…`: a provider's own API, signed with the credential that Headgate holds for it.
//!
//! One attempt; the answer is handed on as it comes, whatever its status. Where path and body are of a form that is known, the
//! vendor's own included, the answer is looked at and billed like any other; otherwise the call is booked without a count and
//! says so. Invariants: only a credential whose owner allowed it signs; nothing outside its base is reached; no header that says
//! who the client is, or who pays, goes on.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use domain::NanoUsd;
use domain::code::GatewayCode;
use domain::route::Timeouts;
use domain::usage::{AttemptOutcome, AttemptRecord, TokenUsage, UnitUsage};
use http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use http::request::Parts;
use http::response::Parts as Answered;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use ingress::Rejection;
use ingress::admit::{Head, TRACEPARENT};
use llm::dialect::Mode;
use policy::Caller;
use policy::snapshot::{CredentialPolicy, CredentialUse, DeploymentPolicy};
use provider::scan::{self, Scan};
use provider::skim::{Skimmed, skim_body};
use provider::{Base, Counting, Provider};
use tokio::time::{Instant, timeout_at};
use upstream::client::SendError;

use super::budget::{self, Unread, Window};
use super::rates::{self, Counted};
use super::relay::stream::Start;
use super::relay::watch::Watch;
use super::relay::{Bill, Billing, End, Source, Writer};
use super::reply::{Passed, Reply};
use super::settle::{Meter, Served};
use super::{Worker, cut, reserve, resolve};
use crate::server::body::Incoming;

/// Headers that are between two connections, say who the client is or who pays, or would make the answer unreadable.
const KEPT_BACK: &[&str] = &[
    "accept-encoding",
    "anthropic-organization-id",
    "api-key",
    "authorization",
    "baggage",
    "connection",
    "content-encoding",
    "content-length",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "ocp-apim-subscription-key",
    "openai-organization",
    "openai-project",
    "te",
    "trailer",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-api-key",
    "x-auth-token",
    "x-goog-api-key",
    "x-goog-user-project",
    "x-real-ip",
    "xi-api-key",
];
const KEPT_BACK_PREFIXES: &[&str] = &["x-headgate-", "x-forwarded-", "x-amz-", "proxy-", "sec-"];
/// Headers of an answer that are between two connections or would bind the client to the upstream.
const NOT_RETURNED: &[&str] = &[
    "alt-svc",
    "connection",
    "content-length",
    "keep-alive",
    "set-cookie",
    "strict-transport-security",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Media types of streams besides events, by how they begin.
const STREAMED: &[&[u8]] =
    &[b"application/vnd.amazon.eventstream", b"application/x-ndjson", b"application/stream+json"];
/// What each path below the provider's name is called where a model's name is expected.
const AS_MODEL: &str = "passthrough/";

/// A call on its way.
struct Passage<'a> {
    worker: &'a Arc<Worker>,
    provider: &'static dyn Provider,
    credential: &'a Arc<CredentialPolicy>,
    billing: Billing,
    /// How the answer is counted, when that is known.
    counting: Option<Counting>,
    timeouts: Timeouts,
    total_at: Instant,
    /// The client asked for the head alone.
    is_head: bool,
}

/// Serves a call of a provider's own API. `name` and `rest` are as the client's path has them.
pub(crate) async fn forward(
    worker: &Arc<Worker>,
    caller: &Caller<'_>,
    head: &Head<'_>,
    parts: &Parts,
    unread: &mut Option<Incoming>,
    (name, rest): (&str, &str),
    meter: &mut Meter,
) -> Result<Reply, Rejection> {
    let (provider, deployment, credential) = choose(caller, name)?;
    meter.model = format!("{AS_MODEL}{name}");
    let base = worker.bases.base(provider.spec(), &deployment.credential).map_err(|_| refuse_base())?;
    let uri = base
        .below(rest, parts.uri.query())
        .map_err(|error| Rejection::new(GatewayCode::RequestInvalid, error.to_string()))?;
    let body = match parts.method {
        Method::GET | Method::HEAD => Bytes::new(),
        _ => resolve::read_body(worker, head, unread, meter).await?,
    };
    let (counting, deployment, scan) = recognise(provider, &base, &uri, &body, deployment);
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = forwarded(&parts.headers, provider);
    if let Some(traceparent) = meter.traceparent(request.uri()) {
        request.headers_mut().insert(TRACEPARENT, traceparent);
    }
    meter.is_unmetered = counting.is_none();
    if !matches!(parts.method, Method::GET | Method::HEAD | Method::DELETE) {
        let n_bytes = request.body().len();
        let window = counting.and_then(|counting| Window::of_passage(&deployment, counting, &scan, n_bytes));
        let what = "this call of a provider's own API";
        let model = counting.map(|_| deployment.upstream_model.as_str());
        let window = window.map(|window| (&*deployment, window));
        let unread = Unread { what, providers: &[name], model, window, is_many: false };
        budget::hold_unread(worker, caller.organization, &unread, meter).await?;
    }
    let need = rates::need(caller.organization, [&*deployment].into_iter(), &scan, true, meter.started_at);
    let counted = Counted { model: Some(&meter.model), providers: &[name], need };
    meter.hold = Some(reserve::reserve(worker, caller.organization, &counted, meter).await?);
    meter.open();
    begin(meter, &deployment, credential);
    let timeouts = Timeouts::default();
    let total = Duration::from_millis(u64::from(timeouts.total_ms));
    let mut passage = Passage {
        worker,
        provider,
        credential,
        billing: Billing {
            organization: caller.organization.clone(),
            input_guess: provider::estimate::input_guess(&scan),
            deployment,
            is_stream: scan.is_stream(),
            tier: None,
        },
        counting,
        timeouts,
        total_at: meter.started + head.timeout.map_or(total, |asked| asked.min(total)),
        is_head: parts.method == Method::HEAD,
    };
    let watch = meter.watch();
    let work = async { Ok::<Sent, Rejection>(passage.send(request, meter).await) };
    let sent = cut::guard(watch, work).await.unwrap_or_else(|stopped| Err((AttemptOutcome::Cancelled, stopped)));
    if let Err((outcome, _)) = &sent {
        meter.end_attempt(*outcome, &Bill::default(), Instant::now());
    }
    sent.map_err(|(_, rejection)| rejection)
}

type Chosen<'a> = (&'static dyn Provider, &'a Arc<DeploymentPolicy>, &'a Arc<CredentialPolicy>);

/// Chooses the credential: that of the first deployment of the workspace that may be used so.
fn choose<'a>(caller: &'a Caller<'_>, name: &str) -> Result<Chosen<'a>, Rejection> {
    let unknown = || {
        let detail =
            "there is no provider of this name in this workspace; use /passthrough/{provider}/{path of its API}";
        Rejection::new(GatewayCode::EndpointUnknown, detail)
    };
    let provider = provider::find(name).ok_or_else(unknown)?;
    let mut own = caller.workspace.deployments().filter(|it| it.provider == name).peekable();
    if own.peek().is_none() {
        return Err(unknown());
    }
    if !caller.key.allows(&format!("{AS_MODEL}{name}")) {
        let detail = format!("this key may not use {AS_MODEL}{name}; let an administrator add it to the key");
        return Err(Rejection::new(GatewayCode::ModelNotAllowed, detail));
    }
    let allowed = own.find_map(|deployment| match &deployment.credential {
        CredentialUse::Ready(credential) if deployment.is_usable() && credential.allows_passthrough => {
            Some((provider, deployment, credential))
        }
        _ => None,
    });
    allowed.ok_or_else(|| {
        let detail = "no credential of this provider may sign calls of its own API; an administrator can allow it for a credential";
        Rejection::new(GatewayCode::ModelNotAllowed, detail)
    })
}

fn refuse_base() -> Rejection {
    let detail = "this provider's base address cannot be used; an administrator has to correct it";
    Rejection::new(GatewayCode::UpstreamError, detail)
}

/// Finds out whether path and body are of a form in which the answer can be counted, and for which model.
fn recognise(
    provider: &dyn Provider,
    base: &Base,
    uri: &http::Uri,
    body: &Bytes,
    deployment: &Arc<DeploymentPolicy>,
) -> (Option<Counting>, Arc<DeploymentPolicy>, Scan) {
    let scan = scan::scan(body).unwrap_or_default();
    let in_body = scan.model.as_ref().map(|model| model.value.as_str());
    let Some(known) = provider::recognise(provider, base, uri, in_body) else {
        return (None, deployment.clone(), scan);
    };
    // What the deployment really is holds for its own model only.
    let base_model = deployment.base_model.clone().filter(|_| known.model == deployment.upstream_model);
    let served = DeploymentPolicy { upstream_model: known.model, base_model, ..DeploymentPolicy::clone(deployment) };
    (Some(known.counting), Arc::new(served), scan)
}

fn forwarded(from: &HeaderMap, provider: &dyn Provider) -> HeaderMap {
    let named: Vec<&str> = from
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .collect();
    let mut to = HeaderMap::with_capacity(from.len() + 2);
    for (name, value) in from {
        let text = name.as_str();
        let is_kept = KEPT_BACK.contains(&text)
            || KEPT_BACK_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
            || named.iter().any(|listed| listed.eq_ignore_ascii_case(text));
        if !is_kept {
            to.append(name.clone(), value.clone());
        }
    }
    to.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for (name, value) in provider.spec().defaults {
        to.entry(HeaderName::from_static(name)).or_insert(HeaderValue::from_static(value));
    }
    to
}

fn returned(from: &HeaderMap) -> HeaderMap {
    let mut to = HeaderMap::with_capacity(from.len());
    for (name, value) in from {
        if !NOT_RETURNED.contains(&name.as_str()) && !name.as_str().starts_with("x-headgate-") {
            to.append(name.clone(), value.clone());
        }
    }
    to
}

fn begin(meter: &mut Meter, deployment: &DeploymentPolicy, credential: &CredentialPolicy) {
    let now = Instant::now();
    let record = AttemptRecord {
        n: 1,
        deployment_id: deployment.id,
        credential_id: Some(credential.id),
        provider: deployment.provider.clone(),
        upstream_model: deployment.upstream_model.clone(),
        started_at: meter.started_at.plus(now.duration_since(meter.started)),
        duration_us: 0,
        first_byte_us: None,
        outcome: AttemptOutcome::Cancelled,
        status: None,
        upstream_request_id: None,
        usage: TokenUsage::default(),
        modal: None,
        image: None,
        units: UnitUsage::default(),
        cost: NanoUsd::ZERO,
    };
    meter.begin_attempt(record, now);
    meter.served = Some(Served {
        deployment: deployment.id,
        provider: deployment.provider.clone(),
        upstream_model: deployment.upstream_model.clone(),
    });
}

type Sent = Result<Reply, (AttemptOutcome, Rejection)>;

fn timed_out() -> (AttemptOutcome, Rejection) {
    let detail = "the upstream did not answer in time; try again, or ask for less";
    (AttemptOutcome::Timeout, Rejection::new(GatewayCode::UpstreamTimeout, detail))
}

fn broken(detail: &'static str) -> (AttemptOutcome, Rejection) {
    (AttemptOutcome::Broken, Rejection::new(GatewayCode::UpstreamError, detail))
}

impl Passage<'_> {
    async fn send(&mut self, mut request: Request<Bytes>, meter: &mut Meter) -> Sent {
        let ms = |ms: u32| Duration::from_millis(u64::from(ms));
        let started = Instant::now();
        let first_by = (started + ms(self.timeouts.first_byte_ms)).min(self.total_at);
        self.sign(&mut request, first_by, meter).await?;
        let client = &self.worker.client;
        let answered = timeout_at(first_by, client.send(Box::new(request), ms(self.timeouts.connect_ms))).await;
        meter.waited += started.elapsed();
        let response = match answered {
            Ok(Ok(response)) => response,
            Err(_) | Ok(Err(SendError::ConnectTimeout { .. })) => return Err(timed_out()),
            Ok(Err(SendError::Closed { .. })) => return Err(broken("the upstream's answer broke off; try again")),
            Ok(Err(_)) => {
                let detail = "the upstream could not be reached; try again shortly";
                return Err((AttemptOutcome::Connect, Rejection::new(GatewayCode::UpstreamError, detail)));
            }
        };
        let (parts, answer) = response.into_parts();
        if let Some(record) = meter.current_attempt() {
            record.status = Some(parts.status.as_u16());
        }
        let mut source = Source::Upstream(answer);
        if parts.status.is_redirection() {
            return Err(broken("the upstream answered with a redirect, which is not followed"));
        }
        if !parts.status.is_success() {
            return Err(self.refused(&parts, &mut source).await);
        }
        if self.is_head || parts.status == StatusCode::NO_CONTENT {
            return Ok(self.bodiless(&parts, meter));
        }
        let kind = parts.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let (is_events, is_json) = (kind.starts_with(b"text/event-stream"), kind.starts_with(b"application/json"));
        let is_framed = STREAMED.iter().any(|streamed| kind.starts_with(streamed));
        meter.is_stream = is_events || is_framed;
        self.billing.is_stream |= meter.is_stream;
        let head = Passed { status: parts.status, headers: returned(&parts.headers) };
        let writer = match self.counting {
            Some(counting) if is_json => return self.whole(counting, head, &mut source, meter).await,
            Some(Counting::Dialect(dialect)) if is_events => Some(Writer::untouched(dialect, false)),
            Some(counting) if meter.is_stream => provider::reader(self.provider, counting, Mode::Stream)
                .map(|reader| Writer::Watched(Box::new(Watch::new(reader)))),
            _ => None,
        };
        meter.is_unmetered = writer.is_none();
        let writer = writer.unwrap_or_else(|| Writer::passing(Skimmed::default(), false));
        Ok(self.stream(writer, head, source, meter))
    }

    async fn sign(
        &self,
        request: &mut Request<Bytes>,
        until: Instant,
        meter: &Meter,
    ) -> Result<(), (AttemptOutcome, Rejection)> {
        let unsendable = |detail| (AttemptOutcome::Unsendable, Rejection::new(GatewayCode::UpstreamError, detail));
        let given = self.worker.shared.exchanges.get(&self.worker.client, self.provider, self.credential, until).await;
        let given = given.map_err(|error| unsendable(error.detail()))?;
        let secret = given.as_ref().map(|given| &given.secret).or(self.credential.secret.as_ref());
        self.provider.sign(request, secret, meter.started_at).map_err(|error| {
            tracing::warn!(credential.id = %self.credential.id, %error, "a credential's secret cannot be used");
            unsendable("this provider's credential cannot be used; an administrator has to enter it again")
        })
    }

    /// Hands on a refusal in the upstream's own words: the client speaks to its API.
    async fn refused(&self, answered: &Answered, source: &mut Source) -> (AttemptOutcome, Rejection) {
        let status = answered.status;
        let body = self.collect(source, provider::failure::MAX_ERROR_BODY).await.unwrap_or_default();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            // What an upstream says of our credential is for administrators.
            let detail = "the upstream refused the credential that Headgate holds for it; an administrator has to enter a valid one";
            return (AttemptOutcome::Status, Rejection::new(GatewayCode::UpstreamError, detail));
        }
        let detail = "the upstream refused the call".to_owned();
        let rejection = Rejection::upstream(status, body, detail).with_headers(returned(&answered.headers));
        (AttemptOutcome::Status, rejection)
    }

    async fn whole(&self, counting: Counting, head: Passed, source: &mut Source, meter: &mut Meter) -> Sent {
        let started = Instant::now();
        let body = self.collect(source, self.worker.shared.config.limits.max_answer_bytes).await;
        meter.waited += started.elapsed();
        let Some(body) = body else { return Err(broken("the upstream's answer broke off or was too long; try again")) };
        let now = Instant::now();
        meter.attempt_answered(now);
        if let Counting::Dialect(dialect) = counting {
            meter.note_answer_id(dialect, &body);
        }
        let found = self.count(counting, &head, &body);
        meter.is_unmetered = found.is_none();
        let found = found.unwrap_or_default();
        meter.finish = found.finish;
        let bill = self.billing.bill(&found, End::Complete, meter.started_at);
        meter.end_attempt(AttemptOutcome::Success, &bill, now);
        Ok(Reply::Passed(Box::new(head), body))
    }

    /// Answers with a head that nothing follows: nobody will read a body to its end.
    fn bodiless(&self, answered: &Answered, meter: &mut Meter) -> Reply {
        let now = Instant::now();
        meter.attempt_answered(now);
        meter.is_unmetered = true;
        meter.end_attempt(AttemptOutcome::Success, &Bill::default(), now);
        let mut headers = returned(&answered.headers);
        // The length of what is not sent is what such a question is often about.
        if let Some(length) = answered.headers.get(CONTENT_LENGTH).filter(|_| self.is_head) {
            headers.insert(CONTENT_LENGTH, length.clone());
        }
        Reply::Passed(Box::new(Passed { status: answered.status, headers }), Bytes::new())
    }

    /// Reads what a whole answer says of itself; `None` when it does not say what it used.
    fn count(&self, counting: Counting, head: &Passed, body: &[u8]) -> Option<Skimmed> {
        match counting {
            Counting::Free => Some(Skimmed::default()),
            Counting::Named => provider::count_named(&head.headers, body),
            Counting::Dialect(dialect) => Some(skim_body(dialect, body)),
            Counting::Wire => {
                let mut watch = Watch::new(provider::reader(self.provider, counting, Mode::Whole)?);
                watch.push(body);
                // A body that is not of this form has no count; it is the client's all the same.
                watch.finish().ok().map(|()| watch.found().clone())
            }
        }
    }

    fn stream(&self, writer: Writer, head: Passed, source: Source, meter: &mut Meter) -> Reply {
        meter.attempt_answered(Instant::now());
        Reply::Stream(Box::new(Start {
            source,
            first: Bytes::new(),
            writer,
            is_array: false,
            kind: None,
            passed: Some(Box::new(head)),
            known_usage: None,
            billing: self.billing.clone(),
            idle: Duration::from_millis(u64::from(self.timeouts.idle_ms)),
            total_at: self.total_at,
            recorder: None,
            continuation: None,
            rehearses_cut: false,
            memory: None,
        }))
    }

    async fn collect(&self, source: &mut Source, max_bytes: usize) -> Option<Bytes> {
        let mut whole = BytesMut::new();
        loop {
            let idle = Duration::from_millis(u64::from(self.timeouts.idle_ms));
            let until = (Instant::now() + idle).min(self.total_at);
            match timeout_at(until, poll_fn(|cx| source.poll_chunk(cx))).await.ok()? {
                None => return Some(whole.freeze()),
                Some(chunk) => whole.extend_from_slice(&chunk.ok()?),
            }
            if whole.len() > max_bytes {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_calls_and_who_pays_goes_nowhere() {
        let mut from = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer canary"),
            ("x-api-key", "canary"),
            ("x-headgate-key", "canary"),
            ("x-amz-security-token", "canary"),
            ("cookie", "canary"),
            ("openai-organization", "canary"),
            ("x-forwarded-for", "canary"),
            ("connection", "close, X-Hop"),
            ("x-hop", "canary"),
            ("te", "trailers"),
            ("openai-beta", "assistants=v2"),
            ("content-type", "application/json"),
        ] {
            from.append(name, HeaderValue::from_static(value));
        }
        let to = forwarded(&from, provider::find("anthropic").expect("a provider"));
        let mut names: Vec<_> = to.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept-encoding", "anthropic-version", "content-type", "openai-beta"]);
    }
}
