//! Voyage AI: vectors in OpenAI's form, and ranking. Facts: the vendor's API reference, read November 2026.

use super::spec::Data;
use super::{Place, Spec, Surface};
use crate::task::{RERANK_TOP_K, Task};

/// The registry's entry.
pub(super) static VOYAGE: Data = Data(&Spec {
    name: "voyage",
    title: "Voyage AI",
    base_url: Some("https://api.voyageai.com/v1"),
    key_variable: Some("VOYAGE_API_KEY"),
    dialects: &[],
    places: &[
        Place::new(Surface::Embeddings, "/embeddings"),
        Place::new(Surface::Task(Task::Rerank), "/rerank").in_form(&RERANK_TOP_K),
    ],
    listing: None,
    ..Spec::OPENAI_LIKE
});
