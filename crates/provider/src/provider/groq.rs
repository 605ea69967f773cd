//! Groq. Facts: the vendor's SDK types (groq 1.7.0) and API reference, read November 2026.

use super::bare::Refused;
use super::spec::Data;
use super::{Batches, Place, Quirks, Rule, Spec};
use crate::task::Task;
use llm::dialect::MaxTokensStyle;

const NO_SUCH: &str = "Groq has no such parameter";

const RULES: &[Rule] = &[
    // "property … is unsupported", also of `function_call: null` (SimonSchubert/Kai#265); `reasoning` is its own name for thoughts.
    Rule::bare(&Refused::OF_ANSWERS, NO_SUCH),
    Rule::only("n", &["1"], "Groq gives one answer to a call"),
    Rule::drop("logit_bias", NO_SUCH),
    Rule::drop("logprobs", NO_SUCH),
    Rule::drop("top_logprobs", NO_SUCH),
    // Its tiers have their own names.
    Rule::values("service_tier", &[("\"default\"", "\"on_demand\""), ("\"priority\"", "\"performance\"")]),
    // Levels are gpt-oss's; Qwen takes a yes or no.
    Rule::values(
        "reasoning_effort",
        &[
            ("\"minimal\"", "\"none\""),
            ("\"low\"", "\"default\""),
            ("\"medium\"", "\"default\""),
            ("\"high\"", "\"default\""),
            ("\"xhigh\"", "\"default\""),
        ],
    )
    .of(&["qwen"]),
    Rule::values(
        "reasoning_effort",
        &[("\"none\"", "\"low\""), ("\"minimal\"", "\"low\""), ("\"xhigh\"", "\"high\""), ("\"max\"", "\"high\"")],
    )
    .of(&["gpt-oss"]),
];

/// The registry's entry.
pub(super) static GROQ: Data = Data(&Spec {
    name: "groq",
    title: "Groq",
    base_url: Some("https://api.groq.com/openai/v1"),
    key_variable: Some("GROQ_API_KEY"),
    places: &[
        Place::CHAT[0],
        Place::task(Task::Speech),
        Place::task(Task::Transcription),
        Place::task(Task::Translation),
    ],
    batches: Some(Batches::OPENAI),
    quirks: Quirks { max_tokens: MaxTokensStyle::MaxCompletionTokens, rules: RULES, ..Quirks::OPENAI_LIKE },
    ..Spec::OPENAI_LIKE
});
