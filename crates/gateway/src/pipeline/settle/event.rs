//! The end of a call: what is charged, counted and told, once.

use domain::NanoUsd;
use domain::code::GatewayCode;
use domain::usage::{AttemptOutcome, Endpoint, Outcome, TokenUsage, UsageEvent};
use ingress::Rejection;
use purse::Settled;
use runtime::telemetry::metrics;
use throttle::Use;
use tokio::time::Instant;

use super::{Meter, micros};
use crate::pipeline::relay::Bill;
use crate::pipeline::reserve::Hold;
use crate::pipeline::{trace, turn};

/// The status noted for a client that left before it was answered; nginx's convention.
pub const CLIENT_CLOSED: u16 = 499;

/// A call that has ended, to be told to the spool.
pub(crate) struct Ended {
    pub(crate) event: Box<UsageEvent>,
    /// What it was charged; its leases stay open until this is dropped.
    pub(crate) settled: Option<Settled>,
}

impl Meter {
    /// Ends a call that was answered whole. What is returned is to be on file before the answer is handed over.
    pub(crate) fn close_whole(mut self: Box<Self>) -> Option<Ended> {
        self.close(Outcome::Success, 200, None)
    }

    /// Settles a refused call.
    pub(crate) fn reject(mut self: Box<Self>, rejection: &Rejection) {
        self.settle(rejection.outcome(), rejection.status().as_u16(), Some(rejection.code));
    }

    /// Settles a session; its turns are settled each by itself.
    pub(crate) fn end_session(mut self: Box<Self>, outcome: Outcome, code: Option<GatewayCode>) {
        self.settle(outcome, 101, code);
    }

    /// Settles a call that was answered.
    pub(crate) fn end(mut self: Box<Self>, outcome: Outcome, code: Option<GatewayCode>) {
        self.settle(outcome, 200, code);
    }

    fn settle(&mut self, outcome: Outcome, status: u16, code: Option<GatewayCode>) {
        if let Some(ended) = self.close(outcome, status, code) {
            turn::tell_now(&self.worker, ended);
        }
    }

    /// Gives the call's place back, and tells its rate limits what it used.
    fn leave(&self, hold: Option<Hold>, usage: TokenUsage, cost: NanoUsd) {
        let Some(hold) = hold else { return };
        let served = self.served.as_ref().filter(|_| !self.cache.is_reused());
        let used = Use {
            // A session is counted by its turns.
            requests: u64::from(self.endpoint != Endpoint::RealtimeSession),
            input_tokens: usage.total_input(),
            output_tokens: usage.output,
            cost: u64::try_from(cost.as_nanos()).unwrap_or(0),
        };
        hold.settle(&self.worker.shared, &used, served.map(|served| &*served.provider));
    }

    /// Ends the call; returns its event, once.
    fn close(&mut self, outcome: Outcome, status: u16, code: Option<GatewayCode>) -> Option<Ended> {
        if std::mem::replace(&mut self.is_settled, true) {
            return None;
        }
        let hold = self.hold.take();
        self.end_attempt(AttemptOutcome::Cancelled, &Bill::default(), Instant::now());
        self.worker.metrics.in_flight.sub(1);
        let duration = self.started.elapsed();
        let overhead = self.overhead.unwrap_or_else(|| duration.saturating_sub(self.waited));
        let (usage, cost) = (self.usage(), self.cost());
        self.leave(hold, usage, cost);
        self.worker.metrics.settle(&metrics::Call {
            endpoint: self.endpoint,
            outcome,
            code,
            duration,
            first_byte: self.first_byte,
            overhead,
            usage,
            cost_nano_usd: cost.as_nanos(),
            cache: self.cache,
        });
        trace::end(std::mem::take(&mut self.span), self, outcome, status, usage, cost);
        // A refusal for want of room must not take up the room that is left for calls in flight.
        let is_kept = self.endpoint.is_metered() && code != Some(GatewayCode::UsageFull);
        let caller = self.caller.filter(|_| is_kept)?;
        // Its leases stay open until the event is written.
        let mut settled = self.money.take().map(|money| money.settle(&self.attempts, self.is_unmetered));
        // Nothing upstream took part in an answer that is given again; it belongs in no deployment's figures.
        let served = self.served.take().filter(|_| !self.cache.is_reused());
        let (deployment_id, provider, upstream_model) = match served {
            Some(served) => (Some(served.deployment), Some(served.provider), Some(served.upstream_model)),
            None => (None, None, None),
        };
        let notes = std::mem::take(&mut self.notes);
        let event = Box::new(UsageEvent {
            id: self.request_id,
            organization_id: caller.organization,
            workspace_id: caller.workspace,
            environment_id: caller.environment,
            virtual_key_id: caller.key,
            node_id: self.worker.shared.node_id,
            endpoint: self.endpoint,
            model: std::mem::take(&mut self.model),
            route_id: self.route,
            deployment_id,
            provider,
            upstream_model,
            is_stream: self.is_stream,
            outcome,
            status,
            code: code.map(|code| code.as_str().to_owned()),
            finish_reason: self.finish.map(|reason| reason.as_str().to_owned()),
            started_at: self.started_at,
            duration_us: micros(duration),
            first_byte_us: self.first_byte.map(micros),
            overhead_us: micros(overhead),
            usage,
            units: self.units(),
            is_estimated: self.is_estimated,
            is_unmetered: self.is_unmetered,
            cost,
            price_id: self.price,
            cache: self.cache,
            policy_revision: self.policy_revision,
            end_user: notes.end_user,
            conversation_id: notes.conversation_id,
            trace_id: notes.trace_id,
            metadata: notes.metadata,
            routing: self.routing.take(),
            tags: notes.tags,
            dropped: std::mem::take(&mut self.dropped),
            attempts: std::mem::take(&mut self.attempts),
            charges: settled.as_mut().map(Settled::take_charges).unwrap_or_default(),
            is_by_old_secret: self.is_by_old_secret,
        });
        Some(Ended { event, settled })
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if !self.is_settled {
            let status = match (self.endpoint, self.first_byte) {
                (_, None) => CLIENT_CLOSED,
                (Endpoint::RealtimeSession, Some(_)) => 101,
                (_, Some(_)) => 200,
            };
            self.settle(Outcome::ClientClosed, status, None);
        }
    }
}
