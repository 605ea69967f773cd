//! Together. Facts: the vendor's SDK types (together 3.1.1) and API reference, read November 2026.

use llm::dialect::Dialect;

use super::spec::Data;
use super::{BatchForm, Batches, Place, Quirks, Rule, Spec};
use crate::task::{PIXELS, Task};

const RULES: &[Rule] = &[
    Rule::rename("max_completion_tokens", "max_tokens"),
    Rule::values(
        "reasoning_effort",
        &[("\"none\"", "\"low\""), ("\"minimal\"", "\"low\""), ("\"xhigh\"", "\"high\""), ("\"max\"", "\"high\"")],
    )
    .of(&["gpt-oss"]),
    Rule::values(
        "reasoning_effort",
        &[("\"minimal\"", "\"high\""), ("\"low\"", "\"high\""), ("\"medium\"", "\"high\""), ("\"xhigh\"", "\"max\"")],
    )
    .of(&["DeepSeek-V4"]),
    Rule::drop("service_tier", "Together has no such parameter"),
];

/// The registry's entry.
pub(super) static TOGETHER: Data = Data(&Spec {
    name: "together",
    title: "Together",
    base_url: Some("https://api.together.xyz/v1"),
    key_variable: Some("TOGETHER_API_KEY"),
    dialects: &[Dialect::OpenAiChat, Dialect::OpenAiCompletions],
    places: &[
        Place::CHAT[0],
        Place::COMPLETIONS,
        Place::EMBEDDINGS,
        Place::task(Task::Rerank),
        Place::task(Task::ImageGeneration).in_form(&PIXELS),
        Place::task(Task::Speech),
        Place::task(Task::Transcription),
        Place::task(Task::Translation),
    ],
    // docs.together.ai: reference/upload-file, reference/batch-create and docs/inference/batch, read November 2026.
    batches: Some(Batches { form: BatchForm::Together, ..Batches::OPENAI }),
    quirks: Quirks { rules: RULES, ..Quirks::OPENAI_LIKE },
    ..Spec::OPENAI_LIKE
});
