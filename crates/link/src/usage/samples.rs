//! Events for the tests of this module.

use domain::usage::{AttemptOutcome, AttemptRecord, Endpoint, Outcome, TokenUsage, UnitUsage, UsageEvent};
use domain::{
    DeploymentId, EnvironmentId, NanoUsd, NodeId, OrganizationId, RequestId, Timestamp, VirtualKeyId, WorkspaceId,
};

use super::event::OpenedCall;

/// The call number `n`, as opened.
pub(crate) fn opened(n: u64) -> OpenedCall {
    OpenedCall {
        id: RequestId::from_uuid(u128::from(n) + 1_000),
        organization_id: OrganizationId::from_uuid(1),
        workspace_id: WorkspaceId::from_uuid(2),
        environment_id: EnvironmentId::from_uuid(3),
        virtual_key_id: VirtualKeyId::from_uuid(4),
        node_id: NodeId::from_uuid(5),
        endpoint: Endpoint::ChatCompletions,
        model: format!("model-{n}"),
        is_stream: true,
        started_at: Timestamp::from_micros(1_795_341_600_000_000),
        policy_revision: 9,
        holds: Vec::new(),
    }
}

/// The event of the call number `n`.
pub(crate) fn ended(n: u64) -> UsageEvent {
    let usage = TokenUsage { input: n, output: 7, ..TokenUsage::default() };
    let attempt = AttemptRecord {
        modal: None,
        image: None,
        n: 1,
        deployment_id: DeploymentId::from_uuid(6),
        credential_id: None,
        provider: "echo".to_owned(),
        upstream_model: "echo-1".to_owned(),
        started_at: Timestamp::from_micros(1_795_341_600_000_100),
        duration_us: 250,
        first_byte_us: Some(100),
        outcome: AttemptOutcome::Success,
        status: Some(200),
        upstream_request_id: None,
        usage,
        units: UnitUsage::default(),
        cost: NanoUsd::from_nanos(100),
    };
    UsageEvent {
        outcome: Outcome::Success,
        status: 200,
        usage,
        is_estimated: false,
        cost: NanoUsd::from_nanos(100),
        duration_us: 400,
        attempts: vec![attempt],
        ..opened(n).interrupted()
    }
}
