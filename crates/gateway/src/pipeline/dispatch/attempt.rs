//! One try against one target: prepare, sign, send, read up to the commit point.
//!
//! A whole answer is read to its end here, so that it may still fail over late; a stream is read until the first bytes for
//! the client are ready. One timer serves all clocks of the attempt.

mod formed;
mod within;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use domain::Secret;
use domain::code::GatewayCode;
use domain::usage::{AttemptOutcome, AttemptRecord, TokenUsage, UnitUsage};
use http::header::CONTENT_TYPE;
use http::response::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use ingress::admit::{OWN_PREFIX, TRACEPARENT};
use ingress::rejection::{self, Rejection};
use llm::canonical::error::AnswerError;
use llm::canonical::event::FinishReason;
use llm::canonical::json::Raw;
use llm::canonical::loss::{Effect, Loss};
use llm::dialect::{AnswerOptions, Dialect, Mode, Speak as _, gemini};
use policy::snapshot::{CredentialUse, DeploymentPolicy};
use provider::count;
use provider::failure::{self, Failure, FailureKind, MAX_ERROR_BODY, Scope};
use provider::media::Inlined;
use provider::skim::{Skimmed, skim_body};
use provider::task::image_kind;
use provider::{Call, LocalAnswer, Operation, PrepareError, Prepared, Provider, Relay, Speech, Stamp, Target};
use tokio::time::{Instant, Sleep, sleep_until};
use upstream::client::SendError;
use upstream::exchanges::Kept;

use self::within::within;
use super::{Context, Failed, Sent, refuse_losses, rehearsal};
use crate::pipeline::fetch;
use crate::pipeline::relay::stream::Start;
use crate::pipeline::relay::{Annotate, Billing, End, Later, Reading, Source, Translation, Writer};
use crate::pipeline::reply::Reply;
use crate::pipeline::settle::{Meter, Served, micros};

/// A kept connection that closes within this time of a request was closed before it: later, the upstream had begun to work.
const STALE_WITHIN: Duration = Duration::from_secs(1);

pub(super) type Tried<T> = Result<T, Box<Failed>>;
type Outgoing = http::Request<Bytes>;

/// Tries one target. The attempt is noted in the meter whatever its end; a committed stream's attempt stays open.
pub(super) async fn attempt(
    context: &Context<'_>,
    deployment: &Arc<DeploymentPolicy>,
    meter: &mut Meter,
) -> Tried<Reply> {
    let started = Instant::now();
    let first_at = meter.started_at.plus(started.duration_since(meter.started));
    let credential_id = match &deployment.credential {
        CredentialUse::Ready(credential) => Some(credential.id),
        _ => None,
    };
    meter.served = None;
    meter.begin_attempt(
        AttemptRecord {
            n: u16::try_from(meter.n_attempts() + 1).unwrap_or(u16::MAX),
            deployment_id: deployment.id,
            credential_id,
            provider: deployment.provider.clone(),
            upstream_model: deployment.upstream_model.clone(),
            started_at: first_at,
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
        },
        started,
    );
    meter.note_request(context.call.scan, context.call.body);
    let tried = match rehearsal::failure(context, deployment, meter) {
        Some(failed) => Err(failed),
        None => try_target(context, deployment, meter).await,
    };
    match &tried {
        Ok(_) => {
            meter.served = Some(Served {
                deployment: deployment.id,
                provider: deployment.provider.clone(),
                upstream_model: deployment.upstream_model.clone(),
            });
        }
        Err(failed) => meter.end_attempt(failed.outcome, &crate::pipeline::relay::Bill::default(), Instant::now()),
    }
    tried
}

