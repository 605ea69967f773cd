//! Events become a stream of message events.
//!
//! Anthropic's blocks never overlap. One block at a time is open; what comes for others waits until their turn.

use std::collections::VecDeque;

use bytes::BytesMut;

use hub::canonical::citation::Citation;
use hub::canonical::event::{BlockStart, Delta, Event, Finish, FinishReason, Start};
use hub::canonical::json::Raw;
use hub::canonical::loss::Loss;
use hub::canonical::usage::Usage;
use hub::codec::json::{ObjectWriter, write_object};
use hub::codec::sse;
use hub::dialect::{AnswerOptions, Dialect, Encoder, annotation};

use super::error::encode_error_event;
use super::write_answer::{NO_SOURCE, WHOLE_BLOCKS, write_stop_sequence};

/// Writes events as they come.
pub(super) struct StreamEncoder {
    options: AnswerOptions,
    origin: Dialect,
    is_ours: bool,
    /// Not written yet: the usage that belongs into it comes right after.
    start: Option<Start>,
    /// Begun and not over: the first is open, the others wait.
    blocks: VecDeque<Block>,
    /// The number of the next block in the client's stream.
    next_index: u32,
    is_open: bool,
    /// What the open block cites, in another vendor's form.
    cited: Vec<Citation>,
    has_refusal: bool,
    usage: Usage,
    finish: Option<Finish>,
    extra: Option<Raw>,
    losses: Vec<Loss>,
    /// Reused for the JSON of each event.
    data: BytesMut,
}

struct Block {
    index: u32,
    start: BlockStart,
    /// What came while another block was open.
    waiting: Vec<Delta>,
    is_over: bool,
}

impl StreamEncoder {
    pub(super) fn new(options: AnswerOptions) -> Self {
        Self {
            options,
            origin: Dialect::OpenAiChat,
            is_ours: false,
            start: None,
            blocks: VecDeque::new(),
            next_index: 0,
            is_open: false,
            cited: Vec::new(),
            has_refusal: false,
            usage: Usage::default(),
            finish: None,
            extra: None,
            losses: Vec::new(),
            data: BytesMut::new(),
        }
    }

    fn lost(&mut self, path: &str, reason: &str) {
        if !self.losses.iter().any(|loss| &*loss.path == path) {
            self.losses.push(Loss::dropped(path, reason));
        }
    }

    fn write(&mut self, name: &str, out: &mut BytesMut, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
        self.data.clear();
        write_object(&mut self.data, |object| {
            object.str("type", name);
            fill(object);
        });
        sse::write(name, &self.data, out);
    }

    fn write_start(&mut self, out: &mut BytesMut) {
        let Some(start) = self.start.take() else { return };
        let id = if start.id.is_empty() { self.options.id.clone() } else { start.id.clone() };
        let model = self.options.model.clone().unwrap_or_else(|| start.model.clone());
        let usage = self.usage.clone();
        let is_ours = self.is_ours;
        self.write("message_start", out, |object| {
            object.object("message", |object| {
                object.str("id", &id);
                object.str("type", "message");
                object.str("role", "assistant");
                object.str("model", &model);
                object.array("content", |_| {});
                object.null("stop_reason");
                object.null("stop_sequence");
                super::write_usage(&usage, is_ours, object);
                if is_ours {
                    object.rest(&start.rest);
                }
            });
        });
    }

    fn begin(&mut self, index: u32, choice: u32, start: BlockStart, out: &mut BytesMut) {
        if choice > 0 {
            return self.lost("choices", "Anthropic's answers have one choice; the first was kept");
        }
        if let BlockStart::Opaque(opaque) = &start
            && !self.is_ours
        {
            return self.lost("content", &format!("Anthropic has no {} block", opaque.kind));
        }
        self.has_refusal |= matches!(start, BlockStart::Refusal);
        self.blocks.push_back(Block { index, start, waiting: Vec::new(), is_over: false });
        self.advance(out);
    }

    fn grow(&mut self, index: u32, delta: Delta, out: &mut BytesMut) {
        match self.blocks.iter().position(|block| block.index == index) {
            Some(0) => self.write_delta(&delta, out),
            Some(at) => self.blocks[at].waiting.push(delta),
            // A block that is lost.
            None => {}
        }
    }

    fn end_block(&mut self, index: u32, out: &mut BytesMut) {
        if let Some(block) = self.blocks.iter_mut().find(|block| block.index == index) {
            block.is_over = true;
            self.advance(out);
        }
    }

    /// Opens the first block, and closes it and opens the next as far as possible.
    fn advance(&mut self, out: &mut BytesMut) {
        while let Some(block) = self.blocks.front_mut() {
            let waiting = std::mem::take(&mut block.waiting);
            let is_over = block.is_over;
            if !std::mem::replace(&mut self.is_open, true) {
                let start = block.start.clone();
                self.write_block_start(&start, out);
            }
            for delta in waiting {
                self.write_delta(&delta, out);
            }
            if !is_over {
                return;
            }
            self.write_cited(out);
            let index = self.next_index;
            self.write("content_block_stop", out, |object| object.u64("index", index.into()));
            self.next_index += 1;
            self.is_open = false;
            self.blocks.pop_front();
        }
    }

