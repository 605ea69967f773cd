//! Stage 8: the meter of one call. It settles exactly once: on rejection, at the last byte, or when it is dropped.
//!
//! Everything the usage event tells is noted here while the call runs. Dropping the meter (the client left, a panic) settles
//! with what is known by then; settling writes one record to the spool, before the last byte goes out. Invariant: an identified
//! call of a model yields exactly one usage event; a look at the models or at one's own limits yields none.

mod attempt;
mod beside;
mod event;
mod sink;

use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use domain::usage::{AttemptRecord, CacheUse, Endpoint, Routing, TokenUsage, UnitUsage};
use domain::{
    DeploymentId, EnvironmentId, NanoUsd, OrganizationId, PriceId, RequestId, RouteId, Timestamp, VirtualKeyId,
    WorkspaceId,
};
use http::HeaderValue;
use ingress::Rejection;
use ingress::admit::Notes;
use ingress::field::header_value;
use link::usage::event::OpenedCall;
use llm::canonical::event::FinishReason;
use runtime::telemetry::calls::CallSpan;
use throttle::Standing;
use throttle::live::Watch;
use tokio::time::Instant;

use self::attempt::Current;
pub use self::event::CLIENT_CLOSED;
pub(crate) use self::event::Ended;
pub use self::sink::UsageSink;
use super::Worker;
use super::budget::Money;
use super::reserve::{Held, Hold};
use super::turn::{self, Told};

/// Who calls, for the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallerIds {
    pub(crate) organization: OrganizationId,
    pub(crate) workspace: WorkspaceId,
    pub(crate) environment: EnvironmentId,
    pub(crate) key: VirtualKeyId,
}

impl CallerIds {
    pub(crate) fn of(caller: &policy::Caller<'_>) -> Self {
        Self {
            organization: caller.organization.id,
            workspace: caller.workspace.id,
            environment: caller.key.key.environment,
            key: caller.key.key.id,
        }
    }
}

/// What served the call.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    pub(crate) deployment: DeploymentId,
    pub(crate) provider: String,
    pub(crate) upstream_model: String,
}

/// Measures one call.
#[expect(clippy::struct_excessive_bools, reason = "each is one independent fact of the call")]
pub(crate) struct Meter {
    worker: Arc<Worker>,
    pub(crate) request_id: RequestId,
    /// The id's text, made once.
    pub(crate) id_text: HeaderValue,
    pub(crate) started_at: Timestamp,
    pub(crate) started: Instant,
    pub(crate) endpoint: Endpoint,
    pub(crate) is_stream: bool,
    pub(crate) caller: Option<CallerIds>,
    pub(crate) model: String,
    pub(crate) route: Option<RouteId>,
    pub(crate) policy_revision: u64,
    pub(crate) notes: Notes,
    pub(crate) attempts: Vec<AttemptRecord>,
    current: Option<Current>,
    pub(crate) served: Option<Served>,
    pub(crate) finish: Option<FinishReason>,
    price: Option<PriceId>,
    is_estimated: bool,
    pub(crate) is_unmetered: bool,
    pub(crate) dropped: Vec<String>,
    pub(crate) routing: Option<Routing>,
    /// From arrival to the whole body.
    pub(crate) received: Duration,
    /// Attempts that another meter of the same call counts.
    n_elsewhere: u8,
    pub(crate) cache: CacheUse,
    pub(crate) hold: Option<Hold>,
    /// What is held of budgets.
    pub(crate) money: Option<Box<Money>>,
    /// Time spent waiting for the client's body and for upstreams, until the answer's head.
    pub(crate) waited: Duration,
    overhead: Option<Duration>,
    first_byte: Option<Duration>,
    span: CallSpan,
    is_settled: bool,
    /// Whether the secret that was shown is being rotated away.
    pub(crate) is_by_old_secret: bool,
}

