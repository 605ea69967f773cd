//! Reads the few policy fields of a request body in one pass, without building a tree.
//!
//! The whole body is checked as JSON (UTF-8, escapes, numbers, depth, trailing data), so that what is relayed untouched is
//! as sound as what is parsed. Not here: the meaning of messages and tools (that is `canonical`). Invariant: a body that
//! `scan` accepts, `serde_json` reads, and both see the same policy fields; a top-level key may occur only once, because two
//! readers of a repeated key could disagree about the model or the price.

mod number;
mod patch;
mod proofs;
mod reader;

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

pub use patch::Patch;
pub use proofs::Proofs;
use reader::{Reader, Section, Tally};

/// Nesting levels accepted in a body; the same as `serde_json`'s own limit, so that no later stage refuses what passed here.
pub const MAX_DEPTH: u32 = 127;
/// Top-level keys accepted in a body; the widest public chat API has about forty.
pub const MAX_FIELDS: usize = 256;

/// Why a body was refused. Offsets are bytes from the start of the body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// The body has no JSON in it.
    #[error("the body is empty; send a JSON object")]
    Empty,
    /// The body is JSON but not an object.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// A byte sequence is not UTF-8.
    #[error("the body is not valid UTF-8 at byte {at}")]
    Utf8 {
        /// Offset of the first bad byte.
        at: usize,
    },
    /// The body is not JSON.
    #[error("the body is not valid JSON at byte {at}: {expected}")]
    Syntax {
        /// Offset of the offending byte.
        at: usize,
        /// What would have been valid there.
        expected: &'static str,
    },
    /// The body is nested deeper than `MAX_DEPTH`.
    #[error("the body is nested deeper than {MAX_DEPTH} levels at byte {at}")]
    TooDeep {
        /// Offset of the bracket that is too deep.
        at: usize,
    },
    /// The body has more than `MAX_FIELDS` top-level keys.
    #[error("the body has more than {MAX_FIELDS} top-level keys")]
    TooManyFields,
    /// A top-level key occurs twice.
    #[error("the key \"{key}\" occurs twice; send it once")]
    DuplicateKey {
        /// The repeated key.
        key: String,
    },
    /// A policy field has a value of the wrong kind.
    #[error("\"{field}\" must be {expected}")]
    WrongKind {
        /// The field.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
}

/// A part of the body, as byte offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// Returns the bytes of the span.
    #[must_use]
    pub fn of(self, body: &[u8]) -> &[u8] {
        body.get(self.start..self.end).unwrap_or_default()
    }

    /// Returns the length in bytes.
    #[must_use]
    pub fn len(self) -> usize {
        self.end - self.start
    }

    /// Says whether the span holds nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Returns the offsets as a range.
    #[must_use]
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// A string value: its span (quotes included) and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The token with its quotes.
    pub span: Span,
    /// The decoded value.
    pub value: String,
}

/// What stands for `stream_options` in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StreamOptions {
    /// No such key.
    #[default]
    Absent,
    /// `null`, which counts as absent but has to be replaced, not added to.
    Null(Span),
    /// An object; `inside` starts after its brace.
    Object {
        /// Offset just after the opening brace.
        inside: usize,
        /// True when it has no key.
        is_empty: bool,
    },
}

/// The policy fields of one request body. Absent and `null` are the same, except for `model`, which must be a string.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scan {
    /// Offset just after the opening brace: where a field can be spliced in.
    pub open: usize,
    /// True when the object has no key at all.
    pub is_empty: bool,
    /// `model`.
    pub model: Option<Text>,
    /// `stream`.
    pub stream: Option<bool>,
    /// `stream_options`.
    pub stream_options: StreamOptions,
    /// `stream_options.include_usage` with the span of its value.
    pub include_usage: Option<(bool, Span)>,
    /// `max_tokens`.
    pub max_tokens: Option<u64>,
    /// `max_completion_tokens`.
    pub max_completion_tokens: Option<u64>,
    /// `max_output_tokens`, or Gemini's `generationConfig.maxOutputTokens`.
    pub max_output_tokens: Option<u64>,
    /// `n`, or Gemini's `generationConfig.candidateCount`: how many answers are asked for.
    pub n: Option<u64>,
    /// `user`.
    pub user: Option<Text>,
    /// The span of `models`: further models to fall back on (`OpenRouter`).
    pub models: Option<Span>,
    /// The span of `provider`: which targets may serve (`OpenRouter`).
    pub provider: Option<Span>,
    /// The span of `prompt_cache_key`.
    pub prompt_cache_key: Option<Span>,
    /// The span of `messages` or `contents`.
    pub messages: Option<Span>,
    /// The span of `input` or `prompt`.
    pub input: Option<Span>,
    /// The span of `system`, `instructions` or `systemInstruction`.
    pub system: Option<Span>,
    /// The span of `tools`, when it is not empty.
    pub tools: Option<Span>,
    /// The span of `response_format`, `output_config` or `output_format`.
    pub response_format: Option<Span>,
    /// Elements of `messages`, or of `input` when that is an array.
    pub n_messages: u64,
    /// Raw bytes of text strings in messages, input, system and prompt; escapes counted as written, so an upper bound of the text.
    pub text_bytes: u64,
    /// Raw bytes of `tools` and `response_format`: the model reads the whole of them.
    pub schema_bytes: u64,
    /// Bytes the model reads as text at most: the prompt spans with every bracket and key, without media. Safe for a bound.
    pub prompt_bytes: u64,
    /// Raw bytes of strings that carry media (data URLs and base64).
    pub media_bytes: u64,
    /// Bytes of text that are not ASCII; such text costs more tokens a byte.
    pub wide_bytes: u64,
    /// Parts that are images.
    pub n_images: u64,
    /// Parts that are documents, files, audio or video.
    pub n_files: u64,
    /// Some message may have the role `developer`.
    pub has_developer: bool,
    /// The messages carry a proof of reasoning in a form of ours (`llm::dialect::is_proof`).
    pub has_proofs: bool,
    /// Whose reasoning the messages hold.
    pub proofs: Proofs,
    keys: Vec<Key>,
}

