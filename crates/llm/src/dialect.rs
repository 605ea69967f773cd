//! The door to translating between the languages that clients and upstreams speak.
//!
//! Their names are the hub's, each vendor's languages are a crate that knows no other vendor's; which name means which is said here
//! and nowhere else.

use bytes::Bytes;

pub use ::anthropic as anthropic_messages;
pub use ::gemini;
pub use hub::dialect::*;
pub use openai::{openai_chat, openai_completions, openai_embeddings, openai_responses, openai_usage};

use hub::canonical::error::{AnswerError, DecodeError, EncodeError};
use hub::canonical::loss::Loss;
use hub::canonical::request::ChatRequest;

/// What a dialect can do: read and write what is said in it.
pub trait Speak: Copy {
    /// Reads a chat request body. Of Gemini's the address says the rest: see [`ChatRequest::with_address`].
    fn decode_request(self, body: &[u8]) -> Result<ChatRequest, DecodeError>;

    /// Writes a chat request body.
    fn encode_request(self, request: &ChatRequest, options: &RequestOptions) -> Result<EncodedRequest, EncodeError>;

    /// Makes a reader of answers in this dialect.
    fn decoder(self, mode: Mode, undo: Undo) -> Box<dyn Decoder>;

    /// Makes a writer of answers in this dialect.
    fn encoder(self, mode: Mode, options: AnswerOptions) -> Box<dyn Encoder>;

    /// Reads an error body; never fails, because an upstream's failure may be any bytes.
    fn decode_error(self, status: u16, body: &[u8]) -> AnswerError;

    /// Writes an error body.
    fn encode_error(self, error: &AnswerError) -> Bytes;

    /// Writes an error as the last event of a stream that has already begun.
    fn encode_error_event(self, error: &AnswerError) -> Bytes;

    /// Writes the answer of `GET /v1/models`.
    fn encode_models(self, models: &[ModelEntry]) -> Bytes;

    /// Writes one model, the answer of `GET /v1/models/{id}`.
    #[must_use]
    fn encode_model(self, model: &ModelEntry) -> Bytes;
}

impl Speak for Dialect {
    fn decode_request(self, body: &[u8]) -> Result<ChatRequest, DecodeError> {
        match self {
            Self::OpenAiChat => openai_chat::decode_request(body),
            Self::AnthropicMessages => anthropic_messages::decode_request(body),
            Self::OpenAiResponses => openai_responses::decode_request(body),
            Self::OpenAiCompletions => openai_completions::decode_request(body),
            Self::Gemini => gemini::decode_request(body),
        }
    }

    fn encode_request(self, request: &ChatRequest, options: &RequestOptions) -> Result<EncodedRequest, EncodeError> {
        if self != Self::OpenAiResponses {
            openai_responses::refuse_state(request)?;
        }
        if self != Self::OpenAiCompletions {
            openai_completions::refuse(request)?;
        }
        if self != Self::Gemini {
            gemini::refuse_cached(request)?;
        }
        let mut encoded = match self {
            Self::OpenAiChat => openai_chat::encode_request(request, options),
            Self::AnthropicMessages => anthropic_messages::encode_request(request, options),
            Self::OpenAiResponses => openai_responses::encode_request(request, options),
            Self::OpenAiCompletions => openai_completions::encode_request(request, options),
            Self::Gemini => gemini::encode_request(request, options),
        }?;
        if self != request.origin {
            openai_responses::report(request, &mut encoded.losses);
        }
        if request.verbosity.is_some() && !self.is_openai() {
            encoded.losses.push(Loss::dropped("verbosity", "the upstream has no such parameter"));
        }
        Ok(encoded)
    }

    fn decoder(self, mode: Mode, undo: Undo) -> Box<dyn Decoder> {
        match self {
            Self::OpenAiChat => openai_chat::decoder(mode, undo),
            Self::AnthropicMessages => anthropic_messages::decoder(mode, undo),
            Self::OpenAiResponses => openai_responses::decoder(mode, undo),
            Self::OpenAiCompletions => openai_completions::decoder(mode, undo),
            Self::Gemini => gemini::decoder(mode, undo),
        }
    }

    fn encoder(self, mode: Mode, options: AnswerOptions) -> Box<dyn Encoder> {
        match self {
            Self::OpenAiChat => openai_chat::encoder(mode, options),
            Self::AnthropicMessages => anthropic_messages::encoder(mode, options),
            Self::OpenAiResponses => openai_responses::encoder(mode, options),
            Self::OpenAiCompletions => openai_completions::encoder(mode, options),
            Self::Gemini => gemini::encoder(mode, options),
        }
    }

    fn decode_error(self, status: u16, body: &[u8]) -> AnswerError {
        match self {
            Self::OpenAiChat => openai_chat::decode_error(status, body),
            Self::AnthropicMessages => anthropic_messages::decode_error(status, body),
            Self::OpenAiResponses => openai_responses::decode_error(status, body),
            Self::OpenAiCompletions => openai_completions::decode_error(status, body),
            Self::Gemini => gemini::decode_error(status, body),
        }
    }

    fn encode_error(self, error: &AnswerError) -> Bytes {
        match self {
            Self::OpenAiChat => openai_chat::encode_error(error),
            Self::AnthropicMessages => anthropic_messages::encode_error(error),
            Self::OpenAiResponses => openai_responses::encode_error(error),
            Self::OpenAiCompletions => openai_completions::encode_error(error),
            Self::Gemini => gemini::encode_error(error),
        }
    }

    fn encode_error_event(self, error: &AnswerError) -> Bytes {
        match self {
            Self::OpenAiChat => openai_chat::encode_error_event(error),
            Self::AnthropicMessages => anthropic_messages::encode_error_event(error),
            Self::OpenAiResponses => openai_responses::encode_error_event(error),
            Self::OpenAiCompletions => openai_completions::encode_error_event(error),
            Self::Gemini => gemini::encode_error_event(error),
        }
    }

    fn encode_models(self, models: &[ModelEntry]) -> Bytes {
        match self {
            Self::OpenAiChat => openai_chat::encode_models(models),
            Self::AnthropicMessages => anthropic_messages::encode_models(models),
            Self::OpenAiResponses => openai_responses::encode_models(models),
            Self::OpenAiCompletions => openai_completions::encode_models(models),
            Self::Gemini => gemini::encode_models(models),
        }
    }

    fn encode_model(self, model: &ModelEntry) -> Bytes {
        match self {
            Self::OpenAiChat => openai_chat::encode_model(model),
            Self::AnthropicMessages => anthropic_messages::encode_model(model),
            Self::OpenAiResponses => openai_responses::encode_model(model),
            Self::OpenAiCompletions => openai_completions::encode_model(model),
            Self::Gemini => gemini::encode_model(model),
        }
    }
}
