//! A whole chat completion becomes events.

use hub::canonical::answer::{Answer, Choice};
use hub::canonical::content::{Block, Content, Reasoning, Text, ToolUse};
use hub::canonical::error::DecodeError;
use hub::canonical::event::{Finish, FinishReason, Start};
use hub::canonical::json::{Raw, Rest};
use hub::codec::json::{self, Node, Object};
use hub::dialect::{Dialect, Undo};

use super::error::read_error;
use super::read_request::{read_reasoning_blocks, read_tool_call};
use crate::probability;

/// Reads a whole body.
pub(super) fn read_answer(body: &[u8], undo: &Undo) -> Result<Answer, DecodeError> {
    let root = json::root(body)?;
    let object = root.object()?;
    let mut answer = Answer::empty(Dialect::OpenAiChat);
    if let Some(node) = object.find("error") {
        answer.error = Some(read_error(0, &node).ok_or_else(|| node.expected("an error object"))?);
    }
    answer.usage = object.report("usage", |usage| super::USAGE.read(usage));
    if let Some(choices) = object.find("choices") {
        for node in choices.array()?.iter() {
            answer.choices.push(read_choice(&node, answer.choices.len(), undo)?);
        }
    } else if answer.error.is_none() {
        return Err(DecodeError::Missing { path: "choices".into() });
    }
    answer.start = read_start(&object)?;
    Ok(answer)
}

/// Reads the fields around the choices, of a body or of a stream's chunk.
pub(super) fn read_start(object: &Object<'_, '_>) -> Result<Start, DecodeError> {
    let id = object.find_boxed("id")?.unwrap_or_default();
    let model = object.find_boxed("model")?.unwrap_or_default();
    let created = object.find("created").and_then(|node| node.i64().ok());
    object.skip(&["object", "choices", "usage", "obfuscation", "error"]);
    Ok(Start { origin: Dialect::OpenAiChat, id, model, created, rest: object.rest() })
}

fn read_choice(node: &Node<'_, '_>, position: usize, undo: &Undo) -> Result<Choice, DecodeError> {
    let object = node.object()?;
    let index = match object.find("index") {
        Some(index) => index.u32()?,
        None => u32::try_from(position).unwrap_or(u32::MAX),
    };
    let field = object.get("message")?;
    let message = field.object()?;
    let mut blocks = Vec::new();
    read_reasoning_blocks(&message, &mut blocks)?;
    let annotations = message.find("annotations").filter(Node::is_array).map(|node| node.raw());
    if let Some(content) = message.find("content") {
        read_text(&content, annotations, &mut blocks)?;
    }
    if let Some(refusal) = message.find_string("refusal")? {
        blocks.push(Content::Refusal(refusal).into());
    }
    if let Some(calls) = message.find("tool_calls") {
        for (position, call) in calls.array()?.iter().enumerate() {
            blocks.push(read_call(&call, position, undo)?);
        }
    }
    message.skip(&["role"]);
    let has_tools = blocks.iter().any(|block| matches!(block.content, Content::ToolUse(_)));
    let word = object.find_string("finish_reason")?;
    let mut rest = object_rest(&object);
    let unknown = message.rest();
    if !unknown.is_empty() {
        rest.push("message", json::raw_object(|object| object.rest(&unknown)));
    }
    let (reason, native) = read_reason(word.as_deref().unwrap_or("stop"), has_tools);
    let finish = Finish { choice: index, reason, native, stop_sequence: None, rest };
    Ok(Choice {
        index,
        blocks,
        finish: Some(finish),
        logprobs: object.find("logprobs").map(|node| Box::new(probability::read(node.raw()))),
    })
}

fn object_rest(choice: &Object<'_, '_>) -> Rest {
    choice.skip(&["logprobs"]);
    choice.rest()
}

/// Some servers say `stop` although tools were called.
pub(super) fn read_reason(word: &str, has_tools: bool) -> (FinishReason, Option<Box<str>>) {
    match super::read_finish(word) {
        (FinishReason::Stop, _) if has_tools => (FinishReason::ToolUse, None),
        other => other,
    }
}

fn read_text(node: &Node<'_, '_>, citations: Option<Raw>, blocks: &mut Vec<Block>) -> Result<(), DecodeError> {
    let mut text = String::new();
    if node.is_array() {
        // Some servers answer in parts.
        for part in node.array()?.iter() {
            if let Some(thought) = read_thought(&part)? {
                blocks.push(Content::Reasoning(Reasoning { text: thought.into(), signature: None }).into());
            } else {
                text.push_str(&part.object()?.find_string("text")?.unwrap_or_default());
            }
        }
    } else {
        text = node.string()?;
    }
    if !text.is_empty() || citations.as_ref().is_some_and(|raw| raw.as_str() != "[]") {
        let citations = citations.filter(|raw| raw.as_str() != "[]");
        blocks.push(Content::Text(Text { text, citations }).into());
    }
    Ok(())
}

/// Reads Mistral's block of thinking, which stands among the parts of the content.
pub(super) fn read_thought(part: &Node<'_, '_>) -> Result<Option<Box<str>>, DecodeError> {
    let object = part.object()?;
    let Some(thinking) = object.find("thinking") else { return Ok(None) };
    if thinking.is_str() {
        return thinking.boxed().map(Some);
    }
    let mut text = String::new();
    for piece in thinking.array()?.iter() {
        text.push_str(&piece.object()?.find_string("text")?.unwrap_or_default());
    }
    Ok(Some(text.into()))
}

fn read_call(node: &Node<'_, '_>, position: usize, undo: &Undo) -> Result<Block, DecodeError> {
    let object = node.object()?;
    if object.find("id").is_none() && object.find("function").is_some() {
        // Some servers leave ids out; results must name one.
        let field = object.get("function")?;
        let function = field.object()?;
        let arguments = function.find_string("arguments")?.unwrap_or_default();
        let name = undo.tool_name(&function.get("name")?.str()?).to_owned();
        return Ok(Content::ToolUse(ToolUse { id: format!("call_{position}"), name, arguments }).into());
    }
    let mut block = read_tool_call(node)?;
    if let Content::ToolUse(call) = &mut block.content {
        call.name = undo.tool_name(&call.name).to_owned();
    }
    Ok(block)
}
