//! Sends one attempt over a pooled connection. One client for each worker thread, so pools are never contended.
//!
//! Retries, first-byte, idle and total deadlines belong to the pipeline, which knows what has been relayed. Invariants: no
//! connection is opened to an address that the egress rules refuse; a connection whose answer was not read to its end is
//! closed, never pooled.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri};
use http_body::{Body, Frame};
use http_body_util::Full;
use http1::client::{Broken, Connection, Reading};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use crate::dial::{Dial, Link, Origin};

/// Unused connections kept for one origin and worker.
const MAX_IDLE: usize = 1_024;
/// How long an unused connection is kept: less than the 60 s after which common load balancers drop it.
const IDLE_FOR: Duration = Duration::from_secs(50);
/// Streams put on one HTTP/2 connection before another is opened: the lowest limit that large providers announce is 100.
const H2_STREAMS: usize = 100;
/// How often unused connections are looked through for those that are old or that the upstream has closed.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// Why no answer came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The URL of the request cannot be called.
    #[error("the upstream URL is not valid: {reason}")]
    Url {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Egress rules refuse every address of the host.
    #[error("{reason}")]
    Denied {
        /// Which host and address.
        reason: String,
    },
    /// The name cannot be resolved, the connection was refused, or TLS failed.
    #[error("no connection to the upstream: {reason}")]
    Connect {
        /// What the operating system or the TLS library said.
        reason: String,
    },
    /// No connection within the connect timeout.
    #[error("no connection to the upstream within {limit_ms} ms")]
    ConnectTimeout {
        /// The limit.
        limit_ms: u64,
    },
    /// The connection closed before the head of an answer. The upstream may have seen the request.
    #[error("the upstream closed the connection before it answered: {reason}")]
    Closed {
        /// What the HTTP library said.
        reason: String,
        /// True when the connection had served before, so that an idle close is the likely cause.
        is_reused: bool,
    },
}

/// A pooled client.
pub struct Client {
    dial: Arc<dyn Dial>,
    plain: Mutex<FxHashMap<Box<str>, Arc<Pool>>>,
    secure: Mutex<FxHashMap<Box<str>, Arc<Pool>>>,
}

/// Connections to one origin.
struct Pool {
    origin: Origin,
    host: HeaderValue,
    idle: Mutex<Idle>,
    shared: Mutex<Vec<Shared>>,
}

/// Connections without a request under way, the oldest first.
#[derive(Default)]
struct Idle {
    connections: VecDeque<(Connection, Instant)>,
    is_swept: bool,
}

#[derive(Clone)]
struct Shared {
    sender: http2::SendRequest<Full<Bytes>>,
    n_streams: Arc<AtomicUsize>,
}

/// A stream of a shared connection. The stream itself is reset by dropping the body.
struct Lease(Arc<AtomicUsize>);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why the rest of an answer did not come.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Over HTTP/1.1.
    #[error(transparent)]
    Own(#[from] Broken),
    /// Over HTTP/2.
    #[error(transparent)]
    Shared(#[from] hyper::Error),
}

/// The body of an answer, which still arrives. Gives its connection back at its end; closes it when dropped before.
pub struct Answer(Arriving);

enum Arriving {
    Exclusive { reading: Reading, pool: Arc<Pool> },
    Shared { body: Incoming, _lease: Lease },
    Ended,
}

impl Answer {
    /// Takes the next bytes. Frames without data are passed over.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ReadError>>> {
        let next = match &mut self.0 {
            Arriving::Ended => return Poll::Ready(None),
            Arriving::Exclusive { reading, .. } => match ready!(reading.poll_chunk(cx)) {
                Some(Ok(data)) if reading.is_complete() => Some(Ok(data)),
                Some(Ok(data)) => return Poll::Ready(Some(Ok(data))),
                Some(Err(error)) => Some(Err(error.into())),
                None => None,
            },
            Arriving::Shared { body, .. } => loop {
                match ready!(Pin::new(&mut *body).poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                    Some(Ok(Ok(data))) if !data.is_empty() => return Poll::Ready(Some(Ok(data))),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break Some(Err(error.into())),
                    None => break None,
                }
            },
        };
        if let Arriving::Exclusive { reading, pool } = std::mem::replace(&mut self.0, Arriving::Ended)
            && let Some(connection) = reading.into_connection()
        {
            pool.keep(connection);
        }
        Poll::Ready(next)
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = ReadError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.poll_chunk(cx).map(|next| next.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Arriving::Ended)
    }
}

impl Client {
    /// Makes a client that opens connections so.
    pub fn new(dial: Arc<dyn Dial>) -> Self {
        Self { dial, plain: Mutex::default(), secure: Mutex::default() }
    }

    /// Returns what opens connections.
    pub fn dialler(&self) -> &dyn Dial {
        &*self.dial
    }

    /// Sends a request with an absolute URL and returns the head of the answer with its body still arriving.
    ///
    /// Cancel-safe: dropping the future closes the connection or resets the stream. Nothing is awaited without the connect
    /// timeout except the answer itself. The request is on the heap, because it passes through several futures on its way.
    pub async fn send(&self, request: Box<Request<Bytes>>, connect: Duration) -> Result<Response<Answer>, SendError> {
        let pool = self.pool(request.uri())?;
        if let Some(shared) = pool.take_shared() {
            return shared.send(*request).await;
        }
        if let Some(connection) = poll_fn(|cx| Poll::Ready(pool.take_idle(cx))).await {
            return send_exclusive(pool, connection, request, true).await;
        }
        let limit_ms = u64::try_from(connect.as_millis()).unwrap_or(u64::MAX);
        // On the heap: a handshake takes far more room than a call, and most calls find a connection.
        let opened = Box::pin(tokio::time::timeout(connect, pool.open(&*self.dial))).await;
        match opened.map_err(|_| SendError::ConnectTimeout { limit_ms })?? {
            Opened::Exclusive(connection) => send_exclusive(pool, connection, request, false).await,
            Opened::Shared(shared) => shared.send(*request).await,
        }
    }

