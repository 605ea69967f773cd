//! `/passthrough/{provider}/…`: a provider's own API, signed with the credential that Headgate holds for it.
//!
//! One attempt; the answer is handed on as it comes, whatever its status. Where path and body are of a form that is known, the
//! vendor's own included, the answer is looked at and billed like any other; otherwise the call is booked without a count and
//! says so. Invariants: only a credential whose owner allowed it signs; nothing outside its base is reached; no header that says
//! who the client is, or who pays, goes on.

mod passage;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::NanoUsd;
use domain::code::GatewayCode;
use domain::route::Timeouts;
use domain::usage::{AttemptOutcome, AttemptRecord, TokenUsage, UnitUsage};
use http::request::Parts;
use http::{Method, Request};
use ingress::Rejection;
use ingress::admit::{Head, TRACEPARENT};
use ingress::passage::forwarded;
use policy::Caller;
use policy::snapshot::{CredentialPolicy, CredentialUse, DeploymentPolicy};
use provider::scan::{self, Scan};
use provider::task::Asked;
use provider::{Base, Counting, Provider};
use tokio::time::Instant;

use self::passage::Sent;
use super::budget::{self, Unread, Window};
use super::rates::{self, Counted};
use super::relay::{Bill, Billing};
use super::reply::Reply;
use super::settle::{Meter, Served};
use super::{Worker, cut, reserve, resolve};
use crate::server::body::Incoming;

/// What each path below the provider's name is called where a model's name is expected.
const AS_MODEL: &str = "passthrough/";

/// A call on its way.
struct Passage<'a> {
    worker: &'a Arc<Worker>,
    provider: &'static dyn Provider,
    credential: &'a Arc<CredentialPolicy>,
    billing: Billing,
    /// How the answer is counted, when that is known.
    counting: Option<Counting>,
    /// What was asked, where that is a part of the count.
    asked: Option<Asked>,
    timeouts: Timeouts,
    total_at: Instant,
    /// The client asked for the head alone.
    is_head: bool,
}

/// Serves a call of a provider's own API. `name` and `rest` are as the client's path has them.
pub(crate) async fn forward(
    worker: &Arc<Worker>,
    caller: &Caller<'_>,
    head: &Head<'_>,
    parts: &Parts,
    unread: &mut Option<Incoming>,
    (name, rest): (&str, &str),
    meter: &mut Meter,
) -> Result<Reply, Rejection> {
    let (provider, deployment, credential) = choose(caller, name)?;
    meter.model = format!("{AS_MODEL}{name}");
    let base = worker.bases.base(provider.spec(), &deployment.credential).map_err(|_| refuse_base())?;
    let uri = base
        .below(rest, parts.uri.query())
        .map_err(|error| Rejection::new(GatewayCode::RequestInvalid, error.to_string()))?;
    let body = match parts.method {
        Method::GET | Method::HEAD => Bytes::new(),
        _ => resolve::read_body(worker, head, unread, meter).await?,
    };
    let (counting, deployment, scan) = recognise(provider, &base, &uri, &body, deployment);
    let asked = match counting {
        Some(Counting::Task(task)) => Some(Asked::plain(task, body.clone(), &deployment.upstream_model)),
        _ => None,
    };
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = forwarded(&parts.headers, provider);
    if let Some(traceparent) = meter.traceparent(request.uri()) {
        request.headers_mut().insert(TRACEPARENT, traceparent);
    }
    meter.is_unmetered = counting.is_none();
    if !matches!(parts.method, Method::GET | Method::HEAD | Method::DELETE) {
        let n_bytes = request.body().len();
        let window = counting.and_then(|counting| Window::of_passage(&deployment, counting, &scan, n_bytes));
        let what = "this call of a provider's own API";
        let model = counting.map(|_| deployment.upstream_model.as_str());
        let window = window.map(|window| (&*deployment, window));
        let unread = Unread { what, providers: &[name], model, window, is_many: false };
        budget::hold_unread(worker, caller.organization, &unread, meter).await?;
    }
    let need = rates::need(caller.organization, [&*deployment].into_iter(), &scan, true, meter.started_at);
    let counted = Counted { model: Some(&meter.model), providers: &[name], need };
    meter.hold = Some(reserve::reserve(worker, caller.organization, &counted, meter).await?);
    meter.open();
    begin(meter, &deployment, credential);
    let timeouts = Timeouts::default();
    let total = Duration::from_millis(u64::from(timeouts.total_ms));
    let mut passage = Passage {
        worker,
        provider,
        credential,
        billing: Billing {
            organization: caller.organization.clone(),
            input_guess: provider::estimate::input_guess(&scan),
            deployment,
            is_stream: scan.is_stream(),
            tier: None,
        },
        counting,
        asked,
        timeouts,
        total_at: meter.started + head.timeout.map_or(total, |asked| asked.min(total)),
        is_head: parts.method == Method::HEAD,
    };
    let watch = meter.watch();
    let work = async { Ok::<Sent, Rejection>(passage.send(request, meter).await) };
    let sent = cut::guard(watch, work).await.unwrap_or_else(|stopped| Err((AttemptOutcome::Cancelled, stopped)));
    if let Err((outcome, _)) = &sent {
        meter.end_attempt(*outcome, &Bill::default(), Instant::now());
    }
    sent.map_err(|(_, rejection)| rejection)
}

