//! `GET /v1/realtime`: a WebSocket that speaks OpenAI's realtime events with a model that does; and the secrets with which clients of a
//! server open one.
//!
//! Everything that can be refused is refused in HTTP, before the client's handshake is answered: key, model, limits, and every
//! target that does not agree to speak. From then on `realtime::Session` carries the messages, in a task of its own,
//! and asks [`host`]. Invariant: the upstream's handshake is done before the client's.

mod host;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::Secret;
use domain::code::GatewayCode;
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};
use http1::server::Takeover;
use ingress::Rejection;
use ingress::admit::Head;
use ingress::endpoint;
use policy::Caller;
use tokio::time::{Instant, sleep};

use self::host::SessionHost;
use super::budget::{self, Money, Unread, Window};
use super::dispatch::{Calling, Line, open_line};
use super::rates::{self, Counted};
use super::relay::ReplyBody;
use super::reply::Reply;
use super::settle::Meter;
use super::{Worker, reserve, resolve};
use crate::server::Stop;
use crate::server::body::Incoming;
use ::realtime::client_secret::{self, Form, Grant, Wish};
use ::realtime::handshake::Offer;
use ::realtime::{Limits, Session, session};

/// Longest model name that is noted.
const MAX_NOTED: usize = 256;

/// A session to which an upstream has agreed, and the client has not been told.
pub(crate) struct Opening {
    offer: Offer,
    takeover: Takeover,
    stop: Stop,
    line: Line,
    /// What the first turn holds of budgets.
    money: Option<Box<Money>>,
    /// The client's key, to be asked about again.
    key: Secret<String>,
    worker: Arc<Worker>,
    billed_to: Arc<policy::snapshot::OrganizationPolicy>,
    /// Longest session that the client wants.
    within: Option<Duration>,
    /// How a client secret wants the session set up.
    says_first: Option<String>,
}

/// What a session is, for people.
const SESSION: &str = "a turn of a realtime session";

/// Finds an upstream for a session.
pub(crate) async fn open(
    worker: &Arc<Worker>,
    caller: &Caller<'_>,
    head: &Head<'_>,
    parts: &Parts,
    (presented, granted): (&str, Option<&str>),
    meter: &mut Meter,
) -> Result<Reply, Rejection> {
    let grant = granted.map(|granted| read_grant(granted, meter)).transpose()?;
    let refuse = |detail: String| Rejection::new(GatewayCode::RequestInvalid, detail);
    let offer = Offer::read(&parts.method, parts.version, &parts.headers).map_err(|error| refuse(error.to_string()))?;
    let query = parts.uri.query();
    let name = endpoint::parameter(query, "model").or_else(|| endpoint::parameter(query, "deployment"));
    let name = match (name, &grant) {
        (Some(name), Some(grant)) if *name != grant.model => {
            let detail = "this client secret is for another model than the address names; leave the model out, or make a secret for it";
            return Err(Rejection::new(GatewayCode::ModelNotAllowed, detail).with_param("model"));
        }
        (Some(name), _) => name,
        (None, Some(grant)) => grant.model.as_str().into(),
        (None, None) => {
            let detail = "the address names no model; add ?model= with one of those that GET /v1/models lists";
            return Err(refuse(detail.to_owned()).with_param("model"));
        }
    };
    meter.model = resolve::clip(&name, MAX_NOTED);
    meter.is_stream = true;
    let model = resolve::find_plain(caller, &name)?;
    meter.route = model.route;
    if !caller.organization.budgets().is_empty() {
        let providers = budget::providers(model.targets.iter().map(|target| &*target.deployment));
        let target = model.targets.iter().map(|target| &*target.deployment).max_by_key(|it| {
            let window = Window::of_turn(it);
            // One that is not known is the dearest of all.
            window.map_or(u64::MAX, |window| window.cost(caller.organization, it, meter.started_at).unwrap_or(u64::MAX))
        });
        let window = target.and_then(|target| Some((target, Window::of_turn(target)?)));
        let unread = Unread { what: SESSION, providers: &providers, model: Some(&name), window, is_many: false };
        budget::hold_unread(worker, caller.organization, &unread, meter).await?;
    }
    // It is the first turn's: the session itself takes nothing.
    let money = meter.money.take();
    let providers = budget::providers(model.targets.iter().map(|target| &*target.deployment));
    let counted = Counted { model: Some(&name), providers: &providers, need: rates::SESSION };
    meter.hold = Some(reserve::reserve(worker, caller.organization, &counted, meter).await?);
    let offered = Takeover::of(parts).zip(parts.extensions.get::<Stop>().cloned());
    let (takeover, stop) = offered.ok_or_else(Rejection::internal)?;
    let calling = Calling {
        worker,
        organization: caller.organization,
        model: &model,
        headers: &parts.headers,
        is_transcription: endpoint::parameter(query, "intent").is_some_and(|intent| intent == "transcription"),
        is_beta: offer.is_beta(),
        within: head.timeout,
    };
    let line = open_line(&calling, meter).await?;
    Ok(Reply::Session(Box::new(Opening {
        offer,
        takeover,
        stop,
        line,
        money,
        key: Secret::new(presented.to_owned()),
        worker: worker.clone(),
        billed_to: caller.organization.clone(),
        within: head.timeout,
        says_first: grant.as_ref().and_then(Grant::opening),
    })))
}

