//! Copies of calls: sent to another deployment beside the real one, read to their end, thrown away, and booked.
//!
//! The client never waits for a copy and never sees anything of it. A copy is a call of its own in the ledger, told by the
//! metadata pair `headgate.shadow_of`. A node makes only so many at once; what is beyond that is not copied.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderMap;
use http_body_util::BodyExt as _;
use policy::snapshot::{DeploymentPolicy, OrganizationPolicy};
use tokio::time::Instant;

use super::attempt::attempt;
use super::{Context, Terms};
use crate::pipeline::resolve::Wanted;
use crate::pipeline::settle::Meter;
use crate::pipeline::{Worker, budget};

/// Copies under way at once, for the whole node.
const MOST: usize = 64;

/// Counts the copies of a node.
#[derive(Debug, Default)]
pub(crate) struct Shadows(AtomicUsize);

struct Place(Arc<Worker>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.shared.shadows.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sends a copy, if the route wants one of this call.
pub(super) fn cast(
    worker: &Arc<Worker>,
    organization: &Arc<OrganizationPolicy>,
    headers: &HeaderMap,
    wanted: &Wanted,
    meter: &Meter,
) {
    let Some((deployment, percent)) = &wanted.model.rules.shadow else { return };
    if worker.ids.seed() % 100 >= u64::from(*percent) || !deployment.is_usable() {
        return;
    }
    let n_before = worker.shared.shadows.0.fetch_add(1, Ordering::Relaxed);
    let place = Place(worker.clone());
    if n_before >= MOST {
        return;
    }
    let copy = meter.copy(worker.clone());
    let (organization, deployment) = (organization.clone(), deployment.clone());
    let (headers, wanted) = (headers.clone(), wanted.clone());
    runtime::tasks::spawn("gateway.shadow", async move {
        send(place, &organization, &deployment, &headers, &wanted, copy).await;
    });
}

async fn send(
    place: Place,
    organization: &Arc<OrganizationPolicy>,
    deployment: &Arc<DeploymentPolicy>,
    headers: &HeaderMap,
    wanted: &Wanted,
    mut meter: Box<Meter>,
) {
    let terms = Terms::of(&wanted.model.timeouts, Instant::now(), None);
    let context = Context::of(&place.0, organization, terms, headers, wanted);
    if !organization.budgets().is_empty()
        && let Err(refused) = Box::pin(budget::hold_copy(&place.0, organization, deployment, wanted, &mut meter)).await
    {
        return meter.reject(&refused);
    }
    meter.open();
    match attempt(&context, deployment, &mut meter).await {
        Ok(reply) => {
            let mut body = std::pin::pin!(reply.respond(meter).into_body());
            while body.frame().await.is_some() {}
        }
        Err(failed) => meter.reject(&failed.rejection),
    }
}
