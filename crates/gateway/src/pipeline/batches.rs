//! Files and batches: what crate `remote` asks of a node, and how its calls are metered and answered here.
//!
//! Not here: what is done with files and batches. Invariant: a call holds its place while it is served.

use std::sync::Arc;
use std::time::Duration;

use batch::BatchCall;
use bytes::Bytes;
use domain::route::Timeouts;
use domain::usage::UsageEvent;
use domain::{NodeId, RemoteId, Timestamp};
use futures_util::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt as _;
use ingress::Rejection;
use ingress::admit::{Encoding, Head, Notes};
use policy::snapshot::{CredentialUse, DeploymentPolicy, ModelPolicy, OrganizationPolicy};
use policy::{Caller, Snapshot};
use provider::skim::Skimmed;
use provider::{Base, BaseUrlError, Spec};
use remote::port::{self, Bill, Bounds, Given, Host, Refusal};
use remote::read::Passing;
use remote::store::RemoteStore;
use remote::{Asking, Deed};
use tokio::time::Instant;
use upstream::client::Client;
use upstream::exchanges::Exchanges;

use super::budget::{self, Unread};
use super::rates::{self, Counted};
use super::relay::stream::Start;
use super::relay::{Billing, End, Source, Writer};
use super::reply::{Passed, Reply};
use super::settle::{Meter, Served};
use super::{Worker, reserve, resolve};
use crate::server::body::Incoming;

/// Longest time for one output.
const TOTAL: Duration = Duration::from_secs(3_600);

/// Serves a call, on the heap: few calls take this way, and all would have to make room for it.
pub(crate) fn boxed<'a>(
    worker: &'a Arc<Worker>,
    caller: &'a Caller<'a>,
    call: BatchCall<'a>,
    head: &'a Head<'a>,
    parts: &'a Parts,
    unread: &'a mut Option<Incoming>,
    meter: &'a mut Meter,
) -> BoxFuture<'a, Result<Reply, Rejection>> {
    Box::pin(serve(worker, caller, call, head, parts, unread, meter))
}

async fn serve(
    worker: &Arc<Worker>,
    caller: &Caller<'_>,
    call: BatchCall<'_>,
    head: &Head<'_>,
    parts: &Parts,
    unread: &mut Option<Incoming>,
    meter: &mut Meter,
) -> Result<Reply, Rejection> {
    meter.notes = Notes::read(&parts.headers)?;
    let makes = matches!(call, BatchCall::Batches | BatchCall::MessageBatches) && parts.method == Method::POST;
    if makes && !caller.organization.budgets().is_empty() {
        let providers = budget::providers(caller.workspace.deployments().map(|it| &**it));
        let unread = Unread { what: "a batch", providers: &providers, model: None, window: None, is_many: true };
        budget::hold_unread(worker, caller.organization, &unread, meter).await?;
    }
    let providers = budget::providers(caller.workspace.deployments().map(|it| &**it));
    let counted = Counted { model: None, providers: &providers, need: rates::ONE };
    meter.hold = Some(reserve::reserve(worker, caller.organization, &counted, meter).await?);
    let deed = match call {
        BatchCall::Files | BatchCall::MessageBatches if parts.method == Method::POST => {
            Deed::Upload(open(head, unread)?)
        }
        BatchCall::Batches if parts.method == Method::POST => {
            Deed::Make(resolve::read_body(worker, head, unread, meter).await?)
        }
        _ if parts.method == Method::DELETE => Deed::Delete,
        _ => Deed::Get,
    };
    let host: Arc<dyn Host> = worker.clone();
    let (headers, query, at) = (&parts.headers, parts.uri.query(), meter.started_at);
    let asking = Asking { host: &host, caller, headers, query, at };
    match remote::serve(&asking, call, deed, meter).await.map_err(reject)? {
        Given::Json(body) => Ok(Reply::own(body)),
        Given::Lines(passing) => Ok(hand_on(caller, *passing)),
    }
}

