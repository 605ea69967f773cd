//! JSON read one level at a time, with errors that name the path, and written without trees.
//!
//! Not a document model: an [`Object`] knows its own fields as slices of the text and nothing below them, so untouched
//! values are never parsed, numbers keep their digits and unknown fields leave as they came. Nesting costs no stack.
//! Invariant: a field counts as known once it was asked for; [`Object::rest`] gives all others.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::canonical::error::DecodeError;
use crate::canonical::json::{Raw, Rest};

// === Reading ===

/// Where a value is; a chain on the stack that is only rendered for errors.
#[derive(Clone, Copy)]
pub struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Root,
    Field(&'p str),
    Index(usize),
}

impl Path<'_> {
    const ROOT: Path<'static> = Path { parent: None, step: Step::Root };
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Field(name) if self.parent.is_none_or(|parent| matches!(parent.step, Step::Root)) => {
                f.write_str(name)
            }
            Step::Field(name) => write!(f, ".{name}"),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// One value and where it is.
#[derive(Clone, Copy)]
pub struct Node<'a, 'p> {
    raw: &'a RawValue,
    path: Path<'p>,
}

/// Checks that `text` is one JSON value and starts reading it.
pub fn root(bytes: &[u8]) -> Result<Node<'_, 'static>, DecodeError> {
    let invalid = |reason: String| DecodeError::Json { path: "".into(), reason: reason.into() };
    let text = std::str::from_utf8(bytes).map_err(|error| invalid(error.to_string()))?;
    let raw = serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
    Ok(Node { raw, path: Path::ROOT })
}

impl<'a, 'p> Node<'a, 'p> {
    /// Returns the JSON text.
    pub fn text(&self) -> &'a str {
        self.raw.get()
    }

    /// Keeps the value.
    pub fn raw(&self) -> Raw {
        Raw::from_value(self.raw)
    }

    /// Returns the path, for messages.
    pub fn path(&self) -> String {
        self.path.to_string()
    }

    /// Says whether it is `null`.
    pub fn is_null(&self) -> bool {
        self.text() == "null"
    }

    /// Says whether it is a string.
    pub fn is_str(&self) -> bool {
        self.text().starts_with('"')
    }

    /// Says whether it is an object.
    pub fn is_object(&self) -> bool {
        self.text().starts_with('{')
    }

    /// Says whether it is an array.
    pub fn is_array(&self) -> bool {
        self.text().starts_with('[')
    }

    /// The error that something else should be here.
    pub fn expected(&self, what: &str) -> DecodeError {
        DecodeError::Expected { path: self.path().into(), expected: what.into() }
    }

    fn read<T: Deserialize<'a>>(&self, what: &str) -> Result<T, DecodeError> {
        serde_json::from_str(self.text()).map_err(|_| self.expected(what))
    }

    /// Reads a string, borrowed when it has no escapes.
    pub fn str(&self) -> Result<Cow<'a, str>, DecodeError> {
        self.read::<Text<'a>>("a string").map(|text| text.0)
    }

    /// Reads a string.
    pub fn string(&self) -> Result<String, DecodeError> {
        self.str().map(Cow::into_owned)
    }

    /// Reads a string.
    pub fn boxed(&self) -> Result<Box<str>, DecodeError> {
        self.str().map(Into::into)
    }

    /// Reads a truth value.
    pub fn bool(&self) -> Result<bool, DecodeError> {
        self.read("true or false")
    }

    /// Reads a whole number.
    pub fn u64(&self) -> Result<u64, DecodeError> {
        self.read("a whole number that is not negative")
    }

    /// Reads a whole number.
    pub fn u32(&self) -> Result<u32, DecodeError> {
        self.read("a whole number from 0 to 4294967295")
    }

    /// Reads a whole number.
    pub fn i64(&self) -> Result<i64, DecodeError> {
        self.read("a whole number")
    }

    /// Reads a number.
    pub fn f64(&self) -> Result<f64, DecodeError> {
        self.read("a number")
    }

    /// Reads the fields of an object.
    pub fn object(&self) -> Result<Object<'a, 'p>, DecodeError> {
        let fields = self.read::<Fields<'a>>("an object")?.0;
        Ok(Object { fields, path: self.path })
    }

    /// Reads the items of an array.
    pub fn array(&self) -> Result<Array<'a, 'p>, DecodeError> {
        let items = self.read::<Items<'a>>("an array")?.0;
        Ok(Array { items, path: self.path })
    }
}

/// The fields of one object.
pub struct Object<'a, 'p> {
    fields: Vec<Field<'a>>,
    path: Path<'p>,
}

struct Field<'a> {
    name: Cow<'a, str>,
    value: &'a RawValue,
    known: Cell<bool>,
}

