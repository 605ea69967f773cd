//! HTTP/1.1 towards upstreams, spoken by whoever waits for the answer: no task, no channel, one small buffer a connection.
//!
//! Only what a gateway needs: requests whose whole body is at hand, answers that are read as they come. Pools and deadlines are
//! the caller's. Invariants: a connection can be used again only when request and answer are both through and nothing is left
//! in between; whoever stops waiting closes it.

mod head;

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Response};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio_util::io::poll_read_buf;

use crate::framing::Framing;
use crate::{Fault, Stream};

/// Bytes read at once, to begin with: most answers with their heads, and every chunk of a stream.
const READ: usize = 3 * 1024;
/// Bytes read at once of a body in chunks, to begin with: some of a stream's events, which is as long as the buffer is kept.
const READ_CHUNKS: usize = 1024;
/// Bytes read at once when reads come back full.
const READ_MORE: usize = 16 * 1024;
/// Bytes read at once when a length says that they will come.
const READ_KNOWN: usize = 64 * 1024;
/// Room below which a buffer is used from its start again, or another one made.
const READ_LEAST: usize = 512;

/// Reads the head of an answer in words, for [`crate::fuzz`].
pub(crate) fn read_head(buf: &mut BytesMut, n_seen: &mut usize) -> Result<Option<(String, Framing)>, Fault> {
    Ok(head::read(buf, n_seen)?.map(|head| (format!("{:?} {}", head.answer, head.is_kept), head.framing)))
}

/// Why an exchange broke off.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The upstream closed the connection before everything was said.
    #[error("the connection closed too early")]
    Closed,
    /// What it said cannot be read.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A request that was not answered.
#[derive(Debug)]
pub struct Unanswered {
    /// Why not.
    pub why: Broken,
    /// Whether anything of an answer had come.
    pub has_begun: bool,
}

/// An open connection without a request under way.
pub struct Connection {
    stream: Box<dyn Stream>,
}

impl Connection {
    /// Takes what was opened.
    pub fn new(stream: Box<dyn Stream>) -> Self {
        Self { stream }
    }

    /// Says whether the upstream has kept the connection open, and silent.
    pub fn is_open(&mut self, cx: &mut Context<'_>) -> bool {
        let mut room = [0];
        Pin::new(&mut self.stream).poll_read(cx, &mut ReadBuf::new(&mut room)).is_pending()
    }

    /// Sends a request and reads the head of its answer.
    pub async fn send(
        self,
        request: Box<Request<Bytes>>,
        host: &HeaderValue,
    ) -> Result<(Response<()>, Reading), Unanswered> {
        let head = head::write(&request, host);
        let is_head = *request.method() == Method::HEAD;
        let mut unsent = Unsent { parts: head.chain(request.into_body()), is_over: false };
        let mut reading = Reading {
            stream: self.stream,
            buf: BytesMut::new(),
            read_next: READ,
            unsent: None,
            framing: Framing::Close,
            is_kept: false,
        };
        let mut n_seen = 0;
        match poll_fn(|cx| reading.poll_head(&mut unsent, (&mut n_seen, is_head), cx)).await {
            Ok(answer) => {
                reading.unsent = (!unsent.is_over).then(|| Box::new(unsent));
                Ok((answer, reading))
            }
            Err(why) => {
                let has_begun = !reading.buf.is_empty() || matches!(why, Broken::Fault(_));
                Err(Unanswered { why, has_begun })
            }
        }
    }
}

/// What is left to send.
struct Unsent {
    parts: bytes::buf::Chain<BytesMut, Bytes>,
    is_over: bool,
}

impl Unsent {
    fn poll(&mut self, stream: &mut Box<dyn Stream>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_over {
            return Poll::Ready(Ok(()));
        }
        while self.parts.has_remaining() {
            let mut slices = [io::IoSlice::new(&[]); 2];
            let n_slices = self.parts.chunks_vectored(&mut slices);
            let n = ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices[..n_slices]))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.parts.advance(n);
        }
        ready!(Pin::new(stream).poll_flush(cx))?;
        self.is_over = true;
        Poll::Ready(Ok(()))
    }
}

/// An answer that is being read.
pub struct Reading {
    stream: Box<dyn Stream>,
    buf: BytesMut,
    read_next: usize,
    /// Rarely there when the answer comes: an upstream may answer before it has read the whole request.
    unsent: Option<Box<Unsent>>,
    framing: Framing,
    is_kept: bool,
}

