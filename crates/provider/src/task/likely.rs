//! What a call uses beside its text, before anybody has counted: the most it can be, and what it is likely to be.
//!
//! Neither is ever billed. The bound is for holds and budgets, the likely use for comparing prices; it is the same for every
//! target, so a model that is billed by the token and one that is billed by the piece can be told apart by what they cost.

use domain::NanoUsd;
use domain::image::{ImageKind, ImageRate};
use domain::price::{LongContextRates, Rates, UnitRates};
use domain::usage::{ModalUsage, TokenUsage, UnitUsage};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::plain::heard;
use super::{Task, image_kind};
use crate::pricing;
use crate::provider::Operation;
use crate::scan::Scan;
use crate::skim::Skimmed;

/// The least bytes of a second of sound: speech at 4 kbit/s.
const SOUND_BYTES_PER_SECOND: u64 = 500;
/// The least bytes of a document that is ranked, and how many of them are billed as one search at the most.
const SEARCH_BYTES: u64 = 256;
/// Tokens of a picture of middling quality, 1,024 pixels each way (OpenAI's page of prices, read November 2026).
const PICTURE_TOKENS: u64 = 1_056;
/// Characters spoken in a second.
const SPOKEN_PER_SECOND: u64 = 15;
/// Tokens of a second of sound that is made, and of one that is heard, and of the text of it: at these the prices by token and by
/// the minute that OpenAI names for its models of speech agree.
const MADE_PER_SECOND: u64 = 21;
const HEARD_PER_SECOND: u64 = 10;
const WRITTEN_PER_SECOND: u64 = 4;
/// Documents that are ranked as one search.
const DOCUMENTS_PER_SEARCH: u64 = 100;

/// Returns the most that an operation on a body of `n_bytes` counts beside tokens, when it asks for `n` answers.
#[must_use]
pub fn most_units(operation: Operation, n: u64, n_bytes: u64) -> UnitUsage {
    match operation {
        Operation::Task(Task::Rerank) => UnitUsage { searches: 1 + n_bytes / SEARCH_BYTES, ..UnitUsage::default() },
        Operation::Task(Task::ImageGeneration | Task::ImageEdit | Task::ImageVariation) => {
            UnitUsage { images: n, ..UnitUsage::default() }
        }
        Operation::Task(Task::Speech) => {
            // A character a second is slower than anybody speaks.
            UnitUsage { characters: n_bytes, audio_ms: n_bytes.saturating_mul(1_000), ..UnitUsage::default() }
        }
        Operation::Task(Task::Transcription | Task::Translation) => {
            let audio_ms = n_bytes.saturating_mul(1_000) / SOUND_BYTES_PER_SECOND;
            UnitUsage { audio_ms, ..UnitUsage::default() }
        }
        _ => UnitUsage::default(),
    }
}

/// What a call is taken to use when prices are compared before it is made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Likely {
    usage: TokenUsage,
    modal: ModalUsage,
    units: UnitUsage,
    image: Option<ImageKind>,
}

/// What a ranking is of.
#[derive(Default, Deserialize)]
struct Ranked {
    #[serde(default)]
    documents: Vec<IgnoredAny>,
}

impl Likely {
    /// A call that uses nothing but these tokens.
    #[must_use]
    pub fn text(usage: TokenUsage) -> Self {
        Self { usage, ..Self::default() }
    }

    /// Reckons a call. `text` is what it would use if it were a chat.
    #[must_use]
    pub fn of(operation: Operation, text: TokenUsage, scan: &Scan, body: &[u8]) -> Self {
        let read = TokenUsage { output: 0, ..text };
        match operation {
            Operation::Chat(_) | Operation::CountTokens(_) | Operation::Task(Task::Compaction) => Self::text(text),
            Operation::Embeddings | Operation::Task(Task::Moderation) => Self::text(read),
            Operation::Task(Task::Rerank) => {
                let ranked: Ranked = serde_json::from_slice(body).unwrap_or_default();
                let searches = (ranked.documents.len() as u64).div_ceil(DOCUMENTS_PER_SEARCH).max(1);
                let usage = TokenUsage { input: body.len() as u64 / 4, ..TokenUsage::default() };
                Self { units: UnitUsage { searches, ..UnitUsage::default() }, ..Self::text(usage) }
            }
            Operation::Task(Task::ImageGeneration | Task::ImageEdit | Task::ImageVariation) => {
                let images = scan.n.unwrap_or(1).max(1);
                let output = images.saturating_mul(PICTURE_TOKENS);
                let made = ModalUsage { image_output: output, ..ModalUsage::default() };
                let units = UnitUsage { images, ..UnitUsage::default() };
                Self { usage: TokenUsage { output, ..read }, modal: made, units, image: image_kind(operation, body) }
            }
            Operation::Task(Task::Speech) => {
                let characters = spoken(scan, body);
                let audio_ms = characters.saturating_mul(1_000) / SPOKEN_PER_SECOND;
                let output = characters.saturating_mul(MADE_PER_SECOND) / SPOKEN_PER_SECOND;
                let made = ModalUsage { audio_output: output, ..ModalUsage::default() };
                let units = UnitUsage { characters, audio_ms, ..UnitUsage::default() };
                Self { usage: TokenUsage { output, ..read }, modal: made, units, image: None }
            }
            Operation::Task(Task::Transcription | Task::Translation) => {
                let mut found = Skimmed::default();
                heard(body, "file", &mut found);
                let of_time = |per_second: u64| found.units.audio_ms.saturating_mul(per_second) / 1_000;
                let (input, output) = (of_time(HEARD_PER_SECOND), of_time(WRITTEN_PER_SECOND));
                let modal = ModalUsage { audio_input: input, ..ModalUsage::default() };
                let usage = TokenUsage { input, output, ..TokenUsage::default() };
                Self { usage, modal, units: found.units, image: None }
            }
        }
    }

