//! Opens the upstream's side of a realtime session: tries targets until one agrees to speak, up to the client's own handshake.
//!
//! A target has agreed when its handshake is done and its first word, if one comes soon, is no complaint: the vendor says only
//! then that it does not know a model. Nothing of what was tried has reached the client; once it has its `101`, no other
//! target is tried.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::code::GatewayCode;
use domain::usage::{AttemptOutcome, AttemptRecord, Routing, TokenUsage, UnitUsage};
use futures_util::StreamExt as _;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use ingress::admit::TRACEPARENT;
use ingress::rejection::{self, Rejection};
use llm::dialect::Dialect;
use policy::snapshot::{CredentialUse, DeploymentPolicy, ModelPolicy, OrganizationPolicy};
use provider::failure::{self, Failure, FailureKind, MAX_ERROR_BODY, Scope};
use provider::scan::Scan;
use provider::{Provider, Surface};
use realtime::{Io, Message, Socket, handshake, live};
use tokio::time::{Instant, timeout, timeout_at};
use upstream::client::SendError;
use upstream::dial::Origin;

use super::attempt::{Tried, failed, find_provider, own_secret, sign, timed_out, unsendable};
use super::facts::Asking;
use super::tries::Tries;
use super::{Failed, note, rehearsal};
use crate::pipeline::Worker;
use crate::pipeline::relay::Bill;
use crate::pipeline::settle::{Meter, Served, micros};

/// How long the first word of an upstream is waited for. Some say nothing before they are spoken to.
const FIRST_WORD: Duration = Duration::from_secs(2);
/// Says which form of events is wanted.
const OPENAI_BETA: HeaderName = HeaderName::from_static("openai-beta");
const BETA: HeaderValue = HeaderValue::from_static("realtime=v1");

/// What a session is asked for with.
pub(crate) struct Calling<'a> {
    pub(crate) worker: &'a Arc<Worker>,
    pub(crate) organization: &'a Arc<OrganizationPolicy>,
    pub(crate) model: &'a Arc<ModelPolicy>,
    pub(crate) headers: &'a HeaderMap,
    /// It only writes down what is heard.
    pub(crate) is_transcription: bool,
    /// Events in the form before general availability.
    pub(crate) is_beta: bool,
    /// What the request may take until it is answered, if it says so.
    pub(crate) within: Option<Duration>,
}

/// An upstream that has agreed to speak.
pub(crate) struct Line {
    pub(crate) socket: Socket,
    /// What it has said already.
    pub(crate) first: Option<Message>,
    pub(crate) deployment: Arc<DeploymentPolicy>,
}

/// Finds an upstream that agrees to speak.
pub(crate) async fn open_line(calling: &Calling<'_>, meter: &mut Meter) -> Result<Line, Rejection> {
    let Calling { worker, organization, model, headers, within, .. } = calling;
    meter.routing = Some(Routing { received_us: micros(meter.started.elapsed()), ..Routing::default() });
    let rehearsal = rehearsal::read(headers, model)?;
    let scan = Scan::default();
    let plan = Asking::bare(worker, organization, headers, &scan, meter).plan(model, worker.ids.seed());
    let mut tries = Box::new(Tries::new(model, plan));
    if !tries.plan.is_empty() {
        meter.open();
    }
    let total = Duration::from_millis(u64::from(model.timeouts.total_ms));
    let total_at = meter.started + within.map_or(total, |within| within.min(total));
    while let Some(next) = tries.next(worker, meter, total_at) {
        if !next.pause.is_zero() {
            tokio::time::sleep(next.pause).await;
            meter.waited += next.pause;
        }
        match attempt(calling, &next.deployment, rehearsal, total_at, meter).await {
            Ok(line) => {
                note(meter, &tries, false);
                return Ok(line);
            }
            Err(failed) => tries.failed(worker, meter, next.slot, *failed),
        }
    }
    note(meter, &tries, false);
    Err(tries.take_rejection())
}

/// Tries one target; the attempt is noted in the meter and ends with the handshake, since what follows is billed by turns.
async fn attempt(
    calling: &Calling<'_>,
    deployment: &Arc<DeploymentPolicy>,
    rehearsal: Option<&str>,
    total_at: Instant,
    meter: &mut Meter,
) -> Tried<Line> {
    let started = Instant::now();
    meter.served = None;
    let n = u16::try_from(meter.n_attempts() + 1).unwrap_or(u16::MAX);
    meter.begin_attempt(record(deployment, n, meter.started_at.plus(started.duration_since(meter.started))), started);
    let tried = match rehearsal::failure_to_open(rehearsal, deployment, meter) {
        Some(failed) => Err(failed),
        None => reach(calling, deployment, total_at, meter).await,
    };
    let now = Instant::now();
    meter.waited += now - started;
    match &tried {
        Ok(_) => {
            meter.served = Some(Served {
                deployment: deployment.id,
                provider: deployment.provider.clone(),
                upstream_model: deployment.upstream_model.clone(),
            });
            meter.end_attempt(AttemptOutcome::Success, &Bill::default(), now);
        }
        Err(failed) => meter.end_attempt(failed.outcome, &Bill::default(), now),
    }
    tried
}

