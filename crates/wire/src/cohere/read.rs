//! Cohere's answers become events: a whole body, or server-sent events.

use hub::canonical::answer::{Answer, Choice};
use hub::canonical::citation::Citation;
use hub::canonical::content::{Block, Content, Reasoning, Text, ToolUse};
use hub::canonical::error::{AnswerError, DecodeError};
use hub::canonical::event::{BlockStart, Delta, Event, Finish};
use hub::canonical::json::Raw;
use hub::codec::json::{self, Array, Node, Object};
use hub::codec::sse;
use hub::dialect::{Decoder, Undo};

use crate::WIRE_DIALECT;
use crate::{reason, start};

// === A whole body ===

pub(super) fn read_answer(body: &[u8], undo: &Undo) -> Result<Answer, DecodeError> {
    let root = json::root(body)?;
    let object = root.object()?;
    let mut answer = Answer::empty(WIRE_DIALECT);
    answer.start = start(&object.find_string("id")?.unwrap_or_default(), "");
    let field = object.get("message")?;
    let message = field.object()?;
    let mut blocks: Vec<Block> = Vec::new();
    if let Some(plan) = message.find_string("tool_plan")?.filter(|plan| !plan.is_empty()) {
        blocks.push(Content::Reasoning(Reasoning { text: plan, signature: None }).into());
    }
    // Where the parts of the content are.
    let mut places = Vec::new();
    if let Some(content) = message.find("content") {
        for node in content.array()?.iter() {
            let part = node.object()?;
            places.push(blocks.len());
            if let Some(text) = part.find_string("thinking")? {
                blocks.push(Content::Reasoning(Reasoning { text, signature: None }).into());
            } else if let Some(text) = part.find_string("text")? {
                blocks.push(Content::Text(Text { text, citations: None }).into());
            }
        }
    }
    if let Some(citations) = message.find("citations").and_then(|node| node.array().ok()) {
        cite(&citations, &places, &mut blocks);
    }
    if let Some(calls) = message.find("tool_calls") {
        for node in calls.array()?.iter() {
            let (id, name, arguments) = read_call(&node, undo)?;
            blocks.push(Content::ToolUse(ToolUse { id, name, arguments }).into());
        }
    }
    answer.usage = object.report("usage", super::usage);
    let has_tools = blocks.iter().any(|block| matches!(block.content, Content::ToolUse(_)));
    let word = object.find_string("finish_reason")?.unwrap_or_else(|| "COMPLETE".to_owned());
    if let Some(error) = failure(&word, None) {
        answer.error = Some(error);
    }
    let (said, native) = super::finish(&word);
    let finish = Finish { native, ..Finish::new(reason(undo, said, has_tools)) };
    answer.choices.push(Choice { index: 0, blocks, finish: Some(finish), logprobs: None });
    Ok(answer)
}

/// Puts citations on the parts that they name, or else on the first text.
fn cite(citations: &Array<'_, '_>, places: &[usize], blocks: &mut [Block]) {
    let mut found: Vec<(usize, Raw)> = Vec::new();
    let is_text = |block: &Block| matches!(block.content, Content::Text(_));
    let first = blocks.iter().position(is_text).unwrap_or(usize::MAX);
    for object in citations.iter().filter_map(|node| node.object().ok()) {
        let named = usize::try_from(object.count("content_index")).ok().and_then(|at| places.get(at).copied());
        let at = named.filter(|at| blocks.get(*at).is_some_and(is_text)).unwrap_or(first);
        found.extend(super::citations(&object).iter().filter_map(Citation::to_raw).map(|raw| (at, raw)));
    }
    for (at, block) in blocks.iter_mut().enumerate() {
        let of_block: Vec<&Raw> = found.iter().filter(|(of, _)| *of == at).map(|(_, raw)| raw).collect();
        if let Content::Text(text) = &mut block.content {
            text.citations = Raw::of(&of_block).filter(|_| !of_block.is_empty());
        }
    }
}

fn read_call(node: &Node<'_, '_>, undo: &Undo) -> Result<(String, String, String), DecodeError> {
    let call = node.object()?;
    let field = call.get("function")?;
    let function = field.object()?;
    let name = undo.tool_name(&function.get("name")?.str()?).to_owned();
    Ok((call.get("id")?.string()?, name, function.find_string("arguments")?.unwrap_or_default()))
}

/// The words for an answer that failed on the way.
fn failure(word: &str, message: Option<Box<str>>) -> Option<AnswerError> {
    let (status, usual) = match word {
        "ERROR" => (500, "the upstream failed while it answered"),
        "TIMEOUT" => (504, "the upstream took too long to answer"),
        _ => return None,
    };
    let error = AnswerError::new(status, "", message.unwrap_or_else(|| usual.into()));
    Some(AnswerError { code: None, native_type: Some(word.into()), ..error })
}

// === A stream ===

/// Reads events as they come.
pub(super) struct StreamDecoder {
    reader: sse::Reader,
    state: State,
}

impl StreamDecoder {
    pub(super) fn new(undo: Undo) -> Self {
        Self { reader: sse::Reader::default(), state: State { undo, ..State::default() } }
    }
}

impl Decoder for StreamDecoder {
    fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), DecodeError> {
        let state = &mut self.state;
        self.reader.push(bytes, &mut |frame| state.take(frame.data, events))
    }

    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), DecodeError> {
        let state = &mut self.state;
        self.reader.finish(&mut |frame| state.take(frame.data, events))?;
        if self.state.is_over { Ok(()) } else { Err(DecodeError::Truncated) }
    }
}

