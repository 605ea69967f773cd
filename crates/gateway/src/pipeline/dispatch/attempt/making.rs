//! What it takes to make an answer for the client out of an upstream's, or without one.

use bytes::Bytes;
use domain::usage::{AttemptOutcome, TokenUsage};
use http::{HeaderValue, StatusCode};
use ingress::rejection;
use llm::canonical::error::AnswerError;
use llm::canonical::event::FinishReason;
use llm::canonical::json::Raw;
use llm::dialect::{AnswerOptions, Dialect, Mode, Speak as _, gemini};
use policy::snapshot::DeploymentPolicy;
use provider::count;
use provider::failure::{self, Failure, FailureKind, Scope};
use provider::skim::{Skimmed, skim_body};
use provider::task::image_kind;
use provider::{LocalAnswer, Operation, PrepareError, Provider, Relay, Stamp};
use tokio::time::Instant;

use super::super::{Context, Failed, rehearsal};
use super::{Tried, failed};
use crate::pipeline::relay::stream::Start;
use crate::pipeline::relay::{Annotate, Billing, End, Later, Reading, Source, Translation, Writer};
use crate::pipeline::reply::Reply;
use crate::pipeline::settle::{Meter, micros};

/// What it takes to make an answer for the client.
pub(super) struct Making<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) provider: &'static dyn Provider,
    pub(super) billing: Billing,
    /// The request's id as text.
    pub(super) id: Box<str>,
}

impl Making<'_> {
    /// The dialect of the client's request.
    pub(super) fn client(&self) -> Dialect {
        self.context.client
    }

    /// Has the provider answer by itself, if it can.
    pub(super) fn local(&self, to: &DeploymentPolicy, meter: &Meter) -> Option<Result<LocalAnswer, PrepareError>> {
        let stamp = Stamp { id: &self.answer_id(), now: meter.started_at, base_url: to.base_url() };
        self.provider.local(&self.context.call, &to.upstream_model, &stamp)
    }

    /// The id of an answer that is made here.
    pub(super) fn answer_id(&self) -> Box<str> {
        match self.client() {
            Dialect::OpenAiResponses => response_id(&self.id),
            _ => self.id.clone(),
        }
    }

    pub(super) fn answer_options(&self, meter: &Meter) -> AnswerOptions {
        AnswerOptions {
            model: None,
            id: self.answer_id(),
            created: meter.started_at.as_secs(),
            include_usage: self.context.call.scan.wants_usage(),
            echo: self.context.echo.clone(),
        }
    }

    // === Whole answers ===

    pub(super) fn answer(&self, relay: Relay, body: Bytes, meter: &mut Meter) -> Tried<Reply> {
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
                let body = count::relay_answer(dialect, client, body).map_err(|_| failed(FailureKind::Malformed))?;
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
    pub(super) fn check_filtered(&self, found: &Skimmed, meter: &mut Meter) -> Tried<()> {
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

    pub(super) fn writer(&self, relay: Relay, meter: &Meter) -> Tried<Writer> {
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

    pub(super) fn stream(
        &self,
        source: Source,
        first: Bytes,
        writer: Writer,
        known_usage: Option<TokenUsage>,
    ) -> Reply {
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

    pub(super) fn annotation(&self, meter: &Meter) -> Annotate {
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

/// Finds an error that came in place of an answer, under status 200.
pub(super) fn check_in_band(found: &Skimmed) -> Tried<()> {
    match &found.error {
        None => Ok(()),
        Some(error) => {
            let failure = failure::classify_in_band(&error.kind, &error.code, &error.message);
            Err(Failed::upstream(failure, AttemptOutcome::Broken))
        }
    }
}

pub(super) fn answer_locally(making: &Making<'_>, local: LocalAnswer, meter: &mut Meter) -> Tried<Reply> {
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