async fn try_target(context: &Context<'_>, deployment: &Arc<DeploymentPolicy>, meter: &mut Meter) -> Tried<Reply> {
    let provider = find_provider(deployment)?;
    let billing = Billing {
        organization: context.organization.clone(),
        deployment: deployment.clone(),
        input_guess: provider::estimate::input_guess(context.call.scan),
        is_stream: meter.is_stream,
        tier: None,
    };
    let making = Making { context, provider, billing, id: meter.id_text.to_str().unwrap_or_default().into() };
    // Made apart: nothing of it is kept while an upstream is waited for.
    if let Some(answered) = making.local(&deployment.upstream_model, meter) {
        let local = answered.map_err(|error| refuse_prepare(&error))?;
        return answer_locally(&making, local, meter);
    }
    let media = bring(context, provider, deployment, meter).await?;
    let given = short_lived(context, provider, deployment, meter).await?;
    let extra = Extra { given, media };
    let Prepared { request, relay, .. } = prepare(context, provider, deployment, &extra, meter)?;
    let request = Box::new(request);
    let mut exchange = Exchange { making, extra, clock: pin!(sleep_until(context.terms.clocks.total_at)) };
    exchange.run(request, relay, meter).await
}

/// What an attempt needs besides the call and the target.
#[derive(Default)]
struct Extra {
    /// What signs in place of the credential's secret.
    given: Option<Arc<Kept>>,
    /// What was fetched for the upstream.
    media: Option<Arc<Inlined>>,
}

/// Fetches what the upstream cannot, within the time that the attempt has for its first byte.
async fn bring(
    context: &Context<'_>,
    provider: &'static dyn Provider,
    deployment: &DeploymentPolicy,
    meter: &mut Meter,
) -> Tried<Option<Arc<Inlined>>> {
    let needs = provider.needs(&context.call, &deployment.upstream_model);
    if needs.is_empty() {
        return Ok(None);
    }
    let asked_at = Instant::now();
    let until = (asked_at + context.terms.clocks.first_byte).min(context.terms.clocks.total_at);
    let brought = Box::pin(fetch::bring(context.worker, &context.held, needs, until)).await;
    meter.waited += asked_at.elapsed();
    // Another target may fetch by itself.
    brought.map_err(|rejection| Failed::unsendable(Scope::Deployment, rejection))
}

/// Gets what a secret is exchanged for, within the time that the attempt has for its first byte.
async fn short_lived(
    context: &Context<'_>,
    provider: &'static dyn Provider,
    deployment: &DeploymentPolicy,
    meter: &mut Meter,
) -> Tried<Option<Arc<Kept>>> {
    let CredentialUse::Ready(credential) = &deployment.credential else { return Ok(None) };
    let asked_at = Instant::now();
    let until = (asked_at + context.terms.clocks.first_byte).min(context.terms.clocks.total_at);
    let given = context.worker.shared.exchanges.get(&context.worker.client, provider, credential, until).await;
    meter.waited += asked_at.elapsed();
    given.map_err(|error| {
        let failure = error.failure();
        let code = match failure.kind {
            FailureKind::Timeout => GatewayCode::UpstreamTimeout,
            _ => GatewayCode::UpstreamError,
        };
        let rejection = Rejection::new(code, error.detail());
        Box::new(Failed { failure, outcome: AttemptOutcome::Unsendable, rejection, is_rehearsed: false })
    })
}

fn prepare(
    context: &Context<'_>,
    provider: &'static dyn Provider,
    deployment: &DeploymentPolicy,
    extra: &Extra,
    meter: &mut Meter,
) -> Tried<Prepared> {
    let mut prepared = build(context, provider, deployment, extra.media.as_deref())?;
    let secret = extra.given.as_deref().map(|given| &given.secret).or_else(|| own_secret(deployment));
    sign(&mut prepared.request, provider, deployment, secret, meter)?;
    if let Some(traceparent) = meter.traceparent(prepared.request.uri()) {
        prepared.request.headers_mut().insert(TRACEPARENT, traceparent);
    }
    // What the attempt before lost is not lost in this one; headers without a meaning stay so.
    meter.dropped.retain(|name| name.starts_with(OWN_PREFIX));
    meter.dropped.extend(prepared.losses.iter().map(|loss| loss.path.to_string()));
    let proofs = context.call.scan.proofs;
    let is_foreign = proofs.are_content() && !proofs.are_taken_by(provider.spec(), &deployment.upstream_model);
    // Compatible servers are handed all of it; who is behind them, nobody knows.
    let is_foreign = is_foreign && !provider.spec().quirks.replay_reasoning;
    if is_foreign {
        meter.dropped.push("reasoning".to_owned());
    }
    if context.refuses_losses && (is_foreign || prepared.losses.iter().any(|loss| loss.effect == Effect::Dropped)) {
        // Another target may be able to say it.
        return Err(Failed::unsendable(Scope::Deployment, refuse_losses(&meter.dropped)));
    }
    Ok(prepared)
}

