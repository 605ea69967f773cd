//! Any server that speaks OpenAI's dialect: llama.cpp, `LocalAI`, proxies, other vendors.
//!
//! Its base address comes from the credential and has the version in it (`https://host/v1`). Facts: field notes on vLLM and
//! other servers, read November 2026.

use llm::dialect::{Dialect, MaxTokensStyle};

use super::spec::Data;
use super::{Batches, Place, Quirks, Spec};
use crate::task::Task;

/// The registry's entry.
pub(super) static OPENAI_COMPATIBLE: Data = Data(&Spec {
    name: "openai_compatible",
    title: "OpenAI-compatible server",
    dialects: &[Dialect::OpenAiChat, Dialect::OpenAiCompletions],
    places: &[
        Place::CHAT[0],
        Place::COMPLETIONS,
        Place::EMBEDDINGS,
        Place::task(Task::Rerank),
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
    // Some have them (AIBrix and Parasail document theirs, read November 2026); those that have not say so themselves.
    batches: Some(Batches::OPENAI),
    forwarded: &["openai-beta", "idempotency-key"],
    // Many chat templates know no `developer` role. Nothing is renamed in a body that already speaks the dialect: what stands
    // behind the address is unknown.
    quirks: Quirks {
        max_tokens: MaxTokensStyle::MaxTokens,
        developer_role: false,
        replay_reasoning: true,
        ..Quirks::NONE
    },
    ..Spec::OPENAI_LIKE
});
