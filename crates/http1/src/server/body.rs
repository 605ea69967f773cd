//! The body of a request, read from its connection by whoever wants it.
//!
//! Not here: how much of it is read and for how long. Invariant: dropping it unread takes nothing from the connection that the
//! next request needs.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

use super::wire::Wire;
use crate::framing::Framing;

/// The client left, or said what cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body broke off")]
pub struct BrokenOff;

/// A body that is still arriving.
pub struct Reading(Arc<Mutex<Wire>>);

impl Reading {
    pub(super) const fn new(wire: Arc<Mutex<Wire>>) -> Self {
        Self(wire)
    }

    /// Returns the length that is left, when it is known.
    pub fn length(&self) -> Option<u64> {
        match self.0.lock().framing {
            Framing::Length(left) => Some(left),
            Framing::Chunked(_) | Framing::Close => None,
        }
    }

    /// Reads a body of a known length into one piece, without a copy but of what came with the head.
    pub async fn read_whole(&mut self) -> Result<Bytes, BrokenOff> {
        let mut whole = BytesMut::new();
        std::future::poll_fn(|cx| self.0.lock().poll_whole(&mut whole, cx)).await
    }
}

impl Body for Reading {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        self.0.lock().poll_body(cx).map(|next| next.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().framing.is_complete()
    }

    fn size_hint(&self) -> SizeHint {
        self.length().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
