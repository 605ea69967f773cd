//! One field of a request's body, for a route that asks for it. Not for content: what may be asked for is checked where routes are
//! made (`domain::route::check`).
//!
//! Read only when asked for, and never kept.

use provider::scan::visit_fields;
use serde_json::Value;

/// Longest text that is given; what is longer was never meant to choose by.
const MAX_TEXT: usize = 256;

/// Returns a text, number or boolean as text; `None` when there is no such field, or it is something else. A dot in `path` goes into
/// an object.
#[must_use]
pub fn read(body: &[u8], path: &str) -> Option<String> {
    let mut part = body;
    for name in path.split('.') {
        let mut found = None;
        visit_fields(part, |key, span| {
            if key == name {
                found = Some(span);
            }
        })
        .ok()?;
        part = found?.of(part);
    }
    // Lists and objects are not worth reading.
    let is_scalar = !matches!(part.first(), None | Some(b'{' | b'['));
    match serde_json::from_slice(part).ok().filter(|_| is_scalar && part.len() <= 2 * MAX_TEXT)? {
        Value::String(text) if text.len() <= MAX_TEXT => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is) => Some(is.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_text_at_any_depth_and_content_is_not() {
        let body = br#"{"n":2,"temperature":0.70,"stream":true,"service_tier":"fl\u0065x","reasoning":{"effort":"high"},"stop":["a"],"user":null}"#;
        let told = |path| read(body, path);
        assert_eq!(told("n").as_deref(), Some("2"));
        assert_eq!(told("temperature").as_deref(), Some("0.7"));
        assert_eq!(told("stream").as_deref(), Some("true"));
        assert_eq!(told("service_tier").as_deref(), Some("flex"));
        assert_eq!(told("reasoning.effort").as_deref(), Some("high"));
        for absent in ["stop", "user", "reasoning", "reasoning.effort.level", "top_p", "n.m"] {
            assert_eq!(told(absent), None, "{absent}");
        }
        let long = format!(r#"{{"user":"{}"}}"#, "x".repeat(300));
        assert_eq!(read(long.as_bytes(), "user"), None);
        assert_eq!(read(b"--b0\r\n", "model"), None, "a form has no fields of this kind");
    }
}
