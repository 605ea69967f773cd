//! Events become a stream of chat completion chunks.

use std::borrow::Cow;

use bytes::BytesMut;

use hub::canonical::citation::Citation;
use hub::canonical::event::{BlockStart, Delta, Event, Finish, Start};
use hub::canonical::json::{Raw, Rest};
use hub::canonical::loss::Loss;
use hub::canonical::usage::Usage;
use hub::codec::json::{ObjectWriter, write_object};
use hub::codec::sse;
use hub::dialect::annotation::{self, Ruler};
use hub::dialect::{AnswerOptions, Dialect, Encoder};

use super::error::encode_error_event;
use crate::probability;

/// Writes chunks as events come.
pub(super) struct StreamEncoder {
    options: AnswerOptions,
    start: Start,
    blocks: Vec<OpenBlock>,
    choices: Vec<ChoiceState>,
    /// Told at the end of their block: only then is it known how far it reaches.
    cited: Vec<(u32, Vec<Citation>)>,
    usage: Option<Usage>,
    extra: Option<Raw>,
    losses: Vec<Loss>,
    /// Reused for the JSON of each chunk.
    chunk: BytesMut,
}

#[derive(Clone, Copy)]
struct OpenBlock {
    index: u32,
    choice: u32,
    kind: BlockKind,
}

#[derive(Clone, Copy)]
enum BlockKind {
    Text {
        /// Where in the choice's text it begins.
        start: u64,
    },
    Refusal,
    Reasoning {
        /// Its number among the choice's reasoning blocks.
        number: u32,
        has_text: bool,
    },
    Tool {
        /// Its number among the choice's tool calls.
        number: u32,
        has_arguments: bool,
    },
    /// Nothing of it is sent.
    Lost,
}

#[derive(Default)]
struct ChoiceState {
    index: u32,
    n_tools: u32,
    n_reasoning: u32,
    /// Some reasoning has been shown: the next block's begins a paragraph.
    has_thought: bool,
    /// The first chunk of a choice names the role.
    has_role: bool,
    ruler: Ruler,
}

impl StreamEncoder {
    pub(super) fn new(options: AnswerOptions) -> Self {
        Self {
            options,
            start: Start {
                origin: Dialect::OpenAiChat,
                id: Box::default(),
                model: Box::default(),
                created: None,
                rest: Rest::default(),
            },
            blocks: Vec::new(),
            choices: Vec::new(),
            cited: Vec::new(),
            usage: None,
            extra: None,
            losses: Vec::new(),
            chunk: BytesMut::new(),
        }
    }

    fn is_ours(&self) -> bool {
        self.start.origin == Dialect::OpenAiChat
    }

    fn lost(&mut self, path: &str, reason: &str) {
        if !self.losses.iter().any(|loss| &*loss.path == path) {
            self.losses.push(Loss::dropped(path, reason));
        }
    }

    /// Writes one chunk; `fill` writes `choices` and whatever follows.
    fn write_chunk(&mut self, out: &mut BytesMut, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.clear();
        write_object(&mut chunk, |object| {
            object.str("id", if self.start.id.is_empty() { &self.options.id } else { &self.start.id });
            object.str("object", "chat.completion.chunk");
            object.i64("created", self.start.created.unwrap_or(self.options.created));
            object.str("model", self.options.model.as_deref().unwrap_or(&self.start.model));
            if self.start.origin == Dialect::OpenAiChat {
                object.rest(&self.start.rest);
            }
            fill(object);
        });
        sse::write("", &chunk, out);
        self.chunk = chunk;
        // These belong to every chunk; whatever else came around the answer is said once.
        self.start.rest.0.retain(|(name, _)| matches!(&**name, "system_fingerprint" | "service_tier"));
    }

    fn write_delta(&mut self, choice: u32, out: &mut BytesMut, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
        let is_first = !std::mem::replace(&mut self.choice(choice).has_role, true);
        self.write_choice(choice, out, |object| {
            object.object("delta", |object| {
                if is_first {
                    object.str("role", "assistant");
                }
                fill(object);
            });
            object.null("logprobs");
            object.null("finish_reason");
        });
    }

    fn write_choice(&mut self, choice: u32, out: &mut BytesMut, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
        let has_usage = self.options.include_usage;
        self.write_chunk(out, |object| {
            object.array("choices", |array| {
                array.object(|object| {
                    object.u64("index", choice.into());
                    fill(object);
                });
            });
            if has_usage {
                object.null("usage");
            }
        });
    }

