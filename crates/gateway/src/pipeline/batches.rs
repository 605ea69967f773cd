//! Files and batches: many calls at once, at a vendor that takes them so, under ids of ours.
//!
//! A file goes to its upstream while it arrives: its first line says to which, and every line is checked and named as the upstream
//! names its model on the way. Nothing of it is held here. What is noted, with the control plane, is whose it is and where it lies;
//! so any node serves the next call. Invariants: no id of an upstream's reaches a client, and no id of a client's an upstream
//! but through a look-up in the caller's environment; all lines of a file lie with one credential; output that is read is booked.

mod book;
mod look;
mod make;
mod read;
mod sweep;
mod upload;
mod upstream;

use std::sync::Arc;
use std::time::Duration;

use crate::server::body::Incoming;
use batch::facts::Facts;
use batch::ids::Named;
use domain::code::GatewayCode;
use domain::remote::{RemoteKind, RemoteObject, RemoteScope};
use domain::{RemoteId, Timestamp};
use futures_util::future::BoxFuture;
use http::Method;
use http::request::Parts;
use policy::Caller;
use tokio::time::Instant;

pub(crate) use self::read::Lines;
pub(crate) use self::sweep::{book_due, keep_booking};
use self::upstream::Upstream;
use super::admit::{Head, Notes};
use super::reply::Reply;
use super::settle::{Meter, Served};
use super::{Worker, reserve};
use crate::ingress::BatchCall;
use crate::rejection::Rejection;
use crate::remotes::RemoteError;

/// How long an object is known when its upstream does not say.
const KNOWN_FOR: Duration = Duration::from_secs(RemoteObject::MAX_DAYS * 86_400);

/// One call of this surface.
struct Asking<'a> {
    worker: &'a Arc<Worker>,
    caller: &'a Caller<'a>,
    head: &'a Head<'a>,
    parts: &'a Parts,
}

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
    meter.hold = Some(reserve::reserve(worker, caller.key.key.id)?);
    let asking = Asking { worker, caller, head, parts };
    let is_post = parts.method == Method::POST;
    let is_delete = parts.method == Method::DELETE;
    // On the heap each: the largest would otherwise make room for itself in all.
    match call {
        BatchCall::Files if is_post => Box::pin(upload::file(&asking, unread, meter)).await,
        BatchCall::MessageBatches if is_post => Box::pin(upload::messages(&asking, unread, meter)).await,
        BatchCall::Batches if is_post => Box::pin(make::batch(&asking, unread, meter)).await,
        BatchCall::Files => Box::pin(look::list_files(&asking, meter)).await,
        BatchCall::Batches => Box::pin(look::list_batches(&asking, meter)).await,
        BatchCall::MessageBatches => Box::pin(look::list_messages(&asking, meter)).await,
        BatchCall::File(id) if is_delete => Box::pin(look::delete_file(&asking, id, meter)).await,
        BatchCall::File(id) => Box::pin(look::file(&asking, id, meter)).await,
        BatchCall::Content(id) => Box::pin(read::content(&asking, id, meter)).await,
        BatchCall::Batch(id) | BatchCall::MessageBatch(id) if !is_delete => {
            Box::pin(look::batch(&asking, id, meter)).await
        }
        BatchCall::Batch(id) | BatchCall::MessageBatch(id) => Box::pin(look::delete_batch(&asking, id, meter)).await,
        BatchCall::CancelBatch(id) | BatchCall::CancelMessageBatch(id) => {
            Box::pin(look::cancel(&asking, id, meter)).await
        }
        BatchCall::Results(id) => Box::pin(read::results(&asking, id, meter)).await,
    }
}

impl Asking<'_> {
    fn scope(&self) -> RemoteScope {
        RemoteScope {
            organization: self.caller.organization.id,
            workspace: self.caller.workspace.id,
            environment: self.caller.key.key.environment,
        }
    }

    /// Makes the note of an object that is about to be, or just was, made.
    fn object(
        &self,
        kind: RemoteKind,
        upstream: &Upstream,
        upstream_id: &str,
        facts: &Facts,
        now: Timestamp,
    ) -> RemoteObject {
        RemoteObject {
            id: self.worker.ids.next_remote(now),
            scope: self.scope(),
            kind,
            virtual_key: self.caller.key.key.id,
            provider: upstream.provider.spec().name.to_owned(),
            credential: upstream.credential.id,
            upstream_id: upstream_id.to_owned(),
            facts: facts.write(),
            created_at: now,
            expires_at: now.plus(KNOWN_FOR),
            due_at: (kind != RemoteKind::File).then(|| now.plus(sweep::FIRST_LOOK)),
            booked_at: None,
        }
    }

    /// Finds an object of the caller's environment.
    async fn find(&self, id: RemoteId, kind: RemoteKind, meter: &mut Meter) -> Result<Found, Rejection> {
        let since = Instant::now();
        let found = self.worker.shared.remotes.find(self.scope(), id).await;
        meter.waited += since.elapsed();
        let object = found.map_err(|error| away(&error))?.filter(|object| object.kind == kind).ok_or_else(unknown)?;
        self.open(object, meter)
    }

    /// Finds where an object lies.
    fn open(&self, object: RemoteObject, meter: &mut Meter) -> Result<Found, Rejection> {
        let facts = Facts::read(&object.facts).ok_or_else(Rejection::internal)?;
        let upstream = Upstream::of(self.worker, self.caller.organization, &object)?;
        serve_from(&upstream, &facts, meter);
        Ok(Found { object, facts, upstream })
    }
}

/// Notes what serves a call.
fn serve_from(upstream: &Upstream, facts: &Facts, meter: &mut Meter) {
    let Some(model) = facts.models.first() else { return };
    meter.model.clone_from(&model.name);
    meter.served = Some(Served {
        deployment: model.deployment,
        provider: upstream.provider.spec().name.to_owned(),
        upstream_model: model.upstream.clone(),
    });
}

/// An object, and where it lies.
struct Found {
    object: RemoteObject,
    facts: Facts,
    upstream: Upstream,
}

/// Reads an id of a path.
fn named(id: &str) -> Result<Named, Rejection> {
    Named::parse(id).ok_or_else(unknown)
}

fn unknown() -> Rejection {
    let detail = "no such file or batch is known here for keys of this environment: it was made elsewhere, was deleted, or its time \
                  is over";
    Rejection::new(GatewayCode::ObjectUnknown, detail)
}

fn away(error: &RemoteError) -> Rejection {
    tracing::warn!(error = runtime::telemetry::chain(error), "what is known of files and batches could not be reached");
    let detail = "what is known of files and batches cannot be reached at the moment; try again shortly";
    Rejection::new(GatewayCode::ObjectsAway, detail).with_retry_after(Some(super::identify::STALE_RETRY))
}

fn invalid(detail: impl Into<std::borrow::Cow<'static, str>>) -> Rejection {
    Rejection::new(GatewayCode::RequestInvalid, detail)
}
