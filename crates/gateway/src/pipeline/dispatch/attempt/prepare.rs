//! What an attempt needs before it is sent: what is fetched for the upstream, what signs, and the request itself.

use std::sync::Arc;

use bytes::Bytes;
use domain::Secret;
use domain::code::GatewayCode;
use domain::usage::AttemptOutcome;
use ingress::admit::{OWN_PREFIX, TRACEPARENT};
use ingress::rejection::Rejection;
use llm::canonical::loss::{Effect, Loss};
use policy::snapshot::{CredentialUse, DeploymentPolicy};
use provider::failure::{FailureKind, Scope};
use provider::media::Inlined;
use provider::{Call, PrepareError, Prepared, Provider, Stamp, Target};
use tokio::time::Instant;
use upstream::exchanges::Kept;

use super::super::{Context, Failed, Sent, refuse_losses};
use super::Tried;
use crate::pipeline::fetch;
use crate::pipeline::settle::Meter;

/// What an attempt needs besides the call and the target.
#[derive(Default)]
pub(super) struct Extra {
    /// What signs in place of the credential's secret.
    pub(super) given: Option<Arc<Kept>>,
    /// What was fetched for the upstream.
    pub(super) media: Option<Arc<Inlined>>,
}

/// Fetches what the upstream cannot, within the time that the attempt has for its first byte.
pub(super) async fn bring(
    context: &Context<'_>,
    provider: &'static dyn Provider,
    deployment: &DeploymentPolicy,
    meter: &mut Meter,
) -> Tried<Option<Arc<Inlined>>> {
    let needs = provider.needs(&context.call, &deployment.upstream_model);
    if needs.is_empty() {
        return Ok(None);
    }
    let asked_at = Instant::now();
    let until = (asked_at + context.terms.clocks.first_byte).min(context.terms.clocks.total_at);
    let brought = Box::pin(fetch::bring(context.worker, &context.held, needs, until)).await;
    meter.waited += asked_at.elapsed();
    // Another target may fetch by itself.
    brought.map_err(|rejection| Failed::unsendable(Scope::Deployment, rejection))
}

/// Gets what a secret is exchanged for, within the time that the attempt has for its first byte.
pub(super) async fn short_lived(
    context: &Context<'_>,
    provider: &'static dyn Provider,
    deployment: &DeploymentPolicy,
    meter: &mut Meter,
) -> Tried<Option<Arc<Kept>>> {
    let CredentialUse::Ready(credential) = &deployment.credential else { return Ok(None) };
    let asked_at = Instant::now();
    let until = (asked_at + context.terms.clocks.first_byte).min(context.terms.clocks.total_at);
    let given = context.worker.shared.exchanges.get(&context.worker.client, provider, credential, until).await;
    meter.waited += asked_at.elapsed();
    given.map_err(|error| {
        let failure = error.failure();
        let code = match failure.kind {
            FailureKind::Timeout => GatewayCode::UpstreamTimeout,
            _ => GatewayCode::UpstreamError,
        };
        let rejection = Rejection::new(code, error.detail());
        Box::new(Failed { failure, outcome: AttemptOutcome::Unsendable, rejection, is_rehearsed: false })
    })
}

pub(in crate::pipeline::dispatch) fn prepare(
    context: &Context<'_>,
    provider: &'static dyn Provider,
    deployment: &DeploymentPolicy,
    extra: &Extra,
    meter: &mut Meter,
) -> Tried<Prepared> {
    let mut prepared = build(context, provider, deployment, extra.media.as_deref())?;
    let secret = extra.given.as_deref().map(|given| &given.secret).or_else(|| own_secret(deployment));
    sign(&mut prepared.request, provider, deployment, secret, meter)?;
    if let Some(traceparent) = meter.traceparent(prepared.request.uri()) {
        prepared.request.headers_mut().insert(TRACEPARENT, traceparent);
    }
    // What the attempt before lost is not lost in this one; headers without a meaning stay so.
    meter.dropped.retain(|name| name.starts_with(OWN_PREFIX));
    meter.dropped.extend(prepared.losses.iter().map(|loss| loss.path.to_string()));
    let proofs = context.call.scan.proofs;
    let is_foreign = proofs.are_content() && !proofs.are_taken_by(provider.spec(), &deployment.upstream_model);
    // Compatible servers are handed all of it; who is behind them, nobody knows.
    let is_foreign = is_foreign && !provider.spec().quirks.replay_reasoning;
    if is_foreign {
        meter.dropped.push("reasoning".to_owned());
    }
    if context.refuses_losses && (is_foreign || prepared.losses.iter().any(|loss| loss.effect == Effect::Dropped)) {
        // Another target may be able to say it.
        return Err(Failed::unsendable(Scope::Deployment, refuse_losses(&meter.dropped)));
    }
    Ok(prepared)
}

