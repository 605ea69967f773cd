//! How bytes reach the control plane: TCP between machines, an in-process pipe in the single binary; TLS over both.
//!
//! The server proves itself by the control plane's own authority and one fixed name, whatever address it is reached at; the node
//! proves itself by its certificate. On first contact the node knows no authority yet, only the fingerprint in its join token.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use runtime::tls::{CertificateSlot, TlsError, client_config, crypto_provider, roots_of};
use rustls::ClientConfig;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use super::identity::Identity;

/// The name in the control plane's server certificate.
pub const SERVER_NAME: &str = "control.headgate.internal";

/// Connecting and shaking hands must not take longer.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// The link cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The address cannot be read.
    #[error("{0:?} is not an address of a control plane; write it like https://control.example.com:7401")]
    Address(String),
    /// Certificates or keys cannot be used.
    #[error("node certificate cannot be used")]
    Tls(#[from] TlsError),
    /// The control plane cannot be reached.
    #[error("control plane cannot be reached")]
    Connect(#[source] tonic::transport::Error),
}

/// Where the control plane is.
#[derive(Debug, Clone)]
pub enum ControlAddress {
    /// Another process.
    Tcp {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// This process: each connection is one end of a pipe, the other is sent here.
    InProcess(mpsc::Sender<DuplexStream>),
}

/// Buffer of an in-process pipe.
const PIPE_BYTES: usize = 256 * 1024;

impl ControlAddress {
    /// Reads `https://host:port`, `host:port`, or `host` with the usual port 7401.
    pub fn parse(text: &str) -> Result<Self, LinkError> {
        let wrong = || LinkError::Address(text.to_owned());
        let rest = text.trim().trim_end_matches('/');
        let rest = rest.strip_prefix("https://").unwrap_or(rest);
        if rest.is_empty() || rest.contains(['/', '@', '?', '#', ' ']) {
            return Err(wrong());
        }
        // A bare IPv6 address has colons of its own and comes in brackets.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, port.parse().map_err(|_| wrong())?)
            }
            _ => (rest, 7401),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() { Err(wrong()) } else { Ok(Self::Tcp { host: host.to_owned(), port }) }
    }

    async fn dial(&self) -> std::io::Result<Box<dyn Io>> {
        match self {
            Self::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
            Self::InProcess(server) => {
                let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
                server.send(theirs).await.map_err(|_| std::io::ErrorKind::ConnectionRefused)?;
                Ok(Box::new(ours))
            }
        }
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The client side of the link's TLS; a renewed certificate is used by the next handshake.
#[derive(Debug, Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    slot: CertificateSlot,
}

impl Tls {
    /// Shows the node's certificate and trusts its control plane's authorities.
    pub fn new(identity: &Identity) -> Result<Self, LinkError> {
        let slot = CertificateSlot::new(identity.chain.clone(), identity.private_key())?;
        let config = client_config(roots_of(&identity.authorities)?, Some(slot.clone()), &[b"h2"])?;
        Ok(Self { config: Arc::new(config), slot })
    }

    /// Uses a renewed certificate from the next handshake on.
    pub fn renew(&self, identity: &Identity) -> Result<(), LinkError> {
        Ok(self.slot.replace(identity.chain.clone(), identity.private_key())?)
    }

    /// Opens a connection.
    pub async fn connect(&self, address: &ControlAddress) -> Result<Channel, LinkError> {
        connect(address.clone(), Arc::clone(&self.config)).await
    }

    /// Returns a channel that connects when used, and again when lost.
    #[must_use]
    pub fn lazy_channel(&self, address: &ControlAddress) -> Channel {
        endpoint().connect_with_connector_lazy(connector(address.clone(), Arc::clone(&self.config)))
    }
}

fn endpoint() -> Endpoint {
    Endpoint::from(Uri::from_static("http://control.headgate.internal"))
        .connect_timeout(CONNECT_WITHIN)
        .http2_keep_alive_interval(Duration::from_secs(15))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(2 * 1024 * 1024)
}

/// One connection, as the HTTP/2 client takes it.
type Wire = TokioIo<tokio_rustls::client::TlsStream<Box<dyn Io>>>;

fn connector(
    address: ControlAddress,
    config: Arc<ClientConfig>,
) -> impl tower::Service<Uri, Response = Wire, Error = std::io::Error, Future: Send> + Clone + Send {
    tower::service_fn(move |_: Uri| {
        let (address, config) = (address.clone(), Arc::clone(&config));
        async move {
            let handshake = async {
                let stream = address.dial().await?;
                let name = ServerName::try_from(SERVER_NAME).map_err(std::io::Error::other)?;
                TlsConnector::from(config).connect(name, stream).await
            };
            let stream = tokio::time::timeout(CONNECT_WITHIN, handshake).await;
            Ok(TokioIo::new(stream.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??))
        }
    })
}

async fn connect(address: ControlAddress, config: Arc<ClientConfig>) -> Result<Channel, LinkError> {
    endpoint().connect_with_connector(connector(address, config)).await.map_err(LinkError::Connect)
}

/// Connects for the first time, trusting only the authority with this SHA-256 fingerprint.
pub async fn connect_by_fingerprint(address: &ControlAddress, fingerprint: [u8; 32]) -> Result<Channel, LinkError> {
    let mut config = ClientConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Config)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ByFingerprint { fingerprint }))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    connect(address.clone(), Arc::new(config)).await
}

/// Accepts a server whose chain contains the authority with the known fingerprint and verifies under it.
#[derive(Debug)]
struct ByFingerprint {
    fingerprint: [u8; 32],
}

impl ServerCertVerifier for ByFingerprint {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let known = intermediates.iter().find(|der| Sha256::digest(der.as_ref()).as_slice() == self.fingerprint);
        let authority = known.ok_or(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer))?;
        let roots = roots_of(&[authority.clone().into_owned()])
            .map_err(|_| rustls::Error::InvalidCertificate(rustls::CertificateError::BadEncoding))?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crypto_provider())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not offered".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = crypto_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        crypto_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_scheme_and_port() {
        let read = |text: &str| match ControlAddress::parse(text) {
            Ok(ControlAddress::Tcp { host, port }) => Some((host, port)),
            _ => None,
        };
        let is = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(read("https://control.example.com:7401"), is("control.example.com", 7401));
        assert_eq!(read("127.0.0.1:9"), is("127.0.0.1", 9));
        assert_eq!(read("control"), is("control", 7401));
        assert_eq!(read("https://[::1]:7402/"), is("::1", 7402));
        for text in ["", "https://", "a/b", "host:port", "host:70000", "u@h:1"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
