//! Answers become events. A whole body is a stream of one chunk.
//!
//! Chunks name no blocks: a block begins when the kind of part changes. A stream has no end mark and metadata may follow
//! the finish, so choices end when the body does.

use hub::canonical::content::Opaque;
use hub::canonical::error::{AnswerError, DecodeError, ErrorKind};
use hub::canonical::event::{BlockStart, Delta, Event, Finish, FinishReason, Start};
use hub::canonical::json::{Raw, Rest};
use hub::codec::json::{self, Node, Object};
use hub::codec::{json_array, sse};
use hub::dialect::{Decoder, Dialect, Undo, call_id};

use super::error::read_error;
use super::probability;
use super::proof::{self, Proof};

/// Collects the body and reads it at the end.
pub(super) struct WholeDecoder {
    body: Vec<u8>,
    state: State,
}

impl WholeDecoder {
    pub(super) fn new(undo: Undo) -> Self {
        Self { body: Vec::new(), state: State { undo, ..State::default() } }
    }
}

impl Decoder for WholeDecoder {
    fn push(&mut self, bytes: &[u8], _: &mut Vec<Event>) -> Result<(), DecodeError> {
        self.body.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), DecodeError> {
        self.state.take_data(&self.body, events)?;
        if self.state.choices.is_empty() && !self.state.is_over {
            return Err(DecodeError::Missing { path: "candidates".into() });
        }
        self.state.end(events);
        Ok(())
    }
}

/// Reads chunks as they come.
pub(super) struct StreamDecoder {
    reader: Reader,
    state: State,
}

/// How the chunks are wrapped; the first byte tells.
enum Reader {
    Unknown,
    Events(sse::Reader),
    Array(json_array::Reader),
}

impl StreamDecoder {
    pub(super) fn new(undo: Undo) -> Self {
        Self { reader: Reader::Unknown, state: State { undo, ..State::default() } }
    }
}

impl Decoder for StreamDecoder {
    fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), DecodeError> {
        if matches!(self.reader, Reader::Unknown) {
            self.reader = match bytes.trim_ascii_start().first() {
                None => return Ok(()),
                Some(b'[' | b'{') => Reader::Array(json_array::Reader::default()),
                Some(_) => Reader::Events(sse::Reader::default()),
            };
        }
        let state = &mut self.state;
        match &mut self.reader {
            Reader::Unknown => Ok(()),
            Reader::Events(reader) => reader.push(bytes, &mut |frame| state.take_data(frame.data, events)),
            Reader::Array(reader) => reader.push(bytes, &mut |object| state.take_data(object, events)),
        }
    }

    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), DecodeError> {
        let state = &mut self.state;
        match &mut self.reader {
            Reader::Events(reader) => reader.finish(&mut |frame| state.take_data(frame.data, events))?,
            Reader::Array(reader) if reader.is_inside() => return Err(DecodeError::Truncated),
            Reader::Array(_) | Reader::Unknown => {}
        }
        if !self.state.is_over && !self.state.choices.iter().any(|choice| choice.word.is_some()) {
            return Err(DecodeError::Truncated);
        }
        self.state.end(events);
        Ok(())
    }

    fn is_said(&self) -> bool {
        let is_between = match &self.reader {
            Reader::Unknown => false,
            Reader::Events(reader) => !reader.is_inside(),
            Reader::Array(reader) => !reader.is_inside(),
        };
        is_between && self.state.is_said
    }
}

#[derive(Default)]
struct State {
    undo: Undo,
    is_started: bool,
    is_over: bool,
    /// The last event left no choice open and counted what was used.
    is_said: bool,
    answer_id: Box<str>,
    next_block: u32,
    n_calls: u32,
    /// What was looked up in the web by the vendor's search, as often as it was.
    n_queries: Option<u64>,
    model: Box<str>,
    choices: Vec<Choice>,
}

#[derive(Default)]
struct Choice {
    index: u32,
    open: Option<(Kind, u32)>,
    has_calls: bool,
    has_output: bool,
    /// Why it ended, once it has.
    word: Option<Box<str>>,
    rest: Rest,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Reasoning,
}

/// Fields of a candidate that tell where text comes from.
const SOURCES: [&str; 3] = ["citationMetadata", "groundingMetadata", "urlContextMetadata"];

