//! Outgoing HTTP: one pooled client per thread, `TCP_NODELAY`, egress rules at the connect.
//!
//! It sends and classifies; retries, first-byte, idle and total deadlines belong to the caller, who knows what has already
//! been relayed. Redirects are not followed: an answer of 3xx is an answer. Invariant: no connection is opened to an
//! address that [`Rules`] did not pass.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, Uri};
use hyper::body::{Body, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;

use runtime::egress::{Denied, Rules};
use runtime::tls::{self, TlsError};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How connections are made and kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Longest wait for name resolution and TCP; the TLS handshake has the same time again.
    pub connect_timeout: Duration,
    /// How long an unused connection is kept.
    pub pool_idle_timeout: Duration,
    /// Most unused connections kept per host.
    pub pool_max_idle_per_host: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            // Shorter than the 60 s after which common load balancers drop an unused connection.
            pool_idle_timeout: Duration::from_secs(50),
            pool_max_idle_per_host: 1_024,
        }
    }
}

/// Why no answer came. Each variant is a fact that the caller can act on.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Egress rules refuse every address of the host.
    #[error(transparent)]
    Denied(Denied),
    /// The host name has no address.
    #[error("the name `{host}` could not be resolved")]
    Resolve {
        /// The name as it stood in the URL.
        host: String,
    },
    /// No connection within the connect timeout.
    #[error("no connection within {limit_ms} ms")]
    ConnectTimeout {
        /// The limit, in milliseconds.
        limit_ms: u128,
    },
    /// The connection was refused or reset, or TLS failed.
    #[error("the connection failed: {reason}")]
    Connect {
        /// What the operating system or the TLS library said.
        reason: String,
    },
    /// The connection closed before an answer's head was complete. The upstream may have seen the request.
    #[error("the connection closed before an answer came: {reason}")]
    Closed {
        /// What the HTTP library said.
        reason: String,
    },
}

impl SendError {
    /// Tells whether the upstream cannot have seen the request, so that sending again is free of doubt.
    #[must_use]
    pub const fn is_unsent(&self) -> bool {
        !matches!(self, Self::Closed { .. })
    }
}

/// A pooled client. Cheap to clone; make one per thread so that pools are not shared between cores.
pub struct HttpClient<B> {
    inner: Client<HttpsConnector<Guarded>, B>,
}

impl<B> Clone for HttpClient<B> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<B> std::fmt::Debug for HttpClient<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpClient").finish_non_exhaustive()
    }
}

impl<B> HttpClient<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    /// Makes a client with its own pool.
    ///
    /// Errors: TLS cannot be set up.
    #[expect(clippy::disallowed_methods, reason = "this is the implementation that the ban points to")]
    pub fn new(settings: &Settings, egress: Arc<Rules>) -> Result<Self, TlsError> {
        let roots = tls::public_roots(None)?;
        let guarded = Guarded { egress, connect_timeout: settings.connect_timeout };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls::client_config(roots, None, &[])?)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(guarded);
        let inner = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(settings.pool_idle_timeout)
            .pool_max_idle_per_host(settings.pool_max_idle_per_host)
            .build(connector);
        Ok(Self { inner })
    }

    /// Sends one request and gives the answer's head with a body that is still arriving.
    ///
    /// Cancel-safe: dropping the future closes the connection. No deadline after the connect: wrap the call.
    pub async fn send(&self, request: Request<B>) -> Result<Response<Incoming>, SendError> {
        self.inner.request(request).await.map_err(|error| classify(&error))
    }
}

fn classify(error: &hyper_util::client::legacy::Error) -> SendError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut reason = error.to_string();
    while let Some(cause) = source {
        if let Some(failure) = cause.downcast_ref::<ConnectFailure>() {
            return failure.to_send_error();
        }
        // `io::Error` hides a wrapped error from `source()`; the TLS connector wraps ours in one.
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(failure) = inner.and_then(|inner| inner.downcast_ref::<ConnectFailure>()) {
            return failure.to_send_error();
        }
        reason = cause.to_string();
        source = cause.source();
    }
    if error.is_connect() { SendError::Connect { reason } } else { SendError::Closed { reason } }
}

#[derive(Debug, Clone, thiserror::Error)]
enum ConnectFailure {
    #[error(transparent)]
    Denied(Denied),
    #[error("the name `{0}` could not be resolved")]
    Resolve(String),
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    #[error("{0}")]
    Tcp(String),
}

