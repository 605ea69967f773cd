//! Calls of the upstream under whose credential a file or batch lies.
//!
//! Invariant: only paths below the credential's base are called, with its secret and no header of the client's but those on the
//! provider's list.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use batch::line::Destination;
use batch::shape;
use bytes::{Bytes, BytesMut};
use domain::code::GatewayCode;
use domain::remote::RemoteObject;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderName, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use policy::snapshot::{CredentialPolicy, CredentialUse, OrganizationPolicy};
use provider::{Base, BatchForm, Batches, Provider};
use tokio::time::{Instant, timeout_at};

use crate::port::{Host, Refusal};
use upstream::client::{Answer, SendError};
use upstream::upload::Chunks;

/// Longest wait for a connection.
pub(crate) const CONNECT: Duration = Duration::from_secs(10);
/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(120);
/// Most of an answer that is read as a whole: a batch's object, an error.
const MAX_ANSWER: usize = 1024 * 1024;
const AGENT: HeaderValue = HeaderValue::from_static(concat!("headgate/", env!("CARGO_PKG_VERSION")));

/// An upstream that takes files and batches.
#[derive(Clone)]
pub(crate) struct Upstream {
    host: Arc<dyn Host>,
    pub(crate) provider: &'static dyn Provider,
    pub(crate) credential: Arc<CredentialPolicy>,
    base: Arc<Base>,
    batches: Batches,
}

/// What went wrong with a call.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It could not be sent.
    Unsendable(&'static str),
    /// No connection, or it broke.
    Broken,
    TimedOut,
    /// It was answered with another status than success.
    Refused(StatusCode, Bytes),
}

impl Upstream {
    /// Makes it of a credential.
    pub(crate) fn new(
        host: &Arc<dyn Host>,
        provider: &'static dyn Provider,
        credential: &Arc<CredentialPolicy>,
    ) -> Result<Self, Refusal> {
        let spec = provider.spec();
        let base = host.base(spec, &CredentialUse::Ready(credential.clone())).map_err(|_| {
            let detail = "this provider's base address cannot be used; an administrator has to correct it";
            Refusal::new(GatewayCode::UpstreamError, detail)
        })?;
        let batches = spec.batches.ok_or_else(Refusal::internal)?;
        Ok(Self { host: host.clone(), provider, credential: credential.clone(), base, batches })
    }

    /// Finds that of an object.
    pub(crate) fn of(
        host: &Arc<dyn Host>,
        organization: &OrganizationPolicy,
        object: &RemoteObject,
    ) -> Result<Self, Refusal> {
        let gone = || {
            let detail =
                "the credential under which this lies is no longer there; an administrator can tell which one it was";
            Refusal::new(GatewayCode::NoHealthyTarget, detail)
        };
        let credential = organization.credential(object.credential).ok_or_else(gone)?;
        let provider = provider::find(&object.provider).filter(|_| credential.provider == object.provider);
        Self::new(host, provider.ok_or_else(gone)?, credential)
    }

    pub(crate) const fn form(&self) -> BatchForm {
        self.batches.form
    }

    /// Says whether all calls of a batch have to name the same model.
    pub(crate) const fn is_of_one_model(&self) -> bool {
        self.batches.one_model
    }

