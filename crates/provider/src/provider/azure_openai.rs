//! Azure OpenAI, both surfaces: version 1 (the model in the body), and the dated one of deployments (`?api-version=…` in the base
//! address, the deployment in the path).
//!
//! Facts: the vendor's API reference and field notes, read November 2026. Families are told by the deployment's name, so a
//! deployment named after its model gets that model's rules.

use llm::dialect::{Dialect, MaxTokensStyle};

use super::spec::Data;
use super::{BatchForm, Batches, Place, Quirks, Spec, Surface, openai};
use crate::auth::Scheme;
use crate::task::Task;

const REALTIME: Surface = Surface::Realtime { is_transcription: false };
const TRANSCRIPTION: Surface = Surface::Realtime { is_transcription: true };

/// The registry's entry.
pub(super) static AZURE_OPENAI: Data = Data(&Spec {
    name: "azure_openai",
    title: "Azure OpenAI",
    otel_name: Some("azure.ai.openai"),
    key_variable: Some("AZURE_OPENAI_API_KEY"),
    base_url_variable: Some("AZURE_OPENAI_ENDPOINT"),
    auth: Scheme::Azure,
    dialects: &[Dialect::OpenAiChat, Dialect::OpenAiResponses],
    places: &[
        Place::new(Surface::Chat(Dialect::OpenAiChat), "/openai/v1/chat/completions"),
        Place::new(Surface::Chat(Dialect::OpenAiResponses), "/openai/v1/responses"),
        Place::new(Surface::Task(Task::Compaction), "/openai/v1/responses/compact"),
        Place::new(Surface::Embeddings, "/openai/v1/embeddings"),
        Place::new(Surface::Task(Task::ImageGeneration), "/openai/v1/images/generations"),
        Place::new(Surface::Task(Task::ImageEdit), "/openai/v1/images/edits"),
        Place::new(Surface::Task(Task::Speech), "/openai/v1/audio/speech"),
        Place::new(Surface::Task(Task::Transcription), "/openai/v1/audio/transcriptions"),
        Place::new(Surface::Task(Task::Translation), "/openai/v1/audio/translations"),
        Place::new(REALTIME, "/openai/v1/realtime?model={model}"),
        Place::new(TRANSCRIPTION, "/openai/v1/realtime?intent=transcription&model={model}"),
    ],
    dated_places: &[
        Place::new(Surface::Chat(Dialect::OpenAiChat), "/openai/deployments/{model}/chat/completions"),
        // The dated surface has it beside the deployments, with the deployment as the model.
        Place::new(Surface::Chat(Dialect::OpenAiResponses), "/openai/responses"),
        Place::new(Surface::Embeddings, "/openai/deployments/{model}/embeddings"),
        Place::new(Surface::Task(Task::ImageGeneration), "/openai/deployments/{model}/images/generations"),
        Place::new(Surface::Task(Task::ImageEdit), "/openai/deployments/{model}/images/edits"),
        Place::new(Surface::Task(Task::Speech), "/openai/deployments/{model}/audio/speech"),
        Place::new(Surface::Task(Task::Transcription), "/openai/deployments/{model}/audio/transcriptions"),
        Place::new(Surface::Task(Task::Translation), "/openai/deployments/{model}/audio/translations"),
        Place::new(REALTIME, "/openai/realtime?deployment={model}"),
        Place::new(TRANSCRIPTION, "/openai/realtime?intent=transcription&deployment={model}"),
    ],
    base_query: Some("api-version"),
    request_id_header: "apim-request-id",
    batches: Some(Batches { form: BatchForm::OpenAi, root: "openai/v1/", dated_root: "openai/", one_model: false }),
    quirks: Quirks {
        max_tokens: MaxTokensStyle::MaxCompletionTokens,
        // Earlier versions answer 400 to it: "Unrecognized request argument".
        stream_options_since: Some("2024-09-01"),
        reasons_on_responses: openai::ON_RESPONSES,
        // The vendor's lifecycle of versions, read November 2026.
        responses_since: Some("2025-03-01"),
        rules: openai::RULES,
        ..Quirks::NONE
    },
    listing: Some("openai/v1/models"),
    ..Spec::OPENAI_LIKE
});
