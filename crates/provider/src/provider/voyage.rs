//! Voyage AI: vectors only, in OpenAI's form. Facts: the vendor's API reference, read November 2026.

use super::spec::Data;
use super::{Place, Spec, Surface};

/// The registry's entry.
pub(super) static VOYAGE: Data = Data(&Spec {
    name: "voyage",
    title: "Voyage AI",
    base_url: Some("https://api.voyageai.com/v1"),
    key_variable: Some("VOYAGE_API_KEY"),
    dialects: &[],
    places: &[Place::new(Surface::Embeddings, "/embeddings")],
    ..Spec::OPENAI_LIKE
});
