//! Everything that is sealed for or derived by the control plane.
//!
//! The tree: root key → root secrets (random, sealed by the root key, a few rows, by version) → by HKDF from a secret: peppers,
//! signing seeds, and the key that wraps each organization's data key → credential secrets (AES-256-GCM under the data key).
//! New values take the newest secret; what was made under an older one still verifies and opens, so replacing the root key
//! (see [`crate::rotation`]) breaks nothing. A sealed value is `nonce (12) || ciphertext || tag (16)`; the associated data names
//! its place, so a ciphertext moved to another row, version or tenant does not open.

use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use domain::{Entropy, OrganizationId, Timestamp};
use store::root_secrets::{self, RootSecret};
use store::{Store, StoreError, SystemTx};
use zeroize::Zeroizing;

use crate::root_key::{KeyProvider, derive};

/// A 256-bit key that is wiped when dropped.
pub type Key = Zeroizing<[u8; 32]>;

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
    /// A sealed value does not open: another key, another place, or changed bytes.
    #[error("sealed value does not open under this root key; was the root key file replaced?")]
    Sealed,
    /// The database is under another root key.
    #[error(
        "the database is sealed by the root key {active}, this one is {given}; give the other one, or run \
         `headgate admin rotate-root-key` again if a rotation was interrupted"
    )]
    OtherRootKey {
        /// The key that seals the database.
        active: String,
        /// The key that was given.
        given: String,
    },
    /// The stored secrets cannot be read.
    #[error("root secrets cannot be read from the database")]
    Store(#[from] StoreError),
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
pub struct Keyring(Arc<Inner>);

struct Inner {
    root_key_id: String,
    /// By version, from 1; never empty.
    secrets: Vec<Key>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring")
            .field("root_key_id", &self.0.root_key_id)
            .field("versions", &self.0.secrets.len())
            .finish()
    }
}

pub(crate) fn secret_place(version: u16) -> String {
    format!("v1|root-secret|{version}")
}

impl Keyring {
    /// Opens the keyring of an installation with its root key; makes the first secret on an empty database.
    pub async fn open(
        root: &dyn KeyProvider,
        store: &Store,
        entropy: &dyn Entropy,
        now: Timestamp,
    ) -> Result<Self, KeyError> {
        let mut tx = store.system().await?;
        root_secrets::lock(&mut tx).await?;
        let mut stored = root_secrets::list(&mut tx).await?;
        if stored.is_empty() {
            let key = first_secret(&mut tx, root, entropy).await?;
            let sealed = root.wrap(&secret_place(1), &key, entropy)?;
            let root_key_id = root.key_id().to_owned();
            let first = RootSecret { version: 1, sealed, root_key_id, created_at: now };
            root_secrets::insert(&mut tx, &first).await?;
            stored.push(first);
        }
        tx.commit().await?;
        Self::unseal(root, &stored)
    }

    /// Opens stored secrets.
    pub(crate) fn unseal(root: &dyn KeyProvider, stored: &[RootSecret]) -> Result<Self, KeyError> {
        if let Some(other) = stored.iter().find(|secret| secret.root_key_id != root.key_id()) {
            let (active, given) = (other.root_key_id.clone(), root.key_id().to_owned());
            return Err(KeyError::OtherRootKey { active, given });
        }
        let open = |secret: &RootSecret| root.unwrap(&secret_place(secret.version), &secret.sealed);
        let secrets = stored.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        if secrets.is_empty() {
            return Err(KeyError::Sealed);
        }
        Ok(Self(Arc::new(Inner { root_key_id: root.key_id().to_owned(), secrets })))
    }

    /// Builds a keyring of given secrets, oldest first, without a database.
    ///
    /// Errors: there is none.
    pub fn of_secrets(secrets: Vec<Key>) -> Result<Self, KeyError> {
        if secrets.is_empty() {
            return Err(KeyError::Format);
        }
        Ok(Self(Arc::new(Inner { root_key_id: "none".to_owned(), secrets })))
    }

    /// Names the root key.
    #[must_use]
    pub fn root_key_id(&self) -> &str {
        &self.0.root_key_id
    }

    /// Returns the version that new values are made under.
    #[must_use]
    pub fn version(&self) -> u16 {
        // Versions are stored as u16 and have no gaps.
        u16::try_from(self.0.secrets.len()).unwrap_or(u16::MAX)
    }

    /// Returns every version, oldest first.
    pub fn versions(&self) -> impl DoubleEndedIterator<Item = u16> + use<> {
        1..=self.version()
    }

    /// Derives a key for one purpose from one version. A version that does not exist gives the newest: what is compared
    /// under it then fails like a wrong secret.
    #[must_use]
    pub fn derive_at(&self, version: u16, label: &str) -> Key {
        let newest = self.0.secrets.last();
        let secret = usize::from(version).checked_sub(1).and_then(|at| self.0.secrets.get(at)).or(newest);
        secret.map_or_else(Key::default, |secret| derive(secret, label))
    }

    /// Derives a key for one purpose from the newest version; the label is part of the storage format.
    #[must_use]
    pub fn derive(&self, label: &str) -> Key {
        self.derive_at(self.version(), label)
    }

