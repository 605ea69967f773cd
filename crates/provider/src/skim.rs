//! Looks at an answer that is relayed untouched, and keeps only what settlement needs: usage, finish, in-band error.
//!
//! No re-encoding, no tree, no allocation per chunk: an event that lies whole in a chunk is read in place, only what a
//! chunk boundary cuts is copied. Not here: checking or changing the answer (that is `dialect`). Invariant: any split of the
//! same bytes gives the same [`Skimmed`] (`tests::any_split_gives_the_same_result`).

mod gemini;
mod id;
mod responses;
mod tier;
mod usage;

use std::ops::Range;
use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use memchr::memmem::{Finder, FinderRev};

use domain::image::ImageKind;
use domain::price::ServiceTier;
use domain::usage::{ModalUsage, TokenUsage, UnitUsage};

use crate::scan::{Span, visit_fields, visit_tail};
use llm::canonical::event::FinishReason;
use llm::canonical::usage::Usage;
use llm::dialect::Dialect;

pub use id::answer_id;
pub use tier::{of_word as tier_of_word, tier_in_events, tier_of};
pub use usage::{Count, count_of, usage_of};

/// Longest event that is read; a longer one (inline images) is passed over, and counted as output.
const MAX_EVENT: usize = 1 << 20;

/// What one answer said about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one fact that was or was not seen")]
pub struct Skimmed {
    /// Tokens, when the upstream reported them.
    pub usage: Option<TokenUsage>,
    /// The parts of them that were sound or pictures.
    pub modal: Option<Box<ModalUsage>>,
    /// What it counted beside tokens.
    pub units: UnitUsage,
    /// The kind of the pictures among it: as the answer says, else as the request did.
    pub image: Option<Box<ImageKind>>,
    /// What is counted was in part worked out by us.
    pub is_guessed: bool,
    /// The tier of service it was given in, when not the usual one.
    pub tier: Option<ServiceTier>,
    /// Why the first choice ended.
    pub finish: Option<FinishReason>,
    /// An error inside a stream whose status was 200.
    pub error: Option<InBandError>,
    /// Something that only an answer of this dialect has was seen: a page of HTML or another dialect has not.
    pub has_begun: bool,
    /// An event was neither JSON nor the end mark: no client could read on.
    pub is_garbled: bool,
    /// The dialect's end mark was seen (`[DONE]`, `message_stop`, or a whole body that is JSON).
    pub is_complete: bool,
    /// Events that carried output; a lower bound of the output tokens of a stream that broke.
    pub n_output_events: u64,
    /// How many of them came before the last word about usage: after a count that stands only at the beginning, the rest of the
    /// answer is not in it.
    pub n_before_usage: u64,
    /// Bytes seen.
    pub n_bytes: u64,
    /// Events too long to be read.
    pub n_oversize: u16,
}

impl Skimmed {
    /// Notes which tokens were sound or pictures; the larger count of each kind wins.
    pub fn note_modal(&mut self, later: ModalUsage) {
        if !later.is_empty() {
            let modal = self.modal.get_or_insert_default();
            **modal = modal.max(later);
        }
    }

    /// Notes what a reader of the whole answer was told of usage.
    pub fn note_usage(&mut self, usage: &Usage) {
        let billed = usage.billed();
        let tokens = match self.usage {
            Some(earlier) if usage.is_final => earlier.replaced_by(billed),
            Some(earlier) => earlier.max(billed),
            None => billed,
        };
        self.take_count(Count { tokens, modal: usage.modal, units: usage.units, is_guessed: usage.is_guessed });
    }

    /// Takes in what is known by now.
    fn take_count(&mut self, count: Count) {
        self.usage = Some(count.tokens);
        self.note_modal(count.modal);
        self.units = self.units.max(count.units);
        self.is_guessed |= count.is_guessed;
        self.n_before_usage = self.n_output_events;
    }

    /// Says whether the model has said anything yet.
    #[must_use]
    pub fn has_output(&self) -> bool {
        self.n_output_events > 0
    }
}

