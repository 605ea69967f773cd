//! `SGLang`, with what its server takes beyond OpenAI's dialect. Its base address has the version in it (`http://host:8000/v1`).
//!
//! Facts: the project's documentation and field notes, read November 2026.

use llm::dialect::Dialect;

use super::spec::Data;
use super::{Place, Prefill, Quirks, Spec};
use crate::task::Task;

/// The registry's entry.
pub(super) static SGLANG: Data = Data(&Spec {
    name: "sglang",
    title: "SGLang",
    dialects: &[Dialect::OpenAiChat, Dialect::OpenAiCompletions],
    places: &[Place::CHAT[0], Place::COMPLETIONS, Place::EMBEDDINGS, Place::task(Task::Rerank)],
    // Chat templates know no `developer`; reasoning goes back in, under the name that the server gives it.
    quirks: Quirks { replay_reasoning: true, prefill: Prefill::Final, ..Quirks::OPENAI_LIKE },
    ..Spec::OPENAI_LIKE
});
