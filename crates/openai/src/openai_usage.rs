//! OpenAI's `usage` objects, of chat and of responses: the same counts under two sets of names.
//!
//! The input includes what came from and went to the cache; canonical counts do not.

use std::time::Duration;

use hub::canonical::json::Raw;
use hub::canonical::usage::{ModalUsage, TokenUsage, UnitUsage, Usage};
use hub::codec::json::{self, Object, ObjectWriter};

/// What a `usage` object of OpenAI's, or of a vendor that resembles it, says before the kinds are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// All of the input.
    pub input: u64,
    /// The output; with xAI and Perplexity without its reasoning.
    pub output: u64,
    /// `total_tokens`.
    pub total: u64,
    /// The part of the input that came from a cache, by whichever name.
    pub cached: u64,
    /// The part of the input that was written to one.
    pub written: u64,
    /// `reasoning_tokens` among the details of the output.
    pub reasoning: u64,
    /// `reasoning_tokens` beside the counts: `SGLang` and Databricks say there what is inside the output, Perplexity what is not.
    pub top_reasoning: u64,
    /// `citation_tokens`: text of sources, which Perplexity bills as it bills input.
    pub citations: u64,
    /// `num_search_queries`: Perplexity's, billed each where no width of search is named.
    pub queries: u64,
    /// `search_context_size` is there: Perplexity bills one search for the whole call.
    pub has_width: bool,
    /// And it is another than the narrowest, which costs more than the price of a search says.
    pub is_wide: bool,
    /// `prompt_audio_seconds`, Mistral's.
    pub audio_seconds: f64,
}

/// No sound is longer; a count beyond it is none.
const MOST_SECONDS: f64 = 1e7;

impl Counts {
    /// Notes how wide a search was.
    pub fn search_width(&mut self, width: &str) {
        self.has_width = true;
        self.is_wide = width != "low";
    }

    /// Returns the disjoint kinds.
    #[must_use]
    pub fn tokens(&self) -> TokenUsage {
        let cached_input = self.cached.min(self.input);
        let cache_write_5m = self.written.min(self.input - cached_input);
        // Whose reasoning is not in the output, the total tells, or that it would not fit; Perplexity's never is.
        let with_details = self.input.saturating_add(self.output).saturating_add(self.reasoning);
        let is_perplexity = self.has_width || self.queries > 0 || self.citations > 0;
        let (reasoning, is_beside) = match self.reasoning {
            0 => (self.top_reasoning, is_perplexity || self.top_reasoning > self.output),
            reasoning => (reasoning, self.total == with_details || reasoning > self.output),
        };
        TokenUsage {
            input: (self.input - cached_input - cache_write_5m).saturating_add(self.citations),
            cached_input,
            cache_write_5m,
            cache_write_1h: 0,
            output: self.output.saturating_add(if is_beside { reasoning } else { 0 }),
            reasoning,
        }
    }

    /// Returns what was counted beside tokens.
    #[must_use]
    pub fn units(&self) -> UnitUsage {
        let seconds = if (0.0..MOST_SECONDS).contains(&self.audio_seconds) { self.audio_seconds } else { 0.0 };
        let audio_ms = u64::try_from(Duration::from_secs_f64(seconds).as_millis()).unwrap_or(0);
        UnitUsage { audio_ms, searches: if self.has_width { 1 } else { self.queries }, ..UnitUsage::default() }
    }
}

/// The names of one API.
pub(super) struct Names {
    input: &'static str,
    input_details: &'static str,
    output: &'static str,
    output_details: &'static str,
}

/// Chat completions.
pub(super) const CHAT: Names = Names {
    input: "prompt_tokens",
    input_details: "prompt_tokens_details",
    output: "completion_tokens",
    output_details: "completion_tokens_details",
};

/// Responses.
pub(super) const RESPONSES: Names = Names {
    input: "input_tokens",
    input_details: "input_tokens_details",
    output: "output_tokens",
    output_details: "output_tokens_details",
};

/// Reads which part of the input was sound or pictures; what the vendor says of all of it includes what came from the cache.
fn read_input_modes(details: &Object<'_, '_>, modal: &mut ModalUsage) {
    let modes = |object: &Object<'_, '_>| (object.count("audio_tokens"), object.count("image_tokens"));
    let (audio, image) = modes(details);
    let (cached_audio, cached_image) = details.report("cached_tokens_details", modes).unwrap_or_default();
    (modal.cached_audio_input, modal.cached_image_input) = (cached_audio, cached_image);
    modal.audio_input = audio.saturating_sub(cached_audio);
    modal.image_input = image.saturating_sub(cached_image);
}