/// An error that an upstream sent in place of the rest of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InBandError {
    /// The vendor's `type`, empty when it gave none.
    pub kind: Box<str>,
    /// The vendor's `code`, empty when it gave none.
    pub code: Box<str>,
    /// The vendor's words; for diagnosis, never to be logged with a key in it.
    pub message: Box<str>,
}

/// Follows one streamed answer.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one fact of the event that is being read")]
pub struct StreamSkim {
    dialect: Dialect,
    /// A line cut by the end of a chunk.
    line: Vec<u8>,
    /// Data lines of an event cut by the end of a chunk, or an event of several lines.
    data: Vec<u8>,
    has_data: bool,
    after_cr: bool,
    is_oversize: bool,
    /// That very long event holds a whole picture.
    is_picture: bool,
    /// Ends of the events dispatched in this chunk, and whether each is to be withheld.
    cuts: Vec<(usize, bool)>,
    /// Where in this chunk the first event begins that is no JSON.
    garbled_at: Option<usize>,
    /// Where in this chunk the end mark ends: what follows is not the answer's.
    ended_at: Option<usize>,
    /// The end of a very long event, of a dialect that says there what matters.
    tail: Vec<u8>,
    /// What is known of a stream of Gemini's.
    gemini: gemini::State,
    /// With `relay`: the bytes of an event that is not complete yet.
    held: BytesMut,
    found: Skimmed,
}

