//! Nebius Token Factory. Facts: the vendor's API reference, read November 2026.

use llm::dialect::Dialect;

use super::spec::Data;
use super::{Batches, Place, Spec};
use crate::task::Task;

/// The registry's entry.
pub(super) static NEBIUS: Data = Data(&Spec {
    name: "nebius",
    title: "Nebius",
    base_url: Some("https://api.tokenfactory.nebius.com/v1"),
    key_variable: Some("NEBIUS_API_KEY"),
    dialects: &[Dialect::OpenAiChat, Dialect::OpenAiCompletions],
    places: &[Place::CHAT[0], Place::COMPLETIONS, Place::EMBEDDINGS, Place::task(Task::ImageGeneration)],
    // docs.tokenfactory.nebius.com/ai-models-inference/batch-inference, read November 2026: one model in a file.
    batches: Some(Batches::OF_ONE_MODEL),
    ..Spec::OPENAI_LIKE
});
