//! Stage 6: tries targets until one answers, up to the commit point.
//!
//! Which failure allows what comes from `provider::failure`: a fact about the request ends the call, one about a credential skips all
//! targets with it, one about a deployment or provider moves on. All attempts share one deadline; only repeated tries of one
//! target are charged to the retry budget. Invariant: nothing of a failed attempt has reached the client.

mod attempt;
mod bases;
mod facts;
mod hedge;
mod line;
mod preview;
mod rehearsal;
mod shadow;
mod tries;

use std::sync::Arc;
use std::time::Duration;

use domain::code::GatewayCode;
use domain::route::Dropped;
use domain::usage::{AttemptOutcome, Routing, Skipped};
use http::{HeaderMap, StatusCode};
use llm::canonical::json::Rest;
use llm::dialect::Dialect;
use policy::Plan;
use policy::snapshot::{ModelPolicy, OrganizationPolicy};
use provider::Call;
use provider::failure::{Failure, FailureKind, Scope};
use tokio::time::Instant;

pub(crate) use self::bases::Bases;
pub(crate) use self::facts::{Asking, Known};
pub(crate) use self::line::{Calling, Line, open_line, record as line_record};
pub(crate) use self::preview::{Sent, preview};
pub(crate) use self::shadow::Shadows;
use self::tries::Tries;
use super::Worker;
use super::admit::Head;
use super::fetch;
use super::reply::Reply;
use super::resolve::Wanted;
use super::settle::{Meter, micros};
use crate::rejection::Rejection;

/// The clocks of a call.
#[derive(Debug, Clone, Copy)]
struct Clocks {
    connect: Duration,
    first_byte: Duration,
    idle: Duration,
    total_at: Instant,
}

/// What every attempt of a call has in common.
struct Context<'a> {
    worker: &'a Arc<Worker>,
    organization: &'a Arc<OrganizationPolicy>,
    call: Call<'a>,
    /// What was fetched for the call.
    held: fetch::Held,
    /// The dialect of the client, in which errors are said too.
    client: Dialect,
    /// What an answer that is made here repeats of the request.
    echo: &'a Rest,
    /// A stream is written as the items of one JSON array.
    wants_array: bool,
    clocks: Clocks,
    is_debug: bool,
    /// A target that cannot express all of the request is passed over.
    refuses_losses: bool,
    /// Which target is to fail, and how; the header as it came.
    rehearsal: Option<&'a str>,
}

impl<'a> Context<'a> {
    fn of(
        worker: &'a Arc<Worker>,
        organization: &'a Arc<OrganizationPolicy>,
        head: &Head<'_>,
        headers: &'a HeaderMap,
        wanted: &'a Wanted,
        meter: &Meter,
    ) -> Self {
        let timeouts = &wanted.model.timeouts;
        let ms = |ms: u32| Duration::from_millis(u64::from(ms));
        let total = head.timeout.map_or(ms(timeouts.total_ms), |asked| asked.min(ms(timeouts.total_ms)));
        Self {
            worker,
            organization,
            call: wanted.call(headers),
            held: fetch::Held::default(),
            client: wanted.surface.dialect(),
            echo: &wanted.echo,
            wants_array: head.wants_array,
            clocks: Clocks {
                connect: ms(timeouts.connect_ms),
                first_byte: ms(timeouts.first_byte_ms),
                idle: ms(timeouts.idle_ms),
                total_at: meter.started + total,
            },
            is_debug: head.is_debug,
            refuses_losses: false,
            rehearsal: None,
        }
    }

    /// Takes over what a model's rules say.
    fn enter(&mut self, model: &ModelPolicy, wanted: &Wanted) -> Result<(), Rejection> {
        let is_required = wanted.choice.as_ref().is_some_and(|choice| choice.requires_parameters);
        self.refuses_losses = is_required || model.rules.dropped == Dropped::Refused;
        if self.refuses_losses && !wanted.dropped.is_empty() {
            return Err(refuse_losses(&wanted.dropped));
        }
        self.rehearsal = rehearsal::read(self.call.headers, model)?;
        Ok(())
    }
}

/// An attempt that gave no answer.
#[derive(Debug)]
struct Failed {
    failure: Failure,
    outcome: AttemptOutcome,
    /// The refusal to hand on when no other target does better.
    rejection: Rejection,
    /// It was only rehearsed, and says nothing about the target.
    is_rehearsed: bool,
}

