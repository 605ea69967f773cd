//! `ElevenLabs`: speech and transcriptions, in its own form. Facts: the vendor's API reference and SDK types (elevenlabs 2.60),
//! read November 2026.

use super::spec::Data;
use super::{Place, Spec, Surface};
use crate::auth::Scheme;
use crate::task::{SPEECH_TO_TEXT, TEXT_TO_SPEECH, Task};

/// The registry's entry.
pub(super) static ELEVENLABS: Data = Data(&Spec {
    name: "elevenlabs",
    title: "ElevenLabs",
    base_url: Some("https://api.elevenlabs.io"),
    key_variable: Some("ELEVENLABS_API_KEY"),
    auth: Scheme::Header("xi-api-key"),
    dialects: &[],
    places: &[
        // The voice stands in the address, the model in the body.
        Place::new(Surface::Task(Task::Speech), "/v1/text-to-speech/{model}").in_form(&TEXT_TO_SPEECH),
        Place::new(Surface::Task(Task::Transcription), "/v1/speech-to-text").in_form(&SPEECH_TO_TEXT),
    ],
    request_id_header: "request-id",
    listing: Some("v1/models"),
    ..Spec::OPENAI_LIKE
});
