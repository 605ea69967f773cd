//! A stream of chat completion chunks becomes events.
//!
//! Chunks name no blocks: a block begins when the kind of delta changes and ends when another begins. Tool calls may
//! overlap, so one ends early only when its arguments are complete JSON; the others end with their choice.

use hub::canonical::error::{AnswerError, DecodeError};
use hub::canonical::event::{BlockStart, Delta, Event, Finish, FinishReason};
use hub::canonical::json::Rest;
use hub::canonical::usage::Usage;
use hub::codec::json::{self, Node, Object};
use hub::codec::sse;
use hub::dialect::json_progress::JsonProgress;
use hub::dialect::{Decoder, Undo};

use super::error::read_error;
use super::read_answer::{read_reason, read_start, read_thought};
use crate::probability;

/// Reads chunks as they come.
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
        if self.state.is_over {
            return Ok(());
        }
        // Some servers forget `[DONE]`; an answer with its finish is complete all the same.
        if self.state.choices.iter().any(|choice| choice.is_finished) {
            self.state.end(events);
            return Ok(());
        }
        Err(DecodeError::Truncated)
    }
}

#[derive(Default)]
struct State {
    undo: Undo,
    answer_id: Box<str>,
    /// Fields of chunks that came before the answer began, such as Azure's filter results.
    early: Rest,
    is_started: bool,
    is_over: bool,
    next_block: u32,
    choices: Vec<Choice>,
    /// Counts that stood in a choice of this chunk.
    usage: Option<Usage>,
}

#[derive(Default)]
struct Choice {
    index: u32,
    open: Option<(Kind, u32)>,
    tools: Vec<OpenTool>,
    n_tools: u32,
    /// `reasoning_details` were seen, so the plain texts repeat them.
    has_details: bool,
    /// The number of the detail that the open reasoning is made of.
    detail: Option<u64>,
    is_finished: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Reasoning,
    Refusal,
}

struct OpenTool {
    /// The server's index in `tool_calls`.
    position: u64,
    id: Box<str>,
    block: u32,
    progress: JsonProgress,
    is_open: bool,
}

impl State {
    fn take_data(&mut self, data: &[u8], events: &mut Vec<Event>) -> Result<(), DecodeError> {
        if self.is_over || data.is_empty() {
            return Ok(());
        }
        if data.trim_ascii() == b"[DONE]" {
            self.end(events);
            return Ok(());
        }
        let root = json::root(data)?;
        let object = root.object()?;
        let choices = object.find("choices");
        let choices = choices.as_ref().map(Node::array).transpose()?;
        self.start(&object, choices.as_ref().is_some_and(|choices| !choices.is_empty()), events)?;
        for (position, node) in choices.iter().flat_map(|choices| choices.iter().enumerate()) {
            self.take_choice(&node, position, events)?;
        }
        let of = |object: &Object<'_, '_>| object.report("usage", |usage| super::USAGE.read(usage));
        // Where OpenAI puts the counts, else where Groq does, else where Moonshot does.
        let in_choice = self.usage.take();
        let usage = of(&object).or_else(|| object.report("x_groq", of).flatten()).or(in_choice);
        events.extend(usage.map(Event::Usage));
        if let Some(node) = object.find("error") {
            let error = read_error(0, &node).ok_or_else(|| node.expected("an error object"))?;
            self.fail(error, events);
        }
        Ok(())
    }

    fn start(
        &mut self,
        object: &Object<'_, '_>,
        has_choices: bool,
        events: &mut Vec<Event>,
    ) -> Result<(), DecodeError> {
        if self.is_started {
            return Ok(());
        }
        let mut start = read_start(object)?;
        if !has_choices && start.id.is_empty() && object.find("usage").is_none() {
            self.early.0.append(&mut start.rest.0);
            return Ok(());
        }
        self.is_started = true;
        self.answer_id = start.id.clone();
        let mut rest = std::mem::take(&mut self.early);
        rest.0.append(&mut start.rest.0);
        start.rest = rest;
        events.push(Event::Start(start));
        Ok(())
    }

    fn take_choice(
        &mut self,
        node: &Node<'_, '_>,
        position: usize,
        events: &mut Vec<Event>,
    ) -> Result<(), DecodeError> {
        let object = node.object()?;
        let index = match object.find("index") {
            Some(index) => index.u32()?,
            None => u32::try_from(position).unwrap_or(u32::MAX),
        };
        let at = self.choice(index);
        if self.choices[at].is_finished {
            return Ok(());
        }
        if let Some(delta) = object.find("delta") {
            self.take_delta(at, &delta.object()?, events)?;
        }
        if let Some(found) = object.find("logprobs").map(|node| probability::read(node.raw())) {
            events.push(Event::Logprobs { choice: index, found: Box::new(found) });
        }
        if let Some(usage) = object.report("usage", |usage| super::USAGE.read(usage)) {
            self.usage = Some(usage);
        }
        if let Some(word) = object.find_boxed("finish_reason")? {
            object.skip(&["index"]);
            self.finish_choice(at, &word, object.rest(), events);
        }
        Ok(())
    }

