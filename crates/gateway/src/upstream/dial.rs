//! Opens connections to upstreams: name, egress rules, TCP, TLS, ALPN.
//!
//! The port exists because a node's upstream may also be reached without a network; pooling and HTTP are the client's. The
//! addresses that were checked are the ones that are connected, so a name cannot change in between.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::Uri;
use runtime::egress::Rules;
use runtime::tls::{self, TlsError};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::client::SendError;

/// Where to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Host name or address literal, without brackets.
    pub host: Box<str>,
    /// TCP port.
    pub port: u16,
    /// Whether TLS is spoken.
    pub is_tls: bool,
}

impl Origin {
    pub(crate) fn parse(uri: &Uri, is_tls: bool) -> Result<Self, SendError> {
        let host = uri.host().unwrap_or_default();
        if host.is_empty() || uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(SendError::Url { reason: "it needs a host and no user name" });
        }
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Ok(Self { host: host.into(), port, is_tls })
    }
}

/// A connection's byte stream.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An open connection.
pub struct Link {
    /// Its bytes.
    pub stream: Box<dyn Stream>,
    /// Whether HTTP/2 was agreed on.
    pub is_h2: bool,
}

/// Opens connections. The caller bounds the time.
pub trait Dial: Send + Sync {
    /// Connects to an origin.
    fn dial(&self, origin: &Origin) -> BoxFuture<'static, Result<Link, SendError>>;
}

/// Opens connections over the network.
pub struct Network {
    rules: Arc<Rules>,
    tls: TlsConnector,
}

impl Network {
    /// Makes a dialler that trusts the public authorities.
    pub fn new(rules: Arc<Rules>) -> Result<Self, TlsError> {
        let config = tls::client_config(tls::public_roots(None)?, None, &[b"h2", b"http/1.1"])?;
        Ok(Self { rules, tls: TlsConnector::from(Arc::new(config)) })
    }
}

impl Dial for Network {
    fn dial(&self, origin: &Origin) -> BoxFuture<'static, Result<Link, SendError>> {
        let (rules, tls, origin) = (self.rules.clone(), self.tls.clone(), origin.clone());
        Box::pin(async move {
            let tcp = connect(&rules, &origin).await?;
            if !origin.is_tls {
                return Ok(Link { stream: Box::new(tcp), is_h2: false });
            }
            let name = ServerName::try_from(origin.host.into_string())
                .map_err(|_| SendError::Url { reason: "its host is not a valid name for TLS" })?;
            let stream = tls.connect(name, tcp).await?;
            let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            Ok(Link { stream: Box::new(stream), is_h2 })
        })
    }
}

async fn connect(rules: &Rules, origin: &Origin) -> Result<TcpStream, SendError> {
    let resolved = tokio::net::lookup_host((&*origin.host, origin.port)).await.map_err(|error| SendError::Connect {
        reason: format!("the name `{}` could not be resolved: {error}", origin.host),
    })?;
    let resolved: Vec<SocketAddr> = resolved.collect();
    let allowed = rules
        .filter(&origin.host, resolved.into_iter())
        .map_err(|denied| SendError::Denied { reason: denied.to_string() })?;
    let mut last = SendError::Connect { reason: format!("the name `{}` has no address", origin.host) };
    for address in allowed {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Without it, Nagle's algorithm holds small writes back for 40 ms.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = SendError::Connect { reason: format!("{address}: {error}") },
        }
    }
    Err(last)
}
