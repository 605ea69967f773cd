//! A streamed answer on its way: polls the upstream, keeps the two clocks that still run (idle and total), settles at the end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use domain::code::GatewayCode;
use domain::usage::{AttemptOutcome, Endpoint, Outcome, TokenUsage};
use futures_util::future::BoxFuture;
use http::HeaderValue;
use ingress::Rejection;
use provider::failure::{Failure, FailureKind, classify_in_band};
use tokio::time::{Instant, Sleep};
use upstream::client::{Answer, ReadError};

use super::billing::{Billing, End};
use super::broken::Break;
use super::writer::Writer;
use crate::pipeline::again::Recorder;
use crate::pipeline::dispatch::{Continuation, Continued};
use crate::pipeline::remember::Memory;
use crate::pipeline::reply::Passed;
use crate::pipeline::settle::Meter;

/// Where an answer's bytes come from.
pub(crate) enum Source {
    /// A connection.
    Upstream(Answer),
    /// An answer made here.
    Local(std::vec::IntoIter<Bytes>),
}

/// How long a connection may take to end its body in order once the answer's end mark has come.
const AFTER_END: Duration = Duration::from_secs(1);

/// After so long without a word to the client one goes out that says nothing: what lies between often cuts a connection that is
/// silent for a minute, and some models think for longer.
const QUIET: Duration = Duration::from_secs(15);
/// A comment, which readers of events pass over.
const STILL_HERE: &[u8] = b": ping\n\n";

/// What a relay starts with.
pub(crate) struct Start {
    pub(crate) source: Source,
    /// Client bytes that are ready: the stream is committed with them.
    pub(crate) first: Bytes,
    pub(crate) writer: Writer,
    /// The bytes are the items of one JSON array, not events.
    pub(crate) is_array: bool,
    /// The media type, when it is neither.
    pub(crate) kind: Option<HeaderValue>,
    /// Status and headers of an answer of a provider's own API.
    pub(crate) passed: Option<Box<Passed>>,
    /// What the answer consumed, when that is known from elsewhere than the answer.
    pub(crate) known_usage: Option<TokenUsage>,
    /// What is to be kept of the answer.
    pub(crate) memory: Option<Box<Memory>>,
    pub(crate) billing: Billing,
    pub(crate) idle: Duration,
    pub(crate) total_at: Instant,
    /// Copies the stream, so that it can be given again.
    pub(crate) recorder: Option<Box<Recorder>>,
    /// Lets another target go on when the stream breaks off.
    pub(crate) continuation: Option<Box<Continuation>>,
    /// It is to break after its first words, for a rehearsal.
    pub(crate) rehearses_cut: bool,
}

/// A committed stream.
#[expect(clippy::struct_excessive_bools, reason = "each is one independent fact of the stream")]
pub(crate) struct StreamRelay {
    source: Source,
    first: Option<Bytes>,
    writer: Writer,
    /// Apart: only answers made here have it, and every stream would make room for it.
    known_usage: Option<Box<TokenUsage>>,
    billing: Billing,
    recorder: Option<Box<Recorder>>,
    meter: Option<Box<Meter>>,
    idle: Duration,
    total_at: Instant,
    is_armed: bool,
    /// When the upstream has been silent for too long; set with the timer.
    idle_by: Instant,
    /// When the client has heard nothing for too long; `None` until it is waited for.
    quiet_by: Option<Instant>,
    /// What was written ends with an event's end.
    is_between: bool,
    /// Comments may go in between events.
    takes_comments: bool,
    is_over: bool,
    is_cut: bool,
    rehearses_cut: bool,
    going: Option<Box<Going>>,
}

/// How a stream that breaks off goes on.
enum Going {
    /// With this, when it breaks.
    Ready(Box<Continuation>),
    /// Another target is being asked.
    Asking(Break, BoxFuture<'static, Continued>),
}

impl Source {
    /// Takes the next bytes.
    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ReadError>>> {
        match self {
            Self::Local(chunks) => Poll::Ready(chunks.next().map(Ok)),
            Self::Upstream(answer) => answer.poll_chunk(cx),
        }
    }
}

impl StreamRelay {
    pub(crate) fn new(start: Start, meter: Box<Meter>) -> Self {
        let Start {
            source,
            first,
            writer,
            is_array,
            kind,
            passed,
            memory: _,
            known_usage,
            billing,
            idle,
            total_at,
            recorder,
            continuation,
            rehearses_cut,
        } = start;
        // Readers of Gemini's streams take every line for data.
        let takes_comments =
            !is_array && kind.is_none() && passed.is_none() && meter.endpoint != Endpoint::GenerateContent;
        Self {
            source,
            first: Some(first).filter(|first| !first.is_empty()),
            writer,
            known_usage: known_usage.map(Box::new),
            billing,
            recorder,
            meter: Some(meter),
            idle,
            total_at,
            is_armed: false,
            idle_by: total_at,
            quiet_by: None,
            is_between: false,
            takes_comments,
            is_over: false,
            is_cut: false,
            rehearses_cut,
            going: continuation.map(|ready| Box::new(Going::Ready(ready))),
        }
    }

