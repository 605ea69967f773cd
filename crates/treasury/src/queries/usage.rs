//! Who spent what: sums by any dimensions, as a report or a table, and single requests.

mod attempts;
mod minutes;
mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use api::Csv;
use api::ops::usage::{
    AttemptView, ExportOrganizationUsage, ExportWorkspaceUsage, GetRequest, ListRequests, OrganizationUsage,
    RequestView, RoutingView, SkippedView, UsageQuery, UsageReport, UsageRow, UsageSums, WorkspaceUsage,
};
use axum::body::Body;
use domain::usage::{AttemptRecord, Routing, Skipped, UsageEvent};
use domain::{Page, Timestamp, WorkspaceId};
use store::Tx;
use store::usage::{Dimension, Group, Histogram, Query, RequestFilter, Step, Sums};

pub use self::attempts::attempts;
use operation::call::{Call, Reply};
use operation::error::{Failure, Outcome};
use operation::http::mount::CONTENT_DISPOSITION;

/// What a report covers unless told.
const DEFAULT_SPAN: Duration = Duration::from_secs(7 * 24 * 3_600);
/// The most rows of a report.
const MAX_ROWS: u32 = 5_000;
/// The most rows of a table.
const MAX_EXPORTED: u32 = 100_000;
const MAX_DIMENSIONS: usize = 3;
/// The widest offset of a zone from UTC, with room: 14 hours.
const MAX_OFFSET: i16 = 840;

/// Sums the usage of a workspace.
pub async fn of_workspace(call: Call<WorkspaceUsage>) -> Outcome<Reply<UsageReport>> {
    let workspace = Some(call.workspace()?);
    let mut tx = call.read().await?;
    Ok(Reply::new(report(&mut tx, call.now(), workspace, &call.query, MAX_ROWS).await?))
}

/// Sums the usage of an organization.
pub async fn of_organization(call: Call<OrganizationUsage>) -> Outcome<Reply<UsageReport>> {
    let mut tx = call.read().await?;
    Ok(Reply::new(report(&mut tx, call.now(), None, &call.query, MAX_ROWS).await?))
}

/// Writes the usage of a workspace as a table.
pub async fn export_workspace(call: Call<ExportWorkspaceUsage>) -> Outcome<Reply<Csv>> {
    let workspace = call.workspace()?;
    let mut tx = call.read().await?;
    let report = report(&mut tx, call.now(), Some(workspace), &call.query, MAX_EXPORTED).await?;
    exported(&report, &workspace.to_string())
}

/// Writes the usage of an organization as a table.
pub async fn export_organization(call: Call<ExportOrganizationUsage>) -> Outcome<Reply<Csv>> {
    let organization = call.organization()?;
    let mut tx = call.read().await?;
    let report = report(&mut tx, call.now(), None, &call.query, MAX_EXPORTED).await?;
    exported(&report, &organization.to_string())
}

fn exported(report: &UsageReport, of: &str) -> Outcome<Reply<Csv>> {
    if report.is_truncated {
        let detail = format!("more than {MAX_EXPORTED} rows; ask for a shorter time or fewer dimensions");
        return Err(Failure::unacceptable("group_by", detail));
    }
    let name = format!("attachment; filename=\"usage-{of}.csv\"");
    Ok(Reply::csv(Body::from(table::write(report))).with_header(CONTENT_DISPOSITION, name))
}

/// A dimension of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Axis {
    By(Dimension),
    Over(Step),
    OverMinutes,
}

const AXES: [(&str, Axis); 9] = [
    ("workspace", Axis::By(Dimension::Workspace)),
    ("environment", Axis::By(Dimension::Environment)),
    ("virtual_key", Axis::By(Dimension::VirtualKey)),
    ("model", Axis::By(Dimension::Model)),
    ("provider", Axis::By(Dimension::Provider)),
    ("deployment", Axis::By(Dimension::Deployment)),
    ("minute", Axis::OverMinutes),
    ("hour", Axis::Over(Step::Hour)),
    ("day", Axis::Over(Step::Day)),
];

fn axes(text: Option<&str>) -> Outcome<Vec<(&'static str, Axis)>> {
    let mut axes: Vec<(&'static str, Axis)> = Vec::new();
    for name in text.unwrap_or("").split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let axis = AXES.iter().find(|(known, _)| *known == name).ok_or_else(|| {
            let known: Vec<_> = AXES.iter().map(|(name, _)| *name).collect();
            Failure::invalid("group_by", format!("{name} is no dimension; use {}", known.join(", ")))
        })?;
        if axes.contains(axis) {
            return Err(Failure::invalid("group_by", format!("{name} is named twice")));
        }
        axes.push(*axis);
    }
    let n_steps = axes.iter().filter(|(_, axis)| !matches!(axis, Axis::By(_))).count();
    if axes.len() > MAX_DIMENSIONS || n_steps > 1 {
        return Err(Failure::invalid("group_by", "use up to three dimensions, one of minute, hour and day among them"));
    }
    Ok(axes)
}

