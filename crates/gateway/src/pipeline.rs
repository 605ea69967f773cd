//! The request path: eight stages, one file each; the first lies with what it reads, in crate `ingress`.
//!
//! | # | stage | takes → gives |
//! |---|---|---|
//! | 1 | `admit` | request head → what is asked for |
//! | 2 | `identify` | presented key → caller |
//! | 3 | `resolve` | body and model name → call and targets |
//! | 4 | `reserve` | caller → a place in flight |
//! | – | `budget` | a call that is about to be sent → what it holds of budgets |
//! | – | `again` | a call whose answer may be given again → that answer, or on to dispatch |
//! | 5 | guard | nothing yet: a node is told of no guardrails, so there is nothing to run |
//! | 6 | `dispatch` | attempts until one answers |
//! | 7 | `relay` | upstream bytes → client bytes |
//! | 8 | `settle` | what happened → usage event, metrics, span |
//!
//! Invariants: no body is read for an unknown key; nothing that costs money runs before the limits; until the first byte is
//! handed to the client another target may be tried, after it never; the meter settles exactly once.

pub(crate) mod again;
pub(crate) mod batches;
pub(crate) mod body;
pub(crate) mod budget;
mod compact;
pub(crate) mod cut;
pub(crate) mod decisions;
pub(crate) mod dispatch;
pub(crate) mod fetch;
pub(crate) mod identify;
mod ids;
mod limits;
mod models;
mod passthrough;
pub(crate) mod probes;
mod rates;
pub(crate) mod realtime;
pub(crate) mod relay;
pub(crate) mod remember;
pub(crate) mod reply;
pub(crate) mod reserve;
pub(crate) mod resolve;
pub(crate) mod retry;
pub(crate) mod settle;
pub(crate) mod trace;
mod transform;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use ::realtime::client_secret::Form;
use arc_swap::ArcSwap;
use batch::BatchCall;
use domain::code::GatewayCode;
use domain::usage::Endpoint as EndpointName;
use domain::{Clock, NodeId};
use http::Response;
use http::request::Parts;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use ingress::endpoint::{self, Endpoint};
use ingress::surface::Surface;
use ingress::{Rejection, admit};
use llm::dialect::Dialect;
use policy::{Caller, KeyRefusal, Snapshot};
use remote::store::RemoteStore;
use runtime::telemetry::metrics::{Metrics, Shard};
use tokio::time::Instant;
use upstream::client::Client;
use upstream::dial::Dial;
use upstream::exchanges::Exchanges;
use upstream::health::Health;

use self::decisions::Decisions;
use self::ids::Ids;
use self::relay::ReplyBody;
use self::reply::Reply;
use self::reserve::InFlight;
use self::resolve::Wanted;
use self::retry::RetryBudgets;
use self::settle::{CallerIds, Meter, UsageSink};
use crate::Ephemeral;
use crate::config::GatewayConfig;
use crate::responses::ResponseStore;
use crate::server::body::Incoming;

/// Most of an unread body that is read and thrown away after a refusal, so that the client gets to read it.
const MAX_DISCARD: usize = 1024 * 1024;
/// Longest time for that.
const DISCARD_FOR: Duration = Duration::from_secs(2);

/// What all workers of a node share.
pub(crate) struct Shared {
    pub(crate) config: GatewayConfig,
    pub(crate) node_id: NodeId,
    pub(crate) decisions: Decisions,
    pub(crate) shadows: dispatch::Shadows,
    pub(crate) policy: Arc<ArcSwap<Snapshot>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) usage: Arc<dyn UsageSink>,
    pub(crate) responses: Arc<dyn ResponseStore>,
    pub(crate) remotes: Arc<dyn RemoteStore>,
    pub(crate) health: Health,
    pub(crate) exchanges: Exchanges,
    pub(crate) metrics: Metrics,
    pub(crate) in_flight: InFlight,
    pub(crate) live: cut::Live,
    pub(crate) throttle: throttle::Throttle,
    /// Where the moments begin that rate limits count in.
    pub(crate) began: Instant,
    pub(crate) retries: RetryBudgets,
    pub(crate) ephemeral: Ephemeral,
    pub(crate) purse: purse::Purse,
    pub(crate) flights: state::flights::Flights,
    pub(crate) fetching: fetch::Fetching,
}

impl Shared {
    /// Returns this moment, as rate limits count them.
    pub(crate) fn moment_us(&self) -> u64 {
        settle::micros(self.began.elapsed())
    }
}

/// One listener thread's own things.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) metrics: Arc<Shard>,
    pub(crate) client: Arc<Client>,
    pub(crate) ids: Ids,
    pub(crate) bases: dispatch::Bases,
    turn: turn::Turn,
}

