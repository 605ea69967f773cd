//! The root key: from a file or a setting, and the few things it does.
//!
//! It seals the root secrets (see [`crate::keyring`]) and nothing else, so that a remote key service could stand in its place
//! and replacing it means sealing a handful of rows anew. Invariant: a key file is made once, with mode 0600, and never
//! overwritten.

use std::path::Path;

use aws_lc_rs::hkdf;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Entropy;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::keyring::{Key, KeyError, open, seal};

/// Where the root key lives and works.
pub trait KeyProvider: Send + Sync {
    /// Names the key without revealing it; shown by the doctor and in audit entries.
    fn key_id(&self) -> &str;
    /// Wraps a root secret; `place` is bound to the result.
    fn wrap(&self, place: &str, key: &Key, entropy: &dyn Entropy) -> Result<Vec<u8>, KeyError>;
    /// Unwraps what [`KeyProvider::wrap`] gave for the same place.
    fn unwrap(&self, place: &str, wrapped: &[u8]) -> Result<Key, KeyError>;
    /// The first root secret of installations that were founded before root secrets were stored: then it was the root key.
    fn founding_secret(&self) -> Option<Key>;
}

/// A root key held in this process, from a file or a setting.
#[derive(Clone)]
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
        seal(&derive(&self.key, "wrapping"), place, key.as_ref(), entropy)
    }

    fn unwrap(&self, place: &str, wrapped: &[u8]) -> Result<Key, KeyError> {
        let key = open(&derive(&self.key, "wrapping"), place, wrapped)?;
        Ok(Zeroizing::new(<[u8; 32]>::try_from(key.as_slice()).map_err(|_| KeyError::Sealed)?))
    }

    fn founding_secret(&self) -> Option<Key> {
        Some(self.key.clone())
    }
}

/// Derives a key for one purpose from 32 bytes; equal labels give equal keys.
pub(crate) fn derive(secret: &Key, label: &str) -> Key {
    let mut out = Zeroizing::new([0_u8; 32]);
    let info = [label.as_bytes()];
    let pseudo_random = hkdf::Salt::new(hkdf::HKDF_SHA256, b"headgate/v1").extract(secret.as_ref());
    pseudo_random
        .expand(&info, hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(out.as_mut()))
        .expect("32 bytes are within what HKDF-SHA-256 can expand");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::rng::SeededEntropy;

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
