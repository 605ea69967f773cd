//! Asks the control plane for money of budgets, and tells it what is left of what it lent.
//!
//! Not here: what is asked for and when (`purse`). Invariant: a word is said at most once; whoever says it minds that an answer
//! may be lost.

use std::time::Duration;

use domain::lease::{Tell, Told};
use policy::wire::{WireError, lease};
use proto::v1::leases_client::LeasesClient;
use purse::source::{BoxFuture, Delivered, LeaseSource, Unreachable};
use tonic::Status;
use tonic::transport::Channel;

use crate::usage::reporter::boot_text;
use crate::usage::spool::Spool;

/// Longest wait for the control plane.
const WITHIN: Duration = Duration::from_secs(2);
/// Largest message that is read.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// Why nothing was heard.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The control plane did not answer, or refused.
    #[error("the control plane did not answer a word about leases")]
    Link(#[source] Box<Status>),
    /// It did not answer in time.
    #[error("the control plane did not answer in time")]
    Late,
    /// What came back cannot be read.
    #[error("the control plane's answer about leases cannot be read")]
    Unreadable(#[from] WireError),
}

/// The node's way to the lender. Clones share it.
#[derive(Debug, Clone)]
pub struct Leases {
    channel: Channel,
}

impl Leases {
    /// Makes it of a channel that connects by itself.
    #[must_use]
    pub const fn new(channel: Channel) -> Self {
        Self { channel }
    }

    async fn say(self, word: Tell) -> Result<Told, LeaseError> {
        let mut client = LeasesClient::new(self.channel).max_decoding_message_size(MAX_MESSAGE);
        match tokio::time::timeout(WITHIN, client.tell(lease::encode_tell(&word))).await {
            Ok(Ok(reply)) => Ok(lease::decode_told(reply.into_inner())?),
            Ok(Err(status)) => Err(LeaseError::Link(Box::new(status))),
            Err(_) => Err(LeaseError::Late),
        }
    }
}

impl LeaseSource for Leases {
    fn tell(&self, word: Tell) -> BoxFuture<Result<Told, Unreachable>> {
        let this = self.clone();
        Box::pin(async move { this.say(word).await.map_err(|error| Unreachable(Box::new(error))) })
    }
}

impl Delivered for Spool {
    fn boot(&self) -> String {
        boot_text(Self::boot(self))
    }

    fn delivered_boots(&self) -> Vec<String> {
        Self::delivered_boots(self).into_iter().map(boot_text).collect()
    }

    fn written(&self) -> Option<u64> {
        self.last_written()
    }

    fn acknowledged(&self) -> u64 {
        Self::acknowledged(self)
    }
}
