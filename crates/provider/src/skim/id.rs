//! The id that an upstream gives its answer, for whoever looks for a call at the vendor's.
//!
//! Nothing is kept for it and nothing is asked of a call that nobody watches: it is looked for in bytes that are at hand. Invariant:
//! what is taken for an id is a field of the answer itself and made of the letters that ids have, never something that the model said.

use std::sync::LazyLock;

use llm::dialect::Dialect;
use memchr::memmem::Finder;

use crate::scan::visit_fields;

/// The longest that is taken; OpenAI's of responses have 53 letters.
const LONGEST: usize = 128;
/// How far into an answer it is looked for: vendors write it among the first fields. Gemini alone writes it last.
const HEAD: usize = 512;

static ID: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"id\""));

/// Returns the upstream's own id of an answer, from the whole of it or from the first bytes of its stream; `None` when they do not say.
#[must_use]
pub fn answer_id(dialect: Dialect, bytes: &[u8]) -> Option<&str> {
    if bytes.trim_ascii_start().starts_with(b"{") {
        return id_of_object(dialect, bytes);
    }
    let lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r'));
    lines.filter_map(|line| line.strip_prefix(b"data:")).find_map(|event| id_of_object(dialect, event))
}

fn id_of_object(dialect: Dialect, object: &[u8]) -> Option<&str> {
    let inner: &[u8] = match dialect {
        Dialect::Gemini => {
            let mut id = None;
            // What was read before a fault is as good as without it.
            let _ = visit_fields(object, |key, span| {
                if key == "responseId" {
                    id = Some(span);
                }
            });
            return plain(id?.of(object).strip_prefix(b"\"")?.strip_suffix(b"\"")?);
        }
        Dialect::OpenAiChat | Dialect::OpenAiCompletions => return first_id(object),
        Dialect::AnthropicMessages => b"\"message\":",
        Dialect::OpenAiResponses => b"\"response\":",
    };
    first_id(object).or_else(|| {
        let brace = memchr::memchr2_iter(b'{', b'[', object).nth(1).filter(|at| *at < HEAD)?;
        let is_answer = object[..brace].trim_ascii_end().ends_with(inner);
        first_id(&object[brace..]).filter(|_| is_answer)
    })
}

/// Returns the `id` of an object when only plain fields stand before it: after a list or another object the next `id` may be one of
/// what the model made.
fn first_id(object: &[u8]) -> Option<&str> {
    let head = &object[..object.len().min(HEAD)];
    let at = ID.find(head)?;
    let (before, rest) = (&head[..at], &head[at + ID.needle().len()..]);
    let fields = before.trim_ascii_start().strip_prefix(b"{")?;
    let is_first_level = !fields.iter().any(|letter| b"{}[]".contains(letter));
    let value = rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")?;
    let end = memchr::memchr(b'"', value).filter(|_| is_first_level)?;
    plain(&value[..end])
}

/// Takes a text for an id; `None` when it has other letters than ids have, none, or too many.
fn plain(text: &[u8]) -> Option<&str> {
    let is_letter = |letter: &u8| letter.is_ascii_alphanumeric() || b"-_.:/+=".contains(letter);
    let is_id = (1..=LONGEST).contains(&text.len()) && text.iter().all(is_letter);
    std::str::from_utf8(text).ok().filter(|_| is_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAT: Dialect = Dialect::OpenAiChat;

    #[test]
    fn the_id_of_a_whole_answer_is_found() {
        for (dialect, body, expected) in [
            (CHAT, r#"{"id":"chatcmpl-1_a","choices":[],"usage":{"prompt_tokens":1}}"#, "chatcmpl-1_a"),
            (CHAT, r#"{ "model" : "gpt", "id" : "c" }"#, "c"),
            (Dialect::AnthropicMessages, r#"{"model":"m","id":"msg_1","content":[]}"#, "msg_1"),
            (Dialect::Gemini, r#"{"candidates":[{"content":{}}],"responseId":"g-1"}"#, "g-1"),
            (Dialect::OpenAiResponses, r#"{"id":"resp_1","output":[]}"#, "resp_1"),
        ] {
            assert_eq!(answer_id(dialect, body.as_bytes()), Some(expected), "{body}");
        }
    }

    #[test]
    fn the_id_of_a_stream_is_found_in_its_first_bytes() {
        for (dialect, bytes, expected) in [
            (CHAT, ": still here\n\ndata: {\"id\":\"c\",\"choices\":[{\"delta\":{}}]}\n\n", "c"),
            (
                Dialect::AnthropicMessages,
                "event: message_start\r\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"content\":[]}}\r\n",
                "m",
            ),
            (
                Dialect::OpenAiResponses,
                "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"output\":[]",
                "r",
            ),
            (Dialect::Gemini, "data: {\"candidates\":[{}],\"responseId\":\"g-1\"}\n", "g-1"),
        ] {
            assert_eq!(answer_id(dialect, bytes.as_bytes()), Some(expected), "{bytes}");
        }
    }

    #[test]
    fn what_the_model_made_is_no_id() {
        for (dialect, bytes) in [
            (CHAT, r#"{"choices":[{"delta":{"tool_calls":[{"id":"call_1"}]}}]}"#),
            (CHAT, r#"{"choices":[],"id":"late"}"#),
            (CHAT, r#"{"error":{"id":"x"}}"#),
            (CHAT, r#"{"object":"list","data":[{"id":"made"}]}"#),
            (CHAT, r#"{"message":{"id":"made"}}"#),
            (CHAT, r#"{"id":"a secret sentence"}"#),
            (CHAT, r#"{"id":""}"#),
            (CHAT, r#"{"id":null}"#),
            (CHAT, r#"{"id":"a\"b"}"#),
            (CHAT, r#"{"id":"cut"#),
            (CHAT, "words, and then data: {\"id\":\"made\"}"),
            (Dialect::AnthropicMessages, r#"{"type":"content_block_start","content_block":{"id":"toolu_1"}}"#),
            (Dialect::AnthropicMessages, r#"{"type":"x","list":[{"message":{"id":"made"}}]}"#),
            (Dialect::OpenAiResponses, r#"{"type":"response.output_item.added","item":{"id":"fc_1"}}"#),
            (
                Dialect::Gemini,
                r#"{"candidates":[{"content":{"parts":[{"functionCall":{"args":{"responseId":"m"}}}]}}]}"#,
            ),
        ] {
            assert_eq!(answer_id(dialect, bytes.as_bytes()), None, "{bytes}");
        }
        let long = "x".repeat(LONGEST + 1);
        assert_eq!(answer_id(CHAT, format!("{{\"id\":\"{long}\"}}").as_bytes()), None);
        assert_eq!(answer_id(CHAT, format!("{{\"id\":\"{}\"}}", &long[1..]).as_bytes()), Some(&long[1..]));
    }
}
