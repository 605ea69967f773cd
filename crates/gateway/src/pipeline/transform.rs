//! Answers `POST /v1/headgate/transform`: the upstream request that a call would become, shown and not sent.
//!
//! The call takes the same way as a real one: the same look-up, the same plan, the same translation and signature. Invariant:
//! whatever signing put into the request is hidden.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use domain::code::GatewayCode;
use domain::{CredentialId, DeploymentId, RouteId};
use http::request::Parts;
use ingress::Rejection;
use ingress::admit::Head;
use ingress::surface::Surface as ClientSurface;
use llm::canonical::loss::Effect;
use llm::dialect::Dialect;
use policy::Caller;
use policy::snapshot::{CredentialUse, DeploymentPolicy};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::reply::Reply;
use super::settle::Meter;
use super::{Worker, dispatch, resolve};
use crate::server::body::Incoming;

/// What stands for a secret.
const HIDDEN: &str = "(hidden)";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked<'a> {
    surface: Surface,
    #[serde(borrow)]
    body: &'a RawValue,
    /// What an address would say: the model, and whether Gemini's answer is streamed.
    #[serde(default, borrow)]
    model: Option<Cow<'a, str>>,
    #[serde(default)]
    stream: bool,
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Surface {
    ChatCompletions,
    Completions,
    Responses,
    Messages,
    GenerateContent,
    Embeddings,
}

impl Surface {
    /// The client surface that is meant.
    fn of_client(self, is_stream: bool) -> ClientSurface {
        match self {
            Self::ChatCompletions => ClientSurface::Chat(Dialect::OpenAiChat),
            Self::Completions => ClientSurface::Chat(Dialect::OpenAiCompletions),
            Self::Responses => ClientSurface::Chat(Dialect::OpenAiResponses),
            Self::Messages => ClientSurface::Chat(Dialect::AnthropicMessages),
            Self::GenerateContent => ClientSurface::GenerateContent { is_stream },
            Self::Embeddings => ClientSurface::Embeddings,
        }
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    object: &'static str,
    surface: Surface,
    model: &'a str,
    route_id: Option<RouteId>,
    policy_revision: u64,
    target: Target<'a>,
    /// What would be tried after it, in order.
    fallbacks: Vec<Target<'a>>,
    /// `None` when the provider answers inside Headgate.
    request: Option<Request<'a>>,
    losses: Vec<Loss<'a>>,
    /// What would be fetched first, because the upstream takes it as bytes only; the request shows a word in its place.
    fetched: Vec<Fetched<'a>>,
}

#[derive(Serialize)]
struct Fetched<'a> {
    url: &'a str,
    kind: &'static str,
}

#[derive(Serialize)]
struct Target<'a> {
    deployment_id: DeploymentId,
    deployment: &'a str,
    provider: &'a str,
    upstream_model: &'a str,
    credential_id: Option<CredentialId>,
}

#[derive(Serialize)]
struct Request<'a> {
    method: &'a str,
    url: String,
    headers: BTreeMap<&'a str, String>,
    body: &'a RawValue,
}

#[derive(Serialize)]
struct Loss<'a> {
    path: &'a str,
    effect: &'static str,
    reason: &'a str,
}

/// Shows what would be sent.
pub(crate) async fn show(
    worker: &Arc<Worker>,
    caller: &Caller<'_>,
    head: &Head<'_>,
    parts: &Parts,
    body: &mut Option<Incoming>,
    meter: &mut Meter,
) -> Result<Reply, Rejection> {
    let envelope = resolve::read_body(worker, head, body, meter).await?;
    let asked: Asked<'_> = serde_json::from_slice(&envelope).map_err(|error| refuse_envelope(&error))?;
    let call = envelope.slice_ref(asked.body.get().as_bytes());
    let surface = asked.surface.of_client(asked.stream);
    let wanted = resolve::look_up(caller, surface, call, asked.model.as_deref(), meter)?;
    let preview = dispatch::preview(worker, caller.organization, head, &parts.headers, &wanted, meter)?;
    let losses = preview.losses.iter().map(|loss| Loss {
        path: &loss.path,
        effect: match loss.effect {
            Effect::Dropped => "dropped",
            Effect::Changed => "changed",
        },
        reason: &loss.reason,
    });
    let fetched = preview.request.iter().flat_map(|sent| &sent.fetched);
    let shown = Shown {
        object: "headgate.transform",
        surface: asked.surface,
        model: &wanted.model.name,
        route_id: wanted.model.route,
        policy_revision: caller.organization.revision,
        target: target(&preview.deployment),
        fallbacks: preview.fallbacks.iter().map(|deployment| target(deployment)).collect(),
        request: preview.request.as_ref().map(request).transpose()?,
        losses: losses.collect(),
        fetched: fetched.map(|need| Fetched { url: &need.url, kind: need.kind.as_str() }).collect(),
    };
    let body = serde_json::to_vec(&shown).map_err(|_| Rejection::internal())?;
    Ok(Reply::own(body.into()))
}

fn refuse_envelope(error: &serde_json::Error) -> Rejection {
    // serde names what it expected, never what the client sent in a string.
    let place = format!("line {}, column {}", error.line(), error.column());
    let detail = format!(
        "the body must be {{\"surface\": …, \"body\": {{…}}}}, where the surface is one of chat_completions, completions, responses, \
         messages, generate_content and embeddings, and \"model\" and \"stream\" may say what an address would; it stops being \
         that at {place}"
    );
    Rejection::new(GatewayCode::RequestInvalid, detail)
}

fn target(deployment: &DeploymentPolicy) -> Target<'_> {
    Target {
        deployment_id: deployment.id,
        deployment: &deployment.name,
        provider: &deployment.provider,
        upstream_model: &deployment.upstream_model,
        credential_id: match &deployment.credential {
            CredentialUse::Ready(credential) => Some(credential.id),
            _ => None,
        },
    }
}

fn request(sent: &dispatch::Sent) -> Result<Request<'_>, Rejection> {
    let request = &sent.signed;
    let mut headers = BTreeMap::new();
    for (name, value) in request.headers() {
        let shown = match value.to_str() {
            Ok(text) if sent.is_public(name, value) => text.to_owned(),
            Ok(text) if text.starts_with("Bearer ") => format!("Bearer {HIDDEN}"),
            _ => HIDDEN.to_owned(),
        };
        headers.insert(name.as_str(), shown);
    }
    Ok(Request { method: request.method().as_str(), url: sent.url(), headers, body: raw(request.body())? })
}

fn raw(body: &Bytes) -> Result<&RawValue, Rejection> {
    serde_json::from_slice(body).map_err(|_| Rejection::internal())
}
