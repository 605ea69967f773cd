//! What is at an address of a provider's own API, and how an answer from there is counted without being changed.
//!
//! Not here: sending anything (that is the gateway's pass-through). Invariant: what is not recognised is said to be so, and
//! never counted as something else.

use domain::usage::{TokenUsage, UnitUsage};
use http::{HeaderMap, Uri};
use serde_json::Value;

use super::{Base, Provider, Speech, Surface, WIRE_DIALECT};
use crate::skim::Skimmed;
use crate::task::Task;
use llm::dialect::{Decoder, Dialect, Mode, Undo};

/// How answers are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// They are in a dialect; a stream of it may come in the provider's own frames.
    Dialect(Dialect),
    /// They are in the provider's own wire format.
    Wire,
    /// They say what they used in one of the ways that vendors have: whole ones as [`count_named`] reads it, streams as the provider's
    /// [`onlooker`](Provider::onlooker) does.
    Named,
    /// They are of a task in OpenAI's own form, of which the request says a part: [`Asked::plain`](crate::task::Asked::plain).
    Task(Task),
    /// They cost nothing.
    Free,
}

/// What was recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// How its answers are counted.
    pub counting: Counting,
    /// The model that is asked.
    pub model: String,
}

/// Finds out what is at an address below the base. `in_body` is the model that the body names; the address's wins.
#[must_use]
pub fn recognise(provider: &dyn Provider, base: &Base, uri: &Uri, in_body: Option<&str>) -> Option<Known> {
    let spec = provider.spec();
    let mut found = None;
    // Several things may be at one address, of which the model decides: Bedrock's `invoke` takes every model's own form.
    for (surface, in_address) in base.surfaces_at(uri) {
        let Some(model) = in_address.or_else(|| in_body.map(str::to_owned)) else { continue };
        let form = spec.place(surface, base.is_dated()).and_then(|place| place.form);
        let counting = match surface {
            Surface::Chat(dialect) => match provider.speech(dialect, &model) {
                Speech::Dialect(spoken) if spoken == dialect => {
                    return Some(Known { counting: Counting::Dialect(dialect), model });
                }
                // One address for the forms of all makers, and a count that does not depend on the form.
                Speech::Wire(_) if provider.onlooker().is_some() => Counting::Named,
                _ => continue,
            },
            Surface::Wire => Counting::Wire,
            Surface::CountTokens(_) => Counting::Free,
            Surface::Embeddings if form.is_none() => Counting::Dialect(Dialect::OpenAiChat),
            Surface::Embeddings | Surface::Task(Task::Rerank) => Counting::Named,
            Surface::Task(task @ (Task::ImageGeneration | Task::Moderation | Task::Speech)) if form.is_none() => {
                Counting::Task(task)
            }
            // Forms with files, what only one vendor speaks, and conversations that are no answer.
            Surface::Task(_) | Surface::Realtime { .. } | Surface::Live => continue,
        };
        found.get_or_insert(Known { counting, model });
    }
    found
}

/// Makes the reader of an answer that is only looked at; `None` for one that has no reader.
#[must_use]
pub fn reader(provider: &dyn Provider, counting: Counting, mode: Mode) -> Option<(Dialect, Box<dyn Decoder>)> {
    let dialect = match counting {
        Counting::Dialect(dialect) => dialect,
        Counting::Wire => WIRE_DIALECT,
        Counting::Named if mode == Mode::Stream => return Some((WIRE_DIALECT, provider.onlooker()?)),
        Counting::Named | Counting::Task(_) | Counting::Free => return None,
    };
    Some((dialect, provider.decoder(dialect, mode, Undo::default())))
}

/// The vendors' names of what went in, of which the first is taken.
const INPUT: &[&str] = &[
    "/usage/prompt_tokens",
    "/usage/input_tokens",
    "/usage/inputTokens",
    "/usage/total_tokens",
    "/meta/billed_units/input_tokens",
    "/usageMetadata/promptTokenCount",
    "/inputTextTokenCount",
    "/prompt_token_count",
    "/prompt_eval_count",
];
/// The same of what came out.
const OUTPUT: &[&str] = &[
    "/usage/completion_tokens",
    "/usage/output_tokens",
    "/usage/outputTokens",
    "/meta/billed_units/output_tokens",
    "/usageMetadata/candidatesTokenCount",
    "/generation_token_count",
    "/eval_count",
];
const SEARCHES: &str = "/meta/billed_units/search_units";
/// Bedrock says beside the body what a model of whatever form has used.
const INPUT_HEADER: &str = "x-amzn-bedrock-input-token-count";
const OUTPUT_HEADER: &str = "x-amzn-bedrock-output-token-count";

/// Reads what a whole answer says it used, under any of the names that vendors have for it; `None` when it does not say.
#[must_use]
pub fn count_named(headers: &HeaderMap, body: &[u8]) -> Option<Skimmed> {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let of = |names: &[&str]| names.iter().find_map(|name| number(said.pointer(name)?));
    let beside = |name: &str| headers.get(name)?.to_str().ok()?.parse().ok();
    let input = of(INPUT).or_else(|| beside(INPUT_HEADER)).or_else(|| predicted(&said));
    let output = of(OUTPUT).or_else(|| beside(OUTPUT_HEADER));
    let searches = said.pointer(SEARCHES).and_then(number);
    if input.is_none() && output.is_none() && searches.is_none() {
        return None;
    }
    let usage =
        TokenUsage { input: input.unwrap_or_default(), output: output.unwrap_or_default(), ..TokenUsage::default() };
    Some(Skimmed {
        usage: Some(usage).filter(|usage| usage.total() > 0),
        units: UnitUsage { searches: searches.unwrap_or_default(), ..UnitUsage::default() },
        is_complete: true,
        n_bytes: body.len() as u64,
        ..Skimmed::default()
    })
}

