//! A whole answer: what a stream of events folds to, and what unfolds into one.
//!
//! Invariant (tested): `fold(answer.into_events()) == answer`.

use super::content::{Block, Content, Reasoning, Text, ToolUse};
use super::error::AnswerError;
use super::event::{BlockStart, Delta, Event, Finish, Start};
use super::json::{Raw, Rest};
use super::probability::Probabilities;
use super::usage::Usage;
use crate::dialect::Dialect;

/// A complete answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// How it began.
    pub start: Start,
    /// One unless the caller asked for several.
    pub choices: Vec<Choice>,
    /// What it consumed, when the upstream said so.
    pub usage: Option<Usage>,
    /// What ended it early.
    pub error: Option<AnswerError>,
}

/// One of the answers to the same question.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Its number.
    pub index: u32,
    /// What the model said, in order.
    pub blocks: Vec<Block>,
    /// How it ended.
    pub finish: Option<Finish>,
    /// Token probabilities.
    pub logprobs: Option<Box<Probabilities>>,
}

impl Answer {
    /// An answer with nothing in it yet.
    #[must_use]
    pub fn empty(origin: Dialect) -> Self {
        let start = Start { origin, id: "".into(), model: "".into(), created: None, rest: Rest::default() };
        Self { start, choices: Vec::new(), usage: None, error: None }
    }

    /// Unfolds into the events that would have streamed it, one delta per block.
    pub fn into_events(self) -> Vec<Event> {
        let mut events = vec![Event::Start(self.start)];
        let mut index = 0;
        let mut finishes = Vec::new();
        for choice in self.choices {
            for block in choice.blocks {
                unfold_block(block, index, choice.index, &mut events);
                index += 1;
            }
            if let Some(found) = choice.logprobs {
                events.push(Event::Logprobs { choice: choice.index, found });
            }
            finishes.extend(choice.finish);
        }
        events.extend(finishes.into_iter().map(Event::Finish));
        events.extend(self.usage.map(Event::Usage));
        events.push(match self.error {
            Some(error) => Event::Error(error),
            None => Event::Done,
        });
        events
    }
}

fn unfold_block(block: Block, index: u32, choice: u32, events: &mut Vec<Event>) {
    let mut deltas = vec![Delta::Fields(block.rest)];
    let block = match block.content {
        Content::Text(text) => {
            deltas.push(Delta::Text(text.text.into()));
            deltas.extend(text.citations.iter().flat_map(split_array).map(Delta::Citation));
            BlockStart::Text
        }
        Content::Reasoning(reasoning) => {
            deltas.push(Delta::Reasoning(reasoning.text.into()));
            deltas.extend(reasoning.signature.map(|proof| Delta::Signature(proof.into())));
            BlockStart::Reasoning
        }
        Content::RedactedReasoning(data) => BlockStart::RedactedReasoning(data.into()),
        Content::Refusal(text) => {
            deltas.push(Delta::Refusal(text.into()));
            BlockStart::Refusal
        }
        Content::ToolUse(call) => {
            deltas.push(Delta::Arguments(call.arguments.into()));
            BlockStart::ToolUse { id: call.id.into(), name: call.name.into() }
        }
        Content::Opaque(opaque) => BlockStart::Opaque(opaque),
        // Models do not answer with these kinds in any dialect we read; there is no event for them.
        Content::Image(_) | Content::Audio(_) | Content::Document(_) | Content::ToolResult(_) => return,
    };
    events.push(Event::BlockStart { index, choice, block });
    events.extend(deltas.into_iter().filter(is_not_empty).map(|delta| Event::Delta { index, delta }));
    events.push(Event::BlockStop { index });
}

fn is_not_empty(delta: &Delta) -> bool {
    match delta {
        Delta::Text(text) | Delta::Arguments(text) | Delta::Reasoning(text) | Delta::Refusal(text) => !text.is_empty(),
        Delta::Fields(fields) => !fields.is_empty(),
        Delta::Signature(_) | Delta::Citation(_) | Delta::Opaque(_) => true,
    }
}

fn split_array(raw: &Raw) -> Vec<Raw> {
    let items: Option<Vec<&serde_json::value::RawValue>> = serde_json::from_str(raw.as_str()).ok();
    items.map_or_else(|| vec![raw.clone()], |items| items.into_iter().map(Raw::from_value).collect())
}

/// Folds a whole stream of events.
pub fn fold(events: impl IntoIterator<Item = Event>) -> Answer {
    let mut fold = Fold::default();
    for event in events {
        fold.push(event);
    }
    fold.finish()
}

/// Folds events into an answer, one at a time.
#[derive(Debug, Default)]
pub struct Fold {
    start: Option<Start>,
    choices: Vec<Choice>,
    /// By block number: where the block lives.
    places: Vec<(u32, Place)>,
    /// By block number: the arguments of an opaque block, which streams send apart from it.
    inputs: Vec<(u32, String)>,
    usage: Option<Usage>,
    error: Option<AnswerError>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    choice: usize,
    block: usize,
}