/// A key of the body itself.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    /// As it is written.
    Plain(Span),
    /// Written with escapes, or by another name.
    Other(Box<str>),
}

impl Key {
    fn is(&self, name: &str, body: &[u8]) -> bool {
        match self {
            Self::Plain(span) => span.of(body) == name.as_bytes(),
            Self::Other(known) => &**known == name,
        }
    }
}

impl Scan {
    /// Says whether the body, which must be the one that was read, has a field of this name.
    #[must_use]
    pub fn has_field(&self, name: &str, body: &[u8]) -> bool {
        self.keys.iter().any(|key| key.is(name, body))
    }

    /// Says whether tools are offered to the model.
    #[must_use]
    pub fn has_tools(&self) -> bool {
        self.tools.is_some()
    }

    /// Says whether any part is an image.
    #[must_use]
    pub fn has_images(&self) -> bool {
        self.n_images > 0
    }

    /// Says whether a stream is asked for.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.stream == Some(true)
    }

    /// Says whether the client asked for usage in the stream (OpenAI's `stream_options.include_usage`).
    #[must_use]
    pub fn wants_usage(&self) -> bool {
        matches!(self.include_usage, Some((true, _)))
    }

    /// Returns the cap on output tokens of one answer: the largest of the fields given, because surfaces disagree on the name.
    #[must_use]
    pub fn output_cap(&self) -> Option<u64> {
        [self.max_tokens, self.max_completion_tokens, self.max_output_tokens].into_iter().flatten().max()
    }

    /// Adds the edit that replaces the model name. Without a model in the body the field is inserted.
    pub fn set_model(&self, patch: &mut Patch, model: &str) {
        let quoted = quote(model);
        match &self.model {
            Some(text) if text.value == model => {}
            Some(text) => patch.replace(text.span, quoted),
            None => patch.insert(self.open, self.field(patch, "model", &quoted)),
        }
    }

    /// Adds the edit that makes the stream end with usage. No edit when it is already asked for.
    pub fn set_include_usage(&self, patch: &mut Patch) {
        match (self.include_usage, self.stream_options) {
            (Some((true, _)), _) => {}
            (Some((false, span)), _) => patch.replace(span, Bytes::from_static(b"true")),
            (None, StreamOptions::Absent) => {
                patch.insert(self.open, self.field(patch, "stream_options", b"{\"include_usage\":true}"));
            }
            (None, StreamOptions::Null(span)) => patch.replace(span, Bytes::from_static(b"{\"include_usage\":true}")),
            (None, StreamOptions::Object { inside, is_empty: true }) => {
                patch.insert(inside, Bytes::from_static(b"\"include_usage\":true"));
            }
            (None, StreamOptions::Object { inside, is_empty: false }) => {
                patch.insert(inside, Bytes::from_static(b"\"include_usage\":true,"));
            }
        }
    }

    fn field(&self, patch: &Patch, name: &str, value: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(name.len() + value.len() + 4);
        if self.is_empty && patch.has_edit_at(self.open) {
            out.put_u8(b',');
        }
        out.put_u8(b'"');
        out.put_slice(name.as_bytes());
        out.put_slice(b"\":");
        out.put_slice(value);
        if !self.is_empty {
            out.put_u8(b',');
        }
        out.freeze()
    }
}

