//! Contents and their parts become messages.
//!
//! Calls may come without ids; ids are made up then, and results find their call by name and order.

use std::collections::{BTreeMap, VecDeque};

use hub::canonical::content::{
    Audio, Block, Content, Document, Image, Message, Opaque, Reasoning, Role, Source, Text, ToolResult, ToolUse,
};
use hub::canonical::error::DecodeError;
use hub::canonical::json::{Raw, Rest};
use hub::codec::json::{self, Node, Object};
use hub::dialect::call_id;

use super::proof::{self, Proof};
use super::{MIME_TYPE, RESULT_NAME};

/// The calls of the conversation so far.
#[derive(Default)]
pub(super) struct Calls {
    /// Id in the hub and whether a result has come, in order.
    known: Vec<(String, bool)>,
    by_id: BTreeMap<String, usize>,
    /// Calls of the model's last turn by name, the first first.
    waiting: BTreeMap<String, VecDeque<usize>>,
    /// The next part may go on with the text before it.
    is_streamed: bool,
}

impl Calls {
    fn begin(&mut self, id: Option<String>, name: &str, signature: Option<&str>) -> String {
        let at = self.known.len();
        let bare = id.unwrap_or_else(|| call_id::make_up("", u32::try_from(at).unwrap_or(u32::MAX)));
        let signed = signature.and_then(|signature| call_id::sign(&bare, signature));
        let id = signed.unwrap_or_else(|| bare.clone());
        self.known.push((id.clone(), false));
        self.by_id.insert(bare, at);
        self.waiting.entry(name.to_owned()).or_default().push_back(at);
        id
    }

    fn answer(&mut self, id: Option<String>, name: &str) -> String {
        let found = match &id {
            Some(id) => self.by_id.get(id).copied(),
            None => self.next(name),
        };
        match found {
            Some(at) => {
                let (id, is_answered) = &mut self.known[at];
                *is_answered = true;
                id.clone()
            }
            None => id.unwrap_or_else(|| call_id::make_up("lost", 0)),
        }
    }

    /// Takes the first call of a name that has no result yet.
    fn next(&mut self, name: &str) -> Option<usize> {
        let waiting = self.waiting.get_mut(name)?;
        while let Some(at) = waiting.pop_front() {
            if !self.known[at].1 {
                return Some(at);
            }
        }
        None
    }
}

/// Reads `systemInstruction`.
pub(super) fn read_system(node: &Node<'_, '_>) -> Result<Message, DecodeError> {
    if node.is_str() {
        return Ok(Message::new(Role::System, vec![Block::text(node.string()?)]));
    }
    let object = node.object()?.camel();
    let mut content = Vec::new();
    read_parts(&object, &mut Calls::default(), &mut content)?;
    object.skip(&["role"]);
    let mut message = Message::new(Role::System, content);
    message.rest = object.rest();
    Ok(message)
}

/// Reads one of `contents`; results of functions become a message of their own before the rest of it.
pub(super) fn read_content(
    node: &Node<'_, '_>,
    calls: &mut Calls,
    messages: &mut Vec<Message>,
) -> Result<(), DecodeError> {
    let object = node.object()?.camel();
    let role = match object.find("role") {
        None => Role::User,
        Some(role) => match &*role.str()? {
            "user" | "function" | "tool" | "" => Role::User,
            "model" => Role::Assistant,
            "system" => Role::System,
            _ => return Err(role.expected("one of user, model")),
        },
    };
    // The vendor's libraries keep a streamed answer as it came: a content for each chunk.
    let before = messages.pop_if(|last| role == Role::Assistant && last.role == role && last.rest.is_empty());
    calls.is_streamed = before.is_some();
    if role == Role::Assistant && before.is_none() {
        calls.waiting.clear();
    }
    let mut content = before.map(|message| message.content).unwrap_or_default();
    read_parts(&object, calls, &mut content)?;
    let (results, content): (Vec<_>, Vec<_>) =
        content.into_iter().partition(|block| matches!(block.content, Content::ToolResult(_)));
    let has_results = !results.is_empty();
    if has_results {
        messages.push(Message::new(Role::Tool, results));
    }
    if !content.is_empty() || !has_results {
        let mut message = Message::new(role, content);
        message.rest = object.rest();
        messages.push(message);
    }
    Ok(())
}