/// Reads what a client secret grants, whose signature is known to be good.
fn read_grant(granted: &str, meter: &Meter) -> Result<Grant, Rejection> {
    let grant = Grant::decode(granted).ok_or_else(Rejection::internal)?;
    if grant.expires_at <= meter.started_at.as_secs() {
        let detail =
            "this client secret has expired; let the server make another with POST /v1/realtime/client_secrets";
        return Err(Rejection::new(GatewayCode::KeyExpired, detail));
    }
    Ok(grant)
}

/// Makes a client secret: for one model that the key may use, and never for longer than the key itself lives.
pub(crate) async fn issue(
    worker: &Arc<Worker>,
    caller: &Caller<'_>,
    head: &Head<'_>,
    unread: &mut Option<Incoming>,
    (presented, form): (&str, Form),
    meter: &mut Meter,
) -> Result<Reply, Rejection> {
    let body = resolve::read_body(worker, head, unread, meter).await?;
    let wish = Wish::read(form, &body)
        .map_err(|error| Rejection::new(GatewayCode::RequestInvalid, error.to_string()).with_param(error.param()))?;
    meter.model = resolve::clip(&wish.model, MAX_NOTED);
    resolve::find_plain(caller, &wish.model)?;
    let asked = meter.started_at.plus(Duration::from_secs(wish.life_secs));
    let until = caller.key.key.expires_at.map_or(asked, |end| end.min(asked));
    let grant = Grant::of(wish, format!("sess_{}", meter.request_id), until.as_secs());
    let secret = caller.issue_client_secret(presented, &grant.encode()).ok_or_else(Rejection::internal)?;
    Ok(Reply::own(client_secret::answer(form, &grant, &secret).into()))
}

impl Opening {
    /// Makes the answer that opens the session; the session itself goes with it.
    pub(crate) fn respond(self: Box<Self>, mut headers: HeaderMap, meter: Box<Meter>) -> Response<ReplyBody> {
        self.offer.answer(&mut headers);
        let mut response = Response::new(ReplyBody::bytes(Bytes::new()));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = headers;
        // It goes on when the connection is handed over, and ends at once when it is not.
        runtime::tasks::spawn("gateway.realtime", self.run(meter));
        response
    }

    async fn run(self: Box<Self>, meter: Box<Meter>) {
        let Self { takeover, stop, line, money, key, worker, billed_to, within, says_first, .. } = *self;
        // A client that is gone by now has used nothing; the meter says so when it is dropped.
        let Ok(connection) = takeover.await else { return };
        let config = &worker.shared.config;
        let client = ::realtime::to_client(Box::new(connection), config.realtime.max_message_bytes).await;
        let total = Duration::from_millis(config.realtime.total_ms);
        let limits = Limits {
            idle: Duration::from_millis(config.realtime.idle_ms),
            ends_at: Instant::now() + within.map_or(total, |within| within.min(total)),
        };
        let host = SessionHost::new(worker.clone(), key, billed_to, line.deployment, meter, money);
        let session = Session::new(client, line.socket, line.first, host, limits).opened_with(says_first);
        let (end, host) = session.run(stop.draining().cancelled(), cut(&stop, config.drain())).await;
        host.settle(&end);
    }
}

/// Waits until the session has to end at once: while there is yet time for both sides to be told.
async fn cut(stop: &Stop, drain: Duration) {
    let in_time = async {
        stop.draining().cancelled().await;
        sleep(drain.saturating_sub(session::LAST_WORD + session::CLOSE_WITHIN)).await;
    };
    stop.cutting().run_until_cancelled(in_time).await;
}