/// Makes the record of an attempt at a target that has not ended.
pub(crate) fn record(deployment: &DeploymentPolicy, n: u16, started_at: domain::Timestamp) -> AttemptRecord {
    let credential_id = match &deployment.credential {
        CredentialUse::Ready(credential) => Some(credential.id),
        _ => None,
    };
    AttemptRecord {
        n,
        deployment_id: deployment.id,
        credential_id,
        provider: deployment.provider.clone(),
        upstream_model: deployment.upstream_model.clone(),
        started_at,
        duration_us: 0,
        first_byte_us: None,
        outcome: AttemptOutcome::Cancelled,
        status: None,
        upstream_request_id: None,
        usage: TokenUsage::default(),
        modal: None,
        image: None,
        units: UnitUsage::default(),
        cost: domain::NanoUsd::ZERO,
    }
}

async fn reach(
    calling: &Calling<'_>,
    deployment: &Arc<DeploymentPolicy>,
    total_at: Instant,
    meter: &mut Meter,
) -> Tried<Line> {
    let provider = find_provider(deployment)?;
    let max_bytes = calling.worker.shared.config.realtime.max_message_bytes;
    let model = deployment.upstream_model.clone();
    let io: Box<dyn Io> = if provider.holds_sessions() {
        let (near, serving) = realtime::echo::connect(model);
        runtime::tasks::spawn("gateway.echo", serving);
        near
    } else {
        let io = shake_hands(calling, provider, deployment, total_at, meter).await?;
        if provider.spec().session_surface(calling.is_transcription) == Surface::Live {
            let options = live::Options { model, name: meter.request_id.to_string(), is_beta: calling.is_beta };
            let (near, serving) = live::connect(io, options, max_bytes);
            runtime::tasks::spawn("gateway.realtime.live", serving);
            near
        } else {
            io
        }
    };
    let mut socket = realtime::to_upstream(io, max_bytes).await;
    let first = timeout(FIRST_WORD, socket.next()).await;
    let first = match first {
        Err(_) => None,
        Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) => return Err(failed(FailureKind::Broken)),
        Ok(Some(Ok(message))) => Some(message),
    };
    if let Some(Message::Text(text)) = &first
        && let realtime::event::FromUpstream::Failed(error) = realtime::event::from_upstream(text)
    {
        let mut failure = failure::classify_in_band(&error.kind, &error.code, "");
        if failure.scope == Scope::Request {
            // Nothing of the client's was said yet but the model, which is the deployment's.
            (failure.kind, failure.scope) = (FailureKind::NotFound, Scope::Deployment);
        }
        return Err(Failed::upstream(failure, AttemptOutcome::Broken));
    }
    Ok(Line { socket, first, deployment: deployment.clone() })
}

/// Connects, asks for the upgrade, and returns the bytes behind it.
async fn shake_hands(
    calling: &Calling<'_>,
    provider: &'static dyn Provider,
    deployment: &DeploymentPolicy,
    total_at: Instant,
    meter: &mut Meter,
) -> Tried<Box<dyn Io>> {
    let timeouts = &calling.model.timeouts;
    let first_by = (Instant::now() + Duration::from_millis(u64::from(timeouts.first_byte_ms))).min(total_at);
    let (origin, request, key) = prepare(calling, provider, deployment, first_by, meter).await?;
    let connect = Duration::from_millis(u64::from(timeouts.connect_ms));
    let dialled = timeout(connect, calling.worker.client.dialler().dial_http1(&origin)).await;
    let link = match dialled {
        Ok(Ok(link)) if !link.is_h2 => link,
        Err(_) | Ok(Err(SendError::ConnectTimeout { .. })) => return Err(timed_out()),
        Ok(_) => return Err(Failed::upstream(Failure::transport(FailureKind::Connect), AttemptOutcome::Connect)),
    };
    let asking = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(link.stream)).await.ok()?;
        runtime::tasks::spawn("gateway.realtime", async move {
            // Its end is seen at both sides of it.
            let _ = connection.with_upgrades().await;
        });
        sender.send_request(request).await.ok()
    };
    let answer = match timeout_at(first_by, asking).await {
        Err(_) => return Err(timed_out()),
        Ok(None) => return Err(failed(FailureKind::Broken)),
        Ok(Some(answer)) => answer,
    };
    if let Some(record) = meter.current_attempt() {
        record.status = Some(answer.status().as_u16());
        record.upstream_request_id = provider.spec().request_id(answer.headers());
    }
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refused(calling, provider, deployment, answer, first_by).await);
    }
    if let Err(error) = handshake::check_answer(&key, answer.headers()) {
        tracing::info!(deployment.id = %deployment.id, %error, "an upstream opened no WebSocket");
        return Err(failed(FailureKind::Malformed));
    }
    match timeout_at(first_by, hyper::upgrade::on(answer)).await {
        Ok(Ok(upgraded)) => Ok(Box::new(TokioIo::new(upgraded))),
        _ => Err(failed(FailureKind::Broken)),
    }
}

