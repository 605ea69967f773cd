//! Renders the OpenAPI document as one page of plain HTML: no script, nothing from elsewhere.
//!
//! Reads only what our own generator writes (OpenAPI 3.1, local `$ref`s). Every text is escaped.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

/// The page's style sheet, served beside it so that the content policy needs no exception.
pub const STYLE: &str = include_str!("docs.css");

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

struct Entry<'a> {
    method: &'a str,
    path: &'a str,
    operation: &'a Value,
}

/// Returns the page.
#[must_use]
pub fn render(document: &Value) -> String {
    let mut groups: BTreeMap<&str, Vec<Entry<'_>>> = BTreeMap::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for method in METHODS {
            if let Some(operation) = item.get(method) {
                let tag = operation["tags"][0].as_str().unwrap_or("other");
                groups.entry(tag).or_default().push(Entry { method, path, operation });
            }
        }
    }
    let title = escape(document["info"]["title"].as_str().unwrap_or("Headgate management API"));
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><link rel=\"stylesheet\" href=\"/docs/style.css\"></head><body><nav aria-label=\"Operations\"><h1>{title}</h1>"
    );
    for (tag, entries) in &groups {
        let _ = write!(page, "<h2><a href=\"#tag-{0}\">{0}</a></h2><ul>", escape(tag));
        for entry in entries {
            let id = escape(entry.operation["operationId"].as_str().unwrap_or(entry.path));
            let _ = write!(page, "<li><a href=\"#{id}\">{id}</a></li>");
        }
        page.push_str("</ul>");
    }
    let about = escape(document["info"]["description"].as_str().unwrap_or(""));
    let _ = write!(
        page,
        "</nav><main><p>{about}</p><p>The document itself: <a href=\"/api/v1/openapi.json\">/api/v1/openapi.json</a> (OpenAPI {}). \
         Authenticate with <code>Authorization: Bearer hga_…</code>.</p>",
        escape(document["openapi"].as_str().unwrap_or("3.1"))
    );
    for (tag, entries) in &groups {
        let _ = write!(page, "<section id=\"tag-{0}\"><h2>{0}</h2>", escape(tag));
        for entry in entries {
            render_operation(&mut page, entry);
        }
        page.push_str("</section>");
    }
    render_schemas(&mut page, &document["components"]["schemas"]);
    page.push_str("</main></body></html>");
    page
}

fn render_operation(page: &mut String, entry: &Entry<'_>) {
    let operation = entry.operation;
    let id = escape(operation["operationId"].as_str().unwrap_or(entry.path));
    let summary = escape(operation["summary"].as_str().unwrap_or(""));
    let _ = write!(
        page,
        "<article id=\"{id}\"><h3><span class=\"method {0}\">{1}</span> <code>{2}</code></h3><p>{summary}</p>",
        entry.method,
        entry.method.to_uppercase(),
        escape(entry.path)
    );
    if let Some(text) = operation["description"].as_str() {
        let _ = write!(page, "<p>{}</p>", escape(text));
    }
    if let Some(permission) = operation["x-permission"].as_str() {
        let _ = write!(page, "<p>Needs <code>{}</code>.</p>", escape(permission));
    }
    let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
    if !parameters.is_empty() {
        page.push_str("<table><caption>Parameters</caption><thead><tr><th>Name</th><th>In</th><th>Type</th><th>Meaning</th></tr></thead><tbody>");
        for parameter in parameters {
            let _ = write!(
                page,
                "<tr><td><code>{}</code></td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escape(parameter["name"].as_str().unwrap_or("")),
                escape(parameter["in"].as_str().unwrap_or("")),
                type_of(&parameter["schema"]),
                escape(parameter["description"].as_str().unwrap_or(""))
            );
        }
        page.push_str("</tbody></table>");
    }
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    if !body.is_null() {
        let _ = write!(page, "<p>Body: {}</p>", type_of(body));
    }
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        let schema = response["content"]
            .as_object()
            .and_then(|content| content.values().next())
            .map_or(&Value::Null, |media| &media["schema"]);
        let shape = if schema.is_null() { String::new() } else { format!(": {}", type_of(schema)) };
        let _ = write!(
            page,
            "<p><code>{}</code> {}{shape}</p>",
            escape(status),
            escape(response["description"].as_str().unwrap_or(""))
        );
    }
    page.push_str("</article>");
}

fn render_schemas(page: &mut String, schemas: &Value) {
    let Some(schemas) = schemas.as_object() else { return };
    page.push_str("<section id=\"schemas\"><h2>Schemas</h2>");
    for (name, schema) in schemas {
        let _ = write!(page, "<article id=\"schema-{0}\"><h3><code>{0}</code></h3>", escape(name));
        if let Some(text) = schema["description"].as_str() {
            let _ = write!(page, "<p>{}</p>", escape(text));
        }
        match schema["properties"].as_object() {
            None => {
                let _ = write!(page, "<p>{}</p>", type_of(schema));
            }
            Some(properties) => {
                let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
                page.push_str("<table><thead><tr><th>Field</th><th>Type</th><th>Meaning</th></tr></thead><tbody>");
                for (field, property) in properties {
                    let mark = if required.iter().any(|name| name == field) { "" } else { " <small>optional</small>" };
                    let _ = write!(
                        page,
                        "<tr><td><code>{}</code>{mark}</td><td>{}</td><td>{}</td></tr>",
                        escape(field),
                        type_of(property),
                        escape(property["description"].as_str().unwrap_or(""))
                    );
                }
                page.push_str("</tbody></table>");
            }
        }
        page.push_str("</article>");
    }
    page.push_str("</section>");
}

/// Says a schema's type in one line, with links to named schemas.
fn type_of(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return format!("<a href=\"#schema-{0}\">{0}</a>", escape(name));
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<_> =
            values.iter().map(|value| format!("<code>{}</code>", escape(value.as_str().unwrap_or("")))).collect();
        return values.join(" · ");
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(choices) = schema[key].as_array() {
            return choices.iter().map(type_of).collect::<Vec<_>>().join(" or ");
        }
    }
    let name = match &schema["type"] {
        Value::String(name) => name.clone(),
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => "any".to_owned(),
    };
    match (name.as_str(), schema["format"].as_str()) {
        ("array", _) => format!("list of {}", type_of(&schema["items"])),
        (_, Some(format)) => format!("{} ({})", escape(&name), escape(format)),
        (_, None) => escape(&name),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_real_document_is_rendered_whole() {
        let document = serde_json::from_str(include_str!("../../../docs/openapi.json")).unwrap();
        let page = render(&document);
        for meta in crate::ops::all() {
            assert!(page.contains(&format!("<article id=\"{}\">", meta.name)), "{}", meta.name);
        }
        assert!(page.contains("id=\"schema-VirtualKeyView\""));
    }

    #[test]
    fn operations_and_schemas_are_listed_and_texts_are_escaped() {
        let page = render(&json!({
            "openapi": "3.1.0",
            "info": {"title": "T<script>", "description": "d"},
            "paths": {"/keys/{id}": {"get": {
                "operationId": "keys.get", "summary": "Shows <b>one</b> key.", "tags": ["keys"],
                "parameters": [{"name": "id", "in": "path", "schema": {"type": "string"}}],
                "responses": {"200": {"description": "ok", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Key"}}}}},
            }}},
            "components": {"schemas": {"Key": {"properties": {"id": {"type": "string"}}, "required": ["id"]}}},
        }));
        assert!(page.contains("id=\"keys.get\"") && page.contains("href=\"#schema-Key\""));
        assert!(page.contains("Shows &lt;b&gt;one") && !page.contains("<script"));
    }
}
