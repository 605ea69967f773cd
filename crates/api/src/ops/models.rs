//! What can be used and what it costs: providers, the model catalog, and prices.

mod price_view;

use domain::model::{Capability, Modality, ModelKind, Quantization};
use domain::price::{PriceSource, ServiceTier};
use domain::{ModelId, NanoUsd, OrganizationId, Permission, PriceId, Timestamp};

use super::OrganizationPath;
use crate::operation::{Access, Empty, NoQuery, operations, shapes};

operations! {
    /// Lists the providers Headgate can speak to.
    ListProviders: Get "/organizations/{organization_id}/providers" as "providers.list"
        needs Access::Organization(Permission::OrganizationRead), path OrganizationPath, query NoQuery, body Empty, gives 200 domain::Page<ProviderView>;

    /// Lists the catalog of models with the prices that hold now.
    ListModels: Get "/organizations/{organization_id}/models" as "models.list"
        needs Access::Organization(Permission::PricesRead), path OrganizationPath, query ModelQuery, body Empty, gives 200 domain::Page<ModelView>;

    /// Describes a model: one that the catalog lacks, or one of the catalog as the organization has it.
    AddModel: Post "/organizations/{organization_id}/models" as "models.add"
        needs Access::Organization(Permission::ModelsManage), path OrganizationPath, query NoQuery, body NewModel, gives 201 ModelView;

    /// Describes an own model anew.
    UpdateModel: Patch "/organizations/{organization_id}/models/{model_id}" as "models.update"
        needs Access::Organization(Permission::ModelsManage), path ModelPath, query NoQuery, body ModelChange, gives 200 ModelView;

    /// Forgets the description of a model; what the catalog has of it holds again.
    RemoveModel: Delete "/organizations/{organization_id}/models/{model_id}" as "models.remove"
        needs Access::Organization(Permission::ModelsManage), path ModelPath, query NoQuery, body Empty, gives 204 Empty;

    /// Lists the organization's price book: every dated price of its models, newest first.
    ListPrices: Get "/organizations/{organization_id}/prices" as "prices.list"
        needs Access::Organization(Permission::PricesRead), path OrganizationPath, query PriceQuery, body Empty, gives 200 domain::Page<PriceView>;

    /// Sets an own price of a model from a date on; earlier calls keep the price they were made at.
    SetPrice: Post "/organizations/{organization_id}/prices" as "prices.set"
        needs Access::Organization(Permission::PricesManage), path OrganizationPath, query NoQuery, body NewPrice, gives 201 PriceView;
}