impl StreamSkim {
    /// Starts at the first byte of an SSE body.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            line: Vec::new(),
            data: Vec::new(),
            has_data: false,
            after_cr: false,
            is_oversize: false,
            is_picture: false,
            cuts: Vec::new(),
            garbled_at: None,
            ended_at: None,
            tail: Vec::new(),
            gemini: gemini::State::default(),
            held: BytesMut::new(),
            found: Skimmed::default(),
        }
    }

    /// Looks at the next bytes. The cost is one search for line ends and one or two per event.
    pub fn push(&mut self, chunk: &[u8]) {
        self.found.n_bytes += chunk.len() as u64;
        self.cuts.clear();
        self.garbled_at = None;
        self.ended_at = None;
        if self.is_over() {
            let is_line_end = std::mem::take(&mut self.after_cr) && chunk.starts_with(b"\n");
            self.ended_at = Some(usize::from(is_line_end));
            return;
        }
        if self.dialect == Dialect::Gemini && self.gemini.take_array(chunk, &mut self.found) {
            return;
        }
        let mut at = 0;
        // The only data line of the current event, as long as it lies in this chunk.
        let mut whole: Option<Range<usize>> = None;
        while at < chunk.len() {
            if std::mem::take(&mut self.after_cr) && chunk[at] == b'\n' {
                at += 1;
                continue;
            }
            let Some(length) = memchr::memchr2(b'\n', b'\r', &chunk[at..]) else { break };
            let end = at + length;
            self.after_cr = chunk[end] == b'\r';
            if at == end && self.line.is_empty() {
                self.keep_tail(&chunk[..end]);
                let is_withheld = self.dispatch(chunk, whole.take());
                self.cuts.push((end + 1, is_withheld));
                if self.is_over() {
                    let is_pair = self.after_cr && chunk.get(end + 1) == Some(&b'\n');
                    self.after_cr &= !is_pair;
                    self.ended_at = Some(end + 1 + usize::from(is_pair));
                    return;
                }
            } else if self.line.is_empty() {
                self.take_line(chunk, at..end, &mut whole);
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(&chunk[at..end]);
                self.keep(chunk, &mut whole);
                let mut kept = None;
                self.take_line(&line, 0..line.len(), &mut kept);
                self.keep(&line, &mut kept);
                line.clear();
                self.line = line;
            }
            at = end + 1;
        }
        self.keep(chunk, &mut whole);
        if let Some(rest) = chunk.get(at..)
            && !rest.is_empty()
        {
            if self.line.len() + rest.len() > MAX_EVENT {
                self.is_oversize = true;
                let line = std::mem::take(&mut self.line);
                self.is_picture |= responses::is_picture(if line.is_empty() { rest } else { &line });
                self.keep_tail(&line);
                self.line = line;
                self.line.truncate(5);
                // The line is not empty, so its end is still found; its text is given up.
                self.line.extend_from_slice(b"!");
            } else {
                let from = if self.line.is_empty() { at } else { 0 };
                self.line.extend_from_slice(rest);
                // Before the line is whole, or its beginning would be on its way to the client.
                if !self.is_oversize && !self.has_data && data_of(&self.line).is_some_and(is_garbage) {
                    self.garbled(from);
                }
            }
        }
        self.keep_tail(chunk);
    }

    /// Says whether the end mark has come, in a dialect where nothing can follow it.
    fn is_over(&self) -> bool {
        self.found.is_complete
            && match self.dialect {
                Dialect::OpenAiChat | Dialect::OpenAiCompletions | Dialect::AnthropicMessages => true,
                // A picture or a recording is whole without a reason to stop, and another may follow.
                Dialect::OpenAiResponses => self.found.finish.is_some(),
                Dialect::Gemini => false,
            }
    }

    /// Keeps the last bytes of a very long event, for a dialect that needs them.
    fn keep_tail(&mut self, bytes: &[u8]) {
        if !self.is_oversize || !matches!(self.dialect, Dialect::OpenAiResponses | Dialect::Gemini) {
            return;
        }
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(responses::TAIL)..]);
        let surplus = self.tail.len().saturating_sub(responses::TAIL);
        self.tail.drain(..surplus);
    }

    /// Looks at the next bytes and returns those to relay: all, up to an event that no client could read, or to the end mark.
    pub fn pass(&mut self, chunk: Bytes) -> Bytes {
        self.push(&chunk);
        match self.garbled_at.or(self.ended_at) {
            Some(at) => chunk.slice(..at),
            None => chunk,
        }
    }

    /// Looks at the next bytes and returns those to relay, as [`Self::pass`] does, but not OpenAI's usage event, which has no choices and which a
    /// client that did not ask for it need not expect.
    ///
    /// A chunk of whole events comes back as it is; only an event that a chunk boundary cuts waits for its rest.
    pub fn relay(&mut self, chunk: Bytes) -> Bytes {
        self.push(&chunk);
        let limit = self.garbled_at.unwrap_or(usize::MAX);
        let is_whole = self.cuts.last().is_some_and(|(end, _)| *end == chunk.len() && *end <= limit);
        if self.held.is_empty() && is_whole && self.cuts.iter().all(|(_, is_withheld)| !is_withheld) {
            return chunk;
        }
        let mut out = BytesMut::with_capacity(self.held.len() + chunk.len());
        let mut at = 0;
        for (end, is_withheld) in self.cuts.drain(..) {
            if is_withheld || end > limit {
                self.held.clear();
            } else {
                out.extend_from_slice(&self.held.split());
                out.extend_from_slice(&chunk[at..end]);
            }
            at = end;
        }
        match self.ended_at {
            Some(end) => out.extend_from_slice(chunk.get(at..end).unwrap_or_default()),
            None if limit == usize::MAX => self.held.extend_from_slice(&chunk[at..]),
            None => {}
        }
        if self.held.len() > MAX_EVENT {
            out.extend_from_slice(&self.held.split());
        }
        out.freeze()
    }

    /// Returns the bytes still held by [`Self::relay`] when the upstream has ended.
    pub fn rest(&mut self) -> Bytes {
        self.held.split().freeze()
    }

    /// Returns what is known so far.
    #[must_use]
    pub fn found(&self) -> &Skimmed {
        &self.found
    }

    /// Ends the stream. An event that lacks only its closing blank line still counts: some servers close without it.
    #[must_use]
    pub fn finish(mut self) -> Skimmed {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            let mut whole = None;
            self.take_line(&line, 0..line.len(), &mut whole);
            self.keep(&line, &mut whole);
        }
        self.dispatch(&[], None);
        self.found
    }

    /// Moves the data line that lies in `chunk` to the buffer, because the chunk goes away.
    fn keep(&mut self, chunk: &[u8], whole: &mut Option<Range<usize>>) {
        if let Some(range) = whole.take() {
            self.append(&chunk[range]);
        }
    }

    fn append(&mut self, data: &[u8]) {
        if self.data.len() + data.len() >= MAX_EVENT {
            self.is_oversize = true;
            self.is_picture |= responses::is_picture(if self.data.is_empty() { data } else { &self.data });
            self.keep_tail(data);
        }
        if self.is_oversize {
            self.data.clear();
            return;
        }
        if self.has_data {
            self.data.push(b'\n');
        }
        self.has_data = true;
        self.data.extend_from_slice(data);
    }

    fn take_line(&mut self, bytes: &[u8], line: Range<usize>, whole: &mut Option<Range<usize>>) {
        let Some(value) = data_of(&bytes[line.clone()]) else { return };
        if self.is_oversize {
            return;
        }
        if !self.has_data && whole.is_none() && is_garbage(value) {
            self.garbled(line.start);
        }
        let range = line.end - value.len()..line.end;
        if self.has_data || whole.is_some() || range.len() >= MAX_EVENT {
            self.keep(bytes, whole);
            self.append(value);
        } else {
            *whole = Some(range);
        }
    }

    fn garbled(&mut self, at: usize) {
        self.found.is_garbled = true;
        self.garbled_at.get_or_insert(at);
    }

    /// Reads the event that a blank line has ended, and says whether it is only there because we asked for usage.
    fn dispatch(&mut self, bytes: &[u8], whole: Option<Range<usize>>) -> bool {
        if std::mem::take(&mut self.is_oversize) {
            self.found.n_oversize = self.found.n_oversize.saturating_add(1);
            self.found.n_output_events += 1;
            self.found.has_begun = true;
            let tail = std::mem::take(&mut self.tail);
            let is_picture = std::mem::take(&mut self.is_picture);
            match self.dialect {
                Dialect::Gemini => gemini::read_tail(&tail, &mut self.found),
                _ => responses::read_tail(&tail, is_picture, &mut self.found),
            }
            self.data.clear();
            self.has_data = false;
            return false;
        }
        if let Some(range) = whole {
            if is_unclosed(&bytes[range.clone()]) {
                let line = memchr::memrchr2(b'\n', b'\r', &bytes[..range.start]).map_or(0, |end| end + 1);
                self.garbled(line);
            }
            return read_event(self.dialect, &bytes[range], &mut self.gemini, &mut self.found);
        }
        if !std::mem::take(&mut self.has_data) {
            return false;
        }
        let mut data = std::mem::take(&mut self.data);
        if is_unclosed(&data) {
            self.garbled(0);
        }
        let is_withheld = read_event(self.dialect, &data, &mut self.gemini, &mut self.found);
        data.clear();
        self.data = data;
        is_withheld
    }
}

