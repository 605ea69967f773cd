//! One exchange with an upstream: a request out, an answer in, up to the commit point. One timer serves all its clocks.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use domain::usage::AttemptOutcome;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::response::Parts;
use http::{HeaderMap, StatusCode};
use ingress::rejection;
use llm::dialect::Dialect;
use policy::snapshot::CredentialUse;
use provider::failure::{Failure, FailureKind, MAX_ERROR_BODY};
use provider::{Relay, Speech};
use tokio::time::{Instant, Sleep};
use upstream::client::SendError;

use super::super::Failed;
use super::making::{Making, check_in_band};
use super::prepare::{Extra, prepare};
use super::within::within;
use super::{Tried, failed, timed_out};
use crate::pipeline::relay::Source;
use crate::pipeline::reply::Reply;
use crate::pipeline::settle::Meter;

/// A kept connection that closes within this time of a request was closed before it: later, the upstream had begun to work.
const STALE_WITHIN: Duration = Duration::from_secs(1);

pub(super) type Outgoing = http::Request<Bytes>;

/// One exchange with an upstream.
pub(super) struct Exchange<'a, 'b> {
    pub(super) making: Making<'a>,
    pub(super) extra: Extra,
    pub(super) clock: Pin<&'b mut Sleep>,
}

impl Exchange<'_, '_> {
    pub(super) async fn run(&mut self, request: Box<Outgoing>, relay: Relay, meter: &mut Meter) -> Tried<Reply> {
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
            record.upstream_request_id = self.making.provider.spec().request_id(&parts.headers);
        }
        self.making.billing.tier = self.making.provider.spec().tier(&parts.headers);
        if !parts.status.is_success() {
            return Err(self.refused(&parts, source).await);
        }
        if is_packed(&parts.headers) {
            return Err(failed(FailureKind::Malformed));
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
    pub(super) async fn collect(&mut self, source: &mut Source, first_by: Instant, max_bytes: usize) -> Tried<Bytes> {
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

/// Says whether an error body is of the dialect's own form: clouds refuse another vendor's dialect in words of their own.
fn is_in_form(client: Dialect, body: &[u8]) -> bool {
    let said: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    match client {
        Dialect::AnthropicMessages => said["type"] == "error" && said["error"].is_object(),
        _ => said["error"].is_object() || said.is_array(),
    }
}

/// Says whether a body is packed, which nobody asked for. A packing may leave most of the text as it is: without the header's word
/// the rest would pass for the answer.
fn is_packed(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/json"))
}
