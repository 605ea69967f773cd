//! Upstream API families: what to send where, how to sign it, what an answer means. **Sans-IO.**
//!
//! A provider is a `Spec` (data) and, where data is not enough, a few methods; connections, retries and timeouts belong to
//! the gateway. Adding one is a file and a line in [`ALL`]; nothing else may name a provider. Invariant: a request carries only
//! headers that we set or that are on the provider's list, never the client's key, and only goes to the target's own base.

mod anthropic;
mod base;
mod echo;
mod openai;
mod openai_compatible;
mod prepare;

use bytes::Bytes;
use domain::usage::TokenUsage;
use domain::{Secret, Timestamp};
use http::HeaderMap;

use crate::auth::{self, Scheme, SignError};
use crate::catalog::Model;
use crate::failure::{self, Failure};
use crate::scan::Scan;
use llm::canonical::error::{DecodeError, EncodeError};
use llm::canonical::loss::Loss;
use llm::dialect::{Decoder, Dialect, MaxTokensStyle, Mode, RequestOptions, Undo};

pub use base::{Base, BaseUrlError};

/// Every provider, by name. The one line to add.
pub static ALL: &[&dyn Provider] =
    &[&anthropic::ANTHROPIC, &echo::ECHO, &openai::OPENAI, &openai_compatible::OPENAI_COMPATIBLE];

/// Finds a provider by its name.
#[must_use]
pub fn find(name: &str) -> Option<&'static dyn Provider> {
    ALL.iter().copied().find(|provider| provider.spec().name == name)
}

/// What a client wants done, in its own dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A chat answer, in the dialect of the request.
    Chat(Dialect),
    /// The number of input tokens, in Anthropic's dialect.
    CountTokens,
    /// Vectors, in OpenAI's dialect.
    Embeddings,
}

/// One client call, ready to be sent to any target.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// What is wanted.
    pub operation: Operation,
    /// The body as the client sent it.
    pub body: &'a Bytes,
    /// What `scan` read in it.
    pub scan: &'a Scan,
    /// The client's request headers; only those on the provider's list go further.
    pub headers: &'a HeaderMap,
}

/// Where one attempt goes.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The credential's base address.
    pub base: &'a Base,
    /// The model as the upstream names it.
    pub upstream_model: &'a str,
}

/// An upstream request, unsigned, and how its answer is to be read.
#[derive(Debug)]
pub struct Prepared {
    /// The request.
    pub request: http::Request<Bytes>,
    /// How the answer reaches the client.
    pub relay: Relay,
    /// What could not be said in the upstream's dialect.
    pub losses: Vec<Loss>,
}

/// How an answer reaches the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relay {
    /// Untouched; `skim` looks for usage.
    Untouched {
        /// The dialect of both sides.
        dialect: Dialect,
        /// The stream's usage event is there only because we asked for it: relay through `StreamSkim::relay`.
        withhold_usage: bool,
    },
    /// Decoded from the upstream's dialect and encoded in the client's.
    Translated {
        /// The upstream's dialect.
        dialect: Dialect,
        /// What the decoder must turn back.
        undo: Undo,
    },
    /// A whole JSON body, untouched; its usage in OpenAI's form (embeddings).
    Embeddings,
    /// A whole JSON body, untouched, which costs nothing (token counts).
    Count,
}

/// What an answer made inside Headgate needs from outside.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// Id of the answer: the request's.
    pub id: &'a str,
    /// The time of the answer.
    pub now: Timestamp,
}

/// An answer made without an upstream, in the client's dialect. To be relayed as if an upstream had sent it: status 200,
/// `content_type`, then the chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalAnswer {
    /// The media type.
    pub content_type: &'static str,
    /// The body; several chunks for a stream.
    pub chunks: Vec<Bytes>,
    /// What it consumed.
    pub usage: TokenUsage,
    /// The numbers in the answer are an estimate (token counts for upstreams that count for nobody).
    pub is_estimated: bool,
}

