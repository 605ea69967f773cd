//! Holds the root key and everything that is sealed under it or derived from it.
//!
//! The tree: root key → per-organization data key (random, wrapped by the root key, stored beside the organization) →
//! credential secrets (AES-256-GCM under the data key). Peppers and signing seeds are derived from the root key by HKDF, so
//! they need no storage. A sealed value is `nonce (12) || ciphertext || tag (16)`; the associated data names its place, so a
//! ciphertext moved to another row, version or tenant does not open.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{Entropy, OrganizationId};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// A 256-bit key that is wiped when dropped.
pub type Key = Zeroizing<[u8; 32]>;

/// The version of the peppers that new secrets are stored under. Older versions stay derivable for verification.
pub const PEPPER_VERSION: u16 = 1;

/// Something under the keyring does not fit.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The root key file cannot be read or written.
    #[error(
        "root key file {path} is not usable; give --root-key-file a readable file or HEADGATE_ROOT_KEY the key itself"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not a key.
    #[error("a root key is 32 bytes as 64 hexadecimal digits or 44 characters of base64")]
    Format,
    /// The file can be read by others.
    #[error("root key file {path} is readable by others; run chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// A sealed value does not open: another root key, another place, or changed bytes.
    #[error("sealed value does not open under this root key; was the root key file replaced?")]
    Sealed,
}

/// Where the root key lives and works. A remote key service implements the same four promises.
pub trait KeyProvider: Send + Sync {
    /// Names the key without revealing it; shown in settings and audit entries.
    fn key_id(&self) -> &str;
    /// Wraps a data key; `place` is bound to the result.
    fn wrap(&self, place: &str, key: &Key, entropy: &dyn Entropy) -> Result<Vec<u8>, KeyError>;
    /// Unwraps what [`KeyProvider::wrap`] gave for the same place.
    fn unwrap(&self, place: &str, wrapped: &[u8]) -> Result<Key, KeyError>;
    /// Derives a key for one purpose; equal labels give equal keys.
    fn derive(&self, label: &str) -> Key;
}

/// A root key held in this process, from a file or a setting.
pub struct LocalKey {
    id: String,
    key: Key,
}

impl std::fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl LocalKey {
    /// Takes 32 bytes as the root key.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        let key = Zeroizing::new(key);
        let digest = Sha256::new().chain_update(b"headgate root key id\0").chain_update(key.as_ref()).finalize();
        let id = digest[..6].iter().fold(String::from("local-"), |id, byte| format!("{id}{byte:02x}"));
        Self { id, key }
    }

    /// Reads a key from text: hexadecimal or base64.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let bytes = if text.len() == 64 { parse_hex(text) } else { STANDARD.decode(text).ok().map(Zeroizing::new) };
        let bytes = bytes.ok_or(KeyError::Format)?;
        Ok(Self::new(<[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| KeyError::Format)?))
    }

    /// Reads the key from a file that only its owner may read.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let text = std::fs::read_to_string(path).map_err(|source| KeyError::File { path: path.to_owned(), source })?;
        let text = Zeroizing::new(text);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(path).map(|metadata| metadata.permissions().mode());
            if mode.is_ok_and(|mode| mode & 0o077 != 0) {
                return Err(KeyError::Exposed { path: path.to_owned() });
            }
        }
        Self::parse(&text)
    }

    /// Reads the key from a file, or makes the file with a new key in it, mode 0600.
    pub fn read_or_create(path: &Path, entropy: &dyn Entropy) -> Result<Self, KeyError> {
        if path.exists() {
            return Self::read(path);
        }
        let mut key = Zeroizing::new([0_u8; 32]);
        entropy.fill(key.as_mut());
        write_new(path, &STANDARD.encode(*key)).map_err(|source| KeyError::File { path: path.to_owned(), source })?;
        Ok(Self::new(*key))
    }
}

fn parse_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let digits = text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    digits.collect::<Option<Vec<u8>>>().map(Zeroizing::new)
}

fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    writeln!(file, "{text}")?;
    file.sync_all()
}

impl KeyProvider for LocalKey {
    fn key_id(&self) -> &str {
        &self.id
    }

    fn wrap(&self, place: &str, key: &Key, entropy: &dyn Entropy) -> Result<Vec<u8>, KeyError> {
        seal(&self.derive("wrapping"), place, key.as_ref(), entropy)
    }

    fn unwrap(&self, place: &str, wrapped: &[u8]) -> Result<Key, KeyError> {
        let key = open(&self.derive("wrapping"), place, wrapped)?;
        Ok(Zeroizing::new(<[u8; 32]>::try_from(key.as_slice()).map_err(|_| KeyError::Sealed)?))
    }

    fn derive(&self, label: &str) -> Key {
        let mut out = Zeroizing::new([0_u8; 32]);
        let info = [label.as_bytes()];
        let pseudo_random = hkdf::Salt::new(hkdf::HKDF_SHA256, b"headgate/v1").extract(self.key.as_ref());
        pseudo_random
            .expand(&info, hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(out.as_mut()))
            .expect("32 bytes are within what HKDF-SHA-256 can expand");
        out
    }
}

/// Seals bytes with AES-256-GCM under a random nonce; `place` is authenticated with them.
pub fn seal(key: &Key, place: &str, plain: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>, KeyError> {
    let mut nonce = [0_u8; NONCE_LEN];
    entropy.fill(&mut nonce);
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).map_err(|_| KeyError::Sealed)?);
    let mut body = plain.to_vec();
    cipher
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place.as_bytes()), &mut body)
        .map_err(|_| KeyError::Sealed)?;
    let mut sealed = nonce.to_vec();
    sealed.append(&mut body);
    Ok(sealed)
}

