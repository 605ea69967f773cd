//! Looks at streams and bodies of Gemini's.
//!
//! Each event is a whole answer with what is new, read one level at a time: arguments of calls are objects here, so a key is
//! what it seems only where it belongs. Without `alt=sse` a stream is one JSON array; the first byte tells. Every event has the
//! counts so far, and the last ones count.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::usage::Count;
use super::{Skimmed, error_of, field, first_value, object_after, text_of};
use crate::scan::visit_fields;
use llm::canonical::event::FinishReason;
use llm::codec::json_array;
use llm::dialect::gemini::{Counts, Details, finish_reason, searches};
use memchr::memmem::FinderRev;

/// What must be known of earlier events to read the next.
#[derive(Debug, Default)]
pub(super) struct State {
    form: Form,
    events: Events,
}

/// How the events of the stream are wrapped; the first byte tells.
#[derive(Debug, Default)]
enum Form {
    #[default]
    Unknown,
    Events,
    Array(json_array::Reader),
    /// Not an array after all, or an item too long to be read; nothing more can be told apart.
    Lost,
}

#[derive(Debug, Default)]
struct Events {
    has_calls: bool,
    /// What the vendor's search looked up, whose tokens are free; `None` when it was not at work.
    n_queries: Option<u64>,
}

impl State {
    /// Reads the next bytes when the stream is an array, and says whether it is one.
    pub(super) fn take_array(&mut self, chunk: &[u8], found: &mut Skimmed) -> bool {
        if let Form::Unknown = self.form {
            self.form = match chunk.trim_ascii_start().first() {
                None => return false,
                Some(b'[' | b'{') => Form::Array(json_array::Reader::default()),
                Some(_) => Form::Events,
            };
        }
        let reader = match &mut self.form {
            Form::Unknown | Form::Events => return false,
            Form::Lost => return true,
            Form::Array(reader) => reader,
        };
        let events = &mut self.events;
        let read = reader.push(chunk, &mut |object| {
            events.read(object, found);
            Ok(())
        });
        if read.is_err() {
            found.n_oversize = found.n_oversize.saturating_add(1);
            self.form = Form::Lost;
        }
        true
    }

    pub(super) fn read_event(&mut self, data: &[u8], found: &mut Skimmed) {
        self.events.read(data, found);
    }
}

/// Looks at a whole body.
pub(super) fn read_body(body: &[u8]) -> Skimmed {
    let mut found = Skimmed { n_bytes: body.len() as u64, ..Skimmed::default() };
    Events::default().read(body, &mut found);
    found.is_complete = visit_fields(body, |_, _| {}).is_ok();
    found.n_output_events = u64::from(found.error.is_none() && found.is_complete);
    found.n_before_usage = found.n_output_events;
    found
}

/// Reads the end of an event that was too long to be kept: the counts stand after the content.
pub(super) fn read_tail(tail: &[u8], found: &mut Skimmed) {
    if let Some(usage) = object_after(tail, &FinderRev::new(b"\"usageMetadata\"")).and_then(|json| usage(json, false)) {
        take(usage, found);
    }
}

/// The counts so far; the last ones count.
fn take(count: Count, found: &mut Skimmed) {
    let tokens = found.usage.map_or(count.tokens, |earlier| earlier.replaced_by(count.tokens));
    found.modal = None;
    found.take_count(Count { tokens, ..count });
}

impl Events {
    fn read(&mut self, data: &[u8], found: &mut Skimmed) {
        let (mut candidates, mut usage_span, mut feedback, mut error, mut model) = (None, None, None, None, None);
        let read = visit_fields(data, |key, span| match key {
            "candidates" => candidates = Some(span),
            "usageMetadata" => usage_span = Some(span),
            "promptFeedback" => feedback = Some(span),
            "modelVersion" => model = Some(span),
            "error" if span.of(data) != b"null" => error = Some(span),
            _ => {}
        });
        if read.is_err() {
            return;
        }
        if let Some(span) = error {
            found.error = Some(error_of(span.of(data)));
            return;
        }
        found.has_begun |= candidates.is_some() || usage_span.is_some() || feedback.is_some();
        let candidates = candidates.and_then(|span| serde_json::from_slice::<Vec<&RawValue>>(span.of(data)).ok());
        let mut has_output = false;
        for candidate in candidates.iter().flatten() {
            has_output |= self.read_candidate(candidate.get().as_bytes(), found);
        }
        found.n_output_events += u64::from(has_output);
        let counts = usage_span.map(|span| span.of(data)).unwrap_or_default();
        found.tier = super::tier::in_counts(counts).or(found.tier);
        if let Some(usage) = usage_span.and_then(|span| usage(span.of(data), self.n_queries.is_some())) {
            take(usage, found);
        }
        if let Some(n_queries) = self.n_queries.filter(|n_queries| *n_queries > 0) {
            let model = model.and_then(|span| text_of(span.of(data))).unwrap_or_default();
            found.units.searches = found.units.searches.max(searches(&model, n_queries));
        }
        let feedback = feedback.map(|span| span.of(data)).unwrap_or_default();
        if field(feedback, "blockReason").is_some() {
            found.finish = Some(FinishReason::ContentFilter);
            found.is_complete = true;
        }
    }