/// Makes the request that an attempt would send; `None` when the provider answers by itself.
pub(super) fn preview(
    context: &Context<'_>,
    deployment: &DeploymentPolicy,
    meter: &Meter,
) -> Tried<(Option<Sent>, Vec<Loss>)> {
    let provider = find_provider(deployment)?;
    let stamp = Stamp { id: "", now: meter.started_at };
    if let Some(answered) = provider.local(&context.call, &deployment.upstream_model, &stamp) {
        return answered.map(|_| (None, Vec::new())).map_err(|error| refuse_prepare(&error));
    }
    let fetched = provider.needs(&context.call, &deployment.upstream_model);
    let Prepared { mut request, losses, .. } =
        build(context, provider, deployment, Some(&Inlined::shown(&fetched)).filter(|shown| !shown.is_empty()))?;
    let (unsigned_uri, unsigned_headers) = (request.uri().clone(), request.headers().clone());
    // Nothing is exchanged for a request that is only shown.
    let own = own_secret(deployment);
    let stand_in = own.and_then(|secret| provider.stand_in(secret));
    sign(&mut request, provider, deployment, stand_in.as_ref().or(own), meter)?;
    Ok((Some(Sent { signed: request, unsigned_headers, unsigned_uri, fetched }), losses))
}

pub(super) fn find_provider(deployment: &DeploymentPolicy) -> Tried<&'static dyn Provider> {
    provider::find(&deployment.provider).ok_or_else(|| {
        unsendable(Scope::Deployment, "this deployment's provider is not known to this version of Headgate")
    })
}

fn build(
    context: &Context<'_>,
    provider: &'static dyn Provider,
    deployment: &DeploymentPolicy,
    media: Option<&Inlined>,
) -> Tried<Prepared> {
    let base = context.worker.bases.base(provider.spec(), &deployment.credential).map_err(|error| {
        tracing::warn!(deployment.id = %deployment.id, %error, "a credential's base address cannot be used");
        unsendable(
            Scope::Credential,
            "this deployment's base address cannot be used; an administrator has to correct it",
        )
    })?;
    let base_model = deployment.base_model.as_ref();
    let target = Target { base: &base, upstream_model: &deployment.upstream_model, base_model };
    let (call, is_prefilled) = context.call_for(provider, &deployment.upstream_model);
    let call = Call { inlined: media, ..*call };
    let mut prepared = provider.prepare(&call, &target).map_err(|error| refuse_prepare(&error))?;
    if is_prefilled {
        let body = provider.spec().quirks.prefill.mark(prepared.request.body());
        *prepared.request.body_mut() = body;
    }
    Ok(prepared)
}

pub(super) fn own_secret(deployment: &DeploymentPolicy) -> Option<&Secret<String>> {
    match &deployment.credential {
        CredentialUse::Ready(credential) => credential.secret.as_ref(),
        _ => None,
    }
}

pub(super) fn sign(
    request: &mut http::Request<Bytes>,
    provider: &'static dyn Provider,
    deployment: &DeploymentPolicy,
    secret: Option<&Secret<String>>,
    meter: &Meter,
) -> Tried<()> {
    provider.sign(request, secret, meter.started_at).map_err(|error| {
        tracing::warn!(deployment.id = %deployment.id, %error, "a credential's secret cannot be used");
        unsendable(
            Scope::Credential,
            "this deployment's credential cannot be used; an administrator has to enter it again",
        )
    })
}

pub(super) fn unsendable(scope: Scope, detail: &'static str) -> Box<Failed> {
    Failed::unsendable(scope, Rejection::new(GatewayCode::UpstreamError, detail))
}

