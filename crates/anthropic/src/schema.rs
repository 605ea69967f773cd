//! Makes a JSON Schema fit for Anthropic's structured output.
//!
//! The vendor refuses schemas with keywords it cannot enforce and objects that allow further properties. A keyword that
//! must go is kept as words in `description`, so the model still reads it, and is reported as a loss.

use serde_json::{Map, Value};

use hub::canonical::json::Raw;
use hub::canonical::loss::Loss;

/// Keywords that the vendor refuses.
const REFUSED: &[&str] = &[
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "uniqueItems",
    "minContains",
    "maxContains",
    "minProperties",
    "maxProperties",
    "patternProperties",
    "propertyNames",
];

/// Returns the schema as the vendor takes it, or `None` when it is nested too deeply to be read.
pub(super) fn fit(schema: &Raw, path: &str, losses: &mut Vec<Loss>) -> Option<Raw> {
    // The parser stops at 128 levels, which bounds the recursion below.
    let mut value: Value = serde_json::from_str(schema.as_str()).ok()?;
    fit_value(&mut value, path, losses);
    Raw::of(&value)
}

fn fit_value(value: &mut Value, path: &str, losses: &mut Vec<Loss>) {
    let Value::Object(schema) = value else { return };
    fit_keywords(schema, path, losses);
    if schema.get("type").and_then(Value::as_str) == Some("object") || schema.contains_key("properties") {
        let before = schema.insert("additionalProperties".to_owned(), Value::Bool(false));
        if before.is_some_and(|before| before != Value::Bool(false)) {
            losses.push(Loss::changed(format!("{path}.additionalProperties"), "Anthropic requires false"));
        }
    }
    for name in ["properties", "$defs", "definitions"] {
        if let Some(Value::Object(children)) = schema.get_mut(name) {
            for (key, child) in children {
                fit_value(child, &format!("{path}.{name}.{key}"), losses);
            }
        }
    }
    if let Some(items) = schema.get_mut("items") {
        fit_value(items, &format!("{path}.items"), losses);
    }
    for name in ["anyOf", "oneOf", "allOf"] {
        if let Some(Value::Array(children)) = schema.get_mut(name) {
            for (index, child) in children.iter_mut().enumerate() {
                fit_value(child, &format!("{path}.{name}[{index}]"), losses);
            }
        }
    }
}

fn fit_keywords(schema: &mut Map<String, Value>, path: &str, losses: &mut Vec<Loss>) {
    let mut said: Vec<String> = Vec::new();
    let mut note = |name: &str, value: &Value| {
        losses.push(Loss::changed(format!("{path}.{name}"), "Anthropic cannot enforce it; said in the description"));
        said.push(format!("{name}: {value}"));
    };
    for &name in REFUSED {
        if let Some(value) = schema.shift_remove(name) {
            note(name, &value);
        }
    }
    if schema.get("minItems").and_then(Value::as_u64).is_some_and(|least| least > 1)
        && let Some(value) = schema.shift_remove("minItems")
    {
        note("minItems", &value);
    }
    if said.is_empty() {
        return;
    }
    let said = said.join(", ");
    let described = match schema.get("description").and_then(Value::as_str) {
        Some(text) => format!("{text} ({said})"),
        None => format!("({said})"),
    };
    schema.insert("description".to_owned(), Value::String(described));
}
