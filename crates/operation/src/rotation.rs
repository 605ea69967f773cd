//! Replaces the root key: seals the root secrets with the new one, then brings everything that they seal to a new version.
//!
//! ```text
//!  1  root secrets      sealed by the new root key, one more version added       one transaction: from here on the new key counts
//!  2  organizations     data keys wrapped anew, a new data key for what comes     one write each, with an audit entry
//!  3  signing keys      sealed anew                                              one transaction
//! ```
//! Each step finds out by itself what is left to do, so an interrupted rotation goes on where it stopped, and a finished one does
//! nothing. Values that can only be compared (keys, tokens, passwords) keep the version they were made under. Invariant: whoever
//! has the old root key and the database as it is after step 3 opens nothing.

use domain::id::IdMint;
use domain::{Entropy, JobName, OrganizationId, Permit, Scope, Timestamp};
use store::credentials::SealedDataKey;
use store::root_secrets::{self, RootSecret};
use store::{Store, StoreError};

use crate::keyring::{DATA_KEYS, KeyError, Keyring, SIGNING_KEYS, data_key_place, fresh_secret, secret_place};
use crate::root_key::KeyProvider;
use crate::signing_keys;
use crate::trail::Subject;

/// What a rotation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The root key that counts now.
    pub root_key_id: String,
    /// The version that new values are made under.
    pub version: u16,
    /// Organizations whose data keys were wrapped anew, this time.
    pub organizations: usize,
    /// Signing keys that were sealed anew, this time.
    pub signing_keys: usize,
}

/// What a rotation works with.
pub struct Work<'a> {
    /// The database.
    pub store: &'a Store,
    /// Randomness.
    pub entropy: &'a dyn Entropy,
    /// Ids of audit entries.
    pub mint: &'a dyn IdMint,
    /// When it takes place.
    pub now: Timestamp,
}

impl std::fmt::Debug for Work<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work").field("now", &self.now).finish_non_exhaustive()
    }
}

/// Returns the root key that seals the database, if anything is sealed yet.
pub async fn active_root_key(store: &Store) -> Result<Option<String>, StoreError> {
    let mut tx = store.system().await?;
    Ok(root_secrets::list(&mut tx).await?.into_iter().next_back().map(|secret| secret.root_key_id))
}

/// Rotates from one root key to another, or finishes a rotation between them.
///
/// Control processes that still run under the old key go on with what they hold; what they make is still under the version
/// they know. They must be started again with the new key.
pub async fn rotate(work: &Work<'_>, old: &dyn KeyProvider, new: &dyn KeyProvider) -> Result<Rotated, KeyError> {
    let keyring = reseal_secrets(work, old, new).await?;
    let mut tx = work.store.system().await?;
    let organizations: Vec<OrganizationId> =
        store::organizations::list_all(&mut tx).await?.into_iter().map(|organization| organization.id).collect();
    drop(tx);
    let mut n_organizations = 0;
    for organization in organizations {
        n_organizations += usize::from(rewrap_data_keys(work, &keyring, organization).await?);
    }
    let signing_keys = reseal_signing_keys(work, &keyring).await?;
    Ok(Rotated {
        root_key_id: keyring.root_key_id().to_owned(),
        version: keyring.version(),
        organizations: n_organizations,
        signing_keys,
    })
}

/// The first step: afterwards only the new root key opens the root secrets.
async fn reseal_secrets(work: &Work<'_>, old: &dyn KeyProvider, new: &dyn KeyProvider) -> Result<Keyring, KeyError> {
    let mut tx = work.store.system().await?;
    root_secrets::lock(&mut tx).await?;
    let mut stored = root_secrets::list(&mut tx).await?;
    if !stored.is_empty() && stored.iter().all(|secret| secret.root_key_id == new.key_id()) {
        return Keyring::unseal(new, &stored);
    }
    let keyring = Keyring::unseal(old, &stored)?;
    for secret in &mut stored {
        let key = old.unwrap(&secret_place(secret.version), &secret.sealed)?;
        secret.sealed = new.wrap(&secret_place(secret.version), &key, work.entropy)?;
        new.key_id().clone_into(&mut secret.root_key_id);
        root_secrets::reseal(&mut tx, secret).await?;
    }
    let version = keyring.version().checked_add(1).ok_or(KeyError::Sealed)?;
    let sealed = new.wrap(&secret_place(version), &fresh_secret(work.entropy), work.entropy)?;
    let newest = RootSecret { version, sealed, root_key_id: new.key_id().to_owned(), created_at: work.now };
    root_secrets::insert(&mut tx, &newest).await?;
    stored.push(newest);
    let keyring = Keyring::unseal(new, &stored)?;
    tx.commit().await?;
    Ok(keyring)
}

/// Wraps an organization's data keys under the newest version and adds one that no older version ever wrapped; says whether
/// there was anything to do. The organization is published again, because the peppers of its keys are.
async fn rewrap_data_keys(work: &Work<'_>, keyring: &Keyring, organization: OrganizationId) -> Result<bool, KeyError> {
    let permit = Permit::system(JobName::Operator, Scope::Organization(organization));
    let place = data_key_place(organization);
    let mut tx = work.store.write(organization).await?;
    let keys = store::credentials::list_data_keys(&mut tx).await?;
    if keys.iter().all(|key| keyring.is_newest(DATA_KEYS, &place, &key.sealed)) {
        return Ok(false);
    }
    for key in &keys {
        let plain = keyring.data_key(organization, &key.sealed)?;
        let sealed = keyring.seal(DATA_KEYS, &place, plain.as_ref(), work.entropy)?;
        let key = SealedDataKey { sealed, ..key.clone() };
        store::credentials::reseal_data_key(&mut tx, &permit, &key).await?;
    }
    let version = keys.last().map_or(1, |key| key.version.saturating_add(1));
    let (_, sealed) = keyring.new_data_key(organization, work.entropy)?;
    let newest = SealedDataKey { version, sealed, created_at: work.now };
    store::credentials::insert_data_key(&mut tx, &permit, &newest).await?;
    tx.changed(domain::change::Change::Organization(organization));
    let audit = Subject::new("root_key", keyring.root_key_id(), keyring.root_key_id()).act("root_key.rotate");
    let id = domain::AuditEntryId::from_uuid(work.mint.next_uuid());
    let (_, actor_name) = permit.actor().describe();
    tx.audit(&permit, store::AuditDraft { id, at: work.now, actor_name, audit });
    tx.commit().await?;
    Ok(true)
}

/// Seals the installation's signing keys under the newest version, and returns how many were not.
async fn reseal_signing_keys(work: &Work<'_>, keyring: &Keyring) -> Result<usize, KeyError> {
    let mut tx = work.store.system().await?;
    let mut n_sealed = 0;
    for purpose in signing_keys::PURPOSES {
        store::signing_keys::lock(&mut tx, purpose).await?;
        for key in store::signing_keys::list(&mut tx, purpose).await? {
            let place = signing_keys::seal_place(purpose, &key.kid);
            if keyring.is_newest(SIGNING_KEYS, &place, &key.sealed) {
                continue;
            }
            let plain = keyring.unseal_any(SIGNING_KEYS, &place, &key.sealed)?;
            let sealed = keyring.seal(SIGNING_KEYS, &place, &plain, work.entropy)?;
            store::signing_keys::reseal(&mut tx, &key.kid, &sealed).await?;
            n_sealed += 1;
        }
    }
    tx.commit().await?;
    Ok(n_sealed)
}
