//! Messages without the fields that some upstreams refuse in them.
//!
//! Clients send an assistant's message back as they got it, with every field that OpenAI's answers have, most of them `null`; servers
//! that check strictly refuse what they do not know even when it is empty. Invariant: what stays is as the client sent it, to the
//! byte, and what is taken away with something in it is a [`Loss`].

use llm::canonical::loss::Loss;
use serde_json::value::RawValue;

use crate::scan::{quote, visit_fields};

/// A field of messages that an upstream refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Its name.
    pub field: &'static str,
    /// The role whose messages may have it; empty for none.
    pub but_in: &'static str,
}

impl Refused {
    /// What clients bring back of an assistant's message that only OpenAI, or only a server of reasoning, has in its own.
    pub const OF_ANSWERS: [Self; 5] = [
        Self::always("refusal"),
        Self::always("audio"),
        Self::always("annotations"),
        Self::always("reasoning_content"),
        Self::always("reasoning_details"),
    ];

    /// A field that no message may have.
    #[must_use]
    pub const fn always(field: &'static str) -> Self {
        Self { field, but_in: "" }
    }
}

/// Writes a list of messages without these fields, and without those that are `null`; `None` when nothing has to change.
pub(super) fn messages(list: &[u8], refused: &[Refused], reason: &str, losses: &mut Vec<Loss>) -> Option<Vec<u8>> {
    let messages: Vec<&RawValue> = serde_json::from_slice(list).ok()?;
    let mut out = vec![b'['];
    let mut has_changed = false;
    for (index, message) in messages.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let message = message.get().as_bytes();
        match without(message, index, refused, reason, losses) {
            Some(bare) => {
                has_changed = true;
                out.extend_from_slice(&bare);
            }
            None => out.extend_from_slice(message),
        }
    }
    out.push(b']');
    has_changed.then_some(out)
}

fn without(message: &[u8], index: usize, refused: &[Refused], reason: &str, losses: &mut Vec<Loss>) -> Option<Vec<u8>> {
    let mut fields = Vec::new();
    visit_fields(message, |name, span| fields.push((name.to_owned(), span.of(message)))).ok()?;
    let role = fields.iter().find(|(name, _)| name == "role").and_then(|(_, role)| serde_json::from_slice(role).ok());
    let role: String = role.unwrap_or_default();
    let n_before = fields.len();
    fields.retain(|(name, value)| {
        let is_refused = refused.iter().any(|it| it.field == name && it.but_in != role);
        let is_empty = matches!(*value, b"null" | b"[]" | b"\"\"");
        if is_refused && !is_empty {
            losses.push(Loss::dropped(format!("messages[{index}].{name}"), reason));
        }
        // An assistant's message that only calls tools has no content, and says so.
        !is_refused && (*value != b"null" || name == "content")
    });
    if fields.len() == n_before {
        return None;
    }
    let mut out = vec![b'{'];
    for (name, value) in fields {
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(&quote(&name));
        out.push(b':');
        out.extend_from_slice(value);
    }
    out.push(b'}');
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: &[Refused] = &[Refused { field: "name", but_in: "tool" }, Refused::always("annotations")];

    fn check(list: &str, expected: Option<&str>, lost: &[&str]) {
        let mut losses = Vec::new();
        let bare = messages(list.as_bytes(), STRICT, "no", &mut losses);
        assert_eq!(bare.map(|bare| String::from_utf8(bare).unwrap()).as_deref(), expected);
        assert_eq!(losses.iter().map(|loss| loss.path.to_string()).collect::<Vec<_>>(), lost);
    }

    #[test]
    fn what_is_refused_goes_and_the_rest_stays_to_the_byte() {
        check(r#"[{"role":"user","content":"Hi \u00e9 null \"name\":1"}]"#, None, &[]);
        check(
            r#"[{"role":"user","name":"ann","content":"Hi"}, {"role":"tool","name":"f","content":"x","n":1.50}]"#,
            Some(r#"[{"role":"user","content":"Hi"},{"role":"tool","name":"f","content":"x","n":1.50}]"#),
            &["messages[0].name"],
        );
        check(
            r#"[{"role":"assistant","content":null,"refusal":null,"annotations":[],"tool_calls":[{"x":null}]}]"#,
            Some(r#"[{"role":"assistant","content":null,"tool_calls":[{"x":null}]}]"#),
            &[],
        );
        check(r#"["odd",1]"#, None, &[]);
        check(r#"{"no":"list"}"#, None, &[]);
    }
}
