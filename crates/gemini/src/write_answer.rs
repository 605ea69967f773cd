//! Events become an answer: one body, server-sent events, or the items of a JSON array.
//!
//! Every chunk has a part, because the vendor's own libraries keep no turn of which one chunk has none. Calls are
//! written whole, when they are complete.

use bytes::{BufMut, BytesMut};

use hub::canonical::answer::{Answer, Choice};
use hub::canonical::citation::Citation;
use hub::canonical::content::{Content, Reasoning};
use hub::canonical::event::{BlockStart, Delta, Event, Finish, FinishReason, Start};
use hub::canonical::json::{Raw, Rest};
use hub::canonical::loss::Loss;
use hub::canonical::usage::Usage;
use hub::codec::json::{self, ArrayWriter, ObjectWriter, write_array, write_object};
use hub::codec::sse;
use hub::dialect::annotation::{self, Ruler};
use hub::dialect::{AnswerOptions, Dialect, Encoder, call_id, whole};

use super::error::{encode_error, write_error};
use super::probability;
use super::proof;

const NO_LOGPROBS: &str = "the upstream's probabilities have another form";

/// What is written around every chunk.
struct Frame {
    options: AnswerOptions,
    start: Start,
    losses: Vec<Loss>,
}

impl Frame {
    fn new(options: AnswerOptions) -> Self {
        let start = Start {
            origin: Dialect::OpenAiChat,
            id: Box::default(),
            model: Box::default(),
            created: None,
            rest: Rest::default(),
        };
        Self { options, start, losses: Vec::new() }
    }

    fn is_ours(&self) -> bool {
        self.start.origin == Dialect::Gemini
    }

    fn lost(&mut self, path: &str, reason: &str) {
        if !self.losses.iter().any(|loss| &*loss.path == path) {
            self.losses.push(Loss::dropped(path, reason));
        }
    }

    /// Writes what says which answer it is.
    fn write_identity(&self, object: &mut ObjectWriter<'_>) {
        let model = self.options.model.as_deref().unwrap_or(&self.start.model);
        object.str("modelVersion", model);
        object.str("responseId", if self.start.id.is_empty() { &self.options.id } else { &self.start.id });
    }

    fn write_call(&mut self, id: &str, name: &str, arguments: &str, array: &mut ArrayWriter<'_>) {
        let (id, signature) = call_id::split(id);
        array.object(|object| {
            object.object("functionCall", |object| {
                if !call_id::is_made_up(id) {
                    object.str("id", id);
                }
                object.str("name", name);
                match Raw::parse(arguments.trim()).filter(Raw::is_object) {
                    Some(args) => object.raw("args", &args),
                    None if arguments.trim().is_empty() => object.literal("args", "{}"),
                    None => {
                        self.losses
                            .push(Loss::changed("tool_calls.arguments", "not a JSON object; sent as text in one"));
                        object.object("args", |object| object.str("arguments", arguments));
                    }
                }
            });
            object.opt_str("thoughtSignature", signature.as_deref());
        });
    }

    /// Writes the fields of a candidate that follow its content.
    fn write_finish(&self, finish: &Finish, has_refusal: bool, object: &mut ObjectWriter<'_>) {
        let native = finish.native.as_deref().filter(|_| self.is_ours());
        let is_refused = has_refusal && finish.reason == FinishReason::Stop;
        let reason = if is_refused { FinishReason::ContentFilter } else { finish.reason };
        object.str("finishReason", native.unwrap_or(super::finish_word(reason)));
        if self.is_ours() {
            object.rest(&finish.rest);
        }
    }
}

fn write_text(text: &str, is_thought: bool, signature: Option<&str>, array: &mut ArrayWriter<'_>) {
    array.object(|object| {
        object.str("text", text);
        if is_thought {
            object.bool("thought", true);
        }
        object.opt_str("thoughtSignature", signature);
    });
}

