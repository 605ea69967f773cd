//! Who this node is: its id, certificate and keys, in one private file of its data dir.
//!
//! The private keys never leave the machine: the control plane sees a signing request and public keys. Invariant: the file is
//! replaced as a whole (write, sync, rename, sync of the folder), so a crash leaves the old or the new identity, never half.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{Entropy, NodeGroupId, NodeId, Secret, Timestamp};
use proto::v1;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use super::crypto::{CryptoError, SigningKeys, generate_hpke_pair};

const FILE: &str = "identity.json";
/// Where earlier builds kept it, one folder deeper; see [`Identity::load`].
const EARLIER_FOLDER: &str = "node";

/// The identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read or written.
    #[error("{path} cannot be read or written; check that the data dir belongs to this user")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not an identity.
    #[error(
        "{path} is not a node identity; restore it from a backup, or delete it and enrol again with a new join token"
    )]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// A key could not be made or used.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// A certificate request could not be made, or an answer does not belong to it.
    #[error("node certificate could not be requested or used: {0}")]
    Certificate(&'static str),
}

/// See the module.
#[derive(Clone)]
pub struct Identity {
    /// The node.
    pub node_id: NodeId,
    /// Its group.
    pub group_id: NodeGroupId,
    /// Its certificate, then the issuers.
    pub chain: Vec<CertificateDer<'static>>,
    /// The control plane's authorities.
    pub authorities: Vec<CertificateDer<'static>>,
    /// The control plane's signing keys.
    pub signing_keys: SigningKeys,
    /// When the certificate was given.
    pub issued_at: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
    signing_key_list: Vec<v1::SigningKey>,
    private_key: Secret<Vec<u8>>,
    hpke_public: Vec<u8>,
    hpke_private: Secret<Vec<u8>>,
    disk_key: Secret<Vec<u8>>,
    /// The public part of the join token that it came from: given again, the token is of no use.
    join_kid: Option<String>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("node_id", &self.node_id)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// Fresh keys with the request to certify them; becomes an [`Identity`] when the control plane answers.
pub struct Candidate {
    private_key: Secret<Vec<u8>>,
    hpke_public: Vec<u8>,
    hpke_private: Secret<Vec<u8>>,
    disk_key: Secret<Vec<u8>>,
    csr: Vec<u8>,
    previous: Vec<u8>,
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Candidate")
    }
}

/// A new TLS key (PKCS #8) and its signing request (DER).
pub(crate) fn certificate_request() -> Result<(Secret<Vec<u8>>, Vec<u8>), IdentityError> {
    let pair = rcgen::KeyPair::generate().map_err(|_| IdentityError::Certificate("no key"))?;
    Ok((Secret::new(pair.serialize_der()), signing_request(&pair)?))
}

fn signing_request(pair: &rcgen::KeyPair) -> Result<Vec<u8>, IdentityError> {
    let request = rcgen::CertificateParams::default().serialize_request(pair);
    Ok(request.map_err(|_| IdentityError::Certificate("no request"))?.der().to_vec())
}

