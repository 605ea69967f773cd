//! An answer on its way to the client: head and body in as few writes as there are pauses.
//!
//! What is small is put together in room that the thread's connections share; what is large is written from where it is.
//! Invariants: nothing more is asked of a body while the client does not take what there is; between two writes nothing is
//! kept; a body that ends too early, or too late for what its head said, breaks the connection.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http_body::Body;
use tokio::io::AsyncWrite as _;

use super::head::{Ending, write_number};
use crate::Stream;

/// Largest piece of a body that is copied: a part more in a write costs as much as copying this.
const SMALL: usize = 2 * 1024;
/// Bytes that are put together before they are written.
const TOGETHER: usize = 16 * 1024;

thread_local! {
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Why an answer did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

/// An answer on its way.
pub(super) struct Sending {
    ending: Ending,
    is_over: bool,
    is_broken: bool,
    /// What the client did not take at once.
    unsent: Option<Box<Unsent>>,
    n_written: u64,
}

/// What is to be written, in this order.
#[derive(Default)]
struct Unsent {
    text: Vec<u8>,
    n_written: usize,
    large: Bytes,
    tail: &'static [u8],
}

impl Sending {
    pub(super) const fn new(ending: Ending) -> Self {
        Self { ending, is_over: false, is_broken: false, unsent: None, n_written: 0 }
    }

    /// Says whether the client has not taken what there is.
    pub(super) const fn is_stalled(&self) -> bool {
        self.unsent.is_some()
    }

    /// Returns how much the client has taken.
    pub(super) const fn n_written(&self) -> u64 {
        self.n_written
    }

    /// Goes on as far as body and client allow. `write_head` is called with the first.
    pub(super) fn poll<B: Body<Data = Bytes>>(
        &mut self,
        stream: &mut Box<dyn Stream>,
        mut body: Pin<&mut B>,
        write_head: Option<impl FnOnce(&mut Vec<u8>)>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        let mut parts = match self.unsent.take() {
            Some(unsent) => *unsent,
            None => Unsent { text: ROOM.take(), ..Unsent::default() },
        };
        if parts.text.capacity() == 0 {
            parts.text.reserve(TOGETHER + 2 * SMALL);
        }
        if let Some(write_head) = write_head {
            write_head(&mut parts.text);
        }
        let polled = self.poll_parts(stream, &mut parts, &mut body, cx);
        if parts.is_empty() {
            parts.text.clear();
            // Grown for one large head, it would be kept for ever.
            parts.text.shrink_to(2 * TOGETHER);
            ROOM.set(parts.text);
        } else {
            // Rare: the room goes with what is left of it, and the next one makes another.
            parts.text.drain(..std::mem::take(&mut parts.n_written));
            parts.text.shrink_to_fit();
            self.unsent = Some(Box::new(parts));
        }
        polled
    }

    fn poll_parts<B: Body<Data = Bytes>>(
        &mut self,
        stream: &mut Box<dyn Stream>,
        parts: &mut Unsent,
        body: &mut Pin<&mut B>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        loop {
            let mut is_waiting = false;
            while !self.is_over && parts.has_room() && !is_waiting {
                match body.as_mut().poll_frame(cx) {
                    Poll::Ready(next) => {
                        let data = next.map(|frame| frame.map(http_body::Frame::into_data));
                        match data {
                            Some(Ok(Ok(data))) => self.put(parts, data),
                            // Trailers are of no dialect.
                            Some(Ok(Err(_))) => {}
                            Some(Err(_)) => self.break_off(),
                            None => self.end(parts),
                        }
                    }
                    Poll::Pending => is_waiting = true,
                }
            }
            if !parts.is_empty() && ready!(parts.poll_write(stream, &mut self.n_written, cx)).is_err() {
                *parts = Unsent::default();
                return Poll::Ready(Err(Broken));
            }
            if self.is_over {
                return Poll::Ready(if self.is_broken { Err(Broken) } else { Ok(()) });
            }
            if is_waiting {
                return Poll::Pending;
            }
        }
    }

    fn put(&mut self, parts: &mut Unsent, data: Bytes) {
        if data.is_empty() {
            return;
        }
        match &mut self.ending {
            Ending::None | Ending::Told(_) | Ending::Upgrade => return,
            Ending::Length(left) => match left.checked_sub(data.len() as u64) {
                Some(rest) => {
                    *left = rest;
                    // Nothing but the end can come: no need to ask for it.
                    self.is_over = rest == 0;
                }
                None => return self.break_off(),
            },
            Ending::Chunked => {
                write_number(&mut parts.text, data.len() as u64, 16);
                parts.text.extend_from_slice(b"\r\n");
            }
            Ending::Close => {}
        }
        let tail: &[u8] = if self.ending == Ending::Chunked { b"\r\n" } else { b"" };
        if data.len() <= SMALL {
            parts.text.extend_from_slice(&data);
            parts.text.extend_from_slice(tail);
        } else {
            (parts.large, parts.tail) = (data, tail);
        }
    }

    fn end(&mut self, parts: &mut Unsent) {
        self.is_over = true;
        match self.ending {
            Ending::Chunked => parts.text.extend_from_slice(b"0\r\n\r\n"),
            Ending::Length(1..) => self.is_broken = true,
            _ => {}
        }
    }

    fn break_off(&mut self) {
        (self.is_over, self.is_broken) = (true, true);
    }
}

impl Unsent {
    fn is_empty(&self) -> bool {
        self.n_written == self.text.len() && self.large.is_empty() && self.tail.is_empty()
    }

    /// Says whether something can be put behind what there is.
    fn has_room(&self) -> bool {
        self.text.len() < TOGETHER && self.large.is_empty() && self.tail.is_empty()
    }

    fn poll_write(
        &mut self,
        stream: &mut Box<dyn Stream>,
        n_written: &mut u64,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let text = &self.text[self.n_written..];
            let mut n = if self.large.is_empty() && self.tail.is_empty() {
                ready!(Pin::new(&mut *stream).poll_write(cx, text))?
            } else {
                let slices = [io::IoSlice::new(text), io::IoSlice::new(&self.large), io::IoSlice::new(self.tail)];
                ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices))?
            };
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *n_written += n as u64;
            let of_text = n.min(text.len());
            self.n_written += of_text;
            n -= of_text;
            let of_large = n.min(self.large.len());
            self.large.advance(of_large);
            self.tail = &self.tail[n - of_large..];
        }
        self.text.clear();
        self.n_written = 0;
        Pin::new(stream).poll_flush(cx)
    }
}
