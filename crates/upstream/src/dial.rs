//! Opens connections to upstreams: name, egress rules, TCP, TLS, ALPN.
//!
//! The port exists because a node's upstream may also be reached without a network; pooling and HTTP are the client's. The
//! addresses that were checked are the ones that are connected, so a name cannot change in between.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::Uri;
use http1::Stream;
use runtime::egress::Rules;
use runtime::tls::{self, TlsError};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::client::SendError;
use crate::proxy::Proxy;

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
    /// Reads it from an absolute URL.
    pub fn parse(uri: &Uri, is_tls: bool) -> Result<Self, SendError> {
        let host = uri.host().unwrap_or_default();
        if host.is_empty() || uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(SendError::Url { reason: "it needs a host and no user name" });
        }
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Ok(Self { host: host.into(), port, is_tls })
    }
}

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

    /// Connects to an origin for HTTP/1.1 alone: what a WebSocket begins with.
    fn dial_http1(&self, origin: &Origin) -> BoxFuture<'static, Result<Link, SendError>> {
        self.dial(origin)
    }
}

/// Finds the addresses of a name, anew for every connection: what was found is kept nowhere.
type Resolve = dyn Fn(&str, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync;

/// Asks the system.
fn resolve(host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
    let host = host.to_owned();
    Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
}

/// Opens connections over the network.
pub struct Network {
    rules: Arc<Rules>,
    resolve: Arc<Resolve>,
    proxy: Option<Proxy>,
    tls: TlsConnector,
    /// Offers HTTP/1.1 and nothing else.
    tls_http1: TlsConnector,
}

impl Network {
    /// Makes a dialler that trusts the public authorities, and those of `ca_file` (PEM) besides.
    pub fn new(rules: Arc<Rules>, ca_file: Option<&Path>) -> Result<Self, TlsError> {
        let connector = |protocols: &[&[u8]]| {
            let config = tls::client_config(tls::public_roots(ca_file)?, None, protocols)?;
            Ok::<_, TlsError>(TlsConnector::from(Arc::new(config)))
        };
        let (tls, tls_http1) = (connector(&[b"h2", b"http/1.1"])?, connector(&[b"http/1.1"])?);
        Ok(Self { rules, resolve: Arc::new(resolve), proxy: None, tls, tls_http1 })
    }

    /// Goes through a proxy, which then resolves names in place of this node.
    #[must_use]
    pub fn through(mut self, proxy: Option<Proxy>) -> Self {
        self.proxy = proxy;
        self
    }
}

impl Dial for Network {
    fn dial(&self, origin: &Origin) -> BoxFuture<'static, Result<Link, SendError>> {
        self.open(origin, &self.tls)
    }

    fn dial_http1(&self, origin: &Origin) -> BoxFuture<'static, Result<Link, SendError>> {
        self.open(origin, &self.tls_http1)
    }
}

impl Network {
    fn open(&self, origin: &Origin, tls: &TlsConnector) -> BoxFuture<'static, Result<Link, SendError>> {
        let (rules, tls, origin) = (self.rules.clone(), tls.clone(), origin.clone());
        let (proxy, resolve) = (self.proxy.clone(), self.resolve.clone());
        Box::pin(async move {
            let tcp = match proxy {
                Some(proxy) => {
                    check_literal(&rules, &origin)?;
                    proxy.connect(&origin).await?
                }
                None => connect(&rules, &*resolve, &origin).await?,
            };
            if !origin.is_tls {
                return Ok(Link { stream: Box::new(tcp), is_h2: false });
            }
            let name = ServerName::try_from(origin.host.into_string())
                .map_err(|_| SendError::Url { reason: "its host is not a valid name for TLS" })?;
            let stream = Box::pin(tls.connect(name, tcp)).await?;
            let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            Ok(Link { stream: Box::new(stream), is_h2 })
        })
    }
}

/// Checks an address that stands in the URL itself; a name's addresses are the proxy's business.
fn check_literal(rules: &Rules, origin: &Origin) -> Result<(), SendError> {
    let Ok(address) = origin.host.parse::<IpAddr>() else { return Ok(()) };
    let checked = rules.filter(&origin.host, std::iter::once(SocketAddr::new(address, origin.port)));
    checked.map(|_| ()).map_err(|denied| SendError::Denied { reason: denied.to_string() })
}

