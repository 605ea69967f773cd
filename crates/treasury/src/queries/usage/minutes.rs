//! Sums by minute: what may be asked, and the same answer as by hour.
//!
//! Minutes are kept for days and by two dimensions alone. Invariant: whatever minutes cannot say exactly is refused, with what to ask
//! instead; a chart never shows zero for what is not known.

use std::time::Duration;

use domain::Timestamp;
use store::Tx;
use store::usage::{Dimension, Group, MINUTES_KEPT, MinuteDimension, Minutes, Query};

use super::Axis;
use operation::error::{Failure, Outcome};

/// What a report by minute covers unless told.
pub(super) const DEFAULT_SPAN: Duration = Duration::from_secs(3_600);
/// The longest time of one: as many points as a chart can show, and as many rows as an answer should have.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// Sums by the axes, and over all; `of` has the time and the filters.
pub(super) async fn sums(
    tx: &mut Tx,
    now: Timestamp,
    of: &Query,
    axes: &[(&'static str, Axis)],
    step: Option<u8>,
    max_rows: u32,
) -> Outcome<(Vec<Group>, Vec<Group>)> {
    let step = step.unwrap_or(1);
    // Divisors of an hour: a step never reaches over the end of one.
    if step == 0 || 60 % step != 0 {
        return Err(Failure::invalid("minutes", "use 1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30 or 60"));
    }
    if of.to.since(of.from) > LONGEST {
        return Err(Failure::invalid(
            "from",
            "`minute` covers up to 24 hours; ask for a shorter time, or by `hour` or `day`",
        ));
    }
    if of.from.minute() < now.minus(MINUTES_KEPT).minute() {
        return Err(Failure::invalid("from", "minutes are kept for 3 days; ask for what is older by `hour` or `day`"));
    }
    let filters = [
        ("virtual_key_id", of.virtual_key_id.is_some()),
        ("model", of.model.is_some()),
        ("provider", of.provider.is_some()),
    ];
    if let Some((name, _)) = filters.iter().find(|(_, is_set)| *is_set) {
        let detail = "minutes are kept by workspace and environment alone; ask for this by `hour` or `day`";
        return Err(Failure::invalid(name, detail));
    }
    let total =
        Minutes { workspace_id: of.workspace_id, environment_id: of.environment_id, ..Minutes::all(of.from, of.to) };
    let grouped = Minutes { group_by: dimensions(axes)?, step: Some(step), limit: max_rows + 1, ..total.clone() };
    let groups = store::usage::sum_minutes(tx, &grouped).await?;
    Ok((groups, store::usage::sum_minutes(tx, &total).await?))
}

fn dimensions(axes: &[(&'static str, Axis)]) -> Outcome<Vec<MinuteDimension>> {
    let mut found = Vec::new();
    for (name, axis) in axes {
        match axis {
            Axis::By(Dimension::Workspace) => found.push(MinuteDimension::Workspace),
            Axis::By(Dimension::Environment) => found.push(MinuteDimension::Environment),
            Axis::By(_) => {
                let detail =
                    format!("minutes are kept by workspace and environment alone; ask for {name} by `hour` or `day`");
                return Err(Failure::invalid("group_by", detail));
            }
            Axis::Over(_) | Axis::OverMinutes => {}
        }
    }
    Ok(found)
}
