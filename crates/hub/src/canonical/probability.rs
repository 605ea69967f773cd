//! How likely the tokens of an answer were.
//!
//! The origin's own words, which return to it untouched, and the tokens, which any other dialect that has such words can be told.
//! Invariant: numbers are as the upstream wrote them.

use super::json::Raw;

/// Token probabilities of a choice, or of a piece of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Probabilities {
    /// As the origin dialect wrote them.
    pub raw: Raw,
    /// Token by token; empty when the origin's words were not understood.
    pub tokens: Vec<Token>,
}

/// One token of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// The token that was said.
    pub said: Candidate,
    /// The likeliest in its place, in the origin's order; empty when none were asked for.
    pub top: Vec<Candidate>,
}

/// A token that was, or might have been, said.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Its text.
    pub token: Box<str>,
    /// The natural logarithm of its probability, a JSON number.
    pub logprob: Raw,
}

impl Probabilities {
    /// Appends what came later in the same choice. Words of another shape than the earlier ones stay out.
    pub(super) fn join(&mut self, later: Self) {
        if let Some(joined) = join_lists(&self.raw, &later.raw) {
            self.raw = joined;
            self.tokens.extend(later.tokens);
        }
    }
}

/// Joins two objects of lists key by key; `None` when either has another shape.
fn join_lists(earlier: &Raw, later: &Raw) -> Option<Raw> {
    type Lists<'a> = Vec<(String, Option<Vec<&'a serde_json::value::RawValue>>)>;
    fn lists(raw: &Raw) -> Option<Lists<'_>> {
        let map: std::collections::BTreeMap<String, Option<Vec<&serde_json::value::RawValue>>> =
            serde_json::from_str(raw.as_str()).ok()?;
        Some(map.into_iter().collect())
    }
    let mut all = lists(earlier)?;
    for (name, more) in lists(later)? {
        let Some(more) = more else { continue };
        match all.iter_mut().find(|(known, _)| *known == name) {
            Some((_, list)) => list.get_or_insert_default().extend(more),
            None => all.push((name, Some(more))),
        }
    }
    let map: std::collections::BTreeMap<_, _> = all.into_iter().collect();
    Raw::of(&map)
}
