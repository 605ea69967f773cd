//! Notes the files and batches that nodes keep at upstreams, finds them for any node that serves the same organization, and hands
//! out those whose output is to be booked.
//!
//! Invariant: a node reaches only organizations of its group.

use std::sync::Arc;
use std::time::Duration;

use domain::node::{Holds, NodeGroup};
use domain::remote::{RemoteKind, RemoteObject, RemoteScope};
use domain::{RemoteId, Timestamp};
use policy::wire::{WireError, remote};
use proto::v1;
use proto::v1::remote_keeping_server::RemoteKeeping;
use store::remote_objects::{self, Listing, Settled};
use tonic::{Request, Response, Status};

use crate::sync::Plane;

/// Most objects of one answer.
const MAX_LISTED: u32 = 1_000;
/// Most objects that are handed out at once.
const MAX_DUE: u32 = 32;
/// A node that was handed an object has this long to see to it.
const LEASE: Duration = Duration::from_secs(15 * 60);
const LONGEST: Duration = Duration::from_secs(RemoteObject::MAX_DAYS * 86_400);

/// See the module.
pub(crate) struct Remotes {
    plane: Arc<Plane>,
}

impl Remotes {
    pub(crate) const fn new(plane: Arc<Plane>) -> Self {
        Self { plane }
    }

    /// Reads a scope that the calling node may reach.
    async fn scope<T>(&self, request: &Request<T>, scope: Option<&v1::RemoteScope>) -> Result<RemoteScope, Status> {
        let (_, group) = self.plane.identify(request).await?;
        check(&group, remote::decode_scope(scope).map_err(|error| malformed(&error))?)
    }

    fn away(&self) -> impl Fn(store::StoreError) -> Status {
        |error| self.plane.unavailable(&error)
    }

    fn now(&self) -> Timestamp {
        self.plane.cx.now()
    }
}

fn check(group: &NodeGroup, scope: RemoteScope) -> Result<RemoteScope, Status> {
    if group.holds.includes(scope.organization) {
        return Ok(scope);
    }
    Err(Status::permission_denied("the organization is outside of the node's group"))
}

fn malformed(error: &WireError) -> Status {
    Status::invalid_argument(error.to_string())
}

fn read_id(text: &str) -> Result<RemoteId, Status> {
    text.parse().map_err(|_| Status::invalid_argument("the id cannot be read"))
}

#[tonic::async_trait]
impl RemoteKeeping for Remotes {
    async fn note(&self, request: Request<v1::NoteRemoteRequest>) -> Result<Response<v1::NoteRemoteReply>, Status> {
        let (_, group) = self.plane.identify(&request).await?;
        let asked = request.into_inner().object.ok_or_else(|| Status::invalid_argument("the object is missing"))?;
        let mut object = remote::decode(asked).map_err(|error| malformed(&error))?;
        check(&group, object.scope)?;
        object.expires_at = object.expires_at.min(self.now().plus(LONGEST));
        let done = async {
            let mut tx = self.plane.cx.store.system().await?;
            remote_objects::insert(&mut tx, &object).await?;
            tx.commit().await
        };
        done.await.map_err(self.away())?;
        Ok(Response::new(v1::NoteRemoteReply {}))
    }

    async fn find(&self, request: Request<v1::FindRemoteRequest>) -> Result<Response<v1::FindRemoteReply>, Status> {
        let scope = self.scope(&request, request.get_ref().scope.as_ref()).await?;
        let id = read_id(&request.get_ref().id)?;
        let found = async {
            let mut tx = self.plane.cx.store.system().await?;
            remote_objects::find(&mut tx, &scope, id, self.now()).await
        };
        let found = found.await.map_err(self.away())?;
        Ok(Response::new(v1::FindRemoteReply { object: found.as_ref().map(remote::encode) }))
    }

    async fn list(&self, request: Request<v1::ListRemotesRequest>) -> Result<Response<v1::ListRemotesReply>, Status> {
        let scope = self.scope(&request, request.get_ref().scope.as_ref()).await?;
        let asked = request.into_inner();
        let listing = Listing {
            kind: RemoteKind::find(&asked.kind).ok_or_else(|| Status::invalid_argument("the kind is not known"))?,
            after: asked.after_id.as_deref().map(read_id).transpose()?,
            limit: asked.limit.min(MAX_LISTED),
            is_ascending: asked.ascending,
        };
        let listed = async {
            let mut tx = self.plane.cx.store.system().await?;
            remote_objects::list(&mut tx, &scope, listing, self.now()).await
        };
        let objects = listed.await.map_err(self.away())?.iter().map(remote::encode).collect();
        Ok(Response::new(v1::ListRemotesReply { objects }))
    }

    async fn forget(
        &self,
        request: Request<v1::ForgetRemoteRequest>,
    ) -> Result<Response<v1::ForgetRemoteReply>, Status> {
        let scope = self.scope(&request, request.get_ref().scope.as_ref()).await?;
        let id = read_id(&request.get_ref().id)?;
        let done = async {
            let mut tx = self.plane.cx.store.system().await?;
            let was_there = remote_objects::delete(&mut tx, &scope, id).await?;
            tx.commit().await.map(|()| was_there)
        };
        let was_there = done.await.map_err(self.away())?;
        Ok(Response::new(v1::ForgetRemoteReply { was_there }))
    }

    async fn take_due(
        &self,
        request: Request<v1::TakeDueRemotesRequest>,
    ) -> Result<Response<v1::TakeDueRemotesReply>, Status> {
        let (_, group) = self.plane.identify(&request).await?;
        let (limit, now) = (request.get_ref().limit.min(MAX_DUE), self.now());
        let organizations = match &group.holds {
            Holds::All => None,
            Holds::Only(ids) => Some(ids.as_slice()),
        };
        let taken = async {
            let mut tx = self.plane.cx.store.system().await?;
            let taken = remote_objects::take_due(&mut tx, organizations, limit, now, now.plus(LEASE)).await?;
            tx.commit().await.map(|()| taken)
        };
        let objects = taken.await.map_err(self.away())?.iter().map(remote::encode).collect();
        Ok(Response::new(v1::TakeDueRemotesReply { objects }))
    }

    async fn settle(
        &self,
        request: Request<v1::SettleRemoteRequest>,
    ) -> Result<Response<v1::SettleRemoteReply>, Status> {
        let scope = self.scope(&request, request.get_ref().scope.as_ref()).await?;
        let id = read_id(&request.get_ref().id)?;
        let settled = match request.get_ref().look_again_at_us {
            Some(at) => Settled::Later { at: Timestamp::from_micros(at) },
            None => Settled::Booked { at: self.now() },
        };
        let done = async {
            let mut tx = self.plane.cx.store.system().await?;
            remote_objects::settle(&mut tx, &scope, id, settled).await?;
            tx.commit().await
        };
        done.await.map_err(self.away())?;
        Ok(Response::new(v1::SettleRemoteReply {}))
    }
}
