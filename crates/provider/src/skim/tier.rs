//! Reads in which tier of service an answer was given.
//!
//! A vendor may give another tier than was asked for, so only its answer counts. Invariant: the word is read where the vendor
//! writes it and nowhere else; what a client had repeated in an answer (metadata, schemas) cannot make its call cheaper.

use std::sync::LazyLock;

use domain::price::ServiceTier;
use llm::dialect::Dialect;
use memchr::memmem::{Finder, FinderRev};
use serde_json::value::RawValue;

use super::{field, first_value, object_after, text_of};

static GEMINIS: LazyLock<[Finder<'static>; 2]> =
    LazyLock::new(|| [Finder::new(b"\"serviceTier\""), Finder::new(b"\"trafficType\":\"ON_DEMAND_")]);

static KEY: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"service_tier\""));

/// Reads a whole body, an event, or Anthropic's `usage`: an object with the word at its top.
pub(super) fn at_top(object: &[u8]) -> Option<ServiceTier> {
    // Nearly all answers are of the usual tier, and are only searched.
    if !KEY.find_iter(object).any(|at| names_a_tier(&object[at + KEY.needle().len()..])) {
        return None;
    }
    let span = field(object, "service_tier")?;
    ServiceTier::find(&text_of(span.of(object))?)
}

/// Reads Gemini's counts. AI Studio has the word there or in a header of the answer, Vertex names the kind of traffic.
pub(super) fn in_counts(usage: &[u8]) -> Option<ServiceTier> {
    if GEMINIS.iter().all(|key| key.find(usage).is_none()) {
        return None;
    }
    let word = |name| text_of(field(usage, name)?.of(usage));
    let traffic = || word("trafficType")?.strip_prefix("ON_DEMAND_").map(Into::into);
    word("serviceTier").or_else(traffic).and_then(|word| of_word(&word))
}

/// Reads the word that a vendor says in a header of its answer.
#[must_use]
pub fn of_word(word: &str) -> Option<ServiceTier> {
    ServiceTier::find(&word.to_ascii_lowercase())
}

/// Reads a whole body.
#[must_use]
pub fn tier_of(dialect: Dialect, body: &[u8]) -> Option<ServiceTier> {
    match dialect {
        Dialect::AnthropicMessages => at_top(field_if_told(body, "usage")?),
        Dialect::Gemini => in_counts(field(body, "usageMetadata")?.of(body)),
        _ => at_top(body),
    }
}

/// Reads the events that lie whole in a chunk; OpenAI writes the word into each of them.
#[must_use]
pub fn tier_in_events(dialect: Dialect, chunk: &[u8]) -> Option<ServiceTier> {
    if dialect == Dialect::Gemini {
        // Every event has the counts so far.
        let counts = object_after(chunk, &FinderRev::new(b"\"usageMetadata\""))?;
        return in_counts(first_value::<&RawValue>(counts)?.get().as_bytes());
    }
    KEY.find(chunk)?;
    let lines = chunk.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data:"));
    let mut tiers = lines.filter_map(|line| match dialect {
        Dialect::AnthropicMessages => at_top(field_if_told(field_if_told(line, "message")?, "usage")?),
        Dialect::OpenAiResponses => at_top(field_if_told(line, "response")?),
        _ => at_top(line.trim_ascii()),
    });
    tiers.next_back()
}

fn field_if_told<'b>(object: &'b [u8], name: &str) -> Option<&'b [u8]> {
    KEY.find(object)?;
    field(object.trim_ascii(), name).map(|span| span.of(object.trim_ascii()))
}

fn names_a_tier(after: &[u8]) -> bool {
    let value = after.trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii_start).unwrap_or_default();
    [&b"\"flex\""[..], b"\"priority\"", b"\"batch\""].iter().any(|word| value.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_counts_where_the_vendor_writes_it() {
        let chat = |body: &str| tier_of(Dialect::OpenAiChat, body.as_bytes());
        assert_eq!(chat(r#"{"choices":[],"usage":{},"service_tier":"flex"}"#), Some(ServiceTier::Flex));
        assert_eq!(chat(r#"{"service_tier" : "priority"}"#), Some(ServiceTier::Priority));
        assert_eq!(chat(r#"{"service_tier":"default"}"#), None);
        assert_eq!(chat(r#"{"metadata":{"service_tier":"flex"},"service_tier":"default"}"#), None);
        assert_eq!(chat(r#"{"metadata":{"service_tier":"flex"}}"#), None);
        let anthropic = |body: &str| tier_of(Dialect::AnthropicMessages, body.as_bytes());
        assert_eq!(anthropic(r#"{"usage":{"service_tier":"batch"}}"#), Some(ServiceTier::Batch));
        assert_eq!(anthropic(r#"{"service_tier":"batch","usage":{"service_tier":"standard"}}"#), None);
    }

    #[test]
    fn geminis_counts_tell_it() {
        let gemini = |counts: &str| {
            let body = format!(r#"{{"candidates":[],"usageMetadata":{counts}}}"#);
            let told = tier_of(Dialect::Gemini, body.as_bytes());
            assert_eq!(tier_in_events(Dialect::Gemini, format!("data: {body}\n\n").as_bytes()), told);
            told
        };
        assert_eq!(gemini(r#"{"promptTokenCount":1,"serviceTier":"flex"}"#), Some(ServiceTier::Flex));
        assert_eq!(gemini(r#"{"trafficType":"ON_DEMAND_PRIORITY","promptTokenCount":1}"#), Some(ServiceTier::Priority));
        assert_eq!(gemini(r#"{"trafficType":"ON_DEMAND","serviceTier":"standard"}"#), None);
        assert_eq!(of_word("PRIORITY"), Some(ServiceTier::Priority));
        assert_eq!(of_word("standard"), None);
    }

    #[test]
    fn events_tell_it_too() {
        let chunk = b"data: {\"choices\":[],\"service_tier\":\"flex\"}\n\ndata: [DONE]\n\n";
        assert_eq!(tier_in_events(Dialect::OpenAiChat, chunk), Some(ServiceTier::Flex));
        let start = b"event: message_start\ndata: {\"message\":{\"usage\":{\"service_tier\":\"priority\"}}}\n\n";
        assert_eq!(tier_in_events(Dialect::AnthropicMessages, start), Some(ServiceTier::Priority));
        assert_eq!(tier_in_events(Dialect::OpenAiChat, b"data: {\"cut\":1,\"service_tier\":\"fl"), None);
    }
}
