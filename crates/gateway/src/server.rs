//! Listeners and connections: one thread, one runtime and one `SO_REUSEPORT` socket for each worker.
//!
//! A request never changes threads, so nothing on its way is contended. Not here: what a request means (`pipeline`).
//! Invariants: a connection that sends nothing is closed after `idle_ms`, one that begins a head and does not end it after
//! `header_read_ms`; a panic in one call answers that call with 500 and touches no other; after a stop every call in flight may
//! finish until the drain's deadline.

mod framing;
mod stop;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use domain::code::GatewayCode;
use futures_util::FutureExt;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::WaitForCancellationFuture;

use crate::config::Limits;
use crate::pipeline::relay::ReplyBody;
use crate::pipeline::{self, Worker, admit};
use crate::rejection::Rejection;
use crate::server::framing::{Connection, Protocol, Watched};
use crate::server::stop::Phase;
pub(crate) use crate::server::stop::Stop;

/// How long a connection without a call in flight may hold up a drain: enough for a request that is on its way.
const LINGER: Duration = Duration::from_secs(1);
/// When a client that asks a draining node should ask again; whatever sends it elsewhere has then noticed.
const DRAINING_RETRY: Duration = Duration::from_secs(1);
/// Most bytes read from a client at once. hyper begins with 8 KiB and comes to this only for connections with large bodies.
const READ_BUFFER: usize = 128 * 1024;
/// Pause after an accept error that may repeat at once, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Opens one listening socket for each worker, all on the same port.
pub(crate) fn bind(addr: SocketAddr, n_workers: usize) -> io::Result<Vec<std::net::TcpListener>> {
    // A shared port would silently split the traffic with another process of the same user; a plain bind notices it.
    drop(listen(addr, false)?);
    let first = listen(addr, true)?;
    let addr = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..n_workers {
        listeners.push(listen(addr, true)?);
    }
    Ok(listeners)
}

fn listen(addr: SocketAddr, is_shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(addr), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(is_shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

/// Runs one worker's thread until it is stopped.
pub(crate) fn run_worker(
    worker: Arc<Worker>,
    listener: std::net::TcpListener,
    n_connections: u32,
    stop: &Stop,
    ended: oneshot::Sender<()>,
) {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = built.and_then(|runtime| {
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener)?;
            accept(worker, listener, n_connections, stop).await;
            Ok(())
        })
    });
    if let Err(error) = served {
        tracing::error!(%error, "a listener thread could not start; the process ends");
        runtime::tasks::fatal().cancel();
    }
    // The receiver is gone when nobody waits for the end.
    let _ = ended.send(());
}