impl Worker {
    pub(crate) fn new(
        shared: Arc<Shared>,
        index: usize,
        dial: Arc<dyn Dial>,
        entropy: Arc<dyn domain::Entropy>,
    ) -> Self {
        Self {
            metrics: shared.metrics.shard(index),
            client: Arc::new(Client::new(dial)),
            ids: Ids::new(entropy),
            bases: dispatch::Bases::default(),
            turn: turn::Turn::default(),
            shared,
        }
    }
}

/// Serves one client call, unless it is already `refused`. The meter settles exactly once: on rejection, on the last byte, or
/// when the body is dropped.
pub(crate) async fn handle(
    parts: Box<Parts>,
    mut body: Option<Incoming>,
    refused: Option<Rejection>,
    mut meter: Box<Meter>,
) -> Response<ReplyBody> {
    let worker = meter.worker().clone();
    let answered = match refused {
        Some(refused) => Err(refused),
        None => run(&worker, &parts, &mut body, &mut meter).await,
    };
    match answered {
        Ok(reply) => {
            let mut response = reply.respond(meter);
            if let Some(ended) = response.body_mut().close() {
                turn::tell(&worker, ended).await;
            }
            response
        }
        Err(rejection) => {
            if let Some(unread) = body.take() {
                discard(unread);
            }
            let dialect = endpoint::error_dialect(parts.uri.path(), &parts.headers);
            reply::reject(&rejection, dialect, meter)
        }
    }
}

async fn run(
    worker: &Arc<Worker>,
    parts: &Parts,
    body: &mut Option<Incoming>,
    meter: &mut Box<Meter>,
) -> Result<Reply, Rejection> {
    // One snapshot, pinned for the whole call.
    let snapshot = worker.shared.policy.load_full();
    let head = admit::admit(&parts.method, &parts.uri, &parts.headers, &worker.shared.config.limits)?;
    meter.endpoint = endpoint_name(head.endpoint);
    let (presented, caller, granted) =
        identify::find_caller(&snapshot, head.endpoint, &parts.headers, meter.started_at)?;
    meter.caller = Some(CallerIds::of(&caller));
    meter.is_by_old_secret = caller.is_by_old_secret;
    meter.policy_revision = caller.organization.revision;
    meter.continue_trace(&parts.headers);
    match head.endpoint {
        Endpoint::Models => {
            let dialect = endpoint::error_dialect(parts.uri.path(), &parts.headers);
            return Ok(models::list(&caller, dialect, meter.started_at));
        }
        Endpoint::Model(id) => {
            let dialect = endpoint::error_dialect(parts.uri.path(), &parts.headers);
            return models::get(&caller, id, dialect, meter.started_at);
        }
        Endpoint::Response(id) => return Box::pin(remember::show(worker, &caller, (&parts.method, id), meter)).await,
        Endpoint::ResponseInput(id) => return Box::pin(remember::list_input(worker, &caller, id, meter)).await,
        Endpoint::CancelResponse(id) => return Box::pin(remember::cancel(worker, &caller, id, meter)).await,
        Endpoint::Limits => {
            let notes = admit::Notes::read(&parts.headers)?;
            return Box::pin(limits::show(worker, &caller, &notes)).await;
        }
        Endpoint::Passthrough { provider, rest } => {
            meter.notes = admit::Notes::read(&parts.headers)?;
            // On the heap: few calls take this way.
            let call = passthrough::forward(worker, &caller, &head, parts, body, (provider, rest), meter);
            return Box::pin(call).await;
        }
        Endpoint::Realtime => {
            meter.notes = admit::Notes::read(&parts.headers)?;
            return Box::pin(realtime::open(worker, &caller, &head, parts, (presented, granted), meter)).await;
        }
        Endpoint::ClientSecrets { is_older } => {
            let form = if is_older { Form::Sessions } else { Form::ClientSecrets };
            return Box::pin(realtime::issue(worker, &caller, &head, body, (presented, form), meter)).await;
        }
        Endpoint::Batches(call) => {
            return batches::boxed(worker, &caller, call, &head, parts, body, meter).await;
        }
        Endpoint::Transform => return transform::show(worker, &caller, &head, parts, body, meter).await,
        _ => {}
    }
    let Some(surface) = Surface::of(head.endpoint) else { return Err(Rejection::internal()) };
    meter.notes = admit::Notes::read(&parts.headers)?;
    meter.dropped = admit::list_unknown(&parts.headers);
    let mut wanted = resolve::resolve(worker, &caller, &head, surface, body, meter).await?;
    let compaction = match surface {
        Surface::Compact | Surface::CountTokens(Dialect::OpenAiResponses) | Surface::Chat(Dialect::OpenAiResponses)
            if compact::is_wanted(&wanted) =>
        {
            Box::pin(compact::make(worker, &caller, &mut wanted, meter)).await?
        }
        _ => None,
    };
    // Boxed, like what follows of it: few calls remember, and all would have to make room for it.
    let memory = match surface {
        Surface::Chat(Dialect::OpenAiResponses) if compaction.is_none() => {
            Box::pin(remember::recall(worker, &caller, &mut wanted, meter)).await?
        }
        _ => None,
    };
    meter.hold = Some(rates::enter(worker, caller.organization, &wanted, meter).await?);
    // An answer that is kept is one of its own: what another call was told has that call's id.
    if memory.is_none() && compaction.is_none() && again::is_wanted(&wanted, meter) {
        return cut::guard(meter.watch(), again::boxed(worker, &caller, &head, parts, &wanted, meter)).await;
    }
    let reply = send(worker, &caller, &head, parts, &wanted, meter).await?;
    let mut reply = finish(&wanted, reply, meter)?;
    if let Some(compaction) = compaction {
        reply = compact::finish(&compaction, reply, meter)?;
    }
    match memory {
        Some(memory) => Ok(Box::pin(remember::keep(memory, reply, meter)).await),
        None => Ok(reply),
    }
}