    fn choice(&mut self, index: u32) -> &mut ChoiceState {
        let known = self.choices.iter().position(|choice| choice.index == index);
        let at = known.unwrap_or(self.choices.len());
        if known.is_none() {
            self.choices.push(ChoiceState { index, ..ChoiceState::default() });
        }
        &mut self.choices[at]
    }

    fn begin(&mut self, index: u32, choice: u32, block: &BlockStart, out: &mut BytesMut) {
        let kind = match block {
            BlockStart::Text => BlockKind::Text { start: self.choice(choice).ruler.n_bytes() },
            BlockStart::Refusal => BlockKind::Refusal,
            BlockStart::Reasoning => {
                BlockKind::Reasoning { number: next(&mut self.choice(choice).n_reasoning), has_text: false }
            }
            BlockStart::RedactedReasoning(data) => {
                let number = next(&mut self.choice(choice).n_reasoning);
                self.write_delta(choice, out, |object| {
                    write_detail(number, object, |object| {
                        object.str("type", "reasoning.encrypted");
                        object.str("data", data);
                    });
                });
                BlockKind::Lost
            }
            BlockStart::ToolUse { id, name } => {
                let number = next(&mut self.choice(choice).n_tools);
                self.write_delta(choice, out, |object| {
                    write_call(number, object, |object| {
                        object.str("id", id);
                        object.str("type", "function");
                        object.object("function", |object| {
                            object.str("name", name);
                            object.str("arguments", "");
                        });
                    });
                });
                BlockKind::Tool { number, has_arguments: false }
            }
            BlockStart::Opaque(opaque) => {
                self.lost("content", &format!("OpenAI has no {} block", opaque.kind));
                BlockKind::Lost
            }
        };
        self.blocks.push(OpenBlock { index, choice, kind });
    }

    fn grow(&mut self, index: u32, delta: &Delta, out: &mut BytesMut) {
        let Some(at) = self.blocks.iter().rposition(|block| block.index == index) else { return };
        let OpenBlock { choice, kind, .. } = self.blocks[at];
        match (kind, delta) {
            (BlockKind::Text { .. }, Delta::Text(text)) => {
                self.choice(choice).ruler.push(text);
                self.write_delta(choice, out, |object| object.str("content", text));
            }
            (BlockKind::Text { .. }, Delta::Citation(raw)) => self.cite(index, choice, raw, out),
            (BlockKind::Refusal, Delta::Refusal(text)) => {
                self.write_delta(choice, out, |object| object.str("refusal", text));
            }
            (BlockKind::Reasoning { number, has_text }, Delta::Reasoning(text)) => {
                self.blocks[at].kind = BlockKind::Reasoning { number, has_text: true };
                let has_thought = std::mem::replace(&mut self.choice(choice).has_thought, true);
                let is_paragraph = has_thought && !has_text;
                let shown = if is_paragraph { Cow::Owned(format!("\n\n{text}")) } else { Cow::Borrowed(&**text) };
                self.write_delta(choice, out, |object| {
                    object.str("reasoning_content", &shown);
                    write_detail(number, object, |object| {
                        object.str("type", "reasoning.text");
                        object.str("text", text);
                    });
                });
            }
            (BlockKind::Reasoning { number, .. }, Delta::Signature(proof)) => self.write_delta(choice, out, |object| {
                write_detail(number, object, |object| {
                    object.str("type", "reasoning.text");
                    object.str("signature", proof);
                });
            }),
            (BlockKind::Tool { number, .. }, Delta::Arguments(piece)) => {
                self.blocks[at].kind = BlockKind::Tool { number, has_arguments: true };
                self.write_arguments(choice, number, piece, out);
            }
            // A delta that does not fit its block, or of a block that is lost.
            _ => {}
        }
    }

    fn cite(&mut self, index: u32, choice: u32, raw: &Raw, out: &mut BytesMut) {
        if annotation::is_native(raw, self.start.origin, Dialect::OpenAiChat) {
            return self.write_annotations(choice, std::slice::from_ref(raw), out);
        }
        let cited = annotation::read(raw, self.start.origin);
        if cited.is_empty() {
            return self.lost("content.citations", annotation::NO_ADDRESS);
        }
        let known = self.cited.iter().position(|(block, _)| *block == index);
        let at = known.unwrap_or_else(|| {
            self.cited.push((index, Vec::new()));
            self.cited.len() - 1
        });
        for citation in cited {
            annotation::add(citation, &mut self.cited[at].1);
        }
    }

