//! `DeepSeek`. Facts: the vendor's API reference and field notes, read November 2026.

use super::spec::Data;
use super::{Quirks, Rule, Spec};

const REASONER: &str = "the reasoning model does not take it";

const RULES: &[Rule] = &[
    Rule::rename("max_completion_tokens", "max_tokens"),
    Rule::drop("logprobs", REASONER).of(&["deepseek-reasoner"]),
    Rule::drop("top_logprobs", REASONER).of(&["deepseek-reasoner"]),
    Rule::drop("logit_bias", "DeepSeek has no such parameter"),
    Rule::drop("seed", "DeepSeek has no such parameter"),
];

/// The registry's entry.
pub(super) static DEEPSEEK: Data = Data(&Spec {
    name: "deepseek",
    title: "DeepSeek",
    base_url: Some("https://api.deepseek.com"),
    key_variable: Some("DEEPSEEK_API_KEY"),
    // Tool calls of a thinking model are refused without the thinking before them.
    quirks: Quirks { replay_reasoning: true, rules: RULES, ..Quirks::OPENAI_LIKE },
    ..Spec::OPENAI_LIKE
});
