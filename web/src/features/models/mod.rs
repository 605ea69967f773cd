//! Models & prices: what can be used, and what does it cost? The catalog, and the organization's price book.

mod facts_form;
mod price_form;
mod providers;

use api::ops::OrganizationPath;
use api::ops::models::{
    ImageRateView, ListModels, ListPrices, ModelQuery, ModelView, PriceQuery, PriceView, RatesView, UnitRatesView,
};
use domain::price::PriceSource;
use domain::{NanoUsd, OrganizationId, Page, Permission};
use leptos::prelude::*;

use kit::api::use_query;
use kit::as_code::as_code;
use kit::nav::{Nav, use_nav};
use kit::pages::{Pages, use_pages};
use kit::session::{Session, use_session};
use kit::views::use_table_state;
use ui::Tone;
use ui::badge::{Badge, Tag};
use ui::button::{Button, Weight};
use ui::data_view::{DataView, EmptyState, Skeleton, SkeletonView};
use ui::dialog::{Dialog, DialogBody, DialogFoot, Placement};
use ui::format::{money, number};
use ui::icon::Icon;
use ui::page_head::PageHead;
use ui::table::{Column, DataTable};
use ui::tabs::Tabs;
use ui::when::When;

/// What the parts of this page share.
#[derive(Clone, Copy)]
struct Catalog {
    organization_id: OrganizationId,
    nav: Nav,
    session: Session,
    models: Pages<ModelView>,
    prices: Pages<PriceView>,
    pricing: RwSignal<Option<ModelView>>,
    describing: RwSignal<Option<facts_form::Described>>,
}

fn key_of(model: &ModelView) -> String {
    format!("{}/{}", model.provider, model.upstream_model)
}

fn price_key(price: &PriceView) -> String {
    format!("{}/{}/{}", price.provider, price.upstream_model, price.effective_at)
}

fn rate(price: Option<&PriceView>, pick: fn(&RatesView) -> Option<NanoUsd>) -> String {
    price.and_then(|price| pick(&price.usd_per_million_tokens)).map_or_else(|| "–".to_owned(), money::price)
}

fn rate_number(price: Option<&PriceView>, pick: fn(&RatesView) -> Option<NanoUsd>) -> f64 {
    price.and_then(|price| pick(&price.usd_per_million_tokens)).map_or(-1.0, money::as_dollars)
}

fn source_view(source: PriceSource) -> AnyView {
    match source {
        PriceSource::Catalog => view! { <Badge text="Catalog" /> }.into_any(),
        PriceSource::Own => view! { <Badge tone=Tone::Accent text="Own" /> }.into_any(),
    }
}

fn source_text(source: PriceSource) -> &'static str {
    match source {
        PriceSource::Catalog => "catalog",
        PriceSource::Own => "own",
    }
}

/// The name for people, and the upstream's own where it differs.
fn model_name(model: &ModelView) -> AnyView {
    let own = (model.title != model.upstream_model)
        .then(|| view! { <code class="faint">{model.upstream_model.clone()}</code> });
    view! { <span class="stack-hair"><span>{model.title.clone()}</span> {own}</span> }.into_any()
}

fn can_do(model: &ModelView) -> String {
    model.capabilities.iter().map(|text| text.replace('_', " ")).collect::<Vec<_>>().join(", ")
}

fn model_columns() -> Vec<Column<ModelView>> {
    let price = |title, pick: fn(&RatesView) -> Option<NanoUsd>| {
        Column::new(title, move |model: &ModelView| rate(model.price.as_ref(), pick))
            .number(move |model| rate_number(model.price.as_ref(), pick))
    };
    let count =
        |value: Option<u64>| value.map_or_else(|| "–".to_owned(), |value| number::compact(number::as_f64(value)));
    vec![
        Column::new("Model", |model: &ModelView| format!("{} {}", model.title, model.upstream_model)).cell(model_name),
        Column::new("Provider", |model: &ModelView| model.provider.clone()),
        Column::new("Input / M", |model: &ModelView| rate(model.price.as_ref(), |rates| Some(rates.input)))
            .number(|model| rate_number(model.price.as_ref(), |rates| Some(rates.input))),
        price("Cached / M", |rates| rates.cached_input).wide_only(),
        price("Output / M", |rates| Some(rates.output)),
        Column::new("Price", |model: &ModelView| {
            model.price.as_ref().map_or("none", |price| source_text(price.source)).to_owned()
        })
        .cell(|model| {
            model.price.as_ref().map_or_else(
                || view! { <span class="faint">"none"</span> }.into_any(),
                |price| source_view(price.source),
            )
        })
        .wide_only(),
        Column::new("Context", move |model: &ModelView| count(model.context_tokens))
            .number(|model| model.context_tokens.map_or(0.0, number::as_f64))
            .wide_only(),
        Column::new("Can do", |model: &ModelView| model.capabilities.join(", "))
            .cell(|model| {
                view! { <span class="muted small can-do truncate" title=can_do(model)>{can_do(model)}</span> }
                    .into_any()
            })
            .wide_only(),
    ]
}