fn read_parts(object: &Object<'_, '_>, calls: &mut Calls, blocks: &mut Vec<Block>) -> Result<(), DecodeError> {
    let Some(parts) = object.find("parts") else { return Ok(()) };
    for part in parts.array()?.iter() {
        read_part(&part, calls, blocks)?;
        calls.is_streamed = false;
    }
    Ok(())
}

fn read_part(node: &Node<'_, '_>, calls: &mut Calls, blocks: &mut Vec<Block>) -> Result<(), DecodeError> {
    let part = node.object()?.camel();
    let signature = part.find_string("thoughtSignature")?.filter(|proof| !proof.is_empty());
    let is_thought = part.find_bool("thought")?.unwrap_or(false);
    if let Some(field) = part.find("functionCall") {
        let call = field.object()?.camel();
        let name = call.get("name")?.string()?;
        let id = call.find_string("id")?.filter(|id| !id.is_empty());
        let id = calls.begin(id, &name, signature.as_deref());
        let arguments = call.find("args").map_or("{}", |args| args.text()).to_owned();
        let mut rest = with_nested(part.rest(), "functionCall", &call.rest());
        // Not what the vendor documents; kept for it all the same.
        if let Some(wire) = signature.filter(|_| call_id::bare(&id) == id).and_then(|wire| Raw::of(&wire)) {
            rest.push("thoughtSignature", wire);
        }
        blocks.push(Block { content: Content::ToolUse(ToolUse { id, name, arguments }), cache: None, rest });
    } else if let Some(field) = part.find("functionResponse") {
        blocks.push(read_result(&field, &part, calls)?);
    } else if let Some(field) = part.find("inlineData") {
        let blob = field.object()?.camel();
        let mime = blob.get("mimeType")?.string()?;
        let data = blob.get("data")?.string()?;
        let content = media(Source::Base64 { media_type: mime, data }, blob.find_string("displayName")?);
        blocks.push(Block { content, cache: None, rest: with_nested(part.rest(), "inlineData", &blob.rest()) });
    } else if let Some(field) = part.find("fileData") {
        blocks.push(read_file(&field, &part)?);
    } else if part.find("text").is_some() || signature.is_some() {
        let text = part.find_string("text")?.unwrap_or_default();
        if is_thought && go_on_thinking(&text, signature.as_deref(), &part.rest(), blocks) {
            return Ok(());
        }
        if calls.is_streamed && !is_thought && signature.is_none() && go_on_talking(&text, &part.rest(), blocks) {
            return Ok(());
        }
        read_text(text, is_thought, signature.as_deref(), part.rest(), blocks);
    } else {
        let fields = part.rest();
        let kind = fields.0.first().map_or("part", |(name, _)| &**name).to_owned();
        blocks.push(Content::Opaque(Opaque { kind, raw: node.raw() }).into());
    }
    Ok(())
}

/// Adds to a thought that is not signed yet; streams give thoughts in pieces, and the signature with the last.
fn go_on_thinking(text: &str, signature: Option<&str>, rest: &Rest, blocks: &mut [Block]) -> bool {
    let Some(Block { content: Content::Reasoning(thought), rest: known, .. }) = blocks.last_mut() else { return false };
    let signature = match signature.map(proof::read) {
        Some(Proof::Redacted(_)) => return false,
        Some(Proof::Signature(proof)) => Some(proof),
        None => None,
    };
    if thought.signature.is_some() || !known.is_empty() || !rest.is_empty() {
        return false;
    }
    thought.text.push_str(text);
    thought.signature = signature;
    true
}

/// Adds to a text that a stream has cut.
fn go_on_talking(text: &str, rest: &Rest, blocks: &mut [Block]) -> bool {
    if text.is_empty() {
        // The end of a stream says no more.
        return rest.is_empty();
    }
    match blocks.last_mut() {
        Some(Block { content: Content::Text(known), rest: before, .. }) if before.is_empty() && rest.is_empty() => {
            known.text.push_str(text);
            true
        }
        _ => false,
    }
}

