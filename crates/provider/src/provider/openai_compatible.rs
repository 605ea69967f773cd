//! Any server that speaks OpenAI's dialect: vLLM, `SGLang`, llama.cpp, Ollama's `/v1`, other vendors.
//!
//! Its base address comes from the credential and has the version in it (`https://host/v1`). Facts: field notes on vLLM and
//! other servers, read November 2026.

use super::{Provider, Quirks, Spec};
use crate::auth::Scheme;
use llm::dialect::{Dialect, MaxTokensStyle};

/// A server that speaks OpenAI's dialect.
pub(super) struct OpenAiCompatible(Spec);

/// The registry's entry.
pub(super) static OPENAI_COMPATIBLE: OpenAiCompatible = OpenAiCompatible(Spec {
    name: "openai_compatible",
    title: "OpenAI-compatible server",
    base_url: None,
    key_variable: None,
    base_url_variable: None,
    needs_credential: true,
    auth: Scheme::Bearer,
    dialects: &[Dialect::OpenAiChat],
    chat_path: "/chat/completions",
    embeddings_path: Some("/embeddings"),
    count_path: None,
    forwarded: &["openai-beta", "idempotency-key"],
    defaults: &[],
    request_id_header: "x-request-id",
    // Many chat templates know no `developer` role; `max_tokens` is the name all of them take.
    quirks: Quirks {
        max_tokens: MaxTokensStyle::MaxTokens,
        stream_options: true,
        developer_role: false,
        replay_reasoning: true,
    },
});

impl Provider for OpenAiCompatible {
    fn spec(&self) -> &'static Spec {
        &OPENAI_COMPATIBLE.0
    }
}
