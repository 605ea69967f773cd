//! One try against one target: prepare, sign, send, read up to the commit point.
//!
//! A whole answer is read to its end here, so that it may still fail over late; a stream is read until the first bytes for
//! the client are ready. One timer serves all clocks of the attempt.

mod exchange;
mod formed;
mod making;
mod prepare;
mod within;

use std::pin::pin;
use std::sync::Arc;

use domain::usage::{AttemptOutcome, AttemptRecord, TokenUsage, UnitUsage};
use policy::snapshot::{CredentialUse, DeploymentPolicy};
use provider::Prepared;
use provider::failure::{Failure, FailureKind};
use tokio::time::{Instant, sleep_until};

use self::exchange::Exchange;
use self::making::{Making, answer_locally};
use self::prepare::{Extra, bring, prepare, refuse_prepare, short_lived};
pub(super) use self::prepare::{find_provider, own_secret, preview, sign, unsendable};
use super::{Context, Failed, rehearsal};
use crate::pipeline::relay::Billing;
use crate::pipeline::reply::Reply;
use crate::pipeline::settle::{Meter, Served};

pub(super) type Tried<T> = Result<T, Box<Failed>>;

/// Tries one target. The attempt is noted in the meter whatever its end; a committed stream's attempt stays open.
pub(super) async fn attempt(
    context: &Context<'_>,
    deployment: &Arc<DeploymentPolicy>,
    meter: &mut Meter,
) -> Tried<Reply> {
    let started = Instant::now();
    let first_at = meter.started_at.plus(started.duration_since(meter.started));
    let credential_id = match &deployment.credential {
        CredentialUse::Ready(credential) => Some(credential.id),
        _ => None,
    };
    meter.served = None;
    meter.begin_attempt(
        AttemptRecord {
            n: u16::try_from(meter.n_attempts() + 1).unwrap_or(u16::MAX),
            deployment_id: deployment.id,
            credential_id,
            provider: deployment.provider.clone(),
            upstream_model: deployment.upstream_model.clone(),
            started_at: first_at,
            duration_us: 0,
            first_byte_us: None,
            outcome: AttemptOutcome::Cancelled,
            status: None,
            upstream_request_id: None,
            usage: TokenUsage::default(),
            modal: None,
            image: None,
            units: UnitUsage::default(),
            cost: domain::NanoUsd::ZERO,
        },
        started,
    );
    meter.note_request(context.call.scan, context.call.body);
    let tried = match rehearsal::failure(context, deployment, meter) {
        Some(failed) => Err(failed),
        None => try_target(context, deployment, meter).await,
    };
    match &tried {
        Ok(_) => {
            meter.served = Some(Served {
                deployment: deployment.id,
                provider: deployment.provider.clone(),
                upstream_model: deployment.upstream_model.clone(),
            });
        }
        Err(failed) => meter.end_attempt(failed.outcome, &crate::pipeline::relay::Bill::default(), Instant::now()),
    }
    tried
}

async fn try_target(context: &Context<'_>, deployment: &Arc<DeploymentPolicy>, meter: &mut Meter) -> Tried<Reply> {
    let provider = find_provider(deployment)?;
    let billing = Billing {
        organization: context.organization.clone(),
        deployment: deployment.clone(),
        input_guess: provider::estimate::input_guess(context.call.scan),
        is_stream: meter.is_stream,
        tier: None,
    };
    let making = Making { context, provider, billing, id: meter.id_text.to_str().unwrap_or_default().into() };
    // Made apart: nothing of it is kept while an upstream is waited for.
    if let Some(answered) = making.local(deployment, meter) {
        let local = answered.map_err(|error| refuse_prepare(&error))?;
        return answer_locally(&making, local, meter);
    }
    let media = bring(context, provider, deployment, meter).await?;
    let given = short_lived(context, provider, deployment, meter).await?;
    let extra = Extra { given, media };
    let Prepared { request, relay, .. } = prepare(context, provider, deployment, &extra, meter)?;
    let mut exchange = Exchange { making, extra, clock: pin!(sleep_until(context.terms.clocks.total_at)) };
    let tried = exchange.run(Box::new(request), relay, meter).await;
    let refused = tried.as_ref().err().map(|failed| failed.failure.kind);
    match provider::count::in_place_of(provider, &context.call, refused) {
        Some(estimate) => answer_locally(&exchange.making, estimate, meter),
        None => tried,
    }
}

pub(super) fn timed_out() -> Box<Failed> {
    Failed::upstream(Failure::transport(FailureKind::Timeout), AttemptOutcome::Timeout)
}

pub(super) fn failed(kind: FailureKind) -> Box<Failed> {
    Failed::upstream(Failure::transport(kind), AttemptOutcome::Broken)
}
