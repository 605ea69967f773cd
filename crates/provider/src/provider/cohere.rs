//! Cohere: chat in its own format, vectors through its page of compatibility with OpenAI.
//!
//! Facts: the vendor's SDK types (cohere 7.3.1) and API reference, read November 2026.

use super::spec::Data;
use super::{Place, Quirks, Spec, Surface};
use crate::wire::COHERE as WIRE;

/// The registry's entry.
pub(super) static COHERE: Data = Data(&Spec {
    name: "cohere",
    title: "Cohere",
    base_url: Some("https://api.cohere.com"),
    key_variable: Some("COHERE_API_KEY"),
    dialects: &[],
    wire: Some(&WIRE),
    places: &[Place::new(Surface::Wire, "/v2/chat"), Place::new(Surface::Embeddings, "/compatibility/v1/embeddings")],
    request_id_header: "x-debug-trace-id",
    quirks: Quirks::NONE,
    ..Spec::OPENAI_LIKE
});
