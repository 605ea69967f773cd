//! Responses that continue others: what an earlier call said is put before what this one says, whoever answered then or now.
//!
//! A kept answer belongs to an environment of a workspace; a key of any other finds nothing there. Upstreams are never asked to
//! look anything up: the items themselves go along, so the target of a conversation may change between calls. Invariants: a
//! wish to continue is met or refused, never overlooked; an answer that was to be kept and is not says so (`store`).

use std::sync::Arc;

use bytes::Bytes;
use domain::Timestamp;
use domain::code::GatewayCode;
use http::Method;
use ingress::Rejection;
use llm::canonical::json::Raw;
use llm::dialect::Dialect;
use llm::dialect::openai_responses::conversation::{self, Turn};
use llm::dialect::openai_responses::echo_of;
use policy::Caller;
use provider::scan;
use tokio::time::Instant;

use super::Worker;
use super::reply::Reply;
use super::resolve::Wanted;
use super::settle::Meter;
use crate::responses::{KeepError, Place, ResponseStore};

/// Longest id that is looked for.
const MAX_ID: usize = 256;

/// What is to be kept of a call, once it is answered.
pub(crate) struct Memory {
    store: Arc<dyn ResponseStore>,
    /// With an empty id, until the answer has one.
    place: Place,
    input: Vec<Raw>,
    expires_at: Timestamp,
}

impl Memory {
    /// Keeps an answer of the surface. `None` when it is not one to be kept.
    pub(crate) fn keep(self, response: Raw) -> Option<futures_util::future::BoxFuture<'static, Result<(), KeepError>>> {
        let id = conversation::kept_id(response.as_str().as_bytes()).filter(|id| is_id(id))?;
        let content = Turn { input: self.input, response }.encode();
        Some(self.store.keep(Place { id, ..self.place }, content, self.expires_at))
    }
}

/// Puts what an earlier call said before this call's own items, and notes what is to be kept of it. For calls of the responses
/// surface.
pub(crate) async fn recall(
    worker: &Worker,
    caller: &Caller<'_>,
    wanted: &mut Wanted,
    meter: &mut Meter,
) -> Result<Option<Box<Memory>>, Rejection> {
    let refuse = |detail: String| Rejection::new(GatewayCode::RequestInvalid, detail);
    let wish = conversation::read_wish(&wanted.body).map_err(|error| refuse(error.to_string()))?;
    if wish.is_background {
        let detail = "answers are made while the call waits; leave `background` out";
        return Err(Rejection::new(GatewayCode::RequestInvalid, detail).with_param("background"));
    }
    let retention = caller.organization.response_retention;
    wanted.echo = echo_of(Dialect::OpenAiResponses, &wanted.body);
    let mut input = None;
    if let Some(previous) = &wish.previous {
        if retention.is_zero() {
            let detail = "this organization keeps no responses; send the earlier items in `input`, or let an administrator set a \
                          retention";
            return Err(Rejection::new(GatewayCode::RequestInvalid, detail).with_param("previous_response_id"));
        }
        let turn = find(worker, caller, previous, meter).await?;
        let continued = conversation::continued(&wanted.body, turn.history());
        let (body, items) = continued.map_err(|error| refuse(error.to_string()))?;
        wanted.scan = scan::scan(&body).map_err(|error| refuse(error.to_string()))?;
        wanted.body = body;
        input = Some(items);
    }
    let is_kept = wish.store != Some(false) && !retention.is_zero();
    if let Some(kept) = Raw::of(&is_kept) {
        wanted.echo.set("store", kept);
    }
    if wish.store == Some(true) && !is_kept {
        wanted.dropped.push("store".to_owned());
    }
    if !is_kept {
        return Ok(None);
    }
    let input = match input {
        Some(input) => input,
        None => conversation::input_items(&wanted.body).map_err(|error| refuse(error.to_string()))?,
    };
    let store = worker.shared.responses.clone();
    let expires_at = meter.started_at.plus(retention);
    Ok(Some(Box::new(Memory { store, place: place(caller, ""), input, expires_at })))
}

/// Sees to it that an answer is kept: a whole one before it is handed over, a stream's before its last event.
pub(crate) async fn keep(memory: Box<Memory>, reply: Reply, meter: &mut Meter) -> Reply {
    match reply {
        Reply::Stream(mut start) => {
            start.memory = Some(memory);
            Reply::Stream(start)
        }
        Reply::Whole(body) => Reply::Whole(keep_whole(memory, body, meter).await),
        Reply::Own(_) | Reply::Again(_) | Reply::Media(..) | Reply::Passed(..) | Reply::Session(_) => reply,
    }
}

