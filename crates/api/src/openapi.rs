//! Writes the OpenAPI 3.1 document from the operation table. Used by `cargo xtask openapi`; the server serves the file.

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::operation::{Access, Meta, Method};
use crate::{BASE, IDEMPOTENCY_HEADER, Problem, ops};

/// Returns the document: every operation with its shapes, permission and problems, in the order of the table.
#[must_use]
pub fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = SchemaGenerator::new(settings);
    let problem = generator.subschema_for::<Problem>();
    let mut paths = Map::new();
    for meta in ops::all() {
        let item = paths.entry(format!("{BASE}{}", meta.path)).or_insert_with(|| json!({}));
        item[meta.method.as_str().to_lowercase()] = operation(meta, &mut generator, &problem);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Headgate management API",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Organizations, workspaces, keys, credentials, routes, usage, nodes and audit.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" }
        },
        "servers": [{ "url": "/" }],
        "security": [{ "access_token": [] }, { "session": [] }],
        "paths": paths,
        "components": {
            "schemas": generator.definitions(),
            "securitySchemes": {
                "access_token": { "type": "http", "scheme": "bearer", "description": "An access token (`hga_…`)." },
                "session": { "type": "apiKey", "in": "cookie", "name": crate::SESSION_COOKIE_SECURE, "description": "The console's session; unsafe requests also need the header `x-headgate-csrf: 1`." }
            }
        }
    })
}

fn parameters(meta: &Meta, generator: &mut SchemaGenerator) -> Vec<Value> {
    let mut list = Vec::new();
    for (place, schema) in [("path", (meta.shapes.path)(generator)), ("query", (meta.shapes.query)(generator))] {
        let properties = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
        for (name, mut shape) in properties {
            let description = shape.as_object_mut().and_then(|shape| shape.remove("description"));
            list.push(json!({ "name": name, "in": place, "required": place == "path", "description": description, "schema": shape }));
        }
    }
    if meta.is_idempotent_by_key() {
        list.push(json!({
            "name": IDEMPOTENCY_HEADER, "in": "header", "required": false, "schema": { "type": "string", "maxLength": 128 },
            "description": "Repeating the request with the same key performs it once."
        }));
    }
    if meta.method == Method::Patch {
        list.push(json!({
            "name": "if-match", "in": "header", "required": false, "schema": { "type": "string" },
            "description": "The version seen, in quotes; or send `version` in the body."
        }));
    }
    list
}

fn operation(meta: &Meta, generator: &mut SchemaGenerator, problem: &Schema) -> Value {
    let (body, reply) = meta.shapes.names;
    let summary = meta.summary.trim();
    let success = match reply {
        "Empty" => json!({ "description": "Done." }),
        "Jsonl" => {
            json!({ "description": "Lines of JSON.", "content": { "application/jsonl": { "schema": { "type": "string" } } } })
        }
        "Csv" => {
            json!({ "description": "A table.", "content": { "text/csv": { "schema": { "type": "string" } } } })
        }
        _ => {
            json!({ "description": "Done.", "content": { "application/json": { "schema": (meta.shapes.reply)(generator) } } })
        }
    };
    let mut responses = Map::new();
    responses.insert(meta.status.to_string(), success);
    responses.insert(
        "default".to_owned(),
        json!({
            "description": "A problem; `code` is stable.",
            "content": { "application/problem+json": { "schema": problem } }
        }),
    );
    let mut out = json!({
        "operationId": meta.name,
        "tags": [meta.name.split('.').next().unwrap_or_default()],
        "summary": summary,
        "parameters": parameters(meta, generator),
        "responses": responses,
        "x-permission": match meta.access {
            Access::Public => "public".to_owned(),
            Access::SignedIn => "signed-in".to_owned(),
            Access::Operator => "operator".to_owned(),
            Access::Organization(permission) | Access::Workspace(permission) => permission.to_string(),
        }
    });
    if body != "Empty" {
        out["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": (meta.shapes.body)(generator) } } });
    }
    if matches!(meta.access, Access::Public) {
        out["security"] = json!([]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_in_the_document_and_every_reference_resolves() {
        let document = document();
        let text = document.to_string();
        for meta in ops::all() {
            assert!(text.contains(&format!("\"operationId\":\"{}\"", meta.name)), "{}", meta.name);
        }
        for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap_or_default();
            assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
        }
    }
}
