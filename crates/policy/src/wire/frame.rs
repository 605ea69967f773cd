//! Frames of the sync stream: statements, resources, keys, refusals.

use domain::node::Holds;
use domain::{OrganizationId, Timestamp, WorkspaceId};
use proto::v1;

use super::{Reason, WireError, id, wrong};
use crate::compile::BadResource;
use crate::resource::{Kind, Resource, ResourceKey};
use crate::set::{Location, SetHash};
use crate::sign::{NodeScope, Refusal, Revision, Signed, Urgent};

/// Turns a kind into its message value.
#[must_use]
pub const fn kind_message(kind: Kind) -> v1::ResourceKind {
    match kind {
        Kind::Organization => v1::ResourceKind::Organization,
        Kind::Workspace => v1::ResourceKind::Workspace,
        Kind::Environment => v1::ResourceKind::Environment,
        Kind::VirtualKey => v1::ResourceKind::VirtualKey,
        Kind::Credential => v1::ResourceKind::Credential,
        Kind::Deployment => v1::ResourceKind::Deployment,
        Kind::Route => v1::ResourceKind::Route,
        Kind::Price => v1::ResourceKind::Price,
        Kind::Budget => v1::ResourceKind::Budget,
        Kind::RateLimit => v1::ResourceKind::RateLimit,
        Kind::KillSwitch => v1::ResourceKind::KillSwitch,
    }
}

/// Reads a kind; `None` for those this build does not know.
#[must_use]
pub fn kind(value: i32) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind_message(*kind) as i32 == value)
}

/// Reads a set hash.
pub fn set_hash(field: &'static str, bytes: &[u8]) -> Result<SetHash, WireError> {
    <[u8; 32]>::try_from(bytes).map(SetHash).map_err(|_| wrong(field, Reason::OutOfBounds))
}

fn key(it: Option<&v1::ResourceKey>) -> Result<ResourceKey, WireError> {
    let it = it.ok_or(wrong("key", Reason::Missing))?;
    let kind = kind(it.kind).ok_or(wrong("key.kind", Reason::Unknown))?;
    ResourceKey::parse(kind, &it.id).ok_or(wrong("key.id", Reason::Malformed))
}

fn workspace(text: &str) -> Result<Option<WorkspaceId>, WireError> {
    if text.is_empty() { Ok(None) } else { id("workspace_id", text).map(Some) }
}

fn key_message(key: ResourceKey) -> v1::ResourceKey {
    v1::ResourceKey { kind: kind_message(key.kind).into(), id: key.id_text() }
}

fn workspace_message(workspace: Option<WorkspaceId>) -> String {
    workspace.map_or_else(String::new, |id| id.to_string())
}

/// Reads a resource; its content stays bytes.
pub fn resource(it: v1::Resource) -> Result<Resource, WireError> {
    Ok(Resource {
        key: key(it.key.as_ref())?,
        organization: id("organization_id", &it.organization_id)?,
        workspace: workspace(&it.workspace_id)?,
        content: it.content,
    })
}

/// Turns a resource into its message.
#[must_use]
pub fn resource_message(it: &Resource) -> v1::Resource {
    v1::Resource {
        key: Some(key_message(it.key)),
        organization_id: it.organization.to_string(),
        workspace_id: workspace_message(it.workspace),
        content: it.content.clone(),
    }
}

/// Reads a removal.
pub fn removal(it: &v1::Removal) -> Result<Location, WireError> {
    Ok(Location { workspace: workspace(&it.workspace_id)?, key: key(it.key.as_ref())? })
}

/// Turns a location into its message.
#[must_use]
pub fn removal_message(it: &Location) -> v1::Removal {
    v1::Removal { key: Some(key_message(it.key)), workspace_id: workspace_message(it.workspace) }
}

/// Reads a signed revision; the signature is not verified here.
pub fn revision(it: Option<v1::SignedRevision>) -> Result<Signed<Revision>, WireError> {
    let it = it.ok_or(wrong("target", Reason::Missing))?;
    let statement = Revision {
        organization: id("organization_id", &it.organization_id)?,
        number: it.revision,
        issued_at: Timestamp::from_micros(it.issued_at_us),
        set_hash: set_hash("set_hash", &it.set_hash)?,
        resource_count: it.resource_count,
        flags: it.flags,
    };
    Ok(Signed { statement, key_id: it.signing_key_id, signature: it.signature.to_vec() })
}

