//! The control plane's own certificate authority: it certifies nodes and its own sync listener, nothing else.
//!
//! The authority's key is kept sealed in the database, so all control processes of an installation are one authority. Of a
//! signing request only the public key is read: name, usage and lifetime are decided here. Invariant: a node certificate lives
//! at most [`NODE_LIFE`] and names exactly one node in one group.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{Entropy, NodeGroupId, NodeId, Timestamp};
use operation::keyring::{KeyError, Keyring};
use operation::signing_keys::{NODE_CA, load_or_make};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType, SerialNumber,
    date_time_ymd,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use sha2::{Digest as _, Sha256};
use store::{Store, StoreError};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// How long a node certificate lives; nodes renew at two thirds of it.
pub const NODE_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the sync listener's certificate lives; it is made anew at every start and every day.
pub const SERVER_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How long the authority lives.
const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Clocks of nodes may be behind by this.
const SKEW: Duration = Duration::from_secs(5 * 60);
/// The name that nodes verify the sync listener by, whatever address it is reached at.
pub const SERVER_NAME: &str = "control.headgate.internal";
const TRUST_DOMAIN: &str = "spiffe://headgate";

/// The authority cannot work.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Its key cannot be read or kept.
    #[error("node authority cannot be read from or kept in the database")]
    Store(#[from] StoreError),
    /// Its key does not open under this root key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A certificate cannot be made.
    #[error("certificate cannot be made")]
    Certificate(#[from] rcgen::Error),
}

/// See the module.
pub struct Authority {
    certificate: CertificateDer<'static>,
    bundle: Vec<CertificateDer<'static>>,
    issuer: Issuer<'static, KeyPair>,
    entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

/// A certificate that was given.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate, then the authority's.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its serial number, lower-case hexadecimal.
    pub serial: String,
    /// When it ends.
    pub not_after: Timestamp,
}

/// Who a certificate says the peer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The node.
    pub node: NodeId,
    /// Its group.
    pub group: NodeGroupId,
    /// The certificate's serial number.
    pub serial: String,
    /// When it was given.
    pub issued_at: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
}

fn params(name: &str, now: Timestamp, life: Duration) -> CertificateParams {
    let at =
        |time: Timestamp| date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(time.as_secs()).unwrap_or(0));
    let mut params = CertificateParams::default();
    params.not_before = at(now.minus(SKEW));
    params.not_after = at(now.plus(life));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params
}

impl Authority {
    /// Loads the installation's authority, making it on the first start.
    pub async fn load(
        store: &Store,
        keyring: &Keyring,
        entropy: Arc<dyn Entropy>,
        now: Timestamp,
    ) -> Result<Self, AuthorityError> {
        let make = |kid: &str| {
            let pair = KeyPair::generate()?;
            let mut params = params(&format!("Headgate node authority {kid}"), now, AUTHORITY_LIFE);
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            let certificate = params.self_signed(&pair)?;
            Ok::<_, AuthorityError>((certificate.der().to_vec(), pair.serialize_der()))
        };
        let keys = load_or_make(store, keyring, entropy.as_ref(), (NODE_CA, now), make).await?;
        let bundle = keys.iter().map(|(key, _)| CertificateDer::from(key.public.clone())).collect();
        let active = keys.iter().find(|(key, _)| key.retired_at.is_none()).or(keys.first());
        let (key, private) = active.ok_or(AuthorityError::Key(KeyError::Sealed))?;
        let certificate = CertificateDer::from(key.public.clone());
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(private.to_vec()));
        let issuer = Issuer::from_ca_cert_der(&certificate, KeyPair::try_from(&private)?)?;
        Ok(Self { certificate, bundle, issuer, entropy })
    }

    /// Returns what join tokens carry: the SHA-256 of the authority's certificate, base64url.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(&self.certificate))
    }

    /// Returns the certificates that nodes and the listener trust; more than one while an authority is replaced.
    #[must_use]
    pub fn bundle(&self) -> &[CertificateDer<'static>] {
        &self.bundle
    }

    fn serial(&self) -> [u8; 16] {
        let mut serial = [0; 16];
        self.entropy.fill(&mut serial);
        // Positive and of fixed length in DER: the first bit clear, the second set.
        serial[0] = (serial[0] & 0x7f) | 0x40;
        serial
    }

    /// Certifies a node. Everything in the request but the public key is ignored.
    ///
    /// Errors: `Certificate` when the request cannot be read or does not prove possession of its key.
    pub fn certify_node(
        &self,
        csr_der: &[u8],
        node: NodeId,
        group: NodeGroupId,
        now: Timestamp,
    ) -> Result<Issued, AuthorityError> {
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr_der))?;
        let mut params = params(&node.to_string(), now, NODE_LIFE);
        let serial = self.serial();
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![SanType::URI(format!("{TRUST_DOMAIN}/group/{group}/node/{node}").try_into()?)];
        let certificate = params.signed_by(&request.public_key, &self.issuer)?;
        let chain = vec![certificate.der().clone(), self.certificate.clone()];
        Ok(Issued { chain, serial: hex(&serial), not_after: now.plus(NODE_LIFE) })
    }

    /// Reads whom a certificate of this authority names, expired or not, when `csr_der` was signed with its key.
    #[must_use]
    pub fn read_previous(&self, certificate_der: &[u8], csr_der: &[u8]) -> Option<Peer> {
        let certificate = CertificateDer::from(certificate_der);
        let (_, parsed) = X509Certificate::from_der(certificate_der).ok()?;
        let roots = runtime::tls::roots_of(&self.bundle).ok()?;
        let provider = runtime::tls::crypto_provider();
        let verifier =
            rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
        // As of its own last second: what is asked is who gave it, not whether it still counts.
        let last = u64::try_from(parsed.validity().not_after.timestamp()).ok()?.checked_sub(1)?;
        verifier.verify_client_cert(&certificate, &[], UnixTime::since_unix_epoch(Duration::from_secs(last))).ok()?;
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr_der)).ok()?;
        let is_same_key = request.public_key.subject_public_key_info() == parsed.public_key().raw;
        is_same_key.then(|| read_peer(&certificate))?
    }

    /// Makes the sync listener's certificate and key.
    pub fn certify_server(
        &self,
        now: Timestamp,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), AuthorityError> {
        let pair = KeyPair::generate()?;
        let mut params = params("Headgate control plane", now, SERVER_LIFE);
        params.serial_number = Some(SerialNumber::from_slice(&self.serial()));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = vec![SanType::DnsName(SERVER_NAME.try_into()?)];
        let certificate = params.signed_by(&pair, &self.issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
        Ok((vec![certificate.der().clone(), self.certificate.clone()], key))
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads who a certificate names; `None` when it is not a node certificate. The chain was verified by the TLS handshake.
#[must_use]
pub fn read_peer(certificate: &CertificateDer<'_>) -> Option<Peer> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else { return None };
    let mut parts = uri.strip_prefix(TRUST_DOMAIN)?.split('/');
    let (Some(""), Some("group"), Some(group), Some("node"), Some(node), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let at = |time: x509_parser::time::ASN1Time| Timestamp::from_micros(time.timestamp().saturating_mul(1_000_000));
    Some(Peer {
        node: node.parse().ok()?,
        group: group.parse().ok()?,
        serial: hex(parsed.raw_serial()),
        issued_at: at(parsed.validity().not_before).plus(SKEW),
        not_after: at(parsed.validity().not_after),
    })
}
