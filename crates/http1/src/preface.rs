//! Reads which protocol a connection begins with, and hands on what was read for it.
//!
//! Not here: TLS, which a load balancer or proxy ends. Invariant: any split of the same bytes gives the same protocol.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a client with prior knowledge of HTTP/2 sends first (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes read at once while the protocol is not known.
const READ: usize = 2 * 1024;

/// What has been seen on one connection.
#[derive(Debug, Default)]
pub struct Connection {
    bytes: AtomicBool,
    request: AtomicBool,
    ending: AtomicBool,
}

impl Connection {
    /// Notes that a request has come.
    pub fn note_request(&self) {
        self.request.store(true, Ordering::Relaxed);
    }

    /// Says whether anything was read.
    pub fn has_bytes(&self) -> bool {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Says whether any request has come.
    pub fn has_request(&self) -> bool {
        self.request.load(Ordering::Relaxed)
    }

    /// Lets the connection end as soon as no request is under way.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Says whether the connection is to end.
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }
}

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, or what is refused as such.
    Http1,
    /// HTTP/2, with prior knowledge.
    Http2,
}

/// A socket whose first bytes were looked at; they are read once more from here.
pub struct Opening<T> {
    /// The socket.
    pub stream: T,
    /// What was read of it.
    pub ahead: BytesMut,
}

impl<T: AsyncRead + Unpin> Opening<T> {
    /// Takes a socket of which nothing was read.
    pub fn new(stream: T) -> Self {
        Self { stream, ahead: BytesMut::new() }
    }

    /// Reads as much as it takes to know the protocol; `None` when the client is gone before.
    pub fn poll_protocol(&mut self, connection: &Connection, cx: &mut Context<'_>) -> Poll<Option<Protocol>> {
        loop {
            let n = self.ahead.len().min(PREFACE.len());
            if self.ahead[..n] != PREFACE[..n] {
                return Poll::Ready(Some(Protocol::Http1));
            }
            if n == PREFACE.len() {
                return Poll::Ready(Some(Protocol::Http2));
            }
            let mut room = [0; READ];
            let mut buf = ReadBuf::new(&mut room);
            let polled = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf));
            if polled.is_err() || buf.filled().is_empty() {
                return Poll::Ready(None);
            }
            self.ahead.extend_from_slice(buf.filled());
            connection.bytes.store(true, Ordering::Relaxed);
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Opening<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let n = self.ahead.len().min(buf.remaining());
        buf.put_slice(&self.ahead[..n]);
        self.ahead.advance(n);
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Opening<T> {
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    /// Sends bytes in two pieces; gives the protocol and what is read from then on.
    async fn seen(text: &[u8], cut: usize) -> (Option<Protocol>, Vec<u8>) {
        let (mut near, far) = duplex(4_096);
        let connection = Connection::default();
        let mut opening = Opening::new(far);
        near.write_all(&text[..cut]).await.expect("has room");
        let early = futures_util::poll!(poll_fn(|cx| opening.poll_protocol(&connection, cx)));
        near.write_all(&text[cut..]).await.expect("has room");
        drop(near);
        let found = match early {
            Poll::Ready(found) => found,
            Poll::Pending => poll_fn(|cx| opening.poll_protocol(&connection, cx)).await,
        };
        let mut rest = Vec::new();
        opening.read_to_end(&mut rest).await.expect("reads");
        (found, rest)
    }

    #[tokio::test]
    async fn any_split_of_the_first_bytes_gives_the_same_protocol_and_loses_none() {
        let preface = [&PREFACE[..], b"\0\0\0\x04\0"].concat();
        for (text, protocol) in [
            (&preface[..], Protocol::Http2),
            (b"POST /v1/chat/completions HTTP/1.1\r\n", Protocol::Http1),
            (b"PRI * HTTP/1.1\r\nhost: a\r\n\r\n", Protocol::Http1),
        ] {
            for cut in 0..=text.len() {
                assert_eq!(seen(text, cut).await, (Some(protocol), text.to_vec()), "cut at {cut}");
            }
        }
        assert_eq!(seen(b"PRI * H", 3).await.0, None);
    }
}
