//! Reads shapes from parsed JSON with as little code per shape as can be: the console carries that code for every shape it reads.
//!
//! Stricter than reading from text: a struct is an object and never a list, a number is never a text. Nothing here reads text or
//! knows a shape. Invariant: what the server writes of a shape is read back equal (`tests::a_shape_reads_as_from_text`).

use serde::de::value::StringDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde_json::{Error, Map, Value};

/// Reads a shape from text by the same code as a reply.
pub fn from_text<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).and_then(read)
}

/// Reads a shape.
pub(crate) fn read<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    T::deserialize(Plain(value))
}

struct Plain(Value);

/// Says what came in place of what was wanted.
fn unlike<T>(value: &Value, wanted: &'static str) -> Result<T, Error> {
    let came = match value {
        Value::Null => Unexpected::Unit,
        Value::Bool(flag) => Unexpected::Bool(*flag),
        Value::Number(_) => Unexpected::Other("number"),
        Value::String(text) => Unexpected::Str(text),
        Value::Array(_) => Unexpected::Seq,
        Value::Object(_) => Unexpected::Map,
    };
    Err(Error::invalid_type(came, &wanted))
}

/// Forwards methods that read a number, a text, or whatever comes.
macro_rules! forward {
    ($($method:ident)+ => $to:ident) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.$to(visitor)
        })+
    };
}

impl<'de> Deserializer<'de> for Plain {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(flag),
            Value::Number(_) => self.deserialize_u64(visitor),
            Value::String(text) => visitor.visit_string(text),
            Value::Array(items) => visitor.visit_seq(Items(items.into_iter())),
            Value::Object(fields) => visitor.visit_map(Fields::new(fields)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Bool(flag) => visitor.visit_bool(flag),
            other => unlike(&other, "true or false"),
        }
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Value::Number(number) = &self.0 else { return unlike(&self.0, "a number") };
        if let Some(number) = number.as_u64() {
            visitor.visit_u64(number)
        } else if let Some(number) = number.as_i64() {
            visitor.visit_i64(number)
        } else {
            visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN))
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::String(text) => visitor.visit_string(text),
            other => unlike(&other, "a text"),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_unit() } else { unlike(&self.0, "null") }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => visitor.visit_seq(Items(items.into_iter())),
            other => unlike(&other, "a list"),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Object(fields) => visitor.visit_map(Fields::new(fields)),
            other => unlike(&other, "an object"),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::String(name) => visitor.visit_enum(Variant { name, content: None }),
            Value::Object(fields) if fields.len() == 1 => {
                let mut fields = fields.into_iter();
                let Some((name, content)) = fields.next() else { return Err(Error::custom("a variant is missing")) };
                visitor.visit_enum(Variant { name, content: Some(content) })
            }
            other => unlike(&other, "a variant"),
        }
    }

    forward!(deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 => deserialize_u64);
    forward!(deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u128 deserialize_f32 deserialize_f64 => deserialize_u64);
    forward!(deserialize_char deserialize_str deserialize_identifier => deserialize_string);
    forward!(deserialize_bytes deserialize_byte_buf => deserialize_seq);

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

struct Items(std::vec::IntoIter<Value>);

impl<'de> SeqAccess<'de> for Items {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.0.next().map(|value| seed.deserialize(Plain(value))).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct Fields {
    rest: serde_json::map::IntoIter,
    value: Value,
}

impl Fields {
    fn new(fields: Map<String, Value>) -> Self {
        Self { rest: fields.into_iter(), value: Value::Null }
    }
}

impl<'de> MapAccess<'de> for Fields {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((name, value)) = self.rest.next() else { return Ok(None) };
        self.value = value;
        let name: StringDeserializer<Error> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(Plain(self.value.take()))
    }
}

struct Variant {
    name: String,
    content: Option<Value>,
}

impl<'de> EnumAccess<'de> for Variant {
    type Error = Error;
    type Variant = Content;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Content), Error> {
        let name: StringDeserializer<Error> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, Content(self.content)))
    }
}

struct Content(Option<Value>);

impl<'de> VariantAccess<'de> for Content {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        self.0.map_or(Ok(()), |content| unlike(&content, "nothing"))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(Plain(self.0.unwrap_or_default()))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        Plain(self.0.unwrap_or_default()).deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        Plain(self.0.unwrap_or_default()).deserialize_map(visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Plain,
        Wrapped(u8),
        Named { text: String },
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Small(i64);

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(tag = "kind", rename_all = "snake_case")]
    enum Tree {
        Leaf { n: u32 },
        Node { children: Vec<Self> },
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Shape {
        count: u64,
        below: Small,
        share: f64,
        is_on: bool,
        text: String,
        missing: Option<String>,
        #[serde(default)]
        defaulted: u32,
        pairs: Vec<(String, String)>,
        kinds: Vec<Kind>,
        tree: Tree,
        raw: Value,
    }

    const TEXT: &str = r#"{
        "count": 18446744073709551615, "below": -3, "share": 2.5, "is_on": true, "text": "a\nb", "missing": null, "more": [{}],
        "pairs": [["a", "b"]], "kinds": ["plain", {"wrapped": 7}, {"named": {"text": "x"}}],
        "tree": {"kind": "node", "children": [{"kind": "leaf", "n": 4}]}, "raw": {"a": [1, null]}
    }"#;

    #[test]
    fn a_shape_reads_as_from_text() {
        let value: Value = serde_json::from_str(TEXT).expect("JSON");
        assert_eq!(read::<Shape>(value).expect("a shape"), serde_json::from_str(TEXT).expect("a shape"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |name: &str, value: Value| {
            let mut whole: Value = serde_json::from_str(TEXT).expect("JSON");
            whole[name] = value;
            read::<Shape>(whole).expect_err("not a shape").to_string()
        };
        assert!(wrong("text", Value::from(1)).contains("expected a text"));
        assert!(wrong("count", Value::from(-1)).contains("invalid value"));
        assert!(wrong("kinds", Value::from(vec!["other"])).contains("unknown variant `other`"));
        assert!(wrong("pairs", Value::Null).contains("expected a list"));
        assert!(read::<Shape>(serde_json::json!({})).expect_err("not a shape").to_string().contains("missing field"));
    }
}
