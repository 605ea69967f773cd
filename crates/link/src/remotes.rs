//! Notes files and batches that lie at upstreams with the control plane, so that any node knows whose they are.
//!
//! Not here: what they are and what is done with them (`gateway`). Invariant: nothing of their content is sent.

use std::time::Duration;

use domain::remote::{RemoteKind, RemoteObject, RemoteScope};
use domain::{RemoteId, Timestamp};
use policy::wire::{WireError, remote};
use proto::v1;
use proto::v1::remote_keeping_client::RemoteKeepingClient;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// Longest wait for the control plane.
const WITHIN: Duration = Duration::from_secs(5);
/// Largest message that is read: a page of a list.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// What of an environment's objects is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listing {
    /// Which.
    pub kind: RemoteKind,
    /// Begin behind this one.
    pub after: Option<RemoteId>,
    /// At most this many.
    pub limit: u32,
    /// The oldest first.
    pub is_ascending: bool,
}

/// Why nothing could be noted or found.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The control plane did not answer, or refused.
    #[error("the control plane did not take or give word of a file or batch")]
    Link(#[source] Box<Status>),
    /// It did not answer in time.
    #[error("the control plane did not answer in time")]
    Late,
    /// What came back cannot be read.
    #[error("what the control plane knows of a file or batch cannot be read")]
    Unreadable(#[from] WireError),
}

/// The node's way to what is known of files and batches. Clones share it.
#[derive(Debug, Clone)]
pub struct Remotes {
    channel: Channel,
}

impl Remotes {
    /// Makes it of a channel that connects by itself.
    #[must_use]
    pub const fn new(channel: Channel) -> Self {
        Self { channel }
    }

    /// Notes an object; durable when it returns.
    pub async fn note(&self, object: &RemoteObject) -> Result<(), RemoteError> {
        let request = v1::NoteRemoteRequest { object: Some(remote::encode(object)) };
        within(self.client().note(request)).await.map(|_| ())
    }

    /// Finds an object.
    pub async fn find(&self, scope: RemoteScope, id: RemoteId) -> Result<Option<RemoteObject>, RemoteError> {
        let request = v1::FindRemoteRequest { scope: Some(remote::encode_scope(&scope)), id: id.to_string() };
        let found = within(self.client().find(request)).await?;
        Ok(found.object.map(remote::decode).transpose()?)
    }

    /// Lists objects of an environment.
    pub async fn list(&self, scope: RemoteScope, listing: Listing) -> Result<Vec<RemoteObject>, RemoteError> {
        let request = v1::ListRemotesRequest {
            scope: Some(remote::encode_scope(&scope)),
            kind: listing.kind.as_str().to_owned(),
            after_id: listing.after.map(|id| id.to_string()),
            limit: listing.limit,
            ascending: listing.is_ascending,
        };
        let listed = within(self.client().list(request)).await?;
        Ok(listed.objects.into_iter().map(remote::decode).collect::<Result<_, _>>()?)
    }

    /// Forgets an object; false when there was none.
    pub async fn forget(&self, scope: RemoteScope, id: RemoteId) -> Result<bool, RemoteError> {
        let request = v1::ForgetRemoteRequest { scope: Some(remote::encode_scope(&scope)), id: id.to_string() };
        within(self.client().forget(request)).await.map(|reply| reply.was_there)
    }

    /// Takes objects whose output this node should look after now.
    pub async fn take_due(&self, limit: u32) -> Result<Vec<RemoteObject>, RemoteError> {
        let taken = within(self.client().take_due(v1::TakeDueRemotesRequest { limit })).await?;
        Ok(taken.objects.into_iter().map(remote::decode).collect::<Result<_, _>>()?)
    }

    /// Says that an object's output was booked, or when to look again.
    pub async fn settle(
        &self,
        scope: RemoteScope,
        id: RemoteId,
        look_again_at: Option<Timestamp>,
    ) -> Result<(), RemoteError> {
        let request = v1::SettleRemoteRequest {
            scope: Some(remote::encode_scope(&scope)),
            id: id.to_string(),
            look_again_at_us: look_again_at.map(Timestamp::as_micros),
        };
        within(self.client().settle(request)).await.map(|_| ())
    }

    fn client(&self) -> RemoteKeepingClient<Channel> {
        RemoteKeepingClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }
}

async fn within<T>(call: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, RemoteError> {
    match tokio::time::timeout(WITHIN, call).await {
        Ok(Ok(reply)) => Ok(reply.into_inner()),
        Ok(Err(status)) if status.code() == Code::DeadlineExceeded => Err(RemoteError::Late),
        Ok(Err(status)) => Err(RemoteError::Link(Box::new(status))),
        Err(_) => Err(RemoteError::Late),
    }
}
