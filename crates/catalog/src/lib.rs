//! The models we know: limits, abilities and dated prices. Data lives in `models/*.json`, one file per provider.
//!
//! A catalog states public facts with their source and date; it never decides whether a model may be used (an unknown model
//! works, without a price). Invariant: every file parses, names are unique within a provider, and prices of a model ascend by
//! date (`tests`).

pub mod pricing;

use std::sync::LazyLock;

use domain::image::{ImageKind, ImageRate};
use domain::price::{LongContextRates, ModalRates, Rates, ServiceTier, TierRates, UnitRates};
use domain::{NanoUsd, Price, Timestamp};

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// Chat and completion.
    Chat,
    /// Text into vectors.
    Embedding,
    /// Documents by how well they answer a query.
    Rerank,
    /// Whether content is fit.
    Moderation,
    /// Pictures.
    Image,
    /// Text into speech.
    Speech,
    /// Speech into text.
    Transcription,
    /// Sessions in which both sides speak.
    Realtime,
}

/// What a model can do beyond plain text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// Calls tools.
    Tools,
    /// Obeys a JSON schema natively.
    JsonSchema,
    /// Thinks before it answers.
    Reasoning,
    /// Decides itself how much to think (Anthropic's `adaptive` with an effort).
    AdaptiveThinking,
    /// Bills repeated prompts at the cached rate.
    PromptCache,
    /// Takes `temperature`, `top_p` and their like.
    Sampling,
}

/// What goes in or comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Modality {
    /// Text.
    Text,
    /// Images.
    Image,
    /// Documents such as PDF.
    Document,
    /// Sound.
    Audio,
    /// Moving pictures.
    Video,
    /// Vectors.
    Vector,
}

/// One model of one provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The provider's name.
    pub provider: String,
    /// The name the upstream knows it by.
    pub name: String,
    /// Other names of the same model at the same price: dated snapshots.
    pub aliases: Vec<String>,
    /// What it is for.
    pub kind: ModelKind,
    /// Tokens that prompt and answer may have together.
    pub context_tokens: u64,
    /// Tokens an answer may have; `None` when the vendor states none.
    pub max_output_tokens: Option<u64>,
    /// What it can do.
    pub capabilities: Vec<Capability>,
    /// What it reads.
    pub input: Vec<Modality>,
    /// What it writes.
    pub output: Vec<Modality>,
    /// Length of its vectors.
    pub dimensions: Option<u32>,
    /// When the vendor switches it off.
    pub retires_at: Option<Timestamp>,
    /// Its prices, ascending by date.
    pub prices: Vec<CatalogPrice>,
    /// Where the prices were read.
    pub prices_source: String,
    /// The day prices and limits were last checked.
    pub checked_at: Timestamp,
}

/// A price as the vendor published it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogPrice {
    /// From when it holds; the epoch for the first price of a model.
    pub effective_at: Timestamp,
    /// The rates.
    pub rates: Rates,
    /// Rates for long contexts, ascending by bound.
    pub long_context: Vec<LongContextRates>,
    /// Rates of other tiers of service.
    pub tiers: Vec<TierRates>,
    /// What pictures of a kind cost.
    pub images: Vec<ImageRate>,
}

impl CatalogPrice {
    /// Returns the rates of a tier, when the vendor publishes any.
    #[must_use]
    pub fn tier(&self, tier: ServiceTier) -> Option<&Rates> {
        self.tiers.iter().find(|known| known.tier == tier).map(|known| &known.rates)
    }
}

impl Model {
    /// Says whether the model has an ability.
    #[must_use]
    pub fn can(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }

    /// Returns the price that holds at an instant.
    #[must_use]
    pub fn price_at(&self, at: Timestamp) -> Option<&CatalogPrice> {
        self.prices.iter().rev().find(|price| price.effective_at <= at)
    }

    /// Says whether the vendor has switched it off by an instant.
    #[must_use]
    pub fn is_retired_at(&self, at: Timestamp) -> bool {
        self.retires_at.is_some_and(|retires_at| retires_at <= at)
    }
}

/// Returns all models, by provider and name.
#[must_use]
pub fn all() -> &'static [Model] {
    &MODELS
}

/// Finds a model of a provider by its name or one of its dated names.
#[must_use]
pub fn find(provider: &str, name: &str) -> Option<&'static Model> {
    MODELS.iter().find(|model| {
        model.provider == provider && (model.name == name || model.aliases.iter().any(|alias| alias == name))
    })
}

