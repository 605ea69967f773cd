//! Answers of operations besides chat: sound and events go on as they arrive, everything else is read whole and written as the
//! client wants it.

use std::future::poll_fn;

use domain::usage::AttemptOutcome;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use http::response::Parts;
use provider::failure::FailureKind;
use provider::task::Asked;
use tokio::time::Instant;

use super::exchange::Exchange;
use super::making::check_in_band;
use super::within::within;
use super::{Tried, failed, timed_out};
use crate::pipeline::relay::stream::Start;
use crate::pipeline::relay::{End, Source, Writer};
use crate::pipeline::reply::Reply;
use crate::pipeline::settle::Meter;

const UNKNOWN: HeaderValue = HeaderValue::from_static("application/octet-stream");

impl Exchange<'_, '_> {
    /// Hands an answer on. `clocks`: when the request was sent, and until when its first byte has time.
    pub(super) async fn formed(
        &mut self,
        asked: &Asked,
        parts: &Parts,
        mut source: Source,
        clocks: (Instant, Instant),
        meter: &mut Meter,
    ) -> Tried<Reply> {
        let (sent_at, deadline) = clocks;
        let kind = parts.headers.get(CONTENT_TYPE).cloned().unwrap_or(UNKNOWN);
        if asked.is_relayed(&kind) {
            let opened = self.open_passing(asked, kind, source, deadline, meter).await?;
            meter.waited += sent_at.elapsed();
            return Ok(opened);
        }
        let max_bytes = self.making.context.worker.shared.config.limits.max_answer_bytes;
        let body = self.collect(&mut source, deadline, max_bytes).await?;
        meter.waited += sent_at.elapsed();
        let Ok(told) = asked.read(&kind, &body) else { return Err(failed(FailureKind::Malformed)) };
        check_in_band(&told.found)?;
        let now = Instant::now();
        meter.attempt_answered(now);
        let bill = self.making.billing.bill(&told.found, End::Complete, meter.started_at);
        meter.end_attempt(AttemptOutcome::Success, &bill, now);
        let is_json = told.content_type.as_bytes().starts_with(b"application/json");
        Ok(if is_json { Reply::Whole(told.body) } else { Reply::Media(told.body, told.content_type) })
    }

    async fn open_passing(
        &mut self,
        asked: &Asked,
        kind: HeaderValue,
        mut source: Source,
        first_by: Instant,
        meter: &mut Meter,
    ) -> Tried<Reply> {
        let mut writer = Writer::passing(asked.known(), kind.as_bytes().starts_with(b"text/event-stream"));
        let Some(next) = within(self.clock.as_mut(), first_by, poll_fn(|cx| source.poll_chunk(cx))).await else {
            return Err(timed_out());
        };
        // An empty answer is none.
        let Some(Ok(chunk)) = next else { return Err(failed(FailureKind::Broken)) };
        let first = writer.push(chunk).map_err(|_| failed(FailureKind::Malformed))?;
        check_in_band(writer.found())?;
        meter.attempt_answered(Instant::now());
        let clocks = self.making.context.terms.clocks;
        Ok(Reply::Stream(Box::new(Start {
            source,
            first,
            writer,
            is_array: false,
            kind: Some(kind),
            passed: None,
            known_usage: None,
            billing: self.making.billing.clone(),
            idle: clocks.idle,
            total_at: clocks.total_at,
            recorder: None,
            memory: None,
            continuation: None,
            rehearses_cut: false,
        })))
    }
}
