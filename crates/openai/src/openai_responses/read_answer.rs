//! A stream of response events, or a whole response, becomes events.
//!
//! The vendor says everything twice or more: piece by piece, when a part is done, when its item is done, and at the end.
//! What was not said piece by piece is taken from the first place that has it, so a whole response is read as a stream
//! that begins with its end.

use hub::canonical::content::{Block, Content, Opaque};
use hub::canonical::error::{AnswerError, DecodeError};
use hub::canonical::event::{BlockStart, Delta, Event, Finish, FinishReason, Start};
use hub::canonical::json::{Raw, Rest};
use hub::codec::json::{self, Array, Node, Object};
use hub::codec::sse;
use hub::dialect::proof::{self, Encrypted};
use hub::dialect::{Decoder, Dialect, Mode, Undo};

use super::failure::read_failure;
use super::read_items::{item_fields, message_fields, read_reasoning};
use crate::probability;

/// Reads events as they come, or a body at its end.
pub(super) struct AnswerDecoder {
    mode: Mode,
    body: Vec<u8>,
    reader: sse::Reader,
    state: State,
}

impl AnswerDecoder {
    pub(super) fn new(mode: Mode, undo: Undo) -> Self {
        let state = State { undo, ..State::default() };
        Self { mode, body: Vec::new(), reader: sse::Reader::default(), state }
    }
}

impl Decoder for AnswerDecoder {
    fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), DecodeError> {
        if self.mode == Mode::Whole {
            self.body.extend_from_slice(bytes);
            return Ok(());
        }
        let state = &mut self.state;
        self.reader.push(bytes, &mut |frame| state.take_data(frame.data, events))
    }

    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), DecodeError> {
        let state = &mut self.state;
        if self.mode == Mode::Whole {
            return state.take_body(&self.body, events);
        }
        self.reader.finish(&mut |frame| state.take_data(frame.data, events))?;
        if state.is_over { Ok(()) } else { Err(DecodeError::Truncated) }
    }
}

#[derive(Default)]
struct State {
    undo: Undo,
    /// What the answer's beginning said about it; the end is told apart from it.
    start: Option<Rest>,
    is_over: bool,
    next_block: u32,
    has_tools: bool,
    items: Vec<Item>,
}

/// One item of the output.
struct Item {
    position: u64,
    is_opaque: bool,
    /// What its first block will say about it.
    fields: Rest,
    parts: Vec<Part>,
    is_done: bool,
}

/// One block of an item.
struct Part {
    slot: Slot,
    block: u32,
    is_thought: bool,
    is_open: bool,
    has_said: bool,
}

/// Where in its item a part is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    /// In a message's or a reasoning item's `content`.
    Content(u64),
    /// In a reasoning item's `summary`.
    Summary(u64),
    /// The item itself.
    Whole,
}

/// Fields of a response that its end says in another way than `rest`.
const KNOWN: [&str; 9] =
    ["id", "object", "created_at", "model", "status", "output", "usage", "error", "incomplete_details"];

impl State {
    fn take_data(&mut self, data: &[u8], events: &mut Vec<Event>) -> Result<(), DecodeError> {
        if self.is_over || data.is_empty() || data.trim_ascii() == b"[DONE]" {
            return Ok(());
        }
        let root = json::root(data)?;
        let object = root.object()?;
        let kind = object.get("type")?.str()?;
        let name = kind.strip_prefix("response.").unwrap_or(&kind);
        match name {
            "created" | "queued" | "in_progress" => self.start(&object.get("response")?.object()?, events)?,
            "completed" | "incomplete" | "failed" => self.end(&object.get("response")?.object()?, events)?,
            "error" => {
                let error = read_failure(&root).ok_or_else(|| root.expected("an error"))?;
                self.fail(error, events);
            }
            "output_item.added" => {
                let item = object.get("item")?;
                self.begin_item(position(&object), &item, events)?;
            }
            "output_item.done" => {
                let item = object.get("item")?;
                self.end_item(position(&object), &item, events)?;
            }
            _ => self.take_part(name, &root, &object, events)?,
        }
        Ok(())
    }

