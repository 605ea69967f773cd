//! `SambaNova` Cloud. Facts: the vendor's API reference, read November 2026.

use super::spec::Data;
use super::{Place, Quirks, Rule, Spec};
use crate::task::Task;

const NO_SUCH: &str = "SambaNova has no such parameter";

const RULES: &[Rule] = &[
    Rule::rename("max_completion_tokens", "max_tokens"),
    Rule::drop("logit_bias", NO_SUCH),
    Rule::drop("logprobs", NO_SUCH),
    Rule::drop("top_logprobs", NO_SUCH),
    Rule::drop("frequency_penalty", NO_SUCH),
    Rule::drop("presence_penalty", NO_SUCH),
    Rule::drop("seed", NO_SUCH),
];

/// The registry's entry.
pub(super) static SAMBANOVA: Data = Data(&Spec {
    name: "sambanova",
    title: "SambaNova",
    base_url: Some("https://api.sambanova.ai/v1"),
    key_variable: Some("SAMBANOVA_API_KEY"),
    places: &[Place::CHAT[0], Place::EMBEDDINGS, Place::task(Task::Transcription), Place::task(Task::Translation)],
    quirks: Quirks { rules: RULES, ..Quirks::OPENAI_LIKE },
    ..Spec::OPENAI_LIKE
});
