//! `OpenRouter`. Facts: the vendor's API description (`OpenAPI`), read November 2026.

use super::spec::Data;
use super::{Place, Quirks, Spec};
use llm::dialect::MaxTokensStyle;

/// The registry's entry.
pub(super) static OPENROUTER: Data = Data(&Spec {
    name: "openrouter",
    title: "OpenRouter",
    base_url: Some("https://openrouter.ai/api/v1"),
    key_variable: Some("OPENROUTER_API_KEY"),
    places: Place::CHAT_AND_EMBEDDINGS,
    // They name the application in the vendor's statistics; nothing else hangs on them.
    forwarded: &["http-referer", "x-title"],
    takes_choice: true,
    // What stands behind it is many vendors: names are mapped there, breakpoints of caches and reasoning go through.
    quirks: Quirks {
        max_tokens: MaxTokensStyle::AsGiven,
        developer_role: true,
        replay_reasoning: true,
        cache_control: true,
        ..Quirks::NONE
    },
    ..Spec::OPENAI_LIKE
});
