//! What the spool keeps of a call: that it was opened, and how it ended.
//!
//! Both are the protocol's `UsageEvent` message, so a record is sent as it was written. Invariant: an opened call that never
//! ended (the node died) becomes an event with outcome `interrupted`, no tokens and no cost, flagged as not known.

use domain::usage::{Endpoint, Outcome, TokenUsage, UsageEvent};
use domain::{EnvironmentId, NanoUsd, NodeId, OrganizationId, RequestId, Timestamp, VirtualKeyId, WorkspaceId};
use proto::v1;

/// A call that is about to be sent upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedCall {
    /// The request.
    pub id: RequestId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// The workspace of the key.
    pub workspace_id: WorkspaceId,
    /// The environment of the key.
    pub environment_id: EnvironmentId,
    /// The key that called.
    pub virtual_key_id: VirtualKeyId,
    /// The node that serves.
    pub node_id: NodeId,
    /// What was called.
    pub endpoint: Endpoint,
    /// The model the client asked for.
    pub model: String,
    /// Whether the client asked for a stream.
    pub is_stream: bool,
    /// When the head of the request arrived.
    pub started_at: Timestamp,
    /// The revision of policy that decided.
    pub policy_revision: u64,
}

/// One thing to be kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Entry {
    /// A call is about to be sent upstream.
    Opened(Box<OpenedCall>),
    /// A call has ended.
    Ended(Box<UsageEvent>),
}

impl Entry {
    pub(crate) fn request_id(&self) -> RequestId {
        match self {
            Self::Opened(call) => call.id,
            Self::Ended(event) => event.id,
        }
    }

    pub(crate) fn message(&self) -> v1::UsageEvent {
        match self {
            Self::Opened(call) => policy::wire::usage::encode(&call.interrupted()),
            Self::Ended(event) => policy::wire::usage::encode(event),
        }
    }
}

impl OpenedCall {
    /// Returns the event that stands for this call if it never ends.
    #[must_use]
    pub fn interrupted(&self) -> UsageEvent {
        UsageEvent {
            id: self.id,
            organization_id: self.organization_id,
            workspace_id: self.workspace_id,
            environment_id: self.environment_id,
            virtual_key_id: self.virtual_key_id,
            node_id: self.node_id,
            endpoint: self.endpoint,
            model: self.model.clone(),
            route_id: None,
            deployment_id: None,
            provider: None,
            upstream_model: None,
            is_stream: self.is_stream,
            outcome: Outcome::Interrupted,
            // The client saw its connection break.
            status: 499,
            code: None,
            finish_reason: None,
            started_at: self.started_at,
            duration_us: 0,
            first_byte_us: None,
            overhead_us: 0,
            usage: TokenUsage::default(),
            // The upstream may have worked and billed; how much is not known, and a guess is never billed.
            is_estimated: true,
            cost: NanoUsd::ZERO,
            price_id: None,
            policy_revision: self.policy_revision,
            end_user: None,
            conversation_id: None,
            trace_id: None,
            metadata: Vec::new(),
            tags: Vec::new(),
            dropped: Vec::new(),
            attempts: Vec::new(),
        }
    }
}
