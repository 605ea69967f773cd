//! Output items as they are written: announced, in the midst, whole.

use hub::canonical::citation::Citation;
use hub::canonical::content::Block;
use hub::canonical::event::BlockStart;
use hub::canonical::json::{Raw, Rest};
use hub::codec::json::{self, ObjectWriter};

use super::MESSAGE_FIELDS;

/// One item of the output.
pub(super) struct Item {
    pub(super) kind: ItemKind,
    /// The same in every event about it.
    pub(super) id: Box<str>,
    /// Fields of this dialect besides the id.
    fields: Rest,
    pub(super) parts: Vec<Part>,
    /// Reasoning's `encrypted_content`.
    pub(super) encrypted: Option<Box<str>>,
    pub(super) is_done: bool,
    /// The answer ended in its midst.
    pub(super) is_cut: bool,
}

pub(super) enum ItemKind {
    Message,
    Reasoning,
    Call {
        call_id: Box<str>,
        name: Box<str>,
    },
    /// A call of a tool that takes free text.
    Custom {
        call_id: Box<str>,
        name: Box<str>,
    },
    Opaque(Raw),
}

/// One block of an item.
pub(super) struct Part {
    pub(super) kind: PartKind,
    pub(super) text: String,
    pub(super) citations: Vec<Raw>,
    /// Told when the part is over: only then is it known how far it reaches.
    pub(super) cited: Vec<Citation>,
    pub(super) logprobs: Vec<Raw>,
    pub(super) fields: Rest,
    pub(super) is_done: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PartKind {
    Text,
    Refusal,
    Summary,
    /// The reasoning itself, which open models show.
    Thought,
    /// Reasoning that nobody reads here.
    Hidden,
    Arguments,
    /// Free text for a tool; until it is whole, the JSON that it is in.
    Input,
    Opaque,
}

impl ItemKind {
    /// The item and part that a block becomes.
    pub(super) fn of(start: &BlockStart, fields: &Rest, custom: &[Box<str>]) -> (Self, PartKind) {
        match start {
            BlockStart::Text => (Self::Message, PartKind::Text),
            BlockStart::Refusal => (Self::Message, PartKind::Refusal),
            BlockStart::Reasoning if fields.find("type").is_some() => (Self::Reasoning, PartKind::Thought),
            BlockStart::Reasoning => (Self::Reasoning, PartKind::Summary),
            BlockStart::RedactedReasoning(_) => (Self::Reasoning, PartKind::Hidden),
            BlockStart::ToolUse { id, name } if custom.contains(name) => {
                (Self::Custom { call_id: id.clone(), name: name.clone() }, PartKind::Input)
            }
            BlockStart::ToolUse { id, name } => {
                (Self::Call { call_id: id.clone(), name: name.clone() }, PartKind::Arguments)
            }
            BlockStart::Opaque(opaque) => (Self::Opaque(opaque.raw.clone()), PartKind::Opaque),
        }
    }

    /// Says whether more blocks can follow in one item.
    pub(super) fn may_go_on(&self) -> bool {
        matches!(self, Self::Message | Self::Reasoning)
    }

    /// Says whether a block may join the item; thoughts of other vendors have a proof each.
    pub(super) fn is_same_list(&self, other: &Self, is_ours: bool) -> bool {
        match (self, other) {
            (Self::Message, Self::Message) => true,
            (Self::Reasoning, Self::Reasoning) => is_ours,
            _ => false,
        }
    }

    pub(super) fn prefix(&self) -> &'static str {
        match self {
            Self::Message => "msg",
            Self::Reasoning => "rs",
            Self::Call { .. } => "fc",
            Self::Custom { .. } => "ctc",
            Self::Opaque(_) => "item",
        }
    }
}

impl PartKind {
    /// The event that announces a part, without `.added`.
    pub(super) fn part_event(self) -> Option<&'static str> {
        match self {
            Self::Text | Self::Refusal | Self::Thought => Some("response.content_part"),
            Self::Summary => Some("response.reasoning_summary_part"),
            Self::Hidden | Self::Arguments | Self::Input | Self::Opaque => None,
        }
    }

    /// The event that says a part's text whole, and the field it is in.
    pub(super) fn done_event(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Text => Some(("response.output_text.done", "text")),
            Self::Refusal => Some(("response.refusal.done", "refusal")),
            Self::Summary => Some(("response.reasoning_summary_text.done", "text")),
            Self::Thought => Some(("response.reasoning_text.done", "text")),
            Self::Arguments => Some(("response.function_call_arguments.done", "arguments")),
            Self::Input => Some(("response.custom_tool_call_input.done", "input")),
            Self::Hidden | Self::Opaque => None,
        }
    }

    fn is_content(self) -> bool {
        matches!(self, Self::Text | Self::Refusal | Self::Thought)
    }
}

impl Part {
    pub(super) fn new(kind: PartKind, fields: Rest) -> Self {
        Self {
            kind,
            text: String::new(),
            citations: Vec::new(),
            cited: Vec::new(),
            logprobs: Vec::new(),
            fields,
            is_done: false,
        }
    }

    pub(super) fn add_logprobs(&mut self, list: &Raw) {
        if let Ok(root) = json::root(list.as_str().as_bytes())
            && let Ok(array) = root.array()
        {
            self.logprobs.extend(array.iter().map(|node| with_lists(node.raw())));
        }
    }