/// Accepts connections until the node drains, then waits for those that are open.
async fn accept(worker: Arc<Worker>, listener: TcpListener, n_connections: u32, stop: &Stop) {
    let permits = Arc::new(Semaphore::new(n_connections as usize));
    while let Some(permit) = stop.draining().run_until_cancelled(permits.clone().acquire_owned()).await {
        let Ok(permit) = permit else { break };
        match stop.draining().run_until_cancelled(listener.accept()).await {
            None => break,
            Some(Ok((stream, _))) => open(&worker, stream, permit, stop),
            Some(Err(error)) => {
                tracing::warn!(%error, "accepting a connection failed");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Connections the kernel has already completed would be reset by closing the socket.
    while let Some(Ok((stream, _))) = listener.accept().now_or_never() {
        let Ok(permit) = permits.clone().try_acquire_owned() else { break };
        open(&worker, stream, permit, stop);
    }
    drop(listener);
    let _all_closed = stop.cutting().run_until_cancelled(permits.acquire_many(n_connections)).await;
}

fn open(worker: &Arc<Worker>, stream: tokio::net::TcpStream, permit: tokio::sync::OwnedSemaphorePermit, stop: &Stop) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the client left before its connection was set up");
        return;
    }
    let (worker, stop) = (worker.clone(), stop.clone());
    runtime::tasks::spawn("gateway.connection", async move {
        // A panic while a body is polled ends this connection alone; the meter settled while unwinding.
        let served = AssertUnwindSafe(serve(worker.clone(), stream, stop)).catch_unwind().await;
        if served.is_err() {
            worker.metrics.panics.add(1);
        }
        drop(permit);
    });
}

/// Serves one client connection until it ends, HTTP/1.1 or HTTP/2 by its first bytes.
pub(crate) async fn serve<T>(worker: Arc<Worker>, stream: T, stop: Stop)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let metrics = worker.metrics.clone();
    metrics.connections.add(1);
    let connection = Arc::new(Connection::default());
    let mut watched = Watched::new(stream, connection.clone());
    let limits = &worker.shared.config.limits;
    let mut patience = Patience {
        leaving: pin!(stop.leaving().cancelled()),
        draining: pin!(stop.draining().cancelled()),
        cut: pin!(stop.cutting().cancelled()),
        timer: Some(Box::pin(sleep(Duration::from_millis(limits.idle_ms)))),
        header_read: Duration::from_millis(limits.header_read_ms),
        has_bytes: false,
        phase: Phase::Serving,
    };
    let protocol = poll_fn(|cx| {
        if let Poll::Ready(read) = watched.poll_protocol(cx) {
            return Poll::Ready(read);
        }
        patience.poll(cx, &connection).map(|_| None)
    })
    .await;
    let calls = Calls { worker: worker.clone(), connection: connection.clone(), stop: stop.clone() };
    // On the heap each, so that a connection does not keep room for the protocol it does not speak.
    match protocol {
        None => {}
        Some(Protocol::Http1) => {
            let served = http1(limits).serve_connection(TokioIo::new(watched), calls);
            Box::pin(drive(served, http1::Connection::graceful_shutdown, Phase::Draining, patience, &connection)).await;
        }
        Some(Protocol::Http2) => {
            let served = http2(limits).serve_connection(TokioIo::new(watched), calls);
            // GOAWAY loses nothing: streams that were opened before the client has read it are served.
            Box::pin(drive(served, http2::Connection::graceful_shutdown, Phase::Leaving, patience, &connection)).await;
        }
    }
    metrics.connections.sub(1);
}

/// Polls a connection to its end, and tells it when to come to one: as soon as the node leaves, or after a while of draining.
async fn drive<C: Future>(
    served: C,
    begin_shutdown: fn(Pin<&mut C>),
    ends_when: Phase,
    mut patience: Patience<'_, '_>,
    connection: &Connection,
) {
    let mut served = pin!(served);
    let mut is_ending = false;
    poll_fn(|cx| {
        loop {
            if served.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let is_over = patience.poll(cx, connection);
            // Before the first request hyper would drop an HTTP/2 connection instead of telling the client.
            if !connection.has_request() {
                return is_over.map(|_| ());
            }
            let is_due = ends_when == Phase::Leaving && patience.phase >= Phase::Leaving;
            match is_over {
                Poll::Ready(Over::Cut) => return Poll::Ready(()),
                Poll::Ready(Over::Lingered) if !is_ending => {}
                _ if is_due && !is_ending => {}
                _ => return Poll::Pending,
            }
            is_ending = true;
            begin_shutdown(served.as_mut());
        }
    })
    .await;
}

/// Why a connection is not put up with any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// At once.
    Cut,
    /// A drain began a while ago, or the first request did not come in time: as soon as no call is in flight.
    Lingered,
}

/// How long a connection is put up with.
struct Patience<'p, 's> {
    leaving: Pin<&'p mut WaitForCancellationFuture<'s>>,
    draining: Pin<&'p mut WaitForCancellationFuture<'s>>,
    cut: Pin<&'p mut WaitForCancellationFuture<'s>>,
    /// Runs until the first request has come, and again while draining.
    timer: Option<Pin<Box<Sleep>>>,
    header_read: Duration,
    has_bytes: bool,
    phase: Phase,
}