fn price_columns() -> Vec<Column<PriceView>> {
    let price = |title, pick: fn(&RatesView) -> Option<NanoUsd>| {
        Column::new(title, move |price: &PriceView| rate(Some(price), pick))
            .number(move |price| rate_number(Some(price), pick))
    };
    vec![
        Column::new("Model", |price: &PriceView| price.upstream_model.clone())
            .cell(|price| view! { <code>{price.upstream_model.clone()}</code> }.into_any()),
        Column::new("Provider", |price: &PriceView| price.provider.clone()),
        Column::new("Holds from", |price: &PriceView| price.effective_at.to_string())
            .sorted_by(|price| number::signed_as_f64(price.effective_at.as_micros()))
            .cell(|price| view! { <When at=price.effective_at /> }.into_any()),
        Column::new("Source", |price: &PriceView| source_text(price.source).to_owned())
            .cell(|price| source_view(price.source)),
        price("Input / M", |rates| Some(rates.input)),
        price("Cached / M", |rates| rates.cached_input).wide_only(),
        price("Cache write / M", |rates| rates.cache_write_5m).wide_only(),
        price("Output / M", |rates| Some(rates.output)),
    ]
}

/// The page.
#[component]
pub(crate) fn Models(organization_id: OrganizationId) -> impl IntoView {
    let path = OrganizationPath { organization_id };
    let models = use_pages::<ListModels, ModelView>(
        move |cursor| Some((path, ModelQuery { limit: Some(200), cursor, ..ModelQuery::default() })),
        key_of,
    );
    let prices = use_pages::<ListPrices, PriceView>(
        move |cursor| Some((path, PriceQuery { limit: Some(200), cursor, ..PriceQuery::default() })),
        price_key,
    );
    let catalog = Catalog {
        organization_id,
        nav: use_nav(),
        session: use_session(),
        models,
        prices,
        pricing: RwSignal::new(None),
        describing: RwSignal::new(None),
    };
    let tab = catalog.nav.param("tab");
    let may_describe = catalog.session.can(Permission::ModelsManage, organization_id);
    let describe = Callback::new(move |()| catalog.describing.set(Some(facts_form::Described::New)));
    let panel = Callback::new(move |key: String| match key.as_str() {
        "prices" => prices_view(catalog),
        "providers" => providers::view_of(catalog),
        _ => models_view(catalog),
    });
    view! {
        <PageHead title="Models & prices" about="What can be used, and what does it cost? Prices are dated; a call keeps the price it was made at.">
            {may_describe.then(|| view! { <Button icon=Icon::Plus on_press=describe test_id="describe-model">"Describe a model"</Button> })}
        </PageHead>
        <Tabs
            label="Models and prices"
            tabs=vec![("models", "Catalog"), ("prices", "Price book"), ("providers", "Providers")]
            current=Signal::derive(move || tab.get().unwrap_or_default())
            on_change=Callback::new(move |key: String| catalog.nav.set(&[("tab", Some(key))], true))
            panel
        />
        <ModelPanel catalog />
        <price_form::PriceDialog catalog />
        <facts_form::FactsDialog catalog />
    }
}

fn models_view(catalog: Catalog) -> AnyView {
    let selected = catalog.nav.param("model");
    let ready = Callback::new(move |page: Signal<Page<ModelView>>| {
        view! {
            <DataTable
                label="Models"
                columns=model_columns()
                rows=Signal::derive(move || page.get().items)
                key=key_of
                on_open=Callback::new(move |model: ModelView| catalog.nav.set(&[("model", Some(key_of(&model)))], false))
                selected=Signal::derive(move || selected.get())
                file_name="models"
                state=use_table_state(catalog.nav)
                more=catalog.models.more()
            />
        }
        .into_any()
    });
    view! {
        <section class="card" aria-label="Catalog of models">
            <DataView load=catalog.models.load on_retry=catalog.models.retry() skeleton=Skeleton::Rows(10) is_empty=|page| page.items.is_empty() empty=ViewFn::from(|| view! { <EmptyState icon=Icon::Model title="The catalog is empty" text="This release of Headgate carries no models." /> }) ready />
        </section>
    }
    .into_any()
}