async fn report(
    tx: &mut Tx,
    now: Timestamp,
    workspace: Option<WorkspaceId>,
    wanted: &UsageQuery,
    max_rows: u32,
) -> Outcome<UsageReport> {
    let axes = axes(wanted.group_by.as_deref())?;
    let is_by_minute = axes.iter().any(|(_, axis)| *axis == Axis::OverMinutes);
    let to = wanted.to.unwrap_or(now);
    let from = wanted.from.unwrap_or_else(|| to.minus(if is_by_minute { minutes::DEFAULT_SPAN } else { DEFAULT_SPAN }));
    if from >= to {
        return Err(Failure::invalid("from", "must be before `to`"));
    }
    let utc_offset_minutes = wanted.utc_offset_minutes.unwrap_or(0);
    if utc_offset_minutes.abs() > MAX_OFFSET {
        return Err(Failure::invalid("utc_offset_minutes", format!("use -{MAX_OFFSET} to {MAX_OFFSET}")));
    }
    if wanted.minutes.is_some() && !is_by_minute {
        return Err(Failure::invalid("minutes", "is the length of a step of `minute`, which is not in `group_by`"));
    }
    let total = Query {
        workspace_id: workspace,
        utc_offset_minutes,
        environment_id: wanted.environment_id,
        virtual_key_id: wanted.virtual_key_id,
        model: wanted.model.clone(),
        provider: wanted.provider.clone(),
        ..Query::all(from, to)
    };
    let (mut groups, total) = if is_by_minute {
        minutes::sums(tx, now, &total, &axes, wanted.minutes, max_rows).await?
    } else {
        let groups =
            if axes.is_empty() { Vec::new() } else { store::usage::sum(tx, &grouped(&total, &axes, max_rows)).await? };
        (groups, store::usage::sum(tx, &total).await?)
    };
    let is_truncated = groups.len() > max_rows as usize;
    groups.truncate(max_rows as usize);
    let total = total.into_iter().next().map(|group| group.sums).unwrap_or_default();
    let names = names(tx, &axes, &groups).await?;
    Ok(UsageReport {
        from,
        to,
        group_by: axes.iter().map(|(name, _)| (*name).to_owned()).collect(),
        rows: groups.into_iter().map(|group| row(&axes, group, &names)).collect(),
        is_truncated,
        fresh_at: total.last_received_at,
        total: sums_view(&total),
    })
}

