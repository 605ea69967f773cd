//! Tool calls and schemas as an upstream takes them that is stricter in them than the others.
//!
//! A conversation that began elsewhere brings that vendor's ids of calls. Invariants: what need not change stays to the byte, the
//! same id gives the same id in every call of a conversation, and different ones stay different, so calls keep their results.

use bytes::Bytes;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::rules::has_key;
use crate::scan::{quote, visit_fields};

/// Letters and digits that ids are made of.
const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// How long ids are.
const LENGTH: usize = 9;
/// What only says of a schema which draft it follows and what it is called.
const LABELS: &[&str] = &["$schema", "$id"];

/// Writes a chat body with ids of nine letters and digits, and tools whose schemas have no labels; `None` when nothing has to change.
pub(super) fn body(body: &[u8]) -> Option<Bytes> {
    if !["tool_call_id", "tool_calls", "$schema", "$id"].iter().any(|field| has_key(body, field)) {
        return None;
    }
    let written = object(body, &mut |name, value| match name {
        "messages" => Edit::of(list(value, &mut message)),
        "tools" => Edit::of(list(value, &mut tool)),
        _ => Edit::Keep,
    });
    written.map(Bytes::from)
}

fn message(message: &[u8]) -> Option<Vec<u8>> {
    object(message, &mut |name, value| match name {
        "tool_call_id" => Edit::of(id(value)),
        "tool_calls" => Edit::of(list(value, &mut |call| {
            object(call, &mut |name, value| if name == "id" { Edit::of(id(value)) } else { Edit::Keep })
        })),
        _ => Edit::Keep,
    })
}

/// Makes an id of another vendor's; one that fits already stays.
fn id(value: &[u8]) -> Option<Vec<u8>> {
    let id: String = serde_json::from_slice(value).ok()?;
    if id.len() == LENGTH && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let digest = Sha256::digest(id.as_bytes());
    let mut rest = u64::from_be_bytes(*digest.first_chunk()?);
    let mut short = String::with_capacity(LENGTH);
    for _ in 0..LENGTH {
        // Below 62, so the cast and the place are sound.
        short.push(char::from(LETTERS[usize::try_from(rest % 62).unwrap_or_default()]));
        rest /= 62;
    }
    Some(quote(&short).to_vec())
}

fn tool(tool: &[u8]) -> Option<Vec<u8>> {
    object(tool, &mut |name, value| match name {
        "function" => Edit::of(object(value, &mut |name, value| {
            if name == "parameters" { Edit::of(schema(value)) } else { Edit::Keep }
        })),
        _ => Edit::Keep,
    })
}

/// Takes the labels out of a schema and those in it.
fn schema(value: &[u8]) -> Option<Vec<u8>> {
    match value.first()? {
        b'{' => object(value, &mut |name, value| match name {
            name if LABELS.contains(&name) => Edit::Drop,
            // What stands in these is data.
            "enum" | "const" | "default" | "examples" | "required" => Edit::Keep,
            // Keys of these are names that the schema's author chose.
            "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas" => {
                Edit::of(object(value, &mut |_, value| Edit::of(schema(value))))
            }
            _ => Edit::of(schema(value)),
        }),
        b'[' => list(value, &mut schema),
        _ => None,
    }
}

// === Writing ===

/// What is done with a field.
enum Edit {
    Keep,
    Drop,
    Set(Vec<u8>),
}

impl Edit {
    fn of(written: Option<Vec<u8>>) -> Self {
        written.map_or(Self::Keep, Self::Set)
    }
}