/// Finds an answer.
pub(crate) async fn dispatch(
    worker: &Arc<Worker>,
    organization: &Arc<OrganizationPolicy>,
    head: &Head<'_>,
    headers: &HeaderMap,
    wanted: &Wanted,
    meter: &mut Meter,
) -> Result<Reply, Rejection> {
    let mut context = Context::of(worker, organization, head, headers, wanted, meter);
    meter.routing = Some(Routing { received_us: micros(meter.received), ..Routing::default() });
    let mut last: Option<Box<Rejection>> = None;
    for (at, model) in std::iter::once(&wanted.model).chain(&wanted.more).enumerate() {
        context.enter(model, wanted)?;
        let asking = Asking::of(worker, organization, headers, wanted, meter);
        // Kept apart: what lives on while an upstream is waited for makes every call larger.
        let mut tries = Box::new(Tries::new(model, asking.plan(model, worker.ids.seed())));
        if wanted.choice.as_ref().is_some_and(|choice| choice.forbids_fallbacks) {
            tries.only_first();
        }
        if at == 0 && !tries.plan.is_empty() {
            meter.open();
            shadow::cast(worker, organization, headers, wanted, meter);
        }
        while let Some(next) = tries.next(worker, meter, context.clocks.total_at) {
            if !next.pause.is_zero() {
                tokio::time::sleep(next.pause).await;
                meter.waited += next.pause;
            }
            let (slot, tried) = match model.rules.hedge_after {
                None => (next.slot, attempt::attempt(&context, next.deployment, meter).await),
                Some(after) => Box::pin(hedge::attempt_hedged(&context, next, after, &mut tries, meter)).await,
            };
            match tried {
                Ok(reply) => {
                    note(meter, model, &tries.plan);
                    return Ok(reply);
                }
                Err(failed) => tries.failed(worker, meter, slot, *failed),
            }
        }
        note(meter, model, &tries.plan);
        last = Some(Box::new(tries.into_rejection()));
    }
    Err(last.map_or_else(refuse_without_target, |last| *last))
}

/// Notes how a model's targets were gone through.
fn note(meter: &mut Meter, model: &Arc<ModelPolicy>, plan: &Plan) {
    if let Some(routing) = &mut meter.routing {
        for (slot, target) in (0_u8..).zip(&model.targets) {
            if let Some(reason) = plan.skip(slot) {
                routing.skipped.push(Skipped { deployment_id: target.deployment.id, reason });
            }
        }
    }
    let worker = meter.worker().clone();
    worker.shared.decisions.note(meter, model, plan);
}

fn refuse_without_target() -> Rejection {
    Rejection::new(
        GatewayCode::NoHealthyTarget,
        "no deployment can serve this model at the moment: each is switched off or lacks a usable credential; an administrator \
         can mend that in the console",
    )
}

/// Refuses to leave out parts of a request.
fn refuse_losses(paths: &[String]) -> Rejection {
    let detail = format!(
        "no target can be told all of this request, and nothing may be left out of it here; remove {}",
        paths.join(", ")
    );
    Rejection::new(GatewayCode::RequestInvalid, detail)
}

impl Failed {
    /// The upstream gave no usable answer.
    fn upstream(failure: Failure, outcome: AttemptOutcome) -> Box<Self> {
        let rejection = refuse(&failure);
        Box::new(Self { failure, outcome, rejection, is_rehearsed: false })
    }

    /// The call cannot be sent to this target.
    fn unsendable(scope: Scope, rejection: Rejection) -> Box<Self> {
        let mut failure = Failure::transport(FailureKind::InvalidRequest);
        failure.scope = scope;
        Box::new(Self { failure, outcome: AttemptOutcome::Unsendable, rejection, is_rehearsed: false })
    }

    /// The upstream refused the client's own request; `body` says so in the client's dialect.
    fn refused(failure: Failure, status: StatusCode, body: bytes::Bytes) -> Box<Self> {
        let detail = failure.message.to_string();
        Box::new(Self {
            failure,
            outcome: AttemptOutcome::Status,
            rejection: Rejection::upstream(status, body, detail),
            is_rehearsed: false,
        })
    }
}

/// Says why no upstream answered, without an upstream's own words.
fn refuse(failure: &Failure) -> Rejection {
    let (code, detail) = match failure.kind {
        FailureKind::Timeout => (
            GatewayCode::UpstreamTimeout,
            "the upstream did not answer in time; try again, or ask for a shorter answer",
        ),
        FailureKind::Connect => (GatewayCode::UpstreamError, "the upstream could not be reached; try again shortly"),
        FailureKind::RateLimited => (
            GatewayCode::UpstreamError,
            "the upstream's rate limit is used up; try again after the time in Retry-After",
        ),
        FailureKind::Overloaded => (GatewayCode::UpstreamError, "the upstream is overloaded; try again shortly"),
        FailureKind::Unauthorized | FailureKind::Forbidden => (
            GatewayCode::UpstreamError,
            "the upstream refused the credential that Headgate holds for it; an administrator has to enter a valid one",
        ),
        FailureKind::QuotaExhausted => (
            GatewayCode::UpstreamError,
            "the account that Headgate uses at the upstream has no quota left; an administrator has to raise it",
        ),
        FailureKind::NotFound => (
            GatewayCode::UpstreamError,
            "the upstream does not know this deployment's model; an administrator has to correct the deployment",
        ),
        FailureKind::Broken | FailureKind::Malformed => (
            GatewayCode::UpstreamError,
            "the upstream's answer broke off or could not be read; try again, and tell an administrator if it stays so",
        ),
        _ => (GatewayCode::UpstreamError, "the upstream failed; try again shortly"),
    };
    Rejection::new(code, detail).with_retry_after(failure.retry_after)
}