/// Makes the request that an attempt would send; `None` when the provider answers by itself.
pub(in crate::pipeline::dispatch) fn preview(
    context: &Context<'_>,
    deployment: &DeploymentPolicy,
    meter: &Meter,
) -> Tried<(Option<Sent>, Vec<Loss>)> {
    let provider = find_provider(deployment)?;
    let stamp = Stamp { id: "", now: meter.started_at, base_url: deployment.base_url() };
    if let Some(answered) = provider.local(&context.call, &deployment.upstream_model, &stamp) {
        return answered.map(|_| (None, Vec::new())).map_err(|error| refuse_prepare(&error));
    }
    let fetched = provider.needs(&context.call, &deployment.upstream_model);
    let Prepared { mut request, losses, .. } =
        build(context, provider, deployment, Some(&Inlined::shown(&fetched)).filter(|shown| !shown.is_empty()))?;
    let (unsigned_uri, unsigned_headers) = (request.uri().clone(), request.headers().clone());
    // Nothing is exchanged for a request that is only shown.
    let own = own_secret(deployment);
    let stand_in = own.and_then(|secret| provider.stand_in(secret));
    sign(&mut request, provider, deployment, stand_in.as_ref().or(own), meter)?;
    Ok((Some(Sent { signed: request, unsigned_headers, unsigned_uri, fetched }), losses))
}

fn build(
    context: &Context<'_>,
    provider: &'static dyn Provider,
    deployment: &DeploymentPolicy,
    media: Option<&Inlined>,
) -> Tried<Prepared> {
    let base = context.worker.bases.base(provider.spec(), &deployment.credential).map_err(|error| {
        tracing::warn!(deployment.id = %deployment.id, %error, "a credential's base address cannot be used");
        unsendable(
            Scope::Credential,
            "this deployment's base address cannot be used; an administrator has to correct it",
        )
    })?;
    let base_model = deployment.base_model.as_ref();
    let facts = deployment.facts.as_deref();
    let target = Target { base: &base, upstream_model: &deployment.upstream_model, base_model, facts };
    let (call, is_prefilled) = context.call_for(provider, &deployment.upstream_model);
    let call = Call { inlined: media, ..*call };
    let mut prepared = provider.prepare(&call, &target).map_err(|error| refuse_prepare(&error))?;
    if is_prefilled {
        let body = provider.spec().quirks.prefill.mark(prepared.request.body());
        *prepared.request.body_mut() = body;
    }
    Ok(prepared)
}

pub(in crate::pipeline::dispatch) fn own_secret(deployment: &DeploymentPolicy) -> Option<&Secret<String>> {
    match &deployment.credential {
        CredentialUse::Ready(credential) => credential.secret.as_ref(),
        _ => None,
    }
}

pub(in crate::pipeline::dispatch) fn sign(
    request: &mut http::Request<Bytes>,
    provider: &'static dyn Provider,
    deployment: &DeploymentPolicy,
    secret: Option<&Secret<String>>,
    meter: &Meter,
) -> Tried<()> {
    provider.sign(request, secret, meter.started_at).map_err(|error| {
        tracing::warn!(deployment.id = %deployment.id, %error, "a credential's secret cannot be used");
        unsendable(
            Scope::Credential,
            "this deployment's credential cannot be used; an administrator has to enter it again",
        )
    })
}

pub(in crate::pipeline::dispatch) fn refuse_prepare(error: &PrepareError) -> Box<Failed> {
    // Another target may speak the client's dialect, so only a body that nobody can read ends the call.
    let scope = match error {
        PrepareError::Decode(_) | PrepareError::Invalid { .. } => Scope::Request,
        PrepareError::Unsupported { .. } | PrepareError::Encode(_) => Scope::Deployment,
    };
    Failed::unsendable(scope, Rejection::new(GatewayCode::RequestInvalid, error.to_string()))
}

pub(in crate::pipeline::dispatch) fn find_provider(deployment: &DeploymentPolicy) -> Tried<&'static dyn Provider> {
    provider::find(&deployment.provider).ok_or_else(|| {
        unsendable(Scope::Deployment, "this deployment's provider is not known to this version of Headgate")
    })
}

pub(in crate::pipeline::dispatch) fn unsendable(scope: Scope, detail: &'static str) -> Box<Failed> {
    Failed::unsendable(scope, Rejection::new(GatewayCode::UpstreamError, detail))
}
