//! What files and batches ask of the node that serves them, and what they give it: the port.
//!
//! Not here: who is called and paid, which the node knows. Invariant: nothing of a request but its headers and its body crosses.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::code::GatewayCode;
use domain::usage::{ModalUsage, TokenUsage, UnitUsage, UsageEvent};
use domain::{NanoUsd, NodeId, PriceId, RemoteId, Timestamp};
use http::StatusCode;
use http_body_util::combinators::UnsyncBoxBody;
use policy::snapshot::{CredentialUse, DeploymentPolicy, ModelPolicy, OrganizationPolicy};
use policy::{Caller, Snapshot};
use provider::skim::Skimmed;
use provider::{Base, BaseUrlError, Spec};
use upstream::client::Client;
use upstream::exchanges::Exchanges;

use crate::read::Passing;
use crate::store::RemoteStore;

/// A body that is still arriving.
pub type Body = UnsyncBoxBody<Bytes, ()>;

/// The node that serves a call.
pub trait Host: Send + Sync {
    /// Returns the time of day.
    fn now(&self) -> Timestamp;

    /// Returns the node's id, for usage events.
    fn node(&self) -> NodeId;

    /// Returns the policy in force.
    fn policy(&self) -> Arc<Snapshot>;

    /// Returns where it is noted whose objects are.
    fn store(&self) -> &Arc<dyn RemoteStore>;

    /// Returns what sends to upstreams.
    fn client(&self) -> &Arc<Client>;

    /// Returns what exchanges secrets.
    fn exchanges(&self) -> &Exchanges;

    /// Returns the checked base address of a credential.
    fn base(&self, spec: &Spec, credential: &CredentialUse) -> Result<Arc<Base>, BaseUrlError>;

    /// Mints the id of an object that is made now.
    fn next_id(&self, now: Timestamp) -> RemoteId;

    /// Finds a model that the caller may use.
    fn find_model(&self, caller: &Caller<'_>, name: &str) -> Result<Arc<ModelPolicy>, Refusal>;

    /// Bills a whole answer by what it said about itself.
    fn bill(
        &self,
        organization: &Arc<OrganizationPolicy>,
        deployment: &Arc<DeploymentPolicy>,
        found: &Skimmed,
        at: Timestamp,
    ) -> Bill;

    /// Books a usage event; false when there is no room for it.
    fn record(&self, event: UsageEvent) -> bool;

    /// Returns the bounds on what clients send.
    fn bounds(&self) -> Bounds;
}

/// Bounds on a body that is sent on as it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most bytes.
    pub max_bytes: usize,
    /// Longest silence.
    pub patience: Duration,
}

/// What an answer used and cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bill {
    /// Tokens.
    pub usage: TokenUsage,
    /// The parts of them that were sound or pictures.
    pub modal: ModalUsage,
    /// What is not counted in tokens.
    pub units: UnitUsage,
    /// The price of both.
    pub cost: NanoUsd,
    /// By which price.
    pub price: Option<PriceId>,
    /// Whether the upstream's own count was missing.
    pub is_estimated: bool,
}

/// What is noted of a call while it is served; it stands also when the call ends halfway.
pub trait Meter: Send {
    /// Notes time spent waiting for others.
    fn wait(&mut self, time: Duration);

    /// Notes what serves the call.
    fn serve_from(&mut self, model: &batch::Model, provider: &str);

    /// Notes what was not sent on.
    fn drop_fields(&mut self, names: &mut Vec<String>);
}

/// What a call is answered with.
pub enum Given {
    /// A whole body, JSON.
    Json(Bytes),
    /// An output, as its upstream sends it.
    Lines(Box<Passing>),
}

/// A refusal.
#[derive(Debug)]
pub struct Refusal {
    /// The stable code.
    pub code: GatewayCode,
    /// What is wrong and what to do.
    pub detail: Cow<'static, str>,
    /// The field at fault.
    pub param: Option<&'static str>,
    /// When to come back.
    pub retry_after: Option<Duration>,
    /// Whether the connection cannot be used further.
    pub is_closing: bool,
    /// The upstream's own refusal of what the client asked for.
    pub upstream: Option<(StatusCode, Bytes)>,
}

impl Refusal {
    /// Makes one of a code and words.
    pub fn new(code: GatewayCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), param: None, retry_after: None, is_closing: false, upstream: None }
    }

    pub(crate) fn internal() -> Self {
        let detail = "Headgate failed on this file or batch; try again, and tell your administrator the request id if it happens again";
        Self::new(GatewayCode::Internal, detail)
    }

    pub(crate) fn upstream(status: StatusCode, body: Bytes) -> Self {
        Self {
            upstream: Some((status, body)),
            ..Self::new(GatewayCode::UpstreamError, "the upstream refused the call")
        }
    }

    pub(crate) fn too_large(max_bytes: usize) -> Self {
        let detail = format!("the body is larger than the {max_bytes} bytes this gateway accepts; make several of it");
        Self::new(GatewayCode::RequestTooLarge, detail)
    }

    pub(crate) fn with_param(mut self, param: &'static str) -> Self {
        self.param = Some(param);
        self
    }

    pub(crate) fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.retry_after = Some(retry_after);
        self
    }

    pub(crate) fn closing(mut self) -> Self {
        self.is_closing = true;
        self
    }
}
