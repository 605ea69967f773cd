//! The installation's own keys: made once, kept sealed in the database, so that all control processes sign as one.
//!
//! What is signed with them is decided elsewhere. Invariant: of each purpose there is one key in use, however many processes
//! start at once.

use domain::{Entropy, Timestamp};
use store::signing_keys::{self, SigningKey};
use store::{Store, StoreError};
use zeroize::Zeroizing;

use crate::keyring::{KeyError, Keyring, SIGNING_KEYS};

/// Certifies nodes and the listener that they dial.
pub const NODE_CA: &str = "node_ca";
/// Signs what nodes are told.
pub const POLICY: &str = "policy";
/// Every purpose.
pub(crate) const PURPOSES: [&str; 2] = [NODE_CA, POLICY];

/// What a stored installation key is sealed with.
pub(crate) fn seal_place(purpose: &str, kid: &str) -> String {
    format!("v1|signing-key|{purpose}|{kid}")
}

/// Loads the installation's keys of a purpose, newest first, making the first one when there is none.
pub async fn load_or_make<E: From<StoreError> + From<KeyError>>(
    store: &Store,
    keyring: &Keyring,
    entropy: &dyn Entropy,
    (purpose, now): (&str, Timestamp),
    make: impl FnOnce(&str) -> Result<(Vec<u8>, Vec<u8>), E> + Send,
) -> Result<Vec<(SigningKey, Zeroizing<Vec<u8>>)>, E> {
    let mut tx = store.system().await?;
    signing_keys::lock(&mut tx, purpose).await?;
    let mut keys = signing_keys::list(&mut tx, purpose).await?;
    if keys.iter().all(|key| key.retired_at.is_some()) {
        let kid = domain::secret::random_base62(entropy, 12);
        let (public, private) = make(&kid)?;
        let private = Zeroizing::new(private);
        let sealed = keyring.seal(SIGNING_KEYS, &seal_place(purpose, &kid), &private, entropy)?;
        let key = SigningKey { kid, purpose: purpose.to_owned(), public, sealed, created_at: now, retired_at: None };
        signing_keys::insert(&mut tx, &key).await?;
        keys.insert(0, key);
    }
    tx.commit().await?;
    let open = |key: SigningKey| {
        let private = keyring.unseal_any(SIGNING_KEYS, &seal_place(purpose, &key.kid), &key.sealed)?;
        Ok((key, private))
    };
    keys.into_iter().map(open).collect()
}
