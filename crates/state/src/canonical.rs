//! A JSON text as a sequence of bytes in which only what may matter counts.
//!
//! The order of an object's names does not, nor space, nor how a character is escaped. Everything else does: numbers by their
//! digits (`1` is not `1.0`), a name that occurs twice, a field that is null. Not here: checking that the text is JSON; it was
//! (`provider::scan`). Invariant: texts with the same bytes differ in nothing that a reader of JSON may tell apart.

use std::borrow::Cow;

use crate::KeyMaker;

/// A value: where it begins and ends in the text, and in the list the place after it and all that is inside.
struct Token {
    kind: Kind,
    start: usize,
    end: usize,
    next: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Object,
    Array,
    /// Without its quotes.
    Text,
    /// A number, `true`, `false` or `null`.
    Plain,
}

/// Writes a text into a key; `None` when it is not what was promised.
pub fn write(text: &[u8], key: &mut KeyMaker) -> Option<()> {
    let tokens = read(text)?;
    if tokens.first()?.next != tokens.len() {
        return None;
    }
    Writer { text, tokens: &tokens, key }.write(0)
}

fn read(text: &[u8]) -> Option<Vec<Token>> {
    let mut tokens: Vec<Token> = Vec::with_capacity(64);
    let mut open: Vec<usize> = Vec::new();
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let (start, n) = (at, tokens.len());
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b',' | b':' => at += 1,
            b'{' | b'[' => {
                let kind = if *byte == b'{' { Kind::Object } else { Kind::Array };
                open.push(n);
                tokens.push(Token { kind, start, end: start, next: n });
                at += 1;
            }
            b'}' | b']' => {
                at += 1;
                let token = tokens.get_mut(open.pop()?)?;
                (token.end, token.next) = (at, n);
            }
            b'"' => {
                let end = end_of_text(text, start + 1)?;
                tokens.push(Token { kind: Kind::Text, start: start + 1, end, next: n + 1 });
                at = end + 1;
            }
            _ => {
                let rest = &text[start..];
                let length =
                    rest.iter().position(|byte| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n'));
                at = start + length.unwrap_or(rest.len());
                tokens.push(Token { kind: Kind::Plain, start, end: at, next: n + 1 });
            }
        }
    }
    open.is_empty().then_some(tokens)
}

/// Finds the quote that ends a text.
fn end_of_text(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

struct Writer<'a> {
    text: &'a [u8],
    tokens: &'a [Token],
    key: &'a mut KeyMaker,
}

impl<'a> Writer<'a> {
    /// Writes a value. The depth is that of the text, which is bounded where it was checked.
    fn write(&mut self, at: usize) -> Option<()> {
        let token = self.tokens.get(at)?;
        match token.kind {
            Kind::Plain => self.write_bytes(b'p', self.text.get(token.start..token.end)?),
            Kind::Text => {
                let text = self.text_of(token)?;
                self.write_bytes(b't', &text);
            }
            Kind::Array => {
                self.key.write(b"[");
                let mut child = at + 1;
                while child < token.next {
                    self.write(child)?;
                    child = self.tokens.get(child)?.next;
                }
                self.key.write(b"]");
            }
            Kind::Object => {
                let mut fields: Vec<(Cow<'a, [u8]>, usize)> = Vec::new();
                let mut child = at + 1;
                while child < token.next {
                    let name = self.tokens.get(child).filter(|name| name.kind == Kind::Text)?;
                    fields.push((self.text_of(name)?, child + 1));
                    child = self.tokens.get(child + 1)?.next;
                }
                // Stable: a name that occurs twice keeps its order, because readers take the first or the last.
                fields.sort_by(|(left, _), (right, _)| left.cmp(right));
                self.key.write(b"{");
                for (name, value) in fields {
                    self.write_bytes(b'n', &name);
                    self.write(value)?;
                }
                self.key.write(b"}");
            }
        }
        Some(())
    }

    fn write_bytes(&mut self, mark: u8, bytes: &[u8]) {
        self.key.write(&[mark]);
        self.key.write_sized(bytes);
    }

    /// Returns what a text says; one with an escape that means nothing (half of a pair) as it stands, quotes included.
    fn text_of(&self, token: &Token) -> Option<Cow<'a, [u8]>> {
        let text: &'a [u8] = self.text;
        let inner = text.get(token.start..token.end)?;
        if memchr::memchr(b'\\', inner).is_none() {
            return Some(Cow::Borrowed(inner));
        }
        let quoted = text.get(token.start - 1..=token.end)?;
        Some(match serde_json::from_slice::<String>(quoted) {
            Ok(decoded) => Cow::Owned(decoded.into_bytes()),
            Err(_) => Cow::Borrowed(quoted),
        })
    }
}