/// The answer to a blocked prompt, which has no candidates.
fn feedback(finish: &Finish) -> Option<&Raw> {
    finish.rest.find("promptFeedback")
}

/// Writes a whole body.
pub(super) struct WholeEncoder {
    frame: Frame,
}

impl whole::WriteAnswer for WholeEncoder {
    fn write(&mut self, answer: &Answer, extra: Option<&Raw>, out: &mut BytesMut) {
        self.frame.start = answer.start.clone();
        let is_ours = self.frame.is_ours();
        write_object(out, |object| {
            if let Some(error) = &answer.error {
                write_error(error, object);
                object.opt_raw("x_headgate", extra);
                return;
            }
            let finishes = answer.choices.iter().filter_map(|choice| choice.finish.as_ref());
            if let Some(feedback) = finishes.filter(|_| is_ours).find_map(feedback) {
                object.raw("promptFeedback", feedback);
            } else {
                object.array("candidates", |array| {
                    for choice in &answer.choices {
                        array.object(|object| self.write_candidate(choice, object));
                    }
                });
            }
            if let Some(usage) = &answer.usage {
                super::write_usage(usage, is_ours, object);
            }
            self.frame.write_identity(object);
            if is_ours {
                object.rest(&answer.start.rest);
            }
            object.opt_raw("x_headgate", extra);
        });
    }

    fn losses(&self) -> &[Loss] {
        &self.frame.losses
    }
}

impl WholeEncoder {
    pub(super) fn new(options: AnswerOptions) -> Self {
        Self { frame: Frame::new(options) }
    }

    fn write_candidate(&mut self, choice: &Choice, object: &mut ObjectWriter<'_>) {
        let mut sources = Sources::default();
        object.object("content", |object| {
            let mut parts = BytesMut::new();
            let is_empty = write_array(&mut parts, |array| {
                for block in &choice.blocks {
                    self.write_part(&block.content, &mut sources, array);
                }
            });
            let parts = if is_empty { r#"[{"text":""}]"# } else { std::str::from_utf8(&parts).unwrap_or("[]") };
            object.literal("parts", parts);
            object.str("role", "model");
        });
        let has_refusal = choice.blocks.iter().any(|block| matches!(block.content, Content::Refusal(_)));
        if let Some(finish) = &choice.finish {
            self.frame.write_finish(finish, has_refusal, object);
        }
        object.u64("index", choice.index.into());
        sources.write(object);
        if let Some(found) = &choice.logprobs {
            match probability::write(found, self.frame.is_ours()) {
                Some(raw) => object.raw("logprobsResult", &raw),
                None => self.frame.lost("logprobs", NO_LOGPROBS),
            }
        }
    }

    fn write_part(&mut self, content: &Content, sources: &mut Sources, array: &mut ArrayWriter<'_>) {
        match content {
            Content::Text(text) => {
                let start = sources.ruler.n_bytes();
                sources.ruler.push(&text.text);
                if let Some(list) = &text.citations {
                    for raw in annotation::list(list) {
                        sources.take(&raw, &mut self.frame);
                    }
                    sources.end_block(start);
                }
                if !text.text.is_empty() {
                    write_text(&text.text, false, None, array);
                }
            }
            Content::Refusal(text) => write_text(text, false, None, array),
            Content::Reasoning(Reasoning { text, signature }) => {
                let signature = signature.as_deref().map(proof::write);
                write_text(text, !text.is_empty() || signature.is_none(), signature.as_deref(), array);
            }
            Content::RedactedReasoning(data) => write_text("", true, Some(&proof::write_redacted(data)), array),
            Content::ToolUse(call) => self.frame.write_call(&call.id, &call.name, &call.arguments, array),
            Content::Opaque(opaque) if self.frame.is_ours() => array.raw(&opaque.raw),
            Content::Opaque(opaque) => self.frame.lost("content", &format!("Gemini has no {} part", opaque.kind)),
            // Not in answers.
            Content::Image(_) | Content::Audio(_) | Content::Document(_) | Content::ToolResult(_) => {}
        }
    }
}

/// What the text of a candidate comes from.
#[derive(Default)]
struct Sources {
    ruler: Ruler,
    /// Fields of the candidate, of an answer of this dialect; of each the last holds all.
    fields: Rest,
    /// What the open block cites.
    open: Vec<Citation>,
    cited: Vec<(Citation, (u64, u64))>,
}

impl Sources {
    fn take(&mut self, raw: &Raw, frame: &mut Frame) {
        if annotation::is_native(raw, frame.start.origin, Dialect::Gemini) {
            if let Some(fields) = json::root(raw.as_str().as_bytes()).ok().and_then(|root| root.object().ok()) {
                fields.rest().0.into_iter().for_each(|(name, value)| self.fields.set(&name, value));
            }
            return;
        }
        let mut cited = annotation::read(raw, frame.start.origin);
        cited.retain(|citation| citation.url.is_some());
        if cited.is_empty() {
            frame.lost("annotations", annotation::NO_ADDRESS);
        }
        self.open.extend(cited);
    }