    /// Reads what happens inside an item.
    fn take_part(
        &mut self,
        name: &str,
        root: &Node<'_, '_>,
        object: &Object<'_, '_>,
        events: &mut Vec<Event>,
    ) -> Result<(), DecodeError> {
        if object.find("output_index").or(object.find("item_id")).is_none() {
            return Ok(());
        }
        let at = self.item(position(object), object.find_boxed("item_id")?.as_deref());
        let number = |name: &str| object.find(name).and_then(|node| node.u64().ok()).unwrap_or(0);
        let (content, summary) = (Slot::Content(number("content_index")), Slot::Summary(number("summary_index")));
        if self.items[at].is_opaque {
            if let Some(block) = self.items[at].parts.first().filter(|part| part.is_open).map(|part| part.block) {
                events.push(Event::Delta { index: block, delta: Delta::Opaque(root.raw()) });
            }
            return Ok(());
        }
        match name {
            "content_part.added" => {
                if let Some(part) = object.find("part") {
                    self.begin_content(at, content, &part.object()?, events)?;
                }
            }
            // The proof of a thought comes when its item is done.
            "content_part.done" => self.close(at, |part| part.slot == content && !part.is_thought, events),
            "reasoning_summary_part.added" => _ = self.open(at, summary, &BlockStart::Reasoning, events),
            "output_text.delta" => self.say(at, content, Delta::Text(object.get("delta")?.boxed()?), events),
            "refusal.delta" => self.say(at, content, Delta::Refusal(object.get("delta")?.boxed()?), events),
            "reasoning_text.delta" => self.say(at, content, Delta::Reasoning(object.get("delta")?.boxed()?), events),
            "reasoning_summary_text.delta" => {
                self.say(at, summary, Delta::Reasoning(object.get("delta")?.boxed()?), events);
            }
            "function_call_arguments.delta" => {
                self.say(at, Slot::Whole, Delta::Arguments(object.get("delta")?.boxed()?), events);
            }
            "output_text.done" => {
                self.complete(at, content, object.find_boxed("text")?.map(Delta::Text), events);
                push_logprobs(object, events);
            }
            "refusal.done" => {
                self.complete(at, content, object.find_boxed("refusal")?.map(Delta::Refusal), events);
            }
            "reasoning_text.done" => {
                self.complete(at, content, object.find_boxed("text")?.map(Delta::Reasoning), events);
            }
            "reasoning_summary_text.done" => {
                self.complete(at, summary, object.find_boxed("text")?.map(Delta::Reasoning), events);
            }
            "function_call_arguments.done" => {
                self.complete(at, Slot::Whole, object.find_boxed("arguments")?.map(Delta::Arguments), events);
            }
            "output_text.annotation.added" => {
                if let Some(annotation) = object.find("annotation") {
                    self.say(at, content, Delta::Citation(annotation.raw()), events);
                }
            }
            // The vendor adds events, and each item is said whole when it is done.
            _ => {}
        }
        Ok(())
    }

    // === The answer ===

    fn start(&mut self, response: &Object<'_, '_>, events: &mut Vec<Event>) -> Result<(), DecodeError> {
        if self.start.is_some() {
            return Ok(());
        }
        let start = read_start(response)?;
        self.start = Some(start.rest.clone());
        events.push(Event::Start(start));
        Ok(())
    }

    /// A server that forgot to begin.
    fn start_late(&mut self, events: &mut Vec<Event>) {
        if self.start.is_none() {
            self.start = Some(Rest::default());
            let (id, model) = Default::default();
            let origin = Dialect::OpenAiResponses;
            events.push(Event::Start(Start { origin, id, model, created: None, rest: Rest::default() }));
        }
    }

    fn take_body(&mut self, body: &[u8], events: &mut Vec<Event>) -> Result<(), DecodeError> {
        let root = json::root(body)?;
        let object = root.object()?;
        if object.find("output").is_none() {
            let failure = object.find("error").and_then(|_| read_failure(&root));
            let error = failure.ok_or(DecodeError::Missing { path: "output".into() })?;
            self.start_late(events);
            self.fail(error, events);
            return Ok(());
        }
        self.end(&object, events)
    }

