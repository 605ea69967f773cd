//! Jina AI: vectors in OpenAI's form, and ranking. Facts: the vendor's API reference, read November 2026.

use super::spec::Data;
use super::{Place, Spec, Surface};
use crate::task::Task;

/// The registry's entry.
pub(super) static JINA: Data = Data(&Spec {
    name: "jina",
    title: "Jina AI",
    base_url: Some("https://api.jina.ai/v1"),
    key_variable: Some("JINA_API_KEY"),
    dialects: &[],
    places: &[Place::new(Surface::Embeddings, "/embeddings"), Place::task(Task::Rerank)],
    listing: None,
    ..Spec::OPENAI_LIKE
});
