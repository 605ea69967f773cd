//! How long a connection is put up with: the node's stop, and the clock of its first request.
//!
//! Asked at every turn of a connection, so that a turn without news costs a few comparisons. Invariant: whoever was told
//! `Pending` is woken when the answer changes.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use http1::preface::Connection;
use http1::server::Timer;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::WaitForCancellationFuture;

use super::stop::{Phase, Stop};

/// How long a connection without a call in flight may hold up a drain: enough for a request that is on its way.
const LINGER: Duration = Duration::from_secs(1);

/// Why a connection is not put up with any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// At once.
    Cut,
    /// A drain began a while ago, or the first request did not come in time: as soon as no call is in flight.
    Lingered,
}

/// How long a connection is put up with.
pub(super) struct Patience<'p, 's> {
    stop: &'s Stop,
    leaving: Pin<&'p mut WaitForCancellationFuture<'s>>,
    draining: Pin<&'p mut WaitForCancellationFuture<'s>>,
    cut: Pin<&'p mut WaitForCancellationFuture<'s>>,
    /// Runs until the first request has come, and again while draining.
    timer: Option<Pin<Box<Sleep>>>,
    header_read: Duration,
    has_bytes: bool,
    phase: Phase,
    /// Who is woken by the next step of the stop.
    waker: Option<Waker>,
}

impl<'p, 's> Patience<'p, 's> {
    pub(super) fn new(
        stop: &'s Stop,
        [leaving, draining, cut]: [Pin<&'p mut WaitForCancellationFuture<'s>>; 3],
        (idle, header_read): (Duration, Duration),
    ) -> Self {
        let timer = Some(Box::pin(sleep(idle)));
        let phase = Phase::Serving;
        Self { stop, leaving, draining, cut, timer, header_read, has_bytes: false, phase, waker: None }
    }

    /// Returns how far the stop has come, as far as the connection has looked.
    pub(super) const fn phase(&self) -> Phase {
        self.phase
    }

    /// Gives the clock of the first request to who times all of them.
    pub(super) fn take_timer(&mut self) -> Timer {
        Timer::new(self.timer.take().unwrap_or_else(|| Box::pin(sleep(self.header_read))))
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>, connection: &Connection) -> Poll<Over> {
        let is_known = self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if is_known && self.timer.is_none() && self.stop.phase() == self.phase && !self.stop.is_cut() {
            return Poll::Pending;
        }
        self.waker = Some(cx.waker().clone());
        if self.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Over::Cut);
        }
        if self.phase == Phase::Serving && self.leaving.as_mut().poll(cx).is_ready() {
            self.phase = Phase::Leaving;
        }
        if self.phase < Phase::Draining {
            self.await_head(connection);
        }
        if self.phase == Phase::Leaving && self.draining.as_mut().poll(cx).is_ready() {
            self.phase = Phase::Draining;
            let until = Instant::now() + LINGER;
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(until),
                None => self.timer = Some(Box::pin(sleep(LINGER))),
            }
        }
        let Some(timer) = &mut self.timer else { return Poll::Pending };
        ready!(timer.as_mut().poll(cx));
        self.timer = None;
        Poll::Ready(Over::Lingered)
    }

    /// Gives a head that has begun its own time; those of later requests are timed by who reads them.
    fn await_head(&mut self, connection: &Connection) {
        if connection.has_request() {
            self.timer = None;
        } else if connection.has_bytes()
            && !std::mem::replace(&mut self.has_bytes, true)
            && let Some(timer) = &mut self.timer
        {
            let until = Instant::now() + self.header_read;
            if until < timer.deadline() {
                timer.as_mut().reset(until);
            }
        }
    }
}
