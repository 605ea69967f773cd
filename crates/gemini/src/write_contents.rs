//! The conversation in Gemini's form: `systemInstruction` first, then turns that alternate.
//!
//! Only the leading instructions are hoisted; later ones stay in place, because moving them would change the prompt's
//! prefix and with it every prompt cache.

use bytes::BytesMut;

use hub::canonical::content::{
    Audio, Block, Content, Document, Image, Message, Reasoning, Role, Source, ToolResult, ToolUse,
};
use hub::canonical::json::Raw;
use hub::codec::base64;
use hub::codec::json::{ArrayWriter, ObjectWriter, write_array};
use hub::dialect::{Placed, ReasoningStyle, call_id};

use super::write_request::Writer;
use super::{MIME_TYPE, RESULT_NAME, proof};

/// Consecutive messages of one role.
struct Turn<'r> {
    role: &'static str,
    message: &'r Message,
    blocks: Vec<Placed<'r>>,
    /// The model's turn belongs to the exchange in progress, whose calls must be signed.
    is_current: bool,
}

impl<'r> Writer<'r> {
    pub(super) fn write_conversation(&mut self, object: &mut ObjectWriter<'_>) {
        let messages = &self.request.messages;
        let blocks = messages.iter().flat_map(|message| &message.content);
        let calls = blocks.filter_map(|block| match &block.content {
            Content::ToolUse(call) => Some(call),
            _ => None,
        });
        self.calls = calls.enumerate().map(|(at, call)| (&*call.id, (at, &*call.name))).collect();
        let n_instructions = messages.iter().take_while(|message| message.role.is_instruction()).count();
        // Without any other message the last instruction must be the user's.
        let is_lonely = n_instructions == messages.len() && n_instructions > 0 && !self.is_ours;
        let n_leading = n_instructions - usize::from(is_lonely);
        let mut system = Vec::new();
        for (index, message) in messages[..n_leading].iter().enumerate() {
            system.extend(self.place(index, message));
        }
        let last_user = messages.iter().rposition(|message| message.role == Role::User);
        let mut turns: Vec<Turn<'r>> = Vec::new();
        for (index, message) in messages.iter().enumerate().skip(n_leading) {
            let role = self.role(index, message);
            let blocks = self.place(index, message);
            let is_nothing = |block: &Block| matches!(&block.content, Content::Text(text) if text.text.is_empty());
            if !self.is_ours && message.content.iter().all(is_nothing) {
                continue;
            }
            let is_current = last_user.is_none_or(|last| index > last);
            match turns.last_mut() {
                Some(turn) if turn.role == role && self.joins(turn, message) => turn.blocks.extend(blocks),
                _ => turns.push(Turn { role, message, blocks, is_current }),
            }
        }
        self.write_system(&system, messages.first(), object);
        object.array("contents", |array| self.write_turns(&turns, array));
    }

    /// The vendor's own clients decide on their turns; what they sent as one, the reader has cut in two at most.
    fn joins(&self, turn: &Turn<'_>, message: &Message) -> bool {
        !self.is_ours || (turn.message.role == Role::Tool && message.role == Role::User)
    }

    fn place(&mut self, index: usize, message: &'r Message) -> Vec<Placed<'r>> {
        let lost = ("Gemini's contents have no names", "Gemini has no such field");
        self.notes.place((index, message), self.is_ours, lost)
    }

    fn role(&mut self, index: usize, message: &Message) -> &'static str {
        match message.role {
            Role::Assistant => "model",
            Role::User | Role::Tool => "user",
            Role::System | Role::Developer if self.is_ours => "system",
            Role::System | Role::Developer => {
                let reason = "an instruction that cannot be hoisted, sent as user";
                self.notes.changed(format!("messages[{index}].role"), reason);
                "user"
            }
        }
    }