    fn pool(&self, uri: &Uri) -> Result<Arc<Pool>, SendError> {
        let authority = uri.authority().ok_or(SendError::Url { reason: "it has no host" })?.as_str();
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(SendError::Url { reason: "its scheme is neither https nor http" }),
        };
        let mut pools = if is_tls { self.secure.lock() } else { self.plain.lock() };
        if let Some(pool) = pools.get(authority) {
            return Ok(pool.clone());
        }
        let origin = Origin::parse(uri, is_tls)?;
        let host = HeaderValue::from_str(authority).map_err(|_| SendError::Url { reason: "its host is not valid" })?;
        let pool = Arc::new(Pool { origin, host, idle: Mutex::default(), shared: Mutex::default() });
        pools.insert(authority.into(), pool.clone());
        Ok(pool)
    }
}

enum Opened {
    Exclusive(Connection),
    Shared(Shared),
}

async fn send_exclusive(
    pool: Arc<Pool>,
    connection: Connection,
    request: Box<Request<Bytes>>,
    is_reused: bool,
) -> Result<Response<Answer>, SendError> {
    match connection.send(request, &pool.host).await {
        Ok((answer, reading)) => Ok(answer.map(|()| Answer(Arriving::Exclusive { reading, pool }))),
        // Once an answer has begun, the connection was not an old one that had closed.
        Err(unanswered) => {
            Err(SendError::Closed { reason: unanswered.why.to_string(), is_reused: is_reused && !unanswered.has_begun })
        }
    }
}

fn closed(error: &hyper::Error, is_reused: bool) -> SendError {
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        reason = format!("{reason}: {cause}");
        source = cause.source();
    }
    SendError::Closed { reason, is_reused }
}

impl Shared {
    async fn send(mut self, request: Request<Bytes>) -> Result<Response<Answer>, SendError> {
        // Counted before the first wait, so that a dropped future is uncounted by the lease.
        let lease = Lease(self.n_streams.clone());
        match self.sender.send_request(request.map(Full::new)).await {
            Ok(response) => Ok(response.map(|body| Answer(Arriving::Shared { body, _lease: lease }))),
            Err(error) => Err(closed(&error, true)),
        }
    }
}

impl Pool {
    fn take_idle(&self, cx: &mut Context<'_>) -> Option<Connection> {
        let mut idle = self.idle.lock();
        // The latest first: the busier a connection, the less likely the upstream has dropped it.
        while let Some((mut connection, since)) = idle.connections.pop_back() {
            if since.elapsed() > IDLE_FOR {
                // The rest is older still.
                idle.connections.clear();
                return None;
            }
            if connection.is_open(cx) {
                return Some(connection);
            }
        }
        None
    }

    fn keep(self: &Arc<Self>, connection: Connection) {
        let mut idle = self.idle.lock();
        if idle.connections.len() < MAX_IDLE {
            idle.connections.push_back((connection, Instant::now()));
        }
        if !std::mem::replace(&mut idle.is_swept, true) {
            runtime::tasks::spawn("gateway.upstream", sweep(Arc::downgrade(self)));
        }
    }

    fn take_shared(&self) -> Option<Shared> {
        let mut shared = self.shared.lock();
        if shared.is_empty() {
            return None;
        }
        shared.retain(|shared| !shared.sender.is_closed());
        let free = shared.iter().find(|shared| shared.n_streams.load(Ordering::Relaxed) < H2_STREAMS)?;
        free.n_streams.fetch_add(1, Ordering::Relaxed);
        Some(free.clone())
    }

    async fn open(&self, dial: &dyn Dial) -> Result<Opened, SendError> {
        let Link { stream, is_h2 } = dial.dial(&self.origin).await?;
        let failed = |error: hyper::Error| SendError::Connect { reason: error.to_string() };
        if is_h2 {
            let handshake = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .initial_stream_window_size(1024 * 1024)
                .initial_connection_window_size(4 * 1024 * 1024)
                .keep_alive_interval(Duration::from_secs(20))
                .keep_alive_timeout(Duration::from_secs(20))
                .handshake(TokioIo::new(stream));
            // On the heap, as TLS is: a thousand connections opened at once should not make room for what they do not speak.
            let (sender, connection) = Box::pin(handshake).await.map_err(failed)?;
            spawn(connection);
            let shared = Shared { sender, n_streams: Arc::new(AtomicUsize::new(1)) };
            self.shared.lock().push(shared.clone());
            return Ok(Opened::Shared(shared));
        }
        Ok(Opened::Exclusive(Connection::new(stream)))
    }
}

/// Closes what is old or was closed by the upstream, as long as there is anything.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(pool) = pool.upgrade() else { return };
        let is_over = poll_fn(|cx| {
            let mut idle = pool.idle.lock();
            idle.connections.retain_mut(|(connection, since)| since.elapsed() <= IDLE_FOR && connection.is_open(cx));
            idle.is_swept = !idle.connections.is_empty();
            Poll::Ready(!idle.is_swept)
        });
        if is_over.await {
            return;
        }
    }
}

fn spawn(connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
    runtime::tasks::spawn("gateway.upstream", async move {
        if let Err(error) = connection.await {
            // Whoever waits for an answer on it gets the same error and tells the caller.
            tracing::debug!(%error, "an upstream connection ended");
        }
    });
}

impl From<io::Error> for SendError {
    fn from(error: io::Error) -> Self {
        Self::Connect { reason: error.to_string() }
    }
}
