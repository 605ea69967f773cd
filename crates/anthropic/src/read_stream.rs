//! A stream of message events becomes canonical events.

use hub::canonical::content::Opaque;
use hub::canonical::error::DecodeError;
use hub::canonical::event::{BlockStart, Delta, Event, Finish};
use hub::codec::json::{self, Node, Object};
use hub::codec::sse;
use hub::dialect::{Decoder, Undo};

use super::error::read_error;
use super::read_answer::{read_end, read_start};

/// Reads events as they come.
pub(super) struct StreamDecoder {
    reader: sse::Reader,
    state: State,
}

impl StreamDecoder {
    pub(super) fn new(undo: Undo) -> Self {
        let state = State { undo, ..State::default() };
        Self { reader: sse::Reader::default(), state }
    }
}

impl Decoder for StreamDecoder {
    fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), DecodeError> {
        let state = &mut self.state;
        self.reader.push(bytes, &mut |frame| state.take_data(frame.data, events))
    }

    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), DecodeError> {
        let state = &mut self.state;
        self.reader.finish(&mut |frame| state.take_data(frame.data, events))?;
        if !self.state.is_over {
            if self.state.finish.is_none() {
                return Err(DecodeError::Truncated);
            }
            self.state.end(events);
        }
        Ok(())
    }
}

#[derive(Default)]
struct State {
    undo: Undo,
    is_over: bool,
    blocks: Vec<OpenBlock>,
    has_tools: bool,
    finish: Option<Finish>,
}

struct OpenBlock {
    index: u32,
    /// It is a tool call whose arguments are really the answer's text.
    is_text_tool: bool,
    is_open: bool,
}

impl State {
    fn take_data(&mut self, data: &[u8], events: &mut Vec<Event>) -> Result<(), DecodeError> {
        if self.is_over || data.is_empty() {
            return Ok(());
        }
        let root = json::root(data)?;
        let object = root.object()?;
        // The name of the SSE event repeats `type`; some proxies drop it, so the data decides.
        match &*object.get("type")?.str()? {
            "message_start" => {
                let field = object.get("message")?;
                let message = field.object()?;
                events.push(Event::Start(read_start(&message)?));
                events.extend(message.report("usage", super::read_usage).map(Event::Usage));
            }
            "content_block_start" => self.begin(&object, events)?,
            "content_block_delta" => self.grow(&object, events)?,
            "content_block_stop" => {
                let index = object.get("index")?.u32()?;
                self.close(index, events);
            }
            "message_delta" => {
                events.extend(object.report("usage", super::read_usage).map(Event::Usage));
                let delta = object.get("delta")?.object()?.find("stop_reason").is_some();
                if delta {
                    self.take_end(&object)?;
                }
            }
            "message_stop" => self.end(events),
            "ping" => events.push(Event::Ping),
            "error" => {
                self.is_over = true;
                events.push(Event::Error(read_error(0, &root).ok_or_else(|| root.expected("an error object"))?));
            }
            // The vendor promises to add event types and asks clients to skip them.
            _ => {}
        }
        Ok(())
    }

    fn take_end(&mut self, object: &Object<'_, '_>) -> Result<(), DecodeError> {
        let field = object.get("delta")?;
        let delta = field.object()?;
        let mut finish = read_end(&delta, &self.undo, self.has_tools)?;
        finish.rest = delta.rest();
        self.finish = Some(finish);
        Ok(())
    }

    fn begin(&mut self, object: &Object<'_, '_>, events: &mut Vec<Event>) -> Result<(), DecodeError> {
        let index_node = object.get("index")?;
        let index = index_node.u32()?;
        if self.blocks.iter().any(|block| block.index == index) {
            return Err(index_node.expected("a block that has not begun before"));
        }
        let node = object.get("content_block")?;
        let block = node.object()?;
        let (mut is_text_tool, mut first) = (false, None);
        let kind = block.get("type")?.str()?;
        let start = match &*kind {
            "text" => {
                first = block.find_boxed("text")?.map(Delta::Text);
                BlockStart::Text
            }
            "thinking" => {
                first = block.find_boxed("thinking")?.map(Delta::Reasoning);
                BlockStart::Reasoning
            }
            "redacted_thinking" => BlockStart::RedactedReasoning(block.get("data")?.boxed()?),
            "tool_use" => {
                let name = block.get("name")?.str()?;
                let input = block.find("input").map(|input| input.text()).filter(|text| !is_empty_object(text));
                first = input.map(|text| Delta::Arguments(text.into()));
                if self.undo.is_text_tool(&name) {
                    is_text_tool = true;
                    first = input.map(|text| Delta::Text(text.into()));
                    BlockStart::Text
                } else {
                    self.has_tools = true;
                    BlockStart::ToolUse { id: block.get("id")?.boxed()?, name: self.undo.tool_name(&name).into() }
                }
            }
            _ => BlockStart::Opaque(Opaque { kind: kind.into_owned(), raw: node.raw() }),
        };
        self.blocks.push(OpenBlock { index, is_text_tool, is_open: true });
        events.push(Event::BlockStart { index, choice: 0, block: start });
        events.extend(first.filter(|delta| !is_blank(delta)).map(|delta| Event::Delta { index, delta }));
        Ok(())
    }

    fn grow(&mut self, object: &Object<'_, '_>, events: &mut Vec<Event>) -> Result<(), DecodeError> {
        let index_node = object.get("index")?;
        let index = index_node.u32()?;
        let open = self.blocks.iter().rfind(|block| block.index == index && block.is_open);
        let Some(open) = open else { return Err(index_node.expected("the index of an open block")) };
        let node = object.get("delta")?;
        if let Some(delta) = read_delta(&node, open.is_text_tool)?.filter(|delta| !is_blank(delta)) {
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

fn read_delta(node: &Node<'_, '_>, is_text_tool: bool) -> Result<Option<Delta>, DecodeError> {
    let delta = node.object()?;
    Ok(Some(match &*delta.get("type")?.str()? {
        "text_delta" => Delta::Text(delta.get("text")?.boxed()?),
        "input_json_delta" => {
            let piece = delta.get("partial_json")?.boxed()?;
            if is_text_tool { Delta::Text(piece) } else { Delta::Arguments(piece) }
        }
        "thinking_delta" => Delta::Reasoning(delta.get("thinking")?.boxed()?),
        "signature_delta" => Delta::Signature(delta.get("signature")?.boxed()?),
        "citations_delta" => Delta::Citation(delta.get("citation")?.raw()),
        _ => Delta::Opaque(node.raw()),
    }))
}

fn is_empty_object(text: &str) -> bool {
    text.bytes().filter(|byte| !byte.is_ascii_whitespace()).eq(*b"{}")
}

fn is_blank(delta: &Delta) -> bool {
    match delta {
        Delta::Text(text) | Delta::Arguments(text) | Delta::Reasoning(text) | Delta::Refusal(text) => text.is_empty(),
        Delta::Signature(proof) => proof.is_empty(),
        Delta::Citation(_) | Delta::Opaque(_) | Delta::Fields(_) => false,
    }
}
