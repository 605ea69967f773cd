//! What a client is told when upstreams failed.

use std::time::Duration;

use domain::code::GatewayCode;
use provider::failure::{Failure, FailureKind};

use super::Rejection;

impl Rejection {
    /// Says why no upstream answered, without an upstream's own words. `usual` is the pause after a rate limit that names none.
    #[must_use]
    pub fn of_failure(failure: &Failure, usual: Duration) -> Self {
        let (code, detail) = match failure.kind {
            FailureKind::Timeout => (
                GatewayCode::UpstreamTimeout,
                "the upstream did not answer in time; try again, or ask for a shorter answer",
            ),
            FailureKind::Connect => {
                (GatewayCode::UpstreamError, "the upstream could not be reached; try again shortly")
            }
            FailureKind::RateLimited => {
                (GatewayCode::UpstreamError, "the upstream's rate limit is used up; try again after a pause")
            }
            FailureKind::Overloaded => (GatewayCode::UpstreamError, "the upstream is overloaded; try again shortly"),
            FailureKind::Unauthorized | FailureKind::Forbidden => (
                GatewayCode::UpstreamError,
                "the upstream refused the credential that Headgate holds for it; an administrator has to enter a valid one",
            ),
            FailureKind::QuotaExhausted => (
                GatewayCode::UpstreamError,
                "the account that Headgate uses at the upstream has no quota left; an administrator has to raise it",
            ),
            FailureKind::NotFound => (
                GatewayCode::UpstreamError,
                "the upstream does not know this deployment's model; an administrator has to correct the deployment",
            ),
            FailureKind::Broken | FailureKind::Malformed => (
                GatewayCode::UpstreamError,
                "the upstream's answer broke off or could not be read; try again, and tell an administrator if it stays so",
            ),
            _ => (GatewayCode::UpstreamError, "the upstream failed; try again shortly"),
        };
        let usual = (failure.kind == FailureKind::RateLimited).then_some(usual);
        Self::new(code, detail).with_retry_after(failure.retry_after.or(usual))
    }
}
