//! Looks whether the books keep their rules. What it finds is kept for the API, counted for metrics, and logged as an error each time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::alert::{Alert, AlertKind, Severity};
use domain::{OrganizationId, Timestamp};
use store::ledger::Finding;

use operation::cx::Cx;
use operation::error::Outcome;

/// How far back calls are looked at: each call is looked at about so many times as the job runs in it.
const LOOKS_BACK: Duration = Duration::from_secs(26 * 3_600);
/// Since when events are posted when they are booked. Before that there are none to be expected.
const SETTLED_SINCE: &str = "ledger_settled_since";

/// Looks whether the books are in order, and tells of it when they are not.
pub async fn run(cx: &Cx) -> Outcome<()> {
    let now = cx.now();
    let mut tx = cx.store.system().await?;
    let known: Option<i64> = store::settings::find(&mut tx, SETTLED_SINCE).await?;
    if known.is_none() {
        store::settings::set(&mut tx, SETTLED_SINCE, &now.as_micros(), now).await?;
    }
    let settled_since = Timestamp::from_micros(known.unwrap_or(now.as_micros()));
    let found = store::ledger::check(&mut tx, now.minus(LOOKS_BACK).hour(), settled_since, now).await?;
    let alerts: Vec<Alert> = found.iter().map(|(organization, finding)| told(*organization, finding, now)).collect();
    store::alerts::raise(&mut tx, &alerts).await?;
    tx.commit().await?;
    for (organization, finding) in &found {
        let (rule, broken, sample) = (finding.rule.as_str(), finding.broken, finding.sample.as_deref());
        tracing::error!(organization.id = %organization, rule, broken, sample, "the books do not keep a rule: {}", finding.rule.about());
    }
    cx.metrics.ledger_broken.store(found.len() as u64, Ordering::Relaxed);
    cx.metrics.ledger_checked_at.store(u64::try_from(now.as_secs()).unwrap_or(0), Ordering::Relaxed);
    Ok(())
}

/// A rule that stays broken is told once a day.
fn told(organization: OrganizationId, finding: &Finding, now: Timestamp) -> Alert {
    let subject = format!("ledger/{}", finding.rule.as_str());
    let once = format!("{subject}/{}", now.day());
    let summary = format!("The books do not keep the rule {}: {}", finding.rule.as_str(), finding.rule.about());
    let kind = (AlertKind::LedgerRuleBroken, Severity::Critical);
    let alert = Alert::new(organization, kind, &subject, &once, &summary, now).with("broken", finding.broken);
    match &finding.sample {
        Some(sample) => alert.with("example", sample),
        None => alert,
    }
}
