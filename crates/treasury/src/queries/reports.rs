//! Chargeback and showback: a month by any dimensions, as data, as a table, as lines of JSON.
//!
//! What hourly sums know comes from them; other dimensions are read from events, a day at a time. Invariant: the total is what the
//! ledger posted for the calls of the month, and rows and what they leave out sum exactly to it.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use api::ops::reports::{
    MakeReport, ReportLines, ReportRequest, ReportRow, ReportSplit, ReportSums, ReportTable, ReportView,
};
use api::{Csv, Jsonl};
use axum::body::Body;
use books::share::{self, Line, Lines, Over, Split};
use books::table;
use bytes::Bytes;
use domain::{NanoUsd, Timestamp};
use store::Tx;
use store::budgets::window;
use store::usage::{By, Reported, Span};

use operation::call::{Call, Head, Reply};
use operation::error::{Failure, Outcome};
use operation::http::mount::CONTENT_DISPOSITION;

/// The most groups of a report.
const MAX_ROWS: u32 = 100_000;
const MAX_DIMENSIONS: usize = 5;
const MAX_SPLITS: usize = 100;
/// Rows of a table that are written at once.
const CHUNK: usize = 500;

/// Sums a month.
pub async fn make(call: Call<MakeReport>) -> Outcome<Reply<ReportView>> {
    Ok(Reply::new(report(&call, &call.body).await?))
}

/// Writes a month as a table.
pub async fn as_table(call: Call<ReportTable>) -> Outcome<Reply<Csv>> {
    let report = report(&call, &call.body).await?;
    let name = attachment(&report, "csv");
    Ok(Reply::csv(written(report, Some(head_line), table_line)).with_header(CONTENT_DISPOSITION, name))
}

/// Writes a month as lines of JSON.
pub async fn as_lines(call: Call<ReportLines>) -> Outcome<Reply<Jsonl>> {
    let report = report(&call, &call.body).await?;
    let name = attachment(&report, "jsonl");
    Ok(Reply::lines(written(report, None, json_line)).with_header(CONTENT_DISPOSITION, name))
}

fn attachment(report: &ReportView, end: &str) -> String {
    format!("attachment; filename=\"report-{}-{}.{end}\"", report.organization_id, report.month)
}

// === What is asked for ===

/// Reads `2026-11`.
pub(crate) fn month(text: &str) -> Outcome<(i64, u8)> {
    let read = || {
        let (year, month) = text.split_once('-').filter(|(year, month)| year.len() == 4 && month.len() == 2)?;
        Some((year.parse().ok()?, month.parse().ok()?))
    };
    read().ok_or_else(|| Failure::unacceptable("/month", "use year and month, such as 2026-11"))
}

/// Returns the hours of a month by the calendar of a time zone.
pub(crate) fn hours_of(month_text: &str, time_zone: &str) -> Outcome<(Timestamp, Timestamp)> {
    let (year, number) = month(month_text)?;
    if !window::is_time_zone(time_zone) {
        let detail = "there is no such time zone; use a name such as Europe/Berlin or UTC";
        return Err(Failure::unacceptable("/time_zone", detail));
    }
    window::month_hours(time_zone, year, number)
        .ok_or_else(|| Failure::unacceptable("/month", "there is no such month"))
}

fn dimension(text: &str) -> Option<By> {
    Some(match text {
        "workspace" => By::Workspace,
        "environment" => By::Environment,
        "virtual_key" => By::VirtualKey,
        "model" => By::Model,
        "provider" => By::Provider,
        "deployment" => By::Deployment,
        "route" => By::Route,
        "end_user" => By::EndUser,
        "tags" => By::Tags,
        _ => {
            let name = text.strip_prefix("metadata:")?;
            return (1..=256).contains(&name.len()).then(|| By::Metadata(name.to_owned()));
        }
    })
}

fn dimensions(names: &[String]) -> Outcome<Vec<By>> {
    let mut by = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let refuse = |detail: &str| Failure::unacceptable(&format!("/group_by/{at}"), detail);
        let found = dimension(name).ok_or_else(|| {
            refuse("use workspace, environment, virtual_key, model, provider, deployment, route, end_user, tags, or metadata: and a name")
        })?;
        if by.contains(&found) {
            return Err(refuse("is named twice"));
        }
        by.push(found);
    }
    if by.len() > MAX_DIMENSIONS {
        return Err(Failure::unacceptable("/group_by", format!("use at most {MAX_DIMENSIONS} dimensions")));
    }
    Ok(by)
}

