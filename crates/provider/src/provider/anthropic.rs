//! Anthropic's Messages API. Facts: the vendor's API reference and SDK types, read November 2026.

use super::{Provider, Quirks, Spec};
use crate::auth::Scheme;
use llm::dialect::Dialect;

/// Anthropic's API.
pub(super) struct Anthropic(Spec);

/// The registry's entry.
pub(super) static ANTHROPIC: Anthropic = Anthropic(Spec {
    name: "anthropic",
    title: "Anthropic",
    base_url: Some("https://api.anthropic.com"),
    key_variable: Some("ANTHROPIC_API_KEY"),
    base_url_variable: Some("ANTHROPIC_BASE_URL"),
    needs_credential: true,
    auth: Scheme::AnthropicKey,
    dialects: &[Dialect::AnthropicMessages],
    chat_path: "/v1/messages",
    embeddings_path: None,
    count_path: Some("/v1/messages/count_tokens"),
    forwarded: &["anthropic-version", "anthropic-beta", "idempotency-key"],
    // Required by the API; the only version there has been since June 2023.
    defaults: &[("anthropic-version", "2023-06-01")],
    request_id_header: "request-id",
    quirks: Quirks::NONE,
});

impl Provider for Anthropic {
    fn spec(&self) -> &'static Spec {
        &ANTHROPIC.0
    }
}
