//! A client's connection that a call takes over (RFC 9110, section 7.8): answer with 101, and then its bytes are the call's.
//!
//! The task of the connection stays until what was taken over is dropped, so that it keeps its place among the open
//! connections and a drain waits for it. Not here: what is spoken from then on. Only HTTP/1.1 connections can be taken over.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use http::request::Parts;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use crate::Stream;

/// The request was answered with something else than 101, or the client left before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection was not handed over")]
pub struct NotHandedOver;

/// Gives the connection once the answer of 101 is on its way. One of its clones gets it.
#[derive(Clone)]
pub struct Takeover(Arc<Mutex<oneshot::Receiver<Upgraded>>>);

impl Takeover {
    /// Takes what was offered with a request; `None` when it asks for no other protocol, or cannot.
    pub fn of(parts: &Parts) -> Option<Self> {
        parts.extensions.get::<Self>().cloned()
    }
}

impl Future for Takeover {
    type Output = Result<Upgraded, NotHandedOver>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut *self.0.lock()).poll(cx).map_err(|_| NotHandedOver)
    }
}

/// What a connection keeps of an offer.
pub(super) struct Offer(oneshot::Sender<Upgraded>);

/// Offers the connection to the call.
pub(super) fn offer(parts: &mut Parts) -> Offer {
    let (offer, taken) = oneshot::channel();
    parts.extensions.insert(Takeover(Arc::new(Mutex::new(taken))));
    Offer(offer)
}

impl Offer {
    /// Hands the connection over, with what was read of it already, and waits until it is done with.
    pub(super) async fn hand_over(self, stream: Box<dyn Stream>, ahead: Bytes) {
        let (is_open, done) = oneshot::channel();
        // Nobody takes it: then it closes here.
        if self.0.send(Upgraded { stream, ahead, _is_open: is_open }).is_ok() {
            // The sender is dropped, never used.
            let _ = done.await;
        }
    }
}

/// A connection that was taken over.
pub struct Upgraded {
    stream: Box<dyn Stream>,
    ahead: Bytes,
    _is_open: oneshot::Sender<()>,
}

impl AsyncRead for Upgraded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let n = self.ahead.len().min(buf.remaining());
        buf.put_slice(&self.ahead[..n]);
        self.ahead.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
