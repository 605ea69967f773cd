//! Parameter rules by model family: what an upstream refuses or names otherwise.
//!
//! Rules are data of a provider's `Quirks` and hold for bodies in the upstream's dialect, whoever wrote them. Top-level
//! fields, and those of messages; what lies deeper is translation. Invariant: a body that no rule touches is the same buffer, and what a rule takes
//! away is a [`Loss`].

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use llm::canonical::loss::Loss;
use memchr::memmem;

use super::bare::{self, Refused};
use super::{Call, Place, prepare};
use crate::catalog::{Capability, ModelFacts, ModelKind};
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
    /// What else must be so.
    pub when: When,
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
    /// Leaves these fields, and those that are `null`, out of each message of a list.
    Bare(&'static [Refused]),
}

/// What must be so for a rule to hold, beside the model's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Nothing.
    Always,
    /// Another field is there too.
    Beside(&'static str),
    /// The catalog says that the model takes no sampling.
    Unsampled,
    /// The same of a model that is not Claude, or of one that the catalog does not have, its name; and the request lets it think:
    /// OpenAI's take sampling with the effort `none`.
    Thinking,
}

/// Models that do not think unless they are told to (litellm 1.109.1, read November 2026).
const NONE_BY_DEFAULT: &[&str] = &["gpt-5.1", "gpt-5.2", "gpt-5.4"];

impl Rule {
    /// `max_completion_tokens` under the name that all servers take.
    pub const MAX_TOKENS: &'static [Self] = &[Self::rename("max_completion_tokens", "max_tokens")];

    /// A field that no model of the provider takes.
    #[must_use]
    pub const fn drop(field: &'static str, reason: &'static str) -> Self {
        Self { models: &[], field, action: Action::Drop, when: When::Always, reason }
    }

    /// A field that asks for what happens anyway.
    #[must_use]
    pub const fn omit(field: &'static str) -> Self {
        Self { action: Action::Omit, ..Self::drop(field, "") }
    }

    /// A field that has another name.
    #[must_use]
    pub const fn rename(field: &'static str, to: &'static str) -> Self {
        Self { action: Action::Rename(to), ..Self::drop(field, "the upstream's name for it") }
    }

    /// A field whose values have other names.
    #[must_use]
    pub const fn values(field: &'static str, values: &'static [(&'static str, &'static str)]) -> Self {
        Self { action: Action::Values(values), ..Self::drop(field, "the nearest value that the upstream takes") }
    }

    /// Messages that may have nothing that the upstream does not know.
    #[must_use]
    pub const fn bare(refused: &'static [Refused], reason: &'static str) -> Self {
        Self { action: Action::Bare(refused), ..Self::drop("messages", reason) }
    }

    /// The same rule for some models.
    #[must_use]
    pub const fn of(self, models: &'static [&'static str]) -> Self {
        Self { models, ..self }
    }

    /// A field that only these values may have; any other is left out.
    #[must_use]
    pub const fn only(field: &'static str, values: &'static [&'static str], reason: &'static str) -> Self {
        Self { action: Action::Only(values), ..Self::drop(field, reason) }
    }

    /// The same rule where something else is so.
    #[must_use]
    pub const fn when(self, when: When) -> Self {
        Self { when, ..self }
    }

    fn holds_for(&self, subject: Subject<'_>) -> bool {
        let family = subject.family();
        let is_named = self.models.iter().any(|prefix| family.starts_with(prefix));
        match self.when {
            When::Always | When::Beside(_) => self.models.is_empty() || is_named,
            When::Unsampled => is_named && subject.is_unsampled() == Some(true),
            When::Thinking => subject.is_unsampled().map_or(is_named, |it| it && !family.starts_with("claude")),
        }
    }
}

/// Whose model a body is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) provider: &'a str,
    /// As the upstream names it.
    pub(super) model: &'a str,
    /// What its organization says of it.
    pub(super) facts: Option<&'a ModelFacts>,
}

