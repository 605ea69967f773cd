//! What providers say was used and billed, read from their exports into one form: by day, model, and key.
//!
//! | format | where it comes from |
//! |---|---|
//! | `openai_usage` | `GET /v1/organization/usage/completions` with `group_by=model`, or the table of the usage page |
//! | `openai_costs` | `GET /v1/organization/costs` with `group_by=line_item`, or the table of the usage page |
//! | `anthropic_usage` | `GET /v1/organizations/usage_report/messages` with `group_by[]=model`, or the console's usage table |
//! | `anthropic_costs` | `GET /v1/organizations/cost_report` with `group_by[]=description`, or the console's cost table |
//! | `aws_cur` | a Cost and Usage Report, legacy or 2.0, as a table |
//!
//! A text that begins with `{` or `[` is read as pages of the API (one after the other, or a list), any other as a table. Money is
//! added exactly and rounded once, to the nano-dollar, for each day, model and key. Days are those of UTC, as providers have them.

mod anthropic;
mod aws;
mod money;
mod openai;

use std::collections::BTreeMap;

use domain::reconciliation::{Counted, ExportFormat};
use domain::{NanoUsd, Timestamp};
use serde::de::DeserializeOwned;

use crate::csv::{CsvError, Record, Records};
use money::Exact;

/// Days, models and keys in one export, at most.
const MAX_GROUPS: usize = 50_000;

/// An export that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ReadError {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong.
    pub what: String,
}

impl From<CsvError> for ReadError {
    fn from(error: CsvError) -> Self {
        Self { line: error.line, what: error.what.to_owned() }
    }
}

/// A day, a model and a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The day by UTC, in days since 1970.
    pub day: i32,
    /// The model, as the export names it.
    pub model: String,
    /// The key, project or account, as the export names it; empty when it names none.
    pub key: String,
}

/// An export, read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Statement {
    /// Rows that were read.
    pub rows: u64,
    /// Rows that tell of something else.
    pub skipped: u64,
    /// What was counted.
    pub counted: BTreeMap<Place, Counted>,
}

/// Reads an export.
pub fn read(format: ExportFormat, text: &str) -> Result<Statement, ReadError> {
    let mut sums = Sums::default();
    let is_json = text.trim_start_matches('\u{feff}').trim_start().starts_with(['{', '[']);
    match (format, is_json) {
        (ExportFormat::OpenaiUsage, true) => pages(text, |bucket| openai::usage_bucket(&mut sums, bucket))?,
        (ExportFormat::OpenaiUsage, false) => table(text, &mut sums, openai::usage_row)?,
        (ExportFormat::OpenaiCosts, true) => pages(text, |bucket| openai::cost_bucket(&mut sums, bucket))?,
        (ExportFormat::OpenaiCosts, false) => table(text, &mut sums, openai::cost_row)?,
        (ExportFormat::AnthropicUsage, true) => pages(text, |bucket| anthropic::usage_bucket(&mut sums, bucket))?,
        (ExportFormat::AnthropicUsage, false) => table(text, &mut sums, anthropic::usage_row)?,
        (ExportFormat::AnthropicCosts, true) => pages(text, |bucket| anthropic::cost_bucket(&mut sums, bucket))?,
        (ExportFormat::AnthropicCosts, false) => table(text, &mut sums, anthropic::cost_row)?,
        (ExportFormat::AwsCur, true) => {
            return Err(ReadError { line: 1, what: "a Cost and Usage Report is read as a table (CSV)".to_owned() });
        }
        (ExportFormat::AwsCur, false) => table(text, &mut sums, aws::row)?,
    }
    if sums.groups.is_empty() {
        return Err(ReadError { line: 1, what: "there is nothing in it that was used or billed".to_owned() });
    }
    Ok(sums.finish())
}

// === Sums ===

#[derive(Default)]
struct Sum {
    requests: Option<u64>,
    input: Option<u64>,
    output: Option<u64>,
    cost: Option<Exact>,
}

/// What a row says.
#[derive(Default)]
struct Row {
    requests: Option<u64>,
    input: Option<u64>,
    output: Option<u64>,
    cost: Option<Exact>,
}

#[derive(Default)]
struct Sums {
    rows: u64,
    skipped: u64,
    groups: BTreeMap<Place, Sum>,
}

fn plus(sum: Option<u64>, more: Option<u64>) -> Option<u64> {
    more.map_or(sum, |more| Some(sum.unwrap_or(0).saturating_add(more)))
}

impl Sums {
    fn add(&mut self, place: Place, row: &Row) -> Result<(), String> {
        if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&place) {
            return Err(format!("more than {MAX_GROUPS} days, models and keys; export a shorter time"));
        }
        self.rows += 1;
        let sum = self.groups.entry(place).or_default();
        sum.requests = plus(sum.requests, row.requests);
        sum.input = plus(sum.input, row.input);
        sum.output = plus(sum.output, row.output);
        sum.cost = row.cost.map_or(sum.cost, |more| Some(sum.cost.unwrap_or_default().plus(more)));
        Ok(())
    }

    fn finish(self) -> Statement {
        let counted = |sum: Sum| Counted {
            requests: sum.requests,
            input: sum.input,
            output: sum.output,
            cost: sum.cost.map(Exact::to_nanos).map(NanoUsd::from_nanos),
        };
        Statement {
            rows: self.rows,
            skipped: self.skipped,
            counted: self.groups.into_iter().map(|(place, sum)| (place, counted(sum))).collect(),
        }
    }
}

// === Pages of an API ===

#[derive(serde::Deserialize)]
struct Page<B> {
    data: Vec<B>,
    #[serde(default)]
    has_more: bool,
}

