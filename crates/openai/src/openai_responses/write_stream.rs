//! Events become a stream of response events, or a whole response.
//!
//! Every item is announced, said in pieces, said whole and repeated at the end, in the vendor's order and with one id. An
//! item stays open until something else begins, because the next block may go on with it. A whole response is what the
//! last event of the stream would hold.

use bytes::BytesMut;

use hub::canonical::content::Block as CanonicalBlock;
use hub::canonical::error::AnswerError;
use hub::canonical::event::{BlockStart, Delta, Event, Finish, FinishReason, Start};
use hub::canonical::json::{Raw, Rest};
use hub::canonical::loss::Loss;
use hub::canonical::probability::Probabilities;
use hub::canonical::usage::Usage;
use hub::codec::json::{self, ObjectWriter, write_object};
use hub::codec::sse;
use hub::dialect::annotation::{self, Ruler};
use hub::dialect::{AnswerOptions, Dialect, Encoder, Mode, proof};

use super::custom::{input_of, list_custom};
use super::failure;
use super::write_items::{Item, ItemKind, Part, PartKind};
use crate::probability;

/// Writes events as they come, or everything at the end.
pub(super) struct AnswerEncoder {
    mode: Mode,
    options: AnswerOptions,
    start: Option<Start>,
    is_ours: bool,
    /// The number of the next event.
    number: u64,
    items: Vec<Item>,
    blocks: Vec<OpenBlock>,
    /// The item that the next block may go on with.
    current: Option<usize>,
    usage: Option<Usage>,
    finish: Option<Finish>,
    extra: Option<Raw>,
    losses: Vec<Loss>,
    /// The request's tools that take free text.
    custom: Vec<Box<str>>,
    /// Reused for the JSON of each event.
    data: BytesMut,
}

struct OpenBlock {
    index: u32,
    start: BlockStart,
    /// What its dialect says about it; comes before all else.
    fields: Rest,
    place: Option<Place>,
}

/// Where a block is in the output.
#[derive(Clone, Copy)]
struct Place {
    item: usize,
    part: usize,
}

impl AnswerEncoder {
    pub(super) fn new(mode: Mode, options: AnswerOptions) -> Self {
        let custom = list_custom(&options.echo);
        Self {
            mode,
            options,
            custom,
            start: None,
            is_ours: false,
            number: 0,
            items: Vec::new(),
            blocks: Vec::new(),
            current: None,
            usage: None,
            finish: None,
            extra: None,
            losses: Vec::new(),
            data: BytesMut::new(),
        }
    }

    fn lost(&mut self, path: &str, reason: &str) {
        if !self.losses.iter().any(|loss| &*loss.path == path) {
            self.losses.push(Loss::dropped(path, reason));
        }
    }

