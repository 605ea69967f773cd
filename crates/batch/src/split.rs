//! Cuts what arrives in chunks into lines, or into the elements of Anthropic's `requests`.
//!
//! Invariant: never more than one line or element is held, and none is longer than its bound.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Why a body cannot be cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// A line has no end.
    #[error("a line is longer than {max} bytes")]
    TooLong {
        /// The bound.
        max: usize,
    },
    /// Not of the form that is expected.
    #[error("{0}")]
    Form(&'static str),
}

// === Lines ===

/// Cuts bytes into lines.
#[derive(Debug)]
pub struct Lines {
    held: BytesMut,
    n_seen: usize,
    max: usize,
}

impl Lines {
    /// Starts; `max` bounds a line.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { held: BytesMut::new(), n_seen: 0, max }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, chunk: &[u8]) {
        self.held.extend_from_slice(chunk);
    }

    /// Returns the next line, with its end; `None` until there is one.
    pub fn next_line(&mut self) -> Result<Option<Bytes>, SplitError> {
        if let Some(at) = memchr::memchr(b'\n', &self.held[self.n_seen..]) {
            let line = self.held.split_to(self.n_seen + at + 1).freeze();
            self.n_seen = 0;
            return if line.len() > self.max { Err(SplitError::TooLong { max: self.max }) } else { Ok(Some(line)) };
        }
        self.n_seen = self.held.len();
        if self.n_seen > self.max { Err(SplitError::TooLong { max: self.max }) } else { Ok(None) }
    }

    /// Returns what is left behind the last line's end.
    pub fn take_rest(&mut self) -> Bytes {
        self.n_seen = 0;
        self.held.split().freeze()
    }
}

// === Elements ===

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Start,
    BeforeKey,
    InKey,
    AfterKey,
    BeforeValue,
    /// In the value of a field that is not the one.
    Other,
    AfterValue,
    BetweenElements,
    InElement,
    End,
}

/// Cuts the body `{"requests": […]}` into its elements.
#[derive(Debug)]
pub struct Elements {
    at: At,
    /// Open brackets of the value that is being passed or taken.
    depth: u32,
    in_string: bool,
    is_escaped: bool,
    key: Vec<u8>,
    element: BytesMut,
    ready: VecDeque<Bytes>,
    has_list: bool,
    others: Vec<String>,
    max: usize,
}

const FIELD: &[u8] = b"requests";
const MAX_KEY: usize = 256;
const MAX_OTHERS: usize = 64;
const NOT_THE_FORM: SplitError =
    SplitError::Form("the body must be a JSON object with \"requests\", an array of objects");