/// Finds an answer upstream, until the call is cut.
fn send<'a>(
    worker: &'a Arc<Worker>,
    caller: &'a Caller<'a>,
    head: &'a admit::Head<'a>,
    parts: &'a Parts,
    wanted: &'a Wanted,
    meter: &'a mut Meter,
) -> impl Future<Output = Result<Reply, Rejection>> + 'a {
    let watch = meter.watch();
    cut::guard(watch, dispatch::dispatch(worker, caller.organization, head, &parts.headers, wanted, meter))
}

/// Writes an upstream's answer as the surface has it.
fn finish(wanted: &Wanted, reply: Reply, meter: &mut Meter) -> Result<Reply, Rejection> {
    meter.dropped.extend_from_slice(&wanted.dropped);
    reply.finish(wanted.surface)
}

fn refuse_key(refusal: KeyRefusal) -> Rejection {
    match refusal {
        KeyRefusal::Invalid => Rejection::new(
            GatewayCode::KeyInvalid,
            "this key is not a Headgate key of this gateway; copy it again, or issue a new one in the console",
        ),
        KeyRefusal::Expired => {
            Rejection::new(GatewayCode::KeyExpired, "this key has expired; issue a new one, or move its end, in the console")
        }
        KeyRefusal::Revoked => {
            Rejection::new(GatewayCode::KeyRevoked, "this key was revoked; issue a new one in the console")
        }
        KeyRefusal::Stopped => cut::refuse_stopped(),
        KeyRefusal::Unverifiable => Rejection::new(
            GatewayCode::PolicyStale,
            "this gateway node cannot verify keys at the moment, because it has had no word from its control plane; try again \
             shortly",
        )
        .with_retry_after(Some(identify::STALE_RETRY)),
        KeyRefusal::Broken => resolve::refuse_broken("the policy of this key's workspace"),
    }
}

const fn endpoint_name(endpoint: Endpoint<'_>) -> EndpointName {
    match (Surface::of(endpoint), endpoint) {
        (Some(surface), _) => surface.endpoint_name(),
        (None, Endpoint::Models | Endpoint::Model(_)) => EndpointName::Models,
        (None, Endpoint::Passthrough { .. }) => EndpointName::Passthrough,
        (None, Endpoint::Realtime) => EndpointName::RealtimeSession,
        (None, Endpoint::Batches(BatchCall::Files | BatchCall::File(_) | BatchCall::Content(_))) => EndpointName::Files,
        (None, Endpoint::Batches(_)) => EndpointName::Batches,
        (None, _) => EndpointName::Own,
    }
}

/// Reads what is left of a refused request's body, within bounds. A client that is still sending would otherwise see its
/// connection reset before it has read the refusal.
fn discard(body: Incoming) {
    // A connection of its own reads it by itself.
    let Incoming::Shared(mut body) = body else { return };
    if body.is_end_stream() {
        return;
    }
    runtime::tasks::spawn("gateway.discard", async move {
        let discarding = async {
            let mut n_bytes = 0;
            while n_bytes < MAX_DISCARD
                && let Some(Ok(frame)) = body.frame().await
            {
                n_bytes += frame.data_ref().map_or(0, bytes::Bytes::len);
            }
        };
        // Out of time is as good an end as any.
        let _ = tokio::time::timeout(DISCARD_FOR, discarding).await;
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_for_each_stream_stays_small() {
        assert!(size_of::<Meter>() <= 1_024, "{}", size_of::<Meter>());
        assert!(size_of::<relay::StreamRelay>() <= 512, "{}", size_of::<relay::StreamRelay>());
        assert!(size_of::<ReplyBody>() <= 192, "{}", size_of::<ReplyBody>());
    }
}
