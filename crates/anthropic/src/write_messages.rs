//! The conversation in Anthropic's form: `system` first, then turns that alternate.
//!
//! Only the leading instructions are hoisted; later ones stay in place, because moving them would change the prompt's
//! prefix and with it every prompt cache.

use bytes::BytesMut;

use hub::canonical::content::{Block, Content, Document, Image, Message, Role, Source, Text, ToolResult, ToolUse};
use hub::canonical::json::Raw;
use hub::codec::json::{ArrayWriter, ObjectWriter, write_array};
use hub::dialect::tool_name::NameRule;
use hub::dialect::{Placed, annotation, cache_control, call_id, proof};

use super::write_request::Writer;

/// Consecutive messages of one role.
struct Turn<'r> {
    role: &'static str,
    blocks: Vec<Placed<'r>>,
}

/// Says whether a block is empty text, which Anthropic refuses and nobody misses.
fn is_nothing(block: &Block) -> bool {
    matches!(&block.content, Content::Text(text) if text.text.is_empty())
}

/// The text of content that is one plain text, which both ends write as a string.
fn plain_text<'r>(blocks: &[Placed<'r>]) -> Option<&'r str> {
    match blocks {
        [Placed { block: Block { content: Content::Text(text), cache: None, rest }, .. }]
            if rest.is_plain() && text.citations.is_none() =>
        {
            Some(&text.text)
        }
        _ => None,
    }
}

impl<'r> Writer<'r> {
    pub(super) fn write_conversation(&mut self, object: &mut ObjectWriter<'_>) {
        let messages = &self.request.messages;
        let n_instructions = messages.iter().take_while(|message| message.role.is_instruction()).count();
        // Without any other message the last instruction must be the user's.
        let is_lonely = n_instructions == messages.len() && n_instructions > 0 && !self.is_ours;
        let n_leading = n_instructions - usize::from(is_lonely);
        let mut system = Vec::new();
        for (index, message) in messages[..n_leading].iter().enumerate() {
            system.extend(self.place(index, message));
        }
        let mut turns: Vec<Turn<'r>> = Vec::new();
        for (index, message) in messages.iter().enumerate().skip(n_leading) {
            let role = self.role(index, message);
            let blocks = self.place(index, message);
            if !self.is_ours && message.content.iter().all(is_nothing) {
                continue;
            }
            match turns.last_mut() {
                Some(turn) if turn.role == role && role != "system" => turn.blocks.extend(blocks),
                _ => turns.push(Turn { role, blocks }),
            }
        }
        self.write_system(&system, object);
        object.array("messages", |array| self.write_turns(&turns, array));
    }

    fn place(&mut self, index: usize, message: &'r Message) -> Vec<Placed<'r>> {
        let lost = ("Anthropic's messages have no names", "Anthropic has no such field");
        self.notes.place((index, message), self.is_ours, lost)
    }

    fn role(&mut self, index: usize, message: &Message) -> &'static str {
        match message.role {
            Role::Assistant => "assistant",
            Role::User | Role::Tool => "user",
            Role::System | Role::Developer if self.is_ours => "system",
            Role::System | Role::Developer => {
                let reason = "an instruction that cannot be hoisted, sent as user";
                self.notes.changed(format!("messages[{index}].role"), reason);
                "user"
            }
        }
    }

