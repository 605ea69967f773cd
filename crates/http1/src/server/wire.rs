//! One client's socket, and what was read of it ahead of its use.
//!
//! Nothing is kept to read into: bytes are read into room that the thread's connections share, and moved to a buffer of just
//! their size, which goes with the request. A body of a known length is read where it stays. Invariant: bytes beyond a request
//! stay in `ahead` for the next one.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::body::BrokenOff;
use crate::Stream;
use crate::framing::Framing;

/// Bytes read at once while it is not known how many there are: more than most requests have.
const READ: usize = 8 * 1024;
/// Most that is set aside on the word of a length.
const TRUSTED_LENGTH: u64 = 1024 * 1024;
/// Room beyond a body's end: a read that leaves some shows that the socket is empty, without another one.
const SPARE: usize = 64;
/// Bytes beyond the request under way that are read while it is answered, to notice when the client leaves.
const MOST_AHEAD: usize = READ;
/// Says to a client that waits for it that its body is wanted (RFC 9110, section 10.1.1).
const GO_AHEAD: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

thread_local! {
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A client's socket.
pub(super) struct Wire {
    pub(super) stream: Box<dyn Stream>,
    /// Read and not used yet.
    pub(super) ahead: BytesMut,
    /// How the body of the request under way ends.
    pub(super) framing: Framing,
    /// What is left to be said before a body comes.
    go_ahead: &'static [u8],
}

impl Wire {
    pub(super) fn new(stream: Box<dyn Stream>, ahead: BytesMut) -> Self {
        Self { stream, ahead, framing: Framing::Length(0), go_ahead: b"" }
    }

    /// Begins a request's body. A client that `is_asking` sends it when it is told to.
    pub(super) fn begin(&mut self, framing: Framing, is_asking: bool) {
        self.framing = framing;
        self.go_ahead = if is_asking && self.ahead.is_empty() { GO_AHEAD } else { b"" };
    }

    /// Says whether the client waits for a word before it sends its body.
    pub(super) const fn is_asked(&self) -> bool {
        self.go_ahead.len() == GO_AHEAD.len()
    }

    /// Reads whatever is there.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = ROOM.take();
        room.resize(READ, 0);
        let mut buf = ReadBuf::new(&mut room);
        let polled = Pin::new(&mut self.stream).poll_read(cx, &mut buf);
        let read = buf.filled();
        self.ahead.extend_from_slice(read);
        let n = read.len();
        ROOM.set(room);
        ready!(polled)?;
        Poll::Ready(Ok(n))
    }

    /// Takes the next bytes of the body; `None` at its end.
    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        loop {
            match self.framing.take(&mut self.ahead) {
                Ok(Some(data)) => {
                    self.let_go();
                    return Poll::Ready(Some(Ok(data)));
                }
                Ok(None) if self.framing.is_complete() => {
                    self.let_go();
                    return Poll::Ready(None);
                }
                Ok(None) => {}
                Err(_) => return Poll::Ready(Some(Err(BrokenOff))),
            }
            if ready!(self.poll_go_ahead(cx)).is_err() || !matches!(ready!(self.poll_fill(cx)), Ok(1..)) {
                return Poll::Ready(Some(Err(BrokenOff)));
            }
        }
    }

    /// Reads a body of a known length into one piece.
    pub(super) fn poll_whole(&mut self, whole: &mut BytesMut, cx: &mut Context<'_>) -> Poll<Result<Bytes, BrokenOff>> {
        loop {
            let Framing::Length(left) = &mut self.framing else { return Poll::Ready(Err(BrokenOff)) };
            let n = usize::try_from(*left).unwrap_or(usize::MAX).min(self.ahead.len());
            if n > 0 {
                let part = self.ahead.split_to(n);
                *left -= n as u64;
                if *left == 0 && whole.is_empty() {
                    self.let_go();
                    return Poll::Ready(Ok(part.freeze()));
                }
                whole.reserve(room_for(whole.len(), *left) + part.len());
                whole.extend_from_slice(&part);
            }
            if *left == 0 {
                self.let_go();
                return Poll::Ready(Ok(whole.split().freeze()));
            }
            let left = *left;
            ready!(self.poll_go_ahead(cx)).map_err(|_| BrokenOff)?;
            if whole.capacity() - whole.len() < SPARE {
                whole.reserve(room_for(whole.len(), left));
            }
            let before = whole.len();
            match ready!(poll_read_buf(Pin::new(&mut self.stream), cx, whole)) {
                Ok(n @ 1..) => {
                    let n = u64::try_from(n).unwrap_or(u64::MAX).min(left);
                    self.framing = Framing::Length(left - n);
                    // What comes after the body is of the next request.
                    let end = before + usize::try_from(n).unwrap_or(usize::MAX);
                    self.ahead.extend_from_slice(&whole[end..]);
                    whole.truncate(end);
                }
                _ => return Poll::Ready(Err(BrokenOff)),
            }
        }
    }

    /// Says when the client has left. What it sends meanwhile is kept, and nobody looks further when that is much.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.ahead.len() < MOST_AHEAD {
            if !matches!(ready!(self.poll_fill(cx)), Ok(1..)) {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    fn poll_go_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.go_ahead.is_empty() {
            let n = ready!(Pin::new(&mut self.stream).poll_write(cx, self.go_ahead))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.go_ahead = &self.go_ahead[n..];
            if self.go_ahead.is_empty() {
                // Polled once: sockets do not flush, and what does goes on with the next read.
                let _ = Pin::new(&mut self.stream).poll_flush(cx)?;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Gives the socket away, with what was read ahead.
    pub(super) fn give_up(&mut self) -> (Box<dyn Stream>, Bytes) {
        let stream = std::mem::replace(&mut self.stream, Box::new(tokio::io::empty()));
        (stream, std::mem::take(&mut self.ahead).freeze())
    }

    /// Lets the memory of what was read go with those who have it.
    pub(super) fn let_go(&mut self) {
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new();
        }
    }
}

/// Returns the room to make for what is left of a body: all, unless its length is only claimed.
fn room_for(n_read: usize, left: u64) -> usize {
    let trusted = left.min(TRUSTED_LENGTH.max(n_read as u64));
    usize::try_from(trusted).unwrap_or(usize::MAX) + SPARE
}
