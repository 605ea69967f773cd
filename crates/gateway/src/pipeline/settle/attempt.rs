//! What a meter notes of the attempt under way: its record, its span, and what it shows of the target.

use domain::usage::{AttemptOutcome, AttemptRecord};
use http::{HeaderValue, Uri};
use llm::canonical::event::FinishReason;
use llm::dialect::Dialect;
use provider::scan::Scan;
use provider::skim::answer_id;
use runtime::telemetry::calls::AttemptSpan;
use tokio::time::Instant;
use upstream::load::UnderWay;

use super::{Meter, micros};
use crate::pipeline::relay::Bill;

/// The attempt under way.
pub(super) struct Current {
    pub(super) record: AttemptRecord,
    pub(super) started: Instant,
    pub(super) at: UnderWay,
    /// `None` while tracing is off; boxed, so that a stream without one does not keep room for it.
    pub(super) span: Option<Box<AttemptSpan>>,
}

impl Meter {
    /// Returns what tells the upstream at `to` which span its request is part of; `None` while tracing is off.
    pub(crate) fn traceparent(&mut self, to: &Uri) -> Option<HeaderValue> {
        Some(self.current.as_mut()?.span.as_deref_mut()?.traceparent(to))
    }

    /// Tells whoever listens what the request asks of the model: on the span of the attempt under way, before it on that of the call.
    pub(crate) fn note_request(&mut self, scan: &Scan, body: &[u8]) {
        let notes = match self.current.as_mut().and_then(|current| current.span.as_deref_mut()) {
            Some(attempt) => attempt.notes(),
            None => self.span.notes(),
        };
        if let Some(mut notes) = notes {
            let temperature = scan.number("temperature", "temperature", body);
            let top_p = scan.number("top_p", "topP", body);
            notes.asked(scan.output_cap(), temperature, top_p);
        }
    }

    /// Looks for the upstream's own id in an answer, or in the first bytes of its stream, for whoever listens.
    pub(crate) fn note_answer_id(&mut self, dialect: Dialect, bytes: &[u8]) {
        if let Some(span) = self.current.as_mut().and_then(|current| current.span.as_deref_mut()) {
            span.note_answer_id(|| answer_id(dialect, bytes));
        }
    }

    /// Notes that an attempt starts. One that is not ended by [`Meter::end_attempt`] counts as cancelled.
    pub(crate) fn begin_attempt(&mut self, record: AttemptRecord, now: Instant) {
        if let Some(routing) = self.routing.as_mut().filter(|routing| routing.dispatched_us == 0) {
            routing.dispatched_us = micros(now.duration_since(self.started));
        }
        if let Some(hold) = &self.hold {
            hold.serve(record.deployment_id);
        }
        let target = self.worker.shared.health.target(record.deployment_id);
        let span = AttemptSpan::start(&self.span, self.endpoint, &record, provider::otel_name);
        self.current = Some(Current { record, started: now, at: UnderWay::begin(target), span });
    }

    /// Notes the first byte of the body of the attempt under way.
    pub(crate) fn attempt_answered(&mut self, now: Instant) {
        if let Some(Current { record, started, .. }) = &mut self.current {
            record.first_byte_us = Some(micros(now.duration_since(*started)));
        }
    }

    /// Returns the record of the attempt under way.
    pub(crate) fn current_attempt(&mut self) -> Option<&mut AttemptRecord> {
        self.current.as_mut().map(|current| &mut current.record)
    }

    /// Ends the attempt under way. What it shows of the target's health and load is noted there, failures excepted.
    pub(crate) fn end_attempt(&mut self, outcome: AttemptOutcome, bill: &Bill, now: Instant) {
        let Some(Current { mut record, started, at, span }) = self.current.take() else { return };
        record.duration_us = micros(now.duration_since(started));
        record.outcome = outcome;
        record.usage = bill.usage;
        record.modal = (!bill.modal.is_empty()).then(|| Box::new(bill.modal));
        record.units = bill.units;
        record.image.clone_from(&bill.image);
        record.cost = bill.cost;
        if outcome == AttemptOutcome::Success {
            let now = self.started_at.plus(now.duration_since(self.started));
            at.target().succeeded(now);
            at.target().load.answered(now, self.is_stream, record.first_byte_us, record.duration_us, bill.usage);
        }
        self.price = bill.price.or(self.price);
        self.is_estimated |= bill.is_estimated;
        self.worker.metrics.attempt(&record.provider, outcome);
        if let Some(span) = span {
            span.end(&mut self.span, &record, self.finish.map(FinishReason::as_str));
        }
        // One attempt is the rule; a vector left alone makes room for four.
        self.attempts.reserve_exact(1);
        self.attempts.push(record);
    }

    /// Returns the number of attempts so far, the one under way included.
    pub(crate) fn n_attempts(&self) -> usize {
        usize::from(self.n_elsewhere) + self.attempts.len() + usize::from(self.current.is_some())
    }
}
