//! A dated price of one model.

use crate::{OrganizationId, Price, PriceId, Timestamp};

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
}

/// Rates that hold for a whole call once its total input exceeds a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LongContextRates {
    /// The bound, in tokens of total input.
    pub above_input_tokens: u64,
    /// What holds above it.
    pub rates: Rates,
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
    /// When it was entered.
    pub created_at: Timestamp,
}
