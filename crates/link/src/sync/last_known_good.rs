//! The sealed copy: one file per organization, so that a node serves when it starts and the control plane is dark.
//!
//! Sealed with the node's own key (AES-256-GCM, the organization in the associated data), replaced as a whole. What is inside is
//! signed by the control plane and checked again when it is read. Freshness has a file of its own: it is written every minute,
//! the copies only when policy changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::{Entropy, NodeId, OrganizationId, Timestamp};
use policy::replica::Copy;
use policy::sign::{NodeScope, Signed};
use policy::wire::copy;
use prost::Message as _;
use proto::v1;

use super::crypto::{CryptoError, DiskKey};
use super::identity::{Identity, IdentityError, make_private_folder, write_private};

/// The folder of the sealed copies, in the node's own.
pub(super) const FOLDER: &str = "policy";
const ENDING: &str = "sealed";
const FRESHNESS: &str = "freshness";

/// A sealed copy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    File(#[from] std::io::Error),
    /// It does not open.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// It opened, but is not a copy.
    #[error("is not a policy copy")]
    Format(#[from] prost::DecodeError),
    /// A field is wrong, or its resources do not make a set.
    #[error("is not a policy copy: {0}")]
    Wire(#[from] copy::CopyError),
}

/// What is kept of one organization.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What the node may hold.
    pub scope: Signed<NodeScope>,
    /// The policy.
    pub copy: Copy,
    /// Data keys, as granted.
    pub grants: Vec<v1::KeyGrant>,
}

/// One file that was found.
#[derive(Debug)]
pub struct Loaded {
    /// The file's name.
    pub name: String,
    /// What is in it, or why it cannot be used.
    pub entry: Result<Entry, CopyError>,
}

/// The folder of sealed copies. Clones share it.
#[derive(Debug, Clone)]
pub struct Vault(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    node_id: NodeId,
    key: DiskKey,
    entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Vault {
    /// Opens the folder of a node, making it when it is missing.
    pub fn open(data_dir: &Path, identity: &Identity, entropy: Arc<dyn Entropy>) -> Result<Self, IdentityError> {
        let folder = data_dir.join(FOLDER);
        make_private_folder(&folder).map_err(|source| IdentityError::File { path: folder.clone(), source })?;
        let key = DiskKey::new(identity.disk_key())?;
        Ok(Self(Arc::new(Inner { folder, node_id: identity.node_id, key, entropy })))
    }

    /// Says whether there is any copy.
    pub(crate) fn is_empty(data_dir: &Path) -> bool {
        let Ok(folder) = std::fs::read_dir(data_dir.join(FOLDER)) else { return true };
        folder.flatten().all(|file| file.path().extension().is_none_or(|ending| ending != ENDING))
    }

    /// Removes the copies of a node that goes on under another id and with other keys: nothing opens them any more.
    pub(crate) fn clear(data_dir: &Path) -> Result<(), IdentityError> {
        let folder = data_dir.join(FOLDER);
        match std::fs::remove_dir_all(&folder) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(IdentityError::File { path: folder, source })
            }
            _ => Ok(()),
        }
    }

    fn place(&self, name: &str) -> String {
        format!("v1|{}|{name}", self.0.node_id)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.folder.join(format!("{name}.{ENDING}"))
    }

    fn write(&self, name: &str, plain: Vec<u8>) -> Result<(), CopyError> {
        let sealed = self.0.key.seal(&self.place(name), plain, self.0.entropy.as_ref())?;
        Ok(write_private(&self.path(name), &sealed)?)
    }

    fn read(&self, name: &str) -> Result<bytes::Bytes, CopyError> {
        let sealed = std::fs::read(self.path(name))?;
        let plain = self.0.key.open(&self.place(name), &sealed)?;
        Ok(bytes::Bytes::copy_from_slice(plain.expose()))
    }

    /// Writes the copy of an organization. Blocking: encodes, seals, syncs to disk.
    pub fn save(&self, entry: &Entry) -> Result<(), CopyError> {
        let message = copy::encode(&entry.scope, &entry.copy, entry.grants.clone());
        self.write(&entry.copy.set.organization().to_string(), message.encode_to_vec())
    }

    /// Removes the copy of an organization.
    pub fn remove(&self, organization: OrganizationId) -> Result<(), CopyError> {
        match std::fs::remove_file(self.path(&organization.to_string())) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Writes when each organization was last confirmed.
    pub fn save_freshness(&self, confirmations: &[(OrganizationId, Timestamp)]) -> Result<(), CopyError> {
        let confirmations = confirmations.iter().map(|(organization, at)| v1::Confirmation {
            organization_id: organization.to_string(),
            confirmed_at_us: at.as_micros(),
        });
        self.write(FRESHNESS, v1::PolicyFreshness { confirmations: confirmations.collect() }.encode_to_vec())
    }

    fn freshness(&self) -> BTreeMap<OrganizationId, Timestamp> {
        // Without the file, or with one that does not open, each copy's own time counts: older, so safe.
        let message =
            self.read(FRESHNESS).ok().and_then(|bytes| v1::PolicyFreshness::decode(bytes).ok()).unwrap_or_default();
        let read =
            |it: v1::Confirmation| Some((it.organization_id.parse().ok()?, Timestamp::from_micros(it.confirmed_at_us)));
        message.confirmations.into_iter().filter_map(read).collect()
    }

    /// Reads all copies, good and bad.
    #[must_use]
    pub fn load(&self) -> Vec<Loaded> {
        let freshness = self.freshness();
        let Ok(folder) = std::fs::read_dir(&self.0.folder) else { return Vec::new() };
        let names = folder.flatten().filter_map(|file| {
            let name = file.file_name().into_string().ok()?;
            name.strip_suffix(&format!(".{ENDING}")).filter(|name| *name != FRESHNESS).map(str::to_owned)
        });
        let mut names: Vec<_> = names.collect();
        names.sort();
        names.into_iter().map(|name| Loaded { entry: self.load_one(&name, &freshness), name }).collect()
    }

    fn load_one(&self, name: &str, freshness: &BTreeMap<OrganizationId, Timestamp>) -> Result<Entry, CopyError> {
        let (scope, copy, grants) = copy::decode(v1::PolicyCopy::decode(self.read(name)?)?)?;
        let confirmed = freshness.get(&copy.set.organization()).copied();
        let confirmed_at = confirmed.map_or(copy.confirmed_at, |at| at.max(copy.confirmed_at));
        Ok(Entry { scope, copy: Copy { confirmed_at, ..copy }, grants })
    }
}