/// Why no upstream request could be made of a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// The provider cannot do it at all.
    #[error("{provider} offers no {what}; choose a model of another provider")]
    Unsupported {
        /// The provider's title.
        provider: &'static str,
        /// What it lacks.
        what: &'static str,
    },
    /// The body could not be read in the client's dialect.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The call cannot be said in the upstream's dialect.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A local answer was asked for with values that make none.
    #[error("{field}: {reason}")]
    Invalid {
        /// The field at fault.
        field: &'static str,
        /// Why.
        reason: String,
    },
}

/// What is told about a provider as data.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Stable name, in settings, URLs and the ledger.
    pub name: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// Where the API usually is; `None` when every installation has its own address or there is none.
    pub base_url: Option<&'static str>,
    /// Environment variable that usually holds the secret.
    pub key_variable: Option<&'static str>,
    /// Environment variable that usually holds another base address.
    pub base_url_variable: Option<&'static str>,
    /// Whether a call needs a stored credential at all.
    pub needs_credential: bool,
    /// How requests are signed.
    pub auth: Scheme,
    /// Chat dialects the upstream speaks; the first is used for clients that speak none of them.
    pub dialects: &'static [Dialect],
    /// Path of chat below the base.
    pub chat_path: &'static str,
    /// Path of embeddings below the base, when there are any (OpenAI's dialect).
    pub embeddings_path: Option<&'static str>,
    /// Path of token counting below the base, when the upstream counts (Anthropic's dialect).
    pub count_path: Option<&'static str>,
    /// Client headers that go on to the upstream.
    pub forwarded: &'static [&'static str],
    /// Headers set when the client did not.
    pub defaults: &'static [(&'static str, &'static str)],
    /// Response header with the upstream's own request id.
    pub request_id_header: &'static str,
    /// Where it differs from the vendor whose dialect it speaks.
    pub quirks: Quirks,
}

/// Differences from the dialect's vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quirks {
    /// The name of the output cap in translated requests.
    pub max_tokens: MaxTokensStyle,
    /// It takes `stream_options`.
    pub stream_options: bool,
    /// It knows the role `developer`.
    pub developer_role: bool,
    /// It takes reasoning back in messages.
    pub replay_reasoning: bool,
}

impl Quirks {
    /// As the vendor.
    pub const NONE: Self = Self {
        max_tokens: MaxTokensStyle::AsGiven,
        stream_options: true,
        developer_role: true,
        replay_reasoning: false,
    };
}

/// An upstream API family.
pub trait Provider: Sync {
    /// Returns the provider's data.
    fn spec(&self) -> &'static Spec;

    /// Says what a translation must know of a model. `model` is the catalog's entry, if it has one.
    fn request_options(&self, upstream_model: &str, model: Option<&Model>) -> RequestOptions {
        prepare::request_options(self.spec(), upstream_model, model)
    }

    /// Builds the upstream request of one attempt, unsigned. The client's bytes go untouched when the upstream speaks its
    /// dialect, save for spliced fields; otherwise they are translated.
    fn prepare(&self, call: &Call<'_>, target: &Target<'_>) -> Result<Prepared, PrepareError> {
        let spec = self.spec();
        prepare::prepare(spec, call, target, || {
            self.request_options(target.upstream_model, crate::catalog::find(spec.name, target.upstream_model))
        })
    }

    /// Adds authentication. Pure: the same inputs give the same request.
    fn sign(
        &self,
        request: &mut http::Request<Bytes>,
        secret: Option<&Secret<String>>,
        _now: Timestamp,
    ) -> Result<(), SignError> {
        auth::sign(self.spec().auth, request.headers_mut(), secret)
    }

    /// Makes the reader of a translated answer.
    fn decoder(&self, dialect: Dialect, mode: Mode, undo: Undo) -> Box<dyn Decoder> {
        dialect.decoder(mode, undo)
    }

    /// Says what a failed answer means.
    fn classify(&self, status: u16, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Failure {
        failure::classify(status, headers, body, now)
    }

    /// Answers without an upstream, when the provider can; `None` sends the call to the target. By default only token counts
    /// for upstreams that do not count are answered here, as an estimate.
    fn local(
        &self,
        call: &Call<'_>,
        _upstream_model: &str,
        _stamp: &Stamp<'_>,
    ) -> Option<Result<LocalAnswer, PrepareError>> {
        prepare::estimated_count(self.spec(), call)
    }
}

#[cfg(test)]
mod tests;