/// Writes an object with some fields edited; `None` when none is, and for what is no object.
fn object(text: &[u8], edit: &mut dyn FnMut(&str, &[u8]) -> Edit) -> Option<Vec<u8>> {
    let (mut out, mut has_changed) = (vec![b'{'], false);
    visit_fields(text, |name, span| {
        let value = span.of(text);
        let edited = edit(name, value);
        has_changed |= !matches!(edited, Edit::Keep);
        let value = match &edited {
            Edit::Drop => return,
            Edit::Keep => value,
            Edit::Set(value) => value,
        };
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(&quote(name));
        out.push(b':');
        out.extend_from_slice(value);
    })
    .ok()?;
    out.push(b'}');
    has_changed.then_some(out)
}

/// Writes a list with some entries edited; `None` when none is, and for what is no list.
fn list(text: &[u8], edit: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let entries: Vec<&RawValue> = serde_json::from_slice(text).ok()?;
    let (mut out, mut has_changed) = (vec![b'['], false);
    for entry in entries {
        if out.len() > 1 {
            out.push(b',');
        }
        let entry = entry.get().as_bytes();
        match edit(entry) {
            Some(edited) => {
                has_changed = true;
                out.extend_from_slice(&edited);
            }
            None => out.extend_from_slice(entry),
        }
    }
    out.push(b']');
    has_changed.then_some(out)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn fitted(text: &str) -> Option<String> {
        body(text.as_bytes()).map(|body| String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn calls_keep_their_results_under_ids_that_are_taken() {
        let calls = ["call_abc", "toolu_01A", "call_abd", "ABCdef123"];
        let sent = json!({"messages": [
            {"role": "assistant", "tool_calls": calls.map(|id| json!({"id": id, "function": {"arguments": "{\"id\":\"call_abc\"}"}}))},
            {"role": "tool", "tool_call_id": "call_abd", "content": "d"}, {"role": "tool", "tool_call_id": "ABCdef123", "content": "o"},
            {"role": "tool", "tool_call_id": "call_abc", "content": "c"}, {"role": "tool", "tool_call_id": "toolu_01A", "content": "t"}]});
        let fitted = fitted(&sent.to_string()).unwrap();
        let read: Value = serde_json::from_str(&fitted).unwrap();
        let messages = &read["messages"];
        let ids: Vec<_> = (0..4).map(|at| messages[0]["tool_calls"][at]["id"].as_str().unwrap().to_owned()).collect();
        assert!(ids.iter().all(|id| id.len() == 9 && id.bytes().all(|it| it.is_ascii_alphanumeric())), "{ids:?}");
        assert_eq!(ids[3], "ABCdef123", "its own stay");
        let results: Vec<_> = (1..5).map(|at| messages[at]["tool_call_id"].as_str().unwrap()).collect();
        assert_eq!(results, [&ids[2], &ids[3], &ids[0], &ids[1]]);
        assert_eq!(messages[0]["tool_calls"][0]["function"]["arguments"], "{\"id\":\"call_abc\"}", "data stays");
        assert_eq!(body(fitted.as_bytes()), None, "what fits stays as it is");
    }

    #[test]
    fn schemas_lose_their_labels_and_nothing_else() {
        let text = r#"{"n":1.50,"tools":[{"type":"function","function":{"name":"f","strict":true,"parameters":{"$schema":"x","$id":"y","type":"object","additionalProperties":false,"properties":{"$id":{"$id":"z","type":"string","enum":["$id",{"$id":1}]},"b":{"anyOf":[{"$schema":"q","type":"null"}]}}}}}]}"#;
        let expected = r#"{"n":1.50,"tools":[{"type":"function","function":{"name":"f","strict":true,"parameters":{"type":"object","additionalProperties":false,"properties":{"$id":{"type":"string","enum":["$id",{"$id":1}]},"b":{"anyOf":[{"type":"null"}]}}}}}]}"#;
        assert_eq!(fitted(text).as_deref(), Some(expected));
        for same in [
            r#"{"messages":[{"role":"user","content":"\"$id\" tool_calls"}]}"#,
            r#"{"tools":"odd","$id":1}"#,
            "[]",
            "no",
        ] {
            assert_eq!(fitted(same), None, "{same}");
        }
    }
}
