//! Makes a JSON Schema fit for Gemini's own schema fields, a subset of `OpenAPI` with types in capitals.
//!
//! References are put in place, null becomes `nullable`, a keyword that must go is kept as words in `description`, and
//! each change of meaning is reported. Invariant: the result is bounded in depth and size whatever the schema refers to.

use serde_json::{Map, Value, json};

use hub::canonical::json::Raw;
use hub::canonical::loss::Loss;

/// How many references may lie inside each other; a schema that refers to itself is cut there.
const MAX_REFERENCES: u32 = 8;
/// How many schemas one schema may become; references in references multiply.
const MAX_NODES: u32 = 5_000;
/// How much text references may copy, all together.
const MAX_COPIED: usize = 1 << 20;

/// Keywords that go over as they are.
const KEPT: &[&str] = &[
    "title",
    "description",
    "default",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "example",
    "required",
    "propertyOrdering",
];
/// Keywords that say nothing about the values, or what Gemini does anyway.
const SILENT: &[&str] = &["$schema", "$id", "$comment", "$defs", "definitions", "strict", "$ref", "examples"];

/// Returns the schema as the vendor takes it, or `None` when it is nested too deeply to be read.
pub(super) fn fit(schema: &Raw, path: &str, losses: &mut Vec<Loss>) -> Option<Raw> {
    // The parser stops at 128 levels, which together with the bound on references bounds the recursion below.
    let root: Value = serde_json::from_str(schema.as_str()).ok()?;
    let mut fitter = Fitter { root: &root, losses, n_nodes: 0, n_copied: 0 };
    Raw::of(&fitter.fit(&root, path, 0))
}

/// Says whether a fitted schema of arguments is an object without properties, which the vendor refuses there.
pub(super) fn is_empty(schema: &Raw) -> bool {
    let value: Option<Value> = serde_json::from_str(schema.as_str()).ok();
    value.is_some_and(|value| value["type"] == "OBJECT" && value.get("properties").is_none())
}

struct Fitter<'r, 'l> {
    root: &'r Value,
    losses: &'l mut Vec<Loss>,
    n_nodes: u32,
    n_copied: usize,
}

impl Fitter<'_, '_> {
    fn changed(&mut self, path: &str, reason: &str) {
        self.losses.push(Loss::changed(path, reason));
    }

