//! Stage 7: hands the answer to the client. One hand-written body; no channel and no task stands between upstream and client.
//!
//! Same dialect in and out: the bytes pass as they came and are only looked at (*skim*). Otherwise the decoder's events are
//! written by the client's encoder. A stream that dies after its first byte ends with the dialect's error event. Invariant:
//! whatever way a body ends (last byte, broken upstream, timeout, dropped by a client that left), its attempt is billed with
//! what is known and its meter settles once.

mod billing;
mod broken;
pub(crate) mod keeper;
pub(crate) mod stream;
pub(crate) mod watch;
mod writer;

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use domain::usage::Outcome;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Sleep;

pub(crate) use self::billing::{Bill, Billing, End};
use self::keeper::Keeper;
pub(crate) use self::stream::{Source, StreamRelay};
pub(crate) use self::writer::{Annotate, Later, Reading, Translation, Writer};
use super::settle::{Ended, Meter};

/// An answer broke off in a form that has no word for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer broke off")]
pub(crate) struct Cut;

pin_project! {
    /// The body of every answer.
    #[project = Projected]
    pub(crate) enum ReplyBody {
        /// Nothing is left to send.
        Ended,
        /// A body in one piece.
        Whole { bytes: Bytes, meter: Option<Box<Meter>> },
        /// The events of a stream that is given again.
        Events { bytes: Bytes, meter: Option<Box<Meter>> },
        /// A body that is still arriving.
        Stream { #[pin] sleep: Sleep, relay: Box<StreamRelay>, keeper: Option<Box<Keeper>> },
    }
}

impl ReplyBody {
    /// A body that settles nothing.
    pub(crate) fn bytes(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Ended } else { Self::Whole { bytes, meter: None } }
    }

    /// A whole answer; its call is a success once the body has been handed over.
    pub(crate) fn answer(bytes: Bytes, meter: Box<Meter>) -> Self {
        if bytes.is_empty() {
            meter.end(Outcome::Success, None);
            return Self::Ended;
        }
        Self::Whole { bytes, meter: Some(meter) }
    }

    /// Ends the call of a body that is whole, and returns what is to be on file before it is handed over. Who does not ask for
    /// it has it filed with the first look at the body.
    pub(crate) fn close(&mut self) -> Option<Ended> {
        match self {
            Self::Whole { meter, .. } => meter.take()?.close_whole(),
            _ => None,
        }
    }

    /// A stream that is given again, event by event.
    pub(crate) fn events(bytes: Bytes, meter: Box<Meter>) -> Self {
        Self::Events { bytes, meter: Some(meter) }
    }

    /// A streamed answer.
    pub(crate) fn stream(relay: Box<StreamRelay>, keeper: Option<Box<Keeper>>) -> Self {
        Self::Stream { sleep: tokio::time::sleep_until(relay.first_deadline()), relay, keeper }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let next = match self.as_mut().project() {
            Projected::Ended => return Poll::Ready(None),
            Projected::Whole { bytes, meter } => {
                if let Some(meter) = meter.take() {
                    meter.end(Outcome::Success, None);
                }
                Some(Ok(std::mem::take(bytes)))
            }
            Projected::Events { bytes, meter } => {
                let event = take_event(bytes);
                if bytes.is_empty()
                    && let Some(meter) = meter.take()
                {
                    meter.end(Outcome::Success, None);
                }
                if !event.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::data(event))));
                }
                None
            }
            Projected::Stream { sleep, relay, keeper } => {
                let polled = match keeper {
                    Some(keeper) => keeper.poll_next(relay, sleep, cx),
                    None => relay.poll_next(sleep, cx),
                };
                match polled {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                    Poll::Ready(None) if relay.is_cut() => Some(Err(Cut)),
                    Poll::Ready(None) => None,
                }
            }
        };
        self.set(Self::Ended);
        Poll::Ready(next.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Ended)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Ended => SizeHint::with_exact(0),
            Self::Whole { bytes, .. } => SizeHint::with_exact(bytes.len() as u64),
            Self::Events { .. } | Self::Stream { .. } => SizeHint::default(),
        }
    }
}

/// Takes the first event off a stream: to the blank line that ends it, or all there is.
fn take_event(bytes: &mut Bytes) -> Bytes {
    let ends = memchr::memchr_iter(b'\n', bytes).map(|at| at + 1);
    let end = ends.filter(|end| matches!(bytes.get(*end..), Some([b'\n', ..] | [b'\r', b'\n', ..])));
    let end = end.map(|end| end + if bytes[end] == b'\n' { 1 } else { 2 }).next();
    bytes.split_to(end.unwrap_or(bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_comes_apart_at_its_blank_lines() {
        let mut bytes = Bytes::from_static(b"event: a\ndata: 1\n\ndata: 2\r\n\r\n\n[1\n,2]");
        let mut parts = Vec::new();
        while !bytes.is_empty() {
            parts.push(take_event(&mut bytes));
        }
        assert_eq!(parts, ["event: a\ndata: 1\n\n", "data: 2\r\n\r\n", "\n[1\n,2]"]);
    }
}
