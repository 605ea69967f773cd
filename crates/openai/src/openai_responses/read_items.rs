//! Input items and output items become blocks.

use crate::openai_chat::read_url;
use hub::canonical::content::{
    Audio, Block, Content, Document, Image, Message, Opaque, Reasoning, Role, Source, Text, ToolResult, ToolUse,
};
use hub::canonical::error::DecodeError;
use hub::canonical::json::{Raw, Rest};
use hub::codec::json::{self, Node, Object};
use hub::dialect::proof::{self, Encrypted};

use super::MESSAGE_FIELDS;

/// Reads one item of `input`.
pub(super) fn read_item(node: &Node<'_, '_>, messages: &mut Vec<Message>) -> Result<(), DecodeError> {
    let object = node.object()?;
    let kind = match object.find("type") {
        Some(kind) => kind.str()?,
        None if object.find("role").is_some() => "message".into(),
        None => "item_reference".into(),
    };
    match &*kind {
        "message" => read_message(&object, messages)?,
        "function_call" => {
            let arguments = match object.find("arguments") {
                Some(arguments) if arguments.is_str() => arguments.string()?,
                Some(arguments) => arguments.text().to_owned(),
                None => String::new(),
            };
            let id = object.get("call_id")?.string()?;
            let call = ToolUse { id, name: object.get("name")?.string()?, arguments };
            assistant(messages).push(with_item(Content::ToolUse(call), object.rest()));
        }
        "function_call_output" => {
            let call_id = object.get("call_id")?.string()?;
            let mut content = Vec::new();
            read_content(&object.get("output")?, &mut content)?;
            let result = ToolResult { call_id, content, is_error: false };
            let block = with_item(Content::ToolResult(result), object.rest());
            messages.push(Message::new(Role::Tool, vec![block]));
        }
        "reasoning" => read_reasoning(&object, assistant(messages))?,
        _ => {
            let is_callers = super::is_callers(&kind);
            let opaque = Opaque { kind: kind.into_owned(), raw: node.raw() };
            let block = with_item(Content::Opaque(opaque), Rest::default());
            if is_callers {
                messages.push(Message::new(Role::User, vec![block]));
            } else {
                assistant(messages).push(block);
            }
        }
    }
    Ok(())
}

/// Gives the assistant's turn in progress, beginning one if need be.
fn assistant(messages: &mut Vec<Message>) -> &mut Vec<Block> {
    if messages.last().is_none_or(|message| message.role != Role::Assistant) {
        messages.push(Message::new(Role::Assistant, Vec::new()));
    }
    let last = messages.len() - 1;
    &mut messages[last].content
}

fn read_message(object: &Object<'_, '_>, messages: &mut Vec<Message>) -> Result<(), DecodeError> {
    let role_node = object.get("role")?;
    let role = match &*role_node.str()? {
        "system" => Role::System,
        "developer" => Role::Developer,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        _ => return Err(role_node.expected("one of system, developer, user, assistant")),
    };
    let mut content = Vec::new();
    read_content(&object.get("content")?, &mut content)?;
    if role == Role::Assistant {
        mark_message(object, &mut content);
        assistant(messages).append(&mut content);
        return Ok(());
    }
    let mut message = Message::new(role, content);
    let rest = object.rest();
    if !rest.is_empty() {
        message.rest.push(Block::ITEM, json::raw_object(|object| object.rest(&rest)));
    }
    messages.push(message);
    Ok(())
}

/// Marks the first block of an assistant's message item with what names the item.
fn mark_message(object: &Object<'_, '_>, blocks: &mut [Block]) {
    let Some(first) = blocks.first_mut() else { return };
    for (name, value) in message_fields(object).0 {
        first.rest.set(&name, value);
    }
}

/// Takes the fields of a message item that are not its content: the id and unknown ones, and apart those that mean more.
pub(super) fn message_fields(object: &Object<'_, '_>) -> Rest {
    object.skip(&["type", "role", "content"]);
    let (more, plain): (Vec<_>, Vec<_>) =
        object.rest().0.into_iter().partition(|(name, _)| MESSAGE_FIELDS.contains(&&**name));
    let plain = Rest(plain);
    let mut fields = Rest(vec![(Block::ITEM.into(), json::raw_object(|object| object.rest(&plain)))]);
    fields.0.extend(more);
    fields
}

/// Takes the id and status of an item apart from its other fields.
pub(super) fn item_fields(rest: Rest) -> Rest {
    let (plain, more): (Vec<_>, Vec<_>) = rest.0.into_iter().partition(|(name, _)| matches!(&**name, "id" | "status"));
    let plain = Rest(plain);
    let mut fields = Rest(vec![(Block::ITEM.into(), json::raw_object(|object| object.rest(&plain)))]);
    fields.0.extend(more);
    fields
}