fn refuse_prepare(error: &PrepareError) -> Box<Failed> {
    // Another target may speak the client's dialect, so only a body that nobody can read ends the call.
    let scope = match error {
        PrepareError::Decode(_) | PrepareError::Invalid { .. } => Scope::Request,
        PrepareError::Unsupported { .. } | PrepareError::Encode(_) => Scope::Deployment,
    };
    Failed::unsendable(scope, Rejection::new(GatewayCode::RequestInvalid, error.to_string()))
}

// === An answer made here ===

fn answer_locally(making: &Making<'_>, local: LocalAnswer, meter: &mut Meter) -> Tried<Reply> {
    let now = Instant::now();
    meter.attempt_answered(now);
    let mut chunks = local.chunks.into_iter();
    if meter.is_stream
        && let Operation::Chat(dialect) = making.context.call.operation
    {
        let mut writer = making.writer(Relay::Untouched { dialect, withhold_usage: false }, meter)?;
        let first = writer.push(chunks.next().unwrap_or_default()).map_err(|_| failed(FailureKind::Malformed))?;
        return Ok(making.stream(Source::Local(chunks), first, writer, Some(local.usage)));
    }
    let call = making.context.call;
    let image = image_kind(call.operation, call.body).map(Box::new);
    let found = Skimmed { usage: Some(local.usage), units: local.units, image, ..Skimmed::default() };
    let bill = making.billing.bill(&found, End::Complete, meter.started_at);
    meter.end_attempt(AttemptOutcome::Success, &bill, now);
    let kind = HeaderValue::from_static(local.content_type);
    let first = chunks.next().unwrap_or_default();
    let body: Bytes = chunks.fold(first, |whole, chunk| [whole, chunk].concat().into());
    if kind == "application/json" { Ok(Reply::Whole(body)) } else { Ok(Reply::Media(body, kind)) }
}

// === An answer over the network ===

/// What it takes to make an answer for the client.
struct Making<'a> {
    context: &'a Context<'a>,
    provider: &'static dyn Provider,
    billing: Billing,
    /// The request's id as text.
    id: Box<str>,
}

/// One exchange with an upstream.
struct Exchange<'a, 'b> {
    making: Making<'a>,
    extra: Extra,
    clock: Pin<&'b mut Sleep>,
}

impl Exchange<'_, '_> {
    async fn run(&mut self, request: Box<Outgoing>, relay: Relay, meter: &mut Meter) -> Tried<Reply> {
        let (sent_at, waited) = (Instant::now(), meter.waited);
        let tried = self.exchange(request, relay, sent_at, meter).await;
        if tried.is_err() {
            meter.waited = waited + sent_at.elapsed();
        }
        tried
    }

    async fn exchange(
        &mut self,
        request: Box<Outgoing>,
        relay: Relay,
        sent_at: Instant,
        meter: &mut Meter,
    ) -> Tried<Reply> {
        let clocks = self.making.context.terms.clocks;
        let deadline = (sent_at + clocks.first_byte).min(clocks.total_at);
        let (parts, mut source) = self.send(request, sent_at, deadline, meter).await?;
        if let Some(record) = meter.current_attempt() {
            record.status = Some(parts.status.as_u16());
            record.upstream_request_id = request_id(&parts.headers, self.making.provider.spec().request_id_header);
        }
        self.making.billing.tier = self.making.provider.spec().tier(&parts.headers);
        if !parts.status.is_success() {
            return Err(self.refused(&parts, source).await);
        }
        if let Relay::Formed(asked) = relay {
            return self.formed(&asked, &parts, source, (sent_at, deadline), meter).await;
        }
        if meter.is_stream {
            if is_json(&parts.headers) {
                return Err(failed(FailureKind::Malformed));
            }
            let opened = self.open_stream(relay, source, deadline, meter).await?;
            meter.waited += sent_at.elapsed();
            return Ok(opened);
        }
        let max_bytes = self.making.context.worker.shared.config.limits.max_answer_bytes;
        let body = self.collect(&mut source, deadline, max_bytes).await?;
        meter.waited += sent_at.elapsed();
        self.making.answer(relay, body, meter)
    }