    fn write_system(&mut self, system: &[Placed<'_>], first: Option<&Message>, object: &mut ObjectWriter<'_>) {
        let mut parts = BytesMut::new();
        let is_empty = write_array(&mut parts, |array| {
            for placed in system {
                match &placed.block.content {
                    Content::Text(_) => self.write_part(placed, None, array),
                    _ if self.is_ours => self.write_part(placed, None, array),
                    _ => self.notes.dropped(placed.path.as_str(), "Gemini's instructions are text only"),
                }
            }
        });
        if is_empty {
            return;
        }
        object.object("systemInstruction", |object| {
            object.literal("parts", std::str::from_utf8(&parts).unwrap_or("[]"));
            if let Some(first) = first.filter(|_| self.is_ours) {
                object.rest(&first.rest);
            }
        });
    }

    fn write_turns(&mut self, turns: &[Turn<'_>], array: &mut ArrayWriter<'_>) {
        let mut is_first = true;
        for turn in turns {
            // Written apart, because a turn whose parts all fall away must not be sent.
            let mut parts = BytesMut::new();
            let is_empty = write_array(&mut parts, |array| self.write_parts(turn, array));
            if is_empty && !self.is_ours {
                continue;
            }
            if std::mem::take(&mut is_first) && turn.role == "model" && !self.is_ours {
                self.notes.changed("messages", "Gemini wants the user to begin; a placeholder was put first");
                array.object(|object| {
                    object.str("role", "user");
                    object.array("parts", |array| array.object(|object| object.str("text", "(start of conversation)")));
                });
            }
            array.object(|object| {
                object.str("role", turn.role);
                object.literal("parts", std::str::from_utf8(&parts).unwrap_or("[]"));
                if self.is_ours {
                    object.rest(&turn.message.rest);
                }
            });
        }
        if is_first && !self.is_ours {
            self.notes.fail("messages", "Gemini wants at least one message with content; add one");
        }
    }

    fn write_parts(&mut self, turn: &Turn<'_>, array: &mut ArrayWriter<'_>) {
        // Results find their calls by name and order where a model knows no ids, so they go in the order of the calls.
        let mut blocks: Vec<&Placed<'_>> = turn.blocks.iter().collect();
        if !self.is_ours {
            blocks.sort_by_cached_key(|placed| match &placed.block.content {
                Content::ToolResult(result) => self.calls.get(&*result.call_id).map_or(usize::MAX - 1, |(at, _)| *at),
                _ => usize::MAX,
            });
        }
        let wants_signature = turn.is_current && !self.is_ours && self.options.reasoning == ReasoningStyle::Effort;
        let first_call = blocks.iter().position(|placed| matches!(placed.block.content, Content::ToolUse(_)));
        for (at, placed) in blocks.iter().enumerate() {
            let stand_in = (wants_signature && Some(at) == first_call).then(proof::not_ours);
            self.write_part(placed, stand_in, array);
        }
        let has_text = |placed: &&Placed<'_>| {
            matches!(placed.block.content, Content::Text(_) | Content::Refusal(_) | Content::ToolResult(_))
        };
        // Some models refuse media without any text beside it.
        if turn.role == "user" && !self.is_ours && !turn.blocks.is_empty() && !turn.blocks.iter().any(|p| has_text(&p))
        {
            array.object(|object| object.str("text", " "));
        }
    }

    fn write_part(&mut self, placed: &Placed<'_>, stand_in: Option<String>, array: &mut ArrayWriter<'_>) {
        let Placed { path, block } = placed;
        if block.cache.is_some() {
            self.notes.dropped(format!("{path}.cache_control"), "the upstream caches prompts by itself");
        }
        let mut media = Vec::new();
        match &block.content {
            Content::Opaque(opaque) if self.is_ours => return array.raw(&opaque.raw),
            Content::Opaque(opaque) => {
                return self.notes.dropped(path.as_str(), &format!("Gemini has no {} part", opaque.kind));
            }
            Content::Text(text) if !self.is_ours && text.text.is_empty() => return,
            Content::Reasoning(reasoning) if !self.takes_reasoning(path, reasoning) => return,
            Content::RedactedReasoning(_) => {
                return self.notes.dropped(path.as_str(), "reasoning that only another vendor can read");
            }
            _ => {}
        }
        array.object(|object| {
            match &block.content {
                Content::Text(text) => {
                    object.str("text", &text.text);
                    if text.citations.is_some() {
                        self.notes.dropped(format!("{path}.citations"), "Gemini does not take citations back");
                    }
                }
                Content::Refusal(text) => object.str("text", text),
                Content::Reasoning(reasoning) => write_reasoning(reasoning, object),
                Content::Image(image) => self.write_image(path, image, block, object),
                Content::Audio(audio) => write_audio(audio, object),
                Content::Document(document) => self.write_document(path, document, block, object),
                Content::ToolUse(call) => self.write_call(path, call, stand_in, block, object),
                Content::ToolResult(result) => self.write_result(path, result, block, &mut media, object),
                Content::RedactedReasoning(_) | Content::Opaque(_) => {}
            }
            let nested = ["functionCall", "functionResponse", "inlineData", "fileData"];
            let mut rest = block.rest.clone();
            rest.0.retain(|(name, _)| !self.is_ours || !nested.contains(&&**name));
            self.rest(path, &rest, object);
        });
        for placed in media {
            self.write_part(&placed, None, array);
        }
    }

    /// Gemini takes back only thinking that it signed. Its own clients hold what other vendors signed too, when an earlier
    /// answer came from elsewhere.
    fn takes_reasoning(&mut self, path: &str, reasoning: &Reasoning) -> bool {
        let is_taken = match reasoning.signature.as_deref() {
            Some(proof) => proof::as_gemini(proof).is_some(),
            None => self.is_ours,
        };
        if !is_taken {
            self.notes.dropped(path, "reasoning without Gemini's signature");
        }
        is_taken
    }

    /// Writes what is known of the nested object of a part back into it.
    fn write_nested(&self, block: &Block, name: &str, object: &mut ObjectWriter<'_>) {
        if let Some(raw) = block.rest.find(name).filter(|_| self.is_ours) {
            object.rest(&super::write_request::fields_of(raw));
        }
    }

    fn write_call(
        &mut self,
        path: &str,
        call: &ToolUse,
        stand_in: Option<String>,
        block: &Block,
        object: &mut ObjectWriter<'_>,
    ) {
        let (id, signature) = call_id::split(&call.id);
        let name = self.tool_name(&call.name);
        let arguments = call.arguments.trim();
        object.object("functionCall", |object| {
            if !call_id::is_made_up(id) {
                object.str("id", id);
            }
            object.str("name", &name);
            match Raw::parse(arguments).filter(Raw::is_object) {
                Some(args) => object.raw("args", &args),
                None if arguments.is_empty() => object.literal("args", "{}"),
                None => {
                    self.notes.changed(format!("{path}.arguments"), "not a JSON object; sent as text in one");
                    object.object("args", |object| object.str("arguments", &call.arguments));
                }
            }
            self.write_nested(block, "functionCall", object);
        });
        if signature.is_none() && stand_in.is_some() {
            self.notes.changed(path, "a call that Gemini did not sign; it is asked to take it all the same");
        }
        object.opt_str("thoughtSignature", signature.or(stand_in).as_deref());
    }

    fn write_result<'b>(
        &mut self,
        path: &str,
        result: &'b ToolResult,
        block: &Block,
        media: &mut Vec<Placed<'b>>,
        object: &mut ObjectWriter<'_>,
    ) {
        let id = call_id::bare(&result.call_id);
        let own_name = block.rest.find(RESULT_NAME).and_then(|raw| serde_json::from_str::<String>(raw.as_str()).ok());
        let name = match (self.calls.get(&*result.call_id).copied(), own_name) {
            (_, Some(name)) if self.is_ours => name,
            (Some((_, name)), _) => self.tool_name(name),
            (None, name) => {
                self.notes.changed(path, "the call that this answers is not in the conversation");
                self.tool_name(name.as_deref().unwrap_or("unknown"))
            }
        };
        let mut text = None::<String>;
        for (index, inner) in result.content.iter().enumerate() {
            match &inner.content {
                Content::Text(part) => {
                    let text = text.get_or_insert_default();
                    if !text.is_empty() {
                        text.push('\n');
                    }
                    text.push_str(&part.text);
                }
                _ => media.push(Placed { path: format!("{path}.content[{index}]"), block: inner }),
            }
        }
        object.object("functionResponse", |object| {
            if !call_id::is_made_up(id) {
                object.str("id", id);
            }
            object.str("name", &name);
            let own = text.as_deref().and_then(|text| Raw::parse(text.trim())).filter(Raw::is_object);
            match (own, &text) {
                (Some(own), _) if !result.is_error => object.raw("response", &own),
                (_, Some(text)) => {
                    let name = if result.is_error { "error" } else { "output" };
                    object.object("response", |object| object.str(name, text));
                }
                (_, None) if self.is_ours => {}
                (_, None) => object.literal("response", "{}"),
            }
            if self.is_ours && !media.is_empty() {
                object.array("parts", |array| {
                    media.drain(..).for_each(|placed| self.write_part(&placed, None, array));
                });
            }
            self.write_nested(block, "functionResponse", object);
        });
        if !media.is_empty() {
            self.notes.changed(path, "media of tool results sent beside them");
        }
    }

