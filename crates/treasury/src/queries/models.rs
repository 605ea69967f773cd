//! What can be used and what it costs: providers, the catalog, the organization's price book.

use api::ops::models::{ListModels, ListPrices, ListProviders, ModelView, PriceView, ProviderView};
use domain::price::{PriceSource, PriceVersion};
use domain::{Page, Timestamp};
use provider::catalog::{Capability, Modality, Model, ModelKind};

use operation::call::{Call, Reply};
use operation::error::Outcome;

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
    std::future::ready(Ok(Reply::new(operation::page::whole(views.collect())))).await
}

/// Lists the catalog with the prices that hold now.
pub async fn models(call: Call<ListModels>) -> Outcome<Reply<Page<ModelView>>> {
    let (limit, now) = (operation::page::limit(call.query.limit)?, call.now());
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
    Ok(Reply::new(operation::page::slice(views, call.query.cursor.as_ref(), limit, key)?))
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
        Some(price) => Some(price.clone().into()),
        None => model.price_at(now).map(|price| PriceView {
            id: None,
            provider: model.provider.clone(),
            upstream_model: model.name.clone(),
            effective_at: price.effective_at,
            source: PriceSource::Catalog,
            usd_per_million_tokens: (&price.rates).into(),
            usd_per_unit: (&price.rates.units).into(),
            long_context: price.long_context.iter().map(Into::into).collect(),
            tiers: price.tiers.iter().map(Into::into).collect(),
            images: price.images.iter().map(Into::into).collect(),
        }),
    }
}

/// Lists the price book, newest first.
pub async fn prices(call: Call<ListPrices>) -> Outcome<Reply<Page<PriceView>>> {
    let limit = operation::page::limit(call.query.limit)?;
    let mut tx = call.read().await?;
    let only = call.query.price_id.map(|id| [id]);
    let mut book = store::prices::load(&mut tx, only.as_ref().map(<[_; 1]>::as_slice)).await?;
    let (provider, model) = (&call.query.provider, &call.query.upstream_model);
    book.retain(|price| {
        provider.as_ref().is_none_or(|wanted| *wanted == price.provider)
            && model.as_ref().is_none_or(|wanted| *wanted == price.upstream_model)
    });
    book.sort_by_key(|price| std::cmp::Reverse((price.effective_at, price.id)));
    let page = operation::page::slice(book, call.query.cursor.as_ref(), limit, |price| price.id.to_string())?;
    Ok(Reply::new(page.map(PriceView::from)))
}