shapes! {
    /// A model that an organization describes.
    #[derive(Copy, Eq)]
    pub struct ModelPath {
        /// The organization.
        pub organization_id: OrganizationId,
        /// The model.
        pub model_id: ModelId,
    }

    /// A page of models.
    #[derive(Eq, Default)]
    pub struct ModelQuery {
        /// Only this provider's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub provider: Option<String>,
        /// Only those that the organization describes itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub own: Option<bool>,
        /// Only names that contain this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub search: Option<String>,
        /// How many rows; 1–200, 50 unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub limit: Option<u16>,
        /// The `next_cursor` of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub cursor: Option<domain::page::Cursor>,
    }

    /// A page of prices.
    #[derive(Eq, Default)]
    pub struct PriceQuery {
        /// Only this provider's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub provider: Option<String>,
        /// Only this model's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub upstream_model: Option<String>,
        /// Only this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub price_id: Option<domain::PriceId>,
        /// How many rows; 1–200, 50 unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub limit: Option<u16>,
        /// The `next_cursor` of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub cursor: Option<domain::page::Cursor>,
    }

    /// A provider.
    #[derive(Eq)]
    pub struct ProviderView {
        /// Its name.
        pub name: String,
        /// Its name for people.
        pub title: String,
        /// Its own address; absent when every credential must say.
        pub base_url: Option<String>,
        /// Whether it wants a secret.
        pub needs_secret: bool,
        /// Whether a deployment needs a credential at all.
        pub needs_credential: bool,
    }

    /// What is known of a model.
    #[derive(Eq, Default)]
    #[serde(deny_unknown_fields)]
    pub struct ModelFactsView {
        /// What it is for; `chat` unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub kind: Option<ModelKind>,
        /// The most tokens of input and output together.
        pub context_tokens: u64,
        /// The most tokens of output; absent: nobody states any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub max_output_tokens: Option<u64>,
        /// What it can do. What is not there is left out of requests, or said in another way. Absent for a chat model: `tools`,
        /// `json_schema` and `sampling`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub capabilities: Option<Vec<Capability>>,
        /// What it reads; `text` unless told, `audio` for transcriptions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub input: Option<Vec<Modality>>,
        /// What it writes; by its kind unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub output: Option<Vec<Modality>>,
        /// The length of its vectors.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub dimensions: Option<u32>,
        /// How its numbers are held where it is served; requests may ask for it (`provider.quantizations`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub quantization: Option<Quantization>,
    }

    /// A new description of a model.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct NewModel {
        /// The provider's name.
        pub provider: String,
        /// The model as the upstream names it.
        pub upstream_model: String,
        /// What it is.
        pub facts: ModelFactsView,
    }

    /// A description in place of the one that was seen.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct ModelChange {
        /// The version seen, unless `If-Match` is sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub version: Option<u64>,
        /// What it is, all of it; absent: as before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub facts: Option<ModelFactsView>,
    }

    /// Which description an organization gave.
    #[derive(Copy, Eq)]
    pub struct OwnModelView {
        /// Its id.
        pub id: ModelId,
        /// Counts changes; send it back with a change.
        pub version: u64,
        /// When it was last changed.
        pub updated_at: Timestamp,
    }

    /// A model of the catalog, or of the organization.
    #[derive(Eq)]
    pub struct ModelView {
        /// The provider's name.
        pub provider: String,
        /// The model as the upstream names it.
        pub upstream_model: String,
        /// Its name for people.
        pub title: String,
        /// The most tokens of input and output together, when known.
        pub context_tokens: Option<u64>,
        /// The most tokens of output, when known.
        pub max_output_tokens: Option<u64>,
        /// What it can do: `chat`, `embeddings`, `tools`, `json_schema`, `vision`, `reasoning`, `prompt_cache`, `rerank`,
        /// `moderations`, `images`, `speech`, `transcriptions`, `realtime`.
        pub capabilities: Vec<String>,
        /// What is known of it.
        pub facts: ModelFactsView,
        /// The organization's own description; absent: it is the catalog's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub own: Option<OwnModelView>,
        /// The price that holds now for this organization; absent when nobody stated one.
        pub price: Option<PriceView>,
    }

    /// Prices in dollars per million tokens.
    #[derive(Copy, Eq, Default)]
    pub struct RatesView {
        /// Input at the full price.
        pub input: NanoUsd,
        /// Input read from a cache; as `input` when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub cached_input: Option<NanoUsd>,
        /// Input written to a cache of five minutes; as `input` when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub cache_write_5m: Option<NanoUsd>,
        /// Input written to a cache of one hour; as `input` when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub cache_write_1h: Option<NanoUsd>,
        /// Output.
        pub output: NanoUsd,
        /// The reasoning part of output; as `output` when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub reasoning: Option<NanoUsd>,
        /// The part of input that is sound; as `input` when absent, like what follows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub audio_input: Option<NanoUsd>,
        /// The part of cached input that is sound.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub cached_audio_input: Option<NanoUsd>,
        /// The part of output that is sound.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub audio_output: Option<NanoUsd>,
        /// The part of input that is pictures.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub image_input: Option<NanoUsd>,
        /// The part of cached input that is pictures.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub cached_image_input: Option<NanoUsd>,
        /// The part of output that is pictures; as `output` when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub image_output: Option<NanoUsd>,
    }

    /// Rates that hold for a call whose input exceeds a bound.
    #[derive(Copy, Eq)]
    pub struct LongContextRatesView {
        /// The bound, in tokens of input.
        pub above_input_tokens: u64,
        /// What holds above it.
        pub usd_per_million_tokens: RatesView,
    }

    /// Prices in dollars per unit of what is counted beside tokens. What is absent costs nothing.
    #[derive(Copy, Eq, Default)]
    #[serde(deny_unknown_fields)]
    pub struct UnitRatesView {
        /// A picture made of whose kind no price of its own is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub image: Option<NanoUsd>,
        /// A second of sound.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub audio_second: Option<NanoUsd>,
        /// A character spoken.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub character: Option<NanoUsd>,
        /// A search.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub search: Option<NanoUsd>,
        /// A page read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub page: Option<NanoUsd>,
    }

    /// What a picture of a kind costs; what is absent of the kind holds for all.
    #[derive(Eq, Default)]
    #[serde(deny_unknown_fields)]
    pub struct ImageRateView {
        /// The size, such as `1024x1792`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub size: Option<String>,
        /// The quality, such as `hd`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub quality: Option<String>,
        /// The price of a picture, in dollars.
        pub usd: NanoUsd,
    }

    /// Rates of a tier of service, which the upstream names in its answer.
    #[derive(Eq)]
    pub struct TierRatesView {
        /// The tier.
        pub tier: ServiceTier,
        /// What holds in it.
        pub usd_per_million_tokens: RatesView,
        /// What holds in it for long contexts, ascending; without any, the above holds for contexts of any length.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub long_context: Vec<LongContextRatesView>,
    }

    /// A dated price.
    #[derive(Eq)]
    pub struct PriceView {
        /// Its id; usage events name it. Absent for a catalog price that is not in the price book because nothing uses it.
        pub id: Option<PriceId>,
        /// The provider's name.
        pub provider: String,
        /// The model as the upstream names it.
        pub upstream_model: String,
        /// From when it holds.
        pub effective_at: Timestamp,
        /// Where it comes from.
        pub source: PriceSource,
        /// The rates.
        pub usd_per_million_tokens: RatesView,
        /// What is counted beside tokens.
        #[serde(default)]
        pub usd_per_unit: UnitRatesView,
        /// Rates for long contexts, ascending.
        pub long_context: Vec<LongContextRatesView>,
        /// Rates of other tiers of service.
        #[serde(default)]
        pub tiers: Vec<TierRatesView>,
        /// What pictures of a kind cost; the nearest holds, and without one `usd_per_unit.image`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub images: Vec<ImageRateView>,
    }

    /// An own price.
    #[derive(Eq)]
    #[serde(deny_unknown_fields)]
    pub struct NewPrice {
        /// The provider's name.
        pub provider: String,
        /// The model as the upstream names it.
        pub upstream_model: String,
        /// From when it holds; absent for now. Never in the past.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub effective_at: Option<Timestamp>,
        /// The rates.
        pub usd_per_million_tokens: RatesView,
        /// What is counted beside tokens.
        #[serde(default)]
        pub usd_per_unit: UnitRatesView,
        /// Rates for long contexts, ascending.
        #[serde(default)]
        pub long_context: Vec<LongContextRatesView>,
        /// Rates of other tiers of service.
        #[serde(default)]
        pub tiers: Vec<TierRatesView>,
        /// What pictures of a kind cost; the nearest holds, and without one `usd_per_unit.image`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub images: Vec<ImageRateView>,
    }
}