/// Takes a body that is sent on as it arrives.
fn open(head: &Head<'_>, unread: &mut Option<Incoming>) -> Result<port::Body, Rejection> {
    if head.encoding != Encoding::Identity {
        let detail = "files and batches are taken as they are; send them without content-encoding";
        return Err(Rejection::new(domain::code::GatewayCode::RequestInvalid, detail));
    }
    let body = unread.take().ok_or_else(Rejection::internal)?;
    Ok(body.map_err(drop).boxed_unsync())
}

fn hand_on(caller: &Caller<'_>, passing: Passing) -> Reply {
    let Passing { answer, content_type, lines, deployment } = passing;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, content_type);
    Reply::Stream(Box::new(Start {
        source: Source::Upstream(answer),
        first: Bytes::new(),
        writer: Writer::Lines(lines),
        is_array: false,
        kind: None,
        passed: Some(Box::new(Passed { status: StatusCode::OK, headers })),
        known_usage: None,
        billing: Billing {
            organization: caller.organization.clone(),
            deployment,
            input_guess: 0,
            tier: None,
            is_stream: true,
        },
        idle: Duration::from_millis(u64::from(Timeouts::default().idle_ms)),
        total_at: Instant::now() + TOTAL,
        recorder: None,
        memory: None,
        continuation: None,
        rehearses_cut: false,
    }))
}

impl port::Meter for Meter {
    fn wait(&mut self, time: Duration) {
        self.waited += time;
    }

    fn serve_from(&mut self, model: &batch::Model, provider: &str) {
        self.model.clone_from(&model.name);
        self.served = Some(Served {
            deployment: model.deployment,
            provider: provider.to_owned(),
            upstream_model: model.upstream.clone(),
        });
    }

    fn drop_fields(&mut self, names: &mut Vec<String>) {
        self.dropped.append(names);
    }
}

impl Host for Worker {
    fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    fn node(&self) -> NodeId {
        self.shared.node_id
    }

    fn policy(&self) -> Arc<Snapshot> {
        self.shared.policy.load_full()
    }

    fn store(&self) -> &Arc<dyn RemoteStore> {
        &self.shared.remotes
    }

    fn client(&self) -> &Arc<Client> {
        &self.client
    }

    fn exchanges(&self) -> &Exchanges {
        &self.shared.exchanges
    }

    fn base(&self, spec: &Spec, credential: &CredentialUse) -> Result<Arc<Base>, BaseUrlError> {
        self.bases.base(spec, credential)
    }

    fn next_id(&self, now: Timestamp) -> RemoteId {
        self.ids.next_remote(now)
    }

    fn find_model(&self, caller: &Caller<'_>, name: &str) -> Result<Arc<ModelPolicy>, Refusal> {
        let found = resolve::find_plain(caller, name);
        found.map_err(|Rejection { code, detail, param, retry_after, .. }| Refusal {
            param,
            retry_after,
            ..Refusal::new(code, detail)
        })
    }

    fn bill(
        &self,
        organization: &Arc<OrganizationPolicy>,
        deployment: &Arc<DeploymentPolicy>,
        found: &Skimmed,
        at: Timestamp,
    ) -> Bill {
        let (organization, deployment) = (organization.clone(), deployment.clone());
        let billing = Billing { organization, deployment, input_guess: 0, tier: None, is_stream: false };
        let super::relay::Bill { usage, modal, units, cost, price, is_estimated, .. } =
            billing.bill(found, End::Complete, at);
        Bill { usage, modal, units, cost, price, is_estimated }
    }

    fn record(&self, event: UsageEvent) -> bool {
        self.shared.usage.record(event).is_ok()
    }

    fn bounds(&self) -> Bounds {
        let limits = &self.shared.config.limits;
        Bounds { max_bytes: limits.max_upload_bytes, patience: Duration::from_millis(limits.body_read_ms) }
    }
}

fn reject(refusal: Refusal) -> Rejection {
    let Refusal { code, detail, param, retry_after, is_closing, upstream } = refusal;
    let mut rejection = match upstream {
        Some((status, body)) => Rejection::upstream(status, body, detail.into_owned()),
        None => Rejection::new(code, detail),
    };
    (rejection.param, rejection.retry_after) = (param, retry_after);
    if is_closing { rejection.closing() } else { rejection }
}
