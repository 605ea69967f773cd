//! Anthropic's Messages API. Facts: the vendor's API reference and SDK types, read November 2026.

use llm::dialect::Dialect;

use super::spec::Data;
use super::{BatchForm, Batches, Place, Prefill, Quirks, Rule, Spec, Surface, When};
use crate::auth::Scheme;

const FIXED: &str = "the model samples in its own way";
const CLAUDE: &[&str] = &["claude"];
/// Families that take one of the two.
const ONE_OF_TWO: &[&str] = &[
    "claude-opus-4-1",
    "claude-opus-4-5",
    "claude-opus-4-6",
    "claude-sonnet-4-5",
    "claude-sonnet-4-6",
    "claude-haiku-4-5",
];

/// Rules by model family, which whoever resells Claude shares. The vendor's SDK has left sampling out altogether (2.12.0).
pub(super) const RULES: &[Rule] = &[
    Rule::drop("temperature", FIXED).of(CLAUDE).when(When::Unsampled),
    Rule::drop("top_p", FIXED).of(CLAUDE).when(When::Unsampled),
    Rule::drop("top_k", FIXED).of(CLAUDE).when(When::Unsampled),
    Rule::drop("top_p", "the model takes either temperature or top_p").of(ONE_OF_TWO).when(When::Beside("temperature")),
];

/// The registry's entry.
pub(super) static ANTHROPIC: Data = Data(&Spec {
    name: "anthropic",
    title: "Anthropic",
    base_url: Some("https://api.anthropic.com"),
    key_variable: Some("ANTHROPIC_API_KEY"),
    base_url_variable: Some("ANTHROPIC_BASE_URL"),
    auth: Scheme::AnthropicKey,
    dialects: &[Dialect::AnthropicMessages],
    places: &[
        Place::new(Surface::Chat(Dialect::AnthropicMessages), "/v1/messages"),
        Place::new(Surface::CountTokens(Dialect::AnthropicMessages), "/v1/messages/count_tokens"),
    ],
    forwarded: &["anthropic-version", "anthropic-beta", "idempotency-key"],
    // Required by the API; the only version there has been since June 2023.
    defaults: &[("anthropic-version", "2023-06-01")],
    request_id_header: "request-id",
    batches: Some(Batches {
        form: BatchForm::Anthropic,
        root: "v1/messages/batches",
        dated_root: "v1/messages/batches",
        one_model: false,
    }),
    quirks: Quirks { prefill: Prefill::CLAUDE, rules: RULES, ..Quirks::NONE },
    listing: Some("v1/models"),
    ..Spec::OPENAI_LIKE
});
