//! The models we know: limits, abilities and dated prices. Data lives in `models/*.json`, one file per provider.
//!
//! A catalog states public facts with their source and date; it never decides whether a model may be used (an unknown model
//! works, without a price). Invariant: every file parses, names are unique within a provider, and prices of a model ascend by
//! date (`tests`).

#![deny(missing_docs)]

pub mod fuzz;
pub mod pricing;

use std::collections::HashMap;
use std::sync::LazyLock;

use domain::image::{ImageKind, ImageRate};
use domain::price::{LongContextRates, ModalRates, Rates, ServiceTier, TierRates, UnitRates};
use domain::{NanoUsd, Price, Timestamp};

pub use domain::model::{Capability, Modality, ModelFacts, ModelKind};

/// One model of one provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The provider's name.
    pub provider: String,
    /// The name the upstream knows it by.
    pub name: String,
    /// Other names of the same model at the same price: dated snapshots.
    pub aliases: Vec<String>,
    /// What is known of it.
    pub facts: ModelFacts,
    /// When the vendor switches it off.
    pub retires_at: Option<Timestamp>,
    /// Its prices, ascending by date; empty where no source states one.
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
    INDEX.get(&(provider, name)).copied()
}

/// Every model by each of its names: a request looks one up.
static INDEX: LazyLock<HashMap<(&'static str, &'static str), &'static Model>> = LazyLock::new(|| {
    let models: &'static [Model] = &MODELS;
    let names =
        |model: &'static Model| std::iter::once(&model.name).chain(&model.aliases).map(move |name| (model, name));
    models.iter().flat_map(names).map(|(model, name)| ((model.provider.as_str(), name.as_str()), model)).collect()
});

static MODELS: LazyLock<Vec<Model>> = LazyLock::new(|| {
    // A file that does not parse is a build mistake that `tests::every_file_parses` catches; here it means no models.
    let mut models: Vec<Model> = FILES.iter().flat_map(|text| read(text).unwrap_or_default()).collect();
    models.sort_by(|a, b| (&a.provider, &a.name).cmp(&(&b.provider, &b.name)));
    models
});

const FILES: [&str; 29] = [
    include_str!("../models/anthropic.json"),
    include_str!("../models/azure_openai.json"),
    include_str!("../models/bedrock.json"),
    include_str!("../models/bedrock_mantle.json"),
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
    include_str!("../models/jina.json"),
    include_str!("../models/mistral.json"),
    include_str!("../models/nebius.json"),
    include_str!("../models/nvidia.json"),
    include_str!("../models/openai.json"),
    include_str!("../models/openrouter.json"),
    include_str!("../models/perplexity.json"),
    include_str!("../models/sambanova.json"),
    include_str!("../models/together.json"),
    include_str!("../models/vertex.json"),
    include_str!("../models/voyage.json"),
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
    #[serde(default)]
    long_context: Vec<LongContextEntry>,
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
            facts: ModelFacts {
                kind: entry.kind,
                context_tokens: entry.context_tokens,
                max_output_tokens: entry.max_output_tokens,
                capabilities: entry.capabilities,
                input: entry.input,
                output: entry.output,
                dimensions: entry.dimensions,
            },
            retires_at: entry.retires_on.as_deref().map(day).transpose()?,
            prices: entry.prices.iter().map(price).collect::<Result<_, _>>()?,
            prices_source: file.prices_source.clone(),
            checked_at,
        })
    };
    file.models.into_iter().map(model).collect()
}

fn price(entry: &PriceEntry) -> Result<CatalogPrice, CatalogError> {
    let long =
        |it: &LongContextEntry| LongContextRates { above_input_tokens: it.above_input_tokens, rates: it.rates.rates() };
    let long_context = entry.long_context.iter().map(long).collect();
    let tier = |it: &TierEntry| TierRates {
        tier: it.tier,
        rates: it.rates.rates(),
        long_context: it.long_context.iter().map(long).collect(),
    };
    let tiers = entry.tiers.iter().map(tier).collect();
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
mod tests;
