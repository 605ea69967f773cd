//! Bodies whose client takes nothing, over connections that streams share.
//!
//! HTTP/2 asks a body for its next piece only when the client has room for it, so that no clock inside the body runs while a
//! client grants none: what it holds (an upstream, a place, money) would be held for as long as the client answers pings. Looked
//! at from outside, such a body is dropped after a while. Not here: HTTP/1.1, which has one answer at a time and a clock for it.
//! Invariant: a body that waits for its source is never dropped.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

/// The bodies of one connection.
pub struct Bodies<B> {
    held: Mutex<Vec<Weak<Held<B>>>>,
    n_held: AtomicU64,
    n_held_before: AtomicU64,
}

/// A body that is dropped when the client takes nothing of it. Asked after that, it breaks off with the error it was given.
pub struct Taken<B: Body> {
    held: Arc<Held<B>>,
    broken: B::Error,
}

struct Held<B> {
    body: Mutex<Option<Pin<Box<B>>>>,
    /// Counts how often the client had room.
    n_asked: AtomicU64,
    n_asked_before: AtomicU64,
    /// Whether it is the source that is waited for.
    is_waiting: AtomicBool,
}

impl<B> Default for Bodies<B> {
    fn default() -> Self {
        Self { held: Mutex::default(), n_held: AtomicU64::new(0), n_held_before: AtomicU64::new(u64::MAX) }
    }
}

impl<B: Body> Bodies<B> {
    /// Takes a body in; `broken` is what it ends with once it was dropped.
    pub fn hold(&self, body: B, broken: B::Error) -> Taken<B> {
        let held = Arc::new(Held {
            body: Mutex::new(Some(Box::pin(body))),
            n_asked: AtomicU64::new(0),
            n_asked_before: AtomicU64::new(u64::MAX),
            is_waiting: AtomicBool::new(false),
        });
        self.held.lock().push(Arc::downgrade(&held));
        self.n_held.fetch_add(1, Ordering::Relaxed);
        Taken { held, broken }
    }

    /// Drops bodies of which nothing was taken since the last look, and returns how many.
    pub fn look(&self) -> usize {
        let mut stalled = Vec::new();
        self.held.lock().retain(|held| {
            let Some(held) = held.upgrade() else { return false };
            let n_asked = held.n_asked.load(Ordering::Relaxed);
            let is_same = held.n_asked_before.swap(n_asked, Ordering::Relaxed) == n_asked;
            if is_same && !held.is_waiting.load(Ordering::Relaxed) {
                stalled.extend(held.body.lock().take());
            }
            true
        });
        // Dropped without the lock: what a body does at its end is its own affair.
        stalled.len()
    }

    /// Says whether no body is there, and none came since this was last asked.
    pub fn has_rested(&self) -> bool {
        let n_held = self.n_held.load(Ordering::Relaxed);
        let is_same = self.n_held_before.swap(n_held, Ordering::Relaxed) == n_held;
        is_same && self.held.lock().iter().all(|held| held.strong_count() == 0)
    }
}

impl<B> Body for Taken<B>
where
    B: Body<Data = Bytes>,
    B::Error: Clone + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let held = &self.held;
        held.n_asked.fetch_add(1, Ordering::Relaxed);
        let mut body = held.body.lock();
        let Some(body) = body.as_mut() else { return Poll::Ready(Some(Err(self.broken.clone()))) };
        let polled = body.as_mut().poll_frame(cx);
        held.is_waiting.store(polled.is_pending(), Ordering::Relaxed);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.held.body.lock().as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.held.body.lock().as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker_ref;

    use super::*;

    /// Gives what it is told to, and says when it is dropped.
    struct Told(Vec<Poll<&'static str>>, Arc<AtomicBool>);

    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Gone;

    impl Drop for Told {
        fn drop(&mut self) {
            self.1.store(true, Ordering::Relaxed);
        }
    }

    impl Body for Told {
        type Data = Bytes;
        type Error = Gone;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Gone>>> {
            if self.0.is_empty() {
                return Poll::Ready(None);
            }
            self.0.remove(0).map(|text| Some(Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
        }
    }

    fn held(told: &[Poll<&'static str>]) -> (Bodies<Told>, Taken<Told>, Arc<AtomicBool>) {
        let (bodies, is_dropped) = (Bodies::default(), Arc::new(AtomicBool::new(false)));
        let taken = bodies.hold(Told(told.to_vec(), Arc::clone(&is_dropped)), Gone);
        (bodies, taken, is_dropped)
    }

    fn ask(taken: &mut Taken<Told>) -> Poll<Option<Result<Bytes, Gone>>> {
        let polled = Pin::new(taken).poll_frame(&mut Context::from_waker(noop_waker_ref()));
        polled.map(|next| next.map(|frame| frame.map(|frame| frame.into_data().unwrap_or_default())))
    }

    #[test]
    fn a_connection_rests_when_no_body_is_there_and_none_came() {
        let (bodies, taken, _) = held(&[]);
        assert!(!bodies.has_rested(), "one is there");
        assert!(!bodies.has_rested(), "it still is");
        drop(taken);
        assert!(bodies.has_rested());
        drop(bodies.hold(Told(Vec::new(), Arc::default()), Gone));
        assert!(!bodies.has_rested(), "one came and went");
        assert!(bodies.has_rested());
    }

    #[test]
    fn a_body_of_which_nothing_is_taken_is_dropped_at_the_second_look() {
        for n_taken in 0..2 {
            let (bodies, mut taken, is_dropped) = held(&[Poll::Ready("a"), Poll::Ready("b")]);
            for _ in 0..n_taken {
                assert_eq!(ask(&mut taken), Poll::Ready(Some(Ok(Bytes::from_static(b"a")))));
            }
            assert_eq!((bodies.look(), is_dropped.load(Ordering::Relaxed)), (0, false));
            assert_eq!((bodies.look(), is_dropped.load(Ordering::Relaxed)), (1, true));
            assert_eq!(ask(&mut taken), Poll::Ready(Some(Err(Gone))));
        }
    }

    #[test]
    fn one_that_waits_for_its_source_or_is_taken_slowly_goes_on() {
        let (bodies, mut taken, _) = held(&[Poll::Pending, Poll::Ready("a"), Poll::Ready("b")]);
        assert_eq!(ask(&mut taken), Poll::Pending);
        assert_eq!((bodies.look(), bodies.look(), bodies.look()), (0, 0, 0));
        for expected in ["a", "b"] {
            assert_eq!(ask(&mut taken), Poll::Ready(Some(Ok(Bytes::from_static(expected.as_bytes())))));
            assert_eq!(bodies.look(), 0);
        }
        assert_eq!(ask(&mut taken), Poll::Ready(None));
        drop(taken);
        assert_eq!((bodies.look(), bodies.held.lock().len()), (0, 0));
    }
}
