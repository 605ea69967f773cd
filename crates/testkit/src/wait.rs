//! Waiting for a condition, with a deadline and a reason.

use std::future::Future;
use std::time::Duration;

use anyhow::{Result, bail};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Asks `condition` again and again until it gives a value.
///
/// Errors: `what` did not happen within `limit`, or the condition itself failed.
pub async fn until<T, F>(what: &str, limit: Duration, mut condition: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let started = tokio::time::Instant::now();
    loop {
        if let Some(value) = condition().await? {
            return Ok(value);
        }
        if started.elapsed() > limit {
            bail!("did not happen within {limit:?}: {what}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
