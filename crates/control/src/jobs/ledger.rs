//! Looks whether the books keep their rules. What it finds is kept for the API, counted for metrics, and logged as an error each time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::Timestamp;

use crate::cx::Cx;
use crate::error::Outcome;

/// How far back calls are looked at: each call is looked at about so many times as the job runs in it.
const LOOKS_BACK: Duration = Duration::from_secs(26 * 3_600);
/// Since when events are posted when they are booked. Before that there are none to be expected.
const SETTLED_SINCE: &str = "ledger_settled_since";

pub(super) async fn run(cx: &Cx) -> Outcome<()> {
    let now = cx.now();
    let mut tx = cx.store.system().await?;
    let known: Option<i64> = store::settings::find(&mut tx, SETTLED_SINCE).await?;
    if known.is_none() {
        store::settings::set(&mut tx, SETTLED_SINCE, &now.as_micros(), now).await?;
    }
    let settled_since = Timestamp::from_micros(known.unwrap_or(now.as_micros()));
    let found = store::ledger::check(&mut tx, now.minus(LOOKS_BACK).hour(), settled_since, now).await?;
    tx.commit().await?;
    for (organization, finding) in &found {
        let (rule, broken, sample) = (finding.rule.as_str(), finding.broken, finding.sample.as_deref());
        tracing::error!(organization.id = %organization, rule, broken, sample, "the books do not keep a rule: {}", finding.rule.about());
    }
    cx.metrics.ledger_broken.store(found.len() as u64, Ordering::Relaxed);
    cx.metrics.ledger_checked_at.store(u64::try_from(now.as_secs()).unwrap_or(0), Ordering::Relaxed);
    Ok(())
}
