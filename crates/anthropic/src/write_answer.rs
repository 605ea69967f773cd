//! Events become a whole message.

use bytes::BytesMut;

use hub::canonical::answer::Answer;
use hub::canonical::content::{Block, Content};
use hub::canonical::event::FinishReason;
use hub::canonical::json::Raw;
use hub::canonical::loss::Loss;
use hub::codec::json::{ArrayWriter, ObjectWriter, write_object};
use hub::dialect::{AnswerOptions, Dialect, annotation, whole};

use super::error::write_error;

/// Why a citation does not reach a client.
pub(super) const NO_SOURCE: &str = "the citation names no source";
/// How citations of others differ.
pub(super) const WHOLE_BLOCKS: &str = "Anthropic cites for whole blocks of text";

/// Writes a whole body.
pub(super) struct WholeEncoder {
    options: AnswerOptions,
    origin: Dialect,
    losses: Vec<Loss>,
}

impl whole::WriteAnswer for WholeEncoder {
    fn write(&mut self, answer: &Answer, extra: Option<&Raw>, out: &mut BytesMut) {
        self.origin = answer.start.origin;
        let is_ours = self.origin == Dialect::AnthropicMessages;
        write_object(out, |object| {
            if let Some(error) = &answer.error {
                write_error(error, object);
            } else {
                self.write_message(answer, is_ours, object);
            }
            object.opt_raw("x_headgate", extra);
        });
    }

    fn losses(&self) -> &[Loss] {
        &self.losses
    }
}

impl WholeEncoder {
    pub(super) fn new(options: AnswerOptions) -> Self {
        Self { options, origin: Dialect::OpenAiChat, losses: Vec::new() }
    }

    fn write_message(&mut self, answer: &Answer, is_ours: bool, object: &mut ObjectWriter<'_>) {
        let start = &answer.start;
        object.str("id", if start.id.is_empty() { &self.options.id } else { &start.id });
        object.str("type", "message");
        object.str("role", "assistant");
        object.str("model", self.options.model.as_deref().unwrap_or(&start.model));
        if answer.choices.len() > 1 {
            self.losses.push(Loss::dropped("choices", "Anthropic's answers have one choice; the first was kept"));
        }
        let choice = answer.choices.first();
        object.array("content", |array| {
            for block in choice.iter().flat_map(|choice| &choice.blocks) {
                self.write_block(block, is_ours, array);
            }
        });
        if choice.is_some_and(|choice| choice.logprobs.is_some()) {
            self.losses.push(Loss::dropped("logprobs", "Anthropic's answers have no probabilities"));
        }
        let is_refusal = |block: &Block| matches!(block.content, Content::Refusal(_));
        let has_refusal = choice.is_some_and(|choice| choice.blocks.iter().any(is_refusal));
        let finish = choice.and_then(|choice| choice.finish.as_ref());
        if let Some(finish) = finish {
            let native = finish.native.as_deref().filter(|_| is_ours);
            object.str("stop_reason", native.unwrap_or(super::finish_word(super::reason(finish.reason, has_refusal))));
            write_stop_sequence(finish.reason, finish.stop_sequence.as_deref(), object);
        } else {
            object.null("stop_reason");
            object.null("stop_sequence");
        }
        super::write_usage(&answer.usage.clone().unwrap_or_default(), is_ours, object);
        if is_ours {
            object.rest(&start.rest);
            if let Some(finish) = finish {
                object.rest(&finish.rest);
            }
        }
    }

    fn write_block(&mut self, block: &Block, is_ours: bool, array: &mut ArrayWriter<'_>) {
        match &block.content {
            Content::Opaque(opaque) if is_ours => array.raw(&opaque.raw),
            Content::Opaque(opaque) => {
                self.losses.push(Loss::dropped("content", &format!("Anthropic has no {} block", opaque.kind)));
            }
            // Not in answers.
            Content::Image(_) | Content::Audio(_) | Content::Document(_) | Content::ToolResult(_) => {}
            content => array.object(|object| {
                self.write_fields(content, object);
                if is_ours {
                    object.rest(&block.rest);
                }
            }),
        }
    }

    fn write_citations(&mut self, citations: &Raw, object: &mut ObjectWriter<'_>) {
        let mut told = Vec::new();
        for raw in annotation::list(citations) {
            if annotation::is_native(&raw, self.origin, Dialect::AnthropicMessages) {
                told.push(raw);
                continue;
            }
            let cited = annotation::read(&raw, self.origin);
            if cited.is_empty() {
                self.lost(Loss::dropped("annotations", NO_SOURCE));
            }
            for citation in cited {
                if citation.span.is_some() {
                    self.lost(Loss::changed("annotations", WHOLE_BLOCKS));
                }
                match annotation::write_anthropic(&citation) {
                    Some(raw) => told.push(raw),
                    None => self.lost(Loss::dropped("annotations", NO_SOURCE)),
                }
            }
        }
        if !told.is_empty() {
            object.array("citations", |array| told.iter().for_each(|raw| array.raw(raw)));
        }
    }

    fn lost(&mut self, loss: Loss) {
        if !self.losses.contains(&loss) {
            self.losses.push(loss);
        }
    }

    fn write_fields(&mut self, content: &Content, object: &mut ObjectWriter<'_>) {
        match content {
            Content::Text(text) => {
                object.str("type", "text");
                object.str("text", &text.text);
                if let Some(citations) = &text.citations {
                    self.write_citations(citations, object);
                }
            }
            Content::Refusal(text) => {
                object.str("type", "text");
                object.str("text", text);
            }
            Content::Reasoning(reasoning) => {
                object.str("type", "thinking");
                object.str("thinking", &reasoning.text);
                object.str("signature", reasoning.signature.as_deref().unwrap_or_default());
            }
            Content::RedactedReasoning(data) => {
                object.str("type", "redacted_thinking");
                object.str("data", data);
            }
            Content::ToolUse(call) => {
                object.str("type", "tool_use");
                object.str("id", &call.id);
                object.str("name", &call.name);
                match Raw::parse(call.arguments.trim()).filter(Raw::is_object) {
                    Some(input) => object.raw("input", &input),
                    None if call.arguments.trim().is_empty() => object.literal("input", "{}"),
                    None => {
                        self.losses
                            .push(Loss::changed("tool_calls.arguments", "not a JSON object; sent as text in one"));
                        object.object("input", |object| object.str("arguments", &call.arguments));
                    }
                }
            }
            _ => {}
        }
    }
}

/// The field names the text only when a text was hit.
pub(super) fn write_stop_sequence(reason: FinishReason, text: Option<&str>, object: &mut ObjectWriter<'_>) {
    match text {
        Some(text) if reason == FinishReason::StopSequence => object.str("stop_sequence", text),
        _ => object.null("stop_sequence"),
    }
}
