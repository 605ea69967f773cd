//! What of a change must reach nodes ahead of everything else: what takes a key, a credential or a secret out of use, or stops
//! something. Pure.
//!
//! What may no longer be used at all is named; of what goes on otherwise (a key with another secret, a credential with another
//! value, a kill switch) the new content goes along, so that nothing that still works is refused in between. Invariant: whatever
//! is sent is of the revision that is stated with it; leaving something out costs time only, since the delta has it too.

use std::sync::Arc;

use domain::{OrganizationId, Timestamp};
use operation::resources::Loaded;
use policy::resource::{Content, Credential, KeyStatus, VirtualKey};
use policy::set::Location;
use policy::sign::{Signed, Urgent};
use policy::wire::{decode, frame};
use policy::{Kind, Resource, ResourceSet, Signer};
use proto::v1;

/// Of one message; more are sent as several.
const MAX_ENTRIES: usize = 500;
const MAX_BYTES: usize = 512 * 1024;

/// See the module.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Overtaking {
    revoked: Vec<Location>,
    changed: Vec<Resource>,
}

impl Overtaking {
    /// What a change takes out of use.
    pub(super) fn of(before: &ResourceSet, upserts: &[Resource], removals: &[Location]) -> Self {
        let mut found = Self::default();
        for resource in upserts {
            let held = before
                .get(resource.location())
                .map(|content| Resource { content: content.clone(), ..resource.clone() });
            match (decode(resource), held.map(|held| decode(&held))) {
                (Ok(Content::VirtualKey(key)), Some(_)) if key.status == KeyStatus::Revoked => {
                    found.revoked.push(resource.location());
                }
                (Ok(Content::VirtualKey(key)), Some(Ok(Content::VirtualKey(held)))) if !lasts(&held, &key) => {
                    found.changed.push(resource.clone());
                }
                (Ok(Content::Credential(it)), Some(Ok(Content::Credential(held)))) if !is_as_good(&held, &it) => {
                    found.changed.push(resource.clone());
                }
                (Ok(Content::KillSwitch(_)), _) => found.changed.push(resource.clone()),
                _ => {}
            }
        }
        found.revoked.extend(removals.iter().filter(|it| matches!(it.key.kind, Kind::VirtualKey | Kind::Credential)));
        found
    }

    /// What changes may have taken out of use for a node of which only the revision is known. `now` is where what is gone is
    /// not looked for: a credential belongs to no workspace, and keys do not go before they were revoked.
    pub(super) fn since(loaded: Loaded) -> Self {
        let mut found = Self::default();
        for resource in loaded.resources {
            match decode(&resource) {
                Ok(Content::VirtualKey(key)) if key.status == KeyStatus::Revoked => {
                    found.revoked.push(resource.location());
                }
                Ok(Content::VirtualKey(_) | Content::Credential(_) | Content::KillSwitch(_)) => {
                    found.changed.push(resource);
                }
                _ => {}
            }
        }
        let gone = loaded.gone.into_iter().filter(|key| key.kind == Kind::Credential);
        found.revoked.extend(gone.map(|key| Location { workspace: None, key }));
        found
    }

    /// What a set says is out of use, for a node that is further behind than the change log reaches.
    pub(super) fn all(set: &ResourceSet) -> Self {
        let organization = set.organization();
        let of_kind = |workspace, kind: Kind| {
            set.list(workspace, kind..=kind).map(move |(key, content)| Resource {
                key,
                organization,
                workspace,
                content: content.clone(),
            })
        };
        let keys = set.workspaces().flat_map(|workspace| of_kind(Some(workspace), Kind::VirtualKey));
        let is_revoked = |resource: &Resource| matches!(decode(resource), Ok(Content::VirtualKey(key)) if key.status == KeyStatus::Revoked);
        let revoked = keys.filter(is_revoked).map(|resource| resource.location()).collect();
        Self { revoked, changed: of_kind(None, Kind::KillSwitch).collect() }
    }

    /// Signs it, in messages of bounded size.
    pub(super) fn into_messages(
        self,
        organization: OrganizationId,
        revision: u64,
        issued_at: Timestamp,
        signer: &dyn Signer,
    ) -> Vec<Arc<v1::Urgent>> {
        let empty = || Urgent { organization, revision, issued_at, revoked: Vec::new(), changed: Vec::new() };
        let mut parts: Vec<Urgent> =
            self.revoked.chunks(MAX_ENTRIES).map(|part| Urgent { revoked: part.to_vec(), ..empty() }).collect();
        let (mut part, mut bytes) = (empty(), 0);
        for resource in self.changed {
            if part.changed.len() == MAX_ENTRIES || (bytes + resource.content.len() > MAX_BYTES && bytes > 0) {
                parts.push(std::mem::replace(&mut part, empty()));
                bytes = 0;
            }
            bytes += resource.content.len();
            part.changed.push(resource);
        }
        if !part.changed.is_empty() {
            parts.push(part);
        }
        parts.into_iter().map(|part| Arc::new(frame::urgent_message(&Signed::new(part, signer)))).collect()
    }
}

/// Says whether a key is good for at least as long as before, with every secret that it had.
fn lasts(before: &VirtualKey, after: &VirtualKey) -> bool {
    let ends = |at: Option<Timestamp>| at.unwrap_or(Timestamp::from_micros(i64::MAX));
    let keeps = |held: &policy::resource::KeySecret| {
        after.secrets.iter().any(|secret| secret.mac == held.mac && ends(secret.retires_at) >= ends(held.retires_at))
    };
    ends(after.expires_at) >= ends(before.expires_at) && before.secrets.iter().all(keeps)
}

/// Says whether what a node would send with the credential of before is still what it should send.
fn is_as_good(before: &Credential, after: &Credential) -> bool {
    let version = |it: &Credential| it.secret.as_ref().map(|secret| secret.version);
    version(before) == version(after)
        && before.base_url == after.base_url
        && (after.allows_passthrough || !before.allows_passthrough)
}

#[cfg(test)]
mod tests;