impl State {
    fn take_data(&mut self, data: &[u8], events: &mut Vec<Event>) -> Result<(), DecodeError> {
        if self.is_over || data.is_empty() {
            return Ok(());
        }
        let root = json::root(data)?;
        let object = root.object()?.camel();
        if object.find("error").is_some() {
            let error = read_error(0, &root).ok_or_else(|| root.expected("an error object"))?;
            self.fail(error, events);
            return Ok(());
        }
        self.start(&object, events)?;
        let candidates = object.find("candidates");
        let candidates = candidates.as_ref().map(Node::array).transpose()?;
        let mut is_counted = self.is_said;
        if let Some(usage) = object.find("usageMetadata").and_then(|usage| usage.object().ok()) {
            let usage = usage.camel();
            // Before the content, because some clients are told the tokens of the prompt first.
            for node in candidates.iter().flat_map(json::Array::iter) {
                self.n_queries = self.n_queries.max(queries(&node.object()?.camel()));
            }
            let mut usage = super::read_usage(&usage, self.n_queries.is_some());
            usage.units.searches = super::searches(&self.model, self.n_queries.unwrap_or(0));
            events.push(Event::Usage(usage));
            is_counted = true;
        }
        for (position, node) in candidates.iter().flat_map(|candidates| candidates.iter().enumerate()) {
            self.take_candidate(&node, position, events)?;
        }
        if let Some(node) = object.find("promptFeedback") {
            self.take_feedback(&node)?;
        }
        self.is_said =
            is_counted && !self.choices.is_empty() && self.choices.iter().all(|choice| choice.word.is_some());
        Ok(())
    }

    fn start(&mut self, object: &Object<'_, '_>, events: &mut Vec<Event>) -> Result<(), DecodeError> {
        if std::mem::replace(&mut self.is_started, true) {
            return Ok(());
        }
        let id = object.find_boxed("responseId")?.unwrap_or_default();
        let model = object.find_boxed("modelVersion")?.unwrap_or_default();
        object.skip(&["candidates", "promptFeedback", "usageMetadata"]);
        self.answer_id.clone_from(&id);
        self.model.clone_from(&model);
        events.push(Event::Start(Start { origin: Dialect::Gemini, id, model, created: None, rest: object.rest() }));
        Ok(())
    }

    /// A prompt that was blocked has no candidates; it ends the first choice before it began.
    fn take_feedback(&mut self, node: &Node<'_, '_>) -> Result<(), DecodeError> {
        let feedback = node.object()?.camel();
        let Some(word) = feedback.find_boxed("blockReason")?.filter(|word| &**word != "BLOCK_REASON_UNSPECIFIED")
        else {
            return Ok(());
        };
        let at = self.choice(0);
        let choice = &mut self.choices[at];
        choice.word = Some(if &*word == "PROHIBITED_CONTENT" { word } else { "SAFETY".into() });
        choice.rest.set("promptFeedback", node.raw());
        Ok(())
    }