    fn write(&mut self, name: &str, out: &mut BytesMut, fill: impl FnOnce(&Self, &mut ObjectWriter<'_>)) {
        if self.mode == Mode::Whole {
            return;
        }
        let mut data = std::mem::take(&mut self.data);
        data.clear();
        let number = self.number;
        self.number += 1;
        write_object(&mut data, |object| {
            object.str("type", name);
            object.u64("sequence_number", number);
            fill(self, object);
        });
        sse::write(name, &data, out);
        self.data = data;
    }

    // === The response around the items ===

    fn origin(&self) -> Dialect {
        self.start.as_ref().map_or(Dialect::OpenAiResponses, |start| start.origin)
    }

    fn id(&self) -> &str {
        // Another vendor's id names nothing that a client of responses could ask for.
        match &self.start {
            Some(start) if self.is_ours && !start.id.is_empty() => &start.id,
            _ => &self.options.id,
        }
    }

    fn write_response(&self, state: &ResponseState<'_>, object: &mut ObjectWriter<'_>) {
        let start = self.start.as_ref();
        object.str("id", self.id());
        object.str("object", "response");
        object.i64("created_at", start.and_then(|start| start.created).unwrap_or(self.options.created));
        let mut rest = start.filter(|_| self.is_ours).map(|start| start.rest.clone()).unwrap_or_default();
        for (name, value) in state.finish.iter().filter(|_| self.is_ours).flat_map(|finish| finish.rest.iter()) {
            rest.set(name, value.clone());
        }
        for (name, value) in self.options.echo.iter() {
            if rest.find(name).is_none() {
                rest.push(name, value.clone());
            }
        }
        match rest.find("status") {
            Some(status) => object.raw("status", status),
            None => object.str("status", state.status),
        }
        match state.error {
            Some(error) => failure::write_failed(error, object),
            None => object.null("error"),
        }
        match state.incomplete {
            Some(reason) => object.object("incomplete_details", |object| object.str("reason", reason)),
            None => object.null("incomplete_details"),
        }
        object.str("model", self.options.model.as_deref().or(start.map(|start| &*start.model)).unwrap_or_default());
        let is_over = state.status != "in_progress";
        object.array("output", |array| {
            for item in self.items.iter().filter(|_| is_over) {
                array.object(|object| item.write(self.is_ours, item.status(), object));
            }
        });
        // Clients of the vendor's own types want these present.
        for (name, value) in [
            ("instructions", "null"),
            ("metadata", "{}"),
            ("parallel_tool_calls", "true"),
            ("temperature", "null"),
            ("tool_choice", "\"auto\""),
            ("tools", "[]"),
            ("top_p", "null"),
        ] {
            if rest.find(name).is_none() {
                object.literal(name, value);
            }
        }
        for (name, value) in rest.iter().filter(|(name, _)| *name != "status") {
            object.raw(name, value);
        }
        match &self.usage {
            Some(usage) if is_over => super::USAGE.write(usage, self.is_ours, object),
            _ => object.null("usage"),
        }
        object.opt_raw("x_headgate", self.extra.as_ref().filter(|_| is_over));
    }

    fn begin(&mut self, start: Start, out: &mut BytesMut) {
        self.is_ours = start.origin == Dialect::OpenAiResponses;
        self.start = Some(start);
        for name in ["response.created", "response.in_progress"] {
            self.write(name, out, |this, object| {
                object.object("response", |object| this.write_response(&ResponseState::BEGUN, object));
            });
        }
    }

    fn end(&mut self, error: Option<&AnswerError>, out: &mut BytesMut) {
        self.blocks.clear();
        let finish = self.finish.take();
        let reason = finish.as_ref().map_or(FinishReason::Stop, |finish| finish.reason);
        let native = finish.as_ref().and_then(|finish| finish.native.as_deref()).filter(|_| self.is_ours);
        let incomplete = native.or(super::incomplete_word(reason)).filter(|_| error.is_none());
        if error.is_none() {
            let last = self.items.len().saturating_sub(1);
            for at in 0..self.items.len() {
                self.close(at, incomplete.is_some() && at == last, out);
            }
        }
        let status = match (error, incomplete) {
            (Some(_), _) => "failed",
            (None, Some(_)) => "incomplete",
            (None, None) => "completed",
        };
        let state = ResponseState { status, error, incomplete, finish: finish.as_ref() };
        if self.mode == Mode::Whole {
            let mut data = std::mem::take(&mut self.data);
            write_object(&mut data, |object| self.write_response(&state, object));
            out.extend_from_slice(&data);
            return;
        }
        self.write(&format!("response.{status}"), out, |this, object| {
            object.object("response", |object| this.write_response(&state, object));
        });
    }

    fn fail(&mut self, error: &AnswerError, out: &mut BytesMut) {
        if self.mode == Mode::Stream {
            let mut data = BytesMut::new();
            let number = self.number;
            self.number += 1;
            write_object(&mut data, |object| failure::write_event(error, number, object));
            sse::write("error", &data, out);
        }
        // A response that never began cannot fail.
        if self.start.is_some() || self.mode == Mode::Whole {
            self.end(Some(error), out);
        }
    }

    // === Items ===

    /// Gives a block its place, announcing its item and part.
    fn open(&mut self, at: usize, out: &mut BytesMut) -> Place {
        let block = &mut self.blocks[at];
        if let Some(place) = block.place {
            return place;
        }
        let mut fields = std::mem::take(&mut block.fields);
        if !self.is_ours {
            fields = Rest::default();
        }
        let mark = fields.find(CanonicalBlock::ITEM).cloned();
        let (kind, part) = ItemKind::of(&block.start, &fields, &self.custom);
        let goes_on = self.current.filter(|&item| {
            mark.is_none() && self.items[item].kind.is_same_list(&kind, self.is_ours) && !self.items[item].is_done
        });
        let item = match goes_on {
            Some(item) => item,
            None => self.announce(kind, mark.as_ref(), &mut fields, out),
        };
        let number = self.items[item].parts.len();
        fields.0.retain(|(name, _)| !matches!(&**name, CanonicalBlock::ITEM | "type"));
        self.items[item].parts.push(Part::new(part, fields));
        let place = Place { item, part: number };
        self.blocks[at].place = Some(place);
        self.write_part_event(item, number, false, out);
        if let BlockStart::RedactedReasoning(data) = &self.blocks[at].start {
            self.items[item].encrypted = Some(proof::write_redacted(data).into());
        }
        place
    }

    /// Begins an item; the one before it is over when all its parts are.
    fn announce(&mut self, kind: ItemKind, mark: Option<&Raw>, fields: &mut Rest, out: &mut BytesMut) -> usize {
        if let Some(before) = self.current.take() {
            self.close_if_over(before, out);
        }
        let at = self.items.len();
        let mut item = Item::new(kind, mark, fields);
        if item.id.is_empty() {
            item.id = format!("{}_{}_{at}", item.kind.prefix(), self.id()).into();
        }
        self.items.push(item);
        if self.items[at].kind.may_go_on() {
            self.current = Some(at);
        }
        self.write("response.output_item.added", out, |this, object| {
            object.u64("output_index", number(at));
            object.object("item", |object| this.items[at].write(this.is_ours, "in_progress", object));
        });
        at
    }

    /// Announces a part, or says it whole.
    fn write_part_event(&mut self, at: usize, part: usize, is_over: bool, out: &mut BytesMut) {
        let item = &self.items[at];
        let Some(name) = item.parts[part].kind.part_event() else { return };
        let name = if is_over { format!("{name}.done") } else { format!("{name}.added") };
        self.write(&name, out, |this, object| {
            this.items[at].write_place(at, part, object);
            object.object("part", |object| this.items[at].parts[part].write(this.is_ours, is_over, object));
        });
    }

    fn grow(&mut self, at: usize, delta: Delta, out: &mut BytesMut) {
        if let Delta::Fields(fields) = delta {
            // What a vendor's tool came to; what it began as is announced first.
            if matches!(self.blocks[at].start, BlockStart::Opaque(_)) && fields.find(CanonicalBlock::ITEM).is_none() {
                self.open(at, out);
            }
            return self.take_fields(at, fields);
        }
        let place = self.open(at, out);
        let item = &mut self.items[place.item];
        let (name, text) = match (item.parts[place.part].kind, delta) {
            (PartKind::Text, Delta::Text(text)) => ("response.output_text.delta", text),
            (PartKind::Refusal, Delta::Refusal(text)) => ("response.refusal.delta", text),
            (PartKind::Summary, Delta::Reasoning(text)) => ("response.reasoning_summary_text.delta", text),
            (PartKind::Thought, Delta::Reasoning(text)) => ("response.reasoning_text.delta", text),
            (PartKind::Arguments, Delta::Arguments(text)) => ("response.function_call_arguments.delta", text),
            (PartKind::Input, Delta::Arguments(text)) => return item.parts[place.part].text.push_str(&text),
            (_, Delta::Signature(proof)) => {
                item.encrypted = Some(proof::write(&proof).into());
                return;
            }
            (PartKind::Text, Delta::Citation(raw)) => {
                if annotation::is_native(&raw, self.origin(), Dialect::OpenAiResponses) {
                    return self.write_annotation(place, raw, out);
                }
                let cited = annotation::read(&raw, self.origin());
                if cited.is_empty() {
                    return self.lost("content.citations", annotation::NO_ADDRESS);
                }
                let known = &mut self.items[place.item].parts[place.part].cited;
                for citation in cited {
                    annotation::add(citation, known);
                }
                return;
            }
            (PartKind::Opaque, Delta::Opaque(raw)) => return self.write_opaque(place.item, &raw, out),
            // A delta that does not fit its block.
            _ => return,
        };
        self.write_text(place, name, &text, out);
    }

    fn write_text(&mut self, place: Place, name: &str, text: &str, out: &mut BytesMut) {
        let part = &mut self.items[place.item].parts[place.part];
        part.text.push_str(text);
        let is_text = part.kind == PartKind::Text;
        self.write(name, out, |this, object| {
            this.items[place.item].write_place(place.item, place.part, object);
            object.str("delta", text);
            if is_text {
                object.literal("logprobs", "[]");
            }
        });
    }

    fn take_fields(&mut self, at: usize, fields: Rest) {
        if !self.is_ours {
            return;
        }
        let block = &mut self.blocks[at];
        let Some(place) = block.place else {
            return fields.0.into_iter().for_each(|(name, value)| block.fields.set(&name, value));
        };
        let item = &mut self.items[place.item];
        if let ItemKind::Opaque(raw) = &mut item.kind {
            if let Some(changed) = raw.with_fields(fields) {
                *raw = changed;
            }
            return;
        }
        for (name, value) in fields.0 {
            item.parts[place.part].fields.set(&name, value);
        }
    }

    /// Tells the citations of a part that is over.
    fn write_cited(&mut self, place: Place, out: &mut BytesMut) {
        let part = &mut self.items[place.item].parts[place.part];
        let cited = std::mem::take(&mut part.cited);
        if cited.is_empty() {
            return;
        }
        let mut ruler = Ruler::default();
        ruler.push(&part.text);
        for citation in cited {
            let at = ruler.chars_of(&citation, (0, ruler.n_bytes()));
            match annotation::write_openai(&citation, at, Dialect::OpenAiResponses) {
                Some(raw) => self.write_annotation(place, raw, out),
                None => self.lost("content.citations", annotation::NO_ADDRESS),
            }
        }
    }

    fn write_annotation(&mut self, place: Place, raw: Raw, out: &mut BytesMut) {
        let citations = &mut self.items[place.item].parts[place.part].citations;
        citations.push(raw);
        let at = citations.len() - 1;
        self.write("response.output_text.annotation.added", out, |this, object| {
            let item = &this.items[place.item];
            item.write_place(place.item, place.part, object);
            object.u64("annotation_index", number(at));
            object.raw("annotation", &item.parts[place.part].citations[at]);
        });
    }

    /// Writes an event of a vendor's own tool as it came, in its place.
    fn write_opaque(&mut self, at: usize, raw: &Raw, out: &mut BytesMut) {
        let Some(fields) = super::fields_of(raw) else { return };
        let name = fields.iter().find(|(name, _)| &**name == "type");
        let Some(name) = name.and_then(|(_, value)| json::root(value.as_str().as_bytes()).ok()?.string().ok()) else {
            return;
        };
        self.write(&name, out, |_, object| {
            object.u64("output_index", number(at));
            for (name, value) in &fields {
                if !matches!(&**name, "type" | "sequence_number" | "output_index") {
                    object.raw(name, value);
                }
            }
        });
    }

    fn end_block(&mut self, index: u32, out: &mut BytesMut) {
        let Some(at) = self.blocks.iter().rposition(|block| block.index == index) else { return };
        let place = self.open(at, out);
        self.blocks.swap_remove(at);
        self.close_part(place.item, place.part, out);
        if self.current != Some(place.item) {
            self.close_if_over(place.item, out);
        }
    }

    fn close_if_over(&mut self, at: usize, out: &mut BytesMut) {
        if self.items[at].parts.iter().all(|part| part.is_done) {
            self.close(at, false, out);
        }
    }

    fn close_part(&mut self, at: usize, part: usize, out: &mut BytesMut) {
        if std::mem::replace(&mut self.items[at].parts[part].is_done, true) {
            return;
        }
        self.write_cited(Place { item: at, part }, out);
        let kind = self.items[at].parts[part].kind;
        // A call without arguments streams nothing; clients parse the joined text and need an object.
        if kind == PartKind::Arguments && self.items[at].parts[part].text.is_empty() {
            self.write_text(Place { item: at, part }, "response.function_call_arguments.delta", "{}", out);
        }
        if kind == PartKind::Input {
            let input = input_of(&std::mem::take(&mut self.items[at].parts[part].text));
            self.write_text(Place { item: at, part }, "response.custom_tool_call_input.delta", &input, out);
        }
        if let Some((name, field)) = kind.done_event() {
            self.write(name, out, |this, object| {
                let item = &this.items[at];
                item.write_place(at, part, object);
                object.str(field, &item.parts[part].text);
                if kind == PartKind::Text {
                    object.array("logprobs", |array| item.parts[part].logprobs.iter().for_each(|raw| array.raw(raw)));
                }
            });
        }
        self.write_part_event(at, part, true, out);
    }

    fn close(&mut self, at: usize, is_cut: bool, out: &mut BytesMut) {
        for part in 0..self.items[at].parts.len() {
            self.close_part(at, part, out);
        }
        let item = &mut self.items[at];
        if std::mem::replace(&mut item.is_done, true) {
            return;
        }
        item.is_cut = is_cut;
        self.write("response.output_item.done", out, |this, object| {
            object.u64("output_index", number(at));
            let item = &this.items[at];
            object.object("item", |object| item.write(this.is_ours, item.status(), object));
        });
    }

    fn take_logprobs(&mut self, choice: u32, found: &Probabilities) {
        let raw = self.start.as_ref().and_then(|start| probability::write(found, start.origin));
        let fields = raw.and_then(|raw| super::fields_of(&raw)).unwrap_or_default();
        let content = fields.into_iter().find(|(name, _)| &**name == "content");
        let parts = self.items.iter_mut().flat_map(|item| &mut item.parts);
        match (content, parts.filter(|part| part.kind == PartKind::Text).last()) {
            (Some((_, list)), Some(part)) if choice == 0 => part.add_logprobs(&list),
            _ => self.lost("logprobs", "the upstream's probabilities have another form"),
        }
    }
}

/// What a response says about itself at one time.
struct ResponseState<'s> {
    status: &'static str,
    error: Option<&'s AnswerError>,
    incomplete: Option<&'s str>,
    finish: Option<&'s Finish>,
}