impl Candidate {
    /// Makes all keys of a new node.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, IdentityError> {
        let (private_key, csr) = certificate_request()?;
        let (hpke_public, hpke_private) = generate_hpke_pair()?;
        let mut disk_key = vec![0; 32];
        entropy.fill(&mut disk_key);
        let (disk_key, previous) = (Secret::new(disk_key), Vec::new());
        Ok(Self { private_key, hpke_public, hpke_private, disk_key, csr, previous })
    }

    /// Takes the keys of an identity that ended or was refused, to be certified again under the id it had.
    pub fn again(identity: &Identity) -> Result<Self, IdentityError> {
        let pair = rcgen::KeyPair::try_from(&identity.private_key());
        let pair = pair.map_err(|_| IdentityError::Certificate("its key cannot be used"))?;
        Ok(Self {
            private_key: identity.private_key.clone(),
            hpke_public: identity.hpke_public.clone(),
            hpke_private: identity.hpke_private.clone(),
            disk_key: identity.disk_key.clone(),
            csr: signing_request(&pair)?,
            previous: identity.chain.first().map(|der| der.to_vec()).unwrap_or_default(),
        })
    }

    /// Returns the enrolment request of this candidate.
    #[must_use]
    pub fn request(&self, join_token: &str, name: &str, region: &str) -> v1::EnrolRequest {
        v1::EnrolRequest {
            join_token: join_token.to_owned(),
            csr_der: self.csr.clone().into(),
            hpke_public_key: self.hpke_public.clone().into(),
            build: crate::BUILD.to_owned(),
            name: name.to_owned(),
            region: region.to_owned(),
            previous_certificate_der: self.previous.clone().into(),
        }
    }

    /// Becomes a node.
    pub fn enrolled(self, answer: v1::EnrolResponse, now: Timestamp) -> Result<Identity, IdentityError> {
        let wrong = |what| move |_| IdentityError::Certificate(what);
        Ok(Identity {
            node_id: answer.node_id.parse().map_err(wrong("the answer names no node"))?,
            group_id: answer.node_group_id.parse().map_err(wrong("the answer names no group"))?,
            chain: certificates(&answer.certificate_chain_der)?,
            authorities: certificates(&answer.ca_bundle_der)?,
            signing_keys: verifier(&answer.signing_keys),
            issued_at: now,
            not_after: Timestamp::from_micros(answer.not_after_us),
            signing_key_list: answer.signing_keys,
            private_key: self.private_key,
            hpke_public: self.hpke_public,
            hpke_private: self.hpke_private,
            disk_key: self.disk_key,
            join_kid: None,
        })
    }
}

fn certificates(list: &[bytes::Bytes]) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    if list.is_empty() {
        return Err(IdentityError::Certificate("the answer has no certificate"));
    }
    Ok(list.iter().map(|der| CertificateDer::from(der.to_vec())).collect())
}

fn verifier(keys: &[v1::SigningKey]) -> SigningKeys {
    SigningKeys::new(keys.iter().map(|key| (key.key_id.clone(), key.public_key.to_vec())).collect())
}

impl Identity {
    /// Returns the TLS key.
    #[must_use]
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.private_key.expose().clone()))
    }

    /// Returns the key that data keys are granted to.
    #[must_use]
    pub const fn hpke_private(&self) -> &Secret<Vec<u8>> {
        &self.hpke_private
    }

    /// Returns the key of the disk copies.
    #[must_use]
    pub const fn disk_key(&self) -> &Secret<Vec<u8>> {
        &self.disk_key
    }

    /// Returns when to ask for the next certificate: at two thirds of the life of this one.
    #[must_use]
    pub fn renew_at(&self) -> Timestamp {
        self.issued_at.plus(self.not_after.since(self.issued_at) * 2 / 3)
    }

    /// Returns the identity with the next certificate.
    pub(crate) fn renewed(
        &self,
        private_key: Secret<Vec<u8>>,
        answer: v1::RenewResponse,
        now: Timestamp,
    ) -> Result<Self, IdentityError> {
        Ok(Self {
            chain: certificates(&answer.certificate_chain_der)?,
            authorities: certificates(&answer.ca_bundle_der)?,
            signing_keys: verifier(&answer.signing_keys),
            issued_at: now,
            not_after: Timestamp::from_micros(answer.not_after_us),
            signing_key_list: answer.signing_keys,
            private_key,
            ..self.clone()
        })
    }

    /// Says whether its certificate has ended.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.not_after <= now
    }

    /// Remembers which join token it came from.
    #[must_use]
    pub fn joined_with(self, kid: &str) -> Self {
        Self { join_kid: Some(kid.to_owned()), ..self }
    }

    /// Says whether it came from the join token with this public part.
    #[must_use]
    pub fn is_from(&self, kid: &str) -> bool {
        self.join_kid.as_deref() == Some(kid)
    }

    /// Reads the identity of a data dir; `None` when the node was never enrolled.
    ///
    /// What an earlier build left one folder deeper is moved up first: the sealed copies before the identity, so that a crash in
    /// between leaves something that the next start goes on with.
    pub fn load(data_dir: &Path) -> Result<Option<Self>, IdentityError> {
        move_up(data_dir)?;
        let path = data_dir.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => Secret::new(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(IdentityError::File { path, source }),
        };
        let stored: Option<Stored> = serde_json::from_str(text.expose()).ok();
        stored.and_then(Stored::read).map(Some).ok_or(IdentityError::Format { path })
    }

    /// Writes the identity, readable by its owner alone.
    pub fn save(&self, data_dir: &Path) -> Result<(), IdentityError> {
        let path = data_dir.join(FILE);
        let text = serde_json::to_string_pretty(&Stored::from(self))
            .map_err(|_| IdentityError::Format { path: path.clone() })?;
        let text = Secret::new(text);
        write_private(&path, text.expose().as_bytes()).map_err(|source| IdentityError::File { path, source })
    }
}

