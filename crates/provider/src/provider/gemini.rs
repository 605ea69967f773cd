//! Google's Gemini API (AI Studio). Facts: the vendor's API reference and SDK types (google-genai 3.4.0), read November 2026.

use llm::dialect::Dialect;

use super::spec::Data;
use super::{BatchForm, Batches, Place, Quirks, Spec, Surface};
use crate::auth::Scheme;
use crate::task::{PREDICT_IMAGE, TEXTS_EMBED, Task};

/// The registry's entry.
pub(super) static GEMINI: Data = Data(&Spec {
    name: "gemini",
    title: "Google Gemini",
    otel_name: Some("gcp.gemini"),
    base_url: Some("https://generativelanguage.googleapis.com"),
    key_variable: Some("GEMINI_API_KEY"),
    second_key_variable: Some("GOOGLE_API_KEY"),
    base_url_variable: Some("GEMINI_BASE_URL"),
    auth: Scheme::Header("x-goog-api-key"),
    dialects: &[Dialect::Gemini],
    places: &[
        Place::streamed(
            Surface::Chat(Dialect::Gemini),
            "/v1beta/models/{model}:generateContent",
            "/v1beta/models/{model}:streamGenerateContent?alt=sse",
        ),
        Place::new(Surface::CountTokens(Dialect::Gemini), "/v1beta/models/{model}:countTokens"),
        Place::new(Surface::Embeddings, "/v1beta/models/{model}:batchEmbedContents").in_form(&TEXTS_EMBED),
        Place::new(Surface::Task(Task::ImageGeneration), "/v1beta/models/{model}:predict").in_form(&PREDICT_IMAGE),
        // The model is said in the first message (https://ai.google.dev/api/live, read 24 November 2026).
        Place::new(Surface::Live, "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"),
    ],
    // ai.google.dev/gemini-api/docs/batch-api and ai.google.dev/api/batch-mode, read November 2026.
    batches: Some(Batches { form: BatchForm::Gemini, ..Batches::OF_ONE_MODEL }),
    tier_header: Some("x-gemini-service-tier"),
    quirks: Quirks::NONE,
    listing: Some("v1beta/models"),
    ..Spec::OPENAI_LIKE
});
