//! Where words of an answer come from: one form between the vendors' many.
//!
//! Within one dialect a citation stays as the vendor wrote it ([`super::content::Text::citations`]). This form stands between two
//! dialects, and is what the readers of wire formats give, whose own form no client knows.

use serde::{Deserialize, Serialize};

use super::json::Raw;

/// What marks the form among citations that a vendor wrote.
const MARK: &str = "{\"=citation\":";

/// One source of some words of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Citation {
    /// Which words of the answer; `None` for the whole block.
    pub span: Option<Span>,
    /// The source's address.
    pub url: Option<Box<str>>,
    /// The source's name, for one without an address.
    pub id: Option<Box<str>>,
    /// The source's title.
    pub title: Option<Box<str>>,
    /// The source's words.
    pub quote: Option<Box<str>>,
    /// Where in a document of the request.
    pub place: Option<Place>,
}

/// Words of an answer, from and up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Span {
    /// In characters of the block.
    Chars(u64, u64),
    /// In bytes of all text of the choice.
    Bytes(u64, u64),
}

/// A place in a document of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The document's number among those of the request.
    pub document: u64,
    /// What is counted.
    pub unit: Unit,
    /// The first.
    pub start: u64,
    /// The one after the last.
    pub end: u64,
}

/// What a place is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Characters.
    Char,
    /// Pages.
    Page,
    /// Blocks of content.
    Block,
}

#[derive(Serialize, Deserialize)]
struct Marked<T> {
    #[serde(rename = "=citation")]
    citation: T,
}

impl Citation {
    /// Writes the form among what vendors wrote.
    #[must_use]
    pub fn to_raw(&self) -> Option<Raw> {
        Raw::of(&Marked { citation: self })
    }

    /// Reads the form; `None` when a vendor wrote it.
    pub(crate) fn of_raw(raw: &Raw) -> Option<Self> {
        if !raw.as_str().starts_with(MARK) {
            return None;
        }
        serde_json::from_str::<Marked<Self>>(raw.as_str()).ok().map(|marked| marked.citation)
    }
}
