//! An answer as it was given to a client, with what its first call cost.
//!
//! The bytes are those of the client's dialect, whole or as the events of a stream. Not here: how it is replayed.

use std::time::Duration;

use bytes::Bytes;
use domain::usage::TokenUsage;
use domain::{DeploymentId, NanoUsd, Timestamp};

/// What an entry takes besides its texts: the structure, the table's own cell.
const OVERHEAD: usize = 512;

/// An answer that may be given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Where it came from and what it cost.
    pub head: Head,
    /// What the client was sent.
    pub body: Bytes,
}

/// What is known of an answer besides its bytes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Head {
    /// When the answer was complete.
    pub stored_at: Timestamp,
    /// When it may no longer be given.
    pub expires_at: Timestamp,
    /// Whether the body is a stream of events.
    pub is_stream: bool,
    /// The media type of the body.
    pub content_type: String,
    /// The deployment that answered.
    pub deployment_id: DeploymentId,
    /// Its provider.
    pub provider: String,
    /// The model as the provider names it.
    pub upstream_model: String,
    /// Why the model stopped.
    pub finish_reason: Option<String>,
    /// What the answer used.
    pub usage: TokenUsage,
    /// What it cost.
    pub cost: NanoUsd,
    /// What of the request could not be expressed at the target, as JSON paths.
    pub dropped: Vec<String>,
}

impl Answer {
    /// Says whether it may still be given.
    #[must_use]
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now < self.head.expires_at
    }

    /// Returns how old it is.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Duration {
        now.since(self.head.stored_at)
    }

    /// Returns how much longer it may be given.
    #[must_use]
    pub fn remaining(&self, now: Timestamp) -> Duration {
        self.head.expires_at.since(now)
    }

    /// Returns about how many bytes of memory it takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let Head { content_type, provider, upstream_model, finish_reason, dropped, .. } = &self.head;
        let texts =
            content_type.len() + provider.len() + upstream_model.len() + finish_reason.as_ref().map_or(0, String::len);
        OVERHEAD + self.body.len() + texts + dropped.iter().map(String::len).sum::<usize>()
    }
}
