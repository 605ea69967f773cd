//! Mistral's platform. Facts: the vendor's SDK types (mistralai 3.7.0) and API reference, read November 2026.

use memchr::memmem;

use super::bare::Refused;
use super::{BatchForm, Batches, Call, Operation, Place, Prefill, Prepared, Provider, Quirks, Rule, Spec, fit};
use crate::task::Task;

const NO_SUCH: &str = "Mistral has no such parameter";

/// What OpenAI's messages have and Mistral's have not: "Extra inputs are not permitted", `null` or not (mistralai/platform-docs-public#7,
/// charmbracelet/crush#1590).
const UNKNOWN: &[Refused] = &{
    let [refusal, audio, annotations, content, details] = Refused::OF_ANSWERS;
    let reasoning = Refused::always("reasoning");
    [Refused { field: "name", but_in: "tool" }, refusal, audio, annotations, content, details, reasoning]
};

const RULES: &[Rule] = &[
    Rule::bare(UNKNOWN, "Mistral's messages have no such field"),
    Rule::rename("max_completion_tokens", "max_tokens"),
    Rule::rename("seed", "random_seed"),
    Rule::values("tool_choice", &[("\"required\"", "\"any\"")]),
    Rule::omit("stream_options"),
    Rule::drop("logit_bias", NO_SUCH),
    Rule::drop("logprobs", NO_SUCH),
    Rule::drop("top_logprobs", NO_SUCH),
    Rule::drop("user", NO_SUCH),
    Rule::drop("store", NO_SUCH),
];

/// Mistral.
#[derive(Debug)]
pub(super) struct Mistral(Spec);

/// The registry's entry.
pub(super) static MISTRAL: Mistral = Mistral(Spec {
    name: "mistral",
    title: "Mistral",
    otel_name: Some("mistral_ai"),
    base_url: Some("https://api.mistral.ai/v1"),
    key_variable: Some("MISTRAL_API_KEY"),
    places: &[Place::CHAT[0], Place::EMBEDDINGS, Place::task(Task::Moderation), Place::task(Task::Transcription)],
    // docs.mistral.ai/capabilities/batch and the SDK's `BatchJobOut`, read November 2026.
    batches: Some(Batches { form: BatchForm::Mistral, ..Batches::OF_ONE_MODEL }),
    request_id_header: "mistral-correlation-id",
    // The last chunk of a stream has the usage without being asked; `stream_options` is an unknown field.
    quirks: Quirks { stream_options: false, prefill: Prefill::Prefix, rules: RULES, ..Quirks::OPENAI_LIKE },
    ..Spec::OPENAI_LIKE
});

impl Provider for Mistral {
    fn spec(&self) -> &'static Spec {
        &MISTRAL.0
    }

    /// "Tool call id was … but must be a-z, A-Z, 0-9, with a length of 9" (langchain-ai/langchain#24668, openclaw/openclaw#57672 of March
    /// 2026), and `$schema` and `$id` in tools make "failed to compile JSON schema" (BerriAI/litellm#13389).
    fn adorn(&self, call: &Call<'_>, _: &str, prepared: &mut Prepared) {
        if matches!(call.operation, Operation::Chat(_))
            && let Some(body) = fit::body(prepared.request.body())
        {
            *prepared.request.body_mut() = body;
        }
    }

    /// Thinking comes as blocks in `content`, where OpenAI's clients expect a string, so such an answer is written anew.
    fn relays_untouched(&self, call: &Call<'_>, upstream_model: &str) -> bool {
        let asks = |field: &[u8]| memmem::find(call.body, field).is_some();
        !upstream_model.contains("magistral") && !asks(b"\"reasoning_effort\"") && !asks(b"\"prompt_mode\"")
    }
}
