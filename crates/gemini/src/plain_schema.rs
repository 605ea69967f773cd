//! Gemini's own schemas (the subset of `OpenAPI` that `parameters` and `responseSchema` take) as JSON Schema.

use serde_json::{Map, Value, json as value_of};

use hub::canonical::json::Raw;
use hub::codec::json;

/// Fields of the vendor's whose meaning is a number that it writes as text.
const COUNTS: &[&str] = &["minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"];

/// Returns the schema as JSON Schema; `None` when it is nested too deeply to be read.
pub(super) fn read(schema: &Raw) -> Option<Raw> {
    // The parser stops at 128 levels, which bounds the recursion below.
    let value: Value = serde_json::from_str(schema.as_str()).ok()?;
    Raw::of(&plain(value))
}

fn plain(value: Value) -> Value {
    let Value::Object(fields) = value else { return value };
    let mut schema = Map::new();
    let mut is_nullable = false;
    for (name, value) in fields {
        match (&*json::camel(&name), value) {
            ("type", Value::String(word)) => {
                let word = word.to_ascii_lowercase();
                if word != "type_unspecified" {
                    schema.insert("type".to_owned(), Value::String(word));
                }
            }
            ("nullable", Value::Bool(yes)) => is_nullable = yes,
            ("format", Value::String(word)) if word == "enum" => {}
            ("propertyOrdering", _) => {}
            ("example", value) => {
                schema.insert("examples".to_owned(), Value::Array(vec![value]));
            }
            ("properties" | "defs", Value::Object(children)) => {
                let children = children.into_iter().map(|(name, child)| (name, plain(child))).collect();
                schema.insert(if name == "defs" { "$defs".to_owned() } else { name }, Value::Object(children));
            }
            ("items" | "additionalProperties", child @ Value::Object(_)) => {
                schema.insert(json::camel(&name).into_owned(), plain(child));
            }
            ("anyOf", Value::Array(children)) => {
                schema.insert("anyOf".to_owned(), children.into_iter().map(plain).collect());
            }
            (count, Value::String(digits)) if COUNTS.contains(&count) && digits.parse::<u64>().is_ok() => {
                schema.insert(count.to_owned(), value_of!(digits.parse::<u64>().unwrap_or(0)));
            }
            (name, value) => {
                schema.insert(name.to_owned(), value);
            }
        }
    }
    if is_nullable {
        allow_null(&mut schema);
    }
    Value::Object(schema)
}

fn allow_null(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.push(Value::Null);
    }
    if let Some(Value::Array(variants)) = schema.get_mut("anyOf") {
        variants.push(value_of!({"type": "null"}));
    }
    if let Some(kind) = schema.get_mut("type") {
        *kind = value_of!([kind.take(), "null"]);
    }
}
