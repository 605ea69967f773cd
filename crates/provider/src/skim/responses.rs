//! Looks at streams and bodies of OpenAI's responses.
//!
//! The last event repeats the whole answer and has usage and status in it; with pictures in the answer it can be longer than
//! what is read, so of a very long event the end is kept, where the vendor writes the usage.

use super::usage::Count;
use super::{InBandError, Skimmed, error_of, field, object_after, take_usage, text_of};
use crate::scan::{Span, visit_fields};
use llm::canonical::event::FinishReason;

/// How much of the end of a very long event is kept: usage, and metadata of the largest size that the vendor takes.
pub(super) const TAIL: usize = 24 << 10;

/// How far into a very long event its type is looked for; the vendor writes it first.
const HEAD: usize = 512;
const PICTURES: [&[u8]; 2] = [b"\"image_generation.completed\"", b"\"image_edit.completed\""];

/// Reads one event.
pub(super) fn read_event(data: &[u8], found: &mut Skimmed) {
    // The vendor writes `type` first; deltas are nearly all events, so they are told without reading on.
    if let Some(name) = data.strip_prefix(b"{\"type\":\"response.")
        && let Some(end) = memchr::memchr(b'"', name)
    {
        let name = &name[..end];
        found.has_begun = true;
        if name.ends_with(b".delta") {
            found.n_output_events += 1;
            return;
        }
        if !matches!(name, b"completed" | b"incomplete" | b"failed") {
            return;
        }
    }
    let (mut kind, mut response, mut usage_at, mut error) = (None, None, None, None);
    let read = visit_fields(data, |key, span| match key {
        "type" => kind = text_of(span.of(data)),
        "response" => response = Some(span),
        "usage" => usage_at = Some(span),
        "error" if span.of(data) != b"null" => error = Some(span),
        _ => {}
    });
    if read.is_err() {
        return;
    }
    found.has_begun |= kind.as_deref().is_some_and(|kind| kind.starts_with("response."));
    match kind.as_deref() {
        Some("response.completed" | "response.incomplete" | "response.failed") => {
            let response = response.map(|span| span.of(data)).unwrap_or_default();
            Fields::read(response).tell(response, found);
            found.is_complete = true;
        }
        // Of transcriptions, speech and pictures, whose last event has the usage beside its type.
        Some("transcript.text.done" | "speech.audio.done" | "image_generation.completed" | "image_edit.completed") => {
            take_usage(found, usage(usage_at.map(|span| span.of(data)).unwrap_or_default()));
            found.n_output_events += 1;
            found.units.images += u64::from(kind.as_deref().is_some_and(|kind| kind.starts_with("image_")));
            found.is_complete = true;
        }
        Some("error") => {
            let fields = error.map_or(data, |span| span.of(data));
            let mut error = error_of(fields);
            if &*error.kind == "error" {
                error.kind = Box::default();
            }
            found.error = Some(error);
        }
        Some(kind) if kind.as_bytes().ends_with(b".delta") => found.n_output_events += 1,
        _ => {}
    }
}

/// Says whether the beginning of a very long event names it as one with a whole picture: inside JSON text the quotes would be escaped.
pub(super) fn is_picture(head: &[u8]) -> bool {
    let head = &head[..head.len().min(HEAD)];
    PICTURES.iter().any(|kind| memchr::memmem::find(head, kind).is_some())
}

/// Reads the end of an event that was too long to be read. `is_picture` is what its beginning said.
pub(super) fn read_tail(tail: &[u8], is_picture: bool, found: &mut Skimmed) {
    let usage = object_after(tail, &super::KEYS.usage).and_then(usage);
    found.units.images += u64::from(is_picture);
    found.is_complete |= usage.is_some() || is_picture;
    take_usage(found, usage);
}

/// Reads a whole body.
pub(super) fn read_body(body: &[u8]) -> Skimmed {
    let mut found = Skimmed { n_bytes: body.len() as u64, ..Skimmed::default() };
    let fields = Fields::read(body);
    fields.tell(body, &mut found);
    found.is_complete = fields.is_json;
    found.has_begun = fields.output.is_some_and(|span| span.of(body).starts_with(b"["));
    found.n_output_events = u64::from(found.error.is_none() && found.is_complete);
    found.n_before_usage = found.n_output_events;
    found
}

