//! Converse's answers become events: a whole body, or a binary event stream.

use hub::canonical::answer::{Answer, Choice};
use hub::canonical::content::{Block, Content, Reasoning, Text, ToolUse};
use hub::canonical::error::{AnswerError, DecodeError};
use hub::canonical::event::{BlockStart, Delta, Event, Finish};
use hub::canonical::json::Raw;
use hub::codec::json::{self, Array, Node, Object};
use hub::dialect::{Decoder, Undo};

use crate::WIRE_DIALECT;
use crate::event_stream::{Frame, Reader};
use crate::{error_of, reason, start};

// === A whole body ===

pub(super) fn read_answer(body: &[u8], undo: &Undo) -> Result<Answer, DecodeError> {
    let root = json::root(body)?;
    let object = root.object()?;
    let mut answer = Answer::empty(WIRE_DIALECT);
    answer.start = start("", "");
    let output = object.get("output")?;
    let output = output.object()?;
    let message = output.get("message")?;
    let message = message.object()?;
    let mut blocks = Vec::new();
    for node in message.get("content")?.array()?.iter() {
        blocks.extend(read_block(&node, undo)?);
    }
    answer.usage = object.report("usage", super::usage);
    let (said, native) = super::finish(&object.get("stopReason")?.str()?);
    let has_tools = blocks.iter().any(|block| matches!(block.content, Content::ToolUse(_)));
    let finish = Finish { native, ..Finish::new(reason(undo, said, has_tools)) };
    answer.choices.push(Choice { index: 0, blocks, finish: Some(finish), logprobs: None });
    Ok(answer)
}

fn read_block(node: &Node<'_, '_>, undo: &Undo) -> Result<Option<Block>, DecodeError> {
    let object = node.object()?;
    let text = |text: String| Content::Text(Text { text, citations: None });
    let content = if let Some(found) = object.find("text") {
        text(found.string()?)
    } else if let Some(call) = object.find("toolUse") {
        let call = call.object()?;
        let name = call.get("name")?.string()?;
        let arguments = call.find("input").map_or("{}", |input| input.text()).to_owned();
        if undo.is_text_tool(&name) {
            text(arguments)
        } else {
            let name = undo.tool_name(&name).to_owned();
            Content::ToolUse(ToolUse { id: call.get("toolUseId")?.string()?, name, arguments })
        }
    } else if let Some(reasoning) = object.find("reasoningContent") {
        let reasoning = reasoning.object()?;
        if let Some(data) = reasoning.find_string("redactedContent")? {
            Content::RedactedReasoning(data)
        } else {
            let field = reasoning.get("reasoningText")?;
            let said = field.object()?;
            let text = said.find_string("text")?.unwrap_or_default();
            Content::Reasoning(Reasoning { text, signature: said.find_string("signature")? })
        }
    } else if let Some(cited) = object.find("citationsContent") {
        let mut all = String::new();
        for part in cited.object()?.get("content")?.array()?.iter() {
            all.push_str(&part.object()?.find_string("text")?.unwrap_or_default());
        }
        let citations = object.report("citationsContent", |cited| {
            let list = cited.find("citations").and_then(|node| node.array().ok());
            let list = list.iter().flat_map(Array::iter).filter_map(|node: Node<'_, '_>| node.object().ok());
            list.filter_map(|object| super::citation(&object).to_raw()).collect::<Vec<_>>()
        });
        let citations = citations.filter(|list| !list.is_empty()).and_then(|list| Raw::of(&list));
        Content::Text(Text { text: all, citations })
    } else {
        // Pictures and what else may come: there is no block for them in an answer.
        return Ok(None);
    };
    Ok(Some(content.into()))
}

// === A stream ===

/// Reads frames as they come.
pub(super) struct StreamDecoder {
    reader: Reader,
    state: State,
}

impl StreamDecoder {
    pub(super) fn new(undo: Undo) -> Self {
        Self { reader: Reader::default(), state: State { undo, ..State::default() } }
    }
}

impl Decoder for StreamDecoder {
    fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), DecodeError> {
        let state = &mut self.state;
        self.reader.push(bytes, &mut |frame| state.take(&frame, events))
    }

    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), DecodeError> {
        self.reader.finish()?;
        if self.state.is_over {
            return Ok(());
        }
        // The usage comes after the stop; without it the answer is whole all the same.
        if self.state.finish.is_none() {
            return Err(DecodeError::Truncated);
        }
        self.state.end(events);
        Ok(())
    }
}

#[derive(Default)]
struct State {
    undo: Undo,
    has_begun: bool,
    is_over: bool,
    has_tools: bool,
    blocks: Vec<OpenBlock>,
    finish: Option<Finish>,
}

struct OpenBlock {
    index: u32,
    is_text_tool: bool,
    is_open: bool,
}

