//! OpenAI's `usage` objects, of chat and of responses: the same counts under two sets of names.
//!
//! The input includes what came from and went to the cache; canonical counts do not.

use hub::canonical::json::Raw;
use hub::canonical::usage::{ModalUsage, Usage};
use hub::codec::json::{self, Object, ObjectWriter};

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

impl Names {
    /// Reads a `usage` object.
    pub(super) fn read(&self, usage: &Object<'_, '_>) -> Usage {
        let prompt = usage.count(self.input);
        let output = usage.count(self.output);
        let total = usage.count("total_tokens");
        let mut result = Usage::default();
        let (mut cached, mut written) = (0, 0);
        if let Some(details) = usage.find(self.input_details).and_then(|node| node.object().ok()) {
            cached = details.count("cached_tokens");
            written = details.count("cache_write_tokens");
            let rest = details.rest();
            // Only after the rest was taken: they go on as they came, too.
            read_input_modes(&details, &mut result.modal);
            if !rest.is_empty() {
                result.rest.push(self.input_details, json::raw_object(|object| object.rest(&rest)));
            }
        }
        if cached == 0 {
            // DeepSeek's name for it, or Together's.
            cached = usage.count("prompt_cache_hit_tokens").max(usage.count("cached_tokens"));
        }
        if let Some(details) = usage.find(self.output_details).and_then(|node| node.object().ok()) {
            result.tokens.reasoning = details.count("reasoning_tokens");
            let rest = details.rest();
            result.modal.audio_output = details.count("audio_tokens");
            result.modal.image_output = details.count("image_tokens");
            if !rest.is_empty() {
                result.rest.push(self.output_details, json::raw_object(|object| object.rest(&rest)));
            }
        }
        result.tokens.cached_input = cached.min(prompt);
        result.tokens.cache_write_5m = written.min(prompt - result.tokens.cached_input);
        result.tokens.input = prompt - result.tokens.cached_input - result.tokens.cache_write_5m;
        result.tokens.output = output;
        // xAI counts reasoning beside the output; its total tells.
        let reasoning = result.tokens.reasoning;
        if reasoning > 0 && total == prompt.saturating_add(output).saturating_add(reasoning) {
            result.tokens.output = output.saturating_add(reasoning);
        }
        result.modal = result.modal.within(&result.tokens);
        for (name, value) in usage.rest().iter() {
            result.rest.push(name, value.clone());
        }
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
