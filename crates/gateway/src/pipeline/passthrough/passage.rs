//! The one attempt of a call of a provider's own API, and its answer on the way back.

use std::future::poll_fn;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use domain::code::GatewayCode;
use domain::usage::AttemptOutcome;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::response::Parts as Answered;
use http::{HeaderValue, Request, StatusCode};
use ingress::Rejection;
use ingress::passage::returned;
use llm::dialect::Mode;
use provider::Counting;
use provider::skim::{Skimmed, skim_body};
use tokio::time::{Instant, timeout_at};
use upstream::client::SendError;

use super::Passage;
use crate::pipeline::relay::stream::Start;
use crate::pipeline::relay::watch::Watch;
use crate::pipeline::relay::{Bill, End, Source, Writer};
use crate::pipeline::reply::{Passed, Reply};
use crate::pipeline::settle::Meter;

/// Media types of streams besides events, by how they begin.
const STREAMED: &[&[u8]] =
    &[b"application/vnd.amazon.eventstream", b"application/x-ndjson", b"application/stream+json"];

pub(super) type Sent = Result<Reply, (AttemptOutcome, Rejection)>;

impl Passage<'_> {
    pub(super) async fn send(&mut self, mut request: Request<Bytes>, meter: &mut Meter) -> Sent {
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
        let writer = match (self.counting, &self.asked) {
            (Some(counting), _) if is_json => return self.whole(counting, head, &mut source, meter).await,
            (_, Some(asked)) => Some(Writer::passing(asked.known(), is_events)),
            (Some(Counting::Dialect(dialect)), _) if is_events => Some(Writer::untouched(dialect, false)),
            (Some(counting), _) if meter.is_stream => provider::reader(self.provider, counting, Mode::Stream)
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
            Counting::Task(_) => {
                let asked = self.asked.as_ref()?;
                asked.read(head.headers.get(CONTENT_TYPE)?, &Bytes::copy_from_slice(body)).ok().map(|told| told.found)
            }
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

fn timed_out() -> (AttemptOutcome, Rejection) {
    let detail = "the upstream did not answer in time; try again, or ask for less";
    (AttemptOutcome::Timeout, Rejection::new(GatewayCode::UpstreamTimeout, detail))
}

fn broken(detail: &'static str) -> (AttemptOutcome, Rejection) {
    (AttemptOutcome::Broken, Rejection::new(GatewayCode::UpstreamError, detail))
}
