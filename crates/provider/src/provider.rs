//! Upstream API families: what to send where, how to sign it, what an answer means. **Sans-IO.**
//!
//! A provider is a `Spec` (data, in `spec`) and, where data is not enough, a few methods; connections, retries and timeouts
//! belong to the gateway. Adding one is a file and a line in [`ALL`]; nothing else may name a provider. Invariant: a request
//! carries only headers that we set or that are on the provider's list, never the client's key, and only goes to the target's
//! own base.

mod anthropic;
mod azure_openai;
mod bare;
mod base;
mod bedrock;
mod bedrock_mantle;
mod betas;
mod cerebras;
mod cloudflare;
mod cohere;
pub mod count;
mod databricks;
mod deepgram;
mod deepinfra;
mod deepseek;
mod echo;
mod elevenlabs;
mod fireworks;
mod fit;
mod gemini;
mod groq;
mod huggingface;
mod jina;
mod mistral;
mod nebius;
mod nvidia;
mod ollama;
mod openai;
mod openai_compatible;
mod openrouter;
mod own;
mod perplexity;
mod prefill;
mod prepare;
mod rules;
mod sambanova;
mod sglang;
mod spec;
mod together;
mod vertex;
mod vllm;
mod voyage;
mod xai;

use bytes::Bytes;
use domain::usage::{TokenUsage, UnitUsage};
use domain::{BaseModel, Secret, Timestamp};
use http::HeaderMap;

use crate::auth::{self, SignError, TokenExchange};
use crate::catalog::ModelFacts;
use crate::failure::{self, Failure};
use crate::media::{self, Fetches, Inlined, Need};
use crate::scan::Scan;
use crate::task::{self, Asked, Task};
use crate::wire::Wire;
use llm::canonical::error::{AnswerError, DecodeError, EncodeError};
use llm::canonical::loss::Loss;
use llm::canonical::request::ChatRequest;
use llm::dialect::{Decoder, Dialect, Mode, RequestOptions, Speak as _, Undo};

pub use bare::Refused;
pub use base::{Base, BaseUrlError, ModelNameError, PathError};
pub use own::{Counting, Known, count_named, reader, recognise};
pub use prefill::Prefill;
use rules::Subject;
pub use rules::{Action, Rule, When};
pub use spec::{BaseParts, BatchForm, Batches, FromVariables, Place, Quirks, Spec, Surface};
pub use wire::WIRE_DIALECT;

/// Every provider, by name. The one line to add.
pub static ALL: &[&dyn Provider] = &[
    &anthropic::ANTHROPIC,
    &azure_openai::AZURE_OPENAI,
    &bedrock::BEDROCK,
    &bedrock_mantle::BEDROCK_MANTLE,
    &cerebras::CEREBRAS,
    &cloudflare::CLOUDFLARE,
    &cohere::COHERE,
    &databricks::DATABRICKS,
    &deepgram::DEEPGRAM,
    &deepinfra::DEEPINFRA,
    &deepseek::DEEPSEEK,
    &echo::ECHO,
    &elevenlabs::ELEVENLABS,
    &fireworks::FIREWORKS,
    &gemini::GEMINI,
    &groq::GROQ,
    &huggingface::HUGGINGFACE,
    &jina::JINA,
    &mistral::MISTRAL,
    &nebius::NEBIUS,
    &nvidia::NVIDIA,
    &ollama::OLLAMA,
    &openai::OPENAI,
    &openai_compatible::OPENAI_COMPATIBLE,
    &openrouter::OPENROUTER,
    &perplexity::PERPLEXITY,
    &sambanova::SAMBANOVA,
    &sglang::SGLANG,
    &together::TOGETHER,
    &vertex::VERTEX,
    &vllm::VLLM,
    &voyage::VOYAGE,
    &xai::XAI,
];

/// Finds a provider by its name.
#[must_use]
pub fn find(name: &str) -> Option<&'static dyn Provider> {
    ALL.iter().copied().find(|provider| provider.spec().name == name)
}

/// Returns the name that OpenTelemetry's conventions have for a provider; ours, where they have none.
#[must_use]
pub fn otel_name(name: &str) -> &str {
    find(name).and_then(|provider| provider.spec().otel_name).unwrap_or(name)
}

/// What a client wants done, in its own dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A chat answer, in the dialect of the request.
    Chat(Dialect),
    /// The number of input tokens, in Anthropic's or Gemini's dialect.
    CountTokens(Dialect),
    /// Vectors, in OpenAI's dialect.
    Embeddings,
    /// Anything else, in OpenAI's form.
    Task(Task),
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
    /// What was fetched because the upstream does not.
    pub inlined: Option<&'a Inlined>,
}

