//! Forms with files (RFC 7578): finds the parts in place, and puts another model into one.
//!
//! The boundary is read from the body's first line, so that body and header cannot disagree. Invariants: nothing is copied but
//! what is written anew; every part lies between two boundaries; a name occurs once where policy reads it.

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderValue;
use memchr::memmem;

use crate::scan::{Scan, Span, Text};

/// Most parts of a form.
const MAX_PARTS: usize = 64;
/// Longest head of a part.
const MAX_HEAD: usize = 4 * 1024;
/// Longest value of a field that is no file.
const MAX_FIELD: usize = 64 * 1024;

/// Why a form was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// It does not begin with a boundary.
    #[error("the body is no form; send multipart/form-data that begins with its boundary")]
    NotAForm,
    /// It breaks off or a part has no name.
    #[error("the form is not well formed at byte {at}")]
    Malformed {
        /// Where.
        at: usize,
    },
    /// More parts than any API has.
    #[error("the form has more than {MAX_PARTS} parts")]
    TooManyParts,
    /// A field that may occur once occurs twice.
    #[error("the field \"{name}\" occurs twice; send it once")]
    Duplicate {
        /// Which.
        name: &'static str,
    },
    /// A field is not text or too long.
    #[error("the field \"{name}\" must be short text")]
    Field {
        /// Which.
        name: &'static str,
    },
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<'b> {
    /// The field's name.
    pub name: &'b str,
    /// The name of a file.
    pub file_name: Option<&'b str>,
    /// The media type.
    pub content_type: Option<&'b str>,
    /// Where the value lies in the body.
    pub span: Span,
}

/// A form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormData<'b> {
    body: &'b [u8],
    boundary: &'b str,
    /// The parts in order.
    pub parts: Vec<Part<'b>>,
}

/// Says whether a body looks like a form.
#[must_use]
pub fn is_form(body: &[u8]) -> bool {
    body.starts_with(b"--")
}

/// Finds the parts of a form.
pub fn parse(body: &[u8]) -> Result<FormData<'_>, FormError> {
    let line = body.strip_prefix(b"--").and_then(|rest| rest.get(..memmem::find(rest, b"\r\n")?));
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(byte);
    let boundary = line
        .filter(|line| (1..=70).contains(&line.len()) && line.iter().all(is_plain))
        .and_then(|line| std::str::from_utf8(line).ok())
        .ok_or(FormError::NotAForm)?;
    let end_mark = format!("\r\n--{boundary}");
    let finder = memmem::Finder::new(end_mark.as_bytes());
    let mut parts = Vec::new();
    let mut at = 2 + boundary.len();
    loop {
        // Behind a boundary: the end, or the next part.
        match body.get(at..at + 2) {
            Some(b"--") => return Ok(FormData { body, boundary, parts }),
            Some(b"\r\n") => at += 2,
            _ => return Err(FormError::Malformed { at }),
        }
        if parts.len() == MAX_PARTS {
            return Err(FormError::TooManyParts);
        }
        let (part, next) = parse_part(body, at, &finder)?;
        parts.push(part);
        at = next + end_mark.len();
    }
}

fn parse_part<'b>(body: &'b [u8], at: usize, finder: &memmem::Finder<'_>) -> Result<(Part<'b>, usize), FormError> {
    let malformed = FormError::Malformed { at };
    let window = &body[at..body.len().min(at + MAX_HEAD)];
    let Some(length) = memmem::find(window, b"\r\n\r\n") else { return Err(malformed) };
    let head = std::str::from_utf8(&window[..length]).map_err(|_| malformed.clone())?;
    let start = at + length + 4;
    // A value may be empty: then the boundary begins with the line end of the head.
    let search_from = start - 2;
    let Some(found) = finder.find(&body[search_from..]) else { return Err(malformed) };
    let end = search_from + found;
    let header = |wanted: &str| {
        head.split("\r\n").find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    };
    let Some(disposition) = header("content-disposition") else { return Err(malformed) };
    let Some(name) = parameter(disposition, "name") else { return Err(malformed) };
    let part = Part {
        name,
        file_name: parameter(disposition, "filename"),
        content_type: header("content-type"),
        span: Span { start, end: end.max(start) },
    };
    Ok((part, end))
}

fn parameter<'h>(value: &'h str, wanted: &str) -> Option<&'h str> {
    let mut rest = value;
    while let Some((_, after)) = rest.split_once(';') {
        rest = after.trim_start();
        let (name, text) = rest.split_once('=')?;
        let found = match text.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next()?,
            None => text.split(';').next()?.trim(),
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(found);
        }
        // Whatever stands in quotes is no further parameter.
        rest = &text[text.find(found)? + found.len()..];
    }
    None
}

impl<'b> FormData<'b> {
    /// Returns the value of a part.
    #[must_use]
    pub fn value(&self, part: &Part<'_>) -> &'b [u8] {
        part.span.of(self.body)
    }

    /// Finds the text of a field that is no file.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&'b str> {
        let part = self.parts.iter().find(|part| part.name == name)?;
        std::str::from_utf8(self.value(part)).ok()
    }