    /// Reads the whole response that ends a stream, or is the body.
    fn end(&mut self, response: &Object<'_, '_>, events: &mut Vec<Event>) -> Result<(), DecodeError> {
        self.start(response, events)?;
        if self.items.is_empty()
            && let Some(output) = response.find("output").filter(Node::is_array)
        {
            for (position, item) in output.array()?.iter().enumerate() {
                self.end_item(u64::try_from(position).unwrap_or(u64::MAX), &item, events)?;
            }
        }
        for at in 0..self.items.len() {
            self.close(at, |_| true, events);
        }
        if let Some(mut usage) = response.report("usage", |usage| super::USAGE.read(usage)) {
            usage.units.searches = count_searches(response);
            events.push(Event::Usage(usage));
        }
        let status = response.find("status").and_then(|status| status.str().ok()).unwrap_or_default();
        let failure = response.find("error");
        if failure.is_some() || status == "failed" {
            let unknown = || AnswerError::new(500, "server_error", "the upstream failed and said no more");
            self.fail(failure.as_ref().and_then(read_failure).unwrap_or_else(unknown), events);
            return Ok(());
        }
        let finish = self.read_finish(response, &status)?;
        self.is_over = true;
        events.extend([Event::Finish(finish), Event::Done]);
        Ok(())
    }

    fn read_finish(&mut self, response: &Object<'_, '_>, status: &str) -> Result<Finish, DecodeError> {
        let details = response.find("incomplete_details").filter(Node::is_object);
        let word = details.map(|node| node.object()?.find_boxed("reason")).transpose()?.flatten();
        let (reason, native) = match word {
            Some(word) => super::read_incomplete(&word),
            None if status == "incomplete" => (FinishReason::Length, None),
            None if self.has_tools => (FinishReason::ToolUse, None),
            None if matches!(status, "completed" | "") => (FinishReason::Stop, None),
            // Made in the background: not begun, not over or called off.
            None => (FinishReason::Other, None),
        };
        let mut finish = Finish { native, ..Finish::new(reason) };
        if !matches!(status, "completed" | "incomplete" | "") {
            finish.rest.0.extend(Raw::of(status).map(|status| ("status".into(), status)));
        }
        response.skip(&KNOWN);
        let said = self.start.take().unwrap_or_default();
        let news = response.rest().0.into_iter().filter(|(name, value)| said.find(name) != Some(value));
        finish.rest.0.extend(news);
        Ok(finish)
    }

    fn fail(&mut self, error: AnswerError, events: &mut Vec<Event>) {
        self.is_over = true;
        events.push(Event::Error(error));
    }

    // === Items ===

    /// Gives the item at a position; one that was never announced is a message.
    fn item(&mut self, position: u64, id: Option<&str>) -> usize {
        if let Some(at) = self.items.iter().rposition(|item| item.position == position) {
            return at;
        }
        let item = json::raw_object(|object| object.opt_str("id", id));
        let fields = Rest(vec![(Block::ITEM.into(), item)]);
        self.items.push(Item { position, is_opaque: false, fields, parts: Vec::new(), is_done: false });
        self.items.len() - 1
    }

    fn begin_item(
        &mut self,
        position: u64,
        node: &Node<'_, '_>,
        events: &mut Vec<Event>,
    ) -> Result<usize, DecodeError> {
        let object = node.object()?;
        let kind = object.get("type")?.str()?;
        let at = self.item(position, None);
        if !self.items[at].parts.is_empty() {
            return Ok(at);
        }
        object.skip(&["status", "type"]);
        match &*kind {
            "message" => self.items[at].fields = message_fields(&object),
            "reasoning" => {
                object.skip(&["summary", "content", "encrypted_content"]);
                self.items[at].fields = item_fields(object.rest());
            }
            "function_call" => {
                let (id, name) = (object.get("call_id")?.boxed()?, object.get("name")?.str()?);
                let arguments = object.find_boxed("arguments")?.unwrap_or_default();
                self.items[at].fields = item_fields(object.rest());
                self.has_tools = true;
                let name = self.undo.tool_name(&name).into();
                self.open(at, Slot::Whole, &BlockStart::ToolUse { id, name }, events);
                self.say(at, Slot::Whole, Delta::Arguments(arguments), events);
            }
            _ => {
                self.items[at].is_opaque = true;
                let opaque = Opaque { kind: kind.into_owned(), raw: node.raw() };
                self.open(at, Slot::Whole, &BlockStart::Opaque(opaque), events);
            }
        }
        Ok(at)
    }

