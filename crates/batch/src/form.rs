//! Reads a form with a file in it (RFC 7578) as it arrives.
//!
//! The boundary is the body's first line, so that body and header cannot disagree. Invariant: of a file never more than a chunk is
//! held, of anything else never more than its bound.

use bytes::{Bytes, BytesMut};
use memchr::memmem;

/// Most parts of a form.
const MAX_PARTS: usize = 64;
/// Longest head of a part.
const MAX_HEAD: usize = 4 * 1024;
/// Longest value of a field that is no file.
const MAX_FIELD: usize = 16 * 1024;
/// Longest boundary; the vendors' have about 40 characters.
const MAX_BOUNDARY: usize = 70;

/// Why a form was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// It does not begin with a boundary.
    #[error("the body is no form; send multipart/form-data that begins with its boundary")]
    NotAForm,
    /// It breaks off, or a part has no name.
    #[error("the form is not well formed")]
    Malformed,
    /// More parts, or a longer one, than any API has.
    #[error("the form has too many parts, or a field that is too long")]
    TooLong,
}

/// What a form holds, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A field that is no file.
    Field {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// A file begins.
    File {
        /// The field's name.
        name: String,
        /// The file's own.
        file_name: String,
    },
    /// More of the file.
    Data(Bytes),
    /// The file ends.
    FileEnd,
    /// The form ends; what follows does not count.
    End,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum At {
    Boundary,
    /// Behind a boundary: the end, or a part.
    AfterBoundary,
    Head,
    Field(String),
    File,
    End,
}

/// Reads one form.
#[derive(Debug)]
pub struct Form {
    at: At,
    held: BytesMut,
    /// What ends a part, with the line end before it.
    mark: Vec<u8>,
    n_parts: usize,
}

impl Default for Form {
    fn default() -> Self {
        Self { at: At::Boundary, held: BytesMut::new(), mark: Vec::new(), n_parts: 0 }
    }
}

impl Form {
    /// Takes the next bytes.
    pub fn push(&mut self, chunk: &[u8]) {
        if self.at != At::End {
            self.held.extend_from_slice(chunk);
        }
    }

    /// Returns the next piece; `None` until more bytes are there.
    pub fn next_piece(&mut self) -> Result<Option<Piece>, FormError> {
        loop {
            match &mut self.at {
                At::Boundary => {
                    let Some(end) = memmem::find(&self.held, b"\r\n") else {
                        return if self.held.len() > MAX_BOUNDARY + 2 { Err(FormError::NotAForm) } else { Ok(None) };
                    };
                    let line = &self.held[..end];
                    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(byte);
                    let boundary = line.strip_prefix(b"--").filter(|it| (1..=MAX_BOUNDARY).contains(&it.len()));
                    let boundary = boundary.filter(|it| it.iter().all(is_plain)).ok_or(FormError::NotAForm)?;
                    self.mark = [b"\r\n--", boundary].concat();
                    let _ = self.held.split_to(end);
                    self.at = At::AfterBoundary;
                }
                At::AfterBoundary => match self.held.get(..2) {
                    None => return Ok(None),
                    Some(b"--") => {
                        self.held.clear();
                        self.at = At::End;
                        return Ok(Some(Piece::End));
                    }
                    Some(b"\r\n") => {
                        let _ = self.held.split_to(2);
                        self.n_parts += 1;
                        if self.n_parts > MAX_PARTS {
                            return Err(FormError::TooLong);
                        }
                        self.at = At::Head;
                    }
                    Some(_) => return Err(FormError::Malformed),
                },
                At::Head => {
                    let Some(end) = memmem::find(&self.held, b"\r\n\r\n") else {
                        return if self.held.len() > MAX_HEAD { Err(FormError::TooLong) } else { Ok(None) };
                    };
                    let head = self.held.split_to(end + 4);
                    let head = std::str::from_utf8(&head[..end]).map_err(|_| FormError::Malformed)?;
                    let (name, file_name) = read_head(head).ok_or(FormError::Malformed)?;
                    let Some(file_name) = file_name else {
                        self.at = At::Field(name);
                        continue;
                    };
                    self.at = At::File;
                    return Ok(Some(Piece::File { name, file_name }));
                }
                At::Field(name) => {
                    let Some(end) = memmem::find(&self.held, &self.mark) else {
                        return if self.held.len() > MAX_FIELD { Err(FormError::TooLong) } else { Ok(None) };
                    };
                    let name = std::mem::take(name);
                    let value = self.held.split_to(end + self.mark.len());
                    let value = std::str::from_utf8(&value[..end]).map_err(|_| FormError::Malformed)?.to_owned();
                    self.at = At::AfterBoundary;
                    return Ok(Some(Piece::Field { name, value }));
                }
                At::File => return Ok(self.next_of_file()),
                At::End => return Ok(None),
            }
        }
    }

    /// Says whether the form has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.at == At::End
    }

    fn next_of_file(&mut self) -> Option<Piece> {
        if let Some(end) = memmem::find(&self.held, &self.mark) {
            if end > 0 {
                return Some(Piece::Data(self.held.split_to(end).freeze()));
            }
            let _ = self.held.split_to(self.mark.len());
            self.at = At::AfterBoundary;
            return Some(Piece::FileEnd);
        }
        // The last bytes may be the beginning of the mark.
        let n_sure = self.held.len().saturating_sub(self.mark.len());
        (n_sure > 0).then(|| Piece::Data(self.held.split_to(n_sure).freeze()))
    }
}

