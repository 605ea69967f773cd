//! Stage 6: tries targets until one answers, up to the commit point.
//!
//! Which failure allows what comes from `provider::failure`: a fact about the request ends the call, one about a credential skips all
//! targets with it, one about a deployment or provider moves on. All attempts share one deadline; only repeated tries of one
//! target are charged to the retry budget. Invariant: nothing of a failed attempt has reached the client.

mod attempt;
mod bases;
mod continuation;
mod facts;
mod failed;
mod hedge;
mod line;
mod preview;
mod rehearsal;
mod shadow;
mod tries;

use std::sync::Arc;
use std::time::Duration;

use domain::route::{Dropped, FailureClass, StreamFailure, Timeouts};
use domain::usage::{Routing, Skipped};
use http::HeaderMap;
use ingress::Rejection;
use ingress::admit::Head;
pub(crate) use ingress::unserved::refuse_losses;
use ingress::unserved::refuse_without_target;
use llm::canonical::json::Rest;
use llm::dialect::Dialect;
use policy::snapshot::{ModelPolicy, Next as Rule, OrganizationPolicy};
use provider::{Call, Provider};
use tokio::time::Instant;

pub(crate) use self::bases::Bases;
pub(crate) use self::continuation::{Continuation, Continued};
pub(crate) use self::facts::{Asking, Known};
use self::failed::Failed;
pub(crate) use self::line::{Calling, Line, open_line, record as line_record};
pub(crate) use self::preview::{Sent, preview};
pub(crate) use self::shadow::Shadows;
use self::tries::{Next, Tries};
use super::Worker;
use super::reply::Reply;
use super::resolve::Wanted;
use super::settle::{Meter, micros};
use super::{budget, fetch};

/// The clocks of a call.
#[derive(Debug, Clone, Copy)]
struct Clocks {
    connect: Duration,
    first_byte: Duration,
    idle: Duration,
    total_at: Instant,
}

/// What a call wants of its answer, and by when.
#[derive(Debug, Clone, Copy)]
struct Terms {
    clocks: Clocks,
    /// A stream is written as the items of one JSON array.
    wants_array: bool,
    is_debug: bool,
}

impl Terms {
    fn of(timeouts: &Timeouts, started: Instant, asked: Option<Duration>) -> Self {
        let ms = |ms: u32| Duration::from_millis(u64::from(ms));
        let total = asked.map_or(ms(timeouts.total_ms), |asked| asked.min(ms(timeouts.total_ms)));
        let clocks = Clocks {
            connect: ms(timeouts.connect_ms),
            first_byte: ms(timeouts.first_byte_ms),
            idle: ms(timeouts.idle_ms),
            total_at: started + total,
        };
        Self { clocks, wants_array: false, is_debug: false }
    }

    fn of_call(head: &Head<'_>, wanted: &Wanted, meter: &Meter) -> Self {
        let terms = Self::of(&wanted.model.timeouts, meter.started, head.timeout);
        Self { wants_array: head.wants_array, is_debug: head.is_debug, ..terms }
    }
}

/// What every attempt of a call has in common.
#[expect(clippy::struct_excessive_bools, reason = "each is one independent rule of the call")]
struct Context<'a> {
    worker: &'a Arc<Worker>,
    organization: &'a Arc<OrganizationPolicy>,
    call: Call<'a>,
    /// What was fetched for the call.
    held: fetch::Held,
    /// The same for upstreams that go on from a message of their own.
    prefilled: Option<&'a Call<'a>>,
    /// The dialect of the client, in which errors are said too.
    client: Dialect,
    /// What an answer that is made here repeats of the request.
    echo: &'a Rest,
    terms: Terms,
    /// What a stream says is kept, so that another target can go on from it.
    keeps: bool,
    /// The answer goes on from another.
    is_later: bool,
    /// An answer that a filter has taken away counts as none: a rule says what is tried then.
    minds_filters: bool,
    /// A target that cannot express all of the request is passed over.
    refuses_losses: bool,
    /// Which target is to fail, and how; the header as it came.
    rehearsal: Option<&'a str>,
}

