//! The resources of one organization, hashed incrementally.
//!
//! Per workspace, 256 buckets by the last byte of the id (random in UUIDv7); a change re-hashes one bucket and the two levels
//! above it. Everything is shared by `Arc`, so a clone costs one pointer per workspace and a refused change is dropped with
//! the clone it was made on. Invariant: equal resources give equal hashes, whatever the order of changes that led there.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{Bound, RangeInclusive};
use std::sync::Arc;

use bytes::Bytes;
use domain::{OrganizationId, WorkspaceId};
use sha2::{Digest as _, Sha256};

use crate::resource::{Kind, Resource, ResourceKey};

/// A larger content is refused: no legitimate resource comes near it.
pub const MAX_CONTENT_BYTES: usize = 256 * 1024;

/// More resources than this in one organization are refused.
pub const MAX_RESOURCES: u64 = 4_000_000;

/// SHA-256 over the canonical form of a set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SetHash(pub [u8; 32]);

impl fmt::Display for SetHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SetHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a change cannot be part of this set; nothing of it was applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// A resource of another tenant.
    #[error("resource {key} belongs to {found}, not to {expected}")]
    ForeignOrganization {
        /// The resource.
        key: ResourceKey,
        /// The set's tenant.
        expected: OrganizationId,
        /// The resource's tenant.
        found: OrganizationId,
    },
    /// The workspace does not fit the kind, or a workspace resource names another workspace as its parent.
    #[error("resource {key} cannot belong to that workspace")]
    MisplacedWorkspace {
        /// The resource.
        key: ResourceKey,
    },
    /// A content above [`MAX_CONTENT_BYTES`].
    #[error("resource {key} has {bytes} bytes, more than allowed")]
    ContentTooLarge {
        /// The resource.
        key: ResourceKey,
        /// Its size.
        bytes: usize,
    },
    /// More than [`MAX_RESOURCES`].
    #[error("the set would hold more than {MAX_RESOURCES} resources")]
    TooManyResources,
    /// The same key twice in one change.
    #[error("resource {key} is named twice in one change")]
    Duplicate {
        /// The resource.
        key: ResourceKey,
    },
}

/// Names a resource and where it lies; enough to remove it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The workspace it belongs to.
    pub workspace: Option<WorkspaceId>,
    /// Its name.
    pub key: ResourceKey,
}

impl Resource {
    /// Returns where the resource lies.
    #[must_use]
    pub const fn location(&self) -> Location {
        Location { workspace: self.workspace, key: self.key }
    }
}

#[derive(Debug, Clone)]
struct Entry {
    content: Bytes,
    digest: [u8; 32],
}

#[derive(Debug, Clone, Default)]
struct Bucket {
    entries: BTreeMap<ResourceKey, Entry>,
    hash: [u8; 32],
}

#[derive(Debug, Clone, Default)]
struct WorkspaceSet {
    buckets: BTreeMap<u8, Arc<Bucket>>,
    count: u64,
    hash: [u8; 32],
}

/// All resources of one organization at one revision.
#[derive(Debug, Clone)]
pub struct ResourceSet {
    organization: OrganizationId,
    workspaces: BTreeMap<Option<WorkspaceId>, Arc<WorkspaceSet>>,
    count: u64,
    hash: SetHash,
}

const fn bucket_of(key: ResourceKey) -> u8 {
    key.id.to_le_bytes()[0]
}

impl Bucket {
    fn rehash(&mut self) {
        let mut hasher = Sha256::new();
        hasher.update(b"headgate.v1.bucket\0");
        for (key, entry) in &self.entries {
            hasher.update([key.kind as u8]);
            hasher.update(key.id.to_be_bytes());
            hasher.update(entry.digest);
        }
        self.hash = hasher.finalize().into();
    }
}

impl WorkspaceSet {
    fn rehash(&mut self, workspace: Option<WorkspaceId>) {
        let mut hasher = Sha256::new();
        hasher.update(b"headgate.v1.workspace\0");
        hasher.update([u8::from(workspace.is_some())]);
        hasher.update(workspace.map_or(0, WorkspaceId::as_uuid).to_be_bytes());
        for (index, bucket) in &self.buckets {
            hasher.update([*index]);
            hasher.update(bucket.hash);
        }
        self.hash = hasher.finalize().into();
    }
}

impl ResourceSet {
    /// Returns the set without resources.
    #[must_use]
    pub fn empty(organization: OrganizationId) -> Self {
        let mut set = Self { organization, workspaces: BTreeMap::new(), count: 0, hash: SetHash::default() };
        set.rehash();
        set
    }

    /// Builds a set from all of its resources.
    pub fn from_resources(organization: OrganizationId, resources: Vec<Resource>) -> Result<Self, SetError> {
        let mut set = Self::empty(organization);
        set.apply(resources, &[])?;
        Ok(set)
    }

    /// Returns the tenant.
    #[must_use]
    pub const fn organization(&self) -> OrganizationId {
        self.organization
    }