/// Reads the name of a part, and that of its file.
fn read_head(head: &str) -> Option<(String, Option<String>)> {
    let disposition = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then(|| value.trim())
    })?;
    let name = parameter(disposition, "name")?;
    Some((name.to_owned(), parameter(disposition, "filename").map(str::to_owned)))
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

// === Writing ===

/// The boundary of forms made here. A line of JSON cannot begin with it, so no file of lines holds it as a boundary.
pub const BOUNDARY: &str = "headgate-form-7d1c5a9b3e";

/// Writes a field of a form.
#[must_use]
pub fn field(name: &str, value: &str) -> String {
    format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{}\"\r\n\r\n{value}\r\n", plain(name))
}

/// Writes a part of a form that is JSON.
#[must_use]
pub fn json(name: &str, value: &str) -> String {
    let name = plain(name);
    format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\nContent-Type: application/json; charset=utf-8\r\n\r\n{value}\r\n"
    )
}

/// Writes the head of the file; its bytes follow, then [`file_end`].
#[must_use]
pub fn file_start(file_name: &str, media_type: &str) -> String {
    format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{}\"\r\nContent-Type: {media_type}\r\n\r\n",
        plain(file_name)
    )
}

/// Writes what ends the file; further fields, or [`end`], follow.
#[must_use]
pub const fn file_end() -> &'static str {
    "\r\n"
}

/// Writes what ends the form.
#[must_use]
pub fn end() -> String {
    format!("--{BOUNDARY}--\r\n")
}

/// Returns the media type of forms made here.
#[must_use]
pub fn content_type() -> String {
    format!("multipart/form-data; boundary={BOUNDARY}")
}

/// Returns the media type of such parts that are no form.
#[must_use]
pub fn related_type() -> String {
    format!("multipart/related; boundary={BOUNDARY}")
}

/// Takes out what ends a quoted name, or a line.
#[must_use]
pub fn plain(name: &str) -> String {
    name.chars().map(|letter| if letter.is_control() || matches!(letter, '"' | '\\') { '_' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORM: &[u8] = b"--b0\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n\
        --b0\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a;b.jsonl\"\r\nContent-Type: application/jsonl\r\n\r\n{}\r\n--b1\r\n{}\n\r\n\
        --b0\r\nContent-Disposition: form-data; name=\"empty\"\r\n\r\n\r\n--b0--\r\n";

    /// The pieces with the data of a file put together.
    fn read(chunks: &[&[u8]]) -> Result<Vec<Piece>, FormError> {
        let (mut form, mut out) = (Form::default(), Vec::new());
        for chunk in chunks {
            form.push(chunk);
            while let Some(piece) = form.next_piece()? {
                match (out.last_mut(), piece) {
                    (Some(Piece::Data(before)), Piece::Data(more)) => *before = [&before[..], &more].concat().into(),
                    (_, piece) => out.push(piece),
                }
            }
        }
        Ok(out)
    }

    #[test]
    fn a_form_is_read_in_order() {
        let pieces = read(&[FORM]).unwrap();
        let file = Piece::File { name: "file".to_owned(), file_name: "a;b.jsonl".to_owned() };
        assert_eq!(
            pieces,
            [
                Piece::Field { name: "purpose".to_owned(), value: "batch".to_owned() },
                file,
                Piece::Data(Bytes::from_static(b"{}\r\n--b1\r\n{}\n")),
                Piece::FileEnd,
                Piece::Field { name: "empty".to_owned(), value: String::new() },
                Piece::End,
            ]
        );
    }

    #[test]
    fn what_is_written_reads_back() {
        let text = [
            field("purpose", "batch").as_str(),
            &file_start("a\"\r\nx: y.jsonl", "application/jsonl"),
            "{}\n",
            file_end(),
            &field("later", "1"),
            &end(),
        ]
        .concat();
        let pieces = read(&[text.as_bytes()]).unwrap();
        assert_eq!(pieces[1], Piece::File { name: "file".to_owned(), file_name: "a___x: y.jsonl".to_owned() });
        assert_eq!((pieces.len(), pieces.last()), (6, Some(&Piece::End)));
        assert!(content_type().ends_with(BOUNDARY));
    }

    #[test]
    fn junk_is_refused_and_bounds_hold() {
        assert_eq!(read(&[b"{\"a\":1}\r\n"]), Err(FormError::NotAForm));
        assert_eq!(read(&[&[b'-'; 200]]), Err(FormError::NotAForm));
        assert_eq!(read(&[b"--b\r\n\r\n\r\n\r\n"]), Err(FormError::Malformed), "a part without a name");
        assert_eq!(read(&[b"--b\r\n", &[b'x'; 5_000]]), Err(FormError::TooLong));
        let long = [&b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n"[..], &vec![b'x'; 20_000]].concat();
        assert_eq!(read(&[&long]), Err(FormError::TooLong));
        let mut form = Form::default();
        form.push(&FORM[..FORM.len() - 10]);
        while form.next_piece().unwrap().is_some() {}
        assert!(!form.is_over());
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(cuts in proptest::collection::vec(0..FORM.len(), 0..6)) {
            let mut cuts = cuts;
            cuts.extend([0, FORM.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &FORM[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(&chunks).unwrap(), read(&[FORM]).unwrap());
        }
    }
}
