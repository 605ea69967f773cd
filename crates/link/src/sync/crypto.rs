//! The node's cryptography: checks signatures, opens granted data keys and what is sealed with them, seals the disk copy.
//!
//! One stack (AWS-LC). Plaintext keys live in this module's structures and in snapshots, nowhere on disk.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use domain::{Entropy, NodeId, OrganizationId, Secret};
use parking_lot::RwLock;
use policy::sign::{KEY_GRANT_INFO, grant_place};
use policy::{SecretOpener, Verifier};
use proto::v1;
use rustc_hash::FxHashMap;
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256 as SUITE;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke as _, HpkePrivateKey};

/// Something does not open or cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// The provider could not make a key.
    #[error("a key could not be made")]
    Generate,
    /// A grant is for another node, another place, or changed.
    #[error("data key grant does not open with this node's key")]
    Grant,
    /// A sealed file is of another node, of another place, or changed.
    #[error("sealed copy does not open with this node's key; it was changed or belongs to another node")]
    Sealed,
}

/// The control plane's signing keys, as learned at enrolment and renewal.
#[derive(Debug, Clone)]
pub struct SigningKeys(Vec<(String, Vec<u8>)>);

impl SigningKeys {
    /// Takes `(key id, raw Ed25519 public key)` pairs.
    #[must_use]
    pub const fn new(keys: Vec<(String, Vec<u8>)>) -> Self {
        Self(keys)
    }
}

impl Verifier for SigningKeys {
    fn verify(&self, key_id: &str, statement: &[u8], signature: &[u8]) -> bool {
        let named = self.0.iter().filter(|(id, _)| id == key_id);
        named.into_iter().any(|(_, key)| UnparsedPublicKey::new(&ED25519, key).verify(statement, signature).is_ok())
    }
}

/// Makes an X25519 pair: `(public, private)`, raw.
pub fn generate_hpke_pair() -> Result<(Vec<u8>, Secret<Vec<u8>>), CryptoError> {
    let (public, private) = SUITE.generate_key_pair().map_err(|_| CryptoError::Generate)?;
    Ok((public.0, Secret::new(private.secret_bytes().to_vec())))
}

/// The data keys this node was granted.
#[derive(Default)]
pub struct DataKeys(RwLock<FxHashMap<(OrganizationId, u32), LessSafeKey>>);

impl std::fmt::Debug for DataKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataKeys").finish_non_exhaustive()
    }
}

impl DataKeys {
    /// Opens a grant and keeps its key; returns whose it is.
    pub fn take(
        &self,
        grant: &v1::KeyGrant,
        node: NodeId,
        private: &Secret<Vec<u8>>,
    ) -> Result<OrganizationId, CryptoError> {
        let organization: OrganizationId = grant.organization_id.parse().map_err(|_| CryptoError::Grant)?;
        let place = grant_place(organization, grant.data_key_version, node);
        let encapsulated = EncapsulatedSecret(grant.encapsulated.to_vec());
        let private = HpkePrivateKey::from(private.expose().clone());
        let opened = SUITE.open(&encapsulated, KEY_GRANT_INFO, place.as_bytes(), &grant.ciphertext, &private);
        let key = Secret::new(opened.map_err(|_| CryptoError::Grant)?);
        let key = UnboundKey::new(&AES_256_GCM, key.expose()).map_err(|_| CryptoError::Grant)?;
        self.0.write().insert((organization, grant.data_key_version), LessSafeKey::new(key));
        Ok(organization)
    }

    /// Drops the keys of an organization.
    pub fn forget(&self, organization: OrganizationId) {
        self.0.write().retain(|(held, _), _| *held != organization);
    }

    /// Seals bytes under the newest key of an organization; `place` is authenticated with them. Gives the key's version.
    pub fn seal(
        &self,
        organization: OrganizationId,
        place: &str,
        plain: Vec<u8>,
        entropy: &dyn Entropy,
    ) -> Option<(u32, Vec<u8>)> {
        let version = self.versions(organization).pop()?;
        let keys = self.0.read();
        let sealed = seal(keys.get(&(organization, version))?, place, plain, entropy).ok()?;
        Some((version, sealed))
    }

    /// Lists the versions held of an organization.
    #[must_use]
    pub fn versions(&self, organization: OrganizationId) -> Vec<u32> {
        let keys = self.0.read();
        let mut versions: Vec<_> =
            keys.keys().filter(|(held, _)| *held == organization).map(|(_, version)| *version).collect();
        versions.sort_unstable();
        versions
    }
}

impl SecretOpener for DataKeys {
    fn open(
        &self,
        organization: OrganizationId,
        data_key_version: u32,
        place: &str,
        sealed: &[u8],
    ) -> Option<Secret<Vec<u8>>> {
        let keys = self.0.read();
        open(keys.get(&(organization, data_key_version))?, place, sealed).ok()
    }
}

fn seal(key: &LessSafeKey, place: &str, mut plain: Vec<u8>, entropy: &dyn Entropy) -> Result<Vec<u8>, CryptoError> {
    let mut nonce = [0; NONCE_LEN];
    entropy.fill(&mut nonce);
    let bound = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(bound, Aad::from(place.as_bytes()), &mut plain).map_err(|_| CryptoError::Sealed)?;
    let mut sealed = nonce.to_vec();
    sealed.append(&mut plain);
    Ok(sealed)
}

