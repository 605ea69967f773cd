//! A future with a deadline, on a timer that one attempt's clocks share.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};

pin_project! {
    /// Waits for a future until a deadline. Written by hand, because an `async fn` would keep room for the future twice.
    pub(super) struct Within<'a, F> {
        clock: Pin<&'a mut Sleep>,
        until: Instant,
        is_armed: bool,
        #[pin]
        future: F,
    }
}

/// Waits for a future until a deadline. The timer is only touched when the future has to wait.
pub(super) fn within<F: Future>(clock: Pin<&mut Sleep>, until: Instant, future: F) -> Within<'_, F> {
    Within { clock, until, is_armed: false, future }
}

impl<F: Future> Future for Within<'_, F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Some(output));
        }
        if !std::mem::replace(this.is_armed, true) {
            this.clock.as_mut().reset(*this.until);
        }
        this.clock.as_mut().poll(cx).map(|()| None)
    }
}
