//! OpenAI itself. Facts: the vendor's API reference and SDK types, read November 2026.

use super::{Provider, Quirks, Spec};
use crate::auth::Scheme;
use llm::dialect::{Dialect, MaxTokensStyle};

/// OpenAI's API.
pub(super) struct OpenAi(Spec);

/// The registry's entry.
pub(super) static OPENAI: OpenAi = OpenAi(Spec {
    name: "openai",
    title: "OpenAI",
    base_url: Some("https://api.openai.com/v1"),
    key_variable: Some("OPENAI_API_KEY"),
    base_url_variable: Some("OPENAI_BASE_URL"),
    needs_credential: true,
    auth: Scheme::Bearer,
    dialects: &[Dialect::OpenAiChat],
    chat_path: "/chat/completions",
    embeddings_path: Some("/embeddings"),
    count_path: None,
    // Organization and project headers choose who pays, so they come from the credential's key, never from the client.
    forwarded: &["openai-beta", "idempotency-key"],
    defaults: &[],
    request_id_header: "x-request-id",
    // Reasoning models refuse `max_tokens`; all models take the newer name.
    quirks: Quirks { max_tokens: MaxTokensStyle::MaxCompletionTokens, ..Quirks::NONE },
});

impl Provider for OpenAi {
    fn spec(&self) -> &'static Spec {
        &OPENAI.0
    }
}