/// Where in a response lies what it says about itself.
#[derive(Default)]
struct Fields {
    usage: Option<Span>,
    status: Option<Span>,
    details: Option<Span>,
    error: Option<Span>,
    output: Option<Span>,
    is_json: bool,
}

impl Fields {
    fn read(response: &[u8]) -> Self {
        let mut fields = Self::default();
        let read = visit_fields(response, |key, span| match key {
            "usage" => fields.usage = Some(span),
            "status" => fields.status = Some(span),
            "incomplete_details" => fields.details = Some(span),
            "error" if span.of(response) != b"null" => fields.error = Some(span),
            "output" => fields.output = Some(span),
            _ => {}
        });
        fields.is_json = read.is_ok();
        fields
    }

    fn tell(&self, response: &[u8], found: &mut Skimmed) {
        let of = |span: Option<Span>| span.map(|span| span.of(response)).unwrap_or_default();
        take_usage(found, usage(of(self.usage)));
        found.units.searches = found.units.searches.max(searches(of(self.output)));
        found.tier = super::tier::at_top(response);
        found.error = self.error.map(|span| error_of(span.of(response)));
        let status = text_of(of(self.status)).unwrap_or_default();
        let details = of(self.details);
        let reason = field(details, "reason").and_then(|span| text_of(span.of(details)));
        found.finish = match (&*status, reason.as_deref()) {
            ("failed", _) => {
                found.error.get_or_insert_with(InBandError::default);
                None
            }
            (_, Some("content_filter")) => Some(FinishReason::ContentFilter),
            ("incomplete", None | Some("max_output_tokens")) => Some(FinishReason::Length),
            // Inside JSON text the quotes would be escaped: it is the type of an item.
            ("completed", _) if super::KEYS.call.find(of(self.output)).is_some() => Some(FinishReason::ToolUse),
            ("completed", _) => Some(FinishReason::Stop),
            _ => Some(FinishReason::Other),
        };
        if self.status.is_none() {
            found.finish = None;
        }
    }
}

#[derive(serde::Deserialize)]
struct Usage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    total_tokens: Option<u64>,
    // Transcriptions say it in the singular.
    #[serde(default, alias = "input_token_details")]
    input_tokens_details: Option<super::usage::PromptDetails>,
    #[serde(default)]
    output_tokens_details: Option<super::usage::CompletionDetails>,
}

/// Reads `usage`; what came from and went to the cache is included in the input here.
pub(super) fn usage(json: &[u8]) -> Option<Count> {
    let usage: Usage = super::first_value(json)?;
    if usage.input_tokens.is_none() && usage.output_tokens.is_none() {
        return None;
    }
    let details = usage.input_tokens_details.unwrap_or_default();
    let output = usage.output_tokens_details.unwrap_or_default();
    let counts = super::usage::counts([usage.input_tokens, usage.output_tokens, usage.total_tokens], &details, &output);
    Some(super::usage::openai_count(&counts, &details, &output))
}

/// Counts the searches of the web among the items of an answer. Pages that were opened or looked through are not billed.
fn searches(output: &[u8]) -> u64 {
    if super::KEYS.web_search.find(output).is_none() {
        return 0;
    }
    let items: Vec<Item<'_>> = serde_json::from_slice(output).unwrap_or_default();
    items.iter().map(|item| u64::from(item.is_search())).sum()
}

#[derive(serde::Deserialize)]
struct Item<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(default)]
    action: Option<Action>,
}

#[derive(serde::Deserialize)]
struct Action {
    #[serde(rename = "type", default)]
    kind: Box<str>,
}

impl Item<'_> {
    fn is_search(&self) -> bool {
        &*self.kind == "web_search_call" && self.action.as_ref().is_none_or(|action| &*action.kind == "search")
    }
}