/// Turns a signed revision into its message.
#[must_use]
pub fn revision_message(it: &Signed<Revision>) -> v1::SignedRevision {
    v1::SignedRevision {
        organization_id: it.statement.organization.to_string(),
        revision: it.statement.number,
        issued_at_us: it.statement.issued_at.as_micros(),
        set_hash: it.statement.set_hash.0.to_vec().into(),
        resource_count: it.statement.resource_count,
        flags: it.statement.flags,
        signing_key_id: it.key_id.clone(),
        signature: it.signature.clone().into(),
    }
}

/// Reads a signed scope; the signature is not verified here.
pub fn scope(it: Option<v1::SignedScope>) -> Result<Signed<NodeScope>, WireError> {
    let it = it.ok_or(wrong("scope", Reason::Missing))?;
    let listed = it
        .organization_ids
        .iter()
        .map(|text| id("organization_ids", text))
        .collect::<Result<Vec<OrganizationId>, _>>()?;
    if it.all_organizations && !listed.is_empty() {
        return Err(wrong("organization_ids", Reason::Mismatch));
    }
    let statement = NodeScope {
        group: id("node_group_id", &it.node_group_id)?,
        holds: if it.all_organizations { Holds::All } else { Holds::Only(listed) },
        issued_at: Timestamp::from_micros(it.issued_at_us),
    };
    Ok(Signed { statement, key_id: it.signing_key_id, signature: it.signature.to_vec() })
}

/// Turns a signed scope into its message.
#[must_use]
pub fn scope_message(it: &Signed<NodeScope>) -> v1::SignedScope {
    let organization_ids = match &it.statement.holds {
        Holds::All => Vec::new(),
        Holds::Only(list) => list.iter().map(ToString::to_string).collect(),
    };
    v1::SignedScope {
        node_group_id: it.statement.group.to_string(),
        all_organizations: it.statement.holds == Holds::All,
        organization_ids,
        issued_at_us: it.statement.issued_at.as_micros(),
        signing_key_id: it.key_id.clone(),
        signature: it.signature.clone().into(),
    }
}

/// Reads a signed urgent revocation; the signature is not verified here.
pub fn urgent(it: v1::Urgent) -> Result<Signed<Urgent>, WireError> {
    let statement = Urgent {
        organization: id("organization_id", &it.organization_id)?,
        revision: it.revision,
        issued_at: Timestamp::from_micros(it.issued_at_us),
        revoked: it.revoked.iter().map(removal).collect::<Result<_, _>>()?,
        changed: it.changed.into_iter().map(resource).collect::<Result<_, _>>()?,
    };
    Ok(Signed { statement, key_id: it.signing_key_id, signature: it.signature.to_vec() })
}

/// Turns a signed urgent revocation into its message.
#[must_use]
pub fn urgent_message(it: &Signed<Urgent>) -> v1::Urgent {
    v1::Urgent {
        organization_id: it.statement.organization.to_string(),
        revision: it.statement.revision,
        issued_at_us: it.statement.issued_at.as_micros(),
        revoked: it.statement.revoked.iter().map(removal_message).collect(),
        changed: it.statement.changed.iter().map(resource_message).collect(),
        signing_key_id: it.key_id.clone(),
        signature: it.signature.clone().into(),
    }
}

/// Turns a refusal into its message value.
#[must_use]
pub const fn refusal_message(refusal: &Refusal) -> v1::Refusal {
    match refusal {
        Refusal::Signature => v1::Refusal::Signature,
        Refusal::Revision { .. } => v1::Refusal::Revision,
        Refusal::SetHash => v1::Refusal::SetHash,
        Refusal::Shrink { .. } => v1::Refusal::Shrink,
        Refusal::Scope => v1::Refusal::Scope,
        Refusal::Size => v1::Refusal::Size,
        Refusal::Sequence => v1::Refusal::Sequence,
    }
}

/// Turns a bad resource into its message.
#[must_use]
pub fn bad_message(it: &BadResource) -> v1::BadResource {
    v1::BadResource {
        kind: kind_message(it.location.key.kind).into(),
        id: it.location.key.id_text(),
        reason: it.reason.code(),
        detail: it.reason.to_string(),
    }
}
