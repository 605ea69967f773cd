//! What can be used and what it costs: providers, the catalog, the organization's price book.

use std::collections::HashSet;

use api::ops::models::{
    ListModels, ListPrices, ListProviders, ModelFactsView, ModelView, OwnModelView, PriceView, ProviderView,
};
use domain::model::{OwnModel, Quantization};
use domain::price::{PriceSource, PriceVersion};
use domain::{Page, Timestamp};
use provider::catalog::{Capability, Modality, Model, ModelFacts, ModelKind};

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
    let own = store::models::load(&mut tx, None).await?;
    let search = call.query.search.as_deref().unwrap_or("").to_lowercase();
    let is_asked = |provider: &str, name: &str| {
        call.query.provider.as_ref().is_none_or(|asked| asked == provider) && name.to_lowercase().contains(&search)
    };
    let described: HashSet<_> = own.iter().map(|it| (it.provider.as_str(), it.upstream_model.as_str())).collect();
    let of_catalog = provider::catalog::all().iter().filter(|model| {
        !call.query.own.unwrap_or(false)
            && is_asked(&model.provider, &model.name)
            && !model.is_retired_at(now)
            && !described.contains(&(model.provider.as_str(), model.name.as_str()))
    });
    let mut views: Vec<_> = of_catalog.map(|model| model_view(model, &book, now)).collect();
    if call.query.own != Some(false) {
        let asked = own.iter().filter(|model| is_asked(&model.provider, &model.upstream_model));
        views.extend(asked.map(|model| own_view(model, &book, now)));
    }
    views.sort_by(|a, b| (&a.provider, &a.upstream_model).cmp(&(&b.provider, &b.upstream_model)));
    let key = |view: &ModelView| format!("{}/{}", view.provider, view.upstream_model);
    Ok(Reply::new(operation::page::slice(views, call.query.cursor.as_ref(), limit, key)?))
}

fn model_view(model: &Model, book: &[PriceVersion], now: Timestamp) -> ModelView {
    let price = price_now((&model.provider, &model.name), book, now);
    ModelView {
        provider: model.provider.clone(),
        upstream_model: model.name.clone(),
        title: model.name.clone(),
        context_tokens: Some(model.facts.context_tokens),
        max_output_tokens: model.facts.max_output_tokens,
        capabilities: capabilities(&model.facts),
        facts: facts_view(&model.facts, None),
        own: None,
        price: price.or_else(|| catalog_price(model, now)),
    }
}

/// Shows a model as the organization describes it. A model of the catalog has its price there.
pub(crate) fn own_view(model: &OwnModel, book: &[PriceVersion], now: Timestamp) -> ModelView {
    let (provider, name) = (model.provider.as_str(), model.upstream_model.as_str());
    let of_catalog = || catalog_price(provider::catalog::find(provider, name)?, now);
    ModelView {
        provider: provider.to_owned(),
        upstream_model: name.to_owned(),
        title: name.to_owned(),
        context_tokens: Some(model.facts.context_tokens),
        max_output_tokens: model.facts.max_output_tokens,
        capabilities: capabilities(&model.facts),
        facts: facts_view(&model.facts, model.quantization),
        own: Some(OwnModelView { id: model.id, version: model.version, updated_at: model.updated_at }),
        price: price_now((provider, name), book, now).or_else(of_catalog),
    }
}

fn facts_view(facts: &ModelFacts, quantization: Option<Quantization>) -> ModelFactsView {
    ModelFactsView {
        kind: Some(facts.kind),
        context_tokens: facts.context_tokens,
        max_output_tokens: facts.max_output_tokens,
        capabilities: Some(facts.capabilities.clone()),
        input: Some(facts.input.clone()),
        output: Some(facts.output.clone()),
        dimensions: facts.dimensions,
        quantization,
    }
}

/// What it can do, in one list of words.
fn capabilities(model: &ModelFacts) -> Vec<String> {
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
    let named = [Capability::Tools, Capability::JsonSchema, Capability::Reasoning, Capability::PromptCache];
    let mut words = vec![kind.to_owned()];
    words.extend(named.iter().filter(|it| model.can(**it)).map(ToString::to_string));
    if model.input.contains(&Modality::Image) {
        words.push("vision".to_owned());
    }
    words
}

/// Returns the price of the book that holds now: the newest own one, else the newest of the catalog.
fn price_now((provider, name): (&str, &str), book: &[PriceVersion], now: Timestamp) -> Option<PriceView> {
    let of_model = book
        .iter()
        .filter(|price| price.provider == provider && price.upstream_model == name && price.effective_at <= now);
    let newest = of_model.max_by_key(|price| (price.source == PriceSource::Own, price.effective_at));
    newest.cloned().map(Into::into)
}

fn catalog_price(model: &Model, now: Timestamp) -> Option<PriceView> {
    model.price_at(now).map(|price| PriceView {
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
    })
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
