//! OpenAI itself. Facts: the vendor's API reference and SDK types, read November 2026.

use llm::dialect::{Dialect, MaxTokensStyle};

use super::spec::Data;
use super::{Action, Batches, Place, Quirks, Rule, Spec};
use crate::task::Task;

/// Models that reason before every answer, and so take no sampling.
pub(super) const REASONING: &[&str] = &["o1", "o3", "o4", "gpt-5", "gpt-6"];
/// Of these, the ones that refuse more.
const O_SERIES: &[&str] = &["o1", "o3", "o4"];
const FIXED: &str = "reasoning models sample in their own way";

/// Rules by model family, which Azure shares.
pub(super) const RULES: &[Rule] = &[
    Rule::rename("max_tokens", "max_completion_tokens").of(REASONING),
    Rule { action: Action::Only(&["1", "1.0"]), ..Rule::drop("temperature", FIXED) }.of(O_SERIES),
    Rule { action: Action::Only(&["1", "1.0"]), ..Rule::drop("top_p", FIXED) }.of(O_SERIES),
    Rule { action: Action::Only(&["0", "0.0"]), ..Rule::drop("presence_penalty", FIXED) }.of(REASONING),
    Rule { action: Action::Only(&["0", "0.0"]), ..Rule::drop("frequency_penalty", FIXED) }.of(REASONING),
    Rule { action: Action::Only(&["{}"]), ..Rule::drop("logit_bias", FIXED) }.of(REASONING),
    Rule { action: Action::Only(&["false"]), ..Rule::drop("logprobs", FIXED) }.of(O_SERIES),
    Rule::drop("top_logprobs", FIXED).of(O_SERIES),
];

/// The registry's entry.
pub(super) static OPENAI: Data = Data(&Spec {
    name: "openai",
    title: "OpenAI",
    base_url: Some("https://api.openai.com/v1"),
    key_variable: Some("OPENAI_API_KEY"),
    base_url_variable: Some("OPENAI_BASE_URL"),
    dialects: &[Dialect::OpenAiChat, Dialect::OpenAiResponses, Dialect::OpenAiCompletions],
    places: &[
        Place::CHAT[0],
        Place::RESPONSES,
        Place::task(Task::Compaction),
        Place::COMPLETIONS,
        Place::EMBEDDINGS,
        Place::task(Task::Moderation),
        Place::task(Task::ImageGeneration),
        Place::task(Task::ImageEdit),
        Place::task(Task::ImageVariation),
        Place::task(Task::Speech),
        Place::task(Task::Transcription),
        Place::task(Task::Translation),
        Place::REALTIME,
        Place::REALTIME_TRANSCRIPTION,
    ],
    // Organization and project headers choose who pays, so they come from the credential's key, never from the client.
    forwarded: &["openai-beta", "idempotency-key"],
    batches: Some(Batches::OPENAI),
    // Reasoning models refuse `max_tokens`; all models take the newer name.
    quirks: Quirks { max_tokens: MaxTokensStyle::MaxCompletionTokens, rules: RULES, ..Quirks::NONE },
    ..Spec::OPENAI_LIKE
});