    async fn send(
        &mut self,
        request: Box<Outgoing>,
        sent_at: Instant,
        deadline: Instant,
        meter: &mut Meter,
    ) -> Tried<(Parts, Source)> {
        let client = &self.making.context.worker.client;
        let connect = self.making.context.terms.clocks.connect;
        let mut sent = within(self.clock.as_mut(), deadline, client.send(request, connect)).await;
        // An idle connection that the upstream closed just then says nothing about the upstream: once more, on another one.
        if let Some(Err(SendError::Closed { is_reused: true, .. })) = &sent
            && sent_at.elapsed() < STALE_WITHIN
        {
            let (making, extra) = (&self.making, &self.extra);
            let again = prepare(making.context, making.provider, &making.billing.deployment, extra, meter)?.request;
            sent = within(self.clock.as_mut(), deadline, client.send(Box::new(again), connect)).await;
        }
        match sent {
            Some(Ok(response)) => {
                let (parts, answer) = response.into_parts();
                Ok((parts, Source::Upstream(answer)))
            }
            None => Err(timed_out()),
            Some(Err(error)) => {
                tracing::debug!(%error, deployment.id = %self.making.billing.deployment.id, "sending failed");
                Err(match error {
                    SendError::ConnectTimeout { .. } => timed_out(),
                    SendError::Closed { .. } => failed(FailureKind::Broken),
                    SendError::Connect { .. } | SendError::Url { .. } | SendError::Denied { .. } => {
                        Failed::upstream(Failure::transport(FailureKind::Connect), AttemptOutcome::Connect)
                    }
                })
            }
        }
    }

    /// Reads a body to its end. The first bytes have until `first_by`, each later chunk the idle time.
    async fn collect(&mut self, source: &mut Source, first_by: Instant, max_bytes: usize) -> Tried<Bytes> {
        let mut first: Option<Bytes> = None;
        let mut whole = BytesMut::new();
        let mut until = first_by;
        loop {
            let Some(next) = within(self.clock.as_mut(), until, poll_fn(|cx| source.poll_chunk(cx))).await else {
                return Err(timed_out());
            };
            let chunk = match next {
                None => break,
                Some(Err(_)) => return Err(failed(FailureKind::Broken)),
                Some(Ok(chunk)) => chunk,
            };
            if whole.len() + first.as_ref().map_or(0, Bytes::len) + chunk.len() > max_bytes {
                return Err(failed(FailureKind::Malformed));
            }
            until =
                (Instant::now() + self.making.context.terms.clocks.idle).min(self.making.context.terms.clocks.total_at);
            match first.take() {
                // Most answers are one chunk: no copy then.
                None if whole.is_empty() => first = Some(chunk),
                None => whole.extend_from_slice(&chunk),
                Some(earlier) => {
                    whole.reserve(earlier.len() + chunk.len());
                    whole.extend_from_slice(&earlier);
                    whole.extend_from_slice(&chunk);
                }
            }
        }
        Ok(first.unwrap_or_else(|| whole.freeze()))
    }

    async fn refused(&mut self, parts: &Parts, mut source: Source) -> Box<Failed> {
        let until =
            (Instant::now() + self.making.context.terms.clocks.idle).min(self.making.context.terms.clocks.total_at);
        let status = parts.status.as_u16();
        // An error body that is too long or breaks off still leaves the status.
        let body = self.collect(&mut source, until, MAX_ERROR_BODY).await.unwrap_or_default();
        let now = self.making.context.worker.shared.clock.now();
        let failure = self.making.provider.classify(status, &parts.headers, &body, now);
        if failure.kind == FailureKind::Unauthorized
            && let (Some(given), CredentialUse::Ready(credential)) =
                (&self.extra.given, &self.making.billing.deployment.credential)
        {
            self.making.context.worker.shared.exchanges.refused(credential.id, given, now);
        }
        if !failure.is_clients_fault() {
            return Failed::upstream(failure, AttemptOutcome::Status);
        }
        let client = self.making.client();
        let model = &self.making.billing.deployment.upstream_model;
        let is_same = matches!(self.making.provider.speech(client, model), Speech::Dialect(spoken) if spoken == client);
        // The statuses that the public contract keeps; others of the client's making are 400.
        let status = if matches!(status, 400 | 404 | 413 | 422) { parts.status } else { StatusCode::BAD_REQUEST };
        let body = if is_same && is_json(&parts.headers) && status == parts.status && is_in_form(client, &body) {
            body
        } else {
            let mut error = self.making.provider.decode_error(client, model, status.as_u16(), &body);
            error.kind = failure.kind.error_kind();
            error.request_id = Some(self.making.id.clone());
            rejection::encode(client, &error)
        };
        Failed::refused(failure, status, body)
    }

