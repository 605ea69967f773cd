//! Which answers are kept, and the copy that is made of a stream on its way.
//!
//! Invariant: what is kept was whole, came from an upstream's own end, and is what the client was sent to its last byte.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use domain::NanoUsd;
use domain::usage::TokenUsage;
use ingress::admit::OWN_PREFIX;
use llm::canonical::event::FinishReason;
use state::answer::Head;
use state::{Answer, CacheKey};

use crate::pipeline::Worker;
use crate::pipeline::settle::Meter;

/// The largest body that is kept.
pub(crate) const MAX_BYTES: usize = 1024 * 1024;

/// Reasons to stop that make an answer a whole one. An answer that ran into the window, was filtered or waits for something is
/// none; one that ran into the length it was asked for is, since that length is part of the request.
const WHOLE: [FinishReason; 4] =
    [FinishReason::Stop, FinishReason::StopSequence, FinishReason::Length, FinishReason::ToolUse];

/// Finds the reason that was kept as its word.
pub(super) fn find_reason(word: &str) -> Option<FinishReason> {
    WHOLE.into_iter().find(|reason| reason.as_str() == word)
}

/// What an answer is that might be kept.
pub(super) struct Found {
    pub(super) body: Bytes,
    pub(super) is_stream: bool,
    pub(super) content_type: &'static str,
    pub(super) usage: TokenUsage,
    pub(super) cost: NanoUsd,
    pub(super) keeps_for: Duration,
}

/// Makes an answer that can be given again; `None` when it must not be.
pub(super) fn make(found: &Found, meter: &Meter) -> Option<Arc<Answer>> {
    let served = meter.served.as_ref()?;
    let finish_reason = match meter.finish {
        Some(reason) if WHOLE.contains(&reason) => Some(reason.as_str().to_owned()),
        // Vectors have no reason to stop.
        None if meter.endpoint == domain::usage::Endpoint::Embeddings => None,
        _ => return None,
    };
    if found.body.is_empty() || found.body.len() > MAX_BYTES {
        return None;
    }
    let stored_at = meter.worker().shared.clock.now();
    let head = Head {
        stored_at,
        expires_at: stored_at.plus(found.keeps_for),
        is_stream: found.is_stream,
        content_type: found.content_type.to_owned(),
        deployment_id: served.deployment,
        provider: served.provider.clone(),
        upstream_model: served.upstream_model.clone(),
        finish_reason,
        usage: found.usage,
        cost: found.cost,
        // Headers are those of this caller alone.
        dropped: meter.dropped.iter().filter(|name| !name.starts_with(OWN_PREFIX)).cloned().collect(),
    };
    // A chunk of its own: the bytes may be a small part of a large buffer.
    Some(Arc::new(Answer { head, body: Bytes::copy_from_slice(&found.body) }))
}

/// Keeps an answer.
pub(super) fn keep(worker: &Worker, key: &CacheKey, answer: &Arc<Answer>) {
    worker.shared.ephemeral.cache.keep(key, Arc::clone(answer), answer.head.stored_at);
}

/// Copies a stream on its way.
pub(crate) struct Recorder {
    key: CacheKey,
    keeps_for: Duration,
    content_type: &'static str,
    copy: BytesMut,
    is_too_long: bool,
}

impl Recorder {
    pub(super) fn new(key: CacheKey, keeps_for: Duration, content_type: &'static str) -> Box<Self> {
        Box::new(Self { key, keeps_for, content_type, copy: BytesMut::new(), is_too_long: false })
    }

    /// Copies what the client is sent.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.is_too_long {
            return;
        }
        if self.copy.len() + bytes.len() > MAX_BYTES {
            self.is_too_long = true;
            self.copy = BytesMut::new();
            return;
        }
        self.copy.extend_from_slice(bytes);
    }

    /// Keeps the stream, which has been sent to its end.
    pub(crate) fn keep(self, usage: TokenUsage, cost: NanoUsd, meter: &Meter) {
        if self.is_too_long {
            return;
        }
        let (keeps_for, content_type) = (self.keeps_for, self.content_type);
        let found = Found { body: self.copy.freeze(), is_stream: true, content_type, usage, cost, keeps_for };
        if let Some(answer) = make(&found, meter) {
            keep(meter.worker(), &self.key, &answer);
        }
    }
}
