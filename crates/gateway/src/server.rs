//! Listeners and connections: one thread, one runtime and one `SO_REUSEPORT` socket for each worker.
//!
//! A request never changes threads, so nothing on its way is contended. HTTP/1.1 is spoken by `http1`, HTTP/2 by hyper. Not here:
//! what a request means (`pipeline`).
//! Invariants: a connection that sends nothing is closed after `idle_ms`, one of HTTP/2 without a call after twice that whatever
//! it sends, one that begins a head and does not end it after `header_read_ms`; a panic in one call answers that call with 500 and touches no other; after a stop every call in flight may
//! finish until the drain's deadline.

pub(crate) mod body;
mod patience;
mod stop;

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use domain::Timestamp;
use domain::code::GatewayCode;
use futures_util::FutureExt;
use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http1::preface::{Connection, Opening, Protocol};
use http1::server::{Answers, Reading, Refused, Takeover};
use http1::taken::{Bodies, Taken};
use hyper::server::conn::http2;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use ingress::endpoint::error_dialect;
use ingress::{Limits, Rejection, admit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::sleep;

use crate::pipeline::relay::{Cut, ReplyBody};
use crate::pipeline::settle::Meter;
use crate::pipeline::{self, Worker, reply};
use crate::server::body::Incoming;
use crate::server::patience::{Over, Patience};
use crate::server::stop::Phase;
pub(crate) use crate::server::stop::Stop;

/// When a client that asks a draining node should ask again; whatever sends it elsewhere has then noticed.
const DRAINING_RETRY: Duration = Duration::from_secs(1);
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
    let mut opening = Opening::new(stream);
    let limits = &worker.shared.config.limits;
    let leaving = pin!(stop.leaving().cancelled());
    let draining = pin!(stop.draining().cancelled());
    let cut = pin!(stop.cutting().cancelled());
    let mut patience = Patience::new(
        &stop,
        [leaving, draining, cut],
        (Duration::from_millis(limits.idle_ms), Duration::from_millis(limits.header_read_ms)),
    );
    let protocol = poll_fn(|cx| {
        if let Poll::Ready(read) = opening.poll_protocol(&connection, cx) {
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
            let Opening { stream, ahead } = opening;
            let served = http1::server::Connection::new(Box::new(stream), ahead, calls, patience.take_timer());
            let served = Box::pin(served.serve());
            drive(served, |_| connection.end(), Phase::Draining, &mut patience, &connection).await;
        }
        Some(Protocol::Http2) => {
            let bodies = Arc::new(Bodies::default());
            let idle = Duration::from_millis(limits.idle_ms);
            let shared = Shared { calls, bodies: bodies.clone() };
            let served = Box::pin(http2(limits).serve_connection(TokioIo::new(opening), shared));
            // GOAWAY loses nothing: streams that were opened before the client has read it are served.
            let served =
                drive(served, http2::Connection::graceful_shutdown, Phase::Leaving, &mut patience, &connection);
            tokio::select! {
                // First, so that what it finds is acted upon in the same turn.
                biased;
                () = watch(&bodies, idle, &connection) => {}
                () = served => {}
            }
        }
    }
    metrics.connections.sub(1);
}

/// Polls a connection to its end, and tells it when to come to one: as soon as the node leaves, or after a while of draining.
///
/// It comes boxed: a future that takes another by value has room for it twice, before and after its first poll.
async fn drive<C: Future>(
    mut served: Pin<Box<C>>,
    begin_shutdown: impl Fn(Pin<&mut C>),
    ends_when: Phase,
    patience: &mut Patience<'_, '_>,
    connection: &Connection,
) {
    let mut is_ending = false;
    poll_fn(|cx| {
        loop {
            if served.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let is_over = patience.poll(cx, connection);
            // Before the first request hyper would drop an HTTP/2 connection instead of telling the client.
            if ends_when == Phase::Leaving && !connection.has_request() {
                return is_over.map(|_| ());
            }
            let is_due = ends_when == Phase::Leaving && (patience.phase() >= Phase::Leaving || connection.is_ending());
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

/// Ends the calls of a connection whose client takes nothing of their answers, and lets one end that has no calls any more:
/// pings are no reason to keep it. Returns when such a one did not end by itself.
async fn watch(bodies: &Arc<Bodies<ReplyBody>>, idle: Duration, connection: &Connection) {
    loop {
        sleep(idle).await;
        bodies.look();
        // Held by the connection and here; beyond that by each call that has no answer yet.
        let has_calls = Arc::strong_count(bodies) > 2;
        if has_calls || !bodies.has_rested() || !connection.has_request() {
            continue;
        }
        if connection.is_ending() {
            return;
        }
        connection.end();
    }
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

/// Takes the calls of a connection that they share.
struct Shared {
    calls: Calls,
    bodies: Arc<Bodies<ReplyBody>>,
}

impl Service<Request<hyper::body::Incoming>> for Shared {
    type Response = Response<Taken<ReplyBody>>;
    type Error = Infallible;
    // On the heap, and gone when the answer begins: a stream would otherwise keep 8 KB for it while it runs.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<hyper::body::Incoming>) -> Self::Future {
        let Calls { worker, connection, stop } = &self.calls;
        connection.note_request();
        let (worker, phase, bodies) = (worker.clone(), stop.phase(), self.bodies.clone());
        // On the heap: the head would otherwise be kept, and moved, once for each future that it passes through.
        let (parts, body) = request.into_parts();
        let parts = Box::new(parts);
        Box::pin(async move {
            let answer = answer(&worker, parts, Incoming::Shared(body), refuse_late(phase)).await;
            Ok(answer.map(|body| bodies.hold(body, Cut)))
        })
    }
}

impl Answers for Calls {
    type Body = ReplyBody;

    async fn answer(&self, mut parts: Box<Parts>, body: Reading, is_double_framed: bool) -> Response<ReplyBody> {
        let body = Incoming::Exclusive(body);
        if Takeover::of(&parts).is_some() {
            // What is taken over outlives its call, and has to know when the node stops.
            parts.extensions.insert(self.stop.clone());
        }
        let refused =
            if is_double_framed { Some(admit::refuse_double_framing()) } else { refuse_late(self.stop.phase()) };
        let mut response = answer(&self.worker, parts, body, refused).await;
        if self.stop.phase() > Phase::Serving && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    fn refuse(&self, refused: Refused) -> Response<ReplyBody> {
        let code = match refused.status {
            StatusCode::REQUEST_TIMEOUT => GatewayCode::RequestTimeout,
            _ => GatewayCode::RequestInvalid,
        };
        let dialect = error_dialect(refused.path.as_deref().unwrap_or_default(), &HeaderMap::new());
        let id = self.worker.ids.next_request(self.now());
        let mut response = reply::refuse_bare(&Rejection::new(code, refused.detail).closing(), dialect, id);
        *response.status_mut() = refused.status;
        response
    }

    fn note_request(&self) {
        self.connection.note_request();
    }

    fn is_ending(&self) -> bool {
        self.connection.is_ending()
    }

    fn now(&self) -> Timestamp {
        self.worker.shared.clock.now()
    }

    fn limits(&self) -> http1::server::Limits {
        let Limits { max_header_bytes, max_headers, header_read_ms, idle_ms, .. } = self.worker.shared.config.limits;
        http1::server::Limits { max_header_bytes, max_headers, header_read_ms, idle_ms }
    }
}

/// Answers one request; a panic on the way becomes a 500 in the client's dialect.
async fn answer(
    worker: &Arc<Worker>,
    parts: Box<Parts>,
    body: Incoming,
    refused: Option<Rejection>,
) -> Response<ReplyBody> {
    let dialect = error_dialect(parts.uri.path(), &parts.headers);
    let meter = Meter::start(worker.clone());
    let id = meter.request_id;
    let handled = pipeline::handle(parts, Some(body), refused, meter);
    let Ok(response) = AssertUnwindSafe(handled).catch_unwind().await else {
        // The panic hook has logged the place; the meter settled while unwinding.
        worker.metrics.panics.add(1);
        return reply::refuse_bare(&Rejection::internal(), dialect, id);
    };
    response
}

fn refuse_late(phase: Phase) -> Option<Rejection> {
    (phase == Phase::Draining).then(refuse_draining)
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
        _: impl Fn(Box<http::request::Parts>, Option<Incoming>, Option<Rejection>, Box<Meter>) -> F,
    ) -> usize {
        size_of::<F>()
    }

    #[test]
    fn what_is_moved_for_each_call_stays_small() {
        let size = size_of_call(pipeline::handle);
        assert!(size <= 4_100, "{size}");
    }
}
