//! One answer of several: the events of the first, then those of whoever goes on from there, as if it had been one.

use domain::usage::TokenUsage;
use llm::canonical::error::AnswerError;
use llm::canonical::event::{BlockStart, Delta, Event, Start};
use llm::canonical::json::Rest;
use llm::canonical::usage::Usage;
use llm::dialect::Dialect;

use crate::seam::Seam;

/// Most text that is kept of an answer, in bytes; a longer one cannot go on.
const MOST_SAID: usize = 256 * 1024;

/// Follows one answer.
#[derive(Debug, Default)]
pub struct Thread {
    said: String,
    /// The dialect of the answer that began; owner of every vendor's word in what is given out.
    origin: Option<Dialect>,
    /// The blocks that are open, as they were given out.
    open: Vec<(u32, Kind)>,
    /// The number of the next block.
    next: u32,
    /// It holds something that nobody else can take up.
    is_lost: bool,
    /// An error that was not given out, because the answer may go on.
    error: Option<AnswerError>,
    /// The answer that goes on.
    part: Option<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Other,
}

/// An answer that goes on from another.
#[derive(Debug)]
struct Part {
    seam: Seam,
    /// Length of the text that it goes on from.
    from: usize,
    /// What the answers before it used.
    before: TokenUsage,
    /// It speaks the dialect of the first.
    is_ours: bool,
    /// Its blocks, and as what they are given out; `None` for those that are not.
    blocks: Vec<(u32, Option<u32>)>,
}

impl Thread {
    /// Returns the text that was given out; `None` when the answer cannot go on elsewhere.
    #[must_use]
    pub fn said(&self) -> Option<&str> {
        (!self.is_lost).then_some(self.said.as_str())
    }

    /// Says whether an error is held back.
    #[must_use]
    pub const fn has_error(&self) -> bool {
        self.error.is_some()
    }

    /// Returns the error that was held back.
    pub fn take_error(&mut self) -> Option<AnswerError> {
        self.error.take()
    }

    /// Another answer goes on. `before` is what the earlier ones used, `is_prefilled` that the upstream was given the text as a
    /// message of its own to go on from.
    pub fn go_on(&mut self, before: TokenUsage, is_prefilled: bool) {
        self.error = None;
        let seam = Seam::new(&self.said, is_prefilled);
        self.part = Some(Part { seam, from: self.said.len(), before, is_ours: true, blocks: Vec::new() });
    }