static MODELS: LazyLock<Vec<Model>> = LazyLock::new(|| {
    // A file that does not parse is a build mistake that `tests::every_file_parses` catches; here it means no models.
    let mut models: Vec<Model> = FILES.iter().flat_map(|text| read(text).unwrap_or_default()).collect();
    models.sort_by(|a, b| (&a.provider, &a.name).cmp(&(&b.provider, &b.name)));
    models
});

const FILES: [&str; 24] = [
    include_str!("../models/anthropic.json"),
    include_str!("../models/azure_openai.json"),
    include_str!("../models/bedrock.json"),
    include_str!("../models/cerebras.json"),
    include_str!("../models/cloudflare.json"),
    include_str!("../models/cohere.json"),
    include_str!("../models/databricks.json"),
    include_str!("../models/deepgram.json"),
    include_str!("../models/deepinfra.json"),
    include_str!("../models/deepseek.json"),
    include_str!("../models/echo.json"),
    include_str!("../models/elevenlabs.json"),
    include_str!("../models/fireworks.json"),
    include_str!("../models/gemini.json"),
    include_str!("../models/groq.json"),
    include_str!("../models/huggingface.json"),
    include_str!("../models/mistral.json"),
    include_str!("../models/nebius.json"),
    include_str!("../models/openai.json"),
    include_str!("../models/openrouter.json"),
    include_str!("../models/perplexity.json"),
    include_str!("../models/together.json"),
    include_str!("../models/vertex.json"),
    include_str!("../models/xai.json"),
];

// === The files ===

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    provider: String,
    prices_source: String,
    #[serde(rename = "limits_source")]
    _limits_source: String,
    checked_on: String,
    models: Vec<Entry>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    aliases: Vec<String>,
    kind: ModelKind,
    context_tokens: u64,
    max_output_tokens: Option<u64>,
    #[serde(default)]
    capabilities: Vec<Capability>,
    input: Vec<Modality>,
    output: Vec<Modality>,
    dimensions: Option<u32>,
    retires_on: Option<String>,
    prices: Vec<PriceEntry>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceEntry {
    effective_on: Option<String>,
    rates: RatesEntry,
    #[serde(default)]
    long_context: Vec<LongContextEntry>,
    #[serde(default)]
    tiers: Vec<TierEntry>,
    #[serde(default)]
    images: Vec<ImageEntry>,
}

/// Dollars per picture, as text.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageEntry {
    size: Option<String>,
    quality: Option<String>,
    usd: NanoUsd,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct TierEntry {
    tier: ServiceTier,
    rates: RatesEntry,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct LongContextEntry {
    above_input_tokens: u64,
    rates: RatesEntry,
}

/// Dollars per unit, as text.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct UnitRatesEntry {
    image: Option<NanoUsd>,
    audio_second: Option<NanoUsd>,
    character: Option<NanoUsd>,
    search: Option<NanoUsd>,
    page: Option<NanoUsd>,
}

/// Nano-dollars per million tokens. Embedding models have no output.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RatesEntry {
    #[serde(default)]
    input: Price,
    cached_input: Option<Price>,
    cache_write_5m: Option<Price>,
    cache_write_1h: Option<Price>,
    #[serde(default)]
    output: Price,
    reasoning: Option<Price>,
    #[serde(default)]
    units: UnitRatesEntry,
    #[serde(default)]
    modal: ModalRates,
}

fn each(dollars: NanoUsd) -> Price {
    Price::per_million(dollars.as_nanos().saturating_mul(1_000_000))
}

