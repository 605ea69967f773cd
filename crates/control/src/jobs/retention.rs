//! Deletes what has passed its time, and makes room for the usage of the coming days.
//!
//! Never touches the audit log. Sums of usage stay when its events go.

use std::time::Duration;

use operation::auth::cookie;
use operation::cx::Cx;
use operation::error::Outcome;
use operation::http::idempotency;

const DAY: Duration = Duration::from_secs(24 * 3_600);
/// How many revisions of changes are kept; a node that is further behind gets the whole set.
const KEPT_REVISIONS: u64 = 10_000;

pub(super) async fn run(cx: &Cx) -> Outcome<()> {
    let now = cx.now();
    let mut tx = cx.store.system().await?;
    for days in 0..3 {
        store::usage::prepare_day(&mut tx, now.plus(DAY * days)).await?;
    }
    let answers = store::idempotency::delete_before(&mut tx, now.minus(idempotency::KEPT_FOR)).await?;
    let unseen_since = now.minus(cookie::IDLE_LIFE);
    let sessions = store::sessions::delete_ended(&mut tx, unseen_since, now.minus(cookie::ABSOLUTE_LIFE)).await?;
    let tokens = store::join_tokens::delete_expired(&mut tx, now.minus(DAY)).await?;
    let mut changes = 0;
    for (organization, revision) in store::changes::revisions(&mut tx).await? {
        if let Some(until) = revision.checked_sub(KEPT_REVISIONS) {
            changes += store::changes::delete_until(&mut tx, organization, until).await?;
        }
    }
    let responses = store::kept_responses::delete_expired(&mut tx, now).await?;
    let remotes = store::remote_objects::delete_expired(&mut tx, now).await?;
    let leases = store::leases::forget_before(&mut tx, now.minus(cx.config.usage_retention)).await?;
    let alerts = store::alerts::delete_before(&mut tx, now.minus(cx.config.usage_retention)).await?;
    let minutes = store::usage::drop_minutes_before(&mut tx, now.minus(store::usage::MINUTES_KEPT)).await?;
    let days = store::usage::drop_days_until(&mut tx, now.minus(cx.config.usage_retention)).await?;
    tx.commit().await?;
    tracing::info!(
        answers,
        sessions,
        tokens,
        changes,
        responses,
        remotes,
        leases,
        alerts,
        minutes,
        days,
        "what had passed its time was deleted"
    );
    Ok(())
}
