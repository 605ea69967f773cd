//! Parameter rules by model family: what an upstream refuses or names otherwise.
//!
//! Rules are data of a provider's `Quirks` and hold for bodies in the upstream's dialect, whoever wrote them. Only top-level
//! fields; what lies deeper is translation. Invariant: a body that no rule touches is the same buffer, and what a rule takes
//! away is a [`Loss`].

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use llm::canonical::loss::Loss;
use memchr::memmem;

use super::{Call, Place};
use crate::scan::{quote, visit_fields};

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// How the names of the models begin that it holds for, after the last `/`; empty for all.
    pub models: &'static [&'static str],
    /// The top-level field.
    pub field: &'static str,
    /// What is done with it.
    pub action: Action,
    /// Why, for people.
    pub reason: &'static str,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Leaves the field out.
    Drop,
    /// Leaves the field out, and nothing is lost: what it asks for happens anyway.
    Omit,
    /// Leaves the field out unless it has one of these values, as JSON.
    Only(&'static [&'static str]),
    /// Sends it under another name; left out when that is there too.
    Rename(&'static str),
    /// Sends another value for some, as JSON.
    Values(&'static [(&'static str, &'static str)]),
}

impl Rule {
    /// `max_completion_tokens` under the name that all servers take.
    pub const MAX_TOKENS: &'static [Self] = &[Self::rename("max_completion_tokens", "max_tokens")];

    /// A field that no model of the provider takes.
    #[must_use]
    pub const fn drop(field: &'static str, reason: &'static str) -> Self {
        Self { models: &[], field, action: Action::Drop, reason }
    }

    /// A field that asks for what happens anyway.
    #[must_use]
    pub const fn omit(field: &'static str) -> Self {
        Self { models: &[], field, action: Action::Omit, reason: "" }
    }

    /// A field that has another name.
    #[must_use]
    pub const fn rename(field: &'static str, to: &'static str) -> Self {
        Self { models: &[], field, action: Action::Rename(to), reason: "the upstream's name for it" }
    }

    /// A field whose values have other names.
    #[must_use]
    pub const fn values(field: &'static str, values: &'static [(&'static str, &'static str)]) -> Self {
        Self { models: &[], field, action: Action::Values(values), reason: "the nearest value that the upstream takes" }
    }

    /// The same rule for some models.
    #[must_use]
    pub const fn of(self, models: &'static [&'static str]) -> Self {
        Self { models, ..self }
    }

    /// `family` is the model's name after the last `/`.
    fn holds_for(&self, family: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|prefix| family.starts_with(prefix))
    }
}

/// Fields that may be in a body although its client did not send them.
const SPLICED: [&str; 2] = ["model", "stream_options"];

/// Applies the rules that hold for a model, and what the place wants of a body. `known` is the call whose body this is, save for
/// what was spliced in.
pub(super) fn apply(
    body: Bytes,
    known: Option<&Call<'_>>,
    rules: &[Rule],
    model: &str,
    place: &Place,
    losses: &mut Vec<Loss>,
) -> Bytes {
    let has = |field: &str| match known {
        Some(call) => call.scan.has_field(field, call.body) || SPLICED.contains(&field),
        None => has_key(&body, field),
    };
    let family = model.rsplit('/').next().unwrap_or(model);
    let rules: Vec<&Rule> = rules.iter().filter(|rule| rule.holds_for(family) && has(rule.field)).collect();
    let without = place.without.iter().any(|field| has(field));
    if rules.is_empty() && !without && place.with.is_empty() {
        return body;
    }
    rewrite(&body, &rules, place, losses).unwrap_or(body)
}

/// Says whether a quoted word is anywhere in the body: a search without reading, so a field below the top is found too.
pub(super) fn has_key(body: &[u8], field: &str) -> bool {
    let is_quoted = |at: usize| {
        at.checked_sub(1).and_then(|before| body.get(before)) == Some(&b'"')
            && body.get(at + field.len()) == Some(&b'"')
    };
    memmem::find_iter(body, field).any(is_quoted)
}