impl<'a> Object<'a, '_> {
    /// Finds a field; `null` counts as absent, and of several with one name the last counts, as in most parsers.
    pub fn find<'s>(&'s self, name: &'s str) -> Option<Node<'a, 's>> {
        let mut found = None;
        for field in &self.fields {
            if field.name == name {
                field.known.set(true);
                found = Some(field.value);
            }
        }
        let node = Node { raw: found?, path: Path { parent: Some(&self.path), step: Step::Field(name) } };
        (!node.is_null()).then_some(node)
    }

    /// Turns names in `snake_case` into camelCase, for dialects that take both.
    #[must_use]
    pub fn camel(mut self) -> Self {
        for field in &mut self.fields {
            if let Cow::Owned(name) = camel(&field.name) {
                field.name = Cow::Owned(name);
            }
        }
        self
    }

    /// Finds a field that must be there.
    pub fn get<'s>(&'s self, name: &'s str) -> Result<Node<'a, 's>, DecodeError> {
        self.find(name).ok_or_else(|| {
            let path = Path { parent: Some(&self.path), step: Step::Field(name) };
            DecodeError::Missing { path: path.to_string().into() }
        })
    }

    /// Finds a string, `None` when absent.
    pub fn find_string(&self, name: &str) -> Result<Option<String>, DecodeError> {
        self.find(name).map(|node| node.string()).transpose()
    }

    /// Finds a string, `None` when absent.
    pub fn find_boxed(&self, name: &str) -> Result<Option<Box<str>>, DecodeError> {
        self.find(name).map(|node| node.boxed()).transpose()
    }

    /// Finds a number.
    pub fn find_f64(&self, name: &str) -> Result<Option<f64>, DecodeError> {
        self.find(name).map(|node| node.f64()).transpose()
    }

    /// Finds a whole number.
    pub fn find_u64(&self, name: &str) -> Result<Option<u64>, DecodeError> {
        self.find(name).map(|node| node.u64()).transpose()
    }

    /// Finds a truth value.
    pub fn find_bool(&self, name: &str) -> Result<Option<bool>, DecodeError> {
        self.find(name).map(|node| node.bool()).transpose()
    }

    /// Reads a counter leniently: whatever is not a whole number counts as zero, because an odd usage report must not
    /// cost the caller an answer.
    pub fn count(&self, name: &str) -> u64 {
        self.find(name).and_then(|node| node.u64().ok()).unwrap_or(0)
    }

    /// Reads an object that only informs, such as counts of tokens: anything else in its place counts as absent, because an
    /// odd report must not cost the caller an answer.
    pub fn report<T>(&self, name: &str, read: impl FnOnce(&Object<'a, '_>) -> T) -> Option<T> {
        self.find(name)?.object().ok().map(|object| read(&object))
    }

    /// Reads a text that only informs: anything else in its place, and an empty one, counts as absent.
    pub fn words(&self, name: &str) -> Option<Box<str>> {
        self.find_boxed(name).ok().flatten().filter(|text| !text.is_empty())
    }

    /// Takes all fields nobody asked for.
    pub fn rest(&self) -> Rest {
        let unknown = self.fields.iter().filter(|field| !field.known.get());
        Rest(unknown.map(|field| (field.name.as_ref().into(), Raw::from_value(field.value))).collect())
    }

    /// Marks fields as known although nobody reads them.
    pub fn skip(&self, names: &[&str]) {
        for field in &self.fields {
            if names.contains(&field.name.as_ref()) {
                field.known.set(true);
            }
        }
    }
}

/// Turns a name in `snake_case` into camelCase; signs at its beginning stay.
pub fn camel(name: &str) -> Cow<'_, str> {
    if !name.trim_start_matches('_').contains('_') {
        return Cow::Borrowed(name);
    }
    let mut camel = String::with_capacity(name.len());
    let mut is_after = false;
    for letter in name.chars() {
        if letter == '_' && !camel.is_empty() {
            is_after = true;
        } else if std::mem::take(&mut is_after) {
            camel.extend(letter.to_uppercase());
        } else {
            camel.push(letter);
        }
    }
    Cow::Owned(camel)
}

/// The items of one array.
pub struct Array<'a, 'p> {
    items: Vec<&'a RawValue>,
    path: Path<'p>,
}

impl<'a> Array<'a, '_> {
    /// Says whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns the number of items.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Iterates over the items.
    pub fn iter(&self) -> impl Iterator<Item = Node<'a, '_>> {
        let path = &self.path;
        let step = |(index, raw): (usize, &&'a RawValue)| Node {
            raw,
            path: Path { parent: Some(path), step: Step::Index(index) },
        };
        self.items.iter().enumerate().map(step)
    }
}

/// A string that borrows from the text when it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

struct Fields<'a>(Vec<Field<'a>>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(8);
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    fields.push(Field { name: name.0, value: map.next_value()?, known: Cell::new(false) });
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct Items<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Items<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemsVisitor;
        impl<'de> Visitor<'de> for ItemsVisitor {
            type Value = Items<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Items(items))
            }
        }
        deserializer.deserialize_seq(ItemsVisitor)
    }
}

// === Writing ===

/// Writes one object into `out`.
pub fn write_object(out: &mut BytesMut, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
    out.put_u8(b'{');
    fill(&mut ObjectWriter { out, empty: true });
    out.put_u8(b'}');
}