impl Patience<'_, '_> {
    fn poll(&mut self, cx: &mut Context<'_>, connection: &Connection) -> Poll<Over> {
        if self.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Over::Cut);
        }
        if self.phase == Phase::Serving && self.leaving.as_mut().poll(cx).is_ready() {
            self.phase = Phase::Leaving;
        }
        if self.phase < Phase::Draining {
            self.await_head(connection);
        }
        if self.phase == Phase::Leaving && self.draining.as_mut().poll(cx).is_ready() {
            self.phase = Phase::Draining;
            let until = Instant::now() + LINGER;
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(until),
                None => self.timer = Some(Box::pin(sleep(LINGER))),
            }
        }
        let Some(timer) = &mut self.timer else { return Poll::Pending };
        std::task::ready!(timer.as_mut().poll(cx));
        self.timer = None;
        Poll::Ready(Over::Lingered)
    }

    /// Gives a head that has begun its own time; hyper times those of later requests.
    fn await_head(&mut self, connection: &Connection) {
        if connection.has_request() {
            self.timer = None;
        } else if connection.has_bytes()
            && !std::mem::replace(&mut self.has_bytes, true)
            && let Some(timer) = &mut self.timer
        {
            let until = Instant::now() + self.header_read;
            if until < timer.deadline() {
                timer.as_mut().reset(until);
            }
        }
    }
}

fn http1(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Also how long a connection is kept between two requests.
        .header_read_timeout(Duration::from_millis(limits.idle_ms))
        .max_headers(limits.max_headers)
        // What comes after it is refused with a reason, so it is not the limit itself.
        .max_header_size(limits.max_header_bytes.max(8_192) * 2)
        // A body that is read at once is never put together from pieces.
        .max_buf_size(READ_BUFFER.max(limits.max_header_bytes * 2));
    builder
}

fn http2(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_h2_streams)
        .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// Takes the calls of one connection.
struct Calls {
    worker: Arc<Worker>,
    connection: Arc<Connection>,
    stop: Stop,
}

impl Service<Request<Incoming>> for Calls {
    type Response = Response<ReplyBody>;
    type Error = Infallible;
    // On the heap, and gone when the answer begins: a connection would otherwise keep 8 KB for it while a stream runs.
    type Future = Pin<Box<dyn Future<Output = Result<Response<ReplyBody>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (worker, connection, stop) = (self.worker.clone(), self.connection.clone(), self.stop.clone());
        Box::pin(async move {
            let is_http1 = request.version() < Version::HTTP_2;
            let mut response = answer(worker, &connection, &stop, request).await;
            if is_http1 && stop.phase() > Phase::Serving {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        })
    }
}

/// Answers one request; a panic on the way becomes a 500 in the client's dialect.
async fn answer(
    worker: Arc<Worker>,
    connection: &Connection,
    stop: &Stop,
    request: Request<Incoming>,
) -> Response<ReplyBody> {
    let is_double_framed =
        connection.take_content_length() && request.headers().contains_key(http::header::TRANSFER_ENCODING);
    let dialect = crate::ingress::error_dialect(request.uri().path(), request.headers());
    let refused = if is_double_framed {
        Some(admit::refuse_double_framing())
    } else {
        (stop.phase() == Phase::Draining).then(refuse_draining)
    };
    // On the heap: the head would otherwise be kept, and moved, once for each future that it passes through.
    let (parts, body) = request.into_parts();
    let handled = pipeline::handle(worker.clone(), Box::new(parts), Some(body), refused);
    let Ok(response) = AssertUnwindSafe(handled).catch_unwind().await else {
        // The panic hook has logged the place; the meter settled while unwinding.
        worker.metrics.panics.add(1);
        return Rejection::internal().respond(dialect, None);
    };
    response
}

fn refuse_draining() -> Rejection {
    let detail = "this gateway node is shutting down; send the request again, on a new connection";
    Rejection::new(GatewayCode::Draining, detail).with_retry_after(Some(DRAINING_RETRY)).closing()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_connection<F>(_: impl Fn(Arc<Worker>, tokio::net::TcpStream, Stop) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn what_is_kept_for_each_connection_stays_small() {
        let size = size_of_connection(serve::<tokio::net::TcpStream>);
        assert!(size <= 3_072, "{size}");
    }

    fn size_of_call<F>(
        _: impl Fn(Arc<Worker>, Box<http::request::Parts>, Option<Incoming>, Option<Rejection>) -> F,
    ) -> usize {
        size_of::<F>()
    }

    #[test]
    fn what_is_moved_for_each_call_stays_small() {
        let size = size_of_call(pipeline::handle);
        assert!(size <= 3_872, "{size}");
    }
}