impl ResponseState<'_> {
    const BEGUN: ResponseState<'static> =
        ResponseState { status: "in_progress", error: None, incomplete: None, finish: None };
}

fn number(at: usize) -> u64 {
    u64::try_from(at).unwrap_or(u64::MAX)
}

impl Encoder for AnswerEncoder {
    fn push(&mut self, event: Event, out: &mut BytesMut) {
        match event {
            Event::Start(start) => self.begin(start, out),
            Event::BlockStart { choice, .. } if choice > 0 => {
                self.lost("choices", "answers of OpenAI's responses have one choice; the first was kept");
            }
            Event::BlockStart { block: BlockStart::Opaque(opaque), .. } if !self.is_ours => {
                self.lost("content", &format!("OpenAI's responses have no {} block", opaque.kind));
            }
            Event::BlockStart { index, block, .. } => {
                self.blocks.push(OpenBlock { index, start: block, fields: Rest::default(), place: None });
            }
            Event::Delta { index, delta } => {
                if let Some(at) = self.blocks.iter().rposition(|block| block.index == index) {
                    self.grow(at, delta, out);
                }
            }
            Event::BlockStop { index } => self.end_block(index, out),
            Event::Logprobs { choice, found } => self.take_logprobs(choice, &found),
            Event::Finish(finish) if finish.choice == 0 => self.finish = Some(finish),
            Event::Usage(usage) => self.usage.get_or_insert_default().merge(&usage),
            // A comment: readers skip it, proxies see a live stream.
            Event::Ping if self.mode == Mode::Stream => out.extend_from_slice(b": ping\n\n"),
            Event::Finish(_) | Event::Ping => {}
            Event::Error(error) => self.fail(&error, out),
            Event::Done => self.end(None, out),
        }
    }

    fn annotate(&mut self, extra: Raw) {
        self.extra = Some(extra);
    }

    fn losses(&self) -> &[Loss] {
        &self.losses
    }
}