    /// Says where calls go, to whoever writes them.
    pub(crate) fn destination(&self) -> Destination<'_> {
        Destination { provider: self.provider, form: self.form(), base: &self.base }
    }

    /// Makes a request. `below` is put below the provider's place for batches.
    fn request<B>(&self, method: Method, below: &str, headers: &HeaderMap, body: B) -> Result<Request<B>, Trouble> {
        let root = if self.base.is_dated() { self.batches.dated_root } else { self.batches.root };
        let (below, query) = below.split_once('?').map_or((below, None), |(below, query)| (below, Some(query)));
        let uri = self.base.below(&format!("{root}{below}"), query);
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() =
            uri.map_err(|_| Trouble::Unsendable("what is asked for cannot be an upstream's address"))?;
        let to = request.headers_mut();
        let spec = self.provider.spec();
        to.insert(USER_AGENT, AGENT);
        to.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        for (name, value) in spec.defaults {
            to.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        for name in spec.forwarded {
            if let Some(value) = headers.get(*name) {
                to.insert(HeaderName::from_static(name), value.clone());
            }
        }
        Ok(request)
    }

    async fn sign(&self, request: &mut Request<Bytes>, until: Instant) -> Result<(), Trouble> {
        let given = self.host.exchanges().get(self.host.client(), self.provider, &self.credential, until).await;
        let given = given.map_err(|error| Trouble::Unsendable(error.detail()))?;
        let secret = given.as_ref().map(|given| &given.secret).or(self.credential.secret.as_ref());
        self.provider.sign(request, secret, self.host.now()).map_err(|error| {
            tracing::warn!(credential.id = %self.credential.id, %error, "a credential's secret cannot be used");
            Trouble::Unsendable("this provider's credential cannot be used; an administrator has to enter it again")
        })
    }

    /// Calls and returns the head of a good answer, with its body still arriving.
    pub(crate) async fn open(
        &self,
        method: Method,
        below: &str,
        headers: &HeaderMap,
        body: Option<Bytes>,
    ) -> Result<Response<Answer>, Trouble> {
        let until = Instant::now() + ANSWER;
        let has_body = body.is_some();
        let mut request = self.request(method, below, headers, body.unwrap_or_default())?;
        if has_body {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        self.sign(&mut request, until).await?;
        let sent = timeout_at(until, self.host.client().send(Box::new(request), CONNECT)).await;
        let response = sent.map_err(|_| Trouble::TimedOut)?.map_err(|error| trouble(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (head, mut answer) = response.into_parts();
        let body = collect(&mut answer, until).await.unwrap_or_default();
        Err(Trouble::Refused(head.status, body))
    }

    /// Calls and returns the whole answer.
    pub(crate) async fn call(
        &self,
        method: Method,
        below: &str,
        headers: &HeaderMap,
        body: Option<Bytes>,
    ) -> Result<Bytes, Trouble> {
        let until = Instant::now() + ANSWER;
        let (_, mut answer) = self.open(method, below, headers, body).await?.into_parts();
        collect(&mut answer, until).await
    }

    /// Sends a body that is still arriving, and returns the whole answer. The wait for it is the caller's to bound.
    pub(crate) async fn upload(
        &self,
        below: &str,
        headers: &HeaderMap,
        content_type: &str,
        body: Chunks,
    ) -> Result<Bytes, Trouble> {
        let mut request = self.request(Method::POST, below, headers, Bytes::new())?;
        let content_type = HeaderValue::from_str(content_type).map_err(|_| Trouble::Broken)?;
        request.headers_mut().insert(CONTENT_TYPE, content_type);
        for (name, value) in shape::upload_headers(self.form()) {
            request.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        self.sign(&mut request, Instant::now() + ANSWER).await?;
        let request = request.map(|_| body);
        let response = self.host.client().upload(request, CONNECT).await.map_err(|error| trouble(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|_| Trouble::Broken)?;
        let body = body.to_bytes();
        if status.is_success() { Ok(body) } else { Err(Trouble::Refused(status, body)) }
    }
}

async fn collect(answer: &mut Answer, until: Instant) -> Result<Bytes, Trouble> {
    let mut whole = BytesMut::new();
    loop {
        match timeout_at(until, poll_fn(|cx| answer.poll_chunk(cx))).await.map_err(|_| Trouble::TimedOut)? {
            None => return Ok(whole.freeze()),
            Some(Ok(chunk)) if whole.len() + chunk.len() <= MAX_ANSWER => whole.extend_from_slice(&chunk),
            Some(_) => return Err(Trouble::Broken),
        }
    }
}

fn trouble(error: &SendError) -> Trouble {
    tracing::debug!(%error, "a call of files and batches failed");
    match error {
        SendError::ConnectTimeout { .. } => Trouble::TimedOut,
        _ => Trouble::Broken,
    }
}

impl Trouble {
    /// Says it to a client, with our id in place of the upstream's.
    pub(crate) fn said(self, ids: &[(&str, &str)]) -> Refusal {
        let upstream = |detail| Refusal::new(GatewayCode::UpstreamError, detail);
        match self {
            Self::Unsendable(detail) => upstream(detail),
            Self::Broken => upstream("the upstream could not be reached, or broke off; try again shortly"),
            Self::TimedOut => {
                Refusal::new(GatewayCode::UpstreamTimeout, "the upstream did not answer in time; try again")
            }
            Self::Refused(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                // What an upstream says of our credential is for administrators.
                upstream(
                    "the upstream refused the credential that Headgate holds for it; an administrator has to enter a valid one",
                )
            }
            Self::Refused(status, body) if status.is_client_error() => {
                let mut text = String::from_utf8_lossy(&body).into_owned();
                for (theirs, ours) in ids.iter().filter(|(theirs, _)| !theirs.is_empty()) {
                    text = text.replace(theirs, ours);
                }
                Refusal::upstream(status, text.into())
            }
            Self::Refused(..) => upstream("the upstream failed; try again shortly"),
        }
    }
}
