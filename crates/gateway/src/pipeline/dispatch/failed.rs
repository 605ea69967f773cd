//! An attempt that gave no answer, and what it means for the call.

use domain::usage::AttemptOutcome;
use http::StatusCode;
use ingress::Rejection;
use provider::failure::{Failure, FailureKind, Scope};
use upstream::health::USUAL_PAUSE;

/// An attempt that gave no answer.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) failure: Failure,
    pub(super) outcome: AttemptOutcome,
    /// The refusal to hand on when no other target does better.
    pub(super) rejection: Rejection,
    /// It was only rehearsed, and says nothing about the target.
    pub(super) is_rehearsed: bool,
}

impl Failed {
    /// The upstream gave no usable answer.
    pub(super) fn upstream(failure: Failure, outcome: AttemptOutcome) -> Box<Self> {
        let rejection = Rejection::of_failure(&failure, USUAL_PAUSE);
        Box::new(Self { failure, outcome, rejection, is_rehearsed: false })
    }

    /// The call cannot be sent to this target.
    pub(super) fn unsendable(scope: Scope, rejection: Rejection) -> Box<Self> {
        let mut failure = Failure::transport(FailureKind::InvalidRequest);
        failure.scope = scope;
        Box::new(Self { failure, outcome: AttemptOutcome::Unsendable, rejection, is_rehearsed: false })
    }

    /// The upstream refused the client's own request; `body` says so in the client's dialect.
    pub(super) fn refused(failure: Failure, status: StatusCode, body: bytes::Bytes) -> Box<Self> {
        let detail = failure.message.to_string();
        Box::new(Self {
            failure,
            outcome: AttemptOutcome::Status,
            rejection: Rejection::upstream(status, body, detail),
            is_rehearsed: false,
        })
    }
}
