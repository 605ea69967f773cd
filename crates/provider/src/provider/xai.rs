//! xAI. Facts: the vendor's API reference and its clients' notes on parameters by model, read November 2026.

use super::spec::Data;
use super::{Place, Quirks, Rule, Spec};
use crate::task::{SHAPES, Task};
use llm::dialect::MaxTokensStyle;

const FIXED: &str = "reasoning models sample in their own way";
const REASONING: &[&str] = &["grok-3-mini", "grok-4", "grok-code", "grok-build"];
/// These reason, or do not, by their name.
const BY_NAME: &[&str] = &["grok-4-0709", "grok-4-fast", "grok-4-1-fast", "grok-4.20", "grok-code"];

const RULES: &[Rule] = &[
    Rule::drop("presence_penalty", FIXED).of(REASONING),
    Rule::drop("frequency_penalty", FIXED).of(REASONING),
    Rule::drop("stop", "reasoning models take no stop texts").of(REASONING),
    Rule::drop("reasoning_effort", "whether the model reasons is in its name").of(BY_NAME),
    Rule::values(
        "reasoning_effort",
        &[("\"none\"", "\"low\""), ("\"minimal\"", "\"low\""), ("\"medium\"", "\"low\""), ("\"xhigh\"", "\"high\"")],
    )
    .of(&["grok-3-mini"]),
    Rule::values("reasoning_effort", &[("\"minimal\"", "\"low\""), ("\"xhigh\"", "\"high\""), ("\"max\"", "\"high\"")])
        .of(&["grok-4.3", "grok-5"]),
    Rule::drop("logit_bias", "xAI has no such parameter"),
];

/// The registry's entry.
pub(super) static XAI: Data = Data(&Spec {
    name: "xai",
    title: "xAI",
    otel_name: Some("x_ai"),
    base_url: Some("https://api.x.ai/v1"),
    key_variable: Some("XAI_API_KEY"),
    // Sessions are "API compatible with OpenAI's Realtime API" (https://docs.livekit.io/agents/integrations/xai), at
    // wss://api.x.ai/v1/realtime (the vendor's guide `voice/agent`, as litellm's page xai_realtime has it), read 24 November 2026.
    places: &[Place::CHAT[0], Place::task(Task::ImageGeneration).in_form(&SHAPES), Place::REALTIME],
    quirks: Quirks { max_tokens: MaxTokensStyle::MaxCompletionTokens, rules: RULES, ..Quirks::OPENAI_LIKE },
    ..Spec::OPENAI_LIKE
});