    /// Says whether the answer broke off without a word that says so: its connection has to break, too.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Returns the deadline to make the timer with; it is moved before it is first waited for.
    pub(super) fn first_deadline(&self) -> Instant {
        self.total_at
    }

    pub(super) fn poll_next(&mut self, mut sleep: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(refusal) = self.meter.as_ref().and_then(|meter| meter.poll_cut(cx)) {
            let last = self.stop(&refusal);
            return Poll::Ready(Some(last).filter(|last| !last.is_empty()));
        }
        if let Some(first) = self.first.take() {
            self.record(&first);
            self.wrote(&first);
            return Poll::Ready(Some(first));
        }
        while !self.is_over {
            if let Some(Going::Asking(why, asking)) = self.going.as_deref_mut() {
                let continued = ready!(asking.as_mut().poll(cx));
                let why = *why;
                let out = self.resume(why, continued);
                if !out.is_empty() {
                    return Poll::Ready(Some(out));
                }
                continue;
            }
            let out = match self.source.poll_chunk(cx) {
                _ if self.rehearses_cut && self.writer.found().has_output() => self.break_off(Break::Upstream),
                Poll::Ready(Some(Ok(chunk))) => {
                    // What comes after the end mark gives nobody more time.
                    self.is_armed &= self.writer.is_said();
                    match self.writer.push(chunk) {
                        Ok(out) if self.writer.found().is_garbled => {
                            [out, self.break_off(Break::Unreadable)].concat().into()
                        }
                        Ok(out) => {
                            self.record(&out);
                            if self.writer.is_said() {
                                // In the ledger before the client can read the end mark, and be gone.
                                self.settle_said();
                            }
                            self.heed(out)
                        }
                        Err(_) => self.break_off(Break::Unreadable),
                    }
                }
                Poll::Ready(Some(Err(_))) => self.break_off(Break::Upstream),
                Poll::Ready(None) => self.finish(),
                Poll::Pending => {
                    if !std::mem::replace(&mut self.is_armed, true) {
                        // After its end mark an answer has nothing to wait for but the connection's good order.
                        let is_said = self.writer.found().is_complete;
                        let idle = if is_said { self.idle.min(AFTER_END) } else { self.idle };
                        let now = Instant::now();
                        self.idle_by = (now + idle).min(self.total_at);
                        sleep.as_mut().reset(self.next_look(now));
                    }
                    ready!(sleep.as_mut().poll(cx));
                    let now = Instant::now();
                    if now < self.idle_by {
                        self.quiet_by = None;
                        sleep.as_mut().reset(self.next_look(now));
                        return Poll::Ready(Some(Bytes::from_static(STILL_HERE)));
                    }
                    let why = if now >= self.total_at { Break::Total } else { Break::Idle };
                    self.break_off(why)
                }
            };
            if !out.is_empty() {
                self.wrote(&out);
                return Poll::Ready(Some(out));
            }
        }
        Poll::Ready(None)
    }

    fn wrote(&mut self, out: &[u8]) {
        self.quiet_by = None;
        self.is_between = out.ends_with(b"\n\n") || out.ends_with(b"\r\n\r\n");
    }

    /// When something has to be done although the upstream says nothing.
    fn next_look(&mut self, now: Instant) -> Instant {
        if !self.takes_comments || !self.is_between || self.writer.found().is_complete {
            return self.idle_by;
        }
        // What an upstream sends only to stay connected moves its own end, and nothing that the client hears.
        let quiet_by = *self.quiet_by.get_or_insert(now + QUIET);
        quiet_by.min(self.idle_by)
    }

    fn record(&mut self, bytes: &[u8]) {
        if let Some(recorder) = &mut self.recorder {
            recorder.push(bytes);
        }
    }

    fn finish(&mut self) -> Bytes {
        let Ok(rest) = self.writer.finish() else { return self.lose(Break::Upstream) };
        self.record(&rest);
        if self.writer.has_held_error() {
            return self.heed(rest);
        }
        self.is_over = true;
        self.settle_said();
        rest
    }

    /// Settles an answer of which all was said.
    fn settle_said(&mut self) {
        // The upstream's own error event has been relayed; nothing is to be added.
        let end = if self.writer.found().error.is_some() { End::Broken } else { End::Complete };
        self.settle(end, AttemptOutcome::Broken, GatewayCode::UpstreamError);
    }

    fn break_off(&mut self, why: Break) -> Bytes {
        self.recorder = None;
        if self.writer.found().is_complete {
            self.is_over = true;
            // Everything was said; only the connection's end is missing.
            self.settle(End::Complete, AttemptOutcome::Success, GatewayCode::UpstreamError);
            return Bytes::new();
        }
        let is_wrong = matches!(why, Break::Unreadable | Break::Told);
        if !is_wrong && self.writer.may_end() { self.finish() } else { self.lose(why) }
    }

    /// A part of the answer is missing.
    fn lose(&mut self, why: Break) -> Bytes {
        self.recorder = None;
        if self.ask_on(why).is_some() { Bytes::new() } else { self.give_up(why) }
    }