async fn connect(rules: &Rules, resolve: &Resolve, origin: &Origin) -> Result<TcpStream, SendError> {
    let resolved = resolve(&origin.host, origin.port).await.map_err(|error| SendError::Connect {
        reason: format!("the name `{}` could not be resolved: {error}", origin.host),
    })?;
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

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use runtime::tls::{CertificateSlot, ClientCertificates, server_config};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// Listens with a certificate for `localhost` of an authority of its own; returns the port and the authority.
    async fn listen() -> (u16, String) {
        listen_until(2099).await
    }

    /// The same, with a certificate that is good until this year begins.
    async fn listen_until(year: i32) -> (u16, String) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let leaf = params.signed_by(&key, &authority).expect("a certificate");
        let slot = CertificateSlot::from_pem(&leaf.pem(), &key.serialize_pem()).expect("a slot");
        let config = server_config(slot, ClientCertificates::None, &[b"http/1.1"]).expect("a configuration");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let port = listener.local_addr().expect("an address").port();
        runtime::tasks::spawn("test.upstream", async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that refuses the certificate is part of the test.
                drop(acceptor.accept(stream).await);
            }
        });
        (port, authority.pem())
    }

    async fn dial(port: u16, host: &str, ca_file: Option<&Path>) -> Result<(), String> {
        let network = Network::new(Arc::new(Rules::new(Rules::loopback())), ca_file).expect("a dialler");
        let origin = Origin { host: host.into(), port, is_tls: true };
        network.dial(&origin).await.map(|_| ()).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_private_authority_is_trusted_when_named_and_for_its_names_only() {
        let (port, authority) = listen().await;
        let folder = tempfile::tempdir().expect("a folder");
        let ca_file = folder.path().join("ca.pem");
        std::fs::write(&ca_file, authority).expect("writes");
        let refused = dial(port, "localhost", None).await.expect_err("an unknown authority");
        assert!(refused.contains("UnknownIssuer"), "{refused}");
        assert_eq!(dial(port, "localhost", Some(&ca_file)).await, Ok(()));
        let refused = dial(port, "127.0.0.1", Some(&ca_file)).await.expect_err("another name");
        assert!(refused.contains("not valid for name"), "{refused}");

        let (port, authority) = listen_until(2021).await;
        std::fs::write(&ca_file, authority).expect("writes");
        let refused = dial(port, "localhost", Some(&ca_file)).await.expect_err("an old certificate");
        assert!(refused.contains("certificate expired"), "{refused}");

        std::fs::write(&ca_file, "not PEM").expect("writes");
        assert!(Network::new(Arc::default(), Some(&ca_file)).is_err());
    }

    #[tokio::test]
    async fn a_name_that_moves_is_followed_and_its_new_address_is_checked() {
        let (first, second) = (TcpListener::bind("127.0.0.1:0").await, TcpListener::bind("127.0.0.2:0").await);
        let [first, second] = [first, second].map(|listener| listener.expect("binds"));
        let [at_first, at_second] = [&first, &second].map(|listener| listener.local_addr().expect("an address"));
        let leads_to = Arc::new(Mutex::new(at_first));
        let named = leads_to.clone();
        let mut network = Network::new(Arc::new(Rules::new(Rules::loopback())), None).expect("a dialler");
        network.resolve = Arc::new(move |_, _| {
            let address = *named.lock();
            Box::pin(async move { Ok(vec![address]) })
        });
        let origin = Origin { host: "moves.test".into(), port: 80, is_tls: false };
        network.dial(&origin).await.map(|_| ()).expect("reaches the first");
        first.accept().await.expect("was reached");
        *leads_to.lock() = at_second;
        network.dial(&origin).await.map(|_| ()).expect("reaches the second");
        second.accept().await.expect("was reached");
        *leads_to.lock() = "169.254.169.254:80".parse().expect("an address");
        let refused = network.dial(&origin).await.map(|_| ()).expect_err("a private address");
        assert!(matches!(refused, SendError::Denied { .. }), "{refused:?}");
    }

    #[tokio::test]
    async fn a_private_address_is_refused_also_behind_a_proxy() {
        let proxy = Proxy::parse("http://proxy.test:3128").expect("an address");
        let network = Network::new(Arc::default(), None).expect("a dialler").through(Some(proxy));
        let origin = Origin { host: "169.254.169.254".into(), port: 80, is_tls: false };
        let refused = network.dial(&origin).await.map(|_| ()).expect_err("a private address");
        assert!(matches!(refused, SendError::Denied { .. }), "{refused:?}");
    }
}