type Chosen<'a> = (&'static dyn Provider, &'a Arc<DeploymentPolicy>, &'a Arc<CredentialPolicy>);

/// Chooses the credential: that of the first deployment of the workspace that may be used so.
fn choose<'a>(caller: &'a Caller<'_>, name: &str) -> Result<Chosen<'a>, Rejection> {
    let unknown = || {
        let detail =
            "there is no provider of this name in this workspace; use /passthrough/{provider}/{path of its API}";
        Rejection::new(GatewayCode::EndpointUnknown, detail)
    };
    let provider = provider::find(name).ok_or_else(unknown)?;
    let mut own = caller.workspace.deployments().filter(|it| it.provider == name).peekable();
    if own.peek().is_none() {
        return Err(unknown());
    }
    if !caller.key.allows(&format!("{AS_MODEL}{name}")) {
        let detail = format!("this key may not use {AS_MODEL}{name}; let an administrator add it to the key");
        return Err(Rejection::new(GatewayCode::ModelNotAllowed, detail));
    }
    let allowed = own.find_map(|deployment| match &deployment.credential {
        CredentialUse::Ready(credential) if deployment.is_usable() && credential.allows_passthrough => {
            Some((provider, deployment, credential))
        }
        _ => None,
    });
    allowed.ok_or_else(|| {
        let detail = "no credential of this provider may sign calls of its own API; an administrator can allow it for a credential";
        Rejection::new(GatewayCode::ModelNotAllowed, detail)
    })
}

fn refuse_base() -> Rejection {
    let detail = "this provider's base address cannot be used; an administrator has to correct it";
    Rejection::new(GatewayCode::UpstreamError, detail)
}

/// Finds out whether path and body are of a form in which the answer can be counted, and for which model.
fn recognise(
    provider: &dyn Provider,
    base: &Base,
    uri: &http::Uri,
    body: &Bytes,
    deployment: &Arc<DeploymentPolicy>,
) -> (Option<Counting>, Arc<DeploymentPolicy>, Scan) {
    let scan = scan::scan(body).unwrap_or_default();
    let in_body = scan.model.as_ref().map(|model| model.value.as_str());
    let Some(known) = provider::recognise(provider, base, uri, in_body) else {
        return (None, deployment.clone(), scan);
    };
    // What the deployment really is holds for its own model only.
    let is_its_own = known.model == deployment.upstream_model;
    let base_model = deployment.base_model.clone().filter(|_| is_its_own);
    let facts = deployment.facts.clone().filter(|_| is_its_own);
    let served =
        DeploymentPolicy { upstream_model: known.model, base_model, facts, ..DeploymentPolicy::clone(deployment) };
    (Some(known.counting), Arc::new(served), scan)
}

fn begin(meter: &mut Meter, deployment: &DeploymentPolicy, credential: &CredentialPolicy) {
    let now = Instant::now();
    let record = AttemptRecord {
        n: 1,
        deployment_id: deployment.id,
        credential_id: Some(credential.id),
        provider: deployment.provider.clone(),
        upstream_model: deployment.upstream_model.clone(),
        started_at: meter.started_at.plus(now.duration_since(meter.started)),
        duration_us: 0,
        first_byte_us: None,
        outcome: AttemptOutcome::Cancelled,
        status: None,
        upstream_request_id: None,
        usage: TokenUsage::default(),
        modal: None,
        image: None,
        units: UnitUsage::default(),
        cost: NanoUsd::ZERO,
    };
    meter.begin_attempt(record, now);
    meter.served = Some(Served {
        deployment: deployment.id,
        provider: deployment.provider.clone(),
        upstream_model: deployment.upstream_model.clone(),
    });
}
