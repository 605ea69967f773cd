//! Perplexity's Sonar. Facts: the vendor's page on compatibility with OpenAI, read November 2026.

use super::spec::Data;
use super::{Quirks, Rule, Spec};

const NO_SUCH: &str = "Perplexity has no such parameter";

const RULES: &[Rule] = &[
    Rule::rename("max_completion_tokens", "max_tokens"),
    Rule::drop("tools", "Perplexity's models call no tools"),
    Rule::drop("tool_choice", "Perplexity's models call no tools"),
    Rule::drop("parallel_tool_calls", "Perplexity's models call no tools"),
    Rule::drop("logit_bias", NO_SUCH),
    Rule::drop("seed", NO_SUCH),
    Rule::drop("user", NO_SUCH),
];

/// The registry's entry.
pub(super) static PERPLEXITY: Data = Data(&Spec {
    name: "perplexity",
    title: "Perplexity",
    base_url: Some("https://api.perplexity.ai"),
    key_variable: Some("PERPLEXITY_API_KEY"),
    quirks: Quirks { rules: RULES, ..Quirks::OPENAI_LIKE },
    listing: None,
    ..Spec::OPENAI_LIKE
});