impl State {
    fn take(&mut self, frame: &Frame<'_>, events: &mut Vec<Event>) -> Result<(), DecodeError> {
        if self.is_over {
            return Ok(());
        }
        if frame.message_type != "event" {
            self.is_over = true;
            events.push(Event::Error(exception(frame)));
            return Ok(());
        }
        let root = json::root(frame.payload)?;
        let object = root.object()?;
        if !std::mem::replace(&mut self.has_begun, true) {
            events.push(Event::Start(start("", "")));
        }
        match frame.kind {
            "contentBlockStart" => self.begin(&object, events)?,
            "contentBlockDelta" => self.grow(&object, events)?,
            "contentBlockStop" => {
                let index = object.get("contentBlockIndex")?.u32()?;
                self.close(index, events);
            }
            "messageStop" => {
                let (said, native) = super::finish(&object.get("stopReason")?.str()?);
                self.finish = Some(Finish { native, ..Finish::new(reason(&self.undo, said, self.has_tools)) });
            }
            "metadata" => {
                events.extend(object.report("usage", super::usage).map(Event::Usage));
                if self.finish.is_some() {
                    self.end(events);
                }
            }
            // `messageStart`, and kinds that the service may add.
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, object: &Object<'_, '_>, events: &mut Vec<Event>) -> Result<(), DecodeError> {
        let index_node = object.get("contentBlockIndex")?;
        let index = index_node.u32()?;
        let start = object.get("start")?;
        let start = start.object()?;
        let Some(call) = start.find("toolUse") else { return Ok(()) };
        if self.blocks.iter().any(|block| block.index == index) {
            return Err(index_node.expected("a block that has not begun before"));
        }
        let call = call.object()?;
        let name = call.get("name")?.str()?;
        let is_text_tool = self.undo.is_text_tool(&name);
        let block = if is_text_tool {
            BlockStart::Text
        } else {
            self.has_tools = true;
            BlockStart::ToolUse { id: call.get("toolUseId")?.boxed()?, name: self.undo.tool_name(&name).into() }
        };
        self.open(index, is_text_tool, block, events);
        Ok(())
    }

    fn open(&mut self, index: u32, is_text_tool: bool, block: BlockStart, events: &mut Vec<Event>) {
        self.blocks.push(OpenBlock { index, is_text_tool, is_open: true });
        events.push(Event::BlockStart { index, choice: 0, block });
    }

    fn grow(&mut self, object: &Object<'_, '_>, events: &mut Vec<Event>) -> Result<(), DecodeError> {
        let index_node = object.get("contentBlockIndex")?;
        let index = index_node.u32()?;
        let field = object.get("delta")?;
        let delta = field.object()?;
        let open = self.blocks.iter().find(|block| block.index == index);
        if open.is_some_and(|block| !block.is_open) {
            return Err(index_node.expected("the index of an open block"));
        }
        let is_open = open.is_some();
        let is_text_tool = open.is_some_and(|block| block.is_text_tool);
        let (block, delta) = if let Some(text) = delta.find_boxed("text")? {
            (BlockStart::Text, Delta::Text(text))
        } else if let Some(call) = delta.find("toolUse") {
            if !is_open {
                return Err(index_node.expected("the index of a tool call that has begun"));
            }
            let piece = call.object()?.find_boxed("input")?.unwrap_or_default();
            (BlockStart::Text, if is_text_tool { Delta::Text(piece) } else { Delta::Arguments(piece) })
        } else if let Some(reasoning) = delta.find("reasoningContent") {
            let reasoning = reasoning.object()?;
            if let Some(data) = reasoning.find_boxed("redactedContent")? {
                if !is_open {
                    self.open(index, false, BlockStart::RedactedReasoning(data), events);
                }
                return Ok(());
            }
            match (reasoning.find_boxed("text")?, reasoning.find_boxed("signature")?) {
                (_, Some(proof)) => (BlockStart::Reasoning, Delta::Signature(proof)),
                (text, None) => (BlockStart::Reasoning, Delta::Reasoning(text.unwrap_or_default())),
            }
        } else if let Some(raw) = delta.report("citation", |object| super::citation(object).to_raw()).flatten() {
            (BlockStart::Text, Delta::Citation(raw))
        } else {
            // Pictures.
            return Ok(());
        };
        // Only tool calls are announced; other blocks begin with their first piece.
        if !is_open {
            self.open(index, false, block, events);
        }
        let is_empty =
            matches!(&delta, Delta::Text(text) | Delta::Arguments(text) | Delta::Reasoning(text) if text.is_empty());
        if !is_empty {
            events.push(Event::Delta { index, delta });
        }
        Ok(())
    }

    fn close(&mut self, index: u32, events: &mut Vec<Event>) {
        if let Some(block) = self.blocks.iter_mut().find(|block| block.index == index && block.is_open) {
            block.is_open = false;
            events.push(Event::BlockStop { index });
        }
    }

    fn end(&mut self, events: &mut Vec<Event>) {
        for block in self.blocks.iter_mut().filter(|block| block.is_open) {
            block.is_open = false;
            events.push(Event::BlockStop { index: block.index });
        }
        self.is_over = true;
        events.extend(self.finish.take().map(Event::Finish));
        events.push(Event::Done);
    }
}

/// Reads an exception frame; the stream's own status was 200, so its name gives the status.
#[must_use]
pub fn exception(frame: &Frame<'_>) -> AnswerError {
    let status = match frame.kind {
        "validationException" => 400,
        "throttlingException" => 429,
        "serviceUnavailableException" => 503,
        "modelTimeoutException" => 408,
        "modelStreamErrorException" => 424,
        _ => 500,
    };
    let mut error = error_of(status, frame.payload, "message");
    if error.message.is_empty() {
        error.message = frame.message.into();
    }
    error.native_type = Some(frame.kind.into());
    error
}