impl Meter {
    /// Starts measuring when the head of a request has arrived.
    pub(crate) fn start(worker: Arc<Worker>) -> Box<Self> {
        worker.metrics.in_flight.add(1);
        let started_at = worker.shared.clock.now();
        let request_id = worker.ids.next_request(started_at);
        Box::new(Self {
            request_id,
            id_text: header_value(&request_id),
            started_at,
            started: Instant::now(),
            endpoint: Endpoint::Other,
            is_stream: false,
            caller: None,
            model: String::new(),
            route: None,
            policy_revision: 0,
            notes: Notes::default(),
            attempts: Vec::new(),
            current: None,
            served: None,
            finish: None,
            price: None,
            is_estimated: false,
            is_unmetered: false,
            dropped: Vec::new(),
            routing: None,
            received: Duration::ZERO,
            n_elsewhere: 0,
            cache: CacheUse::default(),
            hold: None,
            money: None,
            waited: Duration::ZERO,
            overhead: None,
            first_byte: None,
            span: CallSpan::start(),
            is_settled: false,
            is_by_old_secret: false,
            worker,
        })
    }

    /// Returns the worker that serves the call.
    pub(crate) fn worker(&self) -> &Arc<Worker> {
        &self.worker
    }

    /// Makes the call's span a child of the client's.
    pub(crate) fn continue_trace(&mut self, headers: &http::HeaderMap) {
        self.span.continue_from(headers);
    }

    /// Holds more of budgets before a further attempt, when those before took something.
    pub(crate) async fn raise(&mut self) -> Result<(), Rejection> {
        let has_cost = |attempt: &AttemptRecord| attempt.cost > NanoUsd::ZERO || attempt.usage != TokenUsage::default();
        let at = self.started_at;
        match &mut self.money {
            Some(money) if self.attempts.iter().any(has_cost) => money.raise(&self.attempts, at).await?,
            _ => return Ok(()),
        }
        // Noted anew: after a crash all of it counts as taken.
        self.open();
        Ok(())
    }

    /// Tells the spool that the call is about to be sent upstream.
    pub(crate) fn open(&self) {
        if let Some(opened) = self.opened() {
            turn::tell_now(&self.worker, opened);
        }
    }

    /// The same, together with what other calls tell.
    pub(crate) fn open_together(&self) -> Option<Told<'_>> {
        Some(turn::tell(&self.worker, self.opened()?))
    }

    fn opened(&self) -> Option<OpenedCall> {
        let caller = self.caller?;
        Some(OpenedCall {
            id: self.request_id,
            organization_id: caller.organization,
            workspace_id: caller.workspace,
            environment_id: caller.environment,
            virtual_key_id: caller.key,
            node_id: self.worker.shared.node_id,
            endpoint: self.endpoint,
            model: self.model.clone(),
            is_stream: self.is_stream,
            started_at: self.started_at,
            policy_revision: self.policy_revision,
            holds: self.money.as_ref().map(|money| money.holds()).unwrap_or_default(),
        })
    }

    /// Returns what watches the call for being cut, once it holds its place.
    pub(crate) fn watch(&self) -> Option<Watch<Held>> {
        self.hold.as_ref().map(Hold::watch)
    }

    /// Returns how the call is refused when it is cut; if it is not, the task is woken when it is.
    pub(crate) fn poll_cut(&self, cx: &Context<'_>) -> Option<Rejection> {
        self.hold.as_ref()?.poll_cut(cx)
    }

    /// Returns how the rate limits of the call stood when it was let through.
    pub(crate) fn standing(&self) -> Option<Standing> {
        self.hold.as_ref()?.standing()
    }

    /// Notes that the answer begins, and returns the time spent in Headgate itself until now.
    pub(crate) fn answered(&mut self, now: Instant) -> Duration {
        self.first_byte = Some(now.duration_since(self.started));
        self.refused(now)
    }

    /// Returns what Headgate itself took until it refused.
    pub(crate) fn refused(&mut self, now: Instant) -> Duration {
        let overhead = now.duration_since(self.started).saturating_sub(self.waited);
        self.overhead = Some(overhead);
        overhead
    }

    /// Returns the tokens over all attempts.
    pub(crate) fn usage(&self) -> TokenUsage {
        self.attempts.iter().fold(TokenUsage::default(), |sum, attempt| sum.plus(attempt.usage))
    }

    /// Returns what was counted beside tokens over all attempts.
    fn units(&self) -> UnitUsage {
        self.attempts.iter().fold(UnitUsage::default(), |sum, attempt| sum.plus(attempt.units))
    }

    /// Returns the cost over all attempts.
    pub(crate) fn cost(&self) -> NanoUsd {
        self.attempts.iter().map(|attempt| attempt.cost).sum()
    }
}

/// Returns whole microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
