//! AWS: lines of a Cost and Usage Report (legacy and 2.0) that are Bedrock's.
//!
//! Sources: Data Exports user guide, columns of CUR (`lineItem/UsageStartDate` is `line_item_usage_start_date` in 2.0, and so on);
//! Bedrock user guide, "Understanding your Cost and Usage Report data": a line for each kind of token, usage types such as
//! `USE1-Claude4.6Sonnet-input-tokens`, `…-output-tokens`, `…-cache-read-input-token-count`, `…-cache-write-input-token-count`, with
//! tiers and cross-region routing behind; amounts count in the pricing unit (`1K tokens`). Models of makers that sell through the
//! marketplace stand under a product of their own, `… (Amazon Bedrock Edition)`. A model's name there is a billing name: say which
//! model it means.

use super::{Cells, Place, Row, Sums, day_of_text};

pub(super) fn row(sums: &mut Sums, cells: &Cells<'_>) -> Result<(), String> {
    let start = cells.must(&["line_item_usage_start_date", "bill_billing_period_start_date"])?;
    let product = cells.must(&["line_item_product_code"])?;
    let name = cells.text(&["product_product_name"]);
    let kind = cells.text(&["line_item_line_item_type"]);
    let is_usage = kind.is_empty() || kind.ends_with("Usage");
    if !is_usage || !(product.contains("Bedrock") || name.contains("Bedrock")) {
        sums.skipped += 1;
        return Ok(());
    }
    cells.dollars(&["line_item_currency_code"])?;
    let usage_type = cells.must(&["line_item_usage_type"])?;
    let cost = cells.amount(&["line_item_unblended_cost"])?;
    let tokens = match unit(cells.text(&["pricing_unit"])) {
        Some(unit) if !cells.text(&["line_item_usage_amount"]).is_empty() => {
            cells.amount(&["line_item_usage_amount"])?.times(unit)
        }
        _ => None,
    };
    let is_output = usage_type.to_ascii_lowercase().contains("output");
    let is_input = !is_output && usage_type.to_ascii_lowercase().contains("input");
    let row = Row {
        cost: Some(cost),
        input: tokens.filter(|_| is_input),
        output: tokens.filter(|_| is_output),
        requests: None,
    };
    let place = Place {
        day: day_of_text(start)?,
        model: model_of(usage_type, name),
        key: cells.text(&["line_item_usage_account_id"]).to_owned(),
    };
    sums.add(place, &row)
}

/// How many tokens a unit of pricing is, where it counts tokens.
fn unit(text: &str) -> Option<u32> {
    match text.to_ascii_lowercase().as_str() {
        "1k tokens" | "1k-tokens" | "thousand tokens" => Some(1_000),
        "1m tokens" | "million tokens" => Some(1_000_000),
        "tokens" | "token" => Some(1),
        _ => None,
    }
}

/// `USE1-Claude4.6Sonnet-input-tokens` is about `Claude4.6Sonnet`; what the marketplace sells is named by its product.
fn model_of(usage_type: &str, product_name: &str) -> String {
    if let Some(name) = product_name.strip_suffix("(Amazon Bedrock Edition)") {
        return name.trim().to_owned();
    }
    let (region, rest) = usage_type.split_once('-').unwrap_or(("", usage_type));
    let is_region = (3..=5).contains(&region.len())
        && region.ends_with(|letter: char| letter.is_ascii_digit())
        && region.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    let name = if is_region { rest } else { usage_type };
    let marks = ["-mantle-", "-input-", "-output-", "-cache-read-", "-cache-write-"];
    let end = marks.iter().filter_map(|mark| name.find(mark)).min().unwrap_or(name.len());
    name[..end].to_owned()
}
