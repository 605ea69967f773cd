//! A second target is asked when the first is slow to begin. Whoever is ready first answers; the other is dropped and booked.
//!
//! Only before the first byte of an answer, only to a target that was not tried yet, and charged to the retry budget, so that slow
//! upstreams are not met with twice the load.

use std::sync::Arc;
use std::time::Duration;

use policy::snapshot::DeploymentPolicy;

use super::attempt::{Tried, attempt};
use super::tries::Tries;
use super::{Context, Failed};
use crate::pipeline::reply::Reply;
use crate::pipeline::settle::Meter;

enum Race {
    First(Tried<Reply>),
    Second(Tried<Reply>),
}

/// Tries a target, and another one as well after a time of silence. Returns the slot whose end this is; a failure of the other
/// one is noted.
pub(super) async fn attempt_hedged(
    context: &Context<'_>,
    (slot, deployment): (u8, Arc<DeploymentPolicy>),
    tries: &mut Tries,
    meter: &mut Meter,
) -> (u8, Result<Reply, Box<Failed>>) {
    let worker = context.worker;
    let after = tries.model.rules.hedge_after.unwrap_or(Duration::MAX);
    let mut side = meter.aside();
    let mut first = Box::pin(attempt(context, &deployment, meter));
    let early = tokio::select! {
        biased;
        done = &mut first => Some(done),
        () = tokio::time::sleep(after) => None,
    };
    if let Some(done) = early {
        return (slot, done);
    }
    let Some(other) = tries.hedge(worker) else { return (slot, first.await) };
    let mut second = Box::pin(attempt(context, &other.deployment, &mut side));
    let race = tokio::select! {
        biased;
        done = &mut first => Race::First(done),
        done = &mut second => Race::Second(done),
    };
    match race {
        Race::First(Ok(reply)) => {
            drop((first, second));
            meter.absorb(side);
            (slot, Ok(reply))
        }
        Race::Second(Ok(reply)) => {
            drop((first, second));
            meter.adopt(side);
            (other.slot, Ok(reply))
        }
        Race::First(Err(failed)) => {
            let done = second.await;
            drop(first);
            tries.failed(worker, meter, slot, *failed);
            meter.adopt(side);
            (other.slot, done)
        }
        Race::Second(Err(failed)) => {
            let done = first.await;
            drop(second);
            tries.failed(worker, meter, other.slot, *failed);
            meter.absorb(side);
            (slot, done)
        }
    }
}