/// What a block is, because contents and tool calls are counted apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plan,
    Text,
    Thinking,
    Call,
}

#[derive(Default)]
struct State {
    undo: Undo,
    has_begun: bool,
    is_over: bool,
    has_tools: bool,
    n_blocks: u32,
    /// The open block.
    open: Option<(Kind, u32)>,
}

impl State {
    fn take(&mut self, data: &[u8], events: &mut Vec<Event>) -> Result<(), DecodeError> {
        // Some versions close with OpenAI's mark.
        if self.is_over || data.is_empty() || data == b"[DONE]" {
            return Ok(());
        }
        let root = json::root(data)?;
        let object = root.object()?;
        if !std::mem::replace(&mut self.has_begun, true) {
            events.push(Event::Start(start(&object.find_string("id")?.unwrap_or_default(), "")));
        }
        let kind = object.get("type")?.str()?;
        let delta = object.find("delta");
        let delta = delta.as_ref().map(Node::object).transpose()?;
        let Some(delta) = delta else { return Ok(()) };
        if &*kind == "message-end" {
            return self.end(&delta, events);
        }
        let message = delta.find("message");
        let Some(message) = message.as_ref().map(Node::object).transpose()? else { return Ok(()) };
        match &*kind {
            "content-start" | "content-delta" => {
                if let Some(content) = message.find("content").filter(Node::is_object) {
                    let content = content.object()?;
                    if let Some(text) = content.find_boxed("thinking")? {
                        self.grow(Kind::Thinking, text, events);
                    } else if let Some(text) = content.find_boxed("text")? {
                        self.grow(Kind::Text, text, events);
                    }
                }
            }
            "tool-plan-delta" => {
                self.grow(Kind::Plan, message.find_boxed("tool_plan")?.unwrap_or_default(), events);
            }
            "tool-call-start" => {
                let (id, name, arguments) = read_call(&message.get("tool_calls")?, &self.undo)?;
                self.has_tools = true;
                let index = self.begin(Kind::Call, BlockStart::ToolUse { id: id.into(), name: name.into() }, events);
                push(index, Delta::Arguments(arguments.into()), events);
            }
            "tool-call-delta" => {
                let call = message.get("tool_calls")?;
                let call = call.object()?;
                let piece = call.get("function")?.object()?.find_boxed("arguments")?.unwrap_or_default();
                let Some((Kind::Call, index)) = self.open else {
                    return Err(root.expected("a tool call that has begun"));
                };
                push(index, Delta::Arguments(piece), events);
            }
            "citation-start" => {
                let Some(cited) = message.find("citations").and_then(|node| node.object().ok()) else { return Ok(()) };
                for raw in super::citations(&cited).iter().filter_map(Citation::to_raw) {
                    let index = match self.open {
                        Some((Kind::Text, index)) => index,
                        _ => self.begin(Kind::Text, BlockStart::Text, events),
                    };
                    push(index, Delta::Citation(raw), events);
                }
            }
            // Citations of a text may follow its end, so it ends when something else begins.
            "content-end" if matches!(self.open, Some((Kind::Text, _))) => {}
            "content-end" | "tool-call-end" => self.close(events),
            // `debug`, and kinds that the vendor may add.
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, delta: &Object<'_, '_>, events: &mut Vec<Event>) -> Result<(), DecodeError> {
        self.close(events);
        self.is_over = true;
        events.extend(delta.report("usage", super::usage).map(Event::Usage));
        let word = delta.find_string("finish_reason")?.unwrap_or_else(|| "COMPLETE".to_owned());
        if let Some(error) = failure(&word, delta.find_boxed("error").ok().flatten()) {
            events.push(Event::Error(error));
            return Ok(());
        }
        let (said, native) = super::finish(&word);
        events.push(Event::Finish(Finish { native, ..Finish::new(reason(&self.undo, said, self.has_tools)) }));
        events.push(Event::Done);
        Ok(())
    }

    fn begin(&mut self, kind: Kind, block: BlockStart, events: &mut Vec<Event>) -> u32 {
        self.close(events);
        let index = self.n_blocks;
        self.n_blocks = self.n_blocks.saturating_add(1);
        self.open = Some((kind, index));
        events.push(Event::BlockStart { index, choice: 0, block });
        index
    }

    fn close(&mut self, events: &mut Vec<Event>) {
        if let Some((_, index)) = self.open.take() {
            events.push(Event::BlockStop { index });
        }
    }

    fn grow(&mut self, kind: Kind, text: Box<str>, events: &mut Vec<Event>) {
        if text.is_empty() {
            return;
        }
        let is_text = kind == Kind::Text;
        let index = match self.open {
            Some((open, index)) if open == kind => index,
            _ => self.begin(kind, if is_text { BlockStart::Text } else { BlockStart::Reasoning }, events),
        };
        push(index, if is_text { Delta::Text(text) } else { Delta::Reasoning(text) }, events);
    }
}

fn push(index: u32, delta: Delta, events: &mut Vec<Event>) {
    let is_empty = matches!(&delta, Delta::Arguments(text) if text.is_empty());
    if !is_empty {
        events.push(Event::Delta { index, delta });
    }
}
