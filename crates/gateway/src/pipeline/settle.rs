//! Stage 8: the meter of one call. It settles exactly once: on rejection, at the last byte, or when it is dropped.
//!
//! Everything the usage event tells is noted here while the call runs. Dropping the meter (the client left, a panic) settles
//! with what is known by then; settling writes one record to the spool, before the last byte goes out. Invariant: an identified
//! call of a model yields exactly one usage event; a look at the models or at one's own limits yields none.

use std::fmt::Display;
use std::io::Write as _;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use domain::code::GatewayCode;
use domain::usage::{
    AttemptOutcome, AttemptRecord, CacheUse, Endpoint, Outcome, Routing, TokenUsage, UnitUsage, UsageEvent,
};
use domain::{
    DeploymentId, EnvironmentId, NanoUsd, OrganizationId, PriceId, RequestId, RouteId, Timestamp, VirtualKeyId,
    WorkspaceId,
};
use http::HeaderValue;
use ingress::Rejection;
use ingress::admit::Notes;
use link::SinkFull;
use link::usage::event::{Entry, OpenedCall};
use link::usage::spool::Spool;
use llm::canonical::event::FinishReason;
use llm::dialect::Dialect;
use provider::scan::Scan;
use provider::skim::answer_id;
use purse::Settled;
use runtime::telemetry::calls::{self, AttemptSpan};
use throttle::live::Watch;
use throttle::{Standing, Use};
use tokio::time::Instant;
use upstream::load::UnderWay;

use super::Worker;
use super::budget::Money;
use super::relay::Bill;
use super::reserve::{Held, Hold};
use super::turn::{self, Told};
use crate::metrics;

/// The pair of metadata that leads from a turn to its session.
pub(crate) const SESSION: &str = "headgate.session";

/// The status noted for a client that left before it was answered; nginx's convention.
pub const CLIENT_CLOSED: u16 = 499;

/// Takes what is told of a call. The node's spool is one; it must not block.
pub trait UsageSink: Send + Sync {
    /// Notes that a call is about to be sent upstream, so that it is not forgotten when the node dies.
    fn opened(&self, call: OpenedCall);

    /// Takes the one event of a call that has ended; `Err` when it is full, so that the loss is counted.
    fn record(&self, event: UsageEvent) -> Result<(), SinkFull>;

    /// Takes what several calls tell, in this order, and leaves the vector empty. Returns how many events are lost.
    fn keep(&self, entries: &mut Vec<Entry>) -> u64 {
        let mut n_lost = 0;
        for entry in entries.drain(..) {
            match entry {
                Entry::Opened(call) => self.opened(call),
                Entry::Ended(event) => n_lost += u64::from(self.record(*event).is_err()),
            }
        }
        n_lost
    }

    /// Says whether the next event may be lost.
    fn is_full(&self) -> bool {
        false
    }
}

impl UsageSink for Spool {
    fn opened(&self, call: OpenedCall) {
        Self::opened(self, call);
    }

    fn record(&self, event: UsageEvent) -> Result<(), SinkFull> {
        Self::record(self, event)
    }

    fn keep(&self, entries: &mut Vec<Entry>) -> u64 {
        Self::keep(self, entries)
    }

    fn is_full(&self) -> bool {
        Self::is_full(self)
    }
}

/// Who calls, for the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallerIds {
    pub(crate) organization: OrganizationId,
    pub(crate) workspace: WorkspaceId,
    pub(crate) environment: EnvironmentId,
    pub(crate) key: VirtualKeyId,
}

impl CallerIds {
    pub(crate) fn of(caller: &policy::Caller<'_>) -> Self {
        Self {
            organization: caller.organization.id,
            workspace: caller.workspace.id,
            environment: caller.key.key.environment,
            key: caller.key.key.id,
        }
    }
}

/// What served the call.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    pub(crate) deployment: DeploymentId,
    pub(crate) provider: String,
    pub(crate) upstream_model: String,
}

