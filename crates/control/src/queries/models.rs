//! What can be used and what it costs: providers, the catalog, the organization's price book.

use api::ops::models::{
    ImageRateView, ListModels, ListPrices, ListProviders, LongContextRatesView, ModelView, PriceView, ProviderView,
    RatesView, TierRatesView, UnitRatesView,
};
use domain::image::{ImageKind, ImageRate};
use domain::price::{LongContextRates, PriceSource, PriceVersion, Rates, TierRates, UnitRates};
use domain::{NanoUsd, Page, Price, Timestamp};
use provider::catalog::{Capability, Modality, Model, ModelKind};

use crate::call::{Call, Reply};
use crate::error::Outcome;

/// Lists the providers Headgate can speak to.
pub async fn providers(call: Call<ListProviders>) -> Outcome<Reply<Page<ProviderView>>> {
    call.permit()?;
    let views = provider::ALL.iter().map(|provider| {
        let spec = provider.spec();
        ProviderView {
            name: spec.name.to_owned(),
            title: spec.title.to_owned(),
            base_url: spec.base_url.map(ToOwned::to_owned),
            needs_secret: spec.needs_credential && spec.base_url.is_some(),
            needs_credential: spec.needs_credential,
        }
    });
    std::future::ready(Ok(Reply::new(super::whole(views.collect())))).await
}

/// Lists the catalog with the prices that hold now.
pub async fn models(call: Call<ListModels>) -> Outcome<Reply<Page<ModelView>>> {
    let (limit, now) = (super::limit(call.query.limit)?, call.now());
    let mut tx = call.read().await?;
    let book = store::prices::load(&mut tx, None).await?;
    let search = call.query.search.as_deref().unwrap_or("").to_lowercase();
    let wanted = provider::catalog::all().iter().filter(|model| {
        call.query.provider.as_ref().is_none_or(|provider| *provider == model.provider)
            && model.name.to_lowercase().contains(&search)
            && !model.is_retired_at(now)
    });
    let views: Vec<_> = wanted.map(|model| model_view(model, &book, now)).collect();
    let key = |view: &ModelView| format!("{}/{}", view.provider, view.upstream_model);
    Ok(Reply::new(super::slice(views, call.query.cursor.as_ref(), limit, key)?))
}

fn model_view(model: &Model, book: &[PriceVersion], now: Timestamp) -> ModelView {
    let kind = match model.kind {
        ModelKind::Chat => "chat",
        ModelKind::Embedding => "embeddings",
        ModelKind::Rerank => "rerank",
        ModelKind::Moderation => "moderations",
        ModelKind::Image => "images",
        ModelKind::Speech => "speech",
        ModelKind::Transcription => "transcriptions",
        ModelKind::Realtime => "realtime",
    };
    let named = [
        (Capability::Tools, "tools"),
        (Capability::JsonSchema, "json_schema"),
        (Capability::Reasoning, "reasoning"),
        (Capability::PromptCache, "prompt_cache"),
    ];
    let mut capabilities = vec![kind.to_owned()];
    capabilities
        .extend(named.iter().filter(|(capability, _)| model.can(*capability)).map(|(_, name)| (*name).to_owned()));
    if model.input.contains(&Modality::Image) {
        capabilities.push("vision".to_owned());
    }
    ModelView {
        provider: model.provider.clone(),
        upstream_model: model.name.clone(),
        title: model.name.clone(),
        context_tokens: Some(model.context_tokens),
        max_output_tokens: model.max_output_tokens,
        capabilities,
        price: price_now(model, book, now),
    }
}

