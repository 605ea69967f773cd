//! Cerebras. Facts: the vendor's page on compatibility with OpenAI, read November 2026.

use super::spec::Data;
use super::{Quirks, Rule, Spec};
use llm::dialect::MaxTokensStyle;

const NO_SUCH: &str = "Cerebras has no such parameter";

const RULES: &[Rule] = &[
    Rule::drop("frequency_penalty", NO_SUCH),
    Rule::drop("presence_penalty", NO_SUCH),
    Rule::drop("logit_bias", NO_SUCH),
    Rule::drop("service_tier", NO_SUCH),
];

/// The registry's entry.
pub(super) static CEREBRAS: Data = Data(&Spec {
    name: "cerebras",
    title: "Cerebras",
    base_url: Some("https://api.cerebras.ai/v1"),
    key_variable: Some("CEREBRAS_API_KEY"),
    quirks: Quirks { max_tokens: MaxTokensStyle::MaxCompletionTokens, rules: RULES, ..Quirks::OPENAI_LIKE },
    ..Spec::OPENAI_LIKE
});