impl Reading {
    /// Takes the next bytes of the body; `None` at its end.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        loop {
            match self.framing.take(&mut self.buf) {
                Ok(Some(data)) => return Poll::Ready(Some(Ok(data))),
                Ok(None) if self.framing.is_complete() => return Poll::Ready(None),
                Ok(None) => {}
                Err(fault) => return Poll::Ready(Some(Err(fault.into()))),
            }
            // An error of writing shows when reading as well.
            if let Some(unsent) = &mut self.unsent
                && unsent.poll(&mut self.stream, cx).is_ready()
                && unsent.is_over
            {
                self.unsent = None;
            }
            match ready!(self.poll_read(cx)) {
                Ok(0) if self.framing == Framing::Close => return Poll::Ready(None),
                Ok(0) => return Poll::Ready(Some(Err(Broken::Closed))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    /// Says whether the body has been read to its end.
    pub fn is_complete(&self) -> bool {
        self.framing.is_complete()
    }

    /// Returns the connection when it can be used again.
    pub fn into_connection(self) -> Option<Connection> {
        let is_clean = self.framing.is_complete() && self.is_kept && self.unsent.is_none() && self.buf.is_empty();
        is_clean.then_some(Connection { stream: self.stream })
    }

    fn poll_head(
        &mut self,
        unsent: &mut Unsent,
        (n_seen, is_head): (&mut usize, bool),
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<()>, Broken>> {
        // A request that is refused half way is answered nevertheless, so an error of writing waits for what can be read.
        let sent = unsent.poll(&mut self.stream, cx);
        loop {
            match self.poll_read_head(cx) {
                Poll::Ready(Ok(1..)) => {
                    let Some(head) = head::read(&mut self.buf, n_seen)? else { continue };
                    // Whatever length it has, an answer to this has no body (RFC 9110, section 9.3.2).
                    self.framing = if is_head { Framing::Length(0) } else { head.framing };
                    self.is_kept = head.is_kept;
                    self.settle_down();
                    return Poll::Ready(Ok(head.answer));
                }
                Poll::Ready(Ok(_)) => return Poll::Ready(Err(first_error(sent, Broken::Closed))),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(first_error(sent, error.into()))),
                Poll::Pending => {
                    return match sent {
                        Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
                        _ => Poll::Pending,
                    };
                }
            }
        }
    }

    /// Leaves the room that was made for a head: what comes in chunks may come slowly, and keeps its buffer for long.
    fn settle_down(&mut self) {
        if matches!(self.framing, Framing::Chunked(_)) {
            self.read_next = READ_CHUNKS;
            if self.buf.len() < READ_CHUNKS {
                let mut buf = BytesMut::with_capacity(READ_CHUNKS);
                buf.extend_from_slice(&self.buf);
                self.buf = buf;
            }
        }
    }

    /// Reads the beginning of an answer by way of the stack: a model may think for a minute before it says a word, and a call that waits
    /// keeps no buffer for that long.
    fn poll_read_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if !self.buf.is_empty() {
            return self.poll_read(cx);
        }
        let mut room = [const { MaybeUninit::uninit() }; READ];
        let mut read = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
        self.buf.extend_from_slice(read.filled());
        Poll::Ready(Ok(self.buf.len()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // While a chunk is on its way to the client, its buffer is not used from the start again; what room is left does for the
        // look whether there is more.
        if self.room() < READ_LEAST {
            let expected = usize::try_from(self.framing.expected()).unwrap_or(READ_KNOWN).min(READ_KNOWN);
            let wanted = self.read_next.max(expected);
            if !self.buf.try_reclaim(READ_LEAST) && self.room() == 0 {
                self.buf.reserve(wanted);
            }
        }
        let room = self.room();
        let polled = poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.buf);
        if let Poll::Ready(Ok(n)) = polled {
            let least = if matches!(self.framing, Framing::Chunked(_)) { READ_CHUNKS } else { READ };
            self.read_next = if n == room { (self.read_next * 2).min(READ_MORE) } else { least };
        }
        polled
    }

    fn room(&self) -> usize {
        self.buf.capacity() - self.buf.len()
    }
}

fn first_error(sent: Poll<io::Result<()>>, other: Broken) -> Broken {
    match sent {
        Poll::Ready(Err(error)) => error.into(),
        _ => other,
    }
}

#[cfg(test)]
mod tests;