/// A call that has ended, to be told to the spool.
pub(crate) struct Ended {
    pub(crate) event: Box<UsageEvent>,
    /// What it was charged; its leases stay open until this is dropped.
    pub(crate) settled: Option<Settled>,
}

/// The attempt under way.
struct Current {
    record: AttemptRecord,
    started: Instant,
    at: UnderWay,
    /// `None` while tracing is off; boxed, so that a stream without one does not keep room for it.
    span: Option<Box<AttemptSpan>>,
}

/// Measures one call.
#[expect(clippy::struct_excessive_bools, reason = "each is one independent fact of the call")]
pub(crate) struct Meter {
    worker: Arc<Worker>,
    pub(crate) request_id: RequestId,
    /// The id's text, made once.
    pub(crate) id_text: HeaderValue,
    pub(crate) started_at: Timestamp,
    pub(crate) started: Instant,
    pub(crate) endpoint: Endpoint,
    pub(crate) is_stream: bool,
    pub(crate) caller: Option<CallerIds>,
    pub(crate) model: String,
    pub(crate) route: Option<RouteId>,
    pub(crate) policy_revision: u64,
    pub(crate) notes: Notes,
    pub(crate) attempts: Vec<AttemptRecord>,
    current: Option<Current>,
    pub(crate) served: Option<Served>,
    pub(crate) finish: Option<FinishReason>,
    price: Option<PriceId>,
    is_estimated: bool,
    pub(crate) is_unmetered: bool,
    pub(crate) dropped: Vec<String>,
    pub(crate) routing: Option<Routing>,
    /// From arrival to the whole body.
    pub(crate) received: Duration,
    /// Attempts that another meter of the same call counts.
    n_elsewhere: u8,
    pub(crate) cache: CacheUse,
    pub(crate) hold: Option<Hold>,
    /// What is held of budgets.
    pub(crate) money: Option<Box<Money>>,
    /// Time spent waiting for the client's body and for upstreams, until the answer's head.
    pub(crate) waited: Duration,
    overhead: Option<Duration>,
    first_byte: Option<Duration>,
    span: tracing::Span,
    is_settled: bool,
    /// Whether the secret that was shown is being rotated away.
    pub(crate) is_by_old_secret: bool,
}

impl Meter {
    /// Starts measuring when the head of a request has arrived.
    pub(crate) fn start(worker: Arc<Worker>) -> Box<Self> {
        worker.metrics.in_flight.add(1);
        let started_at = worker.shared.clock.now();
        let request_id = worker.ids.next_request(started_at);
        Box::new(Self {
            request_id,
            id_text: header_value(&request_id),
            started_at,
            started: Instant::now(),
            endpoint: Endpoint::Other,
            is_stream: false,
            caller: None,
            model: String::new(),
            route: None,
            policy_revision: 0,
            notes: Notes::default(),
            attempts: Vec::new(),
            current: None,
            served: None,
            finish: None,
            price: None,
            is_estimated: false,
            is_unmetered: false,
            dropped: Vec::new(),
            routing: None,
            received: Duration::ZERO,
            n_elsewhere: 0,
            cache: CacheUse::default(),
            hold: None,
            money: None,
            waited: Duration::ZERO,
            overhead: None,
            first_byte: None,
            span: calls::start_call(),
            is_settled: false,
            is_by_old_secret: false,
            worker,
        })
    }

    /// Returns the worker that serves the call.
    pub(crate) fn worker(&self) -> &Arc<Worker> {
        &self.worker
    }

    /// Makes the call's span a child of the client's.
    pub(crate) fn continue_trace(&self, headers: &http::HeaderMap) {
        calls::continue_from(&self.span, headers);
    }

    /// Returns what tells the upstream at `to` which span its request is part of; `None` while tracing is off.
    pub(crate) fn traceparent(&self, to: &http::Uri) -> Option<HeaderValue> {
        self.current.as_ref()?.span.as_deref()?.traceparent(to)
    }