    fn take_candidate(
        &mut self,
        node: &Node<'_, '_>,
        position: usize,
        events: &mut Vec<Event>,
    ) -> Result<(), DecodeError> {
        let candidate = node.object()?.camel();
        let index = match candidate.find("index") {
            Some(index) => index.u32()?,
            None => u32::try_from(position).unwrap_or(u32::MAX),
        };
        let at = self.choice(index);
        if let Some(content) = candidate.find("content") {
            let content = content.object()?.camel();
            if let Some(parts) = content.find("parts") {
                for part in parts.array()?.iter() {
                    self.take_part(at, &part, events)?;
                }
            }
        }
        self.n_queries = self.n_queries.max(queries(&candidate));
        for name in SOURCES {
            let Some(source) = candidate.find(name).filter(Node::is_object) else { continue };
            if source.object()?.rest().is_empty() {
                continue;
            }
            let raw = json::raw_object(|object| object.raw(name, &source.raw()));
            let index = self.open(at, Kind::Text, events);
            events.push(Event::Delta { index, delta: Delta::Citation(raw) });
        }
        if let Some(found) = candidate.find("logprobsResult").map(|node| probability::read(&node)) {
            events.push(Event::Logprobs { choice: index, found: Box::new(found) });
        }
        let word = candidate.find_boxed("finishReason")?;
        if let Some(word) = word.filter(|word| &**word != "FINISH_REASON_UNSPECIFIED") {
            self.choices[at].word = Some(word);
        }
        for (name, value) in candidate.rest().0 {
            self.choices[at].rest.set(&name, value);
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

    fn take_part(&mut self, at: usize, node: &Node<'_, '_>, events: &mut Vec<Event>) -> Result<(), DecodeError> {
        let part = node.object()?.camel();
        let signature = part.find_boxed("thoughtSignature")?.filter(|proof| !proof.is_empty());
        let is_thought = part.find_bool("thought")?.unwrap_or(false);
        if let Some(field) = part.find("functionCall") {
            let call = field.object()?.camel();
            if call.find("name").is_some() {
                return self.take_call(at, &call, signature.as_deref(), events);
            }
        }
        if part.find("text").is_some() || (signature.is_some() && part.rest().is_empty()) {
            let text = part.find_boxed("text")?.unwrap_or_default();
            self.take_text(at, text, is_thought, signature.as_deref(), events);
            return Ok(());
        }
        let fields = part.rest();
        // An empty part keeps a connection alive and says nothing.
        let Some((kind, _)) = fields.0.first() else { return Ok(()) };
        self.close(at, events);
        self.choices[at].has_output = true;
        let opaque = Opaque { kind: kind.to_string(), raw: node.raw() };
        let index = self.begin(at, BlockStart::Opaque(opaque), events);
        events.push(Event::BlockStop { index });
        Ok(())
    }

    fn take_text(
        &mut self,
        at: usize,
        text: Box<str>,
        is_thought: bool,
        signature: Option<&str>,
        events: &mut Vec<Event>,
    ) {
        let kind = if is_thought { Kind::Reasoning } else { Kind::Text };
        if !text.is_empty() {
            self.choices[at].has_output = true;
            let index = self.open(at, kind, events);
            let delta = if is_thought { Delta::Reasoning(text) } else { Delta::Text(text) };
            events.push(Event::Delta { index, delta });
        }
        match signature.map(proof::read) {
            None => {}
            Some(Proof::Redacted(data)) => {
                self.close(at, events);
                let index = self.begin(at, BlockStart::RedactedReasoning(data.into()), events);
                events.push(Event::BlockStop { index });
            }
            Some(Proof::Signature(proof)) => {
                // On other text than a thought it stands for itself: thinking of which nothing is shown.
                if !is_thought {
                    self.close(at, events);
                }
                let index = self.open(at, Kind::Reasoning, events);
                events.push(Event::Delta { index, delta: Delta::Signature(proof.into()) });
                self.close(at, events);
            }
        }
    }

    fn take_call(
        &mut self,
        at: usize,
        call: &Object<'_, '_>,
        signature: Option<&str>,
        events: &mut Vec<Event>,
    ) -> Result<(), DecodeError> {
        let name = call.get("name")?.str()?;
        let number = self.n_calls;
        self.n_calls = self.n_calls.saturating_add(1);
        let id = call.find_string("id")?.filter(|id| !id.is_empty());
        let mut id = id.unwrap_or_else(|| call_id::make_up(&self.answer_id, number));
        self.close(at, events);
        if let Some(signature) = signature {
            if let Some(signed) = call_id::sign(&id, signature) {
                id = signed;
            } else {
                // Not what the vendor documents; it is kept beside the call then.
                self.take_text(at, Box::default(), false, Some(signature), events);
            }
        }
        self.choices[at].has_calls = true;
        self.choices[at].has_output = true;
        let name = self.undo.tool_name(&name).into();
        let index = self.begin(at, BlockStart::ToolUse { id: id.into(), name }, events);
        let arguments = call.find("args").map_or("{}", |args| args.text()).into();
        events.push(Event::Delta { index, delta: Delta::Arguments(arguments) });
        events.push(Event::BlockStop { index });
        Ok(())
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
                let block = match kind {
                    Kind::Text => BlockStart::Text,
                    Kind::Reasoning => BlockStart::Reasoning,
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

    fn fail(&mut self, error: AnswerError, events: &mut Vec<Event>) {
        self.is_over = true;
        events.push(Event::Error(error));
    }

    fn end(&mut self, events: &mut Vec<Event>) {
        if self.is_over {
            return;
        }
        for at in 0..self.choices.len() {
            self.close(at, events);
        }
        // A model that stumbled over its own call says STOP to nobody: without any output the call failed.
        let failed = self.choices.iter().all(|choice| !choice.has_output);
        let word = self.choices.iter().find_map(|choice| choice.word.as_deref().filter(|word| super::is_failure(word)));
        if let (true, Some(word)) = (failed, word) {
            let details = self.choices.iter().find_map(|choice| choice.rest.find("finishMessage"));
            let error = failure(word, details);
            return self.fail(error, events);
        }
        self.is_over = true;
        for choice in &mut self.choices {
            let word = choice.word.take();
            let (reason, native) = match word.as_deref() {
                Some(word) => super::read_finish(word, choice.has_calls),
                None if choice.has_calls => (FinishReason::ToolUse, None),
                None => (FinishReason::Stop, None),
            };
            let rest = std::mem::take(&mut choice.rest);
            events.push(Event::Finish(Finish { choice: choice.index, reason, native, stop_sequence: None, rest }));
        }
        events.push(Event::Done);
    }
}

/// Says how much was looked up for a candidate by the vendor's search, whose tokens it does not charge for; `None` when it was not at work.
fn queries(candidate: &Object<'_, '_>) -> Option<u64> {
    let grounding = candidate.find("groundingMetadata")?.object().ok()?.camel();
    let list = grounding.find("webSearchQueries")?;
    Some(list.array().map_or(0, |list| u64::try_from(list.len()).unwrap_or(u64::MAX)))
}

/// The error of an answer that is nothing but a word for the model's failure.
fn failure(word: &str, details: Option<&Raw>) -> AnswerError {
    let details = details.and_then(|raw| serde_json::from_str::<String>(raw.as_str()).ok());
    let message = match details {
        Some(details) => format!("the model gave no answer ({word}): {details}; try again"),
        None => format!("the model gave no answer ({word}); try again"),
    };
    AnswerError { kind: ErrorKind::Server, ..AnswerError::new(502, &word.to_ascii_lowercase(), message) }
}
