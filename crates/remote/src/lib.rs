//! Files and batches: many calls at once, at a vendor that takes them so, under ids of ours.
//!
//! ```text
//! upload ─▶ named line by line ─▶ upstream        sweep ─▶ asks for what is due ─┐
//! look, make, read ─▶ store: whose is it? ─▶ upstream ─▶ client ─▶ book ◀────────┘
//! ```
//!
//! A file goes to its upstream while it arrives: its first line says to which, and every line is checked and named as the upstream
//! names its model on the way. Nothing of it is held here. What is noted, with the control plane, is whose it is and where it lies;
//! so any node serves the next call. Not here: forms of files and lines (`batch`), who may call and what things cost (`gateway`,
//! behind `port`).
//!
//! # Invariants
//!
//! - No id of an upstream's reaches a client, and no id of a client's an upstream but through a look-up in the caller's environment.
//! - All lines of a file lie with one credential.
//! - Output that is read is booked, once, however often and wherever it is read.

#![deny(missing_docs)]

mod book;
mod calls;
mod look;
mod make;
pub mod port;
pub mod read;
pub mod store;
mod sweep;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use batch::ids::Named;
use batch::{BatchCall, Facts};
use bytes::Bytes;
use domain::code::GatewayCode;
use domain::remote::{RemoteKind, RemoteObject, RemoteScope};
use domain::{RemoteId, Timestamp};
use http::HeaderMap;
use policy::Caller;
use tokio::time::Instant;

use crate::calls::Upstream;
use crate::port::{Body, Given, Host, Meter, Refusal};
pub use crate::sweep::{book_due, keep_booking};

/// How long an object is known when its upstream does not say.
const KNOWN_FOR: Duration = Duration::from_secs(RemoteObject::MAX_DAYS * 86_400);
/// When to come back while what is known of objects cannot be reached.
const AWAY_RETRY: Duration = Duration::from_secs(5);

/// What is done with what is named.
pub enum Deed {
    /// Looks at it.
    Get,
    /// Deletes it.
    Delete,
    /// Makes it of a body that was read.
    Make(Bytes),
    /// Makes it of a body that is still arriving.
    Upload(Body),
}

/// One call of this surface.
pub struct Asking<'a> {
    /// The node that serves it.
    pub host: &'a Arc<dyn Host>,
    /// Whose it is.
    pub caller: &'a Caller<'a>,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The query of its address.
    pub query: Option<&'a str>,
    /// When it came.
    pub at: Timestamp,
}

/// Serves a call.
pub async fn serve(
    asking: &Asking<'_>,
    call: BatchCall<'_>,
    deed: Deed,
    meter: &mut dyn Meter,
) -> Result<Given, Refusal> {
    use RemoteKind::{Batch, MessageBatch};
    // On the heap each: the largest would otherwise make room for itself in all.
    match (call, deed) {
        (BatchCall::Files, Deed::Upload(body)) => Box::pin(upload::file(asking, body, meter)).await,
        (BatchCall::MessageBatches, Deed::Upload(body)) => Box::pin(upload::messages(asking, body, meter)).await,
        (BatchCall::Batches, Deed::Make(body)) => Box::pin(make::batch(asking, &body, meter)).await,
        (BatchCall::Files, _) => Box::pin(look::list_files(asking, meter)).await,
        (BatchCall::Batches, _) => Box::pin(look::list_batches(asking, meter)).await,
        (BatchCall::MessageBatches, _) => Box::pin(look::list_messages(asking, meter)).await,
        (BatchCall::File(id), Deed::Delete) => Box::pin(look::delete_file(asking, id, meter)).await,
        (BatchCall::File(id), _) => Box::pin(look::file(asking, id, meter)).await,
        (BatchCall::Content(id), _) => Box::pin(read::content(asking, id, meter)).await,
        (BatchCall::Batch(id), _) => Box::pin(look::batch(asking, (Batch, id), meter)).await,
        (BatchCall::MessageBatch(id), Deed::Delete) => Box::pin(look::delete_batch(asking, id, meter)).await,
        (BatchCall::MessageBatch(id), _) => Box::pin(look::batch(asking, (MessageBatch, id), meter)).await,
        (BatchCall::CancelBatch(id), _) => Box::pin(look::cancel(asking, (Batch, id), meter)).await,
        (BatchCall::CancelMessageBatch(id), _) => Box::pin(look::cancel(asking, (MessageBatch, id), meter)).await,
        (BatchCall::Results(id), _) => Box::pin(read::results(asking, id, meter)).await,
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
            id: self.host.next_id(now),
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
    async fn find(&self, id: RemoteId, kind: RemoteKind, meter: &mut dyn Meter) -> Result<Found, Refusal> {
        let since = Instant::now();
        let found = self.host.store().find(self.scope(), id).await;
        meter.wait(since.elapsed());
        let object = found.map_err(|error| away(&error))?.filter(|object| object.kind == kind).ok_or_else(unknown)?;
        self.open(object, meter)
    }

    /// Finds where an object lies.
    fn open(&self, object: RemoteObject, meter: &mut dyn Meter) -> Result<Found, Refusal> {
        let facts = Facts::read(&object.facts).ok_or_else(Refusal::internal)?;
        let upstream = Upstream::of(self.host, self.caller.organization, &object)?;
        serve_from(&upstream, &facts, meter);
        Ok(Found { object, facts, upstream })
    }
}

/// Notes what serves a call.
fn serve_from(upstream: &Upstream, facts: &Facts, meter: &mut dyn Meter) {
    if let Some(model) = facts.models.first() {
        meter.serve_from(model, upstream.provider.spec().name);
    }
}

/// An object, and where it lies.
struct Found {
    object: RemoteObject,
    facts: Facts,
    upstream: Upstream,
}

/// Reads an id of a path.
fn named(id: &str) -> Result<Named, Refusal> {
    Named::parse(id).ok_or_else(unknown)
}

fn unknown() -> Refusal {
    let detail = "no such file or batch is known here for keys of this environment: it was made elsewhere, was deleted, or its time \
                  is over";
    Refusal::new(GatewayCode::ObjectUnknown, detail)
}

fn away(error: &store::RemoteError) -> Refusal {
    tracing::warn!(error = runtime::telemetry::chain(error), "what is known of files and batches could not be reached");
    let detail = "what is known of files and batches cannot be reached at the moment; try again shortly";
    Refusal::new(GatewayCode::ObjectsAway, detail).with_retry_after(AWAY_RETRY)
}

fn invalid(detail: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(GatewayCode::RequestInvalid, detail)
}