/// Writes the body anew; `None` when nothing has to change.
fn rewrite(body: &[u8], rules: &[&Rule], place: &Place, losses: &mut Vec<Loss>) -> Option<Bytes> {
    let mut fields: Vec<(String, Cow<'_, [u8]>)> = Vec::with_capacity(16);
    // What does not parse is not ours to mend.
    visit_fields(body, |key, span| fields.push((key.to_owned(), Cow::Borrowed(span.of(body))))).ok()?;
    let n_before = fields.len();
    let mut has_changed = false;
    fields.retain(|(name, _)| !place.without.contains(&name.as_str()));
    for rule in rules {
        has_changed |= rule.change(&mut fields, losses);
    }
    for (name, value) in place.with {
        if !fields.iter().any(|(known, _)| known == name) {
            fields.push(((*name).to_owned(), Cow::Borrowed(value.as_bytes())));
            has_changed = true;
        }
    }
    if !has_changed && fields.len() == n_before {
        return None;
    }
    let mut out = BytesMut::with_capacity(body.len() + 64);
    for (index, (name, value)) in fields.iter().enumerate() {
        out.put_u8(if index == 0 { b'{' } else { b',' });
        out.put_slice(&quote(name));
        out.put_u8(b':');
        out.put_slice(value);
    }
    if fields.is_empty() {
        out.put_u8(b'{');
    }
    out.put_u8(b'}');
    Some(out.freeze())
}

impl Rule {
    fn change(&self, fields: &mut Vec<(String, Cow<'_, [u8]>)>, losses: &mut Vec<Loss>) -> bool {
        let Some(at) = fields.iter().position(|(name, _)| name == self.field) else { return false };
        let value = fields[at].1.as_ref();
        let is_null = value == b"null";
        match self.action {
            Action::Only(values) if values.iter().any(|known| known.as_bytes() == value) => return false,
            Action::Drop | Action::Only(_) => {
                if !is_null {
                    losses.push(Loss::dropped(self.field, self.reason));
                }
                fields.remove(at);
            }
            Action::Omit => drop(fields.remove(at)),
            Action::Rename(to) if fields.iter().any(|(name, _)| name == to) => drop(fields.remove(at)),
            Action::Rename(to) => to.clone_into(&mut fields[at].0),
            Action::Values(values) => {
                let Some((_, sent)) = values.iter().find(|(known, _)| known.as_bytes() == value) else { return false };
                fields[at].1 = Cow::Borrowed(sent.as_bytes());
                losses.push(Loss::changed(self.field, self.reason));
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Surface;
    use super::*;

    const PLAIN: Place = Place::new(Surface::Wire, "/x");

    fn applied(body: &str, rules: &[Rule], place: &Place) -> (String, Vec<String>) {
        let mut losses = Vec::new();
        let body = apply(Bytes::from(body.to_owned()), None, rules, "vendor/o3-mini", place, &mut losses);
        (String::from_utf8(body.to_vec()).unwrap(), losses.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn each_action_does_what_it_says() {
        let rules = [
            Rule::drop("seed", "no seeds"),
            Rule { action: Action::Only(&["1"]), ..Rule::drop("temperature", "only 1") },
            Rule::rename("max_tokens", "max_completion_tokens"),
            Rule::values("tool_choice", &[("\"required\"", "\"any\"")]),
            Rule::drop("stop", "not by this family").of(&["gpt-5"]),
        ];
        let (body, losses) = applied(
            r#"{"seed":1,"temperature":0.5,"max_tokens":9,"tool_choice":"required","stop":"x"}"#,
            &rules,
            &PLAIN,
        );
        assert_eq!(body, r#"{"max_completion_tokens":9,"tool_choice":"any","stop":"x"}"#);
        assert_eq!(
            losses,
            [
                "seed dropped: no seeds",
                "temperature dropped: only 1",
                "tool_choice changed: the nearest value that the upstream takes"
            ]
        );
        let (body, losses) =
            applied(r#"{"seed":null,"temperature":1,"max_tokens":9,"max_completion_tokens":8}"#, &rules, &PLAIN);
        assert_eq!((body.as_str(), losses.len()), (r#"{"temperature":1,"max_completion_tokens":8}"#, 0));
        let (body, losses) = applied(r#"{"o":{"seed":1},"tool_choice":"auto"}"#, &rules, &PLAIN);
        assert_eq!((body.as_str(), losses.len()), (r#"{"o":{"seed":1},"tool_choice":"auto"}"#, 0));
    }

    #[test]
    fn a_place_shapes_the_body() {
        let place = Place { without: &["model", "stream"], with: &[("version", "\"v1\"")], ..PLAIN };
        let (body, losses) = applied(r#"{"model":"m","messages":[],"stream":true}"#, &[], &place);
        assert_eq!((body.as_str(), losses.len()), (r#"{"messages":[],"version":"v1"}"#, 0));
        assert_eq!(applied(r#"{"version":"own"}"#, &[], &place).0, r#"{"version":"own"}"#);
        assert_eq!(applied(r#"{"model":"m"}"#, &[], &Place { with: &[], ..place }).0, "{}");
    }

    #[test]
    fn an_untouched_body_is_the_same_buffer() {
        let body = Bytes::from_static(br#"{"messages":[{"content":"\"seed\""}]}"#);
        let sent = apply(body.clone(), None, &[Rule::drop("seed", "")], "m", &PLAIN, &mut Vec::new());
        assert_eq!(sent.as_ptr(), body.as_ptr());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..64), text in "\\PC{0,40}") {
            let rules = [Rule::drop("a", ""), Rule::rename("b", "c")];
            for body in [Bytes::from(bytes), Bytes::from(format!("{{\"a\":{text},\"b\":1}}"))] {
                apply(body, None, &rules, &text, &PLAIN, &mut Vec::new());
            }
        }
    }
}
