//! The body of a request that is still arriving, whichever protocol it comes over.
//!
//! Not here: how much of it is read and for how long (`pipeline::body`). Invariant: dropping it unread takes nothing from the
//! connection that the next request needs.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

use super::h1::wire::Wire;
use crate::h1::framing::Framing;

/// The client left, or said what cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body broke off")]
pub(crate) struct BrokenOff;

/// A body that is still arriving.
pub(crate) enum Incoming {
    /// Over a connection of its own.
    Exclusive(Reading),
    /// Over a stream of a shared connection.
    Shared(hyper::body::Incoming),
}

/// A body that is read from its connection by whoever wants it.
pub(crate) struct Reading(Arc<Mutex<Wire>>);

impl Reading {
    pub(super) const fn new(wire: Arc<Mutex<Wire>>) -> Self {
        Self(wire)
    }

    /// Returns the length that is left, when it is known.
    pub(crate) fn length(&self) -> Option<u64> {
        match self.0.lock().framing {
            Framing::Length(left) => Some(left),
            Framing::Chunked(_) | Framing::Close => None,
        }
    }

    /// Reads a body of a known length into one piece, without a copy but of what came with the head.
    pub(crate) async fn read_whole(&mut self) -> Result<Bytes, BrokenOff> {
        let mut whole = BytesMut::new();
        std::future::poll_fn(|cx| self.0.lock().poll_whole(&mut whole, cx)).await
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match &mut *self {
            Self::Exclusive(Reading(wire)) => {
                wire.lock().poll_body(cx).map(|next| next.map(|data| data.map(Frame::data)))
            }
            Self::Shared(body) => {
                Pin::new(body).poll_frame(cx).map(|next| next.map(|frame| frame.map_err(|_| BrokenOff)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Exclusive(Reading(wire)) => wire.lock().framing.is_complete(),
            Self::Shared(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Exclusive(reading) => reading.length().map_or_else(SizeHint::default, SizeHint::with_exact),
            Self::Shared(body) => body.size_hint(),
        }
    }
}