/// Returns the price that holds now: the newest own one, else the newest of the catalog.
fn price_now(model: &Model, book: &[PriceVersion], now: Timestamp) -> Option<PriceView> {
    let own = book
        .iter()
        .filter(|price| {
            price.provider == model.provider && price.upstream_model == model.name && price.effective_at <= now
        })
        .max_by_key(|price| (price.source == PriceSource::Own, price.effective_at));
    match own {
        Some(price) => Some(price_view(price.clone())),
        None => model.price_at(now).map(|price| PriceView {
            id: None,
            provider: model.provider.clone(),
            upstream_model: model.name.clone(),
            effective_at: price.effective_at,
            source: PriceSource::Catalog,
            usd_per_million_tokens: rates_view(&price.rates),
            usd_per_unit: unit_rates_view(&price.rates.units),
            long_context: price.long_context.iter().map(long_view).collect(),
            tiers: price.tiers.iter().map(tier_view).collect(),
            images: price.images.iter().map(image_view).collect(),
        }),
    }
}

/// Lists the price book, newest first.
pub async fn prices(call: Call<ListPrices>) -> Outcome<Reply<Page<PriceView>>> {
    let limit = super::limit(call.query.limit)?;
    let mut tx = call.read().await?;
    let only = call.query.price_id.map(|id| [id]);
    let mut book = store::prices::load(&mut tx, only.as_ref().map(<[_; 1]>::as_slice)).await?;
    let (provider, model) = (&call.query.provider, &call.query.upstream_model);
    book.retain(|price| {
        provider.as_ref().is_none_or(|wanted| *wanted == price.provider)
            && model.as_ref().is_none_or(|wanted| *wanted == price.upstream_model)
    });
    book.sort_by_key(|price| std::cmp::Reverse((price.effective_at, price.id)));
    let page = super::slice(book, call.query.cursor.as_ref(), limit, |price| price.id.to_string())?;
    Ok(Reply::new(page.map(price_view)))
}

pub(crate) fn price_view(price: PriceVersion) -> PriceView {
    PriceView {
        id: Some(price.id),
        provider: price.provider,
        upstream_model: price.upstream_model,
        effective_at: price.effective_at,
        source: price.source,
        usd_per_million_tokens: rates_view(&price.rates),
        usd_per_unit: unit_rates_view(&price.rates.units),
        long_context: price.long_context.iter().map(long_view).collect(),
        tiers: price.tiers.iter().map(tier_view).collect(),
        images: price.images.iter().map(image_view).collect(),
    }
}

fn image_view(it: &ImageRate) -> ImageRateView {
    let ImageKind { size, quality } = it.kind.clone();
    ImageRateView { size, quality, usd: NanoUsd::from_nanos(it.each.nano_usd_per_million / 1_000_000) }
}

fn tier_view(it: &TierRates) -> TierRatesView {
    TierRatesView { tier: it.tier, usd_per_million_tokens: rates_view(&it.rates) }
}

fn unit_rates_view(it: &UnitRates) -> UnitRatesView {
    let each = |price: Option<Price>| price.map(|price| NanoUsd::from_nanos(price.nano_usd_per_million / 1_000_000));
    UnitRatesView {
        image: each(it.image),
        audio_second: each(it.audio_second),
        character: each(it.character),
        search: each(it.search),
        page: each(it.page),
    }
}

const fn dollars(price: Price) -> NanoUsd {
    NanoUsd::from_nanos(price.nano_usd_per_million)
}

fn rates_view(rates: &Rates) -> RatesView {
    RatesView {
        input: dollars(rates.input),
        cached_input: rates.cached_input.map(dollars),
        cache_write_5m: rates.cache_write_5m.map(dollars),
        cache_write_1h: rates.cache_write_1h.map(dollars),
        output: dollars(rates.output),
        reasoning: rates.reasoning.map(dollars),
        audio_input: rates.modal.audio_input.map(dollars),
        cached_audio_input: rates.modal.cached_audio_input.map(dollars),
        audio_output: rates.modal.audio_output.map(dollars),
        image_input: rates.modal.image_input.map(dollars),
        cached_image_input: rates.modal.cached_image_input.map(dollars),
        image_output: rates.modal.image_output.map(dollars),
    }
}

fn long_view(long: &LongContextRates) -> LongContextRatesView {
    LongContextRatesView {
        above_input_tokens: long.above_input_tokens,
        usd_per_million_tokens: rates_view(&long.rates),
    }
}