    fn end_item(&mut self, position: u64, node: &Node<'_, '_>, events: &mut Vec<Event>) -> Result<(), DecodeError> {
        let at = self.begin_item(position, node, events)?;
        if std::mem::replace(&mut self.items[at].is_done, true) {
            return Ok(());
        }
        let object = node.object()?;
        match &*object.get("type")?.str()? {
            "message" => self.end_message(at, &object, events)?,
            "reasoning" => self.end_reasoning(at, &object, events)?,
            "function_call" => {
                self.complete(at, Slot::Whole, object.find_boxed("arguments")?.map(Delta::Arguments), events);
            }
            _ => {
                if let Some(part) = self.items[at].parts.first().filter(|part| part.is_open) {
                    events.push(Event::Delta { index: part.block, delta: Delta::Fields(object.rest()) });
                }
            }
        }
        self.close(at, |_| true, events);
        Ok(())
    }

    fn end_message(&mut self, at: usize, object: &Object<'_, '_>, events: &mut Vec<Event>) -> Result<(), DecodeError> {
        let Some(content) = object.find("content").filter(Node::is_array) else { return Ok(()) };
        for (index, node) in content.array()?.iter().enumerate() {
            let slot = Slot::Content(u64::try_from(index).unwrap_or(u64::MAX));
            if self.items[at].parts.iter().any(|part| part.slot == slot) {
                continue;
            }
            let part = node.object()?;
            self.begin_content(at, slot, &part, events)?;
            push_logprobs(&part, events);
        }
        Ok(())
    }

    /// Says the parts that have not been said, and the proof on the last.
    fn end_reasoning(
        &mut self,
        at: usize,
        object: &Object<'_, '_>,
        events: &mut Vec<Event>,
    ) -> Result<(), DecodeError> {
        let mut blocks = Vec::new();
        read_reasoning(object, &mut blocks)?;
        let (mut n_summary, mut n_content) = (0, 0);
        for block in blocks {
            let (slot, counter) = match block.rest.find("type") {
                Some(_) => (Slot::Content(n_content), &mut n_content),
                None => (Slot::Summary(n_summary), &mut n_summary),
            };
            *counter += 1;
            match block.content {
                Content::Reasoning(reasoning) if self.items[at].parts.iter().all(|part| part.slot != slot) => {
                    self.open(at, slot, &BlockStart::Reasoning, events);
                    self.say(at, slot, Delta::Reasoning(reasoning.text.into()), events);
                }
                Content::RedactedReasoning(data) => {
                    self.open(at, slot, &BlockStart::RedactedReasoning(data.into()), events);
                }
                _ => {}
            }
        }
        let id = object.find("id").and_then(|id| id.str().ok()).unwrap_or_default();
        let encrypted = object.find_boxed("encrypted_content")?;
        if let Some(Encrypted::Proof(proof)) = encrypted.map(|encrypted| proof::read(&id, &encrypted))
            && let Some(part) = self.items[at].parts.iter().rfind(|part| part.is_open)
        {
            events.push(Event::Delta { index: part.block, delta: Delta::Signature(proof.into()) });
        }
        Ok(())
    }

    /// Begins a part of `content`, with whatever of it is there already.
    fn begin_content(
        &mut self,
        at: usize,
        slot: Slot,
        part: &Object<'_, '_>,
        events: &mut Vec<Event>,
    ) -> Result<(), DecodeError> {
        let (start, delta) = match &*part.get("type")?.str()? {
            "output_text" | "text" => (BlockStart::Text, part.find_boxed("text")?.map(Delta::Text)),
            "refusal" => (BlockStart::Refusal, part.find_boxed("refusal")?.map(Delta::Refusal)),
            "reasoning_text" => (BlockStart::Reasoning, part.find_boxed("text")?.map(Delta::Reasoning)),
            // Content we cannot place; the item as a whole is the vendor's to explain.
            _ => return Ok(()),
        };
        let Some(opened) = self.open(at, slot, &start, events) else { return Ok(()) };
        if let Some(delta) = delta {
            self.say(at, slot, delta, events);
        }
        if let Some(annotations) = part.find("annotations").filter(Node::is_array) {
            for annotation in annotations.array()?.iter() {
                self.say(at, slot, Delta::Citation(annotation.raw()), events);
            }
        }
        part.skip(&["logprobs"]);
        let rest = part.rest();
        if !rest.is_empty() {
            let index = self.items[at].parts[opened].block;
            events.push(Event::Delta { index, delta: Delta::Fields(rest) });
        }
        Ok(())
    }

    // === Blocks ===

