//! The conversation as input items.

use hub::canonical::content::{Block, Content, Document, Image, Message, Reasoning, Role, Source, Text};
use hub::canonical::json::{Raw, Rest};
use hub::codec::json::{ArrayWriter, ObjectWriter};
use hub::dialect::proof;

use super::MESSAGE_FIELDS;
use super::write_request::Writer;

impl Writer<'_> {
    pub(super) fn write_input(&mut self, object: &mut ObjectWriter<'_>) {
        let request = self.request;
        let mut messages = &request.messages[..];
        if self.is_ours
            && request.state.has_instructions
            && let [first, others @ ..] = messages
            && let [Block { content: Content::Text(text), .. }] = &*first.content
        {
            object.str("instructions", &text.text);
            messages = others;
        }
        let skipped = request.messages.len() - messages.len();
        // Absent where the upstream has all of it.
        if messages.is_empty() && self.is_ours {
            return;
        }
        object.array("input", |array| {
            for (index, message) in messages.iter().enumerate() {
                self.write_message(index + skipped, message, array);
            }
        });
    }

    fn write_message(&mut self, index: usize, message: &Message, array: &mut ArrayWriter<'_>) {
        let path = format!("messages[{index}]");
        if message.name.is_some() {
            self.notes.dropped(format!("{path}.name"), "messages of OpenAI's responses have no names");
        }
        let role = match message.role {
            Role::System => "system",
            Role::Developer => "developer",
            Role::User => "user",
            Role::Assistant => return self.write_assistant(&path, message, array),
            Role::Tool => return self.write_tool_results(&path, message, array),
        };
        if let [Block { content: Content::Opaque(opaque), rest, .. }] = &*message.content
            && self.is_ours
            && rest.find(Block::ITEM).is_some()
        {
            return array.raw(&opaque.raw);
        }
        if !self.is_ours && is_lost(message) {
            for (at, block) in message.content.iter().enumerate() {
                self.write_part(&format!("{path}.content[{at}]"), "input_text", block, array);
            }
            return;
        }
        array.object(|object| {
            object.str("type", "message");
            object.str("role", role);
            self.write_content("content", &path, &message.content, object);
            self.write_item_fields(message.rest.find(Block::ITEM), object);
            let rest = message.rest.iter().filter(|(name, _)| *name != Block::ITEM);
            let rest = Rest(rest.map(|(name, value)| (name.into(), value.clone())).collect());
            self.rest(&path, &rest, object);
        });
    }

    fn write_item_fields(&self, item: Option<&Raw>, object: &mut ObjectWriter<'_>) {
        for (name, value) in item.filter(|_| self.is_ours).and_then(super::fields_of).unwrap_or_default() {
            object.raw(&name, &value);
        }
    }

    /// Writes content: a string when one plain text is all there is, else parts.
    fn write_content(&mut self, name: &str, path: &str, blocks: &[Block], object: &mut ObjectWriter<'_>) {
        match blocks {
            [Block { content: Content::Text(text), cache, rest }] if rest.is_plain() && text.citations.is_none() => {
                if cache.is_some() {
                    self.notes
                        .dropped(format!("{path}.content[0].cache_control"), "the upstream caches prompts by itself");
                }
                object.str(name, &text.text);
            }
            blocks => object.array(name, |array| {
                for (index, block) in blocks.iter().enumerate() {
                    self.write_part(&format!("{path}.content[{index}]"), "input_text", block, array);
                }
            }),
        }
    }

    fn write_part(&mut self, path: &str, text_kind: &str, block: &Block, array: &mut ArrayWriter<'_>) {
        match &block.content {
            Content::Opaque(opaque) if self.is_ours => return array.raw(&opaque.raw),
            Content::Opaque(opaque) => {
                return self.notes.dropped(path, &format!("OpenAI's responses have no {} block", opaque.kind));
            }
            Content::Reasoning(_) | Content::RedactedReasoning(_) => {
                return self.notes.dropped(path, "only the assistant's side may hold reasoning");
            }
            Content::ToolUse(_) | Content::ToolResult(_) => {
                return self.notes.fail(path, "this block does not belong here");
            }
            _ => {}
        }
        if block.cache.is_some() {
            self.notes.dropped(format!("{path}.cache_control"), "the upstream caches prompts by itself");
        }
        array.object(|object| {
            self.write_part_fields(path, text_kind, &block.content, object);
            let is_item = |name: &str| name == Block::ITEM || MESSAGE_FIELDS.contains(&name);
            let rest = block.rest.iter().filter(|(name, _)| !is_item(name));
            let rest = Rest(rest.map(|(name, value)| (name.into(), value.clone())).collect());
            self.rest(path, &rest, object);
        });
    }

    fn write_part_fields(&mut self, path: &str, text_kind: &str, content: &Content, object: &mut ObjectWriter<'_>) {
        match content {
            Content::Text(text) => self.write_text_part(path, text_kind, text, object),
            Content::Refusal(refusal) => {
                object.str("type", "refusal");
                object.str("refusal", refusal);
            }
            Content::Audio(audio) => {
                object.str("type", "input_audio");
                object.object("input_audio", |object| {
                    object.str("data", &audio.data);
                    object.str("format", &audio.format);
                });
            }
            Content::Image(image) => self.write_image(path, image, object),
            Content::Document(document) => self.write_document(path, document, object),
            // The caller has dealt with the others.
            _ => {}
        }
    }

    fn write_text_part(&mut self, path: &str, kind: &str, text: &Text, object: &mut ObjectWriter<'_>) {
        object.str("type", kind);
        object.str("text", &text.text);
        match &text.citations {
            Some(citations) if self.is_ours => object.raw("annotations", citations),
            Some(_) => self.notes.dropped(format!("{path}.citations"), "citations of another vendor"),
            None if kind == "output_text" && self.is_ours => object.literal("annotations", "[]"),
            None => {}
        }
    }

    fn write_image(&mut self, path: &str, image: &Image, object: &mut ObjectWriter<'_>) {
        object.str("type", "input_image");
        match &image.source {
            Source::Base64 { media_type, data } => {
                object.str("image_url", &format!("data:{media_type};base64,{data}"));
            }
            Source::Url(url) => object.str("image_url", url),
            Source::File(id) if self.request.origin.is_openai() => object.str("file_id", id),
            Source::File(_) | Source::Text(_) | Source::Opaque(_) => {
                self.notes.fail(path, "OpenAI takes images as base64 data or by address only; send one of these");
            }
        }
        match image.detail.as_deref() {
            None if self.is_ours => {}
            detail => object.str("detail", detail.unwrap_or("auto")),
        }
    }

    fn write_document(&mut self, path: &str, document: &Document, object: &mut ObjectWriter<'_>) {
        if document.context.is_some() {
            self.notes.dropped(format!("{path}.context"), "OpenAI's files have no context");
        }
        if document.citations == Some(true) {
            self.notes.dropped(format!("{path}.citations"), "OpenAI does not cite documents");
        }
        let title = document.title.as_deref();
        match &document.source {
            Source::Text(text) => {
                self.notes.changed(path, "sent as text, because OpenAI takes no plain-text documents");
                object.str("type", "input_text");
                match title {
                    Some(title) => object.str("text", &format!("{title}\n\n{text}")),
                    None => object.str("text", text),
                }
            }
            Source::Base64 { media_type, data } => {
                object.str("type", "input_file");
                object.str("filename", title.unwrap_or("document.pdf"));
                object.str("file_data", &format!("data:{media_type};base64,{data}"));
            }
            Source::Url(url) => {
                object.str("type", "input_file");
                object.str("file_url", url);
                if self.is_ours {
                    object.opt_str("filename", title);
                }
            }
            Source::File(id) if self.request.origin.is_openai() => {
                object.str("type", "input_file");
                object.str("file_id", id);
                if self.is_ours {
                    object.opt_str("filename", title);
                }
            }
            Source::File(_) | Source::Opaque(_) => {
                self.notes.fail(path, "a file id of another vendor; send the bytes as base64 or an address");
            }
        }
    }

    /// Writes each result as its own item.
    fn write_tool_results(&mut self, path: &str, message: &Message, array: &mut ArrayWriter<'_>) {
        for (index, block) in message.content.iter().enumerate() {
            let path = format!("{path}.content[{index}]");
            let Content::ToolResult(result) = &block.content else {
                self.notes.fail(&path, "a tool message holds tool results only");
                continue;
            };
            if result.is_error {
                self.notes
                    .dropped(format!("{path}.is_error"), "OpenAI has no flag for failed tools; the text must say so");
            }
            if block.cache.is_some() {
                self.notes.dropped(format!("{path}.cache_control"), "the upstream caches prompts by itself");
            }
            array.object(|object| {
                object.str("type", "function_call_output");
                object.str("call_id", &self.call_id(&result.call_id));
                if result.content.is_empty() {
                    object.str("output", "");
                } else {
                    self.write_content("output", &path, &result.content, object);
                }
                self.write_rest_of_item(&path, block, object);
            });
        }
        self.report_rest(path, message);
    }

    /// Writes what names the item and its unknown fields.
    fn write_rest_of_item(&mut self, path: &str, block: &Block, object: &mut ObjectWriter<'_>) {
        self.write_item_fields(block.rest.find(Block::ITEM), object);
        let rest = block.rest.iter().filter(|(name, _)| *name != Block::ITEM);
        let rest = Rest(rest.map(|(name, value)| (name.into(), value.clone())).collect());
        self.rest(path, &rest, object);
    }

    /// Reports the fields of a message that becomes several items.
    fn report_rest(&mut self, path: &str, message: &Message) {
        for (name, _) in message.rest.iter() {
            self.notes.dropped(format!("{path}.{name}"), "OpenAI's responses have no such field");
        }
    }

    // === The assistant's side ===

    /// Writes an assistant's turn: what it said, thought and called, each as its own item and in its order.
    fn write_assistant(&mut self, path: &str, message: &Message, array: &mut ArrayWriter<'_>) {
        let mut blocks = message.content.iter().enumerate().peekable();
        while let Some((index, block)) = blocks.next() {
            let mut parts = vec![(index, block)];
            let is_thought = |block: &Block| matches!(block.content, Content::Reasoning(_));
            // A block without a mark goes on with the item before it; elsewhere each thought has its own proof.
            let continues = |next: &Block| {
                next.rest.find(Block::ITEM).is_none()
                    && ((is_said(block) && is_said(next)) || (self.is_ours && is_thought(block) && is_thought(next)))
            };
            while let Some(next) = blocks.next_if(|(_, next)| continues(next)) {
                parts.push(next);
            }
            let path = format!("{path}.content[{index}]");
            if block.cache.is_some() {
                self.notes.dropped(format!("{path}.cache_control"), "the upstream caches prompts by itself");
            }
            match &block.content {
                Content::ToolUse(call) => array.object(|object| {
                    object.str("type", "function_call");
                    object.str("call_id", &self.call_id(&call.id));
                    let name = self.tool_name(&call.name);
                    object.str("name", &name);
                    object.str("arguments", if call.arguments.is_empty() { "{}" } else { &call.arguments });
                    self.write_rest_of_item(&path, block, object);
                }),
                Content::Reasoning(_) => self.write_reasoning_item(&path, &parts, array),
                Content::RedactedReasoning(_) => self.notes.dropped(path, "reasoning that OpenAI did not write"),
                Content::Opaque(opaque) if self.is_ours && block.rest.find(Block::ITEM).is_some() => {
                    array.raw(&opaque.raw);
                }
                Content::Opaque(opaque) if !self.is_ours => {
                    self.notes.dropped(path, &format!("OpenAI's responses have no {} block", opaque.kind));
                }
                _ => self.write_said(&path, &parts, array),
            }
        }
        self.report_rest(path, message);
    }

    fn write_said(&mut self, path: &str, parts: &[(usize, &Block)], array: &mut ArrayWriter<'_>) {
        let Some((_, first)) = parts.first() else { return };
        array.object(|object| {
            object.str("type", "message");
            object.str("role", "assistant");
            self.write_item_fields(first.rest.find(Block::ITEM), object);
            for name in MESSAGE_FIELDS.iter().filter(|_| self.is_ours) {
                object.opt_raw(name, first.rest.find(name));
            }
            let is_bare =
                |rest: &Rest| rest.iter().all(|(name, _)| name == Block::ITEM || MESSAGE_FIELDS.contains(&name));
            match parts {
                // An item with an id came from OpenAI, whose items have parts.
                [(_, Block { content: Content::Text(text), rest, .. })]
                    if is_bare(rest) && text.citations.is_none() && !has_id(rest) =>
                {
                    object.str("content", &text.text);
                }
                parts => object.array("content", |array| {
                    for (_, block) in parts {
                        self.write_part(path, "output_text", block, array);
                    }
                }),
            }
        });
    }

    /// Writes reasoning that OpenAI wrote; it takes no other.
    fn write_reasoning_item(&mut self, path: &str, parts: &[(usize, &Block)], array: &mut ArrayWriter<'_>) {
        let thoughts: Vec<(&Block, &Reasoning)> = parts
            .iter()
            .filter_map(|(_, block)| match &block.content {
                Content::Reasoning(reasoning) => Some((*block, reasoning)),
                _ => None,
            })
            .collect();
        let proof = thoughts.iter().rev().find_map(|(_, reasoning)| reasoning.signature.as_deref());
        let openai = proof.and_then(proof::as_openai);
        if openai.is_none() && (!self.is_ours || proof.is_some()) {
            return self.notes.dropped(path, "reasoning that OpenAI did not write");
        }
        array.object(|object| {
            object.str("type", "reasoning");
            if let Some((id, _)) = openai.filter(|(id, _)| !self.is_ours && !id.is_empty()) {
                object.str("id", id);
            }
            let first = parts.first().and_then(|(_, block)| block.rest.find(Block::ITEM));
            self.write_item_fields(first, object);
            let is_text = |block: &Block| self.is_ours && block.rest.find("type").is_some();
            for (name, kind) in [("summary", "summary_text"), ("content", "reasoning_text")] {
                let of_kind = |(block, reasoning): &&(&Block, &Reasoning)| {
                    is_text(block) == (name == "content") && !reasoning.text.is_empty()
                };
                if name == "content" && !thoughts.iter().any(|thought| of_kind(&thought)) {
                    continue;
                }
                object.array(name, |array| {
                    for (_, reasoning) in thoughts.iter().filter(of_kind) {
                        array.object(|object| {
                            object.str("type", kind);
                            object.str("text", &reasoning.text);
                        });
                    }
                });
            }
            object.opt_str("encrypted_content", openai.map(|(_, encrypted)| encrypted));
            if let Some((_, block)) = parts.first() {
                let rest = block.rest.iter().filter(|(name, _)| !matches!(*name, Block::ITEM | "type"));
                let rest = Rest(rest.map(|(name, value)| (name.into(), value.clone())).collect());
                self.rest(path, &rest, object);
            }
        });
    }
}

/// Says whether a block is part of a message item.
fn is_said(block: &Block) -> bool {
    match block.content {
        Content::ToolUse(_) | Content::Reasoning(_) | Content::RedactedReasoning(_) | Content::ToolResult(_) => false,
        Content::Opaque(_) => block.rest.find(Block::ITEM).is_none(),
        _ => true,
    }
}

/// Says whether nothing of a message can be said in another dialect.
fn is_lost(message: &Message) -> bool {
    !message.content.is_empty() && message.content.iter().all(|block| matches!(block.content, Content::Opaque(_)))
}

fn has_id(rest: &Rest) -> bool {
    rest.find(Block::ITEM).is_some_and(|item| item.as_str().contains("\"id\""))
}
