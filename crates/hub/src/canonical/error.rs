//! Errors of translation, and errors that travel inside an answer.

use std::fmt;

/// Why bytes could not be read as a dialect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON.
    #[error("{}", Located { path, text: &format!("not valid JSON: {reason}") })]
    Json {
        /// Where, empty for the whole body.
        path: Box<str>,
        /// The parser's words.
        reason: Box<str>,
    },
    /// A field has the wrong type or value.
    #[error("{}", Located { path, text: &format!("expected {expected}") })]
    Expected {
        /// Where: `messages[3].content[0].type`.
        path: Box<str>,
        /// What would be right.
        expected: Box<str>,
    },
    /// A field that must be there is not.
    #[error("{}", Located { path, text: "is required" })]
    Missing {
        /// Where it should be.
        path: Box<str>,
    },
    /// One line or event of a stream is longer than allowed.
    #[error("a line of the stream is longer than {limit} bytes")]
    LineTooLong {
        /// The limit.
        limit: usize,
    },
    /// The stream ended before the answer did.
    #[error("the stream ended before the answer was complete")]
    Truncated,
}

struct Located<'a> {
    path: &'a str,
    text: &'a str,
}

impl fmt::Display for Located<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(self.text) } else { write!(f, "{}: {}", self.path, self.text) }
    }
}

impl DecodeError {
    /// Returns the path of the offending field, when there is one.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Json { path, .. } | Self::Expected { path, .. } | Self::Missing { path } if !path.is_empty() => {
                Some(path)
            }
            _ => None,
        }
    }
}

/// Why a call cannot be said in a dialect at all; smaller misfits are a [`super::loss::Loss`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct EncodeError {
    /// The field, in the words of the caller's dialect.
    pub path: Box<str>,
    /// Why, and what to do instead.
    pub reason: Box<str>,
}

/// An error as it travels to the client or came from an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerError {
    /// What kind it is; decides the vendor's `type` word.
    pub kind: ErrorKind,
    /// HTTP status.
    pub status: u16,
    /// Stable code, ours (`key_invalid`) or the upstream's (`context_length_exceeded`).
    pub code: Option<Box<str>>,
    /// What happened and what to do.
    pub message: Box<str>,
    /// The field at fault.
    pub param: Option<Box<str>>,
    /// The vendor's own `type` word, kept for a client of the same dialect.
    pub native_type: Option<Box<str>>,
    /// The request it answers.
    pub request_id: Option<Box<str>>,
}

impl AnswerError {
    /// An error of whose body nothing is known: its beginning is the message.
    #[must_use]
    pub fn unread(status: u16, body: &[u8]) -> Self {
        Self {
            kind: ErrorKind::of_status(status),
            status,
            code: None,
            message: String::from_utf8_lossy(&body[..body.len().min(2048)]).trim().into(),
            param: None,
            native_type: None,
            request_id: None,
        }
    }

    /// An error with the usual kind of a status.
    pub fn new(status: u16, code: &str, message: impl Into<Box<str>>) -> Self {
        Self {
            kind: ErrorKind::of_status(status),
            status,
            code: Some(code.into()),
            message: message.into(),
            param: None,
            native_type: None,
            request_id: None,
        }
    }
}

/// What kind of error; each dialect has its word for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is wrong.
    InvalidRequest,
    /// The prompt does not fit the model.
    ContextWindow,
    /// The prompt or answer was refused by a policy.
    ContentPolicy,
    /// The key is missing or wrong.
    Authentication,
    /// No money left.
    Billing,
    /// The key may not do this.
    Permission,
    /// No such model or object.
    NotFound,
    /// The state does not allow it.
    Conflict,
    /// Too many bytes.
    TooLarge,
    /// Too many requests or tokens.
    RateLimited,
    /// The upstream is full; try later or elsewhere.
    Overloaded,
    /// Nobody answered in time.
    Timeout,
    /// Anything else on the serving side.
    Server,
}

impl ErrorKind {
    /// The kind a status usually means.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Authentication,
            402 => Self::Billing,
            403 => Self::Permission,
            404 => Self::NotFound,
            408 | 504 => Self::Timeout,
            409 => Self::Conflict,
            413 => Self::TooLarge,
            429 => Self::RateLimited,
            503 | 529 => Self::Overloaded,
            400..=499 => Self::InvalidRequest,
            _ => Self::Server,
        }
    }

    /// The status to answer with when only the kind is known, as inside a stream.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidRequest | Self::ContextWindow | Self::ContentPolicy => 400,
            Self::Authentication => 401,
            Self::Billing => 402,
            Self::Permission => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::RateLimited => 429,
            Self::Server => 500,
            Self::Overloaded => 503,
            Self::Timeout => 504,
        }
    }
}