    fn write_system(&mut self, system: &[Placed<'_>], object: &mut ObjectWriter<'_>) {
        if let Some(text) = plain_text(system) {
            if self.is_ours || !text.trim().is_empty() {
                object.str("system", text);
            }
            return;
        }
        let mut blocks = BytesMut::new();
        let is_empty = write_array(&mut blocks, |array| {
            for placed in system {
                match &placed.block.content {
                    Content::Text(_) => self.write_block(placed, "system", array),
                    Content::Opaque(opaque) if self.is_ours => array.raw(&opaque.raw),
                    _ => self.notes.dropped(placed.path.as_str(), "Anthropic's instructions are text only"),
                }
            }
        });
        if !is_empty {
            object.literal("system", std::str::from_utf8(&blocks).unwrap_or("[]"));
        }
    }

    fn write_turns(&mut self, turns: &[Turn<'_>], array: &mut ArrayWriter<'_>) {
        let mut is_first = true;
        for (index, turn) in turns.iter().enumerate() {
            let is_last = index + 1 == turns.len();
            // Written apart, because a turn whose blocks all fall away must not be sent.
            let mut content = BytesMut::new();
            let is_prefill = is_last && turn.role == "assistant";
            let text = plain_text(&turn.blocks).filter(|text| !is_prefill && (self.is_ours || !text.trim().is_empty()));
            let is_empty = text.is_none() && write_array(&mut content, |array| self.write_turn(turn, is_last, array));
            if is_empty && !self.is_ours {
                continue;
            }
            if std::mem::take(&mut is_first) && turn.role == "assistant" && !self.is_ours {
                self.notes.changed("messages", "Anthropic wants the user to begin; a placeholder was put first");
                array.object(|object| {
                    object.str("role", "user");
                    object.str("content", "(start of conversation)");
                });
            }
            array.object(|object| {
                object.str("role", turn.role);
                match text {
                    Some(text) => object.str("content", text),
                    None => object.literal("content", std::str::from_utf8(&content).unwrap_or("[]")),
                }
            });
        }
    }

    /// Writes the blocks of a turn; results of tools must come before everything else.
    fn write_turn(&mut self, turn: &Turn<'_>, is_last: bool, array: &mut ArrayWriter<'_>) {
        let is_result = |placed: &&Placed<'_>| matches!(placed.block.content, Content::ToolResult(_));
        let results = turn.blocks.iter().filter(is_result);
        let others = turn.blocks.iter().filter(|placed| !is_result(placed));
        let n_blocks = turn.blocks.len();
        for (position, placed) in results.chain(others).enumerate() {
            let is_prefill = is_last && turn.role == "assistant" && position + 1 == n_blocks && !self.is_ours;
            match &placed.block.content {
                Content::Text(text) if is_prefill && text.text.trim_end().len() < text.text.len() => {
                    self.notes
                        .changed(placed.path.as_str(), "blanks at its end cut off, because Anthropic refuses them");
                    let text = Text { text: text.text.trim_end().to_owned(), citations: text.citations.clone() };
                    let block = Block { content: Content::Text(text), ..placed.block.clone() };
                    self.write_block(&Placed { path: placed.path.clone(), block: &block }, turn.role, array);
                }
                _ => self.write_block(placed, turn.role, array),
            }
        }
    }

    fn write_block(&mut self, placed: &Placed<'_>, role: &str, array: &mut ArrayWriter<'_>) {
        let Placed { path, block } = placed;
        match &block.content {
            Content::Opaque(opaque) if self.is_ours => return array.raw(&opaque.raw),
            Content::Opaque(opaque) => {
                return self.notes.dropped(path.as_str(), &format!("Anthropic has no {} block", opaque.kind));
            }
            Content::Text(text) if !self.is_ours && text.text.trim().is_empty() => {
                if !text.text.is_empty() {
                    self.notes.dropped(path.as_str(), "Anthropic refuses text of blanks only");
                }
                return;
            }
            Content::Reasoning(_) | Content::RedactedReasoning(_) if !self.takes_reasoning(path, &block.content) => {
                return;
            }
            Content::Audio(_) => return self.notes.fail(path, "the upstream takes no sound; send text"),
            _ => {}
        }
        array.object(|object| {
            self.write_fields(path, role, &block.content, object);
            cache_control::write(block.cache, object);
            self.rest(path, &block.rest, object);
        });
    }

    /// Anthropic takes back only thinking that it signed, and only while thinking is on. Its own clients hold unsigned
    /// thinking too when an earlier answer came from elsewhere.
    fn takes_reasoning(&mut self, path: &str, content: &Content) -> bool {
        let is_signed = match content {
            Content::Reasoning(reasoning) => reasoning.signature.as_deref().is_some_and(proof::is_anthropic),
            _ => true,
        };
        if !is_signed {
            self.notes.dropped(path, "reasoning without Anthropic's signature");
        } else if !self.is_ours && !self.thinking.is_on() {
            self.notes.dropped(path, "Anthropic takes reasoning back only while thinking is on");
        }
        is_signed && (self.is_ours || self.thinking.is_on())
    }

    fn write_fields(&mut self, path: &str, role: &str, content: &Content, object: &mut ObjectWriter<'_>) {
        match content {
            Content::Text(text) => {
                object.str("type", "text");
                object.str("text", &text.text);
                match &text.citations {
                    Some(raw) if self.is_ours => {
                        let kept = annotation::without_ours(raw);
                        if kept.as_ref() != Some(raw) {
                            self.notes.dropped(format!("{path}.citations"), "citations that Anthropic did not make");
                        }
                        object.opt_raw("citations", kept.as_ref());
                    }
                    Some(_) => self.notes.dropped(format!("{path}.citations"), "citations of another vendor"),
                    None => {}
                }
            }
            Content::Refusal(text) => {
                object.str("type", "text");
                object.str("text", text);
            }
            Content::Image(image) => self.write_image(path, image, object),
            Content::Document(document) => self.write_document(path, document, object),
            Content::ToolUse(call) => self.write_tool_use(path, call, object),
            Content::ToolResult(result) => self.write_tool_result(path, role, result, object),
            Content::Reasoning(reasoning) => {
                object.str("type", "thinking");
                object.str("thinking", &reasoning.text);
                object.str("signature", reasoning.signature.as_deref().unwrap_or_default());
            }
            Content::RedactedReasoning(data) => {
                object.str("type", "redacted_thinking");
                object.str("data", data);
            }
            // The caller has dealt with these.
            Content::Audio(_) | Content::Opaque(_) => {}
        }
    }

    fn write_image(&mut self, path: &str, image: &Image, object: &mut ObjectWriter<'_>) {
        object.str("type", "image");
        self.write_source(path, &image.source, object);
        if image.detail.as_deref().is_some_and(|detail| detail != "auto") {
            self.notes.dropped(format!("{path}.image_url.detail"), "Anthropic decides on the resolution itself");
        }
    }

    fn write_document(&mut self, path: &str, document: &Document, object: &mut ObjectWriter<'_>) {
        object.str("type", "document");
        self.write_source(path, &document.source, object);
        object.opt_str("title", document.title.as_deref());
        object.opt_str("context", document.context.as_deref());
        if let Some(is_enabled) = document.citations {
            object.object("citations", |object| object.bool("enabled", is_enabled));
        }
    }

    fn write_source(&mut self, path: &str, source: &Source, object: &mut ObjectWriter<'_>) {
        let fields: [(&str, &str); 3] = match source {
            Source::Base64 { media_type, data } => [("type", "base64"), ("media_type", media_type), ("data", data)],
            Source::Url(url) => [("type", "url"), ("url", url), ("", "")],
            Source::File(id) if self.is_ours => [("type", "file"), ("file_id", id), ("", "")],
            Source::File(_) => return self.notes.fail(path, "a file id of another vendor; send the bytes as base64"),
            Source::Text(text) => [("type", "text"), ("media_type", "text/plain"), ("data", text)],
            Source::Opaque(raw) if self.is_ours => return object.raw("source", raw),
            Source::Opaque(_) => return self.notes.fail(path, "a source that the upstream does not know; send base64"),
        };
        object.object("source", |object| {
            for (name, value) in fields.iter().filter(|(name, _)| !name.is_empty()) {
                object.str(name, value);
            }
        });
    }

    fn write_tool_use(&mut self, path: &str, call: &ToolUse, object: &mut ObjectWriter<'_>) {
        object.str("type", "tool_use");
        object.str("id", &self.call_id(&call.id));
        let name = self.tool_name(&call.name);
        object.str("name", &name);
        let arguments = call.arguments.trim();
        match Raw::parse(arguments).filter(Raw::is_object) {
            Some(input) => object.raw("input", &input),
            None if arguments.is_empty() => object.literal("input", "{}"),
            None => {
                self.notes.changed(format!("{path}.arguments"), "not a JSON object; sent as text in one");
                object.object("input", |object| object.str("arguments", &call.arguments));
            }
        }
    }

    fn write_tool_result(&mut self, path: &str, role: &str, result: &ToolResult, object: &mut ObjectWriter<'_>) {
        if role != "user" {
            self.notes.fail(path, "results of tools belong to the user's side");
        }
        object.str("type", "tool_result");
        object.str("tool_use_id", &self.call_id(&result.call_id));
        match &*result.content {
            [] => {}
            [Block { content: Content::Text(text), cache: None, rest }] if rest.is_plain() => {
                object.str("content", &text.text);
            }
            blocks => object.array("content", |array| {
                for (index, block) in blocks.iter().enumerate() {
                    let path = format!("{path}.content[{index}]");
                    self.write_block(&Placed { path, block }, "result", array);
                }
            }),
        }
        if result.is_error {
            object.bool("is_error", true);
        }
    }

    fn call_id(&self, id: &str) -> String {
        let id = call_id::bare(id);
        if self.is_ours { id.to_owned() } else { NameRule::ANTHROPIC.rewrite(id).into_owned() }
    }
}
