//! Batches whose output nobody has read: a node looks after them, reads the output itself, and books it.
//!
//! The control plane hands each out to one node at a time. Invariant: a batch is looked after until it is booked or forgotten.

use std::sync::Arc;
use std::time::Duration;

use batch::facts::Facts;
use batch::object::Progress;
use domain::Timestamp;
use domain::remote::{RemoteKind, RemoteObject};
use http::StatusCode;
use tokio_util::sync::CancellationToken;

use crate::book::{self, Tally};
use crate::calls::{Trouble, Upstream};
use crate::look;
use crate::port::Host;

/// When a batch is first looked after.
pub(crate) const FIRST_LOOK: Duration = Duration::from_secs(15 * 60);
/// How often one that is under way is looked after.
const AGAIN: Duration = Duration::from_secs(15 * 60);
/// How long the client has to read the output of a batch that is over, before a node does.
const GRACE: Duration = Duration::from_secs(60 * 60);
/// When one that could not be looked after is looked after again.
const AFTER_TROUBLE: Duration = Duration::from_secs(30 * 60);
/// How often it is asked for what is due.
const ASK_EVERY: Duration = Duration::from_secs(60);
/// Batches at a time.
const AT_ONCE: u32 = 4;

/// Looks after what is due until it is stopped.
pub async fn keep_booking(host: Arc<dyn Host>, stop: CancellationToken) {
    loop {
        let waited = stop.run_until_cancelled(tokio::time::sleep(ASK_EVERY)).await;
        if waited.is_none() || stop.run_until_cancelled(Box::pin(book_due(&host))).await.is_none() {
            return;
        }
    }
}

/// Looks after what is due now, and returns how many batches that were.
pub async fn book_due(host: &Arc<dyn Host>) -> usize {
    let taken = match host.store().take_due(AT_ONCE).await {
        Ok(taken) => taken,
        Err(error) => {
            tracing::debug!(error = runtime::telemetry::chain(&error), "what is due could not be asked for");
            return 0;
        }
    };
    for object in &taken {
        let Some(again) = look_after(host, object).await else { continue };
        let settled = host.store().settle(object.scope, object.id, Some(again)).await;
        if let Err(error) = settled {
            // It comes again when this node's time with it is over.
            tracing::debug!(error = runtime::telemetry::chain(&error), "a batch could not be put off");
        }
    }
    taken.len()
}

/// Looks after one batch; returns when to look again, `None` when it is booked.
async fn look_after(host: &Arc<dyn Host>, object: &RemoteObject) -> Option<Timestamp> {
    let now = host.now();
    let later = Some(now.plus(AFTER_TROUBLE));
    let snapshot = host.policy();
    let organization = snapshot.organization(object.scope.organization).filter(|it| !it.is_stale(now));
    let (Some(organization), Some(facts)) = (organization, Facts::read(&object.facts)) else { return later };
    let Ok(upstream) = Upstream::of(host, organization, object) else {
        tracing::warn!(batch = %object.id, credential.id = %object.credential, "a batch cannot be booked: its credential is gone");
        return later;
    };
    let Some(progress) = ask(&upstream, object, &facts).await else { return later };
    if !progress.is_over {
        return Some(now.plus(AGAIN));
    }
    let read_at = book::ended_at(object, &progress).plus(GRACE);
    if progress.output.is_some() && read_at > now {
        return Some(read_at);
    }
    let tally = Tally::new(host, organization, (object, &facts), &progress);
    match book::read_through(&upstream, object, &progress, tally).await {
        Ok(()) => None,
        Err(trouble) => {
            tracing::warn!(batch = %object.id, ?trouble, "the output of a batch could not be read; it is tried again");
            later
        }
    }
}

/// Asks the upstream how far a batch is.
async fn ask(upstream: &Upstream, object: &RemoteObject, facts: &Facts) -> Option<Progress> {
    match look::ask(upstream, object, facts).await {
        Ok(shown) if object.kind == RemoteKind::MessageBatch => Some(shown.message_progress()),
        Ok(shown) => Some(shown.progress()),
        Err(Trouble::Refused(StatusCode::NOT_FOUND, _)) => {
            tracing::warn!(batch = %object.id, "a batch cannot be booked: its upstream no longer knows it");
            None
        }
        Err(trouble) => {
            tracing::debug!(batch = %object.id, ?trouble, "a batch could not be looked after");
            None
        }
    }
}
