//! Stage 3: reads the body and finds out what may serve it.
//!
//! The body is scanned once for the few fields that policy needs; it is parsed further only when it must be translated. A model
//! name is only ever looked up, never part of a path.

use std::sync::Arc;

use bytes::Bytes;
use domain::code::GatewayCode;
use domain::route::Overrides;
use http::HeaderMap;
use ingress::Rejection;
use ingress::admit::Head;
use ingress::choice::{self, Choice, Sort};
use ingress::surface::{Ready, Surface};
use llm::canonical::json::Rest;
use policy::Caller;
use policy::snapshot::{DeploymentPolicy, ModelPolicy};
use provider::catalog::{self, ModelFacts, ModelKind};
use provider::scan::{Scan, scan};
use provider::task::Task;
use provider::{Call, Operation};
use tokio::time::Instant;

use super::identify::STALE_RETRY;
use super::settle::Meter;
use super::{Worker, body};
use crate::server::body::Incoming;

/// Longest part of a model name that an error repeats.
const MAX_SHOWN: usize = 100;

/// What is to be done, and what may serve it.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) surface: Surface,
    pub(crate) body: Bytes,
    pub(crate) scan: Scan,
    pub(crate) model: Arc<ModelPolicy>,
    /// Models to fall back on, as the request has them.
    pub(crate) more: Vec<Arc<ModelPolicy>>,
    /// What the request asks of the choice of targets.
    pub(crate) choice: Option<Box<Choice>>,
    /// What of the body no target can be told.
    pub(crate) dropped: Vec<String>,
    /// What an answer that is made here repeats of the request.
    pub(crate) echo: Rest,
}

impl Wanted {
    /// The call as targets are told of it.
    pub(crate) fn call<'a>(&'a self, headers: &'a HeaderMap) -> Call<'a> {
        Call { operation: self.surface.operation(), body: &self.body, scan: &self.scan, headers, inlined: None }
    }
}

/// Reads the body and looks up its model.
pub(crate) async fn resolve(
    worker: &Worker,
    caller: &Caller<'_>,
    head: &Head<'_>,
    surface: Surface,
    unread: &mut Option<Incoming>,
    meter: &mut Meter,
) -> Result<Wanted, Rejection> {
    let body = read_body(worker, head, unread, meter).await?;
    look_up(caller, surface, body, head.address()?.as_deref(), meter)
}

/// Reads the body, at the client's pace.
pub(crate) async fn read_body(
    worker: &Worker,
    head: &Head<'_>,
    unread: &mut Option<Incoming>,
    meter: &mut Meter,
) -> Result<Bytes, Rejection> {
    let Some(incoming) = unread.take() else { return Err(Rejection::internal()) };
    let waiting_since = Instant::now();
    let read = body::read(incoming, head.length, head.encoding, &worker.shared.config.limits).await;
    let now = Instant::now();
    meter.waited += now.duration_since(waiting_since);
    meter.received = now.duration_since(meter.started);
    read
}

/// Looks up what may serve a body.
pub(crate) fn look_up(
    caller: &Caller<'_>,
    surface: Surface,
    body: Bytes,
    address: Option<&str>,
    meter: &mut Meter,
) -> Result<Wanted, Rejection> {
    let mut ready = surface.make_ready(body, address)?;
    if ready.name.is_none() && surface == Surface::Task(Task::Moderation) {
        // The vendor has a default here, and clients that rely on it.
        let only = find_moderation(caller)?;
        ready = surface.make_ready(ready.body, Some(&only))?;
    }
    let Ready { body, scan, name, dropped } = ready;
    let mut models = choice::read_models(&body, &scan)?;
    let name = match name {
        Some(name) => name,
        None if !models.is_empty() => models.remove(0),
        None => {
            let detail = "the body has no \"model\"; name one of those that GET /v1/models lists";
            return Err(Rejection::new(GatewayCode::RequestInvalid, detail).with_param("model"));
        }
    };
    meter.model = clip(&name, 256);
    meter.note_request(&scan, &body);
    meter.is_stream = matches!(surface.operation(), Operation::Chat(_) | Operation::Task(_)) && scan.is_stream();
    let (model, variant) = find(caller, &name)?;
    surface.check_prompt(&body, &scan)?;
    meter.route = model.route;
    let mut wanted =
        Wanted { surface, body, scan, model, more: Vec::new(), choice: None, dropped, echo: Rest::default() };
    wanted.choose(caller, &models, variant)?;
    Ok(wanted)
}

/// Returns what is known of a deployment's model: what its organization says, else what the catalog has.
pub(crate) fn known(deployment: &DeploymentPolicy) -> Option<&ModelFacts> {
    let (provider, name) = deployment.known_as();
    deployment.facts.as_deref().or_else(|| catalog::find(provider, name).map(|model| &model.facts))
}