    /// Gives what a block cites its place: only at its end is it known how far it reaches.
    fn end_block(&mut self, start: u64) {
        let block = (start, self.ruler.n_bytes());
        for citation in std::mem::take(&mut self.open) {
            let at = self.ruler.bytes_of(&citation, block);
            self.cited.push((citation, at));
        }
    }

    fn write(&self, object: &mut ObjectWriter<'_>) {
        object.rest(&self.fields);
        object.opt_raw("groundingMetadata", annotation::write_gemini(&self.cited).as_ref());
    }
}

/// How the chunks of a stream are wrapped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Server-sent events.
    Events,
    /// The items of one JSON array.
    Array,
}

/// Writes chunks as events come.
pub(super) struct StreamEncoder {
    frame: Frame,
    framing: Framing,
    blocks: Vec<OpenBlock>,
    /// By choice.
    sources: Vec<(u32, Sources)>,
    finishes: Vec<Finish>,
    has_refusal: bool,
    usage: Option<Usage>,
    extra: Option<Raw>,
    /// The array has begun.
    has_items: bool,
    /// Reused for the JSON of each chunk.
    chunk: BytesMut,
}

struct OpenBlock {
    index: u32,
    choice: u32,
    kind: BlockKind,
}

enum BlockKind {
    Text {
        /// Where in the choice's text it begins.
        start: u64,
    },
    Reasoning {
        has_text: bool,
    },
    Tool {
        id: Box<str>,
        name: Box<str>,
        arguments: String,
    },
    /// Nothing more of it is sent.
    Closed,
}

impl StreamEncoder {
    pub(super) fn new(options: AnswerOptions, framing: Framing) -> Self {
        Self {
            frame: Frame::new(options),
            framing,
            blocks: Vec::new(),
            sources: Vec::new(),
            finishes: Vec::new(),
            has_refusal: false,
            usage: None,
            extra: None,
            has_items: false,
            chunk: BytesMut::new(),
        }
    }

    fn write_data(&mut self, data: &mut [u8], out: &mut BytesMut) {
        match self.framing {
            Framing::Events => {
                // Line ends in JSON are blanks, and the vendor's libraries read one line of data in each event.
                data.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
                sse::write("", data, out);
            }
            Framing::Array => {
                out.put_slice(if std::mem::replace(&mut self.has_items, true) { b",\r\n" } else { b"[" });
                out.put_slice(data);
            }
        }
    }

