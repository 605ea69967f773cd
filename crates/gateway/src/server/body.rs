//! The body of a request that is still arriving, whichever protocol it comes over.
//!
//! Not here: how much of it is read and for how long (`pipeline::body`). Invariant: dropping it unread takes nothing from the
//! connection that the next request needs.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http1::server::{BrokenOff, Reading};

/// A body that is still arriving.
pub(crate) enum Incoming {
    /// Over a connection of its own.
    Exclusive(Reading),
    /// Over a stream of a shared connection.
    Shared(hyper::body::Incoming),
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match &mut *self {
            Self::Exclusive(reading) => Pin::new(reading).poll_frame(cx),
            Self::Shared(body) => {
                Pin::new(body).poll_frame(cx).map(|next| next.map(|frame| frame.map_err(|_| BrokenOff)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Exclusive(reading) => reading.is_end_stream(),
            Self::Shared(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Exclusive(reading) => reading.size_hint(),
            Self::Shared(body) => body.size_hint(),
        }
    }
}