#[cfg(test)]
mod tests {
    use domain::Secret;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    fn name(text: &str) -> Option<[u8; 32]> {
        let mut key = KeyMaker::new(&Secret::new([1; 32]));
        write(text.as_bytes(), &mut key)?;
        key.finish().map(|key| *key.name())
    }

    #[test]
    fn order_space_and_escapes_do_not_count() {
        let base = name(r#"{"a":[1,{"x":"é","y":null}],"b":"q\"z"}"#).expect("a name");
        for same in [
            r#" { "b" : "q\"z" , "a" : [ 1 , { "y" : null , "x" : "\u00e9" } ] } "#,
            "{\n\t\"\\u0061\":[1,{\"x\":\"é\",\"y\":null}],\r\"b\":\"q\\u0022z\"}",
        ] {
            assert_eq!(name(same), Some(base), "{same}");
        }
    }

    #[test]
    fn everything_else_counts() {
        let texts = [
            r#"{"a":1}"#,
            r#"{"a":1.0}"#,
            r#"{"a":"1"}"#,
            r#"{"a":1e0}"#,
            r#"{"a":10}"#,
            r#"{"a":[1]}"#,
            r#"{"a":null}"#,
            r#"{"a":true}"#,
            r#"{"a":"true"}"#,
            r#"{"b":1}"#,
            r#"{"a":1,"b":1}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":2,"a":1}"#,
            r#"{"a":{}}"#,
            r#"{"a":[]}"#,
            r#"{"a":""}"#,
            r#"{"a":[[],[]]}"#,
            r#"{"a":[[[]]]}"#,
            r#"{"a":["b","c"]}"#,
            r#"{"a":["c","b"]}"#,
            r#"{"a":["bc"]}"#,
            r#"{"a":0.1}"#,
            r#"{"a":0.10000000000000001}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\\ud800"}"#,
            r#"{"a":9007199254740993}"#,
            r#"{"a":9007199254740992}"#,
            "{}",
            "[]",
            "\"\"",
        ];
        let names: std::collections::BTreeSet<_> = texts.iter().map(|text| name(text).expect("a name")).collect();
        assert_eq!(names.len(), texts.len());
    }

    #[test]
    fn what_is_not_json_has_no_name() {
        for text in ["", "{", "[1", "\"a", "{\"a\"}", "]", "1 2", "{\"a\":1}}", "\"\\"] {
            assert_eq!(name(text), None, "{text}");
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec(("\\PC{0,4}", inner), 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    /// The same value with the fields of every object the other way round.
    fn reversed(value: &Value) -> Value {
        match value {
            Value::Array(items) => items.iter().map(reversed).collect(),
            Value::Object(fields) => {
                Value::Object(fields.iter().rev().map(|(name, value)| (name.clone(), reversed(value))).collect())
            }
            other => other.clone(),
        }
    }

    proptest! {
        #[test]
        fn two_values_have_one_name_if_and_only_if_they_are_equal(left in values(), right in values()) {
            let names = [&left, &right].map(|value| name(&json!({ "v": value }).to_string()).expect("a name"));
            prop_assert_eq!(names[0] == names[1], left == right);
            let turned = serde_json::to_string_pretty(&json!({ "v": reversed(&left) })).expect("text");
            prop_assert_eq!(name(&turned), Some(names[0]));
        }

        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut key = KeyMaker::new(&Secret::new([1; 32]));
            let _ = write(&bytes, &mut key);
        }
    }
}