impl RatesEntry {
    fn rates(&self) -> Rates {
        let unit = |dollars: Option<NanoUsd>| dollars.map(each);
        Rates {
            input: self.input,
            cached_input: self.cached_input,
            cache_write_5m: self.cache_write_5m,
            cache_write_1h: self.cache_write_1h,
            output: self.output,
            reasoning: self.reasoning,
            units: UnitRates {
                image: unit(self.units.image),
                audio_second: unit(self.units.audio_second),
                character: unit(self.units.character),
                search: unit(self.units.search),
                page: unit(self.units.page),
            },
            modal: self.modal,
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum CatalogError {
    #[error("not the JSON of a catalog")]
    Json(#[from] serde_json::Error),
    #[error("not a date: {0}")]
    Date(String),
}

fn read(text: &str) -> Result<Vec<Model>, CatalogError> {
    let file: File = serde_json::from_str(text)?;
    let checked_at = day(&file.checked_on)?;
    let model = |entry: Entry| {
        Ok(Model {
            provider: file.provider.clone(),
            name: entry.name,
            aliases: entry.aliases,
            kind: entry.kind,
            context_tokens: entry.context_tokens,
            max_output_tokens: entry.max_output_tokens,
            capabilities: entry.capabilities,
            input: entry.input,
            output: entry.output,
            dimensions: entry.dimensions,
            retires_at: entry.retires_on.as_deref().map(day).transpose()?,
            prices: entry.prices.iter().map(price).collect::<Result<_, _>>()?,
            prices_source: file.prices_source.clone(),
            checked_at,
        })
    };
    file.models.into_iter().map(model).collect()
}

fn price(entry: &PriceEntry) -> Result<CatalogPrice, CatalogError> {
    let long_context = entry
        .long_context
        .iter()
        .map(|tier| LongContextRates { above_input_tokens: tier.above_input_tokens, rates: tier.rates.rates() })
        .collect();
    let tiers = entry.tiers.iter().map(|tier| TierRates { tier: tier.tier, rates: tier.rates.rates() }).collect();
    let effective_at = entry.effective_on.as_deref().map(day).transpose()?.unwrap_or_default();
    let image = |it: &ImageEntry| ImageRate {
        kind: ImageKind::of(it.size.as_deref(), it.quality.as_deref()),
        each: each(it.usd),
    };
    let images = entry.images.iter().map(image).collect();
    Ok(CatalogPrice { effective_at, rates: entry.rates.rates(), long_context, tiers, images })
}

fn day(text: &str) -> Result<Timestamp, CatalogError> {
    format!("{text}T00:00:00Z").parse().map_err(|_| CatalogError::Date(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use domain::usage::TokenUsage;

    use super::*;
    use crate::pricing::cost;

    fn at(day_text: &str) -> Timestamp {
        day(day_text).unwrap()
    }

    #[test]
    fn every_file_parses() {
        for text in FILES {
            assert!(!read(text).unwrap().is_empty());
        }
        assert!(all().len() > 40);
    }

    #[test]
    fn names_are_unique_and_prices_ascend() {
        let mut names: Vec<(&str, &str)> = Vec::new();
        for model in all() {
            names.push((&model.provider, &model.name));
            names.extend(model.aliases.iter().map(|alias| (model.provider.as_str(), alias.as_str())));
            assert!(!model.prices.is_empty(), "{}", model.name);
            assert!(model.prices.is_sorted_by(|a, b| a.effective_at < b.effective_at), "{}", model.name);
            assert_eq!(model.prices[0].effective_at, Timestamp::default(), "{}", model.name);
            assert!(model.max_output_tokens.unwrap_or(0) <= model.context_tokens, "{}", model.name);
            for price in &model.prices {
                assert!(price.long_context.is_sorted_by(|a, b| a.above_input_tokens < b.above_input_tokens));
                let is_dearer = |tier: &LongContextRates| tier.rates.input >= price.rates.input;
                assert!(price.long_context.iter().all(is_dearer), "{}", model.name);
                for (at, rate) in price.images.iter().enumerate() {
                    assert!(!rate.kind.is_empty(), "{}", model.name);
                    assert!(price.images[..at].iter().all(|earlier| earlier.kind != rate.kind), "{}", model.name);
                }
                for tier in &price.tiers {
                    let is_dearer = tier.rates.input >= price.rates.input;
                    let is_cheaper = tier.rates.input <= price.rates.input;
                    let is_sound = if tier.tier == ServiceTier::Priority { is_dearer } else { is_cheaper };
                    assert!(is_sound, "{} {:?}", model.name, tier.tier);
                }
            }
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn prices_agree_with_a_second_source() {
        let mut n_compared = 0;
        for line in include_str!("../fixtures/pricing/second_source.csv").lines().skip(2) {
            let [provider, name, kind, dollars] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let model = find(provider, name).unwrap_or_else(|| panic!("{line}"));
            let rates = model.prices.last().unwrap().rates;
            let ours = match kind {
                "input" => Some(rates.input),
                "cached_input" => rates.cached_input,
                "cache_write_5m" => rates.cache_write_5m,
                "cache_write_1h" => rates.cache_write_1h,
                "output" => Some(rates.output),
                _ => panic!("{line}"),
            };
            let theirs = dollars.parse::<domain::NanoUsd>().unwrap().as_nanos();
            assert_eq!(ours, Some(Price::per_million(theirs)), "{line}");
            n_compared += 1;
        }
        assert!(n_compared > 100);
    }

    #[test]
    fn every_difference_to_an_independent_table_is_explained() {
        let explained = include_str!("../fixtures/pricing/differences.csv").lines().skip(2).map(|line| {
            let [provider, name, kind, ours, theirs, why] = line.splitn(6, ',').collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            assert!(!why.is_empty(), "{line}");
            ((provider, name, kind), (ours, theirs))
        });
        let mut explained: std::collections::HashMap<_, _> = explained.collect();
        let mut n_equal = 0;
        for line in include_str!("../fixtures/pricing/genai_prices.csv").lines().skip(2) {
            let [provider, name, kind, theirs] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let model = find(provider, name).unwrap_or_else(|| panic!("{line}"));
            let rates = model.price_at(at("2026-11-22")).unwrap().rates;
            let ours = match kind {
                "input" => Some(rates.input),
                "cached_input" => rates.cached_input,
                "cache_write_5m" => rates.cache_write_5m,
                "cache_write_1h" => rates.cache_write_1h,
                "output" => Some(rates.output),
                "audio_input" => rates.modal.audio_input,
                "image_output" => rates.modal.image_output,
                "cached_audio_input" => rates.modal.cached_audio_input,
                "audio_output" => rates.modal.audio_output,
                "image_input" => rates.modal.image_input,
                "cached_image_input" => rates.modal.cached_image_input,
                _ => panic!("{line}"),
            };
            let dollars = |text: &str| Price::per_million(text.parse::<domain::NanoUsd>().unwrap().as_nanos());
            if ours == Some(dollars(theirs)) {
                n_equal += 1;
                continue;
            }
            let (known, said) =
                explained.remove(&(provider, name, kind)).unwrap_or_else(|| panic!("not explained: {line}"));
            assert_eq!((ours, said), (Some(known).filter(|text| !text.is_empty()).map(dollars), theirs), "{line}");
        }
        assert!(n_equal > 1_000 && explained.is_empty(), "no longer a difference: {explained:?}");
    }

    #[test]
    fn a_price_holds_from_its_day() {
        let o3 = find("openai", "o3").unwrap();
        let usage = TokenUsage { input: 1_000_000, output: 1_000_000, ..TokenUsage::default() };
        let dollars = |day_text| {
            let price = o3.price_at(at(day_text)).unwrap();
            cost(usage, &price.rates, &price.long_context).total().to_string()
        };
        assert_eq!((dollars("2025-06-09"), dollars("2025-06-10")), ("50".to_owned(), "10".to_owned()));
    }

    #[test]
    fn tiers_of_service_have_their_rates() {
        let price = find("anthropic", "claude-haiku-4-5").unwrap().price_at(at("2026-11-22")).unwrap();
        let batch = price.tier(ServiceTier::Batch).unwrap();
        assert_eq!((batch.input, batch.output), (Price::per_million(500_000_000), Price::per_million(2_500_000_000)));
        assert_eq!(price.tier(ServiceTier::Flex), None);
    }

    #[test]
    fn pictures_cost_by_size_and_quality() {
        let price = find("azure_openai", "dall-e-3").unwrap().price_at(at("2026-11-22")).unwrap();
        let cents = |size, quality| {
            let rate = domain::image::find_rate(&price.images, &ImageKind::of(size, quality));
            rate.or(price.rates.units.image).map(|each| each.nano_usd_per_million / 1_000_000 / 1_000_000)
        };
        assert_eq!(cents(None, None), Some(44));
        assert_eq!(cents(Some("1024x1792"), None), Some(88));
        assert_eq!(cents(Some("1024x1024"), Some("hd")), Some(88));
        assert_eq!(cents(Some("1792x1024"), Some("hd")), Some(132));
    }

    #[test]
    fn dated_names_find_their_model() {
        assert_eq!(find("openai", "gpt-4o-mini-2024-07-18").unwrap().name, "gpt-4o-mini");
        assert_eq!(find("anthropic", "claude-haiku-4-5-20251001").unwrap().name, "claude-haiku-4-5");
        // The first snapshot of gpt-4o costs twice as much, so it is no alias.
        assert!(find("openai", "gpt-4o-2024-05-13").is_none());
        assert!(find("anthropic", "gpt-4o").is_none());
    }

    #[test]
    fn the_built_in_provider_has_a_price() {
        let echo = find("echo", "echo-1").unwrap();
        assert!(echo.can(Capability::Tools) && echo.can(Capability::JsonSchema));
        assert_eq!(find("echo", "echo-embed").unwrap().dimensions, Some(256));
    }
}