fn splits(body: &ReportRequest) -> Outcome<Vec<Split>> {
    if body.splits.len() > MAX_SPLITS {
        return Err(Failure::unacceptable("/splits", format!("at most {MAX_SPLITS}")));
    }
    let splits = body.splits.iter().enumerate().map(|(at, it)| split(at, it, &body.group_by));
    let splits = splits.collect::<Outcome<Vec<_>>>()?;
    share::check(&splits)
        .map_err(|flaw| Failure::unacceptable(&format!("/splits/{}", flaw.place()), flaw.to_string()))?;
    Ok(splits)
}

fn split(at: usize, it: &ReportSplit, group_by: &[String]) -> Outcome<Split> {
    let place = group_by
        .iter()
        .position(|name| *name == it.dimension)
        .ok_or_else(|| Failure::unacceptable(&format!("/splits/{at}/dimension"), "is not one of `group_by`"))?;
    let shares: Vec<(String, u64)> =
        it.over.iter().filter_map(|bearer| Some((bearer.to.clone(), u64::from(bearer.share?)))).collect();
    let over = match (it.over.len(), shares.len()) {
        (0, _) => Over::Others,
        (all, given) if all == given => Over::Shares(shares),
        (_, 0) => Over::Use(it.over.iter().map(|bearer| bearer.to.clone()).collect()),
        _ => {
            let detail = "give all of them a share, or none";
            return Err(Failure::unacceptable(&format!("/splits/{at}/over"), detail));
        }
    };
    Ok(Split { place, from: it.from.clone(), over })
}

// === Sums ===

async fn report(head: &Head, body: &ReportRequest) -> Outcome<ReportView> {
    let time_zone = body.time_zone.clone().unwrap_or_else(|| "UTC".to_owned());
    let (from, to) = hours_of(&body.month, &time_zone)?;
    let (by, splits) = (dimensions(&body.group_by)?, splits(body)?);
    let mut tx = head.read().await?;
    let mut total = Line::default();
    for group in store::usage::report_sums(&mut tx, Span { from, to, by: &[], limit: 1 }).await? {
        total.add(&line(&group));
    }
    let span = Span { from, to, by: &by, limit: MAX_ROWS + 1 };
    let mut lines = if by.iter().all(By::is_in_sums) {
        let groups = store::usage::report_sums(&mut tx, span).await?;
        groups.into_iter().map(|group| (group.values.clone(), line(&group))).collect()
    } else {
        from_events(&mut tx, span).await?
    };
    share::apply(&mut lines, &splits);
    if lines.len() > MAX_ROWS as usize {
        let detail = format!("gives more than {MAX_ROWS} groups; use fewer dimensions");
        return Err(Failure::unacceptable("/group_by", detail));
    }
    let attributed: NanoUsd = lines.values().map(Line::charged).sum();
    let names = names(&mut tx, &by, &lines).await?;
    Ok(ReportView {
        organization_id: head.organization()?,
        month: body.month.clone(),
        time_zone,
        from,
        to,
        group_by: body.group_by.clone(),
        rows: lines.into_iter().map(|(group, line)| row(group, &line, &names)).collect(),
        unattributed_usd: NanoUsd::from_nanos(total.own.as_nanos().saturating_sub(attributed.as_nanos())),
        total: sums(&total),
    })
}

async fn from_events(tx: &mut Tx, span: Span<'_>) -> Outcome<Lines> {
    let mut lines = Lines::new();
    for day in store::usage::report_days(span) {
        for group in store::usage::report_events(tx, span, day).await? {
            let counted = line(&group);
            lines.entry(group.values).or_default().add(&counted);
        }
        if lines.len() > MAX_ROWS as usize {
            break;
        }
    }
    Ok(lines)
}

fn line(group: &Reported) -> Line {
    Line {
        requests: group.requests,
        input: group.input,
        cached_input: group.cached_input,
        output: group.output,
        own: group.cost,
        shared: NanoUsd::ZERO,
    }
}

fn sums(line: &Line) -> ReportSums {
    ReportSums {
        requests: line.requests,
        input_tokens: line.input,
        cached_input_tokens: line.cached_input,
        output_tokens: line.output,
        own_usd: line.own,
        shared_usd: line.shared,
        cost_usd: line.charged(),
    }
}