    async fn open_stream(
        &mut self,
        relay: Relay,
        mut source: Source,
        first_by: Instant,
        meter: &mut Meter,
    ) -> Tried<Reply> {
        let dialect = relay.dialect();
        let mut writer = self.making.writer(relay, meter)?;
        let max_bytes = self.making.context.worker.shared.config.limits.max_answer_bytes;
        // Until an event of the dialect has come, another target may still answer.
        let mut held = BytesMut::new();
        let first = loop {
            let mut is_over = false;
            let Some(next) = within(self.clock.as_mut(), first_by, poll_fn(|cx| source.poll_chunk(cx))).await else {
                return Err(timed_out());
            };
            let out = match next {
                Some(Ok(chunk)) => {
                    dialect.inspect(|dialect| meter.note_answer_id(*dialect, &chunk));
                    writer.push(chunk).map_err(|_| failed(FailureKind::Malformed))?
                }
                None => {
                    is_over = true;
                    writer.finish().map_err(|_| failed(FailureKind::Broken))?
                }
                Some(Err(_)) => return Err(failed(FailureKind::Broken)),
            };
            let found = writer.found();
            if found.is_garbled {
                return Err(failed(FailureKind::Malformed));
            }
            // A stream whose first word is an error can still be answered by another target.
            if !found.has_output() {
                check_in_band(found)?;
            }
            // Where filters matter, an opening says too little.
            let says_enough = found.has_output() || found.finish.is_some() || !self.making.context.minds_filters;
            self.making.check_filtered(found, meter)?;
            if held.is_empty() && found.has_begun && says_enough && !out.is_empty() {
                break out;
            }
            held.extend_from_slice(&out);
            if found.has_begun && says_enough && !held.is_empty() {
                break held.freeze();
            }
            if is_over || found.is_complete || held.len() > max_bytes {
                return Err(failed(FailureKind::Malformed));
            }
        };
        meter.attempt_answered(Instant::now());
        Ok(self.making.stream(source, first, writer, None))
    }
}

