//! Gemini's messages, as far as they are read. One message may say several things at once.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::usage::UsageMetadata;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ServerMessage {
    pub(super) setup_complete: Option<Value>,
    pub(super) server_content: Option<ServerContent>,
    pub(super) tool_call: Option<ToolCall>,
    pub(super) tool_call_cancellation: Option<ToolCallCancellation>,
    pub(super) usage_metadata: Option<UsageMetadata>,
    pub(super) go_away: Option<Value>,
    pub(super) voice_activity: Option<VoiceActivity>,
    /// Not in the reference, which has it that sessions are closed; in Google's usual form, where a server says it all the same.
    pub(super) error: Option<Complaint>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Complaint {
    pub(super) message: String,
    pub(super) status: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ServerContent {
    pub(super) model_turn: Option<Content>,
    pub(super) turn_complete: bool,
    pub(super) turn_complete_reason: Option<String>,
    pub(super) interrupted: bool,
    pub(super) generation_complete: bool,
    pub(super) input_transcription: Option<Transcription>,
    pub(super) output_transcription: Option<Transcription>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Content {
    pub(super) parts: Vec<Part>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Part {
    pub(super) text: Option<String>,
    pub(super) thought: bool,
    pub(super) inline_data: Option<Blob>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Blob {
    pub(super) mime_type: String,
    pub(super) data: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Transcription {
    pub(super) text: String,
    pub(super) finished: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ToolCall {
    pub(super) function_calls: Vec<FunctionCall>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FunctionCall {
    pub(super) id: Option<String>,
    pub(super) name: String,
    pub(super) args: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ToolCallCancellation {
    pub(super) ids: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct VoiceActivity {
    pub(super) voice_activity_type: String,
}
