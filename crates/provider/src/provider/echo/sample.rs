//! Makes a value that obeys a JSON Schema, with the echoed text wherever a string may be free.
//!
//! Covers what tool and answer schemas use: types, properties, enums, bounds, formats, patterns, references, `allOf`, `anyOf`,
//! `oneOf`. Not a validator: `not`, `if` and `dependent…` are passed over. Invariant: what it returns obeys every keyword it
//! covers, else it is an error that names the keyword; recursion ends at `MAX_DEPTH`.

use serde_json::{Map, Number, Value};

use super::pattern;

const MAX_DEPTH: usize = 24;
/// Longest string and array that are made to satisfy a minimum.
const MAX_LENGTH: usize = 4_096;

/// Makes a value.
pub(super) fn value(schema: &Value, text: &str) -> Result<Value, String> {
    Sampler { root: schema, text }.value(schema, 0, 0)
}

/// Makes an object, as tool arguments must be.
pub(super) fn object(schema: &Value, text: &str) -> Result<Value, String> {
    match value(schema, text)? {
        Value::Object(fields) => Ok(Value::Object(fields)),
        _ if schema.get("type").is_none() => Ok(Value::Object(Map::new())),
        _ => Err("the parameters of a tool must be an object; set \"type\" to \"object\"".to_owned()),
    }
}

struct Sampler<'a> {
    root: &'a Value,
    text: &'a str,
}

