//! Answers `GET /v1/models` and `GET /v1/models/{id}` from the snapshot, in the client's dialect.
//!
//! Only what the caller's key may use is shown.

use domain::code::GatewayCode;
use domain::price::Rates;
use domain::{Price, RouteId, Timestamp};
use ingress::Rejection;
use ingress::endpoint::decode_model;
use llm::dialect::{Dialect, ModelEntry, ModelFacts, Speak as _};
use policy::Caller;
use policy::snapshot::{DeploymentPolicy, ModelPolicy};
use provider::catalog::{self, Capability, Modality, ModelKind};

use super::reply::Reply;
use super::resolve::{known, refuse_unknown};

/// Lists the models that the caller may ask for.
pub(crate) fn list(caller: &Caller<'_>, dialect: Dialect, now: Timestamp) -> Reply {
    let allowed = caller.workspace.models().filter(|model| caller.key.allows(&model.name));
    Reply::own(dialect.encode_models(&allowed.map(|model| entry(caller, model, now)).collect::<Vec<_>>()))
}

/// Shows one model.
pub(crate) fn get(caller: &Caller<'_>, id: &str, dialect: Dialect, now: Timestamp) -> Result<Reply, Rejection> {
    let refused = || Rejection::new(GatewayCode::RequestInvalid, "the model name in the path is not UTF-8");
    let name = decode_model(id).ok_or_else(refused)?;
    let model = caller.workspace.model(&name).filter(|model| caller.key.allows(&model.name));
    let model = model.ok_or_else(|| refuse_unknown(caller, &name))?;
    Ok(Reply::own(dialect.encode_model(&entry(caller, model, now))))
}

fn entry(caller: &Caller<'_>, model: &ModelPolicy, now: Timestamp) -> ModelEntry {
    // A route may be served by several providers; its owner is whoever made it.
    let owned_by = match (&model.route, model.targets.first()) {
        (None, Some(target)) => target.deployment.provider.as_str(),
        _ => "headgate",
    };
    let deployments: Vec<&DeploymentPolicy> = model.targets.iter().map(|target| &*target.deployment).collect();
    let facts = facts(caller, &deployments, now);
    // A name is as old as its route, else as the first deployment that serves it: their ids hold the time.
    let first = || deployments.iter().map(|it| it.id.minted_at()).min();
    let created = model.route.map(RouteId::minted_at).or_else(first).map_or(0, Timestamp::as_secs);
    ModelEntry { id: model.name.clone(), display_name: None, created, owned_by: owned_by.into(), facts }
}

/// What holds whichever target serves: the smallest window, what all can do, the dearest price.
fn facts(caller: &Caller<'_>, deployments: &[&DeploymentPolicy], now: Timestamp) -> ModelFacts {
    let known: Vec<&catalog::ModelFacts> =
        deployments.iter().map(|it| known(it)).collect::<Option<_>>().unwrap_or_default();
    let all = |name: Modality, list: fn(&catalog::ModelFacts) -> &[Modality]| {
        known.iter().all(|model| list(model).contains(&name))
    };
    let modalities = |list: fn(&catalog::ModelFacts) -> &[Modality]| {
        let named = MODALITIES.iter().filter(|(modality, _)| !known.is_empty() && all(*modality, list));
        named.map(|(_, name)| *name).collect()
    };
    let can = |capability| !known.is_empty() && known.iter().all(|model| model.can(capability));
    let parameters = PARAMETERS.iter().filter(|(capability, _)| can(*capability)).flat_map(|(_, names)| *names);
    let priced: Option<Vec<_>> = deployments.iter().map(|it| caller.organization.price(it, now)).collect();
    let cost = |rates: &Rates| {
        let tokens = rates.input.cost(1_000_000).saturating_add(rates.output.cost(1_000_000));
        units(rates)
            .into_iter()
            .filter_map(|(_, price)| price)
            .fold(tokens, |sum, price| sum.saturating_add(price.cost(1_000)))
    };
    let dearest = priced.unwrap_or_default().into_iter().map(|price| &price.rates).max_by_key(|rates| cost(rates));
    ModelFacts {
        context_tokens: known.iter().map(|model| model.context_tokens).min(),
        max_output_tokens: known.iter().filter_map(|model| model.max_output_tokens).min(),
        input: modalities(|model| &model.input),
        output: modalities(|model| &model.output),
        parameters: parameters.copied().collect(),
        is_embedding: !known.is_empty() && known.iter().all(|model| model.kind == ModelKind::Embedding),
        prices: dearest.map(prices).unwrap_or_default(),
    }
}

fn prices(rates: &Rates) -> Vec<(&'static str, String)> {
    let kinds = [
        ("prompt", Some(rates.input)),
        ("completion", Some(rates.output)),
        ("input_cache_read", rates.cached_input),
        ("input_cache_write", rates.cache_write_5m),
        ("internal_reasoning", rates.reasoning),
    ];
    kinds
        .into_iter()
        .chain(units(rates))
        .filter_map(|(kind, price)| price.map(|price| (kind, for_one(price))))
        .collect()
}

/// What is counted beside tokens, in `OpenRouter`'s words where it has some.
fn units(rates: &Rates) -> [(&'static str, Option<Price>); 5] {
    let units = &rates.units;
    [
        ("image", units.image),
        ("web_search", units.search),
        ("audio_second", units.audio_second),
        ("character", units.character),
        ("page", units.page),
    ]
}

/// Writes what one token, picture or other unit costs in dollars, exactly: a price is whole nano-dollars for a million.
fn for_one(price: Price) -> String {
    // What a million cost in nano-dollars, one costs in femto-dollars.
    let femtos = price.cost(1_000_000).as_nanos().unsigned_abs();
    let text = format!("{}.{:015}", femtos / 1_000_000_000_000_000, femtos % 1_000_000_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

const MODALITIES: &[(Modality, &str)] = &[
    (Modality::Text, "text"),
    (Modality::Image, "image"),
    (Modality::Document, "file"),
    (Modality::Audio, "audio"),
    (Modality::Video, "video"),
    (Modality::Vector, "embeddings"),
];

const PARAMETERS: &[(Capability, &[&str])] = &[
    (Capability::Sampling, &["temperature", "top_p"]),
    (Capability::Tools, &["tools", "tool_choice"]),
    (Capability::JsonSchema, &["response_format", "structured_outputs"]),
    (Capability::Reasoning, &["reasoning", "include_reasoning"]),
    (Capability::PromptCache, &["cache_control"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_costs_an_exact_part_of_a_dollar() {
        assert_eq!(for_one(Price::per_million(1_250_000_000)), "0.00000125");
        assert_eq!(for_one(Price::per_million(0)), "0");
        assert_eq!(for_one(Price::per_million(1)), "0.000000000000001");
        assert_eq!(for_one(Price::per_million(2_000_000_000_000_000)), "2");
    }
}