/// Opens what [`seal`] gave for the same key and place.
pub fn open(key: &Key, place: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or(KeyError::Sealed)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| KeyError::Sealed)?;
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).map_err(|_| KeyError::Sealed)?);
    let mut body = Zeroizing::new(body.to_vec());
    let length =
        cipher.open_in_place(nonce, Aad::from(place.as_bytes()), &mut body).map_err(|_| KeyError::Sealed)?.len();
    body.truncate(length);
    Ok(body)
}

/// The keys of this control plane.
#[derive(Clone)]
pub struct Keyring(Arc<dyn KeyProvider>);

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Keyring").field(&self.0.key_id()).finish()
    }
}

impl Keyring {
    /// Builds the keyring over a root key.
    #[must_use]
    pub fn new(provider: Arc<dyn KeyProvider>) -> Self {
        Self(provider)
    }

    /// Names the root key.
    #[must_use]
    pub fn root_key_id(&self) -> &str {
        self.0.key_id()
    }

    /// Makes a data key for an organization; returns it with its wrapped form, which is what gets stored.
    pub fn new_data_key(
        &self,
        organization: OrganizationId,
        entropy: &dyn Entropy,
    ) -> Result<(Key, Vec<u8>), KeyError> {
        let mut key = Zeroizing::new([0_u8; 32]);
        entropy.fill(key.as_mut());
        let wrapped = self.0.wrap(&data_key_place(organization), &key, entropy)?;
        Ok((key, wrapped))
    }

    /// Unwraps the stored data key of an organization.
    pub fn data_key(&self, organization: OrganizationId, wrapped: &[u8]) -> Result<Key, KeyError> {
        self.0.unwrap(&data_key_place(organization), wrapped)
    }

    /// Returns the pepper of an organization's virtual keys.
    #[must_use]
    pub fn key_pepper(&self, organization: OrganizationId, version: u16) -> Key {
        self.0.derive(&format!("key-pepper|{organization}|{version}"))
    }

    /// Returns the pepper of access tokens, which belongs to the whole control plane.
    #[must_use]
    pub fn token_pepper(&self, version: u16) -> Key {
        self.0.derive(&format!("token-pepper|{version}"))
    }

    /// Returns the pepper of join tokens.
    #[must_use]
    pub fn join_pepper(&self, version: u16) -> Key {
        self.0.derive(&format!("join-pepper|{version}"))
    }

    /// Returns the key for any other purpose of the control plane; the label is part of the storage format.
    #[must_use]
    pub fn derive(&self, label: &str) -> Key {
        self.0.derive(label)
    }
}

fn data_key_place(organization: OrganizationId) -> String {
    format!("v1|{organization}|data-key")
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::CredentialId;
    use domain::credential::seal_context;
    use domain::rng::SeededEntropy;

    fn keyring(byte: u8) -> Keyring {
        Keyring::new(Arc::new(LocalKey::new([byte; 32])))
    }

    #[test]
    fn a_sealed_value_opens_only_at_its_place_under_its_key() {
        let entropy = SeededEntropy::new(1);
        let (org, other) = (OrganizationId::from_uuid(1), OrganizationId::from_uuid(2));
        let (key, wrapped) = keyring(1).new_data_key(org, &entropy).unwrap();
        assert_eq!(*keyring(1).data_key(org, &wrapped).unwrap(), *key);
        assert!(matches!(keyring(1).data_key(other, &wrapped), Err(KeyError::Sealed)));
        assert!(matches!(keyring(2).data_key(org, &wrapped), Err(KeyError::Sealed)));

        let place = seal_context(org, CredentialId::from_uuid(9), 1);
        let sealed = seal(&key, &place, b"sk-canary", &entropy).unwrap();
        assert_eq!(open(&key, &place, &sealed).unwrap().as_slice(), b"sk-canary");
        let moved = seal_context(org, CredentialId::from_uuid(9), 2);
        assert!(open(&key, &moved, &sealed).is_err());
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let entropy = SeededEntropy::new(1);
        let key = Zeroizing::new([3; 32]);
        let sealed = seal(&key, "p", b"secret", &entropy).unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(open(&key, "p", &changed).is_err(), "byte {at}");
        }
        assert!(open(&key, "p", &sealed[..5]).is_err());
    }

    #[test]
    fn peppers_differ_by_organization_version_and_purpose() {
        let (one, two) = (OrganizationId::from_uuid(1), OrganizationId::from_uuid(2));
        let ring = keyring(1);
        let all = [
            ring.key_pepper(one, 1),
            ring.key_pepper(one, 2),
            ring.key_pepper(two, 1),
            ring.token_pepper(1),
            ring.join_pepper(1),
        ];
        for (at, pepper) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|other| **other != **pepper));
        }
    }

    #[test]
    fn a_root_key_file_is_made_once_and_private() {
        let folder = std::env::temp_dir().join(format!("headgate-keyring-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("root.key");
        let first = LocalKey::read_or_create(&path, &SeededEntropy::new(5)).unwrap();
        let second = LocalKey::read_or_create(&path, &SeededEntropy::new(6)).unwrap();
        assert_eq!(first.key_id(), second.key_id());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            assert!(matches!(LocalKey::read(&path), Err(KeyError::Exposed { .. })));
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn hex_and_base64_are_read_and_other_text_is_refused() {
        assert_eq!(LocalKey::parse(&"ab".repeat(32)).unwrap().key_id(), LocalKey::new([0xab; 32]).key_id());
        assert_eq!(LocalKey::parse(&STANDARD.encode([1; 32])).unwrap().key_id(), LocalKey::new([1; 32]).key_id());
        for text in ["", "short", &"zz".repeat(32), &STANDARD.encode([1; 31])] {
            assert!(matches!(LocalKey::parse(text), Err(KeyError::Format)), "{text}");
        }
    }
}