/// Returns the text as a JSON string token.
#[must_use]
pub fn quote(text: &str) -> Bytes {
    // Serialising a string to memory has no failing case.
    serde_json::to_vec(text).map(Bytes::from).unwrap_or_default()
}

/// Checks a request body and returns its policy fields.
pub fn scan(body: &[u8]) -> Result<Scan, ScanError> {
    let mut reader = Reader::new(body);
    let read = read_body(&mut reader);
    // Bytes beyond ASCII are only right inside strings, where they are noticed; so a body without any needs no look of its own.
    if (reader.has_wide || read.is_err())
        && let Err(error) = std::str::from_utf8(body)
    {
        return Err(ScanError::Utf8 { at: error.valid_up_to() });
    }
    read
}

fn read_body(reader: &mut Reader<'_>) -> Result<Scan, ScanError> {
    let mut found = Scan::default();
    reader.skip_space();
    match reader.peek() {
        None => return Err(ScanError::Empty),
        Some(b'{') => {}
        Some(_) => {
            reader.value(&mut Tally::default(), Section::Other)?;
            reader.end()?;
            return Err(ScanError::NotAnObject);
        }
    }
    let mut keys: Vec<Key> = Vec::with_capacity(16);
    reader.bump();
    found.open = reader.at;
    reader.fields(|reader, written| {
        let span = reader.key;
        let key = alias(&written);
        if keys.iter().any(|known| known.is(key, reader.body)) {
            return Err(ScanError::DuplicateKey { key: key.to_owned() });
        }
        if keys.len() == MAX_FIELDS {
            return Err(ScanError::TooManyFields);
        }
        read_field(reader, &mut found, key)?;
        let is_plain = span.of(reader.body) == key.as_bytes();
        keys.push(if is_plain { Key::Plain(span) } else { Key::Other(key.into()) });
        Ok(())
    })?;
    found.is_empty = keys.is_empty();
    found.keys = keys;
    found.has_developer = reader.has_developer;
    found.has_proofs = reader.has_proof;
    found.proofs = reader.proofs;
    reader.end()?;
    Ok(found)
}

/// Reads the top-level fields of a JSON object: `visit` gets each key and the span of its value.
///
/// For answers whose bytes are relayed untouched: a nested key can never be taken for a top-level one. The syntax is checked
/// as in [`scan`]; repeated keys are allowed (the last one wins at the visitor's side).
pub fn visit_fields(body: &[u8], mut visit: impl FnMut(&str, Span)) -> Result<(), ScanError> {
    let mut reader = Reader::new(body);
    reader.skip_space();
    match reader.peek() {
        None => return Err(ScanError::Empty),
        Some(b'{') => reader.bump(),
        Some(_) => return Err(ScanError::NotAnObject),
    }
    let mut tally = Tally::default();
    reader.fields(|reader, key| {
        let span = reader.value(&mut tally, Section::Other)?;
        visit(&key, span);
        Ok(())
    })?;
    reader.end()
}

/// Reads the last top-level fields of a JSON object, from the key at `from` to the end.
///
/// Exact without reading what comes before: from a nested key on, the text would close more brackets than the object's own
/// brace. Errors: the text from there is not the end of an object; a caller then reads the whole.
pub fn visit_tail(body: &[u8], from: usize, mut visit: impl FnMut(&str, Span)) -> Result<(), ScanError> {
    let mut reader = Reader::new(body);
    reader.at = from;
    let is_after_a_field = body.get(..from).is_some_and(|before| before.trim_ascii_end().ends_with(b","));
    if !is_after_a_field {
        return reader.syntax("expected a key after a comma");
    }
    let mut tally = Tally::default();
    reader.fields(|reader, key| {
        let span = reader.value(&mut tally, Section::Other)?;
        visit(&key, span);
        Ok(())
    })?;
    reader.end()
}

/// Gemini takes two spellings of its fields, which must not hide a cap from us; they count as one key.
fn alias(key: &str) -> &str {
    match key {
        "generation_config" => "generationConfig",
        "system_instruction" => "systemInstruction",
        _ => key,
    }
}

