//! A clock that is read rather than wound up anew.
//!
//! Asked at every turn of a connection, so that a turn without news costs a few comparisons. Invariant: whoever was told
//! `Pending` is woken when the answer changes.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, Sleep};

/// A deadline that moves with every request. The timer behind it is moved only when it fires too early.
pub struct Timer {
    sleep: Pin<Box<Sleep>>,
    until: Instant,
    /// Who is woken when the timer fires.
    waker: Option<Waker>,
}

impl Timer {
    /// Waits as a sleep that was begun does.
    pub fn new(sleep: Pin<Box<Sleep>>) -> Self {
        Self { until: sleep.deadline(), sleep, waker: None }
    }

    /// Waits for so long from now, from the start.
    #[cfg(test)]
    pub(super) fn after(ms: u64) -> Self {
        Self::new(Box::pin(tokio::time::sleep(Duration::from_millis(ms))))
    }

    /// Waits for so long from now.
    pub fn rest(&mut self, ms: u64) {
        self.until = Instant::now() + Duration::from_millis(ms);
    }

    /// Waits no longer than so long from now.
    pub fn hurry(&mut self, ms: u64) {
        self.until = self.until.min(Instant::now() + Duration::from_millis(ms));
    }

    /// Says when the time is over.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.until < self.sleep.deadline() {
            self.sleep.as_mut().reset(self.until);
            self.waker = None;
        }
        loop {
            let is_known = self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
            if is_known && !self.sleep.is_elapsed() {
                return Poll::Pending;
            }
            // A task that has used up its turn is not noted by the timer, but polled again.
            let is_noted = has_budget_remaining();
            if self.sleep.as_mut().poll(cx).is_pending() {
                self.waker = is_noted.then(|| cx.waker().clone());
                return Poll::Pending;
            }
            if Instant::now() >= self.until {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(self.until);
            self.waker = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_moves_both_ways() {
        let started = Instant::now();
        let mut timer = Timer::new(Box::pin(sleep(Duration::from_secs(10))));
        assert!(futures_util::poll!(poll_fn(|cx| timer.poll(cx))).is_pending());
        tokio::time::advance(Duration::from_secs(6)).await;
        timer.rest(10_000);
        poll_fn(|cx| timer.poll(cx)).await;
        assert_eq!(started.elapsed().as_secs(), 16);
        timer.rest(10_000);
        assert!(futures_util::poll!(poll_fn(|cx| timer.poll(cx))).is_pending());
        timer.hurry(3_000);
        timer.hurry(5_000);
        poll_fn(|cx| timer.poll(cx)).await;
        assert_eq!(started.elapsed().as_secs(), 19);
    }
}
