//! What a month would have cost at other prices, from sums by kind of unit.
//!
//! Sums do not keep how long a single call was, its tier of service, or which tokens were sound or pictures: all are taken at the
//! usual rates of text. Each line is rounded once, not once a call.

use std::collections::{BTreeMap, HashMap};

use api::ops::reports::{WhatIf, WhatIfPrice, WhatIfRow, WhatIfView};
use domain::deployment::Deployment;
use domain::price::Rates;
use domain::{DeploymentId, NanoUsd};
use provider::pricing;
use store::usage::UnitSums;

use super::reports::hours_of;
use crate::commands::prices::{rates, unit_rates};
use operation::call::{Call, Reply};
use operation::error::{Failure, Outcome};

const MAX_PRICES: usize = 200;

/// Says what a month would have cost.
pub async fn what_if(call: Call<WhatIf>) -> Outcome<Reply<WhatIfView>> {
    let body = &call.body;
    let time_zone = body.time_zone.clone().unwrap_or_else(|| "UTC".to_owned());
    let (from, to) = hours_of(&body.month, &time_zone)?;
    let prices = prices(&body.prices)?;
    let mut tx = call.read().await?;
    let sums = store::usage::unit_sums(&mut tx, from, to).await?;
    let ids: Vec<DeploymentId> = sums.iter().filter_map(|it| it.deployment_id.parse().ok()).collect();
    let deployments = store::deployments::load(&mut tx, Some(&ids)).await?;
    let models: HashMap<String, (String, String)> =
        deployments.iter().map(|it| (it.id.to_string(), priced_as(it, &prices))).collect();
    let mut asked: BTreeMap<&(String, String), UnitSums> = BTreeMap::new();
    for it in &sums {
        if let Some(model) = models.get(&it.deployment_id).filter(|model| prices.contains_key(*model)) {
            asked.entry(model).or_default().add(it);
        }
    }
    let rows: Vec<WhatIfRow> = asked.into_iter().map(|(model, sums)| row(model, &sums, &prices)).collect();
    let booked_usd = sums.iter().map(|it| it.cost).sum::<NanoUsd>();
    let nanos = |of: fn(&WhatIfRow) -> NanoUsd| rows.iter().map(of).sum::<NanoUsd>().as_nanos();
    let change = nanos(|row| row.then_usd).saturating_sub(nanos(|row| row.booked_usd));
    Ok(Reply::new(WhatIfView {
        month: body.month.clone(),
        time_zone,
        from,
        to,
        rows,
        booked_usd,
        then_usd: NanoUsd::from_nanos(booked_usd.as_nanos().saturating_add(change)),
    }))
}

/// Returns under which model a deployment is billed: its very name when that has a price, else the model that it is.
fn priced_as(deployment: &Deployment, prices: &Prices) -> (String, String) {
    let named = (deployment.provider.clone(), deployment.upstream_model.clone());
    if prices.contains_key(&named) {
        return named;
    }
    let (provider, name) = deployment.known_as();
    (provider.to_owned(), name.to_owned())
}

type Prices = BTreeMap<(String, String), Rates>;

fn prices(given: &[WhatIfPrice]) -> Outcome<Prices> {
    if given.is_empty() || given.len() > MAX_PRICES {
        return Err(Failure::unacceptable("/prices", format!("give 1 to {MAX_PRICES}")));
    }
    let mut prices = Prices::new();
    for (at, price) in given.iter().enumerate() {
        let pointer = format!("/prices/{at}");
        let usual = rates(&price.usd_per_million_tokens, &pointer)?;
        let rates = Rates { units: unit_rates(&price.usd_per_unit)?, ..usual };
        if prices.insert((price.provider.clone(), price.upstream_model.clone()), rates).is_some() {
            return Err(Failure::unacceptable(&pointer, "this model has a price already"));
        }
    }
    Ok(prices)
}

fn row(model: &(String, String), sums: &UnitSums, prices: &Prices) -> WhatIfRow {
    let rates = prices.get(model).copied().unwrap_or_default();
    let then = pricing::cost(sums.tokens, &rates, &[]).total();
    WhatIfRow {
        provider: model.0.clone(),
        upstream_model: model.1.clone(),
        requests: sums.requests,
        tokens: sums.tokens,
        units: sums.units,
        booked_usd: sums.cost,
        then_usd: then.saturating_add(pricing::unit_cost(sums.units, &rates.units)),
    }
}