    fn choice(&mut self, index: u32) -> usize {
        if let Some(at) = self.choices.iter().position(|choice| choice.index == index) {
            return at;
        }
        self.choices.push(Choice { index, ..Choice::default() });
        self.choices.len() - 1
    }

    fn take_delta(&mut self, at: usize, delta: &Object<'_, '_>, events: &mut Vec<Event>) -> Result<(), DecodeError> {
        if let Some(details) = delta.find("reasoning_details").filter(Node::is_array) {
            for detail in details.array()?.iter() {
                self.take_detail(at, &detail.object()?, events)?;
            }
        }
        let plain = delta.find("reasoning_content").or_else(|| delta.find("reasoning"));
        if let Some(plain) = plain.filter(|node| node.is_str() && !self.choices[at].has_details) {
            self.grow(at, Kind::Reasoning, plain.boxed()?, events);
        }
        if let Some(content) = delta.find("content") {
            if content.is_array() {
                for part in content.array()?.iter() {
                    if let Some(thought) = read_thought(&part)? {
                        self.grow(at, Kind::Reasoning, thought, events);
                    } else {
                        let text = part.object()?.find_boxed("text")?.unwrap_or_default();
                        self.grow(at, Kind::Text, text, events);
                    }
                }
            } else {
                self.grow(at, Kind::Text, content.boxed()?, events);
            }
        }
        if let Some(refusal) = delta.find("refusal") {
            self.grow(at, Kind::Refusal, refusal.boxed()?, events);
        }
        if let Some(annotations) = delta.find("annotations").filter(Node::is_array) {
            for annotation in annotations.array()?.iter() {
                let index = self.open(at, Kind::Text, events);
                events.push(Event::Delta { index, delta: Delta::Citation(annotation.raw()) });
            }
        }
        if let Some(calls) = delta.find("tool_calls") {
            for (position, call) in calls.array()?.iter().enumerate() {
                self.take_call(at, &call, position, events)?;
            }
        }
        Ok(())
    }

    fn take_detail(&mut self, at: usize, detail: &Object<'_, '_>, events: &mut Vec<Event>) -> Result<(), DecodeError> {
        let number = detail.find("index").and_then(|node| node.u64().ok());
        let choice = &mut self.choices[at];
        choice.has_details = true;
        let is_other = number.is_some() && std::mem::replace(&mut choice.detail, number) != number;
        if is_other && choice.open.is_some_and(|(kind, _)| kind == Kind::Reasoning) {
            self.close(at, events);
        }
        if let Some(data) = detail.find_boxed("data")? {
            self.close(at, events);
            let index = self.begin(at, BlockStart::RedactedReasoning(data), events);
            events.push(Event::BlockStop { index });
            return Ok(());
        }
        let text = match detail.find_boxed("text")? {
            Some(text) => Some(text),
            None => detail.find_boxed("summary")?,
        };
        self.grow(at, Kind::Reasoning, text.unwrap_or_default(), events);
        if let Some(signature) = detail.find_boxed("signature")?.filter(|proof| !proof.is_empty()) {
            let index = self.open(at, Kind::Reasoning, events);
            events.push(Event::Delta { index, delta: Delta::Signature(signature) });
        }
        Ok(())
    }

    fn take_call(
        &mut self,
        at: usize,
        node: &Node<'_, '_>,
        position: usize,
        events: &mut Vec<Event>,
    ) -> Result<(), DecodeError> {
        let call = node.object()?;
        let id = call.find_boxed("id")?.filter(|id| !id.is_empty());
        let position = match call.find_u64("index")? {
            Some(index) => index,
            None => u64::try_from(position).unwrap_or(u64::MAX),
        };
        let function = call.find("function");
        let function = function.as_ref().map(Node::object).transpose()?;
        let name = match &function {
            Some(function) => function.find_boxed("name")?.filter(|name| !name.is_empty()),
            None => None,
        };
        let known = self.choices[at].tools.iter().rposition(|tool| tool.position == position);
        // Some servers send every call with index 0; a new id is a new call then.
        let known = known.filter(|&tool| id.is_none() || id.as_deref() == Some(&*self.choices[at].tools[tool].id));
        let tool = match known {
            Some(tool) => tool,
            None => self.begin_tool(at, position, id, name.as_deref().unwrap_or_default(), events),
        };
        let Some(arguments) = function.as_ref().and_then(|function| function.find("arguments")) else { return Ok(()) };
        let piece = if arguments.is_str() { arguments.boxed()? } else { arguments.text().into() };
        let tool = &mut self.choices[at].tools[tool];
        if !piece.is_empty() && tool.is_open {
            tool.progress.push(&piece);
            events.push(Event::Delta { index: tool.block, delta: Delta::Arguments(piece) });
        }
        Ok(())
    }