fn prices_view(catalog: Catalog) -> AnyView {
    let ready = Callback::new(move |page: Signal<Page<PriceView>>| {
        let rows = Signal::derive(move || page.get().items);
        view! { <DataTable label="Prices" columns=price_columns() rows key=price_key file_name="prices" state=use_table_state(catalog.nav) more=catalog.prices.more() /> }.into_any()
    });
    view! {
        <section class="card" aria-label="Price book">
            <DataView load=catalog.prices.load on_retry=catalog.prices.retry() skeleton=Skeleton::Rows(8) is_empty=|page| page.items.is_empty() empty=ViewFn::from(|| view! { <EmptyState icon=Icon::Model title="The price book is empty" text="Prices enter it when a model is deployed, or when you set one of your own." /> }) ready />
        </section>
    }
    .into_any()
}

#[component]
fn ModelPanel(catalog: Catalog) -> impl IntoView {
    let wanted = catalog.nav.param("model");
    let listed = Memo::new(move |_| {
        let wanted = wanted.get()?;
        catalog.models.load.data.with(|page| page.as_ref()?.items.iter().find(|model| key_of(model) == wanted).cloned())
    });
    // A link may lead to a model that is on none of the pages that are here.
    let sought = use_query::<ListModels>(move || {
        let (wanted, is_listed) = (wanted.get()?, listed.with(Option::is_some));
        let is_loaded = catalog.models.load.data.with(Option::is_some);
        let (provider, name) = wanted.split_once('/')?;
        let query = ModelQuery {
            provider: Some(provider.to_owned()),
            search: Some(name.to_owned()),
            limit: Some(200),
            ..ModelQuery::default()
        };
        (is_loaded && !is_listed).then_some((OrganizationPath { organization_id: catalog.organization_id }, query))
    });
    let found = Memo::new(move |_| {
        let exactly = |wanted: String| sought.items().get().into_iter().find(|model| key_of(model) == wanted);
        listed.get().or_else(|| wanted.get().and_then(exactly))
    });
    let body = move || {
        match found.get() {
        Some(model) => model_body(catalog, model),
        None if catalog.models.load.data.with(Option::is_none) || sought.load.is_fetching.get() => {
            view! { <DialogBody><SkeletonView shape=Skeleton::Rows(8) /></DialogBody> }.into_any()
        }
        None => view! {
            <DialogBody>
                <EmptyState icon=Icon::Model title="Not in the catalog" text="This release of Headgate knows no such model. It can be deployed all the same; give it a price of your own to count its cost." />
            </DialogBody>
        }
        .into_any(),
    }
    };
    let close = Callback::new(move |()| catalog.nav.set(&[("model", None)], false));
    let title = Signal::derive(move || found.get().map(|model| model.title).or(wanted.get()).unwrap_or_default());
    view! {
        <Dialog open=Signal::derive(move || wanted.get().is_some()) on_close=close title placement=Placement::Side test_id="model-panel">
            {body}
        </Dialog>
    }
}

fn rate_lines(rates: &RatesView) -> AnyView {
    let lines = [
        ("Input", Some(rates.input)),
        ("Input from cache", rates.cached_input),
        ("Written to cache (5 min)", rates.cache_write_5m),
        ("Written to cache (1 h)", rates.cache_write_1h),
        ("Output", Some(rates.output)),
        ("Reasoning", rates.reasoning),
    ];
    let lines = lines.into_iter().filter_map(|(name, rate)| Some(view! { <dt>{name}</dt> <dd class="number">{money::price(rate?)} <span class="faint">" / M tokens"</span></dd> }));
    view! { <dl class="facts">{lines.collect_view()}</dl> }.into_any()
}