    /// Tells the citations of a block that is over.
    fn write_cited(&mut self, block: OpenBlock, start: u64, out: &mut BytesMut) {
        let mut told = Vec::new();
        let Some(at) = self.cited.iter().position(|(index, _)| *index == block.index) else { return };
        for citation in self.cited.swap_remove(at).1 {
            let ruler = &self.choice(block.choice).ruler;
            let at = ruler.chars_of(&citation, (start, ruler.n_bytes()));
            match annotation::write_openai(&citation, at, Dialect::OpenAiChat) {
                Some(raw) => told.push(raw),
                None => self.lost("content.citations", annotation::NO_ADDRESS),
            }
        }
        if !told.is_empty() {
            self.write_annotations(block.choice, &told, out);
        }
    }

    fn write_annotations(&mut self, choice: u32, annotations: &[Raw], out: &mut BytesMut) {
        self.write_delta(choice, out, |object| {
            object.array("annotations", |array| annotations.iter().for_each(|raw| array.raw(raw)));
        });
    }

    fn write_arguments(&mut self, choice: u32, number: u32, piece: &str, out: &mut BytesMut) {
        self.write_delta(choice, out, |object| {
            write_call(number, object, |object| {
                object.object("function", |object| object.str("arguments", piece));
            });
        });
    }

    fn end_block(&mut self, index: u32, out: &mut BytesMut) {
        let Some(at) = self.blocks.iter().rposition(|block| block.index == index) else { return };
        let block = self.blocks.swap_remove(at);
        if let BlockKind::Text { start } = block.kind
            && !self.cited.is_empty()
        {
            return self.write_cited(block, start, out);
        }
        // A call without arguments streams nothing; clients parse the joined text and need an object.
        if let BlockKind::Tool { number, has_arguments: false } = block.kind {
            self.write_arguments(block.choice, number, "{}", out);
        }
    }

    fn finish(&mut self, finish: &Finish, out: &mut BytesMut) {
        let is_ours = self.is_ours();
        let is_first = !std::mem::replace(&mut self.choice(finish.choice).has_role, true);
        self.write_choice(finish.choice, out, |object| {
            object.object("delta", |object| {
                if is_first {
                    object.str("role", "assistant");
                    object.str("content", "");
                }
            });
            object.null("logprobs");
            let native = finish.native.as_deref().filter(|_| is_ours);
            object.str("finish_reason", native.unwrap_or(super::finish_word(finish.reason)));
            if is_ours {
                object.rest(&finish.rest);
            }
        });
    }

    fn end(&mut self, out: &mut BytesMut) {
        let usage = self.usage.take().filter(|_| self.options.include_usage);
        let extra = self.extra.take();
        if usage.is_some() || extra.is_some() {
            let is_ours = self.is_ours();
            self.write_chunk(out, |object| {
                object.array("choices", |_| {});
                if let Some(usage) = &usage {
                    super::USAGE.write(usage, is_ours, object);
                }
                object.opt_raw("x_headgate", extra.as_ref());
            });
        }
        sse::write("", b"[DONE]", out);
    }
}

impl Encoder for StreamEncoder {
    fn push(&mut self, event: Event, out: &mut BytesMut) {
        match event {
            Event::Start(start) => self.start = start,
            Event::BlockStart { index, choice, block } => self.begin(index, choice, &block, out),
            Event::Delta { index, delta } => self.grow(index, &delta, out),
            Event::BlockStop { index } => self.end_block(index, out),
            Event::Logprobs { choice, found } => match probability::write(&found, self.start.origin) {
                Some(raw) => self.write_choice(choice, out, |object| {
                    object.object("delta", |_| {});
                    object.raw("logprobs", &raw);
                    object.null("finish_reason");
                }),
                None => self.lost("logprobs", "the upstream's probabilities have another form"),
            },
            Event::Finish(finish) => self.finish(&finish, out),
            Event::Usage(usage) => self.usage.get_or_insert_default().merge(&usage),
            // A comment: readers skip it, proxies see a live stream.
            Event::Ping => out.extend_from_slice(b": ping\n\n"),
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

fn next(counter: &mut u32) -> u32 {
    let number = *counter;
    *counter += 1;
    number
}

fn write_detail(number: u32, delta: &mut ObjectWriter<'_>, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
    delta.array("reasoning_details", |array| {
        array.object(|object| {
            fill(object);
            object.u64("index", number.into());
        });
    });
}

fn write_call(number: u32, delta: &mut ObjectWriter<'_>, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
    delta.array("tool_calls", |array| {
        array.object(|object| {
            object.u64("index", number.into());
            fill(object);
        });
    });
}