/// What Google Cloud's predictions say of each text.
fn predicted(said: &Value) -> Option<u64> {
    let counts = said["predictions"].as_array()?;
    counts.iter().map(|one| number(one.pointer("/embeddings/statistics/token_count")?)).sum()
}

/// Some write their counts with a point.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked just before")]
fn number(value: &Value) -> Option<u64> {
    value.as_f64().filter(|count| (0.0..1e15).contains(count)).map(|count| count.round() as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::find;

    fn known(provider: &str, base: &str, address: &str, in_body: Option<&str>) -> Option<(Counting, String)> {
        let provider = find(provider).unwrap();
        let base = Base::parse(provider.spec(), base).unwrap();
        let found = recognise(provider, &base, &address.parse().unwrap(), in_body);
        found.map(|known| (known.counting, known.model))
    }

    #[test]
    fn one_address_is_many_things_and_the_model_decides() {
        let bedrock = |path: &str| known("bedrock", "https://h.test", &format!("https://h.test/model/{path}"), None);
        let claude = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0";
        let messages = Counting::Dialect(Dialect::AnthropicMessages);
        let encoded = claude.replace(':', "%3A");
        assert_eq!(bedrock(&format!("{encoded}/invoke")), Some((messages, claude.to_owned())));
        assert_eq!(bedrock(&format!("{claude}/invoke-with-response-stream")), Some((messages, claude.to_owned())));
        assert_eq!(bedrock(&format!("{claude}/converse")), Some((Counting::Wire, claude.to_owned())));
        let nova = "amazon.nova-pro-v1:0";
        assert_eq!(bedrock(&format!("{nova}/invoke")), Some((Counting::Named, nova.to_owned())));
        assert_eq!(bedrock(&format!("{nova}/invoke-with-response-stream")), Some((Counting::Named, nova.to_owned())));
        assert_eq!(bedrock(&format!("{nova}/count-tokens")), Some((Counting::Free, nova.to_owned())));
    }

    #[test]
    fn every_vendors_own_operations_are_known() {
        let cohere = |path: &str| known("cohere", "https://h.test", &format!("https://h.test{path}"), Some("m"));
        let m = || "m".to_owned();
        assert_eq!(cohere("/v2/chat"), Some((Counting::Wire, m())));
        assert_eq!(cohere("/v2/embed"), Some((Counting::Named, m())));
        assert_eq!(cohere("/v2/rerank"), Some((Counting::Named, m())));
        assert_eq!(cohere("/v1/tokenize"), None);
        assert_eq!(known("cohere", "https://h.test", "https://h.test/v2/chat", None), None);
        let openai = known("openai", "https://h.test/v1", "https://h.test/v1/embeddings", Some("m"));
        assert_eq!(openai, Some((Counting::Dialect(Dialect::OpenAiChat), m())));
        let openai = |path: &str| known("openai", "https://h.test/v1", &format!("https://h.test/v1/{path}"), Some("m"));
        for (path, task) in [
            ("images/generations", Task::ImageGeneration),
            ("moderations", Task::Moderation),
            ("audio/speech", Task::Speech),
        ] {
            assert_eq!(openai(path), Some((Counting::Task(task), m())), "{path}");
        }
        for path in ["images/edits", "images/variations", "audio/transcriptions", "audio/translations", "files"] {
            assert_eq!(openai(path), None, "{path}");
        }
        assert_eq!(known("elevenlabs", "https://h.test", "https://h.test/v1/text-to-speech/v", Some("m")), None);
        let count = "https://h.test/v1/messages/count_tokens";
        assert_eq!(known("anthropic", "https://h.test", count, Some("m")), Some((Counting::Free, m())));
    }

    #[test]
    fn every_vendors_names_are_read() {
        let none = HeaderMap::new();
        let read = |body: &Value| {
            let found = count_named(&none, body.to_string().as_bytes())?;
            let usage = found.usage.unwrap_or_default();
            Some((usage.input, usage.output, found.units.searches))
        };
        for (body, counted) in [
            (json!({"meta": {"billed_units": {"input_tokens": 7.0}}}), Some((7, 0, 0))),
            (json!({"results": [], "meta": {"billed_units": {"search_units": 2}}}), Some((0, 0, 2))),
            (json!({"embedding": [1.0], "inputTextTokenCount": 3}), Some((3, 0, 0))),
            (json!({"usage": {"inputTokens": 4, "outputTokens": 5}}), Some((4, 5, 0))),
            (json!({"generation": "x", "prompt_token_count": 4, "generation_token_count": 5}), Some((4, 5, 0))),
            (
                json!({"predictions": [{"embeddings": {"statistics": {"token_count": 3.0}}}, {"embeddings": {"statistics": {"token_count": 2}}}]}),
                Some((5, 0, 0)),
            ),
            (json!({"usage": {"prompt_tokens": -4}}), None),
            (json!({"usage": "none"}), None),
            (json!([]), None),
        ] {
            assert_eq!(read(&body), counted, "{body}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(INPUT_HEADER, http::HeaderValue::from_static("11"));
        headers.insert(OUTPUT_HEADER, http::HeaderValue::from_static("6"));
        let usage = count_named(&headers, b"not JSON").unwrap().usage.unwrap();
        assert_eq!((usage.input, usage.output), (11, 6));
    }
}