    /// Seals a value under a key derived from the newest version.
    pub fn seal(&self, label: &str, place: &str, plain: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>, KeyError> {
        seal(&self.derive(label), place, plain, entropy)
    }

    /// Opens what [`Keyring::seal`] gave for the same label and place, under whichever version.
    pub fn unseal_any(&self, label: &str, place: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let opened =
            self.versions().rev().find_map(|version| open(&self.derive_at(version, label), place, sealed).ok());
        opened.ok_or(KeyError::Sealed)
    }

    /// Says whether a value is sealed under the newest version.
    #[must_use]
    pub fn is_newest(&self, label: &str, place: &str, sealed: &[u8]) -> bool {
        open(&self.derive(label), place, sealed).is_ok()
    }

    /// Makes a data key for an organization; returns it with its wrapped form, which is what gets stored.
    pub fn new_data_key(
        &self,
        organization: OrganizationId,
        entropy: &dyn Entropy,
    ) -> Result<(Key, Vec<u8>), KeyError> {
        let mut key = Zeroizing::new([0_u8; 32]);
        entropy.fill(key.as_mut());
        let wrapped = self.seal(DATA_KEYS, &data_key_place(organization), key.as_ref(), entropy)?;
        Ok((key, wrapped))
    }

    /// Unwraps the stored data key of an organization.
    pub fn data_key(&self, organization: OrganizationId, wrapped: &[u8]) -> Result<Key, KeyError> {
        let key = self.unseal_any(DATA_KEYS, &data_key_place(organization), wrapped)?;
        Ok(Zeroizing::new(<[u8; 32]>::try_from(key.as_slice()).map_err(|_| KeyError::Sealed)?))
    }

    /// Returns the pepper of an organization's virtual keys.
    #[must_use]
    pub fn key_pepper(&self, organization: OrganizationId, version: u16) -> Key {
        self.derive_at(version, &format!("key-pepper|{organization}|{version}"))
    }

    /// Returns the pepper of access tokens, which belongs to the whole control plane.
    #[must_use]
    pub fn token_pepper(&self, version: u16) -> Key {
        self.derive_at(version, &format!("token-pepper|{version}"))
    }

    /// Returns the pepper of join tokens.
    #[must_use]
    pub fn join_pepper(&self, version: u16) -> Key {
        self.derive_at(version, &format!("join-pepper|{version}"))
    }

    /// Returns the peppers of passwords, oldest version first.
    #[must_use]
    pub fn password_peppers(&self) -> Vec<Key> {
        self.versions().map(|version| self.derive_at(version, "password-pepper|1")).collect()
    }
}

impl notify::Opener for Keyring {
    fn open(
        &self,
        organization: OrganizationId,
        wrapped: &[u8],
        place: &str,
        sealed: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let key = self.data_key(organization, wrapped).ok()?;
        open(&key, place, sealed).ok()
    }
}

/// What data keys are wrapped under.
pub(crate) const DATA_KEYS: &str = "wrapping";
/// What the installation's signing keys are sealed under.
pub(crate) const SIGNING_KEYS: &str = "signing-keys|1";

/// Makes the first secret, or takes that of an installation that was founded before secrets were stored.
async fn first_secret(tx: &mut SystemTx, root: &dyn KeyProvider, entropy: &dyn Entropy) -> Result<Key, KeyError> {
    let is_new = store::organizations::list_all(tx).await?.is_empty() && !store::signing_keys::exist(tx).await?;
    match root.founding_secret().filter(|_| !is_new) {
        Some(secret) => Ok(secret),
        None => Ok(fresh_secret(entropy)),
    }
}

pub(crate) fn fresh_secret(entropy: &dyn Entropy) -> Key {
    let mut secret = Zeroizing::new([0_u8; 32]);
    entropy.fill(secret.as_mut());
    secret
}

pub(crate) fn data_key_place(organization: OrganizationId) -> String {
    format!("v1|{organization}|data-key")
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::CredentialId;
    use domain::credential::seal_context;
    use domain::rng::SeededEntropy;

    fn keyring(byte: u8) -> Keyring {
        Keyring::of_secrets(vec![Zeroizing::new([byte; 32])]).unwrap()
    }

    #[test]
    fn a_newer_version_is_used_for_new_values_and_older_ones_open() {
        let entropy = SeededEntropy::new(1);
        let org = OrganizationId::from_uuid(1);
        let old = keyring(1);
        let both = Keyring::of_secrets(vec![Zeroizing::new([1; 32]), Zeroizing::new([2; 32])]).unwrap();
        assert_eq!((old.version(), both.version()), (1, 2));
        let (key, wrapped) = old.new_data_key(org, &entropy).unwrap();
        assert_eq!(*both.data_key(org, &wrapped).unwrap(), *key);
        assert!(!both.is_newest(DATA_KEYS, &data_key_place(org), &wrapped));
        let (_, newer) = both.new_data_key(org, &entropy).unwrap();
        assert!(both.is_newest(DATA_KEYS, &data_key_place(org), &newer));
        assert!(matches!(old.data_key(org, &newer), Err(KeyError::Sealed)), "the old secret opens nothing new");
        assert_eq!(*both.token_pepper(1), *old.token_pepper(1));
        assert_ne!(*both.token_pepper(2), *old.token_pepper(2), "an unknown version is not the old one's to guess");
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
}
