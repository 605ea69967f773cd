//! What would be sent for a call, without sending it and without touching what is known of targets.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use ingress::Rejection;
use ingress::admit::Head;
use llm::canonical::loss::Loss;
use policy::snapshot::{DeploymentPolicy, OrganizationPolicy};
use provider::failure::Scope;
use provider::media::Need;

use super::{Asking, Context, Terms, attempt};
use crate::pipeline::Worker;
use crate::pipeline::resolve::Wanted;
use crate::pipeline::settle::Meter;

/// What would be sent.
#[derive(Debug)]
pub(crate) struct Preview {
    /// To whom.
    pub(crate) deployment: Arc<DeploymentPolicy>,
    /// Who would be tried next.
    pub(crate) fallbacks: Vec<Arc<DeploymentPolicy>>,
    /// `None` when the provider answers by itself.
    pub(crate) request: Option<Sent>,
    /// What could not be said in the upstream's dialect.
    pub(crate) losses: Vec<Loss>,
}

/// A request before and after it was signed.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) signed: Request<Bytes>,
    pub(super) unsigned_headers: HeaderMap,
    pub(super) unsigned_uri: Uri,
    /// What would be fetched first, because the upstream does not.
    pub(crate) fetched: Vec<Need>,
}

impl Sent {
    /// Says whether a header is as it was before the signature.
    pub(crate) fn is_public(&self, name: &HeaderName, value: &HeaderValue) -> bool {
        !value.is_sensitive() && self.unsigned_headers.get_all(name).iter().any(|earlier| earlier == value)
    }

    /// Returns the address as it was before the signature, which may have put a secret into it.
    pub(crate) fn url(&self) -> String {
        self.unsigned_uri.to_string()
    }
}

/// Finds the first target that the call can be sent to.
pub(crate) fn preview(
    worker: &Arc<Worker>,
    organization: &Arc<OrganizationPolicy>,
    head: &Head<'_>,
    headers: &HeaderMap,
    wanted: &Wanted,
    meter: &Meter,
) -> Result<Preview, Rejection> {
    let context = Context::of(worker, organization, Terms::of_call(head, wanted, meter), headers, wanted);
    let plan = Asking::of(worker, organization, headers, wanted, meter).plan(&wanted.model, worker.ids.seed());
    let targets: Vec<Arc<DeploymentPolicy>> = plan
        .slots()
        .iter()
        .filter_map(|slot| wanted.model.targets.get(usize::from(*slot)))
        .map(|target| target.deployment.clone())
        .collect();
    let mut last = None;
    for (at, deployment) in targets.iter().enumerate() {
        match attempt::preview(&context, deployment, meter) {
            Ok((request, losses)) => {
                let fallbacks = targets[at + 1..].to_vec();
                return Ok(Preview { deployment: deployment.clone(), fallbacks, request, losses });
            }
            Err(failed) => {
                let is_over = failed.failure.scope == Scope::Request;
                last = Some(failed.rejection);
                if is_over {
                    break;
                }
            }
        }
    }
    Err(last.unwrap_or_else(super::refuse_without_target))
}
