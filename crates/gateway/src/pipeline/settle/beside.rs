//! Meters beside that of a call: of an attempt that races another, of a copy, of a turn of a session.

use std::sync::Arc;
use std::time::Duration;

use domain::usage::{AttemptOutcome, Endpoint};
use ingress::admit::Notes;
use ingress::field::header_value;
use runtime::telemetry::calls::CallSpan;
use tokio::time::Instant;

use super::Meter;
use crate::pipeline::Worker;
use crate::pipeline::relay::Bill;

impl Meter {
    /// Makes a meter for an attempt beside the one under way. It settles nothing; what it measured is given back with
    /// [`Meter::adopt`] or [`Meter::absorb`].
    pub(crate) fn aside(&self) -> Box<Self> {
        let mut side = self.twin(self.worker.clone());
        side.n_elsewhere = u8::try_from(self.attempts.len() + 1).unwrap_or(u8::MAX);
        side.is_settled = true;
        side
    }

    /// Makes the meter of a copy of the call: a call of its own, under an id of its own.
    pub(crate) fn copy(&self, worker: Arc<Worker>) -> Box<Self> {
        worker.metrics.in_flight.add(1);
        let mut copy = self.twin(worker);
        copy.started_at = copy.worker.shared.clock.now();
        copy.started = Instant::now();
        copy.request_id = copy.worker.ids.next_request(copy.started_at);
        copy.id_text = header_value(&copy.request_id);
        copy.route = self.route;
        copy.model.clone_from(&self.model);
        copy.notes = self.notes.clone();
        copy.span = CallSpan::start_within(&self.span);
        copy.notes.metadata.push(("headgate.shadow_of".to_owned(), self.request_id.to_string()));
        copy
    }

    /// Makes the meter of one turn of the session that this one measures: a call of its own, under an id of its own.
    pub(crate) fn turn(&self) -> Box<Self> {
        self.worker.metrics.in_flight.add(1);
        let mut turn = self.twin(self.worker.clone());
        turn.started_at = turn.worker.shared.clock.now();
        turn.started = Instant::now();
        turn.request_id = turn.worker.ids.next_request(turn.started_at);
        turn.id_text = header_value(&turn.request_id);
        turn.endpoint = Endpoint::Realtime;
        turn.route = self.route;
        turn.model.clone_from(&self.model);
        turn.notes = self.notes.clone();
        turn.notes.conversation_id.get_or_insert_with(|| self.request_id.to_string());
        turn.notes.metadata.push(("headgate.session".to_owned(), self.request_id.to_string()));
        turn.served.clone_from(&self.served);
        // The vendor's time and the user's; ours cannot be told apart in it.
        turn.overhead = Some(Duration::ZERO);
        turn.first_byte = Some(Duration::ZERO);
        turn.span = CallSpan::start_within(&self.span);
        turn
    }

    fn twin(&self, worker: Arc<Worker>) -> Box<Self> {
        Box::new(Self {
            worker,
            request_id: self.request_id,
            id_text: self.id_text.clone(),
            started_at: self.started_at,
            started: self.started,
            endpoint: self.endpoint,
            is_stream: self.is_stream,
            caller: self.caller,
            model: String::new(),
            route: None,
            policy_revision: self.policy_revision,
            notes: Notes::default(),
            attempts: Vec::new(),
            current: None,
            served: None,
            finish: None,
            price: None,
            is_estimated: false,
            is_unmetered: false,
            dropped: self.dropped.clone(),
            routing: None,
            received: Duration::ZERO,
            n_elsewhere: 0,
            cache: self.cache,
            hold: None,
            money: None,
            waited: Duration::ZERO,
            overhead: None,
            first_byte: None,
            span: self.span.beside(),
            is_settled: false,
            is_by_old_secret: self.is_by_old_secret,
        })
    }

    /// Takes over the attempt of a meter aside that gave the answer, or was the last to fail.
    pub(crate) fn adopt(&mut self, mut side: Box<Self>) {
        self.end_attempt(AttemptOutcome::Cancelled, &Bill::default(), Instant::now());
        self.attempts.append(&mut side.attempts);
        self.current = side.current.take();
        if let (Some(hold), Some(current)) = (&self.hold, &self.current) {
            hold.serve(current.record.deployment_id);
        }
        self.served = side.served.take();
        self.finish = side.finish;
        self.dropped = std::mem::take(&mut side.dropped);
        self.price = side.price.or(self.price);
        self.is_estimated |= side.is_estimated;
        self.waited += side.waited;
    }

    /// Takes over the attempt of a meter aside that was given up.
    pub(crate) fn absorb(&mut self, mut side: Box<Self>) {
        side.end_attempt(AttemptOutcome::Cancelled, &Bill::default(), Instant::now());
        self.attempts.append(&mut side.attempts);
        self.is_estimated |= side.is_estimated;
    }
}
