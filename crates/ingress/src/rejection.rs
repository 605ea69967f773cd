//! Every way the gateway says no, and how it says it in the client's dialect.
//!
//! A rejection is a code of the closed registry, words that tell what to do next, and for an upstream's own refusal its status
//! and body. Invariant: no rejection carries a secret, a prompt or an upstream's words unless the client's own request is at
//! fault.

mod failure;

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use domain::RequestId;
use domain::code::{Blame, GatewayCode};
use domain::usage::Outcome;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use llm::canonical::error::{AnswerError, ErrorKind};
use llm::dialect::{Dialect, Speak as _};

/// A refusal.
#[derive(Debug)]
pub struct Rejection {
    /// The stable code.
    pub code: GatewayCode,
    /// What is wrong and what to do.
    pub detail: Cow<'static, str>,
    /// The field at fault.
    pub param: Option<&'static str>,
    /// When to come back.
    pub retry_after: Option<Duration>,
    /// The method that the path takes.
    allow: Option<&'static str>,
    /// The limit that was reached, in calls at once.
    limit: Option<usize>,
    /// Headers of its own.
    headers: Option<Box<HeaderMap>>,
    /// The connection cannot be used further.
    is_closing: bool,
    /// The upstream's refusal of the client's request, already in the client's dialect.
    upstream: Option<Box<UpstreamRefusal>>,
}

#[derive(Debug)]
struct UpstreamRefusal {
    status: StatusCode,
    body: Bytes,
    /// The upstream's own, for a client of its own API: some read there what kind of error it is.
    headers: HeaderMap,
}

impl Rejection {
    /// Makes a refusal.
    pub fn new(code: GatewayCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            param: None,
            retry_after: None,
            allow: None,
            limit: None,
            headers: None,
            is_closing: false,
            upstream: None,
        }
    }

    /// Headgate itself failed.
    pub fn internal() -> Self {
        Self::new(
            GatewayCode::Internal,
            "Headgate failed on this request; try again, and tell your administrator the request id if it happens again",
        )
    }

    /// The body is larger than it may be.
    pub fn too_large(max_bytes: usize) -> Self {
        let detail = format!(
            "the body is larger than the {max_bytes} bytes this gateway accepts; send less, such as smaller images"
        );
        Self::new(GatewayCode::RequestTooLarge, detail)
    }

    /// The upstream refused the client's request; `body` is in the client's dialect.
    pub fn upstream(status: StatusCode, body: Bytes, detail: String) -> Self {
        Self {
            upstream: Some(Box::new(UpstreamRefusal { status, body, headers: HeaderMap::new() })),
            ..Self::new(GatewayCode::UpstreamError, detail)
        }
    }

    /// Hands the upstream's own headers on with its refusal.
    #[must_use]
    pub fn with_headers(mut self, headers: HeaderMap) -> Self {
        if let Some(upstream) = &mut self.upstream {
            upstream.headers = headers;
        }
        self
    }

    /// Names the field at fault.
    #[must_use]
    pub fn with_param(mut self, param: &'static str) -> Self {
        self.param = Some(param);
        self
    }

    /// Names the method that the path takes.
    #[must_use]
    pub fn with_allow(mut self, allow: &'static str) -> Self {
        self.allow = Some(allow);
        self
    }

    /// Says when to come back.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// Names the limit that was reached, in calls at once.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.headers.get_or_insert_default().insert(name, value);
        self
    }

    /// Ends the connection after the answer, because what follows on it cannot be trusted or would be read in vain.
    #[must_use]
    pub fn closing(mut self) -> Self {
        self.is_closing = true;
        self
    }

    /// Returns the HTTP status that the client sees.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match &self.upstream {
            Some(upstream) => upstream.status,
            None => StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// Returns how the request ended.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match (&self.upstream, self.code.blame()) {
            (Some(_), _) => Outcome::UpstreamRejected,
            (None, Blame::Upstream) => Outcome::UpstreamFailed,
            (None, Blame::Client | Blame::Headgate) => Outcome::Rejected,
        }
    }

    /// Renders the refusal.
    pub fn respond(&self, dialect: Dialect, request_id: Option<RequestId>) -> Response<Bytes> {
        let body = match &self.upstream {
            Some(upstream) => upstream.body.clone(),
            None => encode(dialect, &self.to_answer_error(request_id)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(upstream) = &self.upstream {
            for name in upstream.headers.keys() {
                headers.remove(name);
            }
            headers.extend(upstream.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(limit) = self.limit {
            headers.insert("x-ratelimit-limit-requests", HeaderValue::from(limit));
            headers.insert("x-ratelimit-remaining-requests", HeaderValue::from_static("0"));
            headers.insert("x-ratelimit-reset-requests", HeaderValue::from_static("1s"));
        }
        for (name, value) in self.headers.iter().flat_map(|own| own.iter()) {
            headers.insert(name, value.clone());
        }
        if self.is_closing {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(retry_after) = self.retry_after {
            // Whole seconds, rounded up: earlier would be refused again.
            let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }

    /// Returns the refusal as an error of the hub model, for an in-band event or another rendering.
    pub fn to_answer_error(&self, request_id: Option<RequestId>) -> AnswerError {
        let mut error = AnswerError::new(self.status().as_u16(), self.code.as_str(), &*self.detail);
        error.kind = match self.code {
            GatewayCode::UpstreamTimeout => ErrorKind::Timeout,
            GatewayCode::UpstreamError => ErrorKind::Server,
            _ => error.kind,
        };
        error.param = self.param.map(Into::into);
        error.request_id = request_id.map(|id| id.to_string().into());
        error
    }
}

/// Writes an error body in a dialect.
pub fn encode(dialect: Dialect, error: &AnswerError) -> Bytes {
    dialect.encode_error(error)
}
