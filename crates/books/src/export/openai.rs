//! OpenAI: pages of `/v1/organization/usage/completions` and `/v1/organization/costs`, and the tables of the usage page.
//!
//! Sources: API reference, "Usage" (`UsageCompletionsResult`: `input_tokens` contains cached ones; `CostsResult`: `amount.value` in
//! `amount.currency`, `line_item` such as `gpt-4o-2024-08-06, input`; buckets begin at `start_time`, seconds of UTC). Tables have the
//! same fields as columns, `amount.value` as `amount_value`; an empty bucket has no model and no amount.

use super::{Cells, Place, Row, Sums, day_of_secs, day_of_text};
use crate::export::money::Exact;

#[derive(serde::Deserialize)]
pub(super) struct UsageBucket {
    start_time: i64,
    #[serde(alias = "result")]
    results: Vec<UsageResult>,
}

#[derive(serde::Deserialize)]
struct UsageResult {
    #[serde(default)]
    input_tokens: u64,
    #[serde(default)]
    output_tokens: u64,
    num_model_requests: Option<u64>,
    model: Option<String>,
    project_id: Option<String>,
    api_key_id: Option<String>,
}

#[derive(serde::Deserialize)]
pub(super) struct CostBucket {
    start_time: i64,
    #[serde(alias = "result")]
    results: Vec<CostResult>,
}

#[derive(serde::Deserialize)]
struct CostResult {
    amount: Option<Amount>,
    line_item: Option<String>,
    project_id: Option<String>,
    api_key_id: Option<String>,
}

#[derive(serde::Deserialize)]
struct Amount {
    value: serde_json::Value,
    currency: String,
}

const NO_MODEL: &str = "a result has no model; export it grouped by model";

pub(super) fn usage_bucket(sums: &mut Sums, bucket: UsageBucket) -> Result<(), String> {
    let day = day_of_secs(bucket.start_time)?;
    for it in bucket.results {
        let model = it.model.filter(|model| !model.is_empty()).ok_or(NO_MODEL)?;
        let key = it.api_key_id.or(it.project_id).unwrap_or_default();
        let row = Row {
            requests: it.num_model_requests,
            input: Some(it.input_tokens),
            output: Some(it.output_tokens),
            cost: None,
        };
        sums.add(Place { day, model, key }, &row)?;
    }
    Ok(())
}

pub(super) fn cost_bucket(sums: &mut Sums, bucket: CostBucket) -> Result<(), String> {
    let day = day_of_secs(bucket.start_time)?;
    for it in bucket.results {
        let Some(amount) = it.amount else { continue };
        if !amount.currency.eq_ignore_ascii_case("usd") {
            return Err(format!("amounts are in {}; the ledger is in US dollars", amount.currency));
        }
        let text = amount.value.as_str().map_or_else(|| amount.value.to_string(), ToOwned::to_owned);
        let cost = Exact::parse(&text).ok_or_else(|| format!("is not an amount: {text}"))?;
        let item = it.line_item.filter(|item| !item.is_empty());
        let model = model_of(&item.ok_or("a result has no line item; export it grouped by line_item")?);
        let key = it.api_key_id.or(it.project_id).unwrap_or_default();
        sums.add(Place { day, model, key }, &Row { cost: Some(cost), ..Row::default() })?;
    }
    Ok(())
}

/// `gpt-4o-2024-08-06, input` is about that model; what has no comma is named as it is.
fn model_of(line_item: &str) -> String {
    line_item.split(", ").next().unwrap_or(line_item).trim().to_owned()
}

fn day(cells: &Cells<'_>) -> Result<i32, String> {
    let secs = cells.text(&["start_time"]);
    if let Ok(secs) = secs.parse::<i64>() {
        return day_of_secs(secs);
    }
    day_of_text(cells.must(&["start_time_iso", "start_time", "date"])?)
}

fn key(cells: &Cells<'_>) -> String {
    cells.either(&["api_key_id", "project_id"]).to_owned()
}

pub(super) fn usage_row(sums: &mut Sums, cells: &Cells<'_>) -> Result<(), String> {
    let row = Row {
        requests: cells.count("num_model_requests")?,
        input: cells.count("input_tokens")?,
        output: cells.count("output_tokens")?,
        cost: None,
    };
    if !cells.has("input_tokens") || cells.text(&["model"]).is_empty() {
        // A bucket in which nothing was used.
        if row.input.unwrap_or(0) + row.output.unwrap_or(0) == 0 {
            sums.skipped += 1;
            return Ok(());
        }
        return Err(NO_MODEL.to_owned());
    }
    let place = Place { day: day(cells)?, model: cells.must(&["model"])?.to_owned(), key: key(cells) };
    sums.add(place, &row)
}

pub(super) fn cost_row(sums: &mut Sums, cells: &Cells<'_>) -> Result<(), String> {
    if cells.text(&["amount_value"]).is_empty() {
        sums.skipped += 1;
        return Ok(());
    }
    cells.dollars(&["amount_currency"])?;
    let cost = cells.amount(&["amount_value"])?;
    let place = Place { day: day(cells)?, model: model_of(cells.must(&["line_item"])?), key: key(cells) };
    sums.add(place, &Row { cost: Some(cost), ..Row::default() })
}