async fn keep_whole(memory: Box<Memory>, body: Bytes, meter: &mut Meter) -> Bytes {
    let Some(response) = std::str::from_utf8(&body).ok().and_then(Raw::parse) else { return body };
    let Some(keeping) = memory.keep(response.clone()) else { return body };
    let since = Instant::now();
    let kept = keeping.await;
    meter.waited += since.elapsed();
    let Err(error) = kept else { return body };
    note(&error);
    meter.dropped.push("store".to_owned());
    let untrue = Raw::of(&false).and_then(|no| response.with_field("store", &no));
    untrue.map_or(body, |response| Bytes::copy_from_slice(response.as_str().as_bytes()))
}

/// Says in the log that an answer was not kept.
pub(crate) fn note(error: &KeepError) {
    tracing::warn!(error = runtime::telemetry::chain(error), "a response could not be kept; its client is told so");
}

/// Puts what an earlier call said before a body's own items, without keeping anything of it.
pub(super) async fn restore(
    worker: &Worker,
    caller: &Caller<'_>,
    body: &Bytes,
    meter: &mut Meter,
) -> Result<Option<Bytes>, Rejection> {
    let refuse = |detail: String| Rejection::new(GatewayCode::RequestInvalid, detail);
    let wish = conversation::read_wish(body).map_err(|error| refuse(error.to_string()))?;
    let Some(previous) = &wish.previous else { return Ok(None) };
    let turn = find(worker, caller, previous, meter).await?;
    let (body, _) = conversation::continued(body, turn.history()).map_err(|error| refuse(error.to_string()))?;
    Ok(Some(body))
}

// === Kept responses by their id ===

/// Answers `POST …/cancel` of a kept response: there is never anything left to cancel.
pub(crate) async fn cancel(
    worker: &Worker,
    caller: &Caller<'_>,
    id: &str,
    meter: &mut Meter,
) -> Result<Reply, Rejection> {
    find(worker, caller, id, meter).await?;
    let detail = "this response is complete; only one that is made in the background can be cancelled, and this gateway makes none";
    Err(Rejection::new(GatewayCode::RequestInvalid, detail))
}

/// Answers `GET` and `DELETE` of a kept response.
pub(crate) async fn show(
    worker: &Worker,
    caller: &Caller<'_>,
    (method, id): (&Method, &str),
    meter: &mut Meter,
) -> Result<Reply, Rejection> {
    if *method != Method::DELETE {
        let turn = find(worker, caller, id, meter).await?;
        return Ok(Reply::own(Bytes::copy_from_slice(turn.response.as_str().as_bytes())));
    }
    if !is_id(id) || !worker.shared.responses.delete(place(caller, id)).await.map_err(|error| away(&error))? {
        return Err(unknown());
    }
    let body = serde_json::json!({ "id": id, "object": "response", "deleted": true });
    Ok(Reply::own(body.to_string().into()))
}

/// Lists what the model was given for a kept response.
pub(crate) async fn list_input(
    worker: &Worker,
    caller: &Caller<'_>,
    id: &str,
    meter: &mut Meter,
) -> Result<Reply, Rejection> {
    let turn = find(worker, caller, id, meter).await?;
    Ok(Reply::own(turn.encode_input_list()))
}

async fn find(worker: &Worker, caller: &Caller<'_>, id: &str, meter: &mut Meter) -> Result<Turn, Rejection> {
    if !is_id(id) {
        return Err(unknown());
    }
    let since = Instant::now();
    let found = worker.shared.responses.find(place(caller, id)).await;
    meter.waited += since.elapsed();
    let kept = found.map_err(|error| away(&error))?.ok_or_else(unknown)?;
    Turn::decode(&kept).map_err(|_| Rejection::internal())
}

fn place(caller: &Caller<'_>, id: &str) -> Place {
    Place {
        organization: caller.organization.id,
        workspace: caller.workspace.id,
        environment: caller.key.key.environment,
        id: id.to_owned(),
    }
}

fn is_id(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':');
    !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(is_plain)
}

fn unknown() -> Rejection {
    let detail = "no such response is kept here for keys of this environment: it was never kept (`store`), was deleted, or its time \
                  is over; send the conversation's items in `input`";
    Rejection::new(GatewayCode::ResponseUnknown, detail).with_param("previous_response_id")
}

fn away(error: &KeepError) -> Rejection {
    tracing::warn!(error = runtime::telemetry::chain(error), "a kept response could not be reached");
    let detail = "kept responses cannot be reached at the moment; try again shortly, or send the conversation's items in `input`";
    Rejection::new(GatewayCode::ResponsesAway, detail).with_retry_after(Some(super::identify::STALE_RETRY))
}
