//! Sends one attempt over a pooled connection. One client for each worker thread, so pools are never contended.
//!
//! Retries, first-byte, idle and total deadlines belong to the pipeline, which knows what has been relayed. Written on hyper's
//! connection API instead of its pooled client, because that one spawns a task for every answered request to see its
//! connection become idle again. Invariants: no connection is opened to an address that the egress rules refuse; a
//! connection whose answer was not read to its end is closed, never pooled.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::dial::{Dial, Link, Origin};

/// Unused connections kept for one origin and worker.
const MAX_IDLE: usize = 1_024;
/// How long an unused connection is kept: less than the 60 s after which common load balancers drop it.
const IDLE_FOR: Duration = Duration::from_secs(50);
/// Streams put on one HTTP/2 connection before another is opened: the lowest limit that large providers announce is 100.
const H2_STREAMS: usize = 100;

/// Bytes read from an upstream at once.
const READ_BUFFER: usize = 3 * 1024;

type Body = Full<Bytes>;

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
pub(crate) struct Client {
    dial: Arc<dyn Dial>,
    plain: Mutex<FxHashMap<Box<str>, Arc<Pool>>>,
    secure: Mutex<FxHashMap<Box<str>, Arc<Pool>>>,
}

/// Connections to one origin.
struct Pool {
    origin: Origin,
    host: HeaderValue,
    idle: Mutex<VecDeque<(http1::SendRequest<Body>, Instant)>>,
    shared: Mutex<Vec<Shared>>,
}

#[derive(Clone)]
struct Shared {
    sender: http2::SendRequest<Body>,
    n_streams: Arc<AtomicUsize>,
}

/// The connection under an answer that is being read.
pub(crate) struct Lease(Option<Leased>);

enum Leased {
    Exclusive { sender: http1::SendRequest<Body>, pool: Arc<Pool> },
    Shared(Arc<AtomicUsize>),
}

impl Lease {
    /// Gives the connection back after the answer was read to its end.
    pub(crate) fn finish(mut self, now: Instant) {
        if let Some(Leased::Exclusive { sender, pool }) = self.0.take()
            && !sender.is_closed()
        {
            pool.keep(sender, now);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // An exclusive connection closes when its sender goes; a stream of a shared one is reset by its body.
        if let Some(Leased::Shared(n_streams)) = &self.0 {
            n_streams.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Client {
    pub(crate) fn new(dial: Arc<dyn Dial>) -> Self {
        Self { dial, plain: Mutex::default(), secure: Mutex::default() }
    }

    /// Sends a request with an absolute URL and returns the head of the answer with its body still arriving.
    ///
    /// Cancel-safe: dropping the future closes the connection or resets the stream. Nothing is awaited without the connect
    /// timeout except the answer itself. The request is on the heap, because it passes through several futures on its way.
    pub(crate) async fn send(
        &self,
        mut request: Box<Request<Body>>,
        connect: Duration,
    ) -> Result<(Response<Incoming>, Lease), SendError> {
        let pool = self.pool(request.uri())?;
        loop {
            if let Some(shared) = pool.take_shared() {
                return shared.send(*request).await;
            }
            let Some(mut sender) = pool.take_idle() else { break };
            // Resolves at once: the answer before was read to its end. An error means the upstream closed meanwhile.
            if sender.ready().await.is_err() {
                continue;
            }
            match send_exclusive(&pool, sender, request, true).await {
                Ok(answered) => return Ok(answered),
                Err(Unanswered::Unsent(unsent)) => request = unsent,
                Err(Unanswered::Failed(error)) => return Err(error),
            }
        }
        let limit_ms = u64::try_from(connect.as_millis()).unwrap_or(u64::MAX);
        // On the heap: a handshake takes far more room than a call, and most calls find a connection.
        let opened = Box::pin(tokio::time::timeout(connect, pool.open(&*self.dial))).await;
        match opened.map_err(|_| SendError::ConnectTimeout { limit_ms })?? {
            Opened::Exclusive(sender) => match send_exclusive(&pool, sender, request, false).await {
                Ok(answered) => Ok(answered),
                Err(Unanswered::Failed(error)) => Err(error),
                Err(Unanswered::Unsent(_)) => {
                    Err(SendError::Closed { reason: "closed right after it was opened".to_owned(), is_reused: false })
                }
            },
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
    Exclusive(http1::SendRequest<Body>),
    Shared(Shared),
}

enum Unanswered {
    Unsent(Box<Request<Body>>),
    Failed(SendError),
}

async fn send_exclusive(
    pool: &Arc<Pool>,
    mut sender: http1::SendRequest<Body>,
    mut request: Box<Request<Body>>,
    is_reused: bool,
) -> Result<(Response<Incoming>, Lease), Unanswered> {
    // HTTP/1.1 wants the path alone on the request line and the host beside it (RFC 9112 §3.2).
    let absolute = request.uri().clone();
    let path = absolute.path_and_query().cloned().unwrap_or_else(|| http::uri::PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    request.headers_mut().insert(HOST, pool.host.clone());
    match sender.try_send_request(*request).await {
        Ok(response) => Ok((response, Lease(Some(Leased::Exclusive { sender, pool: pool.clone() })))),
        Err(mut failed) => match failed.take_message() {
            Some(mut unsent) => {
                *unsent.uri_mut() = absolute;
                Err(Unanswered::Unsent(Box::new(unsent)))
            }
            None => Err(Unanswered::Failed(closed(failed.error(), is_reused))),
        },
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
    async fn send(mut self, request: Request<Body>) -> Result<(Response<Incoming>, Lease), SendError> {
        // Counted before the first wait, so that a dropped future is uncounted by the lease.
        let lease = Lease(Some(Leased::Shared(self.n_streams.clone())));
        match self.sender.send_request(request).await {
            Ok(response) => Ok((response, lease)),
            Err(error) => Err(closed(&error, true)),
        }
    }
}

impl Pool {
    fn take_idle(&self) -> Option<http1::SendRequest<Body>> {
        let mut idle = self.idle.lock();
        // The latest first: the busier a connection, the less likely the upstream has dropped it.
        while let Some((sender, since)) = idle.pop_back() {
            if sender.is_closed() {
                continue;
            }
            if since.elapsed() > IDLE_FOR {
                // The rest is older still.
                idle.clear();
                return None;
            }
            return Some(sender);
        }
        None
    }

    fn keep(&self, sender: http1::SendRequest<Body>, now: Instant) {
        let mut idle = self.idle.lock();
        while idle.front().is_some_and(|(oldest, since)| oldest.is_closed() || now.duration_since(*since) > IDLE_FOR) {
            idle.pop_front();
        }
        if idle.len() < MAX_IDLE {
            idle.push_back((sender, now));
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
        let mut builder = http1::Builder::new();
        // hyper keeps two of these for each connection with a stream under way; most answers and all chunks fit in one.
        builder.read_buf_exact_size(Some(READ_BUFFER));
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(failed)?;
        spawn(connection);
        Ok(Opened::Exclusive(sender))
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
