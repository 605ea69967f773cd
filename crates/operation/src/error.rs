//! What a command or query may fail with, and how each failure reads as a problem (RFC 9457).
//!
//! Absent and invisible give the very same body. A failure inside Headgate shows its request id and nothing else; the log
//! has the rest.

use std::time::Duration;

use api::Problem;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use domain::actor::Denied;
use domain::code::ProblemCode;
use domain::{Permission, RequestId};
use http::{HeaderValue, StatusCode, header};
use store::{Constraint, StoreError};

use crate::auth::password::PasswordError;
use crate::http::csrf::Forged;
use crate::http::idempotency::Replay;
use crate::keyring::KeyError;

/// Why a call gives no reply of its own.
#[derive(Debug)]
pub enum Failure {
    /// The caller can mend it.
    Problem(Box<Problem>),
    /// The caller has to wait.
    Wait(ProblemCode, Duration),
    /// The permission is missing; the thing is visible.
    Forbidden(Permission),
    /// The same request was answered before.
    Replay(Box<Replay>),
    /// The store failed in a way that is nobody's input.
    Store(StoreError),
    /// Headgate failed. The text is for the log.
    Internal(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Problem(problem) => problem.fmt(f),
            Self::Wait(code, wait) => write!(f, "{code}: wait {} s", wait.as_secs()),
            Self::Forbidden(permission) => write!(f, "missing permission {permission}"),
            Self::Replay(_) => f.write_str("answered before"),
            Self::Store(error) => f.write_str(&chain(error)),
            Self::Internal(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Failure {}

/// What a handler gives.
pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// Absent, or invisible: one answer for both.
    #[must_use]
    pub fn not_found() -> Self {
        Self::Problem(Box::new(
            Problem::new(ProblemCode::NotFound).with_detail("There is nothing here, or you may not see it."),
        ))
    }

    /// No valid session or token.
    #[must_use]
    pub fn unauthenticated(detail: &'static str) -> Self {
        Self::Problem(Box::new(Problem::new(ProblemCode::Unauthenticated).with_detail(detail)))
    }

    /// The request cannot be understood.
    #[must_use]
    pub fn invalid(pointer: &str, detail: impl Into<String>) -> Self {
        Self::Problem(Box::new(Problem::new(ProblemCode::RequestInvalid).with_field(pointer, detail)))
    }

    /// A field is understood and cannot be accepted.
    #[must_use]
    pub fn unacceptable(pointer: &str, detail: impl Into<String>) -> Self {
        Self::Problem(Box::new(Problem::new(ProblemCode::ValidationFailed).with_field(pointer, detail)))
    }

    /// The state forbids the act.
    #[must_use]
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::Problem(Box::new(Problem::new(ProblemCode::Conflict).with_detail(detail)))
    }

    /// Any other code with its detail.
    #[must_use]
    pub fn of(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self::Problem(Box::new(Problem::new(code).with_detail(detail)))
    }

    /// Turns the failure into the answer.
    #[must_use]
    pub fn respond(self, request_id: RequestId) -> Response {
        match self {
            Self::Problem(problem) => render(&problem),
            Self::Wait(code, wait) => {
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                let seconds = seconds.max(1);
                let mut response = render(&Problem::new(code).with_detail(format!("Try again in {seconds} s.")));
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
                response
            }
            Self::Forbidden(permission) => render(&Problem::new(ProblemCode::PermissionDenied).with_detail(format!(
                "This needs the permission {permission}; ask an owner or admin for a role that has it."
            ))),
            Self::Replay(replay) => replay.respond(),
            Self::Store(error) => store_failure(error, request_id),
            Self::Internal(reason) => {
                tracing::error!(reason, "the control plane failed");
                internal(request_id)
            }
        }
    }
}

pub(crate) fn internal(request_id: RequestId) -> Response {
    let mut problem = Problem::new(ProblemCode::Internal);
    problem.request_id = Some(request_id.to_string());
    render(&problem)
}

fn store_failure(error: StoreError, request_id: RequestId) -> Response {
    match error {
        StoreError::NotFound(_) => Failure::not_found().respond(request_id),
        StoreError::Conflict(constraint) => render(&conflict(constraint)),
        StoreError::Stale(subject) => {
            render(&Problem::new(ProblemCode::VersionMismatch).with_detail(format!(
                "The {subject} has changed since you read it; read it again and repeat the change."
            )))
        }
        StoreError::Cursor => {
            Failure::invalid("cursor", "use the next_cursor of the page before, unchanged").respond(request_id)
        }
        StoreError::Range(field) => Failure::unacceptable(field, "is out of range").respond(request_id),
        StoreError::Unavailable(_) => {
            tracing::warn!(error = chain(&error), "the database is not available");
            Failure::Wait(ProblemCode::Unavailable, Duration::from_secs(1)).respond(request_id)
        }
        other => {
            tracing::error!(error = chain(&other), "a store operation failed");
            internal(request_id)
        }
    }
}

fn conflict(constraint: Constraint) -> Problem {
    let (pointer, detail) = match constraint {
        Constraint::OrganizationSlug => ("/slug", "another organization has this slug"),
        Constraint::WorkspaceSlug => ("/slug", "another workspace of the organization has this slug"),
        Constraint::EnvironmentSlug => ("/slug", "another environment of the workspace has this slug"),
        Constraint::UserEmail | Constraint::Member => ("/email", "this person is a member already"),
        Constraint::RoleBinding => ("/role", "the member has this role at this scope already"),
        Constraint::CredentialName => ("/name", "another credential has this name"),
        Constraint::DeploymentName => ("/name", "another model of the workspace has this name"),
        Constraint::RouteName => ("/name", "another route or model of the workspace has this name"),
        Constraint::RateLimitName => {
            ("/name", "another rate limit of this workspace, or of the whole organization, has this name")
        }
        Constraint::DestinationName => ("/name", "another destination has this name"),
        Constraint::KillSwitchTarget => ("/target", "is stopped already"),
        Constraint::Model => ("/upstream_model", "is described already; change that description"),
        Constraint::Price => ("/effective_at", "a price from this moment exists already"),
        Constraint::BudgetName => {
            ("/name", "another budget of this workspace, or of the whole organization, has this name")
        }
        Constraint::NodeGroupName => ("/slug", "another node group has this slug"),
        _ => ("", "it exists already"),
    };
    let problem = Problem::new(ProblemCode::Conflict).with_detail("The name or place is taken; choose another.");
    if pointer.is_empty() { problem } else { problem.with_field(pointer, detail) }
}

/// Renders a problem as its answer.
#[must_use]
pub fn render(problem: &Problem) -> Response {
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Body::from(body)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Returns an error with its causes, for one log line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Invisible => Self::not_found(),
            Denied::Forbidden(permission) => Self::Forbidden(permission),
        }
    }
}

impl From<Forged> for Failure {
    fn from(forged: Forged) -> Self {
        Self::of(ProblemCode::CrossSite, forged.to_string())
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Self::Internal(chain(&error))
    }
}

impl From<PasswordError> for Failure {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::Wait(ProblemCode::RateLimited, Duration::from_secs(2)),
            PasswordError::Malformed => Self::Internal(chain(&error)),
        }
    }
}
