//! The cursor of `scan`: a strict JSON reader that gives spans and tallies instead of values.
//!
//! Knows the grammar (RFC 8259) and where text and media lie in a message; knows no policy. Invariant: the cursor never
//! passes the end of the body, and nesting never passes `MAX_DEPTH`.

use std::borrow::Cow;

use super::{MAX_DEPTH, Proofs, ScanError, Span, Text};

/// What a value is part of, which decides what is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    /// Messages and prompts.
    Text,
    /// The arguments of a tool call or what a function answered, inside messages: free-form, so nothing in it is taken for
    /// media.
    Arguments,
    /// Anything else.
    Other,
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) text: u64,
    pub(super) media: u64,
    pub(super) wide: u64,
    pub(super) images: u64,
    pub(super) files: u64,
    pub(super) elements: u64,
}

pub(super) struct Reader<'a> {
    pub(super) body: &'a [u8],
    pub(super) at: usize,
    /// Some string so far has bytes beyond ASCII, which nobody has checked to be UTF-8.
    pub(super) has_wide: bool,
    /// Some string of messages so far is the name of the role `developer`, or a proof of reasoning.
    pub(super) has_developer: bool,
    pub(super) has_proof: bool,
    /// Whose they are, and those in forms of their makers.
    pub(super) proofs: Proofs,
    /// The key of the field that is being read, without its quotes.
    pub(super) key: Span,
    depth: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self {
            body,
            at: 0,
            has_wide: false,
            has_developer: false,
            has_proof: false,
            proofs: Proofs::default(),
            key: Span::default(),
            depth: 1,
        }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    pub(super) fn bump(&mut self) {
        self.at += 1;
    }

    pub(super) fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    pub(super) fn syntax<T>(&self, expected: &'static str) -> Result<T, ScanError> {
        Err(ScanError::Syntax { at: self.at, expected })
    }

    pub(super) fn end(&mut self) -> Result<(), ScanError> {
        self.skip_space();
        if self.at == self.body.len() { Ok(()) } else { self.syntax("nothing may follow the object") }
    }

    pub(super) fn enter(&mut self) -> Result<(), ScanError> {
        if self.depth >= MAX_DEPTH {
            return Err(ScanError::TooDeep { at: self.at });
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Reads the fields of an object whose brace was consumed, up to and including the closing brace.
    pub(super) fn fields(
        &mut self,
        mut field: impl FnMut(&mut Self, Cow<'a, str>) -> Result<(), ScanError>,
    ) -> Result<(), ScanError> {
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.bump();
            return Ok(());
        }
        loop {
            self.skip_space();
            let token = self.key()?;
            let key = decode(self.body, token);
            self.key = token.inside();
            self.colon()?;
            field(self, key)?;
            self.skip_space();
            match self.peek() {
                Some(b',') => self.bump(),
                Some(b'}') => {
                    self.bump();
                    return Ok(());
                }
                _ => return self.syntax("expected `,` or `}`"),
            }
        }
    }

    fn key(&mut self) -> Result<Token, ScanError> {
        if self.peek() == Some(b'"') { self.string() } else { self.syntax("expected a key in double quotes") }
    }

    pub(super) fn colon(&mut self) -> Result<(), ScanError> {
        self.skip_space();
        if self.peek() != Some(b':') {
            return self.syntax("expected `:`");
        }
        self.bump();
        self.skip_space();
        Ok(())
    }

    /// Reads any value at the cursor and returns its span; recursion is bounded by `MAX_DEPTH`.
    pub(super) fn value(&mut self, tally: &mut Tally, section: Section) -> Result<Span, ScanError> {
        self.skip_space();
        let start = self.at;
        let top = self.depth;
        self.inner_value(tally, section, top, b"")?;
        Ok(Span { start, end: self.at })
    }

    fn inner_value(&mut self, tally: &mut Tally, section: Section, top: u32, key: &[u8]) -> Result<(), ScanError> {
        match self.peek() {
            Some(b'"') => {
                let token = self.string()?;
                match section {
                    Section::Text => {
                        self.note(key, token);
                        count(tally, key, token, self);
                    }
                    Section::Arguments => tally.text += token.span.len() as u64,
                    Section::Other => {}
                }
                Ok(())
            }
            Some(b'{') => self.object(tally, section, top),
            Some(b'[') => self.array(tally, section, top, key),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.syntax("expected a value"),
        }
    }

    /// Notes what a relay of the same dialect must know. What is written with escapes is nobody's role and no proof.
    fn note(&mut self, key: &[u8], token: Token) {
        let written = token.inside().of(self.body);
        self.has_developer |= written == b"developer";
        self.has_proof |= llm::dialect::is_proof(written, key.ends_with(b"id"));
        self.proofs.add(Proofs::of(key, written));
    }

    fn object(&mut self, tally: &mut Tally, section: Section, top: u32) -> Result<(), ScanError> {
        self.enter()?;
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.bump();
            self.leave();
            return Ok(());
        }
        loop {
            self.skip_space();
            let key = self.key()?;
            self.colon()?;
            let name = key.inside().of(self.body);
            let is_free = matches!(name, b"input" | b"args" | b"response");
            let section = if section == Section::Text && is_free { Section::Arguments } else { section };
            self.inner_value(tally, section, top, name)?;
            self.skip_space();
            match self.peek() {
                Some(b',') => self.bump(),
                Some(b'}') => break,
                _ => return self.syntax("expected `,` or `}`"),
            }
        }
        self.bump();
        self.leave();
        Ok(())
    }

    fn array(&mut self, tally: &mut Tally, section: Section, top: u32, key: &[u8]) -> Result<(), ScanError> {
        let is_top = self.depth == top;
        self.enter()?;
        self.skip_space();
        if self.peek() == Some(b']') {
            self.bump();
            self.leave();
            return Ok(());
        }
        loop {
            self.skip_space();
            self.inner_value(tally, section, top, key)?;
            tally.elements += u64::from(is_top);
            self.skip_space();
            match self.peek() {
                Some(b',') => self.bump(),
                Some(b']') => break,
                _ => return self.syntax("expected `,` or `]`"),
            }
        }
        self.bump();
        self.leave();
        Ok(())
    }

    fn word(&mut self, word: &'static [u8]) -> Result<(), ScanError> {
        if self.body.get(self.at..self.at + word.len()) != Some(word) {
            return self.syntax("expected a value");
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), ScanError> {
        if self.peek() == Some(b'-') {
            self.bump();
        }
        match self.peek() {
            Some(b'0') => self.bump(),
            Some(b'1'..=b'9') => self.digits(),
            _ => return self.syntax("expected a digit"),
        }
        if self.peek() == Some(b'.') {
            self.bump();
            self.some_digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.bump();
            if let Some(b'+' | b'-') = self.peek() {
                self.bump();
            }
            self.some_digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) {
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
    }

    fn some_digits(&mut self) -> Result<(), ScanError> {
        let start = self.at;
        self.digits();
        if self.at == start { self.syntax("expected a digit") } else { Ok(()) }
    }

    /// Reads a string token at its opening quote.
    fn string(&mut self) -> Result<Token, ScanError> {
        let start = self.at;
        self.at += 1;
        let mut escapes = 0_u64;
        let mut is_wide = false;
        loop {
            self.at = find_special(self.body, self.at, &mut is_wide);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    self.has_wide |= is_wide;
                    return Ok(Token { span: Span { start, end: self.at }, escapes, is_wide });
                }
                Some(b'\\') => {
                    escapes += 1;
                    self.escape()?;
                }
                Some(_) => return self.syntax("control characters in strings must be escaped"),
                None => return self.syntax("the string does not end"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), ScanError> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => {
                self.at += 1;
                match self.hex4()? {
                    0xD800..=0xDBFF => {
                        if self.body.get(self.at..self.at + 2) != Some(b"\\u") {
                            return self.syntax("half of a surrogate pair is missing");
                        }
                        self.at += 2;
                        match self.hex4()? {
                            0xDC00..=0xDFFF => Ok(()),
                            _ => self.syntax("half of a surrogate pair is missing"),
                        }
                    }
                    0xDC00..=0xDFFF => self.syntax("half of a surrogate pair is missing"),
                    _ => Ok(()),
                }
            }
            _ => self.syntax("unknown escape"),
        }
    }

    fn hex4(&mut self) -> Result<u32, ScanError> {
        let mut code = 0;
        for _ in 0..4 {
            let Some(digit) = self.peek().and_then(|byte| char::from(byte).to_digit(16)) else {
                return self.syntax("expected four hexadecimal digits");
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }

    // --- Scalars of policy fields ---

    pub(super) fn text(&mut self, field: &'static str) -> Result<Option<Text>, ScanError> {
        match self.peek() {
            Some(b'"') => {
                let token = self.string()?;
                Ok(Some(Text { span: token.span, value: decode(self.body, token).into_owned() }))
            }
            Some(b'n') if field != "model" => self.word(b"null").map(|()| None),
            _ => {
                self.value(&mut Tally::default(), Section::Other)?;
                Err(ScanError::WrongKind { field, expected: "a string" })
            }
        }
    }

    pub(super) fn flag(&mut self, field: &'static str) -> Result<(Option<bool>, Span), ScanError> {
        let span = self.value(&mut Tally::default(), Section::Other)?;
        match span.of(self.body) {
            b"true" => Ok((Some(true), span)),
            b"false" => Ok((Some(false), span)),
            b"null" => Ok((None, span)),
            _ => Err(ScanError::WrongKind { field, expected: "true or false" }),
        }
    }

    pub(super) fn count(&mut self, field: &'static str) -> Result<Option<u64>, ScanError> {
        let span = self.value(&mut Tally::default(), Section::Other)?;
        let digits = span.of(self.body);
        if digits == b"null" {
            return Ok(None);
        }
        std::str::from_utf8(digits)
            .ok()
            .and_then(|text| text.parse().ok())
            .map(Some)
            .ok_or(ScanError::WrongKind { field, expected: "a whole number" })
    }

    pub(super) fn is_filled(&self, span: Span) -> bool {
        match span.of(self.body) {
            b"null" => false,
            [b'[' | b'{', inside @ .., b']' | b'}'] => !inside.iter().all(u8::is_ascii_whitespace),
            _ => true,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Token {
    span: Span,
    escapes: u64,
    /// It has bytes beyond ASCII.
    is_wide: bool,
}

impl Token {
    fn inside(self) -> Span {
        Span { start: self.span.start + 1, end: self.span.end - 1 }
    }
}

fn decode(body: &[u8], token: Token) -> Cow<'_, str> {
    let inside = token.inside().of(body);
    if token.escapes == 0 {
        String::from_utf8_lossy(inside)
    } else {
        // The token was checked by `string`, so it decodes; a failure here would only lose an exotic key.
        Cow::Owned(serde_json::from_slice(token.span.of(body)).unwrap_or_default())
    }
}

fn count(tally: &mut Tally, key: &[u8], token: Token, reader: &Reader<'_>) {
    let inside = token.inside();
    let text = inside.of(reader.body);
    match key {
        b"type" => match text {
            b"image" | b"image_url" | b"input_image" => tally.images += 1,
            b"file" | b"document" | b"input_file" | b"input_audio" | b"video" => tally.files += 1,
            _ => {}
        },
        b"mimeType" | b"mime_type" if text.starts_with(b"image/") => tally.images += 1,
        b"mimeType" | b"mime_type" => tally.files += 1,
        b"role" | b"id" | b"tool_call_id" | b"tool_use_id" | b"media_type" | b"detail" | b"format" | b"ttl" => {}
        b"url" | b"data" | b"file_data" | b"image_url" | b"signature" | b"encrypted_content" | b"fileUri"
        | b"file_uri" | b"thoughtSignature" | b"thought_signature" => {
            tally.media += inside.len() as u64;
        }
        _ => {
            tally.text += inside.len() as u64;
            if token.is_wide {
                tally.wide += count_wide(text);
            }
        }
    }
}

/// Bytes looked at one word at a time before the vector search is worth its call.
const SHORT: usize = 64;
/// Bytes that the vector search takes on at once, so that a string that is checked is still in the cache.
const STRIDE: usize = 16 * 1024;

/// Returns the offset of the next byte that ends or interrupts a string: a quote, a backslash or a control character. Sets
/// `is_wide` when a byte before it is not ASCII; before a control character it may say so of a byte that follows.
pub(super) fn find_special(body: &[u8], at: usize, is_wide: &mut bool) -> usize {
    let near = body.len().min(at.saturating_add(SHORT)).max(at);
    let mut at = match find_near(body, at, near, is_wide) {
        Some(found) => return found,
        None => near,
    };
    while at < body.len() {
        let part = &body[at..body.len().min(at + STRIDE)];
        let end = memchr::memchr2(b'"', b'\\', part).unwrap_or(part.len());
        // Control characters are never right here, so they are looked for without stopping, which vectorises.
        let (low, bits) = part[..end].iter().fold((u8::MAX, 0), |(low, bits), byte| (low.min(*byte), bits | byte));
        *is_wide |= bits >= 0x80;
        if low < 0x20 {
            return at + part.iter().position(|byte| *byte < 0x20).unwrap_or(end);
        }
        at += end;
        if end < part.len() {
            break;
        }
    }
    at
}

/// Searches eight bytes at a time.
///
/// `(x - n) & !x & 0x80` marks every byte below n; marks above the lowest can be wrong (a borrow travels upwards), the lowest
/// never is, and only the lowest is used.
fn find_near(body: &[u8], from: usize, to: usize, is_wide: &mut bool) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    const QUOTE: u64 = ONES * b'"' as u64;
    const BACKSLASH: u64 = ONES * b'\\' as u64;
    let (words, rest) = body.get(from..to)?.as_chunks::<8>();
    let mut wide = 0;
    for (n, bytes) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*bytes);
        let control = word.wrapping_sub(ONES * 0x20);
        let quote = (word ^ QUOTE).wrapping_sub(ONES);
        let backslash = (word ^ BACKSLASH).wrapping_sub(ONES);
        let marks = (control | quote | backslash) & !word & HIGH;
        if marks != 0 {
            // Only the bytes below the lowest mark come before what was found.
            *is_wide |= (wide | word & HIGH & (marks & marks.wrapping_neg()).wrapping_sub(1)) != 0;
            return Some(from + n * 8 + (marks.trailing_zeros() / 8) as usize);
        }
        wide |= word & HIGH;
    }
    let found = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
    wide |= rest[..found.unwrap_or(rest.len())].iter().fold(0, |bits, byte| bits | u64::from(*byte)) & 0x80;
    *is_wide |= wide != 0;
    let found = found?;
    Some(to - rest.len() + found)
}

/// Counts the bytes that are not ASCII; in runs short enough for a byte to hold the count, which vectorises.
fn count_wide(text: &[u8]) -> u64 {
    let run = |run: &[u8]| u64::from(run.iter().fold(0_u8, |count, byte| count + (byte >> 7)));
    text.chunks(255).map(run).sum()
}
