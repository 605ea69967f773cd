//! Looks at a connection's raw bytes: which protocol begins, and whether a `Content-Length` line passes.
//!
//! The protocol is read from the first bytes, which are then handed on together with what follows: a first read of 24 bytes
//! alone, as hyper-util's detection gives, makes hyper double its read buffer for the life of the connection.
//!
//! hyper accepts a request with both `Transfer-Encoding` and `Content-Length` by dropping the latter (1.12,
//! `proto/h1/role.rs`), as RFC 9112 §6.3 allows. Headgate refuses such a request, because a proxy in front may have framed it
//! the other way; so the lost line has to be noticed here. Invariant: any split of the same bytes gives the same answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const NAME: &[u8] = b"content-length";

/// What has been seen on one connection, shared between its socket and its service.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    bytes: AtomicBool,
    content_length: AtomicBool,
    request: AtomicBool,
}

impl Connection {
    /// Notes that a request head was read, and returns whether a `Content-Length` line was seen since the one before.
    pub(crate) fn take_content_length(&self) -> bool {
        self.request.store(true, Ordering::Relaxed);
        self.content_length.swap(false, Ordering::Relaxed)
    }

    /// Says whether anything was read.
    pub(crate) fn has_bytes(&self) -> bool {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Says whether any request head was read.
    pub(crate) fn has_request(&self) -> bool {
        self.request.load(Ordering::Relaxed)
    }
}

/// What a client with prior knowledge of HTTP/2 sends first (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// A socket whose incoming bytes are watched.
pub(crate) struct Watched<T> {
    inner: T,
    /// The first bytes, as far as they were read to know the protocol; `at` of them are handed on.
    first: [u8; PREFACE.len()],
    read: usize,
    at: usize,
    matcher: Matcher,
    connection: Arc<Connection>,
}

impl<T> Watched<T> {
    pub(crate) fn new(inner: T, connection: Arc<Connection>) -> Self {
        Self { inner, first: [0; PREFACE.len()], read: 0, at: 0, matcher: Matcher::default(), connection }
    }
}

impl<T: AsyncRead + Unpin> Watched<T> {
    /// Reads as much as it takes to know the protocol; `None` when the client is gone before.
    pub(crate) fn poll_protocol(&mut self, cx: &mut Context<'_>) -> Poll<Option<Protocol>> {
        loop {
            if self.first[..self.read] != PREFACE[..self.read] {
                return Poll::Ready(Some(Protocol::Http1));
            }
            if self.read == PREFACE.len() {
                return Poll::Ready(Some(Protocol::Http2));
            }
            let mut buf = ReadBuf::new(&mut self.first[self.read..]);
            let polled = std::task::ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buf));
            match (polled, buf.filled().len()) {
                (Ok(()), n @ 1..) => {
                    self.read += n;
                    self.connection.bytes.store(true, Ordering::Relaxed);
                }
                _ => return Poll::Ready(None),
            }
        }
    }
}

/// Finds the header name at the start of a line, over any split.
#[derive(Debug, Default)]
struct Matcher {
    /// Bytes of the name matched so far on this line; `None` while no line start is pending.
    matched: Option<usize>,
}

impl Matcher {
    fn push(&mut self, bytes: &[u8]) -> bool {
        let mut at = 0;
        let mut is_found = false;
        while at < bytes.len() {
            let Some(matched) = self.matched else {
                let Some(line_end) = memchr::memchr(b'\n', &bytes[at..]) else { return is_found };
                at += line_end + 1;
                self.matched = Some(0);
                continue;
            };
            if matched == NAME.len() {
                // RFC 9112 §5.1 forbids space before the colon and hyper refuses it, so the colon comes next or never.
                is_found |= bytes[at] == b':';
                self.matched = None;
            } else if bytes[at].eq_ignore_ascii_case(&NAME[matched]) {
                self.matched = Some(matched + 1);
                at += 1;
            } else {
                self.matched = None;
            }
        }
        is_found
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let n_first = (this.read - this.at).min(buf.remaining());
        buf.put_slice(&this.first[this.at..this.at + n_first]);
        this.at += n_first;
        let mut polled = Poll::Ready(Ok(()));
        if buf.remaining() > 0 {
            polled = Pin::new(&mut this.inner).poll_read(cx, buf);
            if n_first > 0 {
                // What is there goes on now; an error or the end comes again with the next read.
                polled = Poll::Ready(Ok(()));
            }
        }
        if let Poll::Ready(Ok(())) = polled
            && this.matcher.push(&buf.filled()[before..])
        {
            this.connection.content_length.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pieces: &[&[u8]]) -> bool {
        let mut matcher = Matcher::default();
        pieces.iter().fold(false, |found, piece| matcher.push(piece) | found)
    }

    #[test]
    fn any_split_of_a_head_gives_the_same_answer() {
        let head = b"POST / HTTP/1.1\r\nhost: a\r\nConTent-LENGTH: 3\r\n\r\nabc";
        for at in 0..head.len() {
            let (left, right) = head.split_at(at);
            assert!(found(&[left, right]), "split at {at}");
        }
        assert!(found(&head.chunks(1).collect::<Vec<_>>()));
    }

    #[test]
    fn other_lines_and_values_do_not_count() {
        for head in [
            "x: content-length: 3\r\n",
            "\ncontent-lengthy: 3",
            "\nx-content-length: 1",
            "\ncontent-lengt\nh:",
            "content-length: 1",
        ] {
            assert!(!found(&[head.as_bytes()]), "{head}");
        }
    }

    #[test]
    fn a_mismatch_on_a_line_feed_starts_the_next_line() {
        assert!(found(&[b"a\ncont\ncontent-length:"]));
        assert!(found(&[b"\n\n\ncontent-length:"]));
    }
}
