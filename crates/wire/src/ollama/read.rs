//! Ollama's lines become events; a whole answer is a stream of one line.

use hub::canonical::error::{AnswerError, DecodeError};
use hub::canonical::event::{BlockStart, Delta, Event, Finish};
use hub::codec::json::{self, Object};
use hub::codec::sse::MAX_LENGTH;
use hub::dialect::{Decoder, Mode, Undo};

use crate::{reason, start};

/// Reads lines as they come.
pub(super) struct LineDecoder {
    line: Vec<u8>,
    /// Lines end only at the end: a proxy may have laid a whole answer out over several.
    is_whole: bool,
    state: State,
}

impl LineDecoder {
    pub(super) fn new(mode: Mode, undo: Undo) -> Self {
        let is_whole = mode == Mode::Whole;
        Self { line: Vec::new(), is_whole, state: State { undo, is_whole, ..State::default() } }
    }

    fn hold(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        if self.line.len() + bytes.len() > MAX_LENGTH {
            return Err(DecodeError::LineTooLong { limit: MAX_LENGTH });
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }
}

impl Decoder for LineDecoder {
    fn push(&mut self, mut bytes: &[u8], events: &mut Vec<Event>) -> Result<(), DecodeError> {
        if self.is_whole {
            return self.hold(bytes);
        }
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.hold(&bytes[..end])?;
            let line = std::mem::take(&mut self.line);
            self.state.take(&line, events)?;
            self.line = line;
            self.line.clear();
            bytes = &bytes[end + 1..];
        }
        self.hold(bytes)
    }

    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), DecodeError> {
        let line = std::mem::take(&mut self.line);
        self.state.take(&line, events)?;
        if self.state.is_over { Ok(()) } else { Err(DecodeError::Truncated) }
    }
}

#[derive(Default)]
struct State {
    undo: Undo,
    /// One line has it all; of a stream the last one may do without a message.
    is_whole: bool,
    has_begun: bool,
    is_over: bool,
    n_blocks: u32,
    n_calls: u32,
    /// The open block, and whether it is reasoning.
    open: Option<(bool, u32)>,
}

impl State {
    fn take(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<(), DecodeError> {
        if self.is_over || line.trim_ascii().is_empty() {
            return Ok(());
        }
        let root = json::root(line)?;
        let object = root.object()?;
        if let Some(error) = object.find("error") {
            self.is_over = true;
            let message = if error.is_str() { error.boxed()? } else { error.text().into() };
            events.push(Event::Error(AnswerError { code: None, ..AnswerError::new(500, "", message) }));
            return Ok(());
        }
        if !std::mem::replace(&mut self.has_begun, true) {
            events.push(Event::Start(start("", &object.find_string("model")?.unwrap_or_default())));
        }
        if let Some(message) = object.find("message") {
            self.take_message(&message.object()?, events)?;
        } else if self.is_whole {
            return Err(DecodeError::Missing { path: "message".into() });
        }
        if object.find_bool("done")? == Some(true) {
            self.close(events);
            self.is_over = true;
            events.push(Event::Usage(super::usage(&object)));
            let word = object.find_string("done_reason")?.unwrap_or_else(|| "stop".to_owned());
            let (said, native) = super::finish(&word);
            events.push(Event::Finish(Finish { native, ..Finish::new(reason(&self.undo, said, self.n_calls > 0)) }));
            events.push(Event::Done);
        }
        Ok(())
    }

    fn take_message(&mut self, message: &Object<'_, '_>, events: &mut Vec<Event>) -> Result<(), DecodeError> {
        if let Some(text) = message.find_boxed("thinking")? {
            self.grow(true, text, events);
        }
        if let Some(text) = message.find_boxed("content")? {
            self.grow(false, text, events);
        }
        let Some(calls) = message.find("tool_calls") else { return Ok(()) };
        for node in calls.array()?.iter() {
            let call = node.object()?;
            let field = call.get("function")?;
            let function = field.object()?;
            let name = self.undo.tool_name(&function.get("name")?.str()?).to_owned();
            let id = match call.find_boxed("id")?.filter(|id| !id.is_empty()) {
                Some(id) => id,
                None => format!("call_{}", self.n_calls).into(),
            };
            self.n_calls = self.n_calls.saturating_add(1);
            self.close(events);
            let index = self.begin(BlockStart::ToolUse { id, name: name.into() }, events);
            let arguments = function.find("arguments").map_or("{}", |arguments| arguments.text());
            events.push(Event::Delta { index, delta: Delta::Arguments(arguments.into()) });
            events.push(Event::BlockStop { index });
        }
        Ok(())
    }

    fn begin(&mut self, block: BlockStart, events: &mut Vec<Event>) -> u32 {
        let index = self.n_blocks;
        self.n_blocks = self.n_blocks.saturating_add(1);
        events.push(Event::BlockStart { index, choice: 0, block });
        index
    }

    fn grow(&mut self, is_reasoning: bool, text: Box<str>, events: &mut Vec<Event>) {
        if text.is_empty() {
            return;
        }
        let index = match self.open {
            Some((kind, index)) if kind == is_reasoning => index,
            _ => {
                self.close(events);
                let index = self.begin(if is_reasoning { BlockStart::Reasoning } else { BlockStart::Text }, events);
                self.open = Some((is_reasoning, index));
                index
            }
        };
        let delta = if is_reasoning { Delta::Reasoning(text) } else { Delta::Text(text) };
        events.push(Event::Delta { index, delta });
    }

    fn close(&mut self, events: &mut Vec<Event>) {
        if let Some((_, index)) = self.open.take() {
            events.push(Event::BlockStop { index });
        }
    }
}