fn move_up(data_dir: &Path) -> Result<(), IdentityError> {
    let earlier = data_dir.join(EARLIER_FOLDER);
    if data_dir.join(FILE).exists() || !earlier.join(FILE).exists() {
        return Ok(());
    }
    for name in [super::last_known_good::FOLDER, FILE] {
        let (from, to) = (earlier.join(name), data_dir.join(name));
        if from.exists() {
            std::fs::rename(&from, &to).map_err(|source| IdentityError::File { path: from, source })?;
        }
    }
    // Whatever else somebody put there stays.
    drop(std::fs::remove_dir(&earlier));
    tracing::info!(folder = %data_dir.display(), "node identity moved up from {}", earlier.display());
    Ok(())
}

/// Replaces a file as a whole; folder and file are private.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    make_private_folder(folder)?;
    let temporary = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    std::fs::File::open(folder)?.sync_all()
}

/// Makes a folder that only its owner may enter.
pub(crate) fn make_private_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(folder)
}

/// The file's form: JSON with base64, so that a person can see which node it is.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    node_id: NodeId,
    node_group_id: NodeGroupId,
    issued_at: Timestamp,
    not_after: Timestamp,
    certificate_chain: Vec<String>,
    authorities: Vec<String>,
    signing_keys: Vec<(String, String)>,
    private_key: String,
    hpke_public_key: String,
    hpke_private_key: String,
    disk_key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    join_kid: Option<String>,
}

impl From<&Identity> for Stored {
    fn from(it: &Identity) -> Self {
        let text = |bytes: &[u8]| STANDARD.encode(bytes);
        Self {
            format: 1,
            node_id: it.node_id,
            node_group_id: it.group_id,
            issued_at: it.issued_at,
            not_after: it.not_after,
            certificate_chain: it.chain.iter().map(|der| text(der)).collect(),
            authorities: it.authorities.iter().map(|der| text(der)).collect(),
            signing_keys: it.signing_key_list.iter().map(|key| (key.key_id.clone(), text(&key.public_key))).collect(),
            private_key: text(it.private_key.expose()),
            hpke_public_key: text(&it.hpke_public),
            hpke_private_key: text(it.hpke_private.expose()),
            disk_key: text(it.disk_key.expose()),
            join_kid: it.join_kid.clone(),
        }
    }
}

impl Stored {
    fn read(self) -> Option<Identity> {
        let bytes = |text: &str| STANDARD.decode(text).ok();
        let chain =
            |list: &[String]| list.iter().map(|text| bytes(text).map(CertificateDer::from)).collect::<Option<Vec<_>>>();
        let key = |(key_id, text): &(String, String)| {
            Some(v1::SigningKey { key_id: key_id.clone(), public_key: bytes(text)?.into() })
        };
        let signing_key_list = self.signing_keys.iter().map(key).collect::<Option<Vec<_>>>()?;
        (self.format == 1).then_some(())?;
        Some(Identity {
            node_id: self.node_id,
            group_id: self.node_group_id,
            chain: chain(&self.certificate_chain)?,
            authorities: chain(&self.authorities)?,
            signing_keys: verifier(&signing_key_list),
            issued_at: self.issued_at,
            not_after: self.not_after,
            signing_key_list,
            private_key: Secret::new(bytes(&self.private_key)?),
            hpke_public: bytes(&self.hpke_public_key)?,
            hpke_private: Secret::new(bytes(&self.hpke_private_key)?),
            disk_key: Secret::new(bytes(&self.disk_key)?),
            join_kid: self.join_kid,
        })
    }
}
