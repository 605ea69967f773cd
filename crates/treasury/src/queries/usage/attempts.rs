//! How providers and deployments fare: every try against an upstream, also those after which another target answered.

use std::collections::BTreeMap;
use std::time::Duration;

use api::ops::usage::{AttemptQuery, AttemptReport, AttemptRow, AttemptTotals, OrganizationAttempts};
use domain::{DeploymentId, Timestamp};
use store::Tx;
use store::usage::{AttemptDimension, AttemptGroup, AttemptSums, Histogram};

use super::{MAX_DIMENSIONS, MAX_ROWS};
use operation::call::{Call, Reply};
use operation::error::{Failure, Outcome};

/// What a report covers unless told.
const DEFAULT_SPAN: Duration = Duration::from_secs(24 * 3_600);

/// The dimensions; none for the hour.
const AXES: [(&str, Option<AttemptDimension>); 5] = [
    ("provider", Some(AttemptDimension::Provider)),
    ("deployment", Some(AttemptDimension::Deployment)),
    ("upstream_model", Some(AttemptDimension::Model)),
    ("workspace", Some(AttemptDimension::Workspace)),
    ("hour", None),
];

/// Sums the tries of an organization.
pub async fn attempts(call: Call<OrganizationAttempts>) -> Outcome<Reply<AttemptReport>> {
    let mut tx = call.read().await?;
    Ok(Reply::new(report(&mut tx, call.now(), &call.query).await?))
}

async fn report(tx: &mut Tx, now: Timestamp, wanted: &AttemptQuery) -> Outcome<AttemptReport> {
    let axes = axes(wanted.group_by.as_deref().unwrap_or("provider"))?;
    let to = wanted.to.unwrap_or(now);
    let from = wanted.from.unwrap_or_else(|| to.minus(DEFAULT_SPAN));
    if from >= to {
        return Err(Failure::invalid("from", "must be before `to`"));
    }
    let total = store::usage::AttemptQuery {
        from,
        to,
        workspace_id: wanted.workspace_id,
        provider: wanted.provider.clone(),
        deployment_id: wanted.deployment_id,
        group_by: Vec::new(),
        is_hourly: false,
        limit: 1,
    };
    let grouped = store::usage::AttemptQuery {
        group_by: axes.iter().filter_map(|(_, dimension)| *dimension).collect(),
        is_hourly: axes.iter().any(|(_, dimension)| dimension.is_none()),
        limit: MAX_ROWS + 1,
        ..total.clone()
    };
    let mut groups = store::usage::sum_attempts(tx, &grouped).await?;
    let is_truncated = groups.len() > MAX_ROWS as usize;
    groups.truncate(MAX_ROWS as usize);
    let total = store::usage::sum_attempts(tx, &total).await?.pop().map(|group| group.sums).unwrap_or_default();
    let names = names(tx, &grouped.group_by, &groups).await?;
    Ok(AttemptReport {
        from,
        to,
        group_by: axes.iter().map(|(name, _)| (*name).to_owned()).collect(),
        rows: groups.into_iter().map(|group| row(&axes, group, &names)).collect(),
        is_truncated,
        fresh_at: total.last_received_at,
        total: totals(&total),
    })
}

fn axes(text: &str) -> Outcome<Vec<(&'static str, Option<AttemptDimension>)>> {
    let mut axes = Vec::new();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let axis = AXES.iter().find(|(known, _)| *known == name).ok_or_else(|| {
            let known: Vec<_> = AXES.iter().map(|(name, _)| *name).collect();
            Failure::invalid("group_by", format!("{name} is no dimension; use {}", known.join(", ")))
        })?;
        if axes.contains(axis) {
            return Err(Failure::invalid("group_by", format!("{name} is named twice")));
        }
        axes.push(*axis);
    }
    if axes.is_empty() || axes.len() > MAX_DIMENSIONS {
        return Err(Failure::invalid("group_by", "use one to three dimensions"));
    }
    Ok(axes)
}

fn row(
    axes: &[(&'static str, Option<AttemptDimension>)],
    group: AttemptGroup,
    names: &BTreeMap<String, String>,
) -> AttemptRow {
    let mut values = group.values.into_iter();
    let at = group.at.map_or_else(String::new, |at| at.to_string());
    let values: Vec<String> = axes
        .iter()
        .map(|(_, dimension)| if dimension.is_none() { at.clone() } else { values.next().unwrap_or_default() })
        .collect();
    let labels = values.iter().map(|value| names.get(value).unwrap_or(value).clone()).collect();
    AttemptRow { group: values, labels, sums: totals(&group.sums) }
}

/// Returns the names for people of the ids among the groups' values.
async fn names(
    tx: &mut Tx,
    dimensions: &[AttemptDimension],
    groups: &[AttemptGroup],
) -> Outcome<BTreeMap<String, String>> {
    let mut names = BTreeMap::new();
    if groups.is_empty() {
        return Ok(names);
    }
    if dimensions.contains(&AttemptDimension::Workspace) {
        let all = store::workspaces::load(tx, None).await?;
        names.extend(all.into_iter().map(|workspace| (workspace.id.to_string(), workspace.name.to_string())));
    }
    if let Some(place) = dimensions.iter().position(|dimension| *dimension == AttemptDimension::Deployment) {
        let ids: std::collections::BTreeSet<DeploymentId> =
            groups.iter().filter_map(|group| group.values.get(place)?.parse().ok()).collect();
        let found = store::deployments::load(tx, Some(&Vec::from_iter(ids))).await?;
        names.extend(found.into_iter().map(|deployment| (deployment.id.to_string(), deployment.name.to_string())));
    }
    Ok(names)
}

fn totals(sums: &AttemptSums) -> AttemptTotals {
    let millis = |histogram: &Histogram, per_cent| histogram.percentile(per_cent).map(|micros| micros.div_ceil(1_000));
    AttemptTotals {
        attempts: sums.attempts,
        succeeded: sums.succeeded,
        refused: sums.refused,
        rate_limited: sums.rate_limited,
        cancelled: sums.cancelled,
        failures: sums.failed + sums.unreachable + sums.timed_out + sums.broken + sums.unsendable,
        failed: sums.failed,
        unreachable: sums.unreachable,
        timed_out: sums.timed_out,
        broken: sums.broken,
        unsendable: sums.unsendable,
        p50_ms: millis(&sums.duration, 50),
        p95_ms: millis(&sums.duration, 95),
        first_byte_p50_ms: millis(&sums.first_byte, 50),
        first_byte_p95_ms: millis(&sums.first_byte, 95),
    }
}