    /// Tells whoever listens what the request asks of the model: on the span of the attempt under way, before it on that of the call.
    pub(crate) fn note_request(&self, scan: &Scan, body: &[u8]) {
        let attempt = self.current.as_ref().and_then(|current| current.span.as_deref());
        let span = attempt.map_or(&self.span, AttemptSpan::span);
        if !span.is_disabled() {
            let temperature = scan.number("temperature", "temperature", body);
            let top_p = scan.number("top_p", "topP", body);
            calls::record_asked(span, scan.output_cap(), temperature, top_p);
        }
    }

    /// Looks for the upstream's own id in an answer, or in the first bytes of its stream, for whoever listens.
    pub(crate) fn note_answer_id(&mut self, dialect: Dialect, bytes: &[u8]) {
        if let Some(span) = self.current.as_mut().and_then(|current| current.span.as_deref_mut()) {
            span.note_answer_id(|| answer_id(dialect, bytes));
        }
    }

    /// Holds more of budgets before a further attempt, when those before took something.
    pub(crate) async fn raise(&mut self) -> Result<(), Rejection> {
        let has_cost = |attempt: &AttemptRecord| attempt.cost > NanoUsd::ZERO || attempt.usage != TokenUsage::default();
        let at = self.started_at;
        match &mut self.money {
            Some(money) if self.attempts.iter().any(has_cost) => money.raise(&self.attempts, at).await?,
            _ => return Ok(()),
        }
        // Noted anew: after a crash all of it counts as taken.
        self.open();
        Ok(())
    }

    /// Tells the spool that the call is about to be sent upstream.
    pub(crate) fn open(&self) {
        if let Some(opened) = self.opened() {
            turn::tell_now(&self.worker, opened);
        }
    }