    /// Takes an event and gives out what follows from it.
    pub fn take(&mut self, event: Event, give: &mut dyn FnMut(Event)) {
        match event {
            Event::Error(error) if !self.is_lost => self.error = Some(error),
            event if self.part.is_some() => self.take_later(event, give),
            event => {
                self.note(&event);
                give(event);
            }
        }
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Start(start) => self.origin = Some(start.origin),
            Event::BlockStart { index, choice, block } => {
                self.is_lost |= *choice > 0;
                self.began(*index, block);
            }
            Event::Delta { delta: Delta::Text(text), .. } => self.say(text),
            Event::BlockStop { index } => self.open.retain(|(open, _)| open != index),
            Event::Finish(_) | Event::Logprobs { .. } | Event::Done => self.is_lost = true,
            Event::Delta { .. } | Event::Usage(_) | Event::Ping | Event::Error(_) => {}
        }
    }

    fn began(&mut self, index: u32, block: &BlockStart) {
        let kind = match block {
            BlockStart::Text => Kind::Text,
            BlockStart::Reasoning | BlockStart::RedactedReasoning(_) => Kind::Other,
            BlockStart::Refusal | BlockStart::ToolUse { .. } | BlockStart::Opaque(_) => {
                self.is_lost = true;
                Kind::Other
            }
        };
        self.open.push((index, kind));
        self.next = self.next.max(index.saturating_add(1));
    }

    fn say(&mut self, text: &str) {
        if self.is_lost {
            return;
        }
        self.is_lost = self.said.len() + text.len() > MOST_SAID;
        self.said.push_str(text);
    }

    // === The answer that goes on ===

    fn take_later(&mut self, event: Event, give: &mut dyn FnMut(Event)) {
        let Some(part) = &mut self.part else { return };
        match event {
            Event::Start(Start { origin, .. }) => part.is_ours = self.origin == Some(origin),
            Event::BlockStart { choice: 1.., .. } | Event::Logprobs { .. } => {}
            Event::BlockStart { index, block, .. } => self.begin(index, block, give),
            Event::Delta { index, delta } => self.grow(index, delta, give),
            Event::BlockStop { index } => self.end(index, give),
            Event::Finish(mut finish) => {
                self.close_seam(give);
                self.close_blocks(give);
                self.is_lost = true;
                if !self.is_ours() {
                    (finish.native, finish.rest) = (None, Rest::default());
                }
                give(Event::Finish(finish));
            }
            Event::Usage(usage) => {
                let rest = if part.is_ours { usage.rest } else { Rest::default() };
                give(Event::Usage(Usage { tokens: part.before.plus(usage.tokens), rest, ..usage }));
            }
            Event::Done => {
                self.is_lost = true;
                give(Event::Done);
            }
            event @ (Event::Ping | Event::Error(_)) => give(event),
        }
    }

    fn is_ours(&self) -> bool {
        self.part.as_ref().is_some_and(|part| part.is_ours)
    }

    /// Gives a block of the later answer its place: text goes on in the block that is open, thoughts after the first words are
    /// nobody's.
    fn begin(&mut self, index: u32, block: BlockStart, give: &mut dyn FnMut(Event)) {
        let open_text = self.open.iter().find(|(_, kind)| *kind == Kind::Text).map(|(open, _)| *open);
        let is_strange = matches!(block, BlockStart::Opaque(_)) && !self.is_ours();
        let is_thought = matches!(block, BlockStart::Reasoning | BlockStart::RedactedReasoning(_));
        let place = match (&block, open_text) {
            (BlockStart::Text, Some(open)) => Some(open),
            _ if is_strange || is_thought && !self.said.is_empty() => None,
            _ => {
                self.close_seam(give);
                self.close_blocks(give);
                let place = self.next;
                self.began(place, &block);
                give(Event::BlockStart { index: place, choice: 0, block });
                Some(place)
            }
        };
        if let Some(part) = &mut self.part {
            part.blocks.push((index, place));
        }
    }

    fn grow(&mut self, index: u32, delta: Delta, give: &mut dyn FnMut(Event)) {
        let Some(index) = self.place(index) else { return };
        match delta {
            Delta::Text(text) => {
                let Some(part) = &mut self.part else { return };
                let text = part.seam.push(self.said.get(..part.from).unwrap_or_default(), &text);
                self.give_text(index, text, give);
            }
            Delta::Citation(_) | Delta::Opaque(_) | Delta::Fields(_) if !self.is_ours() => {}
            delta => give(Event::Delta { index, delta }),
        }
    }

    fn end(&mut self, index: u32, give: &mut dyn FnMut(Event)) {
        let Some(index) = self.place(index) else { return };
        if self.open.contains(&(index, Kind::Text)) {
            self.close_seam(give);
        }
        if self.open.iter().any(|(open, _)| *open == index) {
            self.open.retain(|(open, _)| *open != index);
            give(Event::BlockStop { index });
        }
    }

    fn place(&self, index: u32) -> Option<u32> {
        self.part.as_ref()?.blocks.iter().rev().find(|(known, _)| *known == index)?.1
    }

    fn give_text(&mut self, index: u32, text: String, give: &mut dyn FnMut(Event)) {
        if !text.is_empty() {
            self.say(&text);
            give(Event::Delta { index, delta: Delta::Text(text.into()) });
        }
    }

    /// Gives out what was held in case it was said before.
    fn close_seam(&mut self, give: &mut dyn FnMut(Event)) {
        let text_block = self.open.iter().find(|(_, kind)| *kind == Kind::Text).map(|(open, _)| *open);
        let (Some(part), Some(index)) = (&mut self.part, text_block) else { return };
        let text = part.seam.close(self.said.get(..part.from).unwrap_or_default());
        self.give_text(index, text, give);
    }

    fn close_blocks(&mut self, give: &mut dyn FnMut(Event)) {
        for (index, _) in std::mem::take(&mut self.open) {
            give(Event::BlockStop { index });
        }
    }
}

