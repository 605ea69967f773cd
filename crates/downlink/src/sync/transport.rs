//! Accepts connections, TCP and in-process alike, shakes hands, and hands them to tonic with the peer's identity attached.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use crate::ca::{Peer, read_peer};
use crate::under_way::UnderWay;
use operation::cx::Cx;

/// A handshake must end within this.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// Handshakes at the same time: what a herd of nodes may cost in processor time.
const HANDSHAKES: usize = 64;

/// Either kind of stream below TLS.
pub(crate) enum Raw {
    Tcp(TcpStream),
    Pipe(DuplexStream),
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct PeerInfo {
    /// `None` without a certificate, or with one that names no node.
    pub(crate) peer: Option<Peer>,
}

/// A connection after its handshake.
pub(crate) struct Connection {
    stream: TlsStream<Raw>,
    info: PeerInfo,
}

impl Connected for Connection {
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        self.info.clone()
    }
}

/// Accepts until `stop`.
pub(crate) async fn accept(
    listener: Option<TcpListener>,
    mut pipes: mpsc::Receiver<DuplexStream>,
    tls: Arc<ServerConfig>,
    connections: mpsc::Sender<std::io::Result<Connection>>,
    (cx, stop): (Arc<Cx>, CancellationToken),
) {
    let acceptor = TlsAcceptor::from(tls);
    let places = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        // A place before the connection: who comes when all are taken waits in the listener's backlog.
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = stop.cancelled() => return,
        };
        let Ok(place) = place else { return };
        let raw = tokio::select! {
            accepted = next(listener.as_ref()) => match accepted {
                Ok(stream) => Raw::Tcp(stream),
                Err(error) => {
                    // Out of file descriptors, most likely: the ones that close make room.
                    tracing::warn!(%error, "a node's connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            Some(pipe) = pipes.recv() => Raw::Pipe(pipe),
            () = stop.cancelled() => return,
        };
        let (acceptor, connections) = (acceptor.clone(), connections.clone());
        let under_way = UnderWay::new(Arc::clone(&cx), |metrics| &metrics.handshakes);
        let task = runtime::tasks::spawn("sync.handshake", async move {
            let _counted = (place, under_way);
            match tokio::time::timeout(HANDSHAKE_WITHIN, acceptor.accept(raw)).await {
                Ok(Ok(stream)) => {
                    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                    let info = PeerInfo { peer: certificate.and_then(read_peer) };
                    // The server is gone: so is the connection.
                    drop(connections.send(Ok(Connection { stream, info })).await);
                }
                Ok(Err(error)) => tracing::info!(%error, "handshake with a node failed"),
                Err(_) => tracing::info!("handshake with a node took too long"),
            }
        });
        // It ends by itself within its deadline.
        drop(task);
    }
}

async fn next(listener: Option<&TcpListener>) -> std::io::Result<TcpStream> {
    match listener {
        Some(listener) => {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        }
        None => std::future::pending().await,
    }
}

macro_rules! delegate {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Raw::Tcp($stream) => $call,
            Raw::Pipe($stream) => $call,
        }
    };
}

impl AsyncRead for Raw {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Raw {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        delegate!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