    /// Returns what the call would cost, tokens and all.
    #[must_use]
    pub fn cost(&self, rates: &Rates, long_context: &[LongContextRates], images: &[ImageRate]) -> NanoUsd {
        let tokens = pricing::modal_cost(self.usage, self.modal, rates, long_context).total();
        tokens.saturating_add(self.unit_cost(&rates.units, images))
    }

    /// Returns what of it is owed for what is counted beside tokens. A picture whose kind is left open counts as the dearest.
    #[must_use]
    pub fn unit_cost(&self, rates: &UnitRates, images: &[ImageRate]) -> NanoUsd {
        let mut of_kind = pricing::unit_rates(*rates, images, self.image.as_ref());
        of_kind.image = of_kind.image.or_else(|| images.iter().map(|rate| rate.each).max());
        pricing::unit_cost(self.units, &of_kind)
    }

    /// How many pictures are asked for.
    #[must_use]
    pub const fn n_images(&self) -> u64 {
        self.units.images
    }
}

/// Counts the characters that are to be spoken.
fn spoken(scan: &Scan, body: &[u8]) -> u64 {
    let text = scan.input.and_then(|span| serde_json::from_slice::<String>(span.of(body)).ok());
    text.map_or(0, |text| text.chars().count() as u64)
}

#[cfg(test)]
mod tests {
    use domain::Price;
    use serde_json::{Value, json};

    use super::*;
    use crate::scan::scan;

    fn likely(task: Task, body: &Value) -> Likely {
        let text = TokenUsage { input: 8, output: 500, ..TokenUsage::default() };
        let body = body.to_string();
        Likely::of(Operation::Task(task), text, &scan(body.as_bytes()).expect("JSON"), body.as_bytes())
    }

    const fn each(nanos: i64) -> Price {
        Price::per_million(nanos * 1_000_000)
    }

    #[test]
    fn each_task_is_reckoned_by_what_it_is_billed_by() {
        let documents = vec!["a cat"; 101];
        let units = |task, body: Value| likely(task, &body).units;
        assert_eq!(units(Task::Rerank, json!({"query": "q", "documents": documents})).searches, 2);
        assert_eq!(units(Task::ImageGeneration, json!({"prompt": "a cat", "n": 3})).images, 3);
        let said = units(Task::Speech, json!({"input": "fünfzehn Zeiche"}));
        assert_eq!((said.characters, said.audio_ms), (15, 1_000));
        assert_eq!(units(Task::Moderation, json!({"input": "Hi"})), UnitUsage::default());
    }

    #[test]
    fn a_picture_by_the_token_and_one_by_the_piece_can_be_compared() {
        let asked = likely(Task::ImageGeneration, &json!({"prompt": "a cat", "size": "1024x1792"}));
        let by_token = Rates { output: Price::per_million(40_000_000_000), ..Rates::default() };
        assert_eq!(asked.cost(&by_token, &[], &[]).as_nanos(), 1_056 * 40_000);
        let units = UnitRates { image: Some(each(40_000_000)), ..UnitRates::default() };
        let by_piece = Rates { units, ..Rates::default() };
        assert_eq!(asked.cost(&by_piece, &[], &[]).as_nanos(), 40_000_000);
        let tall = ImageRate { kind: ImageKind::of(Some("1024x1792"), None), each: each(80_000_000) };
        assert_eq!(asked.cost(&by_piece, &[], std::slice::from_ref(&tall)).as_nanos(), 80_000_000);
        let open = likely(Task::ImageGeneration, &json!({"prompt": "a cat"}));
        assert_eq!(open.cost(&Rates::default(), &[], &[tall]).as_nanos(), 80_000_000, "the dearest of its kinds");
    }
}