    /// Writes the part, empty or whole.
    pub(super) fn write(&self, is_ours: bool, is_over: bool, object: &mut ObjectWriter<'_>) {
        let (kind, field) = match self.kind {
            PartKind::Text => ("output_text", "text"),
            PartKind::Refusal => ("refusal", "refusal"),
            PartKind::Summary => ("summary_text", "text"),
            _ => ("reasoning_text", "text"),
        };
        object.str("type", kind);
        object.str(field, if is_over { &self.text } else { "" });
        if self.kind == PartKind::Text {
            object.array("annotations", |array| {
                self.citations.iter().filter(|_| is_over).for_each(|raw| array.raw(raw));
            });
            object.array("logprobs", |array| {
                self.logprobs.iter().filter(|_| is_over).for_each(|raw| array.raw(raw));
            });
        }
        if is_ours {
            object.rest(&self.fields);
        }
    }
}

impl Item {
    /// Makes an item of the fields that its first block brought; `mark` holds its id.
    pub(super) fn new(kind: ItemKind, mark: Option<&Raw>, fields: &mut Rest) -> Self {
        let mut own = Rest(mark.and_then(super::fields_of).unwrap_or_default());
        let id = match &kind {
            ItemKind::Opaque(raw) => super::fields_of(raw).and_then(|fields| text_of(Rest(fields).find("id")?)),
            _ => own.find("id").and_then(text_of),
        };
        own.0.retain(|(name, _)| !matches!(&**name, "id" | "status"));
        let is_own = |name: &str| match kind {
            ItemKind::Message => MESSAGE_FIELDS.contains(&name),
            ItemKind::Reasoning => name != "type",
            _ => true,
        };
        let (more, others): (Vec<_>, Vec<_>) = std::mem::take(&mut fields.0)
            .into_iter()
            .filter(|(name, _)| &**name != Block::ITEM)
            .partition(|(name, _)| is_own(name));
        own.0.extend(more);
        fields.0 = others;
        let id = id.unwrap_or_default();
        Self { kind, id, fields: own, parts: Vec::new(), encrypted: None, is_done: false, is_cut: false }
    }

    /// The word for how far it came at the end.
    pub(super) fn status(&self) -> &'static str {
        if self.is_cut || !self.is_done { "incomplete" } else { "completed" }
    }

    /// Writes the item with what it has.
    pub(super) fn write(&self, is_ours: bool, status: &str, object: &mut ObjectWriter<'_>) {
        let kind = match &self.kind {
            ItemKind::Opaque(raw) => return object.rest(&Rest(super::fields_of(raw).unwrap_or_default())),
            ItemKind::Message => "message",
            ItemKind::Reasoning => "reasoning",
            ItemKind::Call { .. } => "function_call",
            ItemKind::Custom { .. } => "custom_tool_call",
        };
        object.str("id", &self.id);
        object.str("type", kind);
        match &self.kind {
            ItemKind::Message => {
                object.str("status", status);
                object.str("role", "assistant");
                object.array("content", |array| {
                    self.parts.iter().for_each(|part| array.object(|object| part.write(is_ours, true, object)));
                });
            }
            ItemKind::Reasoning => {
                let is_said = |part: &&Part| part.kind == PartKind::Summary && !part.text.is_empty();
                object.array("summary", |array| {
                    let parts = self.parts.iter().filter(is_said);
                    parts.for_each(|part| array.object(|object| part.write(is_ours, true, object)));
                });
                let is_thought = |part: &&Part| part.kind == PartKind::Thought;
                if self.parts.iter().any(|part| is_thought(&part)) {
                    object.array("content", |array| {
                        let parts = self.parts.iter().filter(is_thought);
                        parts.for_each(|part| array.object(|object| part.write(is_ours, true, object)));
                    });
                }
                object.opt_str("encrypted_content", self.encrypted.as_deref());
            }
            ItemKind::Call { call_id, name } => {
                object.str("status", status);
                object.str("call_id", call_id);
                object.str("name", name);
                object.str("arguments", self.parts.first().map_or("", |part| &part.text));
            }
            ItemKind::Custom { call_id, name } => {
                object.str("status", status);
                object.str("call_id", call_id);
                object.str("name", name);
                object.str("input", self.parts.first().map_or("", |part| &part.text));
            }
            ItemKind::Opaque(_) => {}
        }
        if is_ours {
            object.rest(&self.fields);
        }
    }

    /// Writes where a part is, as every event about it says.
    pub(super) fn write_place(&self, at: usize, part: usize, object: &mut ObjectWriter<'_>) {
        object.str("item_id", &self.id);
        object.u64("output_index", u64::try_from(at).unwrap_or(u64::MAX));
        let kind = self.parts[part].kind;
        let name = match kind {
            PartKind::Summary => "summary_index",
            _ if kind.is_content() => "content_index",
            _ => return,
        };
        let before = self.parts[..part].iter().filter(|earlier| earlier.kind.is_content() == kind.is_content());
        object.u64(name, u64::try_from(before.count()).unwrap_or(u64::MAX));
    }
}

/// Two lists are required here that chat completions may leave out.
fn with_lists(mut token: Raw) -> Raw {
    let known = super::fields_of(&token).unwrap_or_default();
    for name in ["bytes", "top_logprobs"] {
        let is_there = known.iter().any(|(known, value)| **known == *name && value.as_str() != "null");
        if let Some(empty) = Raw::parse("[]").filter(|_| !is_there) {
            token = token.with_field(name, &empty).unwrap_or(token);
        }
    }
    token
}

fn text_of(raw: &Raw) -> Option<Box<str>> {
    json::root(raw.as_str().as_bytes()).ok()?.boxed().ok()
}
