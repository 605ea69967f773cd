//! OpenAI itself. Facts: the vendor's API reference and SDK types, read November 2026.

use llm::dialect::{Dialect, MaxTokensStyle};

use super::spec::Data;
use super::{Batches, Place, Quirks, Rule, Spec, Surface, When};
use crate::task::Task;

/// Models that reason before every answer, and so take no sampling.
pub(super) const REASONING: &[&str] = &["o1", "o3", "o4", "gpt-5", "gpt-6"];
/// Of these, what the vendor offers on Responses with all it can (the guide to reasoning; litellm 1.109.1 sends tools with an effort
/// there from gpt-5.4 on). The first family is older than that surface.
pub(super) const ON_RESPONSES: &[&str] = &["o3", "o4", "gpt-5", "gpt-6"];
/// The families that take no more than these: the vendor's parameter tables, read November 2026.
const GPT_5: &[&str] = &["gpt-5", "gpt-6"];
const NO_STOP: &[&str] = &["o3", "o4", "gpt-5", "gpt-6"];
const FIXED: &str = "reasoning models sample in their own way";
const SILENT: &str = "the model answers in text alone";

/// Rules by model family, which Azure shares.
pub(super) const RULES: &[Rule] = &[
    Rule::rename("max_tokens", "max_completion_tokens").of(REASONING),
    TEMPERATURE,
    TOP_P,
    Rule::only("presence_penalty", &["0", "0.0"], FIXED).of(REASONING),
    Rule::only("frequency_penalty", &["0", "0.0"], FIXED).of(REASONING),
    Rule::only("logit_bias", &["{}"], FIXED).of(REASONING),
    Rule::only("logprobs", &["false"], FIXED).of(REASONING).when(When::Thinking),
    Rule::drop("top_logprobs", FIXED).of(REASONING).when(When::Thinking),
    Rule::drop("stop", "the model takes no stop sequences").of(NO_STOP),
    Rule::drop("prediction", "the model takes no predicted output").of(GPT_5),
    Rule::drop("audio", SILENT).of(GPT_5),
    Rule::only("modalities", &["[\"text\"]"], SILENT).of(GPT_5),
    EFFORT,
];
/// What whoever resells these models has to know of them, too.
pub(super) const TEMPERATURE: Rule = Rule::only("temperature", &["1", "1.0"], FIXED).of(REASONING).when(When::Thinking);
pub(super) const TOP_P: Rule = Rule::only("top_p", &["1", "1.0"], FIXED).of(REASONING).when(When::Thinking);

/// `max` is taken on Responses, where it stands in `reasoning`, and not on Chat.
pub(super) const EFFORT: Rule = Rule::values("reasoning_effort", &[("\"max\"", "\"xhigh\"")]).of(REASONING);

/// What a response is asked for beside its input, and a count of that is not.
const NOT_COUNTED: &[&str] = &[
    "store",
    "include",
    "stream",
    "stream_options",
    "max_output_tokens",
    "temperature",
    "top_p",
    "top_logprobs",
    "user",
    "metadata",
    "service_tier",
    "background",
];

/// The registry's entry.
pub(super) static OPENAI: Data = Data(&Spec {
    name: "openai",
    title: "OpenAI",
    base_url: Some("https://api.openai.com/v1"),
    key_variable: Some("OPENAI_API_KEY"),
    base_url_variable: Some("OPENAI_BASE_URL"),
    dialects: &[Dialect::OpenAiChat, Dialect::OpenAiResponses, Dialect::OpenAiCompletions],
    places: &[
        Place::CHAT[0],
        Place::RESPONSES,
        Place {
            without: NOT_COUNTED,
            ..Place::new(Surface::CountTokens(Dialect::OpenAiResponses), "/responses/input_tokens")
        },
        Place::task(Task::Compaction),
        Place::COMPLETIONS,
        Place::EMBEDDINGS,
        Place::task(Task::Moderation),
        Place::task(Task::ImageGeneration),
        Place::task(Task::ImageEdit),
        Place::task(Task::ImageVariation),
        Place::task(Task::Speech),
        Place::task(Task::Transcription),
        Place::task(Task::Translation),
        Place::REALTIME,
        Place::REALTIME_TRANSCRIPTION,
    ],
    // Organization and project headers choose who pays, so they come from the credential's key, never from the client.
    forwarded: &["openai-beta", "idempotency-key"],
    batches: Some(Batches::OPENAI),
    // Reasoning models refuse `max_tokens`; all models take the newer name.
    quirks: Quirks {
        max_tokens: MaxTokensStyle::MaxCompletionTokens,
        reasons_on_responses: ON_RESPONSES,
        rules: RULES,
        ..Quirks::NONE
    },
    ..Spec::OPENAI_LIKE
});
