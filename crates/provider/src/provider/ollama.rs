//! Ollama, in its own format: thinking, tools, schemas and pictures, without the losses of its OpenAI surface.
//!
//! Facts: the project's API description and SDK types (ollama 0.6.3), read November 2026.

use super::spec::Data;
use super::{Place, Quirks, Spec, Surface};
use crate::task::OLLAMA_EMBED;
use crate::wire::OLLAMA as WIRE;

/// The registry's entry.
pub(super) static OLLAMA: Data = Data(&Spec {
    name: "ollama",
    title: "Ollama",
    base_url_variable: Some("OLLAMA_BASE_URL"),
    key_variable: Some("OLLAMA_API_KEY"),
    dialects: &[],
    wire: Some(&WIRE),
    places: &[
        Place::new(Surface::Wire, "/api/chat"),
        Place::new(Surface::Embeddings, "/api/embed").in_form(&OLLAMA_EMBED),
    ],
    stream_type: "application/x-ndjson",
    quirks: Quirks::NONE,
    listing: Some("api/tags"),
    ..Spec::OPENAI_LIKE
});