impl Making<'_> {
    /// The dialect of the client's request.
    fn client(&self) -> Dialect {
        self.context.client
    }

    /// Has the provider answer by itself, if it can.
    fn local(&self, upstream_model: &str, meter: &Meter) -> Option<Result<LocalAnswer, PrepareError>> {
        let stamp = Stamp { id: &self.answer_id(), now: meter.started_at };
        self.provider.local(&self.context.call, upstream_model, &stamp)
    }

    /// The id of an answer that is made here.
    fn answer_id(&self) -> Box<str> {
        match self.client() {
            Dialect::OpenAiResponses => response_id(&self.id),
            _ => self.id.clone(),
        }
    }

    fn answer_options(&self, meter: &Meter) -> AnswerOptions {
        AnswerOptions {
            model: None,
            id: self.answer_id(),
            created: meter.started_at.as_secs(),
            include_usage: self.context.call.scan.wants_usage(),
            echo: self.context.echo.clone(),
        }
    }

    // === Whole answers ===

    fn answer(&self, relay: Relay, body: Bytes, meter: &mut Meter) -> Tried<Reply> {
        let client = self.client();
        relay.dialect().inspect(|dialect| meter.note_answer_id(*dialect, &body));
        let (body, found) = match relay {
            Relay::Untouched { dialect, .. } => {
                let found = skim_body(dialect, &body);
                if !found.has_begun && found.error.is_none() {
                    return Err(failed(FailureKind::Malformed));
                }
                (body, found)
            }
            Relay::Embeddings => {
                let found = skim_body(Dialect::OpenAiChat, &body);
                (body, found)
            }
            // Read elsewhere.
            Relay::Formed(_) => return Err(failed(FailureKind::Malformed)),
            Relay::Count { dialect } => {
                let Ok(tokens) = count::decode_answer(dialect, &body) else {
                    return Err(failed(FailureKind::Malformed));
                };
                let body = if dialect == client { body } else { count::encode_answer(client, tokens) };
                (body, Skimmed { is_complete: true, ..Skimmed::default() })
            }
            Relay::Translated { dialect, undo } => {
                let decoder = self.provider.decoder(dialect, Mode::Whole, undo);
                let encoder = client.encoder(Mode::Whole, self.answer_options(meter));
                let mut translation = Translation::new(dialect, decoder, encoder);
                let read = translation.push(&body).and_then(|out| Ok([out, translation.finish()?].concat().into()));
                let Ok(written) = read else { return Err(failed(FailureKind::Malformed)) };
                meter.dropped.extend(translation.list_losses());
                let tier = provider::skim::tier_of(dialect, &body);
                (written, Skimmed { tier, ..translation.found().clone() })
            }
        };
        check_in_band(&found)?;
        if !found.is_complete {
            return Err(failed(FailureKind::Malformed));
        }
        self.check_filtered(&Skimmed { n_output_events: 0, ..found.clone() }, meter)?;
        let now = Instant::now();
        meter.attempt_answered(now);
        meter.finish = found.finish;
        let bill = self.billing.bill(&found, End::Complete, meter.started_at);
        meter.end_attempt(AttemptOutcome::Success, &bill, now);
        Ok(Reply::Whole(body))
    }

    /// Finds an answer that a filter took away before it said anything. It was billed nonetheless.
    fn check_filtered(&self, found: &Skimmed, meter: &mut Meter) -> Tried<()> {
        let is_filtered = found.finish == Some(FinishReason::ContentFilter) && !found.has_output();
        if !is_filtered || !self.context.minds_filters {
            return Ok(());
        }
        let bill = self.billing.bill(found, End::Complete, meter.started_at);
        meter.end_attempt(AttemptOutcome::Status, &bill, Instant::now());
        let mut failure = Failure::transport(FailureKind::ContentPolicy);
        failure.scope = Scope::Request;
        let text = "a filter of the upstream took the answer away, and no other target gave one; change the request";
        let mut error = AnswerError::new(StatusCode::BAD_REQUEST.as_u16(), "content_filter", text);
        error.kind = failure.kind.error_kind();
        error.request_id = Some(self.id.clone());
        Err(Failed::refused(failure, StatusCode::BAD_REQUEST, rejection::encode(self.client(), &error)))
    }

    // === Streams ===

    fn writer(&self, relay: Relay, meter: &Meter) -> Tried<Writer> {
        let client = self.client();
        let (dialect, undo) = match relay {
            // What the client asks to be told at the end has to be written into its events; nor does an upstream send an
            // array; and what is to go on elsewhere must consist of whole events.
            Relay::Untouched { dialect, .. }
                if self.context.terms.is_debug || self.context.terms.wants_array || self.context.keeps =>
            {
                (dialect, llm::dialect::Undo::default())
            }
            Relay::Untouched { dialect, withhold_usage } => return Ok(Writer::untouched(dialect, withhold_usage)),
            Relay::Translated { dialect, undo } => (dialect, undo),
            // Neither is ever streamed.
            Relay::Embeddings | Relay::Count { .. } | Relay::Formed(_) => return Err(failed(FailureKind::Malformed)),
        };
        let decoder = self.provider.decoder(dialect, Mode::Stream, undo);
        let annotate = self.context.terms.is_debug.then(|| self.annotation(meter));
        if self.context.is_later {
            let (_, is_prefilled) = self.context.call_for(self.provider, &self.billing.deployment.upstream_model);
            let reading = Reading::new(dialect, decoder);
            return Ok(Writer::Later(Box::new(Later { reading, annotate, is_prefilled })));
        }
        let options = self.answer_options(meter);
        let encoder = if self.context.terms.wants_array {
            gemini::array_encoder(options)
        } else {
            client.encoder(Mode::Stream, options)
        };
        let mut translation = Translation::new(dialect, decoder, encoder);
        translation.annotate = annotate;
        if self.context.keeps {
            translation = translation.keeping();
        }
        Ok(Writer::Translated(Box::new(translation)))
    }

    fn stream(&self, source: Source, first: Bytes, writer: Writer, known_usage: Option<TokenUsage>) -> Reply {
        let clocks = self.context.terms.clocks;
        Reply::Stream(Box::new(Start {
            source,
            first,
            writer,
            is_array: self.context.terms.wants_array,
            kind: None,
            passed: None,
            known_usage,
            memory: None,
            billing: self.billing.clone(),
            idle: clocks.idle,
            total_at: clocks.total_at,
            recorder: None,
            continuation: None,
            rehearses_cut: rehearsal::cuts(self.context, &self.billing.deployment),
        }))
    }

    fn annotation(&self, meter: &Meter) -> Annotate {
        let (billing, id, at) = (self.billing.clone(), self.id.clone(), meter.started_at);
        let (attempts, revision, before) = (meter.n_attempts(), meter.policy_revision, meter.cost());
        let (used, continued) = (meter.usage(), meter.routing.as_ref().map_or(0, |routing| routing.continued));
        let started = meter.started;
        Box::new(move |found| {
            let bill = billing.bill(found, End::Complete, at);
            Raw::of(&Annotation {
                request_id: &id,
                model: &billing.deployment.upstream_model,
                provider: &billing.deployment.provider,
                attempts,
                continued,
                cache: "off",
                cost_usd: before.saturating_add(bill.cost).to_string(),
                duration_us: micros(started.elapsed()),
                policy_revision: revision,
                usage: used.plus(bill.usage),
                usage_is_estimated: bill.is_estimated,
            })
        })
    }
}