fn unit_lines(rates: &UnitRatesView) -> Option<AnyView> {
    let lines = [
        ("Image made", rates.image),
        ("Second of sound", rates.audio_second),
        ("Character spoken", rates.character),
        ("Search", rates.search),
        ("Page read", rates.page),
    ];
    let lines: Vec<_> = lines
        .into_iter()
        .filter_map(|(name, rate)| Some(view! { <dt>{name}</dt> <dd class="number">{money::exact(rate?)}</dd> }))
        .collect();
    (!lines.is_empty()).then(|| view! { <h4>"By the unit"</h4> <dl class="facts">{lines}</dl> }.into_any())
}

fn image_lines(rates: &[ImageRateView]) -> Option<AnyView> {
    let line = |rate: &ImageRateView| {
        let words = [rate.size.as_deref(), rate.quality.as_deref()];
        let name = words.into_iter().flatten().collect::<Vec<_>>().join(" ");
        view! { <dt>{name}</dt> <dd class="number">{money::exact(rate.usd)}</dd> }
    };
    let lines: Vec<_> = rates.iter().map(line).collect();
    (!lines.is_empty()).then(|| view! { <h4>"Pictures by kind"</h4> <dl class="facts">{lines}</dl> }.into_any())
}

fn price_view(price: &PriceView) -> AnyView {
    let long = price.long_context.iter().map(|long| {
        view! { <h4>{format!("Above {} tokens of input", number::grouped(long.above_input_tokens))}</h4> {rate_lines(&long.usd_per_million_tokens)} }
    });
    view! {
        <p class="row">{source_view(price.source)} <span class="muted">"holds since " <When at=price.effective_at /></span></p>
        {rate_lines(&price.usd_per_million_tokens)}
        {unit_lines(&price.usd_per_unit)}
        {image_lines(&price.images)}
        {long.collect_view()}
    }
    .into_any()
}

fn model_body(catalog: Catalog, model: ModelView) -> AnyView {
    let count = |value: Option<u64>| {
        value.map_or_else(|| "not known".to_owned(), |value| format!("{} tokens", number::grouped(value)))
    };
    let may_price = catalog.session.can(Permission::PricesManage, catalog.organization_id);
    let for_price = model.clone();
    let set = Callback::new(move |()| catalog.pricing.set(Some(for_price.clone())));
    let may_describe = catalog.session.can(Permission::ModelsManage, catalog.organization_id);
    let (for_facts, for_forgetting) = (model.clone(), model.clone());
    let describe = Callback::new(move |()| {
        catalog.describing.set(Some(facts_form::Described::Listed(Box::new(for_facts.clone()))));
    });
    let forget = Callback::new(move |()| facts_form::forget(catalog, &for_forgetting));
    let is_own = model.own.is_some();
    let price = match &model.price {
        Some(price) => price_view(price),
        None => view! { <p class="muted">"Nobody stated a price; calls are counted at $0."</p> }.into_any(),
    };
    view! {
        <DialogBody>
            <dl class="facts">
                <dt>"Provider"</dt>
                <dd>{model.provider.clone()}</dd>
                <dt>"Upstream model"</dt>
                <dd><code>{model.upstream_model.clone()}</code></dd>
                <dt>"Described by"</dt>
                <dd>{if is_own { view! { <Badge tone=Tone::Accent text="Your organization" /> }.into_any() } else { view! { <Badge text="Catalog" /> }.into_any() }}</dd>
                {model.facts.quantization.map(|it| view! { <dt>"Quantization"</dt> <dd><Tag text=it.to_string() /></dd> })}
                <dt>"Context"</dt>
                <dd>{count(model.context_tokens)}</dd>
                <dt>"Longest output"</dt>
                <dd>{count(model.max_output_tokens)}</dd>
                <dt>"Can do"</dt>
                <dd class="row">{model.capabilities.iter().map(|text| view! { <Tag text=text.replace('_', " ") /> }).collect_view()}</dd>
            </dl>
            <section class="stack-tight" aria-label="Price"><h3>"Price now"</h3>{price}</section>
            {as_code::<ListModels>(&OrganizationPath { organization_id: catalog.organization_id }, &ModelQuery::default(), &model)}
        </DialogBody>
        <DialogFoot>
            {(may_describe && is_own).then(|| view! { <Button weight=Weight::Danger on_press=forget>"Forget description"</Button> })}
            {may_describe.then(|| view! { <Button on_press=describe test_id="describe">"Describe"</Button> })}
            {may_price.then(|| view! { <Button weight=Weight::Primary on_press=set test_id="set-price">"Set an own price"</Button> })}
        </DialogFoot>
    }
    .into_any()
}