impl Elements {
    /// Starts; `max` bounds an element.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            at: At::Start,
            depth: 0,
            in_string: false,
            is_escaped: false,
            key: Vec::new(),
            element: BytesMut::new(),
            ready: VecDeque::new(),
            has_list: false,
            others: Vec::new(),
            max,
        }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), SplitError> {
        let mut from = 0;
        for (at, byte) in chunk.iter().enumerate() {
            let was = self.at;
            self.step(*byte)?;
            match (was, self.at) {
                (At::BetweenElements, At::InElement) => from = at,
                (At::InElement, At::BetweenElements) => {
                    self.element.extend_from_slice(&chunk[from..=at]);
                    if self.element.len() > self.max {
                        return Err(SplitError::TooLong { max: self.max });
                    }
                    self.ready.push_back(self.element.split().freeze());
                }
                _ => {}
            }
        }
        if self.at == At::InElement {
            self.element.extend_from_slice(&chunk[from..]);
            if self.element.len() > self.max {
                return Err(SplitError::TooLong { max: self.max });
            }
        }
        Ok(())
    }

    /// Returns the next element that is whole.
    pub fn next_element(&mut self) -> Option<Bytes> {
        self.ready.pop_front()
    }

    /// Ends the body, and returns the fields besides the one.
    pub fn finish(self) -> Result<Vec<String>, SplitError> {
        if self.at == At::End && self.has_list { Ok(self.others) } else { Err(NOT_THE_FORM) }
    }

    fn step(&mut self, byte: u8) -> Result<(), SplitError> {
        let is_space = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        self.at = match (self.at, byte) {
            (At::Start, b'{') | (At::AfterValue, b',') => At::BeforeKey,
            (At::BeforeKey, b'"') => {
                self.key.clear();
                At::InKey
            }
            (At::InKey, byte) => self.step_key(byte)?,
            (At::AfterKey, b':') => At::BeforeValue,
            (At::BeforeValue, b'[') if self.key == FIELD => {
                if std::mem::replace(&mut self.has_list, true) {
                    return Err(SplitError::Form("\"requests\" occurs twice; send it once"));
                }
                At::BetweenElements
            }
            (At::BeforeValue, byte) if !is_space => {
                if self.key == FIELD {
                    return Err(NOT_THE_FORM);
                }
                self.note_other()?;
                self.depth = 0;
                self.pass(byte, At::Other)
            }
            (At::Other, byte) => self.pass(byte, At::Other),
            (At::BetweenElements, b'{') => {
                self.depth = 1;
                At::InElement
            }
            (At::BetweenElements, b']') => At::AfterValue,
            (At::BetweenElements, b',') => At::BetweenElements,
            (At::InElement, byte) => {
                if self.pass(byte, At::InElement) == At::InElement && (self.depth > 0 || self.in_string) {
                    At::InElement
                } else {
                    At::BetweenElements
                }
            }
            (At::BeforeKey | At::AfterValue, b'}') => At::End,
            (at, _) if is_space => at,
            _ => return Err(NOT_THE_FORM),
        };
        Ok(())
    }

    fn step_key(&mut self, byte: u8) -> Result<At, SplitError> {
        if byte == b'"' {
            return Ok(At::AfterKey);
        }
        // An escaped key is none that anybody sends, and two readers could disagree on it.
        if byte == b'\\' || self.key.len() == MAX_KEY {
            return Err(NOT_THE_FORM);
        }
        self.key.push(byte);
        Ok(At::InKey)
    }

    fn note_other(&mut self) -> Result<(), SplitError> {
        if self.others.len() == MAX_OTHERS {
            return Err(NOT_THE_FORM);
        }
        self.others.push(String::from_utf8_lossy(&self.key).into_owned());
        Ok(())
    }

    /// Follows the brackets and strings of a value; returns `at` while it lasts.
    fn pass(&mut self, byte: u8, at: At) -> At {
        if self.in_string {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return at;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            // The end of the object that this value is a field of.
            b'}' | b']' if self.depth == 0 => return At::End,
            b'}' | b']' => self.depth -= 1,
            b',' if self.depth == 0 => return At::BeforeKey,
            _ => {}
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(chunks: &[&[u8]], max: usize) -> Result<Vec<Bytes>, SplitError> {
        let (mut lines, mut out) = (Lines::new(max), Vec::new());
        for chunk in chunks {
            lines.push(chunk);
            while let Some(line) = lines.next_line()? {
                out.push(line);
            }
        }
        out.push(lines.take_rest());
        Ok(out)
    }

    fn elements(chunks: &[&[u8]], max: usize) -> Result<(Vec<Bytes>, Vec<String>), SplitError> {
        let (mut elements, mut out) = (Elements::new(max), Vec::new());
        for chunk in chunks {
            elements.push(chunk)?;
            while let Some(element) = elements.next_element() {
                out.push(element);
            }
        }
        Ok((out, elements.finish()?))
    }

    #[test]
    fn lines_end_where_they_end_and_a_long_one_is_refused() {
        assert_eq!(lines(&[b"a\nbc\r\n", b"d"], 4).unwrap(), ["a\n", "bc\r\n", "d"]);
        assert_eq!(lines(&[b"a\n"], 4).unwrap(), ["a\n", ""]);
        assert_eq!(lines(&[b"abc", b"de"], 4), Err(SplitError::TooLong { max: 4 }));
    }

    const BODY: &[u8] = br#" {"x": {"requests":[1]}, "requests" : [ {"custom_id":"a}\"]","params":{"model":"m","b":[{}]}} ,{"n":1}], "y":"z]"} "#;

    #[test]
    fn elements_are_found_among_other_fields() {
        let (found, others) = elements(&[BODY], 1_000).unwrap();
        assert_eq!(found, [&br#"{"custom_id":"a}\"]","params":{"model":"m","b":[{}]}}"#[..], br#"{"n":1}"#]);
        assert_eq!(others, ["x", "y"]);
        assert!(elements(&[br#"{"requests":[]}"#], 10).unwrap().0.is_empty());
    }

    #[test]
    fn what_is_no_list_of_requests_is_refused() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"requests":{}}"#,
            r#"{"requests":[1]}"#,
            r#"{"requests":[{}]"#,
            r#"{"requests":[{}]}x"#,
            r#"{"requests":[{}],"requests":[{}]}"#,
            r#"{"req\u0075ests":[{}]}"#,
            r#"{"requests":["#,
            r#"{"requests" [{}]}"#,
        ] {
            assert!(elements(&[body.as_bytes()], 100).is_err(), "{body}");
        }
        assert_eq!(elements(&[br#"{"requests":[{"a":"long"}]}"#], 5), Err(SplitError::TooLong { max: 5 }));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(cuts in proptest::collection::vec(0..BODY.len(), 0..6)) {
            let mut cuts = cuts;
            cuts.extend([0, BODY.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &BODY[pair[0]..pair[1]]).collect();
            prop_assert_eq!(elements(&chunks, 1_000).unwrap(), elements(&[BODY], 1_000).unwrap());
        }
    }
}