/// The `x_headgate` object of a stream's last event.
#[derive(serde::Serialize)]
struct Annotation<'a> {
    request_id: &'a str,
    model: &'a str,
    provider: &'a str,
    attempts: usize,
    /// How often another target went on.
    #[serde(skip_serializing_if = "is_zero")]
    continued: u16,
    cache: &'static str,
    cost_usd: String,
    duration_us: u64,
    policy_revision: u64,
    usage: TokenUsage,
    usage_is_estimated: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero(n: &u16) -> bool {
    *n == 0
}

/// The id of an answer that no upstream has an id for which a client of responses could use: the request's, with their prefix.
fn response_id(request_id: &str) -> Box<str> {
    format!("resp_{}", request_id.trim_start_matches("req_")).into()
}

pub(super) fn timed_out() -> Box<Failed> {
    Failed::upstream(Failure::transport(FailureKind::Timeout), AttemptOutcome::Timeout)
}

pub(super) fn failed(kind: FailureKind) -> Box<Failed> {
    Failed::upstream(Failure::transport(kind), AttemptOutcome::Broken)
}

/// Finds an error that came in place of an answer, under status 200.
fn check_in_band(found: &Skimmed) -> Tried<()> {
    match &found.error {
        None => Ok(()),
        Some(error) => {
            let failure = failure::classify_in_band(&error.kind, &error.code, &error.message);
            Err(Failed::upstream(failure, AttemptOutcome::Broken))
        }
    }
}

/// Says whether an error body is of the dialect's own form: clouds refuse another vendor's dialect in words of their own.
fn is_in_form(client: Dialect, body: &[u8]) -> bool {
    let said: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    match client {
        Dialect::AnthropicMessages => said["type"] == "error" && said["error"].is_object(),
        _ => said["error"].is_object() || said.is_array(),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/json"))
}

/// Reads the upstream's request id; what is not short plain text is left out.
pub(super) fn request_id(headers: &HeaderMap, name: &str) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?;
    (text.len() <= 128).then(|| text.to_owned())
}