impl Call<'_> {
    /// Reads a chat call, or one that counts what such a call has, in the client's dialect, for a model. Gemini's bodies say neither model
    /// nor streaming: that the address said.
    pub fn decode(&self, client: Dialect, model: &str) -> Result<ChatRequest, DecodeError> {
        let mut request = match self.operation {
            Operation::CountTokens(_) => count::decode_request(client, self.body)?,
            _ => client.decode_request(self.body)?,
        };
        if client == Dialect::Gemini {
            request = request.with_address(model, self.scan.is_stream());
        }
        model.clone_into(&mut request.model);
        if let Some(inlined) = self.inlined {
            inlined.put(&mut request);
        }
        Ok(request)
    }
}

/// Where one attempt goes.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The credential's base address.
    pub base: &'a Base,
    /// The model as the upstream names it.
    pub upstream_model: &'a str,
    /// The model of the catalog that it really is, where that name does not say so.
    pub base_model: Option<&'a BaseModel>,
    /// What its organization says of the model, in place of what the catalog has.
    pub facts: Option<&'a ModelFacts>,
}

impl<'a> Target<'a> {
    /// Returns provider and name under which the catalog has what is known of the model.
    fn known_as(&self, provider: &'static str) -> (&'a str, &'a str) {
        self.base_model.map_or((provider, self.upstream_model), BaseModel::parts)
    }

    /// Returns whose model a body is for.
    fn subject(&self, provider: &'static str) -> Subject<'a> {
        let (provider, model) = self.known_as(provider);
        Subject { provider, model, facts: self.facts }
    }
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
        /// The upstream's dialect, to be given to [`Provider::decoder`]; for a wire format of its own, [`WIRE_DIALECT`].
        dialect: Dialect,
        /// What the decoder must turn back.
        undo: Undo,
    },
    /// A whole JSON body, untouched; its usage in OpenAI's form (embeddings).
    Embeddings,
    /// A whole JSON body with the number of tokens, in the upstream's form; costs nothing.
    Count {
        /// The upstream's form: see [`count`].
        dialect: Dialect,
    },
    /// Read and written by the operation's form.
    Formed(Box<Asked>),
}

impl Relay {
    /// The upstream's dialect, of an answer that a model wrote.
    #[must_use]
    pub fn dialect(&self) -> Option<Dialect> {
        match self {
            Self::Untouched { dialect, .. } | Self::Translated { dialect, .. } => Some(*dialect),
            Self::Embeddings | Self::Count { .. } | Self::Formed(_) => None,
        }
    }
}

/// What an answer made inside Headgate needs from outside.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// Id of the answer: the request's.
    pub id: &'a str,
    /// The time of the answer.
    pub now: Timestamp,
    /// Where the upstream is; `None` where there is none.
    pub base_url: Option<&'a str>,
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
    /// What it counted beside tokens.
    pub units: UnitUsage,
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

/// The language in which an upstream takes a chat call.
#[derive(Debug, Clone, Copy)]
pub enum Speech {
    /// One that clients speak too.
    Dialect(Dialect),
    /// One of its own.
    Wire(&'static dyn Wire),
}

/// An upstream API family.
pub trait Provider: Sync {
    /// Returns the provider's data.
    fn spec(&self) -> &'static Spec;

    /// Reads what the environment says of it through `get`.
    fn read_variables(&self, get: &dyn Fn(&str) -> Option<String>) -> FromVariables {
        self.spec().read_variables(get, || None)
    }

    /// Says what a translation must know of a model. `model` is the catalog's entry, if it has one.
    fn request_options(&self, upstream_model: &str, model: Option<&ModelFacts>) -> RequestOptions {
        prepare::request_options(self.spec(), upstream_model, model)
    }

    /// Builds the upstream request of one attempt, unsigned. The client's bytes go untouched when the upstream speaks its
    /// dialect, save for spliced fields; otherwise they are translated.
    fn prepare(&self, call: &Call<'_>, target: &Target<'_>) -> Result<Prepared, PrepareError> {
        let spec = self.spec();
        let model = match call.operation {
            Operation::CountTokens(_) => self.counted(target.upstream_model),
            _ => target.upstream_model,
        };
        let target = &Target { upstream_model: model, ..*target };
        if let Some(formed) = task::prepare(spec, call, target) {
            return formed;
        }
        let speech = match call.operation {
            Operation::Chat(client) => Some(prepare::fullest(spec, call, target, self.speech(client, model))),
            Operation::CountTokens(client) => Some(count::speech(spec, self.speech(client, model))),
            Operation::Embeddings | Operation::Task(_) => None,
        };
        let mut prepared = prepare::prepare(spec, call, target, speech, || {
            let (provider, name) = target.known_as(spec.name);
            let known = || crate::catalog::find(provider, name).map(|model| &model.facts);
            self.request_options(name, target.facts.or_else(known))
        })?;
        if let Relay::Untouched { dialect, .. } = prepared.relay
            && !self.relays_untouched(call, model)
        {
            prepared.relay = Relay::Translated { dialect, undo: Undo::default() };
        }
        self.adorn(call, model, &mut prepared);
        Ok(prepared)
    }