impl Sampler<'_> {
    /// `variant` makes items of an array differ, for `uniqueItems`.
    fn value(&self, schema: &Value, depth: usize, variant: usize) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err("the schema requires itself without end".to_owned());
        }
        let Value::Object(fields) = schema else {
            return match schema {
                Value::Bool(false) => Err("the schema `false` allows nothing".to_owned()),
                _ => Ok(Value::String(self.text.to_owned())),
            };
        };
        if let Some(constant) = fields.get("const") {
            return Ok(constant.clone());
        }
        if let Some(Value::Array(choices)) = fields.get("enum") {
            return pick(choices, self.text, variant);
        }
        if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
            return self.value(self.resolve(reference)?, depth + 1, variant);
        }
        if let Some(Value::Array(parts)) = fields.get("allOf") {
            return self.value(&self.merge(fields, parts)?, depth + 1, variant);
        }
        for keyword in ["anyOf", "oneOf"] {
            if let Some(Value::Array(choices)) = fields.get(keyword) {
                return self.first(fields, choices, depth, variant);
            }
        }
        self.typed(fields, depth, variant)
    }

    /// Takes the first choice that can be made, together with what stands beside the keyword. `null` is the last resort: it
    /// says nothing.
    fn first(
        &self,
        beside: &Map<String, Value>,
        choices: &[Value],
        depth: usize,
        variant: usize,
    ) -> Result<Value, String> {
        let is_null = |choice: &&Value| choice.get("type").and_then(Value::as_str) == Some("null");
        let ordered = choices.iter().filter(|choice| !is_null(choice)).chain(choices.iter().filter(is_null));
        let mut fault = "the schema offers no choice".to_owned();
        for choice in ordered {
            let merged = self.merge(beside, std::slice::from_ref(choice))?;
            match self.value(&merged, depth + 1, variant) {
                Ok(value) => return Ok(value),
                Err(reason) => fault = reason,
            }
        }
        Err(fault)
    }

    /// Puts parts into one schema: properties and required fields add up, other keywords of later parts win.
    fn merge(&self, beside: &Map<String, Value>, parts: &[Value]) -> Result<Value, String> {
        let mut merged = beside.clone();
        for keyword in ["allOf", "anyOf", "oneOf"] {
            merged.remove(keyword);
        }
        for part in parts {
            let part = match part.get("$ref").and_then(Value::as_str) {
                Some(reference) => self.resolve(reference)?,
                None => part,
            };
            let Value::Object(part) = part else { continue };
            for (keyword, value) in part {
                match (merged.get_mut(keyword), value) {
                    (Some(Value::Object(known)), Value::Object(more)) if keyword == "properties" => {
                        known.extend(more.iter().map(|(name, schema)| (name.clone(), schema.clone())));
                    }
                    (Some(Value::Array(known)), Value::Array(more)) if keyword == "required" => {
                        known.extend(more.iter().cloned());
                    }
                    _ => {
                        merged.insert(keyword.clone(), value.clone());
                    }
                }
            }
        }
        Ok(Value::Object(merged))
    }

    fn resolve(&self, reference: &str) -> Result<&Value, String> {
        let pointer = reference.strip_prefix('#');
        pointer
            .and_then(|pointer| self.root.pointer(pointer))
            .ok_or_else(|| format!("the reference {reference:?} leads nowhere"))
    }

    fn typed(&self, fields: &Map<String, Value>, depth: usize, variant: usize) -> Result<Value, String> {
        let kind = match fields.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(Value::Array(kinds)) => {
                let mut kinds = kinds.iter().filter_map(Value::as_str);
                let first = kinds.next().unwrap_or("null");
                if first == "null" { kinds.next().unwrap_or(first) } else { first }
            }
            _ if fields.contains_key("properties") || fields.contains_key("required") => "object",
            _ if fields.contains_key("items") || fields.contains_key("prefixItems") => "array",
            _ if ["minimum", "maximum", "multipleOf"].iter().any(|keyword| fields.contains_key(*keyword)) => "number",
            _ => "string",
        };
        match kind {
            "object" => self.object(fields, depth),
            "array" => self.array(fields, depth),
            "string" => self.string(fields, variant),
            "integer" => number(fields, true, variant),
            "number" => number(fields, false, variant),
            "boolean" => Ok(Value::Bool(variant.is_multiple_of(2))),
            "null" => Ok(Value::Null),
            other => Err(format!("the type {other:?} is not one of JSON's")),
        }
    }

    fn object(&self, fields: &Map<String, Value>, depth: usize) -> Result<Value, String> {
        let empty = Map::new();
        let properties = fields.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        let required: Vec<&str> =
            fields.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let least = count(fields, "minProperties").unwrap_or(0);
        let mut made = Map::new();
        for (name, schema) in properties {
            // Optional fields are echoed near the top, where a reader looks; deeper they would only invite recursion.
            let is_wanted =
                required.contains(&name.as_str()) || (required.is_empty() && depth < 3) || made.len() < least;
            if is_wanted {
                match self.value(schema, depth + 1, 0) {
                    Ok(value) => {
                        made.insert(name.clone(), value);
                    }
                    Err(reason) if required.contains(&name.as_str()) => return Err(reason),
                    Err(_) => {}
                }
            }
        }
        let more = fields.get("additionalProperties").unwrap_or(&Value::Bool(true));
        for name in required {
            if !made.contains_key(name) {
                made.insert(name.to_owned(), self.value(more, depth + 1, 0)?);
            }
        }
        for n in 1..=MAX_LENGTH {
            if made.len() >= least {
                break;
            }
            made.insert(format!("echo_{n}"), self.value(more, depth + 1, n)?);
        }
        if let Some(most) = count(fields, "maxProperties") {
            while made.len() > most {
                let spare = made.keys().find(|name| !is_required(fields, name)).cloned();
                made.remove(&spare.ok_or("maxProperties is below the number of required properties")?);
            }
        }
        Ok(Value::Object(made))
    }

    fn array(&self, fields: &Map<String, Value>, depth: usize) -> Result<Value, String> {
        let most = count(fields, "maxItems").unwrap_or(MAX_LENGTH);
        let first = fields.get("prefixItems").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let wanted = count(fields, "minItems").unwrap_or(0).max(1).max(first.len()).min(most);
        if wanted > MAX_LENGTH {
            return Err(format!("minItems is above what echo gives ({MAX_LENGTH})"));
        }
        let is_unique = fields.get("uniqueItems") == Some(&Value::Bool(true));
        let items = fields.get("items").unwrap_or(&Value::Bool(true));
        let mut made: Vec<Value> = Vec::with_capacity(wanted);
        for n in 0..wanted {
            let schema = first.get(n).or_else(|| fields.get("contains").filter(|_| n == 0)).unwrap_or(items);
            match self.value(schema, depth + 1, if is_unique { n } else { 0 }) {
                Ok(item) if is_unique && made.contains(&item) => {
                    return Err("the items cannot be made to differ, as uniqueItems asks".to_owned());
                }
                Ok(item) => made.push(item),
                // An empty array is right when nothing is asked for.
                Err(_) if count(fields, "minItems").unwrap_or(0) <= made.len() => break,
                Err(reason) => return Err(reason),
            }
        }
        Ok(Value::Array(made))
    }

    fn string(&self, fields: &Map<String, Value>, variant: usize) -> Result<Value, String> {
        let mut text =
            match (fields.get("pattern").and_then(Value::as_str), fields.get("format").and_then(Value::as_str)) {
                (Some(source), _) => pattern::sample(source)?,
                (None, Some(format)) => formatted(format).map_or_else(|| self.text.to_owned(), str::to_owned),
                (None, None) => self.text.to_owned(),
            };
        if variant > 0 {
            text = format!("{text} {variant}");
        }
        let least = count(fields, "minLength").unwrap_or(0);
        if least > MAX_LENGTH.max(text.len()) {
            return Err(format!("minLength is above what echo gives ({MAX_LENGTH})"));
        }
        let length = text.chars().count();
        text.extend(std::iter::repeat_n('.', least.saturating_sub(length)));
        if let Some(most) = count(fields, "maxLength") {
            text = text.chars().take(most).collect();
        }
        Ok(Value::String(text))
    }
}

