//! Files and batches at an upstream: [`RemoteObject`] ⇄ message.

use domain::Timestamp;
use domain::remote::{RemoteKind, RemoteObject, RemoteScope};
use proto::v1;

use super::{Reason, WireError, bounded, id, wrong};

/// Longest text of a field that a node or an upstream names.
const MAX_TEXT: usize = 512;

/// Turns a scope into its message.
#[must_use]
pub fn encode_scope(it: &RemoteScope) -> v1::RemoteScope {
    v1::RemoteScope {
        organization_id: it.organization.to_string(),
        workspace_id: it.workspace.to_string(),
        environment_id: it.environment.to_string(),
    }
}

/// Reads a scope.
pub fn decode_scope(it: Option<&v1::RemoteScope>) -> Result<RemoteScope, WireError> {
    let it = it.ok_or(wrong("scope", Reason::Missing))?;
    Ok(RemoteScope {
        organization: id("organization_id", &it.organization_id)?,
        workspace: id("workspace_id", &it.workspace_id)?,
        environment: id("environment_id", &it.environment_id)?,
    })
}

/// Turns an object into its message.
#[must_use]
pub fn encode(it: &RemoteObject) -> v1::RemoteObject {
    v1::RemoteObject {
        id: it.id.to_string(),
        scope: Some(encode_scope(&it.scope)),
        kind: it.kind.as_str().to_owned(),
        virtual_key_id: it.virtual_key.to_string(),
        provider: it.provider.clone(),
        credential_id: it.credential.to_string(),
        upstream_id: it.upstream_id.clone(),
        facts: it.facts.clone(),
        created_at_us: it.created_at.as_micros(),
        expires_at_us: it.expires_at.as_micros(),
        due_at_us: it.due_at.map(Timestamp::as_micros),
        booked_at_us: it.booked_at.map(Timestamp::as_micros),
    }
}

/// Reads an object.
pub fn decode(it: v1::RemoteObject) -> Result<RemoteObject, WireError> {
    if it.facts.len() > RemoteObject::MAX_FACTS {
        return Err(wrong("facts", Reason::OutOfBounds));
    }
    if it.facts.contains('\0') {
        return Err(wrong("facts", Reason::Malformed));
    }
    Ok(RemoteObject {
        id: id("id", &it.id)?,
        scope: decode_scope(it.scope.as_ref())?,
        kind: RemoteKind::find(&it.kind).ok_or(wrong("kind", Reason::Unknown))?,
        virtual_key: id("virtual_key_id", &it.virtual_key_id)?,
        provider: bounded("provider", it.provider, MAX_TEXT)?,
        credential: id("credential_id", &it.credential_id)?,
        upstream_id: bounded("upstream_id", it.upstream_id, MAX_TEXT)?,
        facts: it.facts,
        created_at: Timestamp::from_micros(it.created_at_us),
        expires_at: Timestamp::from_micros(it.expires_at_us),
        due_at: it.due_at_us.map(Timestamp::from_micros),
        booked_at: it.booked_at_us.map(Timestamp::from_micros),
    })
}

#[cfg(test)]
mod tests {
    use domain::{CredentialId, EnvironmentId, OrganizationId, RemoteId, VirtualKeyId, WorkspaceId};

    use super::*;

    fn object() -> RemoteObject {
        RemoteObject {
            id: RemoteId::from_uuid(1),
            scope: RemoteScope {
                organization: OrganizationId::from_uuid(2),
                workspace: WorkspaceId::from_uuid(3),
                environment: EnvironmentId::from_uuid(4),
            },
            kind: RemoteKind::Batch,
            virtual_key: VirtualKeyId::from_uuid(5),
            provider: "openai".to_owned(),
            credential: CredentialId::from_uuid(6),
            upstream_id: "batch_up".to_owned(),
            facts: "{}".to_owned(),
            created_at: Timestamp::from_micros(7),
            expires_at: Timestamp::from_micros(8),
            due_at: Some(Timestamp::from_micros(9)),
            booked_at: None,
        }
    }

    #[test]
    fn an_object_round_trips_and_what_is_wrong_is_named() {
        assert_eq!(decode(encode(&object())), Ok(object()));
        let wrong_kind = v1::RemoteObject { kind: "other".to_owned(), ..encode(&object()) };
        assert_eq!(decode(wrong_kind).expect_err("is refused").field, "kind");
        let long = v1::RemoteObject { facts: "x".repeat(RemoteObject::MAX_FACTS + 1), ..encode(&object()) };
        assert_eq!(decode(long).expect_err("is refused").field, "facts");
        let nowhere = v1::RemoteObject { scope: None, ..encode(&object()) };
        assert_eq!(decode(nowhere).expect_err("is refused").field, "scope");
    }
}