    /// Finds the file of a field.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&Part<'b>> {
        self.parts.iter().find(|part| part.name == name && part.file_name.is_some())
    }

    /// Returns the media type of the body.
    #[must_use]
    pub fn content_type(&self) -> HeaderValue {
        let text = format!("multipart/form-data; boundary={}", self.boundary);
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("multipart/form-data"))
    }

    /// Writes the form anew with one field renamed and given another value; without such a field one is put in front.
    #[must_use]
    pub fn with_field(&self, name: &str, renamed: &str, value: &str) -> Bytes {
        let mut out = BytesMut::with_capacity(self.body.len() + 256);
        let mut put = |bytes: &[u8]| out.put_slice(bytes);
        let field = |put: &mut dyn FnMut(&[u8])| {
            put(format!("--{}\r\nContent-Disposition: form-data; name=\"{renamed}\"\r\n\r\n", self.boundary).as_bytes());
            put(value.as_bytes());
            put(b"\r\n");
        };
        field(&mut put);
        for part in self.parts.iter().filter(|part| part.name != name) {
            put(format!("--{}\r\nContent-Disposition: form-data; name=\"{}\"", self.boundary, part.name).as_bytes());
            if let Some(file_name) = part.file_name {
                put(format!("; filename=\"{file_name}\"").as_bytes());
            }
            put(b"\r\n");
            if let Some(content_type) = part.content_type {
                put(format!("Content-Type: {content_type}\r\n").as_bytes());
            }
            put(b"\r\n");
            put(self.value(part));
            put(b"\r\n");
        }
        put(format!("--{}--\r\n", self.boundary).as_bytes());
        out.freeze()
    }
}

/// Reads the policy fields of a form.
pub fn scan(body: &[u8]) -> Result<Scan, FormError> {
    let form = parse(body)?;
    let mut found = Scan::default();
    for part in &form.parts {
        let text = |name| {
            let value = form.value(part);
            let text = std::str::from_utf8(value).ok().filter(|_| part.file_name.is_none() && value.len() <= MAX_FIELD);
            text.ok_or(FormError::Field { name })
        };
        match part.name {
            "model" if found.model.is_some() => return Err(FormError::Duplicate { name: "model" }),
            "model" => found.model = Some(Text { span: part.span, value: text("model")?.to_owned() }),
            "stream" if found.stream.is_some() => return Err(FormError::Duplicate { name: "stream" }),
            "stream" => found.stream = Some(text("stream")? == "true"),
            "n" => found.n = text("n")?.parse().ok(),
            "prompt" => found.text_bytes += part.span.len() as u64,
            _ => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORM: &[u8] = b"--b0\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
        --b0\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a;b.wav\"\r\nContent-Type: audio/wav\r\n\r\nRIFF\r\n--b1\r\n\r\n\
        --b0\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\n\r\n--b0--\r\n";

    #[test]
    fn parts_are_found_in_place() {
        let form = parse(FORM).unwrap();
        let names: Vec<_> = form.parts.iter().map(|part| (part.name, part.file_name, form.value(part))).collect();
        assert_eq!(
            names,
            [("model", None, &b"whisper-1"[..]), ("file", Some("a;b.wav"), b"RIFF\r\n--b1\r\n"), ("prompt", None, b""),]
        );
        assert_eq!(form.content_type(), "multipart/form-data; boundary=b0");
        assert_eq!(scan(FORM).unwrap().model.unwrap().value, "whisper-1");
    }

    #[test]
    fn another_model_is_put_in_and_the_rest_stays() {
        let form = parse(FORM).unwrap();
        let written = form.with_field("model", "model_id", "scribe");
        let again = parse(&written).unwrap();
        assert_eq!(again.text("model_id"), Some("scribe"));
        assert_eq!((again.text("model"), again.parts.len()), (None, 3));
        assert_eq!(again.value(again.file("file").unwrap()), b"RIFF\r\n--b1\r\n");
        assert_eq!(again.file("file").unwrap().content_type, Some("audio/wav"));
    }

    #[test]
    fn what_is_no_form_is_refused() {
        for (body, error) in [
            (&b""[..], FormError::NotAForm),
            (b"{}", FormError::NotAForm),
            (b"--\r\n", FormError::NotAForm),
            (b"--a b\r\n", FormError::NotAForm),
            (b"--a\r\n", FormError::Malformed { at: 5 }),
            (b"--a\r\nX: y\r\n\r\nv\r\n--a--", FormError::Malformed { at: 5 }),
            (b"--a\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\nv", FormError::Malformed { at: 5 }),
        ] {
            assert_eq!(parse(body), Err(error), "{:?}", String::from_utf8_lossy(body));
        }
        let twice = [&FORM[..FORM.len() - 8], &FORM[..FORM.len()]].concat();
        assert_eq!(scan(&twice), Err(FormError::Duplicate { name: "model" }));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&body);
            let framed = [&b"--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\n"[..], &body, b"\r\n--b--\r\n"].concat();
            if memmem::find(&body, b"\r\n--b").is_none() && !body.starts_with(b"--b") {
                let form = parse(&framed).unwrap();
                prop_assert_eq!(form.value(&form.parts[0]), &body[..]);
            }
        }
    }
}