fn with_item(content: Content, rest: Rest) -> Block {
    Block { content, cache: None, rest: item_fields(rest) }
}

/// Reads a reasoning item: one block for each part of its summary and of its text; the last has the proof.
pub(super) fn read_reasoning(object: &Object<'_, '_>, blocks: &mut Vec<Block>) -> Result<(), DecodeError> {
    let id = object.find("id").and_then(|id| id.str().ok()).unwrap_or_default();
    let encrypted = object.find_string("encrypted_content")?.map(|encrypted| proof::read(&id, &encrypted));
    let mut parts = Vec::new();
    for (name, field) in [("summary", object.find("summary")), ("content", object.find("content"))] {
        let Some(node) = field.filter(Node::is_array) else { continue };
        for part in node.array()?.iter() {
            let text = part.object()?.find_string("text")?.unwrap_or_default();
            let mut block = Block::from(Content::Reasoning(Reasoning { text, signature: None }));
            if name == "content" {
                block.rest.push("type", Raw::of("reasoning_text").unwrap_or_else(|| part.raw()));
            }
            parts.push(block);
        }
    }
    match encrypted {
        Some(Encrypted::Redacted(data)) => parts.push(Content::RedactedReasoning(data).into()),
        Some(Encrypted::Proof(proof)) => match parts.last_mut() {
            Some(Block { content: Content::Reasoning(last), .. }) => last.signature = Some(proof),
            _ => parts.push(Content::Reasoning(Reasoning { text: String::new(), signature: Some(proof) }).into()),
        },
        None if parts.is_empty() => {
            parts.push(Content::Reasoning(Reasoning { text: String::new(), signature: None }).into());
        }
        None => {}
    }
    object.skip(&["type"]);
    let mut rest = object.rest();
    if !id.is_empty()
        && let Some(id) = Raw::of(&*id)
    {
        rest.0.insert(0, ("id".into(), id));
    }
    if let Some(first) = parts.first_mut() {
        first.rest.0.splice(0..0, item_fields(rest).0);
    }
    blocks.append(&mut parts);
    Ok(())
}

/// Reads content that is a string or a list of parts.
pub(super) fn read_content(node: &Node<'_, '_>, blocks: &mut Vec<Block>) -> Result<(), DecodeError> {
    if node.is_str() {
        blocks.push(Block::text(node.string()?));
        return Ok(());
    }
    if !node.is_array() {
        return Err(node.expected("a string or an array of content parts"));
    }
    for part in node.array()?.iter() {
        blocks.push(read_part(&part)?);
    }
    Ok(())
}

fn read_part(node: &Node<'_, '_>) -> Result<Block, DecodeError> {
    let object = node.object()?;
    let kind = object.get("type")?.str()?;
    let content = match &*kind {
        "input_text" | "output_text" | "text" | "summary_text" => {
            let citations = object.find("annotations").filter(Node::is_array).map(|node| node.raw());
            let citations = citations.filter(|raw| raw.as_str() != "[]");
            Content::Text(Text { text: object.get("text")?.string()?, citations })
        }
        "refusal" => Content::Refusal(object.get("refusal")?.string()?),
        "input_image" => {
            let source = match object.find("image_url") {
                Some(url) => read_url(&url.str()?),
                None => Source::File(object.get("file_id")?.string()?),
            };
            Content::Image(Image { source, detail: object.find_string("detail")? })
        }
        "input_file" => {
            let source = if let Some(id) = object.find_string("file_id")? {
                Source::File(id)
            } else if let Some(url) = object.find_string("file_url")? {
                Source::Url(url)
            } else {
                match read_url(&object.get("file_data")?.str()?) {
                    // Bare base64; PDFs are what the reference shows.
                    Source::Url(data) => Source::Base64 { media_type: "application/pdf".to_owned(), data },
                    source => source,
                }
            };
            let title = object.find_string("filename")?;
            Content::Document(Document { source, title, context: None, citations: None })
        }
        "input_audio" => {
            let field = object.get("input_audio")?;
            let audio = field.object()?;
            Content::Audio(Audio { data: audio.get("data")?.string()?, format: audio.get("format")?.string()? })
        }
        _ => return Ok(Content::Opaque(Opaque { kind: kind.into_owned(), raw: node.raw() }).into()),
    };
    Ok(Block { content, cache: None, rest: object.rest() })
}
