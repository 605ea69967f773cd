//! TLS for both directions: one crypto provider, certificates that can be replaced while connections are open.
//!
//! Not here: who issues certificates (the control plane's authority) and who may do what with one. Invariant: a new
//! certificate is used by the next handshake; connections that stand keep theirs.

use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Why a TLS configuration cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM text holds no certificate or no key.
    #[error("reading a certificate or key: {0}")]
    Pem(String),
    /// Certificate and key do not belong together, or the key is of an unknown kind.
    #[error("using certificate and key")]
    Key(#[source] rustls::Error),
    /// The verifier of client certificates cannot be built from these roots.
    #[error("building the client certificate verifier: {0}")]
    Verifier(String),
    /// The versions or ciphers asked for are not available.
    #[error("building the TLS configuration")]
    Config(#[source] rustls::Error),
}

/// Returns the one crypto provider of the process: AWS-LC.
#[must_use]
pub fn crypto_provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Makes AWS-LC the process-wide default, for libraries that ask rustls for it. Call once, first thing in `main`.
pub fn install_crypto_provider() {
    // An error only says that a provider is already there, which is what is wanted.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
}

/// A certificate chain with its key that can be replaced at any time; clones share it.
#[derive(Debug, Clone)]
pub struct CertificateSlot {
    current: Arc<RwLock<Arc<CertifiedKey>>>,
}

impl CertificateSlot {
    /// Makes a slot from DER: the leaf certificate first, then its issuers.
    ///
    /// Errors: `Key` when key and leaf do not belong together.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, TlsError> {
        Ok(Self { current: Arc::new(RwLock::new(Arc::new(certified(chain, key)?))) })
    }

    /// Makes a slot from PEM texts.
    pub fn from_pem(chain_pem: &str, key_pem: &str) -> Result<Self, TlsError> {
        Self::new(parse_certificates(chain_pem)?, parse_key(key_pem)?)
    }

    /// Replaces certificate and key; the next handshake uses them.
    pub fn replace(&self, chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<(), TlsError> {
        let fresh = Arc::new(certified(chain, key)?);
        *self.current.write() = fresh;
        Ok(())
    }

    /// Returns the leaf certificate in use.
    #[must_use]
    pub fn leaf(&self) -> Option<CertificateDer<'static>> {
        self.current.read().cert.first().cloned()
    }
}

fn certified(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<CertifiedKey, TlsError> {
    CertifiedKey::from_der(chain, key, &crypto_provider()).map_err(TlsError::Key)
}

impl ResolvesServerCert for CertificateSlot {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().clone())
    }
}

impl ResolvesClientCert for CertificateSlot {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Reads all certificates of a PEM text, in order.
pub fn parse_certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::Pem(error.to_string()))?;
    if chain.is_empty() { Err(TlsError::Pem("no certificate in the PEM text".to_owned())) } else { Ok(chain) }
}

/// Reads the first private key of a PEM text.
pub fn parse_key(pem: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| TlsError::Pem(error.to_string()))
}

/// Makes a root store that trusts exactly these certificates.
pub fn roots_of(certificates: &[CertificateDer<'static>]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone()).map_err(TlsError::Config)?;
    }
    Ok(roots)
}

/// Makes a root store of the public authorities plus those of `extra_file` (PEM), for a company's own authority.
///
/// Errors: the file cannot be read or holds no certificate.
pub fn public_roots(extra_file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = extra_file {
        let text =
            std::fs::read_to_string(path).map_err(|error| TlsError::Pem(format!("{}: {error}", path.display())))?;
        for certificate in parse_certificates(&text)? {
            roots.add(certificate).map_err(TlsError::Config)?;
        }
    }
    Ok(roots)
}

/// Whether a server asks its clients for a certificate.
#[derive(Debug)]
pub enum ClientCertificates {
    /// Not asked for.
    None,
    /// A client may come without one; one that comes must chain to these roots. For a port that also enrols.
    Optional(RootCertStore),
    /// Every client needs one that chains to these roots.
    Required(RootCertStore),
}

/// Makes the server side: TLS 1.2 and 1.3, or 1.3 alone as soon as client certificates are in play.
pub fn server_config(
    certificate: CertificateSlot,
    clients: ClientCertificates,
    alpn: &[&[u8]],
) -> Result<ServerConfig, TlsError> {
    let versions: &[&rustls::SupportedProtocolVersion] = match clients {
        ClientCertificates::None => rustls::DEFAULT_VERSIONS,
        _ => &[&rustls::version::TLS13],
    };
    let builder = ServerConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(versions)
        .map_err(TlsError::Config)?;
    let verifier =
        |roots: RootCertStore| WebPkiClientVerifier::builder_with_provider(Arc::new(roots), crypto_provider());
    let refused = |error: rustls::server::VerifierBuilderError| TlsError::Verifier(error.to_string());
    let builder = match clients {
        ClientCertificates::None => builder.with_no_client_auth(),
        ClientCertificates::Optional(roots) => {
            builder.with_client_cert_verifier(verifier(roots).allow_unauthenticated().build().map_err(refused)?)
        }
        ClientCertificates::Required(roots) => {
            builder.with_client_cert_verifier(verifier(roots).build().map_err(refused)?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(certificate));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

/// Makes the client side; `certificate` is shown when the server asks for one.
pub fn client_config(
    roots: RootCertStore,
    certificate: Option<CertificateSlot>,
    alpn: &[&[u8]],
) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)
        .map_err(TlsError::Config)?
        .with_root_certificates(roots);
    let mut config = match certificate {
        Some(slot) => builder.with_client_cert_resolver(Arc::new(slot)),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn self_signed(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_replaced_certificate_is_the_next_one_shown() {
        let (first_chain, first_key) = self_signed("first.example");
        let (second_chain, second_key) = self_signed("second.example");
        let slot = CertificateSlot::from_pem(&first_chain, &first_key).expect("a slot");
        let before = slot.leaf();
        let chain = parse_certificates(&second_chain).expect("a chain");
        slot.replace(chain.clone(), parse_key(&second_key).expect("a key")).expect("replaces");
        assert_ne!(slot.leaf(), before);
        assert_eq!(slot.leaf().as_ref(), chain.first());
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (chain, _) = self_signed("first.example");
        let (_, foreign_key) = self_signed("second.example");
        assert!(matches!(CertificateSlot::from_pem(&chain, &foreign_key), Err(TlsError::Key(_))));
    }

    #[test]
    fn text_without_a_certificate_is_refused() {
        assert!(matches!(parse_certificates("not PEM"), Err(TlsError::Pem(_))));
    }
}