fn row(group: Vec<String>, line: &Line, names: &BTreeMap<String, String>) -> ReportRow {
    let label = |value: &String| names.get(value).cloned().unwrap_or_else(|| value.clone());
    ReportRow { labels: group.iter().map(label).collect(), group, sums: sums(line) }
}

/// Returns the names for people of the ids among the groups' values.
async fn names(tx: &mut Tx, by: &[By], lines: &Lines) -> Outcome<BTreeMap<String, String>> {
    fn ids<T: std::str::FromStr>(by: &[By], lines: &Lines, wanted: &By) -> Option<Vec<T>> {
        let place = by.iter().position(|it| it == wanted)?;
        let values: BTreeSet<&String> = lines.keys().filter_map(|key| key.get(place)).collect();
        Some(values.into_iter().filter_map(|value| value.parse().ok()).collect())
    }
    let mut names = BTreeMap::new();
    if let Some(ids) = ids(by, lines, &By::Workspace) {
        let found = store::workspaces::load(tx, Some(&ids)).await?;
        names.extend(found.into_iter().map(|it| (it.id.to_string(), it.name.to_string())));
    }
    if let Some(ids) = ids(by, lines, &By::Environment) {
        let found = store::environments::load(tx, Some(&ids)).await?;
        names.extend(found.into_iter().map(|it| (it.id.to_string(), it.name.to_string())));
    }
    if let Some(ids) = ids(by, lines, &By::VirtualKey) {
        let found = store::virtual_keys::load(tx, Some(&ids)).await?;
        names.extend(found.into_iter().map(|it| (it.id.to_string(), it.name.to_string())));
    }
    if let Some(ids) = ids(by, lines, &By::Deployment) {
        let found = store::deployments::load(tx, Some(&ids)).await?;
        names.extend(found.into_iter().map(|it| (it.id.to_string(), it.name.to_string())));
    }
    if let Some(ids) = ids(by, lines, &By::Route) {
        let found = store::routes::load(tx, Some(&ids)).await?;
        names.extend(found.into_iter().map(|it| (it.id.to_string(), it.name.to_string())));
    }
    Ok(names)
}

// === Tables ===

/// Writes rows while they are sent, some at a time.
fn written(
    report: ReportView,
    head: Option<fn(&ReportView, &mut String)>,
    line: fn(&ReportView, &ReportRow, &mut String),
) -> Body {
    let n_chunks = report.rows.len().div_ceil(CHUNK);
    // The head goes with the first chunk, or alone.
    let chunk = move |at: usize| {
        let mut out = String::new();
        if let Some(head) = head.filter(|_| at == 0) {
            head(&report, &mut out);
        }
        for row in report.rows.iter().skip(at * CHUNK).take(CHUNK) {
            line(&report, row, &mut out);
        }
        Ok::<_, Infallible>(Bytes::from(out))
    };
    Body::from_stream(futures_util::stream::iter((0..n_chunks.max(1)).map(chunk)))
}

fn head_line(report: &ReportView, out: &mut String) {
    let named: Vec<String> = report.group_by.iter().flat_map(|name| [name.clone(), format!("{name}_name")]).collect();
    let fixed =
        ["requests", "input_tokens", "cached_input_tokens", "output_tokens", "own_usd", "shared_usd", "cost_usd"];
    table::push_line(out, ["month", "time_zone"].into_iter().chain(named.iter().map(String::as_str)).chain(fixed), []);
}

fn table_line(report: &ReportView, row: &ReportRow, out: &mut String) {
    let texts = row.group.iter().zip(&row.labels).flat_map(|(value, label)| [value.as_str(), label.as_str()]);
    let sums = &row.sums;
    let numbers = [sums.requests, sums.input_tokens, sums.cached_input_tokens, sums.output_tokens];
    let amounts = [sums.own_usd, sums.shared_usd, sums.cost_usd];
    let numbers = numbers.iter().map(ToString::to_string).chain(amounts.iter().map(ToString::to_string));
    table::push_line(out, [report.month.as_str(), report.time_zone.as_str()].into_iter().chain(texts), numbers);
}

fn json_line(_: &ReportView, row: &ReportRow, out: &mut String) {
    if let Ok(text) = serde_json::to_string(row) {
        out.push_str(&text);
        out.push('\n');
    }
}