    /// The same, together with what other calls tell.
    pub(crate) fn open_together(&self) -> Option<Told<'_>> {
        Some(turn::tell(&self.worker, self.opened()?))
    }

    fn opened(&self) -> Option<OpenedCall> {
        let caller = self.caller?;
        Some(OpenedCall {
            id: self.request_id,
            organization_id: caller.organization,
            workspace_id: caller.workspace,
            environment_id: caller.environment,
            virtual_key_id: caller.key,
            node_id: self.worker.shared.node_id,
            endpoint: self.endpoint,
            model: self.model.clone(),
            is_stream: self.is_stream,
            started_at: self.started_at,
            policy_revision: self.policy_revision,
            holds: self.money.as_ref().map(|money| money.holds()).unwrap_or_default(),
        })
    }

    /// Returns what watches the call for being cut, once it holds its place.
    pub(crate) fn watch(&self) -> Option<Watch<Held>> {
        self.hold.as_ref().map(Hold::watch)
    }

    /// Returns how the call is refused when it is cut; if it is not, the task is woken when it is.
    pub(crate) fn poll_cut(&self, cx: &Context<'_>) -> Option<Rejection> {
        self.hold.as_ref()?.poll_cut(cx)
    }

    /// Returns how the rate limits of the call stood when it was let through.
    pub(crate) fn standing(&self) -> Option<Standing> {
        self.hold.as_ref()?.standing()
    }

    /// Notes that the answer begins, and returns the time spent in Headgate itself until now.
    pub(crate) fn answered(&mut self, now: Instant) -> Duration {
        self.first_byte = Some(now.duration_since(self.started));
        self.refused(now)
    }

    /// Returns what Headgate itself took until it refused.
    pub(crate) fn refused(&mut self, now: Instant) -> Duration {
        let overhead = now.duration_since(self.started).saturating_sub(self.waited);
        self.overhead = Some(overhead);
        overhead
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
            span.end(&self.span, &record, self.finish.map(finish_word));
        }
        // One attempt is the rule; a vector left alone makes room for four.
        self.attempts.reserve_exact(1);
        self.attempts.push(record);
    }

    /// Returns the number of attempts so far, the one under way included.
    pub(crate) fn n_attempts(&self) -> usize {
        usize::from(self.n_elsewhere) + self.attempts.len() + usize::from(self.current.is_some())
    }

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
        turn.notes.metadata.push((SESSION.to_owned(), self.request_id.to_string()));
        turn.served.clone_from(&self.served);
        // The vendor's time and the user's; ours cannot be told apart in it.
        turn.overhead = Some(Duration::ZERO);
        turn.first_byte = Some(Duration::ZERO);
        turn.span = calls::start_turn(&self.span);
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
            span: self.span.clone(),
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

    /// Returns the tokens over all attempts.
    pub(crate) fn usage(&self) -> TokenUsage {
        self.attempts.iter().fold(TokenUsage::default(), |sum, attempt| sum.plus(attempt.usage))
    }

    /// Returns what was counted beside tokens over all attempts.
    fn units(&self) -> UnitUsage {
        self.attempts.iter().fold(UnitUsage::default(), |sum, attempt| sum.plus(attempt.units))
    }

    /// Returns the cost over all attempts.
    pub(crate) fn cost(&self) -> NanoUsd {
        self.attempts.iter().map(|attempt| attempt.cost).sum()
    }

    /// Ends a call that was answered whole. What is returned is to be on file before the answer is handed over.
    pub(crate) fn close_whole(mut self: Box<Self>) -> Option<Ended> {
        self.close(Outcome::Success, 200, None)
    }

    /// Settles a refused call.
    pub(crate) fn reject(mut self: Box<Self>, rejection: &Rejection) {
        self.settle(rejection.outcome(), rejection.status().as_u16(), Some(rejection.code));
    }

    /// Settles a session; its turns are settled each by itself.
    pub(crate) fn end_session(mut self: Box<Self>, outcome: Outcome, code: Option<GatewayCode>) {
        self.settle(outcome, 101, code);
    }

    /// Settles a call that was answered.
    pub(crate) fn end(mut self: Box<Self>, outcome: Outcome, code: Option<GatewayCode>) {
        self.settle(outcome, 200, code);
    }

    fn settle(&mut self, outcome: Outcome, status: u16, code: Option<GatewayCode>) {
        if let Some(ended) = self.close(outcome, status, code) {
            turn::tell_now(&self.worker, ended);
        }
    }

    /// Gives the call's place back, and tells its rate limits what it used.
    fn leave(&self, hold: Option<Hold>, usage: TokenUsage, cost: NanoUsd) {
        let Some(hold) = hold else { return };
        let served = self.served.as_ref().filter(|_| !self.cache.is_reused());
        let used = Use {
            // A session is counted by its turns.
            requests: u64::from(self.endpoint != Endpoint::RealtimeSession),
            input_tokens: usage.total_input(),
            output_tokens: usage.output,
            cost: u64::try_from(cost.as_nanos()).unwrap_or(0),
        };
        hold.settle(&self.worker.shared, &used, served.map(|served| &*served.provider));
    }

    /// Ends the call; returns its event, once.
    fn close(&mut self, outcome: Outcome, status: u16, code: Option<GatewayCode>) -> Option<Ended> {
        if std::mem::replace(&mut self.is_settled, true) {
            return None;
        }
        let hold = self.hold.take();
        self.end_attempt(AttemptOutcome::Cancelled, &Bill::default(), Instant::now());
        self.worker.metrics.in_flight.sub(1);
        let duration = self.started.elapsed();
        let overhead = self.overhead.unwrap_or_else(|| duration.saturating_sub(self.waited));
        let (usage, cost) = (self.usage(), self.cost());
        self.leave(hold, usage, cost);
        self.worker.metrics.settle(&metrics::Call {
            endpoint: self.endpoint,
            outcome,
            code,
            duration,
            first_byte: self.first_byte,
            overhead,
            usage,
            cost_nano_usd: cost.as_nanos(),
            cache: self.cache,
        });
        super::trace::end(&self.span, self, outcome, status, usage, cost);
        // A refusal for want of room must not take up the room that is left for calls in flight.
        let is_kept = self.endpoint.is_metered() && code != Some(GatewayCode::UsageFull);
        let caller = self.caller.filter(|_| is_kept)?;
        // Its leases stay open until the event is written.
        let mut settled = self.money.take().map(|money| money.settle(&self.attempts, self.is_unmetered));
        // Nothing upstream took part in an answer that is given again; it belongs in no deployment's figures.
        let served = self.served.take().filter(|_| !self.cache.is_reused());
        let (deployment_id, provider, upstream_model) = match served {
            Some(served) => (Some(served.deployment), Some(served.provider), Some(served.upstream_model)),
            None => (None, None, None),
        };
        let notes = std::mem::take(&mut self.notes);
        let event = Box::new(UsageEvent {
            id: self.request_id,
            organization_id: caller.organization,
            workspace_id: caller.workspace,
            environment_id: caller.environment,
            virtual_key_id: caller.key,
            node_id: self.worker.shared.node_id,
            endpoint: self.endpoint,
            model: std::mem::take(&mut self.model),
            route_id: self.route,
            deployment_id,
            provider,
            upstream_model,
            is_stream: self.is_stream,
            outcome,
            status,
            code: code.map(|code| code.as_str().to_owned()),
            finish_reason: self.finish.map(|reason| finish_word(reason).to_owned()),
            started_at: self.started_at,
            duration_us: micros(duration),
            first_byte_us: self.first_byte.map(micros),
            overhead_us: micros(overhead),
            usage,
            units: self.units(),
            is_estimated: self.is_estimated,
            is_unmetered: self.is_unmetered,
            cost,
            price_id: self.price,
            cache: self.cache,
            policy_revision: self.policy_revision,
            end_user: notes.end_user,
            conversation_id: notes.conversation_id,
            trace_id: notes.trace_id,
            metadata: notes.metadata,
            routing: self.routing.take(),
            tags: notes.tags,
            dropped: std::mem::take(&mut self.dropped),
            attempts: std::mem::take(&mut self.attempts),
            charges: settled.as_mut().map(Settled::take_charges).unwrap_or_default(),
            is_by_old_secret: self.is_by_old_secret,
        });
        Some(Ended { event, settled })
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if !self.is_settled {
            let status = match (self.endpoint, self.first_byte) {
                (_, None) => CLIENT_CLOSED,
                (Endpoint::RealtimeSession, Some(_)) => 101,
                (_, Some(_)) => 200,
            };
            self.settle(Outcome::ClientClosed, status, None);
        }
    }
}