    fn begin_tool(
        &mut self,
        at: usize,
        position: u64,
        id: Option<Box<str>>,
        name: &str,
        events: &mut Vec<Event>,
    ) -> usize {
        self.close(at, events);
        self.close_complete_tools(at, events);
        let number = self.choices[at].n_tools;
        self.choices[at].n_tools += 1;
        let id = id.unwrap_or_else(|| format!("call_{}_{number}", self.answer_id).into());
        let name = self.undo.tool_name(name).into();
        let block = self.begin(at, BlockStart::ToolUse { id: id.clone(), name }, events);
        let tools = &mut self.choices[at].tools;
        tools.push(OpenTool { position, id, block, progress: JsonProgress::default(), is_open: true });
        tools.len() - 1
    }

    fn begin(&mut self, at: usize, block: BlockStart, events: &mut Vec<Event>) -> u32 {
        let index = self.next_block;
        self.next_block += 1;
        events.push(Event::BlockStart { index, choice: self.choices[at].index, block });
        index
    }

    /// Gives the open block of a kind, closing another kind's first.
    fn open(&mut self, at: usize, kind: Kind, events: &mut Vec<Event>) -> u32 {
        match self.choices[at].open {
            Some((open, index)) if open == kind => index,
            _ => {
                self.close(at, events);
                self.close_complete_tools(at, events);
                let block = match kind {
                    Kind::Text => BlockStart::Text,
                    Kind::Reasoning => BlockStart::Reasoning,
                    Kind::Refusal => BlockStart::Refusal,
                };
                let index = self.begin(at, block, events);
                self.choices[at].open = Some((kind, index));
                index
            }
        }
    }

    fn close(&mut self, at: usize, events: &mut Vec<Event>) {
        if let Some((_, index)) = self.choices[at].open.take() {
            events.push(Event::BlockStop { index });
        }
    }

    fn close_complete_tools(&mut self, at: usize, events: &mut Vec<Event>) {
        for tool in &mut self.choices[at].tools {
            if tool.is_open && tool.progress.is_complete() {
                tool.is_open = false;
                events.push(Event::BlockStop { index: tool.block });
            }
        }
    }

    fn grow(&mut self, at: usize, kind: Kind, text: Box<str>, events: &mut Vec<Event>) {
        if text.is_empty() {
            return;
        }
        let index = self.open(at, kind, events);
        let delta = match kind {
            Kind::Text => Delta::Text(text),
            Kind::Reasoning => Delta::Reasoning(text),
            Kind::Refusal => Delta::Refusal(text),
        };
        events.push(Event::Delta { index, delta });
    }

    fn close_all(&mut self, at: usize, events: &mut Vec<Event>) {
        self.close(at, events);
        for tool in &mut self.choices[at].tools {
            if std::mem::take(&mut tool.is_open) {
                events.push(Event::BlockStop { index: tool.block });
            }
        }
    }

    fn finish_choice(&mut self, at: usize, word: &str, rest: Rest, events: &mut Vec<Event>) {
        if word == "abort" {
            // vLLM's word for a request that its own server gave up.
            let error = AnswerError::new(502, "upstream_aborted", "the upstream aborted the answer; try again");
            return self.fail(error, events);
        }
        if word == "error" {
            // OpenRouter's; the chunk's `error` object says why and comes next.
            return self.close_all(at, events);
        }
        self.close_all(at, events);
        let choice = &mut self.choices[at];
        choice.is_finished = true;
        let (reason, native) = read_reason(word, choice.n_tools > 0);
        events.push(Event::Finish(Finish { choice: choice.index, reason, native, stop_sequence: None, rest }));
    }

    fn fail(&mut self, error: AnswerError, events: &mut Vec<Event>) {
        if !self.is_over {
            self.is_over = true;
            events.push(Event::Error(error));
        }
    }

    fn end(&mut self, events: &mut Vec<Event>) {
        for at in 0..self.choices.len() {
            if self.choices[at].is_finished {
                continue;
            }
            self.close_all(at, events);
            let reason = if self.choices[at].n_tools > 0 { FinishReason::ToolUse } else { FinishReason::Stop };
            events.push(Event::Finish(Finish { choice: self.choices[at].index, ..Finish::new(reason) }));
        }
        self.is_over = true;
        events.push(Event::Done);
    }
}