fn grouped(total: &Query, axes: &[(&'static str, Axis)], max_rows: u32) -> Query {
    let dimensions =
        axes.iter().filter_map(|(_, axis)| if let Axis::By(dimension) = axis { Some(*dimension) } else { None });
    let step = axes.iter().find_map(|(_, axis)| if let Axis::Over(step) = axis { Some(*step) } else { None });
    Query { group_by: dimensions.collect(), step, limit: max_rows + 1, ..total.clone() }
}

fn row(axes: &[(&'static str, Axis)], group: Group, names: &BTreeMap<String, String>) -> UsageRow {
    let at = group.at.map_or_else(String::new, |at| at.to_string());
    let mut values = group.values.into_iter();
    let group_values: Vec<String> = axes
        .iter()
        .map(|(_, axis)| match axis {
            Axis::Over(_) | Axis::OverMinutes => at.clone(),
            Axis::By(_) => values.next().unwrap_or_default(),
        })
        .collect();
    let label = |value: &String| match value.as_str() {
        "" => "(none)".to_owned(),
        text => names.get(text).cloned().unwrap_or_else(|| text.to_owned()),
    };
    UsageRow { labels: group_values.iter().map(label).collect(), group: group_values, sums: sums_view(&group.sums) }
}

/// Returns the names for people of the ids among the groups' values.
async fn names(tx: &mut Tx, axes: &[(&'static str, Axis)], groups: &[Group]) -> Outcome<BTreeMap<String, String>> {
    let has = |dimension| axes.iter().any(|(_, axis)| *axis == Axis::By(dimension));
    let mut names = BTreeMap::new();
    if groups.is_empty() {
        return Ok(names);
    }
    if has(Dimension::Workspace) {
        let all = store::workspaces::load(tx, None).await?;
        names.extend(all.into_iter().map(|workspace| (workspace.id.to_string(), workspace.name.to_string())));
    }
    if has(Dimension::Environment) {
        let all = store::environments::load(tx, None).await?;
        names.extend(all.into_iter().map(|environment| (environment.id.to_string(), environment.name.to_string())));
    }
    if has(Dimension::VirtualKey) {
        let ids = ids(axes, groups, Dimension::VirtualKey);
        let keys = store::virtual_keys::load(tx, Some(&ids)).await?;
        names.extend(keys.into_iter().map(|key| (key.id.to_string(), key.name.to_string())));
    }
    if has(Dimension::Deployment) {
        let ids = ids(axes, groups, Dimension::Deployment);
        let deployments = store::deployments::load(tx, Some(&ids)).await?;
        names
            .extend(deployments.into_iter().map(|deployment| (deployment.id.to_string(), deployment.name.to_string())));
    }
    Ok(names)
}

fn ids<T: std::str::FromStr>(axes: &[(&'static str, Axis)], groups: &[Group], wanted: Dimension) -> Vec<T> {
    let mut dimensions =
        axes.iter().filter_map(|(_, axis)| if let Axis::By(dimension) = axis { Some(*dimension) } else { None });
    let Some(place) = dimensions.position(|dimension| dimension == wanted) else { return Vec::new() };
    let texts: std::collections::BTreeSet<&str> =
        groups.iter().filter_map(|group| group.values.get(place)).map(String::as_str).collect();
    texts.into_iter().filter_map(|text| text.parse().ok()).collect()
}

fn sums_view(sums: &Sums) -> UsageSums {
    let millis = |histogram: &Histogram, per_cent| histogram.percentile(per_cent).map(|micros| micros.div_ceil(1_000));
    UsageSums {
        requests: sums.requests,
        errors: sums.errors,
        failures: sums.failures,
        tokens: sums.tokens,
        units: sums.units,
        cost_usd: sums.cost,
        reused: sums.reused,
        saved_input: sums.saved_input,
        saved_output: sums.saved_output,
        saved_cost_usd: sums.saved_cost,
        p50_ms: millis(&sums.duration, 50),
        p95_ms: millis(&sums.duration, 95),
        first_byte_p50_ms: millis(&sums.first_byte, 50),
        overhead_p50_us: sums.overhead.percentile(50),
    }
}

/// Lists requests, newest first.
pub async fn requests(call: Call<ListRequests>) -> Outcome<Reply<Page<RequestView>>> {
    let limit = operation::page::limit(call.query.limit)?;
    let query = &call.query;
    let filter = RequestFilter {
        from: query.from,
        to: query.to,
        environment_id: query.environment_id,
        virtual_key_id: query.virtual_key_id,
        model: query.model.clone(),
        provider: query.provider.clone(),
        deployment_id: query.deployment_id,
        outcome: query.outcome,
        end_user: query.end_user.clone(),
        conversation_id: query.conversation_id.clone(),
        trace_id: query.trace_id.clone(),
    };
    let mut tx = call.read().await?;
    let page = store::usage::list(&mut tx, call.workspace()?, &filter, query.cursor.as_ref(), limit).await?;
    Ok(Reply::new(page.map(request_view)))
}

/// Shows a request with all its attempts.
pub async fn request(call: Call<GetRequest>) -> Outcome<Reply<RequestView>> {
    let mut tx = call.read().await?;
    let event = store::usage::get(&mut tx, call.workspace()?, call.path.request_id).await?;
    Ok(Reply::new(request_view(event)))
}

fn request_view(event: UsageEvent) -> RequestView {
    RequestView {
        id: event.id,
        environment_id: event.environment_id,
        virtual_key_id: event.virtual_key_id,
        node_id: event.node_id,
        endpoint: event.endpoint,
        model: event.model,
        route_id: event.route_id,
        deployment_id: event.deployment_id,
        provider: event.provider,
        upstream_model: event.upstream_model,
        is_stream: event.is_stream,
        outcome: event.outcome,
        status: event.status,
        code: event.code,
        finish_reason: event.finish_reason,
        started_at: event.started_at,
        duration_us: event.duration_us,
        first_byte_us: event.first_byte_us,
        overhead_us: event.overhead_us,
        usage: event.usage,
        units: event.units,
        is_estimated: event.is_estimated,
        is_unmetered: event.is_unmetered,
        cost_usd: event.cost,
        price_id: event.price_id,
        cache: event.cache.outcome,
        saved_input: event.cache.saved_input,
        saved_output: event.cache.saved_output,
        saved_cost_usd: event.cache.saved_cost,
        policy_revision: event.policy_revision,
        end_user: event.end_user,
        conversation_id: event.conversation_id,
        trace_id: event.trace_id,
        metadata: event.metadata,
        routing: event.routing.map(routing_view),
        tags: event.tags,
        dropped: event.dropped,
        attempts: event.attempts.into_iter().map(attempt_view).collect(),
    }
}

fn routing_view(it: Routing) -> RoutingView {
    let skipped = |it: Skipped| SkippedView { deployment_id: it.deployment_id, reason: it.reason };
    RoutingView {
        received_us: it.received_us,
        dispatched_us: it.dispatched_us,
        skipped: it.skipped.into_iter().map(skipped).collect(),
        continued: it.continued,
    }
}

fn attempt_view(attempt: AttemptRecord) -> AttemptView {
    AttemptView {
        n: attempt.n,
        deployment_id: attempt.deployment_id,
        credential_id: attempt.credential_id,
        provider: attempt.provider,
        upstream_model: attempt.upstream_model,
        started_at: attempt.started_at,
        duration_us: attempt.duration_us,
        first_byte_us: attempt.first_byte_us,
        outcome: attempt.outcome,
        status: attempt.status,
        upstream_request_id: attempt.upstream_request_id,
        usage: attempt.usage,
        modal: attempt.modal.map(|modal| *modal),
        units: attempt.units,
        image: attempt.image.map(|image| *image),
        cost_usd: attempt.cost,
    }
}
