//! Upstreams that do not speak HTTP well: bytes as they are, pauses, and the three ways a connection can end.
//!
//! A host with a fault keeps it: every connection to it behaves the same. Pauses are of virtual time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http1::Stream;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf};
use tokio::time::{Instant, sleep_until};
use upstream::dial::Link;

use super::upstream::{Call, Upstreams};

/// What an upstream says once it has read the request.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    pub bits: Vec<Bit>,
    pub end: End,
}

#[derive(Debug, Clone)]
pub(crate) enum Bit {
    Send(Bytes),
    Pause(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The connection is closed in order.
    Close,
    /// The connection is reset.
    Reset,
    /// The connection stays open: the next request on it meets the same.
    Hang,
}

impl Raw {
    pub(crate) fn of(bytes: impl Into<Bytes>, end: End) -> Self {
        Self { bits: vec![Bit::Send(bytes.into())], end }
    }

    pub(crate) fn then(mut self, bytes: impl Into<Bytes>) -> Self {
        self.bits.push(Bit::Send(bytes.into()));
        self
    }

    pub(crate) fn pause(mut self, seconds: u64) -> Self {
        self.bits.push(Bit::Pause(Duration::from_secs(seconds)));
        self
    }
}

/// Opens a connection to an upstream that behaves like this.
pub(crate) fn link(upstreams: &Upstreams, host: &str, raw: Raw) -> Link {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let is_reset = Arc::new(AtomicBool::new(false));
    let is_h2 = host.starts_with("h2.");
    let serving = serve(upstreams.clone(), host.to_owned(), far, raw, is_reset.clone());
    // A client that leaves early is no failure of the script.
    runtime::tasks::spawn("test.raw", async move { drop(serving.await) });
    let stream: Box<dyn Stream> = Box::new(Resettable { inner: near, is_reset });
    Link { stream, is_h2 }
}

async fn serve(
    upstreams: Upstreams,
    host: String,
    mut far: DuplexStream,
    raw: Raw,
    is_reset: Arc<AtomicBool>,
) -> io::Result<()> {
    let is_h2 = host.starts_with("h2.");
    if is_h2 {
        open_h2(&mut far).await?;
    }
    loop {
        let stream = if is_h2 { read_h2(&mut far).await? } else { 0 };
        let call = if is_h2 { Call::unread(&host) } else { read_h1(&mut far, &host).await? };
        upstreams.note(call);
        for bit in raw.bits.clone() {
            match bit {
                Bit::Send(bytes) if is_h2 => far.write_all(&on_stream(&bytes, stream)).await?,
                Bit::Send(bytes) => far.write_all(&bytes).await?,
                Bit::Pause(long) => sleep_until(Instant::now() + long).await,
            }
        }
        match raw.end {
            End::Close => return Ok(()),
            End::Reset => {
                is_reset.store(true, Ordering::SeqCst);
                return Ok(());
            }
            // The next request on it meets the same.
            End::Hang => {}
        }
    }
}

/// Reads one request of HTTP/1 with a content length.
async fn read_h1(far: &mut DuplexStream, host: &str) -> io::Result<Call> {
    let mut read = Vec::new();
    let head_end = loop {
        if let Some(at) = memchr::memmem::find(&read, b"\r\n\r\n") {
            break at + 4;
        }
        if far.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let head = String::from_utf8_lossy(&read[..head_end]).into_owned();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    while read.len() < head_end + length.unwrap_or(0) {
        if far.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let body = Bytes::copy_from_slice(&read[head_end..]);
    Ok(Call { path, body, ..Call::unread(host) })
}

/// Reads the preface of HTTP/2 and says its own SETTINGS.
async fn open_h2(far: &mut DuplexStream) -> io::Result<()> {
    far.write_all(&h2_frame(4, 0, 0, &[])).await?;
    let mut preface = [0; 24];
    far.read_exact(&mut preface).await.map(|_| ())
}

/// Reads frames up to the next HEADERS and returns its stream.
async fn read_h2(far: &mut DuplexStream) -> io::Result<u32> {
    loop {
        let mut head = [0; 9];
        far.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        far.read_exact(&mut payload).await?;
        if head[3] == 1 {
            return Ok(u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
        }
    }
}

/// Puts a frame that was written for stream 1 on this one.
fn on_stream(frame: &[u8], stream: u32) -> Vec<u8> {
    let mut frame = frame.to_vec();
    if frame[5..9] == 1_u32.to_be_bytes() {
        frame[5..9].copy_from_slice(&stream.to_be_bytes());
    }
    frame
}

/// Writes a frame of HTTP/2.
pub(crate) fn h2_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A pipe whose end may be a reset.
struct Resettable {
    inner: DuplexStream,
    is_reset: Arc<AtomicBool>,
}

impl AsyncRead for Resettable {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        let is_end = buffer.filled().len() == before;
        if is_end && self.is_reset.load(Ordering::SeqCst) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Resettable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
