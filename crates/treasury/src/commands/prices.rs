//! Own prices: facts of their date, added and never changed.

use api::ops::models::{
    ImageRateView, LongContextRatesView, PriceView, RatesView, SetPrice, TierRatesView, UnitRatesView,
};
use domain::id::IdMint as _;
use domain::image::{ImageKind, ImageRate, parse_word};
use domain::price::{LongContextRates, ModalRates, PriceSource, PriceVersion, Rates, TierRates, UnitRates};
use domain::{NanoUsd, Price, PriceId};

use crate::commands::models::{provider, upstream_model};
use operation::call::{Call, Reply};
use operation::error::{Failure, Outcome};
use operation::trail::Subject;

/// The dearest price accepted: 100 000 dollars per million tokens.
const MAX_NANOS: i64 = 100_000_000_000_000;
/// Most kinds of pictures of one price.
const MAX_IMAGE_RATES: usize = 64;
/// The dearest unit accepted: 1 000 dollars.
const MAX_UNIT_NANOS: i64 = 1_000_000_000_000;

/// Sets an own price of a model from a date on.
pub async fn set_price(call: Call<SetPrice>) -> Outcome<Reply<PriceView>> {
    let now = call.now();
    let body = &call.body;
    let effective_at = body.effective_at.unwrap_or(now);
    if effective_at < now {
        return Err(Failure::unacceptable("/effective_at", "must not be in the past: what was billed stays as it was"));
    }
    let provider = provider(&body.provider)?.spec().name;
    let upstream_model = upstream_model(&body.upstream_model)?;
    let long_context = long_context_rates(&body.long_context, "")?;
    let tiers = body.tiers.iter().enumerate().map(|(at, view)| tier(view, at)).collect::<Outcome<Vec<_>>>()?;
    let units = unit_rates(&body.usd_per_unit)?;
    let images = image_rates(&body.images)?;
    let mut write = call.write().await?;
    let permit = write.permit();
    let price = PriceVersion {
        id: PriceId::from_uuid(call.cx.mint.next_uuid()),
        organization_id: permit.organization(),
        provider: provider.to_owned(),
        upstream_model,
        effective_at,
        source: PriceSource::Own,
        rates: Rates { units, ..rates(&body.usd_per_million_tokens, "")? },
        long_context,
        tiers,
        images,
        created_at: now,
    };
    if !store::prices::insert(&mut write, &permit, &price).await? {
        return Err(Failure::conflict("An own price of this model from this very moment exists already."));
    }
    let view = PriceView::from(price);
    let name = format!("{}/{}", view.provider, view.upstream_model);
    let id = view.id.map_or_else(String::new, |id| id.to_string());
    write.audit(Subject::new("price", id, name).created("price.set", &view));
    write.commit(view).await
}

fn tier(view: &TierRatesView, at: usize) -> Outcome<TierRates> {
    let pointer = format!("/tiers/{at}");
    let rates = rates(&view.usd_per_million_tokens, &pointer)?;
    Ok(TierRates { tier: view.tier, rates, long_context: long_context_rates(&view.long_context, &pointer)? })
}

fn long_context_rates(views: &[LongContextRatesView], place: &str) -> Outcome<Vec<LongContextRates>> {
    let mut read: Vec<LongContextRates> = Vec::with_capacity(views.len());
    for (at, long) in views.iter().enumerate() {
        let pointer = format!("{place}/long_context/{at}");
        if read.last().is_some_and(|last| last.above_input_tokens >= long.above_input_tokens) {
            return Err(Failure::unacceptable(&pointer, "bounds must ascend"));
        }
        let rates = rates(&long.usd_per_million_tokens, &pointer)?;
        read.push(LongContextRates { above_input_tokens: long.above_input_tokens, rates });
    }
    Ok(read)
}

fn image_rates(views: &[ImageRateView]) -> Outcome<Vec<ImageRate>> {
    if views.len() > MAX_IMAGE_RATES {
        return Err(Failure::unacceptable("/images", "use at most 64 kinds"));
    }
    let word = |pointer: String, text: &Option<String>| match text.as_deref() {
        None => Ok(None),
        Some(text) => match parse_word(text) {
            Some(word) => Ok(Some(word)),
            None => Err(Failure::unacceptable(&pointer, "use a word such as 1024x1792 or hd, of at most 24 letters")),
        },
    };
    let mut rates: Vec<ImageRate> = Vec::with_capacity(views.len());
    for (at, view) in views.iter().enumerate() {
        let pointer = format!("/images/{at}");
        let size = word(format!("{pointer}/size"), &view.size)?;
        let kind = ImageKind { size, quality: word(format!("{pointer}/quality"), &view.quality)? };
        if kind.is_empty() {
            return Err(Failure::unacceptable(&pointer, "give a size, a quality or both"));
        }
        if rates.iter().any(|known| known.kind == kind) {
            return Err(Failure::unacceptable(&pointer, "this kind has a price already"));
        }
        let nanos = view.usd.as_nanos();
        if !(0..=MAX_UNIT_NANOS).contains(&nanos) {
            return Err(Failure::unacceptable(&format!("{pointer}/usd"), "use 0 to 1000 dollars"));
        }
        rates.push(ImageRate { kind, each: Price::per_million(nanos * 1_000_000) });
    }
    Ok(rates)
}

pub(crate) fn unit_rates(view: &UnitRatesView) -> Outcome<UnitRates> {
    let read = |name: &str, amount: Option<NanoUsd>| match amount.map(NanoUsd::as_nanos) {
        None => Ok(None),
        Some(nanos @ 0..=MAX_UNIT_NANOS) => Ok(Some(Price::per_million(nanos * 1_000_000))),
        Some(_) => Err(Failure::unacceptable(&format!("/usd_per_unit/{name}"), "use 0 to 1000 dollars")),
    };
    Ok(UnitRates {
        image: read("image", view.image)?,
        audio_second: read("audio_second", view.audio_second)?,
        character: read("character", view.character)?,
        search: read("search", view.search)?,
        page: read("page", view.page)?,
    })
}

pub(crate) fn rates(view: &RatesView, pointer: &str) -> Outcome<Rates> {
    let read = |name: &str, amount: NanoUsd| {
        if (0..=MAX_NANOS).contains(&amount.as_nanos()) {
            return Ok(Price::per_million(amount.as_nanos()));
        }
        Err(Failure::unacceptable(&format!("{pointer}/usd_per_million_tokens/{name}"), "use 0 to 100000 dollars"))
    };
    let read_opt = |name: &str, amount: Option<NanoUsd>| amount.map(|amount| read(name, amount)).transpose();
    Ok(Rates {
        input: read("input", view.input)?,
        cached_input: read_opt("cached_input", view.cached_input)?,
        cache_write_5m: read_opt("cache_write_5m", view.cache_write_5m)?,
        cache_write_1h: read_opt("cache_write_1h", view.cache_write_1h)?,
        output: read("output", view.output)?,
        reasoning: read_opt("reasoning", view.reasoning)?,
        units: UnitRates::default(),
        modal: ModalRates {
            audio_input: read_opt("audio_input", view.audio_input)?,
            cached_audio_input: read_opt("cached_audio_input", view.cached_audio_input)?,
            audio_output: read_opt("audio_output", view.audio_output)?,
            image_input: read_opt("image_input", view.image_input)?,
            cached_image_input: read_opt("cached_image_input", view.cached_image_input)?,
            image_output: read_opt("image_output", view.image_output)?,
        },
    })
}