/// Finds the one model that the key may use and that is known to moderate.
fn find_moderation(caller: &Caller<'_>) -> Result<String, Rejection> {
    let moderates =
        |deployment: &DeploymentPolicy| known(deployment).is_some_and(|model| model.kind == ModelKind::Moderation);
    let mut found = caller.workspace.models().filter(|model| {
        let is_fit = !model.targets.is_empty() && model.targets.iter().all(|target| moderates(&target.deployment));
        is_fit && caller.key.allows(&model.name)
    });
    let detail = match (found.next(), found.next()) {
        (Some(only), None) => return Ok(only.name.to_string()),
        (None, _) => "the body has no \"model\", and none that this key may use is known to moderate; name one",
        _ => "the body has no \"model\", and several that this key may use moderate; name one of them",
    };
    Err(Rejection::new(GatewayCode::RequestInvalid, detail).with_param("model"))
}

/// Finds a model that the key may use, where nothing chooses among its targets as a request asks.
pub(crate) fn find_plain(caller: &Caller<'_>, name: &str) -> Result<Arc<ModelPolicy>, Rejection> {
    match find(caller, name)? {
        (model, None) => Ok(model),
        (_, Some(_)) => Err(choice::refuse_variant()),
    }
}

/// Finds a model that the key may use, and what a variant of its name asks for.
pub(crate) fn find(caller: &Caller<'_>, name: &str) -> Result<(Arc<ModelPolicy>, Option<Sort>), Rejection> {
    let known = caller.workspace.model(name).map(|model| (model, name, None));
    let (model, base, variant) = known
        .or_else(|| {
            let (base, sort) = choice::split_variant(name)?;
            Some((caller.workspace.model(base)?, base, Some(sort)))
        })
        .ok_or_else(|| refuse_unknown(caller, name))?;
    if !caller.key.allows(base) {
        let detail = format!(
            "this key may not use the model `{}`; use one that GET /v1/models lists, or let an administrator add it to the key",
            clip(name, MAX_SHOWN)
        );
        return Err(Rejection::new(GatewayCode::ModelNotAllowed, detail).with_param("model"));
    }
    if model.targets.is_empty() {
        // A route without targets cannot be made: those it has could not be compiled.
        return Err(refuse_broken("what serves this model"));
    }
    Ok((model.clone(), variant))
}

impl Wanted {
    /// Reads what the request asks of the choice, and takes it out of the body. Left alone when all that may serve understands it
    /// by itself.
    fn choose(&mut self, caller: &Caller<'_>, models: &[String], variant: Option<Sort>) -> Result<(), Rejection> {
        let Scan { models: has_models, provider: has_provider, .. } = &self.scan;
        if has_models.is_none() && has_provider.is_none() && variant.is_none() {
            return Ok(());
        }
        let understands = |deployment: &DeploymentPolicy| {
            provider::find(&deployment.provider).is_some_and(|provider| provider.spec().takes_choice)
        };
        if variant.is_none() && self.model.targets.iter().all(|target| understands(&target.deployment)) {
            return Ok(());
        }
        if self.model.rules.overrides == Overrides::Refused {
            return Err(choice::refuse_override(match (has_models, has_provider) {
                (Some(_), _) => "models",
                (None, Some(_)) => "provider",
                (None, None) => "model",
            }));
        }
        self.choice = choice::read(&self.body, &self.scan, variant)?;
        for name in models {
            let (model, _) = find(caller, name)?;
            if !Arc::ptr_eq(&model, &self.model) {
                self.more.push(model);
            }
        }
        if has_models.is_some() || has_provider.is_some() {
            self.body = choice::strip(&self.body);
            self.scan =
                scan(&self.body).map_err(|error| Rejection::new(GatewayCode::RequestInvalid, error.to_string()))?;
        }
        Ok(())
    }
}

/// Refuses what cannot be served because policy could not be compiled here; the last good version was never there.
pub(crate) fn refuse_broken(what: &str) -> Rejection {
    let detail = format!(
        "{what} could not be read by this gateway node; an administrator finds the reason in the console under Nodes"
    );
    Rejection::new(GatewayCode::PolicyInvalid, detail).with_retry_after(Some(STALE_RETRY))
}

/// Refuses a model that the workspace does not have, or may have among those that could not be read.
pub(crate) fn refuse_unknown(caller: &Caller<'_>, name: &str) -> Rejection {
    if caller.may_lack_models() {
        return refuse_broken("some model of this workspace, perhaps the one that was asked for,");
    }
    let detail = format!(
        "there is no model `{}` in this workspace; GET /v1/models lists those that this key may use",
        clip(name, MAX_SHOWN)
    );
    Rejection::new(GatewayCode::ModelUnknown, detail).with_param("model")
}

/// Returns at most `limit` characters without control characters.
pub(super) fn clip(text: &str, limit: usize) -> String {
    if text.len() <= limit && !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    text.chars().take(limit).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