/// Reads what vendors call by names of their own. Only after the rest was taken: they go on as they came, too.
fn read_own(usage: &Object<'_, '_>, counts: &mut Counts) {
    let first = |names: &[&str]| names.iter().map(|name| usage.count(name)).find(|count| *count > 0).unwrap_or(0);
    if counts.cached == 0 {
        // DeepSeek's, Together's and Databricks'.
        counts.cached = first(&["prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens"]);
    }
    if counts.written == 0 {
        counts.written = usage.count("cache_creation_input_tokens");
    }
    counts.top_reasoning = usage.count("reasoning_tokens");
    counts.citations = usage.count("citation_tokens");
    counts.queries = usage.count("num_search_queries");
    counts.audio_seconds = usage.find_f64("prompt_audio_seconds").ok().flatten().unwrap_or(0.0);
    if let Some(width) = usage.words("search_context_size") {
        counts.search_width(&width);
    }
}

impl Names {
    /// Reads a `usage` object.
    pub(super) fn read(&self, usage: &Object<'_, '_>) -> Usage {
        let mut counts = Counts {
            input: usage.count(self.input),
            output: usage.count(self.output),
            total: usage.count("total_tokens"),
            ..Counts::default()
        };
        let mut result = Usage { is_final: true, ..Usage::default() };
        if let Some(details) = usage.find(self.input_details).and_then(|node| node.object().ok()) {
            counts.cached = details.count("cached_tokens");
            counts.written = details.count("cache_write_tokens");
            let rest = details.rest();
            // Only after the rest was taken: they go on as they came, too.
            read_input_modes(&details, &mut result.modal);
            if !rest.is_empty() {
                result.rest.push(self.input_details, json::raw_object(|object| object.rest(&rest)));
            }
        }
        if let Some(details) = usage.find(self.output_details).and_then(|node| node.object().ok()) {
            counts.reasoning = details.count("reasoning_tokens");
            let rest = details.rest();
            result.modal.audio_output = details.count("audio_tokens");
            result.modal.image_output = details.count("image_tokens");
            if !rest.is_empty() {
                result.rest.push(self.output_details, json::raw_object(|object| object.rest(&rest)));
            }
        }
        for (name, value) in usage.rest().iter() {
            result.rest.push(name, value.clone());
        }
        read_own(usage, &mut counts);
        result.tokens = counts.tokens();
        result.units = counts.units();
        result.is_guessed = counts.is_wide;
        result.modal = result.modal.within(&result.tokens);
        result
    }

    /// Writes a `usage` object; unknown counters only when they come from this dialect.
    pub(super) fn write(&self, usage: &Usage, is_ours: bool, object: &mut ObjectWriter<'_>) {
        let tokens = &usage.tokens;
        let written = tokens.cache_write_5m.saturating_add(tokens.cache_write_1h);
        let prompt = tokens.total_input();
        let more = |object: &mut ObjectWriter<'_>, name: &str| {
            let details = usage.rest.find(name).filter(|_| is_ours);
            for (name, value) in details.and_then(fields_of).unwrap_or_default() {
                object.raw(&name, &value);
            }
        };
        object.object("usage", |object| {
            object.u64(self.input, prompt);
            object.u64(self.output, tokens.output);
            object.u64("total_tokens", prompt.saturating_add(tokens.output));
            object.object(self.input_details, |object| {
                object.u64("cached_tokens", tokens.cached_input);
                // The newer API requires the count, the older one knows it only as an extension.
                if written > 0 || self.input == RESPONSES.input {
                    object.u64("cache_write_tokens", written);
                }
                more(object, self.input_details);
            });
            object.object(self.output_details, |object| {
                object.u64("reasoning_tokens", tokens.reasoning);
                more(object, self.output_details);
            });
            if is_ours {
                for (name, value) in usage.rest.iter() {
                    if name != self.input_details && name != self.output_details {
                        object.raw(name, value);
                    }
                }
            }
        });
    }
}

/// Returns the fields of a JSON object; `None` when it is none.
pub(super) fn fields_of(raw: &Raw) -> Option<Vec<(Box<str>, Raw)>> {
    Some(json::root(raw.as_str().as_bytes()).ok()?.object().ok()?.rest().0)
}