    fn write_block_start(&mut self, start: &BlockStart, out: &mut BytesMut) {
        let index = self.next_index;
        self.write("content_block_start", out, |object| {
            object.u64("index", index.into());
            if let BlockStart::Opaque(opaque) = start {
                return object.raw("content_block", &opaque.raw);
            }
            object.object("content_block", |object| match start {
                BlockStart::Text | BlockStart::Refusal => {
                    object.str("type", "text");
                    object.str("text", "");
                }
                BlockStart::Reasoning => {
                    object.str("type", "thinking");
                    object.str("thinking", "");
                    object.str("signature", "");
                }
                BlockStart::RedactedReasoning(data) => {
                    object.str("type", "redacted_thinking");
                    object.str("data", data);
                }
                BlockStart::ToolUse { id, name } => {
                    object.str("type", "tool_use");
                    object.str("id", id);
                    object.str("name", name);
                    object.literal("input", "{}");
                }
                BlockStart::Opaque(_) => {}
            });
        });
    }

    fn write_delta(&mut self, delta: &Delta, out: &mut BytesMut) {
        let index = self.next_index;
        let fields = match delta {
            Delta::Text(text) | Delta::Refusal(text) => ("text_delta", "text", text),
            Delta::Arguments(piece) => ("input_json_delta", "partial_json", piece),
            Delta::Reasoning(text) => ("thinking_delta", "thinking", text),
            Delta::Signature(proof) => ("signature_delta", "signature", proof),
            Delta::Citation(raw) if !annotation::is_native(raw, self.origin, Dialect::AnthropicMessages) => {
                let cited = annotation::read(raw, self.origin);
                if cited.is_empty() {
                    self.lost("annotations", NO_SOURCE);
                }
                for citation in cited {
                    annotation::add(citation, &mut self.cited);
                }
                return;
            }
            Delta::Opaque(_) if !self.is_ours => return,
            // Its streams have no place for them: a block begins with all its fields.
            Delta::Fields(_) => return,
            Delta::Citation(raw) => return self.write_citation(raw, out),
            Delta::Opaque(raw) => {
                return self.write("content_block_delta", out, |object| {
                    object.u64("index", index.into());
                    object.raw("delta", raw);
                });
            }
        };
        self.write("content_block_delta", out, |object| {
            object.u64("index", index.into());
            object.object("delta", |object| {
                object.str("type", fields.0);
                object.str(fields.1, fields.2);
            });
        });
    }

    /// Tells what the open block cites, at its end.
    fn write_cited(&mut self, out: &mut BytesMut) {
        for citation in std::mem::take(&mut self.cited) {
            if citation.span.is_some() && !self.losses.iter().any(|loss| &*loss.path == "annotations") {
                self.losses.push(Loss::changed("annotations", WHOLE_BLOCKS));
            }
            match annotation::write_anthropic(&citation) {
                Some(raw) => self.write_citation(&raw, out),
                None => self.lost("annotations", NO_SOURCE),
            }
        }
    }

    fn write_citation(&mut self, raw: &Raw, out: &mut BytesMut) {
        let index = self.next_index;
        self.write("content_block_delta", out, |object| {
            object.u64("index", index.into());
            object.object("delta", |object| {
                object.str("type", "citations_delta");
                object.raw("citation", raw);
            });
        });
    }

    fn end(&mut self, out: &mut BytesMut) {
        for block in &mut self.blocks {
            block.is_over = true;
        }
        self.advance(out);
        let finish = self.finish.take().unwrap_or_else(|| Finish::new(FinishReason::Stop));
        let usage = std::mem::take(&mut self.usage);
        let extra = self.extra.take();
        let is_ours = self.is_ours;
        let reason = super::reason(finish.reason, self.has_refusal);
        self.write("message_delta", out, |object| {
            object.object("delta", |object| {
                let native = finish.native.as_deref().filter(|_| is_ours);
                object.str("stop_reason", native.unwrap_or(super::finish_word(reason)));
                write_stop_sequence(finish.reason, finish.stop_sequence.as_deref(), object);
                if is_ours {
                    object.rest(&finish.rest);
                }
            });
            super::write_usage(&usage, is_ours, object);
        });
        self.write("message_stop", out, |object| object.opt_raw("x_headgate", extra.as_ref()));
    }
}

impl Encoder for StreamEncoder {
    fn push(&mut self, event: Event, out: &mut BytesMut) {
        if !matches!(event, Event::Usage(_)) {
            self.write_start(out);
        }
        match event {
            Event::Start(start) => {
                self.origin = start.origin;
                self.is_ours = start.origin == Dialect::AnthropicMessages;
                self.start = Some(start);
            }
            Event::BlockStart { index, choice, block } => self.begin(index, choice, block, out),
            Event::Delta { index, delta } => self.grow(index, delta, out),
            Event::BlockStop { index } => self.end_block(index, out),
            Event::Logprobs { .. } => self.lost("logprobs", "Anthropic's answers have no probabilities"),
            Event::Finish(finish) if finish.choice == 0 => self.finish = Some(finish),
            Event::Finish(_) => {}
            Event::Usage(usage) => self.usage.merge(&usage),
            Event::Ping => self.write("ping", out, |_| {}),
            Event::Error(error) => out.extend_from_slice(&encode_error_event(&error)),
            Event::Done => self.end(out),
        }
    }

    fn annotate(&mut self, extra: Raw) {
        self.extra = Some(extra);
    }

    fn losses(&self) -> &[Loss] {
        &self.losses
    }
}
