//! `DeepInfra`. Facts: the vendor's page on compatibility with OpenAI, read November 2026.

use llm::dialect::Dialect;

use super::spec::Data;
use super::{Batches, Place, Quirks, Spec};
use crate::task::Task;

/// The registry's entry.
pub(super) static DEEPINFRA: Data = Data(&Spec {
    name: "deepinfra",
    title: "DeepInfra",
    base_url: Some("https://api.deepinfra.com/v1/openai"),
    key_variable: Some("DEEPINFRA_API_KEY"),
    dialects: &[Dialect::OpenAiChat, Dialect::OpenAiCompletions],
    places: &[
        Place::CHAT[0],
        Place::COMPLETIONS,
        Place::EMBEDDINGS,
        Place::task(Task::ImageGeneration),
        Place::task(Task::Speech),
        Place::task(Task::Transcription),
        Place::task(Task::Translation),
    ],
    // docs.deepinfra.com/batch/introduction, read November 2026: as OpenAI's, "all requests must use the same model".
    batches: Some(Batches::OF_ONE_MODEL),
    quirks: Quirks { replay_reasoning: true, ..Quirks::OPENAI_LIKE },
    ..Spec::OPENAI_LIKE
});
