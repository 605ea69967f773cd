//! Keeps answers of the responses surface with the control plane, so that any node can continue them.
//!
//! Content is sealed here under the organization's data key, bound to organization, workspace, environment and id, before it
//! leaves the node; the control plane keeps bytes. Not here: what is kept and what it means (`gateway`). Invariant: what was
//! sealed for one place opens at no other.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::{Entropy, EnvironmentId, OrganizationId, Timestamp, WorkspaceId};
use policy::SecretOpener as _;
use proto::v1;
use proto::v1::response_keeping_client::ResponseKeepingClient;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::sync::crypto::DataKeys;

/// Largest content that is kept: a conversation of a million tokens without its images.
pub const MAX_CONTENT: usize = 8 * 1024 * 1024;
/// Longest wait for the control plane.
const WITHIN: Duration = Duration::from_secs(3);
/// Largest message that is read.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// Where a response is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The tenant.
    pub organization: OrganizationId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// The environment of the keys that may see it.
    pub environment: EnvironmentId,
    /// The id that the client knows.
    pub id: String,
}

impl Place {
    /// What the seal is bound to.
    fn bound(&self) -> String {
        format!("v1|kept-response|{}|{}|{}|{}", self.organization, self.workspace, self.environment, self.id)
    }

    fn message(&self) -> v1::KeptPlace {
        v1::KeptPlace {
            organization_id: self.organization.to_string(),
            workspace_id: self.workspace.to_string(),
            environment_id: self.environment.to_string(),
            response_id: self.id.clone(),
        }
    }
}

/// Why nothing could be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The control plane did not answer, or refused.
    #[error("the control plane did not take or give a response")]
    Link(#[source] Box<Status>),
    /// It is known not to be there, since a moment ago.
    #[error("the control plane did not answer in time")]
    Late,
    /// The node has no data key of the organization.
    #[error("this node has no data key of the organization")]
    Keyless,
    /// What came back does not open at its place.
    #[error("a kept response does not open; it was changed, moved, or its data key is gone")]
    Sealed,
    /// The content is larger than [`MAX_CONTENT`].
    #[error("the conversation is too long to be kept")]
    TooLarge,
}

/// The node's way to what is kept. Clones share it.
#[derive(Clone)]
pub struct Responses {
    channel: Channel,
    keys: Arc<DataKeys>,
    entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for Responses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Responses").finish_non_exhaustive()
    }
}

impl Responses {
    /// Makes it of a channel that connects by itself.
    #[must_use]
    pub fn new(channel: Channel, keys: Arc<DataKeys>, entropy: Arc<dyn Entropy>) -> Self {
        Self { channel, keys, entropy }
    }

    /// Keeps content until an instant; durable when it returns.
    pub async fn keep(&self, place: Place, content: Bytes, expires_at: Timestamp) -> Result<(), KeepError> {
        if content.len() > MAX_CONTENT {
            return Err(KeepError::TooLarge);
        }
        let sealed = self.keys.seal(place.organization, &place.bound(), content.into(), &*self.entropy);
        let (data_key_version, sealed) = sealed.ok_or(KeepError::Keyless)?;
        let request = v1::KeepRequest {
            place: Some(place.message()),
            data_key_version,
            sealed: sealed.into(),
            expires_at_us: expires_at.as_micros(),
        };
        within(self.client().keep(request)).await.map(|_| ())
    }

    /// Finds content; `None` when nothing is kept there.
    pub async fn find(&self, place: Place) -> Result<Option<Bytes>, KeepError> {
        let found = within(self.client().find(v1::FindKeptRequest { place: Some(place.message()) })).await?;
        let Some(version) = found.data_key_version else { return Ok(None) };
        if !self.keys.versions(place.organization).contains(&version) {
            return Err(KeepError::Keyless);
        }
        let opened = self.keys.open(place.organization, version, &place.bound(), &found.sealed);
        opened.map(|plain| Some(Bytes::copy_from_slice(plain.expose()))).ok_or(KeepError::Sealed)
    }

    /// Deletes content; false when there was none.
    pub async fn delete(&self, place: Place) -> Result<bool, KeepError> {
        let request = v1::DeleteKeptRequest { place: Some(place.message()) };
        within(self.client().delete(request)).await.map(|reply| reply.was_there)
    }

    fn client(&self) -> ResponseKeepingClient<Channel> {
        ResponseKeepingClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }
}

async fn within<T>(call: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, KeepError> {
    match tokio::time::timeout(WITHIN, call).await {
        Ok(Ok(reply)) => Ok(reply.into_inner()),
        Ok(Err(status)) if status.code() == Code::DeadlineExceeded => Err(KeepError::Late),
        Ok(Err(status)) => Err(KeepError::Link(Box::new(status))),
        Err(_) => Err(KeepError::Late),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_a_place_is_bound() {
        let place = |n: [u128; 3], id: &str| Place {
            organization: OrganizationId::from_uuid(n[0]),
            workspace: WorkspaceId::from_uuid(n[1]),
            environment: EnvironmentId::from_uuid(n[2]),
            id: id.to_owned(),
        };
        let here = place([1, 2, 3], "resp_1").bound();
        for other in [
            place([9, 2, 3], "resp_1"),
            place([1, 9, 3], "resp_1"),
            place([1, 2, 9], "resp_1"),
            place([1, 2, 3], "resp_2"),
        ] {
            assert_ne!(other.bound(), here);
        }
    }
}
