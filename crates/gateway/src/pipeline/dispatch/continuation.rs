//! Going on with a stream that broke off after its first byte: what of a call is kept for that, and how another target is asked.
//!
//! Only where the route says so, and only for text (`continuation`). The targets, their order, the attempts that are left and the
//! retry budget are those of the call; what is asked is the client's request with what was said so far at its end.

use std::sync::Arc;

use continuation::Asked;
use domain::usage::{AttemptOutcome, TokenUsage};
use futures_util::future::BoxFuture;
use http::HeaderMap;
use policy::snapshot::OrganizationPolicy;
use provider::Call;
use provider::failure::Failure;

use super::tries::Tries;
use super::{Context, Failed, Terms, go_through, note};
use crate::pipeline::relay::stream::Start;
use crate::pipeline::reply::Reply;
use crate::pipeline::resolve::Wanted;
use crate::pipeline::settle::Meter;
use crate::pipeline::{Worker, budget};

/// What it takes to ask another target for the rest of an answer.
pub(crate) struct Continuation {
    worker: Arc<Worker>,
    organization: Arc<OrganizationPolicy>,
    headers: HeaderMap,
    wanted: Wanted,
    terms: Terms,
    tries: Box<Tries>,
    /// Who is answering.
    slot: u8,
}

/// What came of it.
pub(crate) struct Continued {
    pub(crate) meter: Box<Meter>,
    /// What the attempts until then used.
    pub(crate) before: TokenUsage,
    /// The answer that goes on; `None` when no target has one.
    pub(crate) next: Option<Box<Start>>,
}

impl Continuation {
    pub(super) fn new(context: &Context<'_>, wanted: &Wanted, tries: Box<Tries>, slot: u8) -> Box<Self> {
        Box::new(Self {
            worker: context.worker.clone(),
            organization: context.organization.clone(),
            headers: context.call.headers.clone(),
            wanted: wanted.clone(),
            terms: context.terms,
            tries,
            slot,
        })
    }

    /// Asks for the rest of an answer whose attempt has ended.
    pub(crate) fn go_on(
        mut self: Box<Self>,
        mut meter: Box<Meter>,
        said: String,
        failure: Failure,
        outcome: AttemptOutcome,
        is_rehearsed: bool,
    ) -> BoxFuture<'static, Continued> {
        Box::pin(async move {
            let (before, served) = (meter.usage(), meter.served.clone());
            let mut failed = Failed::upstream(failure, outcome);
            failed.is_rehearsed = is_rehearsed;
            self.tries.failed(&self.worker, &meter, self.slot, *failed);
            let next = self.find(&said, &mut meter).await;
            if next.is_none() {
                // Nobody else has said anything.
                meter.served = served;
            }
            Continued { meter, before, next }
        })
    }

    async fn find(mut self: Box<Self>, said: &str, meter: &mut Meter) -> Option<Box<Start>> {
        let call = self.wanted.call(&self.headers);
        let told = continuation::ask(&call, said, false)?;
        let prefilled = continuation::ask(&call, said, true);
        let Asked { body, scan } = told;
        let wanted = Wanted { body, scan, ..self.wanted.clone() };
        let mut context = Context::of(&self.worker, &self.organization, self.terms, &self.headers, &wanted);
        let model = self.tries.model.clone();
        context.enter(&model, &wanted).ok()?;
        context.is_later = true;
        let prefilled = prefilled.as_ref().map(|Asked { body, scan }| Call { body, scan, ..call });
        context.prefilled = prefilled.as_ref();
        budget::sends(&self.organization, &wanted, meter);
        if let Some(routing) = &mut meter.routing {
            routing.continued = routing.continued.saturating_add(1);
        }
        let found = go_through(&context, &mut self.tries, meter).await;
        note(meter, &self.tries, true);
        let Some((slot, Reply::Stream(mut start))) = found else {
            if let Some(routing) = &mut meter.routing {
                routing.continued = routing.continued.saturating_sub(1);
            }
            return None;
        };
        self.slot = slot;
        start.continuation = Some(self);
        Some(start)
    }
}
