//! Long conversations of the responses surface made short, and made whole where their input is counted.
//!
//! Where every target of a model has its vendor's own operation, the call goes there as it is. Elsewhere the model is asked for a
//! summary of a transcript, as one call that is booked like any other, and the client gets it in an item of the vendor's kind: as
//! the answer of `/responses/compact`, or of a turn with a trigger among its items. Such items come back with later calls and
//! become messages here, whatever the target. Invariant: a call that asks for a compaction gets one or is refused; it is never
//! answered as if it had not asked.

use bytes::Bytes;
use domain::code::GatewayCode;
use http::HeaderValue;
use ingress::Rejection;
use ingress::surface::Surface;
use llm::canonical::error::DecodeError;
use llm::dialect::openai_responses::compaction::{self, Compaction};
use policy::Caller;
use provider::scan;
use provider::task::Task;

use super::reply::{EVENTS_TYPE, Reply};
use super::resolve::Wanted;
use super::settle::Meter;
use super::{Worker, remember};

/// Says whether a call has to do with any of it. Cheap for those that have not.
pub(super) fn is_wanted(wanted: &Wanted) -> bool {
    !matches!(wanted.surface, Surface::Chat(_))
        || memchr::memmem::find(&wanted.body, compaction::KIND.as_bytes()).is_some()
}

/// Makes summaries of ours into messages, and a call that asks for a compaction or a count into what targets take.
pub(super) async fn make(
    worker: &Worker,
    caller: &Caller<'_>,
    wanted: &mut Wanted,
    meter: &mut Meter,
) -> Result<Option<Box<Compaction>>, Rejection> {
    if let Some(body) = compaction::expand(&wanted.body).map_err(|error| refuse(&error))? {
        put(wanted, body)?;
    }
    let is_turn = matches!(wanted.surface, Surface::Chat(_));
    if is_turn && !compaction::is_asked(&wanted.body).map_err(|error| refuse(&error))? {
        return Ok(None);
    }
    let is_native = is_native(wanted);
    if is_turn && is_native {
        return Ok(None);
    }
    if let Some(body) = remember::restore(worker, caller, &wanted.body, meter).await? {
        // What was kept may hold a summary, too.
        let expanded = compaction::expand(&body).map_err(|error| refuse(&error))?;
        put(wanted, expanded.unwrap_or(body))?;
    }
    if matches!(wanted.surface, Surface::CountTokens(_)) {
        return Ok(None);
    }
    if is_native {
        wanted.surface = Surface::Task(Task::Compaction);
        return Ok(None);
    }
    let compaction = Compaction::of(&wanted.body).map_err(|error| refuse(&error))?;
    put(wanted, compaction.request.clone())?;
    // Whatever the client gets, the model is not asked for a stream.
    meter.is_stream = false;
    Ok(Some(Box::new(compaction)))
}

/// Says whether every target's vendor has the operation.
fn is_native(wanted: &Wanted) -> bool {
    let surface = provider::Surface::Task(Task::Compaction);
    let models = std::iter::once(&wanted.model).chain(&wanted.more);
    models.flat_map(|model| model.targets.iter()).all(|target| {
        let found = provider::find(&target.deployment.provider);
        found.is_some_and(|provider| provider.spec().place(surface, false).is_some())
    })
}

fn put(wanted: &mut Wanted, body: Bytes) -> Result<(), Rejection> {
    wanted.scan = scan::scan(&body).map_err(|error| Rejection::new(GatewayCode::RequestInvalid, error.to_string()))?;
    wanted.body = body;
    Ok(())
}

fn refuse(error: &DecodeError) -> Rejection {
    Rejection::new(GatewayCode::RequestInvalid, error.to_string())
}

/// Writes a summary as the client asked for it.
pub(super) fn finish(compaction: &Compaction, reply: Reply, meter: &mut Meter) -> Result<Reply, Rejection> {
    let (Reply::Whole(body) | Reply::Own(body)) = reply else { return Err(Rejection::internal()) };
    let id = meter.request_id.to_string();
    let id = id.split_once('_').map_or(id.as_str(), |(_, id)| id);
    let Some(answer) = compaction.answer(&body, id) else {
        let detail = "the model wrote no summary of the conversation; try again, or ask another model";
        return Err(Rejection::new(GatewayCode::UpstreamError, detail));
    };
    if compaction.is_stream() {
        meter.is_stream = true;
        return Ok(Reply::Media(answer, HeaderValue::from_static(EVENTS_TYPE)));
    }
    Ok(Reply::Whole(answer))
}