/// Makes the request for the upgrade: from nothing but the target, its credential and the headers on the provider's list.
async fn prepare(
    calling: &Calling<'_>,
    provider: &'static dyn Provider,
    deployment: &DeploymentPolicy,
    until: Instant,
    meter: &mut Meter,
) -> Tried<(Origin, Request<Empty<Bytes>>, String)> {
    let misnamed =
        |detail: String| Failed::unsendable(Scope::Deployment, Rejection::new(GatewayCode::RequestInvalid, detail));
    let base = calling.worker.bases.base(provider.spec(), &deployment.credential).map_err(|_| {
        unsendable(
            Scope::Credential,
            "this deployment's base address cannot be used; an administrator has to correct it",
        )
    })?;
    let surface = provider.spec().session_surface(calling.is_transcription);
    let uri = base.uri(surface, &deployment.upstream_model, false).map_err(|error| misnamed(error.to_string()))?;
    let uri = uri.ok_or_else(|| misnamed(provider.spec().no_sessions()))?;
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = uri;
    for name in provider.spec().forwarded {
        let name = HeaderName::from_static(name);
        if let Some(value) = calling.headers.get(&name) {
            request.headers_mut().insert(name, value.clone());
        }
    }
    if calling.is_beta && provider.spec().forwarded.contains(&OPENAI_BETA.as_str()) {
        request.headers_mut().insert(OPENAI_BETA, BETA);
    }
    let given = match &deployment.credential {
        CredentialUse::Ready(credential) => {
            calling.worker.shared.exchanges.get(&calling.worker.client, provider, credential, until).await.map_err(
                |error| {
                    let rejection = Rejection::new(GatewayCode::UpstreamError, error.detail());
                    let failure = error.failure();
                    Box::new(Failed { failure, outcome: AttemptOutcome::Unsendable, rejection, is_rehearsed: false })
                },
            )?
        }
        _ => None,
    };
    let secret = given.as_ref().map(|given| &given.secret).or_else(|| own_secret(deployment));
    sign(&mut request, provider, deployment, secret, meter)?;
    if let Some(traceparent) = meter.traceparent(request.uri()) {
        request.headers_mut().insert(TRACEPARENT, traceparent);
    }
    let unreachable = || unsendable(Scope::Credential, "this deployment's base address cannot be called");
    let origin =
        Origin::parse(request.uri(), request.uri().scheme_str() == Some("https")).map_err(|_| unreachable())?;
    let host = request.uri().authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    request.headers_mut().insert(HOST, host.ok_or_else(unreachable)?);
    let path = request.uri().path_and_query().cloned().ok_or_else(unreachable)?;
    *request.uri_mut() = Uri::from(path);
    let key = handshake::ask(request.headers_mut());
    Ok((origin, request.map(|_| Empty::new()), key))
}

/// Reads what an upstream says in place of a WebSocket.
async fn refused(
    calling: &Calling<'_>,
    provider: &dyn Provider,
    deployment: &DeploymentPolicy,
    answer: Response<Incoming>,
    until: Instant,
) -> Box<Failed> {
    let (parts, body) = answer.into_parts();
    let read = timeout_at(until, Limited::new(body, MAX_ERROR_BODY).collect()).await;
    let body = read.ok().and_then(Result::ok).map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let status = parts.status.as_u16();
    let failure = provider.classify(status, &parts.headers, &body, calling.worker.shared.clock.now());
    if !failure.is_clients_fault() {
        return Failed::upstream(failure, AttemptOutcome::Status);
    }
    let client = Dialect::OpenAiChat;
    let mut error = provider.decode_error(client, &deployment.upstream_model, status, &body);
    error.kind = failure.kind.error_kind();
    let status = if matches!(status, 400 | 404 | 413 | 422) { parts.status } else { StatusCode::BAD_REQUEST };
    Failed::refused(failure, status, rejection::encode(client, &error))
}
