//! Prices as the API shows them: dollars per million tokens, and dollars per unit.

use domain::image::{ImageKind, ImageRate};
use domain::price::{LongContextRates, PriceVersion, Rates, TierRates, UnitRates};
use domain::{NanoUsd, Price};

use super::{ImageRateView, LongContextRatesView, PriceView, RatesView, TierRatesView, UnitRatesView};

impl From<PriceVersion> for PriceView {
    fn from(price: PriceVersion) -> Self {
        Self {
            id: Some(price.id),
            provider: price.provider,
            upstream_model: price.upstream_model,
            effective_at: price.effective_at,
            source: price.source,
            usd_per_million_tokens: (&price.rates).into(),
            usd_per_unit: (&price.rates.units).into(),
            long_context: price.long_context.iter().map(Into::into).collect(),
            tiers: price.tiers.iter().map(Into::into).collect(),
            images: price.images.iter().map(Into::into).collect(),
        }
    }
}

impl From<&Rates> for RatesView {
    fn from(rates: &Rates) -> Self {
        Self {
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
}

impl From<&UnitRates> for UnitRatesView {
    fn from(rates: &UnitRates) -> Self {
        Self {
            image: rates.image.map(each),
            audio_second: rates.audio_second.map(each),
            character: rates.character.map(each),
            search: rates.search.map(each),
            page: rates.page.map(each),
        }
    }
}

impl From<&LongContextRates> for LongContextRatesView {
    fn from(long: &LongContextRates) -> Self {
        Self { above_input_tokens: long.above_input_tokens, usd_per_million_tokens: (&long.rates).into() }
    }
}

impl From<&TierRates> for TierRatesView {
    fn from(tier: &TierRates) -> Self {
        let long_context = tier.long_context.iter().map(Into::into).collect();
        Self { tier: tier.tier, usd_per_million_tokens: (&tier.rates).into(), long_context }
    }
}

impl From<&ImageRate> for ImageRateView {
    fn from(rate: &ImageRate) -> Self {
        let ImageKind { size, quality } = rate.kind.clone();
        Self { size, quality, usd: each(rate.each) }
    }
}

const fn dollars(price: Price) -> NanoUsd {
    NanoUsd::from_nanos(price.nano_usd_per_million)
}

const fn each(price: Price) -> NanoUsd {
    NanoUsd::from_nanos(price.nano_usd_per_million / 1_000_000)
}