fn is_required(fields: &Map<String, Value>, name: &str) -> bool {
    fields.get("required").and_then(Value::as_array).is_some_and(|names| names.iter().any(|known| known == name))
}

fn pick(choices: &[Value], text: &str, variant: usize) -> Result<Value, String> {
    let said = choices.iter().find(|choice| variant == 0 && choice.as_str() == Some(text));
    said.or_else(|| choices.get(variant % choices.len().max(1))).cloned().ok_or_else(|| "the enum is empty".to_owned())
}

fn count(fields: &Map<String, Value>, keyword: &str) -> Option<usize> {
    fields.get(keyword).and_then(Value::as_u64).and_then(|count| usize::try_from(count).ok())
}

/// Returns an example of each format that JSON Schema names (draft 2020-12 §7.3).
fn formatted(format: &str) -> Option<&'static str> {
    Some(match format {
        "date" => "2026-01-01",
        "time" => "12:00:00Z",
        "date-time" => "2026-01-01T12:00:00Z",
        "duration" => "PT1H",
        "email" | "idn-email" => "echo@example.com",
        "hostname" | "idn-hostname" => "example.com",
        "ipv4" => "192.0.2.1",
        "ipv6" => "2001:db8::1",
        "uri" | "iri" | "uri-reference" | "iri-reference" => "https://example.com/echo",
        "uuid" => "00000000-0000-4000-8000-000000000000",
        "json-pointer" => "/echo",
        "relative-json-pointer" => "0",
        "regex" => "^echo$",
        _ => return None,
    })
}

