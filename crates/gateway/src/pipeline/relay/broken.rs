//! Why a stream broke off, and what its client is told of it.
//!
//! Not here: what is done about it (that is `stream`).

use domain::code::GatewayCode;
use domain::usage::AttemptOutcome;
use llm::canonical::error::{AnswerError, ErrorKind};

/// Why a stream broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Break {
    Idle,
    Total,
    Upstream,
    Unreadable,
    /// The upstream said so.
    Told,
}

impl Break {
    pub(super) const fn outcome(self) -> AttemptOutcome {
        match self {
            Self::Idle | Self::Total => AttemptOutcome::Timeout,
            Self::Upstream | Self::Unreadable | Self::Told => AttemptOutcome::Broken,
        }
    }

    /// Returns the code and the words for the client.
    pub(super) fn tell(self) -> (GatewayCode, AnswerError) {
        let (code, kind, text) = match self {
            Self::Idle => (
                GatewayCode::UpstreamTimeout,
                ErrorKind::Timeout,
                "the upstream sent nothing for too long in the middle of its answer; ask again",
            ),
            Self::Total => (
                GatewayCode::UpstreamTimeout,
                ErrorKind::Timeout,
                "the answer took longer than this model's time limit; ask for less, or have the limit raised",
            ),
            Self::Upstream | Self::Unreadable | Self::Told => (
                GatewayCode::UpstreamError,
                ErrorKind::Server,
                "the upstream broke off in the middle of its answer; ask again",
            ),
        };
        (code, AnswerError { kind, ..AnswerError::new(code.status(), code.as_str(), text) })
    }
}