/// Writes one object by itself.
pub fn object_bytes(fill: impl FnOnce(&mut ObjectWriter<'_>)) -> Bytes {
    let mut out = BytesMut::new();
    write_object(&mut out, fill);
    out.freeze()
}

/// Writes one array into `out` and says whether it stayed empty.
pub fn write_array(out: &mut BytesMut, fill: impl FnOnce(&mut ArrayWriter<'_>)) -> bool {
    out.put_u8(b'[');
    let mut array = ArrayWriter { out, empty: true };
    fill(&mut array);
    let is_empty = array.empty;
    out.put_u8(b']');
    is_empty
}

/// Writes one object and gives it as a value.
#[expect(clippy::missing_panics_doc, reason = "the writer gives well-formed JSON")]
pub fn raw_object(fill: impl FnOnce(&mut ObjectWriter<'_>)) -> Raw {
    let out = object_bytes(fill);
    let text = std::str::from_utf8(&out).unwrap_or_default();
    Raw::parse(text).expect("the writer gives well-formed JSON")
}

/// Writes the fields of one object, commas included.
pub struct ObjectWriter<'o> {
    out: &'o mut BytesMut,
    empty: bool,
}

impl ObjectWriter<'_> {
    fn key(&mut self, name: &str) {
        if !std::mem::take(&mut self.empty) {
            self.out.put_u8(b',');
        }
        put_str(self.out, name);
        self.out.put_u8(b':');
    }

    /// Writes a string.
    pub fn str(&mut self, name: &str, value: &str) {
        self.key(name);
        put_str(self.out, value);
    }

    /// Writes a string if there is one.
    pub fn opt_str(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.str(name, value);
        }
    }

    /// Writes a value as it came.
    pub fn raw(&mut self, name: &str, value: &Raw) {
        self.key(name);
        self.out.put_slice(value.as_str().as_bytes());
    }

    /// Writes a value as it came, if there is one.
    pub fn opt_raw(&mut self, name: &str, value: Option<&Raw>) {
        if let Some(value) = value {
            self.raw(name, value);
        }
    }

    /// Writes text that is known to be JSON.
    pub fn literal(&mut self, name: &str, json: &str) {
        self.key(name);
        self.out.put_slice(json.as_bytes());
    }

    /// Writes `null`.
    pub fn null(&mut self, name: &str) {
        self.literal(name, "null");
    }

    /// Writes a truth value.
    pub fn bool(&mut self, name: &str, value: bool) {
        self.literal(name, if value { "true" } else { "false" });
    }

    /// Writes a truth value if there is one.
    pub fn opt_bool(&mut self, name: &str, value: Option<bool>) {
        if let Some(value) = value {
            self.bool(name, value);
        }
    }

    /// Writes a whole number.
    pub fn u64(&mut self, name: &str, value: u64) {
        self.literal(name, &value.to_string());
    }

    /// Writes a whole number.
    pub fn i64(&mut self, name: &str, value: i64) {
        self.literal(name, &value.to_string());
    }

    /// Writes a number if there is one.
    pub fn opt_f64(&mut self, name: &str, value: Option<f64>) {
        if let Some(value) = value {
            // `1` stays `1`, not `1.0`: callers write whole numbers and goldens should show what they wrote.
            self.literal(name, &format!("{value}"));
        }
    }

    /// Writes an object.
    pub fn object(&mut self, name: &str, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
        self.key(name);
        write_object(self.out, fill);
    }

    /// Writes an array.
    pub fn array(&mut self, name: &str, fill: impl FnOnce(&mut ArrayWriter<'_>)) {
        self.key(name);
        write_array(self.out, fill);
    }

    /// Writes fields as they came.
    pub fn rest(&mut self, rest: &Rest) {
        for (name, value) in rest.iter() {
            self.raw(name, value);
        }
    }
}

/// Writes the items of one array, commas included.
pub struct ArrayWriter<'o> {
    out: &'o mut BytesMut,
    empty: bool,
}

impl ArrayWriter<'_> {
    fn comma(&mut self) {
        if !std::mem::take(&mut self.empty) {
            self.out.put_u8(b',');
        }
    }

    /// Writes a string.
    pub fn str(&mut self, value: &str) {
        self.comma();
        put_str(self.out, value);
    }

    /// Writes a value as it came.
    pub fn raw(&mut self, value: &Raw) {
        self.comma();
        self.out.put_slice(value.as_str().as_bytes());
    }

    /// Writes text that is known to be JSON.
    pub fn literal(&mut self, json: &str) {
        self.comma();
        self.out.put_slice(json.as_bytes());
    }

    /// Writes an object.
    pub fn object(&mut self, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
        self.comma();
        write_object(self.out, fill);
    }
}

/// Writes a JSON string, quotes included.
#[expect(clippy::missing_panics_doc, reason = "a string always has a JSON form and memory takes all writes")]
pub fn put_str(out: &mut BytesMut, text: &str) {
    out.reserve(text.len() + 2);
    serde_json::to_writer(out.writer(), text).expect("a string always has a JSON form and memory takes all writes");
}