/// Makes the smallest number at or above the minimum (or zero), on the grid of `multipleOf`.
fn number(fields: &Map<String, Value>, is_integer: bool, variant: usize) -> Result<Value, String> {
    let bound = |keyword: &str| fields.get(keyword).and_then(Value::as_f64);
    let step = bound("multipleOf").filter(|step| *step > 0.0);
    // On whole numbers exclusive bounds are the next ones; otherwise a small step away.
    let grid = step.unwrap_or(1.0);
    let low = match (bound("minimum"), bound("exclusiveMinimum")) {
        (low, Some(above)) if low.is_none_or(|low| above >= low) => Some((above, true)),
        (low, _) => low.map(|low| (low, false)),
    };
    let high = match (bound("maximum"), bound("exclusiveMaximum")) {
        (high, Some(below)) if high.is_none_or(|high| below <= high) => Some((below, true)),
        (high, _) => high.map(|high| (high, false)),
    };
    let is_low_enough = |value: f64| high.is_none_or(|(high, open)| if open { value < high } else { value <= high });
    let is_high_enough = |value: f64| low.is_none_or(|(low, open)| if open { value > low } else { value >= low });
    let on_grid = |value: f64| (value / grid).ceil() * grid;
    let start = match (low, high) {
        (Some((low, _)), _) if low > 0.0 || !is_high_enough(0.0) => on_grid(low),
        (_, Some((high, _))) if !is_low_enough(0.0) => (high / grid).floor() * grid,
        _ => 0.0,
    };
    #[expect(clippy::cast_precision_loss, reason = "variants number at most MAX_LENGTH")]
    let shift = variant as f64 * grid;
    let mut candidates = vec![start + shift, start + grid + shift, start - grid - shift, start - shift];
    if step.is_none() && !is_integer {
        // Between two bounds closer than one.
        if let (Some((low, _)), Some((high, _))) = (low, high) {
            candidates.push(f64::midpoint(low, high));
        }
        candidates.extend([start + 0.5, start - 0.5]);
    }
    let fits = |value: &f64| is_low_enough(*value) && is_high_enough(*value) && (!is_integer || value.fract() == 0.0);
    let value = candidates.into_iter().find(fits).ok_or("no number lies within the bounds")?;
    // Whole numbers are written without a decimal point.
    let written = format!("{value}");
    let number: Option<Number> = serde_json::from_str(&written).ok();
    number.map(Value::Number).ok_or_else(|| "the bounds are not finite".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(schema: &Value, expected: &Value) {
        assert_eq!(value(schema, "hi").as_ref(), Ok(expected), "{schema}");
    }

    #[test]
    fn each_type_has_a_value() {
        check(&json!({"type": "string"}), &json!("hi"));
        check(&json!({"type": "integer"}), &json!(0));
        check(&json!({"type": "number", "minimum": 1.5}), &json!(2));
        check(&json!({"type": "boolean"}), &json!(true));
        check(&json!({"type": "null"}), &json!(null));
        check(&json!({"type": ["null", "string"]}), &json!("hi"));
        check(&json!({"type": "array", "items": {"type": "string"}}), &json!(["hi"]));
        check(&json!(true), &json!("hi"));
    }

    #[test]
    fn bounds_are_kept() {
        check(&json!({"type": "integer", "minimum": 3, "maximum": 3}), &json!(3));
        check(&json!({"type": "integer", "exclusiveMinimum": 3}), &json!(4));
        check(&json!({"type": "integer", "maximum": -2}), &json!(-2));
        check(&json!({"type": "integer", "minimum": 7, "multipleOf": 5}), &json!(10));
        check(&json!({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}), &json!(0.5));
        check(&json!({"type": "string", "minLength": 5}), &json!("hi..."));
        check(&json!({"type": "string", "maxLength": 1}), &json!("h"));
        check(
            &json!({"type": "array", "items": {"type": "integer"}, "minItems": 3, "uniqueItems": true}),
            &json!([0, 1, 2]),
        );
        assert!(value(&json!({"type": "integer", "minimum": 3, "maximum": 2}), "hi").is_err());
        assert!(
            value(&json!({"type": "array", "items": {"const": 1}, "minItems": 2, "uniqueItems": true}), "hi").is_err()
        );
    }

    #[test]
    fn choices_formats_and_patterns_are_kept() {
        check(&json!({"enum": ["a", "hi"]}), &json!("hi"));
        check(&json!({"enum": ["a", "b"]}), &json!("a"));
        check(&json!({"const": {"x": 1}}), &json!({"x": 1}));
        check(&json!({"type": "string", "format": "date"}), &json!("2026-01-01"));
        check(&json!({"type": "string", "pattern": "^[A-Z]{2}-\\d+$"}), &json!("AA-0"));
        check(&json!({"anyOf": [{"type": "null"}, {"type": "integer", "minimum": 2}]}), &json!(2));
    }

    #[test]
    fn objects_hold_what_is_required_and_echo_what_is_free() {
        let schema = json!({
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"type": "string", "enum": ["c", "f"]},
                "skip": {"type": "string"},
            },
            "required": ["city", "unit"],
            "additionalProperties": false,
        });
        check(&schema, &json!({"city": "hi", "unit": "c"}));
        check(&json!({"type": "object", "properties": {"a": {"type": "string"}}}), &json!({"a": "hi"}));
        check(&json!({"type": "object", "required": ["x"]}), &json!({"x": "hi"}));
        assert!(value(&json!({"required": ["x"], "additionalProperties": false}), "hi").is_err());
    }

    #[test]
    fn references_work_and_endless_ones_end() {
        let tree = json!({
            "$defs": {"node": {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}, "required": ["next"]}},
            "$ref": "#/$defs/node",
        });
        assert!(value(&tree, "hi").is_ok());
        let endless = json!({"type": "object", "properties": {"me": {"$ref": "#"}}, "required": ["me"]});
        assert!(value(&endless, "hi").is_err());
        assert!(value(&json!({"$ref": "#/nowhere"}), "hi").is_err());
        let merged = json!({"allOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"properties": {"b": {"const": 2}}, "required": ["b"]}]});
        check(&merged, &json!({"a": 1, "b": 2}));
    }
}