    fn fit(&mut self, value: &Value, path: &str, n_references: u32) -> Value {
        self.n_nodes += 1;
        let Value::Object(schema) = value else {
            if value != &Value::Bool(true) {
                self.changed(path, "Gemini's schemas are objects; any object is allowed instead");
            }
            return json!({"type": "OBJECT"});
        };
        if self.n_nodes > MAX_NODES {
            if self.n_nodes == MAX_NODES + 1 {
                self.changed(path, "the schema grows too large with its references in place; any object from here on");
            }
            return json!({"type": "OBJECT"});
        }
        if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
            return self.fit_reference(name, schema, path, n_references);
        }
        if let Some(Value::Array(parts)) = schema.get("allOf") {
            let merged = merge(schema, parts);
            return self.fit(&Value::Object(merged), path, n_references);
        }
        let mut fitted = Map::new();
        let mut said = Vec::new();
        self.fit_type(schema, &mut fitted, path);
        for (name, value) in schema {
            self.fit_keyword(name, value, &mut fitted, &mut said, (path, n_references));
        }
        self.complete(&mut fitted, path);
        if !said.is_empty() {
            let said = said.join(", ");
            let described = match fitted.get("description").and_then(Value::as_str) {
                Some(text) => format!("{text} ({said})"),
                None => format!("({said})"),
            };
            fitted.insert("description".to_owned(), Value::String(described));
        }
        Value::Object(fitted)
    }

    fn fit_reference(&mut self, name: &str, schema: &Map<String, Value>, path: &str, n_references: u32) -> Value {
        let target = name.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        let Some(target) = target else {
            self.changed(path, "the reference leads nowhere in the schema; any object is allowed instead");
            return json!({"type": "OBJECT"});
        };
        if n_references >= MAX_REFERENCES {
            self.changed(path, "the schema refers to itself; Gemini's cannot, so any object is allowed from here on");
            return json!({"type": "OBJECT"});
        }
        self.n_copied = self.n_copied.saturating_add(weigh(target));
        if self.n_copied > MAX_COPIED {
            self.changed(
                path,
                "the schema grows too large with its references in place; any object is allowed instead",
            );
            return json!({"type": "OBJECT"});
        }
        // What stands beside a reference adds to it.
        let mut merged = target.as_object().cloned().unwrap_or_default();
        for (name, value) in schema.iter().filter(|(name, _)| *name != "$ref") {
            merged.insert(name.clone(), value.clone());
        }
        let target = if target.is_object() { Value::Object(merged) } else { target.clone() };
        self.fit(&target, path, n_references + 1)
    }

    /// Writes `type` and `nullable`.
    fn fit_type(&mut self, schema: &Map<String, Value>, fitted: &mut Map<String, Value>, path: &str) {
        let words: Vec<&str> = match schema.get("type") {
            Some(Value::String(word)) => vec![word],
            Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let is_nullable = words.contains(&"null");
        let mut known: Vec<&str> = Vec::new();
        for word in words.into_iter().filter(|word| *word != "null") {
            if !known.contains(&word) && known.len() < 8 {
                known.push(word);
            }
        }
        match &*known {
            [] => {}
            [word] => {
                fitted.insert("type".to_owned(), Value::String(word.to_ascii_uppercase()));
            }
            words => {
                if schema.contains_key("anyOf") || schema.contains_key("oneOf") {
                    self.changed(&format!("{path}.type"), "said by the alternatives only");
                } else {
                    let variants = words.iter().map(|word| self.variant(word, schema, path));
                    let variants: Vec<Value> = variants.collect();
                    fitted.insert("anyOf".to_owned(), Value::Array(variants));
                }
            }
        }
        if is_nullable {
            fitted.insert("nullable".to_owned(), Value::Bool(true));
        }
    }

    /// One of several types as a schema of its own; arrays and objects take their keywords along.
    fn variant(&mut self, word: &str, schema: &Map<String, Value>, path: &str) -> Value {
        let mut variant = Map::new();
        variant.insert("type".to_owned(), Value::String(word.to_owned()));
        let keywords: &[&str] = match word {
            "array" => &["items"],
            "object" => &["properties", "required"],
            _ => &[],
        };
        for &name in keywords {
            if let Some(value) = schema.get(name) {
                variant.insert(name.to_owned(), value.clone());
            }
        }
        self.fit(&Value::Object(variant), path, 0)
    }

    fn fit_keyword(
        &mut self,
        name: &str,
        value: &Value,
        fitted: &mut Map<String, Value>,
        said: &mut Vec<String>,
        (path, n_references): (&str, u32),
    ) {
        let has_variants = fitted.contains_key("anyOf") && !fitted.contains_key("type");
        match (name, value) {
            ("type", _) => {}
            ("items" | "properties" | "required", _) if has_variants => {}
            _ if KEPT.contains(&name) => {
                fitted.insert(name.to_owned(), value.clone());
            }
            _ if SILENT.contains(&name) => {}
            ("additionalProperties" | "unevaluatedProperties", Value::Bool(false)) => {}
            ("nullable", Value::Bool(yes)) => {
                fitted.insert(name.to_owned(), Value::Bool(*yes));
            }
            ("enum", Value::Array(values)) => self.fit_enum(values, fitted, said, path),
            ("const", value) => self.fit_enum(std::slice::from_ref(value), fitted, said, path),
            ("anyOf" | "oneOf", Value::Array(variants)) => self.fit_variants(variants, fitted, path, n_references),
            ("format", Value::String(word))
                if matches!(&**word, "enum" | "date-time" | "int32" | "int64" | "float" | "double") =>
            {
                fitted.insert(name.to_owned(), value.clone());
            }
            ("items", Value::Object(_)) => {
                let items = self.fit(value, &format!("{path}.items"), n_references);
                fitted.insert(name.to_owned(), items);
            }
            ("properties", Value::Object(children)) => {
                let mut fitted_children = Map::new();
                for (key, child) in children {
                    let child = self.fit(child, &format!("{path}.properties.{key}"), n_references);
                    fitted_children.insert(key.clone(), child);
                }
                if !fitted_children.is_empty() {
                    fitted.insert(name.to_owned(), Value::Object(fitted_children));
                }
            }
            (_, value) => {
                self.changed(&format!("{path}.{name}"), "Gemini has no such keyword; said in the description");
                said.push(format!("{name}: {value}"));
            }
        }
    }

    /// Only texts can be listed; other values are said in words, so that the type stays.
    fn fit_enum(&mut self, values: &[Value], fitted: &mut Map<String, Value>, said: &mut Vec<String>, path: &str) {
        let known: Vec<&Value> = values.iter().filter(|value| !value.is_null()).collect();
        if known.len() < values.len() {
            fitted.insert("nullable".to_owned(), Value::Bool(true));
        }
        if known.iter().all(|value| value.as_str().is_some_and(|text| !text.is_empty())) {
            if !known.is_empty() {
                fitted.insert("enum".to_owned(), known.into_iter().cloned().collect());
                fitted.entry("type").or_insert_with(|| "STRING".into());
            }
            return;
        }
        self.changed(&format!("{path}.enum"), "Gemini lists texts only; said in the description");
        said.push(format!("enum: {}", json!(known)));
        if known.iter().all(|value| value.is_i64() || value.is_u64()) {
            fitted.entry("type").or_insert_with(|| "INTEGER".into());
        } else if known.iter().all(|value| value.is_number()) {
            fitted.entry("type").or_insert_with(|| "NUMBER".into());
        } else if known.iter().all(|value| value.is_boolean()) {
            fitted.entry("type").or_insert_with(|| "BOOLEAN".into());
        }
    }

    fn fit_variants(&mut self, variants: &[Value], fitted: &mut Map<String, Value>, path: &str, n_references: u32) {
        let is_null = |value: &&Value| value.get("type").and_then(Value::as_str) == Some("null");
        if variants.iter().any(|variant| is_null(&variant)) {
            fitted.insert("nullable".to_owned(), Value::Bool(true));
        }
        let mut others = Vec::new();
        for (index, variant) in variants.iter().enumerate().filter(|(_, variant)| !is_null(variant)) {
            others.push(self.fit(variant, &format!("{path}.anyOf[{index}]"), n_references));
        }
        match &mut *others {
            [] => {}
            // The only one left says it all; what the outer schema says of itself stays.
            [Value::Object(only)] => {
                for (name, value) in std::mem::take(only) {
                    fitted.entry(name).or_insert(value);
                }
            }
            _ => {
                fitted.insert("anyOf".to_owned(), Value::Array(others));
            }
        }
    }

    /// Adds what the vendor requires: a type, `items` of arrays, and the order of properties, which is alphabetic else.
    fn complete(&mut self, fitted: &mut Map<String, Value>, path: &str) {
        if !fitted.contains_key("type") && !fitted.contains_key("anyOf") {
            let word = if fitted.contains_key("properties") {
                "OBJECT"
            } else if fitted.contains_key("items") {
                "ARRAY"
            } else {
                self.changed(&format!("{path}.type"), "Gemini wants a type; text is the widest");
                "STRING"
            };
            fitted.insert("type".to_owned(), word.into());
        }
        if fitted.get("type").is_some_and(|word| word == "ARRAY") && !fitted.contains_key("items") {
            self.changed(&format!("{path}.items"), "Gemini wants a type for the items; text is the widest");
            fitted.insert("items".to_owned(), json!({"type": "STRING"}));
        }
        let Some(Value::Object(children)) = fitted.get("properties") else { return };
        let names: Vec<Value> = children.keys().map(|name| Value::String(name.clone())).collect();
        if names.len() > 1 {
            fitted.entry("propertyOrdering").or_insert(Value::Array(names));
        }
    }
}

/// Says about how many bytes a value has.
fn weigh(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(weigh).sum::<usize>() + 2,
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + weigh(value) + 4).sum::<usize>() + 2,
        _ => 4,
    }
}

/// Merges the parts of `allOf` into one schema: properties and required names add up, of other keywords the first stays.
fn merge(schema: &Map<String, Value>, parts: &[Value]) -> Map<String, Value> {
    let mut merged: Map<String, Value> =
        schema.iter().filter(|(name, _)| *name != "allOf").map(|(name, value)| (name.clone(), value.clone())).collect();
    for part in parts.iter().filter_map(Value::as_object) {
        for (name, value) in part {
            match (merged.get_mut(name), value) {
                (None, value) => {
                    merged.insert(name.clone(), value.clone());
                }
                (Some(Value::Object(known)), Value::Object(more)) if name == "properties" => {
                    known.extend(more.iter().map(|(name, value)| (name.clone(), value.clone())));
                }
                (Some(Value::Array(known)), Value::Array(more)) if matches!(&**name, "required" | "allOf") => {
                    known.extend(more.iter().cloned());
                }
                _ => {}
            }
        }
    }
    merged
}