    /// Gives the part in a slot, beginning its block if need be; `None` when it is over.
    fn open(&mut self, at: usize, slot: Slot, start: &BlockStart, events: &mut Vec<Event>) -> Option<usize> {
        let item = &self.items[at];
        if let Some(part) = item.parts.iter().position(|part| part.slot == slot) {
            return Some(part).filter(|&part| item.parts[part].is_open);
        }
        let is_thought = matches!(start, BlockStart::Reasoning);
        if is_thought {
            // Parts of a thought follow each other; the proof comes with the last.
            self.close(at, |_| true, events);
        }
        self.start_late(events);
        let index = self.next_block;
        self.next_block += 1;
        events.push(Event::BlockStart { index, choice: 0, block: start.clone() });
        let item = &mut self.items[at];
        let mut fields = std::mem::take(&mut item.fields);
        if is_thought && matches!(slot, Slot::Content(_)) {
            fields.0.extend(Raw::of("reasoning_text").map(|kind| ("type".into(), kind)));
        }
        if !fields.is_empty() {
            events.push(Event::Delta { index, delta: Delta::Fields(fields) });
        }
        item.parts.push(Part { slot, block: index, is_thought, is_open: true, has_said: false });
        Some(item.parts.len() - 1)
    }

    fn say(&mut self, at: usize, slot: Slot, delta: Delta, events: &mut Vec<Event>) {
        let start = match &delta {
            Delta::Text(text) | Delta::Refusal(text) | Delta::Reasoning(text) | Delta::Arguments(text)
                if text.is_empty() =>
            {
                return;
            }
            Delta::Refusal(_) => BlockStart::Refusal,
            Delta::Reasoning(_) => BlockStart::Reasoning,
            // A call that was never announced has no name to call.
            Delta::Arguments(_) if self.items[at].parts.iter().all(|part| part.slot != Slot::Whole) => return,
            _ => BlockStart::Text,
        };
        if let Some(part) = self.open(at, slot, &start, events) {
            let part = &mut self.items[at].parts[part];
            part.has_said = true;
            events.push(Event::Delta { index: part.block, delta });
        }
    }

    /// Says the whole of a part of which nothing was said in pieces.
    fn complete(&mut self, at: usize, slot: Slot, whole: Option<Delta>, events: &mut Vec<Event>) {
        let has_said = self.items[at].parts.iter().any(|part| part.slot == slot && part.has_said);
        if let Some(whole) = whole.filter(|_| !has_said) {
            self.say(at, slot, whole, events);
        }
    }

    fn close(&mut self, at: usize, is_over: impl Fn(&Part) -> bool, events: &mut Vec<Event>) {
        for part in self.items[at].parts.iter_mut().filter(|part| part.is_open && is_over(part)) {
            part.is_open = false;
            events.push(Event::BlockStop { index: part.block });
        }
    }
}

/// Counts the searches of the web among the items of an answer. Pages that were opened or looked through are not billed.
fn count_searches(response: &Object<'_, '_>) -> u64 {
    let output = response.find("output").and_then(|output| output.array().ok());
    let items = output.iter().flat_map(Array::iter).filter_map(|item| item.object().ok());
    let is_search = |item: &Object<'_, '_>| {
        item.words("type").as_deref() == Some("web_search_call")
            && item.report("action", |action| action.words("type")).is_none_or(|kind| kind.as_deref() == Some("search"))
    };
    items.map(|item| u64::from(is_search(&item))).sum()
}

fn position(object: &Object<'_, '_>) -> u64 {
    object.find("output_index").and_then(|node| node.u64().ok()).unwrap_or(0)
}

fn read_start(response: &Object<'_, '_>) -> Result<Start, DecodeError> {
    let id = response.find_boxed("id")?.unwrap_or_default();
    let model = response.find_boxed("model")?.unwrap_or_default();
    // A float in the vendor's own types.
    let created = response.find("created_at").and_then(|node| node.text().split('.').next()?.parse().ok());
    response.skip(&KNOWN);
    Ok(Start { origin: Dialect::OpenAiResponses, id, model, created, rest: response.rest() })
}

/// Probabilities, in the form that chat completions have them too.
fn push_logprobs(part: &Object<'_, '_>, events: &mut Vec<Event>) {
    let list = part.find("logprobs").filter(Node::is_array).map(|node| node.raw());
    if let Some(list) = list.filter(|list| list.as_str() != "[]") {
        let found = probability::read(json::raw_object(|object| object.raw("content", &list)));
        events.push(Event::Logprobs { choice: 0, found: Box::new(found) });
    }
}