#[cfg(test)]
mod tests {
    use llm::canonical::event::{Finish, FinishReason};

    use super::*;

    fn start(origin: Dialect) -> Event {
        Event::Start(Start { origin, id: "a".into(), model: "m".into(), created: None, rest: Rest::default() })
    }

    fn begin(index: u32, block: BlockStart) -> Event {
        Event::BlockStart { index, choice: 0, block }
    }

    fn text(index: u32, text: &str) -> Event {
        Event::Delta { index, delta: Delta::Text(text.into()) }
    }

    fn usage(input: u64, output: u64) -> Event {
        Event::Usage(Usage { tokens: TokenUsage { input, output, ..TokenUsage::default() }, ..Usage::default() })
    }

    fn error() -> Event {
        Event::Error(AnswerError::new(500, "boom", "boom"))
    }

    fn given(thread: &mut Thread, events: impl IntoIterator<Item = Event>) -> Vec<Event> {
        let mut all = Vec::new();
        events.into_iter().for_each(|event| thread.take(event, &mut |event| all.push(event)));
        all
    }

    fn begun() -> Thread {
        let mut thread = Thread::default();
        let first = [start(Dialect::OpenAiChat), begin(0, BlockStart::Text), text(0, "Hello"), usage(10, 1)];
        assert_eq!(given(&mut thread, first.clone()), first, "a first answer passes");
        thread
    }

    #[test]
    fn a_later_answer_goes_on_in_the_open_block() {
        let mut thread = begun();
        assert!(given(&mut thread, [error()]).is_empty() && thread.has_error());
        thread.go_on(TokenUsage { input: 10, output: 2, ..TokenUsage::default() }, false);
        let mut finish = Finish::new(FinishReason::Stop);
        finish.native = Some("end_turn".into());
        let later = [
            start(Dialect::AnthropicMessages),
            usage(20, 1),
            begin(0, BlockStart::Reasoning),
            Event::Delta { index: 0, delta: Delta::Reasoning("hm".into()) },
            Event::BlockStop { index: 0 },
            begin(1, BlockStart::Text),
            text(1, " there"),
            Event::BlockStop { index: 1 },
            usage(20, 3),
            Event::Finish(finish),
            Event::Done,
        ];
        let expected = [
            usage(30, 3),
            text(0, " there"),
            Event::BlockStop { index: 0 },
            usage(30, 5),
            Event::Finish(Finish::new(FinishReason::Stop)),
            Event::Done,
        ];
        assert_eq!(given(&mut thread, later), expected);
        assert_eq!(thread.said(), None, "it is over");
    }

    #[test]
    fn what_is_left_open_is_closed_and_what_was_held_is_given() {
        let mut thread = begun();
        thread.go_on(TokenUsage::default(), false);
        let later = [
            start(Dialect::OpenAiChat),
            begin(0, BlockStart::Text),
            text(0, "lo"),
            begin(1, BlockStart::ToolUse { id: "c".into(), name: "f".into() }),
            Event::Finish(Finish::new(FinishReason::ToolUse)),
        ];
        let tool = BlockStart::ToolUse { id: "c".into(), name: "f".into() };
        let expected = [
            text(0, "lo"),
            Event::BlockStop { index: 0 },
            begin(1, tool),
            Event::BlockStop { index: 1 },
            Event::Finish(Finish::new(FinishReason::ToolUse)),
        ];
        assert_eq!(given(&mut thread, later), expected);
    }

    #[test]
    fn only_text_goes_on() {
        let strange = [
            begin(1, BlockStart::Refusal),
            begin(1, BlockStart::ToolUse { id: "c".into(), name: "f".into() }),
            Event::BlockStart { index: 1, choice: 1, block: BlockStart::Text },
            Event::Finish(Finish::new(FinishReason::Stop)),
            text(0, &"x".repeat(MOST_SAID)),
        ];
        for event in strange {
            let mut thread = begun();
            assert_eq!(thread.said(), Some("Hello"));
            given(&mut thread, [event]);
            assert_eq!(thread.said(), None);
            assert_eq!(given(&mut thread, [error()]), [error()], "an error is told at once");
        }
    }
}
