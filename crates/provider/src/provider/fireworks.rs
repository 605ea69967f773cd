//! Fireworks. Facts: the vendor's API reference, read November 2026.

use llm::dialect::Dialect;

use super::spec::Data;
use super::{Place, Quirks, Spec};
use crate::task::Task;

/// The registry's entry.
pub(super) static FIREWORKS: Data = Data(&Spec {
    name: "fireworks",
    title: "Fireworks",
    base_url: Some("https://api.fireworks.ai/inference/v1"),
    key_variable: Some("FIREWORKS_API_KEY"),
    dialects: &[Dialect::OpenAiChat, Dialect::OpenAiCompletions],
    places: &[Place::CHAT[0], Place::COMPLETIONS, Place::EMBEDDINGS, Place::task(Task::Rerank)],
    quirks: Quirks { replay_reasoning: true, ..Quirks::OPENAI_LIKE },
    ..Spec::OPENAI_LIKE
});