fn open(key: &LessSafeKey, place: &str, sealed: &[u8]) -> Result<Secret<Vec<u8>>, CryptoError> {
    let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or(CryptoError::Sealed)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| CryptoError::Sealed)?;
    let mut body = body.to_vec();
    let length =
        key.open_in_place(nonce, Aad::from(place.as_bytes()), &mut body).map_err(|_| CryptoError::Sealed)?.len();
    body.truncate(length);
    Ok(Secret::new(body))
}

/// The key of this node's disk copies.
pub struct DiskKey(LessSafeKey);

impl std::fmt::Debug for DiskKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DiskKey")
    }
}

impl DiskKey {
    /// Takes 32 bytes.
    pub fn new(key: &Secret<Vec<u8>>) -> Result<Self, CryptoError> {
        UnboundKey::new(&AES_256_GCM, key.expose())
            .map(|key| Self(LessSafeKey::new(key)))
            .map_err(|_| CryptoError::Sealed)
    }

    /// Seals bytes: nonce, ciphertext, tag. `place` is authenticated with them.
    pub fn seal(&self, place: &str, plain: Vec<u8>, entropy: &dyn Entropy) -> Result<Vec<u8>, CryptoError> {
        seal(&self.0, place, plain, entropy)
    }

    /// Opens what [`DiskKey::seal`] gave for the same place.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Secret<Vec<u8>>, CryptoError> {
        open(&self.0, place, sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::rng::SeededEntropy;
    use rustls::crypto::hpke::HpkePublicKey;

    fn grant(public: &[u8], node: NodeId) -> v1::KeyGrant {
        let organization = OrganizationId::from_uuid(1);
        let place = grant_place(organization, 1, node);
        let public = HpkePublicKey(public.to_vec());
        let (encapsulated, ciphertext) = SUITE.seal(KEY_GRANT_INFO, place.as_bytes(), &[5; 32], &public).unwrap();
        v1::KeyGrant {
            organization_id: organization.to_string(),
            data_key_version: 1,
            encapsulated: encapsulated.0.into(),
            ciphertext: ciphertext.into(),
        }
    }

    #[test]
    fn a_grant_opens_only_at_its_node_for_its_organization_and_version() {
        let (public, private) = generate_hpke_pair().unwrap();
        let (_, other) = generate_hpke_pair().unwrap();
        let node = NodeId::from_uuid(1);
        let granted = grant(&public, node);
        let keys = DataKeys::default();
        assert_eq!(keys.take(&granted, node, &private), Ok(OrganizationId::from_uuid(1)));
        assert_eq!(keys.take(&granted, node, &other), Err(CryptoError::Grant));
        assert_eq!(keys.take(&granted, NodeId::from_uuid(2), &private), Err(CryptoError::Grant));
        let moved = v1::KeyGrant { data_key_version: 2, ..granted.clone() };
        assert_eq!(keys.take(&moved, node, &private), Err(CryptoError::Grant));
        let moved = v1::KeyGrant { organization_id: OrganizationId::from_uuid(9).to_string(), ..granted };
        assert_eq!(keys.take(&moved, node, &private), Err(CryptoError::Grant));
        assert_eq!(keys.versions(OrganizationId::from_uuid(1)), [1]);
        keys.forget(OrganizationId::from_uuid(1));
        assert!(keys.versions(OrganizationId::from_uuid(1)).is_empty());
    }

    #[test]
    fn what_is_sealed_opens_at_its_place_under_its_key_alone() {
        let (public, private) = generate_hpke_pair().unwrap();
        let (node, organization) = (NodeId::from_uuid(1), OrganizationId::from_uuid(1));
        let keys = DataKeys::default();
        let entropy = SeededEntropy::new(1);
        assert_eq!(keys.seal(organization, "a", b"said".to_vec(), &entropy), None, "no key yet");
        keys.take(&grant(&public, node), node, &private).unwrap();
        let (version, sealed) = keys.seal(organization, "a", b"said".to_vec(), &entropy).unwrap();
        let open = |place: &str, version: u32| keys.open(organization, version, place, &sealed);
        assert_eq!(open("a", version).unwrap().expose(), b"said");
        assert!(open("b", version).is_none() && open("a", version + 1).is_none());
        assert!(keys.open(OrganizationId::from_uuid(2), version, "a", &sealed).is_none());
        assert_ne!(
            keys.seal(organization, "a", b"said".to_vec(), &entropy).unwrap().1,
            sealed,
            "another nonce each time"
        );
    }

    #[test]
    fn a_disk_copy_notices_any_flip_and_another_place() {
        let key = DiskKey::new(&Secret::new(vec![3; 32])).unwrap();
        let sealed = key.seal("a", b"policy".to_vec(), &SeededEntropy::new(1)).unwrap();
        assert_eq!(key.open("a", &sealed).unwrap().expose(), b"policy");
        assert!(key.open("b", &sealed).is_err() && key.open("a", &sealed[..8]).is_err());
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert!(key.open("a", &flipped).is_err(), "byte {at}");
        }
    }
}
