//! Deepgram: speech and transcriptions, in its own form. Facts: the vendor's API reference and SDK types (deepgram-sdk 7.7),
//! read November 2026.

use super::spec::Data;
use super::{Place, Spec, Surface};
use crate::auth::Scheme;
use crate::task::{LISTEN, SPEAK, Task};

/// The registry's entry.
pub(super) static DEEPGRAM: Data = Data(&Spec {
    name: "deepgram",
    title: "Deepgram",
    base_url: Some("https://api.deepgram.com"),
    key_variable: Some("DEEPGRAM_API_KEY"),
    auth: Scheme::Token,
    dialects: &[],
    places: &[
        Place::new(Surface::Task(Task::Speech), "/v1/speak?model={model}").in_form(&SPEAK),
        Place::new(Surface::Task(Task::Transcription), "/v1/listen?model={model}").in_form(&LISTEN),
    ],
    request_id_header: "dg-request-id",
    listing: Some("v1/models"),
    ..Spec::OPENAI_LIKE
});
