//! One full set on its way to one node, chunk by chunk, while the stream goes on with everything else.
//!
//! Full sets at the same time are bounded: a node waits for a place, and gives it back when it does not take its chunks. So nodes
//! that stall never keep others from theirs. Invariant: a transfer holds a place only while its node keeps taking.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use domain::OrganizationId;
use policy::set::Location;
use policy::sign::{Revision, Signed};
use policy::wire::frame;
use proto::v1;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;
use tonic::Status;
use v1::control_message::Body as Down;

use super::holding::State;
use crate::publisher::Published;
use crate::sync::Plane;
use crate::under_way::UnderWay;

/// Bytes of resources in one chunk of a full set, about.
const CHUNK_BYTES: usize = 512 * 1024;
/// A node that takes nothing for this long gives its place to others.
const GIVE_BACK_AFTER: Duration = Duration::from_secs(1);

type Waiting = Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>;

/// See the module.
pub(super) struct Transfer {
    organization: OrganizationId,
    published: Arc<Published>,
    signed: Signed<Revision>,
    chunk_count: u32,
    step: Step,
    plane: Arc<Plane>,
    place: Option<(OwnedSemaphorePermit, UnderWay)>,
    waiting: Option<Waiting>,
    blocked_since: Option<Instant>,
}

enum Step {
    Begin,
    Chunk { index: u32, after: Option<Location> },
    End,
}

/// The node takes nothing.
pub(super) struct Stalled;

impl Transfer {
    pub(super) fn new(
        organization: OrganizationId,
        published: Arc<Published>,
        signed: Signed<Revision>,
        plane: Arc<Plane>,
    ) -> Self {
        let chunk_count = chunk_count(&published);
        Self {
            organization,
            published,
            signed,
            chunk_count,
            step: Step::Begin,
            plane,
            place: None,
            waiting: None,
            blocked_since: None,
        }
    }

    pub(super) const fn organization(&self) -> OrganizationId {
        self.organization
    }

    /// The state that the node holds when the transfer has arrived.
    pub(super) const fn state(&self) -> State {
        let Revision { number: revision, set_hash: hash, resource_count: count, .. } = self.signed.statement;
        State { revision, hash, count }
    }

    /// Lets others go first.
    pub(super) fn give_back(&mut self) {
        self.place = None;
    }

    /// Waits until the next message may go: the node has room, and it is this transfer's turn. Cancel-safe; a turn that was
    /// waited for is kept.
    pub(super) async fn ready(
        &mut self,
        outgoing: &mpsc::Sender<Result<v1::ControlMessage, Status>>,
        within: Duration,
    ) -> Result<(), Stalled> {
        while outgoing.capacity() == 0 {
            let since = *self.blocked_since.get_or_insert_with(Instant::now);
            let limit = if self.place.is_some() { GIVE_BACK_AFTER.min(within) } else { within };
            tokio::select! {
                // A closed channel: the next send says so.
                room = outgoing.reserve() => if room.is_err() { return Ok(()) },
                () = tokio::time::sleep_until(since + limit) => {
                    if self.place.take().is_none() {
                        return Err(Stalled);
                    }
                }
            }
        }
        self.blocked_since = None;
        if self.place.is_none() {
            let places = Arc::clone(&self.plane.full_sets);
            let waiting =
                self.waiting.get_or_insert_with(|| Box::pin(async move { places.acquire_owned().await.ok() }));
            // The semaphore is never closed.
            let permit = waiting.await;
            let under_way = UnderWay::new(Arc::clone(&self.plane.cx), |metrics| &metrics.full_sets);
            self.place = permit.map(|permit| (permit, under_way));
            self.waiting = None;
        }
        Ok(())
    }

    /// Returns the next message; `None` when all was given.
    pub(super) fn next(&mut self) -> Option<Down> {
        match self.step {
            Step::Begin => {
                self.step = Step::Chunk { index: 0, after: None };
                let target = Some(frame::revision_message(&self.signed));
                Some(Down::FullSetBegin(v1::FullSetBegin { target, chunk_count: self.chunk_count }))
            }
            Step::Chunk { index, after } if index < self.chunk_count => {
                let (resources, last) = chunk(&self.published, after);
                self.step = Step::Chunk { index: index + 1, after: last };
                let organization_id = self.organization.to_string();
                Some(Down::FullSetChunk(v1::FullSetChunk { organization_id, index, resources }))
            }
            Step::Chunk { .. } => {
                self.step = Step::End;
                let (organization_id, revision) = (self.organization.to_string(), self.signed.statement.number);
                Some(Down::FullSetEnd(v1::FullSetEnd { organization_id, revision }))
            }
            Step::End => None,
        }
    }

    pub(super) const fn is_over(&self) -> bool {
        matches!(self.step, Step::End)
    }
}

/// One chunk after a location: as many resources as fit, at least one, and where it ends.
fn chunk(published: &Published, after: Option<Location>) -> (Vec<v1::Resource>, Option<Location>) {
    let (mut resources, mut last, mut bytes) = (Vec::new(), after, 0);
    for resource in published.set().iter_after(after) {
        bytes += cost(resource.content.len());
        if bytes > CHUNK_BYTES && !resources.is_empty() {
            break;
        }
        last = Some(resource.location());
        resources.push(frame::resource_message(&resource));
    }
    (resources, last)
}

const fn cost(content: usize) -> usize {
    content + 128
}

/// How many chunks [`chunk`] gives; an empty set is one empty chunk.
fn chunk_count(published: &Published) -> u32 {
    let (mut count, mut bytes) = (1, 0);
    for resource in published.set().iter() {
        bytes += cost(resource.content.len());
        if bytes > CHUNK_BYTES && bytes > cost(resource.content.len()) {
            bytes = cost(resource.content.len());
            count += 1;
        }
    }
    count
}