    /// Writes one chunk; `fill` writes everything but the identity.
    fn write_chunk(&mut self, out: &mut BytesMut, fill: impl FnOnce(&mut Frame, &mut ObjectWriter<'_>)) {
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.clear();
        write_object(&mut chunk, |object| {
            fill(&mut self.frame, object);
            self.frame.write_identity(object);
            if self.frame.is_ours() {
                object.rest(&self.frame.start.rest);
            }
        });
        self.write_data(&mut chunk, out);
        self.chunk = chunk;
        // Said once; the identity is in every chunk.
        self.frame.start.rest.0.clear();
    }

    /// Writes a chunk with one candidate; `fill` writes its parts, `more` what follows them.
    fn write_parts(
        &mut self,
        choice: u32,
        out: &mut BytesMut,
        fill: impl FnOnce(&mut Frame, &mut ArrayWriter<'_>),
        more: impl FnOnce(&mut ObjectWriter<'_>),
    ) {
        self.write_chunk(out, |frame, object| {
            object.array("candidates", |array| {
                array.object(|object| {
                    object.object("content", |object| {
                        object.array("parts", |array| fill(frame, array));
                        object.str("role", "model");
                    });
                    object.u64("index", choice.into());
                    more(object);
                });
            });
        });
    }

    fn write_text(&mut self, choice: u32, text: &str, is_thought: bool, proof: Option<&str>, out: &mut BytesMut) {
        self.write_parts(choice, out, |_, array| write_text(text, is_thought, proof, array), |_| {});
    }

    fn begin(&mut self, index: u32, choice: u32, block: BlockStart, out: &mut BytesMut) {
        let kind = match block {
            BlockStart::Text => BlockKind::Text { start: self.sources(choice).ruler.n_bytes() },
            BlockStart::Refusal => {
                self.has_refusal = true;
                BlockKind::Text { start: self.sources(choice).ruler.n_bytes() }
            }
            BlockStart::Reasoning => BlockKind::Reasoning { has_text: false },
            BlockStart::RedactedReasoning(data) => {
                self.write_text(choice, "", true, Some(&proof::write_redacted(&data)), out);
                BlockKind::Closed
            }
            BlockStart::ToolUse { id, name } => BlockKind::Tool { id, name, arguments: String::new() },
            BlockStart::Opaque(opaque) if self.frame.is_ours() => {
                self.write_parts(choice, out, |_, array| array.raw(&opaque.raw), |_| {});
                BlockKind::Closed
            }
            BlockStart::Opaque(opaque) => {
                self.frame.lost("content", &format!("Gemini has no {} part", opaque.kind));
                BlockKind::Closed
            }
        };
        self.blocks.push(OpenBlock { index, choice, kind });
    }

    fn grow(&mut self, index: u32, delta: &Delta, out: &mut BytesMut) {
        let Some(block) = self.blocks.iter_mut().rfind(|block| block.index == index) else { return };
        let choice = block.choice;
        match (&mut block.kind, delta) {
            (BlockKind::Text { .. }, Delta::Text(text) | Delta::Refusal(text)) => {
                self.sources(choice).ruler.push(text);
                self.write_text(choice, text, false, None, out);
            }
            (BlockKind::Text { .. }, Delta::Citation(raw)) => {
                let mut sources = Sources::default();
                sources.take(raw, &mut self.frame);
                if !sources.open.is_empty() {
                    return self.sources(choice).open.append(&mut sources.open);
                }
                let empty = |_: &mut Frame, array: &mut ArrayWriter<'_>| write_text("", false, None, array);
                if !sources.fields.is_empty() {
                    self.write_parts(choice, out, empty, |object| sources.write(object));
                }
            }
            (BlockKind::Reasoning { has_text }, Delta::Reasoning(text)) => {
                *has_text = true;
                self.write_text(choice, text, true, None, out);
            }
            (BlockKind::Reasoning { has_text }, Delta::Signature(proof)) => {
                let is_thought = *has_text;
                self.write_text(choice, "", is_thought, Some(&proof::write(proof)), out);
            }
            (BlockKind::Tool { arguments, .. }, Delta::Arguments(piece)) => arguments.push_str(piece),
            // A delta that does not fit its block, or of a block that is lost.
            _ => {}
        }
    }

    fn sources(&mut self, choice: u32) -> &mut Sources {
        let known = self.sources.iter().position(|(known, _)| *known == choice);
        let at = known.unwrap_or(self.sources.len());
        if known.is_none() {
            self.sources.push((choice, Sources::default()));
        }
        &mut self.sources[at].1
    }

    fn end_block(&mut self, index: u32, out: &mut BytesMut) {
        let Some(at) = self.blocks.iter().rposition(|block| block.index == index) else { return };
        let block = self.blocks.remove(at);
        if let BlockKind::Text { start } = block.kind {
            self.sources(block.choice).end_block(start);
        }
        if let BlockKind::Tool { id, name, arguments } = block.kind {
            let call = |frame: &mut Frame, array: &mut ArrayWriter<'_>| frame.write_call(&id, &name, &arguments, array);
            self.write_parts(block.choice, out, call, |_| {});
        }
    }

    fn end(&mut self, out: &mut BytesMut) {
        while let Some(block) = self.blocks.first() {
            self.end_block(block.index, out);
        }
        let is_ours = self.frame.is_ours();
        let (usage, extra) = (self.usage.take(), self.extra.take());
        let mut finishes = std::mem::take(&mut self.finishes);
        if finishes.is_empty() {
            finishes.push(Finish::new(FinishReason::Stop));
        }
        let has_refusal = self.has_refusal;
        let sources = std::mem::take(&mut self.sources);
        self.write_chunk(out, |frame, object| {
            if let Some(feedback) = finishes.iter().filter(|_| is_ours).find_map(feedback) {
                object.raw("promptFeedback", feedback);
            } else {
                object.array("candidates", |array| {
                    for finish in &finishes {
                        array.object(|object| {
                            object.literal("content", r#"{"parts":[{"text":""}],"role":"model"}"#);
                            frame.write_finish(finish, has_refusal, object);
                            object.u64("index", finish.choice.into());
                            if let Some((_, sources)) = sources.iter().find(|(choice, _)| *choice == finish.choice) {
                                sources.write(object);
                            }
                        });
                    }
                });
            }
            if let Some(usage) = &usage {
                super::write_usage(usage, is_ours, object);
            }
            object.opt_raw("x_headgate", extra.as_ref());
        });
        self.close(out);
    }

    fn close(&mut self, out: &mut BytesMut) {
        if self.framing == Framing::Array {
            out.put_slice(b"]");
        }
    }
}

impl Encoder for StreamEncoder {
    fn push(&mut self, event: Event, out: &mut BytesMut) {
        match event {
            Event::Start(start) => self.frame.start = start,
            Event::BlockStart { index, choice, block } => self.begin(index, choice, block, out),
            Event::Delta { index, delta } => self.grow(index, &delta, out),
            Event::BlockStop { index } => self.end_block(index, out),
            Event::Logprobs { choice, found } => match probability::write(&found, self.frame.is_ours()) {
                Some(raw) => {
                    let empty = |_: &mut Frame, array: &mut ArrayWriter<'_>| write_text("", false, None, array);
                    self.write_parts(choice, out, empty, |object| object.raw("logprobsResult", &raw));
                }
                None => self.frame.lost("logprobs", NO_LOGPROBS),
            },
            Event::Finish(finish) => self.finishes.push(finish),
            Event::Usage(usage) => self.usage.get_or_insert_default().merge(&usage),
            // The vendor's libraries stumble over comments; a blank line means nothing in either framing.
            Event::Ping => out.put_slice(b"\n"),
            Event::Error(error) => {
                self.write_data(&mut encode_error(&error).to_vec(), out);
                self.close(out);
            }
            Event::Done => self.end(out),
        }
    }

    fn annotate(&mut self, extra: Raw) {
        self.extra = Some(extra);
    }

    fn losses(&self) -> &[Loss] {
        &self.frame.losses
    }
}
