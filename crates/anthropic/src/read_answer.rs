//! A whole message becomes events.

use hub::canonical::answer::{Answer, Choice};
use hub::canonical::content::{Block, Content, Opaque, Reasoning, Text, ToolUse};
use hub::canonical::error::DecodeError;
use hub::canonical::event::{Finish, FinishReason, Start};
use hub::canonical::json::Rest;
use hub::codec::json::{self, Node, Object};
use hub::dialect::{Dialect, Undo};

use super::error::read_error;

/// Reads a whole body.
pub(super) fn read_answer(body: &[u8], undo: &Undo) -> Result<Answer, DecodeError> {
    let root = json::root(body)?;
    let object = root.object()?;
    let mut answer = Answer::empty(Dialect::AnthropicMessages);
    if object.find("error").is_some() {
        answer.error = Some(read_error(0, &root).ok_or_else(|| root.expected("an error object"))?);
        return Ok(answer);
    }
    let mut blocks = Vec::new();
    for node in object.get("content")?.array()?.iter() {
        blocks.push(read_block(&node, undo)?);
    }
    answer.usage = object.report("usage", super::read_usage);
    let called = blocks.iter().filter(|block| matches!(block.content, Content::ToolUse(_))).count();
    let finish = read_end(&object, undo, called > 0)?;
    answer.choices.push(Choice { index: 0, blocks, finish: Some(finish), logprobs: None });
    answer.start = read_start(&object)?;
    Ok(answer)
}

/// Reads the fields around the content, of a body or of `message_start`.
pub(super) fn read_start(object: &Object<'_, '_>) -> Result<Start, DecodeError> {
    let id = object.find_boxed("id")?.unwrap_or_default();
    let model = object.find_boxed("model")?.unwrap_or_default();
    object.skip(&["type", "role", "content", "usage", "stop_reason", "stop_sequence"]);
    Ok(Start { origin: Dialect::AnthropicMessages, id, model, created: None, rest: object.rest() })
}

/// Reads `stop_reason` and its like, of a body or of `message_delta`.
pub(super) fn read_end(object: &Object<'_, '_>, undo: &Undo, has_tools: bool) -> Result<Finish, DecodeError> {
    let word = object.find_boxed("stop_reason")?;
    let (mut reason, native) = super::read_finish(word.as_deref().unwrap_or("end_turn"));
    // The schema's tool was not a tool to the caller.
    if reason == FinishReason::ToolUse && undo.text_tool.is_some() && !has_tools {
        reason = FinishReason::Stop;
    }
    let stop_sequence = object.find_boxed("stop_sequence")?;
    Ok(Finish { choice: 0, reason, native, stop_sequence, rest: Rest::default() })
}

fn read_block(node: &Node<'_, '_>, undo: &Undo) -> Result<Block, DecodeError> {
    let object = node.object()?;
    let kind = object.get("type")?.str()?;
    let content = match &*kind {
        "text" => {
            let citations = object.find("citations").filter(Node::is_array).map(|node| node.raw());
            Content::Text(Text { text: object.get("text")?.string()?, citations })
        }
        "thinking" => Content::Reasoning(Reasoning {
            text: object.find_string("thinking")?.unwrap_or_default(),
            signature: object.find_string("signature")?.filter(|proof| !proof.is_empty()),
        }),
        "redacted_thinking" => Content::RedactedReasoning(object.get("data")?.string()?),
        "tool_use" => {
            let name = object.get("name")?.string()?;
            let arguments = object.find("input").map_or("{}", |input| input.text()).to_owned();
            if undo.is_text_tool(&name) {
                object.skip(&["id"]);
                Content::Text(Text { text: arguments, citations: None })
            } else {
                let name = undo.tool_name(&name).to_owned();
                Content::ToolUse(ToolUse { id: object.get("id")?.string()?, name, arguments })
            }
        }
        _ => Content::Opaque(Opaque { kind: kind.into_owned(), raw: node.raw() }),
    };
    Ok(Block { content, cache: None, rest: object.rest() })
}
