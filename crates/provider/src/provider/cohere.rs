//! Cohere: chat, vectors and ranking, each in its own format.
//!
//! Facts: the vendor's SDK types (cohere 7.3.1) and API reference, read November 2026.

use super::spec::Data;
use super::{Place, Quirks, Spec, Surface};
use crate::task::{COHERE_EMBED, RERANK, Task};
use crate::wire::COHERE as WIRE;

/// The registry's entry.
pub(super) static COHERE: Data = Data(&Spec {
    name: "cohere",
    title: "Cohere",
    base_url: Some("https://api.cohere.com"),
    key_variable: Some("COHERE_API_KEY"),
    dialects: &[],
    wire: Some(&WIRE),
    places: &[
        Place::new(Surface::Wire, "/v2/chat"),
        Place::new(Surface::Embeddings, "/v2/embed").in_form(&COHERE_EMBED),
        Place::new(Surface::Task(Task::Rerank), "/v2/rerank").in_form(&RERANK),
    ],
    request_id_header: "x-debug-trace-id",
    quirks: Quirks::NONE,
    listing: Some("v1/models"),
    ..Spec::OPENAI_LIKE
});
