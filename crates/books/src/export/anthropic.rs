//! Anthropic: pages of `/v1/organizations/usage_report/messages` and `/v1/organizations/cost_report`, and the console's tables.
//!
//! Sources: Admin API reference, "Usage and Cost" (uncached input, cache reads and cache creation are disjoint; `amount` of the cost
//! report is a decimal text in **cents**; buckets begin at `starting_at`); Help Center, "Cost and Usage Reporting in the Console"
//! (tables; `usage_date_utc`, `model_version` with `usage_…` counts, `model` with `cost_usd` in dollars). Costs of the priority
//! tier are not in the cost report.

use domain::Timestamp;

use super::{Cells, Place, Row, Sums, day_of, day_of_text};
use crate::export::money::Exact;

#[derive(serde::Deserialize)]
pub(super) struct UsageBucket {
    starting_at: Timestamp,
    results: Vec<UsageResult>,
}

#[derive(serde::Deserialize)]
struct UsageResult {
    #[serde(default)]
    uncached_input_tokens: u64,
    #[serde(default)]
    cache_read_input_tokens: u64,
    cache_creation: Option<CacheCreation>,
    #[serde(default)]
    output_tokens: u64,
    model: Option<String>,
    api_key_id: Option<String>,
    workspace_id: Option<String>,
}

#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct CacheCreation {
    ephemeral_5m_input_tokens: u64,
    ephemeral_1h_input_tokens: u64,
}

#[derive(serde::Deserialize)]
pub(super) struct CostBucket {
    starting_at: Timestamp,
    results: Vec<CostResult>,
}

#[derive(serde::Deserialize)]
struct CostResult {
    amount: String,
    currency: Option<String>,
    model: Option<String>,
    description: Option<String>,
    workspace_id: Option<String>,
}

const NO_MODEL: &str = "a result has no model; export it grouped by model (costs: by description)";

pub(super) fn usage_bucket(sums: &mut Sums, bucket: UsageBucket) -> Result<(), String> {
    let day = day_of(bucket.starting_at);
    for it in bucket.results {
        let model = it.model.filter(|model| !model.is_empty()).ok_or(NO_MODEL)?;
        let written = it.cache_creation.unwrap_or_default();
        let parts = [
            it.uncached_input_tokens,
            it.cache_read_input_tokens,
            written.ephemeral_5m_input_tokens,
            written.ephemeral_1h_input_tokens,
        ];
        let input = parts.into_iter().fold(0, u64::saturating_add);
        let key = it.api_key_id.or(it.workspace_id).unwrap_or_default();
        let row = Row { input: Some(input), output: Some(it.output_tokens), ..Row::default() };
        sums.add(Place { day, model, key }, &row)?;
    }
    Ok(())
}

pub(super) fn cost_bucket(sums: &mut Sums, bucket: CostBucket) -> Result<(), String> {
    let day = day_of(bucket.starting_at);
    for it in bucket.results {
        if let Some(currency) = it.currency.filter(|currency| !currency.eq_ignore_ascii_case("usd")) {
            return Err(format!("amounts are in {currency}; the ledger is in US dollars"));
        }
        let cents = Exact::parse(&it.amount).ok_or_else(|| format!("is not an amount: {}", it.amount))?;
        // What is no model's (searches, running code) is named by its description.
        let model = it.model.or(it.description).filter(|name| !name.is_empty()).ok_or(NO_MODEL)?;
        let place = Place { day, model, key: it.workspace_id.unwrap_or_default() };
        sums.add(place, &Row { cost: Some(cents.cents()), ..Row::default() })?;
    }
    Ok(())
}

fn key(cells: &Cells<'_>) -> String {
    cells.either(&["api_key_id", "api_key", "workspace"]).to_owned()
}

pub(super) fn usage_row(sums: &mut Sums, cells: &Cells<'_>) -> Result<(), String> {
    let mut input = None;
    for name in [
        "usage_input_tokens_no_cache",
        "usage_input_tokens_cache_write_5m",
        "usage_input_tokens_cache_write_1h",
        "usage_input_tokens_cache_read",
    ] {
        input = super::plus(input, cells.count(name)?);
    }
    if input.is_none() {
        return Err("there is no column `usage_input_tokens_no_cache`".to_owned());
    }
    let day = day_of_text(cells.must(&["usage_date_utc"])?)?;
    let place = Place { day, model: cells.must(&["model_version", "model"])?.to_owned(), key: key(cells) };
    sums.add(place, &Row { input, output: cells.count("usage_output_tokens")?, ..Row::default() })
}

pub(super) fn cost_row(sums: &mut Sums, cells: &Cells<'_>) -> Result<(), String> {
    let cost = cells.amount(&["cost_usd"])?;
    let day = day_of_text(cells.must(&["usage_date_utc"])?)?;
    let model = cells.either(&["model", "model_version", "cost_type", "token_type"]);
    if model.is_empty() {
        return Err(NO_MODEL.to_owned());
    }
    sums.add(Place { day, model: model.to_owned(), key: key(cells) }, &Row { cost: Some(cost), ..Row::default() })
}