impl<'a> Subject<'a> {
    /// Says whether the model takes no sampling; `None` of a model that the catalog does not have.
    fn is_unsampled(self) -> Option<bool> {
        let is_it = |model: &ModelFacts| model.kind == ModelKind::Chat && !model.can(Capability::Sampling);
        self.facts.or_else(|| prepare::known_model(self.provider, self.model)).map(is_it)
    }

    /// The maker's own name of the model: without what stands in front of it at whoever resells it.
    pub(super) fn family(self) -> &'a str {
        let name = self.model.rsplit('/').next().unwrap_or(self.model);
        ["anthropic.", "openai."].iter().find_map(|maker| Some(name.rsplit_once(maker)?.1)).unwrap_or(name)
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
    subject: Subject<'_>,
    place: &Place,
    losses: &mut Vec<Loss>,
) -> Bytes {
    let has = |field: &str| match known {
        Some(call) => call.scan.has_field(field, call.body) || SPLICED.contains(&field),
        None => has_key(&body, field),
    };
    let is_meant = |rule: &&Rule| has(rule.field) && rule.holds_for(subject) && rule.has_work(&body);
    let rules: Vec<&Rule> = rules.iter().filter(is_meant).collect();
    let without = place.without.iter().any(|field| has(field));
    if rules.is_empty() && !without && place.with.is_empty() {
        return body;
    }
    rewrite(&body, &rules, subject, place, losses).unwrap_or(body)
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
fn rewrite(body: &[u8], rules: &[&Rule], subject: Subject<'_>, place: &Place, losses: &mut Vec<Loss>) -> Option<Bytes> {
    let mut fields: Vec<(String, Cow<'_, [u8]>)> = Vec::with_capacity(16);
    // What does not parse is not ours to mend.
    visit_fields(body, |key, span| fields.push((key.to_owned(), Cow::Borrowed(span.of(body))))).ok()?;
    let n_before = fields.len();
    let mut has_changed = false;
    fields.retain(|(name, _)| !place.without.contains(&name.as_str()));
    for rule in rules.iter().filter(|rule| is_so(rule.when, &fields, subject)).collect::<Vec<_>>() {
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

/// Says whether what a rule asks of a body is so.
fn is_so(when: When, fields: &[(String, Cow<'_, [u8]>)], subject: Subject<'_>) -> bool {
    let find = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_ref());
    match when {
        When::Always | When::Unsampled => true,
        When::Beside(other) => find(other).is_some_and(|value| value != b"null"),
        // Chat says it at the top, Responses in an object.
        When::Thinking => {
            let effort = find("reasoning_effort").or_else(|| find("reasoning").filter(|it| has_key(it, "effort")));
            let family = subject.family();
            let is_quiet = NONE_BY_DEFAULT.iter().any(|name| family.starts_with(name));
            let thinks = || !is_quiet || family.contains("codex") || family.contains("-pro");
            effort.map_or_else(thinks, |effort| !has_key(effort, "none"))
        }
    }
}

impl Rule {
    /// Says whether there may be anything for it to do.
    fn has_work(&self, body: &[u8]) -> bool {
        let Action::Bare(refused) = self.action else { return true };
        memmem::find(body, b"null").is_some() || refused.iter().any(|it| has_key(body, it.field))
    }

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
            Action::Bare(refused) => {
                let Some(list) = bare::messages(value, refused, self.reason, losses) else { return false };
                fields[at].1 = Cow::Owned(list);
            }
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

    fn of(model: &str) -> Subject<'_> {
        Subject { provider: "openai", model, facts: None }
    }

    fn applied(body: &str, rules: &[Rule], place: &Place) -> (String, Vec<String>) {
        let mut losses = Vec::new();
        let body = apply(Bytes::from(body.to_owned()), None, rules, of("vendor/o3-mini"), place, &mut losses);
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

    fn sent(provider: &str, model: &str, body: &str) -> (String, Vec<String>) {
        let rules = crate::find(provider).unwrap().spec().quirks.rules;
        let mut losses = Vec::new();
        let subject = Subject { provider, model, facts: None };
        let body = apply(Bytes::from(body.to_owned()), None, rules, subject, &PLAIN, &mut losses);
        (String::from_utf8(body.to_vec()).unwrap(), losses.iter().map(|loss| loss.path.to_string()).collect())
    }

    #[test]
    fn a_model_that_thinks_is_sent_no_sampling_and_one_that_does_not_is() {
        const ASKED: &str = r#"{"temperature":0.2,"top_p":0.9,"stop":["x"],"logprobs":true}"#;
        let lost = |model, body| sent("openai", model, body).1;
        assert_eq!(lost("gpt-5-mini", ASKED), ["temperature", "top_p", "logprobs", "stop"]);
        assert_eq!(lost("gpt-6-sol", ASKED), ["temperature", "top_p", "logprobs", "stop"]);
        assert!(lost("gpt-4o", ASKED).is_empty());
        // A dated name that the catalog does not have is told by its family.
        assert_eq!(lost("gpt-7", ASKED).len(), 0);
        assert_eq!(lost("gpt-5-mini-2031-01-01", ASKED).len(), 4);
        // What says nothing is left out of nothing.
        assert!(lost("gpt-5", r#"{"temperature":1,"top_p":1.0,"logprobs":false}"#).is_empty());
        // With the effort `none` they sample, by default or when told.
        assert!(lost("gpt-5.2", r#"{"temperature":0.2}"#).is_empty());
        assert_eq!(lost("gpt-5.2", r#"{"temperature":0.2,"reasoning_effort":"low"}"#), ["temperature"]);
        assert_eq!(lost("gpt-5.2-codex", r#"{"temperature":0.2}"#), ["temperature"]);
        assert!(lost("gpt-6-sol", r#"{"temperature":0.2,"reasoning_effort":"none"}"#).is_empty());
        assert!(lost("gpt-6-sol", r#"{"temperature":0.2,"reasoning":{"effort":"none"}}"#).is_empty());
        assert_eq!(lost("gpt-6-sol", r#"{"temperature":0.2,"reasoning":{"effort":"high"}}"#), ["temperature"]);
        assert_eq!(lost("gpt-6-sol", r#"{"temperature":0.2,"reasoning":{"summary":"auto"}}"#), ["temperature"]);
    }

    #[test]
    fn claude_is_sent_what_its_family_takes_wherever_it_is_served() {
        const ASKED: &str = r#"{"max_tokens":1,"temperature":0.2,"top_p":0.9,"top_k":4}"#;
        for (provider, model) in [
            ("anthropic", "claude-opus-5-5"),
            ("bedrock", "us.anthropic.claude-opus-5"),
            ("bedrock_mantle", "anthropic.claude-opus-5-5"),
            ("vertex", "claude-opus-5@default"),
        ] {
            let (body, lost) = sent(provider, model, ASKED);
            assert_eq!((body.as_str(), lost.len()), (r#"{"max_tokens":1}"#, 3), "{provider}");
        }
        let of_two = |provider, model| sent(provider, model, ASKED).1;
        assert_eq!(of_two("anthropic", "claude-sonnet-4-5-20250929"), ["top_p"]);
        assert_eq!(of_two("bedrock", "eu.anthropic.claude-haiku-4-5-20251001-v1:0"), ["top_p"]);
        assert!(of_two("anthropic", "claude-3-7-sonnet-20250219").is_empty());
        assert!(sent("anthropic", "claude-sonnet-4-5", r#"{"top_p":0.9}"#).1.is_empty());
    }

    #[test]
    fn an_untouched_body_is_the_same_buffer() {
        let body = Bytes::from_static(br#"{"messages":[{"content":"\"seed\""}]}"#);
        let sent = apply(body.clone(), None, &[Rule::drop("seed", "")], of("m"), &PLAIN, &mut Vec::new());
        assert_eq!(sent.as_ptr(), body.as_ptr());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..64), text in "\\PC{0,40}") {
            let rules = [Rule::drop("a", ""), Rule::rename("b", "c")];
            for body in [Bytes::from(bytes), Bytes::from(format!("{{\"a\":{text},\"b\":1}}"))] {
                apply(body, None, &rules, of(&text), &PLAIN, &mut Vec::new());
            }
        }
    }
}