    /// Reads one candidate and says whether the model said something in it.
    fn read_candidate(&mut self, json: &[u8], found: &mut Skimmed) -> bool {
        let (mut is_first, mut content, mut reason, mut grounding) = (true, None, None, None);
        let read = visit_fields(json, |key, span| match key {
            "index" => is_first = span.of(json) == b"0",
            "content" => content = Some(span),
            "finishReason" => reason = text_of(span.of(json)),
            "groundingMetadata" => grounding = Some(span),
            _ => {}
        });
        if read.is_err() {
            return false;
        }
        let grounding = grounding.map(|span| span.of(json)).unwrap_or_default();
        if let Some(list) = field(grounding, "webSearchQueries") {
            let list: Vec<&RawValue> = serde_json::from_slice(list.of(grounding)).unwrap_or_default();
            self.n_queries = self.n_queries.max(u64::try_from(list.len()).ok());
        }
        let content = content.map(|span| span.of(json)).unwrap_or_default();
        let parts = field(content, "parts").map(|span| span.of(content)).unwrap_or_default();
        let parts: Vec<Part<'_>> = serde_json::from_slice(parts).unwrap_or_default();
        if is_first {
            self.has_calls |= parts.iter().any(|part| part.function_call.is_some());
        }
        if let Some(word) = reason.filter(|word| is_first && &**word != "FINISH_REASON_UNSPECIFIED") {
            found.is_complete = true;
            found.finish = Some(match finish_reason(&word) {
                FinishReason::Stop if self.has_calls => FinishReason::ToolUse,
                reason => reason,
            });
        }
        parts.iter().any(Part::is_output)
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    function_call: Option<&'a RawValue>,
    #[serde(borrow)]
    inline_data: Option<&'a RawValue>,
    #[serde(borrow)]
    executable_code: Option<&'a RawValue>,
}

impl Part<'_> {
    fn is_output(&self) -> bool {
        self.text.as_deref().is_some_and(|text| !text.is_empty())
            || [self.function_call, self.inline_data, self.executable_code].iter().any(Option::is_some)
    }
}

#[derive(serde::Deserialize)]
struct UsageMetadata {
    #[serde(rename = "promptTokenCount")]
    prompt: Option<u64>,
    #[serde(rename = "cachedContentTokenCount")]
    cached: Option<u64>,
    #[serde(rename = "candidatesTokenCount")]
    candidates: Option<u64>,
    #[serde(rename = "thoughtsTokenCount")]
    thoughts: Option<u64>,
    #[serde(rename = "toolUsePromptTokenCount")]
    tool_use: Option<u64>,
    #[serde(rename = "totalTokenCount")]
    total: Option<u64>,
    #[serde(rename = "promptTokensDetails", default)]
    prompt_details: Vec<Detail>,
    #[serde(rename = "cacheTokensDetails", default)]
    cache_details: Vec<Detail>,
    #[serde(rename = "candidatesTokensDetails", default)]
    candidates_details: Vec<Detail>,
}

#[derive(serde::Deserialize)]
struct Detail {
    #[serde(default)]
    modality: Box<str>,
    #[serde(rename = "tokenCount", default)]
    count: u64,
}

impl Detail {
    fn sum(list: &[Self]) -> Details {
        let add = |mut sum: Details, it: &Self| {
            sum.add(&it.modality, it.count);
            sum
        };
        list.iter().fold(Details::default(), add)
    }
}

/// Reads `usageMetadata` into disjoint kinds.
pub(super) fn usage(json: &[u8], is_grounded: bool) -> Option<Count> {
    let usage: UsageMetadata = first_value(json)?;
    if usage.prompt.is_none() && usage.total.is_none() {
        return None;
    }
    let counts = Counts {
        prompt: usage.prompt.unwrap_or(0),
        cached: usage.cached.unwrap_or(0),
        candidates: usage.candidates.unwrap_or(0),
        thoughts: usage.thoughts.unwrap_or(0),
        tool_use: usage.tool_use.unwrap_or(0),
        total: usage.total.unwrap_or(0),
    };
    let mut tokens = counts.tokens();
    if is_grounded {
        tokens.input = tokens.input.saturating_sub(counts.tool_use);
    }
    let [prompt, cache, candidates] =
        [&usage.prompt_details, &usage.cache_details, &usage.candidates_details].map(|list| Detail::sum(list));
    let modal = Details::modal(prompt, cache, candidates).within(&tokens);
    Some(Count { tokens, modal, ..Count::default() })
}
