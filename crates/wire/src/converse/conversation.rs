//! The conversation in Converse's form: `system` apart, then turns that alternate and begin with the user.

use bytes::BytesMut;

use hub::canonical::content::{Block, Content, Document, Message, Role, Source, ToolResult};
use hub::codec::json::{ArrayWriter, ObjectWriter, write_array};

use super::write::{Writer, cache_point};
use crate::is_results;

/// Consecutive messages of one side.
struct Turn<'r> {
    role: &'static str,
    blocks: Vec<(String, &'r Block)>,
}

impl Writer<'_> {
    pub(super) fn write_conversation(&mut self, object: &mut ObjectWriter<'_>) {
        let messages = &self.request.messages;
        let n_instructions = messages.iter().take_while(|message| message.role.is_instruction()).count();
        // Without any other message the last instruction must be the user's.
        let is_lonely = n_instructions == messages.len() && n_instructions > 0;
        let n_leading = n_instructions - usize::from(is_lonely);
        let mut system = BytesMut::new();
        let is_empty = write_array(&mut system, |array| {
            for (index, message) in messages[..n_leading].iter().enumerate() {
                self.write_instruction(index, message, array);
            }
        });
        if !is_empty {
            object.literal("system", std::str::from_utf8(&system).unwrap_or("[]"));
        }
        let mut turns: Vec<Turn<'_>> = Vec::new();
        for (index, message) in messages.iter().enumerate().skip(n_leading) {
            let role = if message.role == Role::Assistant { "assistant" } else { "user" };
            if message.role.is_instruction() {
                self.notes
                    .changed(format!("messages[{index}].role"), "an instruction that cannot be hoisted, sent as user");
            }
            if message.name.is_some() {
                self.notes.dropped(format!("messages[{index}].name"), "Bedrock's messages have no names");
            }
            let blocks = (message.content.iter().enumerate())
                .map(|(at, block)| (format!("messages[{index}].content[{at}]"), block));
            match turns.last_mut() {
                Some(turn) if turn.role == role => turn.blocks.extend(blocks),
                _ => turns.push(Turn { role, blocks: blocks.collect() }),
            }
            if is_results(message)
                && let Some(turn) = turns.last_mut()
            {
                // Results come before everything else of their turn.
                turn.blocks.sort_by_key(|(_, block)| !matches!(block.content, Content::ToolResult(_)));
            }
        }
        object.array("messages", |array| self.write_turns(&turns, array));
    }

    fn write_instruction(&mut self, index: usize, message: &Message, array: &mut ArrayWriter<'_>) {
        for (at, block) in message.content.iter().enumerate() {
            match &block.content {
                Content::Text(text) if text.text.trim().is_empty() => {}
                Content::Text(text) => {
                    array.object(|object| object.str("text", &text.text));
                    cache_point(block.cache, array);
                }
                _ => self
                    .notes
                    .dropped(format!("messages[{index}].content[{at}]"), "Bedrock's instructions are text only"),
            }
        }
    }

    fn write_turns(&mut self, turns: &[Turn<'_>], array: &mut ArrayWriter<'_>) {
        let mut is_first = true;
        for turn in turns {
            let mut content = BytesMut::new();
            let is_empty = write_array(&mut content, |array| self.write_turn(turn, array));
            if is_empty {
                continue;
            }
            if std::mem::take(&mut is_first) && turn.role == "assistant" {
                self.notes.changed("messages", "Bedrock wants the user to begin; a placeholder was put first");
                array.object(|object| {
                    object.str("role", "user");
                    object.literal("content", r#"[{"text":"(start of conversation)"}]"#);
                });
            }
            array.object(|object| {
                object.str("role", turn.role);
                object.literal("content", std::str::from_utf8(&content).unwrap_or("[]"));
            });
        }
    }

    fn write_turn(&mut self, turn: &Turn<'_>, array: &mut ArrayWriter<'_>) {
        let is = |kind: fn(&Content) -> bool| turn.blocks.iter().any(|(_, block)| kind(&block.content));
        let has_document = is(|content| matches!(content, Content::Document(_)));
        let has_text = is(|content| matches!(content, Content::Text(text) if !text.text.trim().is_empty()));
        for (path, block) in &turn.blocks {
            self.write_block(path, block, array);
        }
        if has_document && !has_text {
            // The service refuses a document without any text beside it.
            self.notes.changed("messages", "a text was put beside a document, which Bedrock requires");
            array.object(|object| object.str("text", "(document)"));
        }
    }

    fn write_block(&mut self, path: &str, block: &Block, array: &mut ArrayWriter<'_>) {
        for (name, _) in block.rest.unknown() {
            self.notes.dropped(format!("{path}.{name}"), "Bedrock has no such field");
        }
        match &block.content {
            Content::Text(text) if text.text.trim().is_empty() => return,
            Content::Text(text) => {
                if text.citations.is_some() {
                    self.notes.dropped(format!("{path}.citations"), "citations of another vendor");
                }
                array.object(|object| object.str("text", &text.text));
            }
            Content::Refusal(text) => array.object(|object| object.str("text", text)),
            Content::Image(image) => {
                if image.detail.as_deref().is_some_and(|detail| detail != "auto") {
                    self.notes.dropped(format!("{path}.image_url.detail"), "Bedrock decides on the resolution itself");
                }
                self.write_image(path, &image.source, array);
            }
            Content::Document(document) => self.write_document(path, document, array),
            Content::Audio(audio) => array.object(|object| {
                object.object("audio", |object| {
                    object.str("format", &audio.format);
                    object.object("source", |object| object.str("bytes", &audio.data));
                });
            }),
            Content::ToolUse(call) => {
                let (id, name) = (call_id(&call.id), self.notes.tool_name(&call.name));
                let input = self.notes.arguments(path, &call.arguments);
                array.object(|object| {
                    object.object("toolUse", |object| {
                        object.str("toolUseId", &id);
                        object.str("name", &name);
                        object.raw("input", &input);
                    });
                });
            }
            Content::ToolResult(result) => self.write_result(path, result, array),
            Content::Reasoning(reasoning) => {
                // Without its signature the vendor of the model would refuse it.
                let Some(signature) = &reasoning.signature else {
                    return self.notes.dropped(path, "reasoning without its signature");
                };
                array.object(|object| {
                    object.object("reasoningContent", |object| {
                        object.object("reasoningText", |object| {
                            object.str("text", &reasoning.text);
                            object.str("signature", signature);
                        });
                    });
                });
            }
            Content::RedactedReasoning(data) => array.object(|object| {
                object.object("reasoningContent", |object| object.str("redactedContent", data));
            }),
            Content::Opaque(opaque) => {
                let reason = format!("Bedrock has no {} block", opaque.kind);
                return self.notes.dropped(path, &reason);
            }
        }
        cache_point(block.cache, array);
    }

    fn write_image(&mut self, path: &str, source: &Source, array: &mut ArrayWriter<'_>) {
        let Source::Base64 { media_type, data } = source else {
            return self.notes.fail(path, "Bedrock takes images as bytes only; send base64 data");
        };
        let format = match media_type.strip_prefix("image/") {
            Some("jpg") => "jpeg",
            Some(format @ ("png" | "jpeg" | "gif" | "webp")) => format,
            _ => return self.notes.fail(path, "Bedrock takes PNG, JPEG, GIF and WebP"),
        };
        array.object(|object| {
            object.object("image", |object| {
                object.str("format", format);
                object.object("source", |object| object.str("bytes", data));
            });
        });
    }

    fn write_document(&mut self, path: &str, document: &Document, array: &mut ArrayWriter<'_>) {
        let (format, bytes, text) = match &document.source {
            Source::Base64 { media_type, data } => match document_format(media_type) {
                Some(format) => (format, Some(data), None),
                None => {
                    return self.notes.fail(path, "Bedrock takes PDF, CSV, Word, Excel, HTML, Markdown and plain text");
                }
            },
            Source::Text(text) => ("txt", None, Some(text)),
            Source::Url(_) | Source::File(_) | Source::Opaque(_) => {
                return self.notes.fail(path, "Bedrock takes documents as bytes only; send base64 data");
            }
        };
        // Names must differ within a call and hold few kinds of characters; the path does both.
        let name: String = (document.title.as_deref().unwrap_or("document").chars())
            .map(
                |character| {
                    if character.is_ascii_alphanumeric() || "-()[]".contains(character) { character } else { ' ' }
                },
            )
            .take(120)
            .collect();
        let words = name.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        let number: String =
            path.chars().map(|character| if character.is_ascii_digit() { character } else { ' ' }).collect();
        let number = number.split_whitespace().collect::<Vec<_>>().join("-");
        array.object(|object| {
            object.object("document", |object| {
                object.str("format", format);
                object.str("name", format!("{words} {number}").trim());
                object.object("source", |object| {
                    object.opt_str("bytes", bytes.map(String::as_str));
                    object.opt_str("text", text.map(String::as_str));
                });
                object.opt_str("context", document.context.as_deref());
                if let Some(is_enabled) = document.citations {
                    object.object("citations", |object| object.bool("enabled", is_enabled));
                }
            });
        });
    }

    fn write_result(&mut self, path: &str, result: &ToolResult, array: &mut ArrayWriter<'_>) {
        let mut content = BytesMut::new();
        let is_empty = write_array(&mut content, |array| {
            for (index, block) in result.content.iter().enumerate() {
                let path = format!("{path}.content[{index}]");
                match &block.content {
                    Content::Text(_) | Content::Image(_) | Content::Document(_) => {
                        self.write_block(&path, block, array);
                    }
                    _ => self.notes.dropped(path, "Bedrock's results hold text, images and documents"),
                }
            }
        });
        array.object(|object| {
            object.object("toolResult", |object| {
                object.str("toolUseId", &call_id(&result.call_id));
                let blank = r#"[{"text":"(empty)"}]"#;
                object
                    .literal("content", if is_empty { blank } else { std::str::from_utf8(&content).unwrap_or(blank) });
                if result.is_error {
                    object.str("status", "error");
                }
            });
        });
    }
}

/// An id as Bedrock takes it; both ends of a call go the same way.
fn call_id(id: &str) -> String {
    hub::dialect::tool_name::NameRule::OPENAI.rewrite(id).into_owned()
}

fn document_format(media_type: &str) -> Option<&'static str> {
    Some(match media_type {
        "application/pdf" => "pdf",
        "text/csv" => "csv",
        "application/msword" => "doc",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => "docx",
        "application/vnd.ms-excel" => "xls",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => "xlsx",
        "text/html" => "html",
        "text/plain" => "txt",
        "text/markdown" => "md",
        _ => return None,
    })
}