/// Returns the value of a `data` line.
fn data_of(line: &[u8]) -> Option<&[u8]> {
    match line.strip_prefix(b"data")? {
        [] => Some(&[]),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

/// Says by the first byte whether an event can be neither an object nor the end mark, which begins like an array.
fn is_garbage(data: &[u8]) -> bool {
    data.trim_ascii_start().first().is_some_and(|first| !matches!(first, b'{' | b'['))
}

/// Says by the last byte whether an event that begins like JSON cannot be whole.
fn is_unclosed(data: &[u8]) -> bool {
    let data = data.trim_ascii();
    match data.first() {
        Some(b'{') => !data.ends_with(b"}"),
        Some(_) => !data.ends_with(b"]"),
        None => false,
    }
}

/// Looks at a whole answer body (status 200); embeddings count as OpenAI's dialect.
///
/// Vendors write usage last, so the end is read first and the rest only when that says too little: an answer of a megabyte of
/// vectors costs no more than a short one.
#[must_use]
pub fn skim_body(dialect: Dialect, body: &[u8]) -> Skimmed {
    let tail_key = match dialect {
        Dialect::OpenAiChat | Dialect::OpenAiCompletions => &KEYS.usage,
        Dialect::AnthropicMessages => &KEYS.stop_reason,
        Dialect::OpenAiResponses => return responses::read_body(body),
        Dialect::Gemini => return gemini::read_body(body),
    };
    let tail = tail_key.rfind(body).and_then(|from| {
        let mut fields = Fields::default();
        visit_tail(body, from, |key, span| fields.take(key, span, body)).ok()?;
        fields.usage.is_some().then_some(fields)
    });
    let (fields, is_complete) = tail.map_or_else(
        || {
            let mut fields = Fields::default();
            let read = visit_fields(body, |key, span| fields.take(key, span, body));
            (fields, read.is_ok())
        },
        |fields| (fields, true),
    );
    let of = |span: Option<Span>| span.map(|span| span.of(body)).unwrap_or_default();
    let error = fields.error.map(|span| error_of(span.of(body)));
    let n_output_events = u64::from(error.is_none() && is_complete);
    let count = count_of(dialect, of(fields.usage));
    Skimmed {
        usage: count.map(|count| count.tokens),
        modal: count.and_then(|count| boxed(count.modal)),
        units: count.map(|count| count.units).unwrap_or_default(),
        image: None,
        is_guessed: count.is_some_and(|count| count.is_guessed),
        is_garbled: false,
        tier: match dialect {
            Dialect::AnthropicMessages => tier::at_top(of(fields.usage)),
            _ => tier::at_top(body),
        },
        finish: match dialect {
            Dialect::AnthropicMessages => text_of(of(fields.stop_reason)).map(|word| anthropic_finish(&word)),
            _ => last_finish(body),
        },
        n_output_events,
        n_before_usage: n_output_events,
        has_begun: has_list(body, if dialect == Dialect::AnthropicMessages { &KEYS.content } else { &KEYS.choices }),
        n_bytes: body.len() as u64,
        n_oversize: 0,
        is_complete,
        error,
    }
}

/// Where the top-level fields lie that say something.
#[derive(Default)]
struct Fields {
    usage: Option<Span>,
    stop_reason: Option<Span>,
    error: Option<Span>,
}

impl Fields {
    fn take(&mut self, key: &str, span: Span, body: &[u8]) {
        match key {
            "usage" => self.usage = Some(span),
            "stop_reason" => self.stop_reason = Some(span),
            "error" if span.of(body) != b"null" => self.error = Some(span),
            _ => {}
        }
    }
}

// === Events ===

fn read_event(dialect: Dialect, data: &[u8], gemini: &mut gemini::State, found: &mut Skimmed) -> bool {
    match dialect {
        Dialect::OpenAiChat | Dialect::OpenAiCompletions => read_openai(data, found),
        Dialect::AnthropicMessages => {
            read_anthropic(data, found);
            false
        }
        Dialect::OpenAiResponses => {
            responses::read_event(data, found);
            false
        }
        Dialect::Gemini => {
            gemini.read_event(data, found);
            false
        }
    }
}

/// A raw `"usage"` cannot lie inside a JSON string, where its quotes would be escaped; and in this dialect the model's own
/// words are always strings. So a search for the token finds the key, never the model's text.
fn read_openai(data: &[u8], found: &mut Skimmed) -> bool {
    if data == b"[DONE]" {
        found.is_complete = true;
        return false;
    }
    if KEYS.choices.find(data).is_none() {
        read_openai_rare(data, found);
        return false;
    }
    found.has_begun = true;
    if has_openai_output(data) {
        found.n_output_events += 1;
    }
    if let Some(object) = object_after(data, &KEYS.usage) {
        take_usage(found, count_of(Dialect::OpenAiChat, object));
        found.tier = tier::at_top(data).or(found.tier);
        let choices = value_after(data, &KEYS.last_choices).and_then(|value| value.strip_prefix(b"["));
        if choices.is_some_and(|rest| rest.trim_ascii_start().starts_with(b"]")) {
            return true;
        }
    }
    if let Some(reason) = last_finish(data) {
        found.finish = Some(reason);
        if reason == FinishReason::Other {
            // OpenRouter puts the error beside the choices that it ends.
            read_openai_rare(data, found);
        }
    }
    false
}

/// An event without choices: usage alone, an error, or something new. Rare, so read properly.
fn read_openai_rare(data: &[u8], found: &mut Skimmed) {
    let mut usage = None;
    let mut error = None;
    let read = visit_fields(data, |key, span| match key {
        "usage" => usage = Some(span),
        "error" if span.of(data) != b"null" => error = Some(span),
        _ => {}
    });
    if read.is_err() {
        return;
    }
    if let Some(span) = usage {
        take_usage(found, count_of(Dialect::OpenAiChat, span.of(data)));
        found.tier = tier::at_top(data).or(found.tier);
    }
    if let Some(span) = error {
        found.error = Some(error_of(span.of(data)));
    }
}

fn has_openai_output(data: &[u8]) -> bool {
    let is_filled = |value: &[u8]| value.first() == Some(&b'"') && value.get(1) != Some(&b'"');
    let Some(at) = KEYS.delta.find(data) else {
        // Legacy completions.
        return value_after(data, &KEYS.text).is_some_and(is_filled);
    };
    let delta = &data[at..];
    // `"content":""` and `"content":null` open a message; anything else in these keys is something the model said.
    let is_said = |key: &FinderRev<'_>| value_after(delta, key).is_some_and(is_filled);
    KEYS.said.iter().any(is_said) || KEYS.name.find(delta).is_some()
}

fn read_anthropic(data: &[u8], found: &mut Skimmed) {
    // The vendor writes `type` first; deltas are nearly all events, so they are told by prefix.
    if data.starts_with(b"{\"type\":\"content_block_delta\"") {
        found.has_begun = true;
        found.n_output_events += 1;
        return;
    }
    let mut kind = None;
    let (mut message, mut delta, mut usage, mut error) = (None, None, None, None);
    let read = visit_fields(data, |key, span| match key {
        "type" => kind = text_of(span.of(data)),
        "message" => message = Some(span),
        "delta" => delta = Some(span),
        "usage" => usage = Some(span),
        "error" => error = Some(span),
        _ => {}
    });
    if read.is_err() {
        return;
    }
    match kind.as_deref() {
        Some("content_block_delta") => {
            found.has_begun = true;
            found.n_output_events += 1;
        }
        Some("message_start") => {
            found.has_begun = true;
            let message = message.map(|span| span.of(data)).unwrap_or_default();
            let inner = field(message, "usage").map(|span| span.of(message)).unwrap_or_default();
            take_part(found, count_of(Dialect::AnthropicMessages, inner));
            found.tier = tier::at_top(inner);
        }
        Some("message_delta") => {
            let usage = usage.map(|span| span.of(data)).unwrap_or_default();
            take_part(found, count_of(Dialect::AnthropicMessages, usage));
            let delta = delta.map(|span| span.of(data)).unwrap_or_default();
            let word = field(delta, "stop_reason").and_then(|span| text_of(span.of(delta)));
            if let Some(reason) = word.map(|word| anthropic_finish(&word)) {
                found.finish = Some(reason);
            }
        }
        Some("message_stop") => found.is_complete = true,
        Some("error") => found.error = Some(error_of(error.map(|span| span.of(data)).unwrap_or_default())),
        _ => {}
    }
}

// === Pieces ===

/// The keys that are searched for, prepared once.
struct Keys {
    choices: Finder<'static>,
    content: Finder<'static>,
    delta: Finder<'static>,
    name: Finder<'static>,
    last_choices: FinderRev<'static>,
    usage: FinderRev<'static>,
    finish: FinderRev<'static>,
    stop_reason: FinderRev<'static>,
    call: Finder<'static>,
    web_search: Finder<'static>,
    text: FinderRev<'static>,
    /// The likeliest first.
    said: [FinderRev<'static>; 5],
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    choices: Finder::new(b"\"choices\""),
    content: Finder::new(b"\"content\""),
    delta: Finder::new(b"\"delta\""),
    name: Finder::new(b"\"name\""),
    last_choices: FinderRev::new(b"\"choices\""),
    usage: FinderRev::new(b"\"usage\""),
    finish: FinderRev::new(b"\"finish_reason\""),
    stop_reason: FinderRev::new(b"\"stop_reason\""),
    call: Finder::new(b"\"function_call\""),
    web_search: Finder::new(b"\"web_search_call\""),
    text: FinderRev::new(b"\"text\""),
    said: [
        FinderRev::new(b"\"content\""),
        FinderRev::new(b"\"arguments\""),
        FinderRev::new(b"\"reasoning_content\""),
        FinderRev::new(b"\"reasoning\""),
        FinderRev::new(b"\"refusal\""),
    ],
});

fn field(object: &[u8], name: &str) -> Option<Span> {
    let mut found = None;
    visit_fields(object, |key, span| {
        if key == name {
            found = Some(span);
        }
    })
    .ok()?;
    found
}

fn text_of(json: &[u8]) -> Option<Box<str>> {
    serde_json::from_slice(json).ok()
}

/// Returns the bytes from the value of the last occurrence of a key on.
fn value_after<'a>(data: &'a [u8], key: &FinderRev<'_>) -> Option<&'a [u8]> {
    let at = key.rfind(data)? + key.needle().len();
    let rest = data.get(at..)?.trim_ascii_start();
    Some(rest.strip_prefix(b":")?.trim_ascii_start())
}

/// Says whether a key with a list stands anywhere in JSON: inside a string its quotes would be escaped.
fn has_list(body: &[u8], key: &Finder<'_>) -> bool {
    key.find_iter(body).any(|at| {
        let rest = body[at + key.needle().len()..].trim_ascii_start();
        rest.strip_prefix(b":").is_some_and(|value| value.trim_ascii_start().starts_with(b"["))
    })
}

fn object_after<'a>(data: &'a [u8], key: &FinderRev<'_>) -> Option<&'a [u8]> {
    let value = value_after(data, key)?;
    value.starts_with(b"{").then_some(value)
}

fn last_finish(data: &[u8]) -> Option<FinishReason> {
    let value = value_after(data, &KEYS.finish)?.strip_prefix(b"\"")?;
    let end = memchr::memchr(b'"', value)?;
    Some(match &value[..end] {
        b"stop" | b"eos" => FinishReason::Stop,
        b"length" | b"model_length" => FinishReason::Length,
        b"tool_calls" | b"function_call" => FinishReason::ToolUse,
        b"content_filter" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    })
}

fn anthropic_finish(word: &str) -> FinishReason {
    match word {
        "end_turn" => FinishReason::Stop,
        "stop_sequence" => FinishReason::StopSequence,
        "max_tokens" => FinishReason::Length,
        "model_context_window_exceeded" => FinishReason::ContextWindow,
        "tool_use" => FinishReason::ToolUse,
        "pause_turn" => FinishReason::Pause,
        "refusal" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    }
}

fn error_of(json: &[u8]) -> InBandError {
    let mut error = InBandError::default();
    if let Some(message) = text_of(json) {
        error.message = message;
        return error;
    }
    let read = visit_fields(json, |key, span| {
        let value = span.of(json);
        let text = || text_of(value).unwrap_or_else(|| String::from_utf8_lossy(value).into());
        match key {
            "type" => error.kind = text(),
            // Google's word; its code is a number.
            "status" if error.kind.is_empty() => error.kind = text(),
            "code" if value != b"null" => error.code = text(),
            "message" => error.message = text(),
            _ => {}
        }
    });
    if read.is_err() {
        error.message = "the upstream sent an error that is not JSON".into();
    }
    error
}

/// Takes a count of Anthropic's in: its reports are running totals of which each may say a part, so the larger of each kind holds.
fn take_part(found: &mut Skimmed, count: Option<Count>) {
    let Some(later) = count else { return };
    let tokens = found.usage.map_or(later.tokens, |earlier| earlier.max(later.tokens));
    found.take_count(Count { tokens, ..later });
}

/// Takes a count of OpenAI's in: each is of the whole.
fn take_usage(found: &mut Skimmed, count: Option<Count>) {
    let Some(later) = count else { return };
    let tokens = found.usage.map_or(later.tokens, |earlier| earlier.replaced_by(later.tokens));
    found.take_count(Count { tokens, ..later });
}

fn boxed(modal: ModalUsage) -> Option<Box<ModalUsage>> {
    (!modal.is_empty()).then(|| Box::new(modal))
}

/// Reads the first JSON value of the bytes; what follows (the rest of an event) is not looked at.
fn first_value<'a, T: serde::Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    serde_json::Deserializer::from_slice(json).into_iter().next()?.ok()
}

#[cfg(test)]
mod tests;