    // === Media ===

    fn write_image(&mut self, path: &str, image: &Image, block: &Block, object: &mut ObjectWriter<'_>) {
        if image.detail.as_deref().is_some_and(|detail| detail != "auto") {
            self.notes.dropped(format!("{path}.image_url.detail"), "Gemini decides on the resolution itself");
        }
        self.write_source(path, &image.source, None, block, object);
    }

    fn write_document(&mut self, path: &str, document: &Document, block: &Block, object: &mut ObjectWriter<'_>) {
        for (name, is_set) in [
            ("title", document.title.is_some() && !self.is_ours),
            ("context", document.context.is_some()),
            ("citations", document.citations == Some(true)),
        ] {
            if is_set {
                self.notes.dropped(format!("{path}.{name}"), "Gemini's documents are bytes and a type");
            }
        }
        self.write_source(path, &document.source, document.title.as_deref(), block, object);
    }

    fn write_source(
        &mut self,
        path: &str,
        source: &Source,
        title: Option<&str>,
        block: &Block,
        object: &mut ObjectWriter<'_>,
    ) {
        let title = title.filter(|_| self.is_ours);
        let (media_type, data) = match source {
            Source::Base64 { media_type, data } => (&**media_type, data.clone()),
            Source::Text(text) => ("text/plain", base64::encode(text.as_bytes())),
            Source::File(uri) if self.is_ours => return self.write_file(uri, title, block, object),
            Source::Url(uri) => return self.write_file(uri, title, block, object),
            Source::File(_) => return self.notes.fail(path, "a file id of another vendor; send the bytes as base64"),
            Source::Opaque(_) => return self.notes.fail(path, "a source that the upstream does not know; send base64"),
        };
        object.object("inlineData", |object| {
            object.str("mimeType", media_type);
            object.str("data", &data);
            object.opt_str("displayName", title);
            self.write_nested(block, "inlineData", object);
        });
    }

