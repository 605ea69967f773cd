//! Events become a whole chat completion.

use bytes::BytesMut;

use hub::canonical::answer::{Answer, Choice};
use hub::canonical::content::{Block, Content};
use hub::canonical::json::Raw;
use hub::canonical::loss::Loss;
use hub::codec::json::{ArrayWriter, ObjectWriter, write_object};
use hub::dialect::annotation::{self, Ruler};
use hub::dialect::{AnswerOptions, Dialect, whole};

use super::error::write_error;
use crate::probability;

/// Writes a whole body.
pub(super) struct WholeEncoder {
    options: AnswerOptions,
    losses: Vec<Loss>,
}

impl whole::WriteAnswer for WholeEncoder {
    fn write(&mut self, answer: &Answer, extra: Option<&Raw>, out: &mut BytesMut) {
        let is_ours = answer.start.origin == Dialect::OpenAiChat;
        write_object(out, |object| {
            if let Some(error) = &answer.error {
                write_error(error, object);
                object.opt_raw("x_headgate", extra);
                return;
            }
            let start = &answer.start;
            object.str("id", if start.id.is_empty() { &self.options.id } else { &start.id });
            object.str("object", "chat.completion");
            object.i64("created", start.created.unwrap_or(self.options.created));
            object.str("model", self.options.model.as_deref().unwrap_or(&start.model));
            object.array("choices", |array| {
                for choice in &answer.choices {
                    array.object(|object| self.write_choice(choice, start.origin, object));
                }
            });
            if let Some(usage) = &answer.usage {
                super::USAGE.write(usage, is_ours, object);
            }
            if is_ours {
                object.rest(&start.rest);
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
        Self { options, losses: Vec::new() }
    }

    fn write_choice(&mut self, choice: &Choice, origin: Dialect, object: &mut ObjectWriter<'_>) {
        let is_ours = origin == Dialect::OpenAiChat;
        object.u64("index", choice.index.into());
        let unknown = choice.finish.as_ref().and_then(|finish| finish.rest.find("message")).filter(|_| is_ours);
        object.object("message", |object| {
            self.write_message(choice, origin, object);
            for (name, value) in unknown.and_then(super::fields_of).unwrap_or_default() {
                object.raw(&name, &value);
            }
        });
        let logprobs = choice.logprobs.as_ref().and_then(|found| probability::write(found, origin));
        if choice.logprobs.is_some() && logprobs.is_none() && self.losses.iter().all(|loss| &*loss.path != "logprobs") {
            self.losses.push(Loss::dropped("logprobs", "the upstream's probabilities have another form"));
        }
        match &logprobs {
            Some(raw) => object.raw("logprobs", raw),
            None => object.null("logprobs"),
        }
        if let Some(finish) = &choice.finish {
            let native = finish.native.as_deref().filter(|_| is_ours);
            object.str("finish_reason", native.unwrap_or(super::finish_word(finish.reason)));
            for (name, value) in finish.rest.iter().filter(|(name, _)| is_ours && *name != "message") {
                object.raw(name, value);
            }
        } else {
            object.null("finish_reason");
        }
    }

    fn write_message(&mut self, choice: &Choice, origin: Dialect, object: &mut ObjectWriter<'_>) {
        let is_ours = origin == Dialect::OpenAiChat;
        object.str("role", "assistant");
        let (mut text, mut refusal) = (None::<String>, None::<String>);
        let (mut calls, mut reasoning) = (Vec::new(), Vec::new());
        let (mut citations, mut blocks, mut ruler) = (Vec::new(), Vec::new(), Ruler::default());
        for block in &choice.blocks {
            match &block.content {
                Content::Text(part) => {
                    text.get_or_insert_default().push_str(&part.text);
                    let start = ruler.n_bytes();
                    ruler.push(&part.text);
                    blocks.extend(part.citations.iter().map(|list| (list, (start, ruler.n_bytes()))));
                }
                Content::Refusal(part) => refusal.get_or_insert_default().push_str(part),
                Content::ToolUse(_) => calls.push(block),
                Content::Reasoning(_) | Content::RedactedReasoning(_) => reasoning.push(&block.content),
                // Custom tool calls are the only opaque blocks an OpenAI answer has.
                Content::Opaque(_) if is_ours => calls.push(block),
                Content::Opaque(opaque) => {
                    self.losses.push(Loss::dropped("content", &format!("OpenAI has no {} block", opaque.kind)));
                }
                // Not in answers.
                Content::Image(_) | Content::Audio(_) | Content::Document(_) | Content::ToolResult(_) => {}
            }
        }
        match &text {
            Some(text) => object.str("content", text),
            None => object.null("content"),
        }
        match &refusal {
            Some(refusal) => object.str("refusal", refusal),
            None => object.null("refusal"),
        }
        let mut is_lost = false;
        for (list, block) in blocks {
            for raw in annotation::list(list) {
                if annotation::is_native(&raw, origin, Dialect::OpenAiChat) {
                    citations.push(raw);
                    continue;
                }
                let cited = annotation::read(&raw, origin);
                is_lost |= cited.is_empty();
                for citation in cited {
                    let at = ruler.chars_of(&citation, block);
                    match annotation::write_openai(&citation, at, Dialect::OpenAiChat) {
                        Some(raw) => citations.push(raw),
                        None => is_lost = true,
                    }
                }
            }
        }
        if is_lost {
            self.losses.push(Loss::dropped("content.citations", annotation::NO_ADDRESS));
        }
        if !citations.is_empty() {
            object.array("annotations", |array| citations.iter().for_each(|raw| array.raw(raw)));
        }
        if !reasoning.is_empty() {
            write_reasoning(&reasoning, object);
        }
        if !calls.is_empty() {
            object.array("tool_calls", |array| calls.iter().for_each(|block| write_call(block, is_ours, array)));
        }
    }
}

fn write_call(block: &Block, is_ours: bool, array: &mut ArrayWriter<'_>) {
    match &block.content {
        Content::Opaque(opaque) => array.raw(&opaque.raw),
        Content::ToolUse(call) => array.object(|object| {
            object.str("id", &call.id);
            object.str("type", "function");
            object.object("function", |object| {
                object.str("name", &call.name);
                object.str("arguments", if call.arguments.is_empty() { "{}" } else { &call.arguments });
            });
            if is_ours {
                object.rest(&block.rest);
            }
        }),
        _ => {}
    }
}

/// Writes reasoning twice: as the plain text that simple clients show, and as `OpenRouter`'s `reasoning_details` with
/// signatures, which careful clients send back.
pub(super) fn write_reasoning(blocks: &[&Content], object: &mut ObjectWriter<'_>) {
    let mut text = String::new();
    for block in blocks {
        if let Content::Reasoning(reasoning) = block {
            if !text.is_empty() && !reasoning.text.is_empty() {
                text.push_str("\n\n");
            }
            text.push_str(&reasoning.text);
        }
    }
    object.str("reasoning_content", &text);
    object.array("reasoning_details", |array| {
        for (index, block) in blocks.iter().enumerate() {
            array.object(|object| write_detail(index, block, object));
        }
    });
}

fn write_detail(index: usize, block: &Content, object: &mut ObjectWriter<'_>) {
    match block {
        Content::Reasoning(reasoning) => {
            object.str("type", "reasoning.text");
            object.str("text", &reasoning.text);
            object.opt_str("signature", reasoning.signature.as_deref());
        }
        Content::RedactedReasoning(data) => {
            object.str("type", "reasoning.encrypted");
            object.str("data", data);
        }
        _ => {}
    }
    object.u64("index", u64::try_from(index).unwrap_or(u64::MAX));
}