fn read_text(text: String, is_thought: bool, signature: Option<&str>, mut rest: Rest, blocks: &mut Vec<Block>) {
    let proof = signature.map(proof::read);
    let signature = match proof {
        Some(Proof::Redacted(data)) => {
            blocks.push(Block { content: Content::RedactedReasoning(data), cache: None, rest });
            return;
        }
        Some(Proof::Signature(proof)) => Some(proof),
        None => None,
    };
    let content = if is_thought || (text.is_empty() && signature.is_some()) {
        Content::Reasoning(Reasoning { text, signature })
    } else {
        // The signature of text need not come back, so it is a field of this dialect and no more.
        if let Some(wire) = signature.as_deref().and_then(proof::as_gemini).and_then(Raw::of) {
            rest.push("thoughtSignature", wire);
        }
        Content::Text(Text { text, citations: None })
    };
    blocks.push(Block { content, cache: None, rest });
}

/// Reads a result. `{"output": "text"}` and `{"error": "text"}` are the vendor's words for plain text; any other object
/// is the result itself.
fn read_result(node: &Node<'_, '_>, part: &Object<'_, '_>, calls: &mut Calls) -> Result<Block, DecodeError> {
    let object = node.object()?.camel();
    let name = object.get("name")?.string()?;
    let call_id = calls.answer(object.find_string("id")?.filter(|id| !id.is_empty()), &name);
    let mut content = Vec::new();
    let mut is_error = false;
    if let Some(response) = object.find("response") {
        let text = plain_result(&response)?;
        is_error = text.as_ref().is_some_and(|(name, _)| *name == "error");
        content.push(Block::text(text.map_or_else(|| response.text().to_owned(), |(_, text)| text)));
    }
    if let Some(parts) = object.find("parts") {
        for part in parts.array()?.iter() {
            read_part(&part, &mut Calls::default(), &mut content)?;
        }
    }
    let mut rest = with_nested(part.rest(), "functionResponse", &object.rest());
    rest.push(RESULT_NAME, Raw::of(&name).ok_or_else(|| node.expected("a name"))?);
    Ok(Block { content: Content::ToolResult(ToolResult { call_id, content, is_error }), cache: None, rest })
}

fn plain_result(response: &Node<'_, '_>) -> Result<Option<(&'static str, String)>, DecodeError> {
    let fields = response.object()?;
    for name in ["output", "error"] {
        let Some(text) = fields.find(name).filter(Node::is_str) else { continue };
        let text = text.string()?;
        let is_alone = fields.rest().is_empty();
        return Ok((is_alone && Raw::parse(&text).is_none_or(|raw| !raw.is_object())).then_some((name, text)));
    }
    Ok(None)
}

fn read_file(node: &Node<'_, '_>, part: &Object<'_, '_>) -> Result<Block, DecodeError> {
    let file = node.object()?.camel();
    let uri = file.get("fileUri")?.string()?;
    let mime = file.find("mimeType");
    // Files of the vendor's own store; nobody else can fetch them.
    let is_own = !uri.starts_with("http") || uri.contains("generativelanguage.googleapis.com/");
    let source = if is_own { Source::File(uri) } else { Source::Url(uri) };
    let is_image = mime.is_some_and(|mime| mime.text().starts_with("\"image/"));
    let title = file.find_string("displayName")?;
    let mut rest = with_nested(part.rest(), "fileData", &file.rest());
    if let Some(mime) = mime {
        mime.str()?;
        rest.push(MIME_TYPE, mime.raw());
    }
    let content = if is_image {
        Content::Image(Image { source, detail: None })
    } else {
        Content::Document(Document { source, title, context: None, citations: None })
    };
    Ok(Block { content, cache: None, rest })
}

/// Sorts bytes into the hub's kinds; video has none of its own and goes with the documents.
fn media(source: Source, title: Option<String>) -> Content {
    match source {
        Source::Base64 { media_type, data } if media_type.starts_with("audio/") => {
            let format = match media_type["audio/".len()..].trim() {
                "mpeg" | "mp3" => "mp3",
                "wav" | "wave" | "x-wav" => "wav",
                other => other,
            };
            Content::Audio(Audio { data, format: format.to_owned() })
        }
        Source::Base64 { ref media_type, .. } if media_type.starts_with("image/") => {
            Content::Image(Image { source, detail: None })
        }
        source => Content::Document(Document { source, title, context: None, citations: None }),
    }
}

/// Keeps unknown fields of a nested object as one unknown field of the outer.
pub(super) fn with_nested(mut rest: Rest, name: &str, inner: &Rest) -> Rest {
    if !inner.is_empty() {
        rest.push(name, json::raw_object(|object| object.rest(inner)));
    }
    rest
}
