//! JSON that is carried through without being understood.
//!
//! Not a tree: the text is kept as it came, so numbers, key order and escapes survive. Invariant: a [`Raw`] always
//! holds one complete, well-formed JSON value.

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::codec::json;

/// Holds one well-formed JSON value as text.
#[derive(Clone)]
pub struct Raw(Box<RawValue>);

impl Raw {
    /// Checks that `text` is one JSON value and keeps it.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str::<Box<RawValue>>(text).ok().map(Self)
    }

    /// Copies a value that the parser has already seen.
    #[must_use]
    pub fn from_value(value: &RawValue) -> Self {
        Self(value.to_owned())
    }

    /// Serialises `value`; `None` when it has no JSON form, such as a map with keys that are not strings.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Option<Self> {
        serde_json::value::to_raw_value(value).ok().map(Self)
    }

    /// Returns the JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Returns the object with one field set, at its place or last; `None` when the value is no object.
    #[must_use]
    pub fn with_field(&self, name: &str, value: &Self) -> Option<Self> {
        self.with_fields(Rest(vec![(name.into(), value.clone())]))
    }

    /// Returns the object with fields set, each at its place or last; `None` when the value is no object.
    #[must_use]
    pub fn with_fields(&self, fields: Rest) -> Option<Self> {
        let root = json::root(self.as_str().as_bytes()).ok()?;
        let mut all = root.object().ok()?.rest();
        for (name, value) in fields.0 {
            all.set(&name, value);
        }
        Some(json::raw_object(|object| object.rest(&all)))
    }

    /// Says whether the value is a JSON object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        self.as_str().starts_with('{')
    }
}

impl PartialEq for Raw {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// Fields that a dialect sent and this model does not name, in their order.
///
/// They belong to the dialect the whole request or answer came from (`origin`), return untouched to that dialect, and
/// are a [`super::loss::Loss`] each on the way to another.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rest(pub Vec<(Box<str>, Raw)>);

impl Rest {
    /// Says whether there is nothing to carry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Says whether there is nothing that a dialect of other origin would lose.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.unknown().next().is_none()
    }

    /// Iterates over what a dialect of other origin would lose. Not among it: the mark of an item, and names that begin with
    /// `=`, under which a dialect keeps in its own words what the hub has understood.
    pub fn unknown(&self) -> impl Iterator<Item = (&str, &Raw)> {
        self.iter().filter(|(name, _)| *name != super::content::Block::ITEM && !name.starts_with('='))
    }

    /// Adds one field.
    pub fn push(&mut self, name: &str, value: Raw) {
        self.0.push((name.into(), value));
    }

    /// Adds one field, or replaces it.
    pub fn set(&mut self, name: &str, value: Raw) {
        match self.0.iter_mut().find(|(known, _)| **known == *name) {
            Some((_, known)) => *known = value,
            None => self.push(name, value),
        }
    }

    /// Finds a field by name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Raw> {
        self.0.iter().find(|(key, _)| &**key == name).map(|(_, value)| value)
    }

    /// Iterates over names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Raw)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }
}