    /// Puts into a chat request what this upstream has its own place for.
    fn adorn(&self, _call: &Call<'_>, _upstream_model: &str, _prepared: &mut Prepared) {}

    /// Names a model to whoever counts its tokens.
    fn counted<'m>(&self, upstream_model: &'m str) -> &'m str {
        upstream_model
    }

    /// Says whether a count that is refused may only not be offered for that model, in that region or to that key, so that an
    /// estimate stands in.
    fn may_not_count(&self) -> bool {
        false
    }

    /// Says whether an answer in the client's dialect can be relayed as it comes.
    fn relays_untouched(&self, _call: &Call<'_>, _upstream_model: &str) -> bool {
        true
    }

    /// Says in which language a model takes the chat calls of a client: the client's own where it can.
    fn speech(&self, client: Dialect, _upstream_model: &str) -> Speech {
        let spec = self.spec();
        match (spec.dialects.contains(&client), spec.wire, spec.dialects) {
            (false, Some(wire), _) => Speech::Wire(wire),
            (false, None, [first, ..]) => Speech::Dialect(*first),
            _ => Speech::Dialect(client),
        }
    }

    /// Says what the upstream fetches itself of what a call names by address.
    fn fetches(&self, speech: Speech) -> Fetches {
        match speech {
            Speech::Dialect(dialect) => Fetches::of(dialect),
            Speech::Wire(wire) => wire.fetches(),
        }
    }

    /// Lists what has to be fetched before a call can be prepared. Most calls need nothing, which costs nothing to tell.
    fn needs(&self, call: &Call<'_>, upstream_model: &str) -> Vec<Need> {
        media::needs(self, call, upstream_model)
    }

    /// Adds authentication. Pure: the same inputs give the same request.
    fn sign(
        &self,
        request: &mut http::Request<Bytes>,
        secret: Option<&Secret<String>>,
        now: Timestamp,
    ) -> Result<(), SignError> {
        auth::sign(self.spec().auth, request, secret, now)
    }

    /// Says what has to be asked for before [`Self::sign`] can use a secret; `None` when it can be used as it is. The result of
    /// the exchange takes the secret's place until it ends.
    fn exchange(&self, secret: &Secret<String>, now: Timestamp) -> Result<Option<TokenExchange>, SignError> {
        auth::exchange(self.spec().auth.secret_form(), secret, now)
    }

    /// Says what signs a request that is shown and not sent, in place of a secret that has to be exchanged first.
    fn stand_in(&self, secret: &Secret<String>) -> Option<Secret<String>> {
        auth::stand_in(self.spec().auth.secret_form(), secret)
    }

    /// Makes the reader of a translated answer.
    fn decoder(&self, dialect: Dialect, mode: Mode, undo: Undo) -> Box<dyn Decoder> {
        match self.spec().wire {
            Some(wire) if !self.spec().dialects.contains(&dialect) => wire.decoder(mode, undo),
            _ => dialect.decoder(mode, undo),
        }
    }

    /// Makes a reader that only counts, for streams in forms that are not known here; `None` when nothing in them says what was used.
    fn onlooker(&self) -> Option<Box<dyn Decoder>> {
        None
    }

    /// Reads an error body of the upstream, to be written in the client's dialect.
    fn decode_error(&self, client: Dialect, upstream_model: &str, status: u16, body: &[u8]) -> AnswerError {
        match self.speech(client, upstream_model) {
            Speech::Dialect(dialect) => dialect.decode_error(status, body),
            Speech::Wire(wire) => wire.decode_error(status, body),
        }
    }

    /// Says what a failed answer means.
    fn classify(&self, status: u16, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Failure {
        failure::classify(status, headers, body, now)
    }

    /// Says whether realtime sessions are held here, without an upstream.
    fn holds_sessions(&self) -> bool {
        false
    }

    /// Answers without an upstream, when the provider can; `None` sends the call to the target. By default only token counts
    /// for upstreams that do not count are answered here, as an estimate.
    fn local(
        &self,
        call: &Call<'_>,
        upstream_model: &str,
        stamp: &Stamp<'_>,
    ) -> Option<Result<LocalAnswer, PrepareError>> {
        let Operation::CountTokens(client) = call.operation else { return None };
        count::estimated(self.spec(), call, self.speech(client, upstream_model), stamp)
    }
}

#[cfg(test)]
mod tests;