fn read_field(reader: &mut Reader<'_>, found: &mut Scan, key: &str) -> Result<(), ScanError> {
    match key {
        "model" => found.model = reader.text("model")?,
        "user" => found.user = reader.text("user")?,
        "stream" => found.stream = reader.flag("stream")?.0,
        "n" => found.n = reader.count("n")?,
        "max_tokens" => found.max_tokens = reader.count("max_tokens")?,
        "max_completion_tokens" => found.max_completion_tokens = reader.count("max_completion_tokens")?,
        "max_output_tokens" => found.max_output_tokens = reader.count("max_output_tokens")?,
        "stream_options" => read_stream_options(reader, found)?,
        "messages" | "input" | "prompt" | "system" | "instructions" | "contents" | "systemInstruction" => {
            read_text(reader, found, key)?;
        }
        "generationConfig" => read_generation_config(reader, found)?,
        "tools" | "functions" | "response_format" | "output_config" | "output_format" => {
            let span = reader.value(&mut Tally::default(), Section::Other)?;
            if reader.is_filled(span) {
                found.schema_bytes += span.len() as u64;
                found.prompt_bytes += span.len() as u64;
                if matches!(key, "tools" | "functions") {
                    found.tools = Some(span);
                } else {
                    found.response_format = Some(span);
                }
            }
        }
        "models" | "provider" | "prompt_cache_key" => {
            let span = reader.value(&mut Tally::default(), Section::Other)?;
            if span.of(reader.body) != b"null" {
                match key {
                    "models" => found.models = Some(span),
                    "provider" => found.provider = Some(span),
                    _ => found.prompt_cache_key = Some(span),
                }
            }
        }
        _ => {
            reader.value(&mut Tally::default(), Section::Other)?;
        }
    }
    Ok(())
}

fn read_text(reader: &mut Reader<'_>, found: &mut Scan, key: &str) -> Result<(), ScanError> {
    let mut tally = Tally::default();
    let span = reader.value(&mut tally, Section::Text)?;
    found.text_bytes += tally.text;
    found.media_bytes += tally.media;
    found.wide_bytes += tally.wide;
    found.n_images += tally.images;
    found.n_files += tally.files;
    if span.of(reader.body) == b"null" {
        return Ok(());
    }
    found.prompt_bytes += (span.len() as u64).saturating_sub(tally.media);
    match key {
        "messages" | "contents" => {
            found.messages = Some(span);
            found.n_messages += tally.elements;
        }
        "input" | "prompt" => {
            found.input = Some(span);
            found.n_messages += tally.elements;
        }
        _ => found.system = Some(span),
    }
    Ok(())
}

/// Reads what Gemini keeps among its parameters: the cap, the number of answers, and the schema of the answer.
fn read_generation_config(reader: &mut Reader<'_>, found: &mut Scan) -> Result<(), ScanError> {
    if reader.peek() != Some(b'{') {
        let span = reader.value(&mut Tally::default(), Section::Other)?;
        let is_null = span.of(reader.body) == b"null";
        let wrong = ScanError::WrongKind { field: "generationConfig", expected: "an object" };
        return if is_null { Ok(()) } else { Err(wrong) };
    }
    reader.enter()?;
    let (mut has_cap, mut has_n) = (false, false);
    reader.fields(|reader, key| {
        let seen = match &*key {
            "maxOutputTokens" | "max_output_tokens" => &mut has_cap,
            "candidateCount" | "candidate_count" => &mut has_n,
            "responseSchema" | "response_schema" | "responseJsonSchema" | "response_json_schema" => {
                let span = reader.value(&mut Tally::default(), Section::Other)?;
                found.schema_bytes += span.len() as u64;
                found.prompt_bytes += span.len() as u64;
                found.response_format = Some(span);
                return Ok(());
            }
            _ => return reader.value(&mut Tally::default(), Section::Other).map(|_| ()),
        };
        if std::mem::replace(seen, true) {
            return Err(ScanError::DuplicateKey { key: format!("generationConfig.{key}") });
        }
        if key.starts_with('m') {
            found.max_output_tokens = reader.count("generationConfig.maxOutputTokens")?;
        } else {
            found.n = reader.count("generationConfig.candidateCount")?;
        }
        Ok(())
    })?;
    reader.leave();
    Ok(())
}

fn read_stream_options(reader: &mut Reader<'_>, found: &mut Scan) -> Result<(), ScanError> {
    if reader.peek() != Some(b'{') {
        let span = reader.value(&mut Tally::default(), Section::Other)?;
        if span.of(reader.body) != b"null" {
            return Err(ScanError::WrongKind { field: "stream_options", expected: "an object" });
        }
        found.stream_options = StreamOptions::Null(span);
        return Ok(());
    }
    reader.enter()?;
    let inside = reader.at;
    let mut is_empty = true;
    reader.fields(|reader, key| {
        is_empty = false;
        if key != "include_usage" {
            reader.value(&mut Tally::default(), Section::Other)?;
            return Ok(());
        }
        if found.include_usage.is_some() {
            return Err(ScanError::DuplicateKey { key: "stream_options.include_usage".to_owned() });
        }
        // `null` reads as false; its span can still be replaced.
        let (flag, span) = reader.flag("stream_options.include_usage")?;
        found.include_usage = Some((flag == Some(true), span));
        Ok(())
    })?;
    reader.leave();
    found.stream_options = StreamOptions::Object { inside, is_empty };
    Ok(())
}

#[cfg(test)]
mod tests;
