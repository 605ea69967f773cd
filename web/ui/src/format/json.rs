//! The difference between two JSON documents as a flat list of changed fields, for audit entries.

use serde_json::Value;

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChange {
    /// Dotted path from the root.
    pub path: String,
    /// Text before; `None` when the field is new.
    pub before: Option<String>,
    /// Text after; `None` when the field is gone.
    pub after: Option<String>,
}

/// Compares two documents field by field, in the order in which the later one lists them.
pub fn diff(before: Option<&Value>, after: Option<&Value>) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    walk("", before, after, &mut changes);
    changes
}

fn walk(path: &str, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<FieldChange>) {
    if before == after {
        return;
    }
    let empty = serde_json::Map::new();
    let object = |value: Option<&'_ Value>| value.is_none_or(Value::is_object);
    if object(before) && object(after) {
        let before = before.and_then(Value::as_object).unwrap_or(&empty);
        let after = after.and_then(Value::as_object).unwrap_or(&empty);
        let keys = after.keys().chain(before.keys().filter(|key| !after.contains_key(*key)));
        for key in keys {
            let child = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            walk(&child, before.get(key), after.get(key), changes);
        }
        return;
    }
    changes.push(FieldChange { path: path.to_owned(), before: before.map(text), after: after.map(text) });
}

/// Prints a value as a person would write it: strings bare, the rest as compact JSON.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "–".to_owned(),
        Value::Array(items) if items.is_empty() => "[]".to_owned(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().map(text).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_differs_is_listed() {
        let before = json!({"name": "a", "limits": {"rpm": 10}, "gone": true});
        let after = json!({"name": "b", "limits": {"rpm": 10, "models": ["x", "y"]}});
        let change = |path: &str, before: Option<&str>, after: Option<&str>| FieldChange {
            path: path.into(),
            before: before.map(Into::into),
            after: after.map(Into::into),
        };
        assert_eq!(
            diff(Some(&before), Some(&after)),
            [
                change("name", Some("a"), Some("b")),
                change("limits.models", None, Some("x, y")),
                change("gone", Some("true"), None)
            ]
        );
    }

    #[test]
    fn creation_lists_every_field() {
        assert_eq!(diff(None, Some(&json!({"name": "a"}))).len(), 1);
        assert!(diff(None, None).is_empty());
    }
}