/// Reads pages one after the other; what is wrong inside of a bucket is told by its number.
fn pages<B: DeserializeOwned>(text: &str, mut take: impl FnMut(B) -> Result<(), String>) -> Result<(), ReadError> {
    let text = text.trim_start_matches('\u{feff}');
    let unread = |error: serde_json::Error| {
        let what = error.to_string();
        let what = what.split(" at line ").next().unwrap_or(&what).to_owned();
        ReadError { line: error.line().max(1) as u64, what }
    };
    let (mut n_buckets, mut has_more) = (0_u64, false);
    let mut take_page = |page: Page<B>| {
        has_more = page.has_more;
        for bucket in page.data {
            n_buckets += 1;
            take(bucket).map_err(|what| ReadError { line: 1, what: format!("bucket {n_buckets}: {what}") })?;
        }
        Ok::<_, ReadError>(())
    };
    if text.trim_start().starts_with('[') {
        for page in serde_json::from_str::<Vec<Page<B>>>(text).map_err(unread)? {
            take_page(page)?;
        }
    } else {
        for page in serde_json::Deserializer::from_str(text).into_iter::<Page<B>>() {
            take_page(page.map_err(unread)?)?;
        }
    }
    if has_more {
        let what =
            "the last page says that there are more; put all of them into the file, one after the other".to_owned();
        return Err(ReadError { line: 1, what });
    }
    Ok(())
}

// === Tables ===

/// The head line of a table: where each column is. Names are compared by their letters and digits, so that `lineItem/UsageType` and
/// `line_item_usage_type` are the same.
struct Head(Vec<String>);

fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// A record under its head.
struct Cells<'a> {
    head: &'a Head,
    record: &'a Record,
}

impl<'a> Cells<'a> {
    /// Returns what stands in the first of these columns that the table has; empty for none.
    fn text(&self, names: &[&str]) -> &'a str {
        let place = names.iter().find_map(|name| self.head.0.iter().position(|known| *known == letters(name)));
        place.and_then(|place| self.record.fields.get(place)).map_or("", |field| field.trim())
    }

    fn has(&self, name: &str) -> bool {
        self.head.0.contains(&letters(name))
    }

    /// Returns the first of these columns that is not empty.
    fn either(&self, names: &[&str]) -> &'a str {
        names.iter().map(|name| self.text(&[name])).find(|text| !text.is_empty()).unwrap_or("")
    }

    /// Returns a column that the table must have and the record must fill.
    fn must(&self, names: &[&str]) -> Result<&'a str, String> {
        let text = self.text(names);
        if text.is_empty() { Err(format!("there is nothing under `{}`", names.join("` or `"))) } else { Ok(text) }
    }

    /// Returns a count: whole, maybe with `.0` or commas as some exports write it.
    fn count(&self, name: &str) -> Result<Option<u64>, String> {
        let text = self.text(&[name]).replace(',', "");
        if text.is_empty() {
            return Ok(self.has(name).then_some(0));
        }
        let whole = text.split_once('.').filter(|(_, rest)| rest.bytes().all(|byte| byte == b'0'));
        let whole = whole.map_or(text.as_str(), |(whole, _)| whole);
        whole.parse().map(Some).map_err(|_| format!("`{name}` is not a count: {text}"))
    }

    fn amount(&self, names: &[&str]) -> Result<Exact, String> {
        let text = self.must(names)?;
        Exact::parse(text).ok_or_else(|| format!("`{}` is not an amount: {text}", names.join("` or `")))
    }

    fn dollars(&self, names: &[&str]) -> Result<(), String> {
        let currency = self.text(names);
        if currency.is_empty() || currency.eq_ignore_ascii_case("usd") {
            return Ok(());
        }
        Err(format!("amounts are in {currency}; the ledger is in US dollars"))
    }
}

fn table(
    text: &str,
    sums: &mut Sums,
    take: impl Fn(&mut Sums, &Cells<'_>) -> Result<(), String>,
) -> Result<(), ReadError> {
    let mut records = Records::new(text);
    let Some(first) = records.next().transpose()? else {
        return Err(ReadError { line: 1, what: "the file is empty".to_owned() });
    };
    let head = Head(first.fields.iter().map(|name| letters(name)).collect());
    for record in records {
        let record = record?;
        if record.fields.len() != first.fields.len() {
            let what = format!("has {} fields, the head line {}", record.fields.len(), first.fields.len());
            return Err(ReadError { line: record.line, what });
        }
        take(sums, &Cells { head: &head, record: &record }).map_err(|what| ReadError { line: record.line, what })?;
    }
    Ok(())
}

// === Days ===

fn day_of(at: Timestamp) -> i32 {
    i32::try_from(at.as_secs().div_euclid(86_400)).unwrap_or(i32::MAX)
}

fn day_of_secs(secs: i64) -> Result<i32, String> {
    let day = i32::try_from(secs.div_euclid(86_400)).ok();
    day.filter(|day| (0..100_000).contains(day)).ok_or_else(|| format!("is no time of our days: {secs}"))
}

/// Reads the day of `2026-11-22`, alone or followed by a time of UTC.
fn day_of_text(text: &str) -> Result<i32, String> {
    let bad = || format!("is not a time such as 2026-11-22: {text}");
    let date = text.get(..10).ok_or_else(bad)?;
    let midnight: Timestamp = format!("{date}T00:00:00Z").parse().map_err(|_| bad())?;
    let rest = text.get(10..).unwrap_or("");
    // A time of another zone would be of another day.
    let is_utc = rest.is_empty() || rest.ends_with('Z') || rest.ends_with("+00:00") || !rest.contains(['+', '-']);
    if is_utc { Ok(day_of(midnight)) } else { Err(format!("is not a time of UTC: {text}")) }
}

#[cfg(test)]
mod tests;
