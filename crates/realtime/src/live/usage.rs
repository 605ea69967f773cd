//! What Gemini says was used, in the words of OpenAI's `response.done`.
//!
//! Each message with counters stands for itself: the vendor bills the whole context again at each turn, and only the sum of all
//! that was said in a session agrees with its bill (<https://discuss.ai.google.dev/t/173248>, read 24 November 2026).

use gemini::{Counts, Details};
use serde::Deserialize;
use serde_json::{Value, json};

/// Counters of one message.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct UsageMetadata {
    prompt_token_count: u64,
    cached_content_token_count: u64,
    /// Which the other API calls `candidatesTokenCount`.
    response_token_count: u64,
    tool_use_prompt_token_count: u64,
    thoughts_token_count: u64,
    total_token_count: u64,
    prompt_tokens_details: Vec<Detail>,
    cache_tokens_details: Vec<Detail>,
    response_tokens_details: Vec<Detail>,
    tool_use_prompt_tokens_details: Vec<Detail>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Detail {
    modality: String,
    token_count: u64,
}

/// What was used and has not been told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Used {
    input: u64,
    cached: u64,
    output: u64,
    audio_input: u64,
    cached_audio: u64,
    image_input: u64,
    cached_image: u64,
    audio_output: u64,
    n_said: u64,
}

impl Used {
    /// Takes in what one message says.
    pub(super) fn add(&mut self, said: &UsageMetadata) {
        let counts = Counts {
            prompt: said.prompt_token_count,
            cached: said.cached_content_token_count,
            candidates: said.response_token_count,
            thoughts: said.thoughts_token_count,
            tool_use: said.tool_use_prompt_token_count,
            total: said.total_token_count,
        };
        let tokens = counts.tokens();
        let input = said.prompt_tokens_details.iter().chain(&said.tool_use_prompt_tokens_details);
        let modal =
            Details::modal(sum(input), sum(said.cache_tokens_details.iter()), sum(said.response_tokens_details.iter()));
        for (place, n) in [
            (&mut self.input, tokens.total_input()),
            (&mut self.cached, tokens.cached_input),
            (&mut self.output, tokens.output),
            (&mut self.audio_input, modal.audio_input.saturating_add(modal.cached_audio_input)),
            (&mut self.cached_audio, modal.cached_audio_input),
            (&mut self.image_input, modal.image_input.saturating_add(modal.cached_image_input)),
            (&mut self.cached_image, modal.cached_image_input),
            (&mut self.audio_output, modal.audio_output),
            (&mut self.n_said, 1),
        ] {
            *place = place.saturating_add(n);
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.n_said == 0
    }

    /// Tells it, and begins anew; `null` when nothing was said.
    pub(super) fn tell(&mut self) -> Value {
        let Self { input, cached, output, audio_input, cached_audio, image_input, cached_image, audio_output, n_said } =
            std::mem::take(self);
        if n_said == 0 {
            return Value::Null;
        }
        json!({
            "total_tokens": input.saturating_add(output), "input_tokens": input, "output_tokens": output,
            "input_token_details": {
                "text_tokens": input.saturating_sub(audio_input).saturating_sub(image_input),
                "audio_tokens": audio_input, "image_tokens": image_input, "cached_tokens": cached,
                "cached_tokens_details": {
                    "text_tokens": cached.saturating_sub(cached_audio).saturating_sub(cached_image),
                    "audio_tokens": cached_audio, "image_tokens": cached_image,
                },
            },
            "output_token_details": {"text_tokens": output.saturating_sub(audio_output), "audio_tokens": audio_output},
        })
    }
}

fn sum<'a>(details: impl Iterator<Item = &'a Detail>) -> Details {
    let mut sum = Details::default();
    for Detail { modality, token_count } in details {
        // Films are billed as pictures in these sessions (<https://ai.google.dev/gemini-api/docs/pricing>, read 24 November 2026).
        sum.add(if modality == "VIDEO" { "IMAGE" } else { modality }, *token_count);
    }
    sum
}
