//! A dated price of one model.

use crate::image::ImageRate;
use crate::{OrganizationId, Price, PriceId, Timestamp};

/// Prices of what is counted beside tokens. A kind without a price costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct UnitRates {
    /// A picture made of whose kind no [`ImageRate`] is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Price>,
    /// A second of sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_second: Option<Price>,
    /// A character spoken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub character: Option<Price>,
    /// A search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<Price>,
    /// A page read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<Price>,
}

impl UnitRates {
    /// Says whether nothing has a price.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Prices of tokens that are sound or pictures. A kind without its own price costs what text of its kind does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct ModalRates {
    /// Sound as input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_input: Option<Price>,
    /// Sound as input, read from a cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_audio_input: Option<Price>,
    /// Sound as output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_output: Option<Price>,
    /// Pictures as input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_input: Option<Price>,
    /// Pictures as input, read from a cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_image_input: Option<Price>,
    /// Pictures as output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_output: Option<Price>,
}

impl ModalRates {
    /// Says whether nothing has a price of its own.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Prices by kind of token. A kind without its own price costs what `input` (for reads and writes) or `output` (for reasoning) costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Rates {
    /// Input at the full price.
    pub input: Price,
    /// Input read from a cache.
    pub cached_input: Option<Price>,
    /// Input written to a cache of five minutes.
    pub cache_write_5m: Option<Price>,
    /// Input written to a cache of one hour.
    pub cache_write_1h: Option<Price>,
    /// Output.
    pub output: Price,
    /// The reasoning part of output.
    pub reasoning: Option<Price>,
    /// What is counted beside tokens.
    #[serde(default, skip_serializing_if = "UnitRates::is_empty")]
    pub units: UnitRates,
    /// Sound and pictures.
    #[serde(default, skip_serializing_if = "ModalRates::is_empty")]
    pub modal: ModalRates,
}

/// Rates that hold for a whole call once its total input exceeds a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LongContextRates {
    /// The bound, in tokens of total input.
    pub above_input_tokens: u64,
    /// What holds above it.
    pub rates: Rates,
}

/// A tier of service with rates of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceTier {
    /// Answered within a day.
    Batch,
    /// Answered when there is room.
    Flex,
    /// Answered before others.
    Priority,
}

impl ServiceTier {
    /// Finds the tier that a vendor's word in an answer means; `None` for the usual one.
    #[must_use]
    pub fn find(word: &str) -> Option<Self> {
        match word {
            "batch" => Some(Self::Batch),
            "flex" => Some(Self::Flex),
            "priority" => Some(Self::Priority),
            _ => None,
        }
    }
}

/// What a tier costs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TierRates {
    /// The tier.
    pub tier: ServiceTier,
    /// Its rates.
    pub rates: Rates,
    /// Its rates for long contexts, ascending by bound; without any, [`TierRates::rates`] hold for contexts of any length.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub long_context: Vec<LongContextRates>,
}

/// Where a price comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriceSource {
    /// The catalog that ships with Headgate.
    Catalog,
    /// Set by the organization.
    Own,
}

/// A price version: holds from `effective_at` until the next version of the same model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceVersion {
    /// Its id; usage events name it.
    pub id: PriceId,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// The provider's name.
    pub provider: String,
    /// The model as the upstream names it.
    pub upstream_model: String,
    /// From when it holds.
    pub effective_at: Timestamp,
    /// Where it comes from; `Own` wins over `Catalog`.
    pub source: PriceSource,
    /// The rates.
    pub rates: Rates,
    /// Rates for long contexts, ascending by bound.
    pub long_context: Vec<LongContextRates>,
    /// Rates of other tiers of service.
    pub tiers: Vec<TierRates>,
    /// What pictures of a kind cost.
    pub images: Vec<ImageRate>,
    /// When it was entered.
    pub created_at: Timestamp,
}