/// Writes a short value, such as an id or an amount, as a header; empty when it is no header's.
pub(crate) fn header_value(value: &dyn Display) -> HeaderValue {
    const ROOM: usize = 48;
    let mut text = [0; ROOM];
    let mut rest = &mut text[..];
    // What does not fit is no id and no amount.
    let is_written = write!(rest, "{value}").is_ok();
    let length = ROOM - rest.len();
    let text = if is_written { &text[..length] } else { &[][..] };
    HeaderValue::from_bytes(text).unwrap_or(HeaderValue::from_static(""))
}

/// Writes a whole number as a header.
pub(crate) fn number_value(mut n: u64) -> HeaderValue {
    let mut text = [b'0'; 20];
    let mut at = text.len();
    // Twenty digits hold every number.
    for digit in text.iter_mut().rev() {
        let [low, ..] = (n % 10).to_le_bytes();
        *digit += low;
        at -= 1;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    HeaderValue::from_bytes(&text[at..]).unwrap_or(HeaderValue::from_static(""))
}

/// Returns whole microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Returns the word for a finish reason in usage events.
pub(crate) const fn finish_word(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::StopSequence => "stop_sequence",
        FinishReason::Length => "length",
        FinishReason::ContextWindow => "context_window",
        FinishReason::ToolUse => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
        FinishReason::Pause => "pause",
        FinishReason::Other => "other",
    }
}