    /// Breaks off after what was written, when the upstream told of an error that was held back.
    fn heed(&mut self, out: Bytes) -> Bytes {
        if self.writer.has_held_error() { [out, self.break_off(Break::Told)].concat().into() } else { out }
    }

    /// Asks another target to go on, where the route and the answer allow it.
    fn ask_on(&mut self, why: Break) -> Option<()> {
        let said = self.writer.said()?.to_owned();
        let Going::Ready(continuation) = *self.going.take().filter(|_| why != Break::Total)? else { return None };
        let mut meter = self.meter.take()?;
        let found = self.writer.found();
        let failure = match (why, &found.error) {
            (Break::Told, Some(error)) => classify_in_band(&error.kind, &error.code, &error.message),
            (Break::Idle, _) => Failure::transport(FailureKind::Timeout),
            _ => Failure::transport(FailureKind::Broken),
        };
        let bill = self.billing.bill(found, End::Broken, meter.started_at);
        meter.end_attempt(why.outcome(), &bill, Instant::now());
        // The connection is of no use any more.
        self.source = Source::Local(Vec::new().into_iter());
        let asking = continuation.go_on(meter, said, failure, why.outcome(), self.rehearses_cut);
        self.going = Some(Box::new(Going::Asking(why, asking)));
        Some(())
    }

    fn resume(&mut self, why: Break, continued: Continued) -> Bytes {
        let Continued { meter, before, next } = continued;
        self.meter = Some(meter);
        self.going = None;
        let Some(start) = next else { return self.give_up(why) };
        let Start { source, writer, known_usage, billing, continuation, rehearses_cut, .. } = *start;
        (self.source, self.known_usage, self.billing) = (source, known_usage.map(Box::new), billing);
        (self.is_armed, self.rehearses_cut) = (false, rehearses_cut);
        self.going = continuation.map(|ready| Box::new(Going::Ready(ready)));
        let out = self.writer.go_on(writer, before);
        if self.writer.is_said() {
            self.settle_said();
        }
        self.heed(out)
    }

    /// Ends the stream with an error.
    fn give_up(&mut self, why: Break) -> Bytes {
        self.is_over = true;
        let (code, mut error) = why.tell();
        error.request_id = self.meter.as_ref().map(|meter| meter.request_id.to_string().into());
        let event = self.writer.break_off(error);
        self.is_cut = event.is_empty();
        self.settle(End::Broken, why.outcome(), code);
        event
    }

    /// Ends the stream because it was stopped from outside. What was said is billed.
    fn stop(&mut self, refusal: &Rejection) -> Bytes {
        (self.is_over, self.recorder, self.going) = (true, None, None);
        if self.writer.found().is_complete {
            self.settle(End::Complete, AttemptOutcome::Success, refusal.code);
            return Bytes::new();
        }
        let id = self.meter.as_ref().map(|meter| meter.request_id);
        let event = self.writer.break_off(refusal.to_answer_error(id));
        self.is_cut = event.is_empty();
        self.first = None;
        self.settle(End::Stopped, AttemptOutcome::Cancelled, refusal.code);
        // The connection is of no use any more.
        self.source = Source::Local(Vec::new().into_iter());
        event
    }

    fn settle(&mut self, end: End, broken_as: AttemptOutcome, code: GatewayCode) {
        let Some(mut meter) = self.meter.take() else { return };
        let now = Instant::now();
        let found = self.writer.found();
        let bill = match self.known_usage.as_deref().copied().filter(|_| end == End::Complete) {
            Some(usage) => self.billing.bill_known(usage, meter.started_at),
            None => self.billing.bill(found, end, meter.started_at),
        };
        meter.finish = found.finish;
        if let Writer::Translated(translation) = &self.writer {
            meter.dropped.extend(translation.list_losses());
        }
        match end {
            End::Complete => {
                if let Some(recorder) = self.recorder.take() {
                    recorder.keep(bill.usage, bill.cost, &meter);
                }
                meter.end_attempt(AttemptOutcome::Success, &bill, now);
                meter.end(Outcome::Success, None);
            }
            End::Broken => {
                // One that another target was asked to go on from has been noted then.
                if meter.current_attempt().is_some() && !self.rehearses_cut {
                    let worker = meter.worker();
                    worker.shared.health.target(self.billing.deployment.id).failed(worker.shared.clock.now());
                }
                meter.end_attempt(broken_as, &bill, now);
                meter.end(Outcome::UpstreamBroken, Some(code));
            }
            End::ClientClosed => {
                meter.end_attempt(AttemptOutcome::Cancelled, &bill, now);
                meter.end(Outcome::ClientClosed, None);
            }
            End::Stopped => {
                meter.end_attempt(AttemptOutcome::Cancelled, &bill, now);
                meter.end(Outcome::Rejected, Some(code));
            }
        }
    }
}

impl Drop for StreamRelay {
    fn drop(&mut self) {
        if self.meter.is_some() {
            self.recorder = None;
            // Some clients hang up as soon as they have read the end mark.
            let end = if self.writer.found().is_complete { End::Complete } else { End::ClientClosed };
            self.settle(end, AttemptOutcome::Cancelled, GatewayCode::UpstreamError);
        }
    }
}