impl ConnectFailure {
    fn to_send_error(&self) -> SendError {
        match self {
            Self::Denied(denied) => SendError::Denied(denied.clone()),
            Self::Resolve(host) => SendError::Resolve { host: host.clone() },
            Self::Timeout(limit) => SendError::ConnectTimeout { limit_ms: limit.as_millis() },
            Self::Tcp(reason) => SendError::Connect { reason: reason.clone() },
        }
    }
}

/// Opens TCP connections to addresses that passed the egress rules.
#[derive(Debug, Clone)]
struct Guarded {
    egress: Arc<Rules>,
    connect_timeout: Duration,
}

impl tower::Service<Uri> for Guarded {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectFailure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let connecting = connect(&this.egress, &uri);
            match tokio::time::timeout(this.connect_timeout, connecting).await {
                Ok(connected) => connected.map(TokioIo::new),
                Err(_) => Err(ConnectFailure::Timeout(this.connect_timeout)),
            }
        })
    }
}

async fn connect(egress: &Rules, uri: &Uri) -> Result<TcpStream, ConnectFailure> {
    let host = uri.host().unwrap_or_default();
    // An IPv6 literal stands in brackets in a URL.
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let default_port = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    let port = uri.port_u16().unwrap_or(default_port);
    let resolved: Vec<SocketAddr> =
        tokio::net::lookup_host((host, port)).await.map_err(|_| ConnectFailure::Resolve(host.to_owned()))?.collect();
    if resolved.is_empty() {
        return Err(ConnectFailure::Resolve(host.to_owned()));
    }
    let allowed = egress.filter(host, resolved.into_iter()).map_err(ConnectFailure::Denied)?;
    let mut last = None;
    for address in allowed {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Without it, Nagle's algorithm holds small writes back for 40 ms.
                stream.set_nodelay(true).map_err(|error| ConnectFailure::Tcp(error.to_string()))?;
                return Ok(stream);
            }
            Err(error) => last = Some(format!("{address}: {error}")),
        }
    }
    Err(ConnectFailure::Tcp(last.unwrap_or_else(|| "no address".to_owned())))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Empty;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    fn client(rules: Rules) -> HttpClient<Empty<Bytes>> {
        // A resolver may take its time on a busy machine; nothing here waits for a limit.
        let settings = Settings { connect_timeout: Duration::from_mins(1), ..Settings::default() };
        HttpClient::new(&settings, Arc::new(rules)).expect("a client")
    }

    fn get(uri: &str) -> Request<Empty<Bytes>> {
        Request::get(uri).body(Empty::new()).expect("a request")
    }

    async fn answering(answer: &'static [u8]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let port = listener.local_addr().expect("an address").port();
        runtime::tasks::spawn("test.server", async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0_u8; 1_024];
                if stream.read(&mut head).await.is_ok_and(|n| n > 0) {
                    stream.write_all(answer).await.expect("writes");
                }
            }
        });
        port
    }

    #[tokio::test]
    async fn loopback_is_refused_until_the_operator_allows_it() {
        let port = answering(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
            let refused = client(Rules::default()).send(get(&format!("http://{host}:{port}/"))).await;
            assert!(matches!(refused, Err(SendError::Denied(_))), "{host}: {refused:?}");
        }
        let allowed = client(Rules::new(Rules::loopback())).send(get(&format!("http://127.0.0.1:{port}/"))).await;
        assert_eq!(allowed.expect("an answer").status(), 204);
    }

    #[tokio::test]
    async fn a_closed_connection_is_told_from_one_that_never_opened() {
        let port = answering(b"").await;
        let client = client(Rules::new(Rules::loopback()));
        let closed = client.send(get(&format!("http://127.0.0.1:{port}/"))).await.expect_err("no answer");
        assert!(matches!(closed, SendError::Closed { .. }) && !closed.is_unsent(), "{closed:?}");

        let unused = TcpListener::bind("127.0.0.1:0").await.expect("binds").local_addr().expect("an address");
        let refused = client.send(get(&format!("http://{unused}/"))).await.expect_err("nobody listens");
        assert!(matches!(refused, SendError::Connect { .. }) && refused.is_unsent(), "{refused:?}");
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_named() {
        let unresolved =
            client(Rules::default()).send(get("http://no-such-host.invalid/")).await.expect_err("no address");
        assert!(matches!(&unresolved, SendError::Resolve { host } if host == "no-such-host.invalid"), "{unresolved:?}");
    }
}