    fn write_file(&self, uri: &str, title: Option<&str>, block: &Block, object: &mut ObjectWriter<'_>) {
        object.object("fileData", |object| {
            match block.rest.find(MIME_TYPE).filter(|_| self.is_ours) {
                Some(own) => object.raw("mimeType", own),
                None if self.is_ours => {}
                None => object.opt_str("mimeType", media_type_of(uri)),
            }
            object.str("fileUri", uri);
            object.opt_str("displayName", title);
            self.write_nested(block, "fileData", object);
        });
    }
}

fn write_audio(audio: &Audio, object: &mut ObjectWriter<'_>) {
    object.object("inlineData", |object| {
        object.str("mimeType", &format!("audio/{}", audio.format));
        object.str("data", &audio.data);
    });
}

/// Thinking without text is the signature of what stands around it.
fn write_reasoning(reasoning: &Reasoning, object: &mut ObjectWriter<'_>) {
    object.str("text", &reasoning.text);
    let signature = reasoning.signature.as_deref().and_then(proof::as_gemini);
    if !reasoning.text.is_empty() || signature.is_none() {
        object.bool("thought", true);
    }
    object.opt_str("thoughtSignature", signature);
}

/// Guesses the media type of an address by its ending.
fn media_type_of(uri: &str) -> Option<&'static str> {
    let path = uri.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    let (_, ending) = path.rsplit_once('.')?;
    Some(match ending {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "heic" => "image/heic",
        "pdf" => "application/pdf",
        "txt" | "md" => "text/plain",
        "html" => "text/html",
        "csv" => "text/csv",
        "mp3" => "audio/mp3",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        _ => return None,
    })
}