    /// Returns the number of resources.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.count
    }

    /// Says whether there is no resource.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the hash of the present state; costs nothing.
    #[must_use]
    pub const fn hash(&self) -> SetHash {
        self.hash
    }

    /// Upserts and removes; all or nothing. Removing what is absent is not an error: the hash decides whether states agree.
    pub fn apply(&mut self, upserts: Vec<Resource>, removals: &[Location]) -> Result<(), SetError> {
        self.check(&upserts, removals)?;
        let mut dirty: BTreeMap<Option<WorkspaceId>, Vec<u8>> = BTreeMap::new();
        for location in removals {
            self.remove(*location);
            dirty.entry(location.workspace).or_default().push(bucket_of(location.key));
        }
        for resource in upserts {
            dirty.entry(resource.workspace).or_default().push(bucket_of(resource.key));
            self.insert(resource);
        }
        self.settle_all(dirty);
        Ok(())
    }

    fn settle_all(&mut self, dirty: BTreeMap<Option<WorkspaceId>, Vec<u8>>) {
        for (workspace, mut buckets) in dirty {
            buckets.sort_unstable();
            buckets.dedup();
            self.settle(workspace, &buckets);
        }
        self.rehash();
    }

    fn check(&self, upserts: &[Resource], removals: &[Location]) -> Result<(), SetError> {
        if self.count + upserts.len() as u64 > MAX_RESOURCES {
            return Err(SetError::TooManyResources);
        }
        for resource in upserts {
            let key = resource.key;
            if resource.organization != self.organization {
                return Err(SetError::ForeignOrganization {
                    key,
                    expected: self.organization,
                    found: resource.organization,
                });
            }
            if resource.content.len() > MAX_CONTENT_BYTES {
                return Err(SetError::ContentTooLarge { key, bytes: resource.content.len() });
            }
            let fits = match key.kind {
                Kind::Organization => resource.workspace.is_none() && key.id == self.organization.as_uuid(),
                Kind::Credential | Kind::Price | Kind::Budget | Kind::RateLimit | Kind::KillSwitch => {
                    resource.workspace.is_none()
                }
                Kind::Workspace => resource.workspace.is_some_and(|workspace| workspace.as_uuid() == key.id),
                Kind::Environment | Kind::VirtualKey | Kind::Deployment | Kind::Route => resource.workspace.is_some(),
            };
            if !fits {
                return Err(SetError::MisplacedWorkspace { key });
            }
        }
        let mut keys: Vec<_> = upserts.iter().map(Resource::location).chain(removals.iter().copied()).collect();
        keys.sort_unstable();
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(SetError::Duplicate { key: pair[0].key }),
            None => Ok(()),
        }
    }

    fn insert(&mut self, resource: Resource) {
        let workspace = Arc::make_mut(self.workspaces.entry(resource.workspace).or_default());
        let bucket = Arc::make_mut(workspace.buckets.entry(bucket_of(resource.key)).or_default());
        let digest = Sha256::digest(&resource.content).into();
        let fresh = Entry { content: resource.content, digest };
        match bucket.entries.entry(resource.key) {
            Slot::Occupied(mut slot) => drop(slot.insert(fresh)),
            Slot::Vacant(slot) => {
                slot.insert(fresh);
                workspace.count += 1;
                self.count += 1;
            }
        }
    }

    fn remove(&mut self, location: Location) {
        if self.get(location).is_none() {
            return;
        }
        let Some(workspace) = self.workspaces.get_mut(&location.workspace).map(Arc::make_mut) else { return };
        let Some(bucket) = workspace.buckets.get_mut(&bucket_of(location.key)).map(Arc::make_mut) else { return };
        if bucket.entries.remove(&location.key).is_some() {
            workspace.count -= 1;
            self.count -= 1;
        }
    }

    /// Drops what became empty and re-hashes the touched buckets of one workspace.
    fn settle(&mut self, id: Option<WorkspaceId>, buckets: &[u8]) {
        let Some(shared) = self.workspaces.get_mut(&id) else { return };
        if shared.count == 0 {
            self.workspaces.remove(&id);
            return;
        }
        let workspace = Arc::make_mut(shared);
        for index in buckets {
            let Some(bucket) = workspace.buckets.get_mut(index) else { continue };
            if bucket.entries.is_empty() {
                workspace.buckets.remove(index);
            } else {
                Arc::make_mut(bucket).rehash();
            }
        }
        workspace.rehash(id);
    }

    fn rehash(&mut self) {
        let mut hasher = Sha256::new();
        hasher.update(b"headgate.v1.set\0");
        hasher.update(self.organization.as_uuid().to_be_bytes());
        for workspace in self.workspaces.values() {
            hasher.update(workspace.hash);
        }
        self.hash = SetHash(hasher.finalize().into());
    }

    /// Returns the content at a location.
    #[must_use]
    pub fn get(&self, location: Location) -> Option<&Bytes> {
        let workspace = self.workspaces.get(&location.workspace)?;
        let bucket = workspace.buckets.get(&bucket_of(location.key))?;
        bucket.entries.get(&location.key).map(|entry| &entry.content)
    }

    /// Finds where a resource lies; costs one look-up per workspace.
    #[must_use]
    pub fn find(&self, key: ResourceKey) -> Option<Location> {
        let locations = self.workspaces.keys().map(|workspace| Location { workspace: *workspace, key });
        locations.into_iter().find(|location| self.get(*location).is_some())
    }

    /// Lists the workspaces that hold resources.
    pub fn workspaces(&self) -> impl Iterator<Item = WorkspaceId> {
        self.workspaces.keys().filter_map(|id| *id)
    }

    /// Lists the resources of one workspace (or of the organization as a whole) whose kind lies in `kinds`.
    pub fn list(
        &self,
        workspace: Option<WorkspaceId>,
        kinds: RangeInclusive<Kind>,
    ) -> impl Iterator<Item = (ResourceKey, &Bytes)> {
        let low = ResourceKey { kind: *kinds.start(), id: 0 };
        let high = ResourceKey { kind: *kinds.end(), id: u128::MAX };
        self.workspaces
            .get(&workspace)
            .into_iter()
            .flat_map(|set| set.buckets.values())
            .flat_map(move |bucket| bucket.entries.range(low..=high))
            .map(|(key, entry)| (*key, &entry.content))
    }

    /// Lists everything, in the order of hashing.
    pub fn iter(&self) -> impl Iterator<Item = Resource> {
        let organization = self.organization;
        self.workspaces.iter().flat_map(move |(workspace, set)| {
            set.buckets.values().flat_map(|bucket| &bucket.entries).map(move |(key, entry)| Resource {
                key: *key,
                organization,
                workspace: *workspace,
                content: entry.content.clone(),
            })
        })
    }

    /// Lists what follows a location in the order of hashing; without one, everything. For reading a large set in parts.
    pub fn iter_after(&self, after: Option<Location>) -> impl Iterator<Item = Resource> {
        let organization = self.organization;
        let first = after.map_or(Bound::Unbounded, |location| Bound::Included(location.workspace));
        self.workspaces.range((first, Bound::Unbounded)).flat_map(move |(workspace, set)| {
            let at = after.filter(|location| location.workspace == *workspace).map(|location| location.key);
            set.buckets.range(at.map_or(0, bucket_of)..).flat_map(move |(index, bucket)| {
                let at = at.filter(|key| bucket_of(*key) == *index).map_or(Bound::Unbounded, Bound::Excluded);
                bucket.entries.range((at, Bound::Unbounded)).map(move |(key, entry)| Resource {
                    key: *key,
                    organization,
                    workspace: *workspace,
                    content: entry.content.clone(),
                })
            })
        })
    }

    /// Returns the set without the resources of other kinds.
    #[must_use]
    pub fn only(&self, kinds: &BTreeSet<Kind>) -> Self {
        let mut narrowed = self.clone();
        let gone: Vec<_> = self.iter().filter(|it| !kinds.contains(&it.key.kind)).map(|it| it.location()).collect();
        narrowed.drop_all(&gone);
        narrowed
    }

    fn drop_all(&mut self, locations: &[Location]) {
        let mut dirty: BTreeMap<Option<WorkspaceId>, Vec<u8>> = BTreeMap::new();
        for location in locations {
            self.remove(*location);
            dirty.entry(location.workspace).or_default().push(bucket_of(location.key));
        }
        self.settle_all(dirty);
    }

    /// Returns what turns `self` into `other`: upserts and removals. Shared parts are skipped without looking inside.
    #[must_use]
    pub fn difference(&self, other: &Self) -> (Vec<Resource>, Vec<Location>) {
        let (mut upserts, mut removals) = (Vec::new(), Vec::new());
        let mut ids: Vec<_> = self.workspaces.keys().chain(other.workspaces.keys()).copied().collect();
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            let (mine, theirs) = (self.workspaces.get(&id), other.workspaces.get(&id));
            if mine.map(|set| set.hash) == theirs.map(|set| set.hash) {
                continue;
            }
            for index in 0..=u8::MAX {
                let mine = mine.and_then(|set| set.buckets.get(&index));
                let theirs = theirs.and_then(|set| set.buckets.get(&index));
                if mine.map(|bucket| bucket.hash) == theirs.map(|bucket| bucket.hash) {
                    continue;
                }
                let old = mine.map(|bucket| &bucket.entries);
                let new = theirs.map(|bucket| &bucket.entries);
                for (key, entry) in new.into_iter().flatten() {
                    if old.and_then(|old| old.get(key)).is_none_or(|before| before.digest != entry.digest) {
                        upserts.push(Resource {
                            key: *key,
                            organization: self.organization,
                            workspace: id,
                            content: entry.content.clone(),
                        });
                    }
                }
                let gone = old.into_iter().flatten().filter(|(key, _)| new.is_none_or(|new| !new.contains_key(key)));
                removals.extend(gone.map(|(key, _)| Location { workspace: id, key: *key }));
            }
        }
        (upserts, removals)
    }
}

#[cfg(test)]
mod tests;