impl Fold {
    /// Takes one event in.
    pub fn push(&mut self, event: Event) {
        match event {
            Event::Start(start) => self.start = Some(start),
            Event::BlockStart { index, choice, block } => {
                let choice = self.choice(choice);
                let blocks = &mut self.choices[choice].blocks;
                blocks.push(empty_block(block).into());
                let place = Place { choice, block: blocks.len() - 1 };
                self.places.push((index, place));
            }
            Event::Delta { index, delta } => self.grow(index, delta),
            Event::BlockStop { index } => self.complete(index),
            Event::Ping | Event::Done => {}
            Event::Logprobs { choice, found } => {
                let choice = self.choice(choice);
                match &mut self.choices[choice].logprobs {
                    Some(earlier) => earlier.join(*found),
                    none => *none = Some(found),
                }
            }
            Event::Finish(finish) => {
                let choice = self.choice(finish.choice);
                self.choices[choice].finish = Some(finish);
            }
            Event::Usage(usage) => self.usage.get_or_insert_default().merge(&usage),
            Event::Error(error) => self.error = Some(error),
        }
    }

    /// Gives the answer.
    #[must_use]
    pub fn finish(self) -> Answer {
        let mut answer = Answer::empty(Dialect::OpenAiChat);
        if let Some(start) = self.start {
            answer.start = start;
        }
        answer.choices = self.choices;
        answer.usage = self.usage;
        answer.error = self.error;
        answer
    }

    fn block(&mut self, index: u32) -> Option<&mut Block> {
        let (_, place) = self.places.iter().rev().find(|(known, _)| *known == index)?;
        Some(&mut self.choices[place.choice].blocks[place.block])
    }

    fn grow(&mut self, index: u32, delta: Delta) {
        if let Delta::Fields(fields) = delta {
            if let Some(block) = self.block(index) {
                block.take_fields(fields);
            }
            return;
        }
        match (self.block(index).map(|block| &mut block.content), delta) {
            (Some(Content::Opaque(_)), Delta::Arguments(more)) => {
                match self.inputs.iter_mut().find(|(known, _)| *known == index) {
                    Some((_, input)) => input.push_str(&more),
                    None => self.inputs.push((index, more.into())),
                }
            }
            (Some(content), delta) => grow(content, delta),
            (None, _) => {}
        }
    }

    /// Puts the arguments of an opaque block where the whole answer has them, in `input`.
    fn complete(&mut self, index: u32) {
        let Some(at) = self.inputs.iter().position(|(known, _)| *known == index) else { return };
        let (_, input) = self.inputs.swap_remove(at);
        if let (Some(input), Some(Block { content: Content::Opaque(opaque), .. })) =
            (Raw::parse(&input), self.block(index))
            && let Some(raw) = opaque.raw.with_field("input", &input)
        {
            opaque.raw = raw;
        }
    }

    fn choice(&mut self, index: u32) -> usize {
        if let Some(at) = self.choices.iter().position(|choice| choice.index == index) {
            return at;
        }
        let at = self.choices.partition_point(|choice| choice.index < index);
        self.choices.insert(at, Choice { index, blocks: Vec::new(), finish: None, logprobs: None });
        for (_, place) in &mut self.places {
            if place.choice >= at {
                place.choice += 1;
            }
        }
        at
    }
}

fn empty_block(start: BlockStart) -> Content {
    match start {
        BlockStart::Text => Content::Text(Text { text: String::new(), citations: None }),
        BlockStart::Reasoning => Content::Reasoning(Reasoning { text: String::new(), signature: None }),
        BlockStart::RedactedReasoning(data) => Content::RedactedReasoning(data.into()),
        BlockStart::Refusal => Content::Refusal(String::new()),
        BlockStart::ToolUse { id, name } => {
            Content::ToolUse(ToolUse { id: id.into(), name: name.into(), arguments: String::new() })
        }
        BlockStart::Opaque(opaque) => Content::Opaque(opaque),
    }
}

fn grow(content: &mut Content, delta: Delta) {
    match (content, delta) {
        (Content::Text(text), Delta::Text(more)) => text.text.push_str(&more),
        (Content::Text(text), Delta::Citation(citation)) => {
            let mut all = text.citations.as_ref().map(split_array).unwrap_or_default();
            all.push(citation);
            text.citations = Raw::of(&all);
        }
        (Content::Reasoning(reasoning), Delta::Reasoning(more)) => reasoning.text.push_str(&more),
        (Content::Reasoning(reasoning), Delta::Signature(proof)) => reasoning.signature = Some(proof.into()),
        (Content::Refusal(text), Delta::Refusal(more)) => text.push_str(&more),
        (Content::ToolUse(call), Delta::Arguments(more)) => call.arguments.push_str(&more),
        // A delta that does not fit its block is a decoder's mistake; dropping it cannot corrupt the rest.
        _ => {}
    }
}