impl<'a> Context<'a> {
    fn of(
        worker: &'a Arc<Worker>,
        organization: &'a Arc<OrganizationPolicy>,
        terms: Terms,
        headers: &'a HeaderMap,
        wanted: &'a Wanted,
    ) -> Self {
        Self {
            worker,
            organization,
            call: wanted.call(headers),
            held: fetch::Held::default(),
            prefilled: None,
            client: wanted.surface.dialect(),
            echo: &wanted.echo,
            terms,
            keeps: false,
            is_later: false,
            minds_filters: false,
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
        let on_filter = model.rules.next(FailureClass::ContentFilter);
        self.minds_filters = matches!(on_filter, Rule::Further | Rule::To(_));
        self.rehearsal = rehearsal::read(self.call.headers, model)?;
        self.keeps =
            model.rules.on_stream_failure == StreamFailure::Continue && ::continuation::may_continue(&self.call);
        Ok(())
    }

    /// The call as a model is asked it, and whether that model goes on from a message of its own.
    fn call_for(&self, provider: &dyn Provider, model: &str) -> (&Call<'a>, bool) {
        let prefilled = self.prefilled.filter(|_| provider.spec().quirks.prefill.holds_for(model));
        prefilled.map_or((&self.call, false), |call| (call, true))
    }
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
    let terms = Terms::of_call(head, wanted, meter);
    let mut context = Context::of(worker, organization, terms, headers, wanted);
    meter.routing = Some(Routing { received_us: micros(meter.received), ..Routing::default() });
    let mut last: Option<Box<Rejection>> = None;
    // Counted by hand: what an iterator keeps is kept for as long as an upstream is waited for.
    let mut at = 0;
    while let Some(model) = if at == 0 { Some(&wanted.model) } else { wanted.more.get(at - 1) } {
        context.enter(model, wanted)?;
        // Kept apart, and nothing else kept: what lives on while an upstream is waited for makes every call larger.
        let mut tries = {
            let plan = Asking::of(worker, organization, headers, wanted, meter).plan(model, worker.ids.seed());
            Box::new(Tries::new(model, plan))
        };
        if wanted.choice.as_ref().is_some_and(|choice| choice.forbids_fallbacks) {
            tries.only_first();
        }
        if at == 0 && !tries.plan.is_empty() {
            if !organization.budgets().is_empty() {
                // On the heap: few calls wait here.
                Box::pin(budget::hold(worker, organization, wanted, meter)).await?;
            }
            if let Some(told) = meter.open_together() {
                told.await;
            }
            shadow::cast(worker, organization, headers, wanted, meter);
        }
        let found = go_through(&context, &mut tries, meter).await;
        note(meter, &tries, false);
        if let Some((slot, mut reply)) = found {
            if let Reply::Stream(start) = &mut reply
                && context.keeps
            {
                start.continuation = Some(Continuation::new(&context, wanted, tries, slot));
            }
            return Ok(reply);
        }
        last = Some(Box::new(tries.take_rejection()));
        at += 1;
    }
    Err(last.map_or_else(refuse_without_target, |last| *last))
}

/// Tries what is left until one answers; returns whose slot it is.
async fn go_through(context: &Context<'_>, tries: &mut Tries, meter: &mut Meter) -> Option<(u8, Reply)> {
    while let Some(Next { slot, deployment, pause }) = tries.next(context.worker, meter, context.terms.clocks.total_at)
    {
        if meter.money.is_some()
            && let Err(refused) = Box::pin(meter.raise()).await
        {
            tries.refuse(refused);
            return None;
        }
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
            meter.waited += pause;
        }
        let (slot, tried) = if tries.model.rules.hedge_after.is_none() || context.is_later {
            (slot, attempt::attempt(context, &deployment, meter).await)
        } else {
            Box::pin(hedge::attempt_hedged(context, (slot, deployment), tries, meter)).await
        };
        match tried {
            Ok(reply) => return Some((slot, reply)),
            Err(failed) => tries.failed(context.worker, meter, slot, *failed),
        }
    }
    None
}

/// Notes how a model's targets were gone through; `again` when that was noted before, for an answer that goes on.
fn note(meter: &mut Meter, tries: &Tries, again: bool) {
    let (model, plan) = (&tries.model, &tries.plan);
    if let Some(routing) = meter.routing.as_mut().filter(|_| !again) {
        for (slot, target) in (0_u8..).zip(&model.targets) {
            if let Some(reason) = plan.skip(slot) {
                routing.skipped.push(Skipped { deployment_id: target.deployment.id, reason });
            }
        }
    }
    let worker = meter.worker().clone();
    worker.shared.decisions.note(meter, model, plan, again);
}
